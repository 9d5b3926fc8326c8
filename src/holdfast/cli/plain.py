"""Records as plain JSON values, for `--json`."""

from __future__ import annotations

import dataclasses
import json
from datetime import datetime
from enum import Enum
from typing import Any

from holdfast.values import canon, moment


def plain(value: object) -> Any:
    """`value` as JSON can hold it: times as ISO 8601 in UTC, digests and ids as text, sizes in bytes."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, str):
        return display(value)
    if isinstance(value, datetime):
        return moment.to_text(moment.from_datetime(value))
    if isinstance(value, bytes):
        return value.hex()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _record(value)
    if isinstance(value, dict):
        return {display(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    return display(str(value))


def display(text: str) -> str:
    """The display form of a name or path: a stray byte is written `\\xNN`, as in the store itself."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") if _stray(text) else text


def _stray(text: str) -> bool:
    return not text.isascii() and any(0xDC80 <= ord(char) <= 0xDCFF for char in text)


def named(key: str, text: str) -> dict[str, str]:
    """A name as JSON fields: its display form, and `<key>_hex` with the true bytes if these are not UTF-8."""
    fields = {key: display(text)}
    if _stray(text):
        fields[f"{key}_hex"] = text.encode("utf-8", "surrogateescape").hex()
    return fields


def _record(value: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    kind = getattr(type(value), "kind", None)
    if isinstance(kind, str):
        fields["kind"] = kind
    for field in dataclasses.fields(value):
        item = getattr(value, field.name)
        if field.name == "name_bytes":
            continue
        if field.name in {"path", "name"} and isinstance(item, str):
            fields |= named(field.name, item)
        else:
            fields[field.name] = plain(item)
    raw = getattr(value, "name_bytes", None)
    if isinstance(raw, bytes) and not _is_utf8(raw):
        fields["name"] = raw.decode("utf-8", "backslashreplace")
        fields["name_hex"] = raw.hex()
    return fields


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def text_of(value: object) -> str:
    """Any value as one line of JSON in ASCII: the same in every locale, and nothing in it can act on a terminal."""
    value = plain(value)
    try:
        return json.dumps(value, ensure_ascii=True, separators=(", ", ": "))
    except ValueError:  # an integer with more digits than the standard library writes
        return "".join(c if c.isascii() else json.dumps(c)[1:-1] for c in canon.dumps(value))

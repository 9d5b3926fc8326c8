"""What a signature says of the type of a parameter, as a check: of what can be told without a library or the classes.

Names that are not known here (records, references, conditions) hold for everything but None: the call itself knows.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

Check = Callable[[Any], bool]

_PLAIN: dict[str, Check] = {
    "str": lambda v: isinstance(v, str),
    "bytes": lambda v: isinstance(v, (bytes, bytearray)),
    "int": lambda v: isinstance(v, int),
    "float": lambda v: isinstance(v, (int, float)),
    "bool": lambda v: isinstance(v, int) or type(v).__name__ == "bool_",
    "os.PathLike": lambda v: isinstance(v, os.PathLike) and not isinstance(v, (str, bytes)),
    "dict": lambda v: isinstance(v, dict),
    "Callable": callable,
    "Progress": callable,
    "OnFinding": callable,
    "RelationshipRef": lambda v: isinstance(v, str) or hasattr(v, "source"),
    "Actor": lambda v: hasattr(v, "kind"),
    "datetime": lambda v: isinstance(v, datetime),
    "When": lambda v: isinstance(v, (int, str, datetime)),
    "BinaryIO": lambda v: hasattr(v, "read") or hasattr(v, "write"),
}
_SEVERAL = ("Iterable", "Sequence", "Collection", "list", "tuple", "set")
_LOOKED_INTO = (list, tuple, set, frozenset, dict)
_ANYTHING = ("Any", "object")


@functools.cache
def check_of(annotation: str) -> Check | None:
    """Whether a value is of what an annotation, as it is written, names; None if all values are."""
    parts = [part.strip() for part in _split(annotation.strip("'\" "))]
    if any(part in _ANYTHING for part in parts):
        return None
    checks = [_check_of_one(part) for part in parts if part != "None"]
    nothing = "None" in parts
    known = [one for one in checks if one is not None]
    is_open = len(known) < len(checks)

    def holds(value: Any) -> bool:
        if value is None:
            return nothing
        return is_open or any(one(value) for one in known)

    return holds


def _check_of_one(part: str) -> Check | None:
    name, _, inner = part.partition("[")
    if name in _SEVERAL:
        each = check_of(_split(inner.removesuffix("]"), ",")[0]) if inner else None
        return lambda value: _is_several(value, each)
    return _PLAIN.get(name)


def _is_several(value: Any, each: Check | None) -> bool:
    if isinstance(value, (str, bytes, bytearray)) or not isinstance(value, Iterable):
        return False
    return each is None or not isinstance(value, _LOOKED_INTO) or all(map(each, value))


def _split(text: str, at: str = "|") -> list[str]:
    """The parts of an annotation, brackets being whole."""
    parts, depth = [""], 0
    for char in text:
        depth += (char in "[(") - (char in "])")
        if char == at and not depth:
            parts.append("")
        else:
            parts[-1] += char
    return parts

"""What is refused alike for records of several kinds: values that cannot be kept, deletes that something forbids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast.errors import InUseError, InvalidValueError
from holdfast.values import canon
from holdfast.values.records import FileFacts

if TYPE_CHECKING:
    from holdfast.engine.transaction import Unit

_BEYOND = 1 << 63


def object_of(value: dict[str, Any] | None, where: str) -> dict[str, Any]:
    """A JSON object as it can be kept ({} for None); InvalidValueError naming the place."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidValueError(f"{where} is a {type(value).__name__}, not a dict", where=where, reason="type")
    canon.encode(value)
    return value


def text_of(value: str, where: str) -> str:
    """A text as it can be kept; InvalidValueError for one with a NUL or a lone surrogate."""
    if not isinstance(value, str):
        raise InvalidValueError(f"{where} is a {type(value).__name__}, not a str", where=where, reason="type")
    if "\0" in value:
        raise InvalidValueError(f"{where} has a NUL", where=where, reason="NUL")
    canon.encode(value)
    return value


def facts_of(file: FileFacts) -> FileFacts:
    """Facts of a file as rows can keep them; InvalidValueError for numbers beyond 64 bits."""
    for where, value in (("mode", file.mode), ("mtime_ns", file.mtime_ns)):
        if value is not None and (type(value) is not int or not -_BEYOND <= value < _BEYOND):
            raise InvalidValueError(f"{where} cannot be {value!r}", where=where, reason="range")
    return file


def one_of(word: str, words: tuple[str, ...], where: str) -> str:
    """The word, if it is one of some; InvalidValueError that names them."""
    if word not in words:
        raise InvalidValueError(f"{where} cannot be {word!r}", where=where, reason="unknown",
                                remedy=f"Use one of: {', '.join(words)}.")  # fmt: skip
    return word


def refuse_touched(unit: Unit, record_id: str, shown: str, way: str) -> None:
    """With `restrict`, InUseError if a visible relationship touches the record; InvalidValueError for another word."""
    if one_of(way, ("cascade", "restrict"), "relationships") == "cascade":
        return
    count = unit.handle.index.relationships.count_touching(record_id)
    if count:
        raise InUseError(f"{count} relationships touch {shown}", id=record_id, counts={"relationships": count})

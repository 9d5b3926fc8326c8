"""The questions that are asked most, with SQL that is composed once: one comparison by `=`, first page, by age.

They mean what they mean in finding.py, and give the same rows. Whether a row meets them is told by its proven cells, so
no record is worked out (values/late.py) only to be judged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast.errors import InvalidDigestError
from holdfast.index import revised
from holdfast.index.metadata import key_of, steps_of
from holdfast.index.select.collections import CollectionRows
from holdfast.index.select.declared import DeclaredRows
from holdfast.index.select.sight import Row, Sight
from holdfast.values import canon, digest, query
from holdfast.values.frozen import dataclass
from holdfast.values.query import All, Compare, Condition

_PLAIN = "artifact t1"
_IN_ONE = "t1.collection IN (?)"
_INDEXED = "metadata_value {0} CROSS JOIN artifact t1 ON t1.key = {0}.artifact"
_OF_VALUE = "{0}.declared = ? AND {0}.value = ?"
_NOW = f"""content c CROSS JOIN revision v ON {revised.of_content("v", "c.key")}
    CROSS JOIN artifact t1 ON t1.key = v.artifact AND t1.newest = v.key"""
_OF_DIGEST = "substr(c.digest, 1, 4) = ? AND c.digest = ?"
Steps = tuple[str | int, ...]
_COLLECTION, _METADATA, _DIGEST = 1, 23, 33
"""Where these stand in a row of artifacts.COLUMNS."""


@dataclass(frozen=True, slots=True)
class Usual:
    """How to ask. `source`: where keys come from, by `key`; `where`: said of it; `meets`: decides on proven rows."""

    source: str
    key: str
    where: str
    parameters: tuple[Any, ...]
    meets: Callable[[Row], bool]


def only(condition: Condition | None) -> Condition | None:
    """What a condition says, without the shells around one part."""
    while isinstance(condition, All) and len(condition.parts) == 1:
        condition = condition.parts[0]
    return condition


class UsualQuestions:
    """Knows them."""

    def __init__(self, collections: CollectionRows, declared: DeclaredRows) -> None:
        self._collections = collections
        self._declared = declared

    def of(self, condition: Condition | None) -> Usual | None:
        """How to ask what a condition says; None if that is no usual question."""
        return _usual(condition, self._declared.index_of, self._collections.alone)

    def guess(self, condition: Condition | None, seen: Sight) -> Usual | None:
        """What `of` gives, if `seen` still holds and is enough to tell; nothing is read."""

        def index_of(steps: Steps) -> int | None:
            found = (seen.declared or {}).get(steps)
            return None if found is None else found[0]

        def alone(path: str) -> int | None:
            key = seen.at.get(path)
            return key if key in seen.barren else None

        return _usual(condition, index_of, alone)


def _usual(
    condition: Condition | None, index_of: Callable[[Steps], int | None], alone: Callable[[str], int | None]
) -> Usual | None:
    """`index_of`: the key of an index on a path of metadata; `alone`: that of a collection without others below."""
    one = only(condition)
    if not isinstance(one, Compare) or one.op != "=":
        return None
    if one.field.startswith("metadata."):
        return _value(one, index_of)
    if type(one.value) is not str or not one.value.isascii():
        return None
    if one.field == "digest":
        return _content(one.value)
    key = alone(one.value) if one.field == "under" else None
    return None if key is None else Usual(_PLAIN, "t1.key", _IN_ONE, (key,), lambda row: row[_COLLECTION] == key)


def _value(one: Compare, index_of: Callable[[Steps], int | None]) -> Usual | None:
    """What has a value in a field of metadata that is indexed."""
    value = one.value
    if type(value) is str and not value.isascii():
        return None
    steps = steps_of(one.field)
    index, key = index_of(steps), key_of(value)
    if index is None or key is None:
        return None

    said = member(steps, value)

    def meets(row: Row) -> bool:
        text = row[_METADATA]
        return bool(text) and (says(text, said) or query.equal(query.dig(canon.canonical(text), steps), value))

    alias = f"d{index}"
    return Usual(_INDEXED.format(alias), f"{alias}.artifact", _OF_VALUE.format(alias), (index, key), meets)


def member(steps: tuple[str | int, ...], value: Any) -> str:
    """How canonical JSON says that a field right in an object is a text; "" where only parsing can tell."""
    name = steps[0]
    plain = len(steps) == 1 and type(name) is str and name.isidentifier() and type(value) is str
    return canon.dumps({name: value})[1:-1] if plain else ""


def says(text: str, member: str) -> bool:
    """Whether canonical JSON is surely an object with a member; False: or it cannot be told without parsing.

    With no other object inside, only the quote in front of the name could be another than that of a name: the end of a
    text that ends with a comma. But behind such an end no letter can stand, and names of members that are looked for
    begin with one. Five times as quick as parsing.
    """
    return bool(member) and text.rfind("{") == 0 and (text.startswith(member, 1) or f",{member}" in text)


def _content(text: str) -> Usual | None:
    """What has a content now."""
    try:
        raw = digest.raw(text)
    except InvalidDigestError:
        return None
    return Usual(_NOW, "t1.key", _OF_DIGEST, (raw[:4], raw), lambda row: row[_DIGEST] == raw)

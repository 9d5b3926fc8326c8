"""What a reducer says: operations on rows, with symbols where only the index knows the key. Pure values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any

from holdfast.values.frozen import dataclass


@dataclass(frozen=True, slots=True)
class KeyOf:
    """The key of the record with this id."""

    id: str


@dataclass(frozen=True, slots=True)
class Term:
    """The key of an interned text; made if new, with the key seq * SLOTS + slot. "" is always 0."""

    text: str
    slot: int


@dataclass(frozen=True, slots=True)
class ContentOf:
    """The key of the content row of a digest; made if new, with the change's seq as key."""

    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class RevisionOf:
    """The key of a revision of an artifact."""

    artifact: str
    number: int


@dataclass(frozen=True, slots=True)
class DeletedWith:
    """The seq of the delete that took the record with this id along."""

    id: str


Symbol = KeyOf | Term | ContentOf | RevisionOf | DeletedWith
Cell = int | float | str | bytes | None | Symbol
Cells = dict[str, Cell]


@dataclass(frozen=True, slots=True)
class Alike:
    """A column of new rows that says the same in all of them: nobody need look whether it does."""

    value: int | str | bytes | None


Column = Sequence[Any] | Alike
"""The cells of many new rows."""


@dataclass(frozen=True, slots=True)
class Insert:
    """A new row; columns not named are NULL."""

    table: str
    values: Cells


@dataclass(frozen=True, slots=True)
class Update:
    """New values for the rows that match `where` in every column."""

    table: str
    where: Cells
    values: Cells


@dataclass(frozen=True, slots=True)
class Delete:
    """No such rows any more (only where no history is lost by it: tags)."""

    table: str
    where: Cells = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Describe:
    """The newest revision of an artifact has this metadata from now on. `new`: the artifact is made by this change.

    Before the row of the artifact says so: what the declared indexes have of it follows from its row. `metadata` may be
    that of a revision made earlier.
    """

    artifact: Cell
    metadata: dict[str, Any] | RevisionOf
    new: bool = False


@dataclass(frozen=True, slots=True)
class Survey:
    """A declared index gets the values of all artifacts that there are."""

    index: Cell


Operation = Insert | Update | Delete | Describe | Survey

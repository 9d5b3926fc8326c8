"""The ends of relationships: which records they name, and since when one of them is gone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from holdfast.index import proof, revised
from holdfast.index.database import Database
from holdfast.index.select import neighbours
from holdfast.index.select.lookups import MARKS
from holdfast.index.tables import EXTERNAL, KIND_CODES, KIND_NAMES
from holdfast.values import moment
from holdfast.values.frozen import dataclass
from holdfast.values.records import Endpoint

EXTERNAL_KIND = "external"


@dataclass(frozen=True, slots=True)
class EndState:
    """The record behind an end. `deleted`: 0, or the seq of the delete that took it along."""

    key: int
    kind: str
    deleted: int


def kind_of(code: int) -> str:
    """The kind of an end from its code."""
    return EXTERNAL_KIND if code == EXTERNAL else KIND_NAMES[code]


def code_of(kind: str) -> int:
    """The code of an end's kind."""
    return KIND_CODES.get(kind, EXTERNAL)


class EndRows:
    """Reads the state of ends."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def states(self, ids: Iterable[str]) -> dict[str, EndState]:
        """The records with these ids, deleted or not. IndexDamagedError where one that is not found may have stood."""
        wanted = list(ids)
        found: dict[str, EndState] = {}
        for start in range(0, len(wanted), MARKS):
            part = [moment.id_bytes(one) for one in wanted[start : start + MARKS]]
            row_proven = proof.proven("record", "record")
            sql = f"SELECT id, key, kind, deleted, {row_proven} FROM record WHERE id IN ({_marks(part)})"
            for raw, key, kind, deleted, _ in self._db.rows(sql, part):
                found[moment.id_text(raw)] = EndState(key, KIND_NAMES[kind], deleted)
        for one in wanted:
            if one not in found:
                neighbours.RECORDS.prove(self._db, (moment.id_bytes(one),))
        return found

    def has_revision(self, artifact: int, number: int) -> bool:
        """Whether an artifact (by key) has a revision of this number."""
        sql = f"SELECT 1 FROM revision v WHERE {revised.numbered('v', '?1', '?2')}"
        return self._db.one(sql, (artifact, number)) is not None

    def gone(self, ends: Iterable[Endpoint]) -> dict[str, int]:
        """By id of each end that is a record: 0 if it is live, else the seq of the delete that hides it.

        A relationship as an end is live only while its own ends are, so a chain of such ends is followed to its bottom.
        """
        gone: dict[str, int] = {}
        nested: dict[int, tuple[str, list[str]]] = {}
        todo = {end.id for end in ends if end.kind != EXTERNAL_KIND}
        while todo:
            states = self.states(todo)
            gone |= {one: states[one].deleted if one in states else 1 for one in todo}
            live = {s.key: one for one, s in states.items() if s.kind == "relationship" and s.deleted == 0}
            beneath = self._ends_of(list(live))
            nested |= {key: (live[key], ids) for key, ids in beneath.items()}
            todo = {one for ids in beneath.values() for one in ids} - gone.keys()
        # A relationship is younger than its ends, so in order of keys the ends are settled first.
        for _, (own, ids) in sorted(nested.items()):
            gone[own] = min((gone[one] for one in ids if gone[one]), default=0)
        return gone

    def _ends_of(self, relationships: Sequence[int]) -> dict[int, list[str]]:
        """Ids of the ends of relationships that are records."""
        found: dict[int, list[str]] = {}
        for start in range(0, len(relationships), MARKS):
            part = list(relationships[start : start + MARKS])
            row_proven = proof.proven("relationship", "relationship")
            sql = f"""SELECT key, source_kind, source, target_kind, target, {row_proven} FROM relationship
                      WHERE key IN ({_marks(part)})"""
            for key, source_kind, source, target_kind, target, _ in self._db.rows(sql, part):
                pairs = ((source_kind, source), (target_kind, target))
                found[key] = [one for code, one in pairs if code != EXTERNAL]
        return found


def _marks(part: Sequence[object]) -> str:
    return ",".join("?" * len(part))

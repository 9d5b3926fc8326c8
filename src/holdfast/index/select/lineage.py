"""What lineage asks of rows beside relationships: which runs made or used a record, and what people call an end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from holdfast.index import proof, revised
from holdfast.index.database import Database
from holdfast.index.select.ends import code_of
from holdfast.index.select.keyset import PAGE
from holdfast.index.select.lookups import MARKS, Lookups, join_path
from holdfast.values import moment
from holdfast.values.records import Direction, Endpoint

Tie = tuple[str, int | None]
"""(id of a live run, revision that the tie names)."""


class LineageRows:
    """Reads ties between records and live runs, and labels."""

    def __init__(self, database: Database, lookups: Lookups) -> None:
        self._db = database
        self._lookups = lookups

    def linked(self, end: Endpoint, direction: Direction, after: int) -> list[tuple[int, Tie]]:
        """The first links beyond a seq by which runs have the record of `end` as input or output."""
        sql = f"""SELECT l.key, r.id, l.target_revision, l.target, {proof.proven("run_link", "l")},
                 {proof.proven("record", "r")}
                 FROM run_link l JOIN record r ON r.key = l.run
                 WHERE l.target = ? AND l.target_kind = ? AND l.direction = ? AND r.deleted = 0 AND l.key > ?
                 ORDER BY l.key LIMIT ?"""
        rows = self._db.rows(sql, (end.id, code_of(end.kind), direction.value, after, PAGE))
        if any(row[3] != end.id for row in rows):
            raise proof.damaged("run_link", next(row[0] for row in rows if row[3] != end.id))
        return [(key, (moment.id_text(raw), revision)) for key, raw, revision, *_ in rows]

    def makers(self, artifact: int, after: int) -> list[tuple[int, Tie]]:
        """The first revisions of an artifact (by key) beyond a number that say which run made them: (number, tie)."""
        sql = f"""SELECT v.number, r.id, {proof.proven("revision", "v")}, {proof.proven("record", "r")}
                 FROM revision v JOIN record r ON r.key = v.run
                 WHERE {revised.of_artifact("v", "?1")} AND v.number > ?2 AND v.run IS NOT NULL AND r.deleted = 0
                 ORDER BY v.number LIMIT ?3"""
        rows = self._db.rows(sql, (artifact, after, PAGE))
        return [(number, (moment.id_text(raw), number)) for number, raw, *_ in rows]

    # -- labels ----------------------------------------------------------------------------------------------------

    def labels(self, ends: Iterable[Endpoint]) -> dict[Endpoint, str]:
        """For each end a path, a run's name, a relationship's type, or the external text itself."""
        wanted = list(ends)
        read = {
            "artifact": self._artifacts,
            "collection": self._collections,
            "run": self._runs,
            "relationship": self._relationships,
        }
        texts: dict[tuple[str, str], str] = {}
        for kind, names in read.items():
            ids = sorted({end.id for end in wanted if end.kind == kind})
            for start in range(0, len(ids), MARKS):
                texts |= {(kind, one): text for one, text in names(ids[start : start + MARKS]).items()}
        return {end: texts.get((end.kind, end.id), end.id) for end in wanted}

    def _rows(self, columns: str, table: str, ids: list[str]) -> list[tuple[Any, ...]]:
        sql = f"""SELECT r.id, {columns}, {proof.proven(table, "t")}, {proof.proven("record", "r")}
                  FROM record r JOIN {table} t ON t.key = r.key
                  WHERE r.id IN ({",".join("?" * len(ids))})"""
        return self._db.rows(sql, [moment.id_bytes(one) for one in ids])

    def _artifacts(self, ids: list[str]) -> dict[str, str]:
        rows = self._rows("t.collection, t.name", "artifact", ids)
        folders = self._lookups.paths(row[1] for row in rows)
        return {moment.id_text(row[0]): join_path(folders[row[1]], row[2]) for row in rows}

    def _collections(self, ids: list[str]) -> dict[str, str]:
        rows = self._rows("t.key", "collection", ids)
        paths = self._lookups.paths(row[1] for row in rows)
        return {moment.id_text(row[0]): paths[row[1]] for row in rows}

    def _runs(self, ids: list[str]) -> dict[str, str]:
        return {moment.id_text(row[0]): row[1] for row in self._rows("t.name", "run", ids)}

    def _relationships(self, ids: list[str]) -> dict[str, str]:
        return {moment.id_text(row[0]): self._lookups.term(row[1]) for row in self._rows("t.type", "relationship", ids)}

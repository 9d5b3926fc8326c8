"""Runs, steps, and what went in and came out, out of rows."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from holdfast.index import proof
from holdfast.index.database import Database
from holdfast.index.select.ends import code_of, kind_of
from holdfast.index.select.keyset import PAGE
from holdfast.index.select.lookups import MARKS, TIME_OF, Lookups
from holdfast.values import canon, moment
from holdfast.values.frozen import dataclass
from holdfast.values.records import Direction, Endpoint, Run, RunLink, RunStatus, Step

_RUNS_PROVEN = f"""SELECT t.key, r.id, {proof.proven("run", "t")},
    {proof.proven("record", "r")}, {proof.tags_proven("r")}
    FROM run t JOIN record r ON r.key = t.key WHERE t.key IN (SELECT value FROM json_each(?))"""


_KEPT = f"CASE WHEN {proof.proven('record', 't2')} THEN t2.deleted = 0 END"


@dataclass(frozen=True, slots=True)
class WantedRuns:
    """Which runs; None: any. `deleted`: those with a tombstone instead of those without."""

    status: RunStatus | None = None
    tag: str | None = None
    deleted: bool = False


_SELECT = f"""SELECT t1.key, t2.id, t1.name, t1.status, t1.parameters, t1.diagnostics, t1.environment, t1.metadata,
    t1.reason, t1.started_us, t1.ended_us, t2.tenant, t2.owner, t2.deleted, t2.changed,
    {TIME_OF.format("t1.key")}, {TIME_OF.format("t2.changed")} FROM run t1 LEFT JOIN record t2 ON t2.key = t1.key"""
"""What gives runs; the caller adds conditions, order and limit."""

_SELECT_STEP = f"""SELECT t1.number, t2.id, t1.run, t1.name, t1.status, t1.started_us, t1.ended_us, t1.diagnostics,
    {proof.proven("step", "t1")}, {proof.proven("record", "t2")} FROM step t1 LEFT JOIN record t2 ON t2.key = t1.key"""
"""What gives steps."""


class RunRows:
    """Reads runs. Aliases in every query: t1 the run or step, t2 its record."""

    def __init__(self, database: Database, lookups: Lookups) -> None:
        self._db = database
        self._lookups = lookups

    # -- runs ------------------------------------------------------------------------------------------------------

    def by_id(self, run_id: str) -> Run | None:
        """The run with an id, deleted or not."""
        rows = self._db.rows(f"{_SELECT} WHERE t2.id = ?", (moment.id_bytes(run_id),))
        if not rows:
            self._lookups.missed(run_id, "run")
        return self._records(rows)[0][1] if rows else None

    def page(
        self, wanted: WantedRuns, after: int, *, descending: bool = False, limit: int = PAGE
    ) -> list[tuple[int, Run]]:
        """The first runs beyond a key, by age."""
        # No row is left out before it has proven itself: CASE looks in this order.
        rows_proven = f"{proof.proven('run', 't1')} AND {proof.proven('record', 't2')}"
        where = [f"CASE WHEN {rows_proven} THEN t2.deleted {'!=' if wanted.deleted else '='} 0 END"]
        parameters: list[Any] = []
        if wanted.status is not None:
            where.append("t1.status = ?")
            parameters.append(wanted.status.value)
        if wanted.tag is not None:
            where.append("EXISTS (SELECT 1 FROM tagging g WHERE g.record = t1.key AND g.tag = ?)")
            parameters.append(wanted.tag)
        compare, order = ("<", "DESC") if descending else (">", "ASC")
        where.append(f"t1.key {compare} ?")
        sql = f"{_SELECT} WHERE {' AND '.join(where)} ORDER BY t1.key {order} LIMIT ?"
        return self._records(self._db.rows(sql, [*parameters, after, limit]))

    def names(self, ids: list[str]) -> dict[str, str]:
        """Names of runs by id."""
        found: dict[str, str] = {}
        for start in range(0, len(ids), MARKS):
            part = [moment.id_bytes(one) for one in ids[start : start + MARKS]]
            marks = ",".join("?" * len(part))
            sql = f"""SELECT r.id, u.name, {proof.proven("run", "u")}, {proof.proven("record", "r")}
                      FROM record r JOIN run u ON u.key = r.key WHERE r.id IN ({marks})"""
            found |= {moment.id_text(row[0]): row[1] for row in self._db.rows(sql, part)}
        return found

    def _records(self, rows: list[tuple[Any, ...]]) -> list[tuple[int, Run]]:
        if rows:
            found = self._db.rows(_RUNS_PROVEN, (canon.dumps([row[0] for row in rows]),))
            if {(row[0], row[1]) for row in rows} != {row[:2] for row in found}:
                raise proof.damaged("run", rows[0][0])
            self._lookups.prove_times(seq for row in rows for seq in (row[0], row[14]))
        tags = self._lookups.tags(row[0] for row in rows)
        return [(row[0], self._to_run(row, tags.get(row[0], ()))) for row in rows]

    def _to_run(self, row: tuple[Any, ...], tags: tuple[str, ...]) -> Run:
        term = self._lookups.term
        return Run(
            id=moment.id_text(row[1]),
            name=row[2],
            status=RunStatus(row[3]),
            parameters=_object(row[4]),
            diagnostics=_object(row[5]),
            environment=_object(row[6]),
            metadata=_object(row[7]),
            tags=tags,
            reason=row[8] or "",
            created_at=self._lookups.time(row[0], row[15]),
            updated_at=self._lookups.time(row[14], row[16]),
            started_at=_time(row[9]),
            ended_at=_time(row[10]),
            deleted_at=self._lookups.deleted_at(row[13]),
            tenant=term(row[11]),
            owner=term(row[12]),
        )

    # -- steps -----------------------------------------------------------------------------------------------------

    def step(self, step_id: str) -> Step | None:
        """The step with an id."""
        rows = self._db.rows(f"{_SELECT_STEP} WHERE t2.id = ? AND t2.deleted = 0", (moment.id_bytes(step_id),))
        return self._steps(rows)[0][1] if rows else None

    def steps(self, run: int, after: int) -> list[tuple[int, Step]]:
        """The first steps of a run (by key) beyond a number, as (number, step)."""
        sql = f"{_SELECT_STEP} WHERE t1.run = ? AND t1.number > ? AND {_KEPT} ORDER BY t1.number LIMIT ?"
        return self._steps(self._db.rows(sql, (run, after, PAGE)))

    def last_step(self, run: int) -> int:
        """The highest number of a run's steps; 0 if it has none."""
        row = self._db.one("SELECT max(number) FROM step WHERE run = ?", (run,))
        return int(row[0]) if row and row[0] is not None else 0

    def _steps(self, rows: list[tuple[Any, ...]]) -> list[tuple[int, Step]]:
        runs = self._lookups.ids(row[2] for row in rows)
        return [
            (
                row[0],
                Step(
                    id=moment.id_text(row[1]),
                    run_id=runs[row[2]],
                    number=row[0],
                    name=row[3],
                    status=RunStatus(row[4]),
                    started_at=_time(row[5]),
                    ended_at=_time(row[6]),
                    diagnostics=_object(row[7]),
                ),
            )
            for row in rows
        ]

    # -- what went in and came out ---------------------------------------------------------------------------------

    def links(self, run: int, run_id: str, direction: Direction, after: int) -> list[tuple[int, RunLink]]:
        """The first links of a run beyond a seq, in order."""
        sql = f"""SELECT key, role, target_kind, target, target_revision, {proof.proven("run_link", "run_link")}
                 FROM run_link WHERE run = ? AND direction = ? AND key > ? ORDER BY key LIMIT ?"""
        rows = self._db.rows(sql, (run, direction.value, after, PAGE))
        return [(row[0], RunLink(run_id, direction, row[1], Endpoint(kind_of(row[2]), *row[3:5]))) for row in rows]

    def has_link(self, run: int, direction: Direction, end: Endpoint, *, role: str | None = None) -> bool:
        """Whether a run has this very link; `role` None: in any role."""
        sql = """SELECT 1 FROM run_link WHERE target = ? AND run = ? AND direction = ? AND target_kind = ?
                 AND target_revision IS ?"""
        wanted: tuple[Any, ...] = (end.id, run, direction.value, code_of(end.kind), end.revision)
        if role is not None:
            sql, wanted = f"{sql} AND role = ?", (*wanted, role)
        return self._db.one(sql, wanted) is not None

    def made(self, run: int, run_id: str, after: int) -> list[tuple[int, RunLink]]:
        """The first revisions beyond a seq that say they were made by the run, as outputs without a role."""
        sql = f"""SELECT v.key, r.id, v.number, {proof.proven("revision", "v")}, {proof.proven("record", "r")}
                 FROM revision v JOIN record r ON r.key = v.artifact
                 WHERE v.run = ? AND v.key > ? ORDER BY v.key LIMIT ?"""
        rows = self._db.rows(sql, (run, after, PAGE))
        ends = ((row[0], Endpoint("artifact", moment.id_text(row[1]), row[2])) for row in rows)
        return [(key, RunLink(run_id, Direction.OUTPUT, "", end)) for key, end in ends]

    def count_steps(self, run: int) -> int:
        """How many steps a run has."""
        sql = "SELECT count(*) FROM step s JOIN record r ON r.key = s.key WHERE s.run = ? AND r.deleted = 0"
        row = self._db.one(sql, (run,))
        return int(row[0]) if row else 0


def _object(text: str | None) -> dict[str, Any]:
    found: dict[str, Any] = canon.decode(text) if text else {}
    return found


def _time(us: int | None) -> datetime | None:
    return None if us is None else moment.to_datetime(us)

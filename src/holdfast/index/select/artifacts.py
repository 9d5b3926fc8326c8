"""Artifacts and revisions out of rows."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from peewee import JOIN, SQL, ModelSelect

from holdfast.index import proof
from holdfast.index.apply.artifacts import STATE_KEPT, STATE_PURGED, STATE_WITHDRAWN
from holdfast.index.database import Database
from holdfast.index.select import neighbours
from holdfast.index.select.lookups import ACTOR_OF, TIME_OF, Lookups
from holdfast.index.tables import models
from holdfast.values import canon, digest, moment, names
from holdfast.values.names import Name
from holdfast.values.records import Artifact, FileFacts, Revision, RevisionState

_STATES = {
    STATE_KEPT: RevisionState.KEPT,
    STATE_PURGED: RevisionState.PURGED,
    STATE_WITHDRAWN: RevisionState.WITHDRAWN,
}
_PREVIOUS = """(SELECT c2.digest FROM revision v2 JOIN content c2 ON c2.key = v2.content
                WHERE v2.artifact = t3.artifact AND v2.number = t3.number - 1)"""


_PLACE = "t1.collection = ? AND t1.name = ? AND t1.stray = ? AND t1.live = 1"
_BRIEFS = f"""SELECT n.key, a.key, c.digest, v.media_type, v.mode, v.state, a.newest,
    EXISTS (SELECT 1 FROM blob b WHERE b.content = c.key), a.collection, a.name, a.stray,
    {proof.proven("artifact", "a")}, {proof.proven("revision", "v")}, {proof.proven("content", "c")}
    FROM json_each(?) AS n CROSS JOIN artifact a ON a.collection = json_extract(n.value, '$[0]')
    AND a.name = json_extract(n.value, '$[1]') AND a.live = 1
    LEFT JOIN revision v ON v.key = a.newest LEFT JOIN content c ON c.key = v.content"""

_REVISION_PROVEN = f"""{proof.proven("revision", "v")}, {proof.proven("content", "c")},
    (SELECT {proof.proven("revision", "v2")} + {proof.proven("content", "c2")}
     FROM revision v2 JOIN content c2 ON c2.key = v2.content
     WHERE v2.artifact = v.artifact AND v2.number = v.number - 1)"""
_ROWS_PROVEN = f"""SELECT a.key, r.id, a.collection, a.name, a.stray, a.newest, c.digest, r.deleted,
    {proof.proven("artifact", "a")}, {proof.proven("record", "r")}, {proof.tags_proven("r")}, {_REVISION_PROVEN}
    FROM artifact a JOIN record r ON r.key = a.key JOIN revision v ON v.key = a.newest
    JOIN content c ON c.key = v.content WHERE a.key IN (SELECT value FROM json_each(?))"""
_REVISIONS_PROVEN = f"""SELECT v.key, v.artifact, v.number, c.digest, {_REVISION_PROVEN}
    FROM revision v JOIN content c ON c.key = v.content WHERE v.key IN (SELECT value FROM json_each(?))"""


@dataclass(frozen=True, slots=True)
class Brief:
    """A few facts of an artifact's newest revision. `revision`: its seq; `present`: whether its content is here."""

    key: int
    revision: int
    digest: str
    media_type: str
    mode: int | None
    kept: bool
    present: bool


# Aliases in every query: t1 artifact, t2 record, t3 the revision, t4 its content.


@functools.cache
def select() -> ModelSelect:
    """The query that gives artifacts; the caller adds conditions, order and limit.

    Outer joins: an artifact whose other rows cannot be reached is an error, not one artifact less.
    """
    t1, t2 = models().Artifact.alias("t1"), models().Record.alias("t2")
    t3, t4 = models().Revision.alias("t3"), models().Content.alias("t4")
    columns = [
        t1.key, t1.collection, t1.name, t1.stray, t1.type, t1.status, t2.id, t2.tenant, t2.owner, t2.deleted,
        SQL(TIME_OF.format("t1.key")), t2.changed,
        SQL(TIME_OF.format("t2.changed")), *_revision_columns(t3, t4),
    ]  # fmt: skip
    return (
        t1.select(*columns)
        .join(t2, JOIN.LEFT_OUTER, on=(t2.key == t1.key))
        .switch(t1)
        .join(t3, JOIN.LEFT_OUTER, on=(t3.key == t1.newest))
        .join(t4, JOIN.LEFT_OUTER, on=(t4.key == t3.content))
    )


def _revision_columns(t3: Any, t4: Any) -> list[Any]:
    return [
        t3.key, t3.number, t3.media_type, t3.metadata, t3.message, t3.source, t3.source_name, t3.mode, t3.mtime_ns,
        t3.run, t3.state, t4.digest, t4.size, SQL(TIME_OF.format("t3.key")), SQL(ACTOR_OF.format("t3.key")),
        SQL(_PREVIOUS),
    ]  # fmt: skip


@functools.cache
def _one(where: str) -> str:
    return str(select().where(SQL(where)).sql()[0])


@functools.cache
def _revisions(where: str, order: str) -> str:
    t3, t4 = models().Revision.alias("t3"), models().Content.alias("t4")
    query = t3.select(*_revision_columns(t3, t4)).join(t4, JOIN.LEFT_OUTER, on=t4.key == t3.content)
    return str(query.where(SQL(where)).order_by(SQL(order)).sql()[0])


class ArtifactRows:
    """Reads artifacts."""

    def __init__(self, database: Database, lookups: Lookups) -> None:
        self._db = database
        self._lookups = lookups

    # -- one -------------------------------------------------------------------------------------------------------

    def by_id(self, artifact_id: str) -> Artifact | None:
        """The artifact with an id, deleted or not."""
        found = self._first(_one("t2.id = ?"), (moment.id_bytes(artifact_id),))
        if found is None:
            self._lookups.missed(artifact_id, "artifact")
        return found

    def by_key(self, key: int) -> Artifact | None:
        """The artifact with a key, deleted or not."""
        return self._first(_one("t1.key = ?"), (key,))

    def by_place(self, collection: int, name: Name) -> Artifact | None:
        """The live artifact of a name in a collection."""
        place = (collection, name.text, name.stray)
        found = self._first(_one(_PLACE), place)
        if found is None:
            neighbours.ARTIFACTS.prove(self._db, place)
        return found

    def briefs(self, places: Sequence[tuple[int, Name]]) -> dict[tuple[int, Name], Brief]:
        """What is needed to see whether content is new, of the live artifacts at many places (collection, name).

        Places where nothing is are left out.
        """
        found = {}
        asked = canon.dumps([[collection, name.text] for collection, name in places])
        for number, key, raw, media_type, mode, state, newest, here, *place in self._db.rows(_BRIEFS, (asked,)):
            collection, name = wanted = places[number]
            if place[:2] != [collection, name.text]:
                raise proof.damaged("artifact", key)
            if place[2] == name.stray:
                media = self._lookups.term(media_type)
                found[wanted] = Brief(key, newest, digest.text(raw), media, mode, state == STATE_KEPT, bool(here))
        return found

    def prove_absent(self, places: Iterable[tuple[int, Name]]) -> None:
        """IndexDamagedError if the index of names is damaged where one of these places would stand in it."""
        for collection, name in places:
            neighbours.ARTIFACTS.prove(self._db, (collection, name.text, name.stray))

    def _first(self, sql: str, parameters: Sequence[Any]) -> Artifact | None:
        row = self._db.one(sql, tuple(parameters))
        return None if row is None else self.records([row])[0]

    def newest_deleted(self, collection: int, name: Name) -> int | None:
        """Key of the artifact of this name that was deleted last."""
        sql = """SELECT a.key FROM artifact a JOIN record r ON r.key = a.key
                 WHERE a.collection = ? AND a.name = ? AND a.stray = ? AND a.live IS NULL ORDER BY r.deleted DESC"""
        row = self._db.one(sql, (collection, name.text, name.stray))
        if row is None:  # no index has names of deleted ones: all rows were gone through, and each must be true
            proof.prove_all(self._db, "artifact")
        return None if row is None else int(row[0])

    def revision(self, key: int, artifact_id: str, number: int) -> Revision | None:
        """One revision of an artifact."""
        row = self._db.one(_revisions("t3.artifact = ? AND t3.number = ?", "t3.key"), (key, number))
        return None if row is None else self._to_revisions(key, artifact_id, [row])[0]

    def history(self, key: int, artifact_id: str) -> list[Revision]:
        """All revisions of an artifact, newest first."""
        rows = self._db.rows(_revisions("t3.artifact = ?", "t3.number DESC"), (key,))
        # Numbers have no gaps, and the newest is among them: a row that an index lost is missed.
        newest = self._db.one("SELECT newest FROM artifact WHERE key = ?", (key,))
        known = newest is None or newest[0] in {row[0] for row in rows}
        if not known or [row[1] for row in rows] != list(range(len(rows), 0, -1)):
            raise proof.damaged("revision", f"of artifact {key}")
        return self._to_revisions(key, artifact_id, rows)

    def _to_revisions(self, artifact: int, artifact_id: str, rows: Sequence[tuple[Any, ...]]) -> list[Revision]:
        seen = {(row[0], artifact, row[1], row[11]) for row in rows}
        proven = {row[:4] for row in self._db.rows(_REVISIONS_PROVEN, (canon.dumps([row[0] for row in rows]),))}
        if seen != proven:
            raise proof.damaged("revision", f"of artifact {artifact}")
        self._lookups.prove_times(row[0] for row in rows)
        return [self._to_revision(artifact_id, row) for row in rows]

    def last_number(self, key: int) -> int:
        """The highest revision number an artifact ever had; numbers are never given twice."""
        row = self._db.one("SELECT max(number) FROM revision WHERE artifact = ?", (key,))
        return int(row[0]) if row and row[0] is not None else 0

    def newest_kept(self, key: int, *, without: Sequence[int]) -> int | None:
        """The highest number of a kept revision other than some."""
        sql = "SELECT number FROM revision WHERE artifact = ? AND state = ? ORDER BY number DESC"
        return next((n for (n,) in self._db.rows(sql, (key, STATE_KEPT)) if n not in without), None)

    def key_of(self, artifact_id: str) -> int | None:
        """The key of an artifact's record."""
        return self._lookups.key(artifact_id)

    # -- many ------------------------------------------------------------------------------------------------------

    def run(self, query: ModelSelect) -> list[tuple[int, int, Artifact]]:
        """(key, seq of the last change, artifact) of a query made from `select`, which must bound its result."""
        sql, parameters = query.sql()
        rows = self._db.rows(sql, parameters)
        return [(row[0], row[11], one) for row, one in zip(rows, self.records(rows), strict=True)]

    def live_from(self, after_key: int, limit: int) -> list[tuple[int, int, Artifact]]:
        """Live artifacts by key beyond one, for whoever goes through all of them."""
        where = SQL("t1.live = 1 AND t1.key > ?", (after_key,))
        return self.run(select().where(where).order_by(SQL("t1.key")).limit(limit))

    def records(self, rows: Sequence[tuple[Any, ...]]) -> list[Artifact]:
        """Rows of `select` as artifacts. IndexDamagedError if one is not what was written, or came by a wrong key."""
        self._prove(rows)
        tags = self._lookups.tags(row[0] for row in rows)
        folders = self._lookups.steps(row[1] for row in rows)
        collections = self._lookups.ids(row[1] for row in rows)
        return [self._to_artifact(row, tags.get(row[0], ()), folders[row[1]], collections[row[1]]) for row in rows]

    def _prove(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Read by key once more what other indexes led to, and have every row prove itself."""
        if not rows:
            return
        found = self._db.rows(_ROWS_PROVEN, (canon.dumps([row[0] for row in rows]),))
        proven = {row[0]: row[1:8] for row in found}
        for row in rows:
            seen = (row[6], row[1], row[2], row[3], row[13], row[24], row[9])
            if proven.get(row[0]) != seen and not self._changed(row):
                raise proof.damaged("artifact", row[0])
        self._lookups.prove_times(seq for row in rows for seq in (row[0], row[11], row[13]))

    def _changed(self, row: tuple[Any, ...]) -> bool:
        """Whether a record has changed since a row was read: then the two readings may differ, and both be right."""
        now = self._db.one("SELECT changed FROM record WHERE key = ?", (row[0],))
        return now is not None and now[0] != row[11]

    def _to_artifact(
        self, row: tuple[Any, ...], tags: tuple[str, ...], folder: tuple[Name, ...], collection_id: str
    ) -> Artifact:
        term = self._lookups.term
        artifact_id = moment.id_text(row[6])
        name = Name(row[2], row[3])
        return Artifact(
            id=artifact_id,
            path=names.join((*folder, name)),
            path_bytes=names.join_raw((*folder, name)),
            name=name.text,
            name_bytes=name.raw,
            collection_id=collection_id,
            type=term(row[4]),
            status=term(row[5]),
            tags=tags,
            revision=self._to_revision(artifact_id, row[13:]),
            created_at=self._lookups.time(row[0], row[10]),
            updated_at=self._lookups.time(row[11], row[12]),
            deleted_at=self._lookups.deleted_at(row[9]),
            tenant=term(row[7]),
            owner=term(row[8]),
        )

    def _to_revision(self, artifact_id: str, row: tuple[Any, ...]) -> Revision:
        term = self._lookups.term
        return Revision(
            artifact_id=artifact_id,
            number=row[1],
            digest=digest.text(row[11]),
            size=row[12],
            media_type=term(row[2]),
            metadata=canon.decode(row[3]) if row[3] else {},
            created_at=self._lookups.time(row[0], row[13]),
            actor=self._lookups.actor(row[0], row[14]),
            seq=row[0],
            previous_digest=digest.text(row[15]) if row[15] is not None else None,
            message=row[4] or "",
            source=term(row[5]) + (row[6] or ""),
            file=FileFacts(row[7], row[8]),
            run_id=self._lookups.ids([row[9]]).get(row[9]) if row[9] is not None else None,
            state=_STATES[row[10]],
        )

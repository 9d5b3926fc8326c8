"""Artifacts and revisions out of rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any

from holdfast.index import proof, revised
from holdfast.index.database import Database
from holdfast.index.select import neighbours
from holdfast.index.select.lookups import Lookups
from holdfast.index.select.making import Maker
from holdfast.index.select.proving import prove_all
from holdfast.index.select.sight import MAX_CHARACTERS, Row, Sight
from holdfast.index.tables import STATE_KEPT
from holdfast.values import canon, digest, moment
from holdfast.values.frozen import dataclass
from holdfast.values.names import Name
from holdfast.values.records import Artifact, Revision

_TOGETHER = 500
_KEPT_TOGETHER = 200
"""No page of more rows is kept in memory."""

PLACE = "t1.collection = ? AND t1.name = ? AND t1.stray = ? AND t1.live = 1"
_BRIEFS = f"""SELECT n.key, a.key, c.digest, v.media_type, v.mode, v.state, a.newest,
    EXISTS (SELECT 1 FROM blob b WHERE b.content = c.key), a.collection, a.name, a.stray,
    {proof.proven("artifact", "a")}, {proof.proven("revision", "v")}, {proof.proven("content", "c")}
    FROM json_each(?) AS n CROSS JOIN artifact a ON a.collection = json_extract(n.value, '$[0]')
    AND a.name = json_extract(n.value, '$[1]') AND a.live = 1
    LEFT JOIN revision v ON v.key = a.newest LEFT JOIN content c ON c.key = v.content"""


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


# Aliases in every query: t1 artifact, t2 record, t3 the revision, t4 its content. Rows are fetched whole, each with its
# checksum, so that one reading gives them and proves them: where a cell came from an index, it is proven with its row.

REVISION_AT = 18
_REVISION_COLUMNS = f"{proof.columns('revision', 't3')}, {proof.columns('content', 't4')}"
COLUMNS = f"{proof.columns('artifact', 't1')}, {proof.columns('record', 't2')}, {_REVISION_COLUMNS}"
OTHERS = """LEFT JOIN record t2 ON t2.key = t1.key LEFT JOIN revision t3 ON t3.key = t1.newest
    LEFT JOIN content t4 ON t4.key = t3.content"""
"""Outer joins: an artifact whose other rows cannot be reached is an error, not one artifact less."""
OF_KEYS = f"CROSS JOIN artifact t1 ON t1.key = k.key {OTHERS}"
"""Behind a query for keys, k, which has put them in order and knows how many there may be."""
_BY_ID = f"FROM record r CROSS JOIN artifact t1 ON t1.key = r.key {OTHERS} WHERE r.id = ?"
_BY_KEY = f"FROM artifact t1 {OTHERS} WHERE t1.key = ?"
_BY_PLACE = f"FROM artifact t1 {OTHERS} WHERE {PLACE}"
_NUMBERED = f"n.key, {COLUMNS}"
_MANY_AT = f"""FROM json_each(?) n CROSS JOIN artifact t1
    ON t1.collection = json_extract(n.value, '$[0]') AND t1.name = json_extract(n.value, '$[1]') AND t1.live = 1
    {OTHERS}"""
_MANY_OF = f"""FROM json_each(?1) n CROSS JOIN record r ON r.id = substr(?2, n.key * 16 + 1, 16)
    CROSS JOIN artifact t1 ON t1.key = r.key {OTHERS}"""
_MANY_KEYS = f"FROM json_each(?) n CROSS JOIN artifact t1 ON t1.key = n.value {OTHERS}"
_LIVE = f"""FROM (SELECT key FROM artifact WHERE live = 1 AND key > ? ORDER BY key LIMIT ?) k {OF_KEYS}"""
_CHANGED = f"""SELECT key FROM artifact WHERE key > ?1 AND key <= ?2
    UNION SELECT artifact FROM revision WHERE key > ?1 AND key <= ?2 AND number > 1
    UNION SELECT record FROM change c WHERE seq > ?1 AND seq <= ?2 AND {proof.proven("change", "c")} ORDER BY 1"""
_REVISIONS = f"SELECT {_REVISION_COLUMNS} FROM revision t3 LEFT JOIN content t4 ON t4.key = t3.content WHERE"
_LAST_NUMBER = """SELECT coalesce((SELECT max(number) FROM revision WHERE artifact = ?1 AND number > 1),
    (SELECT number FROM revision WHERE key = ?1))"""
_BEFORE = f"""SELECT n.key, {_REVISION_COLUMNS} FROM json_each(?) n
    CROSS JOIN revision t3 ON {revised.numbered("t3", "json_extract(n.value, '$[0]')", "json_extract(n.value, '$[1]')")}
    LEFT JOIN content t4 ON t4.key = t3.content"""


class ArtifactRows:
    """Reads artifacts."""

    def __init__(self, database: Database, lookups: Lookups) -> None:
        self._db = database
        self._lookups = lookups
        self._maker = Maker(lookups)

    # -- one -------------------------------------------------------------------------------------------------------

    def by_id(self, artifact_id: str, sight: Sight | None = None) -> Artifact | None:
        """The artifact with an id, deleted or not."""
        raw, sight = moment.id_bytes(artifact_id), sight or self._lookups.sights.now()
        row = self._first(_BY_ID, (raw,), raw, sight)
        if row is None:
            self._lookups.missed(artifact_id, "artifact")
            return None
        if row[10] != raw:
            raise proof.damaged("record", row[0])
        return self._records([row], sight)[0]

    def by_key(self, key: int) -> Artifact | None:
        """The artifact with a key, deleted or not."""
        sight = self._lookups.sights.now()
        row = self._first(_BY_KEY, (key,), key, sight)
        return None if row is None else self._records([row], sight)[0]

    def by_place(self, collection: int, name: Name, sight: Sight | None = None) -> Artifact | None:
        """The live artifact of a name in a collection."""
        place, sight = (collection, name.text, name.stray), sight or self._lookups.sights.now()
        row = self._first(_BY_PLACE, place, place, sight)
        if row is None:
            neighbours.ARTIFACTS.prove(self._db, place)
            return None
        if row[1:4] != place or row[7] != 1:
            raise proof.damaged("artifact", row[0])
        return self._records([row], sight)[0]

    def is_free(self, collection: int, name: Name) -> bool:
        """Whether no live artifact has a name in a collection: what `by_place` would find out, in half the time."""
        place = (collection, name.text, name.stray)
        return neighbours.ARTIFACTS.prove(self._db, place) != place

    def _first(self, rest: str, parameters: tuple[Any, ...], asked: Any, sight: Sight) -> Row | None:
        """The row of SELECT COLUMNS `rest`, proven; from memory if nobody has written since."""
        kept = sight.pages.get(asked)
        if kept is not None:
            return kept
        rows = self._db.whole(COLUMNS, rest, parameters)
        if not rows:
            return None
        prove_all(rows)
        row = rows[0]
        if sight.version is not None and len(row[23] or "") <= MAX_CHARACTERS:
            sight.keep(asked, row)
        return row

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
        wanted = ((collection, name.text, name.stray) for collection, name in places)
        neighbours.ARTIFACTS.prove_all(self._db, wanted)

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
        row = self._db.one(f"{_REVISIONS} {revised.numbered('t3', '?1', '?2')}", (key, number))
        return None if row is None else self._to_revisions(key, artifact_id, [row])[0]

    def history(self, key: int, artifact_id: str) -> list[Revision]:
        """All revisions of an artifact, newest first."""
        # Numbers have no gaps, and the newest is among them: a row that an index lost is missed. The newest is asked
        # for first: others may add revisions in between, and none ever goes.
        newest = self._db.one("SELECT newest FROM artifact WHERE key = ?", (key,))
        rows = self._db.rows(f"{_REVISIONS} {revised.of_artifact('t3', '?1')} ORDER BY t3.number DESC", (key,))
        known = newest is None or newest[0] in {row[0] for row in rows}
        if not known or [row[2] for row in rows] != list(range(len(rows), 0, -1)):
            raise proof.damaged("revision", f"of artifact {key}")
        return self._to_revisions(key, artifact_id, rows)

    def _to_revisions(self, artifact: int, artifact_id: str, rows: Sequence[Row]) -> list[Revision]:
        for row in rows:
            _prove_revision(row)
            if row[1] != artifact:
                raise proof.damaged("revision", f"of artifact {artifact}")
        before = self._before(rows)
        written = self._lookups.written
        return [self._maker.revision(artifact_id, row, before.get(row[0]), written(row[0])) for row in rows]

    def _before(self, rows: Sequence[Row]) -> dict[int, str]:
        """Digests of the revisions before some, by the keys of those."""
        later = [row for row in rows if row[2] > 1]
        found: dict[int, str] = {}
        for start in range(0, len(later), _TOGETHER):
            part = later[start : start + _TOGETHER]
            asked = canon.dumps([[row[1], row[2] - 1] for row in part])
            for number, *rest in self._db.rows(_BEFORE, (asked,)):
                before, after = tuple(rest), part[number]
                _prove_revision(before)
                if before[1] != after[1] or before[2] != after[2] - 1:
                    raise proof.damaged("revision", before[0])
                found[after[0]] = digest.text(before[15])
        return found

    def last_number(self, key: int) -> int:
        """The highest revision number an artifact ever had; numbers are never given twice."""
        row = self._db.one(_LAST_NUMBER, (key,))
        return int(row[0]) if row and row[0] is not None else 0

    def newest_kept(self, key: int, *, without: Sequence[int]) -> int | None:
        """The highest number of a kept revision other than some."""
        sql = f"""SELECT v.number FROM revision v WHERE {revised.of_artifact("v", "?1")} AND v.state = ?2
                  ORDER BY v.number DESC"""
        return next((n for (n,) in self._db.rows(sql, (key, STATE_KEPT)) if n not in without), None)

    def key_of(self, artifact_id: str) -> int | None:
        """The key of an artifact's record."""
        return self._lookups.key(artifact_id)

    # -- many ------------------------------------------------------------------------------------------------------

    def page(self, rest: str, parameters: tuple[Any, ...]) -> list[Row]:
        """The rows of SELECT COLUMNS `rest`, which must bound its result inside; proven, in any order."""
        sight = self._lookups.sights.now()
        asked = (rest, parameters)
        kept = sight.answers.get(asked)
        if kept is not None:
            return list(kept)
        rows = self._db.whole(COLUMNS, rest, parameters)
        prove_all(rows)
        few = sight.version is not None and len(rows) <= _KEPT_TOGETHER
        if few and max([len(row[23] or "") for row in rows], default=0) <= MAX_CHARACTERS:
            sight.keep_answer(asked, tuple(rows))
        return rows

    def many_at(self, places: Sequence[tuple[int, Name]]) -> dict[int, Artifact]:
        """Live artifacts at many places (collection, name), by number; places where nothing is found are left out."""
        asked = canon.dumps([[collection, name.text] for collection, name in places])
        found: dict[int, Row] = {}
        for number, *cells in self._db.whole(_NUMBERED, _MANY_AT, (asked,)):
            collection, name = places[number]
            if cells[3] == name.stray:
                found[number] = tuple(cells)
                if cells[1:4] != [collection, name.text, name.stray] or cells[7] != 1:
                    raise proof.damaged("artifact", cells[0])
        return self._many(found)

    def many_of(self, artifact_ids: Sequence[str]) -> dict[int, Artifact]:
        """Live artifacts with many ids, by number; ids that nothing is found for are left out."""
        raws = [moment.id_bytes(one) for one in artifact_ids]
        rows = self._db.whole(_NUMBERED, _MANY_OF, (str(list(range(len(raws)))), b"".join(raws)))
        found = {row[0]: row[1:] for row in rows}
        for number, row in found.items():
            if row[10] != raws[number]:
                raise proof.damaged("record", row[0])
        return self._many({number: row for number, row in found.items() if not row[15]})

    def many_by_key(self, keys: Sequence[int]) -> dict[int, Artifact]:
        """Artifacts with some keys, deleted or not, by key; keys of nothing are left out."""
        rows = self._db.whole(_NUMBERED, _MANY_KEYS, (str(list(keys)),))
        return self._many({row[1]: row[1:] for row in rows})

    def _many(self, found: dict[int, Row]) -> dict[int, Artifact]:
        prove_all(found.values())
        return dict(zip(found, self.records(list(found.values())), strict=True))

    def live_from(self, after_key: int, limit: int) -> list[tuple[int, int, Artifact]]:
        """(key, seq of the last change, artifact) of live ones by key beyond one, for whoever goes through all."""
        rows = sorted(self.page(_LIVE, (after_key, limit)), key=itemgetter(0))
        return [(row[0], row[14], one) for row, one in zip(rows, self.records(rows), strict=True)]

    def changed(self, after: int, upto: int) -> list[int]:
        """Keys of artifacts that changes beyond seq `after`, up to `upto`, are of; and of other records among them."""
        return [key for (key,) in self._db.rows(_CHANGED, (after, upto))]

    def records(self, rows: Sequence[Row]) -> list[Artifact]:
        """Rows of `page` as artifacts."""
        return self._records(rows, self._lookups.sights.now())

    def _records(self, rows: Sequence[Row], sight: Sight) -> list[Artifact]:
        tagged = [row for row in rows if row[16]]
        tags = self._tags(tagged) if tagged else {}
        before = self._before([row[REVISION_AT:] for row in rows if row[20] > 1])
        return self._maker.artifacts(rows, tags, before, sight)

    def _tags(self, rows: Sequence[Row]) -> dict[int, tuple[str, ...]]:
        """Tags of records, each proven by its row; one that has changed since may have others."""
        found = self._lookups.tags(row[0] for row in rows)
        for row in rows:
            if proof.of_tags(found.get(row[0], ())) != row[16] and not self._changed(row):
                raise proof.damaged("tagging", row[0])
        return found

    def _changed(self, row: Row) -> bool:
        """Whether a record has changed since a row was read: then the two readings may differ, and both be right."""
        now = self._db.one("SELECT changed FROM record WHERE key = ?", (row[0],))
        return now is not None and now[0] != row[14]


def _prove_revision(row: Row) -> None:
    proof.prove("revision", row[:13], row[13])
    proof.prove("content", row[14:17], row[17])

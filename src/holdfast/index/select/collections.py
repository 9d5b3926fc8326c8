"""Collections out of rows, and the way down a path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from holdfast.errors import InvalidNameError
from holdfast.index import proof
from holdfast.index.database import Database
from holdfast.index.select import neighbours
from holdfast.index.select.lookups import STEP, TIME_OF, Lookups
from holdfast.index.select.sight import MAX_FOLDERS, Sight
from holdfast.values import canon, moment, names
from holdfast.values.names import Name
from holdfast.values.records import Collection, FileFacts

_PAGE = 500
_COLUMNS = f"""c.key, c.parent, c.name, c.stray, c.metadata, c.mode, c.mtime_ns, r.id, r.tenant, r.owner, r.deleted,
               {TIME_OF.format("c.key")}, r.changed, {TIME_OF.format("r.changed")}"""
_PROVEN = f"""SELECT c.key, c.parent, c.name, c.stray, r.id, r.changed,
    {proof.proven("collection", "c")}, {proof.proven("record", "r")}, {proof.tags_proven("r")}
    FROM collection c JOIN record r ON r.key = c.key WHERE c.key IN (SELECT value FROM json_each(?))"""
_TAKEN = f"""SELECT n.key, c.stray, {proof.proven("collection", "c")} FROM json_each(?) AS n CROSS JOIN collection c
             ON c.parent = json_extract(n.value, '$[0]') AND c.name = json_extract(n.value, '$[1]') AND c.live = 1"""
_SELECT = f"SELECT {_COLUMNS} FROM collection c LEFT JOIN record r ON r.key = c.key"
_CHILD = f"{STEP} (SELECT key FROM collection WHERE parent = ? AND name = ? AND stray = ? AND live = 1)"
_ROOT = f"{STEP} (SELECT key FROM collection WHERE parent IS NULL AND tenant = ?)"
_PARENTS = f"""SELECT key, parent, live, {proof.proven("collection", "c")} FROM collection c
               WHERE key IN (SELECT value FROM json_each(?))"""


class CollectionRows:
    """Reads collections."""

    def __init__(self, database: Database, lookups: Lookups) -> None:
        self._db = database
        self._lookups = lookups

    def root(self, tenant: str = "", sight: Sight | None = None) -> int | None:
        """Key of a tenant's root collection; None before its first write. In `sight`, it is remembered."""
        kept = None if sight is None else sight.roots.get(tenant)
        if kept is not None:
            return kept
        term = self._lookups.term_key(tenant)
        row = self._db.one(_ROOT, (term,))
        if row is None:
            if term is not None:
                neighbours.ROOTS.prove(self._db, (term,))
            return None
        key = self._lookups.take_step(row, sight)
        if (row[1], row[2]) != (None, term):
            raise proof.damaged("collection", key)
        if sight is not None:
            sight.roots[tenant] = key
        return key

    def child(self, parent: int, name: Name, sight: Sight | None = None) -> int | None:
        """Key of the live collection of a name in another. In `sight`, that there are none at all is remembered."""
        if sight is not None and parent in sight.barren:
            return None
        found = self._step(parent, name, sight)
        if found is None and sight is not None:
            self._is_barren(parent, sight)
        return found

    def _step(self, parent: int, name: Name, sight: Sight | None) -> int | None:
        """One name down. Where it leads to is remembered in `sight`."""
        wanted = (parent, name.text, name.stray)
        row = self._db.one(_CHILD, wanted)
        if row is None:
            neighbours.COLLECTIONS.prove(self._db, wanted)
            return None
        key = self._lookups.take_step(row, sight)
        if (row[1], row[3], row[4], row[8]) != (*wanted, 1):
            raise proof.damaged("collection", key)
        return key

    def _is_barren(self, parent: int, sight: Sight) -> bool:
        """Whether no live collection lies right in another. That none does is remembered."""
        if parent not in sight.barren and not self._has_any(parent):
            sight.keep_barren(parent)
        return parent in sight.barren

    def _has_any(self, parent: int) -> bool:
        """Whether a live collection lies right in another: the first entry behind it, which is proven, tells."""
        behind = neighbours.COLLECTIONS.prove(self._db, (parent, "", b""))
        return behind is not None and behind[0] == parent

    def taken(self, places: Sequence[tuple[int, Name]]) -> set[tuple[int, Name]]:
        """Those of many places (collection, name) where a live collection is, with one query."""
        asked = canon.dumps([[parent, name.text] for parent, name in places])
        found = self._db.rows(_TAKEN, (asked,))
        return {places[place] for place, stray, _ in found if stray == places[place][1].stray}

    def newest_deleted(self, parent: int, name: Name) -> int | None:
        """Key of the collection of this name that was deleted last."""
        sql = """SELECT c.key FROM collection c JOIN record r ON r.key = c.key
                 WHERE c.parent = ? AND c.name = ? AND c.stray = ? AND c.live IS NULL ORDER BY r.deleted DESC"""
        row = self._db.one(sql, (parent, name.text, name.stray))
        if row is None:
            proof.prove_all(self._db, "collection")
        return None if row is None else int(row[0])

    def down(self, path: tuple[Name, ...], tenant: str = "", sight: Sight | None = None) -> int | None:
        """Key of the live collection that a path leads to. In `sight`, the steps are remembered."""
        key = self.root(tenant, sight)
        for name in path:
            if key is None:
                return None
            key = self._step(key, name, sight)
        return key

    def around(self, path: str | bytes, sight: Sight) -> tuple[int | None, Name]:
        """(key of the live collection that a path lies in, its last name); InvalidNameError for the root.

        None if there is no such collection. One that was found is remembered until somebody writes.
        """
        last = path.rpartition("/")[2] if isinstance(path, str) else path.rpartition(b"/")[2]
        folder = path[: len(path) - len(last)]
        key = sight.ways.get(folder)
        if key is not None:
            return key, names.parse(last)
        parts = names.parse_path(path)
        if not parts:
            raise InvalidNameError("an artifact needs a name", name="", reason="empty")
        key = self.down(parts[:-1], sight=sight)
        if key is not None and sight.has_places:
            sight.keep_way(folder, key)
        return key, parts[-1]

    def subtree(self, path: str) -> tuple[list[int], frozenset[str]]:
        """Keys and ids of the collection at a path and of all live ones below it; none if there is none."""
        sight = self._lookups.sights.now()
        kept = sight.subtrees.get(path)
        if kept is not None:
            return kept
        key = self._at(path, sight)
        keys = [] if key is None else [key, *self.below(key)]
        found = keys, frozenset(self._lookups.ids(keys).values())
        if sight.version is not None and len(keys) <= MAX_FOLDERS:
            sight.keep_subtree(path, found)
        return found

    def alone(self, path: str) -> int | None:
        """Key of the collection at a path, if no live one lies below it; None if one does, or there is none."""
        sight = self._lookups.sights.now()
        key = self._at(path, sight)
        return key if key is not None and self._is_barren(key, sight) else None

    def _at(self, path: str, sight: Sight) -> int | None:
        """Key of the live collection at a path as `under` has it."""
        key = sight.at.get(path)
        if key is None:
            key = self.down(names.parse_path(path), sight=sight)
            if key is not None:
                sight.keep_at(path, key)
        return key

    def by_key(self, key: int) -> Collection | None:
        """The collection with a key, deleted or not."""
        return self._first(f"{_SELECT} WHERE c.key = ?", (key,))

    def by_id(self, collection_id: str) -> Collection | None:
        """The collection with an id, deleted or not."""
        found = self._first(f"{_SELECT} WHERE r.id = ?", (moment.id_bytes(collection_id),))
        if found is None:
            self._lookups.missed(collection_id, "collection")
        return found

    def _first(self, sql: str, parameters: tuple[Any, ...]) -> Collection | None:
        row = self._db.one(sql, parameters)
        return None if row is None else self.records([row])[0]

    def children(self, parent: int) -> Iterator[tuple[int, Collection]]:
        """(key, collection) of the live collections right below one, by name, in short reads."""
        after: tuple[str, bytes] = ("", b"")
        while True:
            sql = f"""{_SELECT} WHERE c.parent = ? AND c.live = 1 AND (c.name, c.stray) > (?, ?)
                      ORDER BY c.name, c.stray LIMIT ?"""
            page = self._db.rows(sql, (parent, *after, _PAGE))
            yield from zip((row[0] for row in page), self.records(page), strict=True)
            if len(page) < _PAGE:
                return
            after = (page[-1][2], page[-1][3])

    def below(self, key: int) -> list[int]:
        """Keys of all live collections below one, parents before children. One number for each collection."""
        sql = """WITH RECURSIVE below(key, depth) AS (
                   SELECT key, 1 FROM collection WHERE parent = ?1 AND live = 1
                   UNION ALL SELECT c.key, depth + 1 FROM collection c JOIN below ON c.parent = below.key
                   WHERE c.live = 1)
                 SELECT key FROM below ORDER BY depth, key"""
        keys = [row[0] for row in self._db.rows(sql, (key,))]
        if not keys:
            return keys
        rows = {row[0]: row[1:3] for row in self._db.rows(_PARENTS, (canon.dumps(keys),))}
        inside = {key, *keys}
        # What an index led to is asked of the rows themselves.
        wrong = next((one for one in keys if one not in rows or rows[one][0] not in inside or rows[one][1] != 1), None)
        if wrong is not None:
            raise proof.damaged("collection", wrong)
        return keys

    def taken_along(self, seq: int) -> list[tuple[int, int]]:
        """(key, kind code) of the records that the delete with this seq took along, itself included, oldest first."""
        return [
            (r[0], r[1]) for r in self._db.rows("SELECT key, kind FROM record WHERE deleted = ? ORDER BY key", (seq,))
        ]

    def deleted_seq(self, key: int) -> int:
        """The seq of the delete that hides a record; 0 if it is live."""
        row = self._db.one(f"SELECT deleted, {proof.proven('record', 'r')} FROM record r WHERE key = ?", (key,))
        return 0 if row is None else int(row[0])

    def artifact_keys(self, collection: int) -> Iterator[int]:
        """Keys of the live artifacts right in a collection, in short reads, by key."""
        after = 0
        while True:
            sql = "SELECT key FROM artifact WHERE collection = ? AND live = 1 AND key > ? ORDER BY key LIMIT ?"
            page = self._db.rows(sql, (collection, after, _PAGE))
            yield from (row[0] for row in page)
            if len(page) < _PAGE:
                return
            after = page[-1][0]

    def count_artifacts(self, collections: Sequence[int]) -> int:
        """How many live artifacts lie right in some collections."""
        total = 0
        for key in collections:
            row = self._db.one("SELECT count(*) FROM artifact WHERE collection = ? AND live = 1", (key,))
            total += row[0] if row else 0
        return total

    def parent_of(self, key: int) -> int | None:
        """Key of the collection that holds a collection."""
        sql = f"SELECT parent, {proof.proven('collection', 'c')} FROM collection c WHERE key = ?"
        row = self._db.one(sql, (key,))
        return None if row is None or row[0] is None else int(row[0])

    def records(self, rows: Sequence[tuple[Any, ...]]) -> list[Collection]:
        """Rows as collections. IndexDamagedError if one is not what was written, or came by a wrong key."""
        self._prove(rows)
        tags = self._lookups.tags(row[0] for row in rows)
        ids = self._lookups.ids(row[1] for row in rows)
        folders = self._lookups.steps(row[1] for row in rows if row[1] is not None)
        return [self._to_collection(row, tags.get(row[0], ()), ids, folders) for row in rows]

    def _prove(self, rows: Sequence[tuple[Any, ...]]) -> None:
        if not rows:
            return
        proven = {row[0]: row for row in self._db.rows(_PROVEN, (canon.dumps([row[0] for row in rows]),))}
        for row in rows:
            again = proven.get(row[0])
            # One that changed meanwhile may differ.
            if again is None or (again[5] == row[12] and again[1:5] != (row[1], row[2], row[3], row[7])):
                raise proof.damaged("collection", row[0])
        self._lookups.prove_times(seq for row in rows for seq in (row[0], row[12]))

    def _to_collection(
        self, row: tuple[Any, ...], tags: tuple[str, ...], ids: dict[int, str], folders: dict[int, tuple[Name, ...]]
    ) -> Collection:
        term = self._lookups.term
        name = Name(row[2], row[3])
        path = (*folders[row[1]], name) if row[1] is not None else ()
        return Collection(
            id=moment.id_text(row[7]),
            path=names.join(path),
            path_bytes=names.join_raw(path),
            name=name.text,
            name_bytes=name.raw,
            parent_id=ids.get(row[1]),
            metadata=canon.decode(row[4]) if row[4] else {},
            tags=tags,
            created_at=self._lookups.time(row[0], row[11]),
            updated_at=self._lookups.time(row[12], row[13]),
            deleted_at=self._lookups.deleted_at(row[10]),
            file=FileFacts(row[5], row[6]),
            tenant=term(row[8]),
            owner=term(row[9]),
        )


def display(path: tuple[Name, ...]) -> str:
    """A path for messages."""
    return names.join(path) or "the root"

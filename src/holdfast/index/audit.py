"""What fsck asks of an index: its pages, its chain row by row, its tables in order, which content is needed by whom.

Made for files that may be damaged: text that is not UTF-8 comes out escaped instead of raising, and every error of
SQLite comes out typed, also those that show only while rows are being fetched.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from holdfast.errors import HoldfastError
from holdfast.formats.pack import Spot
from holdfast.index import migrating, proof, revised, tables
from holdfast.index.chain import ChainRows
from holdfast.index.database import mapped
from holdfast.index.invariants import INVARIANTS, Invariant, id_bytes
from holdfast.index.migrations import manifest
from holdfast.index.sql import SqlIndex
from holdfast.index.tables import LOOSE, RECIPES, STATE_KEPT
from holdfast.values.names import Name, join

_PAGE = 1_000
_NO_PACKS = (None, LOOSE, RECIPES)
_CHAIN_PAGE = 64


@dataclass(frozen=True, slots=True)
class ChainRow:
    """A row of the chain as it stands, nothing verified. `actor` is the text that its key stands for."""

    first: int
    tx: bytes
    count: int
    time_us: int
    actor: str
    hash: bytes
    data: bytes | None  # None: it does not decompress


class ContentRow(NamedTuple):
    """A known content. `stored_bytes`: None if no row says that it is present; `wanted`: a kept revision has it.

    `spot`: its place in a pack; None if it has a file of its own, or no row. `cut`: that file is a recipe.
    """

    key: int
    digest: bytes
    size: int
    stored_bytes: int | None
    frames: int | None
    condemned_us: int | None
    wanted: bool
    spot: Spot | None = None
    cut: bool = False


_OBJECTS = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL"
_CONTENT = f"""SELECT c.key, c.digest, c.size, b.stored_bytes, b.frames, b.condemned_us,
    {revised.has_in_state("c.key", STATE_KEPT)},
    b.container, b.offset, b.start, (SELECT k.name FROM container k WHERE k.key = b.container AND k.kind = 'pack')
    FROM content c LEFT JOIN blob b ON b.content = c.key"""


class Audit:
    """Reads one index for fsck, from the thread that made it. It must not be used for anything else meanwhile."""

    def __init__(self, index: SqlIndex) -> None:
        self.index = index
        self._db = index.database
        connection = self._db.raw()
        connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
        with self._db.errors():
            connection.create_function("id_bytes", 1, proof.asked_by_sqlite(id_bytes), deterministic=True)

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """All reads of the block see one state of the index; writers go on."""
        self._db.run("BEGIN")
        try:
            yield
        finally:
            with contextlib.suppress(HoldfastError):
                self._db.run("ROLLBACK")

    def pages(self, *, quick: bool) -> list[str]:
        """What SQLite finds wrong with the file, at most 20 lines; `quick` leaves out rows against their indexes."""
        pragma = "quick_check" if quick else "integrity_check"
        return [str(row[0]) for row in self._db.rows(f"PRAGMA {pragma}(20)") if row[0] != "ok"]

    def schema(self) -> list[str]:
        """What is not as the schema says; SchemaTooNewError and the like pass."""
        if migrating.check(self._db) == 0:
            return ["there are no tables of an index"]
        found, wanted = self._objects(), _objects_wanted()
        lacking = [f"{name} is missing" for name in sorted(wanted.keys() - found.keys())]
        changed = [f"{n} is not as the schema says" for n in sorted(wanted) if found.get(n, wanted[n]) != wanted[n]]
        return lacking + changed + [f"{n} is not part of the schema" for n in sorted(found.keys() - wanted.keys())]

    def _objects(self) -> dict[str, tuple[Any, ...]]:
        return {row[1]: row for row in self._db.rows(_OBJECTS)}

    def selectable(self) -> bool:
        """Whether every table has its columns, so that its rows can be read."""
        try:
            for table, columns in proof.EVERY.items():  # models would take longer than all the rest of a small store
                listed = ", ".join(f't."{column}"' for column in columns)
                self._db.rows(f'SELECT {listed} FROM "{table}" t LIMIT 0')
        except HoldfastError:
            return False
        return True

    # -- chain -------------------------------------------------------------------------------------------------------

    def chain(self) -> Iterator[ChainRow]:
        """Every row of the chain in order, in short reads."""
        position = -1
        sql = """SELECT x.first, x.tx, x.count, x.time_us, coalesce(t.text, ''), x.hash, x.data FROM tx x
                 LEFT JOIN term t ON t.key = x.actor WHERE x.first > ? ORDER BY x.first LIMIT ?"""
        while page := self._db.rows(sql, (position, _CHAIN_PAGE)):
            for first, tx, count, time_us, actor, own_hash, data in page:
                yield ChainRow(first, tx, count, time_us, actor, own_hash, _decompressed(first, data))
            position = page[-1][0]

    def hash_at(self, first: int) -> bytes | None:
        """The hash in the chain's row that starts at a seq."""
        row = self._db.one("SELECT hash FROM tx WHERE first = ?", (first,))
        return None if row is None else row[0]

    def last(self) -> tuple[int, bytes] | None:
        """(first seq, hash) of the last transaction as its row stands; None if there is none."""
        row = self._db.one("SELECT first, hash FROM tx ORDER BY first DESC LIMIT 1")
        return None if row is None else (row[0], row[1])

    # -- rows --------------------------------------------------------------------------------------------------------

    def rows(self, table: str) -> Iterator[tuple[Any, ...]]:
        """Every row of a table in order of its primary key; columns as `columns` says."""
        listed = ", ".join(f'"{name}"' for name in self.columns(table))
        order = ", ".join(f'"{name}"' for name in self.keys(table))
        cursor = self._db.run(f'SELECT {listed} FROM "{table}" ORDER BY {order}')
        try:
            yield from cursor
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise mapped(error, self.index.path) from error

    def columns(self, table: str) -> list[str]:
        """The columns of a table, primary key first."""
        model = tables.models().named(table)
        names = [field.column_name for field in model._meta.sorted_fields]
        keys = self.keys(table)
        return [*keys, *(name for name in names if name not in keys)]

    def keys(self, table: str) -> list[str]:
        """The columns of a table's primary key."""
        model = tables.models().named(table)
        return [field.column_name for field in model._meta.get_primary_keys()]  # type: ignore[no-untyped-call]

    def count(self, table: str) -> int:
        """How many rows a table has."""
        row = self._db.one(f'SELECT count(*) FROM "{table}"')
        return int(row[0]) if row else 0

    def broken(self, invariant: Invariant) -> Iterator[int]:
        """Keys of the rows that break a rule."""
        cursor = self._db.run(invariant.query)
        try:
            for row in cursor:
                yield row[0]
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise mapped(error, self.index.path) from error

    @staticmethod
    def invariants() -> tuple[Invariant, ...]:
        """Every rule that rows must keep."""
        return INVARIANTS

    # -- content -----------------------------------------------------------------------------------------------------

    def contents_after(self, digest: bytes, *, but: Sequence[str] = ()) -> list[ContentRow]:
        """The next known contents in order of their digests: one short read, none at the end.

        `but`: not those in these packs.
        """
        names = ", ".join(f"?{number}" for number in range(2, 2 + len(but)))
        packs = f"SELECT key FROM container WHERE kind = 'pack' AND name IN ({names})"
        elsewhere = f"AND (b.container IS NULL OR b.container NOT IN ({packs}))" if but else ""
        sql = f"""{_CONTENT} WHERE substr(c.digest, 1, 4) >= substr(?1, 1, 4) AND c.digest > ?1
                  AND typeof(c.digest) = 'blob' AND length(c.digest) = 32 {elsewhere}
                  ORDER BY substr(c.digest, 1, 4), c.digest LIMIT {_PAGE}"""
        # SQLite's substr of an empty blob is NULL.
        return [_content(row) for row in self._db.rows(sql, (digest or b"\0", *but))]

    def content(self, digest: bytes) -> ContentRow | None:
        """One content as it is known now."""
        row = self._db.one(f"{_CONTENT} WHERE substr(c.digest, 1, 4) = ? AND c.digest = ?", (digest[:4], digest))
        return None if row is None else _content(row)

    def blobs(self) -> tuple[int, int]:
        """(how many, stored bytes of all) blobs that have a row."""
        row = self._db.one("SELECT count(*), total(stored_bytes) FROM blob")
        return (int(row[0]), int(row[1])) if row else (0, 0)

    def users_of(self, digest: bytes, limit: int) -> tuple[list[tuple[str, int]], int]:
        """(the first few (path, revision number) whose kept content this is, how many there are)."""
        frm = f"""FROM content c JOIN revision v ON {revised.of_content("v", "c.key")} AND v.state = {STATE_KEPT}
                  WHERE substr(c.digest, 1, 4) = ? AND c.digest = ?"""
        found = self._db.rows(f"SELECT v.artifact, v.number {frm} ORDER BY v.key LIMIT ?", (digest[:4], digest, limit))
        total = self._db.one(f"SELECT count(*) {frm}", (digest[:4], digest))
        return [(self.artifact_path(key), number) for key, number in found], int(total[0]) if total else 0

    # -- names for people --------------------------------------------------------------------------------------------

    def artifact_path(self, key: int) -> str:
        """The path of an artifact as far as rows give it."""
        row = self._db.one("SELECT collection, name, stray FROM artifact WHERE key = ?", (key,))
        if row is None:
            return f"(artifact {key})"
        return join((*self._steps(row[0]), _name(row[1], row[2])))

    def describe(self, table: str, key: Any) -> str:
        """A row in words: the record it belongs to if that has a name."""
        with contextlib.suppress(HoldfastError):
            if table in ("artifact", "record") and self._db.one("SELECT 1 FROM artifact WHERE key = ?", (key,)):
                return f"artifact {self.artifact_path(key)}"
            if table in ("collection", "record") and self._db.one("SELECT 1 FROM collection WHERE key = ?", (key,)):
                return f"collection {join(tuple(self._steps(key))) or '(root)'}"
            if table == "revision" and (
                row := self._db.one("SELECT artifact, number FROM revision WHERE key = ?", (key,))
            ):
                return f"artifact {self.artifact_path(row[0])}@{row[1]}"
            if table == "tx":
                return f"transaction {key}"
        return f"row {key} of {table}"

    def _steps(self, collection: int | None) -> list[Name]:
        steps: list[Name] = []
        seen: set[int] = set()
        while collection is not None and collection not in seen:
            seen.add(collection)
            row = self._db.one("SELECT parent, name, stray FROM collection WHERE key = ?", (collection,))
            if row is None:
                return [*reversed([*steps, Name("…", b"")])]
            if row[0] is not None:
                steps.append(_name(row[1], row[2]))
            collection = row[0]
        return [*reversed(steps)]


def quick_look(path: str) -> list[str]:
    """What SQLite finds wrong with any database file that nobody has open; it and its folder stay as they are."""
    uri = "file:" + path.replace("%", "%25").replace("?", "%3f").replace("#", "%23") + "?mode=ro&immutable=1"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
            return [str(row[0]) for row in connection.execute("PRAGMA quick_check(20)") if row[0] != "ok"]
    except UnicodeDecodeError:  # SQLite quotes names of damaged objects in its messages
        return ["names in its schema are not text"]
    except sqlite3.Error as error:
        return [str(error)]


@lru_cache(1)
def _objects_wanted() -> dict[str, tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(":memory:")) as fresh:
        for step in manifest.MANIFEST:
            for statement in step.up:
                fresh.execute(statement)
        return {row[1]: row for row in fresh.execute(_OBJECTS)}


def _content(row: tuple[Any, ...]) -> ContentRow:
    key, digest, size, stored_bytes, frames, condemned_us, wanted, container, offset, start, name = row
    spot = None
    if container not in _NO_PACKS and type(offset) is type(stored_bytes) is type(start) is type(size) is int:
        spot = Spot(name if isinstance(name, str) else "", offset, stored_bytes, start, size)
    return ContentRow(key, digest, size, stored_bytes, frames, condemned_us, bool(wanted), spot, container == RECIPES)


def _name(text: Any, stray: Any) -> Name:
    text = text if isinstance(text, str) else repr(text)  # a damaged row can hold anything
    return Name(text, stray if isinstance(stray, bytes) else b"")


def _decompressed(first: int, data: Any) -> bytes | None:
    try:
        return ChainRows._decompress(first, data)
    except (HoldfastError, TypeError):
        return None

"""Rows about chunks: where in which pack each is, and, for gc, which of them the recipes that are needed list."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from holdfast.formats.pack import Spot
from holdfast.index import columnar, proof, revised
from holdfast.index.database import Database
from holdfast.index.tables import LOOSE, RECIPES, STATE_KEPT
from holdfast.values import digest as digests
from holdfast.values.frozen import dataclass

_PAGE = 500
_TOGETHER = 5_000
_EVER = 1 << 62
_FIND = "substr(h.digest, 1, 4) = ? AND h.digest = ?"
_NAME = f"(SELECT k.name FROM container k WHERE k.key = h.container AND {proof.proven('container', 'k')})"
_COLUMNS = f"""h.key, h.digest, h.size, h.offset, h.stored_bytes, h.start, h.condemned_us, {_NAME},
    {proof.proven("chunk", "h")}"""
_CONDEMNED = proof.changed("chunk", ["condemned_us"])
_PLACED = proof.changed("chunk", ["size", "container", "offset", "start", "stored_bytes", "condemned_us"])
_MOVED = proof.changed("chunk", ["container", "offset", "start", "stored_bytes"])
_KEY = "(SELECT key FROM container WHERE name = ? AND kind = 'pack')"
_USABLE = """typeof(h.offset) = 'integer' AND typeof(h.start) = 'integer' AND typeof(h.stored_bytes) = 'integer'
    AND typeof(h.digest) = 'blob' AND length(h.digest) = 32 AND typeof(h.size) = 'integer'"""
_KEPT = revised.has_in_state("b.content", STATE_KEPT)
_BEFORE = f"""coalesce((SELECT v.key FROM revision v WHERE v.artifact = r.artifact AND v.number > {revised.FIRST}
    AND v.number < r.number AND v.state = {STATE_KEPT} ORDER BY v.number DESC LIMIT 1), r.artifact)"""
_FOUR, _WHOLE = "substr(?2, j.value * 32 + 1, 4)", "substr(?2, j.value * 32 + 1, 32)"
"""Digests come as one blob and the numbers of those in it: one statement for thousands."""
_NEEDED = "SELECT chunk FROM temp.needed_chunk"


@dataclass(frozen=True, slots=True)
class ChunkRow:
    """Where one chunk is. `condemned_us`: since when gc means to remove it; None: it does not."""

    key: int
    digest: str
    spot: Spot
    condemned_us: int | None


class ChunkRows:
    """Reads and changes the `chunk` table."""

    def __init__(self, database: Database) -> None:
        self._db = database

    # -- one chunk ---------------------------------------------------------------------------------------------------

    def place(self, chunk_digest: str) -> ChunkRow | None:
        """Where a chunk is; None if it has no row, whatever packs hold."""
        raw = digests.raw(chunk_digest)
        row = self._db.one(f"SELECT {_COLUMNS} FROM chunk h WHERE {_FIND}", (raw[:4], raw))
        if row is None:
            return None
        key, raw, size, offset, stored, start, condemned_us, name, _ = row
        return ChunkRow(key, digests.text(raw), Spot(name or "", offset, stored, start, size), condemned_us)

    def has(self, raw: bytes) -> bool:
        """Whether a chunk has a row and is not condemned. The row is proven when it is read."""
        sql = f"SELECT 1 FROM chunk h WHERE {_FIND} AND h.condemned_us IS NULL"
        return self._db.one(sql, (raw[:4], raw)) is not None

    def doubtful(self, raws: bytes | bytearray) -> Iterator[bytes]:
        """Of raw digests, one after the other, those without a row, or with one that is condemned."""
        for numbers, part in _parts(raws):
            sql = f"""SELECT j.value FROM json_each(?1) j WHERE NOT EXISTS (SELECT 1 FROM chunk h
                      WHERE substr(h.digest, 1, 4) = {_FOUR} AND h.digest = {_WHOLE} AND h.condemned_us IS NULL)"""
            for (number,) in self._db.rows(sql, (numbers, part)):
                yield part[number * 32 : number * 32 + 32]

    def register(self, chunk_digest: str, spot: Spot, pack_key: int) -> None:
        """A chunk is there: its row, or its new place; no longer condemned."""
        raw = digests.raw(chunk_digest)
        place = (spot.size, pack_key, spot.offset, spot.start, spot.stored_bytes, None)
        found = self._db.one(f"SELECT h.key FROM chunk h WHERE {_FIND}", (raw[:4], raw))
        if found is not None:
            sql = f"""UPDATE chunk SET size = ?1, container = ?2, offset = ?3, start = ?4, stored_bytes = ?5,
                      condemned_us = ?6, crc = {_PLACED} WHERE key = ?7"""
            self._db.run(sql, (*place, found[0]))
            return
        last = self._db.one("SELECT coalesce(max(key), 0) + 1 FROM chunk")
        assert last is not None
        cells = (int(last[0]), raw, *place)
        self._db.run("INSERT INTO chunk VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*cells, proof.checksum("chunk", *cells)))

    def register_all(self, found: Mapping[bytes, Spot], packs: Mapping[str, int]) -> None:
        """As `register`, of many, by raw digests; `packs`: keys by name. Those that have no row get theirs together."""
        here = set(self._here(b"".join(found)))
        for raw in here:
            self.register(digests.text(raw), found[raw], packs[found[raw].pack])
        last = self._db.one("SELECT coalesce(max(key), 0) FROM chunk")
        assert last is not None
        fresh = [(raw, spot) for raw, spot in found.items() if raw not in here]
        rows: list[tuple[object, ...]] = [
            (key, raw, spot.size, packs[spot.pack], spot.offset, spot.start, spot.stored_bytes, None)
            for key, (raw, spot) in enumerate(fresh, int(last[0]) + 1)
        ]
        with self._db.errors():
            columnar.write(self._db.raw(), "chunk", rows)

    def _here(self, raws: bytes) -> Iterator[bytes]:
        """Of raw digests, one after the other, those that have a row."""
        for numbers, part in _parts(raws):
            sql = f"""SELECT j.value FROM json_each(?1) j WHERE EXISTS (SELECT 1 FROM chunk h
                      WHERE substr(h.digest, 1, 4) = {_FOUR} AND h.digest = {_WHOLE})"""
            for (number,) in self._db.rows(sql, (numbers, part)):
                yield part[number * 32 : number * 32 + 32]

    def revive(self, key: int) -> None:
        """A condemned chunk is wanted again."""
        self._db.run(f"UPDATE chunk SET condemned_us = ?1, crc = {_CONDEMNED} WHERE key = ?2", (None, key))

    def remove(self, key: int) -> None:
        """A chunk is gone: its bytes are garbage of a pack."""
        self._db.run("DELETE FROM chunk WHERE key = ?", (key,))

    # -- all of them -------------------------------------------------------------------------------------------------

    def totals(self) -> tuple[int, int, int]:
        """(how many, bytes of content, bytes stored) of all chunks."""
        stored = "sum(CASE start WHEN 0 THEN stored_bytes ELSE 0 END)"
        row = self._db.one(f"SELECT count(*), coalesce(sum(size), 0), coalesce({stored}, 0) FROM chunk")
        assert row is not None
        return int(row[0]), int(row[1]), int(row[2])

    def in_packs(self, names: Sequence[str], *, gone_us: int | None = None) -> dict[str, tuple[int, int]]:
        """(how many, bytes of content) of chunks in some packs; those that are contents there too are left out.

        `gone_us`: what was condemned up to then and not marked does not count; later than ever: all that was not.
        """
        self._make_marks()
        stays = ""
        if gone_us is not None:
            stays = f"AND (h.key IN ({_NEEDED}) OR ifnull(h.condemned_us, {_EVER}) > {int(gone_us)})"
        sql = f"""SELECT k.name, count(*), sum(h.size) FROM json_each(?) n CROSS JOIN container k
                  CROSS JOIN chunk h ON h.container = k.key WHERE k.name = n.value AND k.kind = 'pack' {stays}
                  AND NOT EXISTS (SELECT 1 FROM blob b WHERE b.container = h.container AND b.container > {LOOSE}
                  AND b.offset = h.offset AND b.start = h.start) GROUP BY k.name"""
        return {name: (count, size) for name, count, size in self._db.rows(sql, (json.dumps(list(names)),))}

    def vouched(self, name: str) -> int:
        """The largest offset in a pack that a chunk's row speaks of; 0 if none does."""
        row = self._db.one(f"SELECT max(offset) FROM chunk WHERE container = {_KEY}", (name,))
        return int(row[0] or 0) if row else 0

    def members(self, name: str) -> Iterator[ChunkRow]:
        """The chunks in a pack, in the order of the file, in short reads."""
        offset, start = -1, -1
        sql = f"""SELECT h.key, h.digest, h.size, h.offset, h.stored_bytes, h.start, h.condemned_us FROM chunk h
                  WHERE h.container = {_KEY} AND {_USABLE} AND (h.offset, h.start) > (?, ?)
                  ORDER BY h.offset, h.start LIMIT {_PAGE}"""
        while page := self._db.rows(sql, (name, offset, start)):
            for key, raw, size, offset, stored, start, condemned in page:
                yield ChunkRow(key, digests.text(raw), Spot(name, offset, stored, start, size), condemned)

    def move(self, key: int, old: Spot, spot: Spot, pack_key: int) -> bool:
        """A chunk was written again elsewhere: its row says so. False if the row is not what it was."""
        sql = f"""UPDATE chunk SET container = ?1, offset = ?2, start = ?3, stored_bytes = ?4, crc = {_MOVED}
                  WHERE key = ?5 AND container = {_KEY.replace("?", "?6")} AND offset = ?7 AND start = ?8"""
        place = (pack_key, spot.offset, spot.start, spot.stored_bytes)
        return self._db.run(sql, (*place, key, old.pack, old.offset, old.start)).rowcount == 1

    def last_cut(self) -> int:
        """The largest key of a content that is stored as chunks; 0: none is."""
        row = self._db.one(f"SELECT max(content) FROM blob WHERE container = {RECIPES}")
        return int(row[0] or 0) if row else 0

    def cut_since(self, seen: int) -> Iterator[tuple[int, str]]:
        """(key, digest) of contents that are stored as chunks, whose keys are larger, in order, in short reads."""
        after = seen
        sql = f"""SELECT b.content, c.digest FROM blob b JOIN content c ON c.key = b.content
                  WHERE b.container = {RECIPES} AND b.content > ? ORDER BY b.content LIMIT {_PAGE}"""
        while page := self._db.rows(sql, (after,)):
            for after, raw in page:
                yield after, digests.text(raw)

    def whole_before(self, content_key: int) -> list[str]:
        """Digests of what the kept revisions before those of a content have, where that has a file of its own."""
        sql = f"""SELECT DISTINCT c.digest
                  FROM revision r CROSS JOIN revision o CROSS JOIN blob b CROSS JOIN content c
                  WHERE {revised.of_content("r", "?1")} AND o.key = {_BEFORE} AND o.number < r.number
                  AND o.state = {STATE_KEPT} AND b.content = o.content AND b.container = {LOOSE}
                  AND c.key = b.content"""
        return [digests.text(raw) for (raw,) in self._db.rows(sql, (content_key,))]

    # -- what is needed ----------------------------------------------------------------------------------------------

    def forget_marks(self) -> None:
        """Begin to mark anew. Marks are this thread's connection's alone, and vanish with it."""
        self._make_marks()
        self._db.run("DELETE FROM temp.needed_chunk")
        self._db.run("DELETE FROM temp.read_recipe")
        self._db.run("DELETE FROM temp.lacking_chunk")

    def _make_marks(self) -> None:
        self._db.run("CREATE TEMP TABLE IF NOT EXISTS needed_chunk (chunk INTEGER PRIMARY KEY)")
        self._db.run("CREATE TEMP TABLE IF NOT EXISTS read_recipe (content INTEGER PRIMARY KEY)")
        self._db.run("CREATE TEMP TABLE IF NOT EXISTS lacking_chunk (digest BLOB PRIMARY KEY) WITHOUT ROWID")

    def unread_recipes(self) -> Iterator[tuple[int, str]]:
        """(key, digest) of contents that kept revisions refer to, and whose recipes were not marked yet, in order."""
        self._make_marks()
        after = 0
        sql = f"""SELECT b.content, c.digest, {proof.proven("blob", "b")}, {proof.proven("content", "c")}
                  FROM blob b JOIN content c ON c.key = b.content WHERE b.container = {RECIPES} AND b.content > ?
                  AND {_KEPT} AND b.content NOT IN (SELECT content FROM temp.read_recipe) ORDER BY b.content LIMIT ?"""
        while page := self._db.rows(sql, (after, _PAGE)):
            for after, raw, *_ in page:
                yield after, digests.text(raw)

    def mark(self, content_key: int, raws: bytes | bytearray) -> None:
        """The chunks of a recipe (raw digests, one after the other) are needed; those without a row are lacking."""
        for numbers, part in _parts(raws):
            sql = f"""INSERT OR IGNORE INTO temp.needed_chunk SELECT h.key FROM json_each(?1) j CROSS JOIN chunk h
                      WHERE substr(h.digest, 1, 4) = {_FOUR} AND h.digest = {_WHOLE}"""
            self._db.run(sql, (numbers, part))
            sql = f"""INSERT OR IGNORE INTO temp.lacking_chunk SELECT {_WHOLE} FROM json_each(?1) j WHERE NOT EXISTS
                      (SELECT 1 FROM chunk h WHERE substr(h.digest, 1, 4) = {_FOUR} AND h.digest = {_WHOLE})"""
            self._db.run(sql, (numbers, part))
        self._db.run("INSERT OR IGNORE INTO temp.read_recipe VALUES (?)", (content_key,))

    def lacks(self) -> bool:
        """Whether a chunk that was to be marked has no row."""
        self._make_marks()
        return self._db.one("SELECT 1 FROM temp.lacking_chunk LIMIT 1") is not None

    def is_lacking(self, raw: bytes) -> bool:
        """Whether a chunk was to be marked and had no row then."""
        self._make_marks()
        return self._db.one("SELECT 1 FROM temp.lacking_chunk WHERE digest = ?", (raw,)) is not None

    def was_read(self, content_key: int) -> bool:
        """Whether the recipe of a content was marked."""
        return self._db.one("SELECT 1 FROM temp.read_recipe WHERE content = ?", (content_key,)) is not None

    def is_needed(self, chunk_digest: str) -> bool:
        """Whether a chunk is one of those that were marked."""
        raw = digests.raw(chunk_digest)
        return self._db.one(f"SELECT 1 FROM chunk h WHERE {_FIND} AND h.key IN ({_NEEDED})", (raw[:4], raw)) is not None

    def remove_unmarked(self) -> int:
        """Remove the rows of all chunks that were not marked; how many."""
        return self._db.run(f"DELETE FROM chunk WHERE key NOT IN ({_NEEDED})").rowcount

    def count_due(self, *, before_us: int, at_once: bool) -> int:
        """How many rows `sweep` would remove; `at_once`: of those too that are not condemned yet. After marking."""
        self._make_marks()
        due = "" if at_once else "condemned_us IS NOT NULL AND condemned_us <= ? AND "
        row = self._db.one(
            f"SELECT count(*) FROM chunk WHERE {due}key NOT IN ({_NEEDED})", () if at_once else (before_us,)
        )
        return int(row[0]) if row else 0

    def condemn(self, now_us: int) -> int:
        """Condemn what was not marked; how many newly."""
        sql = f"""UPDATE chunk SET condemned_us = ?1, crc = {_CONDEMNED}
                  WHERE condemned_us IS NULL AND key NOT IN ({_NEEDED})"""
        return self._db.run(sql, (now_us,)).rowcount

    def acquit(self) -> int:
        """What was condemned, and is marked now, is condemned no more; how many."""
        sql = f"""UPDATE chunk SET condemned_us = ?1, crc = {_CONDEMNED}
                  WHERE condemned_us IS NOT NULL AND key IN ({_NEEDED})"""
        return self._db.run(sql, (None,)).rowcount

    def expect(self, raws: bytes | bytearray) -> None:
        """Raw digests, one after the other, that packs are to be searched for. See `forget_expected`."""
        for numbers, part in _parts(raws):
            sql = f"INSERT OR IGNORE INTO temp.expected_chunk SELECT {_WHOLE} FROM json_each(?1) j"
            self._db.run(sql, (numbers, part))

    def is_expected(self, raw: bytes) -> bool:
        """Whether a digest is searched for."""
        return self._db.one("SELECT 1 FROM temp.expected_chunk WHERE digest = ?", (raw,)) is not None

    def forget_expected(self) -> None:
        """Begin a new search."""
        self._db.run("CREATE TEMP TABLE IF NOT EXISTS expected_chunk (digest BLOB PRIMARY KEY) WITHOUT ROWID")
        self._db.run("DELETE FROM temp.expected_chunk")

    def sweep(self, *, before_us: int, limit: int) -> int:
        """Remove rows condemned before a time and not marked, up to so many; how many."""
        sql = f"""DELETE FROM chunk WHERE key IN (SELECT key FROM chunk WHERE condemned_us IS NOT NULL
                  AND condemned_us <= ? AND key NOT IN ({_NEEDED}) LIMIT ?)"""
        return self._db.run(sql, (before_us, limit)).rowcount


def _parts(raws: bytes | bytearray) -> Iterator[tuple[str, bytes]]:
    """(numbers as JSON, digests) of so many at a time as one statement may hold."""
    for first in range(0, len(raws), 32 * _TOGETHER):
        part = bytes(raws[first : first + 32 * _TOGETHER])
        yield json.dumps(list(range(len(part) // 32))), part

"""A store with everything in it, several damages at random, and what is left of it by an own reckoning.

The reckoning shares no code with repair: contents by decompressing files and hashing, the chain by reading lines and
rows from wherever they lie. Only the verification of a single transaction is the product's.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import sqlite3
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import zstandard

import holdfast
from holdfast.blobs.compress import Shape
from holdfast.blobs.local import LocalBlobs
from holdfast.disk import Disk
from holdfast.engine.pending import Keeper
from holdfast.errors import HoldfastError
from holdfast.formats import lines, marker
from holdfast.journal import Journal
from holdfast.testing import damage
from holdfast.testing.asking import readable
from holdfast.values import change
from holdfast.values.change import Transaction

BIG = bytes(range(251)) * 60
Contents = dict[str, bytes]


# -- the store ---------------------------------------------------------------------------------------------------------


def store_with_everything(root: Path) -> Contents:
    """A closed store: deleted, purged, redacted, runs, links, sealed segments; the bytes of readable revisions."""
    with holdfast.create(root, actor="Ada") as store:
        handle = store._handle
        handle.blobs = LocalBlobs(str(root), Disk(), shape=Shape(frame_bytes=512, one_frame_max=1024, workers=1))
        handle.keeper = Keeper(handle.blobs, handle.index, handle.disk)
        handle.journal = Journal(str(root), Disk(), segment_bytes=2500)
        _fill(store)
        store.search("words")
        store.gc()
    return readable(root)


def store_with_packs(root: Path) -> Contents:
    """The same with small contents in packs: repacked, condemned, sealed, and one that goes on behind a torn append."""
    with holdfast.create(root, actor="Ada") as store:
        handle = store._handle
        handle.journal = Journal(str(root), Disk(), segment_bytes=2500)
        _fill(store)
        store.put("large.bin", BIG * 10)
        for number in range(4):
            store.put("grows.txt", "".join(f"line {n}\n" for n in range(30 + number * 10)))
        store.repack()
        with store.transaction():
            for number in range(5):
                store.put(f"sealed/{number}", f"in the sealed pack, number {number}\n" * (number + 1))
        store.put("sealed/alone", "in the sealed pack too\n")
        handle.blobs.writer.seal()  # type: ignore[attr-defined]
        store.put("open/first", "in the open pack\n" * 9)
        store.put("open/purged", "garbage in the open pack\n")
        store.artifacts.delete("open/purged")
        store.artifacts.purge("open/purged")
    newest = max((root / "packs").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    with newest.open("ab") as file:
        file.write(b"the rest of an append that a crash tore off")
    with holdfast.open(root, actor="Ada") as store:
        with store.transaction():
            for number in range(3):
                store.put(f"open/{number}", f"behind the cover, number {number}\n" * (number + 2))
        store.search("words")
        store.gc()
    return readable(root)


def _fill(store: holdfast.Store) -> None:
    put = store.artifacts.put
    put("docs/a.md", "first words\n", metadata={"score": 1.5, "who": "Ada"}, tags=["x", "y"])
    put("docs/a.md", "second words\n", message="better")
    put("docs/deep/b.txt", ("b" * 40 + "end\n") * 20)
    put("docs/same.txt", ("b" * 40 + "end\n") * 20)
    put("gone.txt", "gone\n")
    store.artifacts.delete("gone.txt")
    put("purged.txt", "purged\n")
    store.artifacts.delete("purged.txt")
    store.artifacts.purge("purged.txt")
    secret = put("secret.txt", "secret\n", metadata={"phone": "555-0199"}).artifact
    put("many.bin", BIG)
    put("empty", b"")
    store.redact(secret)
    store.collections.update("docs", metadata={"kept": True})
    store.relationships.relate("docs/a.md", "depends_on", "docs/deep/b.txt", metadata={"why": "so"})
    run = store.runs.create("train", parameters={"rate": 0.1}, tags=["night"])
    store.runs.link(run, "input", store.get("docs/a.md"))
    store.runs.add_step(run, "load")
    with store.transaction(note="several at once"):
        for n in range(4):
            put(f"batch/{n}.txt", f"item {n}\n" * (n * 40 + 1))
    store.artifacts.update("docs/a.md", status="final")
    put("docs/a.md", "third words\n")


# -- the damage --------------------------------------------------------------------------------------------------------


@dataclass
class Wreck:
    """Damages a store, reproducibly. `done`: what was done, for the message of a failing test."""

    root: Path
    rng: random.Random
    done: list[str] = field(default_factory=list)
    packed: bool = False

    def strike(self, times: int) -> None:
        """So many random damages, one after the other."""
        for _ in range(times):
            self.rng.choice([*_DAMAGES, *_PACK_DAMAGES] if self.packed else _DAMAGES)(self)

    def _pick(self, pattern: str) -> Path | None:
        found = sorted(p for p in self.root.glob(pattern) if p.is_file() and not p.is_symlink())
        if pattern == _PACK:  # their names are drawn at random; so a seed does the same again
            found.sort(key=lambda path: path.stat().st_size)
        return self.rng.choice(found) if found else None

    def _note(self, word: str, path: Path, more: str = "") -> None:
        self.done.append(f"{word} {path.relative_to(self.root)} {more}".rstrip())

    def flip(self, pattern: str) -> None:
        """Flip some bits of one file."""
        if (path := self._pick(pattern)) and (size := path.stat().st_size):
            places = [self.rng.randrange(size) for _ in range(self.rng.choice((1, 1, 2, 8)))]
            for place in places:
                damage.flip(path, place, self.rng.randrange(1, 256))
            self._note("flip", path, str(places))

    def cut(self, pattern: str) -> None:
        """Cut one file somewhere."""
        if path := self._pick(pattern):
            length = self.rng.randrange(path.stat().st_size + 1)
            os.truncate(path, length)
            self._note("cut", path, str(length))

    def grow(self, pattern: str) -> None:
        """Put bytes behind one file."""
        if path := self._pick(pattern):
            with open(path, "ab") as file:
                file.write(self.rng.randbytes(self.rng.randrange(1, 300)))
            self._note("grow", path)

    def zero(self, pattern: str) -> None:
        """A hole of zeros, as a lost page leaves it."""
        if path := self._pick(pattern):
            data = bytearray(path.read_bytes())
            start = self.rng.randrange(len(data) + 1) // 512 * 512
            data[start : start + 4096] = bytes(len(data[start : start + 4096]))
            path.write_bytes(data)
            self._note("zero", path, str(start))

    def lose(self, pattern: str) -> None:
        """Delete one file."""
        if path := self._pick(pattern):
            path.unlink()
            self._note("lose", path)

    def swap(self, pattern: str) -> None:
        """Exchange two files."""
        one, other = self._pick(pattern), self._pick(pattern)
        if one and other and one != other:
            data = one.read_bytes()
            one.write_bytes(other.read_bytes())
            other.write_bytes(data)
            self._note("swap", one, f"with {other.name}")

    def replace(self, pattern: str) -> None:
        """A folder, a link to nowhere or other bytes in place of one file."""
        if path := self._pick(pattern):
            path.unlink()
            how = self.rng.choice(("folder", "link", "bytes"))
            if how == "folder":
                path.mkdir()
            elif how == "link":
                path.symlink_to("nowhere")
            else:
                path.write_bytes(self.rng.randbytes(100))
            self._note(f"replace by {how}", path)

    def lose_folder(self, names: tuple[str, ...]) -> None:
        """Delete a folder of the store, or put a file in its place."""
        path = self.root / self.rng.choice(names)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
            if self.rng.random() < 0.3:
                path.write_bytes(b"not a folder")
            self._note("lose folder", path)

    def edit_rows(self) -> None:
        """Change the index by SQL, as a stranger with a database tool would."""
        statement = self.rng.choice(_STATEMENTS)
        with contextlib.suppress(sqlite3.Error), damage.sql(self.root) as connection:
            firsts = [first for (first,) in connection.execute("SELECT first FROM tx")]
            connection.execute(statement, {"first": self.rng.choice(firsts)} if ":first" in statement else {})
            self.done.append(statement)

    def stray(self) -> None:
        """A file that does not belong, or a temporary file that was left."""
        name = self.rng.choice(("notes.txt", "tmp/left.tmp", "quarantine/mine", "blobs/readme", "journal/x"))
        path = self.root / name
        with contextlib.suppress(OSError):
            path.write_bytes(b"stray")
            damage.age(path, 3)
            self._note("stray", path)

    def edit_places(self) -> None:
        """Change by SQL where the index says that members of packs are."""
        statement = self.rng.choice(_PLACES)
        with contextlib.suppress(sqlite3.Error), damage.sql(self.root) as connection:
            keys = [key for (key,) in connection.execute("SELECT content FROM blob WHERE container > 0")]
            connection.execute(statement, {"one": self.rng.choice(keys)} if ":one" in statement and keys else {})
            self.done.append(statement)


_PLACES = (
    "UPDATE blob SET offset = offset + 1 WHERE content = :one", "UPDATE blob SET start = start + 1",
    "UPDATE blob SET start = 0, stored_bytes = 7 WHERE content = :one", "DELETE FROM blob WHERE content = :one",
    "DELETE FROM container WHERE key > 0", "UPDATE container SET condemned_us = 1 WHERE key > 0",
    "UPDATE container SET name = '00112233445566ff' WHERE key = 1",
)  # fmt: skip
_STATEMENTS = (
    "DELETE FROM tx WHERE first = :first", "UPDATE tx SET data = x'00' WHERE first = :first", "DELETE FROM tagging",
    "UPDATE revision SET metadata = NULL", "UPDATE artifact SET name = 'z' WHERE name = 'a.md'", "DELETE FROM blob",
    "UPDATE content SET size = size + 1", "DROP TABLE tagging", "DROP INDEX record_id", "UPDATE record SET deleted = 0",
    "DELETE FROM meta", "DELETE FROM revision", "UPDATE blob SET frames = frames + 1",
)  # fmt: skip
_BLOB, _SEGMENT, _INDEX, _PACK = "blobs/*/*.zst", "journal/*.jsonl*", "index.sqlite3*", "packs/*.zst"
_Damage = Callable[[Wreck], None]


def _each(pattern: str, *verbs: Callable[[Wreck, str], None]) -> list[_Damage]:
    return [lambda wreck, verb=verb: verb(wreck, pattern) for verb in verbs]  # type: ignore[misc]


_DAMAGES: list[_Damage] = [
    *_each(_BLOB, Wreck.flip, Wreck.flip, Wreck.cut, Wreck.grow, Wreck.zero, Wreck.lose, Wreck.swap, Wreck.replace),
    *_each(_SEGMENT, Wreck.flip, Wreck.flip, Wreck.cut, Wreck.grow, Wreck.zero, Wreck.lose, Wreck.swap, Wreck.replace),
    *_each(_INDEX, Wreck.flip, Wreck.flip, Wreck.cut, Wreck.zero, Wreck.lose, Wreck.replace),
    *_each("holdfast.json", Wreck.flip, Wreck.lose),
    *_each("search.sqlite3", Wreck.flip, Wreck.cut, Wreck.lose),
    lambda w: w.lose_folder(("blobs", "journal", "quarantine", "tmp", "packs", "locks")),
    Wreck.edit_rows, Wreck.edit_rows, Wreck.edit_rows, Wreck.stray,
]  # fmt: skip

_PACK_DAMAGES: list[_Damage] = [
    *_each(_PACK, Wreck.flip, Wreck.flip, Wreck.cut, Wreck.grow, Wreck.zero, Wreck.lose, Wreck.swap, Wreck.replace),
    *_each(_PACK, Wreck.flip, Wreck.flip, Wreck.cut, Wreck.grow, Wreck.zero, Wreck.lose, Wreck.swap, Wreck.replace),
    lambda w: w.lose_folder(("packs",)),
    Wreck.edit_places, Wreck.edit_places,
]  # fmt: skip


# -- what is left ------------------------------------------------------------------------------------------------------


def contents_in(*tops: Path) -> set[str]:
    """The digests of all contents that lie in some file below these folders, plain or as zstd frames."""
    found = {hashlib.sha256(b"").hexdigest()}  # nothing is always to be had
    for path in _files(*tops):
        data = path.read_bytes()
        found.add(hashlib.sha256(data).hexdigest())
        with contextlib.suppress(zstandard.ZstdError):
            reader = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True)
            found.add(hashlib.sha256(reader.read()).hexdigest())
    return found


def members_in(*roots: Path) -> set[str]:
    """The digests of all contents in packs that any sound header lists, or that a row of a readable index places.

    Whatever name a pack has and wherever in it a header stands: its own checksum says that it is right, its frames
    follow it. From chapter 3 of store-layout.md.
    """
    found: set[str] = set()
    for root in roots:
        for path in _files(root / "packs", root / "quarantine"):
            data = path.read_bytes()
            found |= _listed(data)
        found |= _placed(root)
    return found


def _listed(data: bytes) -> set[str]:
    found: set[str] = set()
    place = data.find(b"HFPACK\1\1")
    while place >= 8:
        at, length = place - 8, 8 + int.from_bytes(data[place - 4 : place], "little")
        header, place = data[at : at + length], data.find(b"HFPACK\1\1", place + 1)
        if len(header) < length or hashlib.sha256(header[:-32]).digest() != header[-32:]:
            continue
        n, m = struct.unpack_from("<II", header, 16)
        members = [struct.unpack_from("<32sI", header, 48 + 8 * n + 36 * k) for k in range(m)]
        offset = at + length
        for stored, size in (struct.unpack_from("<II", header, 48 + 8 * k) for k in range(n)):
            content, start = _frame(data[offset : offset + stored]), 0
            while start < size:
                digest, length = members.pop(0)
                if hashlib.sha256(content[start : start + length]).digest() == digest:
                    found.add(digest.hex())
                start += length
            offset += stored
    return found


def _frame(data: bytes) -> bytes:
    with contextlib.suppress(zstandard.ZstdError):
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)  # a header may claim any size
    return b""


def frames_in(root: Path) -> list[bytes]:
    """What each zstd frame in a pack holds, wherever it stands and whoever speaks of it."""
    found: list[bytes] = []
    for path in _files(root / "packs", root / "quarantine"):
        data = path.read_bytes()
        place = data.find(b"\x28\xb5\x2f\xfd")
        while place >= 0:
            with contextlib.suppress(zstandard.ZstdError):
                found.append(zstandard.ZstdDecompressor().decompressobj().decompress(data[place:]))
            place = data.find(b"\x28\xb5\x2f\xfd", place + 1)
    return found


def is_covered(data: bytes, now: bytes) -> bool:
    """Whether a file begins with these bytes, but for 8 of them that say now where what a crash left ends."""
    at = next((n for n, (one, other) in enumerate(zip(data, now, strict=False)) if one != other), len(data))
    return now[at : at + 4] == b"\x5d\x2a\x4d\x18" and now[at + 8 :].startswith(data[at + 8 :])


def _placed(root: Path) -> set[str]:
    """By the rows of an index: the only one that knows where a header is damaged."""
    found: set[str] = set()
    with contextlib.suppress(sqlite3.Error, OSError), damage.sql(root) as connection:
        for digest, size, name, *place in connection.execute(
            "SELECT c.digest, c.size, k.name, b.offset, b.stored_bytes, b.start FROM blob b "
            "JOIN content c ON c.key = b.content JOIN container k ON k.key = b.container WHERE k.key > 0"
        ):
            with contextlib.suppress(OSError, TypeError):
                offset, stored, start = place
                data = (root / "packs" / f"{name}.zst").read_bytes()[offset : offset + stored]
                if hashlib.sha256(_frame(data)[start : start + size]).digest() == digest:
                    found.add(digest.hex())
    return found


def _files(*tops: Path) -> Iterator[Path]:
    for top in tops:
        yield from (path for path in sorted(top.rglob("*")) if path.is_file() and not path.is_symlink())


def transactions_in(*roots: Path) -> dict[int, dict[bytes, Transaction]]:
    """Every transaction that verifies in itself, by first change and hash: journals and indexes, also set aside."""
    found: dict[int, dict[bytes, Transaction]] = {}
    for root in roots:
        for data in (*_journal_bytes(root), *_index_bytes(root)):
            with contextlib.suppress(HoldfastError):
                for item in lines.scan([data]):
                    if isinstance(item, lines.Located):
                        entry = item.transaction.entry
                        found.setdefault(entry.first, {})[entry.hash()] = item.transaction
    return found


def _journal_bytes(root: Path) -> Iterator[bytes]:
    for path in _files(root / "journal", root / "quarantine"):
        data = path.read_bytes()
        yield data
        decompressor, got = zstandard.ZstdDecompressor().decompressobj(), []
        with contextlib.suppress(zstandard.ZstdError):
            for at in range(0, len(data), 64):
                got.append(decompressor.decompress(data[at : at + 64]))
                if decompressor.eof:
                    break
        yield b"".join(got)


def _index_bytes(root: Path) -> Iterator[bytes]:
    for path in (root / "index.sqlite3", *sorted((root / "quarantine").glob("index.sqlite3.*"))):
        if not path.is_file():
            continue
        connection = sqlite3.connect(path)
        try:
            for (data,) in connection.execute("SELECT data FROM tx ORDER BY first"):
                with contextlib.suppress(zstandard.ZstdError, TypeError):
                    yield zstandard.decompress(data, max_output_size=1 << 24)
        except sqlite3.Error:
            pass
        finally:
            connection.close()


def chain_of(store_id: str, found: dict[int, dict[bytes, Transaction]]) -> int:
    """The seq behind the longest chain that begins at the store's origin."""
    head = change.origin(store_id)
    while following := [t for t in found.get(head.next_seq, {}).values() if t.entry.prev == head.hash]:
        head = following[0].head
    return head.next_seq


def store_id(root: Path) -> str:
    """What the marker of a sound store says."""
    return marker.decode((root / "holdfast.json").read_bytes(), "marker").store_id

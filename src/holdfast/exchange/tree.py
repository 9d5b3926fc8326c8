"""A store as a tree of readable files: which there are, and what is in each. Export writes it, import compares.

A tree follows from a store's state alone: nothing in it depends on when, where or how often it was made, on how the
store keeps its bytes, or on gc. docs/export-format.md says the same for people.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from holdfast.errors import FormatTooNewError, InvalidValueError
from holdfast.exchange import outgoing
from holdfast.exchange.ground import Steps, shown
from holdfast.formats import lines
from holdfast.formats.pack import Spot
from holdfast.index.select.contents import Held, Listed
from holdfast.index.select.whole import SHARD, TABLES
from holdfast.index.sql import SqlIndex
from holdfast.values import canon, portable
from holdfast.values.change import Head

VERSION = 0
FORMAT = b"FORMAT"
ATTRIBUTES = b".gitattributes"
CHANGES, RECORDS, FILES, BLOBS, LARGE = b"changes", b"records", b"files", b"blobs", b"large"
TOP = (ATTRIBUTES, BLOBS, CHANGES, FILES, FORMAT, LARGE, RECORDS)
"""All names at the top that belong to a tree; others there are somebody else's."""

LARGE_FROM = 10 << 20
_ATTRIBUTES = b"""\
# Every byte counts: git must not change the ends of lines.
* -text
# Contents of old: a diff would show each of them whole, as a new file.
/blobs/** -diff
/large/** filter=lfs diff=lfs merge=lfs -text
"""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a tree's maker chose. Content of more bytes than `large_from` is a pointer; `beside`: and lies in large/."""

    large_from: int = LARGE_FROM
    beside: bool = True


@dataclass(frozen=True, slots=True)
class Leaf:
    """A file: its digest and size. `data`: its bytes, if they are at hand; `changes`: from which one on it has them.

    Without either it is a content of the store. `stands_for`: the digest of the content that it points to;
    `spot`: where in the packs the content is, if that is known.
    """

    digest: str
    size: int
    data: bytes | None = None
    changes: int = 0
    stands_for: str = ""
    spot: Spot | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Part:
    """Records of one kind that were made by changes from `first` on: a file that is made when it is asked for."""

    what: str
    first: int


Entries = dict[bytes, Leaf | Part | None]
"""What is in a folder, by name; None is a folder."""


@dataclass(frozen=True, slots=True)
class Label:
    """What the file FORMAT says. `root`: over the digests of all other files."""

    store: str
    shape: Shape
    head: Head
    root: str = ""

    def encode(self) -> bytes:
        """One line of canonical JSON."""
        large = {"from": self.shape.large_from, "blobs": "beside" if self.shape.beside else "left out"}
        head = {"next": self.head.next_seq, "hash": self.head.hash.hex()}
        value = {"holdfast": "tree", "format": VERSION, "digest": "sha256", "store": self.store, "large": large}
        return canon.encode({**value, "head": head, "root": self.root}) + b"\n"


def label_of(data: bytes) -> Label:
    """What a file FORMAT says. InvalidValueError, FormatTooNewError."""
    try:
        value: Any = canon.decode(data)
        if value["holdfast"] != "tree" or type(value["format"]) is not int:
            raise ValueError("it is no export of a store")
        if value["format"] > VERSION or value["digest"] != "sha256":
            raise FormatTooNewError(
                f"an export of version {value['format']}; this software knows {VERSION}", found=value["format"],
                known=VERSION,
            )  # fmt: skip
        if any(type(number) is not int or number < 0 for number in (value["large"]["from"], value["head"]["next"])):
            raise ValueError("a number in it is none")
        shape = Shape(value["large"]["from"], {"beside": True, "left out": False}[value["large"]["blobs"]])
        head = Head(value["head"]["next"], bytes.fromhex(value["head"]["hash"]))
        found = Label(value["store"], shape, head, value["root"])
        if found.encode() != data:
            raise ValueError("it is not in canonical form")
    except (KeyError, TypeError, ValueError, InvalidValueError) as error:
        raise InvalidValueError(
            f"FORMAT cannot be read: {error}",
            where="FORMAT",
            reason="form",
            remedy="Name a folder made by `export tree`.",
        ) from error
    return found


@dataclass
class Tree:
    """The tree of a state. After `folders` has ended, `label` is whole."""

    index: SqlIndex
    store: str
    shape: Shape = field(default_factory=Shape)

    def __post_init__(self) -> None:
        head = self.index.chain.head()
        assert head is not None
        self.label = Label(self.store, self.shape, Head(head.next_seq, head.hash))
        self._root = hashlib.sha256()
        self._digests: dict[Part, str] = {}
        self.marks: dict[Part, bytes] = {}
        """Of the records that were made: `whole.mark` of their rows."""

        self.files = 1
        """How many files there are, when `folders` has ended."""

    def folders(self) -> Iterator[tuple[Steps, Entries]]:
        """Every folder with what is in it; the top, which has FORMAT, last."""
        for found in (self._changes(), self._records(), self._files(), self._contents()):
            for steps, entries in found:
                yield steps, entries
                self._add(steps, entries)
        top: Entries = {name: None for name in TOP if name not in (FORMAT, ATTRIBUTES)}
        top[ATTRIBUTES] = _leaf(_ATTRIBUTES)
        self._add((), top)
        self.label = Label(self.store, self.shape, self.label.head, "sha256:" + self._root.hexdigest())
        top[FORMAT] = _leaf(self.label.encode())
        yield (), top

    def _add(self, steps: Steps, entries: Entries) -> None:
        for name, entry in sorted(entries.items()):
            if entry is not None:
                digest = self._digests.get(entry) if isinstance(entry, Part) else entry.digest
                digest = digest or self.leaf(entry).digest
                self.files += 1
                self._root.update(b"%s %s\n" % (digest.encode(), b"/".join((*steps, name))))

    def is_known(self, entry: Part, digest: str) -> None:
        """Of records it is known already what the file's digest is."""
        self._digests[entry] = digest

    def leaf(self, entry: Leaf | Part) -> Leaf:
        """The file that an entry stands for; records come with all their bytes, and leave their mark."""
        if isinstance(entry, Leaf):
            return entry
        data, mark = self.index.whole.lines(entry.what, entry.first)
        made = _leaf(data)
        self.marks[entry] = mark
        self._digests[entry] = made.digest
        return made

    # -- the chain ---------------------------------------------------------------------------------------------------

    def _changes(self) -> Iterator[tuple[Steps, Entries]]:
        """Transactions as in the journal; each file holds those that begin in its ten thousand changes."""
        entries: Entries = {}
        shard, total, size = 1, hashlib.sha256(), 0
        for data in self.index.chain.read():
            entry = lines.peek(data)
            assert entry is not None
            first = (entry.first - 1) // SHARD * SHARD + 1
            if first != shard:
                if size:
                    entries[_shard(shard)] = Leaf("sha256:" + total.hexdigest(), size, changes=shard)
                shard, total, size = first, hashlib.sha256(), 0
            total.update(data)
            size += len(data)
        entries[_shard(shard)] = Leaf("sha256:" + total.hexdigest(), size, changes=shard)
        yield (CHANGES,), entries

    def chain(self, first: int) -> Iterator[bytes]:
        """The bytes of a file of changes, by transactions."""
        for data in self.index.chain.read(first):
            entry = lines.peek(data)
            assert entry is not None
            if entry.first >= first + SHARD:
                return
            if entry.first >= first:
                yield data

    # -- records -----------------------------------------------------------------------------------------------------

    def _records(self) -> Iterator[tuple[Steps, Entries]]:
        kinds = {what: self.index.whole.shards(what) for what in sorted(TABLES)}
        yield (RECORDS,), {what.encode(): None for what, shards in kinds.items() if shards}
        for what, shards in kinds.items():
            if shards:
                yield (RECORDS, what.encode()), {_shard(first): Part(what, first) for first in shards}

    # -- contents ----------------------------------------------------------------------------------------------------

    def _files(self) -> Iterator[tuple[Steps, Entries]]:
        """Newest contents under their names."""
        root = self.index.collections.root()
        waiting: list[tuple[Steps, int]] = [] if root is None else [((FILES,), root)]
        if root is None:
            yield (FILES,), {}
        while waiting:
            steps, key = waiting.pop()
            inner, own = named_in(self.index, key)
            entries: Entries = {name: None for name, _, _ in inner}
            entries |= {name: self._content(one.held, one.size) for name, one in own if one.held is not None}
            yield steps, entries
            inner.sort(key=lambda one: one[2], reverse=True)
            waiting += [((*steps, name), child) for name, child, _ in inner]

    def _content(self, held: Held, size: int) -> Leaf:
        if size <= self.shape.large_from:
            return Leaf(held.digest, size, spot=held.spot)
        data = b"version https://git-lfs.github.com/spec/v1\noid %s\nsize %d\n" % (held.digest.encode(), size)
        return Leaf(_digest(data), len(data), data, stands_for=held.digest)

    def _contents(self) -> Iterator[tuple[Steps, Entries]]:
        """What no file shows: contents of older revisions and deleted artifacts; and those too large for one."""
        for top in (BLOBS, LARGE):
            folders: Entries = {}
            for name, some in groupby(self._unshown(top), key=lambda leaf: leaf.digest[7:9].encode()):
                folders[name] = None
                yield (top, name), {leaf.digest[7:].encode(): leaf for leaf in some}
            yield (top,), folders

    def _unshown(self, top: bytes) -> Iterator[Leaf]:
        if top == BLOBS:
            return (Leaf(*one) for one in self.index.whole.unshown() if one[1] <= self.shape.large_from)
        return (Leaf(*one) for one in self.index.whole.larger(self.shape.large_from) if self.shape.beside)


def named_in(
    index: SqlIndex, key: int
) -> tuple[list[tuple[bytes, int, str]], list[tuple[bytes, Listed]]]:  # fmt: skip
    """What lies right in a collection, under the names that it gets: collections (name, key, id), and artifacts."""
    inner = list(index.collections.children(key))
    own = list(outgoing.newest(index, key))
    raw = [one.name_bytes for _, one in inner] + [name.raw for name, _ in own]
    names = portable.unmarked(raw)
    if names is None:
        known = index.lookups.ids(one.artifact for _, one in own)
        ids = [one.id for _, one in inner] + [known[one.artifact] for _, one in own]
        marked = portable.all_of(zip(ids, raw, strict=True))
        names = [marked[one] for one in ids]
    folders = [(name, child, one.id) for name, (child, one) in zip(names, inner, strict=False)]
    return folders, [(name, one) for name, (_, one) in zip(names[len(inner) :], own, strict=True)]


def _shard(first: int) -> bytes:
    return b"%016d.jsonl" % first


def _leaf(data: bytes) -> Leaf:
    return Leaf(_digest(data), len(data), data)


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def place(steps: Steps, name: bytes = b"") -> str:
    """Where in a tree something is, as text."""
    return shown((*steps, name) if name else steps)

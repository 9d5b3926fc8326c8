"""Some collections with all they refer to, as a store of its own: rows beside the store, and a chain that makes them.

Nothing is drawn: ids, time and salt follow from the state and from what was chosen, so the same choice of the same
state gives the same bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import uuid
from collections.abc import Iterable, Iterator

from holdfast.engine import past
from holdfast.engine.handle import Handle
from holdfast.engine.scratch import scratch_folder
from holdfast.errors import NotFoundError
from holdfast.exchange import outgoing
from holdfast.exchange.merge.report import Policy, Wish
from holdfast.exchange.merge.scene import Scene, Theirs
from holdfast.exchange.merge.work import merge
from holdfast.exchange.tree import Shape, Tree
from holdfast.formats import lines
from holdfast.index.select.whole import Value
from holdfast.index.sql import SqlIndex
from holdfast.index.sqlite import SqliteIndex
from holdfast.values import canon, change
from holdfast.values.change import FOREIGN_CHAIN, Actor, Body, Entry, Head, Transaction, root_of
from holdfast.values.records import Artifact

_ACTOR = Actor("holdfast", "api")


@contextlib.contextmanager
def chosen(handle: Handle, collections: Iterable[str | bytes], shape: Shape) -> Iterator[Tree]:
    """The tree of a store that has only some collections, what is in them, and what that refers to, on and on.

    What is deleted stays behind. Memory: some hundreds of bytes for each record that was chosen. NotFoundError. Paths
    are those of the handle's tenant, and what a tenant's record refers to is this tenant's.
    """
    head = handle.index.chain.head()
    assert head is not None
    with past.index_at(handle, head.next_seq - 1) as index, scratch_folder(root=handle.root) as folder:
        choice = _Choice(index)
        for ref in collections:
            choice.add(ref if handle.tenant is None else _own(handle, ref))
        choice.close()
        said = b"\n".join([handle.marker.store_id.encode(), head.hash, *sorted(choice.named)])
        made = SqliteIndex(os.path.join(folder, "chosen.sqlite3"))
        try:
            made.database.run("PRAGMA journal_mode = OFF")
            made.database.run("PRAGMA synchronous = OFF")
            made.migrate()
            beside = _Beside(made, head, said)
            made.begin()
            made.lookups.open_transaction(1, head.time_us, _ACTOR.name)
            theirs = Theirs(index, handle.marker.store_id, wanted=choice.ids.__contains__)
            merge(Scene(theirs, beside, Policy.FAIL), Wish())
            sealed = beside.seal()
            made.chain.append(sealed, lines.encode(sealed))
            made.commit()
            made.lookups.close_transaction()
            yield Tree(made, beside.store, shape)
        finally:
            made.close()


def _own(handle: Handle, ref: str | bytes) -> str:
    """The id of what a tenant has at a path. NotFoundError."""
    found = outgoing.find(handle.index, "" if ref in (".", b".") else ref)
    if found is None:
        raise NotFoundError("the store has no collection", kind="collection", ref="")
    return f"id:{found.id}"


class _Choice:
    """Which records come along."""

    def __init__(self, index: SqlIndex) -> None:
        self._index = index
        self.ids: set[str] = set()
        self.named: list[bytes] = []
        self._waiting: list[tuple[str, str]] = []

    def add(self, ref: str | bytes) -> None:
        """A collection (or an artifact) by its path or `id:…`. NotFoundError."""
        found = outgoing.find(self._index, "" if ref in (".", b".") else ref)
        if found is None:
            raise NotFoundError("the store has no collection", kind="collection", ref="")
        self.named.append(found.id.encode())
        self._want("artifact" if isinstance(found, Artifact) else "folder", found.id)

    def close(self) -> None:
        """Everything that what was named refers to."""
        while True:
            while self._waiting:
                kind, record_id = self._waiting.pop()
                self._follow(kind, record_id)
            before = len(self.ids)
            for row in self._rows("relationships"):
                if row["id"] not in self.ids and row["source"]["id"] in self.ids and self._is_live(row["target"]):
                    self._want("relationship", row["id"])
                    self._end(row["target"])
            if len(self.ids) == before and not self._waiting:
                break
        words = {row["type"] for row in self._rows("relationships") if row["id"] in self.ids}
        self.ids |= {row["id"] for row in self._rows("relationship-types") if row["name"] in words}

    def _want(self, kind: str, record_id: str) -> None:
        if record_id not in self.ids:
            self.ids.add(record_id)
            self._waiting.append((kind, record_id))
        elif kind == "folder":
            self._waiting.append((kind, record_id))  # it came along by itself before, without what is in it

    def _follow(self, kind: str, record_id: str) -> None:
        key = self._index.key_of(record_id)
        assert key is not None
        if kind == "folder":
            for inner in [key, *self._index.collections.below(key)]:
                self.ids.add(self._index.lookups.ids([inner])[inner])
                for one in outgoing.artifacts(self._index, inner):
                    if one.type != FOREIGN_CHAIN:
                        self._want("artifact", one.id)
        elif kind == "artifact":
            for row in self._index.whole.beside("revisions", "artifact", key):
                if "run" in row:
                    self._want("run", row["run"])
        elif kind == "run":
            for row in self._index.whole.beside("run-links", "run", key):
                if self._is_live(row["target"]):
                    self._end(row["target"])

    def _end(self, end: Value) -> None:
        if end["kind"] != "external":
            self._want("alone" if end["kind"] == "collection" else end["kind"], end["id"])

    def _is_live(self, end: Value) -> bool:
        if end["kind"] == "external":
            return True
        what = {"artifact": "artifacts", "collection": "collections", "run": "runs"}.get(end["kind"], "relationships")
        row = self._index.whole.one(what, end["id"])
        return row is not None and "deleted" not in row

    def _rows(self, what: str) -> Iterator[Value]:
        for first in self._index.whole.shards(what):
            yield from (row for row in self._index.whole.rows(what, first) if "deleted" not in row)


class _Beside:
    """Takes changes into an index beside the store, as one transaction that can be made again byte for byte."""

    def __init__(self, index: SqlIndex, head: Head, said: bytes) -> None:
        self.index = index
        self.first_new = 1
        self.now_us = head.time_us
        self._said = said
        self._bodies: list[bytes] = []
        self.store = str(uuid.UUID(bytes=self._of(b"store")[:16], version=5))

    def _of(self, what: bytes) -> bytes:
        return hashlib.sha256(b"holdfast snapshot: %s\n" % what + self._said).digest()

    def bring(self, contents: dict[str, int]) -> None:
        """Contents stay where they are: the snapshot is filled from the store."""

    def change_all(self, bodies: list[Body]) -> None:
        """Rows, and bytes for the chain."""
        first = 1 + len(self._bodies)
        self._bodies += [canon.encode(body) for body in bodies]
        self.index.apply_all(first, bodies)

    def seal(self) -> Transaction:
        """The transaction, whole."""
        salt, bodies = self._of(b"salt")[:16], tuple(self._bodies)
        entry = Entry(
            tx=str(uuid.UUID(bytes=self._of(b"tx")[:16], version=5)), first=1, count=len(bodies), time_us=self.now_us,
            actor=_ACTOR, root=root_of(salt, bodies), prev=change.origin(self.store).hash, store=self.store,
        )  # fmt: skip
        return Transaction(entry, salt, bodies)

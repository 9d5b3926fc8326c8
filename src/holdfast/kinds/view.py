"""The store as it was: the nouns of a store, on rows of an earlier change, to read and to ask, not to write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from holdfast.engine import past
from holdfast.engine.asof import PastHandle
from holdfast.engine.handle import Handle, Opened
from holdfast.engine.past import When
from holdfast.engine.recover import Progress
from holdfast.engine.transaction import Unit, write
from holdfast.errors import InvalidQueryError
from holdfast.formats import lines
from holdfast.index.sql import SqlIndex
from holdfast.kinds.changes import Changes
from holdfast.kinds.collections import Collections
from holdfast.kinds.indexes import Indexes
from holdfast.kinds.many import ManyResult
from holdfast.kinds.readings import Artifacts
from holdfast.kinds.relationships import Relationships
from holdfast.kinds.runs import Runs
from holdfast.values import canon, moment
from holdfast.values.change import Body
from holdfast.values.loss import Loss
from holdfast.values.records import Artifact, PutResult

_TAKES = {"redact": "redacted", "purge": "purged", "withdraw": "withdrawn"}


def view_at(handle: Handle, at: When, *, progress: Progress | None = None) -> View:
    """The store as it was after the change with a seq, or at a time: see `View`.

    A transaction is never seen in parts: a seq means the state after the one that holds it, a time the state after the
    last one committed until then. 0 and a time before the first: the empty store. What others write meanwhile does not
    show, but for what was given up for good. InvalidValueError for a seq beyond the newest, or what is no time.
    """
    return View(PastHandle(handle, past.seq_of(handle, at), progress))


def index_of(view: View) -> SqlIndex:
    """The rows that a view shows, for those who read many of them."""
    view._handle.alive()  # noqa: SLF001
    return view._handle.index  # noqa: SLF001


class View:
    """The store as it was, to be read. It has the nouns of a store; their verbs that write raise ReadOnlyError.

    Contents are read from where they lie now. Those that were purged, withdrawn or redacted since raise
    ContentPurgedError and show that state; names and values that were redacted are gone here too. `losses` names all
    of it. Usable from many threads. Closing it, or the store, frees its rows.
    """

    def __init__(self, handle: PastHandle) -> None:
        self._handle = handle
        self.artifacts = Artifacts(handle)
        self.collections = Collections(handle)
        self.relationships = Relationships(handle)
        self.runs = Runs(handle)
        self.indexes = Indexes(handle)
        self.changes = Changes(handle)

    @property
    def seq(self) -> int:
        """The seq of the last change that it shows; 0: there was none."""
        return self._handle.seq

    @property
    def time(self) -> datetime | None:
        """When that was committed; None if there was none."""
        self._handle.alive()
        head = self._handle.index.chain.head()
        return None if head is None else moment.to_datetime(head.time_us)

    @property
    def path(self) -> Path:
        """The store's folder."""
        return Path(self._handle.root)

    @property
    def id(self) -> str:
        """The store's id."""
        return self._handle.marker.store_id

    @property
    def opened(self) -> Opened:
        """What opening the store had to do."""
        return self._handle.opened

    def search(self, words: str, **_: Any) -> NoReturn:
        """Full text is kept of the newest revisions only: raises InvalidQueryError."""
        self._handle.alive()
        raise InvalidQueryError(
            f"full text is of the store as it is, not as it was after change {self.seq}", query=words, reason="past",
            remedy="Search the store as it is; of an earlier state ask with `find`: names, tags, types and metadata.",
        )  # fmt: skip

    def losses(self) -> Iterator[Loss]:
        """What this state lacks since it was purged, withdrawn or redacted later, in order of the changes that did."""
        self._handle.alive()
        for data in self._handle.live.index.chain.read(self.seq + 1):
            if not any(b'"action":"%s"' % word.encode() in data for word in _TAKES):
                continue
            transaction = lines.decode(data, "a transaction of the index")
            for seq, raw in enumerate(transaction.bodies, transaction.entry.first):
                loss = self._loss(seq, canon.decode(raw)) if seq > self.seq else None
                if loss is not None:
                    yield loss

    def _loss(self, seq: int, body: Body) -> Loss | None:
        """What a later change took of a record that was there."""
        key = self._handle.index.key_of(body["id"]) if body["action"] in _TAKES else None
        if key is None:
            return None
        history = self._handle.index.artifacts.history(key, body["id"]) if body["kind"] == "artifact" else []
        there = {one.number for one in history}
        numbers = tuple(number for number in body.get("revisions", ()) if number in there)
        erased = [one for one in body.get("erased", ()) if one["seq"] <= self.seq]
        fields = tuple(sorted({name for one in erased for name in one["fields"]}))
        return Loss(_TAKES[body["action"]], seq, body["id"], numbers, fields) if numbers or fields else None

    def transaction(self, *, id: str | None = None, note: str = "") -> AbstractContextManager[Unit]:
        """There is none in the past: raises ReadOnlyError."""
        return write(self._handle, tx=id, note=note, what="transaction")

    # -- shorthands, as a store has them -----------------------------------------------------------------------------

    @property
    def get(self) -> Callable[..., Artifact]:
        """`view.artifacts.get`."""
        return self.artifacts.get

    @property
    def read(self) -> Callable[..., bytes]:
        """`view.artifacts.read`."""
        return self.artifacts.read

    @property
    def find(self) -> Callable[..., Iterator[Artifact]]:
        """`view.artifacts.find`."""
        return self.artifacts.find

    @property
    def put(self) -> Callable[..., PutResult]:
        """Refused: ReadOnlyError."""
        return self.artifacts.put

    @property
    def put_many(self) -> Callable[..., ManyResult]:
        """Refused: ReadOnlyError."""
        return self.artifacts.put_many

    @property
    def create(self) -> Callable[..., Artifact]:
        """Refused: ReadOnlyError."""
        return self.artifacts.create

    def close(self) -> None:
        """Give the rows of this state back; the store stays open. Safe to call twice."""
        self._handle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

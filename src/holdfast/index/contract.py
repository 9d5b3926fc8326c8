"""What engine, kinds and care need of an index. Each numbered sentence has a conformance test that names it.

Who brings an index to a place of their own writes a `Keeper` (keeper.py): ten calls about pairs of bytes, from which
Holdfast makes an index that keeps these sentences. The rooms of an `Index` below (`chain`, `artifacts`, `finder` …) are
Holdfast's, on any database that speaks SQL: their methods are nobody else's to write, and may change with each version.

I-1  What a thread changes between `begin` and `commit` nobody else sees before `commit` returns, and all of it after.
I-2  What was committed survives the loss of power when `commit` returns, or `commit` raises StorageIOError: then only
     opening anew can tell.
I-3  `rollback` leaves nothing of a transaction, and needs no open one; `rollback_to` leaves what came before the mark.
I-4  Between `begin` and the end of a transaction no other has begun on the same index, in whatever process or on
     whatever machine: so seqs are given in the order of commits.
I-5  Readers wait for no writer, and each read sees a committed state that is no older than when it was asked.
I-6  `apply` and `apply_all` make the same rows of the same changes, on every backend, cell for cell.
I-7  `chain` holds the bytes of every transaction as they were acknowledged, and gives them back whole or raises.
I-8  Text, JSON and numbers come back as they were given: 1e+16 is no integer, -0.0 keeps its sign, a NUL in metadata
     is kept, an integer of any size is exact.
I-9  Order is total and the same on every backend: text by code points, missing values nowhere, equal values by key. A
     page token made by one backend is understood by every other that holds the same chain.
I-10 A row that is not what was written is never returned: IndexDamagedError.
I-11 Errors are typed; none of them, and no line of a log, holds a password or a value of a record.
I-12 A connection that was lost is replaced: a read outside of a transaction succeeds, a transaction fails whole.
I-13 `migrate` may be called by several processes at once, and again: one does the work, the schema is the same after.
I-14 All calls may come from many threads at once; a transaction belongs to the thread that began it.
I-15 Who follows is woken: `wait` returns when another thread or process has committed since `version` was `seen`, in
     whatever order the two happen, and sooner than it would be worth asking again; without a transaction open.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from holdfast.index.chain import ChainRows
from holdfast.index.execute import Executor
from holdfast.index.physical import PhysicalRows
from holdfast.index.select.artifacts import ArtifactRows
from holdfast.index.select.collections import CollectionRows
from holdfast.index.select.contents import Contents
from holdfast.index.select.declared import DeclaredRows
from holdfast.index.select.ends import EndRows
from holdfast.index.select.finding import Finder
from holdfast.index.select.lineage import LineageRows
from holdfast.index.select.lookups import Lookups
from holdfast.index.select.relationships import RelationshipRows
from holdfast.index.select.runs import RunRows
from holdfast.index.select.whole import Whole
from holdfast.values.change import Body

if TYPE_CHECKING:
    from holdfast.index.sql import SqlIndex


@runtime_checkable
class Index(Protocol):
    """An open index. `path` is for messages: where it is, without secrets."""

    path: str
    read_only: bool
    executor: Executor
    chain: ChainRows
    physical: PhysicalRows
    lookups: Lookups
    collections: CollectionRows
    artifacts: ArtifactRows
    contents: Contents
    declared: DeclaredRows
    finder: Finder
    ends: EndRows
    relationships: RelationshipRows
    runs: RunRows
    lineage: LineageRows
    whole: Whole

    def migrate(self) -> None:
        """Bring the schema to the newest version (I-13)."""
        ...

    def check(self) -> None:
        """Raise unless this is an index with a schema that this software can work on."""
        ...

    def identity(self) -> str:
        """What a copy of the index cannot carry along: where it differs from what was noted, no row is trusted."""
        ...

    def again(self, *, read_only: bool = True) -> Index:
        """Another handle on the same index, while this one is open."""
        ...

    def take_over(self, fresh: SqlIndex) -> None:
        """The rows of a file become this index's, in place of all that it had: in one step, durable on return."""
        ...

    def close(self) -> None:
        """Close all connections."""
        ...

    def begin(self) -> None:
        """Start a write transaction (I-4)."""
        ...

    def commit(self) -> None:
        """The point of no return (I-2)."""
        ...

    def rollback(self) -> None:
        """Undo the open transaction (I-3)."""
        ...

    def version(self) -> int:
        """A number that a commit of another thread or process makes another one (I-15). Only this thread's compare."""
        ...

    def wait(self, seen: int, timeout_s: float) -> int:
        """Wait until `version` is another than `seen`, at most so many seconds; the version then (I-15)."""
        ...

    def savepoint(self, depth: int) -> None:
        """Mark a place to come back to."""
        ...

    def release(self, depth: int) -> None:
        """Keep what came after the mark."""
        ...

    def rollback_to(self, depth: int) -> None:
        """Undo what came after the mark."""
        ...

    def apply(self, seq: int, body: Body) -> None:
        """Turn one change into rows (I-6)."""
        ...

    def apply_all(self, first: int, bodies: Iterable[Body]) -> None:
        """Turn changes into rows (I-6)."""
        ...

    def meta(self, key: str) -> str | None:
        """A fact this index keeps about itself."""
        ...

    def set_meta(self, key: str, value: str) -> None:
        """Keep a fact."""
        ...

    def unset_meta(self, key: str) -> None:
        """Forget a fact."""
        ...

    def dump(self, table: str) -> Iterator[tuple[Any, ...]]:
        """Every row of a table in order of its primary key, to compare two indexes (I-6)."""
        ...

    def trouble(self) -> list[str]:
        """What is wrong with the schema or the pages, in words."""
        ...

    def prove_rows(self, tables_of_interest: Sequence[str]) -> None:
        """IndexDamagedError if a row of some tables is not what its checksum says (I-10)."""
        ...

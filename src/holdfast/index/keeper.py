"""What an index needs of a place that keeps its rows. Each numbered sentence has a conformance test that names it.

To bring an index to a place of your own, write a `Keeper`: it keeps pairs of bytes, and knows nothing of artifacts,
queries or schemas. Reducers, queries, checksums and the chain are Holdfast's, over a private copy of the pairs
(kept.py): so what a query means, and what rows a change makes, cannot differ from one backend to the next.

K-1  Pairs come back byte for byte, and no others: keys of 1 to 500 bytes, values of none to many MiB, any bytes.
K-2  `commit` and `replace` are one step each: whoever reads sees all of it or nothing of it, also after a kill. When
     they return, it is durable. One that raises has changed nothing, or only opening anew can tell.
K-3  From `begin` to `commit`, `replace` or `rollback` nobody else has begun at the same place: in no other thread,
     handle or process. `begin` waits; who has waited too long gets LockedError. The death of a process ends its turn.
K-4  `rollback` ends the turn and leaves nothing of it; it does nothing where none was begun.
K-5  `version` is 0 where nothing was ever committed, greater after each step than before it, and the same for all
     handles; it is that of the last step that had returned when it was asked, or of a later one.
K-6  `read` gives one committed state: its version, and all pairs (`whole`), or those changed since the version that was
     asked for, each once, with None for those that are gone. Steps that others take meanwhile change nothing of it.
K-7  `version` and `read` answer while somebody else has begun.
K-8  `replace` leaves nothing of what was there: no pair, and at rest no byte of a value.
K-9  `identity` is the same for all handles on a place and after reopening, and another for another place.
K-10 All calls may come from many threads at once; after `close` each raises HandleDeadError, but `close` itself.

Errors of holdfast.errors pass as they are. All others become StorageIOError, which names their class and repeats
nothing of their text, for that may hold a password.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol, Self, runtime_checkable

LONGEST_KEY = 500
"""Bytes of a key, at most."""

Pair = tuple[bytes, bytes]
Change = tuple[bytes, bytes | None]


class Kept(NamedTuple):
    """What `read` gives. `items`: read once, from begin to end; `whole`: they are all that there is."""

    version: int
    items: Iterable[Change]
    whole: bool = True


@runtime_checkable
class Keeper(Protocol):
    """An open place that keeps pairs. `where`: for messages, without secrets."""

    where: str
    read_only: bool

    def identity(self) -> str:
        """What a copy of the place cannot carry along (K-9): a file's device and inode, a database's own id."""
        ...

    def version(self) -> int:
        """How many steps were taken, or another number that grows with them (K-5). Asked often: it should be cheap."""
        ...

    def read(self, since: int) -> Kept:
        """All pairs, or those that changed since a version (K-6). 0, or a version it does not know: all of them."""
        ...

    def begin(self) -> None:
        """Begin, alone (K-3); LockedError after a wait. The same thread ends it."""
        ...

    def commit(self, changes: Iterable[Change]) -> int:
        """Keep values under keys, drop those with None; end the turn. The new version, durable (K-2).

        `changes` is read once; each key comes once. It may raise: then nothing was done, and the turn goes on.
        """
        ...

    def replace(self, pairs: Iterable[Pair]) -> int:
        """As `commit`, and nothing else is there any more (K-8)."""
        ...

    def rollback(self) -> None:
        """End the turn without a change (K-4)."""
        ...

    def again(self, *, read_only: bool = True) -> Self:
        """Another handle on the same place, while this one is open. ReadOnlyError if only one may write."""
        ...

    def close(self) -> None:
        """Let go of everything (K-10)."""
        ...

"""What a store promises whatever its backends are. Each numbered sentence has a conformance test that names it.

S-1  An open store is ready: it can be read and, unless it is open for reading only, written to, and its schema has
     the newest version that this software knows.
S-2  Opening a store again, and bringing its schema up again, changes nothing.
S-3  What was saved is given back as it was: bytes, names, metadata, tags and facts alike.
S-4  So it is after the store was closed and opened again, with the same ids, seqs and end of the chain.
S-5  A name is taken once in its collection: NameTakenError names who holds it, and nothing is changed.
S-6  Both ends of a relationship are there, or NotFoundError is raised and nothing is changed.
S-7  Every order is total and the same each time; pages joined by their tokens are the whole, each record once.
S-8  A walk along relationships gives every record that can be reached, once, with its distance, in either direction.
S-9  A query that is limited to an owner or a tenant gives theirs, all of them, and nobody else's.
S-10 A transaction is wholly there or wholly absent, in rows and in the chain; a nested one can fail by itself.
S-11 Changes are read in order of their seqs, without a gap, each once, from any seq on.
S-12 Neither status nor errors that a store raises nor lines of its logs hold metadata or content of a record.
S-13 A comparison means what docs/queries.md says, for every operator and every kind of value.
S-14 What several threads write at once is all there, and each sees its own writes at once.
S-15 A search finds the live artifacts that have all its words, and says up to which change it looked.

R-1  A run is pending, then processing, then completed, failed or cancelled: every other way is IllegalTransitionError.
R-2  What a run read and made is pinned to the revision that it was then.
R-3  A run that is worked in ends with its block: completed, or failed with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

from holdfast.kinds.endpoints import Linkable
from holdfast.values.records import Run, RunLink, RunManifest, Step


@runtime_checkable
class RunRoom(Protocol):
    """What is asked of whoever keeps runs (R-1 to R-3): `store.runs` fits it, and a stand-in for tests has to."""

    def create(self, name: str) -> Run:
        """A pending run."""
        ...

    def start(self, run: Run | str) -> AbstractContextManager[Any]:
        """Work in a run (R-3)."""
        ...

    def set_status(self, run: Run | str, status: str) -> Run:
        """Take a run on its way (R-1)."""
        ...

    def add_step(self, run: Run | str, name: str) -> Step:
        """A step of a run, numbered."""
        ...

    def link(self, run: Run | str, direction: str, record: Linkable) -> RunLink:
        """Say what a run read or made (R-2)."""
        ...

    def links(self, run: Run | str, direction: str) -> Iterator[RunLink]:
        """What a run read or made."""
        ...

    def manifest(self, run: Run | str) -> RunManifest:
        """All that is known of a run."""
        ...

    def get(self, run: Run | str) -> Run:
        """The run as it is now."""
        ...

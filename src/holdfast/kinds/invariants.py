"""What is always so of records, and of what keeps a state: numbered clauses, checked where promises are.

Records cannot change, so theirs are checked when one is made, also out of a row. Of the others icontract asks before
and after every public method. What must never go back is compared with what was seen before; a look at the past is
taken first and at the present second, so other threads may go on meanwhile.
"""

from __future__ import annotations

import functools
import inspect
import re
import types
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

from holdfast.blobs.packs.kept import KeptFrames
from holdfast.blobs.packs.unsynced import KEPT_BYTES, Unsynced
from holdfast.engine import outbox
from holdfast.engine.handle import Handle
from holdfast.engine.transaction import Unit
from holdfast.errors import ContractViolationError
from holdfast.index.select.making import Maker
from holdfast.kinds import clauses
from holdfast.kinds.view import View
from holdfast.values import lifecycle
from holdfast.values.change import Entry, Transaction
from holdfast.values.records import Artifact, Change, Collection, Relationship, Revision, Run, Step

PART = "invariant"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}").fullmatch
_ROOT_BYTES = 32


class Invariant(NamedTuple):
    """`of`: the class, None: that of stores; `holds`: whether an object of it keeps the clause."""

    number: str
    words: str
    of: type | None
    holds: Callable[[Any], bool]


def _remembered(owner: Any, name: str) -> dict[str, Any]:
    """What was seen of an object before; kept beside it."""
    found: dict[str, Any] = vars(owner).setdefault("_seen", {})
    return found.setdefault(name, {})  # type: ignore[no-any-return]


def _never_less(owner: Any, name: str, look: Callable[[], int]) -> bool:
    seen = _remembered(owner, name)
    before = seen.get("at", 0)
    now = look()
    seen["at"] = max(now, seen.get("at", 0))
    return bool(now >= before)


def _stays_closed(handle: Handle) -> bool:
    return _never_less(handle, "closed", lambda: int(bool(handle._dead)))  # noqa: SLF001 - what is looked after


def _chain_grows(handle: Handle) -> bool:
    def end() -> int:
        left = handle.left
        return _remembered(handle, "end").get("at", 0) if left is None else left[1].next_seq

    return _never_less(handle, "end", end)


def _is_the_state_it_was(self: View) -> bool:
    seen = _remembered(self._handle, "state")
    return bool(seen.setdefault("seq", self._handle.seq) == self._handle.seq)


def _in_time(self: Any) -> bool:
    gone = None if isinstance(self, Relationship) else self.deleted_at  # its ends say when it went, too
    return bool(self.created_at <= self.updated_at and (gone is None or self.created_at <= gone))


def _ends_as_it_says(self: Run | Step) -> bool:
    return self.ended_at is None or self.status in lifecycle.ENDED


def _adds_up(self: KeptFrames) -> bool:
    with self._guard:
        recent = sum(map(len, self._recent.values()))
        rest = sum(len(one.content) for one in self._rest.values())
        return (recent, rest) == (self._bytes, self._rest_bytes) and recent + rest <= self._limit


def _waits_in_order(self: Unsynced) -> bool:
    with self._guard:
        starts = [start for start, _ in self._parts]
        held = sum(len(data) for _, data in self._parts)
        return starts == sorted(starts) and held == self._bytes <= KEPT_BYTES


def _whole(self: Transaction) -> bool:
    return len(self.bodies) == self.entry.count and bool(self.salt) == (self.redacted is None)


_STATES = (
    Invariant("V-1", "what was closed stays closed", None, lambda self: _stays_closed(self._handle)),
    Invariant("V-2", "the end of a chain never goes back", None, lambda self: _chain_grows(self._handle)),
    Invariant("V-3", "a view shows the state that it was opened at", View, _is_the_state_it_was),
    Invariant("V-4", "a unit of work ends where it began or later", Unit,
              lambda self: self.after.next_seq >= self.before.next_seq and self._depth >= 0),
    Invariant("V-5", "the cursor of a lease never goes back", outbox.Lease,
              lambda self: _never_less(self, "cursor", lambda: self._seq)),
    Invariant("V-6", "a pool counts what it keeps, and keeps no more than it may", KeptFrames, _adds_up),
    Invariant("V-7", "what waits for a sync is in order, counted and bounded", Unsynced, _waits_in_order),
)  # fmt: skip
_RECORDS = (
    Invariant("V-8", "a revision has a number and a seq from 1 on, a size from 0 on and a digest", Revision,
              lambda self: min(self.number, self.seq) >= 1 and self.size >= 0 and bool(_DIGEST(self.digest))),
    Invariant("V-9", "an artifact has its own revision, and a path that ends with its name", Artifact,
              lambda self: self.revision.artifact_id == self.id and self.path_bytes.endswith(self.name_bytes)),
    Invariant("V-10", "a collection without a name has no other around it", Collection,
              lambda self: (self.parent_id is None) == (not self.name_bytes)),
    *(Invariant("V-11", "a record was made before it was changed or deleted", one, _in_time)
      for one in (Artifact, Collection, Relationship, Run)),
    *(Invariant("V-12", "a run or step that has an end has a final status", one, _ends_as_it_says)
      for one in (Run, Step)),
    Invariant("V-13", "a change has a seq from 1 on", Change, lambda self: self.seq >= 1),
    Invariant("V-14", "an entry counts from 1 on, and has a root and the hash before it", Entry,
              lambda self: min(self.first, self.count) >= 1 and len(self.root) == len(self.prev) == _ROOT_BYTES),
    Invariant("V-15", "a transaction has as many changes as its entry says, and a salt unless it was redacted",
              Transaction, _whole),
)  # fmt: skip
INVARIANTS = (*_STATES, *_RECORDS)
"""In order of number."""

_MADE_OF_ROWS: tuple[tuple[str, type, Callable[[Any], list[Any]]], ...] = (
    ("artifacts", Artifact, list),
    ("artifacts", Revision, lambda made: [one.revision for one in made]),
    ("revision", Revision, lambda made: [made]),
)
"""Methods of Maker, which makes records without their `__init__`: what records of a class are in an answer."""


def enforce(library: ModuleType, store: type) -> None:
    """Have all of them checked from now on, by icontract. `store`: the class of stores."""
    for one in _STATES:
        library.invariant(one.holds, error=_broken(one))(one.of or store)
    for one in _RECORDS:
        record: Any = one.of
        inspect.signature(record)  # compiles its `__init__`, which is to be wrapped
        record.__init__ = library.ensure(one.holds, error=_broken(one))(record.__init__)
    for name, made, records in _MADE_OF_ROWS:
        for one in _RECORDS:
            if one.of is made:
                wrapped = library.ensure(_of_result(one.holds, records), error=_broken_row(one))
                setattr(Maker, name, wrapped(getattr(Maker, name)))


def _of_result(holds: Callable[[Any], bool], records: Callable[[Any], list[Any]]) -> Callable[..., bool]:
    def kept(result: Any) -> bool:  # icontract goes by the name of what it is asked of
        return all(map(holds, records(result)))

    return kept


def _broken(one: Invariant) -> Callable[..., ContractViolationError]:
    return lambda self: _error(one, getattr(self, "_handle", None))


def _broken_row(one: Invariant) -> Callable[..., ContractViolationError]:
    return lambda result: _error(one, None)  # noqa: ARG005 - icontract goes by the name


def _error(one: Invariant, handle: Any) -> ContractViolationError:
    call = "store" if one.of is None else one.of.__name__.lower()
    error = ContractViolationError(
        f"{call}: {one.words}; it is not so", clause=one.number, call=call, part=PART,
        remedy="A fault of Holdfast: run `holdfast fsck`, and report it with what `holdfast doctor` prints.",
    )  # fmt: skip
    if handle is not None:
        write_down(handle, error)
    return error


def write_down(handle: Handle, error: ContractViolationError) -> None:
    """Note a broken invariant in a store's chain, unless that was done."""
    if error.fields["part"] == PART and not hasattr(error, "noted"):
        error.noted = True  # type: ignore[attr-defined]
        clauses.note(handle, str(error.fields["clause"]), str(error.fields["call"]), PART)


def noted(method: Callable[..., Any]) -> Callable[..., Any]:
    """A call that writes down which invariant of a record was broken on the way: records know of no store."""

    @functools.wraps(method)
    def wrapper(self: Any, *args: Any, **named: Any) -> Any:
        try:
            found = method(self, *args, **named)
        except ContractViolationError as error:
            write_down(self._handle, error)
            raise
        return _going_on(self._handle, found) if isinstance(found, types.GeneratorType) else found

    return wrapper


def _going_on(handle: Handle, found: Iterator[Any]) -> Iterator[Any]:
    try:
        yield from found
    except ContractViolationError as error:
        write_down(handle, error)
        raise

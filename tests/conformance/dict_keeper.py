"""A keeper in plain dicts, as somebody would write it from docs/backends.md alone. Its spoiled forms stand below it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from holdfast.errors import HandleDeadError, LockedError
from holdfast.index.keeper import Change, Kept, Pair
from holdfast.testing.conformance import EVERYTHING, Capability, KeeperConformance

from .mutants import MUTANTS, Mutant

WAIT_S = 20.0


@dataclass(frozen=True)
class State:
    """Never changed, only exchanged for another. `pairs`: values and since when; `dropped`: keys that are gone."""

    pairs: dict[bytes, tuple[bytes, int]]
    dropped: dict[bytes, int]
    version: int
    replaced: int


class Place:
    """What all handles on one place share. `dropped`: keys that are gone, and since which version."""

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self.state = State({}, {}, 0, 0)


PLACES: dict[str, Place] = {}


class DictKeeper:
    """One process; what it keeps ends with that."""

    def __init__(self, where: str | Path, *, read_only: bool = False) -> None:
        self.where, self.read_only = str(where), read_only
        self.place = PLACES.setdefault(self.where, Place())
        self.begun: int | None = None
        self.closed = False

    def alive(self) -> Place:
        if self.closed:
            raise HandleDeadError("this place was closed", reason="closed")
        return self.place

    def identity(self) -> str:
        return f"dict:{self.where}:{id(self.alive())}"

    def version(self) -> int:
        return self.alive().state.version

    def read(self, since: int) -> Kept:
        state = self.alive().state
        if not state.replaced <= since <= state.version:
            return Kept(state.version, [(key, value) for key, (value, _) in state.pairs.items()])
        changed: list[Change] = [(key, value) for key, (value, made) in state.pairs.items() if made > since]
        gone: list[Change] = [(key, None) for key, when in state.dropped.items() if when > since]
        return Kept(state.version, changed + gone, whole=False)

    def begin(self) -> None:
        if not self.alive().turn.acquire(timeout=WAIT_S):
            raise LockedError("somebody else writes", lock=self.where, holder=None, waited_s=WAIT_S)
        self.begun = threading.get_ident()

    def commit(self, changes: Iterable[Change]) -> int:
        old = self.alive().state
        pairs, dropped, version = dict(old.pairs), dict(old.dropped), old.version + 1
        for key, value in changes:
            dropped.pop(key, None)
            if value is not None:
                pairs[key] = (value, version)
            elif pairs.pop(key, None):
                dropped[key] = version
        return self._to(State(pairs, dropped, version, old.replaced))

    def replace(self, pairs: Iterable[Pair]) -> int:
        version = self.alive().state.version + 1
        return self._to(State({key: (value, version) for key, value in pairs}, {}, version, version))

    def _to(self, state: State) -> int:
        self.place.state = state
        self._end()
        return state.version

    def rollback(self) -> None:
        self.alive()
        if self.begun == threading.get_ident():
            self._end()

    def _end(self) -> None:
        self.begun = None
        self.place.turn.release()

    def again(self, *, read_only: bool = True) -> DictKeeper:
        return type(self)(self.where, read_only=read_only)

    def close(self) -> None:
        self.closed = True


# -- wrong ones, each in one way ------------------------------------------------------------------------------------


def keeper(breaks: str, caught_by: str, drags: str = "") -> Callable[[type], type]:
    """A wrong keeper. It is registered under its class's name."""

    def register(wrong: type[DictKeeper]) -> type[DictKeeper]:
        class Suite(KeeperConformance):
            capabilities = EVERYTHING - {Capability.DAMAGED}

            def open_keeper(self, place: Path) -> Any:
                return wrong(place)

        MUTANTS.append(Mutant(wrong.__name__, tuple(breaks.split()), caught_by, Suite, tuple(drags.split())))
        return wrong

    return register


@keeper("K-1", "test_pairs_come_back_byte_for_byte_and_no_others")
class TakesPrefixSiblingsAlong(DictKeeper):
    def commit(self, changes: Iterable[Change]) -> int:
        made = list(changes)
        gone = tuple(key for key, value in made if value is None)
        siblings = [one for one in self.place.state.pairs if gone and one.startswith(gone) and one not in gone]
        return super().commit([*made, *((one, None) for one in siblings)])


@keeper("K-1", "test_pairs_come_back_byte_for_byte_and_no_others")
class FoldsCase(DictKeeper):
    def commit(self, changes: Iterable[Change]) -> int:
        return super().commit((key.lower(), value) for key, value in changes)


@keeper("K-1", "test_pairs_come_back_byte_for_byte_and_no_others")
class ThinksThatEmptyIsGone(DictKeeper):
    def commit(self, changes: Iterable[Change]) -> int:
        return super().commit((key, value or None) for key, value in changes)


@keeper("K-1", "test_pairs_come_back_byte_for_byte_and_no_others")
class CutsWhatIsLong(DictKeeper):
    def commit(self, changes: Iterable[Change]) -> int:
        return super().commit((key, None if value is None else value[: 1 << 20]) for key, value in changes)


@keeper("K-2", "test_a_step_that_fails_in_the_middle_did_nothing")
class WritesOneByOne(DictKeeper):
    def commit(self, changes: Iterable[Change]) -> int:
        for key, value in changes:
            state = self.place.state
            pairs = {one: kept for one, kept in state.pairs.items() if one != key}
            if value is not None:
                pairs[key] = (value, state.version + 1)
            dropped = {one: when for one, when in state.dropped.items() if one != key}
            if value is None and key in state.pairs:
                dropped[key] = state.version + 1
            self.place.state = replace(state, pairs=pairs, dropped=dropped)
        return super().commit(())


@keeper("K-2", "test_a_step_is_there_in_a_new_handle")
class KeepsTheLastStepToItself(DictKeeper):
    def close(self) -> None:
        if not self.closed and self.place.state.version:
            self.begin()
            self.place.state = replace(self.place.state, pairs={})
            self._end()
        super().close()


@keeper("K-3", "test_threads_take_turns")
class LocksNobodyOut(DictKeeper):
    def begin(self) -> None:
        self.alive()
        threading.Event().wait(0.002)

    def commit(self, changes: Iterable[Change]) -> int:
        found = list(changes)
        threading.Event().wait(0.002)
        return super().commit(found)

    def _end(self) -> None:
        self.begun = None


@keeper("K-3", "test_handles_take_turns")
class LocksItsOwnThreadsOutOnly(DictKeeper):
    def __init__(self, where: str | Path, *, read_only: bool = False) -> None:
        super().__init__(where, read_only=read_only)
        self.own = threading.Lock()

    def begin(self) -> None:
        self.alive()
        self.own.acquire()
        self.begun = threading.get_ident()

    def commit(self, changes: Iterable[Change]) -> int:
        found = list(changes)
        threading.Event().wait(0.002)
        return super().commit(found)

    def _end(self) -> None:
        self.begun = None
        self.own.release()


@keeper("K-4", "test_a_turn_that_is_rolled_back_leaves_nothing", drags="K-2")
class CountsWhatWasRolledBack(DictKeeper):
    def rollback(self) -> None:
        if self.begun is not None:
            self.place.state = replace(self.place.state, version=self.place.state.version + 1)
        super().rollback()


@keeper("K-5", "test_the_version_grows_with_every_step")
class CountsOnlyWhatIsNew(DictKeeper):
    def commit(self, changes: Iterable[Change]) -> int:
        found = list(changes)
        state = self.place.state
        if all(value is not None and state.pairs.get(key, (None,))[0] == value for key, value in found):
            return self._to(state)
        return super().commit(found)


@keeper("K-5", "test_the_version_grows_with_every_step")
class RemembersItsOwnVersion(DictKeeper):
    """A cache that another handle's step does not end."""

    def __init__(self, where: str | Path, *, read_only: bool = False) -> None:
        super().__init__(where, read_only=read_only)
        self.cached = super().version()

    def version(self) -> int:
        self.alive()
        return self.cached

    def _to(self, state: State) -> int:
        self.cached = super()._to(state)
        return self.cached


@keeper("K-6", "test_changes_since_any_version_lead_to_what_there_is")
class TellsNothingOfWhatIsGone(DictKeeper):
    def read(self, since: int) -> Kept:
        found = super().read(since)
        return found._replace(items=[one for one in found.items if one[1] is not None])


@keeper("K-6", "test_changes_since_any_version_lead_to_what_there_is")
class LeavesOutTheFirstStepAfter(DictKeeper):
    def read(self, since: int) -> Kept:
        return super().read(since + 1 if 0 < since < self.place.state.version else since)


@keeper("K-6", "test_what_is_read_is_one_state_whatever_others_do_meanwhile")
class ReadsAsItGoes(DictKeeper):
    def read(self, since: int) -> Kept:
        found = super().read(since)
        return found._replace(items=self._later(found.items)) if found.whole or not since else found

    def _later(self, items: Iterable[Change]) -> Iterator[Change]:
        for number, (key, value) in enumerate(items):
            late = self.place.state.pairs.get(key, (value, 0))[0]
            yield key, value if number < 100 else late


@keeper("K-6", "test_changes_since_any_version_lead_to_what_there_is")
class CallsAnEmptyReplacementNoChange(DictKeeper):
    def replace(self, pairs: Iterable[Pair]) -> int:
        made = list(pairs)
        if made:
            return super().replace(made)
        state = self.place.state
        return self._to(State({}, {}, state.version + 1, state.replaced))


@keeper("K-7", "test_reading_waits_for_no_turn")
class ReadsOnlyBetweenTurns(DictKeeper):
    def read(self, since: int) -> Kept:
        if self.begun not in (None, threading.get_ident()):
            raise LockedError("somebody writes", lock=self.where, holder=None, waited_s=0)
        return super().read(since)


@keeper("K-8", "test_nothing_is_left_of_what_was_replaced", drags="K-6")
class AddsToWhatItReplaces(DictKeeper):
    def replace(self, pairs: Iterable[Pair]) -> int:
        return self.commit(pairs)


_serial = itertools.count()


@keeper("K-9", "test_a_place_has_an_identity_that_another_has_not")
class IsAnotherEachTime(DictKeeper):
    def __init__(self, where: str | Path, *, read_only: bool = False) -> None:
        super().__init__(where, read_only=read_only)
        self.serial = next(_serial)

    def identity(self) -> str:
        return f"dict:{self.serial}"


@keeper("K-9", "test_a_place_has_an_identity_that_another_has_not")
class IsTheSameEverywhere(DictKeeper):
    def identity(self) -> str:
        self.alive()
        return "dict"


@keeper("K-10", "test_a_keeper_fits_the_protocol")
class WorksWhenItIsClosed(DictKeeper):
    def close(self) -> None:
        pass

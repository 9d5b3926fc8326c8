"""What any keeper of an index's rows must do: a test or more for each sentence of index/keeper.py.

Subclass KeeperConformance under a name that begins with `Test`, and give `open_keeper`. What the index over it must do,
and a store on that, is in IndexConformance.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from holdfast.errors import HandleDeadError, LockedError
from holdfast.index.keeper import LONGEST_KEY, Change, Keeper
from holdfast.testing.conformance.marks import EVERYTHING, Capability, demand, shows
from holdfast.testing.conformance.stores import at_once

MARK = b"S3cr3t-row-7f1d"
ODD: dict[bytes, bytes] = {
    b"\0": b"", b"\0\0": b"\0", b"a": b"1", b"a\0": b"2", b"a ": b"3", b"ab": b"4", b"A": b"5", b"a%": b"6",
    b"a_": b"7",
    b"\xff" * LONGEST_KEY: b"\xff", b"\xff" * (LONGEST_KEY - 1): bytes(range(256)), "é".encode(): b"8",
    "e\u0301".encode(): b"9", b"1": b"10", b"01": b"11", b"1.0": b"12", b"'": b"13", b"\n": b"\r\n",
    b"big": bytes(range(256)) * 12_288,
}  # fmt: skip
Pairs = dict[bytes, bytes]


def state_of(keeper: Keeper) -> Pairs:
    """All pairs that a keeper gives."""
    found = keeper.read(0)
    return merged({}, found.items)


def merged(before: Pairs, changes: Iterable[Change]) -> Pairs:
    """What pairs become by changes; each key comes once."""
    found, seen = dict(before), set()
    for key, value in changes:
        assert key not in seen, "a key comes twice"
        seen.add(key)
        if value is None:
            found.pop(bytes(key), None)
        else:
            found[bytes(key)] = bytes(value)
    return found


def keep(keeper: Keeper, **changes: bytes | None) -> int:
    """One step."""
    keeper.begin()
    return keeper.commit([(key.encode(), value) for key, value in changes.items()])


class KeeperConformance:
    """The suite. A place is made by `open_keeper` where none is, and opened again where one is.

    `capabilities`: what the keeper claims; tests that need more are skipped.
    """

    capabilities: frozenset[Capability] = EVERYTHING

    @pytest.fixture(autouse=True)
    def _as_claimed(self, request: pytest.FixtureRequest) -> None:
        demand(request.function, self.capabilities)

    @pytest.fixture
    def place(self, tmp_path: Path) -> Path:
        """A place where nothing is."""
        return tmp_path

    def open_keeper(self, place: Path) -> Keeper:
        """What keeps the rows at a place; each call gives another handle on it."""
        raise NotImplementedError

    def bytes_at_rest(self, place: Path) -> bytes:
        """Whatever of the place can be read when no handle is open: for DAMAGED. Here: all files below it."""
        return b"".join(one.read_bytes() for one in sorted(place.rglob("*")) if one.is_file())

    @contextlib.contextmanager
    def keeper(self, place: Path) -> Iterator[Keeper]:
        """A handle, closed after the block."""
        made = self.open_keeper(place)
        try:
            yield made
        finally:
            made.close()

    @shows("K-10")
    def test_a_keeper_fits_the_protocol(self, place: Path) -> None:
        """By its methods and parts; and once closed, says so."""
        keeper = self.open_keeper(place)
        assert isinstance(keeper, Keeper)
        keeper.close()
        keeper.close()
        for call in (keeper.version, keeper.begin, lambda: keeper.read(0)):
            with pytest.raises(HandleDeadError):
                call()

    @shows("K-1")
    def test_pairs_come_back_byte_for_byte_and_no_others(self, place: Path) -> None:
        """Keys that differ by little are others; what goes takes none along that begins like it."""
        with self.keeper(place) as keeper:
            assert state_of(keeper) == {}
            keeper.begin()
            keeper.commit(iter(ODD.items()))
            assert state_of(keeper) == ODD
            wanted = ODD | {b"A": b"", b"1": b"x" * 70_000}
            keeper.begin()
            keeper.commit([(b"a", None), (b"A", b""), (b"1", b"x" * 70_000), (b"never there", None)])
            del wanted[b"a"]
            assert state_of(keeper) == wanted

    @shows("K-2")
    def test_a_step_that_fails_in_the_middle_did_nothing(self, place: Path) -> None:
        """What it was given to read raised; the turn can be ended, and another begun."""

        def torn() -> Iterator[tuple[bytes, bytes]]:
            yield b"a", b"new"
            yield b"b", b"new"
            raise RuntimeError("as a disk that fails")

        with self.keeper(place) as keeper:
            before = keep(keeper, a=b"1")
            for step in (keeper.commit, keeper.replace):
                keeper.begin()
                with pytest.raises(RuntimeError):
                    step(torn())
                keeper.rollback()
                assert (state_of(keeper), keeper.version()) == ({b"a": b"1"}, before)
            assert keep(keeper, b=b"2") > before
            assert state_of(keeper) == {b"a": b"1", b"b": b"2"}

    @shows("K-2", needs=Capability.DURABLE)
    def test_a_step_is_there_in_a_new_handle(self, place: Path) -> None:
        """All of it, without the first being closed too, where several can be open."""
        with self.keeper(place) as keeper:
            keep(keeper, a=b"1", b=b"2")
            if Capability.SHARED in self.capabilities:
                with self.keeper(place) as other:
                    assert state_of(other) == {b"a": b"1", b"b": b"2"}
            keep(keeper, a=None, c=b"3")
        with self.keeper(place) as again:
            assert state_of(again) == {b"b": b"2", b"c": b"3"}

    @shows("K-3")
    def test_threads_take_turns(self, place: Path) -> None:
        """No increment is lost. Who is told that it is busy asks again."""
        with self.keeper(place) as keeper:
            keep(keeper, n=b"0")
            at_once(*[lambda: _count(keeper)] * 4)
            assert state_of(keeper) == {b"n": b"24"}

    @shows("K-3", needs=Capability.SHARED)
    def test_handles_take_turns(self, place: Path) -> None:
        """As other processes have them."""
        with contextlib.ExitStack() as stack:
            keepers = [stack.enter_context(self.keeper(place)) for _ in range(3)]
            keep(keepers[0], n=b"0")
            at_once(*(lambda one=one: _count(one) for one in keepers))
            assert [state_of(one) for one in keepers] == [{b"n": b"18"}] * 3

    @shows("K-4")
    def test_a_turn_that_is_rolled_back_leaves_nothing(self, place: Path) -> None:
        """And others may begin."""
        with self.keeper(place) as keeper:
            keeper.rollback()
            before = keep(keeper, a=b"1")
            keeper.begin()
            keeper.rollback()
            keeper.rollback()
            assert (state_of(keeper), keeper.version()) == ({b"a": b"1"}, before)
            at_once(lambda: keep(keeper, b=b"2"))
            assert state_of(keeper) == {b"a": b"1", b"b": b"2"}

    @shows("K-5")
    def test_the_version_grows_with_every_step(self, place: Path) -> None:
        """From none; the step says which one it made, also the one that changes nothing."""
        with self.keeper(place) as keeper:
            assert keeper.version() == 0
            made = [keep(keeper, a=b"1"), keep(keeper, a=b"1"), keep(keeper, a=None)]
            keeper.begin()
            made.append(keeper.replace([(b"z", b"1")]))
            assert made == sorted(set(made))
            assert keeper.version() == made[-1]
            assert keeper.read(0).version == made[-1]
            assert at_once(keeper.version) == made[-1:]
            if Capability.SHARED in self.capabilities:
                with self.keeper(place) as other:
                    assert other.version() == made[-1]
                    later = keep(other, z=b"2")
                assert keeper.version() == later > made[-1]

    @shows("K-5", needs=Capability.DURABLE)
    def test_the_version_is_the_same_after_reopening(self, place: Path) -> None:
        """And grows from there."""
        with self.keeper(place) as keeper:
            made = keep(keeper, a=b"1")
        with self.keeper(place) as keeper:
            assert keeper.version() == made
            assert keep(keeper, a=b"2") > made

    @shows("K-6")
    def test_changes_since_any_version_lead_to_what_there_is(self, place: Path) -> None:
        """From what there was at that version; one that is not known gives everything."""
        steps: list[dict[str, bytes | None]] = [
            {"a": b"1", "b": b"1", "c": b"1"}, {"a": b"2", "b": None}, {"b": b"3", "d": b"3"}, {"d": None, "c": None},
        ]  # fmt: skip
        anew: list[list[tuple[bytes, bytes]]] = [[(b"a", b"new"), (b"x", b"new")], []]
        with self.keeper(place) as keeper:
            seen: dict[int, Pairs] = {0: {}}
            order: list[int] = [0, 1, 2, 3, -1, 0, -2, 0, 1]
            for number, step in enumerate(order):
                if step < 0:
                    keeper.begin()
                    keeper.replace(anew[-1 - step])
                else:
                    keep(keeper, **steps[step])
                now = state_of(keeper)
                for version, before in {**seen, keeper.version() + 1000: {}}.items():
                    found = keeper.read(version)
                    assert found.version == keeper.version()
                    assert merged({} if found.whole else before, found.items) == now, (number, version)
                seen[keeper.version()] = now
            assert now == {b"a": b"2", b"c": b"1"}

    @shows("K-6", needs=Capability.OVERLAPPING)
    def test_what_is_read_is_one_state_whatever_others_do_meanwhile(self, place: Path) -> None:
        """Begun before a step, read to the end after it."""
        with self.keeper(place) as keeper:
            keeper.begin()
            version = keeper.commit((b"%04d" % n, b"old") for n in range(600))
            found = keeper.read(0)
            items = iter(found.items)
            first = next(items)
            at_once(lambda: keep(keeper, **{f"{n:04}": b"new" for n in range(600)}))
            rest = dict(items)
            assert found.version == version
            assert {first[1], *rest.values()} == {b"old"}
            assert len(rest) == 599

    @shows("K-7", needs=Capability.OVERLAPPING)
    def test_reading_waits_for_no_turn(self, place: Path) -> None:
        """In another thread, and in the one that has begun."""
        with self.keeper(place) as keeper:
            version = keep(keeper, a=b"1")
            keeper.begin()
            seen = at_once(keeper.version, lambda: state_of(keeper))
            assert seen == [version, {b"a": b"1"}] == [keeper.version(), state_of(keeper)]
            keeper.commit([(b"a", b"2")])
            assert at_once(lambda: state_of(keeper)) == [{b"a": b"2"}]

    @shows("K-8")
    def test_nothing_is_left_of_what_was_replaced(self, place: Path) -> None:
        """No pair, and where bytes at rest can be reached, no byte of a value."""
        with self.keeper(place) as keeper:
            keep(keeper, a=MARK * 100, b=MARK)
            keep(keeper, b=None)
            keeper.begin()
            keeper.replace(iter([(b"c", b"3")]))
            assert state_of(keeper) == {b"c": b"3"}
        if Capability.DAMAGED in self.capabilities:
            assert MARK not in self.bytes_at_rest(place)

    @shows("K-9")
    def test_a_place_has_an_identity_that_another_has_not(self, place: Path) -> None:
        """The same before and after steps, and after reopening."""
        other = place / "other"
        other.mkdir()
        with self.keeper(place) as keeper, self.keeper(other) as another:
            found = keeper.identity()
            keep(keeper, a=b"1")
            assert keeper.identity() == found != another.identity()
            if Capability.SHARED in self.capabilities:
                with contextlib.closing(keeper.again()) as again:
                    assert again.identity() == found
        if Capability.DURABLE in self.capabilities:
            with self.keeper(place) as keeper:
                assert keeper.identity() == found

    @shows("K-10")
    def test_many_threads_read_while_one_after_the_other_writes(self, place: Path) -> None:
        """None sees half of a step: both pairs are always the same."""
        with self.keeper(place) as keeper:
            keep(keeper, a=b"0", b=b"0")
            done = threading.Event()

            def look() -> None:
                while not done.is_set():
                    found = state_of(keeper)
                    assert found[b"a"] == found[b"b"]

            def write() -> None:
                try:
                    for number in range(12):
                        keep(keeper, a=b"%d" % number, b=b"%d" % number)
                finally:
                    done.set()

            at_once(look, look, write)


def _count(keeper: Keeper) -> None:
    for _ in range(6):
        while True:
            try:
                keeper.begin()
                break
            except LockedError:
                continue
        keeper.commit([(b"n", b"%d" % (int(state_of(keeper)[b"n"]) + 1))])

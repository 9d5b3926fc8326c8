"""What any index must do: a test or more for each sentence of index/contract.py, and all that a store on it must do.

Subclass IndexConformance under a name that begins with `Test`, and give `open_index`.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast import Store, ram
from holdfast.engine import recover
from holdfast.engine.parts import index_of
from holdfast.errors import HandleDeadError, HoldfastError, IndexDamagedError, LockedError
from holdfast.formats import lines
from holdfast.index.contract import Index
from holdfast.index.keeper import Keeper
from holdfast.index.sql import SqlIndex
from holdfast.index.sqlite import SqliteIndex
from holdfast.index.tables import LOGICAL
from holdfast.testing.conformance import bench, oracle
from holdfast.testing.conformance.marks import Capability, shows
from holdfast.testing.conformance.stores import StoreConformance, at_once
from holdfast.values import canon, query

FACT, OTHER = "kit-fact", "kit-other"


class SchemaConformance(StoreConformance):
    """The part of the suite that is about the schema."""

    def open_index(self, place: Path) -> Index | Keeper:
        """The index at a place, or what keeps its rows; each call gives another handle. There need be no schema yet."""
        raise NotImplementedError

    def opened(self, place: Path) -> SqlIndex:
        """The index, or the one over what keeps its rows."""
        return index_of(self.open_index(place))

    @shows("I-13", needs=Capability.SHARED)
    def test_four_bring_the_schema_up_at_once(self, place: Path) -> None:
        """One does the work; the schema is the same after, and again."""
        with contextlib.ExitStack() as stack:
            indexes = [self.opened(place) for _ in range(4)]
            for one in indexes:
                stack.callback(one.close)
            indexes[0].prepare()
            at_once(*(one.migrate for one in indexes))
            for one in indexes:
                one.check()
                assert one.trouble() == []
                assert all(applied for _, _, applied in one.migrations())

    @shows("I-13")
    def test_an_index_without_a_schema_is_told_from_a_sound_one(self, place: Path) -> None:
        """`check` raises before `migrate`, and not after it."""
        index = self.opened(place)
        try:
            with pytest.raises(IndexDamagedError):
                index.check()
            index.migrate()
            index.migrate()
            index.check()
            assert index.trouble() == []
        finally:
            index.close()


class IndexConformance(SchemaConformance):
    """The suite. An index is made by `open_index` where none is, and opened again where one is."""

    def open_store(self, place: Path) -> Store:
        """The index on trial, in a store whose other parts are in memory."""
        return bench.store_over(place, self.opened)

    @staticmethod
    def tamper(index: SqlIndex) -> None:
        """Change the names of all artifacts behind the back of whoever wrote their rows."""
        index.database.run("UPDATE artifact SET name = 'forged'")

    @pytest.fixture(autouse=True)
    def _freed(self, tmp_path: Path) -> Iterator[None]:
        yield
        bench.forget(tmp_path)

    @contextlib.contextmanager
    def index(self, place: Path) -> Iterator[SqlIndex]:
        """An index with its schema, closed after the block."""
        made = self.opened(place)
        try:
            made.migrate()
            yield made
        finally:
            made.close()

    @shows("I-14")
    def test_the_index_fits_the_protocol(self, place: Path) -> None:
        """By its methods and parts."""
        with self.index(place) as index:
            assert isinstance(index, Index)

    @shows("I-1", needs=Capability.OVERLAPPING)
    def test_changes_are_seen_by_others_only_after_commit(self, place: Path) -> None:
        """All of them then; by the thread that makes them at once."""
        with self.index(place) as index:
            index.begin()
            index.set_meta(FACT, "1")
            index.set_meta(OTHER, "1")
            assert index.meta(FACT) == "1"
            assert at_once(lambda: (index.meta(FACT), index.meta(OTHER))) == [(None, None)]
            index.commit()
            assert at_once(lambda: (index.meta(FACT), index.meta(OTHER))) == [("1", "1")]

    @shows("I-2", needs=Capability.DURABLE)
    def test_what_was_committed_is_there_in_a_new_handle(self, place: Path) -> None:
        """Without the first one being closed, too, where several can be open."""
        with self.index(place) as index:
            index.begin()
            index.set_meta(FACT, "1")
            index.commit()
            if Capability.SHARED in self.capabilities:
                with self.index(place) as other:
                    assert other.meta(FACT) == "1"
        with self.index(place) as index:
            assert index.meta(FACT) == "1"

    @shows("I-3")
    def test_rollback_leaves_nothing_and_needs_no_transaction(self, place: Path) -> None:
        """Of rows and of facts."""
        with self.index(place) as index:
            index.set_meta(FACT, "before")
            index.rollback()
            index.begin()
            index.set_meta(FACT, "after")
            index.set_meta(OTHER, "after")
            index.rollback()
            index.rollback()
            assert (index.meta(FACT), index.meta(OTHER)) == ("before", None)
            index.begin()
            index.set_meta(OTHER, "later")
            index.commit()
            assert index.meta(OTHER) == "later"

    @shows("I-3")
    def test_rolling_back_to_a_mark_leaves_what_came_before(self, place: Path) -> None:
        """Marks nest; one that is released is kept."""
        with self.index(place) as index:
            index.begin()
            index.set_meta("one", "1")
            index.savepoint(1)
            index.set_meta("two", "2")
            index.savepoint(2)
            index.set_meta("three", "3")
            index.release(2)
            index.rollback_to(1)
            index.savepoint(1)
            index.set_meta("four", "4")
            index.release(1)
            index.commit()
            assert [index.meta(key) for key in ("one", "two", "three", "four")] == ["1", None, None, "4"]

    @shows("I-4", needs=Capability.SHARED)
    def test_transactions_come_one_after_the_other(self, place: Path) -> None:
        """Of several handles on one index: no increment is lost. Who is told that it is busy asks again."""
        rounds, names = 6, range(3)
        with contextlib.ExitStack() as stack:
            indexes = [stack.enter_context(self.index(place)) for _ in names]
            indexes[0].set_meta(FACT, "0")

            def count(index: SqlIndex) -> None:
                for _ in range(rounds):
                    while True:
                        try:
                            index.begin()
                            break
                        except LockedError:
                            continue
                    index.set_meta(FACT, str(int(index.meta(FACT) or 0) + 1))
                    index.commit()

            at_once(*(lambda one=one: count(one) for one in indexes))
            assert indexes[0].meta(FACT) == str(rounds * len(names))

    @shows("I-5", needs=Capability.OVERLAPPING)
    def test_readers_wait_for_no_writer(self, place: Path) -> None:
        """And each read is no older than the last commit before it."""
        with self.open_store(place) as store:
            store.put("a", "1")
            done = threading.Event()

            def read() -> list[str]:
                assert done.wait(30)
                return [one.name for one in store.find()]

            for number in range(3):
                with store.transaction():
                    store.put(f"b{number}", "1")
                    done.set()
                    (seen,) = at_once(read)
                    assert seen == ["a", *(f"b{n}" for n in range(number))]
                    done.clear()

    @shows("I-6")
    def test_one_by_one_and_together_give_the_same_rows(self, place: Path) -> None:
        """And the same as an index in memory has, cell for cell, of the same chain."""
        with self.open_store(place) as store:
            self.corpus(store)
            store.put("v1", "again", tags=["t", "é"])
            one = store.get("v2")
            store.relationships.relate(one, "derived_from", "v1", metadata={"k": 1e16})
            with store.runs.start("r") as run:
                run.output(one)
            store.collections.create("c/d", parents=True)
            store.artifacts.move("v3", "c")
            store.artifacts.delete("v4")
            index = store._handle.index  # noqa: SLF001 - the part on trial
            chain = [lines.decode(data, "the chain") for data in index.chain.read(1)]
            with (
                contextlib.closing(_replayed(chain, together=True)) as all_at_once,
                contextlib.closing(_replayed(chain, together=False)) as singly,
            ):
                for table in LOGICAL:
                    rows = list(index.dump(table))
                    assert rows == list(all_at_once.dump(table)), table
                    assert rows == list(singly.dump(table)), table

    @shows("I-7")
    def test_the_chain_gives_back_the_bytes_that_were_acknowledged(self, place: Path) -> None:
        """Each transaction whole, by place and by id; the same as the journal's."""
        with self.open_store(place) as store:
            self.corpus(store)
            for number in range(5):
                store.put(f"more {number}", "1")
            index, journal = store._handle.index, store._handle.journal  # noqa: SLF001 - the part on trial
            found = [lines.decode(data, "the chain") for data in index.chain.read(1)]
            wanted = [item.transaction for _, item in journal.scan() if hasattr(item, "transaction")]
            assert found == wanted
            head = index.chain.head()
            assert head is not None
            assert (head.next_seq, head.hash) == (wanted[-1].entry.next_seq, wanted[-1].entry.hash())
            for one in wanted:
                assert index.chain.at(one.entry.first) == one
                assert index.chain.find(one.entry.tx) is not None
            assert index.chain.at(head.next_seq) is None

    @shows("I-8")
    def test_values_come_back_as_they_were_given(self, place: Path) -> None:
        """Through the index alone: floats, signs, NUL, big integers, text that is not normal."""
        with self.open_store(place) as store:
            for number, value in enumerate(oracle.ODD_VALUES):
                store.put(f"o{number}", "1", metadata={"value": value})
            found = {one.name: one.metadata["value"] for one in store.find()}
            assert all(oracle.identical(found[f"o{n}"], value) for n, value in enumerate(oracle.ODD_VALUES))
            for number, text in enumerate(["\u0301x", "\U0001f600", "a\0b", "'", '"', "\\", "%_"]):
                store._handle.index.set_meta(f"k{number}", text.replace("\0", ""))  # noqa: SLF001 - as above
                assert store._handle.index.meta(f"k{number}") == text.replace("\0", "")  # noqa: SLF001 - as above

    @shows("I-9")
    def test_order_and_page_tokens_are_those_of_every_backend(self, place: Path) -> None:
        """A token that was made by an index in memory, of the same chain, is understood here."""
        with self.open_store(place) as store:
            records = self.corpus(store)
            index = store._handle.index  # noqa: SLF001 - the part on trial
            chain = [lines.decode(data, "the chain") for data in index.chain.read(1)]
            with contextlib.closing(_replayed(chain, together=True)) as reference:
                for order in ("name", "-size", "created"):
                    asked = query.order(order)
                    first = reference.finder.page(None, asked, limit=9)
                    assert first.token == index.finder.page(None, asked, limit=9).token
                    rest = index.finder.page(None, asked, limit=1000, token=first.token)
                    wanted = oracle.in_order(records, order.replace("created", "age"))
                    assert [one.name for one in rest.items] == [one["name"] for one in wanted][9:]

    @shows("I-10")
    def test_a_row_that_is_not_what_was_written_is_not_given(self, place: Path) -> None:
        """Its name was changed behind the index's back: the checksum tells."""
        with self.open_store(place) as store:
            store.put("a", "1")
            index = store._handle.index  # noqa: SLF001 - the part on trial
            self.tamper(index)
            index.forget()
            with pytest.raises(IndexDamagedError):
                list(store.find())
            with pytest.raises(IndexDamagedError):
                index.prove_rows(["artifact"])

    @shows("I-11")
    def test_errors_are_typed_and_hold_no_value(self, place: Path, caplog: pytest.LogCaptureFixture) -> None:
        """Also those of a statement that cannot be, and of an index that is closed."""
        secret = "S3cr3t-value-7f1d"  # noqa: S105 - nobody's
        with caplog.at_level(logging.DEBUG), self.index(place) as index:
            with pytest.raises(HoldfastError) as caught:
                index.database.run("SELECT no_such_column FROM meta WHERE value = ?", (secret,))
            assert secret not in f"{caught.value}{caught.value.fields}"
        assert secret not in repr([vars(one) for one in caplog.records])
        with pytest.raises(HandleDeadError):
            index.meta(FACT)

    @shows("I-12")
    def test_a_thread_that_ended_leaves_the_others_well(self, place: Path) -> None:
        """Whatever it had open is given back, and its transaction is undone."""
        with self.index(place) as index:
            index.set_meta(FACT, "before")

            def leave() -> None:
                index.begin()
                index.set_meta(FACT, "never")
                index.rollback()

            for _ in range(20):
                at_once(leave)
            index.begin()
            index.set_meta(OTHER, "1")
            index.commit()
            assert (index.meta(FACT), index.meta(OTHER)) == ("before", "1")

    @shows("I-15")
    def test_who_follows_is_woken_by_a_commit_of_another(self, place: Path) -> None:
        """Also when the commit came first."""
        with self.index(place) as index:
            index.begin()
            index.set_meta(FACT, "0")
            index.commit()
            seen = index.version()

            def follow_up() -> None:
                index.begin()
                index.set_meta(FACT, "1")
                index.commit()

            at_once(follow_up)
            assert index.version() != seen
            assert index.wait(seen, 30.0) != seen

    @shows("I-14")
    def test_many_threads_read_and_write_at_once(self, place: Path) -> None:
        """Each in transactions of its own, one after the other; nothing is mixed up."""
        turn = threading.Lock()
        with self.index(place) as index:

            def work(name: int) -> None:
                for number in range(6):
                    with turn:
                        index.begin()
                        index.set_meta(f"{name}-{number}", f"{name} {number}")
                        index.commit()
                    assert index.meta(f"{name}-{number}") == f"{name} {number}"

            at_once(*(lambda name=name: work(name) for name in range(5)))
            assert all(index.meta(f"{a}-{b}") == f"{a} {b}" for a in range(5) for b in range(6))


def _replayed(chain: list[Any], *, together: bool) -> SqlIndex:
    """An index in memory, made from transactions."""
    made = SqliteIndex(f"{ram.new_root()}/index.sqlite3")
    made.migrate()
    made.begin()
    for one in chain:
        if together:
            recover.replay(made, one)
            continue
        for seq, body in enumerate(one.bodies, one.entry.first):
            made.apply(seq, canon.decode(body))
        made.chain.append(one, lines.encode(one))
    made.commit()
    return made

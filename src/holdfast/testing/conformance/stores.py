"""What any store must do, on whatever backends it stands: a test or more for each sentence of kinds/contract.py.

Subclass StoreConformance under a name that begins with `Test`, and give `open_store`.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import Store
from holdfast.errors import HoldfastError, IllegalTransitionError, NameTakenError, NotFoundError
from holdfast.index.migrations.manifest import LATEST_SCHEMA_VERSION
from holdfast.kinds.contract import RunRoom
from holdfast.testing.conformance import oracle
from holdfast.testing.conformance.answers import Answers
from holdfast.testing.conformance.marks import Capability, shows

WAIT_S = 60.0


def at_once(*work: Callable[[], Any]) -> list[Any]:
    """Do all in threads of their own; what each gave. The first error that one raised is raised here."""
    found: list[Any] = [None] * len(work)
    failed: list[BaseException] = []

    def run(number: int) -> None:
        try:
            found[number] = work[number]()
        except BaseException as error:  # noqa: BLE001 - raised again below
            failed.append(error)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive(), "a thread waits for ever"
    if failed:
        raise failed[0]
    return found


class StoreConformance(Answers):
    """The suite; what a store answers to questions stands in `answers`."""

    # -- ready -------------------------------------------------------------------------------------------------------

    @shows("S-1")
    def test_a_store_is_ready_when_it_is_open(self, place: Path) -> None:
        """Reachable, writable, and of the newest schema."""
        with self.open_store(place) as store:
            assert store.status().schema_version == LATEST_SCHEMA_VERSION
            assert all(applied for _, _, applied in store.migrate_status())
            assert [version for version, _, _ in store.migrate_status()][-1] == LATEST_SCHEMA_VERSION
            store.put("a", "1")
            assert store.read("a") == b"1"

    @shows("S-2")
    def test_bringing_up_the_schema_again_changes_nothing(self, place: Path) -> None:
        """As often as anybody likes."""
        with self.open_store(place) as store:
            store.put("a", "1")
            before = (store.audit.head(), store.migrate_status(), store.status().counts)
            for _ in range(2):
                store._handle.index.migrate()  # noqa: SLF001 - what a third-party index has to give
            assert (store.audit.head(), store.migrate_status(), store.status().counts) == before

    # -- saved and read ----------------------------------------------------------------------------------------------

    @shows("S-3")
    def test_what_was_saved_is_given_back_as_it_was(self, place: Path) -> None:
        """Every odd value and name, by the type and the sign."""
        with self.open_store(place) as store:
            for one in self.corpus(store):
                found = store.get(one["name"])
                assert (found.name, found.size) == (one["name"], one["size"])
                assert oracle.identical(found.metadata, one["metadata"]), found.metadata
                assert store.read(found) == b"x" * one["size"]

    @shows("S-3")
    def test_old_revisions_stay_what_they_were(self, place: Path) -> None:
        """Content, metadata and tags of each."""
        with self.open_store(place) as store:
            for number in range(1, 6):
                store.put("a", b"%d" % number, metadata={"k": number / 2}, tags=[f"t{number}"])
            assert [(r.number, r.metadata) for r in store.artifacts.revisions("a")] == [
                (number, {"k": number / 2}) for number in range(5, 0, -1)
            ]
            assert [store.artifacts.read("a", revision=number) for number in range(1, 6)] == [
                b"%d" % number for number in range(1, 6)
            ]
            assert store.get("a").tags == ("t5",)

    @shows("S-3")
    def test_what_was_read_is_read_anew_when_it_has_changed(self, place: Path) -> None:
        """By this thread and by another, by content, name and metadata; what is gone is gone."""
        with self.open_store(place) as store:
            for number in range(3):
                work = functools.partial(store.put, "a", b"%d" % number, metadata={"n": number})
                at_once(work) if number % 2 else work()
                found = store.get("a")
                assert (found.revision.number, found.metadata, store.read("a")) == (
                    number + 1, {"n": number}, b"%d" % number,
                )  # fmt: skip
            store.artifacts.rename("a", "b")
            with pytest.raises(NotFoundError):
                store.get("a")
            assert store.get("b").metadata == {"n": 2}
            store.artifacts.delete("b")
            with pytest.raises(NotFoundError):
                store.get("b")

    @shows("S-4", needs=Capability.DURABLE)
    def test_after_reopening_everything_is_as_it_was(self, place: Path) -> None:
        """Ids, seqs, contents, order and the end of the chain."""

        def seen(store: Store) -> Any:
            artifacts = [(a.id, a.name, a.revision.seq, repr(a.metadata), store.read(a)) for a in store.find()]
            return artifacts, [(c.seq, c.action) for c in store.changes.list()], store.audit.head(), store.id

        with self.open_store(place) as store:
            self.corpus(store)
            store.put("v3", "again")
            store.artifacts.delete("v4")
            before = seen(store)
        for _ in range(2):
            with self.open_store(place) as store:
                assert seen(store) == before
                assert store.audit.verify().proven

    @shows("S-4", needs=Capability.DURABLE)
    def test_the_last_write_before_closing_is_there(self, place: Path) -> None:
        """Each of several, one write a time."""
        for number in range(4):
            with self.open_store(place) as store:
                assert sorted(one.name for one in store.find()) == [str(n) for n in range(number)]
                store.put(str(number), "1")

    # -- refused -----------------------------------------------------------------------------------------------------

    @shows("S-5")
    def test_a_name_is_taken_once(self, place: Path) -> None:
        """By artifact or collection; the holder is named, and nothing changes."""
        with self.open_store(place) as store:
            held = store.create("a", "1")
            store.collections.create("c")
            before = store.audit.head()
            for taken in (
                lambda: store.create("a", "2"),
                lambda: store.collections.create("a"),
                lambda: store.create("c", "2"),
            ):
                with pytest.raises(NameTakenError):
                    taken()
            with pytest.raises(NameTakenError) as caught:
                store.create("a", "2")
            assert held.id in str(caught.value.fields)
            assert (store.audit.head(), store.read("a")) == (before, b"1")
            store.create("A", "another: case counts")

    @shows("S-6")
    def test_an_end_that_is_not_there_is_refused(self, place: Path) -> None:
        """At either end, deleted ones too."""
        with self.open_store(place) as store:
            one, gone = store.put("a", "1").artifact, store.put("b", "2").artifact
            store.artifacts.delete("b")
            before = store.audit.head()
            nowhere = holdfast.Endpoint("artifact", "00000000-0000-7000-8000-000000000000")
            for source, target in ((one, nowhere), (nowhere, one), (one, gone)):
                with pytest.raises(NotFoundError):
                    store.relationships.relate(source, "supports", target)
            assert (store.audit.head(), list(store.relationships.find())) == (before, [])

    # -- together or not at all --------------------------------------------------------------------------------------

    @shows("S-10")
    def test_a_transaction_that_fails_leaves_nothing(self, place: Path) -> None:
        """In no row, no answer and not in the chain; the next one goes on as if it had not been."""
        with self.open_store(place) as store:
            store.put("a", "1", metadata={"k": 1}, tags=["t"])
            before = (store.audit.head(), store.status().counts, repr(store.get("a")))
            with contextlib.suppress(ZeroDivisionError), store.transaction():
                store.put("a", "2", metadata={"k": 2}, tags=[])
                store.put("b", "3")
                store.relationships.relate("a", "supports", "b")
                store.collections.create("c")
                raise ZeroDivisionError
            assert (store.audit.head(), store.status().counts, repr(store.get("a"))) == before
            assert store.read("a") == b"1"
            store.create("b", "4")
            assert store.audit.verify().proven

    @shows("S-10")
    def test_a_nested_part_can_fail_by_itself(self, place: Path) -> None:
        """And what is around it stays, to any depth."""
        with self.open_store(place) as store:
            with store.transaction():
                store.put("a", "1")
                with contextlib.suppress(ZeroDivisionError), store.transaction():
                    store.put("b", "1")
                    with store.transaction():
                        store.put("c", "1")
                    raise ZeroDivisionError
                with store.transaction():
                    store.put("d", "1")
            assert [one.name for one in store.find(order="name")] == ["a", "d"]
            assert [one.seq for one in store.changes.list()] == list(range(1, store.changes.head().next_seq))

    @shows("S-10", "S-14", needs=Capability.OVERLAPPING)
    def test_others_see_a_transaction_when_it_is_over_and_not_before(self, place: Path) -> None:
        """A reader in another thread waits for nobody."""
        with self.open_store(place) as store:
            store.put("a", "1")

            def look() -> Any:
                return [one.name for one in store.find()], store.read("a")

            with store.transaction():
                store.put("a", "2")
                store.put("b", "2")
                assert at_once(look) == [(["a"], b"1")]
            assert at_once(look) == [(["a", "b"], b"2")]

    # -- the changes -------------------------------------------------------------------------------------------------

    @shows("S-11")
    def test_changes_come_in_order_without_a_gap(self, place: Path) -> None:
        """From any seq on; also after some were undone."""
        with self.open_store(place) as store:
            self.corpus(store)
            for number in range(5):
                with contextlib.suppress(ZeroDivisionError), store.transaction():
                    store.put(f"undone {number}", "1")
                    raise ZeroDivisionError
                store.put(f"done {number}", "1")
            seqs = [one.seq for one in store.changes.list()]
            assert seqs == list(range(1, store.changes.head().next_seq))
            for start in (1, 2, 17, seqs[-1], seqs[-1] + 1):
                assert [one.seq for one in store.changes.list(since_seq=start)] == seqs[start - 1 :]

    # -- nothing said ------------------------------------------------------------------------------------------------

    @shows("S-12")
    def test_diagnostics_hold_no_value_of_a_record(self, place: Path, caplog: pytest.LogCaptureFixture) -> None:
        """Neither status, nor errors that writing raises, nor logs, whatever stands in metadata and content."""
        secret = "S3cr3t-value-7f1d"  # noqa: S105 - nobody's
        said: list[str] = []
        with caplog.at_level(logging.DEBUG), self.open_store(place) as store:
            store.put("a", f"content {secret}", metadata={"key": secret, secret: [secret]})
            for wrong in (
                lambda: store.create("a", f"{secret} again"),
                lambda: store.put("a", secret, expect=9, metadata={"k": secret}),
                lambda: store.artifacts.set_metadata("a", {"k": {secret: 1}}, expect=9),
                lambda: store.artifacts.purge("a", revisions=[1]),
            ):
                with pytest.raises(HoldfastError) as caught:
                    wrong()
                said += [str(caught.value), repr(caught.value.fields), caught.value.remedy]
            said += [repr(store.status()), repr(store.migrate_status())]
        said += [repr(vars(record)) for record in caplog.records]
        assert not [one for one in said if secret in one]

    # -- at once -----------------------------------------------------------------------------------------------------

    @shows("S-14")
    def test_what_threads_write_at_once_is_all_there(self, place: Path) -> None:
        """Each sees its own at once; the chain has all of it, whole."""
        with self.open_store(place) as store:

            def write(name: int) -> None:
                for number in range(8):
                    made = store.put(f"{name}-{number}", f"{name} {number}")
                    assert store.get(made.artifact.path).revision.seq == made.artifact.revision.seq
                    assert store.read(made.artifact) == f"{name} {number}".encode()

            at_once(*(lambda name=name: write(name) for name in range(6)))
            assert {one.name for one in store.find()} == {f"{a}-{b}" for a in range(6) for b in range(8)}
            assert [one.seq for one in store.changes.list()] == list(range(1, store.changes.head().next_seq))
            assert store.audit.verify().proven

    @shows("S-15", needs=Capability.SEARCHED)
    def test_a_search_finds_what_has_all_its_words(self, place: Path) -> None:
        """Those that are live, as they are now."""
        texts = {"a": "the red fox", "b": "the blue fox", "c": "a red bird", "d": "nothing of it"}
        with self.open_store(place) as store:
            for name, text in texts.items():
                store.put(name, text)
            store.put("d", "a red fox by now")
            store.artifacts.delete("a")
            texts = {"b": texts["b"], "c": texts["c"], "d": "a red fox by now"}
            for words in (["red"], ["fox"], ["red", "fox"], ["nothing"], ["bird", "red"]):
                answer = store.search(" ".join(words))
                wanted = {name for name, text in texts.items() if set(words) <= set(text.split())}
                assert {hit.artifact.name for hit in answer.hits} == wanted
                assert answer.indexed_to == answer.head == store.changes.head().next_seq - 1

    # -- runs --------------------------------------------------------------------------------------------------------

    @shows("R-1")
    def test_a_run_goes_its_way_and_no_other(self, place: Path) -> None:
        """Every pair of states is tried."""
        ways = {"pending": {"processing", "cancelled"}, "processing": {"completed", "failed", "cancelled"}}
        states = ["pending", "processing", "completed", "failed", "cancelled"]
        with self.open_store(place) as store:
            assert isinstance(store.runs, RunRoom)
            for before in states:
                for after in states:
                    run = store.runs.create("r")
                    for step in {"pending": [], "processing": ["processing"]}.get(before, ["processing", before]):
                        run = store.runs.set_status(run, step)
                    if after in ways.get(before, ()):
                        assert store.runs.set_status(run, after).status == after
                    elif after != before:
                        with pytest.raises(IllegalTransitionError):
                            store.runs.set_status(run, after)
                        assert store.runs.get(run).status == before

    @shows("R-2")
    def test_what_a_run_read_is_pinned(self, place: Path) -> None:
        """To the revision of then, whatever is written after."""
        with self.open_store(place) as store:
            made = store.put("a", "1").artifact
            run = store.runs.create("r")
            store.runs.link(run, "input", made)
            store.put("a", "2")
            (link,) = store.runs.links(run, "input")
            assert (link.endpoint.id, link.endpoint.revision) == (made.id, 1)

    @shows("R-3")
    def test_a_run_ends_with_its_block(self, place: Path) -> None:
        """As the block does."""
        with self.open_store(place) as store:
            with store.runs.start("well") as well:
                well.output(store.put("a", "1").artifact)
            with contextlib.suppress(ZeroDivisionError), store.runs.start("badly") as badly:
                raise ZeroDivisionError("by nothing")
            assert store.runs.get(well.id).status == "completed"
            assert store.runs.get(badly.id).status == "failed"
            assert len(list(store.runs.links(well.id, "output"))) == 1

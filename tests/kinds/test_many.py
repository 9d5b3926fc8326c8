"""`put_many`: what as many puts would do, in batches that are each all or nothing."""

from __future__ import annotations

import contextlib
import gc
import io
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast import FileFacts, Store
from holdfast.errors import InvalidValueError, NameTakenError, SourceUnreadableError
from holdfast.kinds import bulk, collecting, many
from holdfast.kinds.bulk import Bulk, Item
from holdfast.testing.faults import FaultyDisk

Opener = Callable[..., Store]


def counts(result: many.ManyResult) -> tuple[int, int, int]:
    return result.created, result.revised, result.unchanged


def transactions(store: Store) -> int:
    return len({change.tx for change in store.changes.list()})


def test_it_keeps_what_as_many_puts_would_keep(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(os.urandom(100_000))
    contents: list[Any] = [
        ("a.md", "# text\n"), ("sub/b", b"bytes"), (b"sub/\xff", bytearray(b"array")),
        ("sub/deep/c", memoryview(b"view")), ("empty", b""), ("file", tmp_path / "file.bin"),
        ("stream", io.BytesIO(b"s" * 2_000_000)),
        ("big", os.urandom(3_000_000)),
        ("said.txt", b"x", {"metadata": {"n": 1}, "tags": ["t"], "media_type": "text/x", "message": "why",
                            "file": FileFacts(0o600, 5), "source": "there", "type": "note"}),
    ]  # fmt: skip
    result = store.put_many(contents, owner="me")

    assert counts(result) == (9, 0, 0)
    one = {name: content for name, content, *_ in contents}
    for name in ("sub/b", b"sub/\xff", "sub/deep/c", "empty", "big"):
        assert store.read(name) == bytes(one[name])
    assert store.read("file") == (tmp_path / "file.bin").read_bytes()
    assert store.read("stream") == b"s" * 2_000_000
    assert store.get("a.md").media_type == "text/markdown"
    assert {artifact.owner for artifact in store.find()} == {"me"}
    said = store.get("said.txt")
    assert (said.metadata, said.tags, said.media_type, said.type) == ({"n": 1}, ("t",), "text/x", "note")
    assert (said.revision.message, said.revision.file, said.revision.source) == ("why", FileFacts(0o600, 5), "there")
    assert transactions(store) == 1
    assert (store.fsck().findings, os.listdir(store.path / "tmp")) == ((), [])


def test_what_is_there_is_revised_or_left_as_it_is_by_the_rules_of_put(store: Store) -> None:
    store.put("same", b"1", metadata={"k": 1}, tags=["kept"])
    store.put("changed", b"1", metadata={"k": 1})
    store.put("other metadata", b"1", metadata={"k": 1})
    store.put("other type", b"1", media_type="a/b")

    result = store.put_many([
        ("same", b"1"), ("changed", b"2"), ("other metadata", b"1", {"metadata": {"k": 1.0}}), ("other type", b"1"),
        ("twice", b"first"), ("twice", b"second"), ("twice", b"second"),
    ])  # fmt: skip

    assert counts(result) == (1, 3, 3)
    assert [store.get(name).number for name in ("same", "changed", "other metadata", "twice")] == [1, 2, 2, 2]
    assert (store.get("changed").metadata, store.get("same").tags) == ({"k": 1}, ("kept",))
    assert store.get("other type").media_type == "a/b"
    assert store.read("twice") == b"second"


@pytest.mark.parametrize("order", ["abab", "abba", "aabb", "abcabcabc", "abcbacbca", "abcdabdcaa"])
@pytest.mark.parametrize("known", ["", "a", "ab"])
@pytest.mark.parametrize("together", [2, 3, 1_000])
def test_names_may_come_again_in_any_order_among_others_as_in_a_history(
    store: Store, order: str, known: str, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "TOGETHER", together)
    for name in known:
        store.put(f"h/{name}", "before")
    given = [(f"h/{name}", f"{number % 3}") for number, name in enumerate(order)]
    wanted = {name: ["before"] if name in known else [] for name in set(order)}
    for path, content in given:
        kept = wanted[path[-1]]
        if kept[-1:] != [content]:
            kept.append(content)

    result = store.put_many(given)

    assert sum(counts(result)) == len(given)
    for name, contents in wanted.items():
        numbers = range(1, len(contents) + 1)
        assert [revision.number for revision in store.artifacts.revisions(f"h/{name}")] == [*reversed(numbers)]
        assert [store.read(f"h/{name}", revision=number).decode() for number in numbers] == contents
    assert store.fsck().findings == ()


def test_contents_that_the_store_has_wait_in_memory_for_no_more_than_a_batch_may_hold(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many, "HELD_BYTES", 400_000)
    given = [(f"{n:02}", os.urandom(100_000)) for n in range(20)]  # too large for a pack
    store.put_many(given)
    held: list[int] = []
    real = Bulk.put

    def put(one: Bulk, items: list[Item]) -> None:
        contents = [item.incoming.data for item in items if item.incoming is not None]
        held.append(sum(len(data) for data in contents if data is not None))
        real(one, items)

    monkeypatch.setattr(Bulk, "put", put)
    assert counts(store.put_many(given)) == (0, 0, 20)
    assert counts(store.put_many((f"other/{name}", data) for name, data in given)) == (20, 0, 0)
    assert held == [400_000] * 10


def test_it_takes_contents_one_by_one_and_a_full_batch_is_committed_when_the_next_is_full(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many, "BATCH_ITEMS", 10)
    taken = 0

    def contents() -> Iterator[tuple[str, bytes]]:
        nonlocal taken
        for n in range(35):
            taken += 1
            assert store.status().counts["artifact"] == max(0, n // 10 - 1) * 10
            yield f"{n:02}", b"%d" % (n % 20)

    assert counts(store.put_many(contents())) == (35, 0, 0)
    assert (taken, transactions(store)) == (35, 4)
    assert all(store.read(f"{n:02}") == b"%d" % (n % 20) for n in range(35))


def test_an_error_undoes_its_batch_and_the_same_call_again_goes_on(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many, "BATCH_ITEMS", 10)
    store.collections.create("015")
    contents: list[Any] = [(f"{n:03}", b"%d" % n) for n in range(30)]
    with pytest.raises(NameTakenError) as refused:
        store.put_many(contents)
    assert refused.value.fields["kind"] == "collection"
    assert store.status().counts["artifact"] == 10
    contents[15] = ("015x", b"15")
    missing = [*contents, ("gone", tmp_path / "not there")]
    with pytest.raises(SourceUnreadableError):
        store.put_many(missing)
    assert counts(store.put_many(contents)) == (0, 0, 30)
    assert os.listdir(store.path / "tmp") == []


def test_inside_a_transaction_all_of_it_is_one(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "BATCH_ITEMS", 3)
    contents = [(f"{n}", b"%d" % n) for n in range(10)]
    with pytest.raises(ZeroDivisionError), store.transaction():  # noqa: PT012
        store.put_many(contents)
        raise ZeroDivisionError
    assert store.status().counts["artifact"] == 0
    with store.transaction():
        store.put_many(contents)
    assert (store.status().counts["artifact"], transactions(store)) == (10, 1)


@pytest.mark.parametrize(
    "item", [("name",), "name", ("a", b"1", {"nonsense": 1}), ("a", b"1", {"metadata": [1]}), ("a", 5), ("", b"1")]
)  # fmt: skip
def test_what_is_no_item_is_refused_and_nothing_of_its_batch_is_kept(store: Store, item: Any) -> None:
    with pytest.raises(Exception) as refused:  # noqa: PT011
        store.put_many([("before", b"1"), item])
    assert refused.value.__class__.__module__ == InvalidValueError.__module__
    assert store.status().counts["artifact"] == 0
    assert os.listdir(store.path / "tmp") == []


def test_equal_contents_are_stored_once_also_when_they_were_there(store: Store) -> None:
    store.put("first", b"same")
    store.put_many((f"{n}", content) for n, content in enumerate(itertools.repeat(b"same", 50)))
    store.put_many((f"b{n}", b"other") for n in range(50))
    assert store.status().counts["artifact"] == 101
    assert len({artifact.digest for artifact in store.find()}) == 2
    assert store.status().blobs == 2


def test_a_disk_that_fails_leaves_whole_batches(
    opener: Opener, disk: FaultyDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many, "BATCH_ITEMS", 10)
    store = opener()
    store.put_many((f"a{n}", b"%d" % n) for n in range(10))
    disk.fail("fsync", path="store/packs", nth=1)
    with pytest.raises(Exception, match="sync"):
        store.put_many((f"b{n}", b"%d b" % n) for n in range(30))
    disk.heal()
    again = opener()
    assert again.status().counts["artifact"] == 10
    assert counts(again.put_many((f"b{n}", b"%d b" % n) for n in range(30))) == (30, 0, 0)


def test_the_collector_of_cycles_works_while_the_caller_makes_items_and_is_set_as_before_in_the_end(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many, "BATCH_ITEMS", 2)
    met: list[bool] = []

    def items() -> Iterator[tuple[str, bytes]]:
        for n in range(5):
            met.append(gc.isenabled())
            yield f"n{n}", b"%d" % n

    store.put_many(items())
    assert met == [True] * 5
    store.put("folder/x", b"x")
    with pytest.raises(NameTakenError):
        store.put_many([("folder", b"a collection has this name")])
    assert gc.isenabled()
    gc.disable()
    try:
        store.put_many([("last", b"1")])
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_what_the_callers_own_code_raises_leaves_the_full_batches(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many, "BATCH_ITEMS", 10)

    def contents() -> Iterator[tuple[str, bytes]]:
        for n in range(25):
            yield f"{n:02}", b"%d" % n
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.put_many(contents())
    assert store.status().counts["artifact"] == 20
    assert os.listdir(store.path / "tmp") == []


def test_in_a_transaction_each_full_batch_is_put_at_once_and_all_of_it_is_undone_together(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many, "BATCH_ITEMS", 10)
    with contextlib.suppress(ZeroDivisionError), store.transaction():
        store.put_many((f"{n:02}", b"%d" % (n % 7)) for n in range(35))
        assert len(list(store.artifacts.list(""))) == 35
        raise ZeroDivisionError
    assert store.status().counts["artifact"] == 0


def test_what_others_put_meanwhile_is_met(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full batch waits while the next is gathered: what is put under its names, or has its contents, comes first."""
    monkeypatch.setattr(many, "BATCH_ITEMS", 10)

    def contents() -> Iterator[tuple[str, bytes]]:
        for n in range(10):
            yield f"{n:02}", b"%d" % n
        store.put("03", b"another's")
        store.put("elsewhere", b"7")
        yield "last", b"4"

    assert counts(store.put_many(contents())) == (10, 1, 0)
    assert store.get("03").revision.number == 2
    assert [store.read(f"{n:02}") for n in range(10)] == [b"%d" % n for n in range(10)]
    assert (store.read("last"), store.read("elsewhere")) == (b"4", b"7")
    assert store.fsck().findings == ()


def test_the_collector_looks_more_seldom_meanwhile_and_is_as_it_was_behind(store: Store) -> None:
    before = gc.get_threshold()
    met: list[tuple[int, int, int]] = []

    def contents() -> Iterator[tuple[str, bytes]]:
        for n in range(3):
            met.append(gc.get_threshold())
            if n == 1:
                store.put_many([("inner", b"x")])
            yield f"{n}", b"x"

    store.put_many(contents())
    assert met == [(max(before[0], collecting.NEW_OBJECTS), *before[1:])] * 3
    assert gc.get_threshold() == before
    for own in ((0, 10, 10), (collecting.NEW_OBJECTS * 2, 10, 10)):
        gc.set_threshold(*own)
        try:
            store.put_many(contents())
            assert gc.get_threshold() == own
        finally:
            gc.set_threshold(*before)

"""What happens when the disk fails: before the point of no return nothing was done, after it everything was.

The steps of content that has a file of its own; test_packs.py and the crash lab have the same of packs.
"""

# ruff: noqa: PT012 (a transaction that fails is more than one statement)
from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast import Store
from holdfast.errors import (
    HandleDeadError,
    HoldfastError,
    LockedError,
    NoSpaceError,
    ReadOnlyError,
    SourceUnreadableError,
    StorageIOError,
)
from holdfast.formats import lines
from holdfast.formats.lines import Located
from holdfast.testing.faults import FaultyDisk
from holdfast.values import moment

pytestmark = pytest.mark.usefixtures("loose")

Opener = Callable[..., Store]
RowsOf = Callable[[Store], dict[str, list[tuple[Any, ...]]]]
TX = moment.draw_id(1)


def in_journal(store: Store) -> list[str]:
    return [item.transaction.entry.tx for _, item in store._handle.journal.scan() if isinstance(item, Located)]


def in_index(store: Store) -> list[str]:
    return [lines.decode(data, "index").entry.tx for data in store._handle.index.chain.read()]


def left_in_tmp(store: Store) -> list[str]:
    return os.listdir(Path(store.path, "tmp"))


@pytest.mark.parametrize(
    ("operation", "path"),
    [
        ("create", "store/tmp"),
        ("write", "store/tmp"),
        ("link", "store/blobs"),
        ("mkdir", "store/blobs"),
        ("reserve", "store/journal"),
        ("open_append", "store/journal"),
    ],
)
def test_a_full_disk_before_the_commit_leaves_nothing_and_the_next_put_works(
    opener: Opener, disk: FaultyDisk, rows_of: RowsOf, operation: str, path: str
) -> None:
    store = opener()
    if operation == "open_append":
        disk.fail(operation, path=path, error=errno.ENOSPC)
    else:
        store.put("before", b"0")
        store._handle.journal.release()
        times = 2 if operation == "reserve" else 1  # where there is no room for many appends, it asks for one
        disk.fail(operation, path=path, error=errno.ENOSPC, times=times)
    rows, chain = rows_of(store), in_journal(store)

    with pytest.raises(NoSpaceError) as caught:
        store.put("a", b"content")

    assert caught.value.exit_code == 13
    assert rows_of(store) == rows
    assert in_journal(store) == chain
    assert left_in_tmp(store) == []
    assert store.put("a", b"content").created
    assert store.read("a") == b"content"


@pytest.mark.parametrize("size", [100, 3_000_000])
def test_a_full_disk_in_the_middle_of_content_leaves_no_part_of_it(opener: Opener, disk: FaultyDisk, size: int) -> None:
    store = opener()
    disk.fail("write", path="store/tmp", error=errno.ENOSPC, torn=50, nth=1 if size < 1000 else 3)

    with pytest.raises(NoSpaceError):
        store.put("a", io.BytesIO(os.urandom(size)))

    assert left_in_tmp(store) == []
    assert list(Path(store.path, "blobs").rglob("*.zst")) == []


def test_a_database_that_may_not_grow_rolls_the_transaction_back_whole(opener: Opener, rows_of: RowsOf) -> None:
    store = opener()
    store.put("a", b"1")
    rows = rows_of(store)
    database = store._handle.index.database
    pages = database.rows("PRAGMA page_count")[0][0]
    database.rows(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(NoSpaceError):
        for n in range(200):
            store.put("a", b"2", metadata={"n": n, "long": "x" * 50_000})

    database.rows("PRAGMA max_page_count = 1000000")
    assert in_journal(store) == in_index(store)
    assert store.put("b", b"2").created, "a full disk does not poison the handle"
    assert len(rows_of(store)["tx"]) >= len(rows["tx"]) + 1


SYNCS = [
    ("the staged content", "fsync", "store/tmp"),
    ("the folder of the blob", "fsync_dir", "store/blobs"),
    ("the folder of the journal", "fsync_dir", "store/journal"),
]


@pytest.mark.parametrize(("_what", "operation", "path"), SYNCS, ids=[what for what, *_ in SYNCS])
def test_a_sync_that_fails_kills_the_handle_and_is_never_asked_again(
    opener: Opener, disk: FaultyDisk, _what: str, operation: str, path: str
) -> None:
    store = opener()
    disk.fail(operation, path=path)
    with pytest.raises(StorageIOError):
        store.put("a", b"1", tx=TX)
    asked = disk.calls[operation]

    for call in (lambda: store.put("b", b"2"), lambda: store.get("a"), lambda: list(store.find()), store.changes.head):
        with pytest.raises(HandleDeadError) as caught:
            call()
        assert "sync" in str(caught.value)
    store.close()
    assert disk.calls[operation] == asked

    again = opener()
    assert list(again.find()) == []
    assert again.put("a", b"1", tx=TX).created, "it was not done, so the id is free"


def test_a_sync_of_the_journal_that_fails_after_the_commit_takes_nothing_back(
    opener: Opener, disk: FaultyDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.journal.SYNC_BYTES", 1)
    store = opener()
    disk.fail("fsync", path="store/journal")

    assert store.put("a", b"1").created, "what is committed is acknowledged"
    with pytest.raises(HandleDeadError):
        store.put("b", b"2")
    asked = disk.calls["fsync"]
    store.close()
    assert disk.calls["fsync"] == asked

    again = opener()
    assert again.read("a") == b"1"
    assert in_journal(again) == in_index(again)


def test_a_journal_that_cannot_be_appended_to_is_level_again_at_the_next_write(
    opener: Opener, disk: FaultyDisk
) -> None:
    for torn in (0, 1, 40):
        store = opener()
        disk.fail("write", path="store/journal", torn=torn, error=errno.ENOSPC)

        result = store.put(f"a{torn}", b"1")

        assert result.created
        assert store.read(f"a{torn}") == b"1"
        assert in_journal(store) == in_index(store)[:-1], "the journal is behind"
        store.put(f"b{torn}", b"2")
        assert in_journal(store) == in_index(store)
        store.close()


def test_a_journal_that_fell_behind_is_level_again_at_the_next_open(opener: Opener, disk: FaultyDisk) -> None:
    store = opener()
    store.put("a", b"1")
    disk.fail("write", path="store/journal", torn=30, times=99)
    store.put("b", b"2")
    store._handle.poison(OSError("the power went"))
    store.close()
    disk.heal()

    again = opener()

    assert in_journal(again) == in_index(again)
    assert len(in_journal(again)) == 2
    assert again.read("b") == b"2"


def test_a_journal_that_cannot_even_catch_up_refuses_writes_but_not_reads(opener: Opener, disk: FaultyDisk) -> None:
    store = opener()
    disk.fail("write", path="store/journal", times=99)
    assert store.put("a", b"1").created

    with pytest.raises(StorageIOError):
        store.put("b", b"2")

    assert store.read("a") == b"1"
    disk.heal()
    assert store.put("b", b"2").created
    assert in_journal(store) == in_index(store)


def test_an_append_that_lacks_only_its_last_byte_is_not_repeated(opener: Opener, disk: FaultyDisk) -> None:
    store = opener()
    store.put("a", b"1")
    path = next(Path(store.path, "journal").iterdir())
    whole = path.read_bytes()
    store.close()
    path.write_bytes(whole[:-1])

    again = opener()
    again.put("b", b"2")

    assert path.read_bytes().startswith(whole)
    assert in_journal(again) == in_index(again)
    again.gc()


# -- COMMIT itself -----------------------------------------------------------------------------------------------------


def fail_commit(store: Store, error: HoldfastError, *, done: bool) -> None:
    """The next COMMIT raises; `done`: after it took effect."""
    index = store._handle.index
    real = index.commit

    def commit() -> None:
        index.commit = real  # type: ignore[method-assign]
        if done:
            real()
        raise error

    index.commit = commit  # type: ignore[method-assign]


@pytest.mark.parametrize("done", [True, False], ids=["it took effect", "it took none"])
@pytest.mark.parametrize(
    "error",
    [StorageIOError("disk I/O error"), LockedError("busy"), ReadOnlyError("read-only")],
    ids=["io", "busy", "read-only"],
)
def test_a_commit_that_says_neither_yes_nor_no_kills_the_handle_and_the_next_open_decides_by_the_transaction_id(
    opener: Opener, done: bool, error: HoldfastError
) -> None:
    store = opener()
    store.put("a", b"1")
    fail_commit(store, error, done=done)

    with pytest.raises(type(error)):
        store.put("a", b"2", tx=TX)
    with pytest.raises(HandleDeadError):
        store.get("a")
    store.close()

    again = opener()
    assert again.get("a").number == (2 if done else 1)
    assert in_journal(again) == in_index(again)
    result = again.put("a", b"2", tx=TX)
    assert (result.revision.number, result.changed) == (2, True)
    assert in_index(again).count(TX) == 1
    assert again.read("a") == b"2"


def test_a_commit_without_changes_that_fails_kills_the_handle_too(opener: Opener) -> None:
    store = opener()
    store.put("a", b"1")
    fail_commit(store, StorageIOError("disk I/O error"), done=False)

    with pytest.raises(StorageIOError):
        store.put("a", b"1")

    with pytest.raises(HandleDeadError):
        store.get("a")


def test_a_checkpoint_that_fails_takes_nothing_back_but_kills_the_handle(opener: Opener) -> None:
    store = opener()

    def checkpoint(**_: Any) -> None:
        raise StorageIOError("disk I/O error")

    store._handle.index.checkpoint = checkpoint  # type: ignore[method-assign]
    store._handle.index.checkpoint_due = lambda: True  # type: ignore[method-assign]
    assert store.put("a", b"1").created
    with pytest.raises(HandleDeadError):
        store.get("a")
    store.close()

    assert opener().read("a") == b"1"


def test_closing_makes_the_journal_durable(opener: Opener, disk: FaultyDisk) -> None:
    store = opener()
    store.put("a", b"1")
    synced: list[str] = []
    disk.before("fsync", synced.append, path="store/journal")
    store.close()

    assert len(set(synced)) == 1


def test_the_writer_lock_is_free_after_every_failure(opener: Opener, disk: FaultyDisk) -> None:
    store = opener()
    other = opener(disk=FaultyDisk(), wait_s=0.0)
    for operation, path in (("link", "store/blobs"), ("reserve", "store/journal"), ("fsync_dir", "store/blobs")):
        disk.fail(operation, path=path)
        with pytest.raises(StorageIOError):
            store.put(f"{operation}", operation.encode())
        assert other.put(f"other {operation}", operation.encode()).created
        assert other._handle.writer.holder() is None


# -- sources -----------------------------------------------------------------------------------------------------------


class Broken(io.RawIOBase):
    """A stream that fails after some bytes."""

    def __init__(self, length: int) -> None:
        self._left = length

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:  # type: ignore[override]
        if self._left <= 0:
            raise OSError(errno.EIO, "cable pulled")
        taken = min(self._left, size if size >= 0 else self._left)
        self._left -= taken
        return os.urandom(taken)


@pytest.mark.parametrize("length", [0, 100, 3_000_000])
def test_a_source_that_fails_is_told_apart_from_a_store_that_fails(opener: Opener, length: int) -> None:
    store = opener()

    with pytest.raises(SourceUnreadableError):
        store.put("a", Broken(length))

    assert left_in_tmp(store) == []
    assert list(store.find()) == []
    assert store.put("a", b"1").created


def test_a_file_that_is_not_there_or_no_file_is_an_unreadable_source(opener: Opener, tmp_path: Path) -> None:
    store = opener()

    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(SourceUnreadableError) as caught:
            store.put("a", path)
        assert caught.value.fields["path"] == str(path)

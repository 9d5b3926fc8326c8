"""An index over what somebody else keeps: damage there, other handles, errors that are not ours, what is left."""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast.errors import IndexDamagedError, ReadOnlyError, SchemaTooNewError, StorageIOError
from holdfast.formats import cells
from holdfast.index import pairs
from holdfast.index.keeper import LONGEST_KEY, Change, Kept, Pair
from holdfast.index.kept import KeptIndex
from holdfast.kinds.labels import MAX_TAG_BYTES
from holdfast.testing.conformance import oracle

SECRET = "s3cr3t-geheim"


class Plain:
    """A keeper in a dict, which gives everything each time; several handles may share the dict."""

    where, read_only = "a dict", False

    def __init__(self, held: dict[str, Any] | None = None) -> None:
        self.held: dict[str, Any] = {"pairs": {}, "version": 0} if held is None else held

    def identity(self) -> str:
        return f"dict {id(self.held)}"

    def version(self) -> int:
        return int(self.held["version"])

    def read(self, since: int) -> Kept:
        return Kept(self.version(), list(self.held["pairs"].items()))

    def begin(self) -> None: ...

    def commit(self, changes: Iterable[Change]) -> int:
        changed = self.held["pairs"] | dict(changes)
        return self.replace((key, value) for key, value in changed.items() if value is not None)

    def replace(self, pairs: Iterable[Pair]) -> int:
        self.held["pairs"] = dict(pairs)
        self.held["version"] += 1
        return self.version()

    def rollback(self) -> None: ...

    def again(self, *, read_only: bool = True) -> Plain:
        made = type(self)(self.held)
        made.read_only = read_only
        return made

    def close(self) -> None: ...


@pytest.fixture
def own_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where copies lie."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_row_becomes_bytes_and_the_same_row_again() -> None:
    row = (None, 0, -(2**63), 2**63 - 1, 1e16, "a\0é\U0001f600", "", b"", bytes(range(256)))
    assert cells.decode(cells.encode(row)) == row
    (zero,) = cells.decode(cells.encode([-0.0]))
    assert str(zero) == "-0.0"
    for wrong in (b"x", b"i123", b"s\0\0\0\5abc", b"s\0", struct.pack(">cI", b"b", 1 << 31)):
        with pytest.raises(ValueError, match=r"row|early"):
            cells.decode(wrong)


def test_no_key_is_longer_than_a_keeper_must_take() -> None:
    keeper = Plain()
    with holdfast.memory(index=keeper) as store:
        store.indexes.declare("metadata.k")
        store.put("n" * 200, "1", tags=["é" * (MAX_TAG_BYTES // 2)], metadata={"k": "\U0001f600" * 200})
    assert 300 < max(map(len, keeper.held["pairs"])) <= LONGEST_KEY


@pytest.mark.parametrize("table", ["artifact", "tagging", "tx", "meta", "schema_version", "metadata_value"])
def test_a_byte_that_was_damaged_with_the_keeper_is_found_when_it_is_opened(table: str) -> None:
    keeper = Plain()
    with holdfast.memory(index=keeper) as store:
        store.indexes.declare("metadata.k")
        store.put("a", "1", tags=["t"], metadata={"k": 1})
    kept = dict(keeper.held["pairs"])
    key = next(one for one in kept if one.startswith(table.encode() + b"\0"))
    last = kept[key][-1] ^ 0x7F  # never what it was: a row ends with bytes of an id or of a time, which may be any
    for damaged in (kept[key][:-1] + bytes([last]), kept[key][:-1], b"", kept[key][::-1]):
        keeper.held["pairs"] = kept | {key: damaged}
        with pytest.raises(IndexDamagedError):
            KeptIndex(keeper)
    other = next(one for one in kept if one != key)
    keeper.held["pairs"] = kept | {key: kept[other]}  # a sound value under another key
    with pytest.raises(IndexDamagedError):
        KeptIndex(keeper)


def test_what_another_handle_commits_is_seen_by_the_next_read_and_by_who_waits() -> None:
    keeper = Plain()
    one, other = KeptIndex(keeper), KeptIndex(keeper.again(read_only=False))
    one.migrate()
    other.check()
    seen = other.version()
    one.set_meta("k", "1")
    assert other.meta("k") == "1"
    assert other.wait(seen, 30.0) != seen
    other.unset_meta("k")
    assert one.meta("k") is None
    reader = one.again()
    assert reader.meta("k") is None
    with pytest.raises(ReadOnlyError):
        reader.set_meta("k", "2")
    for index in (one, other, reader):
        index.close()


def test_an_error_that_is_not_ours_becomes_ours_without_its_words_and_nothing_is_half_done() -> None:
    class Failing(Plain):
        fails = False

        def commit(self, changes: Iterable[Change]) -> int:
            if self.fails:
                raise ConnectionResetError(104, f"postgres://ada:{SECRET}@host is gone")
            return super().commit(changes)

    keeper = Failing()
    index = KeptIndex(keeper)
    index.migrate()
    index.set_meta("k", "before")
    keeper.fails = True
    with pytest.raises(StorageIOError, match="ConnectionResetError") as caught:
        index.set_meta("k", "after")
    assert SECRET not in f"{caught.value!r}{caught.value.fields}"
    assert caught.value.fields["errno"] == 104
    assert index.meta("k") == "before"
    keeper.fails = False
    index.set_meta("k", "later")
    assert index.meta("k") == "later"
    index.close()


def test_rows_of_a_newer_schema_are_refused_by_name() -> None:
    keeper = Plain()
    with holdfast.memory(index=keeper):
        pass
    key = pairs.key_of("schema_version", (99,))
    keeper.held["pairs"][key] = pairs.value_of(key, (99, "later", "0"))
    with pytest.raises(SchemaTooNewError):
        KeptIndex(keeper)


def test_the_copy_is_gone_when_the_index_is_closed_or_could_not_be_opened(own_temporary_files: Path) -> None:
    keeper = Plain()
    with holdfast.memory(index=keeper) as store:
        store.put("a", "1")
        assert [oct(one.stat().st_mode & 0o777) for one in own_temporary_files.iterdir()] == ["0o700"]
    assert os.listdir(own_temporary_files) == []
    keeper.held["pairs"][b"nonsense"] = b"nonsense"
    with pytest.raises(IndexDamagedError):
        KeptIndex(keeper)
    assert os.listdir(own_temporary_files) == []


def test_every_odd_value_goes_through_a_keeper_and_comes_back(tmp_path: Path) -> None:
    keeper = Plain()
    with holdfast.create(tmp_path / "store", index=keeper) as store:
        for number, value in enumerate(oracle.ODD_VALUES):
            store.put(f"o{number}", "1", metadata={"value": value})
    with holdfast.open(tmp_path / "store", index=Plain(keeper.held)) as store:
        assert not store.opened.rebuilt
        found = {one.name: one.metadata["value"] for one in store.find()}
        assert all(oracle.identical(found[f"o{n}"], value) for n, value in enumerate(oracle.ODD_VALUES))

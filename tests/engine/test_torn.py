"""A power loss can leave a hole in the journal before its last line: the index's copy of the chain fills it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import holdfast
from holdfast import Store
from holdfast.errors import ChainBrokenError
from holdfast.index.sqlite import file_identity
from holdfast.testing.crash_states import State, at_home
from holdfast.testing.index_watch import IndexSeen


@pytest.fixture
def crashed(tmp_path: Path) -> Path:
    """A store whose process ended without closing it: a copy of its files that passes for the original."""
    store = holdfast.create(tmp_path / "living")
    for n in range(6):
        store.put(f"{n}", f"content {n}" * 20)
    shutil.copytree(tmp_path / "living", tmp_path / "crashed")
    store.close()
    return tmp_path / "crashed"


def opened(root: Path) -> Store:
    """Opened as what it stands for: the same file after a power loss, not a copy."""
    seen = IndexSeen("", b"", b"", file_identity(str(root.parent / "living" / "index.sqlite3")))
    with at_home(State(0, "", (), (), seen), str(root)):
        return holdfast.open(root)


def zero(path: Path, start: int, length: int) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(bytes(length))


def test_a_hole_before_a_sound_last_line_is_filled_from_the_index(crashed: Path) -> None:
    segment = next((crashed / "journal").iterdir())
    whole = segment.read_bytes()
    zero(segment, 1024, 512)
    torn = segment.read_bytes()

    with opened(crashed) as store:
        assert segment.read_bytes() == whole
        assert not store.opened.rebuilt
        store.put("after", "the crash")
        assert store.gc().removed == 0

    kept = list((crashed / "quarantine").iterdir())
    assert [path.read_bytes() for path in kept] == [torn]
    os.unlink(crashed / "index.sqlite3")
    with holdfast.open(crashed) as store:
        assert store.read("3") == b"content 3" * 20


def test_a_last_transaction_without_its_changes_is_written_anew(crashed: Path) -> None:
    segment = next((crashed / "journal").iterdir())
    whole = segment.read_bytes()
    last = whole[:-1].rfind(b"\n", 0, whole.rfind(b'{"entry":') - 1) + 1
    zero(segment, last, 40)

    with opened(crashed):
        assert segment.read_bytes() == whole


def test_a_last_transaction_of_which_only_the_end_is_left_does_not_pass_for_whole(crashed: Path) -> None:
    """The hash at its end is right, and that is all that the check before each write looks at."""
    segment = next((crashed / "journal").iterdir())
    whole = segment.read_bytes()
    last = whole[:-1].rfind(b"\n", 0, whole.rfind(b'{"entry":') - 1) + 1
    zero(segment, last, len(whole) - last - 200)

    with opened(crashed):
        assert segment.read_bytes() == whole


def test_a_segment_without_a_hole_is_left_alone(crashed: Path) -> None:
    segment = next((crashed / "journal").iterdir())
    before = segment.stat().st_ino
    with opened(crashed):
        assert segment.stat().st_ino == before
    assert list((crashed / "quarantine").iterdir()) == []


def test_what_the_index_contradicts_or_lacks_is_not_touched(crashed: Path) -> None:
    segment = next((crashed / "journal").iterdir())
    zero(segment, 1024, 512)
    torn = segment.read_bytes()
    for suffix in ("", "-wal", "-shm"):
        (crashed / f"index.sqlite3{suffix}").unlink(missing_ok=True)
    with pytest.raises(ChainBrokenError):
        holdfast.open(crashed)
    assert segment.read_bytes() == torn
    assert "transactions-lost" in holdfast.fsck(crashed).counts
    assert not [p for p in (crashed / "quarantine").iterdir() if p.name.endswith(".jsonl")]

"""Small contents are durable by one COMMIT: the index keeps the end of a pack until a sync has reached it there.

A power loss is played by a writer that dies without a word, and a pack that loses what no sync has reached.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import holdfast
from holdfast.blobs.packs import unsynced
from holdfast.disk import Disk
from holdfast.engine import open as opening
from holdfast.engine.settings import Settings
from holdfast.store import Store
from holdfast.values.change import Actor

SYNCED, PUTS = 3, 6
_DYING = """
import os, sys, holdfast
store = holdfast.open(sys.argv[1])
exec(sys.argv[2])
os._exit(9)
"""
_WORK = f"""
for n in range({SYNCED}):
    store.put(f"n/{{n}}", ("content %d " % n) * 90)
store._handle.keeper.sync()
try:
    with store.transaction():
        store.put("never", "taken back " * 50)
        raise LookupError
except LookupError:
    pass
for n in range({SYNCED}, {PUTS}):
    store.put(f"n/{{n}}", ("content %d " % n) * 90)
"""


class Counting(Disk):
    """Counts syncs of files."""

    def __init__(self) -> None:
        self.synced: list[str] = []

    def fsync(self, fd: int, path: str) -> None:
        self.synced.append(Path(path).parent.name)
        super().fsync(fd, path)


class Unwritten(Disk):
    """Refuses to write over anything in one pack."""

    def __init__(self, pack: Path) -> None:
        self._pack = str(pack)

    def overwrite(self, path: str, data: bytes, offset: int) -> None:
        assert path != self._pack
        super().overwrite(path, data, offset)


def dies(root: Path, work: str = _WORK) -> Path:
    """Somebody works in a store and dies; the pack that was appended to."""
    done = subprocess.run([sys.executable, "-c", _DYING, str(root), work], check=False)
    assert done.returncode == 9
    (pack,) = (root / "packs").iterdir()
    return pack


def kept(store: Store) -> int:
    found = store._handle.index.database.one("SELECT count(*) FROM pending")
    assert found is not None
    return int(found[0])


def everything(store: Store) -> dict[str, str]:
    return {f"n/{n}": store.read(f"n/{n}").decode() for n in range(PUTS)}


WANTED = {f"n/{n}": f"content {n} " * 90 for n in range(PUTS)}


def end_of_sync(root: Path) -> int:
    with holdfast.open(root, read_only=True) as store:
        row = store._handle.index.database.one("SELECT min(start) FROM pending")
        assert row is not None
        return int(row[0])


def cut(pack: Path, at: int) -> None:
    os.truncate(pack, at)


def zeros(pack: Path, at: int) -> None:
    data = pack.read_bytes()
    pack.write_bytes(data[:at] + bytes(len(data) - at))


def one_sector(pack: Path, at: int) -> None:
    data = pack.read_bytes()
    pack.write_bytes(data[: at + 200] + bytes(300) + data[at + 500 :])


def nothing(_pack: Path, _at: int) -> None:
    pass


LOSSES: list[Callable[[Path, int], None]] = [cut, zeros, one_sector, nothing]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    holdfast.create(tmp_path / "store").close()
    return tmp_path / "store"


def test_a_put_syncs_the_index_and_nothing_else(root: Path) -> None:
    disk = Counting()
    with Store(opening.open_store(str(root), Settings(Actor("a"), disk=disk))) as store:
        store.put("first", b"the first makes a pack and a segment")
        disk.synced.clear()
        for n in range(5):
            store.put(f"{n}", f"content {n}")
        assert disk.synced == []
        assert kept(store) == 6
        store._handle.keeper.sync()
        assert disk.synced == ["packs"]
        store.put("next", b"the next commit gives up what the sync has reached")
        assert kept(store) == 1
    assert disk.synced[1:].count("packs") == 1
    with holdfast.open(root) as store:
        assert kept(store) == 0


def test_the_puts_of_a_transaction_share_one_sync(root: Path) -> None:
    disk = Counting()
    with Store(opening.open_store(str(root), Settings(Actor("a"), disk=disk))) as store:
        store.put("first", b"makes a pack")
        disk.synced.clear()
        with store.transaction():
            for n in range(40):
                store.put(f"{n}", os.urandom(unsynced.KEPT_BYTES // 20))
        assert disk.synced == ["packs"], "too much to be kept"


@pytest.mark.parametrize("lose", LOSSES)
def test_what_the_power_took_off_the_end_of_a_pack_is_written_again(
    root: Path, lose: Callable[[Path, int], None]
) -> None:
    pack = dies(root)
    whole = pack.read_bytes()
    lose(pack, end_of_sync(root))
    with holdfast.open(root, read_only=True) as store:
        assert everything(store) == WANTED, "also before it is written again"
        assert pack.read_bytes() == whole or lose is not nothing
    assert holdfast.fsck(root).exit_code == 0
    with holdfast.open(root) as store:
        assert everything(store) == WANTED
        assert kept(store) == 0
        assert pack.read_bytes() == whole
        store.put("goes on", b"in the same pack")
        assert store.fsck().exit_code == 0
        assert list((root / "packs").iterdir()) == [pack]


SEALED_AT = 3
_SEALS = f"""
from holdfast.blobs.packs import writer
writer.PACK_APPENDS = {SEALED_AT}
for n in range({SEALED_AT - 1}):
    store.put(f"n/{{n}}", ("content %d " % n) * 90)
store._handle.keeper.commit = lambda: os._exit(9)  # the pack is full and sealed, and its last content has no row
store.put("never", "of no use " * 90)
"""


def test_a_sealed_pack_is_not_written_to_for_all_of_it_was_synced_before(root: Path) -> None:
    """Its last member and its table stand in sectors that would be written over, and nothing keeps those."""
    pack = dies(root, _SEALS)
    whole = pack.read_bytes()
    with Store(opening.open_store(str(root), Settings(Actor("a"), disk=Unwritten(pack)))) as store:
        assert kept(store) == 0
        assert [store.read(f"n/{n}").decode() for n in range(SEALED_AT - 1)] == [WANTED[f"n/{n}"] for n in range(2)]
        assert pack.read_bytes() == whole
        assert store.fsck().exit_code == 0


def test_what_was_damaged_in_a_sealed_pack_and_is_kept_goes_into_another(root: Path) -> None:
    pack = dies(root, _SEALS)
    with holdfast.open(root, read_only=True) as store:
        spot = store._handle.index.physical.spot(store.get("n/1").digest)
    assert spot is not None
    data = bytearray(pack.read_bytes())
    data[spot.offset + 9] ^= 1
    pack.write_bytes(data)
    with Store(opening.open_store(str(root), Settings(Actor("a"), disk=Unwritten(pack)))) as store:
        assert kept(store) == 0
        assert [store.read(f"n/{n}").decode() for n in range(SEALED_AT - 1)] == [WANTED[f"n/{n}"] for n in range(2)]
        assert pack.read_bytes() == bytes(data)
        assert len(list((root / "packs").iterdir())) == 2


def test_a_pack_whose_name_was_lost_is_made_again(root: Path) -> None:
    pack = dies(root, "store.put('n', b'one content')")
    pack.unlink()
    with holdfast.open(root, read_only=True) as store:
        assert store.read("n") == b"one content"
    with holdfast.open(root) as store:
        assert pack.exists()
        assert store.read("n") == b"one content"
        assert store.fsck().exit_code == 0


def test_what_does_not_join_on_to_its_pack_goes_into_another(root: Path) -> None:
    pack = dies(root)
    cut(pack, end_of_sync(root) - 1)
    with holdfast.open(root) as store:
        assert kept(store) == 0
        assert {store.read(f"n/{n}").decode() for n in range(SYNCED, PUTS)} == {
            WANTED[f"n/{n}"] for n in range(SYNCED, PUTS)
        }
        assert len(list((root / "packs").iterdir())) == 2


@pytest.mark.parametrize("lose", LOSSES)
def test_a_copy_of_what_a_power_loss_left_is_whole(
    root: Path, tmp_path: Path, lose: Callable[[Path, int], None]
) -> None:
    lose(dies(root), end_of_sync(root))
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    with holdfast.open(copy, read_only=True) as store:
        assert everything(store) == WANTED
    with holdfast.open(copy) as store:
        assert store.opened.rebuilt
        assert everything(store) == WANTED
        assert kept(store) == 0
        assert store.fsck().exit_code == 0
    assert holdfast.recover(copy).withdrawn == ()


def test_rebuild_uses_what_the_index_keeps_and_without_it_says_what_is_lost(root: Path, tmp_path: Path) -> None:
    cut(dies(root), end_of_sync(root))
    bare = tmp_path / "bare"
    shutil.copytree(root, bare, ignore=shutil.ignore_patterns("index*"))
    holdfast.rebuild(root)
    with holdfast.open(root) as store:
        assert everything(store) == WANTED
    holdfast.rebuild(bare)
    assert {finding.code for finding in holdfast.fsck(bare).findings} == {"blob-missing"}


def test_while_others_have_it_open_the_pack_of_one_that_died_is_settled_too(root: Path) -> None:
    with holdfast.open(root) as other:
        pack = dies(root)
        assert kept(other) > 0
        with holdfast.open(root) as store:
            assert kept(other) == 0
            assert everything(store) == WANTED
        other.put("on", b"it goes")
        assert list((root / "packs").iterdir()) == [pack]


def test_the_pack_of_one_who_lives_is_left_alone(root: Path) -> None:
    with holdfast.open(root) as one:
        one.put("one", b"of one")
        with holdfast.open(root) as other:
            assert kept(other) == 1
            other.put("other", b"of another")
            assert kept(other) == 2
        assert kept(one) == 1
        assert len(list((root / "packs").iterdir())) == 2


def holds(root: Path, mark: bytes) -> list[str]:
    return [str(path) for path in root.rglob("*") if path.is_file() and mark in path.read_bytes()]


@pytest.mark.parametrize("way", ["purge", "redact"])
def test_content_that_goes_for_good_is_in_no_file_however_young_it_was(root: Path, way: str) -> None:
    marks = [hashlib.sha512(b"%d" % n).digest() * 2 for n in range(9)]  # found as they are: they cannot be compressed
    with holdfast.open(root) as store:
        for n, mark in enumerate(marks):
            store.put(f"{n}", mark[:64] + os.urandom(900))
        if way == "redact":
            store.redact(store.get("4").id, fields=["content"])
        else:
            store.artifacts.delete("4")
            store.artifacts.purge("4")
            store.gc(grace_s=0)
        assert holds(root, marks[4][:64]) == []
        assert holds(root, marks[5][:64]) != []

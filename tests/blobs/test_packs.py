"""Packs: small content shares a file that only grows, is proven by standard tools, and survives what tears it."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from holdfast.blobs.contract import BlobStat, Staged, WalkEntry
from holdfast.blobs.packs import Hole, PackedBlobs, PackFolder
from holdfast.blobs.packs.writer import PackWriter, somebody_appends
from holdfast.disk import Disk
from holdfast.errors import BlobDamagedError, BlobMissingError, InvalidValueError, StorageIOError
from holdfast.formats import pack, paths
from holdfast.formats.appending import headed, prepare, prepare_one
from holdfast.formats.pack import Header, Spot
from holdfast.testing.blobs import BlobStoreTests
from holdfast.testing.faults import FaultyDisk
from holdfast.values import digest as digests


class Rows:
    """What an index does for packs: it knows where published members are, and up to where a pack was synced."""

    def __init__(self) -> None:
        self.spots: dict[str, Spot] = {}

    def spot(self, digest: str) -> Spot | None:
        return self.spots.get(digests.text(digests.raw(digest)))

    def vouched(self, pack: str) -> int:
        return max((spot.offset for spot in self.spots.values() if spot.pack == pack), default=0)

    def kept(self, _pack: str, _offset: int, _length: int) -> None:
        return None


class WithRows(PackedBlobs):
    """A packed store that keeps its rows itself, as the engine does in the index."""

    def __init__(self, root: str, disk: Disk | None = None, **options) -> None:
        self.rows = Rows()
        super().__init__(root, disk or Disk(), self.rows, **options)

    def publish(self, staged: list[Staged]) -> list[BlobStat]:
        found = super().publish(staged)
        for stat in found:
            if stat.spot is not None:
                self.rows.spots.setdefault(stat.digest, stat.spot)
        return found

    def walk(self) -> Iterator[WalkEntry]:
        members = [_entry(digest, spot) for digest, spot in self.rows.spots.items()]
        yield from sorted([*super().walk(), *members], key=lambda entry: entry.path)

    def delete(self, digest: str) -> bool:
        return super().delete(digest) and bool(self.rows.spots.pop(digests.text(digests.raw(digest)), True))


def _entry(digest: str, spot: Spot) -> WalkEntry:
    return WalkEntry(paths.blob_file(digests.raw(digest)), digest, spot.stored_bytes, 0)


class TestPackedBlobs(BlobStoreTests):
    def make_store(self, tmp_path: Path) -> PackedBlobs:
        return WithRows(str(tmp_path))


@pytest.fixture
def store(tmp_path):
    made = WithRows(str(tmp_path))
    yield made
    made.close()


def put(store, *contents):
    staged = [store.stage(content, durable=False) for content in contents]
    store.settle(staged)
    return store.publish(staged)


def packs(tmp_path):
    return sorted((tmp_path / "packs").iterdir())


def parts(tmp_path, path):
    with PackFolder(str(tmp_path), Disk()).scan(path.stem) as scan:
        return list(scan.parts()), scan


def test_content_up_to_a_size_goes_to_a_pack_and_larger_or_empty_content_does_not(tmp_path):
    store = WithRows(str(tmp_path), pack_up_to=100)
    found = put(store, b"x" * 100, b"y" * 101, b"")
    assert [stat.spot is not None for stat in found] == [True, False, False]
    assert len(list((tmp_path / "blobs").rglob("*.zst"))) == 2
    store.close()


def test_a_member_is_proven_by_standard_tools_alone(tmp_path, store):
    contents = [f"content {n}\n".encode() * n for n in range(1, 60)]
    for content in contents[:20]:
        put(store, content)
    put(store, *contents[20:])
    (path,) = packs(tmp_path)
    whole = subprocess.run(["zstd", "-dcq", path], capture_output=True, check=True).stdout
    found, _ = parts(tmp_path, path)
    listed = {member.digest: whole[member.at : member.at + member.size] for one in found for member in one.each()}
    assert listed == {hashlib.sha256(content).digest(): content for content in contents}


def test_a_batch_is_one_append_with_one_sync_and_neighbours_share_frames(tmp_path):
    disk = FaultyDisk()
    store = WithRows(str(tmp_path), disk)
    put(store, b"first")
    disk.calls.clear()
    found = put(store, *(bytes([n]) * 1000 for n in range(120)))
    assert (disk.calls["write"], disk.calls["fsync"], disk.calls["fsync_dir"]) == (1, 1, 0)
    assert len({stat.spot.offset for stat in found}) == 2
    store.close()


def test_the_same_content_in_one_batch_is_written_once(tmp_path, store):
    found = put(store, b"same", b"other", b"same")
    assert found[0].spot == found[2].spot != found[1].spot
    assert sum(len(one.members) for one in parts(tmp_path, packs(tmp_path)[0])[0]) == 2


def test_two_stores_append_to_two_packs_and_a_third_takes_up_what_was_let_go(tmp_path):
    one, two = WithRows(str(tmp_path)), WithRows(str(tmp_path))
    first, second = put(one, b"one")[0].spot, put(two, b"two")[0].spot
    assert first.pack != second.pack
    one.close()
    three = WithRows(str(tmp_path))
    three.rows.spots = {**one.rows.spots, **two.rows.spots}
    assert put(three, b"three")[0].spot.pack == first.pack
    assert three.read(digests.of(b"one")) == b"one"
    two.close()
    three.close()


def test_a_pack_is_not_taken_up_if_no_row_vouches_for_its_last_append(tmp_path):
    one = WithRows(str(tmp_path))
    spot = put(one, b"row")[0].spot
    one.stage(b"no row")
    one.close()
    two = WithRows(str(tmp_path))
    two.rows.spots = one.rows.spots
    assert put(two, b"two")[0].spot.pack != spot.pack
    two.close()


def test_a_torn_end_is_covered_and_the_pack_goes_on_behind_it(tmp_path):
    for cut in (1, 5, 40, 100, 130):
        root = tmp_path / f"{cut}"
        root.mkdir()
        one = WithRows(str(root))
        put(one, b"sound " * 20)
        (path,) = packs(root)
        end = path.stat().st_size
        one.stage(b"torn " * 20)
        one.close()
        os.truncate(path, end + cut)
        two = WithRows(str(root))
        two.rows.spots = one.rows.spots
        assert put(two, b"after")[0].spot.pack == path.stem
        two.close()
        whole = subprocess.run(["zstd", "-dcq", path], capture_output=True, check=True).stdout
        assert whole == b"sound " * 20 + b"after"
        found, scan = parts(root, path)
        assert (len(found), scan.tail, scan.covered, scan.holes) == (2, scan.size, 1, 0)


def test_a_pack_whose_rows_reach_behind_what_can_be_read_is_damaged_and_not_taken_up(tmp_path):
    one = WithRows(str(tmp_path))
    put(one, b"first")
    (path,) = packs(tmp_path)
    end = path.stat().st_size
    put(one, b"second")
    one.close()
    data = bytearray(path.read_bytes())
    data[end + 20] ^= 1
    path.write_bytes(data)
    two = WithRows(str(tmp_path))
    two.rows.spots = one.rows.spots
    assert put(two, b"third")[0].spot.pack != path.stem
    assert path.read_bytes() == data
    assert two.read(digests.of(b"second")) == b"second"
    two.close()


def test_behind_damage_the_next_header_is_found_again(tmp_path, store):
    ends = []
    for n in range(5):
        put(store, b"%d" % n * 50)
        ends.append(packs(tmp_path)[0].stat().st_size)
    (path,) = packs(tmp_path)
    data = bytearray(path.read_bytes())
    data[ends[1] + 60] ^= 0x80
    path.write_bytes(data)
    found, scan = parts(tmp_path, path)
    kinds = [type(one) for one in found]
    assert kinds == [Header, Header, Hole, Header, Header]
    assert (found[2].offset, found[2].length) == (ends[1], ends[2] - ends[1])
    assert (scan.holes, scan.tail) == (1, scan.size)


def test_a_full_pack_is_sealed_by_a_table_of_contents_and_never_taken_up_again(tmp_path, monkeypatch):
    monkeypatch.setattr("holdfast.blobs.packs.writer.PACK_APPENDS", 3)
    one = WithRows(str(tmp_path))
    for n in range(4):
        put(one, b"%d" % n * 30)
    one.close()
    sealed = [path for path in packs(tmp_path) if parts(tmp_path, path)[1].sealed]
    assert len(packs(tmp_path)) == 2
    assert len(sealed) == 1
    data = sealed[0].read_bytes()
    table = pack.decode_contents(data[-int.from_bytes(data[-4:], "little") :], bytes.fromhex(sealed[0].stem),
                                 len(data) - int.from_bytes(data[-4:], "little"))  # fmt: skip
    assert (table.members, table.content, len(table.positions)) == (3, 90, 3)
    whole = subprocess.run(["zstd", "-dcq", sealed[0]], capture_output=True, check=True).stdout
    assert whole == b"0" * 30 + b"1" * 30 + b"2" * 30


def test_what_waits_for_its_rows_keeps_a_sealed_pack_locked(tmp_path, monkeypatch):
    monkeypatch.setattr("holdfast.blobs.packs.writer.PACK_APPENDS", 1)
    store = WithRows(str(tmp_path))
    staged = store.stage(b"waits")
    (path,) = packs(tmp_path)
    with open(path, "rb") as file:
        assert somebody_appends(file.fileno())
        store.publish([staged])
        assert not somebody_appends(file.fileno())
    store.close()


def test_after_a_failed_sync_nothing_is_appended_to_that_pack_any_more(tmp_path):
    disk = FaultyDisk()
    store = WithRows(str(tmp_path), disk)
    first = put(store, b"first")[0].spot
    disk.fail("fsync")
    with pytest.raises(StorageIOError):
        store.stage(b"second")
    disk.heal()
    assert put(store, b"third")[0].spot.pack != first.pack
    store.close()
    again = WithRows(str(tmp_path))
    again.rows.spots = {digest: spot for digest, spot in store.rows.spots.items() if spot.pack == first.pack}
    assert put(again, b"fourth")[0].spot.pack != first.pack
    again.close()


def test_after_a_torn_write_the_next_one_goes_behind_the_cover(tmp_path):
    disk = FaultyDisk()
    store = WithRows(str(tmp_path), disk)
    first = put(store, b"first")[0].spot
    disk.fail("write", torn=30)
    with pytest.raises(StorageIOError):
        store.stage(b"second")
    assert put(store, b"third")[0].spot.pack == first.pack
    assert [store.read(digests.of(one)) for one in (b"first", b"third")] == [b"first", b"third"]
    store.close()


def test_settled_content_cannot_be_published_unsettled(store):
    with pytest.raises(InvalidValueError):
        store.publish([store.stage(b"not yet", durable=False)])


def test_threads_share_a_pack_and_no_content_is_lost(tmp_path, store):
    contents = [os.urandom(300) for _ in range(200)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: put(store, content), contents))
    assert len(packs(tmp_path)) == 1
    assert all(store.read(digests.of(content)) == content for content in contents)
    assert all(isinstance(one, Header) for one in parts(tmp_path, packs(tmp_path)[0])[0])


def test_reads_name_a_pack_that_is_gone_cut_or_something_else(tmp_path, store):
    (stat,) = put(store, b"content")
    store.packs.close()
    (path,) = packs(tmp_path)
    data = path.read_bytes()
    os.truncate(path, len(data) - 1)
    with pytest.raises(BlobDamagedError):
        store.read(stat.digest)
    store.packs.close()
    path.unlink()
    with pytest.raises(BlobMissingError):
        store.read(stat.digest)
    assert store.stat(stat.digest) is None
    path.mkdir()
    with pytest.raises(BlobDamagedError):
        store.read(stat.digest)
    path.rmdir()


def test_a_place_that_cannot_be_is_damage_and_reads_nothing(tmp_path, store):
    (stat,) = put(store, b"content")
    spot = stat.spot
    wrong = {"offset": (-1, spot.offset + 1), "stored_bytes": (0, 1 << 40, -1), "start": (-7,), "size": (-1,)}
    for changed in ({field: value} for field, values in wrong.items() for value in values):
        with pytest.raises(BlobDamagedError):
            store.packs.read(stat.digest, spot._replace(**changed))


def test_every_flipped_byte_of_a_pack_is_noticed_by_headers_or_by_content(tmp_path, store):
    put(store, b"one " * 40, b"two " * 30)
    put(store, b"three " * 50)
    store.writer.seal()
    store.close()
    (path,) = packs(tmp_path)
    data = path.read_bytes()

    def proven():
        folder = PackFolder(str(tmp_path), Disk())
        found, scan = parts(tmp_path, path)
        for part in found:
            if isinstance(part, Hole):
                return False
            for member in part.each():
                try:
                    folder.read(digests.text(member.digest), member.spot(path.stem))
                except BlobDamagedError:
                    return False
        folder.close()
        return scan.sealed and scan.appends == 2

    assert proven()
    unnoticed = []
    for offset in range(len(data)):
        path.write_bytes(data[:offset] + bytes([data[offset] ^ 0x5A]) + data[offset + 1 :])
        if proven():
            unnoticed.append(offset)
    assert unnoticed == []


def test_a_header_of_another_pack_or_place_is_none():
    batch = prepare([(hashlib.sha256(b"x").digest(), b"x")])
    data = pack.encode_header(Header(b"\1" * 8, 100, 50, batch.frames, batch.members))
    assert pack.decode_header(data, b"\1" * 8, 100).before == 50
    for name, position in ((b"\2" * 8, 100), (b"\1" * 8, 101)):
        with pytest.raises(BlobDamagedError):
            pack.decode_header(data, name, position)


@pytest.mark.parametrize("content", [b"x", b"one small text\n" * 300, os.urandom(70_000)])
def test_an_append_of_one_blob_is_the_same_bytes_as_any_other_append(content: bytes) -> None:
    one = (hashlib.sha256(content).digest(), content)
    header = Header(b"\1" * 8, 100, 50, prepare([one]).frames, prepare([one]).members)

    assert prepare_one(*one) == prepare([one])
    assert headed(prepare_one(*one), "01" * 8, position=100, before=50) == (pack.encode_header(header), header.spots())


def test_neighbours_share_frames_the_small_ones_first_and_large_ones_stand_alone() -> None:
    sizes = [9_000, 40_000, 20, 700, 30_000, 32_768, 32_769, 500, 64, 26_000, 1]
    contents = [bytes([number]) * size for number, size in enumerate(sizes)]
    batch = prepare([(hashlib.sha256(one).digest(), one) for one in contents])
    assert dict(batch.contents()) == {hashlib.sha256(one).digest(): one for one in contents}
    held, frames = [size for _, size in batch.members], []
    for _, content in batch.frames:
        frames.append([])
        while sum(frames[-1]) < content:
            frames[-1].append(held.pop(0))
    assert frames == [[20, 64, 500, 700, 9_000, 30_000, 32_768], [1, 26_000], [40_000], [32_769]]


def test_members_must_fill_the_frames_of_their_header():
    for frames, members in (
        (((20, 10),), ((b"d" * 32, 9),)),
        (((20, 10), (20, 10)), ((b"d" * 32, 15), (b"e" * 32, 5))),
        (((20, 10),), ((b"d" * 32, 10), (b"e" * 32, 0))),
    ):
        data = pack.encode_header(Header(b"\1" * 8, 0, 0, frames, members))
        with pytest.raises(BlobDamagedError):
            pack.decode_header(data, b"\1" * 8, 0)


def test_a_writer_in_a_forked_child_leaves_the_parents_lock_alone(tmp_path):
    folder = PackFolder(str(tmp_path), Disk())
    writer = PackWriter(str(tmp_path), Disk(), folder, lambda _: 0)
    written = writer.append(prepare([(hashlib.sha256(b"x").digest(), b"x")]))
    child = os.fork()
    if not child:
        writer.abandon()
        os._exit(0)
    os.waitpid(child, 0)
    with open(folder.path(written.pack.name), "rb") as file:
        assert somebody_appends(file.fileno())
    writer.done(written)
    writer.rest()


@pytest.mark.parametrize(
    "wrong",
    [{"offset": (1 << 63) - 1}, {"offset": 1}, {"stored_bytes": 1 << 40}, {"stored_bytes": 1}, {"start": 7},
     {"size": 1}, {"pack": "0" * 16}, {"offset": -1}],
)  # fmt: skip
def test_b10_a_place_that_is_not_the_members_is_no_harm(tmp_path: Path, wrong: dict[str, object]) -> None:
    """Whoever says where a member is may err: its digest tells, and the row is asked."""
    store = WithRows(str(tmp_path))
    contents = [f"content {number} ".encode() * 9 for number in range(20)]
    found = store.publish([store.stage(content) for content in contents])
    said = [(stat.digest, stat.spot._replace(**wrong)) for stat in found if stat.spot is not None]
    assert len(said) == 20
    assert dict(store.read_many(said)) == dict(enumerate(contents))
    assert [store.read(digest, spot=spot) for digest, spot in said] == contents
    store.close()


def test_b10_neighbours_are_read_together_and_a_shared_frame_is_read_once(tmp_path: Path) -> None:
    disk = FaultyDisk()
    store = WithRows(str(tmp_path), disk)
    staged = [store.stage(f"content {number} ".encode() * 40, durable=False) for number in range(200)]
    store.settle(staged)
    wanted = [(stat.digest, stat.spot) for stat in store.publish(staged)]
    frames = {(spot.pack, spot.offset) for _, spot in wanted if spot is not None}
    assert len(frames) < 60
    read: list[int] = []
    pread = disk.pread
    disk.pread = lambda fd, length, offset, path: read.append(length) or pread(fd, length, offset, path)  # type: ignore[method-assign, func-returns-value]
    assert len(list(store.read_many(wanted[::-1]))) == 200
    assert len(read) == 1
    store.close()

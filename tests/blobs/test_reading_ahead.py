"""Reading much: long spans of packs, frames that are kept, and threads that work ahead of whoever reads."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from pathlib import Path
from weakref import WeakSet

import pytest

import holdfast
from holdfast.blobs import LocalBlobs, buffered, copy_to
from holdfast.blobs.ahead import Helper, ahead
from holdfast.blobs.compress import Shape
from holdfast.blobs.packs import bulk, store
from holdfast.blobs.packs import kept as kept_frames
from holdfast.blobs.packs.kept import KeptFrames
from holdfast.disk import Disk
from holdfast.errors import BlobDamagedError, HandleDeadError, HoldfastError
from holdfast.formats.pack import Spot
from holdfast.testing.faults import FaultyDisk
from holdfast.values import digest as digests

PathOf = Callable[[str], Path]
FRAME = 4 * 1024


@pytest.fixture(autouse=True)
def no_thread_stays():
    yield
    assert [one.name for one in threading.enumerate() if one.name.startswith("holdfast-")] == []


# -- things made ahead -------------------------------------------------------------------------------------------------


def test_what_is_made_ahead_comes_in_order_and_its_error_where_it_stood():
    def three():
        yield from (1, 2)
        raise BlobDamagedError("three", digest="", path="", reason="")

    made = ahead(three(), "test")
    assert [next(made), next(made)] == [1, 2]
    with pytest.raises(BlobDamagedError):
        next(made)


def test_only_one_thing_is_made_ahead_and_none_after_the_reader_has_left():
    begun = []

    def source():
        for number in range(10):
            begun.append(number)
            yield number

    made = ahead(source(), "test")
    assert next(made) == 0
    made.close()
    assert begun in ([0], [0, 1])


def test_a_helper_is_dead_in_a_forked_child():
    helper: Helper[int] = Helper("test")
    helper.begin(lambda: 1)
    assert helper.take() == 1
    child = os.fork()
    if not child:
        try:
            helper.begin(lambda: 2)
        except HandleDeadError:
            helper.close()
            os._exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    helper.begin(lambda: 3)
    assert helper.take() == 3
    helper.close()


# -- one large content -------------------------------------------------------------------------------------------------


@pytest.fixture
def large(tmp_path):
    content = random.Random(1).randbytes(3 << 20)
    blobs = LocalBlobs(str(tmp_path), Disk(), shape=Shape(frame_bytes=FRAME, one_frame_max=0))
    (stat,) = blobs.publish([blobs.stage(content)])
    return blobs, stat.digest, content


def test_long_and_short_reads_and_jumps_between_them_give_the_content(large):
    blobs, digest, content = large
    rnd = random.Random(2)
    with buffered(blobs.open(digest)) as file:
        at = 0
        for _ in range(60):
            if rnd.random() < 0.3:
                at = file.seek(rnd.randrange(len(content)))
            length = rnd.choice((1, 100, 5_000, 300_000, 700_000))
            assert file.read(length) == content[at : at + length]
            at = min(at + length, len(content))
        file.seek(0)
        assert file.read() == content


def test_what_was_read_ahead_and_is_damaged_fails_only_whoever_reads_it(large, path_of: PathOf):
    blobs, digest, content = large
    path = path_of(digest)
    data = bytearray(path.read_bytes())
    data[2_000_000] ^= 1
    path.write_bytes(data)
    long = 400_000
    with buffered(blobs.open(digest)) as file:
        for at in range(0, 4 * long, long):
            assert file.read(long) == content[at : at + long]
        file.seek(2_500_000)  # the next piece was begun, and is not wanted
        assert file.read(1000) == content[2_500_000:2_501_000]
        file.seek(4 * long)
        with pytest.raises(BlobDamagedError):
            file.read(long)
    taken = bytearray()
    with pytest.raises(BlobDamagedError):
        copy_to(blobs.open(digest), taken.extend)
    assert content.startswith(bytes(taken))


def test_a_copy_whose_target_fails_leaves_no_thread(large):
    blobs, digest, _ = large

    def full(_piece):
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        copy_to(blobs.open(digest), full)


# -- many members ------------------------------------------------------------------------------------------------------


def content_of(number: int) -> bytes:
    return b"content %d " % number + random.Random(number).randbytes(10 * (number % 40))


@pytest.fixture
def many(tmp_path):
    root = tmp_path / "store"
    with holdfast.create(root) as made:
        made.put_many((f"f/{number:04}", content_of(number)) for number in range(600))
    return root


@pytest.mark.parametrize(("span", "gap", "together"), [(1, 0, 1), (4096, 0, 2000), (1 << 20, 1 << 15, 1 << 20)])
def test_however_reads_are_cut_every_content_comes_once(many, monkeypatch, span, gap, together):
    monkeypatch.setattr(bulk, "SPAN_BYTES", span)
    monkeypatch.setattr(bulk, "GAP_BYTES", gap)
    monkeypatch.setattr(bulk, "CONTENT_BYTES", together)
    with holdfast.open(many, read_only=True) as opened:
        wanted = [one.revision for one in opened.artifacts.find(type="file")] * 2
        random.Random(3).shuffle(wanted)
        found = [(one.digest, data) for one, data in opened.artifacts.read_many(wanted)]
        assert sorted(digest for digest, _ in found) == sorted(one.digest for one in wanted)
        assert all(digests.of(data) == digest for digest, data in found)


def test_every_tenth_of_many_is_read_in_few_calls(many):
    with holdfast.open(many, read_only=True) as opened:
        disk = FaultyDisk()
        opened._handle.blobs.packs._disk = disk
        read: list[int] = []
        pread = disk.pread
        disk.pread = lambda *given: read.append(given[1]) or pread(*given)
        some = [one.revision for one in opened.artifacts.find(type="file")][::10]
        assert len(list(opened.artifacts.read_many(some))) == 60
        assert len(read) <= 3


def test_a_pack_that_is_read_often_one_by_one_is_asked_for_whole_and_once(many, monkeypatch):
    monkeypatch.setattr(store, "KEPT_BYTES", 0)
    with holdfast.open(many, read_only=True) as opened:
        disk = FaultyDisk()
        opened._handle.blobs.packs._disk = disk
        hints: list[tuple[int, ...]] = []
        disk.begin_reading = lambda _, *span: hints.append(span)
        for number in range(31):
            opened.read(f"f/{number:04}")
        assert not hints, "a few reads are not worth a whole pack"
        for number in range(31, 200):
            opened.read(f"f/{number:04}")
        assert hints == [(0, 0)]


def test_what_is_read_together_is_told_to_the_system_one_span_ahead(many, monkeypatch):
    monkeypatch.setattr(bulk, "SPAN_BYTES", 4096)
    with holdfast.open(many) as store:
        store.put_many((f"g/{number}", random.Random(number).randbytes(20_000)) for number in range(20))
    with holdfast.open(many, read_only=True) as opened:
        disk = FaultyDisk()
        opened._handle.blobs.packs._disk = disk
        asked: list[tuple[str, int, int]] = []
        disk.begin_reading = lambda _, offset, length: asked.append(("told", offset, length))
        pread = disk.pread
        disk.pread = lambda fd, length, offset, path: (
            asked.append(("read", offset, length)) or pread(fd, length, offset, path)
        )
        wanted = [one.revision for one in opened.artifacts.find(type="file")]
        assert len(list(opened.artifacts.read_many(wanted))) == len(wanted)
        read = [span for what, *span in asked if what == "read"]
        assert len(read) > 3
        assert len(set(map(tuple, read))) == len(read)  # nobody opens a frame twice, however short a span is
        assert [span for what, *span in asked if what == "told"] == read[1:]
        assert [what for what, *_ in asked[:4]] == ["told", "read", "told", "read"]


def test_whoever_leaves_in_the_middle_leaves_no_thread(many):
    with holdfast.open(many, read_only=True) as opened:
        reading = opened.artifacts.read_many([one.revision for one in opened.artifacts.find(type="file")])
        next(reading)
        reading.close()


# -- frames that are kept ----------------------------------------------------------------------------------------------


def spot(offset: int, start: int, size: int) -> Spot:
    return Spot("0" * 16, offset, 50, start, size)


def test_kept_frames_are_bounded_and_the_oldest_goes_first():
    kept = KeptFrames(100)
    for offset in range(5):
        kept.put(spot(offset, 10, 20), bytes([offset]) * 30)
        assert kept.get(spot(0, 0, 5)) == b"\0" * 5
    assert [kept.get(spot(offset, 10, 20)) is not None for offset in range(5)] == [True, False, False, False, True]


def test_of_frames_used_long_ago_is_kept_what_nobody_was_given():
    """Twenty frames of fifty members, each asked for once in any order, where there is room for half of them."""
    kept, opened = KeptFrames(5_000), 0
    content = bytes(range(250)) * 2
    wanted = [(offset, start) for offset in range(20) for start in range(0, 500, 10)]
    random.Random(3).shuffle(wanted)
    for offset, start in wanted:
        found = kept.get(spot(offset, start, 10))
        if found is None:
            opened += 1
            kept.put(spot(offset, start, 10), content)
        else:
            assert found == content[start : start + 10]
    assert opened < 300, "half of all, 500, where frames are kept whole"
    assert kept.get(spot(wanted[0][0], wanted[0][1], 10)) is None, "it was given out, and made room for others"


def test_whoever_reads_the_same_again_has_the_room_for_what_was_used_last():
    kept = KeptFrames(1_000)
    hot = [(offset, start) for offset in range(9) for start in (0, 50)]
    drawn, opened = random.Random(4), []
    for turn in range(4_000):
        offset, start = drawn.choice(hot) if turn % 10 else (100 + turn, 0)
        if kept.get(spot(offset, start, 10)) is None:
            opened.append(turn)
            kept.put(spot(offset, start, 10), bytes(100))
    assert kept._for_rest <= 1_000 // 16
    assert len([turn for turn in opened if turn > 2_000]) < 700, "of 2,000, of which 200 were asked for once"


@pytest.mark.parametrize("seed", range(5))
def test_what_is_kept_is_what_the_frame_holds_whatever_is_asked_for(seed):
    """Members that lie over each other too: a damaged row may say anything."""
    drawn, kept = random.Random(seed), KeptFrames(2_000)
    contents = [drawn.randbytes(drawn.randrange(50, 900)) for _ in range(20)]
    for _ in range(3_000):
        offset = drawn.randrange(20)
        start = drawn.randrange(len(contents[offset]))
        size = drawn.randrange(len(contents[offset]) - start + 1)
        found = kept.get(spot(offset, start, size))
        assert found is None or found == contents[offset][start : start + size]
        if found is None and size:
            kept.put(spot(offset, start, size), contents[offset][: start + size + drawn.randrange(50)])
        assert kept._bytes + kept._rest_bytes <= 2_000
        assert kept._bytes == sum(map(len, kept._recent.values()))
        assert kept._rest_bytes == sum(len(rest.content) for rest in kept._rest.values())
        assert kept._noted == sum(map(len, kept._given.values()))


def test_what_was_given_out_is_remembered_within_bounds(monkeypatch):
    monkeypatch.setattr(kept_frames, "NOTED", 50)
    kept = KeptFrames(10_000)
    for offset in range(200):
        kept.put(spot(offset, 10, 20), bytes(30))
        for _ in range(3):
            kept.get(spot(offset, 0, 5))
    assert kept._noted == sum(map(len, kept._given.values())) <= 50


def test_a_place_that_cannot_be_finds_nothing():
    kept = KeptFrames(1_000)
    for offset in range(40):
        kept.put(spot(offset, 10, 20), bytes(30))
    for offset in (0, 39):
        for start, size in ((1 << 62, 5), (5, 1 << 62), (29, 2), (30, 1)):
            assert kept.get(spot(offset, start, size)) is None


def test_stores_that_are_open_share_what_may_be_kept():
    among = WeakSet()
    one, other = KeptFrames(100, among), KeptFrames(100, among)
    for offset in range(3):
        one.put(spot(offset, 10, 5), bytes(30))
    assert one._bytes + one._rest_bytes == 90
    other.put(spot(0, 10, 5), bytes(30))
    other.put(spot(1, 10, 5), bytes(30))
    one.put(spot(4, 10, 5), bytes(30))
    assert one._bytes + one._rest_bytes <= 50
    assert other._bytes + other._rest_bytes <= 60
    one.clear()
    other.put(spot(2, 10, 5), bytes(30))
    other.put(spot(3, 10, 5), bytes(30))
    assert other._bytes + other._rest_bytes > 60, "who keeps nothing takes no share"


def test_a_frame_is_kept_as_far_as_it_was_asked_for_and_never_for_one_member_alone():
    kept = KeptFrames(100)
    kept.put(spot(1, 0, 20), b"a" * 20)
    assert kept.get(spot(1, 0, 20)) is None
    kept.put(spot(1, 20, 20), b"a" * 40)
    assert kept.get(spot(1, 0, 20)) == b"a" * 20
    assert kept.get(spot(1, 40, 20)) is None
    kept.put(spot(1, 40, 20), b"a" * 60)
    kept.put(spot(2, 10, 90), b"b" * 101)
    assert kept.get(spot(1, 40, 20)) == b"a" * 20
    assert kept.get(spot(2, 10, 90)) is None


def test_neighbours_in_a_frame_are_read_one_by_one_with_one_read_of_the_file(many):
    with holdfast.open(many, read_only=True) as opened:
        disk = FaultyDisk()
        opened._handle.blobs.packs._disk = disk
        read: list[int] = []
        pread = disk.pread
        disk.pread = lambda *given: read.append(given[1]) or pread(*given)
        for number in range(600):
            assert opened.read(f"f/{number:04}") == content_of(number)
        assert len(read) < 60


def test_what_verifies_a_store_reads_files_and_not_what_is_kept(many):
    with holdfast.open(many) as opened:
        for number in range(600):
            opened.read(f"f/{number:04}")
        (pack,) = (many / "packs").iterdir()
        data = bytearray(pack.read_bytes())
        data[-3000] ^= 4
        pack.write_bytes(data)
        assert opened.fsck().exit_code != 0
        opened._handle.blobs.packs._kept.clear()
        with pytest.raises(HoldfastError):
            list(map(opened.read, [f"f/{number:04}" for number in range(600)]))


def test_no_more_is_kept_than_is_said(many, monkeypatch):
    monkeypatch.setattr(store, "KEPT_BYTES", 20_000)
    with holdfast.open(many, read_only=True) as opened:
        for number in range(600):
            opened.read(f"f/{number:04}")
        kept = opened._handle.blobs.packs._kept
        assert 0 < kept._bytes + kept._rest_bytes <= 20_000

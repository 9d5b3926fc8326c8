"""One large content read from start to end: threads work ahead, and nothing of them is seen but the time."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import random
import signal
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

import holdfast
from holdfast.blobs import BlobRaw, LocalBlobs, buffered, copy_to, onward, passage
from holdfast.blobs.chunks.reader import ChunkedReader
from holdfast.blobs.compress import Shape
from holdfast.blobs.onward import PIECE, Onward, Proof
from holdfast.blobs.reader import pieces, verify
from holdfast.disk import Disk
from holdfast.errors import BlobDamagedError, BlobMissingError, HandleDeadError, StorageIOError
from holdfast.formats.recipe import Recipe
from holdfast.testing.faults import FaultyDisk

PathOf = Callable[[str], Path]
FRAME = 4 * 1024
CONTENT = random.Random(3).randbytes(5 * PIECE + 12_345)
DIGEST = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
CHUNK = 70_001


def threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("holdfast-")]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def drain(file: BlobRaw, length: int, into: bytearray) -> None:
    while data := file.read(length):
        into += data


@pytest.fixture(autouse=True)
def nothing_stays():
    before = descriptors()
    yield
    assert threads() == []
    assert descriptors() <= before


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    made = LocalBlobs(str(tmp_path), Disk(), shape=Shape(frame_bytes=FRAME, one_frame_max=0))
    made.publish([made.stage(CONTENT)])
    return made


class Theirs:
    """A reader of somebody else's: it is told when two threads ask at once."""

    digest, size = DIGEST, len(CONTENT)

    def __init__(self) -> None:
        self.asked = threading.Lock()

    def read_at(self, offset: int, length: int) -> bytes:
        assert self.asked.acquire(blocking=False), "not for two threads at once"
        try:
            time.sleep(0.001)
            return CONTENT[offset : offset + length]
        finally:
            self.asked.release()

    def close(self) -> None:
        pass


def chunked(fetch: Callable[[bytes], bytes] | None = None) -> ChunkedReader:
    recipe, chunks = Recipe(), dict[bytes, bytes]()
    for at in range(0, len(CONTENT), CHUNK):
        chunk = CONTENT[at : at + CHUNK]
        chunks[hashlib.sha256(chunk).digest()] = chunk
        recipe.add(hashlib.sha256(chunk).digest(), len(chunk))
    recipe.digest = hashlib.sha256(CONTENT).digest()
    return ChunkedReader(recipe, fetch or chunks.__getitem__, 0)


@pytest.fixture(params=["frames", "chunks", "theirs"])
def opened(request: pytest.FixtureRequest, blobs: LocalBlobs):
    return {"frames": lambda: blobs.open(DIGEST), "chunks": chunked, "theirs": Theirs}[request.param]


# -- what comes out ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [None, 4_096, 65_536, 300_000, PIECE, 3 * PIECE + 1, 100 * PIECE])
def test_whatever_one_asks_for_at_a_time_it_is_the_content(opened, length):
    with buffered(opened()) as file:
        assert b"".join(iter(lambda: file.read(length), b"")) == CONTENT
        assert file.read(1) == b""


def test_copies_checks_and_pieces_are_of_the_same_content(opened):
    kept: list[bytes] = []
    with contextlib.closing(opened()) as reader:
        copy_to(reader, kept.append)
        assert b"".join(kept) == CONTENT, "whoever keeps what he was given has it still"
        assert {type(one) for one in kept} == {bytes}
        verify(reader)
        with contextlib.closing(pieces(reader)) as each:
            assert b"".join(map(bytes, each)) == CONTENT
        assert reader.read_at(7, 5) == CONTENT[7:12], "it was not closed"


@pytest.mark.parametrize("most", [1, 1_000, 0, None])
def test_a_raw_target_that_takes_less_than_it_is_given_gets_all_or_says_so(tmp_path, most):
    class Short(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, data, /) -> int | None:
            taken.extend(data[:most] if most else b"")
            return most and min(most, len(data))

    taken = bytearray()
    content = CONTENT[:20_000] if most == 1 else CONTENT
    with holdfast.create(tmp_path / "store") as store:
        store.artifacts.put("a", content)
        if most:
            assert store.artifacts.copy_to("a", Short()) == len(content)
            assert taken == content
        else:
            with pytest.raises(BlockingIOError, match="waits"):
                store.artifacts.copy_to("a", Short())


def test_python_s_own_files_are_lent_what_others_get_as_bytes_to_keep(tmp_path):
    class Keeping(io.BytesIO):
        def write(self, data, /) -> int:
            kept.append(data)
            return len(data)

    kept: list[bytes] = []
    with holdfast.create(tmp_path / "store") as store:
        store.artifacts.put("a", CONTENT)
        assert store.artifacts.copy_to("a", Keeping()) == len(CONTENT)
        assert (b"".join(kept), {type(one) for one in kept}) == (CONTENT, {bytes})
        store.artifacts.copy_to("a", whole := io.BytesIO())
        assert whole.getvalue() == CONTENT
        for buffering in (0, -1):
            with open(tmp_path / "out", "wb", buffering) as file:
                store.artifacts.copy_to("a", file)
            assert (tmp_path / "out").read_bytes() == CONTENT


def test_jumps_at_any_place_and_back_into_what_was_made(opened):
    rnd = random.Random(5)
    with BlobRaw(opened()) as file:
        for _ in range(40):
            at = file.seek(rnd.choice((0, file.tell() // 2, max(file.tell() - 50_000, 0), rnd.randrange(len(CONTENT)))))
            for _ in range(rnd.randrange(1, 12)):
                length = rnd.choice((1, 10_000, 200_000, 900_000))
                assert file.read(length) == CONTENT[at : at + length]
                at = min(at + length, len(CONTENT))
                assert file.tell() == at


def test_several_readers_at_once_in_many_threads(blobs):
    found: list[str] = []

    def read() -> None:
        with buffered(blobs.open(DIGEST)) as file:
            sha = hashlib.sha256()
            while data := file.read(150_000):
                sha.update(data)
            found.append("sha256:" + sha.hexdigest())

    at_once = [threading.Thread(target=read) for _ in range(6)]
    for one in at_once:
        one.start()
    for one in at_once:
        one.join()
    assert found == [DIGEST] * 6


def test_short_contents_and_short_reads_need_no_threads(tmp_path, monkeypatch):
    monkeypatch.setattr(passage, "Onward", None)
    store = LocalBlobs(str(tmp_path), Disk())
    content = random.Random(1).randbytes(PIECE + PIECE // 2)
    (stat,) = store.publish([store.stage(content)])
    assert store.read(stat.digest) == content
    assert store.verify(stat.digest) == stat
    with buffered(store.open(stat.digest)) as file:
        for at in random.Random(2).sample(range(len(content) - 4_096), 300):
            file.seek(at)
            assert file.read(4_096) == content[at : at + 4_096]


def test_one_thread_where_there_is_one_processor(opened, monkeypatch):
    monkeypatch.setattr(onward, "_FILLERS", 1)
    with BlobRaw(opened()) as file:
        assert file.read() == CONTENT


# -- damage ------------------------------------------------------------------------------------------------------------


def damage(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("at", [10, 700_000, 2_500_000, 5_200_000])
def test_damage_anywhere_is_found_and_what_lies_before_it_comes_out(blobs, path_of: PathOf, at: int):
    damage(path_of(DIGEST), at)
    for length in (100_000, PIECE, 10 * PIECE):
        taken = bytearray()
        with BlobRaw(blobs.open(DIGEST)) as file, pytest.raises(BlobDamagedError):
            drain(file, length, taken)
        assert CONTENT.startswith(bytes(taken))
        assert len(taken) > at - length - 2 * FRAME - at // 50, "as far as it can be had"
    for look in (blobs.read, blobs.verify):
        with pytest.raises(BlobDamagedError) as caught:
            look(DIGEST)
        assert caught.value.fields["digest"] == DIGEST


def test_who_jumps_over_damage_reads_on(blobs, path_of: PathOf):
    damage(path_of(DIGEST), 2_500_000)
    with BlobRaw(blobs.open(DIGEST)) as file:
        assert file.read(2 * PIECE) == CONTENT[: 2 * PIECE]
        file.seek(3 * PIECE)
        assert file.read() == CONTENT[3 * PIECE :]
        file.seek(2 * PIECE)
        for _ in range(2):
            with pytest.raises(BlobDamagedError):
                file.read(PIECE)
            assert file.tell() == 2 * PIECE


def test_a_file_that_is_cut_while_it_is_read(blobs, path_of: PathOf):
    with BlobRaw(blobs.open(DIGEST)) as file:
        assert file.read(PIECE) == CONTENT[:PIECE]
        os.truncate(path_of(DIGEST), 3 * PIECE)
        with pytest.raises(BlobDamagedError, match="cut while it was open"):
            drain(file, PIECE, bytearray())


def test_a_disk_that_fails_in_the_middle(tmp_path, blobs):
    disk = FaultyDisk()
    reader = LocalBlobs(str(tmp_path), disk).open(DIGEST)
    pread = disk.pread

    def failing(fd: int, length: int, offset: int, path: str) -> bytes:
        if offset > 3 * PIECE:
            raise StorageIOError("gone", path=path, operation="read", errno=5)
        return pread(fd, length, offset, path)

    disk.pread = failing
    taken: list[bytes] = []
    with contextlib.closing(reader), pytest.raises(StorageIOError, match="gone"):
        copy_to(reader, taken.append)
    assert CONTENT.startswith(b"".join(taken))
    assert sum(map(len, taken)) > 2 * PIECE


def test_a_chunk_that_is_missing_is_said_to_be(monkeypatch):
    reader = chunked()
    whole = reader._fetch
    lost = reader._recipe.chunk(50)[0]

    def fetch(raw: bytes) -> bytes:
        if raw == lost:
            raise BlobMissingError("no pack holds it", digest="", path="")
        assert whole is not None
        return whole(raw)

    taken: list[bytes] = []
    with pytest.raises(BlobMissingError):
        copy_to(chunked(fetch), taken.append)
    assert b"".join(taken) == CONTENT[: 50 * CHUNK][: sum(map(len, taken))]


def test_an_error_that_is_nobodys_comes_out_of_the_thread(monkeypatch):
    def fetch(raw: bytes) -> bytes:
        if threading.current_thread() is not threading.main_thread():
            raise MemoryError("no room")
        return whole(raw)

    whole = chunked()._fetch
    assert whole is not None
    with pytest.raises(MemoryError, match="no room"):
        copy_to(chunked(fetch), len)


def test_a_whole_content_of_another_digest_is_refused_at_its_end_however_it_was_read():
    for length in (100_000, PIECE, 2 * len(CONTENT)):
        reader, taken = chunked(), bytearray()
        reader.digest = "sha256:" + "2" * 64
        with BlobRaw(reader) as file:
            with pytest.raises(BlobDamagedError, match="hashes to"):
                drain(file, length, taken)
            assert len(taken) < len(CONTENT), "the last piece was kept back"
            file.seek(0)
            with pytest.raises(BlobDamagedError, match="hashes to"):
                file.read()


def test_going_back_and_on_again_the_whole_is_proven():
    reader = chunked()
    reader.digest = "sha256:" + "2" * 64
    with BlobRaw(reader) as file:
        file.read(2 * PIECE + 5)
        file.seek(PIECE)
        file.read(PIECE)
        file.seek(0)
        with pytest.raises(BlobDamagedError, match="hashes to"):
            file.read()


# -- who leaves, and how much is made ahead ----------------------------------------------------------------------------


class Counting(Theirs):
    """Says how far it was read."""

    def __init__(self) -> None:
        self.size, self.far, self.open = 64 * PIECE, 0, threading.Event()

    def end_of_piece(self, offset: int) -> int:
        return min(offset + PIECE, self.size)

    def fill(self, offset: int, view: memoryview) -> None:
        self.far = max(self.far, offset + len(view))


def settled(far: Callable[[], int]) -> int:
    before = -1
    while before != far():
        before = far()
        time.sleep(0.05)
    return before


def test_no_more_than_a_few_pieces_are_made_ahead_and_fewer_at_first():
    source = Counting()
    with contextlib.closing(Onward(source, 0, Proof())) as made:
        assert settled(lambda: source.far) <= 2 * PIECE
        for number in range(1, 20):
            assert made.take() is not None
            assert settled(lambda: source.far) <= (number + onward._COMING) * PIECE
        assert made._made <= onward._BUFFERS


def test_a_buffer_that_a_lost_thread_still_fills_goes_to_nobody_else(monkeypatch):
    """An interrupt in the moment in which a pool starts a thread can make it one that the pool does not know."""
    monkeypatch.setattr(onward, "_spare", [])
    gate, entered, filling = threading.Event(), threading.Semaphore(0), []

    class Slow(Counting):
        def fill(self, offset: int, view: memoryview) -> None:
            filling.append(view.obj)
            entered.release()
            gate.wait(100)

    made = Onward(Slow(), 0)
    assert entered.acquire(timeout=100)
    known = set(made._fillers._threads)
    made._fillers._threads.clear()
    made.close()
    given = [id(one) for one in onward._spare]
    gate.set()
    for thread in known:
        thread.join(100)
    assert filling
    assert not {id(one) for one in filling} & set(given)


def test_a_slow_proof_holds_the_rest_up(monkeypatch):
    slow = Proof()
    gate = threading.Semaphore(0)
    follow = slow.follow
    slow.follow = lambda offset, data: (gate.acquire(), follow(offset, data))[1]
    source = Counting()
    with contextlib.closing(Onward(source, 0, slow)) as made:
        taken = 0
        threading.Timer(0.3, gate.release, [64]).start()
        while made.take() is not None:
            taken += 1
            if slow.at == 0:
                assert source.far <= onward._BUFFERS * PIECE
        assert taken == 64
    assert slow.at == source.size


def test_a_piece_is_the_readers_until_he_asks_for_the_next(blobs):
    with contextlib.closing(blobs.open(DIGEST)) as reader, contextlib.closing(Onward(reader, 0, Proof())) as made:
        at = 0
        while (piece := made.take()) is not None:
            time.sleep(0.01)
            assert piece == CONTENT[at : at + len(piece)]
            at += len(piece)


def test_frames_that_are_larger_than_a_piece(tmp_path):
    store = LocalBlobs(str(tmp_path), Disk(), shape=Shape(frame_bytes=PIECE // 8, one_frame_max=0))

    class Large(Counting):
        def end_of_piece(self, offset: int) -> int:
            return min(offset + (1 + offset // PIECE % 3) * PIECE, self.size)

    store.close()
    source = Large()
    with contextlib.closing(Onward(source, 0, Proof())) as made:
        total = 0
        while (piece := made.take()) is not None:
            total += len(piece)
            assert made._made <= onward._BUFFERS
    assert total == source.size


@pytest.mark.parametrize("leave", ["close", "forget", "raise"])
def test_who_leaves_early_leaves_no_thread_and_no_descriptor(blobs, leave):
    before = descriptors()
    if leave == "raise":
        taken = bytearray()

        def write(data: bytes) -> None:
            taken.extend(data)
            if len(taken) > 2 * PIECE:
                assert threads()
                raise OSError("full")

        with contextlib.closing(blobs.open(DIGEST)) as reader, pytest.raises(OSError, match="full"):
            copy_to(reader, write)
    else:
        file = buffered(blobs.open(DIGEST))
        file.read(2 * PIECE)
        assert threads()
        if leave == "close":
            file.close()
        del file
    assert threads() == []
    assert descriptors() == before


def test_at_the_end_the_threads_are_given_back_though_the_file_is_open(blobs):
    with buffered(blobs.open(DIGEST)) as file:
        assert file.read() == CONTENT
        assert threads() == []
        file.seek(-10, os.SEEK_END)
        assert file.read() == CONTENT[-10:]


# -- interrupts and forks ----------------------------------------------------------------------------------------------


def _read_on(blobs: LocalBlobs) -> None:
    rnd = random.Random(6)
    hits = 0
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    for _ in range(12):
        file = BlobRaw(blobs.open(DIGEST))
        taken = bytearray(len(CONTENT))
        while file.tell() < len(CONTENT):
            try:
                signal.setitimer(signal.ITIMER_REAL, rnd.uniform(0.000_1, 0.004))
                file.readinto(memoryview(taken)[file.tell() :][:400_000])
                signal.setitimer(signal.ITIMER_REAL, 0)
            except (KeyboardInterrupt, RuntimeError):  # the second is what `threading` makes of it while one starts
                hits += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert taken == CONTENT
        assert file._passage._come == len(CONTENT)
        file.close()
    assert hits


def test_whoever_is_interrupted_while_reading_reads_on_and_all_is_proven(blobs):
    """Wherever it hits: what comes out is the content, and nothing is taken for damaged that is not.

    In a child: Python 3.11 may lose a thread whose very start is interrupted, for good.
    """
    child = os.fork()
    if not child:
        try:
            _read_on(blobs)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("lost", [PIECE, 3 * PIECE + 5])
def test_what_a_lost_thread_has_not_hashed_is_hashed_at_the_end(monkeypatch, lost):
    """As if the thread that hashes had been lost at its start: the whole is proven all the same."""
    follow = Proof.follow
    monkeypatch.setattr(
        Proof,
        "follow",
        lambda proof, offset, data: (
            None
            if offset >= lost and threading.current_thread() is not threading.main_thread()
            else follow(proof, offset, data)
        ),
    )
    for digest, whole in ((DIGEST, True), ("sha256:" + "2" * 64, False)):
        reader = chunked()
        reader.digest = digest
        with BlobRaw(reader) as file:
            if whole:
                assert file.read() == CONTENT
            else:
                with pytest.raises(BlobDamagedError, match="hashes to"):
                    file.read()


def test_a_child_that_is_forked_meanwhile_is_told_each_time_and_the_parent_reads_on(blobs):
    with BlobRaw(blobs.open(DIGEST)) as file:
        head = file.read(2 * PIECE)
        child = os.fork()
        if not child:
            with contextlib.suppress(BaseException):
                for _ in range(2):
                    with pytest.raises(HandleDeadError):
                        file.read(PIECE)
                file.close()
                os._exit(0)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert head + file.read() == CONTENT


def test_a_child_of_one_who_has_no_threads_yet_reads_by_itself(blobs):
    with BlobRaw(blobs.open(DIGEST)) as file:
        head = file.read(100)
        child = os.fork()
        if not child:
            os._exit(0 if head + file.read() == CONTENT else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# -- the digest --------------------------------------------------------------------------------------------------------


def test_a_proof_counts_each_byte_once_and_none_out_of_order():
    rnd = random.Random(8)
    proof = Proof()
    while proof.at < 100_000:
        at, length = rnd.randrange(100_000), rnd.randrange(1, 20_000)
        proof.follow(at, CONTENT[at : min(at + length, 100_000)])
    assert proof.digest() == hashlib.sha256(CONTENT[:100_000]).digest()

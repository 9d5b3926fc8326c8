"""B1, B3, B4: standard tools prove a blob, what does not shrink costs little, memory stays bounded, bytes repeat."""

import io
import os
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.blobs import BlobRaw, LocalBlobs, buffered, copy_to
from holdfast.blobs.compress import Shape, write_blob
from holdfast.disk import Disk
from holdfast.errors import BlobDamagedError, HandleDeadError, InvalidValueError
from holdfast.formats.frame import Effort, effort_for

PathOf = Callable[[str], Path]
MIB = 1024 * 1024


def mixed(size: int) -> bytes:
    """Megabytes that shrink and megabytes that do not, in turn."""
    text = b"".join(b"record %d of a table\n" % n for n in range(50_000))
    parts = [os.urandom(MIB) if n % 2 else (text * 2)[:MIB] for n in range(size // MIB + 1)]
    return b"".join(parts)[:size]


@pytest.mark.parametrize("size", [0, 1, 5000, 256 * 1024, 256 * 1024 + 1, 3 * MIB + 17])
def test_zstd_and_sha256sum_prove_a_blob(tmp_path: Path, path_of: PathOf, size: int) -> None:
    store = LocalBlobs(str(tmp_path), Disk())
    staged = store.stage(io.BytesIO(mixed(size)))
    store.publish([staged])
    proof = subprocess.run(
        f"zstd -dc {path_of(staged.digest)} | sha256sum", shell=True, check=True, capture_output=True, text=True
    )
    assert proof.stdout.split()[0] == staged.digest.removeprefix("sha256:")
    assert proof.stderr == ""
    subprocess.run(["zstd", "-q", "-t", path_of(staged.digest)], check=True)


@pytest.mark.parametrize(
    "size", [0, 1, 2, 100, 1000, 65_535, 65_536, 128 * 1024, 256 * 1024, 256 * 1024 + 1, MIB, 4 * MIB]
)
def test_random_content_grows_by_a_thousandth_and_a_kibibyte_at_most(
    tiny: LocalBlobs, tmp_path: Path, size: int
) -> None:
    store = LocalBlobs(str(tmp_path), Disk())
    assert store.stage(os.urandom(size)).stored_bytes <= size + size // 1000 + 1024


def test_a_sample_decides_for_each_group_on_its_own() -> None:
    noise, text = os.urandom(MIB), b"a line that shrinks well\n" * 50_000
    assert effort_for(noise) is Effort.RAW
    assert effort_for(text[:MIB]) is Effort.NORMAL
    out = io.BytesIO()
    written = write_blob(noise + text[:MIB] + noise, out.write, shape=Shape())
    assert 2 * MIB < written.stored_bytes < 2 * MIB + 64 * 1024


def test_the_bytes_on_disk_do_not_depend_on_threads_or_on_the_source() -> None:
    content = mixed(5 * MIB + 333)
    outs = []
    for workers in (1, 2, 3, 8):
        for source in (
            content,
            memoryview(content),
            bytearray(content),
            io.BytesIO(content),
            os.fdopen(pipe_of(content), "rb", 0),
        ):
            out = io.BytesIO()
            write_blob(source, out.write, shape=Shape(workers=workers))
            outs.append(out.getvalue())
            if isinstance(source, io.FileIO):
                source.close()
    assert len(set(outs)) == 1


def pipe_of(content: bytes) -> int:
    """A descriptor that gives `content` in pieces of the kernel's choosing."""
    reading, writing = os.pipe()

    def fill() -> None:
        with open(writing, "wb") as file:
            file.write(content)

    threading.Thread(target=fill).start()
    return reading


def test_an_error_while_writing_stops_the_workers_and_comes_out() -> None:
    def refuse(data: bytes) -> None:
        raise BlobDamagedError("stop", reason="stop")

    with pytest.raises(BlobDamagedError, match="stop"):
        write_blob(mixed(6 * MIB), refuse, shape=Shape())


@pytest.mark.parametrize(
    ("frame_bytes", "one_frame_max", "workers"),
    [(0, 0, 1), (256 * 1024, 1, 1), (1024, 8192, 1), (128 * 1024, 256 * 1024 + 1, 1), (1024, 10, 0)],
)
def test_shapes_that_no_reader_would_take_are_refused(frame_bytes: int, one_frame_max: int, workers: int) -> None:
    with pytest.raises(InvalidValueError):
        Shape(frame_bytes, one_frame_max, workers)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), size=st.integers(0, 4000), frame_bytes=st.integers(1, 700))
def test_any_range_of_any_blob_is_what_was_put_in(data: st.DataObject, size: int, frame_bytes: int) -> None:
    content = (b"abc%d" % size * size)[: size // 2] + os.urandom(size - size // 2)
    shape = Shape(frame_bytes, one_frame_max=min(300, frame_bytes * 8 - 1))
    with tempfile.TemporaryDirectory() as root:
        store = LocalBlobs(root, Disk(), shape=shape)
        staged = store.stage(io.BytesIO(content), durable=False)
        store.settle([staged])
        store.publish([staged])
        assert store.read(staged.digest) == content
        with buffered(store.open(staged.digest)) as file:
            for _ in range(6):
                offset, length = data.draw(st.integers(0, size + 10)), data.draw(st.integers(0, size + 10))
                file.seek(offset)
                assert file.read(length) == content[offset : offset + length]


class Lying:
    """A reader whose content is not that of its digest."""

    digest = "sha256:" + "1" * 64
    size = 3 * MIB

    def read_at(self, offset: int, length: int) -> bytes:
        return bytes(min(length, self.size - offset))

    def close(self) -> None:
        pass


def test_a_file_read_from_start_to_end_is_proven_before_its_last_piece_comes_out() -> None:
    for read in (lambda: BlobRaw(Lying()).read(), lambda: buffered(Lying()).read()):
        with pytest.raises(BlobDamagedError, match="hashes to"):
            read()
    file = buffered(Lying())
    for _ in range(Lying.size // 100_000):
        assert len(file.read(100_000)) == 100_000
    with pytest.raises(BlobDamagedError, match="hashes to"):
        file.read(100_000)


def test_a_copy_is_proven_at_its_end() -> None:
    parts: list[bytes] = []
    with pytest.raises(BlobDamagedError, match="hashes to"):
        copy_to(Lying(), parts.append)


def test_a_reader_decompresses_each_frame_once_when_read_in_order(tiny: LocalBlobs) -> None:
    class Counting(Disk):
        reads = 0

        def pread(self, fd: int, length: int, offset: int, path: str) -> bytes:
            self.reads += 1
            return super().pread(fd, length, offset, path)

    content = os.urandom(512 * 20)
    staged = tiny.stage(content)
    tiny.publish([staged])
    disk = Counting()
    reader = LocalBlobs(tiny._root, disk).open(staged.digest)
    before = disk.reads
    assert b"".join(reader.read_at(at, 100) for at in range(0, len(content), 100)) == content
    assert disk.reads - before <= 2 * 20 + 20 * 100 // 512 + 1
    before = disk.reads
    for _ in range(50):
        reader.read_at(512 * 7 + 3, 400)
    assert disk.reads - before <= 1
    reader.close()


def test_memory_does_not_grow_with_the_stream(tmp_path: Path) -> None:
    """300 MB in and out in a process of its own; its high water mark is far below that."""
    program = f"""
        import io, os, sys
        from holdfast.blobs import LocalBlobs, buffered
        from holdfast.disk import Disk

        class Source:
            left = 300 * 1024 * 1024
            noise, text = os.urandom(1 << 20), b"some words again and again" * 41_000
            def read(self, size):
                piece = (self.noise if self.left >> 20 & 1 else self.text)[: min(size, self.left)]
                self.left -= len(piece)
                return piece

        store = LocalBlobs({str(tmp_path)!r}, Disk())
        staged = store.stage(Source(), durable=False)
        store.settle([staged])
        store.publish([staged])
        assert staged.size == 300 * 1024 * 1024
        store.verify(staged.digest)
        with buffered(store.open(staged.digest)) as file:
            while file.read(1 << 20):
                pass
        status = open("/proc/self/status").read()
        print(int(status.partition("VmHWM:")[2].split()[0]))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert int(done.stdout) < 100 * 1024


def test_a_file_that_was_being_read_when_the_process_forked_is_dead_in_the_child_and_goes_on_in_the_parent(
    tmp_path: Path,
) -> None:
    """The thread that hashes is not there in the child: waiting for it would never end."""
    store = LocalBlobs(str(tmp_path), Disk())
    content = os.urandom(3 << 20)
    (stat,) = store.publish([store.stage(content)])
    with buffered(store.open(stat.digest)) as file:
        head = file.read(1 << 20)
        child = os.fork()
        if not child:
            try:
                file.read(1 << 20)
                os._exit(1)
            except HandleDeadError:
                file.close()
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert head + file.read() == content

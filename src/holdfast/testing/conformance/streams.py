"""What any open content must do: a test or more for each sentence of blobs/streams.py.

Subclass StreamConformance under a name that begins with `Test`, and give `open_stream`; `damage` where bytes at rest
can be reached.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

import pytest

from holdfast.blobs.streams import ContentStream
from holdfast.errors import BlobDamagedError
from holdfast.testing.conformance.marks import EVERYTHING, Capability, demand, shows

KIB = 1024
MIXED = hashlib.shake_256(b"lines").digest(200 * KIB)
CONTENTS = {"empty": b"", "text": b"one\n\ntwo\nno end", "a frame": bytes(range(256)) * KIB + b"!", "mixed": MIXED}
LARGE = hashlib.shake_256(b"large").digest(700 * KIB)
PIECES = (1, 7, 4096, 65_537)
WAIT_S = 60.0


class StreamConformance:
    """The suite. `capabilities`: what is claimed of where streams come from; tests that need more are skipped."""

    capabilities: frozenset[Capability] = EVERYTHING

    def open_stream(self, place: Path, content: bytes) -> ContentStream:
        """A stream of a content, put at a place if it is not there yet; each call another one."""
        raise NotImplementedError

    def damage(self, place: Path, content: bytes) -> None:
        """Change a byte of a content that was put at a place, at rest."""
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def _as_claimed(self, request: pytest.FixtureRequest) -> None:
        demand(request.function, self.capabilities)

    @pytest.fixture
    def place(self, tmp_path: Path) -> Path:
        """A folder of its own."""
        return tmp_path

    @shows("F-3")
    def test_a_stream_fits_the_protocol_and_cannot_be_written_to(self, place: Path) -> None:
        """By its methods, and by what it says of itself."""
        content = CONTENTS["text"]
        with self.open_stream(place, content) as stream:
            assert isinstance(stream, ContentStream)
            assert (stream.readable(), stream.seekable(), stream.writable()) == (True, True, False)
            file = cast("Any", stream)
            with pytest.raises((OSError, ValueError)):  # io.UnsupportedOperation is both
                file.write(b"x")
            with pytest.raises((OSError, ValueError)):
                file.truncate(0)
            assert stream.read() == content

    @shows("F-1")
    def test_it_is_read_in_pieces_of_any_size(self, place: Path) -> None:
        """To the end, where there is nothing more, again and again."""
        for content in CONTENTS.values():
            for size in (-1, None, *PIECES):
                with self.open_stream(place, content) as stream:
                    parts = [stream.read(size) for _ in range(3)]
                    while part := stream.read(size if size and size > KIB else 9_973):
                        parts.append(part)
                    assert b"".join(parts) == content
                    assert (stream.read(), stream.read(5), stream.read(0)) == (b"", b"", b"")

    @shows("F-1")
    def test_it_gives_as_much_as_is_asked_for(self, place: Path) -> None:
        """Into a buffer, too; short only at the end."""
        content = CONTENTS["mixed"]
        with self.open_stream(place, content) as stream:
            assert stream.read(70_000) == content[:70_000]
            room = bytearray(50_000)
            assert stream.readinto(room) == 50_000
            assert bytes(room) == content[70_000:120_000]
            assert stream.read(len(content)) == content[120_000:]
            assert stream.readinto(room) == 0

    @shows("F-1")
    def test_its_lines_are_those_of_its_bytes(self, place: Path) -> None:
        """One by one, or in a loop."""
        for content in CONTENTS.values():
            wanted = io.BytesIO(content).readlines()
            with self.open_stream(place, content) as stream:
                found = list(stream)
                assert found == wanted
                stream.seek(0)
                assert stream.readline() == (found[0] if found else b"")

    @shows("F-2")
    def test_it_is_sought_in_as_in_a_file(self, place: Path) -> None:
        """As io.BytesIO does it, step by step."""
        content = CONTENTS["a frame"]
        twin = io.BytesIO(content)
        steps = [(9, 0), (-1, 2), (0, 0), (5, 1), (len(content) + 50, 0), (-3, 1), (0, 2), (262_143, 0), (1, 1)]
        with self.open_stream(place, content) as stream:
            for offset, whence in steps:
                assert stream.seek(offset, whence) == twin.seek(offset, whence) == stream.tell()
                assert stream.read(4) == twin.read(4)
                assert stream.tell() == twin.tell()

    @shows("F-2")
    def test_what_lies_before_the_start_cannot_be_reached(self, place: Path) -> None:
        """ValueError, and it stays where it is."""
        with self.open_stream(place, CONTENTS["text"]) as stream:
            stream.seek(4)
            for offset, whence in ((-1, 0), (-5, 1), (-1000, 2)):
                with pytest.raises((ValueError, OSError)):
                    stream.seek(offset, whence)
            assert (stream.tell(), stream.read(2)) == (4, CONTENTS["text"][4:6])

    @shows("F-4", needs=Capability.DAMAGED)
    def test_damage_is_refused_from_start_to_end_and_after_a_jump(self, place: Path) -> None:
        """Whatever was not touched may be given; it is right then."""
        content = LARGE
        self.open_stream(place, content).close()
        self.damage(place, content)
        refused = 0
        for start in (0, *range(1, len(content), 90_000)):
            try:
                with self.open_stream(place, content) as stream:
                    stream.seek(start)
                    is_right = stream.read(len(content)) == content[start:]
                assert is_right, f"what is given from {start} on is not what went in"
            except BlobDamagedError:
                refused += 1
                continue
            assert start, "the whole was read, and the damage was not seen"
        assert refused

    @shows("F-5")
    def test_after_closing_every_use_is_refused(self, place: Path) -> None:
        """By hand or by a `with`; closing again is nothing."""
        with self.open_stream(place, CONTENTS["text"]) as first:
            first.read(3)
        second = self.open_stream(place, CONTENTS["text"])
        assert not second.closed
        second.close()
        for stream in (first, second):
            stream.close()
            assert stream.closed
            uses: tuple[Callable[[Any], object], ...] = (
                lambda s: s.read(1), lambda s: s.tell(), lambda s: s.seek(0), lambda s: s.readline(),
                lambda s: s.readinto(bytearray(1)), lambda s: s.__enter__(), lambda s: next(iter(s)),
            )  # fmt: skip
            for use in uses:
                with pytest.raises(ValueError, match="closed"):
                    use(stream)

    @shows("F-6")
    def test_python_takes_it_for_a_binary_file(self, place: Path) -> None:
        """As text, as JSON, and as archives that jump or stream."""
        lines = "".join(f"line {number} ä\n" for number in range(9_000))
        with io.TextIOWrapper(cast("IO[bytes]", self.open_stream(place, lines.encode())), encoding="utf-8") as text:
            assert text.readline() == "line 0 ä\n"
            mark = text.tell()
            assert text.read(5) == "line "
            text.seek(mark)
            assert text.read() == lines.partition("\n")[2]
        with self.open_stream(place, json.dumps([lines]).encode()) as file:
            assert json.load(file) == [lines]
        zipped, tarred = _archives(MIXED)
        with self.open_stream(place, zipped) as file, zipfile.ZipFile(cast("IO[bytes]", file)) as archive:
            assert archive.read("b") == b"second"
            assert archive.read("a") == MIXED
        with self.open_stream(place, tarred) as file, tarfile.open(fileobj=cast("IO[bytes]", file)) as tar:
            member = tar.extractfile("a")
            assert member is not None
            assert member.read() == MIXED

    @shows("F-7")
    def test_several_on_one_content_do_not_disturb_each_other(self, place: Path) -> None:
        """Read in turns, and by threads."""
        content = CONTENTS["mixed"]
        with self.open_stream(place, content) as one, self.open_stream(place, content) as two:
            assert one.read(10) == content[:10]
            two.seek(100_000)
            assert one.read(10) == content[10:20]
            assert two.read(10) == content[100_000:100_010]
            one.close()
            assert two.read() == content[100_010:]
        streams = [self.open_stream(place, content) for _ in range(4)]
        found: list[bytes] = []

        def drain(stream: ContentStream) -> None:
            with stream:
                found.append(b"".join(iter(lambda: stream.read(9_973), b"")))

        threads = [threading.Thread(target=drain, args=(one,), daemon=True) for one in streams]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_S)
        assert [one == content for one in found] == [True] * 4


def _archives(inner: bytes) -> tuple[bytes, bytes]:
    """A zip file and a tar file with something in them."""
    zipped, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("a", inner)
        archive.writestr("b", b"second")
    with tarfile.open(fileobj=tarred, mode="w") as tar:
        entry = tarfile.TarInfo("a")
        entry.size = len(inner)
        tar.addfile(entry, io.BytesIO(inner))
    return zipped.getvalue(), tarred.getvalue()

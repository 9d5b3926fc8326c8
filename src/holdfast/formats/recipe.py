"""Chapter 3 of store-layout.md: a recipe, the list of chunks that make up one content, as lines of text.

    recipe 1 <digest of the whole> <its bytes> <how many chunks>
    <digest of a chunk> <its bytes>
    …
    end <SHA-256 of all lines before>

The file is these lines in zstd frames, one after the other, so `zstd -dc` prints them.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Iterator
from dataclasses import field

from holdfast.formats import frame
from holdfast.formats.frame import damage
from holdfast.values.frozen import dataclass

VERSION = 1
MAX_BYTES = 256 * 1024 * 1024
"""No recipe's file is longer: at 2 MiB a chunk that would be content of some ten TiB."""

_FRAME_BYTES = 1024 * 1024
_DIGEST_BYTES = 32
_HEAD = re.compile(rb"recipe 1 ([0-9a-f]{64}) (0|[1-9][0-9]{0,18}) ([1-9][0-9]{0,9})")
_LINE = re.compile(rb"([0-9a-f]{64}) ([1-9][0-9]{0,8})")
_END = re.compile(rb"end ([0-9a-f]{64})")


@dataclass(slots=True)
class Recipe:
    """The chunks of one content, in order. `digest`: of the whole, raw. 44 bytes of memory for each chunk."""

    digest: bytes = b""
    digests: bytearray = field(default_factory=bytearray)
    starts: array[int] = field(default_factory=lambda: array("q", [0]))

    def add(self, raw: bytes, size: int) -> None:
        """One more chunk at the end."""
        self.digests += raw
        self.starts.append(self.starts[-1] + size)

    @property
    def size(self) -> int:
        """Bytes of the whole content."""
        return self.starts[-1]

    def __len__(self) -> int:
        """How many chunks there are."""
        return len(self.starts) - 1

    def chunk(self, number: int) -> tuple[bytes, int]:
        """(raw digest, bytes) of a chunk."""
        at = number * _DIGEST_BYTES
        return bytes(self.digests[at : at + _DIGEST_BYTES]), self.starts[number + 1] - self.starts[number]

    def __iter__(self) -> Iterator[tuple[bytes, int]]:
        """(raw digest, bytes) of each chunk."""
        return map(self.chunk, range(len(self)))


def encode(recipe: Recipe) -> Iterator[bytes]:
    """The bytes of a recipe's file, in pieces."""
    proof = hashlib.sha256()
    lines = [b"recipe %d %s %d %d\n" % (VERSION, recipe.digest.hex().encode(), recipe.size, len(recipe))]
    held = 0
    for raw, size in recipe:
        lines.append(b"%s %d\n" % (raw.hex().encode(), size))
        held += len(lines[-1])
        if held >= _FRAME_BYTES:
            text = b"".join(lines)
            proof.update(text)
            yield frame.encode(text)
            lines, held = [], 0
    text = b"".join(lines)
    proof.update(text)
    yield frame.encode(text + b"end %s\n" % proof.hexdigest().encode())


def decode(data: bytes, digest: bytes) -> Recipe:
    """The recipe that is exactly `data`, for the content with a raw digest; BlobDamagedError if it is not that."""
    found, proof = Recipe(), hashlib.sha256()
    head: re.Match[bytes] | None = None
    end: re.Match[bytes] | None = None
    for line in _lines(data):
        if end is not None:
            raise damage("a recipe goes on behind its end")
        if head is None:
            head = _matched(_HEAD, line)
            found.digest = bytes.fromhex(head[1].decode())
        elif line.startswith(b"end "):
            end = _matched(_END, line)
            continue
        else:
            chunk = _matched(_LINE, line)
            found.add(bytes.fromhex(chunk[1].decode()), int(chunk[2]))
        proof.update(line)
        proof.update(b"\n")
    if head is None or end is None:
        raise damage("a recipe without beginning or end")
    if end[1].decode() != proof.hexdigest():
        raise damage("a recipe was altered")
    if (found.size, len(found)) != (int(head[2]), int(head[3])):
        raise damage("the chunks of a recipe are not as many, or as large, as it says")
    if found.digest != digest:
        raise damage("the recipe of another content")
    return found


def _matched(form: re.Pattern[bytes], line: bytes) -> re.Match[bytes]:
    match = form.fullmatch(line)
    if match is None:
        raise damage("a line that no recipe has")
    return match


def _lines(data: bytes) -> Iterator[bytes]:
    """All lines, without their ends; BlobDamagedError where a frame is not ours or the last line has no end."""
    view, rest = memoryview(data), b""
    while view:
        _, length = frame.measure(view)
        lines = (rest + frame.decode(bytes(view[:length]))).split(b"\n")
        rest = lines.pop()
        yield from lines
        view = view[length:]
    if rest:
        raise damage("a recipe is cut off")

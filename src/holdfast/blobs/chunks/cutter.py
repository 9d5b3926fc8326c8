"""Cuts content into chunks at places that its bytes choose (FastCDC), in memory that does not grow with it.

FastCDC: W. Xia and others, "The Design of Fast Content-Defined Chunking for Data Deduplication Based Storage Systems",
IEEE TPDS 2020; the compiled one of pyfastcdc. Where it cuts decides how much is shared, and nothing else: any recipe
can be read, whoever cut it.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from holdfast.blobs.chunks.expected import Expected
from holdfast.blobs.chunks.intake import Window
from holdfast.blobs.compress import read_into
from holdfast.errors import MissingDependencyError
from holdfast.formats import seekable

CUT_FROM = 1024 * 1024
"""Content of fewer bytes is stored whole: so large is the smallest that a stream is not held in memory for."""

AVERAGE = 64 * 1024
"""Measured: docs/design/020. The smallest chunk is a quarter of it, the largest four times as much."""

_LARGEST_AVERAGE = 2 * 1024 * 1024
_WINDOW = 4 * 1024 * 1024


@functools.cache
def _maker() -> Any:
    """The class that cuts, if it is compiled: in pure Python it would cut 11 MB in a second."""
    try:
        found = importlib.import_module("pyfastcdc").FastCDC  # when first used: it costs start-up time
    except ImportError:
        return None
    return found if ".cy." in found.__module__ else None


def available() -> bool:
    """Whether content can be cut here."""
    return _maker() is not None


def average(offset: int) -> int:
    """Bytes of an average chunk that begins at an offset: it grows as frames do, so that recipes stay small."""
    return min(seekable.frame_size(offset, 2 * AVERAGE) // 2, _LARGEST_AVERAGE)


def cut(
    window: Window, *, expected: Expected | None = None, held: bytes = b"", start: int = 0
) -> Iterator[tuple[bytes, memoryview]]:
    """(raw digest, bytes) of the chunks of what windows give until one is not full. The bytes are valid until the next.

    `expected`: chunks of an older content, that need be looked for no border. `held`: what was read before, and is the
    content from the byte `start` on. MissingDependencyError if nothing here can cut.
    """
    if not available():
        raise MissingDependencyError(
            "content cannot be cut: pyfastcdc is missing, or lacks its compiled part", library="pyfastcdc", extra="",
            remedy="Install pyfastcdc from a wheel. Without it large content is stored whole, and all can be read.",
        )  # fmt: skip
    expected = expected or Expected(None)
    ends, size, rest = False, 0, memoryview(held)
    while not ends:
        if size != average(start):
            size = average(start)
            wanted = max(_WINDOW, 8 * size)
            expected.allow(size, average, most=4 * size, slack=wanted + 4 * size)
        view = window(wanted, rest)
        ends = len(view) - len(rest) < wanted
        at = 0
        for raw, length in _pieces(view, size, expected, ends=ends):
            yield raw, view[at : at + length]
            at += length
        rest, start = view[at:], start + at


def _pieces(view: memoryview, size: int, expected: Expected, *, ends: bool) -> Iterator[tuple[bytes, int]]:
    """(raw digest, bytes) of the chunks in a window. Its end is no place that the bytes chose, unless all `ends`."""
    at, end = 0, len(view)
    while at < end:
        length = expected.length
        if length and at + length >= end and not ends:
            return
        if length and at + length <= end:
            raw = hashlib.sha256(view[at : at + length]).digest()
            if expected.is_next(raw):
                yield raw, length
                at += length
                continue
        for chunk in _maker()(size).cut_buf(view[at:]):
            if at + chunk.length == end and not ends:
                return
            raw = hashlib.sha256(view[at : at + chunk.length]).digest()
            known = expected.find(raw)
            yield raw, chunk.length
            at += chunk.length
            if known:
                break


def unhashed(source: BinaryIO) -> Window:
    """Windows of a source of which nobody needs the digest."""

    def window(length: int, held: bytes | memoryview) -> memoryview:
        view = memoryview(bytearray(len(held) + length))
        view[: len(held)] = held
        return view[: len(held) + read_into(source, view[len(held) :])]

    return window

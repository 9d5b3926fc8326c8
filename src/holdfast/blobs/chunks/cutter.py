"""Cuts content into chunks at places that its bytes choose (FastCDC), in memory that does not grow with it.

FastCDC: W. Xia and others, "The Design of Fast Content-Defined Chunking for Data Deduplication Based Storage Systems",
IEEE TPDS 2020; the compiled one of pyfastcdc. Where it cuts decides how much is shared, and nothing else: any recipe
can be read, whoever cut it.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
from collections.abc import Callable, Iterator
from typing import Any

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
    read: Callable[[int], bytes], passed: Callable[[bytes], object], *, held: bytes = b"", start: int = 0
) -> Iterator[memoryview]:
    """The chunks of what `read(length)` gives until it gives less, in order. A chunk is valid until the next one.

    `passed` gets all bytes once, in order, as they are read. `held`: what was read before, and is the content from
    the byte `start` on. MissingDependencyError if nothing here can cut.
    """
    maker = _maker()
    if maker is None:
        raise MissingDependencyError(
            "content cannot be cut: pyfastcdc is missing, or lacks its compiled part", library="pyfastcdc", extra="",
            remedy="Install pyfastcdc from a wheel. Without it large content is stored whole, and all can be read.",
        )  # fmt: skip
    ends = False
    while not ends:
        size = average(start)
        wanted = max(_WINDOW, 8 * size)
        piece = read(wanted)
        ends = len(piece) < wanted
        passed(piece)
        view = memoryview(held + piece if held else piece)
        at = 0
        for chunk in maker(size).cut_buf(view):
            # Where the window ends is no place that the bytes chose, unless the content ends there too.
            if at + chunk.length == len(view) and not ends:
                break
            yield view[at : at + chunk.length]
            at += chunk.length
        held, start = bytes(view[at:]), start + at


def digests_of(read: Callable[[int], bytes]) -> Iterator[tuple[bytes, int]]:
    """(raw digest, bytes) of each chunk of what `read` gives; nothing is stored."""
    for chunk in cut(read, len):
        yield hashlib.sha256(chunk).digest(), len(chunk)

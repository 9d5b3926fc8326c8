"""What a helping process does for whoever adds a tree: lists folders; reads small files, hashes and compresses them.

It knows no store. It is asked and answers over its standard input and output, in the form of Python's own `marshal`
(both ends are the same interpreter), and ends when its input does. Only formats are imported, and late: so it starts in
20 ms.
"""

from __future__ import annotations

import marshal
import os
import signal
import stat
import struct
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

from holdfast.exchange.prefetching import Prefetching, waits
from holdfast.formats.looks import A_FOLDER, LOOKS, decode, encode, node

LENGTH = struct.Struct("<Q")

OPEN_AHEAD = 48
"""So many files are open: the system reads them ahead."""

_YIELDS = 3
"""How much less of a processor those who read take than whoever commits: all wait for that one in the end."""

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0)
_advise: Callable[[int, int, int, int], None] | None = getattr(os, "posix_fadvise", None)
_WANTED = getattr(os, "POSIX_FADV_WILLNEED", 0)


def read_all(paths: Sequence[bytes], looks: Sequence[bytes]) -> list[bytes | None]:
    """The content of small files that still look as was said (formats.looks); None for each other one.

    Where nothing is said of how it looks, what stands in the place of the path is the content.
    """
    contents: list[bytes | None] = []
    ahead: deque[int] = deque()
    opened = 0
    try:
        for number, (path, look) in enumerate(zip(paths, looks, strict=True)):
            while opened < len(paths) and opened < number + OPEN_AHEAD:
                ahead.append(_opened(paths[opened]) if looks[opened] else -1)
                opened += 1
            fd = ahead.popleft()
            contents.append(path if not look else None if fd < 0 else _read(fd, look))
    finally:
        for fd in ahead:
            if fd >= 0:
                os.close(fd)
    return contents


def _opened(path: bytes) -> int:
    """A small file, which the system begins to read; -1 if it cannot be opened so."""
    try:
        fd = os.open(path, _FLAGS)
    except OSError:
        return -1
    try:
        if _advise is not None:
            _advise(fd, 0, 0, _WANTED)
    except OSError:
        pass  # a file system that reads nothing ahead
    return fd


def _read(fd: int, look: bytes) -> bytes | None:
    size, *before = LOOKS.unpack(look)
    try:
        data = os.read(fd, size + 1)
        after = os.fstat(fd)
    except OSError:
        return None
    finally:
        os.close(fd)
    same = [after.st_mtime_ns, after.st_ctime_ns, after.st_ino] == before[:3]
    return data if same and after.st_size == len(data) == size else None


def take_in(
    paths: Sequence[bytes], looks: Sequence[bytes], wanted: bytes, heads: int
) -> tuple[list[bytes | None], dict[int, bytes], Any]:
    """Of each file (as in `read_all`) its raw digest, None for one that looks otherwise by now; the first `heads` bytes
    of those where `wanted` has a 1, by number; and all of it as a Batch: its frames, members and bytes, None if nothing
    could be read.
    """
    import hashlib  # noqa: PLC0415 - likewise

    contents, sha256 = read_all(paths, looks), hashlib.sha256
    found = [None if one is None else sha256(one).digest() for one in contents]
    first = {n: one[:heads] for n, one in enumerate(contents) if one is not None and wanted[n]}
    fresh = {raw: one for raw, one in zip(found, contents, strict=True) if raw is not None and one is not None}
    if not fresh:
        return found, first, None
    from holdfast.formats.appending import prepare  # noqa: PLC0415 - who only looks at folders starts in half the time

    batch = prepare(list(fresh.items()))
    return found, first, (batch.frames, batch.members, batch.stored)


# -- folders -----------------------------------------------------------------------------------------------------------

Seen = tuple[str, list[bytes], bytes, bytes, list[int], list[tuple[bytes, str, str]]]
"""What lies in a folder: why it cannot be listed ("": it can), names in order, how each looks (formats.looks), the same
with folders alike, which of them are folders, and what could not be looked at: name, code, reason."""


def look(path: bytes, names: Sequence[bytes] | None = None, most: int = 1 << 62) -> tuple[Seen, list[bytes]]:
    """What lies in a folder (or these names in it), up to `most` things; and the names of the others."""
    if names is None:
        try:
            names = sorted(os.listdir(path))
        except OSError as error:
            return (error.strerror or str(error), [], b"", b"", [], []), []
    met: list[bytes] = []
    looks: list[bytes] = []
    folders: list[int] = []
    troubles: list[tuple[bytes, str, str]] = []
    prefix = os.path.join(path, b"")
    lstat, is_folder = os.lstat, stat.S_ISDIR
    for raw in names[:most]:
        try:
            facts = lstat(prefix + raw)
            own = encode(facts)
            if own is None:
                raise OSError("a number beyond all bounds")
        except FileNotFoundError:
            troubles.append((raw, "vanished", "it went away while the folder was read"))
            continue
        except OSError as error:
            troubles.append((raw, "unreadable", error.strerror or str(error)))
            continue
        looks.append(own)
        if is_folder(facts.st_mode):
            folders.append(len(met))
        met.append(raw)
    plain = whole = b"".join(looks)
    if folders:
        for number in folders:
            looks[number] = A_FOLDER
        plain = b"".join(looks)
    return ("", met, whole, plain, folders, troubles), list(names[most:])


def below(path: bytes, seen: Seen, own: tuple[int, int]) -> list[bytes]:
    """The folders in one, but for the one with the device and inode `own`."""
    _, met, looks, _, folders, _ = seen
    if not folders:
        return []
    if node(*own) in looks:
        known = [decode(looks, number) for number in folders]
        folders = [n for n, facts in zip(folders, known, strict=True) if (facts.st_dev, facts.st_ino) != own]
    prefix = os.path.join(path, b"")
    return [prefix + met[number] for number in folders]


def look_all(
    paths: Sequence[bytes], most: int, enough: int, own: tuple[int, int], ahead: Prefetching | None = None
) -> tuple[list[tuple[bytes, tuple[Seen, list[bytes]]]], list[bytes]]:
    """What lies in some folders and below them, depth first, until that is `enough`; and the folders not come to."""
    since, told = waits() if ahead is not None else 0, paths
    found: list[tuple[bytes, tuple[Seen, list[bytes]]]] = []
    waiting = list(reversed(paths))
    count = 0
    while waiting and count < enough:
        if ahead is not None and len(told) > 1:
            reached = (enough - count) * len(found) // count if count else len(told)
            ahead.tell(told[1 : 2 + reached])
        path = waiting.pop()
        looked = look(path, None, most)
        found.append((path, looked))
        count += len(looked[0][1]) + 1
        told = below(path, looked[0], own)
        waiting += reversed(told)
    if ahead is not None:
        ahead.waited(since)
    return found, waiting[::-1]


_WORK: dict[str, Callable[..., Any]] = {"take in": take_in, "look": look_all}


def serve(asked: BinaryIO, answers: BinaryIO) -> None:
    """Answer until nobody asks any more."""
    yields = False
    ahead = Prefetching()
    while len(head := asked.read(LENGTH.size)) == LENGTH.size:
        work, given = marshal.loads(asked.read(LENGTH.unpack(head)[0]))  # noqa: S302 - it comes from our own parent
        if work == "take in" and not yields:
            yields = True
            if hasattr(os, "nice"):
                os.nice(_YIELDS)
        if work == "look":
            given = (*given, ahead)
        answer = marshal.dumps(_WORK[work](*given))
        answers.write(LENGTH.pack(len(answer)))
        answers.write(answer)
        answers.flush()
    ahead.close()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever asks is told, and closes the input
    serve(sys.stdin.buffer, sys.stdout.buffer)
    os._exit(0)  # whoever asked waits: there is nothing to tidy up

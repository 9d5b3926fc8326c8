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

from holdfast.formats.looks import A_FOLDER, decode, encode

LENGTH = struct.Struct("<Q")

OPEN_AHEAD = 48
"""So many files are open: the system reads them ahead."""

_YIELDS = 3
"""How much less of a processor those who read take than whoever commits: all wait for that one in the end."""

Looks = tuple[bytes, int, int, int, int]
"""A file and how it looked: path, size, mtime and ctime in nanoseconds, inode."""

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0)
_advise: Callable[[int, int, int, int], None] | None = getattr(os, "posix_fadvise", None)
_WANTED = getattr(os, "POSIX_FADV_WILLNEED", 0)


def read_all(files: Sequence[Looks | bytes]) -> list[bytes | None]:
    """The content of small files that still look as was said; None for each other one. Bytes are given back."""
    contents: list[bytes | None] = []
    ahead: deque[int] = deque()
    opened = 0
    try:
        for number, one in enumerate(files):
            while opened < len(files) and opened < number + OPEN_AHEAD:
                following = files[opened]
                ahead.append(-1 if isinstance(following, bytes) else _opened(following[0]))
                opened += 1
            fd = ahead.popleft()
            contents.append(one if isinstance(one, bytes) else None if fd < 0 else _read(fd, one))
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


def _read(fd: int, looks: Looks) -> bytes | None:
    try:
        data = os.read(fd, looks[1] + 1)
        after = os.fstat(fd)
    except OSError:
        return None
    finally:
        os.close(fd)
    same = (after.st_size, after.st_mtime_ns, after.st_ctime_ns, after.st_ino) == looks[1:]
    return data if same and len(data) == looks[1] else None


def take_in(
    files: Sequence[Looks | bytes], wanted: bytes, heads: int
) -> tuple[list[tuple[bytes, int, bytes] | None], Any]:
    """Of each file its raw digest, size and, where `wanted` has a 1, its first `heads` bytes.

    None for one that looks otherwise by now. And all of it as a Batch: its frames, members and bytes; None if nothing
    could be read.
    """
    import hashlib  # noqa: PLC0415 - likewise

    contents = read_all(files)
    found = [
        None if one is None else (hashlib.sha256(one).digest(), len(one), one[:heads] if want else b"")
        for one, want in zip(contents, wanted, strict=True)
    ]
    fresh: dict[bytes, bytes] = {}
    for one, content in zip(found, contents, strict=True):
        if one is not None and content is not None:
            fresh[one[0]] = content
    if not fresh:
        return found, None
    from holdfast.formats.appending import prepare  # noqa: PLC0415 - who only looks at folders starts in half the time

    batch = prepare(list(fresh.items()))
    return found, (batch.frames, batch.members, batch.stored)


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
    for raw in names[:most]:
        try:
            facts = os.lstat(prefix + raw)
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
        if stat.S_ISDIR(facts.st_mode):
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
    found = []
    for number in folders:
        facts = decode(looks, number)
        if (facts.st_dev, facts.st_ino) != own:
            found.append(os.path.join(path, met[number]))
    return found


def look_all(
    paths: Sequence[bytes], most: int, enough: int, own: tuple[int, int]
) -> tuple[list[tuple[bytes, tuple[Seen, list[bytes]]]], list[bytes]]:
    """What lies in some folders and below them, depth first, until that is `enough`; and the folders not come to."""
    found = []
    waiting = list(reversed(paths))
    count = 0
    while waiting and count < enough:
        path = waiting.pop()
        looked = look(path, None, most)
        found.append((path, looked))
        count += len(looked[0][1]) + 1
        waiting += reversed(below(path, looked[0], own))
    return found, waiting[::-1]


_WORK: dict[str, Callable[..., Any]] = {"take in": take_in, "look": look_all}


def serve(asked: BinaryIO, answers: BinaryIO) -> None:
    """Answer until nobody asks any more."""
    yields = False
    while len(head := asked.read(LENGTH.size)) == LENGTH.size:
        work, given = marshal.loads(asked.read(LENGTH.unpack(head)[0]))  # noqa: S302 - it comes from our own parent
        if work == "take in" and not yields:
            yields = True
            if hasattr(os, "nice"):
                os.nice(_YIELDS)
        answer = marshal.dumps(_WORK[work](*given))
        answers.write(LENGTH.pack(len(answer)))
        answers.write(answer)
        answers.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever asks is told, and closes the input
    serve(sys.stdin.buffer, sys.stdout.buffer)
    os._exit(0)  # whoever asked waits: there is nothing to tidy up

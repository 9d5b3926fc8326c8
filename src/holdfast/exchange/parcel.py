"""A folder or file outside the store that appears whole or not at all: made under a passing name beside its own.

The passing name is `.NAME.holdfast-part`, and whoever works in it holds a lock on it. What a killed process left there
goes when the next one makes the same thing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator

from holdfast import disk
from holdfast.engine.handle import Handle
from holdfast.errors import DestinationDiffersError, InvalidValueError, LockedError
from holdfast.exchange.ground import rename_new

SUFFIX = ".holdfast-part"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def new_folder(handle: Handle, dest: str | bytes | os.PathLike[str]) -> Iterator[str]:
    """A folder to fill; it is durable and has its name `dest` when the block has ended, and is gone if it failed.

    Raises DestinationDiffersError if something other than an empty folder is there, InvalidValueError if it lies in the
    store, LockedError if somebody is making the same one.
    """
    target = os.path.abspath(os.fsdecode(dest))
    _refuse(handle, target)
    part = _part(target)
    with disk.typed("make folder", part), _alone(part):
        yield part
        handle.disk.sync_filesystem(part)
        _name(part, target)
        handle.disk.fsync_dir(os.path.dirname(target))


@contextlib.contextmanager
def new_file(handle: Handle, dest: str | bytes | os.PathLike[str]) -> Iterator[Callable[[bytes], object]]:
    """A file to write; else as `new_folder`: what is at `dest` already is not replaced."""
    target = os.path.abspath(os.fsdecode(dest))
    if os.path.lexists(target):
        raise _taken(target)
    _refuse_store(handle, target)
    part = _part(target)
    with disk.typed("write", target), _alone(part):
        inside = os.path.join(part, "file")
        with open(inside, "xb") as file:
            yield file.write
            file.flush()
            os.fsync(file.fileno())
        _rename(inside, target)
        handle.disk.fsync_dir(os.path.dirname(target))


def _part(target: str) -> str:
    above, name = os.path.split(target)
    return os.path.join(above, f".{name}{SUFFIX}")


@contextlib.contextmanager
def _alone(part: str) -> Iterator[None]:
    """The passing folder, empty and locked; gone at the end, if it has not got another name."""
    os.makedirs(os.path.dirname(part), exist_ok=True)
    fd = _locked(part)
    try:
        yield
    finally:
        if os.path.lexists(part):
            shutil.rmtree(part, ignore_errors=True)
        os.close(fd)


def _locked(part: str) -> int:
    while True:
        with contextlib.suppress(FileExistsError):
            os.mkdir(part)
        fd = os.open(part, _FOLDER)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise LockedError(
                f"somebody is making {part.removesuffix(SUFFIX)} just now", lock=part, holder="another export",
                waited_s=0.0, remedy="Wait until it is done, or choose another destination.",
            ) from None  # fmt: skip
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(fd), os.stat(part)):  # else it was done and named before we had the lock
                break
        os.close(fd)
    for name in os.listdir(part):
        path = os.path.join(part, name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    return fd


def _name(part: str, target: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(target)  # an empty one may be there; a full one is kept, and the name refused
    _rename(part, target)


def _rename(source: str, target: str) -> None:
    above = os.open(os.path.dirname(target), _FOLDER)
    try:
        rename_new((above, os.fsencode(source)), (above, os.fsencode(os.path.basename(target))))
    except FileExistsError:
        raise _taken(target) from None
    finally:
        os.close(above)


def _refuse(handle: Handle, target: str) -> None:
    is_empty_folder = os.path.isdir(target) and not os.path.islink(target) and not os.listdir(target)
    if os.path.lexists(target) and not is_empty_folder:
        raise _taken(target)
    _refuse_store(handle, target)


def _taken(target: str) -> DestinationDiffersError:
    return DestinationDiffersError(
        f"{target!r} is there already", path=target, paths=[target], count=1,
        remedy="Choose another destination, or move what is there away.",
    )  # fmt: skip


def _refuse_store(handle: Handle, target: str) -> None:
    own = handle.facts()
    place = os.path.realpath(target)
    while True:
        with contextlib.suppress(OSError):
            if os.path.samestat(os.stat(place), own):
                raise InvalidValueError(
                    f"{target!r} lies in the store itself", where="dest", reason="store",
                    remedy="Choose a place outside the store.",
                )  # fmt: skip
        above = os.path.dirname(place)
        if above == place:
            return
        place = above

"""An index for readers who may not write: a private copy outside the store, derived anew if its rows can't be trusted.

A write-ahead-logged database cannot be opened on read-only media, and SQLite's `immutable` hides rows that are still
in the log. A copied store that is opened for reading only may not be put right in place either.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass

from holdfast import disk as files
from holdfast.disk import Disk
from holdfast.engine import derive, trust
from holdfast.engine.derive import Judge
from holdfast.engine.handle import Opened
from holdfast.engine.scratch import scratch_folder
from holdfast.engine.trust import Distrust
from holdfast.errors import FormatTooNewError, HoldfastError
from holdfast.formats import paths
from holdfast.formats.marker import Marker
from holdfast.index.sqlite import SqliteIndex, file_identity
from holdfast.journal import Journal


@dataclass(frozen=True, slots=True)
class PrivateIndex:
    """Where the copy is, what making it meant, and how it is given up."""

    path: str
    opened: Opened
    discard: Callable[[], None]


def private_index(root: str, found: Marker, disk: Disk, doubt: Distrust, judge: Judge) -> PrivateIndex:
    """A private index of a store; `doubt` says why its own cannot be used. Nothing in the store is changed."""
    held = contextlib.ExitStack()
    folder, discard = held.enter_context(scratch_folder()), held.close
    try:
        copy = _copy(root, folder)
        if copy is not None and doubt.readable and _trusted(copy, root, disk):
            return PrivateIndex(copy, Opened(), discard)
        derived = os.path.join(folder, "derived.sqlite3")
        old = None if copy is None else derive.old_index(copy)
        try:
            with derive.finished(root, disk) as others:
                result = derive.build(derived, root, found, disk, old=old, others=others, copied=doubt.copied)
            judge(result)
        finally:
            if old is not None:
                old.close()
    except BaseException:
        discard()
        raise
    return PrivateIndex(derived, Opened(rebuilt=True, reason=doubt.reason, transactions=result.transactions), discard)


def _copy(root: str, folder: str) -> str | None:
    """The index with its log, copied; None if there is none."""
    target = os.path.join(folder, paths.INDEX)
    for suffix in ("", "-wal"):
        with contextlib.suppress(FileNotFoundError), files.typed("copy", paths.INDEX + suffix):
            shutil.copyfile(os.path.join(root, paths.INDEX + suffix), target + suffix)
    return target if os.path.isfile(target) else None


def _trusted(copy: str, root: str, disk: Disk) -> bool:
    """Whether the copied file was at home where it came from, works, and is what was last written there."""
    index = SqliteIndex(copy)
    try:
        index.check()
        index.prove_pages(up_to_bytes=trust.PROVEN_AT_OPEN_BYTES)
        at_home = index.meta(derive.IDENTITY) == file_identity(os.path.join(root, paths.INDEX))
        return at_home and not trust.outdated(index, Journal(root, disk))
    except FormatTooNewError:
        raise
    except HoldfastError:
        return False
    finally:
        index.close()

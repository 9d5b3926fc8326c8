"""Which states an export was being brought to: noted beside the tree before the first file of it changes.

A killed export leaves files of the state that it was to have. If the store has gone on since, these are neither as the
last whole export left them nor as the next one makes them, and would be taken for somebody's edits without the note.
"""

from __future__ import annotations

import os

from holdfast import disk
from holdfast.errors import FormatTooNewError, InvalidValueError
from holdfast.exchange.ground import Ground
from holdfast.exchange.tree import Label, label_of

NOTE = b".holdfast-export"
_MOST_BYTES = 1 << 20
_NEW = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


def noted(ground: Ground) -> list[Label]:
    """The states of exports that did not end, oldest first. What is torn or not ours says nothing."""
    found = []
    for line in (ground.read((), NOTE, _MOST_BYTES) or b"").splitlines(keepends=True):
        try:
            found.append(label_of(line))
        except (InvalidValueError, FormatTooNewError):
            continue
    return found


def note(ground: Ground, label: Label) -> None:
    """A state is what comes next. Durable on return."""
    top = ground.folder(())
    with disk.typed("write a file in", ground.top):
        fd = os.open(NOTE, _NEW, 0o666, dir_fd=top)
        try:
            os.write(fd, b"\n" + label.encode())
            os.fsync(fd)
        finally:
            os.close(fd)
        os.fsync(top)


def clear(ground: Ground) -> None:
    """The tree is whole."""
    if ground.look((), NOTE) is not None:
        with disk.typed("remove", ground.top):
            os.unlink(NOTE, dir_fd=ground.folder(()))

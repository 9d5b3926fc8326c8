"""get, cat: contents out of the store, into files and into pipes."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import sys
from typing import TYPE_CHECKING, BinaryIO

import click

from holdfast.cli import text
from holdfast.cli.invocation import Invocation, at_option, command
from holdfast.cli.refs import PATH, artifact
from holdfast.cli.values import FROM_ONE
from holdfast.errors import ConflictError
from holdfast.values.records import SYMLINK_MEDIA_TYPE, Artifact, FileFacts, Revision

if TYPE_CHECKING:
    from holdfast import Store

PERMISSIONS = 0o777
"""Of the stored mode; set-user-id and the like are not given to a file by taking it out."""


@command("cat")
@click.argument("refs", nargs=-1, required=True, type=PATH, metavar="REF...")
@click.option("-r", "--revision", type=FROM_ONE, metavar="N", help="This revision; else the newest.")
@at_option
def cat(inv: Invocation, refs: tuple[str, ...], revision: int | None) -> None:
    """Write contents to standard output.

    Streams in little memory, whatever the size. Every byte is checked; damage ends it with an error. With --json the
    content is not shown, but described.
    """
    with inv.look() as store:
        if inv.json:
            inv.out.document([_described(store, artifact(store, ref), revision) for ref in refs])
            return
        target = sys.stdout.buffer
        for ref in refs:
            store.artifacts.copy_to(artifact(store, ref, deleted=revision is not None), target, revision=revision)
        target.flush()


def _described(store: Store, found: Artifact, number: int | None) -> dict[str, object]:
    wanted = found.revision if number is None else store.artifacts.revision(found, number)
    return {"id": found.id, "path": found.path, "revision": wanted}


@command("get")
@click.argument("ref", type=PATH)
@click.option(
    "-o", "--output", metavar="FILE", type=click.Path(allow_dash=True), help="Where to; a folder, a file, or -."
)
@click.option("-r", "--revision", type=FROM_ONE, metavar="N", help="This revision; else the newest.")
@click.option("-f", "--force", is_flag=True, help="Replace a file that is there.")
@at_option
def get(inv: Invocation, ref: str, output: str | None, revision: int | None, force: bool) -> None:
    """Write a content to a file.

    Without -o the file gets the artifact's name, in the current folder. It appears whole or not at all, with the
    stored mode and time; a symbolic link comes out as a link.
    """
    with inv.look() as store:
        found = artifact(store, ref, deleted=revision is not None)
        wanted = found.revision if revision is None else store.artifacts.revision(found, revision)
        if output == "-":
            store.artifacts.copy_to(found, sys.stdout.buffer, revision=wanted.number)
            return
        target = _target(output, found)
        if _is_device(target):
            with open(target, "wb") as device:
                store.artifacts.copy_to(found, device, revision=wanted.number)
        elif os.path.lexists(target) and not force:
            where = os.fsdecode(target)
            raise ConflictError(f"{where!r} is there already", remedy="Say -f to replace it.", path=where)
        else:
            write_file(store, found, wanted, target)
    inv.out.document({**_described_file(wanted, target), "id": found.id, "path": found.path})
    inv.out.said(f"{text.safe(os.fsdecode(target))}: revision {wanted.number}, {text.size(wanted.size)}")


def _described_file(wanted: Revision, target: bytes) -> dict[str, object]:
    stray = {} if _is_utf8(target) else {"file_hex": target.hex()}
    return {"file": os.fsdecode(target), **stray, "revision": wanted}


def _is_utf8(raw: bytes) -> bool:
    return raw == raw.decode("utf-8", "replace").encode("utf-8")


def _target(output: str | None, found: Artifact) -> bytes:
    if output is None:
        return found.name_bytes
    given = os.fsencode(output)
    return os.path.join(given, found.name_bytes) if os.path.isdir(given) or given.endswith(b"/") else given


def _is_device(target: bytes) -> bool:
    """Whether something other than a file, folder or link is there: it is written to, never replaced."""
    try:
        mode = os.lstat(target).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode))


def write_file(store: Store, found: Artifact, wanted: Revision, target: bytes) -> None:
    """Write a revision to `target` by way of a temporary name beside it, so that it appears whole or not at all."""
    temporary = os.path.join(os.path.dirname(target), b".holdfast-" + secrets.token_hex(8).encode() + b".part")
    try:
        if wanted.media_type == SYMLINK_MEDIA_TYPE:
            os.symlink(store.artifacts.read(found, revision=wanted.number), temporary)
        else:
            _write_regular(store, found, wanted, temporary)
        os.replace(temporary, target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def _write_regular(store: Store, found: Artifact, wanted: Revision, temporary: bytes) -> None:
    opener: BinaryIO
    with open(temporary, "xb") as opener:
        store.artifacts.copy_to(found, opener, revision=wanted.number)
        opener.flush()
        _apply(wanted.file, opener.fileno())
        os.fsync(opener.fileno())


def _apply(file: FileFacts, descriptor: int) -> None:
    if file.mode is not None:
        os.fchmod(descriptor, file.mode & PERMISSIONS)
    if file.mtime_ns is not None:
        os.utime(descriptor, ns=(file.mtime_ns, file.mtime_ns))

"""`import`: an exported tree or a snapshot becomes a store, or is merged into one that has a history of its own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace

from holdfast.engine import open as opening
from holdfast.engine.handle import Handle
from holdfast.engine.recover import Progress
from holdfast.engine.settings import Settings
from holdfast.errors import InvalidValueError, SourceUnreadableError
from holdfast.exchange.archive import Archive
from holdfast.exchange.ground import Ground, Readable
from holdfast.exchange.merge.report import Wish
from holdfast.exchange.tree_import import ImportReport, adopt_tree, refused
from holdfast.exchange.tree_merge import merge_tree
from holdfast.exchange.tree_taking_edits import adopt_edited
from holdfast.formats import paths


def import_path(
    root: str, source: str | bytes | os.PathLike[str], settings: Settings, *, wish: Wish,
    progress: Progress | None = None,
) -> ImportReport:  # fmt: skip
    """Take what `export tree` or `snapshot` wrote into the store at `root`. Durable when it returns, all or nothing.

    A store that is new, or that nothing was written to, becomes equal to the exported one: same ids, seqs, store id and
    end of the chain. Into another one it is merged: as new changes of its own chain in one transaction; the foreign
    chain is kept as a content, and what both changed is decided by `wish`. Everything is checked before anything is
    written. Raises ImportRefusedError, FormatTooNewError, MergeConflictError (nothing was changed), NoSpaceError.
    """
    with _opened(os.fsdecode(source), wish) as ground:
        handle = _with_history(root, settings)
        if handle is None:
            if wish.edits and not wish.exact and not isinstance(ground, Archive):
                return adopt_edited(root, ground, settings, wish=wish, progress=progress)
            return adopt_tree(root, ground, settings, dry_run=wish.dry_run, progress=progress)
        try:
            # A file of bytes is not edited by hand: what differs in a snapshot is damage.
            wish = replace(wish, exact=wish.exact or isinstance(ground, Archive))
            return merge_tree(handle, ground, wish=wish, progress=progress)
        finally:
            handle.close()


@contextlib.contextmanager
def _opened(source: str, wish: Wish) -> Iterator[Readable]:
    """A folder, or a snapshot that is what its list says. ImportRefusedError."""
    if os.path.isdir(source):
        with Ground(source) as ground:
            yield ground
        return
    if not os.path.exists(source):
        raise refused([f"{source}: there is no such folder or file"], 1)
    try:
        archive = Archive(source, most_bytes=wish.most_bytes)
    except (InvalidValueError, SourceUnreadableError) as error:
        raise refused([f"{source}: {error.message}"], 1) from error
    with archive:
        try:
            archive.prove()
        except InvalidValueError as error:
            raise refused([f"{source}: {error.message}"], 1) from error
        yield archive


def _with_history(root: str, settings: Settings) -> Handle | None:
    """The store, if it is one that has been written to."""
    place = opening.place_of(root)
    if not os.path.lexists(os.path.join(place, paths.MARKER)):
        return None
    handle = opening.open_store(place, settings)
    if handle.index.chain.head() is not None or handle.journal.head() is not None:
        return handle
    handle.close()
    return None

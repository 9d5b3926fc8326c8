"""A store whose index somebody else has written: whose it is, whether its rows can be trusted, deriving them anew.

As engine/served.py does for PostgreSQL, with nothing but what index/contract.py names: marker, journal and locks are in
the folder, and index and journal are brought level as always.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace

from holdfast import ram
from holdfast.blobs.contract import BlobStore
from holdfast.disk import Disk
from holdfast.engine import derive, trust
from holdfast.engine.derive import Judge
from holdfast.engine.handle import Opened, handle_on
from holdfast.engine.parts import Opens, Parts, parts_named
from holdfast.engine.recover import Derived
from holdfast.engine.served import JudgeOf, Site, derived, settle
from holdfast.engine.settings import Settings
from holdfast.engine.trust import Distrust
from holdfast.errors import BlobsElsewhereError, HoldfastError, IndexDamagedError, IndexElsewhereError
from holdfast.formats import marker, paths
from holdfast.formats.marker import Marker
from holdfast.index.sql import SqlIndex
from holdfast.index.sqlite import SqliteIndex
from holdfast.journal import Journal


def demanded(parts: Parts) -> tuple[str, ...]:
    """What the marker of a new store is to ask for. IndexElsewhereError if the index is another store's."""
    if parts.index is not None:
        index = parts.index(read_only=False)
        owner = _owner(index)
        if owner is not None:
            index.close()
            raise _of_another(index.path, owner, "")
        parts.index.give_back(index)
    asked = {marker.BLOBS_ELSEWHERE: parts.blobs, marker.INDEX_ELSEWHERE: parts.index}
    return tuple(feature for feature, part in asked.items() if part is not None)


def completed(root: str, found: Marker, settings: Settings) -> Settings:
    """The settings with all parts that the marker asks for: what was not given, the environment names.

    IndexElsewhereError, BlobsElsewhereError: one is lacking, or one was given that this store does not stand on.
    """
    given, named = settings.parts or Parts(), parts_named(found.features)
    parts = Parts(given.blobs or named.blobs, given.index or named.index)
    if parts.blobs is None and marker.BLOBS_ELSEWHERE in found.features:
        raise BlobsElsewhereError(f"the contents of {root} are elsewhere", path=root, reason="elsewhere")
    if parts.blobs is not None and marker.BLOBS_ELSEWHERE not in found.features:
        raise BlobsElsewhereError(
            f"the contents of {root} are in it", path=root, reason="folder",
            remedy="Open it without `blobs`; holdfast.create(FOLDER, blobs=…) makes a store with its contents there.",
        )  # fmt: skip
    if parts.index is None and marker.INDEX_ELSEWHERE in found.features:
        raise IndexElsewhereError(f"the index of {root} is elsewhere", path=root, reason="elsewhere")
    if parts.index is not None and marker.INDEX_ELSEWHERE not in found.features:
        raise IndexElsewhereError(
            f"the index of {root} is not of this kind", path=root, reason="file",
            remedy="Open it without `index`; holdfast.create(FOLDER, index=…) makes a store with its index there.",
        )  # fmt: skip
    return replace(settings, parts=parts)


def blobs_at(root: str, disk: Disk) -> BlobStore | None:
    """Who has the contents of the store in a folder, if they are elsewhere: an open handle knows, or the environment.

    BlobsElsewhereError if neither does.
    """
    if marker.BLOBS_ELSEWHERE not in _features(root, disk):
        return None
    known = handle_on(root)
    found = known.blobs_elsewhere if known is not None else parts_named((marker.BLOBS_ELSEWHERE,)).blobs
    if found is None:
        raise BlobsElsewhereError(f"the contents of {root} are elsewhere", path=root, reason="elsewhere")
    return found


def index_at(root: str) -> Opens | None:
    """What opens the index of the store in a folder, if somebody else has written it. IndexElsewhereError."""
    if marker.INDEX_ELSEWHERE not in _features(root, ram.disk_of(root)):
        return None
    known = handle_on(root)
    found = parts_named((marker.INDEX_ELSEWHERE,)).index if known is None else Opens(known.index)
    if found is None:
        raise IndexElsewhereError(f"the index of {root} is elsewhere", path=root, reason="elsewhere")
    return found


def has_index(root: str, disk: Disk) -> bool:
    """Whether somebody else's index is that of the store in a folder."""
    return marker.INDEX_ELSEWHERE in _features(root, disk)


def _features(root: str, disk: Disk) -> tuple[str, ...]:
    path = os.path.join(root, paths.MARKER)
    try:
        return marker.decode(disk.read_file(path, marker.MAX_BYTES), path, served=True, elsewhere=True).features
    except (HoldfastError, FileNotFoundError):
        return ()


def ready(site: Site, opens: Opens, judge: JudgeOf, *, read_only: bool) -> tuple[SqlIndex, Opened]:
    """The index, with rows that can be trusted; the handles lock is held shared on return. Typed errors.

    Rows that cannot be trusted are derived in a file and taken over; who may only read gets IndexElsewhereError then.
    """
    index = opens(read_only=read_only)
    try:
        site.users.acquire(shared=True, wait_s=site.wait_s)
        doubt = _doubt(site, index)
        if doubt is None:
            settle(site, read_only=read_only)
            return index, Opened()
        if read_only:
            raise IndexElsewhereError(
                f"the rows of {index.path} cannot be trusted: {doubt.reason}", path=site.root, reason="distrusted",
                remedy="Open the store once for writing: that derives them anew.",
            )  # fmt: skip
        result = derived(
            site, lambda: _doubt(site, index),
            lambda found: _replaced(site, index, judge(site.root, site.marker, site.disk, found)),
        )  # fmt: skip
        index.check()
        settle(site, read_only=False)
    except BaseException:
        index.close()
        raise
    if result is None:
        return index, Opened()
    return index, Opened(rebuilt=result.changes > 0, reason=doubt.reason, transactions=result.transactions)


def _owner(index: SqlIndex) -> str | None:
    """Id of the store that the index says it is of; None if it says nothing. Errors of reaching it pass."""
    try:
        index.check()
    except IndexDamagedError as error:
        if error.fields.get("reason") == "no schema":
            return None
        raise
    return index.meta(derive.STORE)


def _doubt(site: Site, index: SqlIndex) -> Distrust | None:
    copied = site.users.elsewhere() is True
    owner = _owner(index)
    if owner is None:
        return Distrust("there is no index there, or it was never finished", copied)
    if owner != site.marker.store_id:
        raise _of_another(index.path, owner, site.root)
    if copied or index.meta(derive.IDENTITY) != index.identity():
        return Distrust("the store or its index was copied", copied)
    reason = trust.outdated(index, Journal(site.root, site.disk))
    return Distrust(reason) if reason else None


def _of_another(place: str, owner: str, root: str) -> IndexElsewhereError:
    return IndexElsewhereError(
        f"{place} has the index of the store {owner}", path=root, reason="other-store",
        remedy="Nothing was touched. Give an index that is empty, or the one that this store had.",
    )  # fmt: skip


def _replaced(site: Site, index: SqlIndex, judge: Judge) -> Derived:
    """Rows are derived in a file, and the index takes them over in one step: a crash in between leaves the old ones."""
    temporary = derive.temporary_index(site.root, site.disk)
    try:
        old = index if _owner(index) == site.marker.store_id else None
        with derive.finished(site.root, site.disk) as more:
            result = derive.build(
                temporary, site.root, site.marker, site.disk, old=old, others=more, elsewhere=site.blobs
            )
        judge(result)
        index.migrate()
        _take_over(index, temporary, site.marker.store_id)
    finally:
        with contextlib.suppress(HoldfastError):
            derive.discard_abandoned(site.root, site.disk)
    return result


def _take_over(index: SqlIndex, path: str, store_id: str) -> None:
    fresh = SqliteIndex(path)
    try:
        fresh.set_meta(derive.IDENTITY, index.identity())
        fresh.set_meta(derive.INCARNATION, os.urandom(16).hex())
        fresh.set_meta(derive.STORE, store_id)
        index.take_over(fresh)
    finally:
        fresh.close()


def blobs_wanted_here(root: str, what: str) -> BlobsElsewhereError:
    """The error of a call that works on files of contents, for a store that has none. `what`: the call."""
    return BlobsElsewhereError(
        f"{what} works on files of contents, and those of {root} are elsewhere", path=root, reason="unsupported",
        remedy="`copy` makes a store with all parts in its folder; `snapshot` and `export_tree` write everything too.",
    )  # fmt: skip

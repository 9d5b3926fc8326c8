"""A store whose index is on a server: whose it is, whether its rows can be trusted, and deriving them anew.

The blobs and the journal stay in the folder. The server has the index's copy of the chain, and what COMMIT acknowledged
is durable there; the journal follows as it does beside a file. The two are brought level as always: so an index that a
fail-over or a restored dump set back catches up from the journal, and a journal that was lost is written anew.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast import disk as disks
from holdfast.blobs.contract import BlobStore
from holdfast.disk import Disk
from holdfast.engine import derive, trust
from holdfast.engine.derive import Judge
from holdfast.engine.handle import Opened, handle_on
from holdfast.engine.locks import HandlesLock, WriterLock
from holdfast.engine.recover import Derived
from holdfast.engine.trust import Distrust
from holdfast.errors import HoldfastError, IndexElsewhereError, MissingDependencyError
from holdfast.formats import marker, paths
from holdfast.formats.marker import Marker
from holdfast.index.sql import SqlIndex
from holdfast.index.sqlite import SqliteIndex
from holdfast.journal import Journal
from holdfast.values.change import Transaction

if TYPE_CHECKING:
    from holdfast.index.postgres.index import PostgresIndex
    from holdfast.index.postgres.place import Place

ENVIRONMENT = "HOLDFAST_INDEX"
_FOLDER = "folder"
"""Says for which folder the rows were made: a copy of one gets them, and may be killed before it is at home there."""
JudgeOf = Callable[[str, Marker, Disk, Distrust], Judge]


@dataclass(frozen=True, slots=True)
class Site:
    """The folder of a store, and its locks. `writer`: None if the caller holds it. `blobs`: who has the contents, where
    they are not in the folder.
    """

    root: str
    marker: Marker
    disk: Disk
    writer: WriterLock | None
    users: HandlesLock
    wait_s: float = 30.0
    blobs: BlobStore | None = None


def ready(site: Site, url: str | None, judge: JudgeOf, *, read_only: bool) -> tuple[PostgresIndex, Opened]:
    """The index at a URL (None: the one that HOLDFAST_INDEX names), with rows that can be trusted.

    The handles lock is held shared on return. Rows that cannot be trusted are derived anew, beside the old ones, which
    are replaced in one step; who may only read gets IndexElsewhereError then. Typed errors.
    """
    made = index_class()
    index = made(_url(site, url), read_only=read_only)
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
        index.close()
        index = made(index.place)
        index.check()
        settle(site, read_only=False)
    except BaseException:
        index.close()
        raise
    if result is None:
        return index, Opened()
    return index, Opened(rebuilt=result.changes > 0, reason=doubt.reason, transactions=result.transactions)


def named(root: str) -> str | None:  # noqa: ARG001
    """The URL that the environment gives for the index of the store in a folder."""
    return os.environ.get(ENVIRONMENT)


def _url(site: Site, url: str | None) -> str:
    url = url or named(site.root)
    if url is None:
        raise IndexElsewhereError(f"the index of {site.root} is in PostgreSQL", path=site.root, reason="postgresql")
    if marker.SERVED not in site.marker.features:
        raise IndexElsewhereError(
            f"the index of {site.root} is a file in it", path=site.root, reason="file",
            remedy="Open the folder without a URL; `holdfast init --index URL` makes a store with an index there.",
        )  # fmt: skip
    return url


def index_class() -> type[PostgresIndex]:
    """What opens an index on a server; MissingDependencyError without the extra."""
    try:
        from holdfast.index.postgres.index import PostgresIndex  # noqa: PLC0415 - it needs an extra
    except ImportError as error:
        raise MissingDependencyError(
            f"an index in PostgreSQL needs {error.name}", library=error.name, extra="postgres",
            remedy="pip install 'holdfast[postgres]'",
        ) from error  # fmt: skip
    return PostgresIndex


def place_of(root: str, disk: Disk) -> str | Place | None:
    """Where the index of a store is, if it is on a server; None if it is a file.

    An open handle of this process knows; else HOLDFAST_INDEX says, or IndexElsewhereError is raised.
    """
    path = os.path.join(root, paths.MARKER)
    try:
        found = marker.decode(disk.read_file(path, marker.MAX_BYTES), path, served=True, elsewhere=True)
    except (HoldfastError, FileNotFoundError):
        return None
    if marker.SERVED not in found.features:
        return None
    known = handle_on(root)
    if known is not None and hasattr(known.index, "place"):
        place: Place = known.index.place
        return place
    url = named(root)
    if url is None:
        raise IndexElsewhereError(f"the index of {root} is in PostgreSQL", path=root, reason="postgresql")
    return url


def index_of(root: str, disk: Disk) -> SqlIndex:
    """The index of a store, wherever it is, as it is."""
    place = place_of(root, disk)
    return SqliteIndex(os.path.join(root, paths.INDEX)) if place is None else index_class()(place)


def features_of(root: str, store_id: str) -> tuple[str, ...]:
    """What the marker of a store has to require, if it was lost: whether the index that is named is this store's."""
    url = named(root)
    if url is None:
        return ()
    with contextlib.suppress(HoldfastError):
        index = index_class()(url, read_only=True)
        try:
            if index.exists() and index.meta(derive.STORE) == store_id:
                return (marker.SERVED,)
        finally:
            index.close()
    return ()


def renew(
    root: str, found: Marker, disk: Disk, users: HandlesLock, *, others: Sequence[Iterator[Transaction]] = (),
    wait_s: float,
) -> Derived:  # fmt: skip
    """Derive the rows of a store anew, whatever they are. The writer lock is held, and `users` exclusively on return.

    `others`: more copies of the chain. LockedError if somebody has the store open.
    """
    place = place_of(root, disk)
    assert place is not None
    index = index_class()(place)
    try:
        if index.exists():
            index.check()
        users.acquire(shared=False, wait_s=wait_s)
        users.sign("deriving the index")
    except BaseException:
        index.close()
        raise
    result = _replaced(Site(root, found, disk, None, users), index, lambda _: None, others)
    users.settle()
    return result


def demand_free(url: str) -> None:
    """Raise unless a new store can have its index at a URL: before anything is made. Typed errors."""
    index = index_class()(url)
    try:
        if not index.exists():
            return
        index.check()
        owner = index.meta(derive.STORE)
        if owner is not None:
            raise _of_another(index.path, owner, "")
    finally:
        index.close()


def _of_another(place: str, owner: str, root: str) -> IndexElsewhereError:
    return IndexElsewhereError(
        f"{place} has the index of the store {owner}", path=root, reason="other-store",
        remedy="Nothing was touched. Give another database, or another ?schema=NAME.",
    )  # fmt: skip


def _serves_another(place: str, root: str) -> IndexElsewhereError:
    """A copy would take the index from under the folder it was copied from, and withdraw there what it lacks itself."""
    return IndexElsewhereError(
        f"{root} is a copy, or was moved to another file system, and {place} serves the folder that it was", path=root,
        reason="copied",
        remedy="Nothing was touched. If the other folder is in use: give this one a schema of its own (?schema=NAME). "
        "If it is gone: `holdfast rebuild` makes the index this folder's.",
    )  # fmt: skip


def settle(site: Site, *, read_only: bool) -> None:
    """The folder's own part of opening: what is to be in it, and who has it open."""
    if read_only:
        return
    for folder in paths.FOLDERS:
        site.disk.mkdir(os.path.join(site.root, folder))
    site.users.sign("has it open")
    site.users.settle()


def _doubt(site: Site, index: PostgresIndex) -> Distrust | None:
    """Why the rows cannot be trusted; None if they can. Errors of reaching the server pass: they tell nothing."""
    copied = site.users.elsewhere() is True
    if not index.exists():
        return Distrust("there is no index there", copied)
    index.check()
    owner = index.meta(derive.STORE)
    if owner not in (None, site.marker.store_id):
        raise _of_another(index.path, str(owner), site.root)
    known = index.meta(derive.IDENTITY)
    if owner is None or known is None:
        return Distrust("the index was never finished", copied)
    if copied and index.meta(_FOLDER) != disks.identity(site.users.path):
        raise _serves_another(index.path, site.root)
    if known != index.identity():
        return Distrust("the index was restored from a dump, or copied")
    reason = trust.outdated(index, Journal(site.root, site.disk))
    return Distrust(reason) if reason else None


def derived(
    site: Site, doubt: Callable[[], Distrust | None], replaced: Callable[[Distrust], Derived]
) -> Derived | None:
    """Derive the rows anew, unless somebody else has while this one waited. The handles lock is held shared after."""
    assert site.writer is not None
    site.users.release()
    site.writer.acquire("deriving the index", wait_s=site.wait_s)
    try:
        site.users.acquire(shared=False, wait_s=site.wait_s)
        found = doubt()
        if found is None:
            return None
        site.users.sign("deriving the index")
        return replaced(found)
    finally:
        site.users.acquire(shared=True, wait_s=site.wait_s)
        site.writer.release()


def _replaced(site: Site, index: PostgresIndex, judge: Judge, others: Sequence[Iterator[Transaction]] = ()) -> Derived:
    """Rows are derived in a file, which takes a tenth of the time, and go over as they are.

    A crash in between leaves the old rows, and a schema beside them that nobody uses.
    """
    temporary = derive.temporary_index(site.root, site.disk)
    fresh = index.beside()
    try:
        old = index if index.exists() else None
        with derive.finished(site.root, site.disk) as more:
            chains = [*others, *more]
            result = derive.build(
                temporary, site.root, site.marker, site.disk, old=old, others=chains, elsewhere=site.blobs
            )
        judge(result)
        _load(fresh, temporary, site)
        fresh.replace(index, keep=result.unreachable > 0 or bool(result.trouble))
    except BaseException:
        with contextlib.suppress(HoldfastError):  # else it lies beside, under a name that nobody looks at
            fresh.drop()
        raise
    finally:
        fresh.close()
        index.close()
        derive.discard_abandoned(site.root, site.disk)
    return result


def _load(fresh: PostgresIndex, path: str, site: Site) -> None:
    source = SqliteIndex(path, read_only=True)
    try:
        fresh.load(source)
    finally:
        source.close()
    fresh.begin()
    fresh.set_meta(derive.IDENTITY, fresh.identity())
    fresh.set_meta(derive.INCARNATION, os.urandom(16).hex())
    fresh.set_meta(derive.STORE, site.marker.store_id)
    fresh.set_meta(_FOLDER, disks.identity(site.users.path))
    fresh.commit()

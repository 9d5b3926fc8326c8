"""What gc does about packs: rewrites those with much garbage, removes those that nothing is in any more.

Steps, each of which a put may come between:
1. merge and rewrite   members with a row go into another pack; the old one is condemned by a date in its row
2. remove              packs condemned, or without any row, for longer than the grace period

A pack that somebody appends to, or that holds content whose rows are not committed yet, is locked, and left alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from holdfast.blobs.packs.writer import PACK_BYTES
from holdfast.engine import repacking
from holdfast.engine.handle import Handle
from holdfast.engine.repacking import Held
from holdfast.engine.transaction import write
from holdfast.errors import NoSpaceError
from holdfast.formats import paths
from holdfast.index.packed import PackRow

LIVE_SHARE = 0.5
"""A pack is rewritten when less than this share of its content has a row."""

SMALL_BYTES = PACK_BYTES // 8
SMALL_MANY = 8
"""So many packs below SMALL_BYTES are merged: each process that writes can leave one."""

_HELD_AT_MOST = 200


@dataclass(frozen=True, slots=True)
class PackingReport:
    """What was done about packs, or would be. Sizes in bytes, of files removed."""

    rewritten: int = 0
    removed: int = 0
    freed_bytes: int = 0


def collect(handle: Handle, *, before_us: int, at_once: bool) -> PackingReport:
    """Both steps. `at_once`: there is no grace period: every pack with garbage is rewritten, and its file goes."""
    done = PackingReport()
    full: NoSpaceError | None = None
    try:
        done = _rewrite(handle, before_us=before_us, at_once=at_once)
    except NoSpaceError as error:
        full = error  # what is empty can go all the same, and makes room
    limit = _condemned(handle, before_us=before_us, at_once=at_once)
    with repacking.holding(handle, _empty(handle, limit)) as held:
        for one in held:
            done = _removed(handle, one, limit, done)
    _forget_missing(handle)
    if full is not None:
        raise full
    return done


def preview(handle: Handle, *, before_us: int, at_once: bool) -> PackingReport:
    """What `collect` would do now; writes nothing."""
    with repacking.holding(handle, _names(handle)) as held:
        packs = handle.index.physical.packs
        wanted = _to_rewrite(packs.all_as_wanted() if at_once else packs.all(), held, at_once=at_once)
        limit = 1 << 62 if at_once else before_us
        going = [one for one in held if _may_go(handle, one, limit)]
        if at_once:
            going += wanted
    return PackingReport(len(wanted), len(going), sum(one.file_bytes for one in going))


def _rewrite(handle: Handle, *, before_us: int, at_once: bool) -> PackingReport:
    """Those first of which least is needed: where space is short, each makes room for the next."""
    done = PackingReport()
    with repacking.holding(handle, _names(handle)) as held:
        rows = handle.index.physical.packs.all()
        live = {row.name: row.content for row in rows}
        for one in sorted(_to_rewrite(rows, held, at_once=at_once), key=lambda one: live[one.name]):
            repacking.rewrite(handle, one.name, lambda: _commit(handle))
            done = replace(done, rewritten=done.rewritten + 1)
            if at_once:
                done = _removed(handle, one, _condemned(handle, before_us=before_us, at_once=True), done)
    return done


def _condemned(handle: Handle, *, before_us: int, at_once: bool) -> int:
    """Condemn what is empty; packs that were condemned up to the time that is returned may go."""
    with write(handle, what="gc: packs") as unit:
        handle.index.physical.packs.condemn(unit.now_us)
        return unit.now_us if at_once else before_us


def _removed(handle: Handle, one: Held, limit: int, done: PackingReport) -> PackingReport:
    with write(handle, what="gc: packs"):
        if not _may_go(handle, one, limit):
            return done
        repacking.remove(handle, one)
    return replace(done, removed=done.removed + 1, freed_bytes=done.freed_bytes + one.file_bytes)


@contextmanager
def _commit(handle: Handle) -> Iterator[object]:
    with write(handle, what="gc: packs") as unit:
        yield unit


def _names(handle: Handle) -> list[str]:
    blobs = repacking.packed(handle)
    return [] if blobs is None else blobs.packs.names()[:_HELD_AT_MOST]


def _to_rewrite(packs: list[PackRow], held: list[Held], *, at_once: bool) -> list[Held]:
    rows = {row.name: row for row in packs if row.members}
    kept = [one for one in held if one.name in rows]
    wanted = [one for one in kept if _is_poor(one, rows[one.name], at_once=at_once)]
    # Small packs of repack are put together by repack, which knows what is similar in them.
    small = [o for o in kept if o not in wanted and o.file_bytes < SMALL_BYTES and not paths.is_repacked(o.name)]
    return wanted + (small if len(small) >= SMALL_MANY else [])


def _is_poor(held: Held, row: PackRow, *, at_once: bool) -> bool:
    share = row.content / max(held.content, 1)
    return held.damaged or share < LIVE_SHARE or (at_once and (held.torn or share < 1))


def _empty(handle: Handle, limit: int) -> list[str]:
    """Packs that no row speaks of, long enough; looked at again once they are held."""
    rows = {row.name: row for row in handle.index.physical.packs.all()}
    return [name for name in _names(handle) if name not in rows or _is_due(rows[name], limit)]


def _is_due(row: PackRow, limit: int) -> bool:
    return not row.members and row.condemned_us is not None and row.condemned_us <= limit


def _may_go(handle: Handle, held: Held, limit: int) -> bool:
    row = handle.index.physical.packs.one(held.name)
    return held.modified_us <= limit if row is None else _is_due(row, limit)


def _forget_missing(handle: Handle) -> None:
    """Rows of packs that are empty and whose file is gone: killed between the two."""
    gone = [
        row.name
        for row in handle.index.physical.packs.all()
        if not row.members and handle.disk.stat(os.path.join(handle.root, paths.pack_file(row.name))) is None
    ]
    if gone:
        with write(handle, what="gc: packs"):
            for name in gone:
                row = handle.index.physical.packs.one(name)
                if row is not None and not row.members:
                    handle.index.physical.packs.forget(name)

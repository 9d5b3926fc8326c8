"""What gc does about packs: rewrites those with much garbage, removes those that nothing is in any more.

Steps, each of which a put may come between:
1. merge and rewrite   members with a row go into another pack; the old one is condemned by a date in its row
2. remove              packs condemned, or without any row, for longer than the grace period

A pack that somebody appends to, or that holds content whose rows are not committed yet, is locked, and left alone.
"""

from __future__ import annotations

import heapq
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from holdfast.blobs.packs.writer import PACK_BYTES
from holdfast.engine import repacking
from holdfast.engine.handle import Handle
from holdfast.engine.repacking import Held
from holdfast.engine.transaction import write
from holdfast.errors import NoSpaceError
from holdfast.formats import paths
from holdfast.index.packed import EVER, PackRow

LIVE_SHARE = 0.5
"""A pack is rewritten when less than this share of its content has a row."""

SMALL_BYTES = PACK_BYTES // 8
SMALL_MANY = 8
"""So many packs below SMALL_BYTES are merged: each process that writes can leave one."""

HELD_AT_MOST = 64
"""So many packs are locked at a time: each takes a file descriptor."""

CHOSEN_AT_MOST = 10_000
"""So many packs are chosen before they are rewritten, and then the rest is looked at: this bounds the memory."""


@dataclass(frozen=True, slots=True)
class PackingReport:
    """What was done about packs, or would be. Sizes in bytes, of files removed."""

    rewritten: int = 0
    removed: int = 0
    freed_bytes: int = 0


@dataclass(slots=True)
class _Found:
    """Packs of one sort, counted; of them `chosen`, those of which least is needed: (minus the bytes needed, name)."""

    many: int = 0
    file_bytes: int = 0
    chosen: list[tuple[int, str]] = field(default_factory=list)

    def add(self, one: Held, needed: int) -> None:
        """Count a pack of which so many bytes are needed."""
        self.many += 1
        self.file_bytes += one.file_bytes
        entry = (-needed, one.name)
        if len(self.chosen) < CHOSEN_AT_MOST:
            heapq.heappush(self.chosen, entry)
        else:
            heapq.heappushpop(self.chosen, entry)


def collect(handle: Handle, *, before_us: int, at_once: bool) -> PackingReport:
    """Both steps. `at_once`: there is no grace period: every pack with garbage is rewritten, and its file goes."""
    done = PackingReport()
    full: NoSpaceError | None = None
    try:
        done = _rewrite(handle, at_once=at_once)
    except NoSpaceError as error:
        full = error  # what is empty can go all the same, and makes room
        done = _remove_empty(handle, before_us, done)
    now_us = _condemned(handle)
    done = _remove_empty(handle, now_us if at_once else before_us, done)
    _forget_missing(handle)
    if full is not None:
        raise full
    return done


def remove_condemned(handle: Handle, *, before_us: int) -> PackingReport:
    """The second step alone, for packs that were condemned before: it frees before it writes."""
    return _remove_empty(handle, before_us, PackingReport())


def preview(handle: Handle, *, before_us: int, at_once: bool) -> PackingReport:
    """What `collect` would do now, after the earlier steps of gc; writes nothing."""
    limit = EVER if at_once else before_us
    poor, small, empty = _survey(handle, at_once=at_once, limit=limit, gone_us=limit)
    rewritten = [poor, small] if small.many >= SMALL_MANY else [poor]
    removed = [*rewritten, empty] if at_once else [empty]
    return PackingReport(
        sum(one.many for one in rewritten), sum(one.many for one in removed), sum(one.file_bytes for one in removed)
    )


# -- looking -----------------------------------------------------------------------------------------------------------


def _survey(
    handle: Handle, *, at_once: bool, limit: int = -1, gone_us: int | None = None
) -> tuple[_Found, _Found, _Found]:
    """All packs that nobody appends to: those with much garbage, other small ones, those that may go as they are.

    `limit`: for how long these must have been empty. `gone_us`: what gc is about to remove counts as removed, as
    `PackRows.named` says.
    """
    poor, small, empty = _Found(), _Found(), _Found()
    lacking = limit >= 0 and repacking.lacks(handle)
    for names in _pages(_names(handle)):
        rows = handle.index.physical.packs.named(names, gone_us=gone_us)
        with repacking.holding(handle, names) as held:
            for one in held:
                row = rows.get(one.name)
                if row is None or not row.members:
                    if _may_go(row, one, limit) and not (lacking and repacking.may_hold_missing(handle, one.name)):
                        empty.add(one, 0)
                elif _is_poor(one, row, at_once=at_once):
                    poor.add(one, row.content)
                elif _is_small(one):
                    small.add(one, row.content)
    return poor, small, empty


def _names(handle: Handle) -> list[str]:
    blobs = repacking.packed(handle)
    return [] if blobs is None else blobs.packs.names()


def _pages(names: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(names), HELD_AT_MOST):
        yield names[start : start + HELD_AT_MOST]


def _is_poor(held: Held, row: PackRow, *, at_once: bool) -> bool:
    share = row.content / max(held.content, 1)
    return held.damaged or share < LIVE_SHARE or (at_once and (held.torn or share < 1))


def _is_small(held: Held) -> bool:
    """Small packs of repack are put together by repack, which knows what is similar in them."""
    return held.file_bytes < SMALL_BYTES and not paths.is_repacked(held.name)


def _may_go(row: PackRow | None, held: Held, limit: int) -> bool:
    """Whether a pack that nothing is in has been so since `limit` or longer; one without a row: has been left alone."""
    return held.modified_us <= limit if row is None else _is_due(row, limit)


def _is_due(row: PackRow, limit: int) -> bool:
    return not row.members and (EVER if row.condemned_us is None else row.condemned_us) <= limit


# -- rewriting ---------------------------------------------------------------------------------------------------------


def _rewrite(handle: Handle, *, at_once: bool) -> PackingReport:
    """Those first of which least is needed: where space is short, each makes room for the next."""
    done = PackingReport()
    while True:
        poor, small, _ = _survey(handle, at_once=at_once)
        found = [poor, small] if small.many >= SMALL_MANY else [poor]
        chosen = [name for _, name in sorted(itertools.chain(*(one.chosen for one in found)), reverse=True)]
        emptied = 0
        for names in _pages(chosen):
            lacking = repacking.lacks(handle)
            with repacking.holding(handle, names) as held:
                for one in held:
                    if _is_wanted(handle, one, at_once=at_once, merge=small in found):
                        is_empty = not repacking.rewrite(handle, one.name, lambda: _commit(handle))
                        emptied += is_empty
                        done = replace(done, rewritten=done.rewritten + 1)
                        if at_once and is_empty:
                            done = _removed(handle, one, _condemned(handle), done, lacking=lacking)
        if not emptied or sum(one.many for one in found) <= len(chosen):
            return done


def _is_wanted(handle: Handle, one: Held, *, at_once: bool, merge: bool) -> bool:
    """Whether a pack is still to be rewritten: since it was chosen, what was in others may have been moved to it."""
    row = handle.index.physical.packs.one(one.name)
    if row is None or not row.members:
        return False
    return _is_poor(one, row, at_once=at_once) or (merge and _is_small(one))


@contextmanager
def _commit(handle: Handle) -> Iterator[object]:
    with write(handle, what="gc: packs") as unit:
        yield unit


# -- removing ----------------------------------------------------------------------------------------------------------


def _condemned(handle: Handle) -> int:
    """Condemn the packs that nothing is in; the date that they have got."""
    with write(handle, what="gc: packs") as unit:
        handle.index.physical.packs.condemn(unit.now_us)
        return unit.now_us


def _remove_empty(handle: Handle, limit: int, done: PackingReport) -> PackingReport:
    """Packs that no row speaks of, long enough; looked at again once they are held."""
    for page in _pages(_names(handle)):
        rows = handle.index.physical.packs.named(page)
        names = [name for name in page if name not in rows or _is_due(rows[name], limit)]
        if names:
            lacking = repacking.lacks(handle)
            with repacking.holding(handle, names) as held:
                for one in held:
                    done = _removed(handle, one, limit, done, lacking=lacking)
    return done


def _removed(handle: Handle, one: Held, limit: int, done: PackingReport, *, lacking: bool) -> PackingReport:
    """`lacking`: some content has no place: then no pack goes in which it could be found."""
    if lacking and repacking.may_hold_missing(handle, one.name):
        return done
    with write(handle, what="gc: packs"):
        if not _may_go(handle.index.physical.packs.one(one.name), one, limit):
            return done
        repacking.remove(handle, one)
    return replace(done, removed=done.removed + 1, freed_bytes=done.freed_bytes + one.file_bytes)


def _forget_missing(handle: Handle) -> None:
    """Rows of packs that are empty and whose file is gone: killed between the two."""
    packs = handle.index.physical.packs
    for row in packs.each():
        if row.members or handle.disk.stat(os.path.join(handle.root, paths.pack_file(row.name))) is not None:
            continue
        with write(handle, what="gc: packs"):
            again = packs.one(row.name)
            if again is not None and not again.members:
                packs.forget(row.name)

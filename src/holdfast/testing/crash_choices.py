"""Chooses among the states that a power loss may leave: all of them where they are few, else corners and draws.

Of a point with few legal states every one is made. Elsewhere six corners come first, then states drawn by a seed. What
counts as one state: which changes of names are there; of each file the sector it ends with, which of its loose sectors
read as zeros, and which that were written over are as before; of what SQLite was doing, which sectors are written.
"""

from __future__ import annotations

import itertools
import math
import os
import random
from collections.abc import Iterator

from holdfast.testing.crash_states import SECTOR, Change, File, Point, State, Torn, state_of
from holdfast.testing.index_watch import WAL_HEAD, IndexSeen
from holdfast.testing.rollback import half_written, torn_journal

CORNERS = (
    "all kept", "all lost", "names kept, bytes lost", "names kept, bytes zero", "names lost, bytes kept", "index gone",
)  # fmt: skip
MODES = ("ordered", "folders", "any")
_WRITES_LOG = ("append", "anew")


def log2_states(found: Point) -> float:
    """How many states are legal at a crash point, as a power of two."""
    naming = [change for change, _ in found.naming]
    bits = float(sum(all(change is not one for one in naming) for change in found.loose_names))
    bits += sum(_log2_contents(found.files[number]) for number in found.loose_files)
    kept = itertools.product((True, False), repeat=len(naming))
    return bits + math.log2(sum(_index_count(found, list(itertools.compress(naming, which))) for which in kept))


def _log2_contents(file: File) -> float:
    """An end at any of the sectors, each before it there or zero: 2^(sectors + 1) - 1 ways; 3 of each written over."""
    sectors = file.loose_sectors
    return len(file.over) * math.log2(3) + (sectors + 1.0 if sectors > 50 else math.log2(2 ** (sectors + 1) - 1))


def _index_count(found: Point, names: list[Change]) -> float:
    """How many states the index may be in, where these changes of names are there."""
    if not found.index:
        return 1
    candidates = found.indexes(names)
    now, then, count = found.index[-1], found.coming, float(len(candidates))
    if then is None or candidates[-1:] != [now]:
        return max(count, 1)
    if then.how == "append" and then.log.startswith(now.log):
        return count + 2.0 ** min(1000, -(-(len(then.log) - len(now.log)) // SECTOR) + 1) - 2
    if then.how in _WRITES_LOG:
        return count + 2.0 ** min(1000, len(_changed(now.log, then.log)))
    if then.how in ("checkpoint", "commit"):
        return count + 2.0 ** min(1000, len(_changed(now.database or b"", then.database or b"")) + 1) - 1
    return count


# -- all of them -------------------------------------------------------------------------------------------------------


def every(found: Point) -> Iterator[State]:
    """Every legal state of a crash point; only for points with few (`log2_states`)."""
    loose = found.loose_names
    contents = [[(n, data) for data in _contents(found.files[n])] for n in found.loose_files]
    for kept in itertools.product((True, False), repeat=len(loose)):
        there = {id(change) for change, keep in zip(loose, kept, strict=True) if keep}
        names = [change for change in found.changes if change.durable or id(change) in there]
        for bytes_of in itertools.product(*contents):
            for seen in _indexes(found, names):
                yield state_of(found, "one of all", names, dict(bytes_of), seen)


def _contents(file: File) -> Iterator[bytes]:
    for ways in itertools.product((None, *Torn), repeat=len(file.over)):
        torn = {number: how for number, how in zip(file.over, ways, strict=True) if how is not None}
        yield from _ends(file.torn(torn), file.durable)


def _ends(whole: bytes, durable: int) -> Iterator[bytes]:
    ends = [*range((durable // SECTOR + 1) * SECTOR, len(whole), SECTOR), len(whole)] if len(whole) > durable else []
    yield whole[:durable]
    for number, end in enumerate(ends, 1):
        for kept in itertools.product((True, False), repeat=number):
            data, start = bytearray(whole[:end]), durable
            for keep, stop in zip(kept, ends, strict=False):
                if not keep:
                    data[start:stop] = bytes(stop - start)
                start = stop
            yield bytes(data)


def _indexes(found: Point, names: list[Change]) -> Iterator[IndexSeen | None]:
    candidates = found.indexes(names)
    if not candidates:
        yield None
    yield from candidates
    then = found.coming
    if then is None or not candidates or _index_count(found, names) == len(candidates):
        return
    now = candidates[-1]
    if then.how == "append" and then.log.startswith(now.log):
        for data in itertools.islice(_contents(File(bytearray(then.log), len(now.log))), 1, None):
            yield IndexSeen("torn", now.database, data, now.identity)
        return
    if then.how in _WRITES_LOG:
        changed = _changed(now.log, then.log)
        for kept in itertools.product((True, False), repeat=len(changed)):
            yield _written_over(now, then, [start for start, keep in zip(changed, kept, strict=True) if keep])
        return
    changed = _changed(now.database or b"", then.database or b"")
    for size in {len(now.database or b""), len(then.database or b"")}:
        for kept in itertools.product((True, False), repeat=len(changed)):
            starts = [start for start, keep in zip(changed, kept, strict=True) if keep]
            yield half_written(now, then, starts, size, SECTOR)


# -- some of them ------------------------------------------------------------------------------------------------------


def corner(found: Point, name: str) -> State:
    """One of CORNERS at a crash point."""
    names = [c for c in found.changes if c.durable or not name.startswith(("all lost", "names lost"))]
    lost: dict[int, bytes] = {}
    for number in found.loose_files:
        file = found.files[number]
        if name in ("all lost", "names kept, bytes lost"):
            lost[number] = file.torn(dict.fromkeys(file.over, Torn.OLD))[: file.durable]
        elif name == "names kept, bytes zero":
            lost[number] = file.torn(dict.fromkeys(file.over, Torn.ZEROS))[: file.durable].ljust(len(file.data), b"\0")
    seen: IndexSeen | None = None
    if (candidates := found.indexes(names)) and name != "index gone":
        seen = candidates[0] if "lost" in name else candidates[-1]
    return state_of(found, name, names, lost, seen)


def drawn(found: Point, rnd: random.Random) -> State:
    """A legal state of a crash point, by chance."""
    mode = rnd.choice(MODES)
    names = _drawn_names(found.changes, mode, rnd)
    lost = {number: _drawn_bytes(found.files[number], rnd) for number in found.loose_files}
    return state_of(found, f"drawn, {mode}", names, lost, _drawn_index(found, names, rnd))


def _drawn_names(changes: list[Change], mode: str, rnd: random.Random) -> list[Change]:
    if mode == "any":
        return [c for c in changes if c.durable or rnd.random() < 0.5]
    if mode == "ordered":
        sure = max((n for n, c in enumerate(changes) if c.durable), default=-1) + 1
        return changes[: rnd.randint(sure, len(changes))]
    limits: dict[str, int] = {}
    for folder in sorted({os.path.dirname(c.operation.path) for c in changes}):
        own = [n for n, c in enumerate(changes) if os.path.dirname(c.operation.path) == folder]
        limits[folder] = rnd.choice([-1, *own])
    return [c for n, c in enumerate(changes) if c.durable or n <= limits[os.path.dirname(c.operation.path)]]


def _drawn_bytes(file: File, rnd: random.Random) -> bytes:
    end = rnd.choice([len(file.data), file.durable, rnd.randint(file.durable, len(file.data))])
    share = rnd.choice([0.0, 0.1, 0.5, 1.0])
    over = {number: rnd.choice([*Torn]) for number in file.over if rnd.random() < share}
    return _torn(file.torn(over)[:end], file.durable, share, rnd)


def _torn(data: bytes, sure: int, share: float, rnd: random.Random) -> bytes:
    """Some sectors of what lies behind `sure` read as zeros."""
    torn = bytearray(data)
    start = sure
    while start < len(torn):
        end = min((start // SECTOR + 1) * SECTOR, len(torn))
        if rnd.random() < share:
            torn[start:end] = bytes(end - start)
        start = end
    return bytes(torn)


def _drawn_index(found: Point, names: list[Change], rnd: random.Random) -> IndexSeen | None:
    if not (candidates := found.indexes(names)):
        return None
    now, then = rnd.choice(candidates), found.coming
    if then is None or rnd.random() < 0.2:
        return now
    if then.how == "append" and then.database == now.database and then.log.startswith(now.log):
        end = rnd.randint(len(now.log), len(then.log))
        log = _torn(then.log[:end], len(now.log), rnd.choice([0.0, 0.0, 0.3]), rnd)
        return IndexSeen("torn", now.database, log, now.identity)
    if then.how in _WRITES_LOG and then.database == now.database:
        share = rnd.choice([0.1, 0.5, 0.9, 1.0])
        return _written_over(now, then, [at for at in _changed(now.log, then.log) if rnd.random() < share])
    if then.how in ("checkpoint", "commit") and now is found.index[-1] and now.database and then.database:
        if then.how == "commit" and rnd.random() < 0.3:
            return torn_journal(now, then, rnd)
        starts = [start for start in _changed(now.database, then.database) if rnd.random() < 0.5]
        return half_written(now, then, starts, rnd.choice([len(now.database), len(then.database)]), SECTOR)
    return now


def _written_over(now: IndexSeen, then: IndexSeen, starts: list[int]) -> IndexSeen:
    """The log while a COMMIT writes to it, with these sectors new. Not cut yet; its head is new and sure, if it is."""
    log = bytearray(now.log.ljust(len(then.log), b"\0"))
    for start in starts:
        piece = then.log[start : start + SECTOR]
        log[start : start + len(piece)] = piece
    log[:WAL_HEAD] = then.log[:WAL_HEAD]
    return IndexSeen("torn", now.database, bytes(log), now.identity)


def _changed(old: bytes, new: bytes) -> list[int]:
    """Where the sectors begin that differ."""
    ends = range(0, max(len(old), len(new)), SECTOR)
    return [start for start in ends if old[start : start + SECTOR] != new[start : start + SECTOR]]

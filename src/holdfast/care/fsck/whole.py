"""Proves packs whole, in the order of their bytes: headers, rows and contents side by side, very many at once.

It only ever says of a pack that all is well. Of any other nothing is said here: its contents are looked at one by one
(blobs.py), and its headers (packs.py), as if this had not been.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from holdfast.blobs.packs import Hole, PackScan, bulk
from holdfast.care.fsck.scene import Scene
from holdfast.errors import HoldfastError
from holdfast.formats.pack import Spot
from holdfast.values import digest as digests

_TOGETHER = 8_000
"""About so many members are compared with their rows, and read, at a time: some 600 bytes each."""

_Members = list[tuple[bytes, Spot]]


@dataclass(slots=True)
class _Seen:
    """What was looked at in a pack. `stored_bytes`: as they count when contents are read one by one."""

    contents: int = 0
    stored_bytes: int = 0
    garbage: int = 0


def prove_packs(scene: Scene) -> None:
    """Add to `scene.whole` the packs in which all is as it should be, and what was looked at to the report."""
    if scene.quick or scene.needs is None or not scene.has_places:
        return
    with contextlib.suppress(HoldfastError):  # the layout has said so
        for name in scene.packs.names():
            with contextlib.suppress(HoldfastError, FileNotFoundError):
                seen = _proven(scene, name)
                if seen is not None:
                    _count(scene, seen)
                    scene.whole.append(name)


def _count(scene: Scene, seen: _Seen) -> None:
    scene.out.checked["packs"] += 1
    scene.out.checked["contents"] += seen.contents
    scene.out.checked["bytes in packs that nothing refers to"] += seen.garbage
    scene.out.read += seen.contents
    scene.out.read_bytes += seen.stored_bytes


def _proven(scene: Scene, name: str) -> _Seen | None:
    """What was seen in a pack; None if there is anything to be looked at more closely."""
    assert scene.needs is not None
    rows = scene.needs.index.physical.packs
    contents, chunks = rows.count(name)
    if chunks:
        return None  # they are read by the recipes that list them
    seen, after = _Seen(), (-1, -1)
    _, total = scene.needs.blobs()
    with scene.packs.scan(name) as scan:
        for members in _members(scan):
            last = members[-1][1]
            garbage = _beside(members, rows.listed(name, after, last.offset), seen)
            if garbage is None or not _has_owners(scene, garbage) or not bulk.are_true(scene.packs, members):
                return None
            after = last.offset, last.start
            scene.out.step(scene.out.read_bytes + seen.stored_bytes, total, "checking blobs", "bytes")
        is_whole = scan.tail == scan.size and not scan.holes
    return seen if is_whole and seen.contents == contents else None


def _members(scan: PackScan) -> Iterator[_Members]:
    """All members of a pack in order, some thousands at a time; the rest of them not, where there is a hole."""
    members: _Members = []
    for part in scan.parts():
        if isinstance(part, Hole):
            return
        members += zip([digest for digest, _ in part.members], part.spots(), strict=True)
        if len(members) >= _TOGETHER:
            yield members
            members = []
    if members:
        yield members


def _beside(members: _Members, rows: list[tuple[bytes, int, int, int, int, int]], seen: _Seen) -> _Members | None:
    """Members that have no row; None if a row is not of any."""
    wanted = [(digest, *spot[1:], 1) for digest, spot in members]  # a member has one frame
    seen.contents += len(rows)
    seen.stored_bytes += sum([row[2] for row in rows])
    if rows == wanted:
        return []
    known = set(rows)
    if len(known) < len(rows) or not known.issubset(wanted):
        return None
    garbage = [member for member, row in zip(members, wanted, strict=True) if row not in known]
    seen.garbage += sum(spot.size for _, spot in garbage)
    return garbage


def _has_owners(scene: Scene, garbage: _Members) -> bool:
    """Whether changes speak of all contents that are here and have their place elsewhere, or none any more."""
    if not garbage:
        return True
    if scene.needs is None or not scene.knows_all:
        return False
    names = {*digests.texts(raw for raw, _ in garbage)}
    return scene.needs.index.physical.spoken(names) == names

"""Checks the packs as such: headers, tables of contents and covers, against the rows that say where content is.

The content of rows is read with all other contents, by digest (blobs.py). Here is read what has no row: bytes that
nobody needs any more are damage all the same where they are not what their header says.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from holdfast.blobs.packs import Hole, PackScan
from holdfast.blobs.packs.writer import opened, somebody_appends
from holdfast.care.fsck.scene import Scene
from holdfast.errors import HoldfastError
from holdfast.formats import paths
from holdfast.formats.pack import Header, Member
from holdfast.index.packed import PackedRow
from holdfast.values import digest as digests

_SUSPECTS = 200


@dataclass(slots=True)
class _Pack:
    """One pack under inspection. `unlisted`: rows of places that no header lists, some of them; `listed_not`: how many.

    `live`: how many rows; `garbage`: bytes of content without a row; `spoiled`: contents among them that are damaged;
    `strangers`: (digest, bytes) of those that no change was seen to speak of; `last`: where the last row's frame is.
    """

    name: str
    rows: Iterator[PackedRow]
    row: PackedRow | None = None
    holes: list[Hole] = field(default_factory=list)
    unlisted: list[PackedRow] = field(default_factory=list)
    strangers: list[tuple[str, int]] = field(default_factory=list)
    listed_not: int = 0
    live: int = 0
    last: int = 0
    garbage: int = 0
    spoiled: int = 0

    def next_row(self) -> None:
        """Go on to the next row."""
        self.row = next(self.rows, None)
        if self.row is not None:
            self.live += 1
            self.last = self.row.spot.offset

    def miss(self, scene: Scene) -> None:
        """The row is not listed where it says; go on to the next. What the index keeps needs no header yet."""
        assert self.row is not None
        spot = self.row.spot
        if scene.kept(spot.pack, spot.offset, spot.stored_bytes) is None:
            self.listed_not += 1
            if len(self.unlisted) < _SUSPECTS:
                self.unlisted.append(self.row)
        self.next_row()

    @property
    def path(self) -> str:
        """Relative to the store."""
        return paths.pack_file(self.name)


def check_packs(scene: Scene) -> None:
    """Every pack that has a file and is not proven, by name. Names that are none are found with the layout."""
    try:
        names = scene.packs.names()
    except HoldfastError:
        return  # the layout has said so
    for number, name in enumerate(names, 1):
        if name not in scene.whole:
            _look_at(scene, name)
        scene.out.step(number, len(names), "checking packs", "packs")


def _look_at(scene: Scene, name: str) -> None:
    rows = scene.needs.index.physical.packs.members(name) if scene.needs is not None else iter(())
    try:
        _check_pack(scene, _Pack(name, rows))
    except FileNotFoundError:
        return  # gc was here
    except HoldfastError as error:
        if not scene.out.has("wrong-type"):
            scene.out.found("unreadable", paths.pack_file(name), error.message)


def _check_pack(scene: Scene, pack: _Pack) -> None:
    pack.next_row()
    with scene.packs.scan(pack.name) as scan:
        for part in scan.parts():
            if isinstance(part, Hole):
                pack.holes.append(part)
            else:
                _check_append(scene, pack, part)
        while pack.row is not None:
            pack.miss(scene)
        scene.out.checked["packs"] += 1
        scene.out.checked["bytes in packs that nothing refers to"] += pack.garbage
        _tell_shape(scene, pack, scan)
    _tell_rows(scene, pack)
    _tell_strangers(scene, pack)


# -- headers and rows, side by side ------------------------------------------------------------------------------------


def _check_append(scene: Scene, pack: _Pack, header: Header) -> None:
    offset, content = -1, b""
    for member in header.each():
        place = (member.offset, member.start)
        while pack.row is not None and pack.row.place < place:
            pack.miss(scene)
        if pack.row is not None and pack.row.place == place:
            if _is_of(pack.row, member):
                pack.next_row()
            else:
                pack.miss(scene)
            continue
        pack.garbage += member.size
        if not scene.quick:
            if member.offset != offset:
                offset, content = member.offset, _content(scene, pack, member)
            _check_garbage(scene, pack, member, content)


def _is_of(row: PackedRow, member: Member) -> bool:
    """Whether a row at the place of a member is that of the member."""
    lengths = (row.spot.stored_bytes, row.spot.size)
    return lengths == (member.stored, member.size) and row.digest == digests.text(member.digest)


def _content(scene: Scene, pack: _Pack, member: Member) -> bytes:
    """The content of a member's frame; nothing if it is damaged: then no digest of a member fits."""
    try:
        return scene.packs.frame(pack.name, member.offset, member.stored)
    except HoldfastError:
        return b""


def _check_garbage(scene: Scene, pack: _Pack, member: Member, content: bytes) -> None:
    """A member without a row: of no use; or all that is left, if no change speaks of it because the chain is lost."""
    if hashlib.sha256(content[member.start : member.start + member.size]).digest() != member.digest:
        pack.spoiled += 1
        return
    if scene.needs is None or not scene.knows_all:
        return
    if scene.needs.index.physical.content_key(digests.text(member.digest)) is None:
        pack.strangers.append((digests.text(member.digest), member.size))


# -- telling -----------------------------------------------------------------------------------------------------------


def _tell_shape(scene: Scene, pack: _Pack, scan: PackScan) -> None:
    """What is wrong with the pack as such. Whoever appends may be in the middle of it.

    Behind the last row lies what nobody has committed. Of several such appends a power loss may take any, so that a
    sound header behind a torn one says nothing.
    """
    if pack.spoiled:
        scene.out.found("pack-garbage", pack.path, f"{pack.spoiled} contents that nothing refers to are damaged")
    if not pack.holes or _is_busy(scene, pack):
        return
    first = pack.holes[0]
    detail = f"from byte {first.offset} on: {first.reason}"
    lost_rows = any(row.spot.offset >= first.offset for row in pack.unlisted)
    if lost_rows or (scan.holes and pack.last > first.offset):
        scene.out.found("pack-damaged", pack.path, detail, offset=first.offset, pack=pack.name)
    else:
        scene.out.found("pack-torn", pack.path, detail, offset=first.offset, length=scan.size - first.offset)


def _tell_rows(scene: Scene, pack: _Pack) -> None:
    """Rows of places that sound headers do not list. Where headers are lost, that has been said."""
    if pack.holes or not pack.unlisted or not scene.has_places:
        return
    with scene.look_again() as confirmed:
        wrong = [row for row in pack.unlisted if _is_still_so(scene, row)]
    doubt = {} if confirmed else {"confirmed": False}
    for row in wrong:
        detail = "the pack lists something else where the index says that it is"
        scene.out.found("blob-row-wrong", pack.path, detail, digest=row.digest, size=row.spot.size, **doubt)


def _tell_strangers(scene: Scene, pack: _Pack) -> None:
    """Sound contents that no change speaks of: looked up again, for the change may have come after its bytes."""
    if not pack.strangers or _is_busy(scene, pack):
        return
    with scene.look_again() as confirmed:
        known = scene.needs.index.physical if scene.needs is not None and scene.knows_all else None
        left = [one for one in pack.strangers if known is not None and known.content_key(one[0]) is None]
    doubt = {} if confirmed else {"confirmed": False}
    for digest, size in left:
        scene.out.found("blob-unreferenced", pack.path, f"{size} bytes", digest=digest, **doubt)


def _is_still_so(scene: Scene, row: PackedRow) -> bool:
    """Whether the row still says so: gc may have moved it, or the bytes came after the pack was scanned."""
    if scene.needs is None:
        return False
    physical = scene.needs.index.physical
    spot = physical.chunk(row.digest) if row.chunk else physical.spot(row.digest)
    return spot == row.spot and not _is_listed(scene, row)


def _is_listed(scene: Scene, row: PackedRow) -> bool:
    with scene.packs.scan(row.spot.pack) as scan:
        for part in scan.parts():
            if isinstance(part, Header) and part.position < row.spot.offset < part.end:
                return any(one.spot(row.spot.pack) == row.spot for one in part.each())
    return False


def _is_busy(scene: Scene, pack: _Pack) -> bool:
    try:
        with opened(scene.disk, os.path.join(scene.root, pack.path)) as fd:
            return somebody_appends(fd)
    except (FileNotFoundError, HoldfastError):
        return False

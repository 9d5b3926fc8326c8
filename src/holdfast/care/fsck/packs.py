"""Checks the packs: what their headers list against the rows that say where content is, in the order of the file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from holdfast.blobs.packs import Hole, PackFolder, PackScan
from holdfast.blobs.packs.writer import opened, somebody_appends
from holdfast.care.fsck.scene import Scene
from holdfast.errors import BlobDamagedError, BlobMissingError, HoldfastError
from holdfast.formats import paths
from holdfast.formats.pack import Header, Member
from holdfast.index.packed import PackedRow
from holdfast.index.physical import Place
from holdfast.values import digest as digests

_SUSPECTS = 200
_USERS_NAMED = 20


@dataclass(slots=True)
class _Pack:
    """One pack under inspection. `suspects`: rows whose content could not be had where they say.

    `sound_unlisted`: rows whose content is right and which no header that could be read lists; `garbage`: bytes of
    content without a row, `spoiled` of them damaged.
    """

    name: str
    folder: PackFolder
    rows: Iterator[PackedRow]
    row: PackedRow | None = None
    holes: list[Hole] = field(default_factory=list)
    suspects: list[PackedRow] = field(default_factory=list)
    live: int = 0
    sound_unlisted: int = 0
    garbage: int = 0
    spoiled: int = 0

    def next_row(self) -> None:
        """Go on to the next row."""
        self.row = next(self.rows, None)
        self.live += self.row is not None

    @property
    def path(self) -> str:
        """Relative to the store."""
        return paths.pack_file(self.name)


def check_packs(scene: Scene) -> None:
    """Every pack that has a file or a row, by name. Names in the folder that are none are found with the layout."""
    folder = PackFolder(scene.root, scene.disk)
    try:
        names = _names(scene, folder)
        for number, name in enumerate(names):
            _check_pack(scene, folder, name)
            scene.out.step(number + 1, len(names), "checking packs", "packs")
    finally:
        folder.close()


def _names(scene: Scene, folder: PackFolder) -> list[str]:
    try:
        files = folder.names()
    except HoldfastError:
        files = []  # the layout has said so
    rows = scene.needs.index.physical.packs.all() if scene.needs is not None else []
    return sorted({*files, *(row.name for row in rows if row.members and isinstance(row.name, str))})


def _check_pack(scene: Scene, folder: PackFolder, name: str) -> None:
    rows = scene.needs.index.physical.packs.members(name) if scene.needs is not None else iter(())
    pack = _Pack(name, folder, rows)
    pack.next_row()
    torn = False
    try:
        with folder.scan(name) as scan:
            for part in scan.parts():
                if isinstance(part, Hole):
                    pack.holes.append(part)
                else:
                    _check_append(scene, pack, part)
            torn = scan.tail < scan.size
            scene.out.checked["packs"] += 1
            _finish(scene, pack)
            _tell_shape(scene, pack, scan, torn=torn)
    except (FileNotFoundError, HoldfastError) as error:
        if not isinstance(error, FileNotFoundError) and not _is_of_another_type(scene, pack):
            scene.out.found("unreadable", pack.path, str(error))
        _finish(scene, pack)
    scene.out.checked["contents in packs"] += pack.live


def _is_of_another_type(scene: Scene, pack: _Pack) -> bool:
    return os.path.lexists(os.path.join(scene.root, pack.path)) and scene.out.has("wrong-type")


def _finish(scene: Scene, pack: _Pack) -> None:
    """The rows behind the last member that a header lists."""
    while pack.row is not None:
        _unlisted(scene, pack, pack.row)
        pack.next_row()
    _look_again(scene, pack)


# -- headers and rows, side by side ------------------------------------------------------------------------------------


def _check_append(scene: Scene, pack: _Pack, header: Header) -> None:
    offset, content = -1, b""
    for member in header.each():
        if member.offset != offset and not scene.quick:
            offset, content = member.offset, _content(pack, member)
        sound = (
            scene.quick or hashlib.sha256(content[member.start : member.start + member.size]).digest() == member.digest
        )
        while pack.row is not None and _place(pack.row) < (member.offset, member.start):
            _unlisted(scene, pack, pack.row)
            pack.next_row()
        if pack.row is None or _place(pack.row) != (member.offset, member.start):
            pack.garbage += member.size
            pack.spoiled += not sound
            if sound:
                _stranger(scene, pack, member)
            continue
        listed = member.spot(pack.name) == pack.row.spot and digests.text(member.digest) == pack.row.digest
        if not (sound and listed):
            _suspect(scene, pack, pack.row)
        pack.next_row()


def _stranger(scene: Scene, pack: _Pack, member: Member) -> None:
    """A member of which no change ever spoke: of no use, or all that is left where the chain is lost."""
    if scene.needs is None or not scene.knows_all:
        return
    digest = digests.text(member.digest)
    if scene.needs.index.physical.content_key(digest) is None and not _is_busy(scene, pack):
        scene.out.found("blob-unreferenced", pack.path, f"{member.size} bytes", digest=digest)


def _content(pack: _Pack, member: Member) -> bytes:
    """The content of a member's frame; nothing if it is damaged: then no digest of a member fits."""
    try:
        return pack.folder.frame(pack.name, member.offset, member.stored)
    except HoldfastError:
        return b""


def _place(row: PackedRow) -> tuple[int, int]:
    return row.spot.offset, row.spot.start


def _unlisted(scene: Scene, pack: _Pack, row: PackedRow) -> None:
    """A row at a place that no header lists: its content may be right all the same."""
    if _trouble(scene, pack, row) is None:
        pack.sound_unlisted += 1
    else:
        _suspect(scene, pack, row)


def _suspect(scene: Scene, pack: _Pack, row: PackedRow) -> None:
    pack.suspects.append(row)
    if len(pack.suspects) >= _SUSPECTS:
        _look_again(scene, pack)


def _trouble(scene: Scene, pack: _Pack, row: PackedRow) -> tuple[str, str] | None:
    """(code, detail) of what is wrong with the content of a row; None if nothing is."""
    try:
        if scene.quick:
            pack.folder.check(row.digest, row.spot)
        else:
            pack.folder.read(row.digest, row.spot)
    except BlobMissingError:
        return "blob-missing", "its pack is gone"
    except BlobDamagedError as error:
        return "blob-damaged", str(error.fields.get("reason") or error.message)
    except HoldfastError as error:
        return "unreadable", error.message
    return None


# -- telling -----------------------------------------------------------------------------------------------------------


def _look_again(scene: Scene, pack: _Pack) -> None:
    """Report what is still wrong when nobody writes: gc may have moved a member since, or removed it."""
    suspects, pack.suspects = pack.suspects, []
    if not suspects or scene.needs is None:
        return
    pack.folder.close()
    with scene.look_again() as confirmed:
        for row in suspects:
            now = _now(scene, row)
            if now is None or now.spot != row.spot:
                continue
            found = _trouble(scene, pack, row)
            if found is not None:
                _tell(scene, pack, row, *found, {} if confirmed else {"confirmed": False})
            else:
                _tell_row(scene, pack, row)


def _now(scene: Scene, row: PackedRow) -> Place | None:
    return None if scene.needs is None else scene.needs.index.physical.place(row.digest)


def _tell_row(scene: Scene, pack: _Pack, row: PackedRow) -> None:
    if scene.has_places:
        scene.out.found(
            "blob-row-wrong", pack.path, "the content is right, but the pack lists another one there", digest=row.digest
        )


def _tell(scene: Scene, pack: _Pack, row: PackedRow, code: str, detail: str, doubt: dict[str, bool]) -> None:
    assert scene.needs is not None
    users, total = scene.needs.users_of(digests.raw(row.digest), _USERS_NAMED)
    if code == "blob-missing" and not total:
        scene.out.found("blob-row-stale", pack.path, detail, digest=row.digest)
        return
    named = [f"{path}@{number}" for path, number in users]
    if total:
        detail += f"; needed by {', '.join(named[:3])}" + (f" and {total - 3} more" if total > 3 else "")
    fields = {"digest": row.digest, "size": row.spot.size, "revisions": named, "revisions_total": total, **doubt}
    scene.out.found(code, pack.path, detail, **fields)


def _tell_shape(scene: Scene, pack: _Pack, scan: PackScan, *, torn: bool) -> None:
    """What is wrong with the pack as such. Whoever appends may be in the middle of it."""
    scene.out.checked["bytes in packs that nothing refers to"] += pack.garbage
    if pack.spoiled:
        scene.out.found("pack-garbage", pack.path, f"{pack.spoiled} contents that nothing refers to are damaged")
    if not pack.holes or _is_busy(scene, pack):
        return
    first = pack.holes[0]
    detail = f"from byte {first.offset} on: {first.reason}"
    if (torn and len(pack.holes) == 1 and not pack.sound_unlisted) or not pack.live:
        scene.out.found("pack-torn", pack.path, detail, offset=first.offset, length=scan.size - first.offset)
    else:
        scene.out.found("pack-damaged", pack.path, detail, offset=first.offset, pack=pack.name)


def _is_busy(scene: Scene, pack: _Pack) -> bool:
    try:
        with opened(scene.disk, os.path.join(scene.root, pack.path)) as fd:
            return somebody_appends(fd)
    except (FileNotFoundError, HoldfastError):
        return False

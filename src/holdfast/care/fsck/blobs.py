"""Checks the blobs: what revisions need against the files that are there, by presence and size or by every byte."""

from __future__ import annotations

import stat as flags
from collections.abc import Iterator

from holdfast.blobs.contract import BlobStat, WalkEntry
from holdfast.care.fsck.chosen import Pair
from holdfast.care.fsck.passes import Pass
from holdfast.care.fsck.reading import read, verified
from holdfast.care.fsck.scene import Scene
from holdfast.errors import BlobDamagedError, BlobMissingError, HoldfastError
from holdfast.formats import paths
from holdfast.index.audit import ContentRow
from holdfast.values import digest as digests

_SUSPECTS = 200
"""So many are looked at again in one short moment without writers."""
_USERS_NAMED = 20


def check_blobs(scene: Scene, *, share: float = 1.0) -> None:
    """Every content and every file of a blob once, in order of digest. `share`: about how much of it is to be read."""
    _, total = scene.needs.blobs() if scene.needs else (0, 0)
    _check(scene, _pairs(scene, tell=True), int(total * share))
    if isinstance(scene.chosen, Pass) and not scene.chosen.unfinished:
        _check(scene, scene.chosen.again(scene, _pairs(scene, tell=False)), 0, again=True)


def count_files(scene: Scene) -> tuple[int, int]:
    """(how many, bytes of) blobs' files, where no row says so."""
    sizes = [0, 0]
    for entry in _files(scene, tell=False):
        sizes = [sizes[0] + 1, sizes[1] + entry.stored_bytes]
    return sizes[0], sizes[1]


def _check(scene: Scene, pairs: Iterator[Pair], total: int, *, again: bool = False) -> None:
    suspects: list[Pair] = []
    chosen, done = scene.chosen, scene.out.read_bytes
    for pair in read(scene, pairs, again=again):
        if not again:
            scene.out.checked["contents"] += pair.row is not None
            chosen.passed(pair)
        if pair.seen is not None or scene.quick or chosen.is_behind(pair):
            done += pair.file_bytes or 0
        scene.out.step(done, max(total, done) or None, "checking blobs", "bytes")
        if pair.row is None and not again and _is_superseded(scene, pair):
            scene.out.checked["files that packs have superseded"] += 1
        if _judge(scene, pair):
            suspects.append(pair)
        if len(suspects) >= _SUSPECTS or (suspects and chosen.due()):
            _look_again(scene, suspects)
            suspects = []
        if not suspects:
            chosen.settled()
    _look_again(scene, suspects)
    chosen.settled()


# -- contents and files, side by side ----------------------------------------------------------------------------------


def _pairs(scene: Scene, *, tell: bool) -> Iterator[Pair]:
    rows, files = _rows(scene), _files(scene, tell=tell)
    row, file = next(rows, None), next(files, None)
    sizes: dict[str, int | None] = {}
    while row is not None or file is not None:
        raw = None if file is None or file.digest is None else digests.raw(file.digest)
        if row is None or (raw is not None and raw < row.digest):
            assert file is not None
            assert raw is not None
            yield Pair(raw, None, file.stored_bytes)
            file = next(files, None)
        elif raw is None or row.digest < raw or row.spot is not None or row.cut:
            # A file of a content that a pack or a recipe has too is met after it, as one that no row speaks of.
            yield Pair(row.digest, row, _stored(scene, row, sizes))
            row = next(rows, None)
        else:
            yield Pair(raw, row, file.stored_bytes if file else None)
            row, file = next(rows, None), next(files, None)


def _stored(scene: Scene, row: ContentRow, sizes: dict[str, int | None]) -> int | None:
    """Bytes of its recipe, or of its frame as far as its pack has them; None if there is no such, or it is loose.

    `sizes` of packs that were looked at, by name: a pack only grows, and whoever is not in what was seen of it is
    looked at again.
    """
    if row.cut:
        facts = scene.facts(paths.recipe_file(row.digest))
        return facts.st_size if facts is not None and flags.S_ISREG(facts.st_mode) else None
    if row.spot is None:
        return None
    pack, end = row.spot.pack, row.spot.offset + row.spot.stored_bytes
    if (sizes.get(pack) or 0) < end:
        facts = scene.facts(paths.pack_file(pack))
        sizes[pack] = None if facts is None else facts.st_size
    size = sizes[pack]
    if (size or 0) < end and scene.kept(pack, row.spot.offset, row.spot.stored_bytes) is not None:
        return row.spot.stored_bytes
    return None if size is None else min(max(size - row.spot.offset, 0), row.spot.stored_bytes)


def _rows(scene: Scene) -> Iterator[ContentRow]:
    """Every content known and not proven, in order of digests. The index may be opened anew: each page asks for it."""
    after = b""
    while scene.needs is not None and (page := scene.needs.contents_after(after, but=scene.whole)):
        yield from page
        after = page[-1].digest


def _files(scene: Scene, *, tell: bool) -> Iterator[WalkEntry]:
    """The blobs' files; `tell`: they are counted, and names that are none are reported."""
    try:
        for entry in scene.blobs.walk():
            if entry.digest is not None:
                scene.out.checked["files"] += tell
                yield entry
            elif tell:
                _tell_stray(scene, entry.path)
    except HoldfastError as error:
        if tell and not scene.out.has("wrong-type"):
            scene.out.found("unreadable", paths.BLOBS + "/", error.message)


def _tell_stray(scene: Scene, path: str) -> None:
    parts = path.split("/")
    facts = scene.facts(path)
    if facts is None:
        return
    fan_out = len(parts) == 2 and len(parts[1]) == 2 and paths.parse_blob_file(parts[1], parts[1] * 32 + ".zst")
    blob = len(parts) == 3 and paths.parse_blob_file(parts[1], parts[2])
    if (fan_out and not flags.S_ISDIR(facts.st_mode)) or blob:
        scene.out.found("wrong-type", path, "it is not a folder" if fan_out else "it is not a regular file")
    else:
        scene.out.found("stray-file", path)


# -- judging -----------------------------------------------------------------------------------------------------------


def _judge(scene: Scene, pair: Pair) -> tuple[str, str] | None:
    """(code, detail) of what is wrong with a pair; None if nothing is."""
    row = pair.row
    if row is None:
        return _judge_unknown(scene, pair)
    if pair.file_bytes is None or isinstance(pair.seen, BlobMissingError):
        if row.wanted:
            return "blob-missing", "its file is gone"
        return ("blob-row-stale", "") if row.stored_bytes is not None else None
    if isinstance(pair.seen, BlobDamagedError):
        return "blob-damaged", str(pair.seen.fields.get("reason") or pair.seen.message)
    if isinstance(pair.seen, HoldfastError):
        return "unreadable", pair.seen.message
    return _judge_row(scene, pair, row)


def _judge_unknown(scene: Scene, pair: Pair) -> tuple[str, str] | None:
    """A file that no row speaks of: of no use, or, where rows cannot be had, perhaps all that is left."""
    if pair.file_bytes is None:
        return None
    damaged = isinstance(pair.seen, BlobDamagedError)
    if scene.needs and scene.has_places and not damaged and _is_superseded(scene, pair):
        return None
    if scene.needs and scene.knows_all:
        return "blob-unreferenced", f"{pair.file_bytes} bytes" + (", damaged" if damaged else "")
    return ("blob-damaged", str(pair.seen)) if damaged else None


def _is_superseded(scene: Scene, pair: Pair) -> bool:
    """Whether a pack has the content too, or a recipe: gc removes the file when it has waited."""
    row = scene.needs.content(pair.raw) if scene.needs else None
    return row is not None and (row.spot is not None or row.cut)


def _judge_row(scene: Scene, pair: Pair, row: ContentRow) -> tuple[str, str] | None:
    """The file is as good as could be seen: is what the index says of it true?"""
    if isinstance(pair.seen, BlobStat) and pair.seen.size != row.size:
        return "size-wrong", f"{pair.seen.size} bytes of content, not {row.size}"
    if not scene.has_places:
        return None
    if row.stored_bytes is None:
        return ("blob-row-missing" if row.wanted else "blob-unreferenced"), f"{pair.file_bytes} bytes"
    if row.stored_bytes != pair.file_bytes:
        # Read whole and found good, it is the row that errs; from outside it looks like a file that was cut.
        code = "blob-damaged" if pair.seen is None else "blob-row-wrong"
        return code, f"a file of {pair.file_bytes} bytes, where the index says {row.stored_bytes}"
    if isinstance(pair.seen, BlobStat) and pair.seen.frames != row.frames:
        return "blob-row-wrong", f"a file of {pair.seen.frames} frames, where the index says {row.frames}"
    return None


def _look_again(scene: Scene, suspects: list[Pair]) -> None:
    """Report what is still wrong when nobody writes: gc and puts may have come between row and file."""
    if not suspects:
        return
    for pair in suspects:
        if not scene.quick:
            pair.seen = verified(scene, pair)
    with scene.look_again() as confirmed:
        still = [(pair, found) for pair in suspects if (found := _judge(scene, _renewed(scene, pair)))]
    for pair, (code, detail) in still:
        scene.chosen.found(pair.raw)
        _tell(scene, pair, code=code, detail=detail, doubt={} if confirmed else {"confirmed": False})
    # What is gone since, or was never wrong, needs no word.


def _renewed(scene: Scene, pair: Pair) -> Pair:
    row = scene.needs.content(pair.raw) if scene.needs else pair.row
    if row is not None and (row.spot is not None or row.cut) and pair.row is None:
        row = None  # a file beside what a pack or a recipe has
    renewed = Pair(pair.raw, row, None, pair.seen)
    size = scene.loose_bytes(pair.raw, renewed.path)
    if row is not None and (row.spot is not None or row.cut):
        size = _stored(scene, row, {})
    renewed.file_bytes = size
    if (renewed.spot, renewed.cut) != (pair.spot, pair.cut) and not scene.quick:
        renewed.seen = verified(scene, renewed)
    if size is not None and (pair.file_bytes is None or isinstance(pair.seen, BlobMissingError)) and not scene.quick:
        renewed.seen = verified(scene, renewed)  # it came back just now
    return renewed


def _tell(scene: Scene, pair: Pair, *, code: str, detail: str, doubt: dict[str, bool]) -> None:
    fields: dict[str, object] = {"digest": digests.text(pair.raw), **doubt}
    if pair.row is not None:
        fields["size"] = pair.row.size
    if scene.needs is not None and code in (
        "blob-missing",
        "blob-damaged",
        "blob-row-missing",
        "size-wrong",
        "unreadable",
    ):
        users, total = scene.needs.users_of(pair.raw, _USERS_NAMED)
        fields |= {"revisions": [f"{path}@{number}" for path, number in users], "revisions_total": total}
        named = ", ".join(f"{path}@{number}" for path, number in users[:3])
        if total:
            detail += f"; needed by {named}" + (f" and {total - 3} more" if total > 3 else "")
    scene.out.found(code, pair.path, detail, **fields)

"""Checks the blobs: what revisions need against the files that are there, by presence and size or by every byte."""

from __future__ import annotations

import stat as flags
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from holdfast.blobs.contract import BlobStat, WalkEntry
from holdfast.care.fsck.scene import Scene
from holdfast.errors import BlobDamagedError, BlobMissingError, HoldfastError
from holdfast.formats import paths
from holdfast.index.audit import ContentRow
from holdfast.values import digest as digests

_WORKERS = 2
_AHEAD = 32
_SUSPECTS = 200
"""So many are looked at again in one short moment without writers."""
_USERS_NAMED = 20


@dataclass(slots=True)
class _Pair:
    """A content and its file, either of which may be missing; `seen`: what reading the file gave."""

    raw: bytes
    row: ContentRow | None
    file_bytes: int | None
    seen: BlobStat | HoldfastError | None = None

    @property
    def path(self) -> str:
        """Where the file is or should be."""
        return paths.blob_file(self.raw)


def check_blobs(scene: Scene) -> None:
    """Every content and every file of a blob once, in order of digest."""
    suspects: list[_Pair] = []
    _, total = scene.needs.blobs() if scene.needs else (0, 0)
    done = 0
    for pair in _read(scene, _pairs(scene)):
        scene.out.checked["contents"] += pair.row is not None
        done += pair.file_bytes or 0
        scene.out.step(done, max(total, done) or None, "checking blobs", "bytes")
        if _judge(scene, pair):
            suspects.append(pair)
        if len(suspects) >= _SUSPECTS:
            _look_again(scene, suspects)
            suspects = []
    _look_again(scene, suspects)


# -- contents and files, side by side ----------------------------------------------------------------------------------


def _pairs(scene: Scene) -> Iterator[_Pair]:
    rows = scene.needs.contents() if scene.needs else iter(())
    files = _files(scene)
    row, file = next(rows, None), next(files, None)
    while row is not None or file is not None:
        raw = None if file is None or file.digest is None else digests.raw(file.digest)
        if row is None or (raw is not None and raw < row.digest):
            assert file is not None
            assert raw is not None
            yield _Pair(raw, None, file.stored_bytes)
            file = next(files, None)
        elif raw is None or row.digest < raw:
            yield _Pair(row.digest, row, None)
            row = next(rows, None)
        else:
            yield _Pair(raw, row, file.stored_bytes if file else None)
            row, file = next(rows, None), next(files, None)


def _files(scene: Scene) -> Iterator[WalkEntry]:
    """The blobs' files; names that are none are reported."""
    try:
        for entry in scene.blobs.walk():
            if entry.digest is not None:
                scene.out.checked["files"] += 1
                yield entry
            else:
                _tell_stray(scene, entry.path)
    except HoldfastError as error:
        if not scene.out.has("wrong-type"):
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


def _read(scene: Scene, pairs: Iterator[_Pair]) -> Iterator[_Pair]:
    """The same pairs in the same order, the files read whole by two threads unless a quick look is enough."""
    if scene.quick:
        yield from pairs
        return
    waiting: deque[tuple[_Pair, Future[BlobStat | HoldfastError | None]]] = deque()
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="holdfast-fsck") as pool:
        try:
            for pair in pairs:
                waiting.append((pair, pool.submit(_verify, scene, pair)))
                if len(waiting) > _AHEAD:
                    yield _done(*waiting.popleft())
            while waiting:
                yield _done(*waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)


def _done(pair: _Pair, future: Future[BlobStat | HoldfastError | None]) -> _Pair:
    pair.seen = future.result()
    return pair


def _verify(scene: Scene, pair: _Pair) -> BlobStat | HoldfastError | None:
    if pair.file_bytes is None:
        return None
    try:
        return scene.blobs.verify(digests.text(pair.raw))
    except HoldfastError as error:
        return error


# -- judging -----------------------------------------------------------------------------------------------------------


def _judge(scene: Scene, pair: _Pair) -> tuple[str, str] | None:
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


def _judge_unknown(scene: Scene, pair: _Pair) -> tuple[str, str] | None:
    """A file that no row speaks of: of no use, or, where rows cannot be had, perhaps all that is left."""
    if pair.file_bytes is None:
        return None
    damaged = isinstance(pair.seen, BlobDamagedError)
    if scene.needs and scene.knows_all:
        return "blob-unreferenced", f"{pair.file_bytes} bytes" + (", damaged" if damaged else "")
    return ("blob-damaged", str(pair.seen)) if damaged else None


def _judge_row(scene: Scene, pair: _Pair, row: ContentRow) -> tuple[str, str] | None:
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


def _look_again(scene: Scene, suspects: list[_Pair]) -> None:
    """Report what is still wrong when nobody writes: gc and puts may have come between row and file."""
    if not suspects:
        return
    for pair in suspects:
        if not scene.quick:
            pair.seen = _verify(scene, pair)
    with scene.look_again() as confirmed:
        still = [(pair, found) for pair in suspects if (found := _judge(scene, _renewed(scene, pair)))]
    for pair, (code, detail) in still:
        _tell(scene, pair, code=code, detail=detail, doubt={} if confirmed else {"confirmed": False})
    # What is gone since, or was never wrong, needs no word.


def _renewed(scene: Scene, pair: _Pair) -> _Pair:
    row = scene.needs.content(pair.raw) if scene.needs else pair.row
    facts = scene.facts(pair.path)
    size = facts.st_size if facts is not None and flags.S_ISREG(facts.st_mode) else None
    renewed = _Pair(pair.raw, row, size, pair.seen)
    if size is not None and (pair.file_bytes is None or isinstance(pair.seen, BlobMissingError)) and not scene.quick:
        renewed.seen = _verify(scene, renewed)  # it came back just now
    return renewed


def _tell(scene: Scene, pair: _Pair, *, code: str, detail: str, doubt: dict[str, bool]) -> None:
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

"""Makes a store of a generation, in a new folder: built in a folder inside it, then moved up, the marker last.

A folder without its marker is no store, so a restore that was killed leaves none where one was asked for. The same
call goes on: every file that is there is compared again, and a store that was whole is only moved.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

from holdfast.care.backup import generations, rewinding
from holdfast.care.backup.destination import Destination
from holdfast.care.backup.folder import Folder
from holdfast.care.backup.report import Finding, RestoreReport
from holdfast.care.backup.rewinding import Point, Taken
from holdfast.care.fsck import check_path
from holdfast.engine import derive, served
from holdfast.engine.open import open_store
from holdfast.engine.recover import Progress
from holdfast.engine.settings import Settings
from holdfast.errors import (
    BackupDamagedError,
    HoldfastError,
    InvalidValueError,
    NotABackupError,
    StorageIOError,
    StoreExistsError,
)
from holdfast.formats import generation, marker, paths
from holdfast.formats.generation import Entry, Generation
from holdfast.formats.marker import Marker
from holdfast.values import canon, moment
from holdfast.values.canon import JSON
from holdfast.values.change import Head
from holdfast.values.loss import Loss

BUILT = "restoring"
"""Where in the new folder the store is built."""

READY = "restored"
"""The same, once it is whole and only has to be moved up."""

NOTE = "restore.json"
"""Beside these, and in them: what is being restored."""

_MARK = f"{paths.TMP}/{paths.MARKER}.restored"
_SAID = f"{paths.TMP}/restored.json"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to restore. `number`: of the generation, None: the newest; `point`: as of an earlier change."""

    number: int | None = None
    point: Point | None = None
    verify: bool = False


@dataclass(slots=True)
class _Done:
    files: int = 0
    bytes: int = 0
    kept: int = 0
    damaged: list[Finding] = field(default_factory=list)
    losses: tuple[Loss, ...] = ()


def restore(
    source: Destination, target: str, wanted: Wanted, settings: Settings, progress: Progress | None = None
) -> RestoreReport:
    """Restore into a new or empty folder. See `holdfast.restore`."""
    began_s = time.monotonic()
    store_id = generations.store_id(source)
    one = chosen(source, wanted.number)
    head, place = _head(source, one, wanted.point), Folder(os.path.abspath(target), settings.disk)
    done = _Done()
    note = {"generation": one.number, "head": head.hash.hex(), "store": store_id}
    if settings.index is not None and not place.here(""):  # else it was interrupted, and may have begun to fill it
        served.demand_free(settings.index)
    _demand_place(place, note)
    place.put(NOTE, canon.encode({"note": note}) + b"\n")
    said = place.read(f"{READY}/{NOTE}") or place.read(_SAID)
    if said is None:
        job = _Job(source, one, Folder(f"{place.root}/{BUILT}", settings.disk), head, settings, progress)
        done.losses = _build(job, done).losses
        place.settle()
        place.put(f"{BUILT}/{NOTE}", _encode(note, done))
        place.move(BUILT, READY)
    else:
        done = _decode(said)
    _move_up(place)
    checked = check_path(place.root, progress=progress) if wanted.verify else None
    return RestoreReport(
        source.where, place.root, one.number, head.next_seq - 1, head.hash.hex(),
        moment.to_datetime(head.time_us) if head.next_seq > 1 else None, done.files, done.bytes, done.kept,
        time.monotonic() - began_s, tuple(done.damaged), one.lacks, done.losses,
        None if checked is None else checked.exit_code, None if checked is None else dict(checked.counts),
    )  # fmt: skip


def _head(source: Destination, one: Generation, point: Point | None) -> Head:
    if point is None:
        return one.head
    with rewinding.index_of(source, one) as index:
        return point.head(index)


@dataclass(frozen=True, slots=True)
class _Job:
    """What is built where."""

    source: Destination
    one: Generation
    place: Folder
    head: Head
    settings: Settings
    progress: Progress | None


def _build(job: _Job, done: _Done) -> Taken:
    """The whole store, opened once; what could not come back."""
    place, one, store_id = job.place, job.one, generations.store_id(job.source)
    for name in place.here(""):
        if name not in (*paths.FOLDERS, paths.INDEX):
            place.remove(name)
    for folder in paths.FOLDERS:
        place.folder(folder)
    for entry in generations.entries(job.source, one.number):
        _restore_file(job, entry, done)
        if job.progress:
            job.progress(done.files, max(done.files, one.files), "restoring", "files")
    for name in _unlisted(job):
        place.remove(name)
    taken = Taken((), ())
    if job.head.next_seq != one.head.next_seq:
        place.remove(paths.INDEX)
        with rewinding.index_of(job.source, one) as later:
            taken = rewinding.rewind(place.root, store_id, later, job.head, job.settings)
    elif place.size(paths.INDEX) is not None:
        derive.adopt(place.local(paths.INDEX), None, store_id)  # without it, opening derives one from the journal
    features: tuple[str, ...] = ()
    if job.settings.index is not None:  # rows are derived there when it is opened
        features = (marker.SERVED,)
        place.remove(paths.INDEX)
    place.settle()
    place.put(paths.MARKER, marker.encode(Marker(store_id, features=features)))
    _demand_opens(job)
    rewinding.carry_over(place.root, job.settings, taken)
    return taken


def _move_up(place: Folder) -> None:
    """Everything of the store into the folder that was asked for. The marker is the last step: then it is one."""
    for name in place.here(READY):
        if name not in (paths.MARKER, NOTE):
            place.move(f"{READY}/{name}", name)
    for name, second in ((paths.MARKER, _MARK), (NOTE, _SAID)):
        if place.size(f"{READY}/{name}") is not None:
            place.move(f"{READY}/{name}", second)
    place.remove(READY)
    place.remove(NOTE)
    place.settle()
    place.move(_MARK, paths.MARKER)
    place.remove(_SAID)


def chosen(source: Destination, number: int | None) -> Generation:
    """The generation of a number, or the newest one. NotABackupError, BackupDamagedError."""
    if number is not None:
        return generations.read(source, number)
    one = generations.newest(source)
    if one is None:
        raise NotABackupError(
            f"no backup to {source.where} was ever finished", path=source.where,
            remedy="Run `holdfast backup` again: it goes on where it stopped.",
        )  # fmt: skip
    return one


def _demand_place(place: Folder, note: JSON) -> None:
    """A new or empty folder, or one in which the same restore was interrupted. StoreExistsError."""
    here = set(place.here(""))
    if paths.MARKER in here:
        raise StoreExistsError(
            f"there is a store at {place.where}", path=place.where,
            remedy="Restore to a new folder: nothing that is there is ever overwritten.",
        )  # fmt: skip
    halves = {name for name in here if name.startswith(f"{NOTE}.")}  # killed while it said what it was to be
    if here == halves:
        _remove_all(place, halves)
        return
    data = place.read(NOTE) or place.read(_SAID)
    if data is None:
        raise StoreExistsError(f"{place.where} is not empty", path=place.where, remedy="Name an empty or a new folder.")
    if _note_in(data) != note:
        raise StoreExistsError(
            f"a restore of something else to {place.where} was interrupted", path=place.where,
            remedy="Finish that one with the same command, or remove the folder, or choose a new one.",
        )  # fmt: skip
    _remove_all(place, halves)


def _remove_all(place: Folder, names: set[str]) -> None:
    for name in names:
        place.remove(name)


def _note_in(data: bytes) -> JSON:
    with contextlib.suppress(InvalidValueError, KeyError, TypeError):
        return canon.decode(data)["note"]
    return None


def _encode(note: JSON, done: _Done) -> bytes:
    """What a restore has to report, for the case that it is interrupted before it has."""
    losses = [{**asdict(one), "revisions": list(one.revisions), "fields": list(one.fields)} for one in done.losses]
    return canon.encode({"done": {**asdict(done), "losses": losses}, "note": note}) + b"\n"


def _decode(data: bytes) -> _Done:
    value = canon.decode(data)["done"]
    losses = [Loss(**{**one, "revisions": tuple(one["revisions"]), "fields": tuple(one["fields"])})
              for one in value.pop("losses")]  # fmt: skip
    damaged = [Finding(**one) for one in value.pop("damaged")]
    return _Done(**value, damaged=damaged, losses=tuple(losses))


# -- files -------------------------------------------------------------------------------------------------------------


def _restore_file(job: _Job, entry: Entry, done: _Done) -> None:
    if entry.path == paths.MARKER:
        return  # written when all else is there
    done.files += 1
    done.bytes += entry.size
    if job.place.size(entry.path) == entry.size and _digest(job.place.blocks(entry.path)) == entry.digest:
        done.kept += 1
        return
    name = f"{generation.folder_of(job.one.number)}/{entry.path}"
    reason = _copied(job, name, entry)
    if reason:
        job.place.remove(entry.path)
        done.damaged.append(Finding(job.one.number, name, reason))


def _copied(job: _Job, name: str, entry: Entry) -> str:
    """Why a file could not be had; "" if it is what was written."""
    digest, failed = hashlib.sha256(), ""

    def passing() -> Iterator[bytes]:
        nonlocal failed
        try:
            for block in job.source.blocks(name):
                digest.update(block)
                yield block
        except BackupDamagedError as error:
            failed = str(error.fields["reason"])
        except StorageIOError as error:
            failed = error.message

    job.place.write(entry.path, passing())
    return failed or ("" if digest.hexdigest() == entry.digest else "it is not what was written")


def _digest(blocks: Iterator[bytes]) -> str:
    found = hashlib.sha256()
    for block in blocks:
        found.update(block)
    return found.hexdigest()


def _unlisted(job: _Job) -> list[str]:
    """What an interrupted restore of another generation left."""
    listed = generations.entries(job.source, job.one.number)
    entry, found = next(listed, None), []
    for folder in generation.COPIED:
        for path in job.place.names(folder):
            order = generation.order_of(path)
            while entry is not None and entry.order < order:
                entry = next(listed, None)
            if entry is None or entry.order != order:
                found.append(path)
    return found


def _demand_opens(job: _Job) -> None:
    """The restored store opens and ends where it is to end. BackupDamagedError."""
    target, head = job.place.root, job.head
    try:
        handle = open_store(target, job.settings)
    except HoldfastError as error:
        raise BackupDamagedError(
            f"{target} was restored as far as the backup is whole, and does not open: {error.message}", path=target,
            reason=error.message, remedy="Run `holdfast fsck --repair` on it, or restore another generation.",
        ) from error  # fmt: skip
    try:
        found = handle.index.chain.head() or handle.origin
    finally:
        handle.close()
    if found.hash != head.hash:
        raise BackupDamagedError(
            f"{target} ends at change {found.next_seq - 1}, and the backup at {head.next_seq - 1}", path=target,
            reason="another head", remedy="Run `holdfast backup verify`, and restore another generation.",
        )  # fmt: skip

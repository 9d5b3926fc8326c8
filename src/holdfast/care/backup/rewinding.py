"""A restored store as it was at an earlier change, with what was taken from it since said in its own history.

The chain ends where it ended then. What was redacted or purged later cannot come back: one transaction behind that end
announces it again, so that the store is sound and its log says what it lacks.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import datetime

from holdfast.blobs import LocalBlobs
from holdfast.blobs.chunks import RecipeFolder
from holdfast.blobs.packs import PackFolder
from holdfast.care.backup.destination import Destination
from holdfast.care.backup.folder import Folder
from holdfast.engine import derive
from holdfast.engine.open import open_store
from holdfast.engine.scratch import scratch_folder
from holdfast.engine.settings import Settings
from holdfast.engine.transaction import write
from holdfast.errors import InvalidValueError
from holdfast.formats import generation, lines, paths
from holdfast.formats.generation import Generation
from holdfast.formats.lines import Located
from holdfast.formats.marker import Marker
from holdfast.index.sql import SqlIndex
from holdfast.index.sqlite import SqliteIndex
from holdfast.index.stored import StoredFiles
from holdfast.journal import Journal
from holdfast.values import canon, moment
from holdfast.values.change import Body, Head
from holdfast.values.frozen import dataclass
from holdfast.values.loss import Loss
from holdfast.values.records import RevisionState

NOTE = "taken since, and carried over by a restore"


@dataclass(frozen=True, slots=True)
class Point:
    """A change by its number, or the last one committed up to a time (microseconds). The whole transaction counts."""

    seq: int | None = None
    time_us: int | None = None

    def head(self, index: SqlIndex) -> Head:
        """The end of the chain at that point. InvalidValueError if there was nothing yet, or is no such change."""
        seq = self.seq if self.seq is not None else index.chain.seq_at((self.time_us or 0) + 1) - 1
        found = index.chain.at(seq) if seq > 0 else None
        if found is None:
            end = index.chain.head()
            what = f"change {seq}" if self.seq is not None else f"change up to {moment.to_text(self.time_us or 0)}"
            raise InvalidValueError(
                f"there is no {what} in this generation, which goes up to change {end.next_seq - 1 if end else 0}",
                where="at", reason="absent",
                remedy="Give the number or time of a change that it has; `holdfast log` shows them.",
            )  # fmt: skip
        return found.head


def point(at: int | str | datetime | None) -> Point | None:
    """A point from a seq, an ISO 8601 time with a zone, or an aware datetime; InvalidValueError."""
    if at is None:
        return None
    if isinstance(at, int):
        return Point(seq=at)
    return Point(time_us=moment.from_text(at) if isinstance(at, str) else moment.from_datetime(at))


@contextlib.contextmanager
def index_of(source: Destination, one: Generation) -> Iterator[SqlIndex]:
    """The index of a generation, to be read; from a copy where the destination is not on this machine."""
    name = f"{generation.folder_of(one.number)}/{paths.INDEX}"
    with contextlib.ExitStack() as held:
        path = source.local(name)
        if path is None:
            place = Folder(held.enter_context(scratch_folder()))
            place.write(paths.INDEX, source.blocks(name))
            path = place.local(paths.INDEX)
        index = SqliteIndex(path, read_only=True)
        held.callback(index.close)
        yield index


@dataclass(frozen=True, slots=True)
class Taken:
    """What cannot come back: the changes that say so again, and the same for people."""

    bodies: tuple[Body, ...]
    losses: tuple[Loss, ...]


def rewind(root: str, store_id: str, later: SqlIndex, head: Head, settings: Settings) -> Taken:
    """Make what was restored end at `head`: journal cut, rows derived anew, files of later contents removed."""
    disk = settings.disk
    journal = Journal(root, disk)
    _cut_journal(Folder(root, disk), journal, head)
    derive.replace_index(root, Marker(store_id), disk, copied=False)
    index = SqliteIndex(os.path.join(root, paths.INDEX))
    try:
        _remove_unneeded(root, settings, index)
        taken = _taken(index, later, head)
        explained = {(loss.id, number) for loss in taken.losses for number in loss.revisions}
        missing = tuple(
            Loss("missing", 0, record_id, (number,)) for record_id, number in StoredFiles(index.database).missing()
            if (record_id, number) not in explained
        )  # fmt: skip
        return Taken(taken.bodies, taken.losses + missing)
    finally:
        index.close()


def carry_over(root: str, settings: Settings, taken: Taken) -> None:
    """One transaction that announces what was taken since."""
    if not taken.bodies:
        return
    handle = open_store(root, settings)
    try:
        with write(handle, note=NOTE, what="restore") as unit:
            for body in taken.bodies:
                unit.change({key: value for key, value in body.items() if key not in ("note", "run")})
    finally:
        handle.close()


def _cut_journal(place: Folder, journal: Journal, head: Head) -> None:
    for first, _, path in journal.segments():
        name = f"{paths.JOURNAL}/{os.path.basename(path)}"
        if first >= head.next_seq:
            place.remove(name)
            continue
        end = last = 0
        for item in lines.scan(journal.blocks(path)):
            if isinstance(item, Located):
                last = item.transaction.head.next_seq
                if last <= head.next_seq:
                    end = item.offset + item.length
        if last > head.next_seq:
            data = list(_up_to(journal.blocks(path), end))
            place.remove(name)
            place.write(paths.segment_file(first), iter(data))


def _up_to(blocks: Iterator[bytes], end: int) -> Iterator[bytes]:
    for block in blocks:
        yield block[: max(0, end)]
        end -= len(block)


def _remove_unneeded(root: str, settings: Settings, index: SqlIndex) -> None:
    """Files of contents that no change up to here speaks of."""
    place = Folder(root, settings.disk)
    for entry in list(LocalBlobs(root, settings.disk).walk()):
        if entry.digest is not None and index.physical.place(entry.digest) is None:
            place.remove(entry.path)
    for entry in list(RecipeFolder(root, settings.disk).walk()):
        if entry.digest is not None and index.physical.place(entry.digest) is None:
            place.remove(entry.path)
    packs = PackFolder(root, settings.disk)
    for name in packs.names():
        if index.physical.packs.one(name) is None:
            place.remove(paths.pack_file(name))


def _taken(index: SqlIndex, later: SqlIndex, head: Head) -> Taken:
    bodies: list[Body] = []
    losses: list[Loss] = []
    for data in later.chain.read(head.next_seq):
        transaction = lines.decode(data, "a transaction of the index")
        for seq, raw in enumerate(transaction.bodies, transaction.entry.first):
            if seq < head.next_seq or (b'"action":"redact"' not in raw and b'"action":"purge"' not in raw):
                continue
            body = canon.decode(raw)
            found = _still(index, body, head) if body["action"] in ("redact", "purge") else None
            if found is not None:
                bodies.append(found)
                losses.append(_loss(seq, found))
    return Taken(tuple(bodies), tuple(losses))


def _still(index: SqlIndex, body: Body, head: Head) -> Body | None:
    """What a later change takes of a record as it was then; None if nothing."""
    key = index.key_of(body["id"])
    if key is None:
        return None
    history = index.artifacts.history(key, body["id"]) if body["kind"] == "artifact" else []
    there = {one.number: one for one in history}
    numbers = [number for number in body.get("revisions", ()) if number in there]
    if body["action"] == "purge":
        gone = [n for n in numbers if there[n].state is RevisionState.KEPT
                and index.physical.place(there[n].digest) is None]  # fmt: skip
        return {**body, "revisions": gone} if gone else None
    erased = [item for item in body["erased"] if item["seq"] < head.next_seq]
    if not erased:
        return None
    left = {name: value for name, value in body.items() if name != "revisions"}
    return {**left, "erased": erased, **({"revisions": numbers} if numbers else {})}


def _loss(seq: int, body: Body) -> Loss:
    what = "purged" if body["action"] == "purge" else "redacted"
    fields = sorted({name for item in body.get("erased", ()) for name in item["fields"]})
    return Loss(what, seq, body["id"], tuple(body.get("revisions", ())), tuple(fields))

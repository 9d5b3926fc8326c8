"""Closes the gaps that a file-by-file copy of a growing journal has between two segments.

A copying tool that reaches one segment early and the next one late gets the first as it was and the second as it
became. What is missing between them the copied index may have: then it is appended where it belongs. Where it has not,
what stands beyond the gap was committed after the copying began, leads nowhere, and goes to quarantine whole.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os

from holdfast.disk import Disk
from holdfast.engine import torn
from holdfast.errors import ChainBrokenError, HoldfastError
from holdfast.formats import lines, paths
from holdfast.index.sql import SqlIndex
from holdfast.journal import Journal
from holdfast.values.change import Head

MARGIN_S = 3600.0
"""The oldest file of a copy tells when its copying had begun, not when it began."""

log = logging.getLogger("holdfast.engine")


def close(root: str, disk: Disk, journal: Journal, index: SqlIndex, *, began_us: int) -> None:
    """Make a copied journal one piece of the chain again; `began_us`: the time of the copy's oldest file.

    Nothing is touched where a gap may be damage: inside a segment, or before something older than the copy. Under the
    writer lock, with an index that was derived from all there is.
    """
    segments = _segments(journal)
    for (first, path), (following, _) in itertools.pairwise(segments):
        end = _end(journal, first, path)
        if end is None or end.next_seq >= following:
            continue
        if path.endswith(".zst") or not _append(disk, index, path, end, following):
            if _young(journal, following, began_us):
                _set_aside(root, disk, journal, from_seq=following)
            return


def _segments(journal: Journal) -> list[tuple[int, str]]:
    """(first seq, the file that readers take) of each segment, in order."""
    found: dict[int, str] = {}
    for first, _, path in journal.segments():
        found.setdefault(first, path)
    return sorted(found.items())


def _end(journal: Journal, first: int, path: str) -> Head | None:
    """Where a segment ends; None if it is not one piece of the chain, or cannot be read."""
    with contextlib.suppress(HoldfastError):
        return torn.end_of(journal, first, path)
    return None


def _append(disk: Disk, index: SqlIndex, path: str, end: Head, following: int) -> bool:
    """Add what is missing up to `following` from the index; False if it does not have it all."""
    missing: list[bytes] = []
    for data in index.chain.read(end.next_seq):
        transaction = lines.decode(data, "a transaction of the index")
        if transaction.entry.first >= following:
            break
        if end.hash and not lines.follows(transaction, end):
            return False
        missing.append(data)
        end = transaction.head
    if end.next_seq != following:
        return False
    fd = disk.open_append(path)
    try:
        size = disk.size(fd)
        if size and disk.pread(fd, 1, size - 1, path) != b"\n":
            disk.write(fd, b"\n", path)
        for data in missing:
            disk.write(fd, data, path)
        disk.fsync(fd, path)
    finally:
        disk.close(fd)
    log.warning("copied-journal-completed", extra={"holdfast": {"segment": os.path.basename(path)}})
    return True


def _young(journal: Journal, following: int, began_us: int) -> bool:
    """Whether all that stands beyond the gap may have been committed after the copying began."""
    try:
        first = next(journal.of_segment(following), None)
    except (HoldfastError, FileNotFoundError):
        return False
    return first is not None and first.entry.time_us >= began_us - int(MARGIN_S * 1e6)


def _set_aside(root: str, disk: Disk, journal: Journal, *, from_seq: int) -> None:
    folder = os.path.join(root, paths.QUARANTINE)
    for first, _, path in journal.segments():
        if first >= from_seq:
            kept = os.path.join(folder, f"{os.path.basename(path)}.{os.urandom(4).hex()}")
            disk.link(path, kept)
            disk.fsync_dir(folder)
            disk.unlink(path)
            disk.fsync_dir(os.path.dirname(path))
    log.warning("copied-journal-cut", extra={"holdfast": {"from": from_seq}})


def refuse(in_index: Head, in_journal: Head) -> ChainBrokenError:
    """What to say where the journal goes on beyond a gap that no copy of the chain fills."""
    return ChainBrokenError(
        f"changes from {in_index.next_seq} on are missing, and the journal goes on behind them, "
        f"up to change {in_journal.next_seq - 1}",
        seq=in_index.next_seq, where="journal",
        remedy="Nothing was touched. Run `holdfast fsck`; `holdfast fsck --repair --from PATH` takes what is missing "
        "from a backup; --accept-loss goes on without it.",
    )  # fmt: skip

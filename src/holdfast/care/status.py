"""What is in a store and how it is, at a glance: counted from rows and file sizes, no content is read."""

from __future__ import annotations

import contextlib
import os
from datetime import datetime
from typing import Any

from holdfast.engine.handle import Handle
from holdfast.errors import HoldfastError
from holdfast.formats import marker, paths
from holdfast.index.select.totals import Totals
from holdfast.values import moment
from holdfast.values.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Status:
    """Sizes in bytes. `counts` and `deleted`: live records and tombstones, by kind.

    `logical_bytes`: all kept revisions together; `content_bytes`: each content once; `stored_bytes`: its files, as the
    index knows them; `index_bytes` and `search_bytes` with their logs. `head_seq`: the newest change (0: none), with
    `head_hash` of its transaction; `search_seq`: up to which change full text is indexed, None if it is not known.
    `temporaries`, `quarantined`: files in tmp/ and quarantine/. `writer`: who writes now; None if nobody does.
    """

    counts: dict[str, int]
    deleted: dict[str, int]
    revisions: int
    logical_bytes: int
    content_bytes: int
    stored_bytes: int
    blobs: int
    condemned: int
    condemned_bytes: int
    journal_bytes: int
    index_bytes: int
    search_bytes: int
    temporaries: int
    quarantined: int
    head_seq: int
    head_hash: str
    last_transaction_at: datetime | None
    search_seq: int | None
    schema_version: int
    format_version: int
    writer: dict[str, Any] | None


def status(handle: Handle) -> Status:
    """Count what a store holds: the index is read once over, and the names in a few folders. HandleDeadError."""
    handle.alive()
    totals = Totals(handle.index.database)
    counts, deleted = totals.records()
    contents = totals.contents()
    head = handle.index.chain.head() or handle.origin
    return Status(
        counts=counts,
        deleted=deleted,
        revisions=contents.revisions,
        logical_bytes=contents.logical,
        content_bytes=contents.unique,
        stored_bytes=contents.stored,
        blobs=contents.blobs,
        condemned=contents.condemned,
        condemned_bytes=contents.condemned_bytes,
        journal_bytes=sum(_size(handle, path) for _, _, path in handle.journal.segments()),
        index_bytes=_database_size(handle, paths.INDEX) or _on_server(handle),
        search_bytes=_database_size(handle, paths.SEARCH),
        temporaries=len(handle.disk.listdir(os.path.join(handle.root, paths.TMP))),
        quarantined=len(handle.disk.listdir(os.path.join(handle.root, paths.QUARANTINE))),
        head_seq=head.next_seq - 1,
        head_hash=head.hash.hex(),
        last_transaction_at=moment.to_datetime(head.time_us) if head.next_seq > 1 else None,
        search_seq=_search_seq(handle),
        schema_version=totals.schema_version(),
        format_version=handle.marker.format_version,
        writer=handle.writer.holder(),
    )


def _size(handle: Handle, path: str) -> int:
    """Bytes of a file; only looked at, never opened: the index belongs to SQLite."""
    try:
        facts = handle.disk.stat(path)
    except HoldfastError:
        return 0
    return 0 if facts is None else facts.st_size


def _database_size(handle: Handle, name: str) -> int:
    return sum(_size(handle, os.path.join(handle.root, name + companion)) for companion in ("", "-wal"))


def _on_server(handle: Handle) -> int:
    """What an index takes that is no file of the store; 0 if it is one."""
    found: int = getattr(handle.index, "size_bytes", lambda: 0)()
    return found


def _search_seq(handle: Handle) -> int | None:
    """Asking would make the file where there is none."""
    served = marker.SERVED in handle.marker.features
    if not served and handle.disk.stat(os.path.join(handle.root, paths.SEARCH)) is None:
        return 0
    with contextlib.suppress(HoldfastError):
        return handle.search.position()[0]
    return None

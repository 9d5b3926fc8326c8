"""Finds the store's id again when its marker is lost or damaged: whatever is tried is proven by the chain's origin."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Iterator, Sequence

from holdfast.care.fsck.view import View
from holdfast.care.repair import pieces
from holdfast.care.repair.report import Bench
from holdfast.care.repair.sources import Sources
from holdfast.engine import derive, recover, served
from holdfast.errors import HoldfastError, NotAStoreError
from holdfast.formats import lines, marker, paths
from holdfast.formats.lines import Located
from holdfast.formats.marker import Marker
from holdfast.journal import Journal
from holdfast.values import change, moment
from holdfast.values.change import Entry, Head

_ID = re.compile(rb"[^\"]{36}(?=\"\}?)")
_DIGITS = "0123456789abcdef-"


def restore_marker(bench: Bench, found: str | None) -> None:
    """Write the marker anew with a proven id, if there is one. Under the writer lock; durable on return."""
    path = bench.path(paths.MARKER)
    if found is None:
        bench.trouble.append(f"no id of the store could be proven: {paths.MARKER} was left as it is")
        return
    temporary = bench.temporary()
    bench.disk.mkdir(bench.path(paths.TMP))
    fd = bench.disk.create(temporary)
    try:
        bench.disk.write(fd, marker.encode(Marker(found, features=served.features_of(bench.root, found))), temporary)
        bench.disk.fsync(fd, temporary)
    finally:
        bench.disk.close(fd)
    detail = "its id is proven by the chain"
    if bench.disk.stat(path) is not None:
        detail += f"; the damaged one is now {bench.quarantine_too(paths.MARKER)}"
    bench.disk.rename(temporary, path)
    bench.disk.fsync_dir(bench.root)
    bench.did("restore-marker", paths.MARKER, detail)


def proven_id(bench: Bench, sources: Sources) -> str | None:
    """The id from which the chain begins; None if none of the candidates is it, or there is no chain.

    Where the first transaction is gone, a source's id is proven if its chain leads to transactions of ours.

    It looks into the index, which needs the handles lock: whoever holds that exclusively asks before.
    """
    view = View(bench.root)
    try:
        with contextlib.suppress(HoldfastError, FileNotFoundError):
            view.open()
        first = _first(bench, view)
        if first is None:
            return _of_a_source(bench, view, sources)
        candidates = itertools.chain([first.store], _candidates(bench, view, sources.stores))
        return next((one for one in candidates if _fits(one, first.prev)), None)
    finally:
        view.close()


def _fits(candidate: str, begins: bytes) -> bool:
    return moment.is_id(candidate) and change.origin(candidate).hash == begins


def _first(bench: Bench, view: View) -> Entry | None:
    """The entry of the first transaction, as journal or index have it."""
    with contextlib.suppress(HoldfastError):
        for _, item in Journal(bench.root, bench.disk).scan():
            if isinstance(item, Located) and item.transaction.entry.first == 1:
                return item.transaction.entry
            break
    with contextlib.suppress(HoldfastError):
        row = next(view.audit.chain(), None) if view.audit is not None else None
        if row is not None and row.data is not None and row.first == 1:
            return lines.decode(row.data, "the first transaction").entry
    return None


def _candidates(bench: Bench, view: View, stores: Sequence[str]) -> Iterator[str]:
    if view.audit is not None:
        with contextlib.suppress(HoldfastError):
            yield view.audit.index.meta(derive.STORE) or ""
    for one in stores:
        yield _marked(bench, one)
    with contextlib.suppress(HoldfastError, FileNotFoundError):
        data = bench.disk.read_file(bench.path(paths.MARKER), marker.MAX_BYTES)
        for match in _ID.findall(data):
            text = match.decode("ascii", "replace")
            yield text
            for place in range(len(text)):
                yield from (text[:place] + digit + text[place + 1 :] for digit in _DIGITS)


def _marked(bench: Bench, store: str) -> str:
    """The id that a store's marker names; "" if none can be read."""
    with contextlib.suppress(HoldfastError, NotAStoreError, FileNotFoundError):
        path = os.path.join(store, paths.MARKER)
        return marker.decode(bench.disk.read_file(path, marker.MAX_BYTES), path, served=True).store_id
    return ""


# -- without the first transaction -------------------------------------------------------------------------------------


def _of_a_source(bench: Bench, view: View, sources: Sources) -> str | None:
    """The id of the first source whose chain, from its origin on, leads to what we have left and contradicts none."""
    left = _left(bench, view) if sources.stores else []
    for store in sources.stores if left else ():
        found = _marked(bench, store)
        with contextlib.suppress(HoldfastError):  # two histories in a source prove nothing
            if moment.is_id(found) and _leads_to(change.origin(found), left, store, sources):
                return found
    return None


def _left(bench: Bench, view: View) -> list[Entry]:
    """The entries of the earliest transactions that we have: of each stream of segments, and of the index."""
    streams = pieces.streams(bench.root, bench.disk)
    if view.audit is not None:
        streams.append(recover.salvaged(view.audit.index, []))
    found: list[Entry] = []
    for stream in streams:
        with contextlib.suppress(HoldfastError):
            found += [transaction.entry for transaction in itertools.islice(stream, 1)]
    return sorted(found, key=lambda entry: entry.first)


def _leads_to(origin: Head, left: list[Entry], store: str, sources: Sources) -> bool:
    """Whether a chain that begins at an origin goes through, or ends before, the transactions that we have."""
    proven = 0
    with sources.chains(of=[store]) as chains:
        for head in recover.heads(origin, chains):
            here = [entry for entry in left if entry.first == head.next_seq]
            proven += len(here)
            if any(entry.prev != head.hash for entry in here):
                return False
            if head.next_seq >= left[-1].first:
                break
    return proven > 0

"""What opening does not take for the whole of a store, and whose chain it refuses."""

from __future__ import annotations

import os

from holdfast.blobs.contract import BlobStore
from holdfast.disk import Disk
from holdfast.engine import derive, gaps, placing, recover
from holdfast.engine.derive import Distrust, Judge
from holdfast.engine.recover import Derived
from holdfast.errors import ChainBrokenError, IndexElsewhereError
from holdfast.formats import lines, paths
from holdfast.formats.marker import Marker
from holdfast.index.sql import SqlIndex
from holdfast.journal import Journal
from holdfast.values import change
from holdfast.values.change import Head


def judge(
    root: str, found: Marker, disk: Disk, doubt: Distrust, *, blobs: BlobStore | None = None
) -> Judge:  # fmt: skip
    """What opening does not take for the whole: an empty store where there is content, and a chain with a gap.

    `holdfast rebuild` and repair do, for they say so. `blobs`: who has the contents, where they are not in the folder.
    """

    def judged(result: Derived) -> None:
        origin = change.origin(found.store_id)
        if result.transactions == 0 and result.beyond is not None:
            first = next(recover.from_journal(Journal(root, disk)), None)
            if first is not None and first.entry.first == 1:
                raise _foreign(root, found)
        if result.beyond is not None and not doubt.copied:
            raise gaps.refuse(Head(result.next_seq, origin.hash), result.beyond)
        both_say_none = doubt.reason == derive.A_COPY and _is_blank(root, disk)
        if result.transactions == 0 and not both_say_none and _has_content(root, disk, blobs):
            raise ChainBrokenError(
                f"{root} holds content, but neither journal nor index has any transaction ({doubt.reason})",
                seq=1, where="journal and index",
                remedy=f"Nothing was touched. Put {paths.JOURNAL}/ or {paths.INDEX} back from a copy, or run `holdfast "
                "fsck --repair --from PATH`; --accept-loss --lost-and-found begins anew and keeps the content.",
            )  # fmt: skip

    return judged


def _has_content(root: str, disk: Disk, blobs: BlobStore | None) -> bool:
    return placing.has_content(root, disk) if blobs is None else any(one.digest for one in blobs.walk())


def _is_blank(root: str, disk: Disk) -> bool:
    """Whether there is a journal and it has not one byte: with a sound index, it proves that nothing was committed."""
    folder = os.path.join(root, paths.JOURNAL)
    return os.path.isdir(folder) and not any(
        facts.st_size for _, _, path in Journal(root, disk).segments() if (facts := disk.stat(path)) is not None
    )


def only_by_a_writer(root: str, doubt: Distrust) -> IndexElsewhereError:
    """Rows that cannot be trusted are derived anew by whoever may write, where contents are elsewhere."""
    return IndexElsewhereError(
        f"the rows of the index of {root} cannot be trusted: {doubt.reason}", path=root, reason="distrusted",
        remedy="Open the store once for writing: that derives them anew.",
    )  # fmt: skip


def demand_own_chain(index: SqlIndex, found: Marker, root: str) -> None:
    """Raise unless the chain begins with the marker's store, and ends in words that this software knows."""
    ends = index.chain.ends()
    if ends is None:
        return
    first, last = lines.peek(ends[0]), lines.peek(ends[1])
    if first is not None and last is not None and first.first == 1 and first.prev != change.origin(found.store_id).hash:
        raise _foreign(root, found)


def _foreign(root: str, found: Marker) -> ChainBrokenError:
    return ChainBrokenError(
        f"{paths.MARKER} in {root} names the store {found.store_id}, and the first transaction is another store's",
        seq=1, where="marker",
        remedy="Nothing was touched. Files of two stores were mixed, or the marker is damaged: `holdfast fsck` says "
        "what fits, `holdfast fsck --repair` writes a marker anew whose id is proven.",
    )  # fmt: skip

"""What opening does not take for the whole of a store, and whose chain it refuses."""

from __future__ import annotations

import os

from holdfast.blobs.contract import BlobStore
from holdfast.disk import Disk
from holdfast.engine import gaps, placing, recover
from holdfast.engine.derive import Judge
from holdfast.engine.recover import Derived
from holdfast.engine.trust import A_COPY, Distrust, foreign
from holdfast.errors import ChainBrokenError
from holdfast.formats import paths
from holdfast.formats.marker import Marker
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
                raise foreign(root, found)
        if result.beyond is not None and not doubt.copied:
            raise gaps.refuse(Head(result.next_seq, origin.hash), result.beyond)
        both_say_none = doubt.reason == A_COPY and _is_blank(root, disk)
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

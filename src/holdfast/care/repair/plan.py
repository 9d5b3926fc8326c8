"""From findings to a plan: which parts of the store have to be mended, and which contents."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from holdfast.care.fsck import Finding
from holdfast.formats import paths
from holdfast.values import digest as digests

_MARKER = {"marker-missing", "marker-damaged", "marker-mismatch"}
_INDEX = {
    "index-missing", "index-damaged", "index-schema", "index-transaction", "index-chain", "row-missing", "row-extra",
    "row-differs", "rule-broken",
}  # fmt: skip
_JOURNAL = {"journal-gap", "journal-order", "segment-name", "segment-differs"}
_DAMAGED_END = {"journal-garbage", "journal-behind"}
"""What the journal lacks at its end may stand there damaged: it is written anew, not written behind that."""
_LEVEL = {"journal-behind", "index-behind"}
_CONTENT = {"blob-missing", "blob-damaged", "blob-row-missing", "blob-row-wrong"}
_NO_INDEX = {"index-missing", "index-damaged"}
HOLLOW = {"index-chain", "index-transaction"}
"""The index itself has a hole in its chain."""
_UNKNOWN = (1 << 64) - 1
_RECORD = 40


class Spool:
    """Digests with their sizes, in a file outside the store: there can be as many as the store has contents."""

    def __init__(self) -> None:
        self._file: BinaryIO = tempfile.TemporaryFile(prefix="holdfast-repair-")  # noqa: SIM115
        self.count = 0

    def add(self, digest: str, size: int | None) -> None:
        """Keep one; `size` in bytes of content, None if nobody knows."""
        self._file.write(digests.raw(digest) + (_UNKNOWN if size is None else size).to_bytes(8, "big"))
        self.count += 1

    def __iter__(self) -> Iterator[tuple[str, int | None]]:
        """All of them, in the order in which they came."""
        self._file.flush()
        for number in range(self.count):
            self._file.seek(number * _RECORD)
            record = self._file.read(_RECORD)
            size = int.from_bytes(record[32:], "big")
            yield digests.text(record[:32]), None if size == _UNKNOWN else size

    def close(self) -> None:
        """Forget them."""
        self._file.close()


@dataclass(slots=True)
class Plan:
    """What has to be done. Paths are relative to the store; `aside`: (path, why) of what goes to quarantine.

    `lost`: (first seq, in words) of transactions that neither copy of the chain has, or that may be lost.
    """

    marker: bool = False
    folders: list[str] = field(default_factory=list)
    aside: list[tuple[str, str]] = field(default_factory=list)
    search: list[str] = field(default_factory=list)
    packs: list[str] = field(default_factory=list)
    index: bool = False
    journal: bool = False
    level: bool = False
    contents: Spool = field(default_factory=Spool)
    strangers: Spool = field(default_factory=Spool)
    codes: set[str] = field(default_factory=set)
    lost: list[tuple[int, str]] = field(default_factory=list)

    def take(self, finding: Finding) -> None:
        """Take one finding in."""
        code, fields = finding.code, finding.fields
        self.codes.add(code)
        self.marker |= code in _MARKER
        self.index |= code in _INDEX
        self.journal |= code in _JOURNAL or self.codes >= _DAMAGED_END
        self.level |= code in _LEVEL
        if code == "folder-missing":
            self.folders.append(finding.object.rstrip("/"))
        elif code == "wrong-type":
            self.aside.append((finding.object, finding.detail))
        elif code == "temporary-old":
            self.aside.append((finding.object, "nobody's temporary file"))
        elif code == "pack-damaged":
            self.packs.append(fields["pack"])
        elif code in ("search-damaged", "outbox-damaged"):
            self.search.append(finding.object)
        elif code in _CONTENT:
            self.contents.add(fields["digest"], fields.get("size"))
        elif code in ("transactions-lost", "transactions-torn"):
            self.lost.append((fields["first"], finding.object))
        elif code == "blob-unreferenced":
            self.strangers.add(fields["digest"], None)

    @property
    def chain_is_short(self) -> bool:
        """Whether deriving anew would lose what the index still shows: the chain has a hole that no copy fills."""
        return "transactions-lost" in self.codes and not self._has_no_index

    @property
    def stuck(self) -> bool:
        """Whether two histories claim the store: then nothing is touched."""
        return "chain-fork" in self.codes

    @property
    def journal_alone_and_torn(self) -> bool:
        """Whether there is no index, and the journal has bytes that are no transactions: some may be lost."""
        return self._has_no_index and "journal-garbage" in self.codes

    @property
    def renews_marker(self) -> bool:
        """Whether the marker is written anew."""
        return self.marker or self._aside(paths.MARKER)

    @property
    def renews_index(self) -> bool:
        """Whether rows are derived anew."""
        behind = self.journal and "index-behind" in self.codes
        return (self.index or behind or self._aside(paths.INDEX)) and not self.chain_is_short

    @property
    def empty(self) -> bool:
        """Whether there is nothing that repair could mend (strangers are for gc)."""
        listed = self.folders or self.aside or self.search or self.packs or self.contents.count
        return not (listed or self.marker or self.index or self.journal or self.level or self.lost)

    @property
    def _has_no_index(self) -> bool:
        return bool(self.codes & _NO_INDEX) or self._aside(paths.INDEX)

    def _aside(self, name: str) -> bool:
        return any(path == name for path, _ in self.aside)

    def close(self) -> None:
        """Forget everything."""
        self.contents.close()
        self.strangers.close()

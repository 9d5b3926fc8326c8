"""Every kind of finding in one table: its code, how bad it is, what it means, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """ERROR: something acknowledged is lost, wrong or out of reach. WARNING: one of two copies suffers, or a part was
    not checked; nothing is lost, but it should be mended. INFO: worth knowing, nothing to do.
    """

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """Larger is worse."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of finding. `code` is stable."""

    code: str
    severity: Severity
    meaning: str
    remedy: str


_E, _W, _I = Severity.ERROR, Severity.WARNING, Severity.INFO
_REBUILD = "Run `holdfast fsck --repair`: the index is made anew from journal and blobs."
_RECOVER = "Run `holdfast fsck --repair`: index and journal are brought level."
_BACKUP = "Run `holdfast fsck --repair --from PATH` with a backup, another copy of the store, or the original files."
_MARKER = "Run `holdfast fsck --repair`: the id is found again, and proven by the chain."
_JOURNAL = "Run `holdfast fsck --repair`: it is written anew from the index. Do not remove the index before that."
_QUARANTINE = "Run `holdfast fsck --repair`: it is moved to quarantine, and what belongs there is made anew."
_NOTHING = "Nothing needs to be done."
_GC = "Run `holdfast gc`: it removes what is old enough."
_PERMISSIONS = "Check owner, permissions, disk and system log, then run `holdfast fsck` again."

_TABLE = (
    # the folder
    Kind("marker-missing", _E, "`holdfast.json` is not there: the store cannot be opened.", _MARKER),
    Kind("marker-damaged", _E, "`holdfast.json` is not what was written: the store cannot be opened.", _MARKER),
    Kind("marker-mismatch", _E, "`holdfast.json` names another store than the one the chain begins with.", _MARKER),
    Kind(
        "marker-too-new", _E,
        "`holdfast.json` asks for a newer format than this software knows: nothing else was checked.",
        "Use the newest Holdfast. If none has ever written here, the file is damaged: take it from a backup or a copy.",
    ),
    Kind("folder-missing", _W, "A folder of the store is not there.", _RECOVER),
    Kind(
        "wrong-type", _E, "A folder, a link or a device stands where a file must be, or the other way round.",
        _QUARANTINE,
    ),
    Kind("unreadable", _E, "The operating system does not let this be read.", _PERMISSIONS),
    Kind(
        "not-checked", _W, "A part of the store could not be checked.",
        "Mend what the other findings name, then run `holdfast fsck` again.",
    ),
    Kind("stray-file", _I, "A name that no store has. It is neither read nor removed.", "Move it out if you know it."),
    Kind("temporary-old", _W, "A temporary file that its writer left behind more than a day ago.", _GC),
    Kind(
        "quarantined", _I, "Set aside by an earlier repair, because it might be data.",
        "Look at it; remove it when nothing is missed. Until then it is only space.",
    ),
    # the index
    Kind("index-missing", _E, "There is no index: nothing can be found until it is made anew.", _REBUILD),
    Kind("index-damaged", _E, "SQLite cannot read the index, or finds its pages inconsistent.", _REBUILD),
    Kind("index-schema", _E, "The tables of the index are not those of its schema.", _REBUILD),
    Kind(
        "index-copied", _I, "The index was copied or moved by other means: its rows are derived anew at the next open.",
        "Nothing needs to be done; `holdfast recover` does it now.",
    ),
    Kind("index-transaction", _E, "A transaction in the index does not match its own hash or its row.", _REBUILD),
    Kind("index-chain", _E, "The transactions in the index do not follow from each other.", _REBUILD),
    Kind("index-behind", _W, "The journal has transactions that the index lacks.", _RECOVER),
    Kind("row-missing", _E, "A row that the chain's changes give is not in the index.", _REBUILD),
    Kind("row-extra", _E, "A row of the index that no change gives.", _REBUILD),
    Kind("row-differs", _E, "A row of the index is not what the chain's changes give.", _REBUILD),
    Kind(
        "chain-not-applicable", _E, "The chain is whole, but its changes cannot be turned into rows.",
        "Keep a copy of the store, and report it with the output of `holdfast doctor`.",
    ),
    Kind(
        "rule-broken", _E, "Rows contradict a rule that every store keeps.",
        "Run `holdfast fsck --repair`. If it is found again, report it with the output of `holdfast doctor`.",
    ),
    Kind("search-damaged", _W, "The full-text index is damaged. It holds nothing of its own.",
         "Search once (`holdfast search`): it is made anew by itself."),
    Kind(
        "state-damaged", _I, "The notes on work under way are damaged. They hold nothing of their own.",
        "Nothing needs to be done: whoever needs them next makes them anew.",
    ),
    Kind(
        "outbox-damaged", _W, "The cursors of the outbox's consumers are damaged. The store itself does not need them.",
        "Run `holdfast fsck --repair`, which sets the file aside; then make its consumers again (`outbox create`).",
    ),
    Kind(
        "redaction-unfinished", _E, "What a redaction announced as erased is still there.",
        "Run `holdfast redact` for the same again: it takes out what is left. `holdfast audit verify` names what.",
    ),
    # the journal
    Kind("journal-behind", _W, "The index has transactions that the journal lacks at its end.", _RECOVER),
    Kind(
        "journal-garbage", _I, "Bytes that are no transaction, such as the rest of a torn append. Readers skip them.",
        _NOTHING,
    ),
    Kind(
        "journal-gap", _W, "Transactions are missing or damaged in the journal; the index still has them.",
        _JOURNAL,
    ),
    Kind(
        "journal-order", _W, "Transactions stand in the wrong order, or twice, in the journal.",
        _JOURNAL,
    ),
    Kind(
        "segment-name", _W, "A journal segment is not named after its first change.",
        _JOURNAL,
    ),
    Kind(
        "segment-differs", _W,
        "A sealed journal segment and its plain original, which is still there, differ. The whole one is read.",
        _JOURNAL,
    ),
    Kind("transactions-lost", _E, "Neither journal nor index has these transactions.", _BACKUP),
    Kind(
        "transactions-torn", _W,
        "The journal ends within a transaction, and no index tells whether that was acknowledged: it may be lost.",
        _BACKUP,
    ),
    Kind(
        "chain-fork", _E, "Two different histories claim the same place in the chain.",
        "Keep a copy of the store as it is, and find out which files came from elsewhere. Nothing mends by itself.",
    ),
    # the blobs
    Kind("blob-missing", _E, "No file holds content that revisions need.", _BACKUP),
    Kind("blob-damaged", _E, "The file does not hold the content that its name promises.", _BACKUP),
    Kind("blob-row-missing", _E, "The content is there, but the index does not say so, so it is not read.", _REBUILD),
    Kind("blob-row-wrong", _W, "The index is mistaken about how a content is stored.", _REBUILD),
    Kind("blob-row-stale", _I, "The index lists content that nothing refers to and whose file is gone.", _GC),
    Kind("size-wrong", _E, "A change names another size than its content has.", _BACKUP),
    Kind(
        "pack-damaged", _W, "Headers in a pack are damaged: without the index, what they list could not be found.",
        "Run `holdfast fsck --repair`: what the pack holds is written again.",
    ),
    Kind("pack-torn", _I, "Bytes of a pack that belong to nothing, such as the rest of a torn append.", _NOTHING),
    Kind("pack-garbage", _I, "Contents in a pack that nothing refers to are damaged.", _NOTHING),
    Kind("blob-unreferenced", _I, "A file whose content no row knows, such as the rest of an interrupted put.", _GC),
)  # fmt: skip

KINDS: Mapping[str, Kind] = {kind.code: kind for kind in _TABLE}
"""Every kind of finding by its code, in the order of the checks."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference. `object`: what it concerns, a path relative to the store or a record in words.

    `detail` says what was seen; `fields` are the same facts as plain values. `fields["confirmed"]` is False where
    writers were active and could not be kept out to look again.
    """

    code: str
    object: str
    detail: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    severity: Severity = field(init=False)
    meaning: str = field(init=False)
    remedy: str = field(init=False)

    def __post_init__(self) -> None:
        """Look up what the table says of the code."""
        kind = KINDS[self.code]
        object.__setattr__(self, "severity", kind.severity)
        object.__setattr__(self, "meaning", kind.meaning)
        object.__setattr__(self, "remedy", kind.remedy)

    def as_dict(self) -> dict[str, Any]:
        """The finding as plain values, for `--json`."""
        return {
            "code": self.code, "severity": str(self.severity), "object": self.object, "detail": self.detail,
            "meaning": self.meaning, "remedy": self.remedy, "fields": dict(self.fields),
        }  # fmt: skip


def as_markdown() -> str:
    """The table as it stands in docs/fsck.md."""
    head = ["| code | severity | what it means | what to do |", "|---|---|---|---|"]
    return "\n".join([*head, *(f"| `{k.code}` | {k.severity} | {k.meaning} | {k.remedy} |" for k in KINDS.values())])

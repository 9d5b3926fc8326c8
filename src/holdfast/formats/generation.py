"""Chapter 10 of store-layout.md: what a backup folder says of itself, of each generation in it, and of every file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import field
from typing import Any

from holdfast.errors import BackupDamagedError, FormatTooNewError, InvalidValueError, NotABackupError
from holdfast.formats import paths
from holdfast.values import canon, moment, patterns
from holdfast.values.change import Head
from holdfast.values.frozen import dataclass

MARKER = "backup.json"
FOLDER = "generations"
LOCK = "lock"
FORMAT_VERSION = 0
MOST_BYTES = 16 << 20
"""No marker and no record is larger."""

COPIED = (paths.BLOBS, paths.PACKS, paths.RECIPES, paths.JOURNAL)
"""The folders of a store whose files a backup holds, in the order in which it lists them; the rest is made anew.

What stands right in the store's folder, its marker and index, is listed last.
"""

UNSEEN = "-"
SUSPECT = "0"
"""What stands for `seen` where a file was damaged in the store: the next backup looks at it again."""

_RECORD = patterns.later(r"([0-9]{6,})\.json")
_LINE = patterns.later(r"([0-9a-f]{64}) ([0-9]+) ([0-9:]+|-) ([a-z0-9./]+)")


def folder_of(number: int) -> str:
    """Where a generation is: a store."""
    return f"{FOLDER}/{number:06d}"


def record_of(number: int) -> str:
    """What says that a generation is whole, and what it is: written last."""
    return f"{FOLDER}/{number:06d}.json"


def list_of(number: int) -> str:
    """Every file of a generation."""
    return f"{FOLDER}/{number:06d}.files"


def drafts_of(number: int) -> str:
    """Where parts of the list are while a generation is being made: each was durable after the files it names."""
    return f"{FOLDER}/{number:06d}.draft"


def draft_of(number: int, attempt: int, part: int) -> str:
    """One of these parts. Attempts that were killed leave theirs for the next one to go on with."""
    return f"{drafts_of(number)}/{attempt:04d}-{part:06d}"


def number_of(name: str) -> int | None:
    """Of which generation a name in `generations/` is the record; None for any other name."""
    match = _RECORD.fullmatch(name)
    return None if match is None else int(match[1])


def encode_marker(store_id: str) -> bytes:
    """The marker of a folder that holds backups of one store."""
    return canon.encode({"format": FORMAT_VERSION, "holdfast": "backup", "store": store_id}) + b"\n"


def decode_marker(data: bytes, where: str) -> str:
    """The id of the store that a backup folder is of. NotABackupError, FormatTooNewError."""
    try:
        value = canon.decode(data)
        store_id, version = value["store"], value["format"]
        genuine = value["holdfast"] == "backup" and type(version) is int and moment.is_id(store_id)
    except (InvalidValueError, KeyError, TypeError) as error:
        raise NotABackupError(f"{where} is damaged or not a backup's marker", path=where) from error
    if not genuine:
        raise NotABackupError(f"{where} is damaged or not a backup's marker", path=where)
    if version > FORMAT_VERSION:
        raise FormatTooNewError(f"{where}: format {version}", found=version, known=FORMAT_VERSION)
    return str(store_id)


@dataclass(frozen=True, slots=True)
class Lacking:
    """A content, or a file, that the store itself had not whole when it was backed up. `digest`: "" for a file."""

    path: str
    digest: str
    reason: str


@dataclass(frozen=True, slots=True)
class Generation:
    """What one generation is. `files`, `bytes`: of all its files; `list_digest`: of its list, SHA-256 in hexadecimal.

    `made_us`: when it was made; `counts`: records by kind, and `revisions`; `erased_seq`: the newest change that
    redacts or purges something: what an earlier generation has of it is not in this one. `lacks`: what was damaged.
    """

    number: int
    head: Head
    made_us: int
    files: int
    bytes: int
    list_digest: str
    counts: dict[str, int] = field(default_factory=dict)
    erased_seq: int = 0
    lacks: tuple[Lacking, ...] = ()


def encode_record(one: Generation) -> bytes:
    """The bytes of a generation's record."""
    head = one.head
    value: dict[str, Any] = {
        "bytes": one.bytes,
        "counts": one.counts,
        "erased": one.erased_seq,
        "files": one.files,
        "generation": one.number,
        "head": {"hash": head.hash.hex(), "next": head.next_seq, "time": moment.to_text(head.time_us)},
        "lacks": [[lost.path, lost.digest, lost.reason] for lost in one.lacks],
        "list": one.list_digest,
        "made": moment.to_text(one.made_us),
    }
    return canon.encode(value) + b"\n"


def decode_record(data: bytes, where: str) -> Generation:
    """A generation from its record; BackupDamagedError if it is not one."""
    try:
        value = canon.decode(data)
        head = value["head"]
        return Generation(
            int(value["generation"]),
            Head(int(head["next"]), bytes.fromhex(head["hash"]), moment.from_text(head["time"])),
            moment.from_text(value["made"]),
            int(value["files"]),
            int(value["bytes"]),
            str(value["list"]),
            {str(kind): int(amount) for kind, amount in value["counts"].items()},
            int(value["erased"]),
            tuple(Lacking(str(path), str(digest), str(reason)) for path, digest, reason in value["lacks"]),
        )
    except (InvalidValueError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise BackupDamagedError(f"{where} is damaged", path=where, reason=str(error)) from error


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a generation. `path`: in the store; `digest`: of its bytes as they stand, SHA-256 in hexadecimal.

    `seen`: what the source's file looked like, for files whose name does not say what is in them; else UNSEEN.
    """

    path: str
    size: int
    digest: str
    seen: str = UNSEEN

    @property
    def order(self) -> tuple[int, str]:
        """Lists are in this order."""
        return order_of(self.path)


def order_of(path: str) -> tuple[int, str]:
    """Where in a list a path stands."""
    folder, _, rest = path.partition("/")
    return (COPIED.index(folder) if rest else len(COPIED)), path


def encode_entry(entry: Entry) -> bytes:
    """A line of a list."""
    return f"{entry.digest} {entry.size} {entry.seen} {entry.path}\n".encode("ascii")


def decode_entries(blocks: Iterable[bytes], where: str, *, torn: bool = False) -> Iterator[Entry]:
    """The entries of a list, in order; BackupDamagedError at what is none. `torn`: there the list ends instead."""
    rest, before = b"", (-1, "")
    for block in blocks:
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        for line in lines:
            entry = _entry(line)
            if entry is None or entry.order <= before:
                if torn:
                    return
                raise BackupDamagedError(f"{where} is damaged", path=where, reason="a line that is none")
            before = entry.order
            yield entry
    if rest and not torn:
        raise BackupDamagedError(f"{where} is cut off", path=where, reason="the last line does not end")


def _entry(line: bytes) -> Entry | None:
    match = _LINE.fullmatch(line.decode("ascii", "replace"))
    if match is None:
        return None
    folder, _, rest = match[4].partition("/")
    known = folder in COPIED if rest else match[4] in (paths.MARKER, paths.INDEX)
    return Entry(match[4], int(match[2]), match[1], match[3]) if known and ".." not in match[4] else None

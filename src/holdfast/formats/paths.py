"""Chapter 1 of store-layout.md: every name that can stand in a store, and no other.

Names are short, lower case and independent of anything a user typed, so that they survive any file system.
"""

from __future__ import annotations

from holdfast.values import patterns

MARKER = "holdfast.json"
INDEX = "index.sqlite3"
STATE = "state.sqlite3"
SEARCH = "search.sqlite3"
OUTBOX = "outbox.sqlite3"
CONFIG = "config.json"
BLOBS = "blobs"
PACKS = "packs"
RECIPES = "recipes"
JOURNAL = "journal"
QUARANTINE = "quarantine"
TMP = "tmp"
LOCKS = "locks"
WRITER_LOCK = "locks/writer"
HANDLES_LOCK = "locks/handles"
SEARCH_LOCK = "locks/search"
SEARCH_DAMAGED = "search.sqlite3.damaged"

FOLDERS = (BLOBS, PACKS, RECIPES, JOURNAL, QUARANTINE, TMP, LOCKS)
DATABASES = (INDEX, STATE, SEARCH, OUTBOX)

_BLOB = patterns.later(r"([0-9a-f]{64})\.zst")
_PACK = patterns.later(r"([0-9a-f]{16})\.zst")
_REPACKED = "0"
_SEGMENT = patterns.later(r"([0-9]{16})\.jsonl(\.zst)?")


def blob_folder(raw_digest: bytes) -> str:
    """The folder of a loose blob, relative to the store: `blobs/ab`."""
    return f"{BLOBS}/{raw_digest[:1].hex()}"


def blob_file(raw_digest: bytes) -> str:
    """The path of a loose blob, relative to the store: `blobs/ab/<sha256>.zst`."""
    return f"{BLOBS}/{raw_digest[:1].hex()}/{raw_digest.hex()}.zst"


def parse_blob_file(folder: str, name: str) -> bytes | None:
    """The digest that a loose blob's name claims; None if the name is not a loose blob's or stands elsewhere."""
    match = _BLOB.fullmatch(name)
    if match is None or match[1][:2] != folder:
        return None
    return bytes.fromhex(match[1])


def recipe_file(raw_digest: bytes) -> str:
    """The path of a recipe, relative to the store: `recipes/<sha256 of the whole content>.zst`."""
    return f"{RECIPES}/{raw_digest.hex()}.zst"


def parse_recipe(file: str) -> bytes | None:
    """The digest of the content that a file in `recipes/` makes; None for any other file."""
    match = _BLOB.fullmatch(file)
    return None if match is None else bytes.fromhex(match[1])


def pack_file(name: str) -> str:
    """The path of a pack, relative to the store: `packs/<16 hexadecimal digits>.zst`."""
    return f"{PACKS}/{name}.zst"


def parse_pack(file: str) -> str | None:
    """The name of the pack that a file in `packs/` is; None for any other file."""
    match = _PACK.fullmatch(file)
    return None if match is None else match[1]


def parse_quarantined(file: str) -> bytes | None:
    """The digest in the name of a file that was set aside (`<sha256>.zst.…`); None if it was of no blob or chunk."""
    match = _BLOB.match(file)
    return None if match is None else bytes.fromhex(match[1])


def is_repacked(pack: str) -> bool:
    """Whether a pack was written by repack, as its name says: it begins with 0.

    Such names sort before all others, and newer ones before older: of two places of a content the first is taken.
    """
    return pack.startswith(_REPACKED)


def pack_name(drawn: bytes) -> str:
    """The name of a pack that is appended to, from 8 bytes drawn at random."""
    name = drawn.hex()
    return f"{1 + int(name[0], 16) % 15:x}{name[1:]}"


def repacked_name(drawn: bytes, now_s: int) -> str:
    """The name of a pack that repack writes, from 3 bytes drawn at random and the time (seconds since 1970)."""
    return f"{_REPACKED}{(1 << 36) - 1 - now_s % (1 << 36):09x}{drawn[:3].hex()}"


def segment_file(first_seq: int, *, sealed: bool = False) -> str:
    """The path of a journal segment, relative to the store; 16 digits, so names sort as numbers do."""
    return f"{JOURNAL}/{first_seq:016d}.jsonl" + (".zst" if sealed else "")


def parse_segment(name: str) -> tuple[int, bool] | None:
    """(first seq, sealed) of a segment's file name; None for any other name."""
    match = _SEGMENT.fullmatch(name)
    return None if match is None else (int(match[1]), match[2] is not None)

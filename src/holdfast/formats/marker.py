"""Chapter 2 of store-layout.md: `holdfast.json`, the file that makes a folder a store. Written once, never changed."""

from __future__ import annotations

from dataclasses import replace

from holdfast.errors import (
    BlobsElsewhereError,
    FormatTooNewError,
    IndexElsewhereError,
    InvalidValueError,
    NotAStoreError,
)
from holdfast.values import canon, moment
from holdfast.values.frozen import dataclass

FORMAT_VERSION = 0
"""0: may change without notice. See docs/design/ for when it becomes 1."""

SERVED = "index-postgresql"
"""The index of this store is no file of it: a PostgreSQL server has it. Where, the store does not say."""

INDEX_ELSEWHERE, BLOBS_ELSEWHERE = "index-elsewhere", "blobs-elsewhere"
"""The index, or the contents, are in what somebody else has written (engine/parts.py); it does not say by what."""

KNOWN_FEATURES: frozenset[str] = frozenset({SERVED, INDEX_ELSEWHERE, BLOBS_ELSEWHERE})
MAX_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Marker:
    """What a store says of itself. `features` are names a reader must know or refuse."""

    store_id: str
    format_version: int = FORMAT_VERSION
    digest: str = "sha256"
    features: tuple[str, ...] = ()


def filed(marker: Marker) -> Marker:
    """Of the same store, with all its parts in the folder: what a backup has, which has to open without a server."""
    away = (SERVED, INDEX_ELSEWHERE, BLOBS_ELSEWHERE)
    return replace(marker, features=tuple(one for one in marker.features if one not in away))


def encode(marker: Marker) -> bytes:
    """The file's bytes: one line of canonical JSON."""
    return (
        canon.encode(
            {
                "holdfast": "store",
                "format": marker.format_version,
                "digest": marker.digest,
                "requires": sorted(marker.features),
                "store": marker.store_id,
            }
        )
        + b"\n"
    )


def decode(data: bytes, where: str, *, served: bool = False, elsewhere: bool = False) -> Marker:
    """Read the marker; NotAStoreError if it is none, FormatTooNewError if it asks for what is unknown here.

    `served`: the caller can do with an index on a server; else IndexElsewhereError, where there is one. `elsewhere`:
    with parts that somebody else has written; else IndexElsewhereError, BlobsElsewhereError.
    """
    try:
        value = canon.decode(data)
        marker = Marker(value["store"], value["format"], value["digest"], tuple(value["requires"]))
        genuine = value["holdfast"] == "store" and moment.is_id(marker.store_id) and type(marker.format_version) is int
        genuine = genuine and type(value["requires"]) is list and all(type(f) is str for f in value["requires"])
    except (InvalidValueError, KeyError, TypeError) as error:
        raise NotAStoreError(f"{where} is damaged or not a store's marker", path=where) from error
    if not genuine:
        raise NotAStoreError(f"{where} is damaged or not a store's marker", path=where)
    unknown = sorted(set(marker.features) - KNOWN_FEATURES)
    if marker.format_version > FORMAT_VERSION or unknown or marker.digest != "sha256":
        raise FormatTooNewError(
            f"{where}: format {marker.format_version}, digest {marker.digest}, "
            f"requires {', '.join(unknown) or 'nothing unknown'}",
            found=marker.format_version,
            known=FORMAT_VERSION,
            features=unknown,
        )
    if SERVED in marker.features and not served:
        raise IndexElsewhereError(f"the index of {where} is in PostgreSQL", path=where, reason="postgresql")
    if BLOBS_ELSEWHERE in marker.features and not elsewhere:
        raise BlobsElsewhereError(f"the contents of {where} are elsewhere", path=where, reason="elsewhere")
    if INDEX_ELSEWHERE in marker.features and not elsewhere:
        raise IndexElsewhereError(f"the index of {where} is elsewhere", path=where, reason="elsewhere")
    return marker

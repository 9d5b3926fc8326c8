"""What a caller says of where a store is: a folder, the URL of its index, and parts that somebody else has written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from holdfast.errors import HoldfastError, InvalidValueError
from holdfast.values.frozen import dataclass

if TYPE_CHECKING:
    from holdfast.engine.parts import Parts

SCHEMES = ("postgresql://", "postgres://")


@dataclass(frozen=True, slots=True)
class Said:
    """Where a store is. `index`: URL of its index in PostgreSQL; `parts`: what somebody else has written; or None."""

    folder: str
    index: str | None = None
    parts: Parts | None = None


def of(path: str | os.PathLike[str], blobs: object = None, index: object = None) -> Said:
    """What was said: see `holdfast.open`. InvalidValueError, UnknownBackendError."""
    given = os.fspath(path)
    if given.startswith(SCHEMES):
        return _beside_url(given, blobs, index)
    if "://" in given and not os.path.isdir(given):
        raise _no_folder(given)
    if blobs is None and index is None:
        return Said(given)
    if isinstance(blobs, os.PathLike) or (isinstance(blobs, str) and "://" not in blobs):
        raise InvalidValueError(
            "`blobs` is a folder only where the path is the URL of an index", where="blobs", reason="no URL",
            remedy="Give the folder as the path, and an object or a URL as `blobs`.",
        )  # fmt: skip
    from holdfast.engine import parts  # noqa: PLC0415 - start-up time: most stores have no such parts

    url = index if isinstance(index, str) and index.startswith(SCHEMES) else None
    if isinstance(index, str) and url is None and "://" not in index:
        raise InvalidValueError("`index` is an object or a URL", where="index", reason="no URL")
    others = parts.Parts(
        None if blobs is None else parts.blobs_of(blobs), None if index is None or url else parts.Opens(index)
    )
    return Said(given, url, others if others != parts.Parts() else None)


def _beside_url(url: str, blobs: object, index: object) -> Said:
    if index is not None:
        raise InvalidValueError(
            "the path is the URL of an index, and `index` is one too", where="index", reason="twice"
        )
    if blobs is None:
        raise InvalidValueError(
            "an index in PostgreSQL needs a folder for contents and journal", where="blobs", reason="missing",
            remedy="Say which: blobs=FOLDER.",
        )  # fmt: skip
    if not isinstance(blobs, (str, os.PathLike)) or "://" in os.fspath(blobs):
        raise InvalidValueError(
            "marker and journal need a folder", where="blobs", reason="no folder",
            remedy="holdfast.open(FOLDER, index=URL, blobs=…): the folder has them, whoever has contents and rows.",
        )  # fmt: skip
    return Said(os.fspath(blobs), url)


def _no_folder(given: str) -> HoldfastError:
    """A URL whose scheme is not ours stands where a folder is wanted. The error does not repeat it."""
    from holdfast.engine import parts  # noqa: PLC0415 - as above

    scheme = parts.scheme_of(given)
    if scheme in parts.installed(parts.INDEXES):
        return InvalidValueError(
            f"{scheme}:// names an index, and marker and journal need a folder", where="path", reason="no folder",
            remedy="holdfast.open(FOLDER, index=URL).",
        )  # fmt: skip
    return parts.unknown(parts.INDEXES, scheme)

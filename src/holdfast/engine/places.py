"""What a caller says of where a store is: a folder, or the URL of its index and the folder beside it."""

from __future__ import annotations

import os

from holdfast.errors import InvalidValueError

SCHEMES = ("postgresql://", "postgres://")


def of(path: str | os.PathLike[str], blobs: str | os.PathLike[str] | None) -> tuple[str, str | None]:
    """The folder, and the URL of the index if that is on a server. InvalidValueError."""
    given = os.fspath(path)
    if not given.startswith(SCHEMES):
        if blobs is not None:
            raise InvalidValueError("`blobs` goes with the URL of an index", where="blobs", reason="no URL")
        return given, None
    if blobs is None:
        raise InvalidValueError(
            "an index in PostgreSQL needs a folder for contents and journal", where="blobs", reason="missing",
            remedy="Say which: blobs=FOLDER.",
        )  # fmt: skip
    return os.fspath(blobs), given

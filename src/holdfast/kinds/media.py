"""Finds the media type of content from its name and first bytes, the same on every machine."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mimetypes import MimeTypes

DEFAULT = "application/octet-stream"
TEXT = "text/plain"

# What the table that Python ships lacks; and its most frequent endings: most files need not wait for it then, and are
# of the same type for every version of Python.
_MORE = {
    ".txt": "text/plain",
    ".json": "application/json",
    ".csv": "text/csv",
    ".xml": "text/xml",
    ".html": "text/html",
    ".htm": "text/html",
    ".css": "text/css",
    ".js": "application/javascript",
    ".py": "text/x-python",
    ".c": "text/plain",
    ".h": "text/plain",
    ".sh": "application/x-sh",
    ".bin": "application/octet-stream",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".svg": "image/svg+xml",
    ".tar": "application/x-tar",
    ".zip": "application/zip",
    ".md": "text/markdown",
    ".rst": "text/x-rst",
    ".toml": "application/toml",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".jsonl": "application/jsonl",
    ".ndjson": "application/jsonl",
    ".ipynb": "application/x-ipynb+json",
    ".pyi": "text/x-python",
    ".rs": "text/x-rust",
    ".go": "text/x-go",
    ".ts": "text/x-typescript",
    ".tsx": "text/x-typescript",
    ".cfg": "text/plain",
    ".ini": "text/plain",
    ".lock": "text/plain",
    ".log": "text/plain",
    ".sql": "application/sql",
    ".parquet": "application/vnd.apache.parquet",
    ".npy": "application/x-npy",
    ".npz": "application/x-npz",
    ".safetensors": "application/x-safetensors",
    ".zst": "application/zstd",
    ".sqlite3": "application/vnd.sqlite3",
    ".wasm": "application/wasm",
    ".webp": "image/webp",
}
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
    (b"\x28\xb5\x2f\xfd", "application/zstd"),
    (b"SQLite format 3\0", "application/vnd.sqlite3"),
    (b"\x7fELF", "application/x-elf"),
    (b"\x93NUMPY", "application/x-npy"),
    (b"PAR1", "application/vnd.apache.parquet"),
)


@functools.cache
def _known() -> MimeTypes:
    """The table that Python ships, without the machine's own files."""
    import mimetypes  # noqa: PLC0415 - start-up time

    return mimetypes.MimeTypes(filenames=())


def detect(name: str, head: bytes) -> str:
    """The media type by ending, else by magic number, else text or bytes. `head`: the first few kilobytes."""
    known = of_name(name)
    if known is not None:
        return known
    for magic, media_type in _MAGIC:
        if head.startswith(magic):
            return media_type
    return TEXT if _looks_like_text(head) else DEFAULT


def of_name(name: str) -> str | None:
    """What the ending of a name says; None if nothing."""
    dot = name.rfind(".")
    return _of_ending(name[dot:].lower()) if dot > 0 else None


@functools.lru_cache(maxsize=1_000)
def _of_ending(ending: str) -> str | None:
    if ending in _MORE:
        return _MORE[ending]
    guess, encoding = _known().guess_type("x" + ending, strict=True)
    if encoding is not None:
        return {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}.get(
            encoding, DEFAULT
        )
    return guess


def told(name: bytes) -> tuple[bytes, str | None]:
    """The ending of a name's bytes, and what it says: as `ending` and `of_name`."""
    dot = name.rfind(b".")
    return _told(name[dot + 1 :]) if dot > 0 else (b"", None)


@functools.lru_cache(maxsize=1_000)
def _told(end: bytes) -> tuple[bytes, str | None]:
    return end.lower(), _of_ending("." + end.decode("utf-8", "backslashreplace").lower()) if end else None


def ending(name: bytes) -> bytes:
    """What stands behind the last dot of a name, in lower case; nothing if that is its first byte."""
    dot = name.rfind(b".")
    return name[dot + 1 :].lower() if dot > 0 else b""


def _looks_like_text(head: bytes) -> bool:
    if b"\0" in head:
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        # The last character may be cut by the end of what we look at.
        return len(head) - error.start < 4 and error.reason == "unexpected end of data"
    return True

"""Proves the four rows that make an artifact, one at a time or a page of them; rows are of artifacts.COLUMNS.

Nearly all the time goes into the text that a checksum is of. Rows of one list say the same in most cells: which do so
is found out first, and the text of these cells is made once for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from zlib import crc32

from holdfast.index import proof
from holdfast.index.select.sight import Row

_WHOLE = frozenset({
    "key", "collection", "type", "status", "newest", "kind", "tenant", "owner", "changed", "deleted", "tags",
    "artifact", "number", "content", "media_type", "state", "size",
})  # fmt: skip
"""Columns of these tables that hold a whole number in every row: `%d` writes it as `%a` does, in half the time."""

_OWN = frozenset({
    "key", "collection", "name", "newest", "id", "changed", "artifact", "content", "metadata", "digest", "size",
})  # fmt: skip
"""Columns that say something else in each row."""

_OF_FILES = frozenset({"message", "source_name", "mtime_ns"})
"""These too, in rows of files, or with words of whoever wrote them; in others they say nothing."""


def _form(table: str, alike: dict[str, Any] | None = None) -> bytes:
    """What proof.FORMS has for a table, in quicker words; with cells that are `alike` put in."""
    cells = [
        ascii(alike[column]).replace("%", "%%") if alike and column in alike
        else "%d" if column in _WHOLE else "%a"
        for column in proof.COLUMNS[table]
    ]  # fmt: skip
    return f"('{table}', {', '.join(cells)})".encode()


_ARTIFACT, _RECORD, _REVISION, _CONTENT = map(_form, ("artifact", "record", "revision", "content"))
_PARTS = (("artifact", 0, 8), ("record", 9, 17), ("revision", 18, 31), ("content", 32, 35))
"""Where in a row each of the four begins, and where its checksum stands."""

_ALIKE = [
    (table, column)
    for table in ("artifact", "record", "revision")
    for column in proof.COLUMNS[table]
    if column not in _OWN | _OF_FILES
]
"""What `prove_all` compares, in this order."""

Forms = tuple[bytes, bytes, bytes]
_known: dict[tuple[Any, ...], Forms | None] = {}
"""By what rows have alike; None: met once. It follows from these cells alone, so all stores of a process share it."""
_MOST = 1_000


def prove(row: Row) -> None:
    """IndexDamagedError unless the four rows that make an artifact are what was written, and belong together."""
    try:
        proven = (
            crc32(_ARTIFACT % row[:8]) == row[8]
            and crc32(_RECORD % row[9:17]) == row[17]
            and crc32(_REVISION % row[18:31]) == row[31]
            and crc32(_CONTENT % row[32:35]) == row[35]
            and row[19] == row[0]
        )
    except (TypeError, ValueError, OverflowError):  # where a whole number belongs stands something else
        proven = False
    if not proven:
        _accuse(row)


def is_revision(cells: Row, stored: object) -> bool:
    """Whether the cells of a revision's row are what its checksum says."""
    try:
        return crc32(_REVISION % cells) == stored
    except (TypeError, ValueError, OverflowError):
        return False


def prove_all(rows: Iterable[Row]) -> None:
    """`prove` of each: two thirds of the time where rows say the same of type, owner, place and the like.

    The first of its like is proven as it is, so that rows which are like no other cost no more.
    """
    last, forms = None, None
    for row in rows:
        (key, collection, name, stray, type_, status, newest, live, of_artifact,
         record, raw, kind, tenant, owner, changed, deleted, tags, of_record,
         revision, artifact, number, content, media_type, metadata, message, source, source_name, mode, mtime, run,
         state, of_revision, blob, digest, size, of_content) = row  # fmt: skip
        silent = message is source_name is mtime is None
        alike = (stray, type_, status, live, kind, tenant, owner, deleted, tags,
                 number, media_type, source, mode, run, state, silent)  # fmt: skip
        if forms is None or alike != last:
            last, forms = alike, _known.get(alike) or _forms(alike)
        said = (revision, artifact, content, metadata)
        try:
            proven = (
                artifact == key
                and forms is not None
                and crc32(forms[0] % (key, collection, name, newest)) == of_artifact
                and crc32(forms[1] % (record, raw, changed)) == of_record
                and crc32(forms[2] % (said if silent else (*said, message, source_name, mtime))) == of_revision
                and crc32(_CONTENT % (blob, digest, size)) == of_content
            )
        except (TypeError, ValueError, OverflowError):
            proven = False
        if not proven:
            prove(row)


def _forms(alike: tuple[Any, ...]) -> Forms | None:
    """Of rows whose like was met before."""
    if alike not in _known:
        if len(_known) >= _MOST:
            _known.clear()
        _known[alike] = None
        return None
    *cells, silent = alike
    said: dict[str, dict[str, Any]] = {"artifact": {}, "record": {}, "revision": {}}
    for (table, column), cell in zip(_ALIKE, cells, strict=True):
        said[table][column] = cell
    if silent:
        said["revision"] |= dict.fromkeys(_OF_FILES)
    made = _known[alike] = (
        _form("artifact", said["artifact"]), _form("record", said["record"]), _form("revision", said["revision"]),
    )  # fmt: skip
    return made


def _accuse(row: Row) -> None:
    """Say which of the rows is not what was written."""
    for table, first, end in _PARTS:
        proof.prove(table, row[first:end], row[end])
    raise proof.damaged("artifact", row[0])

"""Rows as lines of canonical JSON, made straight from their cells: what an export has most of.

A line is what `canon` gives for the row's value as `whole` has it; making the value first, and its fields' order after,
takes three times as long. Kinds of which a store has few go that way all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from json.encoder import encode_basestring as quoted
from typing import Any
from zlib import crc32

from holdfast.index import proof
from holdfast.index.select.lookups import Lookups
from holdfast.index.tables import KIND_NAMES, STATE_KEPT, STATE_PURGED
from holdfast.values import moment

Row = tuple[Any, ...]
Line = tuple[Any, str]
"""What the line is sorted by, and the line without its end."""

_EXTRA = {
    "revision": (
        f"{proof.columns('content', 'c')}, o.id",
        "LEFT JOIN content c ON c.key = t.content LEFT JOIN record o ON o.key = t.artifact",
    ),
    "artifact": (
        f"{proof.columns('record', 'r')}, o.id",
        "LEFT JOIN record r ON r.key = t.key LEFT JOIN record o ON o.key = t.collection",
    ),
    "collection": (
        f"{proof.columns('record', 'r')}, o.id",
        "LEFT JOIN record r ON r.key = t.key LEFT JOIN record o ON o.key = t.parent",
    ),
}
_FORM = {table: proof.FORMS[table] for table in (*_EXTRA, "content", "record")}
_WIDE = {table: len(proof.COLUMNS[table]) for table in (*_EXTRA, "content", "record")}
_STATES = {STATE_KEPT: "kept", STATE_PURGED: "purged"}


def beside(table: str) -> tuple[str, str] | None:
    """The columns that lines of a table need besides its own, and where they come from; None: no short way."""
    return _EXTRA.get(table)


def lines(table: str, page: list[Row], lookups: Lookups) -> list[Line]:
    """The rows of a page as lines. IndexDamagedError."""
    if table == "revision":
        runs = lookups.ids(row[_RUN] for row in page)
        return [_revision(row, lookups.term, runs) for row in page]
    tags = lookups.tags(row[0] for row in page)
    make = _artifact if table == "artifact" else _collection
    return [make(row, lookups.term, tags.get(row[0], ())) for row in page]


def _cells(table: str, row: Row, start: int) -> Row:
    """The cells of one of the rows that a row is joined of, proven."""
    end = start + _WIDE[table]
    cells = row[start:end]
    if crc32(_FORM[table] % cells) != row[end]:
        raise proof.damaged(table, cells[0])
    return cells


_R, _A, _C = (_WIDE[table] + 1 for table in ("revision", "artifact", "collection"))
_RUN = proof.COLUMNS["revision"].index("run")
Term = Callable[[int | None], str]


def _revision(row: Row, term: Term, runs: dict[int, str]) -> Line:
    key, _, number, _, media, metadata, message, source, source_name, mode, mtime, run, state = _cells(
        "revision", row, 0
    )
    _, digest, size, *_ = _cells("content", row, _R)
    owner = _id(row[-1], "revision", key)
    told = f'{{"artifact":"{owner}","digest":"sha256:{digest.hex()}"'
    if media:
        told += f',"media_type":{quoted(term(media))}'
    if message:
        told += f',"message":{quoted(message)}'
    told += _object(metadata)
    told += _file(mode, mtime)
    told += f',"number":{number}'
    if run is not None:
        told += f',"run":"{runs[run]}"'
    told += f',"seq":{key},"size":{size}'
    if source or source_name:
        told += f',"source":{quoted(term(source) + (source_name or ""))}'
    return (row[-1], number), told + f',"state":"{_STATES.get(state, "withdrawn")}"}}'


def _artifact(row: Row, term: Term, tags: tuple[str, ...]) -> Line:
    key, _, name, stray, type_, status, newest, _ = _cells("artifact", row, 0)
    raw, begin, middle, end = _record(row, _A, term, tags)
    told = f'{{{begin},"collection":"{_id(row[-1], "artifact", key)}"{middle}{_named(name, stray)}'
    told += f',"newest":{newest}{end[0]},"seq":{key}'
    if status:
        told += f',"status":{quoted(term(status))}'
    told += end[1] + end[2]
    if type_:
        told += f',"type":{quoted(term(type_))}'
    return raw, told + "}"


def _collection(row: Row, term: Term, tags: tuple[str, ...]) -> Line:
    key, parent, _, name, stray, metadata, mode, mtime, _ = _cells("collection", row, 0)
    raw, begin, middle, end = _record(row, _C, term, tags)
    told = f"{{{begin}{middle}{_object(metadata)}{_file(mode, mtime)}{_named(name, stray)}{end[0]}"
    if parent is not None:
        told += f',"parent":"{_id(row[-1], "collection", key)}"'
    return raw, f'{told},"seq":{key}{end[1]}{end[2]}}}'


def _record(row: Row, start: int, term: Term, tags: tuple[str, ...]) -> tuple[bytes, str, str, tuple[str, str, str]]:
    """The id, and what the record says, as it stands between what is its kind's own: before it, in it and after it."""
    if row[start] is None:
        raise proof.damaged("record", row[0])
    key, raw, kind, tenant, owner, changed, deleted, tagged = _cells("record", row, start)
    if proof.of_tags(tags) != tagged:
        raise proof.damaged("tagging", key)
    middle = f',"deleted":{deleted}' if deleted else ""
    middle += f',"id":"{moment.id_text(raw)}","kind":"{KIND_NAMES[kind]}"'
    said = f',"owner":{quoted(term(owner))}' if owner else ""
    told = f',"tags":[{",".join(map(quoted, tags))}]' if tags else ""
    return raw, f'"changed":{changed}', middle, (said, told, f',"tenant":{quoted(term(tenant))}' if tenant else "")


def _named(name: str, stray: bytes) -> str:
    told = f',"name":{quoted(name)}' if name else ""
    return f'{told},"name_hex":"{stray.hex()}"' if stray else told


def _file(mode: int | None, mtime: int | None) -> str:
    told = "" if mode is None else f',"mode":{mode}'
    return told if mtime is None else f'{told},"mtime_ns":{mtime}'


def _object(text: str | None) -> str:
    """Metadata stands in its row in canonical form."""
    return f',"metadata":{text}' if text and text != "{}" else ""


def _id(raw: bytes | None, table: str, key: int) -> str:
    if raw is None:
        raise proof.damaged(table, key)
    return moment.id_text(raw)

"""Bodies of changes as bytes: those that are made most often are put together by hand, in a fifth of the time.

And taken apart by a pattern, many with one call, in a quarter of it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from json.encoder import encode_basestring
from typing import Any

from holdfast.values import canon, patterns
from holdfast.values.change import Body
from holdfast.values.newcomers import Newcomers
from holdfast.values.records import DEFAULT_STATUS, DEFAULT_TYPE

_quoted = encode_basestring
_PLAIN = 4
"""A creation has `action`, `id`, `kind`, `new`, and only sometimes more."""
_OWN = 5
"""What is new of an artifact: `collection`, `name`, `revision`, `status`, `type`, and only sometimes more."""
_MOST = 1 << 63

_TEXT = r'"([^"\\\x00-\x1f]*)"'
_NUMBER = r"(-?(?:0|[1-9][0-9]{0,18}))"
_NEWCOMER = patterns.later(
    rf'^(?:{{"action":"create","id":{_TEXT},"kind":"artifact","new":{{"collection":{_TEXT},"name":{_TEXT},"revision":'
    rf'{{"digest":{_TEXT},"media_type":{_TEXT}(?:,"mode":{_NUMBER})?(?:,"mtime_ns":{_NUMBER})?,"size":{_NUMBER}'
    rf'(?:,"source":{_TEXT})?}},"status":"{DEFAULT_STATUS}","type":"{DEFAULT_TYPE}"}}}}|.*)$',
    re.MULTILINE,
)
"""What `_newcomers` makes, unless a text needs to be escaped; or any other line, with none of the parts."""


def encode(body: Body) -> bytes:
    """The canonical bytes of a change: those of `canon.encode`, which also says what is wrong with one."""
    if len(body) == _PLAIN and body["action"] == "create":
        try:
            kind, new, text = body["kind"], body["new"], ""
            if kind == "artifact" and len(new) == _OWN:
                text = _creation(body["id"], new)
            elif kind == "collection" and "parent" in new:
                text = _collection(body["id"], new)
            if text:
                return text.encode("utf-8")
        except (UnicodeEncodeError, TypeError, KeyError):
            pass  # told properly below
    return canon.encode(body)


def encode_all(bodies: Sequence[Body]) -> list[bytes]:
    """The same of many."""
    if isinstance(bodies, Newcomers) and bodies.is_plain():
        try:
            return _newcomers(bodies)
        except (UnicodeEncodeError, TypeError):
            pass  # likewise
    return [encode(body) for body in bodies]


def _newcomers(new: Newcomers) -> list[bytes]:
    quoted = _quoted
    end = f',"status":"{DEFAULT_STATUS}","type":"{DEFAULT_TYPE}"}}}}'
    modes = ["" if mode is None else f',"mode":{mode}' for mode in new.modes]
    mtimes = ["" if mtime is None else f',"mtime_ns":{mtime}' for mtime in new.mtimes]
    sources = [f',"source":{quoted(source)}' if source else "" for source in new.sources]
    columns = zip(
        new.ids, new.collections, new.names, new.digests, new.media_types, modes, mtimes, new.sizes, sources,
        strict=True,
    )  # fmt: skip
    return [
        f'{{"action":"create","id":"{own}","kind":"artifact","new":{{"collection":"{collection}",'
        f'"name":{quoted(name)},"revision":{{"digest":"{digest}","media_type":{quoted(media_type)}{mode}{mtime},'
        f'"size":{size}{source}}}{end}'.encode()
        for own, collection, name, digest, media_type, mode, mtime, size, source in columns
    ]


def told_apart(lines: Sequence[bytes]) -> Iterator[tuple[Newcomers | None, Sequence[bytes]]]:
    """Bodies as they stand in the chain, in runs: those of newcomers as columns; None with each of any others."""
    found = _NEWCOMER.findall(str(b"\n".join(lines), "utf-8")) if lines else []
    assert len(found) == len(lines)
    at = 0
    for is_new, run in itertools.groupby(found, _is_new):
        cells = [*run]
        yield _from_text(cells) if is_new else None, lines[at : at + len(cells)]
        at += len(cells)


def _is_new(cells: tuple[str, ...]) -> bool:
    return cells[3] != ""  # its digest


def _from_text(rows: Sequence[tuple[str, ...]]) -> Newcomers:
    ids, collections, names, digests, media_types, modes, mtimes, sizes, sources = map(list, zip(*rows, strict=True))
    return Newcomers(
        ids, collections, names, digests, [*map(int, sizes)], media_types,
        [int(one) if one else None for one in modes], [int(one) if one else None for one in mtimes], sources,
    )  # fmt: skip


def _collection(collection_id: str, new: dict[str, Any]) -> str:
    """The text of a new collection; "" if it has fields that are not known here."""
    more, known = "", 2
    for field in ("mode", "mtime_ns"):
        if field in new:
            number, known = new[field], known + 1
            if type(number) is not int or not -_MOST <= number < _MOST:
                return ""
            more = f'{more}"{field}":{number},'
    if len(new) != known:
        return ""
    return (
        f'{{"action":"create","id":{_quoted(collection_id)},"kind":"collection","new":'
        f'{{{more}"name":{_quoted(new["name"])},"parent":{_quoted(new["parent"])}}}}}'
    )


def _creation(artifact_id: str, new: dict[str, Any]) -> str:
    """The text of a new artifact; "" if it has fields that are not known here."""
    revision = new["revision"]
    more, known = "", 3
    if "message" in revision:
        more, known = f',"message":{_quoted(revision["message"])}', known + 1
    if "metadata" in revision:
        more, known = f'{more},"metadata":{canon.dumps(revision["metadata"])}', known + 1
    for field in ("mode", "mtime_ns", "size"):
        number = revision.get(field)
        if number is not None:
            if type(number) is not int or not -_MOST <= number < _MOST:
                return ""
            more, known = f'{more},"{field}":{number}', known + (field != "size")
    if "source" in revision:
        more, known = f'{more},"source":{_quoted(revision["source"])}', known + 1
    if len(revision) != known:
        return ""
    return (
        f'{{"action":"create","id":{_quoted(artifact_id)},"kind":"artifact","new":'
        f'{{"collection":{_quoted(new["collection"])},"name":{_quoted(new["name"])},"revision":'
        f'{{"digest":{_quoted(revision["digest"])},"media_type":{_quoted(revision["media_type"])}{more}}},'
        f'"status":{_quoted(new["status"])},"type":{_quoted(new["type"])}}}}}'
    )

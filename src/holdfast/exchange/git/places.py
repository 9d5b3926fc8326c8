"""Where artifacts and collections lay after a change: by the rows of now, and the moves that came after it."""

from __future__ import annotations

import functools
import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

from holdfast.formats import lines
from holdfast.index.sql import SqlIndex
from holdfast.values import names

REMEMBERED = 200_000
_FIELDS = ("name", "name_hex", "parent", "collection")
_REFUSED = re.compile(rb"(\.git|git~1)[ .]*(:.*)?", re.IGNORECASE | re.DOTALL)
_ESCAPED = re.compile(rb"%([0-9A-F]{2})")
_IGNORED = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
"""Characters that HFS+ ignores in names: git refuses a `.git` with some of them in it."""

Path = bytes | None
Own = tuple[str | None, bytes, str]
"""Of a record: id of the collection that holds it, its name, and its type if it is an artifact."""


def git_name(raw: bytes) -> bytes:
    """A name as git can hold it: if it means git's own folder somewhere, with its first byte, `%` and `\\` as `%XX`.

    So are names that such an escape could stand for: with that it is reversible.
    """
    inner = raw
    while not _is_refused(inner):
        before, inner = inner, _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), inner)
        if inner == before:
            return raw
    return b"%%%02X" % raw[0] + raw[1:].replace(b"%", b"%25").replace(b"\\", b"%5C")


@functools.lru_cache(100_000)
def is_harmful(path: bytes) -> bool:
    """Whether a path leads out of its tree, or into git's own folder on some system."""
    return any(step in (b"", b".", b"..") or _is_refused(step) for step in path.split(b"/"))


def _is_refused(raw: bytes) -> bool:
    try:
        plain = _IGNORED.sub("", raw.decode("utf-8")).encode()
    except UnicodeDecodeError:
        plain = raw
    return any(_REFUSED.fullmatch(part) is not None for part in plain.split(b"\\"))


class Places:
    """Places below one collection."""

    def __init__(self, index: SqlIndex, scope: str, since: int) -> None:
        """`scope`: id of the collection; changes after `since` will be asked for."""
        self._index = index
        self._scope = scope
        self._moves: dict[str, list[tuple[int, dict[str, Any]]]] = {}
        self._own: dict[str, Own] = {}
        self._note_moves(since)

    def _note_moves(self, since: int) -> None:
        for data in self._index.chain.read(since + 1):
            if b'"set":{' not in data:
                continue
            for one in lines.decode(data, "a transaction of the index").changes():
                old = one.before or {}
                before = {field: old[field] for field in _FIELDS if field in old}
                if before and one.kind in ("artifact", "collection"):
                    self._moves.setdefault(one.id, []).append((one.seq, before))

    def artifact(self, artifact_id: str, seq: int, new: dict[str, Any] | None, *, top: str = "") -> Path:
        """The path of an artifact after a change, None if it did not lie below the collection (or another: `top`).

        `new`: what its creation says, if that is the change.
        """
        if new is not None:
            above, name = new["collection"], _raw(new)
        else:
            above, name = self._at(artifact_id, seq)
        folder = self.collection(above, seq, top=top) if above is not None else None
        return None if folder is None else b"/".join(part for part in (folder, git_name(name)) if part)

    def collection(self, collection_id: str, seq: int, *, top: str = "") -> Path:
        """The path of a collection after a change; b"" for the one that all is below, None for one that is not."""
        steps: list[bytes] = []
        at: str | None = collection_id
        top = top or self._scope
        while at is not None and at != top:
            above, name = self._at(at, seq)
            steps.append(git_name(name))
            at = above
        return b"/".join(reversed(steps)) if at is not None else None

    def type_of(self, artifact_id: str) -> str:
        """The type that an artifact has now."""
        return self._now(artifact_id)[2]

    def below(self, collection_id: str, seq: int) -> Iterator[tuple[str, bytes]]:
        """(id, path below it) of all artifacts that lay in a collection after a change, in order of paths."""
        found = []
        for artifact_id in self._live(seq):
            path = self.artifact(artifact_id, seq, None, top=collection_id)
            if path is not None:
                found.append((path, artifact_id))
        yield from ((artifact_id, path) for path, artifact_id in sorted(found))

    def _live(self, seq: int) -> Iterator[str]:
        """Ids of the artifacts that were live after a change: by the chain, for rows know only now."""
        live: dict[str, None] = {}
        for data in self._index.chain.read(1):
            for one in lines.decode(data, "a transaction of the index").changes():
                if one.seq > seq:
                    yield from live
                    return
                if one.kind == "artifact" and one.action in ("create", "undelete"):
                    live[one.id] = None
                elif one.kind == "artifact" and one.action == "delete":
                    live.pop(one.id, None)
        yield from live

    def _at(self, record_id: str, seq: int) -> tuple[str | None, bytes]:
        above, name, _ = self._now(record_id)
        moves = self._moves.get(record_id, ())
        later = moves[bisect_right(moves, seq, key=lambda move: move[0]) :]
        for field in ("collection", "parent"):
            above = next((before[field] for _, before in later if field in before), above)
        name = next((_raw(before) for _, before in later if "name" in before), name)
        return above, name

    def _now(self, record_id: str) -> Own:
        found = self._own.get(record_id)
        if found is None:
            if len(self._own) >= REMEMBERED:
                self._own.clear()
            found = self._own[record_id] = self._read(record_id)
        return found

    def _read(self, record_id: str) -> Own:
        collection = self._index.collections.by_id(record_id)
        if collection is not None:
            return collection.parent_id, collection.name_bytes, ""
        artifact = self._index.artifacts.by_id(record_id)
        return (None, b"", "") if artifact is None else (artifact.collection_id, artifact.name_bytes, artifact.type)


def _raw(fields: dict[str, Any]) -> bytes:
    return bytes.fromhex(fields.get("name_hex") or "") or names.parse(fields["name"]).raw

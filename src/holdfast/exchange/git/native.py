"""What a transaction of the store did to files, as a commit can say it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.exchange.git.places import Path, Places
from holdfast.exchange.git.record import TYPE
from holdfast.index.sql import SqlIndex
from holdfast.values import moment
from holdfast.values.change import Actor
from holdfast.values.records import SYMLINK_MEDIA_TYPE, Change, RevisionState

_SHOWN = 3
_LINE = 72
_IDENT = re.compile(r"(?P<name>[^<>\n]*?) ?<(?P<email>[^<>\n]*)>")
_NOT_IN_IDENT = re.compile(r"[<>\n\0]")
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Put:
    """A content at a path."""

    path: bytes
    mode: bytes
    digest: str


@dataclass(frozen=True, slots=True)
class Drop:
    """Nothing at a path any more, nor below it."""

    path: bytes


@dataclass(frozen=True, slots=True)
class Move:
    """What was at a path, and below it, is at another."""

    path: bytes
    target: bytes


Step = Put | Drop | Move


@dataclass(slots=True)
class Native:
    """A commit that stands for a transaction. `author`, `committer`: as git writes them, with the time."""

    author: bytes
    committer: bytes
    message: bytes
    steps: list[Step] = field(default_factory=list)


class Reading:
    """Reads transactions as commits. Paths are those below a collection."""

    def __init__(self, index: SqlIndex, places: Places) -> None:
        self._index = index
        self._places = places

    def commit(self, changes: Sequence[Change]) -> Native | None:
        """What a transaction did; None if it touched no file."""
        steps: list[Step] = []
        verbs: list[tuple[str, bytes]] = []
        for one in changes:
            for step in self._steps(one):
                steps.append(step)
                verbs.append((_verb(one, step), step.target if isinstance(step, Move) else step.path))
        if not steps:
            return None
        first = changes[0]
        facts = next((f for f in map(_facts, changes) if f is not None), None)
        if facts is not None:
            return _as_it_was(first, facts, steps)
        stamp = self.stamp(first)
        said = f"{_said(changes) or _summary(verbs)}\n\nHoldfast-Transaction: {first.tx}\n"
        return Native(stamp, stamp, said.encode(), steps)

    @staticmethod
    def stamp(one: Change) -> bytes:
        """Who made a change, and when, as git writes it."""
        seconds = moment.from_datetime(one.time) // _MILLION
        return f"{_ident(Actor(one.actor, one.actor_kind))} {max(seconds, 0)} +0000".encode()

    def _steps(self, one: Change) -> Iterator[Step]:
        if one.kind == "artifact":
            yield from self._of_artifact(one)
        elif one.kind == "collection" and one.action == "update" and {"name", "parent"} & (one.before or {}).keys():
            old = self._places.collection(one.id, one.seq - 1)
            new = self._places.collection(one.id, one.seq)
            yield from self._moved(one, old, new)

    def _of_artifact(self, one: Change) -> Iterator[Step]:
        new = one.after or {}
        if new.get("type") == TYPE or (one.action != "create" and self._places.type_of(one.id) == TYPE):
            return
        path = self._places.artifact(one.id, one.seq, new if one.action == "create" else None)
        if one.action in ("create", "revise"):
            if path is not None:
                yield _put(path, new["revision"])
        elif one.action == "delete":
            if path is not None:
                yield Drop(path)
        elif one.action == "undelete" or (one.action == "withdraw" and "newest" in new):
            yield from self._again(one.id, path, one.seq, new.get("newest"))
        elif one.action == "update" and {"name", "collection"} & (one.before or {}).keys():
            old = self._places.artifact(one.id, one.seq - 1, None)
            if old is not None and path is not None:
                yield Move(old, path)
            elif old is not None:
                yield Drop(old)
            else:
                yield from self._again(one.id, path, one.seq, None)

    def _again(self, artifact_id: str, path: Path, seq: int, number: int | None) -> Iterator[Step]:
        """The revision that was the newest after a change."""
        if path is None:
            return
        key = self._index.key_of(artifact_id)
        assert key is not None
        older = (r for r in self._index.artifacts.history(key, artifact_id) if r.seq <= seq)
        wanted = max((r for r in older if number is None or r.number == number), key=lambda r: r.number, default=None)
        if wanted is not None and wanted.state is RevisionState.KEPT:
            facts = {"digest": wanted.digest, "media_type": wanted.media_type, "mode": wanted.file.mode}
            yield _put(path, facts)

    def _moved(self, one: Change, old: Path, new: Path) -> Iterator[Step]:
        if old is not None and new is not None:
            yield Move(old, new)
        elif old is not None:
            yield Drop(old)
        elif new is not None:
            yield from self.everything(one.id, new, one.seq)

    def everything(self, collection_id: str, path: bytes, seq: int) -> Iterator[Step]:
        """All that lay in a collection after a change."""
        for artifact_id, inner in self._places.below(collection_id, seq):
            if self._places.type_of(artifact_id) != TYPE:
                yield from self._again(artifact_id, b"/".join(part for part in (path, inner) if part), seq, None)


def _put(path: bytes, revision: dict[str, Any]) -> Put:
    mode = b"100755" if (revision.get("mode") or 0) & 0o100 else b"100644"
    is_link = revision["media_type"] == SYMLINK_MEDIA_TYPE
    return Put(path, b"120000" if is_link else mode, revision["digest"])


def _facts(one: Change) -> dict[str, Any] | None:
    """What a commit said that was taken in, if this change is the run that stands for it."""
    if (one.kind, one.action) != ("run", "create") or "git" not in (one.after or {}).get("tags", ()):
        return None
    found = ((one.after or {}).get("metadata") or {}).get("git")
    return found if isinstance(found, dict) and isinstance(found.get("message"), str) else None


def _as_it_was(first: Change, facts: dict[str, Any], steps: list[Step]) -> Native:
    fallback = moment.from_datetime(first.time) // _MILLION
    author = _line(str(facts.get("author", "")), facts.get("authored"), fallback)
    committer = _line(str(facts.get("committer", "")), facts.get("committed"), fallback)
    return Native(author, committer, facts["message"].encode(), steps)


def _line(who: str, when: object, fallback: int) -> bytes:
    seconds, zone = fallback, "+0000"
    if isinstance(when, str):
        seconds = moment.from_text(when) // _MILLION
        found = re.search(r"([+-]\d\d):(\d\d)$", when)
        zone = found[1] + found[2] if found else zone
    return f"{_ident(Actor(who, 'human'))} {max(seconds, 0)} {zone}".encode()


def _ident(actor: Actor) -> str:
    """`Name <address>`; an actor without an address gets one that leads nowhere (RFC 2606)."""
    found = _IDENT.fullmatch(actor.name)
    name, email = (found["name"], found["email"]) if found else (actor.name, f"{actor.kind}@holdfast.invalid")
    return f"{_NOT_IN_IDENT.sub('', name).strip() or 'unknown'} <{_NOT_IN_IDENT.sub('', email).strip()}>"


def _said(changes: Iterable[Change]) -> str:
    """What people said of a transaction, each thing once."""
    found: dict[str, None] = {}
    for one in changes:
        revision = (one.after or {}).get("revision")
        message = revision.get("message", "") if isinstance(revision, dict) else ""
        found |= {words.strip(): None for words in (message, one.note) if words.strip()}
    return "\n\n".join(found).replace("\0", "\\0")


def _verb(one: Change, step: Step) -> str:
    if isinstance(step, Move):
        return "move"
    if isinstance(step, Drop):
        return "delete"
    return {"create": "add", "revise": "revise", "undelete": "bring back", "withdraw": "take back"}.get(
        one.action, "move"
    )


def _summary(verbs: list[tuple[str, bytes]]) -> str:
    """One line that says what happened, where nobody said anything."""
    kinds = {verb for verb, _ in verbs}
    verb = kinds.pop() if len(kinds) == 1 else "change"
    shown = [path.decode("utf-8", "backslashreplace") for _, path in verbs[:_SHOWN]]
    told = f"{verb} {', '.join(shown)}"
    if len(verbs) > _SHOWN or len(told) > _LINE:
        told = f"{verb} {len(verbs)} files" if len(verbs) > 1 else told
    return told.capitalize() if told[0].isascii() else told

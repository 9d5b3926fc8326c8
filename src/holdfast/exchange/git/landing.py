"""Brings commits into the store: each is a transaction of its author, with a run that says what the commit says.

What stands in the store after the last commit is that commit's tree. On the way, where branches ran side by side,
it is what the commits so far touched last: a merge sets whatever differs from any of its parents.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from holdfast.engine.content import Incoming
from holdfast.engine.handle import Handle
from holdfast.engine.transaction import Unit
from holdfast.exchange.git.commits import Person, person, text
from holdfast.exchange.git.shelf import Place, Shelf, Standing
from holdfast.exchange.git.touched import EXECUTABLE, LINK, Commit, Touch
from holdfast.kinds import collections, media, revising
from holdfast.kinds.revising import Description
from holdfast.values import moment
from holdfast.values.change import Actor, Body
from holdfast.values.names import Name
from holdfast.values.records import SYMLINK_MEDIA_TYPE, FileFacts, RunStatus

TAG = "git"
_SUBJECT = 200
_NANO = 10**9
_NOT_TEXT = b"\0"


@dataclass(slots=True)
class Landed:
    """How many artifacts were made, revised, moved and deleted, and how many were as they should be."""

    created: int = 0
    revised: int = 0
    moved: int = 0
    deleted: int = 0
    unchanged: int = 0


@dataclass(slots=True)
class Arriving:
    """A content on its way to a path. `kind`: what its first bytes say of its media type."""

    touch: Touch
    place: Place
    incoming: Incoming
    kind: str


@dataclass(slots=True)
class Load:
    """What one commit does to the store, ready to be written."""

    commit: Commit
    arriving: list[Arriving] = field(default_factory=list)
    leaving: list[Place] = field(default_factory=list)
    moving: list[tuple[Place, Place]] = field(default_factory=list)


def author(commit: Commit) -> Actor:
    """Who the transaction of a commit is by."""
    return Actor(person(commit.text.author).shown(commit.text.charset), "human")


class Landing:
    """Writes commits in transactions that somebody else opens."""

    def __init__(self, handle: Handle, shelf: Shelf, repository: str) -> None:
        self._handle = handle
        self._shelf = shelf
        self._repository = repository
        self._about: _About | None = None
        self.landed = Landed()

    def land(self, unit: Unit, load: Load, *, begins: bool) -> None:
        """What a commit does: what goes, what moves, what comes. Not `begins`: more of the one before."""
        about = self._about
        if about is None or begins:
            about = self._about = _About(load.commit, moment.draw_id(unit.now_us), self._repository)
            unit.change(about.run())
        self._shelf.look(
            unit, [one.place for one in load.arriving] + load.leaving + [p for m in load.moving for p in m]
        )
        for place in load.leaving:
            self._leave(unit, place, about)
        for source, target in load.moving:
            self._move(unit, source, target, about)
        self._arrive(unit, load.arriving, about)
        self._shelf.tidy(unit, about.mark)

    def _leave(self, unit: Unit, place: Place, about: _About) -> None:
        standing = self._shelf.at(unit, place)
        if standing is not None:
            unit.change({"kind": "artifact", "action": "delete", "id": standing.id, **about.mark})
            self._shelf.gone(place)
            self.landed.deleted += 1

    def _move(self, unit: Unit, source: Place, target: Place, about: _About) -> None:
        standing = self._shelf.at(unit, source)
        # A file that comes to stand where its own folder is, or the other way round, goes and is made anew.
        old, new = (*source[0], source[1]), (*target[0], target[1])
        is_nested = old[: len(new)] == new or new[: len(old)] == old
        if standing is None or is_nested or self._shelf.at(unit, target) is not None:
            self._leave(unit, source, about)
            return
        parent_id = self._shelf.room(unit, target, about.mark)
        pairs = collections.name_change(source[1], target[1]) if source[1] != target[1] else {}
        if source[0] != target[0]:
            pairs["collection"] = [self._shelf.folder_id(source[0]), parent_id]
        unit.change({"kind": "artifact", "action": "update", "id": standing.id, "set": pairs, **about.mark})
        self._shelf.gone(source)
        self._shelf.stands(target, standing)
        self.landed.moved += 1

    def _arrive(self, unit: Unit, arriving: Sequence[Arriving], about: _About) -> None:
        bodies: list[Body] = []
        waiting: list[tuple[Arriving, Standing]] = []
        ids = moment.draw_ids(unit.now_us, len(arriving))
        for one in arriving:
            before = self._shelf.at(unit, one.place)
            mode, is_link = about.form(one)
            if before is not None and before.is_like(one.incoming.digest, mode, is_link=is_link):
                self.landed.unchanged += 1
                continue
            said = about.says(one)
            assert said.media_type is not None
            if before is None:
                made = Standing(next(ids), 1, one.incoming.digest, said.media_type, mode, {})
                parent_id = self._shelf.room(unit, one.place, about.mark)
                body = revising.creation(made.id, parent_id, one.place[1], one.incoming, said, made.media_type,
                                         run=about.run_id)  # fmt: skip
                self.landed.created += 1
            else:
                made = before.next(one.incoming.digest, said.media_type, mode)
                said = replace(said, metadata=before.metadata)
                body = revising.revision(made.id, made.number, before.digest, one.incoming, said, run=about.run_id)
                self.landed.revised += 1
            waiting.append((one, made))
            bodies.append(body)
        unit.publish([one.incoming for one, _ in waiting])
        unit.change_all(bodies)
        for one, made in waiting:
            self._shelf.stands(one.place, made)


class _About:
    """What a commit says, as the store keeps it with every change that the commit makes."""

    def __init__(self, commit: Commit, run_id: str, repository: str) -> None:
        self._commit = commit
        self.run_id = run_id
        words = commit.text
        self._message = text(words.message, words.charset).replace("\0", "\\0")
        self._author, self._committer = person(words.author), person(words.committer)
        self._source = f"{repository}#{commit.id.decode()}"
        when = self._committer.seconds
        self._mtime_ns = when * _NANO if when is not None and abs(when) < 1 << 33 else None
        self.mark: dict[str, Any] = {"run": run_id, "note": self.subject}

    @property
    def subject(self) -> str:
        """The first line of the message."""
        return self._message.strip().partition("\n")[0][:_SUBJECT] or "(no message)"

    def run(self) -> Body:
        """The change that makes the run which stands for the commit."""
        words, charset = self._commit.text, self._commit.text.charset
        facts = {
            "commit": self._commit.id.decode(), "tree": words.tree.decode("ascii", "replace"),
            "parents": [one.decode("ascii", "replace") for one in words.parents], "message": self._message,
            "author": self._author.shown(charset), "committer": self._committer.shown(charset),
            **_dated("authored", self._author), **_dated("committed", self._committer),
            **({"signed": True} if b"gpgsig" in words.others or b"gpgsig-sha256" in words.others else {}),
        }  # fmt: skip
        new = {"name": self.subject, "status": RunStatus.COMPLETED.value, "metadata": {"git": facts}, "tags": [TAG]}
        return {"kind": "run", "action": "create", "id": self.run_id, "new": new}

    @staticmethod
    def form(one: Arriving) -> tuple[int | None, bool]:
        """Mode of the file, and whether it is a link."""
        is_link = one.touch.mode == LINK
        return None if is_link else 0o755 if one.touch.mode == EXECUTABLE else 0o644, is_link

    def says(self, one: Arriving) -> Description:
        """What is said of a revision that the commit makes."""
        mode, is_link = self.form(one)
        kind = SYMLINK_MEDIA_TYPE if is_link else _media_type(one.place[1], one.kind)
        file = FileFacts(mode, self._mtime_ns)
        return Description(media_type=kind, message=self._message.strip(), source=self._source, file=file, metadata={})


def _dated(key: str, who: Person) -> dict[str, str]:
    when = who.when
    return {} if when is None else {key: when.isoformat()}


@functools.lru_cache(10_000)
def _media_type(name: Name, kind: str) -> str:
    """By the name, where that says something; else what the content showed."""
    found = media.detect(name.text, _NOT_TEXT)
    return kind if found == media.DEFAULT else found

"""The parent's books on many writers: what each was told, what it had asked for when it died, and what a store shows.

A fact is a plain value (it goes through a pipe): of an artifact the digests of its revisions (None: given up), whether
it is live, metadata and tags; of a relationship and a run what can change of them. Contents are drawn from a token, so
that a call can be repeated by somebody else.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from holdfast.errors import NotFoundError
from holdfast.store import Store
from holdfast.values.records import RevisionState

Fact = dict[str, Any]


def content(token: str, size: int) -> bytes:
    """The bytes that a token stands for: half words, half noise."""
    noise = random.Random(token).randbytes((size + 1) // 2)  # noqa: S311
    return (token.encode() + b" some words that can be found\n" + noise * 2)[:size]


def digest(data: bytes) -> str:
    """How books name a content."""
    return hashlib.sha256(data).hexdigest()[:24]


def artifact(
    *digests: str | None, live: bool = True, metadata: dict[str, Any] | None = None, tags: tuple[str, ...] = ()
) -> Fact:
    """The fact of an artifact."""
    return {"contents": list(digests), "live": live, "metadata": metadata or {}, "tags": list(tags)}


@dataclass(slots=True)
class Intent:
    """A call: the facts that it means to bring. Those of one of its `parts` come together or not at all.

    `again`: how somebody else can make the same call once more.
    """

    doing: str
    changes: dict[str, Fact]
    parts: list[list[str]]
    again: dict[str, Any] | None = None


@dataclass(slots=True)
class Books:
    """What is settled of one writer, the call in flight, and the last calls that can be repeated by transaction id."""

    facts: dict[str, Fact] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    flying: Intent | None = None
    repeatable: list[Intent] = field(default_factory=list)
    acknowledged: int = 0

    def begin(self, intent: Intent) -> list[Any]:
        """A call is about to be made; the message that says so."""
        self.flying = intent
        return ["begin", asdict(intent)]

    def done(self, ids: dict[str, str]) -> list[Any]:
        """The call returned; the message that says so."""
        assert self.flying is not None
        self.settle(self.flying.changes, ids)
        self.acknowledged += 1
        if self.flying.again:
            self.repeatable = [*self.repeatable[-1:], self.flying]
        self.flying = None
        return ["done", ids]

    def settle(self, facts: Mapping[str, Fact | None], ids: Mapping[str, str]) -> None:
        """These facts hold from now on; None: there is no such thing."""
        for key, fact in facts.items():
            if fact is None:
                self.facts.pop(key, None)
            else:
                self.facts[key] = fact
        self.ids.update(ids)

    def hear(self, message: list[Any]) -> None:
        """What a writer said through its pipe."""
        if message[0] == "begin":
            self.begin(Intent(**message[1]))
        elif message[0] == "done":
            self.done(message[1])


class Look:
    """What a store shows of facts. Relationships and runs are listed once, when the first is asked for."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @cached_property
    def _relations(self) -> dict[str, str]:
        return {one.metadata["label"]: one.id for one in self._store.relationships.find()}

    @cached_property
    def _runs(self) -> dict[str, str]:
        return {one.name: one.id for one in self._store.runs.find()}

    def at(self, key: str, known: str | None) -> tuple[Fact | None, str | None]:
        """The fact of a key, and the id of what it is about; None if the store knows no such thing."""
        kind, _, name = key.partition(" ")
        try:
            return _LOOK[kind](self, name, known)
        except NotFoundError:
            return None, known

    def artifact(self, name: str, known: str | None) -> tuple[Fact, str]:
        """Every kept revision is read, which proves its bytes."""
        store = self._store
        found = store.get(f"id:{known}" if known else name, deleted=True)
        ref = f"id:{found.id}"
        contents = [
            digest(store.artifacts.read(ref, revision=r.number)) if r.state is RevisionState.KEPT else None
            for r in sorted(store.artifacts.revisions(ref), key=lambda r: r.number)
        ]
        fact = artifact(*contents, live=found.deleted_at is None, metadata=dict(found.metadata), tags=tuple(found.tags))
        return fact, found.id

    def relation(self, name: str, known: str | None) -> tuple[Fact | None, str | None]:
        """By its label among those that are visible, or by its id."""
        known = known or self._relations.get(name)
        if known is None:
            return None, None
        found = self._store.relationships.get(f"id:{known}", deleted=True)
        return {"live": found.deleted_at is None, "tags": list(found.tags)}, known

    def run(self, name: str, known: str | None) -> tuple[Fact | None, str | None]:
        """Status, steps and number of outputs."""
        known = known or self._runs.get(name)
        if known is None:
            return None, None
        found = self._store.runs.get(known, deleted=True)
        steps = [[one.name, str(one.status)] for one in self._store.runs.steps(found)]
        outputs = len(list(self._store.runs.links(found, "output")))
        return {"status": str(found.status), "steps": steps, "outputs": outputs}, known

    def paths(self, under: str) -> set[str]:
        """Keys of all live artifacts whose path begins so."""
        return {f"artifact {one.path}" for one in self._store.find() if one.path.startswith(under)}


_LOOK: dict[str, Callable[[Look, str, str | None], tuple[Fact | None, str | None]]] = {
    "artifact": Look.artifact,
    "relation": Look.relation,
    "run": Look.run,
}

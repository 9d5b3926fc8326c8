"""What a workload was told: which calls had returned at any moment, and what must be readable because of that."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import zstandard

from holdfast.errors import NotFoundError
from holdfast.store import Store
from holdfast.testing.recording import Event, Operation
from holdfast.values.records import RevisionState


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one artifact: content of each revision, oldest first (None: purged), and whether it is live.

    `nameless`: it was redacted. For a run (`Ledger.runs`) its status is the only content.
    """

    contents: tuple[bytes | None, ...]
    live: bool = True
    nameless: bool = False


@dataclass(slots=True)
class _Call:
    changes: dict[str, Fate]
    whole: bool


@dataclass(frozen=True, slots=True)
class Expected:
    """At one moment: what must be there, and what the call in flight may have done (`whole`: all of it or nothing).

    `returned`: how many calls had returned.
    """

    settled: dict[str, Fate]
    coming: dict[str, Fate]
    whole: bool
    returned: int


@dataclass(slots=True)
class Ledger:
    """Calls in order. `say` puts a mark among the recorded operations; artifacts are known by path, then by id.

    `start`: what was there before the first mark. `runs`: which of the paths stand for runs, and their ids. `secrets`:
    bytes that no file may hold any more once the artifact at a path is redacted.
    """

    say: Callable[[str], None]
    now: dict[str, Fate] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    start: dict[str, Fate] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    _calls: list[_Call] = field(default_factory=list)

    @contextlib.contextmanager
    def call(self, changes: dict[str, Fate], *, whole: bool = True) -> Iterator[None]:
        """The block is one call that means to bring `changes`; when it ends well, they are acknowledged."""
        number = len(self._calls)
        self._calls.append(_Call(changes, whole))
        self.say(f"begin {number}")
        yield
        self.say(f"done {number}")
        self.now.update(changes)

    def known(self, store: Store, *paths: str) -> None:
        """Remember which ids the artifacts at some paths have."""
        for path in paths:
            self.ids[path] = store.get(path).id

    def put(self, store: Store, path: str, content: bytes) -> None:
        """One put, acknowledged."""
        with self.call({path: self.after_put(path, content)}):
            store.put(path, content)
        self.known(store, path)

    def after_put(self, path: str, content: bytes) -> Fate:
        """What a put of new content makes of an artifact."""
        before = self.now.get(path, Fate(()))
        return before if before.contents[-1:] == (content,) else Fate((*before.contents, content))

    def expected(self, events: list[Event], at: int) -> Expected:
        """What holds after the first `at` events."""
        settled = dict(self.start)
        flying: _Call | None = None
        returned = 0
        for event in events[:at]:
            if isinstance(event, Operation) and event.kind == "mark":
                word, _, number = event.path.partition(" ")
                call = self._calls[int(number)]
                flying = call if word == "begin" else None
                if word == "done":
                    settled.update(call.changes)
                    returned += 1
        return Expected(settled, flying.changes if flying else {}, flying.whole if flying else True, returned)

    def differences(self, store: Store, expected: Expected) -> list[str]:
        """What of the expected a store does not have, or has half; empty if all is well. Every byte is read."""
        seen = {path: self.look(store, path) for path in {*expected.settled, *expected.coming}}
        wrong = []
        for path, fate in seen.items():
            before = expected.settled.get(path)
            if fate != before and (path not in expected.coming or fate != expected.coming[path]):
                wrong.append(f"{path}: {_short(fate)} instead of {_short(before)}")
        moved = {p for p, fate in expected.coming.items() if fate != expected.settled.get(p)}
        done = {path for path in moved if seen[path] == expected.coming[path]}
        if expected.whole and done and done != moved:
            wrong.append(f"half a call: {sorted(done)} of {sorted(moved)}")
        known = set(self.ids.values())
        strange = {a.path for a in store.find() if a.id not in known} - set(seen)
        wrong += [f"{path}: nobody put it there" for path in sorted(strange)]
        return wrong

    def redacted(self, store: Store, expected: Expected) -> list[str]:
        """Paths of what is redacted: it was acknowledged, or the store says so of what was in flight."""
        done = [path for path, fate in expected.settled.items() if fate.nameless]
        coming = [path for path, fate in expected.coming.items() if fate.nameless and path not in done]
        return done + [path for path in coming if self.look(store, path) == expected.coming[path]]

    def remembered(self, root: str, redacted: list[str]) -> list[str]:
        """Which files of a closed store still hold what was redacted."""
        secrets = [one for path in redacted for one in self.secrets[path]]
        return (
            [f"{path} still holds a redacted text: {what}" for path, what in _holding(root, secrets)] if secrets else []
        )

    def look(self, store: Store, path: str) -> Fate | None:
        """What a store has of an artifact, every kept revision read; None if it does not know it."""
        if path in self.runs:
            return _look_at_run(store, self.runs[path])
        ref = f"id:{self.ids[path]}" if path in self.ids else path
        try:
            found = store.get(ref, deleted=True)
        except NotFoundError:
            return None
        contents = [
            store.artifacts.read(f"id:{found.id}", revision=r.number) if r.state is RevisionState.KEPT else None
            for r in sorted(store.artifacts.revisions(f"id:{found.id}"), key=lambda r: r.number)
        ]
        return Fate(tuple(contents), found.deleted_at is None, found.name.startswith("redacted-"))


def _look_at_run(store: Store, run_id: str) -> Fate | None:
    try:
        manifest = store.runs.manifest(f"id:{run_id}")
    except NotFoundError:
        return None
    facts = [str(manifest.run.status), *(str(step.status) for step in manifest.steps)]
    facts.append(f"{len(manifest.inputs)} in, {len(manifest.outputs)} out")
    return Fate(tuple(fact.encode() for fact in facts))


def _holding(root: str, secrets: list[bytes]) -> Iterator[tuple[str, str]]:
    """(path of a file, the beginning of the text and where it stands)."""
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                data = file.read()
            if name.endswith(".zst"):
                data = _unpacked(data)
            for secret in secrets:
                if secret in data:
                    yield os.path.relpath(path, root), f"{secret[:20]!r} at {data.index(secret)} of {len(data)}"
                    break


def _unpacked(data: bytes) -> bytes:
    """The content of every frame, also of those that stand behind damage, in covers or in skippable frames."""
    found, at = [], data.find(zstandard.FRAME_HEADER)
    while at >= 0:
        with contextlib.suppress(zstandard.ZstdError):
            found.append(zstandard.ZstdDecompressor().decompressobj().decompress(data[at:]))
        at = data.find(zstandard.FRAME_HEADER, at + 1)
    return b"".join(found)


def _short(fate: Fate | None) -> str:
    if fate is None:
        return "nothing"
    return f"{[None if c is None else c[:12] for c in fate.contents]}{'' if fate.live else ', deleted'}"

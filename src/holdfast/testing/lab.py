"""The damage lab: a small store with every kind of file, what it answers, and a verdict on one damage to it.

The verdict has three parts: what fsck finds, which reads give something else than what was put, and which errors are
not ours. What a damaged store does not give at all is no wrong answer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import holdfast
from holdfast.blobs.compress import Shape
from holdfast.blobs.local import LocalBlobs
from holdfast.care.fsck import check_path
from holdfast.disk import Disk
from holdfast.errors import ContentPurgedError, HoldfastError, NotFoundError
from holdfast.journal import Journal

Answers = dict[tuple[str, str], Any]
"""What a store answers to everything that can be asked, by (what, of which)."""

MANY_FRAMES = bytes(range(251)) * 40
EXPECTED = frozenset({"quarantined"})
"""What fsck says of the undamaged store."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`found`: codes of fsck beyond those of the undamaged store; `wrong`: questions answered wrongly; `untyped`:
    errors that are not ours; `refused`: how many questions were answered by a typed error."""

    found: frozenset[str]
    wrong: tuple[tuple[str, str], ...]
    untyped: tuple[str, ...]
    refused: int


def every_kind_of_file(root: Path) -> Path:
    """A closed store: plain and sealed segments, blobs of one and of many frames, search, leftovers, quarantine."""
    with holdfast.create(root, actor="Ada") as store:
        handle = store._handle  # noqa: SLF001 - small frames and segments, so that a small store has many
        handle.blobs = LocalBlobs(str(root), Disk(), shape=Shape(frame_bytes=512, one_frame_max=1024, workers=1))
        handle.journal = Journal(str(root), Disk(), segment_bytes=2500)
        _fill(store)
        store.search("words")
        store.gc()
    (root / "tmp" / ("0" * 32 + ".tmp")).write_bytes(b"left by a writer")
    (root / "quarantine" / ("ab" * 32 + ".zst.0000000000000001")).write_bytes(b"set aside")
    return root


def _fill(store: holdfast.Store) -> None:
    put = store.artifacts.put
    put("docs/a.md", "first words\n", metadata={"score": 1.5, "who": "Ada"}, tags=["x", "y"])
    put("docs/a.md", "second words\n", message="better")
    put("docs/deep/b.txt", ("b" * 40 + "end\n") * 20)
    put("gone.txt", "gone\n")
    store.artifacts.delete("gone.txt")
    put("many.bin", MANY_FRAMES)
    put("empty", b"")
    store.collections.update("docs", metadata={"kept": True})
    store.relationships.register_type("explains", family="provenance", description="says why")
    store.relationships.relate("docs/a.md", "depends_on", "docs/deep/b.txt", metadata={"why": "so"})
    run = store.runs.create("train", parameters={"rate": 0.1}, tags=["night"])
    store.runs.link(run, "input", store.get("docs/a.md"))
    store.runs.add_step(run, "load")
    store.artifacts.update("docs/a.md", status="final")


def questions(store: holdfast.Store) -> list[tuple[str, str]]:
    """All that can be asked of a sound store: by what, and id or path."""
    found = [("changes", "")]
    for artifact in [*store.artifacts.list(recursive=True), *store.artifacts.find(deleted=True)]:
        asked = ("artifact", "history", "log", "content")
        found += [(what, f"id:{artifact.id}") for what in asked] + [("path", artifact.path)]
        found += [(f"content@{one.number}", f"id:{artifact.id}") for one in store.artifacts.revisions(artifact)]
    found += [("collection", f"id:{one.id}") for one in store.collections.list(recursive=True)]
    found += [("list", f"id:{one.id}") for one in store.collections.list(recursive=True)]
    found += [("relationship", f"id:{one.id}") for one in store.relationships.find()]
    for run in store.runs.find():
        found += [("run", f"id:{run.id}"), ("steps", f"id:{run.id}"), ("inputs", f"id:{run.id}")]
    return [*found, ("types", "")]


_ASK: dict[str, Callable[[holdfast.Store, str], Any]] = {
    "changes": lambda store, _: {one.seq: one for one in store.changes.list()},
    "artifact": lambda store, of: store.artifacts.get(of, deleted=True),
    "path": lambda store, of: store.artifacts.get(of, deleted=True),
    "history": lambda store, of: store.artifacts.revisions(of),
    "log": lambda store, of: {one.seq: one for one in store.artifacts.log(of)},
    "content": lambda store, of: store.artifacts.read(of),
    "collection": lambda store, of: store.collections.get(of),
    "list": lambda store, of: {one.id: one for one in store.artifacts.list(of)},
    "relationship": lambda store, of: store.relationships.get(of),
    "run": lambda store, of: store.runs.get(of),
    "steps": lambda store, of: {one.id: one for one in store.runs.steps(of)},
    "inputs": lambda store, of: {one.endpoint.id: one for one in store.runs.links(of, "input")},
    "types": lambda store, _: {one.name: one for one in store.relationships.types()},
}


def ask(store: holdfast.Store, question: tuple[str, str]) -> Any:
    """The answer; HoldfastError if the store refuses."""
    what, of = question
    if what.startswith("content@"):
        return store.artifacts.read(of, revision=int(what.partition("@")[2]))
    return _ASK[what](store, of)


def answers(root: Path) -> Answers:
    """Everything that a sound store answers."""
    with holdfast.open(root, read_only=True) as store:
        found: Answers = {}
        for question in questions(store):
            with contextlib.suppress(ContentPurgedError, NotFoundError):  # what even a sound store refuses
                found[question] = ask(store, question)
        return found


def judge(root: Path, truth: Answers, *, read_only: bool = True) -> Verdict:
    """What fsck says of a store that may be damaged, and whether it answers anything wrongly."""
    untyped: list[str] = []
    found: frozenset[str] = frozenset()
    try:
        found = frozenset(check_path(root).counts) - EXPECTED
    except HoldfastError as error:
        found = frozenset({error.code})
    except Exception as error:  # noqa: BLE001 - the point is that there is none
        untyped.append(f"fsck: {error!r}")
    wrong, refused = _wrong_answers(root, truth, untyped, read_only=read_only)
    return Verdict(found, wrong, tuple(untyped), refused)


def _wrong_answers(
    root: Path, truth: Answers, untyped: list[str], *, read_only: bool
) -> tuple[tuple[tuple[str, str], ...], int]:
    wrong: list[tuple[str, str]] = []
    refused = 0
    try:
        store = holdfast.open(root, read_only=read_only, lock_wait_s=2.0)
    except HoldfastError:
        return (), len(truth)
    except Exception as error:  # noqa: BLE001 - the point is that there is none
        untyped.append(f"open: {error!r}")
        return (), len(truth)
    with store:
        for question, true in truth.items():
            try:
                given = ask(store, question)
            except HoldfastError:
                refused += 1
            except Exception as error:  # noqa: BLE001 - the point is that there is none
                untyped.append(f"{question}: {error!r}")
            else:
                if not _is_part_of(given, true):
                    wrong.append(question)
    return tuple(wrong), refused


def _is_part_of(given: Any, true: Any) -> bool:
    """Several things are right if each is; one that is not there is a refusal."""
    if isinstance(given, dict) and isinstance(true, dict):
        return all(key in true and true[key] == value for key, value in given.items())
    return bool(given == true)

"""Everything that can be asked of a store, and whether an answer is right, a part of the right one, or wrong."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import holdfast
from holdfast.errors import ContentPurgedError, HoldfastError, IndexDamagedError, NotFoundError
from holdfast.values.records import RunManifest

Question = tuple[str, str]
"""(what, of which)."""

Answers = dict[Question, Any]
"""What a store answers to everything that can be asked. Several things are a tuple, in their order."""

Store = holdfast.Store
FINDS: dict[str, dict[str, Any]] = {
    "type": {"type": "document"}, "status": {"status": "final"}, "tag": {"tag": "x"}, "name": {"name": "*.txt"},
    "under": {"under": "docs"}, "media": {"media_type": "text/markdown"},
    "score": {"where": holdfast.field("metadata.score") > 1}, "deleted": {"deleted": True},
    **{order: {"order": order} for order in ("created", "updated", "name", "size")},
    **{f"-{order}": {"order": f"-{order}"} for order in ("created", "updated", "name", "size")},
}  # fmt: skip
_STATUS = ("counts", "deleted", "revisions", "logical_bytes", "content_bytes", "stored_bytes", "blobs", "condemned",
           "head_seq", "head_hash", "last_transaction_at", "schema_version")  # fmt: skip
_PAIRS = [("sorted", order) for order in FINDS] + [("deep", ""), ("status", ""), ("head", ""), ("types", "")]
_PLAIN: list[Question] = [("changes", ""), *_PAIRS, ("ties", ""), ("search", "words"), ("runs", ""), ("folders", "")]


def readable(root: Path) -> dict[str, bytes]:
    """`path@revision` and bytes of each revision that can be read, also of what is deleted."""
    found: dict[str, bytes] = {}
    with holdfast.open(root, read_only=True) as store:
        for artifact in [*store.artifacts.list(recursive=True), *store.artifacts.find(deleted=True)]:
            for revision in store.artifacts.revisions(f"id:{artifact.id}"):
                with contextlib.suppress(HoldfastError):
                    data = store.artifacts.read(f"id:{artifact.id}", revision=revision.number)
                    found[f"{artifact.path}@{revision.number}"] = data
    return found


def questions(store: Store) -> list[Question]:
    """All that can be asked of a sound store."""
    found: list[Question] = list(_PLAIN)
    for artifact in [*store.artifacts.list(recursive=True), *store.artifacts.find(deleted=True)]:
        asked = ("artifact", "history", "log", "content")
        found += [(what, f"id:{artifact.id}") for what in asked]
        found.append(("buried" if artifact.deleted_at else "path", artifact.path))
        if artifact.number > 1:  # one that has ties
            found += [(what, f"id:{artifact.id}") for what in ("record log", "up", "down", "of")]
        found += [(f"content@{one.number}", f"id:{artifact.id}") for one in store.artifacts.revisions(artifact)]
    for one in store.collections.list(recursive=True):
        found += [("collection", f"id:{one.id}"), ("list", f"id:{one.id}"), ("folder", one.path)]
    found += [("relationship", f"id:{one.id}") for one in store.relationships.find()]
    for run in store.runs.find():
        found += [(what, f"id:{run.id}") for what in ("run", "steps", "inputs", "manifest")]
    return found


def _find(store: Store, how: str) -> Iterable[Any]:
    return store.artifacts.find(**FINDS[how])


def _status(store: Store, _: str) -> dict[str, Any]:
    found = store.status()
    return {name: getattr(found, name) for name in _STATUS}


def _search(store: Store, words: str) -> Any:
    found = store.search(words)
    if found.indexed_to < found.head:  # it says that it has not looked at everything
        raise IndexDamagedError("the full text does not reach to the newest change", reason="behind")
    return tuple(hit.artifact for hit in found.hits)


def _lineage(store: Store, of: str, way: Any) -> Any:
    found = store.relationships.lineage(store.get(of), direction=way)
    return found.nodes, found.edges


_ASK: dict[str, Callable[[Store, str], Any]] = {
    "changes": lambda store, _: tuple(store.changes.list()),
    "sorted": lambda store, how: tuple(_find(store, how)),
    "deep": lambda store, _: tuple(store.artifacts.list(recursive=True)),
    "folders": lambda store, _: tuple(store.collections.list(recursive=True)),
    "ties": lambda store, _: tuple(store.relationships.find()),
    "runs": lambda store, _: tuple(store.runs.find()),
    "status": _status,
    "head": lambda store, _: store.changes.head(),
    "search": _search,
    "artifact": lambda store, of: store.artifacts.get(of, deleted=True),
    "path": lambda store, of: store.artifacts.get(of),
    "buried": lambda store, of: store.artifacts.get(of, deleted=True),
    "history": lambda store, of: tuple(store.artifacts.revisions(of)),
    "log": lambda store, of: tuple(store.artifacts.log(of)),
    "record log": lambda store, of: tuple(store.changes.list(record=of.removeprefix("id:"))),
    "content": lambda store, of: store.artifacts.read(of),
    "up": lambda store, of: _lineage(store, of, "up"),
    "down": lambda store, of: _lineage(store, of, "down"),
    "of": lambda store, of: tuple(store.relationships.of(store.get(of))),
    "collection": lambda store, of: store.collections.get(of),
    "folder": lambda store, of: store.collections.get(of),
    "list": lambda store, of: tuple(store.artifacts.list(of)),
    "relationship": lambda store, of: store.relationships.get(of),
    "run": lambda store, of: store.runs.get(of),
    "steps": lambda store, of: tuple(store.runs.steps(of)),
    "inputs": lambda store, of: tuple(store.runs.links(of, "input")),
    "manifest": lambda store, of: store.runs.manifest(of),
    "types": lambda store, _: tuple(store.relationships.types()),
}


def ask(store: Store, question: Question) -> Any:
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
            # What even a sound store refuses; full text may be behind where somebody writes.
            with contextlib.suppress(ContentPurgedError, NotFoundError, IndexDamagedError):
                found[question] = ask(store, question)
        return found


def wrong_or_absent(store: Store, truth: Answers) -> tuple[list[str], list[str], list[str], int]:
    """(questions answered wrongly, with less than there is and no error, with an error that is not ours; refusals)."""
    wrong: list[str] = []
    absent: list[str] = []
    untyped: list[str] = []
    refused = 0
    for question, true in truth.items():
        try:
            given = ask(store, question)
        except NotFoundError:
            absent.append(" ".join(question))
        except HoldfastError:
            refused += 1
        except Exception as error:  # noqa: BLE001 - the point is that there is none
            untyped.append(f"{question}: {error!r}")
        else:
            if given != true:
                (absent if _is_less(given, true) else wrong).append(" ".join(question))
    return wrong, absent, untyped, refused


def _is_less(given: Any, true: Any) -> bool:
    """Whether an answer lacks things, and is right in all it has, in the right order."""
    if isinstance(given, RunManifest) and isinstance(true, RunManifest):
        return given.run == true.run and _is_less(_parts(given), _parts(true))
    if not isinstance(given, tuple) or not isinstance(true, tuple) or len(given) > len(true):
        return False
    if any(isinstance(one, tuple) for one in true):  # several lists: of lineage, nodes and edges
        return all(one == other or _is_less(one, other) for one, other in zip(given, true, strict=True))
    rest = iter(true)
    return all(any(one == other for other in rest) for one in given)


def _parts(manifest: RunManifest) -> tuple[tuple[Any, ...], ...]:
    return manifest.steps, manifest.inputs, manifest.outputs

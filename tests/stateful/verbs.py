"""The public verbs of the library, found by looking at its classes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import holdfast
from holdfast.care.audit import Auditing
from holdfast.kinds import artifacts
from holdfast.kinds.changes import Changes
from holdfast.kinds.collections import Collections
from holdfast.kinds.indexes import Indexes
from holdfast.kinds.readings import Artifacts
from holdfast.kinds.relationships import Relationships
from holdfast.kinds.running import RunHandle, StepHandle
from holdfast.kinds.runs import Runs
from holdfast.kinds.searching import Searching
from holdfast.store import Store

NOUNS = {
    "store": (Store,), "artifacts": (artifacts.Artifacts, Artifacts), "collections": (Collections,),
    "relationships": (Relationships,), "runs": (Runs,), "changes": (Changes,), "search": (Searching,),
    "indexes": (Indexes,), "audit": (Auditing,), "run": (RunHandle,), "step": (StepHandle,),
}  # fmt: skip
FUNCTIONS = ("create", "doctor", "fsck", "open", "rebuild", "recover", "repair")


def public() -> Iterator[tuple[str, Any, str, Callable[..., Any]]]:
    """(verb, owner, attribute, function) of all that a user of the library can call."""
    for noun, classes in NOUNS.items():
        for owner in classes:
            for name, function in vars(owner).items():
                if not inspect.isfunction(function) or _is_anothers(owner, name, function):
                    continue
                if not name.startswith("_") or name == "__call__":
                    yield f"{noun}.{name}" if name != "__call__" else noun, owner, name, function
    for name in FUNCTIONS:
        yield f"holdfast.{name}", holdfast, name, getattr(holdfast, name)


def _is_anothers(owner: type, name: str, function: Callable[..., Any]) -> bool:
    """Whether a method came down from a base: where invariants are checked, the class has those as its own too."""
    above = any(name in vars(base) for base in owner.__mro__[1:-1])
    return above and not function.__qualname__.startswith(f"{owner.__name__}.")

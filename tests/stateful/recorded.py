"""Which public verbs, with which of their parameters, are called from outside of the product while something runs."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import holdfast
from holdfast.care.audit import Auditing
from holdfast.kinds import artifacts
from holdfast.kinds.changes import Changes
from holdfast.kinds.collections import Collections
from holdfast.kinds.readings import Artifacts
from holdfast.kinds.relationships import Relationships
from holdfast.kinds.running import RunHandle, StepHandle
from holdfast.kinds.runs import Runs
from holdfast.kinds.searching import Searching
from holdfast.store import Store

NOUNS = {
    "store": (Store,), "artifacts": (artifacts.Artifacts, Artifacts), "collections": (Collections,),
    "relationships": (Relationships,), "runs": (Runs,), "changes": (Changes,), "search": (Searching,),
    "audit": (Auditing,), "run": (RunHandle,), "step": (StepHandle,),
}  # fmt: skip
FUNCTIONS = ("create", "doctor", "fsck", "open", "rebuild", "recover", "repair")
Call = tuple[str, str]
"""(verb, parameter); parameter "" for the verb itself."""


def public() -> Iterator[tuple[str, Any, str, Callable[..., Any]]]:
    """(verb, owner, attribute, function) of all that a user of the library can call."""
    for noun, classes in NOUNS.items():
        for owner in classes:
            for name, function in vars(owner).items():
                if inspect.isfunction(function) and (not name.startswith("_") or name == "__call__"):
                    yield f"{noun}.{name}" if name != "__call__" else noun, owner, name, function
    for name in FUNCTIONS:
        yield f"holdfast.{name}", holdfast, name, getattr(holdfast, name)


def parameters() -> set[Call]:
    """Every parameter that can be given by its name; "" stands for the verb."""
    found: set[Call] = set()
    for verb, _, _, function in public():
        found.add((verb, ""))
        for one in inspect.signature(function).parameters.values():
            if one.kind is one.KEYWORD_ONLY:
                found.add((verb, one.name))
    return found


def record(patch: pytest.MonkeyPatch) -> set[Call]:
    """From now on, what is called: a verb that calls another counts once."""
    called: set[Call] = set()
    inside = threading.local()

    def wrapped(verb: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*given: Any, **said: Any) -> Any:
            if not getattr(inside, "depth", 0):
                called.update([(verb, ""), *((verb, name) for name, value in said.items() if value is not None)])
            inside.depth = getattr(inside, "depth", 0) + 1
            try:
                return function(*given, **said)
            finally:
                inside.depth -= 1

        return call

    for verb, owner, name, function in list(public()):
        patch.setattr(owner, name, wrapped(verb, function))
    return called

"""What public calls promise of their results: numbered clauses that are checked when HOLDFAST_CONTRACTS=on says so.

So are invariants (kinds/invariants.py). The checks are made by icontract (the extra `contracts`), which is imported
only then: that alone takes as long as a short command. What is not kept is a fault of Holdfast: ContractViolationError,
and a note in the chain.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

from holdfast.engine.handle import Handle
from holdfast.errors import ContractViolationError, MissingDependencyError
from holdfast.kinds import clauses, invariants
from holdfast.kinds.changes import Changes
from holdfast.kinds.collections import Collections
from holdfast.kinds.readings import Artifacts
from holdfast.kinds.relationships import Relationships
from holdfast.kinds.runs import Runs

SWITCH = "HOLDFAST_CONTRACTS"


class Promise(NamedTuple):
    """`noun`, `calls`: of which class and methods; `keeps`: whether a result does, by names that icontract knows.

    `before`: what is looked at when the call begins, to be had as `OLD.before`.
    """

    number: str
    words: str
    noun: type
    calls: tuple[str, ...]
    keeps: Callable[..., bool]
    before: Callable[..., Any] | None = None


def _is_there(result: Any, tx: str | None) -> bool:
    """Whether what was put can be what it says. A repeated transaction gives its first result, deleted since or not."""
    found = result.artifact
    return found.revision.number >= 1 and (found.deleted_at is None or tx is not None)


def _pages(result: Any, limit: int = 100) -> bool:
    return len(result.items) <= limit


PROMISES: tuple[Promise, ...] = (
    Promise("E-1", "what was put is there, and live unless it was put before by the same `tx`", Artifacts,
            ("put", "set_metadata", "revert"), lambda result, tx=None: _is_there(result, tx)),
    Promise("E-2", "what was deleted says so", Artifacts, ("delete",), lambda result: result.deleted_at is not None),
    Promise("E-2", "what was deleted says so", Collections, ("delete",), lambda result: result.deleted_at is not None),
    Promise("E-3", "what was undeleted is live", Artifacts, ("undelete",), lambda result: result.deleted_at is None),
    Promise("E-3", "what was undeleted is live", Collections, ("undelete",), lambda result: result.deleted_at is None),
    Promise("E-4", "revisions are numbered from the newest down to 1", Artifacts, ("revisions",),
            lambda result: [one.number for one in result] == list(range(len(result), 0, -1))),
    Promise("E-5", "a page has no more than its limit", Artifacts, ("page",), _pages),
    Promise("E-5", "a page has no more than its limit", Relationships, ("page",), _pages),
    Promise("E-6", "a lineage goes on by distance from its start, nothing twice", Relationships, ("lineage",),
            lambda result: [n.depth for n in result.nodes] == sorted(n.depth for n in result.nodes)
            and len({n.endpoint for n in result.nodes}) == len(result.nodes) and result.nodes[0].depth == 0),
    Promise("E-7", "a run has the status that it was given", Runs, ("set_status",),
            lambda result, status: str(result.status) == str(getattr(status, "value", status))),
    Promise("E-8", "the seq that comes next is never less than it was", Changes, ("head",),
            lambda self, result, OLD: _never_back(self, OLD.before, result.next_seq),  # noqa: N803 - icontract's word
            lambda self: _next_seen(self)),  # noqa: PLW0108 - as above
)  # fmt: skip
"""In order of number."""

_enforced: list[bool] = []


def _next_seen(changes: Any) -> int:
    found: int = vars(changes._handle).get("seen_next_seq", 1)  # noqa: SLF001 - it belongs to what is looked after
    return found


def _never_back(changes: Any, before: int, next_seq: int) -> bool:
    vars(changes._handle)["seen_next_seq"] = max(_next_seen(changes), next_seq)  # noqa: SLF001 - as above
    return next_seq >= before


def enforce_if_asked(store: type) -> None:
    """Have promises and invariants checked from now on, if the environment says so. `store`: the class of stores.

    MissingDependencyError without the extra.
    """
    if os.environ.get(SWITCH, "").lower() in ("on", "1", "true", "yes"):
        enforce(store)


def enforce(store: type) -> None:
    """Have promises and invariants checked from now on, in this process. MissingDependencyError without the extra."""
    if _enforced:
        return
    _enforced.append(True)
    library = _library()
    invariants.enforce(library, store)
    for one in PROMISES:
        for call in one.calls:
            checked = library.ensure(one.keeps, error=_error(one, call))(getattr(one.noun, call))
            if one.before is not None:
                checked = library.snapshot(one.before, name="before")(checked)
            setattr(one.noun, call, checked)
    for noun in (Artifacts, Collections, Relationships, Runs, Changes):
        for name, method in inspect.getmembers(noun, inspect.isfunction):
            if not name.startswith("_"):
                setattr(noun, name, invariants.noted(method))


def _library() -> ModuleType:
    try:
        import icontract  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as error:
        raise MissingDependencyError(
            f"checking promises needs {error.name}", library="icontract", extra="contracts",
            remedy="pip install 'holdfast[contracts]'",
        ) from error  # fmt: skip
    return icontract


def _error(one: Promise, call: str) -> Callable[..., ContractViolationError]:
    def made(self: Any) -> ContractViolationError:
        handle: Handle = self._handle
        said = f"{one.noun.__name__.lower()}.{call}"
        clauses.note(handle, one.number, said, "postcondition")
        return ContractViolationError(
            f"{said}: {one.words}; it is not so", clause=one.number, call=said, part="postcondition",
            remedy="A fault of Holdfast: run `holdfast fsck`, and report it with what `holdfast doctor` prints.",
        )  # fmt: skip

    return made

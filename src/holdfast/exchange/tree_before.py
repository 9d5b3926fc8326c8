"""What is at a destination before an export: nothing, a tree of ours, somebody's edits in it, or what must stay."""

from __future__ import annotations

import contextlib
import os

from holdfast.engine import past
from holdfast.engine.handle import Handle
from holdfast.errors import DestinationDiffersError, InvalidValueError
from holdfast.exchange import tree_intent
from holdfast.exchange.ground import Ground, Steps
from holdfast.exchange.tree import FORMAT, TOP, Label, Shape, Tree, label_of, place
from holdfast.exchange.tree_compare import Difference, Why, differences, listed

NAMED = 20


def refuse_inside(ground: Ground, handle: Handle) -> None:
    """No export goes into the store itself. InvalidValueError."""
    place_ = os.path.realpath(ground.top)
    root = os.path.realpath(handle.root)
    if place_ == root or place_.startswith(os.path.join(root, "")):
        raise InvalidValueError(
            f"{ground.top!r} lies in the store itself", where="dest", reason="store",
            remedy="Choose a folder outside the store.",
        )  # fmt: skip


def label(ground: Ground) -> Label | None:
    """What FORMAT says; None if there is no tree."""
    data = ground.read((), FORMAT, 4096)
    return None if data is None else label_of(data)


def demand_own(handle: Handle, ground: Ground, before: Label) -> None:
    """DestinationDiffersError unless an earlier state of this store is there."""
    if before.store != handle.marker.store_id:
        raise _refused(ground, ["FORMAT"], 1, "an export of another store is there")
    if not handle.index.chain.passed(before.head.next_seq, before.head.hash):
        raise _refused(ground, ["FORMAT"], 1, "an export of another history of this store is there")


def edits(
    handle: Handle, ground: Ground, before: Label | None, shape: Shape, touched: set[Steps] | None, *, force: bool
) -> list[str]:  # fmt: skip
    """What in the folder is neither as the last export left it nor as the next makes it. DestinationDiffersError.

    `touched`: what is not as the last export left it, if that is known.
    """
    if before is not None:
        demand_own(handle, ground, before)
    elif not any(name in TOP for name in _names(ground)):
        return []
    for state in () if touched is not None else (*([before] if before else ()), *tree_intent.noted(ground)):
        if state.store != handle.marker.store_id or not handle.index.chain.passed(state.head.next_seq, state.head.hash):
            continue
        others = _others(handle, ground, state)
        touched = others if touched is None else touched & others
        if not touched:
            return []
    found = (
        one for one in differences(ground, Tree(handle.index, handle.marker.store_id, shape)) if _counts(one, touched)
    )
    named = [place(one.steps) for one in found]
    if named and not force:
        erased = before is not None and erased_since(handle, before.head.next_seq)
        why = "something was redacted in the store, and still stands in it" if erased else "it was edited"
        raise _refused(ground, named[:NAMED], len(named), f"{why} since it was exported")
    return named


def _others(handle: Handle, ground: Ground, state: Label) -> set[Steps]:
    """What in the folder is not as a state of this store has it."""
    with contextlib.ExitStack() as held:
        now = handle.index.chain.head()
        index = handle.index
        if now is None or now.hash != state.head.hash:
            index = held.enter_context(past.index_at(handle, state.head.next_seq - 1))
        found = differences(ground, Tree(index, state.store, state.shape))
        return {one.steps for one in found if one.why is not Why.MISSING and one.steps != (FORMAT,)}


def erased_since(handle: Handle, seq: int) -> bool:
    """Whether a change from `seq` on redacts something."""
    return any(b'"action":"redact"' in data for data in handle.index.chain.read(seq))


def _counts(one: Difference, touched: set[Steps] | None) -> bool:
    if one.why is Why.MISSING or one.steps == (FORMAT,):
        return False
    return touched is None or one.steps in touched


def _names(ground: Ground) -> list[bytes]:
    names = listed(ground, ())
    assert isinstance(names, list)
    return names


def _refused(ground: Ground, paths: list[str], count: int, why: str) -> DestinationDiffersError:
    return DestinationDiffersError(
        f"{ground.top!r}: {why}: {paths[0]}" + (f" (and {count - 1} more)" if count > 1 else ""),
        path=paths[0], paths=paths, count=count,
        remedy="Take the edits in (`holdfast import`), or save them (`git stash`, `git commit`) and say --force to "
               "overwrite them; or export elsewhere.",
    )  # fmt: skip

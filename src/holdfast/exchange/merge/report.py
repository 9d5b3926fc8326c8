"""What a merge is told (how conflicts are decided, whether what is absent goes), and what it says of each record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from holdfast.errors import InvalidValueError


class Policy(StrEnum):
    """What becomes of a record that both stores changed, or of a name that both gave to different records."""

    FAIL = "fail"  # nothing is imported; the conflicts are named
    SKIP = "skip"  # what conflicts stays out, with what refers to it
    RENAME = "rename"  # theirs comes in beside ours, under another name
    NEWEST = "newest"  # whichever was changed last is newest
    THEIRS = "theirs"  # theirs is newest
    OURS = "ours"  # ours stays newest


class Outcome(StrEnum):
    """What became of a record."""

    ADDED = "added"
    CHANGED = "changed"
    DELETED = "deleted"
    RENAMED = "renamed"  # it came in under another name
    UNITED = "united"  # a record that was here before stands for it
    KEPT = "kept"  # both changed it, ours is newest
    SKIPPED = "skipped"  # it stayed out
    SAME = "same"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Item:
    """What became of one record of theirs (or of ours: a delete by `mirror`). `path`: where it is here, if anywhere."""

    kind: str
    id: str
    path: str
    outcome: Outcome
    detail: str = ""


OnItem = Callable[[Item], None]


@dataclass(frozen=True, slots=True)
class Wish:
    """What the caller wants. `mirror`: what is here and not in what comes in is deleted."""

    policy: Policy = Policy.FAIL
    mirror: bool = False
    dry_run: bool = False
    exact: bool = False
    """An edit in the tree is refused, not taken."""

    edits: bool = False
    """In a new store too, edits are taken: what they took the place of is nowhere, and could be damage as well."""

    most_bytes: int | None = None
    """What a snapshot may hold. None: 1 GiB, or 200 times its file."""


@dataclass(slots=True)
class Account:
    """Everything that a merge has to say. Records that are the same are counted only."""

    counts: Counter[str] = field(default_factory=Counter)
    items: list[Item] = field(default_factory=list)

    def add(self, item: Item) -> None:
        """Take an item in."""
        self.counts[str(item.outcome)] += 1
        if item.outcome is not Outcome.SAME:
            self.items.append(item)

    @property
    def conflicts(self) -> list[Item]:
        """Those that nobody decided."""
        return [one for one in self.items if one.outcome is Outcome.CONFLICT]


def policy_of(word: str) -> Policy:
    """A policy by its word; InvalidValueError."""
    try:
        return Policy(word)
    except ValueError:
        raise InvalidValueError(
            f"{word!r} is no way to decide conflicts", where="on_conflict", reason="unknown",
            remedy=f"Use one of: {', '.join(Policy)}.",
        ) from None  # fmt: skip

"""The vocabulary of relationships: which types there are, in which family, and which way lineage runs along them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum

from holdfast.errors import InvalidValueError, UnknownTypeError
from holdfast.values import patterns
from holdfast.values.frozen import dataclass


class Family(StrEnum):
    """What a relationship type is about."""

    STRUCTURAL = "structural"
    INTENT = "intent"
    VALIDATION = "validation"
    PROVENANCE = "provenance"


class Flow(StrEnum):
    """How lineage runs along a type: which end the other one came from."""

    TARGET = "from-target"  # the source came from the target: `up` goes from source to target
    SOURCE = "from-source"  # the target came from the source
    NONE = "none"  # says nothing of origin: walked only when named, then like TARGET


@dataclass(frozen=True, slots=True)
class RelationshipType:
    """A known type. `source NAME target` reads as a sentence, and so does `target INVERSE source`."""

    name: str
    family: Family
    description: str
    inverse: str = ""
    flow: Flow = Flow.NONE


_S, _I, _V, _P = Family

BUILT_IN: tuple[RelationshipType, ...] = (
    RelationshipType("contains", _S, "The target is a part of the source.", "is contained in"),
    RelationshipType("part_of", _S, "The source is a part of the target.", "has part"),
    RelationshipType("interfaces_with", _S, "The two exchange something across a boundary.", "interfaces with"),
    RelationshipType("satisfies", _I, "The source does what the target demands.", "is satisfied by"),
    RelationshipType("constrained_by", _I, "The target limits what the source may be.", "constrains", Flow.TARGET),
    RelationshipType(
        "affected_by_decision", _I, "The target is a decision that shaped the source.", "affects", Flow.TARGET
    ),
    RelationshipType(
        "based_on_assumption", _I, "The source holds only while the target does.", "is assumed by", Flow.TARGET
    ),
    RelationshipType("supersedes", _I, "The source takes the place of the target.", "is superseded by", Flow.TARGET),
    RelationshipType("analyzed_by", _V, "The target is an analysis of the source.", "analyzes"),
    RelationshipType("validated_by", _V, "The target shows that the source is right.", "validates"),
    RelationshipType("supports", _V, "The source speaks for the target.", "is supported by"),
    RelationshipType("conflicts_with", _V, "The two cannot both hold.", "conflicts with"),
    RelationshipType("depends_on", _V, "The source needs the target.", "is needed by", Flow.TARGET),
    RelationshipType("described_by", _P, "What is known of the source stands in the target.", "describes", Flow.TARGET),
    RelationshipType("updated_by_session", _P, "The target session changed the source.", "updated", Flow.TARGET),
    RelationshipType("evidenced_by", _P, "The target is evidence for the source.", "is evidence for", Flow.TARGET),
    RelationshipType("summarized_in", _P, "The target is a summary of the source.", "summarizes", Flow.SOURCE),
    RelationshipType("derived_from", _P, "The source was made out of the target.", "gave rise to", Flow.TARGET),
)  # fmt: skip

MADE_BY, USED = "made_by", "used"
"""What lineage calls the ties between revisions and runs; no relationship can have these types."""

IRREFLEXIVE = frozenset({"contains", "part_of", "supersedes", "derived_from"})
"""Types that nothing can have to itself."""

_NAME = patterns.later(r"[a-z][a-z0-9_]{0,63}")
_NEAREST = 3


def extension(name: str, family: str, description: str) -> RelationshipType:
    """A type that a user adds. Of the family `provenance` the source came from the target; others lead nowhere.

    Raises InvalidValueError for a name that is not lower_case_words, an unknown family or an empty description.
    """
    if not _NAME.fullmatch(name):
        raise InvalidValueError(
            f"{name!r} cannot be a relationship type", where="name", reason="form",
            remedy="Use 1 to 64 lower-case letters, digits and underscores, beginning with a letter.",
        )  # fmt: skip
    if family not in tuple(Family):
        raise InvalidValueError(
            f"{family!r} is no family of relationship types", where="family", reason="unknown",
            remedy=f"Use one of: {', '.join(Family)}.",
        )  # fmt: skip
    if not description.strip():
        raise InvalidValueError(
            f"the type {name!r} has no description", where="description", reason="empty",
            remedy="Say in one line what the source is to the target.",
        )  # fmt: skip
    flow = Flow.TARGET if family == Family.PROVENANCE else Flow.NONE
    return RelationshipType(name, Family(family), description, flow=flow)


def nearest(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """The known names most like `name`, best first, at most three."""
    wanted = re.sub(r"[\s-]+", "_", name.strip().lower())
    names = sorted(known)
    import difflib  # noqa: PLC0415 - start-up time

    close = difflib.get_close_matches(wanted, names, n=_NEAREST, cutoff=0.6)
    # `derived` is too short beside `derived_from` for the ratio, yet clearly meant.
    begun = [k for k in names if len(wanted) >= 3 and (k.startswith(wanted) or wanted.startswith(k))]
    return tuple(dict.fromkeys([*begun, *close]))[:_NEAREST]


def unknown(name: str, known: Iterable[str]) -> UnknownTypeError:
    """The error for a type outside the vocabulary; it names the nearest known ones."""
    near = nearest(name, known)
    hint = f"; the nearest are {', '.join(near)}" if near else ""
    return UnknownTypeError(f"{name!r} is no known relationship type{hint}", type=name, nearest=list(near))

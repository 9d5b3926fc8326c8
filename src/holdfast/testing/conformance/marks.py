"""Which numbered sentence of a contract a test shows, what a backend says it can do, and what that leaves out."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, TypeVar

import pytest

Test = TypeVar("Test", bound=Callable[..., Any])
_SENTENCE = re.compile(r"^([A-Z]-[0-9]+) +(.*?)(?=^[A-Z]-[0-9]+ |\Z)", re.M | re.S)


class Capability(enum.StrEnum):
    """What not every backend can do. A test that needs one is skipped by name where it is not claimed."""

    DURABLE = "durable"
    """What was written is there after closing, and opening again at the same place."""
    SHARED = "shared"
    """Several handles can have the same place open at once."""
    OVERLAPPING = "overlapping"
    """A thread reads while another has a transaction open."""
    DAMAGED = "damaged"
    """Bytes at rest can be reached, to damage them."""
    SEARCHED = "searched"
    """Full text."""


EVERYTHING = frozenset(Capability)


def shows(*sentences: str, needs: Capability | None = None) -> Callable[[Test], Test]:
    """Say which sentences a test shows, and what a backend must be able to do for it."""

    def mark(test: Test) -> Test:
        test.sentences = sentences  # type: ignore[attr-defined]
        test.needs = needs  # type: ignore[attr-defined]
        return test

    return mark


def each_test(suite: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    """(name, test) of a class of the kit, in the order in which they are written."""
    seen: set[str] = set()
    for one in reversed(suite.__mro__):
        for name in vars(one):
            if name.startswith("test_") and name not in seen:
                seen.add(name)
                yield name, getattr(suite, name)


def sentences_of(test: Callable[..., Any]) -> tuple[str, ...]:
    """What a test shows; () if it says nothing."""
    found: tuple[str, ...] = getattr(test, "sentences", ())
    return found


def contract(module: ModuleType) -> dict[str, str]:
    """The numbered sentences in the docstring of a module: number and words."""
    text = module.__doc__ or ""
    return {number: " ".join(words.split()) for number, words in _SENTENCE.findall(text)}


def demand(test: Callable[..., Any], capabilities: frozenset[Capability]) -> None:
    """Skip a test, by the name of what is missing, that needs what a backend does not claim."""
    needs: Capability | None = getattr(test, "needs", None)
    if needs is not None and needs not in capabilities:
        pytest.skip(f"this backend does not claim to be {needs.value}")

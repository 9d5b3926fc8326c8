"""What the machine's rules draw: few names, so that they meet again, and values of the kinds that stores get wrong."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from hypothesis import strategies as st

NAMES = (
    b"a", b"b", b"d", b"e", "ü".encode(), b"\xff\xfe", rb"\xff\xfe", "u\u0308".encode(), b"a b\n*",
    "\U0001f600".encode(), b"-x", b"n" * 255,
)  # fmt: skip
"""Plain ones, one that is not UTF-8, its display form as a name of its own, one text in two forms of Unicode."""

FOLDERS = (b"", b"d", b"d/e", "ü".encode(), b"\xff\xfe", b"a")
Way = Literal["cascade", "restrict"]
WORDS = ("alpha", "bravo", "charlie", "delta")
TAGS = ("red", "green", "ü", "a,b ")
TYPES = ("file", "note")
RELATIONS = ("supports", "contains", "derived_from", "supersedes", "depends_on", "summarized_in", "follows")


class Long(bytes):
    """Content of several frames that does not fill the screen when a failure is printed."""

    def __repr__(self) -> str:
        return f"Long({self[:16]!r}… {len(self)} bytes)"


@dataclass(frozen=True)
class Known:
    """A record that the model knows, by its handle; `shown` tells people which one it is."""

    handle: int
    shown: str

    def __repr__(self) -> str:
        return f"<{self.shown}>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """How Hypothesis prints it."""
        del cycle
        printer.text(repr(self))


def path_of(folder: bytes, name: bytes) -> bytes:
    """A path from its two parts."""
    return folder + b"/" + name if folder else name


names = st.sampled_from(NAMES)
folders = st.sampled_from(FOLDERS)
paths = st.builds(path_of, folders, names)
by = st.sampled_from(["path", "text", "id"])
"""How a record is named: the bytes of its path, its path as str with surrogate escapes, or its id."""

_numbers = st.sampled_from([0, 1, -1, 1.0, -0.0, 0.1, 1e16, 2**53 + 1, 2**63, -(10**40), True, False, None])
_values = st.recursive(
    _numbers
    | st.sampled_from(["", "x", "1", "ü", "u\u0308", "\x00", "\u2028", "\U0010ffff"])
    | st.text("aZ\u0e33\ud7ff\n", max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["k", "", "ü"]), inner, max_size=2),
    max_leaves=4,
)
metadata = st.dictionaries(st.sampled_from(["k", "ü", "a.b", "", "0"]), _values, max_size=3)
"""A JSON object with integers beyond 64 bits, 1 beside 1.0 and True, text in both forms of Unicode, NUL."""

texts = st.lists(st.sampled_from(WORDS), max_size=4).map(lambda words: " ".join(words).encode())
_BASE = random.Random(20).randbytes(9_000)  # noqa: S311
GROWN = (Long(_BASE[:6_000]), Long(_BASE), Long(_BASE[:2_000] + b"an edit" + _BASE[2_000:]), Long(_BASE[4_000:]))
"""Large enough to be cut where chunks are small (testing.chunk_workloads), and with much in common."""

_ODD = (b"", b"\n" * 9, Long(b"0123456789abcdef" * 20_000))
contents = texts | st.binary(max_size=12) | st.sampled_from([*_ODD, *GROWN])
tags = st.sets(st.sampled_from(TAGS), max_size=2)


def described() -> st.SearchStrategy[dict[str, Any]]:
    """What is said of content when it is put; most of it is left out most of the time."""
    optional = {
        "media_type": st.sampled_from(["text/plain", "application/x-odd"]),
        "metadata": metadata,
        "type": st.sampled_from(TYPES),
        "status": st.sampled_from(["active", "draft"]),
        "owner": st.sampled_from(["", "Ben"]),
        "tags": tags,
        "message": st.sampled_from(["why", "ü\n"]),
    }
    return st.fixed_dictionaries({}, optional=optional)


def among(table: Callable[[Any], list[Any]]) -> st.SearchStrategy[Any]:
    """One of what the machine's model has now."""
    return st.runner().flatmap(lambda machine: st.sampled_from(table(machine)))


def some(table: Callable[[Any], list[Any]]) -> Callable[[Any], bool]:
    """Whether there is one: a rule is not drawn that could only be refused."""
    return lambda machine: bool(table(machine))

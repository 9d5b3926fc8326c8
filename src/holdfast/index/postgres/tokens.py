"""The tokens of an SQL text, and what stands where among them."""

from __future__ import annotations

import re
from collections.abc import Sequence

_TOKEN = re.compile(
    r"""(?P<space>\s+) | (?P<text>'(?:[^']|'')*') | (?P<name>"(?:[^"]|"")*") | (?P<mark>\?\d*)
    | (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    | (?P<word>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)?) | (?P<sign><=|>=|<>|!=|\|\||.)""",
    re.VERBOSE | re.DOTALL,
)


def tokens(sql: str) -> list[str]:
    """The tokens of a text, without the space between them."""
    return [match[0] for match in _TOKEN.finditer(sql) if match.lastgroup != "space"]


def joined(found: Sequence[str]) -> str:
    """The text that tokens make."""
    return re.sub(r"(?<=\() | (?=[,)])", "", " ".join(found))


def closing(found: Sequence[str], opening: int) -> int:
    """Where the parenthesis closes that opens at a place."""
    depth = 0
    for place in range(opening, len(found)):
        depth += {"(": 1, ")": -1}.get(found[place], 0)
        if depth == 0:
            return place
    raise ValueError("a parenthesis is not closed")


def parts(found: Sequence[str]) -> list[list[str]]:
    """The parts between commas that stand in no parenthesis."""
    found_parts: list[list[str]] = [[]]
    depth = 0
    for word in found:
        depth += {"(": 1, ")": -1}.get(word, 0)
        if word == "," and depth == 0:
            found_parts.append([])
        else:
            found_parts[-1].append(word)
    return found_parts


def dropped(found: Sequence[str], run: list[str]) -> list[str]:
    """Tokens without a run of them."""
    out = []
    place = 0
    while place < len(found):
        if found[place : place + len(run)] == run:
            place += len(run)
        else:
            out.append(found[place])
            place += 1
    return out


def is_name(word: str) -> bool:
    """Whether a token is a name as this room writes them."""
    return word.isidentifier() and word.islower()

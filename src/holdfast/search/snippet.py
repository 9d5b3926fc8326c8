"""The piece of a text that shows why it was found; pure, in time linear in the text."""

from __future__ import annotations

import re
from dataclasses import dataclass

from holdfast.search.fold import GAP, WORD, Folding
from holdfast.search.query import Query, Term, parse

WIDTH = 160
_MOST_TERMS = 16
_MOST_MATCHES = 64
"""Matches of each term that are looked at when the best place is chosen."""
_SNAP = 24
"""How far an end of the snippet moves to fall between words."""
_ELLIPSIS = "…"

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Signs that would steer a terminal or turn its writing round."""


@dataclass(frozen=True, slots=True)
class _Match:
    start: int
    end: int
    term: int


def snippet(text: str, query: str | Query, *, width: int = WIDTH, mark: tuple[str, str] = ("[", "]")) -> str:
    """About `width` characters of `text` around the query's words, each match between the two strings of `mark`.

    Shown is the place where most of the query's different terms stand, the first of equals. White space is collapsed,
    control characters are left out, an ellipsis stands where text was cut; marks and ellipses don't count for `width`.
    Where nothing matches (or only in name or metadata) it is the beginning. The text's own brackets are not escaped.
    Raises InvalidQueryError.
    """
    parsed = parse(query) if isinstance(query, str) else query
    folding = Folding(" ".join(text.split()))
    matches = _find(folding, [term for term in parsed.terms if term.field in (None, "text")])
    width = max(1, width)
    start, matches = _best(matches, width)
    return _render(folding.source, matches, _window(folding.source, start, matches, width), mark)


def _find(folding: Folding, terms: list[Term]) -> list[_Match]:
    """Where the terms stand, as spans of the composed text, in order."""
    terms = list(dict.fromkeys(terms))[:_MOST_TERMS]
    if not terms:
        return []
    firsts = "".join({term.words[0][0] for term in terms})
    # Going from first letter to first letter is several times faster than looking behind each character.
    pattern = re.compile(f"[{firsts}](?<!{WORD}{WORD})(?:{'|'.join(f'({_pattern(term)})' for term in terms)})")
    counts = [0] * len(terms)
    found = []
    for match in pattern.finditer(folding.text):
        term = (match.lastindex or 1) - 1
        counts[term] += 1
        if counts[term] <= _MOST_MATCHES:
            end = folding.origin(match.end() - 1) + 1
            found.append(_Match(folding.origin(match.start()), end, term))
    return found


def _pattern(term: Term) -> str:
    """A term after its first letter. Words need no escaping; possessive quantifiers try nothing twice, in any text."""
    words = f"{GAP}++".join(term.words)
    return f"(?<={words[0]}){words[1:]}" + (f"{WORD}*+" if term.prefix else f"(?!{WORD})")


def _best(matches: list[_Match], width: int) -> tuple[int, list[_Match]]:
    """The first match of the window with the most different terms, then the most matches; and all matches in it."""
    inside: dict[int, int] = {}
    best = (0, 0)
    chosen = (0, 0)
    last = 0
    for first, left in enumerate(matches):
        while last < len(matches) and (last == first or matches[last].end <= left.start + width):
            inside[matches[last].term] = inside.get(matches[last].term, 0) + 1
            last += 1
        if (len(inside), last - first) > best:
            best, chosen = (len(inside), last - first), (first, last)
        inside[left.term] -= 1
        if not inside[left.term]:
            del inside[left.term]
    picked = matches[chosen[0] : chosen[1]]
    return (picked[0].start if picked else 0), picked


def _window(text: str, start: int, matches: list[_Match], width: int) -> tuple[int, int]:
    """What to show: the matches with some text before and more after, not cut within a word if one ends nearby."""
    if not matches:
        begin = 0
    else:
        spare = max(0, width - (matches[-1].end - start))
        begin = max(0, min(start - spare // 3, len(text) - width))
    end = min(len(text), begin + width)
    if begin > 0 and text[begin - 1] != " ":
        space = text.find(" ", begin, min(begin + _SNAP, start))
        begin = space + 1 if space >= 0 else begin
    if end < len(text) and text[end] != " ":
        space = text.rfind(" ", max(end - _SNAP, matches[-1].end if matches else begin + 1), end)
        end = space if space >= 0 else end
    return begin, end


def _render(text: str, matches: list[_Match], window: tuple[int, int], mark: tuple[str, str]) -> str:
    begin, end = window
    pieces = [_ELLIPSIS] if begin > 0 else []
    done = begin
    for match in matches:
        start, stop = max(match.start, done), min(match.end, end)
        if start >= stop:
            continue
        pieces += (_plain(text[done:start]), mark[0], _plain(text[start:stop]), mark[1])
        done = stop
    pieces.append(_plain(text[done:end]).rstrip() if end < len(text) else _plain(text[done:end]))
    if end < len(text):
        pieces.append(_ELLIPSIS)
    return "".join(pieces)


def _plain(text: str) -> str:
    return _CONTROLS.sub("", text)

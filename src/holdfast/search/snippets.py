"""The piece of a text that shows why it was found; pure, in time linear in the text."""

from __future__ import annotations

import re
from collections import deque

from holdfast.search.fold import GAP, WORD, Folding
from holdfast.search.query import Query, Term, parse

WIDTH = 160
_MOST_TERMS = 16
_ENOUGH = 6
"""More matches than this don't make a place better."""
_SNAP = 24
"""How far an end of the snippet moves to fall between words."""
_ELLIPSIS = "…"

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Signs that would steer a terminal or turn its writing round."""


def snippet(text: str, query: str | Query, *, width: int = WIDTH, mark: tuple[str, str] = ("[", "]")) -> str:
    """About `width` characters of `text` around the query's words, each match between the two strings of `mark`.

    Shown is the place where most of the query's different terms stand, of several such that with more matches, then
    the first. White space is collapsed, control characters are left out, an ellipsis stands where text was cut; marks
    and ellipses don't count for `width`. Where nothing matches (or only in name or metadata) it is the beginning. The
    text's own brackets are not escaped. Raises InvalidQueryError.
    """
    parsed = parse(query) if isinstance(query, str) else query
    width = max(1, width)
    folding = Folding(" ".join(text.split()))
    terms = list(dict.fromkeys(term for term in parsed.terms if term.field in (None, "text")))[:_MOST_TERMS]
    if not terms:
        return _render(folding.source, [], _window(folding.source, [], width), mark)
    finder = _finder(terms)
    # Folding spreads some scripts out; the place is chosen in folded text, and is that much wider there.
    reach = width * max(1, len(folding.text)) // max(1, len(folding.source))
    best = _best(finder, folding.text, reach)
    window = _window(folding.source, [_origin(folding, match) for match in best], width)
    return _render(folding.source, _shown(finder, folding, best, reach, window[1]), window, mark)


def _finder(terms: list[Term]) -> re.Pattern[str]:
    """One group for each term. Going from first letter to first letter is faster than looking behind each character."""
    firsts = "".join({term.words[0][0] for term in terms})
    return re.compile(f"[{firsts}](?<!{WORD}{WORD})(?:{'|'.join(f'({_pattern(term)})' for term in terms)})")


def _pattern(term: Term) -> str:
    """A term after its first letter. Words need no escaping; possessive quantifiers try nothing twice, in any text."""
    words = f"{GAP}++".join(term.words)
    return f"(?<={words[0]}){words[1:]}" + (f"{WORD}*+" if term.prefix else f"(?!{WORD})")


def _best(finder: re.Pattern[str], folded: str, reach: int) -> list[re.Match[str]]:
    """The matches that make the best place, in order; none if nothing matches."""
    inside: deque[re.Match[str]] = deque()
    counts = [0] * (finder.groups + 1)
    best: tuple[int, int] = (0, 0)
    chosen: list[re.Match[str]] = []
    different = 0
    for match in finder.finditer(folded):
        inside.append(match)
        different += not counts[match.lastindex or 0]
        counts[match.lastindex or 0] += 1
        while len(inside) > 1 and match.end() > inside[0].start() + reach:
            left = inside.popleft().lastindex or 0
            counts[left] -= 1
            different -= not counts[left]
        worth = (different, min(len(inside), _ENOUGH))
        if worth > best:
            best, chosen = worth, list(inside)
            if best == (finder.groups, _ENOUGH):
                break
    return chosen


def _shown(
    finder: re.Pattern[str], folding: Folding, best: list[re.Match[str]], reach: int, end: int
) -> list[tuple[int, int]]:
    """Spans of all matches near the best ones, up to `end`: also those in the text shown around them."""
    spans = []
    for match in finder.finditer(folding.text, max(0, best[0].start() - reach)) if best else ():
        span = _origin(folding, match)
        if span[0] >= end:
            break
        spans.append(span)
    return spans


def _origin(folding: Folding, match: re.Match[str]) -> tuple[int, int]:
    return folding.origin(match.start()), folding.origin(match.end() - 1) + 1


def _window(text: str, matches: list[tuple[int, int]], width: int) -> tuple[int, int]:
    """What to show: the matches with some text before and more after, not cut within a word if one ends nearby."""
    begin = start = 0
    if matches:
        start = matches[0][0]
        spare = max(0, width - (matches[-1][1] - start))
        begin = max(0, min(start - spare // 3, len(text) - width))
    end = min(len(text), begin + width)
    if begin > 0 and text[begin - 1] != " ":
        space = text.find(" ", begin, min(begin + _SNAP, start))
        begin = space + 1 if space >= 0 else begin
    if end < len(text) and text[end] != " ":
        space = text.rfind(" ", max(end - _SNAP, matches[-1][1] if matches else begin + 1), end)
        end = space if space >= 0 else end
    return begin, end


def _render(text: str, matches: list[tuple[int, int]], window: tuple[int, int], mark: tuple[str, str]) -> str:
    begin, end = window
    pieces = [_ELLIPSIS] if begin > 0 else []
    done = begin
    for match in matches:
        start, stop = max(match[0], done), min(match[1], end)
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

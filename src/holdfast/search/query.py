"""The search language for people: words, "phrases", prefixes*, OR, NOT, (groups) and name:, metadata:, text:.

A hand-written parser turns it into a tree of folded words, and that into an FTS5 expression in which every word is
quoted, so that no input can reach FTS5's own syntax (search/server.py says the same tree to PostgreSQL). Operators are
upper-case; every other sign merely stands between words.

    query  = all { "OR" all }
    all    = item { [ "AND" ] item }
    item   = { "NOT" | "-" } [ field ":" ] ( word [ "*" ] | '"' words '"' [ "*" ] | "(" query ")" )
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NoReturn

from holdfast.errors import InvalidQueryError
from holdfast.search import fold
from holdfast.values.frozen import dataclass

MAX_CHARACTERS = 8_192
MAX_WORDS = 256
MAX_DEPTH = 10
"""Groups in groups. FTS5's parser has a stack of 100 symbols, and a group takes at most eight of them."""

COLUMNS = {"name": "name", "metadata": "metadata", "text": "body"}
"""Field that people write → column of the index."""

_SPACE = re.compile(r"\s*")
_FIELD = re.compile(r"(name|metadata|text):\s*")
_MINUS = re.compile(r"-(?=[^-\s)])")
_BARE = re.compile(r'[^\s()"]+')
_OPERATOR = re.compile(r'(AND|OR|NOT)(?=[\s()"]|$)')
_QUOTED = re.compile(r'"([^"]*)"(\*?)')
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Term:
    """Words that must follow each other. `prefix`: the last may go on; `field`: where, None for anywhere."""

    words: tuple[str, ...]
    prefix: bool
    field: str | None


@dataclass(frozen=True, slots=True)
class Every:
    """What must all be there."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """Of which one must be there."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Without:
    """What must be there, and what must not."""

    wanted: Node
    unwanted: Node


Node = Term | Every | Either | Without


@dataclass(frozen=True, slots=True)
class Query:
    """A checked query. `match`: for FTS5; `terms`: what is looked for, without what is excluded, in order.

    `tree`: the whole of it, as it is to be understood.
    """

    source: str
    match: str
    terms: tuple[Term, ...]
    tree: Node


def parse(text: str) -> Query:
    """Check and translate what somebody typed; raises InvalidQueryError that says what is wrong and where.

    Bounds: 8,192 characters, 256 words, groups ten deep.
    """
    if len(text) > MAX_CHARACTERS:
        raise InvalidQueryError(
            f"the search has {len(text)} characters, more than {MAX_CHARACTERS}",
            query=text[:_SHOWN],
            reason="too long",
            at=MAX_CHARACTERS,
        )
    return _Parser(text).parse()


class _Parser:
    """Recursive descent. Each rule returns a part of the tree, or None if it held nothing but signs."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._field: str | None = None
        self._excluded = 0
        self._words = 0
        self._terms: list[Term] = []

    def parse(self) -> Query:
        tree = self._query(0)
        if self._at < len(self._text):
            self._fail("there is a ')' too many")
        if tree is None:
            self._fail("there is no word to search for: it needs a letter or a digit", at=0)
        return Query(self._text, _match(tree), tuple(self._terms), tree)

    def _query(self, depth: int) -> Node | None:
        ways = [self._all(depth)]
        while self._operator("OR"):
            self._need_operand("OR")
            ways.append(self._all(depth))
        return _either([way for way in ways if way is not None])

    def _all(self, depth: int) -> Node | None:
        """Items that must all be there, less those that must not."""
        start = self._at
        wanted: list[Node] = []
        unwanted: list[Node] = []
        for first in self._items():
            if not first and self._operator("AND"):
                self._need_operand("AND")
            negative = self._negations()
            self._excluded += negative
            item = self._item(depth)
            self._excluded -= negative
            if item is not None:
                (unwanted if negative else wanted).append(item)
        if unwanted and not wanted:
            self._fail("it says only what must not be there; add what must", at=start)
        if not wanted:
            return None
        found = wanted[0] if len(wanted) == 1 else Every(tuple(wanted))
        excluded = _either(unwanted)
        return found if excluded is None else Without(found, excluded)

    def _items(self) -> Iterator[bool]:
        """Yields while there is an item to read; True the first time."""
        first = True
        while self._peek() not in ("", ")") and not self._sees("OR"):
            if first and self._sees("AND"):
                self._fail("AND has nothing before it")
            yield first
            first = False
        if first and self._sees("OR"):
            self._fail("OR has nothing before it")

    def _negations(self) -> bool:
        """Whether what follows is excluded; two negations cancel out."""
        negative = False
        while True:
            self._peek()
            if self._operator("NOT"):
                self._need_operand("NOT")
            elif minus := _MINUS.match(self._text, self._at):
                self._at = minus.end()
                self._need_operand("-")
            else:
                return negative
            negative = not negative

    def _item(self, depth: int) -> Node | None:
        field = _FIELD.match(self._text, self._at)
        if field is None:
            return self._operand(depth)
        if self._field is not None:
            self._fail(f"{field[1]}: stands inside {self._field}:")
        self._at = field.end()
        self._need_operand(f"{field[1]}:")
        if _FIELD.match(self._text, self._at):
            self._fail(f"{field[1]}: is followed by another field")
        if _MINUS.match(self._text, self._at) or self._sees("NOT"):
            self._fail(f"the negation must stand before {field[1]}:")
        self._field = field[1]
        match = self._operand(depth)
        self._field = None
        return match

    def _operand(self, depth: int) -> Node | None:
        sign = self._peek()
        if sign == "(":
            return self._group(depth + 1)
        return self._phrase() if sign == '"' else self._word()

    def _group(self, depth: int) -> Node | None:
        start = self._at
        if depth > MAX_DEPTH:
            self._fail(f"groups are nested more than {MAX_DEPTH} deep")
        self._at += 1
        match = self._query(depth)
        if self._peek() != ")":
            self._fail("this '(' is never closed", at=start)
        self._at += 1
        return match

    def _phrase(self) -> Term | None:
        quoted = _QUOTED.match(self._text, self._at)
        if quoted is None:
            self._fail('this " is never closed')
        self._at = quoted.end()
        return self._term(quoted[1], prefix=bool(quoted[2]))

    def _word(self) -> Term | None:
        bare = _BARE.match(self._text, self._at)
        assert bare is not None  # _items and _need_operand saw a sign that is none of the others
        start, word = self._at, bare[0]
        body = word.rstrip("*")
        if "*" in body and fold.words(body):
            self._fail('a * may only end a word (put "…" around it to search for signs)', at=start + word.index("*"))
        self._at = bare.end()
        return self._term(body, prefix=body != word)

    def _term(self, text: str, *, prefix: bool) -> Term | None:
        words = tuple(fold.words(text))
        if not words:
            return None
        self._words += len(words)
        if self._words > MAX_WORDS:
            self._fail(f"there are more than {MAX_WORDS} words")
        found = Term(words, prefix, self._field)
        if not self._excluded:
            self._terms.append(found)
        return found

    def _peek(self) -> str:
        """The next character that is not a space; "" at the end."""
        space = _SPACE.match(self._text, self._at)
        assert space is not None
        self._at = space.end()
        return self._text[self._at : self._at + 1]

    def _sees(self, operator: str) -> bool:
        self._peek()
        found = _OPERATOR.match(self._text, self._at)
        return found is not None and found[1] == operator

    def _operator(self, operator: str) -> bool:
        if not self._sees(operator):
            return False
        self._at += len(operator)
        return True

    def _need_operand(self, what: str) -> None:
        if self._peek() in ("", ")") or self._sees("AND") or self._sees("OR"):
            self._fail(f"{what} is followed by nothing to search for")

    def _fail(self, reason: str, *, at: int | None = None) -> NoReturn:
        place = (self._at if at is None else at) + 1
        raise InvalidQueryError(
            f"cannot search for this: {reason} (character {place})",
            query=self._text[:_SHOWN],
            reason=reason,
            at=place,
        )


def _either(parts: list[Node]) -> Node | None:
    return (parts[0] if len(parts) == 1 else Either(tuple(parts))) if parts else None


def _match(node: Node) -> str:
    """A tree as FTS5 takes it."""
    if isinstance(node, Term):
        column = f"{COLUMNS[node.field]} : " if node.field else ""
        return f'{column}"{" ".join(node.words)}"' + (" *" if node.prefix else "")
    if isinstance(node, Without):
        return f"({_match(node.wanted)} NOT {_match(node.unwanted)})"
    return f"({(' AND ' if isinstance(node, Every) else ' OR ').join(map(_match, node.parts))})"

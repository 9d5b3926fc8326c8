"""Answers to what was asked before it was needed, for as long as they hold.

In a transaction that holds the row of `head` nobody else writes: there an answer holds until a row of a table that it
names is written. Outside it is good for the very next statement, and no other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from holdfast.index.postgres.dialect import Statement
from holdfast.index.postgres.wire import Answer, Given

Having = tuple[Any, ...]
"""Values that a new row has to have, all of them, to change an answer; (): any row may."""

Asked = tuple[Statement, Given, Having]


class Early:
    """What one connection has been asked, or is to be asked, before it is needed."""

    def __init__(self) -> None:
        self._asked: list[Asked] = []
        self._listing: Having | None = None
        self._answers: dict[tuple[bytes, tuple[Any, ...]], tuple[Statement, Having, Answer]] = {}

    def list_those_of(self, ask: Callable[[], object], having: Having) -> None:
        """Call `ask`, whose statements are to be given to `lists`."""
        self._listing = having
        try:
            ask()
        finally:
            self._listing = None

    def lists(self, said: Statement, given: Given) -> bool:
        """Whether a statement is only to be listed just now; it is then."""
        if self._listing is None:
            return False
        self._asked.append((said, given, self._listing))
        return True

    @property
    def is_wanted(self) -> bool:
        """Whether there is anything to ask."""
        return bool(self._asked)

    def take(self) -> list[Asked]:
        """What is to be asked; whoever takes it asks it, and says what came with `keep`."""
        asked, self._asked = self._asked, []
        return asked

    def keep(self, asked: Sequence[Asked], answers: Sequence[Answer]) -> None:
        """The answers, in order."""
        self._answers |= {
            (said.text, tuple(given or ())): (said, having, answer.folded(said.fold))
            for (said, given, having), answer in zip(asked, answers, strict=True)
        }

    def forget(self) -> None:
        """No answer holds any more."""
        self._answers.clear()

    def found(self, said: Statement, given: Given, *, outside: bool) -> Answer | None:
        """The answer to a statement that is about to be sent. Of one that writes: what it changes is forgotten."""
        if not self._answers:
            return None
        if said.repeatable:
            found = self._answers.pop((said.text, tuple(given or ())), None)
            if outside:
                self._answers.clear()
            return None if found is None else found[2]
        if said.table:
            self._answers = {asked: one for asked, one in self._answers.items() if not _changes(said, given, one)}
        elif not said.is_mark:
            self._answers.clear()
        return None


def _changes(said: Statement, given: Given, answer: tuple[Statement, Having, Answer]) -> bool:
    """Whether a statement that writes may make an answer another one."""
    asked, having, _ = answer
    if said.table not in asked.names:
        return False
    return not (said.waits and having) or all(one in (given or ()) for one in having)

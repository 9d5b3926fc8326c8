"""Statements to a server and their answers: as many as are given in one message each way.

psycopg hands each statement of a pipeline to the system by itself, and goes through a cursor for it. Here its wrapper
of libpq (`psycopg.pq`) and its adapters are used alone: a write of four statements in two messages took 0.48 ms so, and
0.18 with this (note 051). COPY, long answers and scripts stay psycopg's.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import re
import selectors
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from psycopg import errors, pq
from psycopg.adapt import PyFormat
from psycopg.adapt import Transformer as _Transformer

from holdfast.index.postgres.proving import Row

Given = Sequence[Any] | None
Transformer = Any
"""psycopg's, whose C and Python forms have no type in common."""

_PREPARED = 512
"""So many texts a connection keeps prepared on the server; then it begins anew."""

_OFTEN = 3
"""A text is prepared when it is said for the third time."""

_FORGET = b"DEALLOCATE ALL"
_MARK = re.compile(rb"%s|%%")
_GOOD = frozenset({pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK, pq.ExecStatus.EMPTY_QUERY})
_PollSelector: type[selectors.BaseSelector] = getattr(selectors, "PollSelector", selectors.SelectSelector)


@functools.lru_cache(4_096)
def numbered(text: bytes) -> bytes:
    """A text with psycopg's marks (`%s`, and `%%` for a percent sign) with the server's: `$1` and so on."""
    numbers = itertools.count(1)
    return _MARK.sub(lambda found: b"%" if found[0] == b"%%" else b"$%d" % next(numbers), text)


class Answer:
    """What one statement gave; its rows become Python's when they are asked for."""

    __slots__ = ("_at", "_fold", "_result", "_transformer", "rowcount")

    def __init__(self, result: pq.abc.PGresult, transformer: Transformer) -> None:
        self._result = result
        self._transformer = transformer
        self._fold: Callable[[Row], Row] | None = None
        self._at = 0
        rows = result.status == pq.ExecStatus.TUPLES_OK
        self.rowcount = result.ntuples if rows else int(result.command_tuples or 0)
        if rows:
            transformer.set_pgresult(result)

    def folded(self, fold: Callable[[Row], Row] | None) -> Answer:
        """The same, each row as `fold` makes it of a fetched one."""
        self._fold = fold
        return self

    @property
    def said(self) -> str:
        """What the server says it did."""
        return (self._result.command_status or b"").decode()

    def fetchall(self) -> list[Row]:
        """All rows; none of a statement that gives none."""
        if self._result.status != pq.ExecStatus.TUPLES_OK:
            return []
        rows: list[Row] = self._transformer.load_rows(self._at, self._result.ntuples, tuple)
        self._at = self._result.ntuples
        return rows if self._fold is None else list(map(self._fold, rows))

    rows = fetchall

    def fetchone(self) -> Row | None:
        """The next row, or None."""
        if self._result.status != pq.ExecStatus.TUPLES_OK or self._at >= self._result.ntuples:
            return None
        row: Row | None = self._transformer.load_row(self._at, tuple)
        self._at += 1
        return row if row is None or self._fold is None else self._fold(row)

    def __iter__(self) -> Any:
        return iter(self.fetchall())

    def close(self) -> None:
        """Nothing is held."""


class Wire:
    """One connection, which nobody else uses meanwhile. Errors are psycopg's.

    An exception in the midst of an exchange (an interrupt) closes the connection: nobody could tell what comes next.
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._libpq = connection.pgconn
        self._names: dict[tuple[bytes, tuple[int, ...]], bytes] = {}
        self._heard: dict[bytes, int] = {}
        self._made = self._prepared = self._forgotten = 0
        self._ready: selectors.BaseSelector | None = None

    @property
    def connection(self) -> psycopg.Connection[Any]:
        """psycopg's, for what is said in its own way."""
        return self._connection

    @property
    def lost(self) -> bool:
        """Whether the server is not at the other end any more, as far as is known."""
        return self._connection.closed

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open; one that failed is until it is rolled back."""
        return self._libpq.transaction_status not in (pq.TransactionStatus.IDLE, pq.TransactionStatus.UNKNOWN)

    def close(self) -> None:
        """Give it back. An open transaction is undone by the server."""
        with contextlib.suppress(psycopg.Error):
            self._connection.close()

    def ask(self, statements: Sequence[tuple[bytes, Given]]) -> list[Answer]:
        """Say statements in order, with marks that are numbered; what each gave.

        The first that fails is raised, and none behind it has done anything. Outside of a transaction they are one.
        """
        plans = [self._plan(text, given) for text, given in statements]  # before anything is sent
        known, forgotten = dict(self._names), self._forgotten
        try:
            self._libpq.enter_pipeline_mode()
            wanted = [one for plan in plans for one in self._send(*plan)]
            self._libpq.pipeline_sync()
            answers = self._answers(wanted)
            self._libpq.exit_pipeline_mode()
        except BaseException as error:
            self._names = known if forgotten == self._forgotten else {}
            if not (isinstance(error, psycopg.Error) and self._libpq.pipeline_status == pq.PipelineStatus.OFF):
                self._give_up(error)
            raise
        return answers

    def _plan(self, text: bytes, given: Given) -> tuple[bytes, Transformer, Sequence[Any] | None]:
        transformer = _Transformer(self._connection)
        values = transformer.dump_sequence(given, [PyFormat.AUTO] * len(given)) if given else None
        return text, transformer, values

    def _send(self, text: bytes, transformer: Transformer, values: Sequence[Any] | None) -> list[Transformer | None]:
        """Put one statement in the buffer; for each of its answers what reads it, None if nobody wants it."""
        types = tuple(transformer.types or ()) if values else ()
        formats = transformer.formats if values else None
        name = self._names.get((text, types))
        if name is not None:
            self._libpq.send_query_prepared(name, values, formats)
            return [transformer]
        if len(self._heard) > 4 * _PREPARED:
            self._heard.clear()
        heard = self._heard[text] = self._heard.get(text, 0) + 1
        if heard < _OFTEN:
            self._libpq.send_query_params(text, values, types or None, formats)
            return [transformer]
        forgotten: list[Transformer | None] = []
        if self._prepared >= _PREPARED:
            self._names, self._prepared = {}, 0
            self._forgotten += 1
            self._libpq.send_query_params(_FORGET, None)
            forgotten = [None]
        self._made += 1
        self._prepared += 1
        name = self._names[text, types] = b"hf%d" % self._made
        self._libpq.send_prepare(name, text, types or None)
        self._libpq.send_query_prepared(name, values, formats)
        return [*forgotten, None, transformer]

    def _answers(self, wanted: Sequence[Transformer | None]) -> list[Answer]:
        """Read to the end of the exchange, whatever fails in it."""
        answers: list[Answer] = []
        failed: psycopg.Error | None = None
        place = 0
        try:
            while self._libpq.flush():
                self._wait(selectors.EVENT_READ | selectors.EVENT_WRITE)
                self._libpq.consume_input()
            while (result := self._next()) is None or result.status != pq.ExecStatus.PIPELINE_SYNC:
                if result is None:  # the end of one statement's answer, or of all
                    if self._libpq.status != pq.ConnStatus.OK:
                        raise psycopg.OperationalError("the connection was lost")
                    continue
                if result.status not in _GOOD:
                    failed = failed or errors.error_from_result(result)
                elif (transformer := wanted[place]) is not None:
                    answers.append(Answer(result, transformer))
                place += 1
        except psycopg.Error as error:
            raise failed or error from None
        if failed is not None:
            self._libpq.exit_pipeline_mode()
            raise failed
        return answers

    def _next(self) -> pq.abc.PGresult | None:
        while self._libpq.is_busy():
            self._wait(selectors.EVENT_READ)
            self._libpq.consume_input()
        return self._libpq.get_result()

    def _wait(self, events: int) -> None:
        if self._ready is None:
            self._ready = _PollSelector()
            self._ready.register(self._libpq.socket, events)
        elif events != selectors.EVENT_READ:
            self._ready.modify(self._libpq.socket, events)
        self._ready.select()
        if events != selectors.EVENT_READ:
            self._ready.modify(self._libpq.socket, selectors.EVENT_READ)

    def _give_up(self, error: BaseException) -> None:
        """What the server still does is called off, as well as can be, and the connection closed."""
        with contextlib.suppress(psycopg.Error):
            if not isinstance(error, psycopg.Error):
                self._connection.cancel_safe(timeout=2.0)
            self._connection.close()

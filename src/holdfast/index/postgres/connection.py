"""A connection to one schema of one server, spoken to as to SQLite's; a lost one is replaced.

What a round trip costs is what a small write costs, and others wait meanwhile. So rows that are made wait, and go with
COMMIT; and what will be asked once the lock is held is asked with it, as soon as somebody can say what that is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import psycopg

from holdfast.errors import StorageIOError
from holdfast.index.postgres import merging
from holdfast.index.postgres.answers import Known
from holdfast.index.postgres.dialect import Statement, translated
from holdfast.index.postgres.early import Asked, Early, Having
from holdfast.index.postgres.merging import Waiting
from holdfast.index.postgres.place import mapped
from holdfast.index.postgres.pool import Pool
from holdfast.index.postgres.proving import Row
from holdfast.index.postgres.wire import Answer, Given, Wire, numbered

_STREAMED = 1_000
_TOGETHER = 500
"""Rows of one statement that are on their way at once."""

VERSION = "PRAGMA data_version"
_OWN = (b"CREATE TEMP TABLE", b"DROP TABLE IF EXISTS pg_temp.")
"""Makes or drops a table of this connection alone: who may only read may do so, in a transaction that says so."""

_BEGIN: list[tuple[bytes, Given]] = [(b"BEGIN", None), (b'SELECT "version" FROM "head" FOR UPDATE', None)]
_COMMIT = b"COMMIT"
_MARK, _RELEASE, _BACK = b"SAVEPOINT", b"RELEASE", b"ROLLBACK TO"
_ERRORS = (psycopg.Error, UnicodeError)


class Link:
    """One thread's connection. Errors come out typed; between transactions a lost one is replaced.

    `total_changes` counts rows as SQLite's does.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._where = str(pool.place)
        self._wire: Wire | None = None
        self._in_use = threading.Lock()  # by its thread; for as long nobody takes the connection from it
        self._is_pinned = False
        self.total_changes = 0
        self._waiting: list[Waiting] = []
        self._early = Early()
        self.version: int | None = None  # of the index, while this connection holds the row that says it

    def _ready(self) -> Wire:
        """The connection, with `_in_use` held."""
        if self._wire is None:
            self._wire = self._pool.take(self)
        return self._wire

    def _renew(self) -> None:
        """Another connection in place of one that was lost."""
        with self._in_use:
            if self._wire is not None:
                self._wire.close()
                self._wire = None
                self._pool.forget(self)
        self._is_pinned = False

    def give_up(self) -> Wire | None:
        """The connection, for another thread; None where this one is in the midst of something, or has none."""
        if not self._in_use.acquire(blocking=False):
            return None
        try:
            wire = self._wire
            if wire is None or self._is_pinned or wire.in_transaction:
                return None
            self._wire = None
            return wire
        finally:
            self._in_use.release()

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open; one that failed is until it is rolled back."""
        wire = self._wire
        return wire is not None and wire.in_transaction

    @property
    def lost(self) -> bool:
        """Whether the server is not at the other end any more, as far as is known."""
        wire = self._wire
        return wire is not None and wire.lost

    def _ask(self, statements: Sequence[tuple[bytes, Given]]) -> list[Answer]:
        """Answers; errors are psycopg's, or typed where no connection can be had."""
        with self._in_use:
            return self._ready().ask(statements)

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Answer | Known:
        """One statement."""
        if sql == VERSION:
            if self.version is not None:
                return Known(((self.version,),))
            if self._early.is_wanted and not self.in_transaction:
                return self._ahead(translated(sql))
        return self.say(translated(sql), parameters)

    def say(self, said: Statement, parameters: Sequence[Any] = ()) -> Answer | Known:
        """One statement that is translated already."""
        given = said.arranged(parameters) if parameters else None
        if self._early.lists(said, given):
            return Known()
        outside = self.version is None and not self.in_transaction
        answer = self._early.found(said, given, outside=outside)
        if answer is not None:
            return answer
        if not outside and self._is_put_off(said, given):
            return Known(rowcount=1)
        if said.text.startswith(_OWN):
            self._is_pinned = True
        if outside and self._pool.read_only and said.text.startswith(_OWN):
            self.script(f"BEGIN READ WRITE; {said.text.decode()}; COMMIT")
            return Known()
        try:
            answer = self._sent(said, given)
        except _ERRORS as error:
            if not (outside and said.repeatable and self.lost):
                raise mapped(error, self._where) from None
            self._renew()
            answer = self._asked([(said.text, given)])[-1]
        if said.writes:
            self.total_changes += answer.rowcount
        return answer.folded(said.fold)

    def _asked(self, statements: Sequence[tuple[bytes, Given]]) -> list[Answer]:
        """Answers; errors typed."""
        try:
            return self._ask(statements)
        except _ERRORS as error:
            raise mapped(error, self._where) from None

    def _is_put_off(self, said: Statement, given: Given) -> bool:
        """Whether a statement need not go now: a row waits, and a mark to come back to until something has to be sent.

        So what is undone before it was sent, and what was not undone, cost the server nothing.
        """
        if said.waits:
            self._waiting.append((said, given or ()))
            self.total_changes += 1
            return True
        verb, _, name = said.text.rpartition(b" ")
        if verb not in (_MARK, _RELEASE, _BACK):
            return False
        places = [place for place, one in enumerate(self._waiting) if one[0].text == _MARK + b" " + name]
        if verb == _BACK:
            self._early.forget()
            self._waiting = self._waiting[: places[-1] + 1] if places else []
            return bool(places)
        if verb == _RELEASE and places:
            del self._waiting[places[-1]]
        else:
            self._waiting.append((said, ()))
        return True

    def _sent(self, said: Statement, given: Given) -> Answer:
        """A statement behind those that wait: all on their way before the first answer is read.

        In a transaction what was foreseen goes behind one that reads.
        """
        waiting, self._waiting = self._waiting, []
        asked = self._early.take() if said.repeatable and self.in_transaction else []
        answers = self._ask(
            [*merging.statements(waiting), (said.text, given), *_texts(asked)]
        )  # fmt: skip
        if not asked:
            return answers[-1]
        self._early.keep(asked, answers[-len(asked) :])
        return answers[-1 - len(asked)]

    def send(self) -> None:
        """Send what waits; errors typed."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._asked(merging.statements(waiting))

    # -- what is asked before it is needed -----------------------------------------------------------------------------

    def foresee(self, ask: Callable[[], object], having: Having = ()) -> None:
        """What `ask` reads is about to be asked: it goes to the server with what is asked, or begun, next.

        `ask` is called at once, and is given no rows. In a transaction an answer holds until a row of a table that it
        names is written; a new row that lacks one of the values in `having` changes nothing.
        """
        self._early.list_those_of(ask, having)

    def _ahead(self, said: Statement) -> Answer | Known:
        """A statement without parameters, outside of a transaction, and what was foreseen behind it."""
        asked = self._early.take()
        self._early.forget()
        try:
            first, *answers = self._ask([(said.text, None), *_texts(asked)])
        except _ERRORS:
            return self.say(said)  # each by itself: the one that is at fault says so
        self._early.keep(asked, answers)
        return first

    def several(self, statements: Sequence[tuple[bytes, Given]]) -> list[list[Row]]:
        """Rows of statements that only read, on their way together; said again if the connection was lost."""
        self.send()
        try:
            answers = self._ask(statements)
        except _ERRORS as error:
            if not self.lost or self.version is not None:
                raise mapped(error, self._where) from None
            self._renew()
            answers = self._asked(statements)
        return [answer.fetchall() for answer in answers]

    # -- many at once --------------------------------------------------------------------------------------------------

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """One statement for each row, in one go."""
        said = translated(sql)
        self._many(said.text, [said.arranged(row) for row in rows])
        self.total_changes += len(rows)

    def direct_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """The same of a statement of PostgreSQL's own."""
        self._many(numbered(sql.encode()), rows)

    def _many(self, text: bytes, rows: Sequence[Sequence[Any]]) -> None:
        self.send()
        self._early.forget()
        for start in range(0, len(rows), _TOGETHER):
            self._asked([(text, row) for row in rows[start : start + _TOGETHER]])

    def stream(self, sql: str) -> Iterator[Row]:
        """Rows of a long answer, a thousand fetched at a time, in the open transaction."""
        said = translated(sql)
        self.send()
        try:
            with self._in_use:
                connection = self._ready().connection
            with connection.cursor(name="stream") as cursor:
                cursor.itersize = _STREAMED
                yield from cursor.execute(said.text)
        except _ERRORS as error:
            raise mapped(error, self._where) from None

    def copy_in(self, text: str, types: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """COPY … FROM STDIN in binary form: rows of columns of these types."""
        self.send()
        self._early.forget()
        try:
            with self._in_use, self._ready().connection.cursor() as cursor, cursor.copy(text.encode()) as copy:
                copy.set_types(types)
                for row in rows:
                    copy.write_row(row)
        except _ERRORS as error:
            raise mapped(error, self._where) from None

    def script(self, text: str) -> None:
        """Statements of PostgreSQL's own, without parameters, in one message. Not repeated whatever happens."""
        if text == "ROLLBACK":
            self._waiting.clear()
        self.send()
        self._early.forget()
        try:
            with self._in_use:
                self._ready().connection.execute(text.encode())
        except psycopg.Error as error:
            raise mapped(error, self._where) from None

    # -- transactions --------------------------------------------------------------------------------------------------

    def begin(self) -> int | None:
        """Begin to write, as the only one: the version of the index, whose row is held until the end. None: it is lost.

        One message, said again on a new connection if the old one was lost.
        """
        self._waiting.clear()
        asked = self._early.take()
        said = [*_BEGIN, *_texts(asked)]
        try:
            _, held, *answers = self._ask(said)
        except _ERRORS as error:
            if not self.lost:
                raise mapped(error, self._where) from None
            self._renew()
            _, held, *answers = self._asked(said)
        self._early.forget()
        self._early.keep(asked, answers)
        row = held.fetchone()
        self.version = None if row is None else int(row[0])
        return self.version

    def commit(self, last: bytes | None) -> None:
        """Send what waits, a last statement and COMMIT, in one go: the first that fails keeps all after it from it.

        The row of the version is free then. Errors typed; StorageIOError: nobody knows whether it counts.
        """
        self.version = None
        self._early.forget()
        waiting, self._waiting = self._waiting, []
        done = self._asked([*merging.statements(waiting, last), (_COMMIT, None)])[-1].said
        if done != "COMMIT":  # so a server says that it has undone a transaction that had failed
            raise StorageIOError(
                f"{self._where} did not commit: {done}", path=self._where, operation="postgresql", errno=0
            )

    def create_function(self, *_: Any, **__: Any) -> None:
        """Functions are in the schema."""

    def close(self) -> None:
        """Give it back. An open transaction is undone by the server."""
        wire = self._wire
        if wire is not None:
            wire.close()


def _texts(asked: Iterable[Asked]) -> Iterator[tuple[bytes, Given]]:
    return ((said.text, given) for said, given, _ in asked)

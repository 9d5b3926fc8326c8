"""The search index of a store in memory: one connection, and one use of it at a time."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from typing import cast

from holdfast import ram
from holdfast.errors import HandleDeadError
from holdfast.search import schema
from holdfast.search.connections import Connections
from holdfast.search.schema import Condition


class RamSearch:
    """The database, and who may use it now. It lives as long as the store, whoever closes what."""

    def __init__(self) -> None:
        self.turn = threading.RLock()
        self.connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        schema.make(self.connection, "")

    def image(self) -> bytes:
        """What a file of it would hold."""
        with self.turn:
            return self.connection.serialize()

    def size_bytes(self) -> int:
        """How long that file would be."""
        with self.turn:
            (pages,) = self.connection.execute("PRAGMA page_count").fetchone()
            (size,) = self.connection.execute("PRAGMA page_size").fetchone()
            return int(pages * size)

    def close(self) -> None:
        """Give its memory back."""
        with self.turn:
            self.connection.close()


class RamConnections(Connections):
    """The same calls as Connections. A feeder keeps searches waiting for the batch that it has at hand."""

    def __init__(self, path: str, *, read_only: bool) -> None:
        super().__init__(path, read_only=read_only)
        self.found = Condition.CURRENT
        self._held = cast("RamSearch", ram.database(path) or ram.put_database(path, RamSearch()))

    @contextlib.contextmanager
    def _lent(self) -> Iterator[sqlite3.Connection | None]:
        if self._closed:
            raise HandleDeadError("this handle of the search index is dead: closed", reason="closed")
        with self._held.turn:
            connection = self._held.connection
            try:
                yield connection
            except BaseException as error:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    self._raise_typed(error)
                raise


def connections_at(path: str, *, read_only: bool) -> Connections:
    """Connections to the search index at a path, which may be one in memory."""
    return (RamConnections if ram.holds(path) else Connections)(path, read_only=read_only)

"""An index whose rows somebody else keeps, as pairs of bytes: a private copy answers, every commit goes to the keeper.

The copy is an SQLite file among temporary ones, so it costs no memory; it is filled when the index is opened, brought
up to date before each read if another handle has committed since, and thrown away. Nothing in it is durable, or needs
to be. What a transaction touches is noted by triggers, so nothing that writes rows has to know of this.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Self

from holdfast.errors import HoldfastError, ReadOnlyError, StorageIOError
from holdfast.index import migrating, pairs, waiting
from holdfast.index.database import Database
from holdfast.index.keeper import Keeper
from holdfast.index.migrations.manifest import LATEST_SCHEMA_VERSION
from holdfast.index.sql import SqlIndex
from holdfast.index.sqlite import SqliteIndex

_UNKNOWN = -1
_COPY = "index.sqlite3"


class _Copy(Database):
    """The private copy. Whoever asks for a connection gets one that sees what was last committed with the keeper."""

    fresh: Callable[[], None] | None = None

    def _connect(self) -> sqlite3.Connection:
        made = super()._connect()
        made.execute("PRAGMA synchronous = OFF")
        return made

    def raw(self) -> sqlite3.Connection:
        """This thread's connection."""
        connection = super().raw()
        if self.fresh is not None and not connection.in_transaction:
            self.fresh()
        return connection


class KeptIndex(SqliteIndex):
    """See contract.py. What is asked of the keeper stands in keeper.py."""

    def __init__(self, keeper: Keeper) -> None:
        """The keeper is closed with the index. Typed errors."""
        self.keeper = keeper
        self._folder = tempfile.mkdtemp(prefix="holdfast-index-")
        self._guard = threading.RLock()
        self._known = _UNKNOWN
        self._in_turn = False
        path = os.path.join(self._folder, _COPY)
        try:
            self._loader = pairs.Loader(path)
            copy = _Copy(path, read_only=keeper.read_only)
            super().__init__(path, read_only=keeper.read_only, database=copy)
            self.path = keeper.where
            self._catch_up()
            copy.fresh = self._catch_up
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    # -- where it is -------------------------------------------------------------------------------------------------

    @property
    def keeps_bytes(self) -> bool:
        """Whether a COMMIT may keep bytes of packs that are not synced: the keeper's steps are durable."""
        return not self.read_only

    def identity(self) -> str:
        """The keeper's."""
        with self._asked():
            return self.keeper.identity()

    def again(self, *, read_only: bool = True) -> Self:
        """Another handle on the same rows, with a copy of its own."""
        with self._asked():
            return type(self)(self.keeper.again(read_only=read_only))

    def close(self) -> None:
        """The copy goes."""
        super().close()
        self._loader.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        with self._asked():
            self.keeper.close()

    # -- transactions ------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Alone with the keeper, on rows that are as new as its own."""
        self._take_turn()
        try:
            pairs.watch(super_raw(self.database))
            super().begin()
        except BaseException:
            self._end_turn()
            raise

    def commit(self) -> None:
        """What was touched goes to the keeper in one step, and is durable then; the copy follows."""
        if not getattr(self._own, "has_turn", False):
            super().commit()
            return
        connection = self.database.raw()
        if not pairs.touched(connection):
            super().commit()
            self._end_turn()
            return
        with self._guard:
            with self._asked():
                version = self.keeper.commit(pairs.changes(connection))
            self._own.has_turn = self._in_turn = False
            pairs.settle(connection)
            self._known = version
            try:
                super().commit()
            except BaseException:
                self._known = _UNKNOWN
                raise

    def rollback(self) -> None:
        """Undo the open transaction; nothing happens if there is none."""
        try:
            super().rollback()
        finally:
            self._end_turn()

    def set_meta(self, key: str, value: str) -> None:
        """Keep a fact, in the open transaction or by itself."""
        with self._step():
            super().set_meta(key, value)

    def unset_meta(self, key: str) -> None:
        """Forget a fact."""
        with self._step():
            super().unset_meta(key)

    def version(self) -> int:
        """See contract.py. What others committed is fetched first, and counts as another connection's."""
        self._catch_up()
        return super().version()

    def wait(self, seen: int, timeout_s: float) -> int:
        """See contract.py. The keeper is asked for its version, up to four times a second."""
        return waiting.polled(self.version, seen, timeout_s)

    # -- all rows at once ----------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """The newest schema."""
        self.migrate()

    def migrate(self) -> None:
        """Bring the schema to the newest version; what that changes is kept in one step."""
        if migrating.check(self.database) != LATEST_SCHEMA_VERSION:
            self._rewrite(super().migrate)

    def change_schema(
        self, manifest: migrating.Manifest, target: int, aside: str, *, told: migrating.Told | None = None
    ) -> int:  # fmt: skip
        """See sql.py: all steps are one for the keeper."""
        found: list[int] = []
        self._rewrite(lambda: found.append(super(KeptIndex, self).change_schema(manifest, target, aside, told=told)))
        return found[0]

    def take_over(self, fresh: SqlIndex) -> None:
        """The rows of a file become the keeper's, in place of all that it had: in one step."""
        self._rewrite(lambda: fresh.backup_into(self))
        self.forget()
        self.checkpoint(force=True)

    def _rewrite(self, work: Callable[[], object]) -> None:
        """Change the copy in whatever way, then have the keeper keep all of it and nothing else."""
        self._take_turn()
        try:
            work()
            with self._guard, self._asked():
                version = self.keeper.replace(pairs.everything(self.database.raw()))
                self._own.has_turn = self._in_turn = False
                self._known = version
        except BaseException:
            self._known = _UNKNOWN
            self._end_turn()
            raise

    # -- a file's cares that this one has not --------------------------------------------------------------------------

    def compact(self, *, up_to_bytes: int) -> None:
        """The copy goes with the handle."""

    def _log_bytes(self) -> int:
        try:
            return os.stat(f"{self.database.path}-wal").st_size
        except OSError:
            return _UNKNOWN

    def _sign_log(self, *, kept: int) -> None:
        """Nobody else ever sees this log."""

    def log_is_own(self) -> bool:
        """As nobody else ever sees it."""
        return True

    # -- the keeper ----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _asked(self) -> Iterator[None]:
        """What a keeper raises that is not ours becomes ours, without its words."""
        try:
            yield
        except HoldfastError:
            raise
        except Exception as error:
            raise StorageIOError(
                f"{self.keeper.where} raised {type(error).__name__}", path=self.keeper.where, operation="keep",
                errno=getattr(error, "errno", None) or 0,
            ) from error  # fmt: skip

    @contextlib.contextmanager
    def _step(self) -> Iterator[None]:
        """In the open transaction of this thread, or in one for this alone."""
        if getattr(self._own, "has_turn", False):
            yield
            return
        self.begin()
        try:
            yield
            self.commit()
        except BaseException:
            self.rollback()
            raise

    def _take_turn(self) -> None:
        if self.read_only:
            raise ReadOnlyError(f"{self.path} is open for reading only", path=self.path)
        if getattr(self._own, "has_turn", False):
            return
        super_raw(self.database)  # HandleDeadError before the keeper is asked for anything
        with self._asked():
            self.keeper.begin()
        try:
            self._catch_up()
        except BaseException:
            with self._asked():
                self.keeper.rollback()
            raise
        self._own.has_turn = self._in_turn = True

    def _end_turn(self) -> None:
        if getattr(self._own, "has_turn", False):
            self._own.has_turn = self._in_turn = False
            with self._asked():
                self.keeper.rollback()

    def _catch_up(self) -> None:
        """Bring the copy to the keeper's state. Nobody else can have changed that while this handle has its turn."""
        with self._asked():
            if self._is_current():
                return
        with self._guard, self._asked():
            if self._is_current():
                return
            found = self.keeper.read(max(self._known, 0))
            self._loader.load(found.items, whole=found.whole)
            self._known = found.version

    def _is_current(self) -> bool:
        return self._in_turn or self.keeper.version() == self._known


def super_raw(copy: Database) -> sqlite3.Connection:
    """A connection of this thread, whatever the keeper's state is."""
    return Database.raw(copy)

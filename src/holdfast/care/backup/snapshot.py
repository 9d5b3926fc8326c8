"""The index as a backup has it: at one moment, at home where it lies, and without what nothing refers to."""

from __future__ import annotations

import secrets

from holdfast.engine import derive
from holdfast.engine.handle import Handle
from holdfast.index.sqlite import LOG, SqliteIndex
from holdfast.index.stored import StoredFiles


def copy_index(handle: Handle, path: str) -> None:
    """Copy a live index to a new file at `path`, by SQLite's backup, in one read. Not yet durable.

    It has no write-ahead log, so that it can be read on any medium; rows of contents that nothing refers to are gone,
    so that they need not be copied.
    """
    target = SqliteIndex(path)
    try:
        target.database.run("PRAGMA journal_mode = OFF")
        target.database.run("PRAGMA synchronous = OFF")
        handle.index.backup_into(target, at_once=True)
        target.database.rows("PRAGMA journal_mode = DELETE")
        target.database.run("PRAGMA synchronous = OFF")
        target.begin()
        StoredFiles(target.database).trim()
        target.unset_meta(LOG)
        target.set_meta(derive.IDENTITY, target.identity())
        target.set_meta(derive.INCARNATION, secrets.token_hex(16))
        target.commit()
    finally:
        target.close()

"""Which SQLite and which Peewee this process works with, for `doctor`."""

from __future__ import annotations

import sqlite3
import sys
from types import ModuleType

import peewee

_USED: ModuleType = vars(peewee)["sqlite3"]
"""The module that Peewee connects with. It must be the only SQLite in the process."""


def versions() -> dict[str, str]:
    """Versions by name."""
    return {
        "peewee": str(vars(peewee)["__version__"]),
        "sqlite": str(vars(_USED)["sqlite_version"]),
        "sqlite module": _USED.__name__,
    }


def second_libraries() -> list[str]:
    """Modules in this process that bring an SQLite of their own: two of them undo each other's locks."""
    loaded = {name for name in ("apsw", "pysqlite3", "sqlcipher3") if name in sys.modules}
    return sorted((loaded | {_USED.__name__}) - {sqlite3.__name__})

"""Loads Peewee without the drivers of servers that it looks for: importing psycopg takes longer than all else.

Only for a process that is ours alone, the command: a program that holds this library may use Peewee with a server too.
"""

from __future__ import annotations

import sys
from importlib import import_module

_DRIVERS = ("psycopg2cffi", "psycopg2", "psycopg", "MySQLdb", "pymysql")


def load_peewee() -> None:
    """Import Peewee if nobody has yet. Drivers can be imported afterwards as ever."""
    if "peewee" in sys.modules:
        return
    hidden = [name for name in _DRIVERS if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type] - Python's own way to say: no such module
    try:
        import_module("peewee")
    finally:
        for name in hidden:
            del sys.modules[name]

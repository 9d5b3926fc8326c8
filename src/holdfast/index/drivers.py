"""Loads Peewee without the drivers of servers that it looks for: importing psycopg takes longer than all else.

Only for a process that is ours alone, the command: a program that holds this library may use Peewee with a server too.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

_DRIVERS = ("psycopg2cffi", "psycopg2", "psycopg", "MySQLdb", "pymysql")


def load_peewee() -> None:
    """Import Peewee if nobody has yet. Drivers can be imported afterwards as ever."""
    if "peewee" in sys.modules:
        return
    hidden = [name for name in _DRIVERS if name not in sys.modules]
    none_there: Any = dict.fromkeys(hidden)  # Python's own way to say that there is no such module
    sys.modules.update(none_there)
    try:
        import_module("peewee")
    finally:
        for name in hidden:
            del sys.modules[name]

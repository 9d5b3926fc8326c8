"""Loads Peewee without the drivers of servers that it looks for: importing psycopg takes longer than all else.

Only for a process that is ours alone, the command: a program that holds this library may use Peewee with a server too.
Peewee composes what is written and knows the schema; who only reads does not need it, so it is loaded when it is used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

_DRIVERS = ("psycopg2cffi", "psycopg2", "psycopg", "MySQLdb", "pymysql")
_ours: list[bool] = []


def process_is_ours() -> None:
    """This process is the command: nobody else in it uses Peewee."""
    _ours.append(True)


def load_peewee() -> None:
    """Import Peewee if nobody has yet, in a process of ours without drivers, which can be imported as ever later."""
    if "peewee" in sys.modules or not _ours:
        return
    hidden = [name for name in _DRIVERS if name not in sys.modules]
    none_there: Any = dict.fromkeys(hidden)  # Python's own way to say that there is no such module
    sys.modules.update(none_there)
    try:
        import_module("peewee")
    finally:
        for name in hidden:
            del sys.modules[name]

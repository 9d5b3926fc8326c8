"""Texts of statements, composed once for a process: all open indexes have the same tables, so the same statements.

Composing the thirteen fixed selects takes Peewee longer than opening the database does.
"""

from __future__ import annotations

from collections.abc import Callable

from peewee import ModelSelect

_TEXTS: dict[str, str] = {}


def once(name: str, compose: Callable[[], ModelSelect]) -> str:
    """The text of the statement with a name; its parameters are left to whoever runs it."""
    text = _TEXTS.get(name)
    if text is None:
        text = _TEXTS[name] = str(compose().sql()[0])
    return text

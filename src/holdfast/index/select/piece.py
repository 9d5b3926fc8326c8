"""A piece of a condition as SQL, with what stands for its marks: pieces are joined, and values stay apart from text."""

from __future__ import annotations

from typing import Any, NamedTuple


class SQL(NamedTuple):
    """A piece. `params`: one value for each `?` in it, in their order."""

    sql: str
    params: tuple[Any, ...] = ()

"""Regular expressions that are compiled when they are first used: compiling one takes longer than importing a module.

Python's own cache behind `re.fullmatch` would do, but each use would look there for the text.
"""

from __future__ import annotations

import re
from typing import Any, AnyStr, cast


class _Later:
    """A pattern to its callers: what they ask of it, it has from the first time on."""

    def __init__(self, text: Any, flags: int) -> None:
        self._said = text, flags

    def __getattr__(self, name: str) -> Any:
        found = getattr(re.compile(*self._said), name)
        setattr(self, name, found)
        return found


def later(text: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """A pattern of text or bytes."""
    return cast("re.Pattern[AnyStr]", _Later(text, flags))

"""Values given as text on the command line: `key=value` pairs, files of JSON, spans of time."""

from __future__ import annotations

from typing import Any

import click

from holdfast.errors import InvalidValueError
from holdfast.values import canon, patterns

_DIGITS = patterns.later(r"[0-9]{1,20}")
_SPAN = patterns.later(r"(\d+(?:\.\d+)?)\s*(s|min|h|d|w|days?|weeks?|hours?)?")
_SECONDS = {"s": 1, "min": 60, "h": 3600, "hour": 3600, "d": 86400, "day": 86400, "w": 604800, "week": 604800}


class Pair(click.ParamType):  # type: ignore[type-arg]
    """`key=value`: the value is JSON if it reads as JSON, else text. What opens like JSON must be JSON."""

    name = "key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        """The key and the JSON value."""
        if isinstance(value, tuple):
            return value
        key, sign, text = str(value).partition("=")
        if not sign or not key:
            self.fail(f"{value!r} is not key=value", param, ctx)
        try:
            return key, canon.decode(text)
        except InvalidValueError as error:
            if text[:1] in ("{", "[", '"'):
                self.fail(f"{key}: {error.message}", param, ctx)
            return key, text


class Span(click.ParamType):  # type: ignore[type-arg]
    """A span of time: `90s`, `20min`, `12h`, `14d`, `2w`; a bare number is seconds."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        match = _SPAN.fullmatch(str(value).strip())
        if match is None:
            self.fail(f"{value!r} is no span of time; write 90s, 20min, 12h, 14d or 2w", param, ctx)
        unit = match[2] or "s"
        return float(match[1]) * _SECONDS.get(unit, _SECONDS.get(unit.rstrip("s"), 1))


class Whole(click.ParamType):  # type: ignore[type-arg]
    """A whole number from `least` on, that fits in 62 bits."""

    name = "number"

    def __init__(self, least: int) -> None:
        self._least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number."""
        if isinstance(value, int):
            return value
        if not _DIGITS.fullmatch(str(value)) or not self._least <= int(value) < 1 << 62:
            self.fail(f"{value!r} is not a whole number from {self._least} on", param, ctx)
        return int(value)


FROM_ZERO = Whole(0)
FROM_ONE = Whole(1)
PAIR = Pair()
SPAN = Span()


def metadata(pairs: tuple[tuple[str, Any], ...], file: str | None) -> dict[str, Any] | None:
    """Metadata of `--meta-json FILE` with the pairs of `--meta` laid over it; None if neither was given."""
    if not pairs and file is None:
        return None
    return {**({} if file is None else read_object(file)), **dict(pairs)}


def read_object(file: str) -> dict[str, Any]:
    """A JSON object from a file (`-`: standard input). InvalidValueError if it is none, OSError if unreadable."""
    with click.open_file(file, "rb") as source:
        value = canon.decode(_text(source.read(), file))
    if not isinstance(value, dict):
        raise InvalidValueError(
            f"{file!r} holds a {type(value).__name__}, not an object", where=file, reason="type",
            remedy='Give a JSON object: {"key": value, …}.',
        )  # fmt: skip
    return value


def _text(data: bytes, file: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidValueError(f"{file!r} is not UTF-8", where=file, reason=str(error)) from error

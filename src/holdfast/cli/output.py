"""Where a command's answer goes: text for people or JSON for programs on stdout, remarks on stderr."""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import Any, TextIO

_STYLES = {"bad": "31", "good": "32", "weak": "2", "strong": "1", "place": "34", "warn": "33"}


class Output:
    """One command's output. Exactly one of text and JSON is printed; quiet drops remarks, never results."""

    def __init__(self, *, json: bool = False, quiet: bool = False) -> None:
        self.json = json
        self.quiet = quiet
        self._coloured = colours(sys.stdout)

    def line(self, shown: str = "") -> None:
        """A line of text, already safe to show; nothing in JSON mode."""
        if not self.json:
            sys.stdout.write(shown + "\n")

    def said(self, shown: str) -> None:
        """What was done, for people; dropped by `--quiet` and in JSON mode."""
        if not self.quiet:
            self.line(shown)

    def lines(self, shown: list[str]) -> None:
        """Several lines of text."""
        for one in shown:
            self.line(one)

    def document(self, value: Any) -> None:
        """The one JSON document of a short command; nothing in text mode."""
        if self.json:
            self._write(value)

    def message(self, kind: str, value: Any) -> None:
        """One line of JSON Lines: `value` with its `message_type`; nothing in text mode."""
        if self.json:
            fields = _plain().plain(value)
            self._write({"message_type": kind, **(fields if isinstance(fields, dict) else {"value": fields})})

    def _write(self, value: Any) -> None:
        sys.stdout.write(_plain().text_of(value) + "\n")

    def flush(self) -> None:
        """Hand over what is buffered, for readers that follow along."""
        sys.stdout.flush()

    def remark(self, shown: str) -> None:
        """A remark beside the result, on stderr; dropped by `--quiet` and in JSON mode."""
        if not self.quiet and not self.json:
            sys.stdout.flush()
            sys.stderr.write(shown + "\n")

    def style(self, shown: str, role: str) -> str:
        """`shown` in the colour of its role, on a terminal that wants colours."""
        wanted = self._coloured and not self.json and role in _STYLES
        return f"\x1b[{_STYLES[role]}m{shown}\x1b[0m" if wanted else shown

    def raw(self, data: bytes) -> None:
        """Bytes as they are (`-z`), after all text written so far."""
        sys.stdout.flush()
        sys.stdout.buffer.write(data)


def _plain() -> ModuleType:
    from holdfast.cli import plain  # noqa: PLC0415

    return plain


def colours(stream: TextIO) -> bool:
    """Whether `stream` is a terminal whose owner has not asked for plain text (no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()


def failure(value: dict[str, Any], *, json: bool) -> None:
    """An error on stderr: one line what, one line the remedy; or one JSON document."""
    if json:
        sys.stderr.write(_plain().text_of({"message_type": "error", **value}) + "\n")
        return
    from holdfast.cli.text import safe  # noqa: PLC0415

    red, off = ("\x1b[31m", "\x1b[0m") if colours(sys.stderr) else ("", "")
    sys.stderr.write(f"{red}error:{off} {safe(str(value['message']))}\n")
    if value.get("remedy"):
        sys.stderr.write(f"hint: {safe(str(value['remedy']))}\n")

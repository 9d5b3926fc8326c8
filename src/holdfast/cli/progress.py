"""Progress of long commands: a bar on a terminal, JSON Lines for programs, silence otherwise."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from holdfast.cli import text
from holdfast.cli.output import Output

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PATIENCE_S = 0.4
"""A command that ends sooner shows no bar (and does not pay for loading rich)."""

REDRAW_S = 0.05
WIDTH = 32

EVERY_S = 1.0
"""Pause between two progress lines in JSON mode."""


class Meter(Protocol):
    """What the API calls while it works. `total` is None when nobody knows it yet."""

    def __call__(self, done: int, total: int | None, what: str, unit: str) -> None:
        """Take note of how far the work is."""
        ...


class Silent:
    """Shows nothing."""

    def __call__(self, done: int, total: int | None, what: str, unit: str) -> None:
        """Nothing to do."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class Spoken(Silent):
    """A line of JSON at most once a second."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._next = time.monotonic() + EVERY_S

    def __call__(self, done: int, total: int | None, what: str, unit: str) -> None:
        """Print if a second has passed."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + EVERY_S
        self._out.message("status", {"done": done, "total": total, "what": what, "unit": unit})
        self._out.flush()


class Bar(Silent):
    """A bar on the terminal, on stderr, gone when the work is."""

    def __init__(self) -> None:
        self._next = time.monotonic() + PATIENCE_S
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __call__(self, done: int, total: int | None, what: str, unit: str) -> None:
        """Draw, once the work has taken long enough to be worth it, and not more often than an eye can follow."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + REDRAW_S
        if self._bar is None or self._task is None:
            self._bar = _make_bar()
            self._bar.start()
            self._task = self._bar.add_task("", total=total, amount="")
        shown = text.safe(what)
        shown = shown if len(shown) <= WIDTH else shown[: WIDTH - 1] + "…"
        self._bar.update(
            self._task, description=f"{shown:<{WIDTH}}", completed=done, total=total, amount=amount(done, total, unit)
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def amount(done: int, total: int | None, unit: str) -> str:
    """How far, in words: `1,200/5,000 files`, `1.2 MiB`."""
    form = text.size if unit == "bytes" else text.number
    said = form(done) if total is None else f"{form(done)}/{form(total)}"
    return said if unit == "bytes" else f"{said} {unit}"


def _make_bar() -> Progress:
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn  # noqa: PLC0415

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[amount]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def meter(out: Output, *, wanted: bool) -> Silent:
    """The way of showing progress that fits where the output goes; a context manager and a Meter."""
    if not wanted or out.quiet:
        return Silent()
    if out.json:
        return Spoken(out)
    return Bar() if sys.stderr.isatty() else Silent()

"""Where the command begins, installed or as `python -m holdfast`, and how Ctrl-C reaches it at any moment."""

from __future__ import annotations

import gc
import signal
import sys
from typing import Any, NoReturn

_LATER_S = 0.01


def main() -> NoReturn:
    """Load the command and run it. Nothing is open or written while it loads: there Ctrl-C ends it at once.

    What is loaded stays until the process ends: the collector of cycles does not look at it, then or at the end, which
    took a tenth of the time of `--help`.
    """
    gc.disable()
    handled = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # else a shell said to ignore it
    if handled:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from holdfast.cli.main import main as command  # noqa: PLC0415

    if handled:
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        sys.unraisablehook = _once_more
        signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.freeze()
    gc.enable()
    try:
        command()
    finally:
        gc.freeze()


def _once_more(lost: Any) -> None:
    """
    Interrupt again a little later when an interrupt came where Python can only ignore it.

    That is in a finalizer or a callback of a weak reference; the lock of every import has one, so that an interrupt
    while modules are loaded was sometimes lost, and the command went on.
    """
    if issubclass(lost.exc_type, KeyboardInterrupt):
        signal.setitimer(signal.ITIMER_REAL, _LATER_S)
    else:
        sys.__unraisablehook__(lost)


if __name__ == "__main__":
    main()

"""Takes in the text of what somebody commits while he goes on: a thread that keeps the full text level."""

from __future__ import annotations

import logging
import threading
from types import TracebackType
from typing import Self

from holdfast.engine import feeding
from holdfast.engine.handle import Handle
from holdfast.engine.recover import Progress
from holdfast.errors import HoldfastError

log = logging.getLogger("holdfast.engine")


class Following:
    """Use it in a `with`: when the block ends without an error all that is committed is taken in.

    A thread, not a process: three fifths of the work are SQLite's, which does not need the interpreter meanwhile.
    What the thread cannot take in, the end of the block tries again, and raises.
    """

    def __init__(self, handle: Handle, progress: Progress | None = None) -> None:
        self._handle = handle
        self._progress = progress
        self._due = threading.Semaphore(0)
        self._ended = False
        self._thread: threading.Thread | None = None

    def committed(self) -> None:
        """There is something to take in."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="holdfast-following", daemon=True)
            self._thread.start()
        self._due.release()

    def _run(self) -> None:
        while self._due.acquire() and not self._ended:
            try:
                feeding.drain(self._handle)
            except HoldfastError as error:
                log.info("following-stopped", extra={"holdfast": {"reason": str(error)}})
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        self._due.release()
        if self._thread is not None:
            self._thread.join()
        if error is None:
            feeding.drain(self._handle, self._progress)

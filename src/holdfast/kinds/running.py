"""A run under way: what a program says of its work while it works, and how the run ends when the work does."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from holdfast.engine.handle import Handle
from holdfast.engine.transaction import write
from holdfast.errors import CancelledError, HoldfastError, IllegalTransitionError
from holdfast.kinds import ambient, executions
from holdfast.kinds.endpoints import Linkable
from holdfast.values import lifecycle
from holdfast.values.records import Direction, Endpoint, Run, RunLink, RunStatus, Step

MAX_REASON = 2000
"""Characters of an error's text that are kept."""


class RunHandle:
    """A run that is being worked in. Each call is durable when it returns."""

    def __init__(self, handle: Handle, run_id: str) -> None:
        self._handle = handle
        self.id = run_id

    @property
    def record(self) -> Run:
        """The run as it is now."""
        return executions.get(self._handle, self.id)

    @property
    def endpoint(self) -> Endpoint:
        """The run as an end of a relationship."""
        return Endpoint("run", self.id)

    def input(self, record: Linkable, role: str = "") -> RunLink:
        """The run reads this. Artifacts are pinned: to the revision a record was read with, else to the newest."""
        return executions.link(self._handle, self.id, Direction.INPUT, record, role=role)

    def output(self, record: Linkable, role: str = "") -> RunLink:
        """The run made this. What is put inside the run is linked by itself; say it here to give it a role."""
        return executions.link(self._handle, self.id, Direction.OUTPUT, record, role=role)

    def diagnose(self, **values: Any) -> None:
        """Add to the run's diagnostics; a key that is there gets the new value."""
        executions.diagnose(self._handle, self.id, values)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[StepHandle]:
        """Work in a step: processing inside, completed at the end, failed or cancelled by an exception, as a run."""
        step = executions.add_step(self._handle, self.id, name)
        executions.set_step_status(self._handle, step, RunStatus.PROCESSING)
        under_way = StepHandle(self._handle, step.id, step.number)
        try:
            yield under_way
        except BaseException as error:
            status, reason = outcome(error)
            with contextlib.suppress(HoldfastError):  # the error itself is what matters now
                said = {"reason": reason} if reason else None
                executions.set_step_status(self._handle, step, status, diagnostics=said)
            raise
        under_way.end()


class StepHandle:
    """A step that is being worked in."""

    def __init__(self, handle: Handle, step_id: str, number: int) -> None:
        self._handle = handle
        self.id = step_id
        self.number = number

    @property
    def record(self) -> Step:
        """The step as it is now."""
        return executions.get_step(self._handle, self.id)

    def diagnose(self, **values: Any) -> None:
        """Add to the step's diagnostics."""
        executions.set_step_status(self._handle, self.id, self.record.status, diagnostics=values)

    def end(self) -> None:
        """Completed, unless somebody has ended it already."""
        if self.record.status not in lifecycle.ENDED:
            executions.set_step_status(self._handle, self.id, RunStatus.COMPLETED)


def begin(handle: Handle, ref: executions.RunRef) -> Run:
    """Set a pending run going; IllegalTransitionError for one that somebody has started.

    Asked with the writer lock held: of two that begin the same run, one is refused.
    """
    with write(handle, what="begin run"):
        run = executions.get(handle, ref)
        if run.status is RunStatus.PROCESSING:
            raise IllegalTransitionError(
                f"run {run.id} has been started already", remedy="Begin a new run, or end this one first.",
                kind="run", id=run.id, from_status=run.status.value, to_status=RunStatus.PROCESSING.value,
                allowed=[status.value for status in lifecycle.ALLOWED[run.status]],
            )  # fmt: skip
        return executions.set_status(handle, run, RunStatus.PROCESSING)


@contextlib.contextmanager
def working(handle: Handle, going: Callable[[], Run]) -> Iterator[RunHandle]:
    """Work in the run that `going` sets going when the block is entered."""
    run = going()
    try:
        with ambient.working_in(handle, run.id):
            yield RunHandle(handle, run.id)
    except BaseException as error:
        status, reason = outcome(error)
        with contextlib.suppress(HoldfastError):  # the error itself is what matters now
            _end(handle, run, status, reason)
        raise
    _end(handle, run, RunStatus.COMPLETED, "")


def _end(handle: Handle, run: Run, status: RunStatus, reason: str) -> None:
    """The end, unless somebody has ended the run meanwhile."""
    if executions.get(handle, run).status not in lifecycle.ENDED:
        executions.set_status(handle, run, status, reason=reason)


def outcome(error: BaseException) -> tuple[RunStatus, str]:
    """How a run ends by an exception: failed by an error, cancelled by an interruption, completed by `exit(0)`."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    reason = text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()[:MAX_REASON]
    if isinstance(error, SystemExit):
        return (RunStatus.COMPLETED, "") if error.code in (None, 0) else (RunStatus.FAILED, reason)
    # What is no Exception interrupts: Ctrl-C, a closed generator, a cancelled task.
    interrupted = isinstance(error, CancelledError) or not isinstance(error, Exception)
    return (RunStatus.CANCELLED if interrupted else RunStatus.FAILED), reason

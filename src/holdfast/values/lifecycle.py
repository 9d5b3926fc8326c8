"""The life of a run or a step, as a table: which status may follow which."""

from __future__ import annotations

from holdfast.errors import IllegalTransitionError, InvalidValueError
from holdfast.values.records import RunStatus

ALLOWED: dict[RunStatus, tuple[RunStatus, ...]] = {
    RunStatus.PENDING: (RunStatus.PROCESSING, RunStatus.CANCELLED),
    RunStatus.PROCESSING: (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED),
    RunStatus.COMPLETED: (),
    RunStatus.FAILED: (),
    RunStatus.CANCELLED: (),
}

ENDED = frozenset(status for status, following in ALLOWED.items() if not following)
"""Nothing follows these."""


def parse(status: str) -> RunStatus:
    """A status from its name; InvalidValueError names those there are."""
    try:
        return RunStatus(status)
    except ValueError as error:
        raise InvalidValueError(
            f"{status!r} is no status", where="status", reason="unknown",
            remedy=f"Use one of: {', '.join(RunStatus)}.",
        ) from error  # fmt: skip


def moves(kind: str, record_id: str, *, current: RunStatus, wanted: RunStatus) -> bool:
    """Whether anything happens: False if the status is what it already was, True for an allowed step.

    Raises IllegalTransitionError, which names the allowed ones, for any other.
    """
    if wanted is current:
        return False
    allowed = ALLOWED[current]
    if wanted not in allowed:
        names = ", ".join(allowed)
        raise IllegalTransitionError(
            f"{kind} {record_id} is {current} and cannot become {wanted}",
            remedy=f"Allowed next: {names}." if allowed else f"A {kind} that is {current} stays so; begin a new one.",
            kind=kind, id=record_id, from_status=current.value, to_status=wanted.value,
            allowed=[status.value for status in allowed],
        )  # fmt: skip
    return True

"""What an earlier state of a store lacks, since it was given up later."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Loss:
    """What cannot be had again of an earlier state. `what`: `purged`, `redacted`, `withdrawn`, or `missing`.

    `seq`: the change that took it (0, if missing: none says so); `id`: the record; `revisions`: of it; `fields`: that
    are erased.
    """

    what: str
    seq: int
    id: str
    revisions: tuple[int, ...] = ()
    fields: tuple[str, ...] = ()

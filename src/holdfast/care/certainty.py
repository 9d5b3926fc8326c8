"""What must be certain before anything is removed: the chain, the rows that follow from it, and the time.

"Not found in the index" means "was never there" only if all of this holds. Each check raises; none writes.
"""

from __future__ import annotations

import time

from holdfast.engine.handle import Handle
from holdfast.errors import ChainBrokenError, ConflictError, IndexDamagedError
from holdfast.formats import lines
from holdfast.formats.lines import Located
from holdfast.index import soundness
from holdfast.values.change import Head

CLOCK_FACT = "clock at condemnation"
_JUMP_S = 3600.0


def prove_chain(handle: Handle) -> None:
    """The journal is one whole chain, and the index has all of it; ChainBrokenError if not."""
    head, altered = handle.origin, ""
    for _, item in handle.journal.scan():
        if isinstance(item, Located):
            if not lines.follows(item.transaction, head):
                raise _broken(f"the journal does not lead on from change {head.next_seq}", head)
            head, altered = item.transaction.head, ""
        elif item.reason != lines.NO_ENTRY:
            altered = item.reason
    _prove_index_has(handle, head, altered)


def _prove_index_has(handle: Handle, head: Head, altered: str) -> None:
    # Read after the journal: a writer commits to the index first, so that it can only be ahead.
    in_index = handle.index.chain.head() or handle.origin
    if in_index.next_seq < head.next_seq:
        raise _broken(f"the index is behind the journal from change {in_index.next_seq} on", in_index)
    if head.next_seq > 1:
        same = handle.index.chain.at(head.next_seq - 1)
        if same is None or same.head.hash != head.hash:
            raise _broken(f"index and journal differ at change {head.next_seq - 1}", head)
    if altered and in_index.next_seq == head.next_seq:
        raise _broken(f"what stands at the end of the journal may have been a transaction ({altered})", head)


def _broken(said: str, head: Head) -> ChainBrokenError:
    return ChainBrokenError(f"{said}: nothing is collected", seq=head.next_seq, where="journal")


def prove_rows(handle: Handle) -> None:
    """The rows that say what may be removed are there, and are what was written; IndexDamagedError if not."""
    doubts = soundness.doubts(handle.index)
    if doubts:
        raise IndexDamagedError(
            f"the index cannot be trusted, so nothing is collected: {'; '.join(doubts[:3])}", reason=doubts[0]
        )


def prove_clock(handle: Handle) -> None:
    """The clock has not jumped, back or forth, as far as anybody can tell; ConflictError if it has.

    Told from the newest transaction, and from how the machine's own time since its start ran beside the clock since the
    last collection. A jump while the machine was off looks like a long rest.
    """
    last = handle.index.chain.head()
    if last is not None and handle.clock.now_us() + int(_JUMP_S * 1e6) < last.time_us:
        raise ConflictError(
            "the clock stands before the newest transaction", remedy="Set the clock right, then run gc again."
        )
    if _jumped(handle.index.meta(CLOCK_FACT)):
        raise ConflictError(
            "the clock has jumped since the last collection: grace periods cannot be told",
            remedy="Check the clock. If it is right now, run `holdfast gc` again after a restart of the machine.",
        )


def clock_fact() -> str:
    """This boot and when it began by the clock: the same boot beginning at another time means the clock was set."""
    return f"{_boot_id()} {time.time() - time.clock_gettime(_BOOT_CLOCK):.0f}"


def _jumped(fact: str | None) -> bool:
    boot, _, began = (fact or "").partition(" ")
    if not began:
        return False
    return boot == _boot_id() and abs(time.time() - time.clock_gettime(_BOOT_CLOCK) - float(began)) > _JUMP_S


_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return "unknown"

"""Exit codes: the one table of what a shell sees when a command ends (DESIGN, section 6)."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """How a command ended. Codes that are not here mean failure."""

    OK = 0
    FAILED = 1
    USAGE = 2
    PARTLY = 3
    FINDINGS = 4
    REPAIRED = 5
    NOT_A_STORE = 10
    LOCKED = 11
    TOO_NEW = 12
    NO_SPACE = 13
    INTERRUPTED = 130


MEANINGS: dict[Exit, str] = {
    Exit.OK: "All was done as asked.",
    Exit.FAILED: "It failed. The message says what of it was done; for a single record that is nothing.",
    Exit.USAGE: "The call itself is wrong: an unknown option, a malformed value. Nothing was written.",
    Exit.PARTLY: "Partly done: some items were left out, each reported; all others are in the store. "
    "`outbox run`: changes were put aside that failed too often. "
    "`fsck --max-duration`: nothing found so far, and time was up; the next goes on.",
    Exit.FINDINGS: "`fsck`, `audit verify`, `backup`, `restore` or `drill` has findings that are still there.",
    Exit.REPAIRED: "`fsck` had findings, and all of them are repaired.",
    Exit.NOT_A_STORE: "The folder is not a store.",
    Exit.LOCKED: "Somebody else holds the lock, for longer than `--lock-wait` allows.",
    Exit.TOO_NEW: "The store's format or the index schema is newer than this software.",
    Exit.NO_SPACE: "The disk or the quota is full.",
    Exit.INTERRUPTED: "Interrupted (Ctrl-C). What was committed stays; nothing is left half done.",
}

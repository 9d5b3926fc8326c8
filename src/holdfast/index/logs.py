"""What a database without its write-ahead log says of the log that belongs to it."""

from __future__ import annotations

from holdfast.errors import HoldfastError
from holdfast.index.database import Database

LOG = "log"
NO_LOG = "0"


def followed_by(path: str) -> str | None:
    """What stands in a database without its write-ahead log as the log that follows."""
    bare = Database(path, read_only=True, without_log=True)
    try:
        row = bare.one("SELECT value FROM meta WHERE key = ?", (LOG,))
    except HoldfastError:
        return None  # half-way through a checkpoint: the log has what is not whole
    finally:
        bare.close_every()
    return (NO_LOG if row is None else str(row[0])).split()[-1]

"""What in the tables of an SQLite file is not as the schema says."""

from __future__ import annotations

import sqlite3

from holdfast.index.database import Database
from holdfast.index.migrations import manifest


def schema_differences(database: Database) -> list[str]:
    """Each in words; none if all is as it was made."""
    fresh = sqlite3.connect(":memory:")
    for step in manifest.MANIFEST:
        for statement in step.up:
            fresh.execute(statement)
    sql = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"
    wanted, found = dict(fresh.execute(sql)), dict(database.rows(sql))
    fresh.close()
    lacking = [f"{name} is missing" for name in sorted(wanted.keys() - found.keys())]
    changed = [f"{n} is not as the schema says" for n in sorted(wanted) if found.get(n, wanted[n]) != wanted[n]]
    return lacking + changed + [f"{name} is not part of the schema" for name in sorted(found.keys() - wanted.keys())]

"""Which migrations there are, in order, each with the checksum of its text: an edited one is refused.

Peewee's own migrations have neither a lock nor checksums; here the writer lock is held and each step is one
transaction with its record. The texts are made by tools/schema_sql.py from the models and frozen.
"""

from __future__ import annotations

import hashlib
import pkgutil

from holdfast.values.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema. `up` and `down` are lists of SQL statements."""

    version: int
    name: str
    release: str
    up: tuple[str, ...]
    down: tuple[str, ...]

    @property
    def checksum(self) -> str:
        """sha256 over all statements."""
        return hashlib.sha256("\0".join([*self.up, "", *self.down]).encode()).hexdigest()


def _statements(resource: str) -> tuple[str, ...]:
    # Not by importlib.resources, which takes a tenth of the time that a short command takes.
    data = pkgutil.get_data(__package__, resource)
    assert data is not None
    text = data.decode("utf-8")
    code = [line for line in text.splitlines() if line and not line.startswith("--")]
    return tuple(part.strip() for part in "\n".join(code).split(";\n") if part.strip())


def _drops(up: tuple[str, ...]) -> tuple[str, ...]:
    """What undoes CREATE TABLE statements: the tables of the first version, last one first."""
    tables = [s.split('"')[1] for s in up if s.startswith("CREATE TABLE")]
    return tuple(f'DROP TABLE "{table}"' for table in reversed(tables))


_INITIAL = tuple(s.rstrip(";") for s in _statements("v0001_initial.sql"))

MANIFEST: tuple[Migration, ...] = (Migration(1, "initial", "0.1.0", _INITIAL, _drops(_INITIAL)),)

LATEST_SCHEMA_VERSION = MANIFEST[-1].version

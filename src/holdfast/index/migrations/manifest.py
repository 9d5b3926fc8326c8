"""Which migrations there are, in order, each with the checksum of its text: an edited one is refused.

Peewee's own migrations have neither a lock nor checksums; here the writer lock is held and each step is one
transaction with its record. The texts are made by tools/schema_sql.py from the models and frozen.
"""

from __future__ import annotations

import hashlib
import pkgutil

from holdfast.values.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Lost:
    """What going down a step would lose: in words, and a query that counts it."""

    what: str
    count: str


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema. `up` and `down` are lists of SQL statements.

    `kinds`: kinds of records that have their rows from this step on. `counts`: what diagnostics count from this step
    on: (key, query). `loses`: what `down` takes with it. None of these is covered by the checksum.
    """

    version: int
    name: str
    release: str
    up: tuple[str, ...]
    down: tuple[str, ...]
    kinds: tuple[str, ...] = ()
    counts: tuple[tuple[str, str], ...] = ()
    loses: tuple[Lost, ...] = ()

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

_KINDS = ("artifact", "collection", "metadata-index", "relationship", "relationship-type", "run", "step")


def _count(*tables: str) -> tuple[tuple[str, str], ...]:
    return tuple((table, f'SELECT count(*) FROM "{table}"') for table in tables)


_COUNTS = _count(
    "tx", "change", "term", "record", "collection", "artifact", "content", "revision", "tagging", "relationship",
    "run", "step", "run_link", "relationship_type", "metadata_index", "metadata_value", "container", "blob", "chunk",
)  # fmt: skip
_EVERYTHING = Lost("transactions, and every row that follows from them", 'SELECT count(*) FROM "tx"')

MANIFEST: tuple[Migration, ...] = (
    Migration(1, "initial", "0.1.0", _INITIAL, _drops(_INITIAL), _KINDS, _COUNTS, (_EVERYTHING,)),
)

LATEST_SCHEMA_VERSION = MANIFEST[-1].version

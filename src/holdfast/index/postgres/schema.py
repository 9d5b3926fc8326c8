"""The schema in PostgreSQL: the statements of the manifest in its dialect, and what only a server needs.

The manifest (migrations/manifest.py) stays the only source: a step here is the step there, said otherwise, and carries
its checksum. Every statement can be said twice. `bootstrap` is the whole of it as one file, for who may not let a
program make tables.
"""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Iterator

from holdfast.errors import InvalidValueError
from holdfast.index import outbox
from holdfast.index.migrations.manifest import MANIFEST, Migration
from holdfast.index.postgres import dialect

DEFAULT_SCHEMA = "holdfast"
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,39}")

DAMAGED = "HF001"
"""The SQLSTATE with which a function of ours refuses a row that is not what its checksum says."""

_HEAD = (
    'CREATE TABLE IF NOT EXISTS "head" ("one" BOOLEAN NOT NULL PRIMARY KEY CHECK ("one"), "version" BIGINT NOT NULL)',
    'INSERT INTO "head" ("one", "version") VALUES (TRUE, 1) ON CONFLICT DO NOTHING',
)
"""One row, held by whoever writes until COMMIT: the order of commits is the order of seqs. It counts them."""

_OUTBOX = tuple(dialect.schema(statement) for statement in outbox.TABLES)

_DERIVED = (
    'ALTER TABLE "revision" ADD COLUMN IF NOT EXISTS "metadata_json" JSONB GENERATED ALWAYS AS (CASE WHEN '
    'length("metadata") < 100000 AND position(\'\\u0000\' IN "metadata") = 0 THEN "metadata"::jsonb END) STORED'
)
"""Only to search by. What is kept is the canonical text: JSONB makes 1e+16 an integer, drops the sign of -0.0 and
refuses \\u0000; where it can't hold a value it is NULL."""

OWN = frozenset({"head", "search_meta", "search_doc", "search_words"})
"""Tables that a file has not."""

_LONG = (
    # These texts may be longer than an entry of a B-tree. That a term stands once is seen to by whoever holds the head.
    ("term_text", "term", "text"),
    ("relationship_source_type", "relationship", "source"),
    ("relationship_target_type", "relationship", "target"),
    ("run_link_target", "run_link", "target"),
    ("relationship_type_name", "relationship_type", "name"),
)


def name(schema: str | None) -> str:
    """The name of a schema as it was given, or the usual one; InvalidValueError."""
    wanted = DEFAULT_SCHEMA if schema is None else schema
    if not _SCHEMA.fullmatch(wanted) or wanted.startswith("pg_"):
        raise InvalidValueError(
            f"{wanted!r} cannot name a schema of ours", where="schema", reason="name",
            remedy="Use 1 to 40 small letters, digits and _, not beginning with a digit or pg_.",
        )  # fmt: skip
    return wanted


def _read(file: str) -> list[str]:
    """The statements of a file of this package: a blank line stands between them, and the first paragraph is words."""
    data = pkgutil.get_data(__package__, file)
    assert data is not None
    return [part.strip() for part in data.decode().split("\n\n")[1:]]


def functions() -> list[str]:
    """The statements that make the functions which translated statements call."""
    return _read("functions.sql")


def steps(step: Migration) -> list[str]:
    """The statements of a step of the manifest, each of which may be said twice."""
    said = [dialect.schema(_hashed(one)) for one in step.up]
    if step.version > 1:
        return said
    return [*functions(), *said, *_HEAD, _DERIVED, *_read("search.sql"), *_OUTBOX]


def _hashed(statement: str) -> str:
    """An index of texts of any length, where the statement makes one."""
    for index, table, column in _LONG:
        if f'INDEX "{index}"' in statement:
            return f'CREATE INDEX "{index}" ON "{table}" USING hash ("{column}")'
    return statement


def record(step: Migration) -> str:
    """The statement that notes a step as done."""
    cells = f"{step.version}, '{step.name}', '{step.checksum}'"
    return f'INSERT INTO "schema_version" ("version", "name", "checksum") VALUES ({cells}) ON CONFLICT DO NOTHING'


_TITLES = {
    "tx": "Audit records: every transaction as it was acknowledged, one link of the hash chain each. The outbox hands\n"
    "-- out what stands here.",
    "change": "Which record a change concerns, where it made no row of its own.",
    "record": "Records: what every record has, of whatever kind; the tables after it add what each kind has.",
    "container": "Where contents lie: files and packs of the blob folder.",
    "meta": "What this index says of itself.",
    "schema_version": "Schema versions: which steps of the manifest were taken, each with its checksum.",
    "search_meta": "Full text: up to where changes are taken in, the documents, and their words. Derived.",
    "outbox_consumer": "The outbox: who consumes changes, up to which one, and who has the lease.",
    "outbox_letter": "The outbox: changes that a consumer could not handle.",
    "head": "The end of the chain is written by whoever holds this row.",
}


def bootstrap(schema: str = DEFAULT_SCHEMA) -> str:
    """The whole schema as one file for `psql`. Applying it again changes nothing."""
    return "".join(_lines(name(schema)))


def _lines(schema: str) -> Iterator[str]:
    yield (
        f"-- Holdfast's index in PostgreSQL, schema version {MANIFEST[-1].version}. Printed by\n"
        "-- `holdfast schema sql --dialect postgresql`, made from the manifest of migrations. May be applied twice.\n"
        f'BEGIN;\nCREATE SCHEMA IF NOT EXISTS "{schema}";\nSET LOCAL search_path = "{schema}";\n'
        "SET LOCAL client_min_messages = warning;\n\n-- Functions that queries call.\n"
    )
    for step in MANIFEST:
        for statement in steps(step):
            table = re.match(r'CREATE TABLE IF NOT EXISTS "(\w+)"', statement)
            if table and table[1] in _TITLES:
                yield f"\n-- {_TITLES[table[1]]}\n"
            yield f"{statement};\n"
        yield f"{record(step)};\n"
    yield "COMMIT;\n"

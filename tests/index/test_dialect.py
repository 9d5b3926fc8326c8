"""SQL as this room writes it, in PostgreSQL's words: one test for each rule, no server needed."""

from __future__ import annotations

import os
import sys
import zlib
from pathlib import Path

import pytest

import holdfast
from holdfast.errors import IndexDamagedError, MissingDependencyError
from holdfast.index import tables
from holdfast.index.metadata import Key
from holdfast.index.postgres import dialect, schema, sortable
from holdfast.index.postgres.dialect import translated

SAME = [
    ("SELECT a FROM t WHERE b = ? AND c = ?", "SELECT a FROM t WHERE b = $1 AND c = $2"),
    ("SELECT a FROM t WHERE b IS ? AND c IS NULL", "SELECT a FROM t WHERE b IS NOT DISTINCT FROM $1 AND c IS NULL"),
    ("SELECT a FROM t WHERE b IS NOT 1 OR c IS NULL", "SELECT a FROM t WHERE b IS DISTINCT FROM 1 OR c IS NULL"),
    ("SELECT a FROM t WHERE d7.value IN () AND (0 AND b)", "SELECT a FROM t WHERE FALSE AND (FALSE AND b)"),
    ("SELECT f(1) FROM t WHERE ((0) OR g(0) > 1)", "SELECT f (1) FROM t WHERE ((FALSE) OR g (0) > 1)"),
    ("SELECT a FROM t WHERE 1 AND NOT 0", "SELECT a FROM t WHERE TRUE AND NOT FALSE"),
    ("SELECT a FROM t WHERE b BETWEEN 1 AND ?", "SELECT a FROM t WHERE b BETWEEN 1 AND $1"),
    ("SELECT a FROM t CROSS JOIN u ON u.b = t.b CROSS JOIN v", "SELECT a FROM t JOIN u ON u.b = t.b CROSS JOIN v"),
    ("SELECT a FROM t INDEXED BY t_b WHERE +b = ?", "SELECT a FROM t WHERE b = $1"),
    ("SELECT max(offset) FROM blob", 'SELECT max ("offset") FROM blob'),
    ("SELECT count(*) FROM (SELECT 1 FROM t LIMIT ?)", "SELECT count (*) FROM (SELECT 1 FROM t LIMIT $1) AS found"),
    ("SELECT ifnull(a, 0) FROM (SELECT a FROM t) u", "SELECT coalesce (a, 0) FROM (SELECT a FROM t) u"),
    ("SELECT a FROM t WHERE b GLOB ?", "SELECT a FROM t WHERE b ~~ glob_like ($1)"),
    ("SELECT '100%', '? IS 1 ''' FROM t WHERE a = ?", "SELECT '100%', '? IS 1 ''' FROM t WHERE a = $1"),
    ("SELECT '100%' FROM t", "SELECT '100%' FROM t"),
    ("INSERT OR IGNORE INTO temp.t VALUES (?)", "INSERT INTO pg_temp.t VALUES ($1) ON CONFLICT DO NOTHING"),
    (
        "CREATE TEMP TABLE t (digest BLOB PRIMARY KEY) WITHOUT ROWID",
        "CREATE TEMP TABLE t (digest BYTEA PRIMARY KEY)",
    ),
    (
        "SELECT n.key FROM json_each(?) AS n CROSS JOIN artifact a ON a.name = json_extract(n.value, '$[1]')",
        "SELECT n.key FROM each ($1) AS n JOIN artifact a ON a.name = (n.value ->> 1)",
    ),
    (
        "SELECT 1 FROM json_each(?) CROSS JOIN blob b WHERE b.content = json_each.value",
        "SELECT 1 FROM each ($1) AS json_each CROSS JOIN blob b WHERE b.content = (json_each.value #>> '{}') ::bigint",
    ),
    (
        "SELECT a.x FROM json_each(?) n CROSS JOIN a ON a.key = n.value",
        "SELECT a.x FROM each ($1) AS n JOIN a ON a.key = (n.value #>> '{}') ::bigint",
    ),
    (
        "SELECT a FROM t WHERE key IN (SELECT value FROM json_each(?))",
        "SELECT a FROM t WHERE key IN (SELECT (value #>> '{}') ::bigint FROM each ($1) AS json_each)",
    ),
    (
        "SELECT 1 FROM m d7 WHERE d7.value >= ? AND d7.value IN (?, ?)",
        "SELECT 1 FROM m d7 WHERE d7.value >= sortable ($1) AND d7.value IN (sortable ($2), sortable ($3))",
    ),
    (
        "UPDATE t SET a = ?1, crc = resigned(crc, 't', k, ?1)",
        (
            "UPDATE t SET a = $1, crc = resigned (crc, '(''t''' || ', ' || repr (k) || ')', "
            "'(''t''' || ', ' || repr ($2) || ')')"
        ),
    ),
]


@pytest.mark.parametrize(("ours", "theirs"), SAME, ids=[ours[:60] for ours, _ in SAME])
def test_a_statement_is_said_in_postgresqls_words(ours: str, theirs: str) -> None:
    assert translated(ours).text.decode() == theirs


def test_a_parameter_that_is_named_twice_is_given_twice() -> None:
    said = translated("SELECT a FROM t WHERE b = ?2 AND c = ?1 AND d = ?2")

    assert said.arranged(["x", "y"]) == ["y", "x", "y"]


def test_what_a_row_proves_itself_by_is_fetched_and_proven_in_python() -> None:
    said = translated("SELECT a.x, proven(b.crc, 'term', b.k, b.n), c.y FROM a JOIN b WHERE proven(b.crc, 'term', b.k)")
    good = zlib.crc32(ascii(("term", 7, "é")).encode())

    assert b"SELECT a.x, b.crc, b.k, b.n, c.y FROM" in said.text
    assert said.fold is not None
    assert said.fold((1, good, 7, "é", 2)) == (1, 1, 2)
    with pytest.raises(IndexDamagedError):
        said.fold((1, good, 8, "é", 2))


def test_the_tags_of_a_record_are_proven_in_python_too() -> None:
    said = translated("SELECT r.key, tags_proven(r.tags, (SELECT group_concat(tag, char(31)) FROM t)) FROM r")

    assert said.fold is not None
    assert said.fold((1, zlib.crc32(b"a\x1fb"), "a\x1fb")) == (1, 1)
    assert said.fold((1, 0, None)) == (1, 1)
    with pytest.raises(IndexDamagedError):
        said.fold((1, 0, "a"))


def test_only_what_reads_and_needs_no_table_of_its_connection_is_said_again_after_a_lost_connection() -> None:
    assert translated("SELECT a FROM t").repeatable
    assert not translated("SELECT a FROM temp.t").repeatable
    assert not translated("INSERT INTO t VALUES (?)").repeatable
    assert not translated("SAVEPOINT one").repeatable


def test_a_statement_of_the_schema_can_be_said_twice() -> None:
    assert dialect.schema('CREATE TABLE "t" ("k" INTEGER, "n" TEXT) WITHOUT ROWID') == (
        'CREATE TABLE IF NOT EXISTS "t" ("k" BIGINT, "n" TEXT COLLATE "C")'
    )
    assert dialect.schema('CREATE UNIQUE INDEX "i" ON "t" ("k")').startswith('CREATE UNIQUE INDEX IF NOT EXISTS "i"')
    assert dialect.schema('INSERT INTO "t" VALUES (1)').endswith("ON CONFLICT DO NOTHING")


KEYS: list[Key] = [
    float("-inf"), -1e300, -(2**53), -1.5, -1, 0, 5e-324, 1, 1.5, 2, 2**53, 1e300, float("inf"), "", "a", "a\x01", "b",
    "é", "\uffff", "\U00010000", b"", b"a", b"n",
]  # fmt: skip


def test_keys_of_declared_indexes_keep_their_order_as_bytes() -> None:
    assert sorted(KEYS, key=sortable.encoded) == KEYS
    assert [sortable.decoded(sortable.encoded(key)) for key in KEYS] == KEYS


def test_the_file_that_the_package_ships_is_what_the_manifest_makes_and_names_its_parts() -> None:
    shipped = Path(schema.__file__).with_name("bootstrap.sql").read_text("utf-8")

    assert shipped == schema.bootstrap()  # python tools/schema_sql.py --bootstrap
    for part in ("Schema versions:", "Records:", "Audit records:", "outbox"):
        assert part in shipped
    for model in tables.models().all():
        assert f'CREATE TABLE IF NOT EXISTS "{model._meta.table_name}"' in shipped


def test_without_the_extra_a_store_on_a_server_is_refused_by_name_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("holdfast.index.postgres.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)

    with pytest.raises(MissingDependencyError) as caught:
        holdfast.create("postgresql://localhost/x", blobs=tmp_path / "s")

    assert caught.value.fields["extra"] == "postgres"
    assert os.listdir(tmp_path / "s") == []

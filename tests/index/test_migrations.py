"""One ordered manifest is the only source of the schema: up, down, again; edited or newer ones are refused."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.errors import HoldfastError, MigrationChangedError, SchemaTooNewError
from holdfast.index import migrating, proof, tables
from holdfast.index.database import Database
from holdfast.index.migrations import manifest
from holdfast.index.migrations.manifest import MANIFEST, Migration
from holdfast.index.sqlite import SqliteIndex

FROZEN = {1: "initial"}
"""Every version that was ever released, with the name it had. Only ever added to."""

MORE = (
    *MANIFEST,
    Migration(2, "colours", "0.2.0", ('CREATE TABLE "colour" ("key" INTEGER PRIMARY KEY)',), ('DROP TABLE "colour"',)),
    Migration(3, "shades", "0.3.0", ('ALTER TABLE "colour" ADD COLUMN "shade" TEXT',),
              ('ALTER TABLE "colour" DROP COLUMN "shade"',)),
)  # fmt: skip


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(str(tmp_path / "index.sqlite3"))
    yield made
    made.close_every()


def schema(database: Database) -> list[tuple[str, str]]:
    return database.rows("SELECT name, sql FROM sqlite_master ORDER BY name")  # type: ignore[return-value]


def test_up_reaches_the_newest_version_and_again_does_nothing(database: Database) -> None:
    assert migrating.version_of(database) == 0
    assert migrating.up(database) == manifest.LATEST_SCHEMA_VERSION
    once = schema(database)

    assert migrating.up(database) == manifest.LATEST_SCHEMA_VERSION
    assert schema(database) == once
    assert [(s.version, s.applied) for s in migrating.status(database)] == [(step.version, True) for step in MANIFEST]


def test_down_takes_everything_away_and_up_brings_it_back(database: Database) -> None:
    migrating.up(database)
    once = schema(database)

    assert migrating.down(database, target=0) == 0
    assert schema(database) == []
    assert migrating.version_of(database) == 0
    assert [s.applied for s in migrating.status(database)] == [False] * len(MANIFEST)
    assert migrating.down(database, target=0) == 0

    assert migrating.up(database) == manifest.LATEST_SCHEMA_VERSION
    assert schema(database) == once


def test_steps_go_up_and_down_one_by_one(database: Database) -> None:
    dumps = []
    for version in (1, 2, 3):
        assert migrating.up(database, MORE, target=version) == version
        dumps.append(schema(database))
    for version in (2, 1):
        assert migrating.down(database, MORE, target=version) == version
        assert schema(database) == dumps[version - 1]
    assert migrating.up(database, MORE, target=0) == 1, "up never goes down"
    assert migrating.up(database, MORE) == 3
    assert schema(database) == dumps[2]


def test_a_step_that_fails_leaves_the_version_before_it(database: Database) -> None:
    broken = (*MORE[:2], Migration(3, "bad", "0.3.0", ('CREATE TABLE "half" ("key" INTEGER)', "NO SQL"), ()))
    with pytest.raises(HoldfastError):
        migrating.up(database, broken)

    assert migrating.version_of(database) == 2
    assert database.one("SELECT 1 FROM sqlite_master WHERE name = 'half'") is None
    assert migrating.up(database, MORE) == 3


def test_a_migration_that_was_edited_after_it_was_applied_is_refused(database: Database) -> None:
    migrating.up(database, MORE)
    edited = (*MORE[:1], Migration(2, "colours", "0.2.0", (*MORE[1].up, "SELECT 1"), MORE[1].down), MORE[2])

    for act in (
        lambda: migrating.up(database, edited),
        lambda: migrating.check(database, edited),
        lambda: migrating.down(database, edited, target=0),
    ):
        with pytest.raises(MigrationChangedError) as caught:
            act()
        assert caught.value.fields["version"] == 2
    assert migrating.version_of(database) == 3


def test_a_newer_schema_is_refused_with_exit_code_12(database: Database) -> None:
    migrating.up(database, MORE)

    for act in (lambda: migrating.check(database), lambda: migrating.up(database), lambda: migrating.status(database)):
        with pytest.raises(SchemaTooNewError) as caught:
            act()
        assert (caught.value.fields["found"], caught.value.fields["known"]) == (3, MANIFEST[-1].version)
        assert caught.value.exit_code == 12


def test_the_manifest_is_in_order_without_gaps_and_each_step_has_its_own_checksum() -> None:
    assert [step.version for step in MANIFEST] == list(range(1, len(MANIFEST) + 1))
    assert {step.version: step.name for step in MANIFEST} == FROZEN
    assert len({step.checksum for step in MORE}) == len(MORE)
    assert all(step.up and step.down and step.release for step in MANIFEST)


def test_models_and_migrations_say_the_same(database: Database) -> None:
    migrating.up(database)
    models = sqlite3.connect(":memory:")
    text = subprocess.run(
        [sys.executable, str(Path(__file__).parents[2] / "tools/schema_sql.py")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    models.executescript(text)
    found = models.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
    models.close()

    assert found == schema(database)


def test_the_frozen_text_of_the_first_version_makes_exactly_the_tables_there_are(database: Database) -> None:
    migrating.up(database, target=1)
    found = {name for (name,) in database.rows("SELECT name FROM sqlite_master WHERE type = 'table'")}

    assert found == {*tables.LOGICAL, *tables.PHYSICAL, tables.PENDING, "meta", "schema_version"}
    assert {model._meta.table_name for model in tables.models().all()} == found
    assert database.rows("SELECT key, kind, name FROM container ORDER BY key") == [
        (-1, "recipes", "recipes"), (0, "loose", "loose"),
    ]  # fmt: skip


def test_two_fresh_indexes_have_one_schema_to_the_letter(tmp_path: Path) -> None:
    dumps = []
    for name in ("one", "two"):
        index = SqliteIndex(str(tmp_path / name))
        index.prepare()
        dumps.append(schema(index.database))
        assert index.trouble() == []
        index.close()

    assert dumps[0] == dumps[1]


def test_an_index_whose_schema_was_tampered_with_says_so(tmp_path: Path) -> None:
    index = SqliteIndex(str(tmp_path / "index"))
    index.prepare()
    index.database.run("DROP INDEX tx_tx")
    index.database.run("CREATE TABLE mine (x)")

    assert index.trouble() == ["tx_tx is missing", "mine is not part of the schema"]
    index.close()


def test_checksums_cover_the_columns_of_the_models_in_their_order() -> None:
    every = {str(model._meta.table_name): model._meta for model in tables.models().all()}
    covered = {
        table: tuple(f.column_name for f in meta.sorted_fields if f.column_name not in ("crc", "data"))
        for table, meta in every.items()
        if "crc" in meta.fields
    }
    assert covered == proof.COLUMNS

"""The schema of an index goes up and down: alone, with a copy, and a kill leaves the old one or the new one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast.care import migrating
from holdfast.care.migrating import MigrationReport
from holdfast.engine.open import Settings
from holdfast.errors import (
    DataLossError,
    InvalidValueError,
    LockedError,
    MigrationChangedError,
    SchemaOutdatedError,
    SchemaTooNewError,
)
from holdfast.index import migrating as runner
from holdfast.index.database import Database
from holdfast.index.migrations import manifest
from holdfast.index.migrations.manifest import MANIFEST, Lost, Migration
from holdfast.index.tables import KIND_CODES, LOGICAL, PHYSICAL
from holdfast.values.change import Actor

COLOURS = Migration(
    2, "colours", "9.0.0",
    ('CREATE TABLE "colour" ("key" INTEGER NOT NULL PRIMARY KEY, "name" TEXT NOT NULL)',
     'INSERT INTO "colour" ("key", "name") SELECT "key", \'grey\' FROM "artifact"',
     'CREATE INDEX "colour_name" ON "colour" ("name")'),
    ('DROP INDEX "colour_name"', 'DROP TABLE "colour"'),
    kinds=("colour",), counts=(("colour", 'SELECT count(*) FROM "colour"'),),
    loses=(Lost("colours that somebody chose", "SELECT count(*) FROM \"colour\" WHERE name <> 'grey'"),),
)  # fmt: skip
SHADES = Migration(
    3, "shades", "9.1.0", ('ALTER TABLE "colour" ADD COLUMN "shade" TEXT',),
    ('ALTER TABLE "colour" DROP COLUMN "shade"',),
)  # fmt: skip
LATER = (*MANIFEST, COLOURS, SHADES)
SETTINGS = Settings(Actor("tess"), wait_s=60)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    with holdfast.create(tmp_path / "store", actor="tess") as store:
        for number in range(3):
            store.put(f"a{number}", f"content {number}")
    return tmp_path / "store"


def up(root: Path, **more: Any) -> MigrationReport:
    return migrating.migrate(str(root), SETTINGS, **{"manifest": LATER, **more})


def dump(path: Path) -> list[str]:
    """Schema and rows, as SQL."""
    raw = sqlite3.connect(path)
    try:
        return [line for line in raw.iterdump() if '"meta"' not in line and '"schema_version"' not in line]
    finally:
        raw.close()


def version(root: Path) -> int:
    database = Database(str(root / "index.sqlite3"))
    try:
        return runner.check(database, LATER)
    finally:
        database.close_every()


def test_up_and_down_again_leaves_every_row_as_it_was(root: Path) -> None:
    before = dump(root / "index.sqlite3")
    told: list[tuple[int, int | None]] = []

    done = up(root, progress=lambda number, of, *_: told.append((number, of)))
    assert (done.before, done.after, [one.name for one in done.steps]) == (1, 3, ["colours", "shades"])
    assert told == [(1, 2), (2, 2)]
    assert version(root) == 3
    assert up(root) == MigrationReport(3, 3, (), "")

    back = up(root, target=1)
    assert (back.before, back.after, [one.direction for one in back.steps]) == (3, 1, ["down", "down"])
    assert dump(root / "index.sqlite3") == before
    with holdfast.open(root) as store:
        assert store.read("a1") == b"content 1"
    assert holdfast.fsck(root).counts.keys() <= {"quarantined"}


def test_what_was_there_before_is_kept_whole(root: Path) -> None:
    before = dump(root / "index.sqlite3")
    done = up(root)
    assert dump(root / done.copy) == before


def test_the_plan_says_what_would_be_done_and_changes_nothing(root: Path) -> None:
    before = (root / "index.sqlite3").read_bytes()
    assert [(one.direction, one.version) for one in migrating.plan(str(root), SETTINGS, manifest=LATER)] == [
        ("up", 2), ("up", 3),
    ]  # fmt: skip
    assert [one.applied for one in migrating.status(str(root), SETTINGS, manifest=LATER)] == [True, False, False]
    assert migrating.status(str(root), SETTINGS, manifest=LATER)[1].kinds == ("colour",)
    assert migrating.plan(str(root), SETTINGS) == []
    assert (root / "index.sqlite3").read_bytes() == before
    for target in (0, 4, True, -1):
        with pytest.raises(InvalidValueError):
            migrating.plan(str(root), SETTINGS, manifest=LATER, target=target)


def test_a_way_down_that_loses_something_says_what_and_needs_a_yes(root: Path) -> None:
    up(root)
    raw = sqlite3.connect(root / "index.sqlite3")
    with raw:
        raw.execute("UPDATE colour SET name = 'red' WHERE key = (SELECT max(key) FROM colour)")
    raw.close()
    held = dump(root / "index.sqlite3")

    assert migrating.plan(str(root), SETTINGS, manifest=LATER, target=1)[1].loses == (
        ("colours that somebody chose", 1),
    )
    with pytest.raises(DataLossError) as caught:
        up(root, target=1)
    assert caught.value.fields["losses"] == [("colours that somebody chose", 1)]
    assert "--accept-loss" in caught.value.remedy
    assert dump(root / "index.sqlite3") == held
    assert up(root, target=2).after == 2, "what loses nothing needs none"
    assert up(root, target=1, accept_loss=True).after == 1


def test_an_edited_step_and_a_newer_schema_are_refused_before_anything_is_copied(root: Path) -> None:
    up(root)
    quarantined = os.listdir(root / "quarantine")
    edited = (*MANIFEST, Migration(2, "colours", "9.0.0", (*COLOURS.up, "SELECT 1"), COLOURS.down), SHADES)
    with pytest.raises(MigrationChangedError):
        up(root, manifest=edited, target=1)
    with pytest.raises(SchemaTooNewError):
        up(root, manifest=MANIFEST)
    assert os.listdir(root / "quarantine") == quarantined


def test_a_store_with_an_older_schema_does_not_open_and_says_what_to_do(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "MANIFEST", LATER)
    for more in ({}, {"read_only": True}):
        with pytest.raises(SchemaOutdatedError) as caught:
            holdfast.open(root, **more)
        assert caught.value.fields == {"found": 1, "known": 3}
        assert "migrate up" in caught.value.remedy
    assert migrating.migrate(str(root), SETTINGS).after == 3
    with holdfast.open(root) as store:
        assert store.read("a0") == b"content 0"
        assert store.migrate_status()[-1] == (3, "shades", True)
        assert not store.opened.rebuilt


def test_a_rebuild_gives_the_newest_schema_too(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "MANIFEST", LATER)
    holdfast.rebuild(root)
    assert version(root) == 3


def test_nobody_else_may_have_the_store_open(root: Path) -> None:
    with holdfast.open(root), pytest.raises(LockedError):
        migrating.migrate(str(root), Settings(Actor("tess"), wait_s=0.05), manifest=LATER)
    assert version(root) == 1


FORK = multiprocessing.get_context("fork")


def _work(root: str, gate: Any, done: Any) -> None:
    gate.wait()
    done.put(len(migrating.migrate(root, SETTINGS, manifest=LATER).steps))


def test_of_four_processes_at_once_one_migrates_and_the_others_find_it_done(root: Path) -> None:
    gate, done = FORK.Barrier(4), FORK.Queue()
    children = [FORK.Process(target=_work, args=(str(root), gate, done)) for _ in range(4)]
    for child in children:
        child.start()
    steps = sorted(done.get(timeout=120) for _ in children)
    for child in children:
        child.join(120)
    assert steps == [0, 0, 0, 2]
    assert version(root) == 3
    assert len(os.listdir(root / "quarantine")) == 1


def _killed(root: str, after: int, target: int) -> None:
    real, left = Database.run, [after]

    def run(database: Database, sql: str, parameters: Any = ()) -> Any:
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        return real(database, sql, parameters)

    Database.run = run  # type: ignore[method-assign, assignment]
    migrating.migrate(root, SETTINGS, manifest=LATER, target=target)
    os._exit(7)


def kills(root: Path, target: int) -> Iterator[int]:
    """Kill the way to a version at each statement in turn, until it comes through."""
    for after in range(100):
        child = FORK.Process(target=_killed, args=(str(root), after, target))
        child.start()
        child.join(120)
        yield after
        if child.exitcode == 7:
            return
        assert child.exitcode == -signal.SIGKILL
    raise AssertionError("it never came to its end")


@pytest.mark.parametrize("way", ["up", "down"])
def test_a_kill_at_any_statement_leaves_the_version_before_a_step_or_after_it(root: Path, way: str) -> None:
    whole = {1: dump(root / "index.sqlite3")}
    for target in (2, 3):
        up(root, target=target)
        whole[target] = dump(root / "index.sqlite3")
    if way == "up":
        up(root, target=1)
    goal, seen = (3, set()) if way == "up" else (1, set())
    for _ in kills(root, goal):
        found = version(root)
        seen.add(found)
        assert dump(root / "index.sqlite3") == whole[found]
    assert found == goal
    assert seen >= {1, 3}


def test_the_manifest_says_of_each_step_what_it_covers() -> None:
    kinds = {kind for step in MANIFEST for kind in step.kinds}
    assert kinds == set(KIND_CODES)
    counted = {key for step in MANIFEST for key, _ in step.counts}
    assert counted ^ {*LOGICAL, *PHYSICAL} == set()
    assert MANIFEST[-1].version == manifest.LATEST_SCHEMA_VERSION

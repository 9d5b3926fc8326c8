"""fsck gives findings for whatever `open` refuses or has to mend, and it misses no object of the schema."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

import holdfast
from holdfast.care.fsck import check_path
from holdfast.disk import Disk
from holdfast.errors import HoldfastError, StorageIOError
from holdfast.formats import paths
from holdfast.index.audit import Audit
from holdfast.index.sqlite import SqliteIndex
from holdfast.testing import damage

INDEX, MARKER = paths.INDEX, paths.MARKER
NAMES = (MARKER, INDEX, paths.SEARCH, paths.STATE, *paths.FOLDERS, "locks/writer", "locks/handles")


@pytest.fixture
def root(sample: Path, tmp_path: Path) -> Path:
    return damage.twin(sample, tmp_path / "store")


def newer(root: Path) -> None:
    (root / MARKER).write_bytes((root / MARKER).read_bytes().replace(b'"format":0', b'"format":1'))


def required(root: Path) -> None:
    (root / MARKER).write_bytes((root / MARKER).read_bytes().replace(b'"requires":[]', b'"requires":["packs-2"]'))


def newer_schema(root: Path) -> None:
    with damage.sql(root) as connection:
        connection.execute("INSERT INTO schema_version VALUES (99, 'later', 'x')")


def lose_both(root: Path) -> None:
    (root / INDEX).unlink()
    shutil.rmtree(root / paths.JOURNAL)


REFUSALS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no marker": (lambda r: (r / MARKER).unlink(), "marker-missing"),
    "a marker of a newer format": (newer, "marker-too-new"),
    "a marker with a feature that nobody knows": (required, "marker-too-new"),
    "an empty marker": (lambda r: (r / MARKER).write_bytes(b""), "marker-damaged"),
    "a marker that is no JSON": (lambda r: (r / MARKER).write_bytes(b"\xff\xfe{"), "marker-damaged"),
    "a marker that is far too long": (lambda r: (r / MARKER).write_bytes(b"x" * 100_000), "marker-damaged"),
    "no index": (lambda r: (r / INDEX).unlink(), "index-missing"),
    "an index that is no database": (lambda r: (r / INDEX).write_bytes(b"nonsense" * 999), "index-damaged"),
    "an empty index": (lambda r: (r / INDEX).write_bytes(b""), "index-schema"),
    "an index of a newer schema": (newer_schema, "index-schema"),
    "no journal": (lambda r: shutil.rmtree(r / paths.JOURNAL), "journal-behind"),
    "neither journal nor index": (lose_both, "index-missing"),
}  # fmt: skip


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("name", REFUSALS)
def test_what_open_refuses_or_has_to_mend_gives_a_finding(root: Path, name: str, quick: bool) -> None:
    damaging, code = REFUSALS[name]
    damaging(root)
    before = damage.tree(root)
    report = check_path(root, quick=quick)
    assert code in report.counts, report.counts
    assert report.exit_code == (12 if code == "marker-too-new" else 4)
    assert damage.tree(root) == before


@pytest.mark.parametrize("kind", ["file or folder", "link to nothing", "link to the right thing", "pipe"])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_of_another_type_gives_a_finding_and_stops_nothing(root: Path, name: str, kind: str) -> None:
    path = root / name
    folder, aside = name in paths.FOLDERS, root.parent / "aside"
    if path.exists():
        path.rename(aside)
    if kind == "file or folder":
        path.write_bytes(b"x") if folder else path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(aside if kind.endswith("right thing") else "nowhere")
    report = check_path(root)
    works = kind == "link to the right thing" and aside.exists()
    assert works or "wrong-type" in report.counts or "unreadable" in report.counts, report.counts
    assert not works or report.exit_code in (0, 4)


@pytest.mark.parametrize("part", [MARKER, paths.JOURNAL, paths.BLOBS, paths.TMP, paths.QUARANTINE, paths.LOCKS])
def test_what_may_not_be_read_gives_a_finding(root: Path, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root, permissions stop nobody: the disk refuses instead."""
    refused = str(root / part)
    for operation in ("listdir", "open_read", "read_file"):
        real = getattr(Disk, operation)

        def refuse(disk: Disk, path: str, *more: object, real: Callable[..., object] = real) -> object:
            if path == refused or path.startswith(refused + "/"):
                raise StorageIOError(f"cannot read {path}: Permission denied", path=path, operation="read", errno=13)
            return real(disk, path, *more)

        monkeypatch.setattr(Disk, operation, refuse)
    report = check_path(root)
    assert "unreadable" in report.counts or "journal-behind" in report.counts, report.counts
    assert report.exit_code == 4


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind this user")
@pytest.mark.parametrize("part", [MARKER, INDEX, paths.JOURNAL, paths.BLOBS])
def test_permissions_that_bind_give_a_finding(root: Path, part: str) -> None:
    (root / part).chmod(0)
    try:
        assert "unreadable" in check_path(root).counts
    finally:
        (root / part).chmod(0o755)


def objects(root: Path) -> list[tuple[str, str, str]]:
    with damage.sql(root) as connection:
        sql = "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"
        return connection.execute(sql).fetchall()


def said_of_schema(root: Path, *statements: tuple[str, ...]) -> list[str]:
    """What is said of a copy of the index whose schema was changed behind everybody's back."""
    copy = root.parent / "copy.sqlite3"
    shutil.copy(root / INDEX, copy)
    with sqlite3.connect(copy) as connection:
        for sql, *values in statements:
            connection.execute(sql, values)
    connection.close()
    index = SqliteIndex(str(copy), read_only=True)
    try:
        return Audit(index).schema()
    except HoldfastError as error:
        return [error.message]
    finally:
        index.close()


def test_every_object_of_the_schema_is_missed_when_it_is_gone(root: Path) -> None:
    found = objects(root)
    assert {"table", "index"} <= {kind for kind, _, _ in found}
    for kind, name, _ in found:
        lines = said_of_schema(root, (f'DROP {kind} "{name}"',))
        assert f"{name} is missing" in lines or name == "schema_version", (name, lines)
        assert lines


def test_every_object_of_the_schema_is_compared_word_for_word(root: Path) -> None:
    """Constraints and conditions are part of the text: NOT NULL, UNIQUE, WHERE, PRIMARY KEY."""
    tried = 0
    for _, name, sql in objects(root):
        for old, new in ((" NOT NULL", ""), (" UNIQUE", ""), (" WHERE ", " WHERE 1 AND "), (" PRIMARY KEY", "")):
            if old in sql:
                other = sql.replace(old, new, 1)
                update = ("UPDATE sqlite_master SET sql = ? WHERE name = ?", other, name)
                assert said_of_schema(root, ("PRAGMA writable_schema = ON",), update), (name, old)
                tried += 1
    assert tried > 30


@pytest.mark.parametrize(
    "sql",
    ["CREATE TRIGGER mine AFTER INSERT ON tagging BEGIN SELECT 1; END", "CREATE VIEW mine AS SELECT 1",
     "CREATE INDEX mine ON tagging (tag)"],
)  # fmt: skip
def test_what_is_not_part_of_the_schema_is_named(root: Path, sql: str) -> None:
    with damage.sql(root) as connection:
        connection.execute(sql)
    (finding,) = check_path(root).findings
    assert (finding.code, finding.fields["lines"]) == ("index-schema", ["mine is not part of the schema"])


def test_open_refuses_what_these_tests_say_it_refuses(root: Path, tmp_path: Path) -> None:
    refused = 0
    for number, (damaging, _) in enumerate(REFUSALS.values()):
        twin = damage.twin(root, tmp_path / str(number))
        damaging(twin)
        try:
            holdfast.open(twin).close()
        except HoldfastError:
            refused += 1
    assert refused >= 7

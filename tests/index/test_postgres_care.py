"""Care of a store whose index is on a server, where a server makes a difference: what is in its tables, and two places.

That the answers are those of a store with a file, the suites of care say, which run on both.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import Store
from holdfast.engine import served
from holdfast.errors import IndexElsewhereError, StoreExistsError
from holdfast.formats import paths
from holdfast.index.tables import LOGICAL

psycopg = pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")

pytestmark = pytest.mark.postgres
SECRET = "hunter2-geheim"

Url = Callable[[str], str]
Said = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture
def name(postgres: str) -> Iterator[str]:
    """What the schemas of a test begin with; they go after it."""
    begins = f"t_{uuid.uuid4().hex[:12]}"
    yield begins
    with psycopg.connect(postgres, autocommit=True) as link:
        found = link.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE %s", (f"{begins}%",)).fetchall()
        for (one,) in found:
            link.execute(f"DROP SCHEMA {one} CASCADE")


@pytest.fixture
def url(postgres: str, name: str) -> Url:
    """The URL of a schema."""
    return lambda more="": f"{postgres}{'&' if '?' in postgres else '?'}schema={name}{more}"


@pytest.fixture
def said(postgres: str) -> Iterator[Said]:
    """Asks the server."""
    with psycopg.connect(postgres, autocommit=True) as link:

        def ask(sql: str) -> list[tuple[Any, ...]]:
            found = link.execute(sql.encode())
            return found.fetchall() if found.description else []

        yield ask


def fill(store: Store) -> None:
    one = store.put("docs/a.md", "text", metadata={"n": 1e16, "z": -0.0, "nul": "\0"}, tags=["é"]).artifact
    store.put("docs/a.md", "text two", metadata={"n": 2})
    store.put("big", os.urandom(200_000))
    store.indexes.declare("metadata.n")
    store.relationships.relate(one, "derived_from", store.put("b", "2").artifact)
    with store.runs.start("made") as run:
        run.output(store.put("c", "3").artifact)
    store.artifacts.delete("b")


def all_of(store: Store) -> dict[str, list[Any]]:
    """Rows of every table that come from the chain, and every content."""
    rows = {table: list(store._handle.index.dump(table)) for table in LOGICAL if table != "tx"}
    return rows | {"contents": [store.read(one) for one in store.find(order="name")]}


def everything(said: Said, name: str) -> str:
    """All cells of all tables of all schemas of a test, as text."""
    tables = said(f"SELECT schemaname, tablename FROM pg_tables WHERE schemaname LIKE '{name}%'")
    assert tables
    return "\n".join(
        str(row[0]) for schema, table in tables for row in said(f'SELECT t::text FROM "{schema}"."{table}" t')
    )


def test_a_backup_has_the_rows_of_the_server_cell_for_cell_and_opens_without_it(url: Url, tmp_path: Path) -> None:
    with holdfast.create(url(""), blobs=tmp_path / "store") as store:
        fill(store)
        wanted, head = all_of(store), store.audit.head()
        store.backup(tmp_path / "backup")
        assert not store.backup(tmp_path / "backup").made
    with holdfast.open(tmp_path / "backup", read_only=True) as back:
        assert (all_of(back), back.audit.head()) == (wanted, head)
        assert back.fsck().findings == ()


def test_a_backup_comes_back_on_a_server_and_not_over_another_store_there(url: Url, tmp_path: Path) -> None:
    with holdfast.create(url(""), blobs=tmp_path / "store") as store:
        fill(store)
        wanted = all_of(store)
        store.backup(tmp_path / "backup")
        with pytest.raises(IndexElsewhereError, match="has the index of the store"):
            holdfast.restore(tmp_path / "backup", tmp_path / "again", index=url(""))
    assert not (tmp_path / "again").exists()

    holdfast.restore(tmp_path / "backup", tmp_path / "again", index=url("_again"))

    assert not (tmp_path / "again" / paths.INDEX).exists()
    with holdfast.open(url("_again"), blobs=tmp_path / "again") as again:
        assert all_of(again) == wanted
        assert again.fsck().findings == ()


def test_what_is_redacted_is_in_no_table_of_the_server_and_in_none_that_was_set_aside(
    url: Url, name: str, said: Said, tmp_path: Path
) -> None:
    with holdfast.create(url(""), blobs=tmp_path / "store") as store:
        fill(store)
        one = store.put(f"{SECRET}.md", f"about {SECRET}", metadata={"k": SECRET}).artifact
        store.search(SECRET)
        assert SECRET in everything(said, name)
        said(f"CREATE SCHEMA {name}_kept; CREATE TABLE {name}_kept.tx AS SELECT '{SECRET}' AS data")
        said(f"COMMENT ON SCHEMA {name}_kept IS 'holdfast: set aside for {name}'")

        report = store.redact(one.id)

        assert SECRET not in everything(said, name)
        assert any("write-ahead log" in one for one in report.server_keeps)
        assert store.search(SECRET).hits == ()
        assert [one.path for one in store.find(holdfast.field("metadata.n") == 2)] == ["docs/a.md"]
        store.put("d", "after it")
        assert store.fsck().findings == ()
        schemas = said(f"SELECT nspname FROM pg_namespace WHERE nspname LIKE '{name}%'")
        assert schemas == [(name,)]


def test_a_lost_marker_is_written_again_for_the_index_that_is_named(
    url: Url, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "store"
    with holdfast.create(url(""), blobs=root) as store:
        fill(store)
        wanted = all_of(store)
    before = (root / paths.MARKER).read_bytes()
    (root / paths.MARKER).unlink()
    monkeypatch.setenv("HOLDFAST_INDEX", url(""))

    assert holdfast.repair(root).exit_code in (0, 5)

    assert (root / paths.MARKER).read_bytes() == before
    with holdfast.open(root) as store:
        assert all_of(store) == wanted


def test_a_copied_folder_does_not_take_the_index_from_the_one_that_it_was_copied_from(
    url: Url, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with holdfast.create(url(""), blobs=tmp_path / "store") as store:
        fill(store)
        wanted = all_of(store)
    shutil.copytree(tmp_path / "store", tmp_path / "copy")
    with holdfast.open(url(""), blobs=tmp_path / "store") as store:
        store.put("later", "1")
        head = store.audit.head()

    with pytest.raises(IndexElsewhereError, match="is a copy"):
        holdfast.open(url(""), blobs=tmp_path / "copy")
    with holdfast.open(url("_copy"), blobs=tmp_path / "copy") as copy:
        assert all_of(copy) == wanted
    with holdfast.open(url(""), blobs=tmp_path / "store") as store:
        assert (store.read("later"), store.audit.head()) == (b"1", head)
        assert store.fsck().findings == ()


def test_a_copied_folder_that_was_given_an_index_and_killed_before_it_said_so_opens_again(
    url: Url, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with holdfast.create(url(""), blobs=tmp_path / "store") as store:
        fill(store)
        wanted = all_of(store)
    shutil.copytree(tmp_path / "store", tmp_path / "copy")

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(served, "settle", killed)
        with pytest.raises(KeyboardInterrupt):
            holdfast.open(url("_copy"), blobs=tmp_path / "copy")

    with holdfast.open(url("_copy"), blobs=tmp_path / "copy") as copy:
        assert all_of(copy) == wanted
    shutil.copytree(tmp_path / "copy", tmp_path / "another")
    with pytest.raises(IndexElsewhereError, match="is a copy"):
        holdfast.open(url("_copy"), blobs=tmp_path / "another")


def test_a_folder_that_was_moved_away_gets_its_index_by_a_rebuild(
    url: Url, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with holdfast.create(url(""), blobs=tmp_path / "store") as store:
        fill(store)
        wanted = all_of(store)
    shutil.copytree(tmp_path / "store", tmp_path / "moved")
    shutil.rmtree(tmp_path / "store")
    monkeypatch.setenv("HOLDFAST_INDEX", url(""))

    holdfast.rebuild(tmp_path / "moved")

    with holdfast.open(tmp_path / "moved") as store:
        assert all_of(store) == wanted
        assert store.fsck().findings == ()


COPIER = """
import os, signal, sys, holdfast
source, blobs, dest, index, point, number = *sys.argv[1:6], int(sys.argv[6])
from holdfast.index.postgres.index import PostgresIndex
from holdfast.engine import derive
def killing(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
if point == "load":
    PostgresIndex.load = killing
elif point == "replace":
    PostgresIndex.replace = killing
elif point == "adopt":
    derive.adopt = killing
with holdfast.open(source, blobs=blobs or None) as store:
    store.copy(dest, index=index or None, progress=lambda n, *_: killing() if point == "file" and n == number else None)
"""


FULL = pytest.mark.postgres_full


@pytest.mark.parametrize(
    ("there", "point"),
    [
        pytest.param(True, "file", id="to a server, at a file", marks=FULL),
        pytest.param(True, "load", id="to a server, at its rows"),
        pytest.param(True, "replace", id="to a server, at the end", marks=FULL),
        pytest.param(False, "file", id="back, at a file"),
        pytest.param(False, "adopt", id="back, at its rows", marks=FULL),
    ],
)
def test_a_copy_that_was_killed_goes_on_with_the_same_call(
    url: Url, name: str, said: Said, tmp_path: Path, there: bool, point: str
) -> None:
    source = (tmp_path / "file", None) if there else (url(""), tmp_path / "served")
    dest, index = tmp_path / "dest", url("_dest") if there else None
    with holdfast.create(source[0], blobs=source[1]) as store:
        fill(store)
        wanted, head = all_of(store), store.audit.head()
    where = [str(source[0]), str(source[1] or ""), str(dest), index or "", point, "2"]
    environment = {**os.environ, "PYTHONPATH": str(Path(holdfast.__file__).parents[1])}
    child = subprocess.run([sys.executable, "-c", COPIER, *where], env=environment, check=False, timeout=120)
    assert child.returncode == -signal.SIGKILL
    assert (dest / paths.MARKER).exists() == (point != "file")

    with holdfast.open(source[0], blobs=source[1]) as store:
        report = store.copy(dest, index=index)
        assert report.head == head
        assert report.kept > 0 if point == "file" else report.files == 0
        with pytest.raises((StoreExistsError, IndexElsewhereError)):
            store.copy(dest, index=index)
    with holdfast.open(index or dest, blobs=dest if index else None) as found:
        assert (all_of(found), found.audit.head()) == (wanted, head)
        assert found.fsck().findings == ()
    schemas = {one for (one,) in said(f"SELECT nspname FROM pg_namespace WHERE nspname LIKE '{name}%'")}
    assert schemas <= {name, f"{name}_dest"}

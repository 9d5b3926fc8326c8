"""A store may stand on a blob store and an index that somebody else has written, given as objects or by URLs."""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import holdfast
from holdfast import Store
from holdfast.blobs import MemoryBlobs
from holdfast.errors import (
    BlobsElsewhereError,
    HoldfastError,
    IndexElsewhereError,
    InvalidValueError,
    MissingDependencyError,
    UnknownBackendError,
)
from holdfast.formats import paths

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
SECRET = "s3cr3t-geheim"
Parts = Callable[[], dict[str, Any]]


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules.setdefault(name, importlib.util.module_from_spec(spec))
    spec.loader.exec_module(module)
    return module


bucket_blobs, table_keeper = example("bucket_blobs"), example("table_keeper")


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    """A bucket and a table beside the store, as objects; always the same ones."""
    (tmp_path / "bucket").mkdir()
    return lambda: {
        "blobs": bucket_blobs.BucketBlobs(bucket_blobs.FolderBucket(tmp_path / "bucket")),
        "index": table_keeper.TableKeeper(tmp_path / "rows.db"),
    }


STRANGER = """
from pathlib import Path
import bucket_blobs, table_keeper
def blobs(url):
    folder = Path(url.partition("://")[2].partition("@")[2])
    folder.mkdir(exist_ok=True)
    return bucket_blobs.BucketBlobs(bucket_blobs.FolderBucket(folder))
def index(url, *, read_only):
    return table_keeper.TableKeeper(url.partition("://")[2].partition("@")[2], read_only=read_only)
"""
ENTRY_POINTS = """[holdfast.blobs]
bucket = stranger:blobs
torn = stranger_that_lacks:blobs
[holdfast.indexes]
table = stranger:index
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A package of somebody else is installed, which names its backends by entry points; URLs of both."""
    site = tmp_path / "site"
    (site / "stranger-1.0.dist-info").mkdir(parents=True)
    (site / "stranger.py").write_text(STRANGER)
    (site / "stranger_that_lacks.py").write_text("import a_client_that_nobody_has\n")
    (site / "stranger-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (site / "stranger-1.0.dist-info" / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "stranger", raising=False)
    place = f"ada:{SECRET}@{tmp_path}"
    return {"blobs": f"bucket://{place}/bucket", "index": f"table://{place}/rows.db"}


def fill(store: Store) -> None:
    store.put("notes/a.md", "one", metadata={"n": 1})
    store.put("notes/a.md", "two", metadata={"n": 2})
    store.put("big", b"x" * 600_000)


def is_whole(store: Store) -> bool:
    return (store.read("notes/a.md"), store.fsck().findings, store.audit.verify().proven) == (b"two", (), True)


def test_a_store_on_both_keeps_everything_and_the_folder_has_neither_contents_nor_rows(
    root: str, tmp_path: Path, parts: Parts
) -> None:
    with holdfast.create(root, **parts()) as store:
        fill(store)
        assert is_whole(store)
    with holdfast.open(root, **parts()) as store:
        assert not store.opened.rebuilt
        assert is_whole(store)
        assert [one.path for one in store.find(holdfast.field("metadata.n") == 2)] == ["notes/a.md"]
        assert store.search("two").hits
        with store.at(2) as view:
            assert view.read("notes/a.md") == b"one"
    assert not Path(root, paths.INDEX).exists()
    assert not [one for folder in (paths.BLOBS, paths.PACKS) for one in Path(root, folder).rglob("*") if one.is_file()]
    assert len(list((tmp_path / "bucket").glob("*/list"))) == 3


def test_an_index_that_is_gone_is_derived_anew_from_journal_and_blob_store(
    root: str, tmp_path: Path, parts: Parts
) -> None:
    with holdfast.create(root, **parts()) as store:
        fill(store)
        head = store.audit.head()
    (tmp_path / "rows.db").unlink()
    with pytest.raises(IndexElsewhereError, match="cannot be trusted"):
        holdfast.open(root, read_only=True, **parts())
    with holdfast.open(root, **parts()) as store:
        assert store.opened.rebuilt
        assert store.audit.head() == head
        assert is_whole(store)
    with holdfast.open(root, read_only=True, **parts()) as store:
        assert is_whole(store)


def test_care_works_on_it_or_says_that_it_does_not(root: str, tmp_path: Path, parts: Parts) -> None:
    with holdfast.create(root, **parts()) as store:
        fill(store)
        secret = store.put(f"{SECRET}.md", SECRET).artifact
        store.gc(grace_s=0)
        store.redact(secret)
        assert store.repack().contents == 0
        assert store.fsck().findings == ()
        with pytest.raises(BlobsElsewhereError, match="backup works on files"):
            store.backup(tmp_path / "backup")
        head = store.audit.head()
        assert store.copy(tmp_path / "home").head == head
    kept = [one.read_bytes() for one in (tmp_path / "bucket").rglob("*") if one.is_file()]
    assert not [one for one in kept if SECRET.encode() in one]
    with holdfast.open(tmp_path / "home") as home:
        assert home.audit.head() == head
        assert is_whole(home)


def test_urls_lead_to_installed_backends_and_the_environment_names_them_for_who_has_only_the_folder(
    root: str, tmp_path: Path, installed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with holdfast.create(root, **installed) as store:
        fill(store)
    assert SECRET not in Path(root, paths.MARKER).read_text()
    with pytest.raises(BlobsElsewhereError):
        holdfast.fsck(root)
    monkeypatch.setenv("HOLDFAST_BLOBS", installed["blobs"])
    with pytest.raises(IndexElsewhereError):
        holdfast.open(root)
    monkeypatch.setenv("HOLDFAST_INDEX", installed["index"])
    assert holdfast.fsck(root).findings == ()
    with holdfast.open(root) as store:
        assert is_whole(store)


@pytest.mark.parametrize(
    ("said", "known"),
    [
        ({"blobs": f"s3://key:{SECRET}@bucket"}, "bucket://"),
        ({"index": f"mysql://root:{SECRET}@host/db"}, "postgresql://, table://"),
        ({"index": "postgresql+asyncpg://host/db"}, "postgresql://"),
    ],
)
def test_an_unknown_scheme_is_refused_with_those_that_are_installed_and_nothing_is_made(
    root: str, installed: dict[str, Any], said: dict[str, str], known: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(UnknownBackendError, match=known) as caught:
        holdfast.create(root, **said)
    with pytest.raises(UnknownBackendError):
        holdfast.open(next(iter(said.values())))
    assert "pip install" in caught.value.remedy
    assert SECRET not in f"{caught.value!r}{caught.value.fields}{caplog.text}"
    assert not Path(root).exists()


def test_a_backend_whose_package_lacks_something_says_what(root: str, installed: dict[str, Any]) -> None:
    with pytest.raises(MissingDependencyError, match="a_client_that_nobody_has"):
        holdfast.create(root, blobs="torn://x")
    assert not Path(root).exists()


def test_what_is_no_backend_is_refused_with_what_it_lacks(root: str) -> None:
    with pytest.raises(InvalidValueError, match=r"it lacks .*publish.*walk"):
        holdfast.create(root, blobs=object())  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match=r"it lacks .*begin.*commit.*version"):
        holdfast.create(root, index=MemoryBlobs())  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match="folder"):
        holdfast.create(root, blobs="elsewhere")
    assert not Path(root).exists()


def test_a_store_that_has_its_parts_in_the_folder_takes_none_from_elsewhere(
    root: str, store: Store, parts: Parts
) -> None:
    given = parts()
    for name, error in (("blobs", BlobsElsewhereError), ("index", IndexElsewhereError)):
        with pytest.raises(error) as caught:
            holdfast.open(root, **{name: given[name]})
        assert isinstance(caught.value, HoldfastError)
        assert caught.value.fields["reason"] in ("folder", "file")


def test_the_index_of_another_store_is_refused_and_not_touched(root: str, tmp_path: Path, parts: Parts) -> None:
    with holdfast.create(root, **parts()) as store:
        fill(store)
    with pytest.raises(IndexElsewhereError, match="index of the store"):
        holdfast.create(tmp_path / "other", index=parts()["index"])
    assert not (tmp_path / "other" / paths.MARKER).exists()
    with holdfast.open(root, **parts()) as store:
        assert is_whole(store)


@pytest.mark.postgres
def test_contents_in_a_bucket_and_rows_in_postgresql(root: str, postgres: str, parts: Parts) -> None:
    url = f"{postgres}{'&' if '?' in postgres else '?'}schema=t_parts"
    psycopg = pytest.importorskip("psycopg")
    try:
        with holdfast.create(root, blobs=parts()["blobs"], index=url) as store:
            fill(store)
        with psycopg.connect(postgres, autocommit=True) as link:
            link.execute("DROP SCHEMA t_parts CASCADE")
        with holdfast.open(root, blobs=parts()["blobs"], index=url) as store:
            assert store.opened.rebuilt
            assert is_whole(store)
    finally:
        with psycopg.connect(postgres, autocommit=True) as link:
            link.execute("DROP SCHEMA IF EXISTS t_parts CASCADE")

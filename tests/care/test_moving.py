"""A store moves house: from an index in a file to one on a server and back, and nothing of it is lost or added."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import Store
from holdfast.errors import InvalidValueError, LockedError, StorageIOError, StoreExistsError
from holdfast.index.tables import LOGICAL
from holdfast.testing.faults import FaultyDisk


@pytest.fixture
def url(postgres: str) -> Iterator[str]:
    name = f"m_{uuid.uuid4().hex[:16]}"
    yield f"{postgres}{'&' if '?' in postgres else '?'}schema={name}"
    import psycopg  # noqa: PLC0415 - an extra: only where there is a server

    with psycopg.connect(postgres, autocommit=True) as link:
        link.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")


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


def head(store: Store) -> str:
    return store.audit.head()


@pytest.mark.postgres
def test_there_and_back_again_a_store_is_the_same_by_chain_rows_contents_and_fsck(tmp_path: Path, url: str) -> None:
    with holdfast.create(tmp_path / "file") as store:
        fill(store)
        before, end = all_of(store), head(store)
        there = store.copy(tmp_path / "served", index=url)
    with holdfast.open(url, blobs=tmp_path / "served") as served:
        assert (there.head, there.served, there.store) == (end, True, served.id)
        assert (all_of(served), head(served)) == (before, end)
        assert served.fsck().findings == ()
        back = served.copy(tmp_path / "back")
    with holdfast.open(tmp_path / "back") as again:
        assert (back.head, back.served) == (end, False)
        assert (all_of(again), head(again)) == (before, end)
        assert again.fsck().findings == ()
        assert [one.path for one in again.find(holdfast.field("metadata.n") == 2)] == ["docs/a.md"]


def test_a_copy_that_was_interrupted_is_no_store_and_the_same_call_goes_on(tmp_path: Path) -> None:
    dest = tmp_path / "copy"
    with holdfast.create(tmp_path / "file") as store:
        fill(store)
        before, end, real = all_of(store), head(store), store._handle.disk
        failing = FaultyDisk()
        failing.fail("write", path=str(dest), nth=3)
        store._handle.disk = failing
        with pytest.raises(StorageIOError):
            store.copy(dest)
        store._handle.disk = real
        assert not (dest / "holdfast.json").exists()

        found = store.copy(dest)

        assert found.head == end
        with pytest.raises(StoreExistsError):
            store.copy(dest)
    with holdfast.open(dest) as again:
        assert all_of(again) == before


def test_who_writes_meanwhile_waits_or_is_refused_and_nothing_of_it_is_half_copied(tmp_path: Path) -> None:
    told: list[BaseException] = []

    def write_meanwhile() -> None:
        try:
            with holdfast.open(tmp_path / "file", lock_wait_s=0.05) as other:
                other.put("late", "1")
        except LockedError as error:
            told.append(error)

    def between(*_: Any) -> None:
        one = threading.Thread(target=write_meanwhile)
        one.start()
        one.join()

    with holdfast.create(tmp_path / "file") as store:
        fill(store)
        end = head(store)
        assert store.copy(tmp_path / "copy", progress=between).head == end
        assert head(store) == end
        store.put("late", "1")

    assert told


def test_a_copy_goes_into_a_folder_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    with holdfast.create(tmp_path / "file") as store:
        for inside in (tmp_path / "file", tmp_path / "file" / "x", tmp_path):
            with pytest.raises(InvalidValueError):
                store.copy(inside)
        with pytest.raises(StoreExistsError):
            store.copy(tmp_path / "full")
    assert os.listdir(tmp_path / "full") == ["mine"]

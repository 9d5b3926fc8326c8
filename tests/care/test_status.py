"""status counts what is there; doctor says what a report needs and nothing of what was put."""

from __future__ import annotations

import json
import os
import threading

import pytest

import holdfast
from holdfast.care.doctor import NETWORK, doctor
from holdfast.care.status import status
from holdfast.errors import HandleDeadError
from holdfast.testing import damage


@pytest.fixture
def store(tmp_path):
    with holdfast.create(tmp_path / "store") as opened:
        yield opened


def test_an_empty_store_counts_nothing(store):
    found = status(store._handle)
    assert set(found.counts.values()) == set(found.deleted.values()) == {0}
    assert (found.revisions, found.logical_bytes, found.content_bytes, found.stored_bytes, found.blobs) == (
        0,
        0,
        0,
        0,
        0,
    )
    assert (found.head_seq, found.last_transaction_at, found.search_seq) == (0, None, 0)
    assert (found.journal_bytes, found.temporaries, found.quarantined) == (0, 0, 0)
    assert found.writer is None
    assert found.head_hash == store._handle.origin.hash.hex()


def test_live_and_deleted_records_are_counted_by_kind_without_the_root(store):
    put = store.artifacts.put
    put("docs/a", "1")
    put("docs/a", "2")
    put("docs/deep/b", "1")
    put("gone", "3")
    store.artifacts.delete("gone")
    store.relationships.relate("docs/a", "depends_on", "docs/deep/b")
    found = status(store._handle)
    assert {k: n for k, n in found.counts.items() if n} == {"collection": 2, "artifact": 2, "relationship": 1}
    assert {k: n for k, n in found.deleted.items() if n} == {"artifact": 1}
    assert found.revisions == 4


@pytest.mark.usefixtures("without_packs")
def test_bytes_are_counted_as_put_once_each_and_as_stored(store):
    store.artifacts.put("a", b"x" * 1000)
    store.artifacts.put("b", b"x" * 1000)
    store.artifacts.put("c", b"y" * 500)
    found = status(store._handle)
    files = list((store.path / "blobs").rglob("*.zst"))
    assert (found.logical_bytes, found.content_bytes, found.blobs) == (2500, 1500, 2)
    assert found.stored_bytes == sum(path.stat().st_size for path in files)
    assert found.journal_bytes == sum(path.stat().st_size for path in (store.path / "journal").iterdir())
    index = store.path / "index.sqlite3"
    assert found.index_bytes == index.stat().st_size + (store.path / "index.sqlite3-wal").stat().st_size


@pytest.mark.usefixtures("without_packs")
def test_purged_content_is_no_longer_counted_and_condemned_blobs_are(store):
    store.artifacts.put("a", "first")
    store.artifacts.put("a", "second!")
    store.artifacts.purge("a", revisions=[1])
    before = status(store._handle)
    assert (before.revisions, before.logical_bytes, before.blobs, before.condemned) == (2, 7, 2, 0)
    store.gc()
    after = status(store._handle)
    assert after.condemned == 1
    assert after.condemned_bytes == damage.blob_of(store.path, b"first").stat().st_size


def test_the_head_is_that_of_the_chain(store):
    store.artifacts.put("a", "1")
    found = status(store._handle)
    last = list(store.changes.list())[-1]
    assert (found.head_seq, found.last_transaction_at) == (last.seq, last.time)
    assert found.head_hash == store.changes.head().hash.hex()
    assert (found.schema_version, found.format_version) == (1, 0)


def test_it_says_who_writes(store):
    inside, go = threading.Event(), threading.Event()

    def write():
        with store.transaction():
            inside.set()
            go.wait(30)

    thread = threading.Thread(target=write)
    thread.start()
    inside.wait(30)
    try:
        found = status(store._handle).writer
    finally:
        go.set()
        thread.join()
    assert found["pid"] == os.getpid()
    assert status(store._handle).writer is None


def test_leftovers_are_counted(store):
    (store.path / "tmp" / "left").write_text("x")
    (store.path / "quarantine" / "one").write_text("x")
    found = status(store._handle)
    assert (found.temporaries, found.quarantined) == (1, 1)


def test_asking_makes_no_search_index(store):
    store.artifacts.put("a", "1")
    before = sorted(str(path) for path in store.path.rglob("*"))
    status(store._handle)
    assert sorted(str(path) for path in store.path.rglob("*")) == before


def test_a_closed_store_is_refused(store):
    store.close()
    with pytest.raises(HandleDeadError):
        status(store._handle)


# -- doctor ------------------------------------------------------------------------------------------------------------


def test_doctor_without_a_store_gives_versions_and_platform():
    found = doctor()
    assert set(found) == {"versions", "platform", "warnings"}
    assert {"holdfast", "python", "sqlite", "sqlite module", "zstd", "zstandard", "peewee", "click"} <= set(
        found["versions"]
    )
    assert found["warnings"] == []


def test_doctor_with_a_store_gives_file_system_sizes_and_locks(store):
    store.artifacts.put("a", "1")
    found = doctor(store.path)
    assert found["store"]["marker"] == "sound"
    assert found["store"]["id"] == store.id
    assert found["store"]["index.sqlite3"] == (store.path / "index.sqlite3").stat().st_size
    assert found["store"]["open elsewhere or here"] is True
    assert found["file system"]["free bytes"] > 0
    assert found["file system"]["sync ms"] >= 0
    assert json.loads(json.dumps(found)) == found
    store.close()
    assert doctor(store.path)["store"]["open elsewhere or here"] is False


def test_doctor_says_nothing_of_what_was_put(store):
    store.artifacts.put("secret-name", "secret-content", metadata={"secret-key": "secret-value"}, tags=["secret-tag"])
    store.close()
    text = json.dumps(doctor(store.path))
    assert "secret" not in text
    assert str(store.path) not in text


def test_doctor_leaves_no_trace(tmp_path):
    root = damage.sample_store(tmp_path / "store")
    names = sorted(str(path) for path in root.rglob("*"))
    doctor(root)
    assert sorted(str(path) for path in root.rglob("*")) == names


def test_doctor_works_on_what_does_not_open(tmp_path):
    root = damage.sample_store(tmp_path / "store")
    (root / "index.sqlite3").unlink()
    (root / "holdfast.json").write_text("{}")
    found = doctor(root)
    assert found["store"]["marker"] == "not-a-store"
    assert found["warnings"]
    assert doctor(tmp_path / "absent")["store"]["marker"] == "not-a-store"


@pytest.mark.parametrize("kind", ["nfs4", "ext4"])
def test_a_network_file_system_is_warned_of(tmp_path, monkeypatch, kind):
    monkeypatch.setattr("holdfast.care.doctor._mount_of", lambda path: (kind, ["rw"]))
    found = doctor(tmp_path)
    assert found["file system"]["network"] is (kind in NETWORK)
    assert any("network" in warning for warning in found["warnings"]) is (kind in NETWORK)

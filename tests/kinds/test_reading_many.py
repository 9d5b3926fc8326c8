"""Reading many at once, and what is remembered of what was read: never longer than until somebody writes."""

from __future__ import annotations

import dataclasses
import os
import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import Store
from holdfast.errors import BlobDamagedError, ContentPurgedError, IndexDamagedError, NotFoundError
from holdfast.index.select.making import pins
from holdfast.kinds import fetching
from holdfast.values import digest as digests
from holdfast.values.records import Revision

STRAY = b"docs/\xff.bin"


@pytest.fixture
def filled(store: Store) -> Store:
    """Small contents in packs, some sharing frames, one of two artifacts; a large one; one whose name is not UTF-8."""
    with store.transaction():
        for number in range(40):
            store.put(f"docs/{number % 7}/{number}.txt", f"text {number} " * (number + 1))
        store.put("docs/twin", "text 3 " * 4)
        store.put("docs/large", os.urandom(300_000))
        store.put("docs/empty", b"")
        store.put(STRAY, b"stray")
    store.put("docs/0/0.txt", "second")
    return store


def test_many_contents_come_each_once_for_each_time_it_was_asked_for_whatever_the_order(filled: Store) -> None:
    refs = [artifact.path_bytes for artifact in filled.find()] * 2
    found = list(filled.artifacts.read_many(refs))
    assert sorted(ref for ref, _ in found) == sorted(refs)
    assert all(content == filled.read(ref) for ref, content in found)


def test_a_ref_is_a_path_an_id_a_record_or_a_revision(filled: Store) -> None:
    artifact = filled.get("docs/0/0.txt")
    refs = ["docs/0/0.txt", STRAY, f"id:{artifact.id}", artifact, artifact.revision]
    refs += filled.artifacts.revisions(artifact)
    found = {str(ref): content for ref, content in filled.artifacts.read_many(refs)}
    old = filled.artifacts.revision(artifact, 1)
    assert found[str(old)] == b"text 0 "
    assert found[str(STRAY)] == b"stray"
    assert {content for ref, content in found.items() if ref not in (str(old), str(STRAY))} == {b"second"}


def test_a_revision_is_the_same_ref_whoever_made_it(filled: Store) -> None:
    looked_at = [one.revision for one in filled.find()]
    wanted = {one.seq: filled.artifacts.read(f"id:{one.artifact_id}") for one in looked_at}
    for refs in ([one.revision for one in filled.find()], looked_at, [dataclasses.replace(one) for one in looked_at]):
        assert {one.seq: content for one, content in filled.artifacts.read_many(refs)} == wanted


def test_what_names_a_content_is_its_seq_and_digest_whoever_made_the_revision(filled: Store) -> None:
    found = [one.revision for one in filled.find(limit=5)]
    named = pins(found)
    assert named == [(one.seq, digests.raw(one.digest)) for one in found]
    assert named == pins([dataclasses.replace(one) for one in found])


def test_many_files_come_in_the_order_of_their_refs_and_each_is_closed_when_the_next_is_asked_for(
    filled: Store,
) -> None:
    refs = [one.path_bytes for one in filled.find(order="-size")]
    opened = []
    for ref, file in filled.artifacts.open_many(refs):
        assert all(before.closed for _, before in opened)
        last = file.seek(-1, os.SEEK_END) if filled.get(ref).size else 0
        assert file.read() == filled.read(ref)[last:]
        opened.append((ref, file))
    assert [ref for ref, _ in opened] == refs
    assert opened[-1][1].closed
    old = filled.artifacts.revision("docs/0/0.txt", 1)
    assert [file.read() for _, file in filled.artifacts.open_many(iter([old, "docs/0/0.txt"]))] == [
        b"text 0 ",
        b"second",
    ]
    with pytest.raises(NotFoundError):
        list(filled.artifacts.open_many(["docs/0/0.txt", "nowhere"]))


def test_many_records_come_in_the_order_in_which_they_were_asked_for(filled: Store) -> None:
    every = list(filled.find(order="-name"))
    refs = [one.path_bytes if n % 2 else f"id:{one.id}" for n, one in enumerate(every)]
    assert list(filled.artifacts.get_many(refs)) == every


def test_what_is_not_there_says_so_as_it_does_when_asked_for_alone(filled: Store) -> None:
    old = filled.artifacts.revision("docs/0/0.txt", 1)
    gone = filled.artifacts.delete("docs/1/1.txt")
    filled.artifacts.purge("docs/0/0.txt", revisions=[1])
    for ref, error in (("docs/none", NotFoundError), ("no/such/folder", NotFoundError), (gone, NotFoundError),
                       (f"id:{gone.id}", NotFoundError), (old, ContentPurgedError)):  # fmt: skip
        with pytest.raises(error):
            list(filled.artifacts.read_many([ref]))
    with pytest.raises(NotFoundError):
        list(filled.artifacts.get_many(["docs/0/0.txt", f"id:{gone.id}"]))
    assert list(filled.artifacts.read_many([gone.revision])) == [(gone.revision, b"text 1 text 1 ")]


@pytest.mark.parametrize("made", [list, tuple, iter])
def test_more_than_the_places_of_which_are_known_at_a_time_come_as_well(
    filled: Store, monkeypatch: pytest.MonkeyPatch, made: Callable[[list[Any]], Any]
) -> None:
    monkeypatch.setattr(fetching, "WINDOW", 7)
    monkeypatch.setattr(fetching, "_TOGETHER", 3)
    every = list(filled.find())
    refs: list[Any] = [one.revision for one in every] + [one.path_bytes for one in every] + every
    random.Random(1).shuffle(refs)
    found = list(filled.artifacts.read_many(made(refs)))
    assert sorted(str(ref) for ref, _ in found) == sorted(map(str, refs))
    for ref, content in found:
        assert content == filled.read(f"id:{ref.artifact_id}" if isinstance(ref, Revision) else ref)


def test_revisions_in_a_list_come_in_the_order_in_which_they_were_made_so_no_frame_is_opened_twice(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "WINDOW", 7)
    refs = [one.revision for one in filled.find()]
    random.Random(2).shuffle(refs)
    parts = [[one.seq for one in part] for part in fetching._windows(refs)]
    assert [seq for part in parts for seq in part] == sorted(one.seq for one in refs)
    assert max(map(len, parts)) == 7


def test_a_list_is_read_as_it_was_when_it_was_asked_for(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "WINDOW", 7)
    refs = [one.path_bytes for one in filled.find()]
    asked = list(refs)
    found = []
    for ref, _ in filled.artifacts.read_many(asked):
        asked.clear()
        found.append(ref)
    assert sorted(found) == sorted(refs)


def test_a_damaged_frame_is_never_given_out(filled: Store) -> None:
    every = {one.path_bytes: filled.read(one) for one in filled.find()}
    spot = filled._handle.index.physical.spot(filled.get("docs/twin").digest)
    assert spot is not None
    root = filled.path
    filled.close()
    pack = root / "packs" / f"{spot.pack}.zst"
    data = bytearray(pack.read_bytes())
    data[spot.offset + spot.stored_bytes // 2] ^= 0x40
    pack.write_bytes(data)
    with holdfast.open(root) as store:
        came = {}
        with pytest.raises(BlobDamagedError):
            came.update(store.artifacts.read_many(every))
    assert all(every[ref] == content for ref, content in came.items())


def test_a_row_that_errs_about_the_place_is_found_out_by_the_digest(filled: Store) -> None:
    """The rows of places are not proven before the bytes are; where the bytes are others, they are."""
    root = filled.path
    filled.close()
    with sqlite3.connect(root / "index.sqlite3") as connection:
        connection.execute("UPDATE blob SET offset = offset + 1 WHERE container > 0")
    connection.close()
    with holdfast.open(root) as store:
        for ask in (lambda: store.read("docs/twin"), lambda: list(store.artifacts.read_many(["docs/twin"]))):
            with pytest.raises(IndexDamagedError):
                ask()


@pytest.mark.parametrize("said", ["offset = -1", "stored_bytes = 1 << 40", "stored_bytes = 0", "start = 'far'"])
def test_a_place_that_can_be_none_is_asked_for_again_with_proof(filled: Store, said: str) -> None:
    revision, root = filled.get("docs/twin").revision, filled.path
    filled.close()
    with sqlite3.connect(root / "index.sqlite3") as connection:
        connection.execute(f"UPDATE blob SET {said} WHERE container > 0")
    connection.close()
    with holdfast.open(root) as store:
        for ref in ("docs/twin", revision):
            with pytest.raises(IndexDamagedError):
                list(store.artifacts.read_many([ref]))


@pytest.mark.parametrize("table", ["artifact", "record", "revision", "content"])
def test_rows_that_are_not_what_was_written_are_refused_in_bulk_too(filled: Store, table: str) -> None:
    columns = {"artifact": "status", "record": "owner", "revision": "mtime_ns", "content": "size"}
    record, root = filled.get("docs/twin"), filled.path
    filled.close()
    with sqlite3.connect(root / "index.sqlite3") as connection:
        connection.execute(f"UPDATE {table} SET {columns[table]} = 77")
    connection.close()
    with holdfast.open(root) as store:
        with pytest.raises(IndexDamagedError):
            list(store.artifacts.get_many(["docs/twin"]))
        with pytest.raises(IndexDamagedError):
            list(store.artifacts.read_many([record]))


# -- what is remembered ------------------------------------------------------------------------------------------------


def test_what_another_process_wrote_is_seen_by_the_next_call(filled: Store) -> None:
    assert filled.get("docs/twin").path == "docs/twin"
    assert len(list(filled.find(under="docs/1"))) == 6
    script = """import sys, holdfast
with holdfast.open(sys.argv[1]) as s:
    s.put("docs/twin", "other", tags=["new"])
    s.collections.rename("docs/1", "one")
"""
    subprocess.run([sys.executable, "-c", script, str(filled.path)], check=True)
    assert filled.get("docs/twin").tags == ("new",)
    assert filled.read("docs/twin") == b"other"
    assert list(filled.find(under="docs/1")) == []
    assert filled.get("docs/one/1.txt").path == "docs/one/1.txt"
    with pytest.raises(NotFoundError):
        filled.get("docs/1/1.txt")


def test_what_another_thread_wrote_is_seen_by_the_next_call(filled: Store) -> None:
    assert filled.get("docs/0/0.txt").number == 2
    thread = threading.Thread(target=lambda: filled.put("docs/0/0.txt", "third"))
    thread.start()
    thread.join()
    assert filled.get("docs/0/0.txt").number == 3
    assert filled.read("docs/0/0.txt") == b"third"


def test_what_was_rolled_back_is_not_remembered(filled: Store) -> None:
    with pytest.raises(RuntimeError), filled.transaction():  # noqa: PT012
        filled.put("docs/new/place", "soon gone")
        filled.collections.rename("docs/2", "two")
        assert filled.get("docs/new/place").number == 1
        assert filled.get("docs/two/2.txt").path == "docs/two/2.txt"
        raise RuntimeError
    assert filled.get("docs/2/2.txt").path == "docs/2/2.txt"
    for path in ("docs/new/place", "docs/two/2.txt"):
        with pytest.raises(NotFoundError):
            filled.get(path)


def test_a_record_that_the_caller_has_changed_is_not_the_one_that_is_given_next(filled: Store) -> None:
    filled.artifacts.set_metadata("docs/twin", {"a": [1]})
    filled.get("docs/twin").metadata["a"].append(2)
    assert filled.get("docs/twin").metadata == {"a": [1]}


def test_reading_one_asks_the_index_once_and_a_second_time_not_at_all(filled: Store, tmp_path: Path) -> None:
    """One statement finds the rows, one small one whether anybody has written; no other."""
    filled.get("docs/3/3.txt")
    asked: list[str] = []
    filled._handle.index.database.raw().set_trace_callback(asked.append)
    filled.read("docs/3/10.txt")
    filled.get("docs/3/17.txt")
    filled.get("docs/3/17.txt")
    filled._handle.index.database.raw().set_trace_callback(None)
    assert [text.split()[0] for text in asked] == ["PRAGMA", "SELECT", "PRAGMA", "SELECT", "PRAGMA"]

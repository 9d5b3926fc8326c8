"""Chunks where they meet repack, gathering, reading many and putting many: nothing is lost, nothing is moved twice."""

from __future__ import annotations

import io
import random
import shutil
from contextlib import closing

import pytest

import holdfast
from holdfast.blobs.chunks import RecipeFolder
from holdfast.blobs.packs import PackFolder
from holdfast.care import wholes
from holdfast.disk import Disk
from holdfast.engine import chunk_marks, repacking
from holdfast.engine.transaction import write
from holdfast.stores import rebuild_store, recover_store
from holdfast.values import digest as digests

LUCK = random.Random(21)
ONE = LUCK.randbytes(1_500_000)
TWO = ONE[:700_000] + b"something new" + ONE[700_000:] + LUCK.randbytes(300_000)
THREE = TWO + LUCK.randbytes(200_000)
LARGE = {"log": (ONE, TWO, THREE)}
SMALL = {f"notes/{n}": tuple(b"note %d, revision %d " % (n, r) * 200 for r in range(3)) for n in range(20)}


@pytest.fixture
def store(tmp_path):
    """A store with chunks and small contents in the same packs."""
    with closing(holdfast.create(tmp_path / "s")) as made:
        for path, contents in {**SMALL, **LARGE}.items():
            for content in contents:
                made.put(path, content)
        wholes.cut(made._handle)
        yield made


def whole(store):
    return all(
        store.read(path, revision=number) == content
        for path, contents in {**SMALL, **LARGE}.items()
        for number, content in enumerate(contents, 1)
    )


def sound(store):
    return not store.fsck().counts


def chunk_places(store):
    physical = store._handle.index.physical
    recipes = RecipeFolder(store._handle.root, Disk())
    raws = {raw for one in LARGE["log"] for raw, _ in recipes.read(digests.of(one))[0]}
    return {raw: physical.chunk(digests.text(raw)) for raw in raws}


def test_repack_moves_small_contents_and_leaves_chunks_where_they_are(store):
    before = chunk_places(store)
    assert store.repack().contents == 60
    assert chunk_places(store) == before
    assert whole(store)
    assert sound(store)
    assert store.repack(dry_run=True).contents == 0, "packs with chunks alone are no work for repack"


def test_chunks_alone_are_no_reason_for_gc_to_repack(store, monkeypatch):
    store.repack()
    monkeypatch.setenv("HOLDFAST_REPACK_FROM", "1")
    assert store.gc(dry_run=True).repacked == 0
    assert store.gc().repacked == 0


@pytest.mark.parametrize("grace_s", [0, 7 * 86_400])
def test_gc_after_repack_keeps_every_chunk_and_a_copy_recovers(store, tmp_path, grace_s):
    store.repack()
    store.gc(grace_s=grace_s)
    assert whole(store)
    assert sound(store)
    store.close()
    shutil.copytree(tmp_path / "s", tmp_path / "copy")
    recover_store(tmp_path / "copy")
    with closing(holdfast.open(tmp_path / "copy")) as copy:
        assert whole(copy)
        assert sound(copy)


def test_rows_made_anew_after_repack_find_every_chunk(store, tmp_path):
    store.repack()
    store.gc(grace_s=0)
    store.close()
    rebuild_store(tmp_path / "s")
    with closing(holdfast.open(tmp_path / "s")) as again:
        assert whole(again)
        assert sound(again)


def test_many_contents_are_read_whether_they_are_cut_or_not(store):
    revision = store.artifacts.revision
    wanted = [revision("log", 1), "notes/3", revision("log", 2), "log", "notes/4"]
    found = {str(ref): content for ref, content in store.artifacts.read_many(wanted)}
    whole = [ONE, SMALL["notes/3"][-1], TWO, THREE, SMALL["notes/4"][-1]]
    assert found == {str(ref): content for ref, content in zip(wanted, whole, strict=True)}


def test_what_was_read_before_it_was_cut_is_read_after(tmp_path):
    with closing(holdfast.create(tmp_path / "s")) as store, closing(holdfast.open(tmp_path / "s")) as other:
        store.put("log", ONE)
        assert store.read("log") == ONE  # its place is held from now on
        other.put("log", TWO)
        other.gc(grace_s=0)  # the file that the recipe of ONE superseded is gone
        assert store.read("log") == TWO
        assert store.read("log", revision=1) == ONE


@pytest.mark.parametrize("as_stream", [False, True])
def test_large_contents_of_put_many_are_cut_from_the_second_revision_on(tmp_path, as_stream):
    with closing(holdfast.create(tmp_path / "s")) as store:
        for content in LARGE["log"]:
            store.put_many([("log", io.BytesIO(content) if as_stream else content), ("note", content[:1000])])
        physical = store._handle.index.physical
        assert [physical.is_cut(digests.of(one)) for one in LARGE["log"]] == [False, True, True]
        assert [store.read("log", revision=n) for n in (1, 2, 3)] == list(LARGE["log"])
        assert sound(store)


def test_large_files_are_cut_from_the_second_add_on_and_not_read_again_when_unchanged(tmp_path):
    file = tmp_path / "log"
    with closing(holdfast.create(tmp_path / "s")) as store:
        for content in LARGE["log"]:
            file.write_bytes(content)
            store.add(file)
        assert store.add(file).unchanged == 1
        physical = store._handle.index.physical
        assert [physical.is_cut(digests.of(one)) for one in LARGE["log"]] == [False, True, True]
        assert sound(store)


def test_a_pack_is_kept_while_it_lists_a_chunk_that_is_needed_and_has_no_row(store):
    physical = store._handle.index.physical
    (first, *_) = sorted(chunk_places(store))
    pack = physical.chunk(digests.text(first)).pack
    place = physical.chunks.place(digests.text(first))
    store._handle.index.begin()
    physical.chunks.remove(place.key)
    store._handle.index.commit()
    chunk_marks.mark(store._handle)
    assert repacking.lacks(store._handle)
    assert repacking.may_hold_missing(store._handle, pack)


def test_a_chunk_found_in_a_repacked_pack_survives_when_that_pack_is_written_again(tmp_path):
    """A chunk may be the same bytes as a content: rows made anew take whichever place is met first."""
    with closing(holdfast.create(tmp_path / "s")) as store:
        store.put("log", ONE)
        store.put("log", TWO)
        raw, size = next(iter(RecipeFolder(store._handle.root, Disk()).read(digests.of(TWO))[0]))
        store.put("piece", b"before")
        store.put("piece", TWO[:size])  # repack takes it in beside the one before
        store.put("other", b"another" * 1000)
        store.repack()
        physical = store._handle.index.physical
        spot = physical.spot(digests.text(raw))
        store._handle.index.begin()
        physical.register_chunk(digests.text(raw), spot)
        store._handle.index.commit()
        with repacking.holding(store._handle, [spot.pack]) as held:
            assert [repacking.rewrite(store._handle, one.name, lambda: write(store._handle)) for one in held] == [0]
        assert physical.packs.one(spot.pack).members == 0
        assert store.read("piece") == TWO[:size]
        assert store.read("log") == TWO
        assert raw in {member.digest for _, member in PackFolder(store._handle.root, Disk()).members()}
        assert sound(store)

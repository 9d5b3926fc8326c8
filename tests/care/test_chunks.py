"""Care for chunked content: what gc frees, fsck names, repair and rebuild give back, redaction erases."""

from __future__ import annotations

import os
import random
import shutil
import time
from pathlib import Path

import pytest

import holdfast
from holdfast.blobs.chunks import RecipeFolder
from holdfast.blobs.packs import PackFolder
from holdfast.care import chunking, wholes
from holdfast.disk import Disk
from holdfast.errors import BlobDamagedError, BlobMissingError, ConflictError, HoldfastError, NameTakenError
from holdfast.stores import rebuild_store, recover_store, repair_store
from holdfast.testing.damage import flip
from holdfast.values import digest as digests

DAY = 24 * 3600.0
LUCK = random.Random(20)
ONE = LUCK.randbytes(1_500_000)
TWO = ONE[:700_000] + b"something new" + ONE[700_000:] + LUCK.randbytes(300_000)
THREE = TWO + LUCK.randbytes(200_000)
OTHER = LUCK.randbytes(1_400_000)


def grow(store, *contents, path="log"):
    """Revisions, all in chunks: gc has cut the first."""
    for content in contents or (ONE, TWO, THREE):
        store.put(path, content)
    wholes.cut(store._handle)


def are_there(store, *wanted):
    return all(store._handle.blobs.read(digests.of(one)) == one for one in wanted)


def recipe_of(root, content):
    return Path(RecipeFolder(str(root), Disk()).path(digests.of(content)))


def chunks_of(root, *wanted):
    recipes = RecipeFolder(str(root), Disk())
    return set().union(*({raw for raw, _ in recipes.read(digests.of(one))[0]} for one in wanted))


def in_packs(root):
    return {member.digest for _, member in PackFolder(str(root), Disk()).members()}


def whole_file(root, content):
    name = digests.raw(digests.of(content)).hex()
    return Path(root, "blobs", name[:2], name + ".zst")


def spot_of(store, raw):
    return store._handle.index.physical.chunk(digests.text(raw))


def purge(store, *numbers, path="log"):
    store.artifacts.purge(path, revisions=numbers)


def check(root, *codes):
    report = holdfast.fsck(root)
    assert set(report.counts) == set(codes), report.findings
    return report


def rows(store):
    return store._handle.index.database.rows("SELECT digest FROM chunk ORDER BY digest")


def spoil(root, spot):
    path = Path(root, "packs", f"{spot.pack}.zst")
    flip(path, spot.offset + spot.stored_bytes // 2)


# -- gc ----------------------------------------------------------------------------------------------------------------


def test_what_a_recipe_superseded_stays_for_the_grace_period_and_then_goes(store, root):
    grow(store)
    assert whole_file(root, ONE).exists()
    assert (store.gc().strays, whole_file(root, ONE).exists()) == (0, True)
    long_ago = time.time() - 15 * DAY
    os.utime(whole_file(root, ONE), (long_ago, long_ago))
    assert store.gc().strays == 0, "the grace period begins with the recipe, not with the file"
    os.utime(recipe_of(root, ONE), (long_ago, long_ago))
    assert (store.gc(dry_run=True).strays, store.gc().strays, whole_file(root, ONE).exists()) == (1, 1, False)
    assert are_there(store, ONE, TWO, THREE)
    store.close()
    check(root)


def test_a_superseded_file_that_another_gc_took_meanwhile_is_no_error(store, root, monkeypatch):
    grow(store)
    found = list(chunking.strays(store._handle, before_us=1 << 62))
    assert [path for path, _, _ in found] == [str(whole_file(root, ONE).relative_to(root))]
    whole_file(root, ONE).unlink()
    monkeypatch.setattr(chunking, "strays", lambda *_, **__: found)
    assert store.gc(grace_s=0).strays == 0
    assert are_there(store, ONE, TWO, THREE)


def test_a_superseded_file_stays_where_a_chunk_of_its_recipe_is_damaged(store, root):
    """It is the last good copy, whatever the grace period says; repair takes it."""
    grow(store, ONE, TWO)
    store.close()
    spot = max((path for path in Path(root, "packs").iterdir()), key=lambda path: path.stat().st_size)
    flip(spot, spot.stat().st_size // 8)
    with holdfast.open(root) as again:
        assert again.gc(dry_run=True, grace_s=0).strays == 0
        again.gc(grace_s=0)
    assert whole_file(root, ONE).exists()
    repair_store(root)
    with holdfast.open(root) as again:
        assert again.read("log", revision=1) == ONE


def test_gc_without_grace_frees_the_chunks_that_only_the_purged_revisions_had(store, root):
    grow(store)
    only_three = chunks_of(root, THREE) - chunks_of(root, ONE, TWO)
    store.put("log", OTHER)
    purge(store, 3)
    planned = store.gc(dry_run=True, grace_s=0)
    done = store.gc(grace_s=0)
    assert planned.chunks == done.chunks == len(only_three) > 0
    assert planned.removed == done.removed == 1
    assert (planned.packs_rewritten, planned.packs_removed) == (done.packs_rewritten, done.packs_removed)
    assert not recipe_of(root, THREE).exists()
    assert not only_three & in_packs(root)
    assert are_there(store, ONE, TWO)
    assert store.read("log") == OTHER
    store.close()
    check(root)


def test_chunks_are_condemned_with_their_recipe_and_come_back_with_it(store, root):
    grow(store)
    store.put("log", OTHER)
    purge(store, 3)
    store.gc()
    condemned = store._handle.index.database.one("SELECT count(*) FROM chunk WHERE condemned_us IS NOT NULL")
    assert condemned[0] == len(chunks_of(root, THREE) - chunks_of(root, ONE, TWO))
    store.put("other", THREE)
    assert store.read("other") == THREE
    store.gc()
    condemned = store._handle.index.database.one("SELECT count(*) FROM chunk WHERE condemned_us IS NOT NULL")
    assert condemned == (0,)
    assert store.gc(grace_s=0).chunks == 0
    store.close()
    check(root)


def test_gc_stops_where_it_cannot_read_a_recipe_that_is_needed(store, root):
    grow(store)
    before = in_packs(root)
    flip(recipe_of(root, TWO), 100)
    with pytest.raises(BlobDamagedError, match="recipes/") as caught:
        store.gc(grace_s=0)
    assert "fsck --repair" in caught.value.remedy
    assert in_packs(root) == before


def test_what_an_interrupted_put_left_is_removed(store, root):
    grow(store)

    def interrupted():
        with store.transaction():
            store.put("log", OTHER)
            store.create("log", "taken")

    with pytest.raises(NameTakenError):
        interrupted()
    assert recipe_of(root, OTHER).exists()
    store.gc(grace_s=0)
    assert not recipe_of(root, OTHER).exists()
    assert in_packs(root) == chunks_of(root, ONE, TWO, THREE)
    assert are_there(store, ONE, TWO, THREE)
    store.close()
    check(root)


def test_a_put_whose_shared_chunks_were_removed_meanwhile_fails_whole_and_works_again(store, root, monkeypatch):
    grow(store)
    store.put("log", OTHER)
    purge(store, 1, 2, 3)
    publish = type(store._handle.blobs).publish

    def gc_comes_first(blobs, staged):
        monkeypatch.setattr(type(blobs), "publish", publish)
        index = store._handle.index
        index.database.run("DELETE FROM chunk WHERE key IN (SELECT key FROM chunk LIMIT 3)")
        return publish(blobs, staged)

    monkeypatch.setattr(type(store._handle.blobs), "publish", gc_comes_first)
    with pytest.raises(ConflictError, match="shar"):
        store.put("log", THREE + b"more")
    assert store.read("log") == OTHER


# -- without rows ------------------------------------------------------------------------------------------------------


def test_an_index_made_anew_has_the_same_contents_and_chunks(store, root):
    grow(store)
    before = rows(store)
    store.close()
    os.remove(Path(root, "index.sqlite3"))
    rebuild_store(root)
    with holdfast.open(root) as again:
        assert are_there(again, ONE, TWO, THREE)
        assert rows(again) == before
        assert again._handle.index.physical.place(digests.of(ONE)).cut
    check(root)


def test_a_recipe_without_its_chunks_is_no_presence_but_the_superseded_file_is(store, root):
    grow(store)
    store.close()
    for path in Path(root, "packs").iterdir():
        path.unlink()
    os.remove(Path(root, "index.sqlite3"))
    with holdfast.open(root) as again:
        assert again._handle.blobs.read(digests.of(ONE)) == ONE
        with pytest.raises(BlobMissingError):
            again.read("log")


def test_a_copy_that_lacks_chunks_of_its_last_revision_gives_up_that_one_alone(store, root, tmp_path):
    grow(store, ONE, TWO)
    copy = tmp_path / "copy"
    packs_before = {path.name: path.read_bytes() for path in Path(root, "packs").iterdir()}
    store.put("log", THREE)
    shutil.copytree(root, copy)
    for path in Path(copy, "packs").iterdir():
        path.write_bytes(packs_before.get(path.name, b""))
    recover_store(str(copy))
    with holdfast.open(copy) as again:
        assert are_there(again, ONE, TWO)
        assert again.read("log") == TWO
    assert not [f for f in holdfast.fsck(copy).findings if f.severity == "error"]


# -- damage ------------------------------------------------------------------------------------------------------------


def test_fsck_names_the_content_whose_chunk_recipe_or_pack_is_damaged(store, root):
    grow(store)
    fresh = next(iter(chunks_of(root, THREE) - chunks_of(root, ONE, TWO)))
    spot = spot_of(store, fresh)
    store.close()
    check(root)
    spoil(root, spot)
    assert [f.fields["digest"] for f in check(root, "blob-damaged").findings] == [digests.of(THREE)]
    flip(recipe_of(root, TWO), 200)
    found = {f.fields["digest"] for f in check(root, "blob-damaged").findings}
    assert found == {digests.of(TWO), digests.of(THREE)}
    recipe_of(root, TWO).unlink()
    assert set(holdfast.fsck(root).counts) == {"blob-damaged", "blob-missing"}
    assert set(holdfast.fsck(root, quick=True).counts) == {"blob-missing"}


def test_no_read_of_damaged_chunks_is_wrong(store, root):
    grow(store)
    shared = {(spot.pack, spot.offset) for spot in (spot_of(store, raw) for raw in chunks_of(root, ONE))}
    own = [spot_of(store, raw) for raw in chunks_of(root, TWO) - chunks_of(root, ONE)]
    spot = next(spot for spot in own if (spot.pack, spot.offset) not in shared)  # small ones share a frame
    whole_file(root, ONE).unlink()
    spoil(root, spot)
    with pytest.raises(BlobDamagedError):
        store._handle.blobs.read(digests.of(TWO))
    assert store._handle.blobs.read(digests.of(ONE)) == ONE


def test_one_original_heals_every_revision_that_shares_its_chunks(store, root, tmp_path):
    grow(store)
    shared = chunks_of(root, ONE) & chunks_of(root, TWO) & chunks_of(root, THREE)
    spots = [spot_of(store, raw) for raw in sorted(shared)[:3]]
    store.gc(grace_s=0)  # the whole file of the first revision would heal it
    store.close()
    for spot in spots:
        spoil(root, spot)
    check(root, "blob-damaged")
    originals = tmp_path / "originals"
    originals.mkdir()
    (originals / "log.2").write_bytes(TWO)
    repair_store(root, sources=[str(originals)])
    check(root, "pack-garbage")
    with holdfast.open(root) as again:
        assert are_there(again, ONE, TWO, THREE)


def test_repair_without_a_source_keeps_what_is_left_and_gives_up_what_is_lost(store, root):
    grow(store)
    store.gc(grace_s=0)
    spot = spot_of(store, next(iter(chunks_of(root, THREE) - chunks_of(root, ONE, TWO))))
    store.close()
    spoil(root, spot)
    repair_store(root)
    assert list(Path(root, "quarantine").iterdir())
    with holdfast.open(root) as again:
        assert are_there(again, ONE, TWO)
        with pytest.raises(HoldfastError):
            again.read("log")
        before = in_packs(root)
        again.gc(grace_s=0)
        assert in_packs(root) == before, "the other chunks of what is lost may be wanted still"
    with holdfast.open(root) as again:
        again.put("copy", THREE)
        assert again.read("log") == THREE


def test_another_store_that_has_it_in_chunks_is_a_source(store, root, tmp_path):
    grow(store)
    store.gc(grace_s=0)
    store.close()
    backup = tmp_path / "backup"
    shutil.copytree(root, backup)
    shutil.rmtree(Path(root, "recipes"))
    Path(root, "recipes").mkdir()
    check(root, "blob-missing")
    repair_store(root, sources=[str(backup)])
    check(root)
    with holdfast.open(root) as again:
        assert are_there(again, ONE, TWO, THREE)


# -- redaction ---------------------------------------------------------------------------------------------------------


def test_redacted_content_leaves_no_recipe_and_no_chunk_that_nothing_else_needs(store, root):
    grow(store)
    store.put("other", OTHER)
    store.put("other", OTHER + ONE[-400_000:])
    secret = chunks_of(root, THREE, TWO) - chunks_of(root, OTHER + ONE[-400_000:])
    store.redact(store.get("log"))
    assert not [
        path for one in (ONE, TWO, THREE) for path in (recipe_of(root, one), whole_file(root, one)) if path.exists()
    ]
    assert not secret & in_packs(root)
    assert store.read("other") == OTHER + ONE[-400_000:]
    store.close()
    check(root)


def test_redaction_erases_chunks_that_gc_has_left_as_garbage(store, root):
    grow(store)
    store.put("log", OTHER)
    secret = chunks_of(root, THREE) - chunks_of(root, ONE, TWO)
    purge(store, 3)
    store.gc()
    store._handle.index.database.run("DELETE FROM chunk WHERE condemned_us IS NOT NULL")
    recipe_of(root, THREE).unlink()
    assert secret <= in_packs(root)
    store.redact(store.get("log"), revisions=[3])
    assert not secret & in_packs(root)
    assert are_there(store, ONE, TWO, OTHER)


# -- figures -----------------------------------------------------------------------------------------------------------


def test_status_counts_logical_and_stored_bytes(store, root):
    grow(store)
    store.gc(grace_s=0)
    status = store.status()
    assert status.logical_bytes == len(ONE) + len(TWO) + len(THREE)
    files = [
        path for folder in ("packs", "recipes", "blobs") for path in Path(root, folder).rglob("*") if path.is_file()
    ]
    stored = sum(path.stat().st_size for path in files)
    assert 0 <= stored - status.stored_bytes < 20_000
    assert status.stored_bytes < status.logical_bytes / 2

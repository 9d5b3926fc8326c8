"""Too many small contents with a file each are appended to packs by gc, and the files go once gc has waited."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import holdfast
from holdfast import Store
from holdfast.care import gathering
from holdfast.care.gc import Gc
from holdfast.stores import rebuild_store, recover_store

DAY = 24 * 3600.0
WORDS = [f"the words of number {n}, and some more of them\n" * 5 for n in range(12)]
LARGE = bytes(range(256)) * 300


def files(root: str) -> list[Path]:
    return sorted(Path(root, "blobs").rglob("*.zst"))


def gathered(store: Store, *, grace_s: float = 14 * DAY, many: int = 10) -> int:
    return Gc(store._handle, grace_s=grace_s, loose_many=many).run().gathered


def in_packs(store: Store) -> list[bool]:
    return [store._handle.index.physical.spot(store.get(f"folder/{n}").digest) is not None for n in range(len(WORDS))]


@pytest.fixture
def many(store: Store, root: str) -> Store:
    """A store with twelve small contents, a large one and an empty one, each with a file of its own."""
    store._handle.blobs.pack_up_to = 0
    for n, text in enumerate(WORDS):
        store.put(f"folder/{n}", text)
    store.put("large", LARGE)
    store.put("empty", b"")
    store._handle.blobs.pack_up_to = 64 * 1024
    return store


def test_a_thousand_small_files_are_too_many(many: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gathering.LOOSE_MANY == 1_000
    assert many.gc().gathered == 0
    assert gathered(many, many=13) == 0
    assert gathered(many, many=12) == 12


def test_what_was_gathered_is_read_from_packs_and_the_files_stay_for_the_grace_period(many: Store, root: str) -> None:
    before = files(root)
    assert gathered(many) == 12
    assert all(in_packs(many))
    assert files(root) == before
    report = holdfast.fsck(root)
    assert report.counts == {}
    assert report.checked["files that packs have superseded"] == 12
    for path in before:
        path.chmod(0)  # nobody reads them any more
    assert [many.read(f"folder/{n}").decode() for n in range(12)] == WORDS


def test_the_files_wait_from_when_they_were_superseded_not_from_when_they_were_made(many: Store, root: str) -> None:
    for path in files(root):
        os.utime(path, (1, 1))
    assert gathered(many) == 12
    assert many.gc().strays == 0
    assert len(files(root)) == 14
    for path in files(root):
        os.utime(path, (1, 1))
    assert many.gc().strays == 12
    assert len(files(root)) == 2
    assert [many.read(f"folder/{n}").decode() for n in range(12)] == WORDS
    assert (many.read("large"), many.read("empty")) == (LARGE, b"")
    many.close()
    assert holdfast.fsck(root).counts == {}


@pytest.mark.parametrize("grace_s", [0, 14 * DAY])
def test_a_dry_run_says_what_will_be_done(many: Store, root: str, grace_s: float) -> None:
    many.artifacts.delete(many.get("folder/3"))  # deleted, not purged: still needed
    planned = Gc(many._handle, grace_s=grace_s, loose_many=10).preview()
    assert len(files(root)) == 14
    done = Gc(many._handle, grace_s=grace_s, loose_many=10).run()
    assert planned.gathered == done.gathered == 12
    assert (planned.strays, planned.freed_bytes) == (done.strays, done.freed_bytes)
    assert done.strays == (0 if grace_s else 12)


def test_what_nothing_refers_to_is_not_gathered(many: Store) -> None:
    found = many.get("folder/3")
    many.artifacts.delete(found)
    many.artifacts.purge(f"id:{found.id}")
    planned = Gc(many._handle, loose_many=10).preview()
    assert (planned.gathered, gathered(many)) == (11, 11)


def test_nothing_is_gathered_where_packs_are_not_wanted(many: Store) -> None:
    many._handle.blobs.pack_up_to = 0
    assert gathered(many) == 0


def test_a_damaged_file_is_left_as_it_is_and_the_others_are_gathered(many: Store, root: str) -> None:
    digest = many.get("folder/5").digest.removeprefix("sha256:")
    Path(root, "blobs", digest[:2], f"{digest}.zst").write_bytes(b"damaged")
    assert gathered(many) == 11
    assert in_packs(many).count(False) == 1
    assert set(holdfast.fsck(root).counts) == {"blob-damaged"}


def test_a_file_whose_time_cannot_be_set_stays_in_use(many: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, **_: object) -> None:
        raise PermissionError(1, "not yours", path)

    monkeypatch.setattr(os, "utime", refuse)
    assert gathered(many) == 0
    assert not any(in_packs(many))


def test_a_put_while_it_is_gathered_finds_the_content_before_and_after(
    many: Store, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def between(handle: object, digest: str) -> bool:
        if not seen:
            with holdfast.open(root) as other:
                seen.append(other.put("again", WORDS[0]).revision.digest)
        return waits(handle, digest)

    waits = gathering._waits_from_now
    monkeypatch.setattr(gathering, "_waits_from_now", between)
    assert gathered(many, grace_s=0) == 12
    assert many.read("again").decode() == WORDS[0]
    many.put("once more", WORDS[1])
    many.close()
    assert holdfast.fsck(root).counts == {}


def test_purged_and_put_again_while_its_old_file_waits_it_is_one_content(many: Store, root: str) -> None:
    assert gathered(many) == 12
    found = many.get("folder/3")
    many.artifacts.delete(found)
    many.artifacts.purge(f"id:{found.id}")
    assert many.gc().condemned == 1
    many.put("anew", WORDS[3])
    assert many.gc(grace_s=0).removed == 0
    assert many.read("anew").decode() == WORDS[3]
    many.close()
    assert len(files(root)) == 2
    assert holdfast.fsck(root).counts == {}


def test_killed_before_the_rows_change_the_files_are_in_use_and_the_next_gc_gathers_them(
    many: Store, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(gathering, "_waits_from_now", killed)
    with pytest.raises(KeyboardInterrupt):
        gathered(many)
    monkeypatch.undo()
    assert not any(in_packs(many))
    assert gathered(many, grace_s=0) == 12
    assert [many.read(f"folder/{n}").decode() for n in range(12)] == WORDS
    many.close()
    assert holdfast.fsck(root).counts == {}


def test_an_index_made_anew_takes_the_files_that_still_wait(many: Store, root: str) -> None:
    assert gathered(many) == 12
    many.close()
    rebuild_store(root)
    with holdfast.open(root) as store:
        assert not any(in_packs(store))
        assert [store.read(f"folder/{n}").decode() for n in range(12)] == WORDS
        assert gathered(store, grace_s=0) == 12
    assert holdfast.fsck(root).counts == {}


def test_a_copy_that_began_before_the_files_were_superseded_is_whole(many: Store, root: str, tmp_path: Path) -> None:
    """The index was copied while rows spoke of files; the files come after gc has gathered them."""
    target = tmp_path / "copy"
    shutil.copytree(root, target, ignore=shutil.ignore_patterns("blobs"))
    assert gathered(many) == 12
    many.gc()
    shutil.copytree(Path(root, "blobs"), target / "blobs")
    recover_store(target)
    with holdfast.open(target) as copied:
        assert [copied.read(f"folder/{n}").decode() for n in range(12)] == WORDS

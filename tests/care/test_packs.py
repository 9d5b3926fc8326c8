"""Care for packs: what gc frees, what fsck names, what repair, rebuild, redaction and recovery give back."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest

import holdfast
from holdfast import Store
from holdfast.blobs.packs import PackFolder
from holdfast.blobs.packs.writer import somebody_appends
from holdfast.care import packing
from holdfast.disk import Disk
from holdfast.engine import open as opening
from holdfast.engine import repacking
from holdfast.engine.settings import Settings
from holdfast.errors import BlobDamagedError, HandleDeadError, NoSpaceError, StorageIOError
from holdfast.formats.appending import FRAME_BYTES
from holdfast.formats.pack import Header
from holdfast.index.tables import LOGICAL
from holdfast.stores import rebuild_store, repair_store
from holdfast.testing.damage import flip
from holdfast.testing.faults import FaultyDisk
from holdfast.values import digest as digests
from holdfast.values.change import Actor

WORDS = [f"the words of number {n}, and some more of them\n" * 5 for n in range(12)]
DAY = 24 * 3600.0


def packs(root):
    return sorted(Path(root, "packs").glob("*.zst"))


def fill(store, words=WORDS):
    for n, text in enumerate(words):
        store.put(f"folder/{n}", text)
    store._handle.keeper.give_up()  # the packs alone have it now


def all_content(root):
    found = [subprocess.run(["zstd", "-dcq", path], capture_output=True, check=False).stdout for path in packs(root)]
    return b"".join(found)


def purge(store, path):
    found = store.get(path)
    store.artifacts.delete(found)
    store.artifacts.purge(f"id:{found.id}")


def spot_of(store, path):
    return store._handle.index.physical.spot(store.get(path).digest)


def check(root, *codes):
    report = holdfast.fsck(root)
    assert set(report.counts) == set(codes), report.findings
    return report


def everything(store, words=WORDS):
    return [store.read(f"folder/{n}").decode() for n in range(len(words))] == words


def test_purged_content_is_gone_from_the_disk_after_a_gc_without_grace_and_the_rest_is_there(store, root):
    fill(store)
    purge(store, "folder/3")
    before = packs(root)
    planned = store.gc(dry_run=True, grace_s=0)
    done = store.gc(grace_s=0)
    assert (done.removed, done.packs_rewritten, done.packs_removed) == (1, 1, 1)
    assert (planned.removed, planned.packs_rewritten, planned.packs_removed, planned.freed_bytes) == (
        done.removed, done.packs_rewritten, done.packs_removed, done.freed_bytes,
    )  # fmt: skip
    assert not set(before) & set(packs(root))
    assert WORDS[3].encode() not in all_content(root)
    assert [store.read(f"folder/{n}") for n in (0, 11)] == [WORDS[0].encode(), WORDS[11].encode()]
    store.close()
    check(root)


def test_with_grace_a_pack_is_rewritten_when_half_of_it_is_garbage_and_the_old_one_stays_until_then(store, root):
    fill(store)
    for n in range(6):
        purge(store, f"folder/{n}")
    store.gc()
    store._handle.index.database.run("UPDATE blob SET condemned_us = 1, crc = row_checksum('blob', content, container,"
        " offset, start, stored_bytes, frames, 1) WHERE condemned_us IS NOT NULL")  # fmt: skip
    assert (store.gc().removed, len(packs(root))) == (6, 1)
    purge(store, "folder/6")
    store.gc()
    store._handle.index.database.run("UPDATE blob SET condemned_us = 1, crc = row_checksum('blob', content, container,"
        " offset, start, stored_bytes, frames, 1) WHERE condemned_us IS NOT NULL")  # fmt: skip
    done = store.gc()
    assert (done.removed, done.packs_rewritten, done.packs_removed) == (1, 1, 0)
    assert len(packs(root)) == 2
    assert [store.read(f"folder/{n}").decode() for n in range(7, 12)] == WORDS[7:]
    assert store.gc(grace_s=0).packs_removed == 1
    assert len(packs(root)) == 1
    store.close()
    check(root)


def test_many_small_packs_are_merged(root, monkeypatch):
    holdfast.create(root).close()
    monkeypatch.setattr("holdfast.blobs.packs.writer._ADOPTED_AT_MOST", 0)
    for n, text in enumerate(WORDS):
        with holdfast.open(root) as store:
            store.put(f"folder/{n}", text)
    assert len(packs(root)) == len(WORDS)
    with holdfast.open(root) as store:
        assert store.gc().packs_rewritten == len(WORDS)
        assert store.gc(grace_s=0).packs_removed == len(WORDS)
        assert everything(store)
    assert len(packs(root)) == 1
    check(root)


@pytest.mark.parametrize(("chosen_at_most", "again"), [(10_000, 0), (20, 1)])
def test_gc_goes_through_any_number_of_packs_and_holds_a_few_at_a_time(store, root, monkeypatch, chosen_at_most, again):
    """`again`: in a second round the pack that took the members of the first is one of the small ones."""
    monkeypatch.setattr(packing, "HELD_AT_MOST", 16)
    monkeypatch.setattr(packing, "CHOSEN_AT_MOST", chosen_at_most)
    holding, most = repacking.holding, 0

    def counted(handle, names):
        nonlocal most
        most = max(most, len(names))
        return holding(handle, names)

    monkeypatch.setattr(repacking, "holding", counted)
    for n in range(60):
        store.put(f"folder/{n}", f"content {n}")
        store._handle.blobs.writer.seal()
    for n in range(0, 60, 2):
        purge(store, f"folder/{n}")
    names = {path.name for path in packs(root)}
    assert len(names) == 60
    planned = store.gc(dry_run=True, grace_s=0)
    done = store.gc(grace_s=0)
    assert (planned.packs_rewritten, planned.packs_removed) == (30, 60)
    assert (done.removed, done.packs_rewritten, done.packs_removed) == (30, 30 + again, 60 + again)
    assert again or planned.freed_bytes == done.freed_bytes
    assert not names & {path.name for path in packs(root)}
    assert len(packs(root)) <= 2
    assert most == 16
    assert [store.read(f"folder/{n}") for n in range(1, 60, 2)] == [b"content %d" % n for n in range(1, 60, 2)]
    store.close()
    check(root)


def test_packs_that_nobody_speaks_of_and_rows_without_a_pack_go_wherever_they_stand(store, root):
    for n in range(80):
        store.put(f"folder/{n}", f"content {n}")
        store._handle.blobs.writer.seal()
    known = store._handle.index.physical.packs
    assert [row.name for row in known.each()] == [path.stem for path in packs(root)]
    for n in range(80):
        purge(store, f"folder/{n}")
    last = packs(root)[-1]
    last.unlink()
    assert store.gc(grace_s=0).packs_removed == 79
    assert packs(root) == []
    assert list(known.each()) == []


def test_processes_one_after_the_other_go_on_with_one_pack(root):
    holdfast.create(root).close()
    for n, text in enumerate(WORDS):
        with holdfast.open(root) as store:
            store.put(f"folder/{n}", text)
    assert len(packs(root)) == 1


def test_gc_leaves_a_pack_alone_whose_content_waits_for_its_rows(store, root):
    fill(store)
    staged = store._handle.blobs.stage(b"a long transaction has not come to its end")
    store._handle.blobs.writer.seal()
    purge(store, "folder/1")
    with open(packs(root)[0], "rb") as file:
        assert somebody_appends(file.fileno())
        assert store.gc(grace_s=0).packs_rewritten == 0
        store._handle.blobs.discard([staged])
    assert store.gc(grace_s=0).packs_rewritten == 1


def test_a_reader_finds_what_was_moved_and_what_it_holds_open_is_as_it_was(store):
    fill(store)
    reader = store.artifacts.open("folder/2")
    purge(store, "folder/1")
    store.gc(grace_s=0)
    assert reader.read().decode() == WORDS[2]
    assert store.read("folder/2").decode() == WORDS[2]


def test_a_pack_killed_between_moving_rows_and_removing_the_file_is_collected_by_the_next_gc(store, root, monkeypatch):
    fill(store)
    purge(store, "folder/1")

    def killed(handle, held):
        raise KeyboardInterrupt

    monkeypatch.setattr(repacking, "remove", killed)
    with pytest.raises(KeyboardInterrupt):
        store.gc(grace_s=0)
    monkeypatch.undo()
    assert len(packs(root)) == 2
    store.gc(grace_s=0)
    assert len(packs(root)) == 1
    store.close()
    check(root)


def test_a_loose_file_beside_what_a_pack_has_waits_to_be_removed(store, root):
    fill(store)
    store._handle.blobs.pack_up_to = 0
    staged = store._handle.blobs.stage(WORDS[0].encode())
    store._handle.blobs.publish([staged])
    assert check(root).checked["files that packs have superseded"] == 1
    file = next(Path(root, "blobs").rglob("*.zst"))
    file.write_bytes(b"damaged")
    check(root, "blob-unreferenced")
    assert store.gc(grace_s=0).strays == 1
    assert store.read("folder/0").decode() == WORDS[0]
    store.close()
    check(root)


# -- fsck --------------------------------------------------------------------------------------------------------------


def test_a_damaged_member_is_named_with_the_revisions_that_need_it_and_never_read_wrong(store, root):
    fill(store)
    spot = spot_of(store, "folder/4")
    flip(packs(root)[0], spot.offset + spot.stored_bytes - 6)
    store._handle.blobs.packs.close()
    with pytest.raises(holdfast.errors.BlobDamagedError):
        store.read("folder/4")
    assert store.read("folder/5").decode() == WORDS[5]
    (finding,) = check(root, "blob-damaged").findings
    assert finding.fields["revisions"] == ["folder/4@1"]
    assert finding.object == f"packs/{spot.pack}.zst"


def test_damage_to_a_header_is_named_and_repaired_by_writing_the_pack_again(store, root):
    fill(store)
    spot = spot_of(store, "folder/4")
    store.close()
    flip(packs(root)[0], spot.offset - 40)
    check(root, "pack-damaged")
    report = repair_store(root)
    assert ("rewrite-pack", f"packs/{spot.pack}.zst") in [(step.action, step.object) for step in report.steps]
    assert report.exit_code == 5
    with holdfast.open(root) as store:
        assert everything(store)
        store.gc(grace_s=0)
    check(root)


def test_rows_made_anew_do_not_go_back_to_a_pack_that_was_written_again(store, root):
    """Until gc takes it the damaged file still lists what its sound headers do, and its name may come first."""
    fill(store)
    spot = spot_of(store, "folder/4")
    store.close()
    flip(packs(root)[0], spot.offset - 40)
    for _ in range(2):
        repair_store(root)
        rebuild_store(root)
        check(root, "pack-torn")
        with holdfast.open(root) as store:
            assert everything(store)
            assert spot.pack not in {spot_of(store, f"folder/{n}").pack for n in range(12)}


def test_damage_to_the_last_header_is_no_torn_end(store, root):
    fill(store)
    spot = spot_of(store, "folder/11")
    store.close()
    flip(packs(root)[0], spot.offset - 40)
    check(root, "pack-damaged")


def test_a_torn_end_is_worth_a_word_only(store, root):
    fill(store)
    store.close()
    with open(packs(root)[0], "ab") as file:
        file.write(b"torn")
    check(root, "pack-torn")
    with holdfast.open(root) as store:
        store.put("later", "goes on")
        assert everything(store)
    check(root)


@pytest.mark.parametrize(("more", "code"), [(False, "pack-torn"), (True, "pack-damaged")])
def test_of_appends_that_nobody_committed_any_may_be_torn_until_something_needed_lies_behind(store, root, more, code):
    fill(store)
    with contextlib.suppress(LookupError), store.transaction():
        store.put("never", "taken back " * 20)
        store.put("nor this", "gone too " * 20)
        raise LookupError
    if more:
        store.put("later", "goes on")
    store.close()
    (pack,) = packs(root)
    with PackFolder(str(root), Disk()).scan(pack.stem) as scan:
        headers = list(scan.parts())
    flip(pack, headers[-3 if more else -2].position + 20)
    check(root, code, "blob-unreferenced")


@pytest.mark.parametrize("quick", [True, False])
def test_packs_that_are_gone_cut_swapped_or_something_else_are_named(store, root, tmp_path, quick):
    fill(store)
    store._handle.blobs.writer.seal()
    store.put("other", "in another pack")
    store.close()
    one = next(path for path in packs(root) if path.stat().st_size > 1000)
    other = next(path for path in packs(root) if path != one)
    for change, code in (
        (lambda r, a, b: (r / a).unlink(), "blob-missing"),
        (lambda r, a, b: os.truncate(r / a, 700), "blob-damaged"),
        (lambda r, a, b: ((r / a).rename(r / "x"), (r / b).rename(r / a), (r / "x").rename(r / b)), "blob-damaged"),
        (lambda r, a, b: shutil.copy(r / a, r / b), "pack-damaged" if quick else "blob-damaged"),
        (lambda r, a, b: ((r / a).unlink(), (r / a).mkdir()), "wrong-type"),
        (lambda r, a, b: (r / "packs" / "readme").write_text("x"), "stray-file"),
    ):
        twin = tmp_path / f"twin-{code}-{len(os.listdir(tmp_path))}"
        shutil.copytree(root, twin)
        change(twin, one.relative_to(root), other.relative_to(root))
        assert code in holdfast.fsck(twin, quick=quick).counts


def test_damage_to_what_nothing_refers_to_is_found_too(store, root):
    fill(store)
    spot = spot_of(store, "folder/4")
    purge(store, "folder/4")
    store.gc()
    store._handle.index.database.run("DELETE FROM blob WHERE condemned_us IS NOT NULL")
    store.close()
    check(root)
    flip(packs(root)[0], spot.offset + spot.stored_bytes - 6)
    check(root, "pack-garbage")


def test_parts_of_fsck_together_read_every_member_once(store, root):
    fill(store)
    read = [holdfast.fsck(root, portion=holdfast.Portion.part(n, of=3)).read for n in (1, 2, 3)]
    assert sum(read) == len(WORDS)


# -- repair ------------------------------------------------------------------------------------------------------------


def test_a_damaged_member_comes_back_from_another_store_and_its_frame_is_kept_aside(store, root, tmp_path):
    fill(store)
    spot = spot_of(store, "folder/4")
    store.close()
    shutil.copytree(root, tmp_path / "backup")
    flip(packs(root)[0], spot.offset + spot.stored_bytes - 6)
    report = repair_store(root, sources=[tmp_path / "backup"])
    assert report.exit_code == 5
    with holdfast.open(root) as store:
        assert everything(store)
        assert spot_of(store, "folder/4") != spot
    assert "pack-garbage" in holdfast.fsck(root).counts


def test_a_damaged_member_comes_back_from_another_pack_of_the_store(store, root):
    fill(store)
    store._handle.blobs.discard([store._handle.blobs.stage(WORDS[4].encode())])
    spot = spot_of(store, "folder/4")
    store.close()
    flip(packs(root)[0], spot.offset + spot.stored_bytes - 6)
    assert repair_store(root).exit_code == 5
    with holdfast.open(root) as store:
        assert everything(store)


@pytest.fixture
def lost(root):
    """A store whose index is gone, and whose disk does not give its pack back while rows are made anew."""
    with holdfast.create(root) as store:
        fill(store)
    Path(root, "index.sqlite3").unlink()
    disk = FaultyDisk()
    disk.fail("pread", path="packs/", times=1 << 30)
    with Store(opening.open_store(root, Settings(Actor("Ada"), disk=disk))) as store:
        assert len(list(store._handle.index.physical.missing())) == len(WORDS)
        disk.heal()
        yield store


def test_a_pack_that_could_not_be_read_when_rows_were_made_is_not_collected_and_found_by_the_next_open(lost, root):
    assert lost.gc(dry_run=True, grace_s=0).packs_removed == 0
    assert lost.gc(grace_s=0).packs_removed == 0
    lost.close()
    with holdfast.open(root) as store:
        assert everything(store)
        assert store.gc(grace_s=0).packs_removed == 0
    check(root)


def test_nor_is_it_rewritten_away_because_some_of_it_has_rows(lost, root):
    lost.put("folder/3", WORDS[3] + "and more")
    lost.put("again", WORDS[4])
    purge(lost, "again")
    done = lost.gc(grace_s=0)
    assert done.packs_removed < len(packs(root))
    lost.close()
    with holdfast.open(root) as store:
        assert store.read("folder/3", revision=1).decode() == WORDS[3]
        assert [store.read(f"folder/{n}").decode() for n in (0, 4, 11)] == [WORDS[0], WORDS[4], WORDS[11]]
    check(root)


def test_redaction_removes_no_pack_in_which_something_could_be_found_that_has_no_place(lost, root):
    with pytest.raises(BlobDamagedError):
        lost.redact(lost.get("folder/2").id, fields=["content"])
    lost.close()
    with holdfast.open(root) as store:
        assert store.read("folder/3").decode() == WORDS[3]
        store.redact(store.get("folder/2").id, fields=["content"])
    assert WORDS[2].encode() not in all_content(root)
    check(root)


def test_a_member_that_the_disk_did_not_give_back_when_rows_were_made_is_looked_for_again(root):
    with holdfast.create(root) as store:
        fill(store)
        spot = spot_of(store, "folder/5")
    Path(root, "index.sqlite3").unlink()
    disk = FailsAt(spot.offset)
    with Store(opening.open_store(root, Settings(Actor("Ada"), disk=disk))) as store:
        assert [size for _, size in store._handle.index.physical.missing()] == [len(WORDS[5])]
    with holdfast.open(root) as store:
        assert everything(store)
    check(root)


class FailsAt(Disk):
    """A disk that does not give back what stands at one place of a pack."""

    def __init__(self, offset):
        self.offset = offset

    def pread(self, fd, length, offset, path):
        if offset == self.offset and "packs/" in path:
            raise StorageIOError("a bad sector", path=path, operation="read")
        return super().pread(fd, length, offset, path)


def test_what_no_source_has_is_given_up_and_the_rest_of_its_frame_stays(root, tmp_path):
    tree = tmp_path / "folder"
    tree.mkdir()
    for n, text in enumerate(WORDS):
        (tree / f"{n}").write_text(text)
    with holdfast.create(root) as store:
        store.add(tree)
        spot = spot_of(store, "folder/4")
    flip(packs(root)[0], spot.offset + spot.stored_bytes - 6)
    report = repair_store(root)
    assert "folder/4@1" in report.lost
    aside = [
        path for path in Path(root, "quarantine").iterdir() if path.name.startswith(digests.of(WORDS[4].encode())[7:])
    ]
    assert aside[0].stat().st_size == spot.stored_bytes
    assert repair_store(root, sources=[tree]).exit_code == 5
    with holdfast.open(root) as store:
        assert everything(store)


# -- without the index, and with an older one --------------------------------------------------------------------------


def test_without_an_index_every_member_is_found_again(store, root):
    fill(store)
    store.close()
    for path in Path(root).glob("index.sqlite3*"):
        path.unlink()
    assert "blob-missing" not in holdfast.fsck(root).counts
    with holdfast.open(root) as store:
        assert everything(store)
    check(root)


def test_rows_made_anew_are_those_that_were_there_and_of_two_places_the_smallest_is_taken(store, root, rows_of):
    fill(store)
    for n in range(6):
        store._handle.blobs.writer.seal()
        store.put(f"more/{n}", f"number {n}")
        store._handle.blobs.discard([store._handle.blobs.stage(WORDS[n].encode())])  # as two who put it at once
    purge(store, "folder/11")
    store.gc()
    live = rows_of(store)
    members = sorted((name, one.offset, one.digest) for name, one in PackFolder(root, Disk()).members())
    store.close()
    rebuild_store(root)
    with holdfast.open(root) as again:
        found = rows_of(again)
        for n in range(11):
            spot, raw = spot_of(again, f"folder/{n}"), digests.raw(again.get(f"folder/{n}").digest)
            assert (spot.pack, spot.offset) == min((name, at) for name, at, digest in members if digest == raw)
        assert everything(again, WORDS[:11])
    check(root)
    rebuild_store(root)
    with holdfast.open(root) as again:
        assert rows_of(again) == found, "made anew a second time they are others"
    assert {table: found[table] for table in LOGICAL} == {table: live[table] for table in LOGICAL}
    once = {digest for *_, digest in members if sum(digest == other for *_, other in members) == 1}
    places = [{row[0]: row[:-1] for row in one["blob"]} for one in (live, found)]
    alone = [key for key, raw in ((row[0], row[1]) for row in found["content"]) if raw in once]
    assert len(alone) >= 6
    assert [places[0][key] for key in alone] == [places[1][key] for key in alone]


def test_of_two_places_of_a_content_the_sound_one_is_taken(store, root):
    fill(store)
    spot = spot_of(store, "folder/4")
    store._handle.blobs.discard([store._handle.blobs.stage(WORDS[4].encode())])
    store._handle.blobs.writer.seal()
    store.close()
    flip(packs(root)[0], spot.offset + spot.stored_bytes - 6)
    rebuild_store(root)
    with holdfast.open(root) as store:
        assert everything(store)
        assert spot_of(store, "folder/4") != spot


def test_a_member_whose_bytes_never_reached_the_disk_gets_no_row(store, root):
    fill(store)
    staged = store._handle.blobs.stage(b"never acknowledged " * 20)
    spot = staged.place.spot
    store._handle.blobs.discard([staged])
    store.close()
    data = bytearray(packs(root)[0].read_bytes())
    data[spot.offset :] = bytes(len(data) - spot.offset)
    packs(root)[0].write_bytes(data)
    with holdfast.open(root) as store:
        store.put("again", b"never acknowledged " * 20)
    rebuild_store(root)
    with holdfast.open(root) as store:
        assert store.read("again") == b"never acknowledged " * 20
        assert everything(store)


def test_a_copy_whose_pack_is_shorter_than_its_rows_is_recovered_by_withdrawing_what_it_lacks(store, root, tmp_path):
    fill(store)
    length = packs(root)[0].stat().st_size
    store.put("late", "after the copy began")
    store.close()
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    os.truncate(packs(copy)[0], length)
    holdfast.recover(copy)
    with holdfast.open(copy) as store:
        assert everything(store)
        assert store.find(name="late") is not None
        store.put("goes", "on")
    assert holdfast.fsck(copy).exit_code == 0


def test_redaction_leaves_the_bytes_in_no_pack_and_everything_else_in_its_place(store, root):
    fill(store)
    store.put("secret", "nobody may ever read this again\n" * 3)
    store._handle.blobs.discard([store._handle.blobs.stage(b"nobody may ever read this again\n" * 3)])
    store._handle.blobs.writer.seal()
    report = store.redact(store.get("secret"), fields=["content"])
    assert report.blobs == 1
    assert b"nobody may ever" not in all_content(root)
    assert everything(store)
    store.close()
    check(root)


def test_frames_of_a_batch_hold_neighbours_and_none_is_larger_than_it_should_be(root, tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    for n in range(300):
        (tree / f"{n:03d}").write_text(f"file {n} " * 10 * (n % 90 + 1))
    with holdfast.create(root) as store:
        store.add(tree)
    (path,) = packs(root)
    with PackFolder(root, Disk()).scan(path.stem) as scan:
        frames = [frame for part in scan.parts() if isinstance(part, Header) for frame in part.frames]
    assert sum(content for _, content in frames) > 10 * FRAME_BYTES
    assert len(frames) < 20
    assert max(content for _, content in frames) <= FRAME_BYTES


# -- a disk that fails -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["create", "write", "open_append"])
def test_a_full_disk_while_a_pack_is_appended_to_leaves_nothing_and_the_next_put_works(opener, disk, operation):
    opener().close()
    store = opener()
    if operation == "open_append":
        store.put("before", "so that there is a pack to take up")
        store._handle.blobs.writer.rest()
        disk.fail("write", path="/packs/", error=errno.ENOSPC, torn=50)
    else:
        disk.fail(operation, path="/packs/", error=errno.ENOSPC, torn=50 if operation == "write" else 0)
    with pytest.raises(NoSpaceError):
        store.put("name", WORDS[0])
    disk.heal()
    assert [artifact.name for artifact in store.find()] in ([], ["before"])
    assert store.put("name", WORDS[0]).created
    assert store.read("name").decode() == WORDS[0]
    store.close()
    check(store.path)


@pytest.mark.parametrize("operation", ["fsync", "fsync_dir"])
def test_a_sync_of_a_pack_that_fails_kills_the_handle_takes_nothing_back_and_is_never_asked_again(
    opener, disk, operation
):
    store = opener()
    disk.fail(operation, path="/packs")
    assert store.put("kept", WORDS[1]).created, "the commit that keeps its bytes acknowledges it"
    with pytest.raises(StorageIOError), store._handle.watching_syncs():
        store._handle.keeper.sync()
    asked = disk.calls[operation]
    with pytest.raises(HandleDeadError):
        store.put("name", WORDS[0])
    store.close()
    assert disk.calls[operation] == asked
    disk.heal()
    again = opener()
    assert [one.path for one in again.find()] == ["kept"]
    assert again.read("kept").decode() == WORDS[1]
    assert again._handle.keeper.is_settled(), "what stands in the pack was written once more, and synced"
    assert again.put("name", WORDS[0]).created

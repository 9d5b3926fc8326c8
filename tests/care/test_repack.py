"""Repacking: the same answers from less space, whatever comes between."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import holdfast
from holdfast.blobs.packs import PackFolder
from holdfast.blobs.packs.scan import is_sealed
from holdfast.blobs.packs.writer import opened
from holdfast.care import repack as repacking
from holdfast.care.repack import NEIGHBOUR_BYTES, SOLID_BYTES
from holdfast.disk import Disk
from holdfast.engine import solid
from holdfast.errors import BlobDamagedError, ConflictError, NoSpaceError
from holdfast.formats import paths
from holdfast.formats.pack import Header
from holdfast.stores import rebuild_store
from holdfast.testing.damage import flip

DAY = 24 * 3600.0


def words(seed, count):
    rnd = random.Random(seed)
    return b" ".join(b"%x" % rnd.getrandbits(40) for _ in range(count))


def fill(store, artifacts=4, revisions=6, length=900):
    """Artifacts whose revisions resemble one another, and as many that have one revision."""
    for number in range(revisions):
        for n in range(artifacts):
            store.put(f"docs/{n}.txt", words(n, length) + b" revision %d" % number)
    for n in range(artifacts):
        store.put(f"notes/{n}.md", words(1000 + n, 40))


def answers(store):
    """Every content of every revision, by path and number."""
    found = {}
    for artifact in store.find():
        for revision in store.artifacts.revisions(artifact):
            if revision.state == "kept":
                found[artifact.path, revision.number] = store.read(artifact, revision=revision.number)
    return found


def names(root):
    return [path.name.removesuffix(".zst") for path in sorted(Path(root, "packs").glob("*.zst"))]


def repacked_names(root):
    return [name for name in names(root) if paths.is_repacked(name)]


def frames(root, name):
    """The frames of a pack: for each its place, bytes stored, and members."""
    found = {}
    with PackFolder(str(root), Disk()).scan(name) as scan:
        for part in scan.parts():
            assert isinstance(part, Header), part
            for member in part.each():
                found.setdefault((member.offset, member.stored), []).append(member)
    return found


def everything(root):
    """Every file that is no database, with its bytes."""
    kept = [p for p in Path(root).rglob("*") if p.is_file() and "sqlite3" not in p.name and "locks" not in p.parts]
    return {path: path.read_bytes() for path in kept}


def spot_of(store, path, revision=None):
    digest = store.artifacts.revision(store.get(path), revision).digest if revision else store.get(path).digest
    return store._handle.index.physical.spot(digest)


def purge(store, path):
    found = store.get(path)
    store.artifacts.delete(found)
    store.artifacts.purge(f"id:{found.id}")


def is_well(root):
    report = holdfast.fsck(root)
    assert report.counts == {}, report.findings


def test_everything_reads_as_before_and_takes_a_fraction_of_the_space(store, root):
    fill(store)
    before, rows = answers(store), [path.stat().st_size for path in Path(root, "packs").iterdir()]
    report = store.repack()

    assert (report.contents, report.unreadable, report.packs) == (28, 0, 1)
    assert report.content_bytes == sum(map(len, before.values()))
    assert report.stored_after < report.stored_before / 3 < sum(rows)
    assert answers(store) == before
    store.gc(grace_s=0)
    assert names(root) == repacked_names(root)
    assert answers(store) == before
    store.close()
    is_well(root)


def test_a_second_repack_finds_nothing_to_do(store, root):
    fill(store)
    store.repack()
    before = everything(root)
    again = store.repack()
    assert (again.contents, again.packs, again.packs_superseded, store.repack(dry_run=True).contents) == (0, 0, 0, 0)
    assert everything(root) == before


def test_a_dry_run_says_what_would_be_taken_in_and_writes_nothing_even_in_a_store_opened_for_reading(store, root):
    fill(store)
    for number in range(2):
        store.put("long", words(7, 9000) + b"%d" % number)
    store.close()
    before = everything(root)
    with holdfast.open(root, read_only=True) as reader:
        planned = reader.repack(dry_run=True)
    assert everything(root) == before
    with holdfast.open(root) as again:
        done = again.repack()
    same = ("contents", "content_bytes", "stored_before", "packs_superseded", "loose_superseded")
    assert [getattr(planned, name) for name in same] == [getattr(done, name) for name in same]
    assert (planned.dry_run, planned.packs, done.loose_superseded) == (True, 0, 2)


def test_revisions_of_one_artifact_share_frames_newest_first_and_frames_are_bounded(store, root):
    for number in range(30):
        store.put("big.txt", words(1, 11_000) + b" %d" % number)
    fill(store, artifacts=60, revisions=2, length=150)
    store.repack()
    owner = {}
    for artifact in store.find():
        for revision in store.artifacts.revisions(artifact):
            owner[bytes.fromhex(revision.digest[7:])] = artifact.path, revision.number
    (name,) = repacked_names(root)
    numbers = []
    for members in frames(root, name).values():
        size, whose = sum(m.size for m in members), {owner[m.digest][0] for m in members}
        assert size <= (SOLID_BYTES if len(whose) == 1 else NEIGHBOUR_BYTES)
        numbers += [owner[m.digest][1] for m in members if owner[m.digest][0] == "big.txt"]
    assert numbers == sorted(numbers, reverse=True)
    assert len(numbers) == 30
    assert spot_of(store, "big.txt").start == 0
    assert len({spot_of(store, f"notes/{n}.md").offset for n in range(60)}) <= 2


def test_of_neighbours_the_small_ones_come_first_and_revisions_of_one_artifact_stay_together(store, root):
    for n, length in enumerate([300, 20, 900, 4]):
        store.put(f"notes/{n}.md", words(n, length))
    for number in range(3):
        store.put("docs/many.md", words(9, 100) + b" revision %d" % number)
    store.repack()
    ((members,),) = [frames(root, name).values() for name in repacked_names(root)]
    owner = {
        bytes.fromhex(revision.digest[7:]): (artifact.path, revision.number)
        for artifact in store.find()
        for revision in store.artifacts.revisions(artifact)
    }
    assert [owner[m.digest] for m in members] == [
        ("notes/3.md", 1), ("notes/1.md", 1),
        ("notes/0.md", 1), ("docs/many.md", 3), ("docs/many.md", 2), ("docs/many.md", 1), ("notes/2.md", 1),
    ]  # fmt: skip


def test_standard_tools_prove_every_member(store, root):
    fill(store)
    store.repack()
    (name,) = repacked_names(root)
    for members in frames(root, name).values():
        for member in members:
            recipe = f"zstd -dcq {root}/packs/{name}.zst | tail -c +{member.at + 1} | head -c {member.size} | sha256sum"
            told = subprocess.run(["sh", "-c", recipe], capture_output=True, check=True, text=True).stdout
            assert told.split()[0] == member.digest.hex()


def test_rows_made_anew_say_the_same_also_while_the_old_packs_are_there(store, root):
    fill(store)
    before = answers(store)
    store.repack()
    (name,) = repacked_names(root)
    for _ in range(2):
        store.close()
        rebuild_store(root)
        store = holdfast.open(root)
        assert answers(store) == before
        assert {spot_of(store, f"docs/{n}.txt").pack for n in range(4)} == {name}
        assert store.repack().contents == 0
        store.gc(grace_s=0)
    assert names(root) == [name]
    store.close()
    is_well(root)


def test_what_is_superseded_stays_for_the_grace_period_which_begins_now(store, root):
    fill(store)
    for number in range(2):
        store.put("long", words(7, 9000) + b"%d" % number)
    loose = list(Path(root, "blobs").rglob("*.zst"))
    for path in loose:
        os.utime(path, (1, 1))
    old = names(root)
    report = store.repack()
    assert (report.loose_superseded, report.packs_superseded, len(loose)) == (2, len(old), 2)
    store.gc()
    assert set(old) < set(names(root))
    assert all(path.exists() for path in loose)
    done = store.gc(grace_s=0)
    assert (done.packs_removed, done.strays) == (len(old), 2)
    assert names(root) == repacked_names(root)
    assert not any(path.exists() for path in loose)
    store.close()
    is_well(root)


def test_large_content_is_taken_in_only_where_its_artifact_has_more_of_it(store, root):
    for number in range(3):
        store.put("alone", b"first")
        store.put("siblings", words(5, 10_000) + b"%d" % number)
    store.put("only", words(6, 10_000))
    store.put("huge", words(8, 120_000))
    store.put("huge", words(8, 120_000) + b".")
    store.repack()
    assert spot_of(store, "only") is None
    assert spot_of(store, "huge") is None
    assert {spot_of(store, "siblings", n).offset for n in (1, 2, 3)} == {spot_of(store, "siblings").offset}


def test_a_frame_holds_a_bounded_number_of_contents_however_small(store, root, monkeypatch):
    monkeypatch.setattr(repacking, "FRAME_MEMBERS", 5)
    for number in range(17):
        store.put("counter", b"%d" % number)
    store.repack()
    (name,) = repacked_names(root)
    assert [len(members) for members in frames(root, name).values()] == [5, 5, 5, 2]


def test_what_lies_before_the_damage_in_a_solid_frame_is_repacked_and_copied_all_the_same(store, root):
    for number in range(20):
        store.put("big.txt", words(number, 9000))
    store.put("other", words(99, 100))
    store.repack()
    store.gc(grace_s=0)
    spot = spot_of(store, "big.txt", 1)
    readable = [n for n in range(20, 1, -1) if spot_of(store, "big.txt", n).start < spot.size * 10][:5]
    store.close()
    flip(Path(root, paths.pack_file(spot.pack)), spot.offset + spot.stored_bytes - 2000)
    with holdfast.open(root) as again:
        purge(again, "other")
        assert again.gc(grace_s=0).packs_rewritten == 1
        assert [again.read("big.txt", revision=n) for n in readable] == [words(n - 1, 9000) for n in readable]
        assert spot_of(again, "big.txt", 20).pack != spot.pack
        assert spot_of(again, "big.txt", 1) == spot


def test_content_that_several_artifacts_have_is_kept_once(store, root):
    for n in range(5):
        store.put(f"same/{n}", words(1, 500))
        store.put(f"same/{n}", words(2, 500))
    assert store.repack().contents == 2
    assert {store.read(f"same/{n}") for n in range(5)} == {words(2, 500)}


def test_one_flipped_byte_behind_a_member_does_not_keep_it_from_being_read_and_fsck_finds_it(store, root):
    for number in range(20):
        store.put("big.txt", words(number, 9000))
    store.repack()
    store.gc(grace_s=0)
    spot = spot_of(store, "big.txt", 1)
    newest = store.read("big.txt")
    store.close()
    flip(Path(root, paths.pack_file(spot.pack)), spot.offset + spot.stored_bytes - 2000)
    with holdfast.open(root) as again:
        assert again.read("big.txt") == newest
        with pytest.raises(BlobDamagedError):
            again.read("big.txt", revision=1)
    assert "blob-damaged" in holdfast.fsck(root).counts


def test_a_redacted_revision_leaves_a_solid_frame_and_the_other_frames_are_copied_as_they_are(store, root):
    fill(store)
    store.put("secret", words(50, 300))
    store.put("secret", words(50, 300) + b" zweikommafuenf")
    store.repack()
    (name,) = repacked_names(root)
    of_secret = spot_of(store, "secret").offset
    kept = {tuple(m.digest for m in members) for at, members in frames(root, name).items() if at[0] != of_secret}
    stored = {m: PackFolder(str(root), Disk()).stored(name, *at) for at, m in _firsts(root, name).items()}
    before = {key: value for key, value in answers(store).items() if key[0] != "secret"}
    store.redact(store.get("secret"))

    assert name not in names(root)
    (fresh,) = repacked_names(root)
    now = {m: PackFolder(str(root), Disk()).stored(fresh, *at) for at, m in _firsts(root, fresh).items()}
    assert kept <= {tuple(m.digest for m in members) for members in frames(root, fresh).values()}
    assert all(now[m] == stored[m] for m in now if m in {digests[0] for digests in kept})
    told = [
        subprocess.run(["zstd", "-dcq", p], capture_output=True, check=True).stdout for p in Path(root).rglob("packs/*")
    ]
    assert not any(b"zweikommafuenf" in content or words(50, 300) in content for content in told)
    assert {key: value for key, value in answers(store).items() if key in before} == before
    store.close()
    is_well(root)


def _firsts(root, name):
    return {at: members[0].digest for at, members in frames(root, name).items()}


def test_a_repacked_pack_with_garbage_is_written_again_dense_as_it_was(store, root):
    fill(store)
    store.repack()
    store.gc(grace_s=0)
    (name,) = repacked_names(root)
    size = Path(root, paths.pack_file(name)).stat().st_size
    before = answers(store)
    purge(store, "docs/2.txt")
    done = store.gc(grace_s=0)
    assert (done.packs_rewritten, done.packs_removed) == (1, 1)
    (fresh,) = names(root)
    assert paths.is_repacked(fresh)
    assert fresh != name
    assert Path(root, paths.pack_file(fresh)).stat().st_size < size
    assert answers(store) == {key: value for key, value in before.items() if key[0] != "docs/2.txt"}
    assert store.repack().contents == 0
    store.close()
    is_well(root)


def test_several_small_repacked_packs_are_put_together_once(store, root):
    for turn in range(4):
        fill(store, artifacts=2, revisions=turn + 2)
        store.put("each time", words(turn, 60))
        store.repack()
    assert len(repacked_names(root)) == 4
    before = answers(store)
    assert store.repack().packs == 1
    assert store.repack().contents == 0
    store.gc(grace_s=0)
    assert len(names(root)) == 1
    assert answers(store) == before


def test_puts_never_append_to_a_repacked_pack(store, root):
    fill(store)
    store.repack()
    (name,) = repacked_names(root)
    with opened(Disk(), str(Path(root, paths.pack_file(name)))) as fd:
        assert is_sealed(Disk(), fd, "", name)
    before = Path(root, paths.pack_file(name)).read_bytes()
    for n in range(3):
        store.put(f"later/{n}", words(n, 20))
        store.close()
        store = holdfast.open(root)
    assert Path(root, paths.pack_file(name)).read_bytes() == before
    assert not any(paths.is_repacked(spot_of(store, f"later/{n}").pack) for n in range(3))
    store.close()


def test_the_command_says_what_it_did_and_what_comes_next(store, root):
    fill(store)
    store.close()

    def call(*words):
        command = [sys.executable, "-m", "holdfast", "-C", root, *words]
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout

    assert "would be repacked" in call("repack", "--dry-run")
    told = call("repack")
    assert "28 contents" in told
    assert "1 pack, 0 files" in told
    assert "holdfast gc" in told
    assert "nothing to repack" in call("repack")
    assert '"contents": 0' in call("repack", "--json")


# -- in the midst of it ------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny(monkeypatch):
    """Batches of a frame or two, nothing ahead of them."""
    monkeypatch.setattr(repacking, "_BATCH_BYTES", 20_000)
    monkeypatch.setattr(repacking, "_AHEAD_BYTES", 0)
    monkeypatch.setattr(repacking, "NEIGHBOUR_BYTES", 2_000)


def test_an_interrupted_repack_is_gone_on_with_where_it_stopped(store, root, tiny):
    fill(store)
    before, moved = answers(store), []

    def stop(done, total, _what, _unit):
        moved.append((done, total))
        if len(moved) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.repack(progress=stop)
    assert 0 < moved[-1][0] < moved[-1][1] == 28
    assert answers(store) == before
    assert store.repack().contents == 28 - moved[-1][0]
    assert store.repack().contents == 0
    store.gc(grace_s=0)
    assert answers(store) == before
    store.close()
    is_well(root)


KILLED = """
import os, signal, sys, holdfast
from holdfast.care import repack
repack._BATCH_BYTES, repack._AHEAD_BYTES, repack.NEIGHBOUR_BYTES = 20_000, 0, 2_000
calls = []
def kill(*told):
    calls.append(told)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
holdfast.open(sys.argv[1]).repack(progress=kill)
"""


def test_a_killed_repack_leaves_every_content_readable_and_the_next_one_finishes(store, root):
    fill(store)
    before = answers(store)
    store.close()
    ended = subprocess.run([sys.executable, "-c", KILLED, root], check=False)
    assert ended.returncode == -signal.SIGKILL
    is_well(root)
    with holdfast.open(root) as again:
        assert answers(again) == before
        assert again.repack().contents > 0
        assert again.repack().contents == 0
        again.gc(grace_s=0)
        assert answers(again) == before
        assert len(names(root)) == 1
    is_well(root)


def test_what_is_given_up_between_reading_and_moving_is_not_written_again(store, root, monkeypatch):
    fill(store)
    content = words(77, 200) + b" given up"
    store.put("given up", content)
    move = solid.Mover.move

    def first_purge(self, filled, commit):
        if "given up" in {a.path for a in store.find()}:
            purge(store, "given up")
            store.gc(grace_s=0)
        move(self, filled, commit)

    monkeypatch.setattr(solid.Mover, "move", first_purge)
    report = store.repack()
    assert report.contents == 28
    (name,) = repacked_names(root)
    told = subprocess.run(["zstd", "-dcq", Path(root, paths.pack_file(name))], capture_output=True, check=True).stdout
    assert b"given up" not in told
    assert len(answers(store)) == 28
    store.close()
    is_well(root)


def test_puts_and_collections_go_on_beside(store, root, tiny):
    fill(store, artifacts=8, revisions=8)
    before, stop, trouble = answers(store), threading.Event(), []

    def put():
        n = 0
        try:
            while not stop.is_set():
                store.put(f"beside/{n}", words(n, 30))
                if n % 5 == 4:
                    purge(store, f"beside/{n}")
                    store.gc(grace_s=0)
                n += 1
        except Exception as error:
            trouble.append(error)

    thread = threading.Thread(target=put)
    thread.start()
    try:
        for _ in range(3):
            store.repack()
    finally:
        stop.set()
        thread.join()
    assert trouble == []
    found = answers(store)
    assert {key: found[key] for key in before} == before
    assert all(found[key] == words(int(key[0].split("/")[1]), 30) for key in found if key[0].startswith("beside"))
    store.close()
    is_well(root)


def test_a_copy_whose_packs_were_copied_before_the_repack_and_its_index_after_it_has_everything(store, root, tmp_path):
    fill(store)
    before = answers(store)
    copy = tmp_path / "copy"
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns("*.sqlite3*"))
    store.repack()
    store.gc()
    for path in Path(root).glob("index.sqlite3*"):
        shutil.copy(path, copy)
    with holdfast.open(copy) as copied:
        assert answers(copied) == before


def test_damaged_content_stays_where_it_is_and_the_rest_moves(store, root):
    fill(store, artifacts=3)
    store.put("hurt", os.urandom(9_000))
    spot = spot_of(store, "hurt")
    store.close()
    flip(Path(root, paths.pack_file(spot.pack)), spot.offset + 4_000)
    with holdfast.open(root) as again:
        report = again.repack()
        assert (report.contents, report.unreadable) == (21, 1)
        assert spot_of(again, "hurt") == spot
        assert (again.repack().contents, again.repack().unreadable) == (0, 1)
    assert holdfast.fsck(root).counts == {"blob-damaged": 1}


def test_nothing_moves_to_a_file_that_does_not_give_back_what_was_written(store, root, monkeypatch):
    fill(store)
    before = answers(store)
    real = PackFolder.frame

    def wrong(self, name, *place, **more):
        content = real(self, name, *place, **more)
        return content[:-1] + bytes([content[-1] ^ 1]) if paths.is_repacked(name) else content

    monkeypatch.setattr(PackFolder, "frame", wrong)
    with pytest.raises(BlobDamagedError):
        store.repack()
    monkeypatch.undo()
    assert not any(paths.is_repacked(spot_of(store, f"docs/{n}.txt").pack) for n in range(4))
    assert answers(store) == before
    assert store.repack().contents == 28
    store.gc(grace_s=0)
    assert answers(store) == before
    assert len(names(root)) == 1


@pytest.mark.parametrize("nth", [1, 2])
def test_without_room_nothing_is_lost_and_a_later_repack_does_it(opener, disk, root, tiny, nth):
    store = opener()
    fill(store)
    before = answers(store)
    disk.fail("write", path="packs/0", nth=nth, error=errno.ENOSPC, torn=100)
    with pytest.raises(NoSpaceError):
        store.repack()
    disk.heal()
    assert answers(store) == before
    assert store.repack().contents > 0
    assert store.repack().contents == 0
    store.gc(grace_s=0)
    assert answers(store) == before
    store.close()
    is_well(root)


def test_inside_a_transaction_it_refuses(store):
    fill(store, artifacts=1)
    with pytest.raises(ConflictError), store.transaction():
        store.repack()
    assert store.repack().contents > 0


# -- by itself ---------------------------------------------------------------------------------------------------------


def test_gc_repacks_by_itself_once_enough_was_added(store, root, monkeypatch):
    fill(store)
    assert (store.gc(dry_run=True).repacked, store.gc().repacked, repacked_names(root)) == (0, 0, [])
    monkeypatch.setenv("HOLDFAST_REPACK_FROM", "1000")
    assert (store.gc(dry_run=True).repacked, store.gc(grace_s=0).repacked) == (28, 28)
    assert names(root) == repacked_names(root)
    store.put("one more", words(3, 2000))
    monkeypatch.setenv("HOLDFAST_REPACK_FROM", "0")
    assert store.gc().repacked == 0


def test_a_store_that_is_to_have_no_packs_is_not_repacked(root, monkeypatch):
    monkeypatch.setenv("HOLDFAST_PACK_UP_TO", "0")
    with holdfast.create(root) as store:
        fill(store)
        assert (store.repack(dry_run=True).contents, store.repack().contents) == (0, 0)
    monkeypatch.delenv("HOLDFAST_PACK_UP_TO")
    with holdfast.open(root) as store:
        before = answers(store)
        report = store.repack()
        assert (report.contents, report.loose_superseded) == (28, 28)
        store.gc(grace_s=0)
        assert answers(store) == before
        assert list(Path(root, "blobs").rglob("*.zst")) == []
    is_well(root)


# -- any store ---------------------------------------------------------------------------------------------------------

ONE = st.tuples(st.integers(0, 4), st.integers(0, 3), st.sampled_from([0, 1, 30, 3_000, 70_000]), st.booleans())


@settings(max_examples=12)
@given(st.lists(ONE, max_size=25), st.data())
def test_any_store_gives_the_same_answers_after_any_number_of_repacks(tmp_path_factory, puts, data):
    root = str(tmp_path_factory.mktemp("any") / "store")
    with holdfast.create(root) as store:
        for n, (path, seed, size, then) in enumerate(puts):
            content = (words(seed, size // 8 + 1) + b"%d" % n)[-size:] if size else b""
            store.put(f"{path % 2}/{path}", content)
            if then:
                before = answers(store)
                store.repack()
                assert answers(store) == before
            if data.draw(st.integers(0, 5)) == 0:
                store.gc(grace_s=0)
        before = answers(store)
        store.repack()
        store.gc(grace_s=0)
        assert answers(store) == before
        assert store.repack().contents == 0 or len(repacked_names(root)) >= 4
        digests = {hashlib.sha256(content).hexdigest() for content in before.values()}
        assert digests == {revision.digest[7:] for a in store.find() for revision in store.artifacts.revisions(a)}
    is_well(root)
    rebuild_store(root)
    with holdfast.open(root) as store:
        assert answers(store) == before

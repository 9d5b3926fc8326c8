"""Large content that was stored whole is cut by gc once a later revision is in chunks: what, when, what stops it."""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path

import holdfast
from holdfast.blobs.chunks import cutter
from holdfast.engine import cutting
from holdfast.errors import NoSpaceError
from holdfast.stores import rebuild_store
from holdfast.testing.damage import flip
from holdfast.values import digest as digests

LUCK = random.Random(66)
ONE = LUCK.randbytes(1_500_000)
TWO = ONE[:700_000] + b"something new" + ONE[700_000:]
THREE = TWO + LUCK.randbytes(200_000)
OTHER = LUCK.randbytes(1_400_000)


def is_cut(store, content):
    return store._handle.index.physical.is_cut(digests.of(content))


def whole_file(root, content):
    name = digests.raw(digests.of(content)).hex()
    return Path(root, "blobs", name[:2], name + ".zst")


def put(store, *contents, path="log"):
    for content in contents:
        store.put(path, content)


def looked_at(store, monkeypatch):
    """Digests of what is held against a later revision from now on."""
    seen, real = [], cutting.cut_whole
    monkeypatch.setattr(
        cutting, "cut_whole", lambda handle, digest, **more: (seen.append(digest), real(handle, digest, **more))[1]
    )
    return seen


def test_a_put_leaves_the_revision_before_as_it_is(store, root):
    put(store, ONE)
    before = whole_file(root, ONE).read_bytes()
    put(store, TWO, THREE)
    assert [is_cut(store, one) for one in (ONE, TWO, THREE)] == [False, True, True]
    assert whole_file(root, ONE).read_bytes() == before
    assert [store.read("log", revision=n) for n in (1, 2, 3)] == [ONE, TWO, THREE]


def test_gc_cuts_it_and_its_file_goes_when_the_grace_period_is_over(store, root):
    put(store, ONE, TWO)
    assert store.gc(dry_run=True).cut == 1
    done = store.gc()
    assert (done.cut, done.strays, is_cut(store, ONE), whole_file(root, ONE).exists()) == (1, 0, True, True)
    assert (store.gc().cut, store.gc(grace_s=0).strays, whole_file(root, ONE).exists()) == (0, 1, False)
    assert [store.read("log", revision=n) for n in (1, 2)] == [ONE, TWO]
    store.close()
    assert not holdfast.fsck(root).counts


def test_without_a_grace_period_the_file_goes_at_once_as_was_foretold(store, root):
    put(store, ONE, TWO)
    planned, done = store.gc(dry_run=True, grace_s=0), store.gc(grace_s=0)
    assert (planned.cut, planned.strays, planned.freed_bytes) == (done.cut, done.strays, done.freed_bytes)
    assert (done.cut, done.strays, whole_file(root, ONE).exists()) == (1, 1, False)
    assert store.read("log", revision=1) == ONE


def test_what_shares_too_little_is_looked_at_once(store, monkeypatch):
    put(store, ONE, OTHER)
    seen = looked_at(store, monkeypatch)
    assert (store.gc().cut, seen) == (0, [digests.of(ONE)])
    put(store, THREE, path="another")
    put(store, THREE + b"more", path="another")
    assert store.gc().cut == 1
    assert seen == [digests.of(ONE), digests.of(THREE)]
    store.gc()
    assert len(seen) == 2


def test_an_index_made_anew_has_not_looked_at_anything(store, root):
    put(store, ONE, TWO)
    store.close()
    rebuild_store(root)
    with holdfast.open(root) as again:
        assert again.gc().cut == 1
        assert again.read("log", revision=1) == ONE


def test_the_newest_kept_one_before_is_cut_whatever_was_purged_between(store):
    put(store, ONE, TWO, THREE)
    store.artifacts.purge("log", revisions=[2])
    assert store.gc(grace_s=0).cut == 1
    assert is_cut(store, ONE)
    assert [store.read("log", revision=n) for n in (1, 3)] == [ONE, THREE]


def test_what_was_purged_is_not_cut(store, root, monkeypatch):
    put(store, ONE, TWO)
    store.artifacts.purge("log", revisions=[1])
    seen = looked_at(store, monkeypatch)
    assert (store.gc(grace_s=0).cut, seen, whole_file(root, ONE).exists()) == (0, [], False)
    assert store.read("log") == TWO


def test_revisions_of_others_and_small_ones_stay_as_they_are(store, monkeypatch):
    put(store, ONE[:1000], TWO)
    put(store, OTHER, path="other")
    seen = looked_at(store, monkeypatch)
    assert (store.gc().cut, seen) == (0, [])


def test_a_damaged_one_stays_whole_and_the_others_are_cut(store, root):
    put(store, ONE, TWO)
    put(store, OTHER, OTHER + b"more", path="other")
    flip(whole_file(root, ONE), 700_000)
    assert store.gc().cut == 1
    assert (is_cut(store, ONE), is_cut(store, OTHER)) == (False, True)
    assert "blob-damaged" in {finding.code for finding in store.fsck().findings}


def test_without_room_the_rest_of_gc_runs_and_the_next_one_cuts(store, monkeypatch):
    put(store, ONE, TWO)

    def full(*_, **__):
        raise NoSpaceError("no space left", path="packs")

    with monkeypatch.context() as now:
        now.setattr(cutting, "cut_whole", full)
        assert store.gc().cut == 0
    assert store.gc().cut == 1


def test_without_a_cutter_nothing_is_cut_or_counts_as_looked_at(store, monkeypatch):
    put(store, ONE, TWO)
    with monkeypatch.context() as now:
        now.setattr(cutter, "_maker", lambda: None)
        assert (store.gc(dry_run=True).cut, store.gc().cut) == (0, 0)
    assert store.gc().cut == 1


def test_two_collections_and_a_writer_at_once(store, root):
    for n in range(4):
        put(store, ONE + b"%d" % n, TWO + b"%d" % n, path=f"log{n}")
    reports, troubles = [], []

    def collect():
        try:
            with holdfast.open(root) as own:
                reports.append(own.gc())
        except Exception as error:  # shown below
            troubles.append(error)

    threads = [threading.Thread(target=collect) for _ in range(2)]
    for thread in threads:
        thread.start()
    put(store, *(THREE + b"%d" % n for n in range(4)), path="log0")
    for thread in threads:
        thread.join()
    assert troubles == []
    assert sum(report.cut for report in reports) == 4
    assert [store.read(f"log{n}", revision=1) for n in range(4)] == [ONE + b"%d" % n for n in range(4)]
    errors = [finding for finding in store.fsck().findings if finding.severity == "error"]
    assert errors == []  # what both have appended is garbage of a pack


def test_a_file_that_is_old_waits_from_when_it_was_cut(store, root):
    put(store, ONE, TWO)
    long_ago = time.time() - 30 * 86_400
    os.utime(whole_file(root, ONE), (long_ago, long_ago))
    assert (store.gc().strays, whole_file(root, ONE).exists()) == (0, True)


def test_the_index_tells_what_was_cut_since_and_what_is_whole_before_it(store):
    put(store, ONE, TWO, THREE)
    chunks = store._handle.index.physical.chunks
    found = [digest for key, _ in chunks.cut_since(0) for digest in chunks.whole_before(key)]
    assert found == [digests.of(ONE)]
    assert chunks.last_cut() == max(key for key, _ in chunks.cut_since(0))
    assert list(chunks.cut_since(chunks.last_cut())) == []

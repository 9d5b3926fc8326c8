"""Every kind of damage to every kind of file: fsck finds it or it is on the closed list, and no read is wrong.

`make test` takes a spread sample with a fixed seed; the long forms (`-m soak`) draw from every byte of the small files,
bytes all over every page of the index, and all the rest, in an order of their own, until their time is up.
HOLDFAST_DAMAGE_SEED sets their seed (it is printed), HOLDFAST_DAMAGE_SECONDS how long a part of them goes on: 90 if it
is not set, which makes a quarter of an hour for all; an hour or two tries everything there is.
Here each content has a file of its own; test_packs_damage.py does the same to packs.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from contextlib import contextmanager

import pytest

import holdfast
from holdfast.engine import trust
from holdfast.formats import paths
from holdfast.testing import asking, damage, lab, nothings, pages
from holdfast.testing.damage import Case
from holdfast.testing.harmed import Harmed

pytestmark = pytest.mark.usefixtures("loose")

SEED = int(os.environ.get("HOLDFAST_DAMAGE_SEED", "0")) or secrets.randbelow(1 << 32)
SECONDS = float(os.environ.get("HOLDFAST_DAMAGE_SECONDS", "90"))
LAB = "Damage to one file: not found, or a wrong answer"
PARTS = 4
LISTS = {
    "changes", "sorted", "deep", "status", "types", "ties", "runs", "folders", "search", "record", "up", "down", "of",
    "list", "steps", "inputs", "manifest", "log",
    "buried",
}  # fmt: skip
"""Questions that are answered by going through a part of an index (docs/damage-lab.md says what that means)."""
PAGE = 4096


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """(the store, what it answers)."""
    base = tmp_path_factory.mktemp("damage")
    root = lab.every_kind_of_file(base / "store")
    harmed = Harmed(root, base / "parking")
    truth = asking.answers(root)
    harmed.mend()
    return harmed, truth


@pytest.fixture
def as_a_large_one(monkeypatch):
    """Pages of a large index are not checked when it is opened: rows must prove themselves."""
    monkeypatch.setattr(trust, "PROVEN_AT_OPEN_BYTES", 0)


@pytest.fixture
def prove(sound, tally):
    """Try cases; nothing may be missed, answered wrongly, or end in an error that is not ours."""

    def run(chosen, *, on=None, note="", in_use=False, seconds=None):
        harmed, truth = on or sound
        until = None if seconds is None else time.monotonic() + seconds
        report = lab.run(harmed, truth, chosen, until=until)
        print(report)
        absent = f"; {len(report.absent)} left something out without saying so" if report.absent else ""
        if in_use:
            # SQLite reads a log that is in use without its checksums, and no other code may open it then: what lies in
            # it and is not read (old pages, free space) cannot be found. The journal has the same transactions.
            absent += f"; {len(report.missed)} not found while in use"
        tried = report.tried
        if in_use:
            report.missed.clear()
        tally(LAB, tried=tried, of="damages", lost=report.lost, note=f"{note}{absent}; seed {SEED}")
        assert (report.missed, report.wrong, report.untyped) == ([], [], [])
        return report

    return run


def used_bytes(index, each, rng):
    """Offsets of bytes that say something, some in each page."""
    used = sorted(pages.anatomy(index).used)
    for page in range(len(index) // PAGE):
        inside = [at for at in used if at // PAGE == page]
        yield from rng.sample(inside, min(each, len(inside)))


# -- in each run -------------------------------------------------------------------------------------------------------


def test_a_sample_of_every_damage_to_every_file(sound, prove):
    chosen = [*damage.cases(sound[0].root, some=1, seed=11)]
    assert {case.kind for case in chosen} >= {"flip", "cut", "extend", "sector", "swap", "over", "delete", "pipe"}
    report = prove(random.Random(11).sample(chosen, 90))
    assert report.absent == []


def test_a_byte_of_every_page_of_a_small_index(sound, prove):
    """All pages of a small index are checked when it is opened, and rows prove themselves. The values of declared
    indexes have no checksum of their own: one that says something else may hide from a list sorted by it."""
    rng = random.Random(12)
    chosen = [
        Case("flip", paths.INDEX, at, 1 << rng.randrange(8)) for at in used_bytes(sound[0].files[paths.INDEX], 1, rng)
    ]
    report = prove(chosen[::4])
    assert ranges(report) <= {"sorted"}


def ranges(report):
    """The questions of a report that were answered with less than there is, without their ids."""
    return {question.split()[0] for case in report.absent for question in case.partition(": ")[2].split(", ")}


def test_a_byte_of_every_page_of_a_large_index(sound, prove, as_a_large_one):
    """Full fsck finds each. No value is wrong; a list may lack what a damaged page hides, but nothing live
    that is asked for by its path, and nothing that is asked for by its id, is ever said not to be there."""
    rng = random.Random(13)
    chosen = [
        Case("flip", paths.INDEX, at, 1 << rng.randrange(8)) for at in used_bytes(sound[0].files[paths.INDEX], 1, rng)
    ]
    report = prove(chosen)
    assert ranges(report) <= LISTS


def pages_of(index, *names):
    """Numbers of the root pages of tables and indexes, from 0."""
    with pages.opened(index) as connection:
        found = dict(connection.execute("SELECT name, rootpage FROM sqlite_master"))
    return [found[name.encode()] - 1 for name in names]


def test_no_path_is_lost_with_the_way_to_the_root(sound, prove, as_a_large_one):
    """Bytes of the entry that leads to the root collection, and of the pointers to the rows of collections."""
    index = sound[0].files[paths.INDEX]
    entry, rows = pages_of(index, "collection_root", "collection")
    used = pages.anatomy(index).used
    chosen = [*(at for at in sorted(used) if at // PAGE == entry and at % PAGE >= 8), rows * PAGE + 8, rows * PAGE + 10]
    report = prove([Case("flip", paths.INDEX, at, 0x01) for at in chosen])
    assert ranges(report) <= LISTS


def test_a_marker_that_is_a_link_to_a_good_copy_is_found(sound, prove):
    report = prove([Case("link-copy", paths.MARKER)])
    assert report.found.total() == 1


def test_frames_that_took_each_others_place(sound, prove):
    harmed, _ = sound
    blob = next(path for path, data in harmed.files.items() if path.startswith("blobs/") and len(data) > 2000)
    report = prove([Case("frames", blob, n) for n in range(3)])
    assert report.found.total() == 3


@pytest.fixture
def after_kill(tmp_path):
    """A store as kill -9 left it, and what it answers."""
    harmed = Harmed(lab.killed(lab.every_kind_of_file(tmp_path / "store")), tmp_path / "parking")
    truth = asking.answers(harmed.root)
    harmed.mend()
    return harmed, truth


LOG = (paths.INDEX + "-wal", paths.INDEX + "-shm")


def test_the_log_that_a_killed_process_left(after_kill, prove):
    chosen = [*damage.cases(after_kill[0].root, some=2, seed=14, only=LOG)]
    prove(random.Random(14).sample(chosen, 20), on=after_kill, note="log left by kill -9")


@contextmanager
def live(tmp_path):
    """A store that another process has open, and what it answers."""
    root = lab.every_kind_of_file(tmp_path / "store")
    with lab.in_use(root):
        harmed = Harmed(root, tmp_path / "parking")
        yield harmed, asking.answers(root)


def live_cases(harmed, some, seed):
    """Bytes of the log and the index. Shared memory is memory: who damages that damages the process."""
    rng = random.Random(seed)
    for path in (paths.INDEX + "-wal", paths.INDEX):
        for at in rng.sample(range(len(harmed.files[path])), some):
            yield Case("flip", path, at, rng.randrange(1, 256))


def test_the_log_and_the_index_that_another_process_has_open(tmp_path, prove):
    with live(tmp_path) as on:
        prove(live_cases(on[0], 6, 15), on=on, note="index and log in use", in_use=True)


# -- the closed list ---------------------------------------------------------------------------------------------------


def changed(data, at, mask=0x01):
    return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


def test_no_byte_that_says_something_is_on_the_closed_list(sound):
    files = sound[0].files
    for path, data in files.items():
        if nothings.nothing_refers_to(path) or path == paths.INDEX:
            continue
        assert not any(
            nothings.why(files, path, changed(data, at))
            for at in range(0, len(data), 7)
            if not (path.endswith(".zst") and at in nothings.inside_blocks(data))
        ), path


def test_free_space_of_the_index_is_on_the_list_and_cells_are_not(sound):
    files, rng = sound[0].files, random.Random(16)
    index = files[paths.INDEX]
    found = pages.anatomy(index)
    free = sorted(set(range(len(index))) - found.used)
    assert len(free) > len(index) // 2
    assert all(nothings.why(files, paths.INDEX, changed(index, at, 0xFF)) for at in rng.sample(free, 30))
    said = sorted(found.plain)
    assert not any(nothings.why(files, paths.INDEX, changed(index, at, 0xFF)) for at in rng.sample(said, 60))


def test_the_list_looks_at_what_is_read_out_and_not_at_what_is_answered(sound):
    files = sound[0].files
    index = files[paths.INDEX]
    assert nothings.why(files, paths.INDEX, index + b"more")
    assert not nothings.why(files, paths.INDEX, index[:-PAGE])
    blob = next(p for p in files if p.startswith("blobs/"))
    assert not nothings.why(files, blob, files[blob] + b"\0")
    assert not nothings.why(files, blob, None)


def test_nothing_of_a_sound_store_is_found(sound):
    harmed, truth = sound
    verdict = lab.judge(harmed.root, truth)
    harmed.mend()
    assert verdict == lab.Verdict(frozenset())


# -- the long forms ----------------------------------------------------------------------------------------------------


def part_of(chosen, part=0, parts=1):
    """Shuffled, so that what time allows for is spread over all."""
    chosen = [*chosen]
    random.Random(SEED).shuffle(chosen)
    return chosen[part::parts]


@pytest.mark.soak
@pytest.mark.parametrize("part", range(PARTS))
def test_every_byte_of_every_small_file(sound, prove, part):
    print(f"HOLDFAST_DAMAGE_SEED={SEED}")
    harmed, _ = sound
    small = [p for p in harmed.files if p != paths.INDEX and not nothings.nothing_refers_to(p)]
    chosen = [c for c in damage.cases(harmed.root, seed=SEED, only=small) if c.kind == "flip"]
    prove(part_of(chosen, part, PARTS), seconds=SECONDS, note="any byte of the marker, blobs and journal")


def both_copies_of_the_newest(case):
    """The index and an open segment in each other's place: the one double failure that loses, in one move."""
    return case.kind == "swap" and {paths.INDEX} < {case.path, case.other} and ".jsonl" in case.path + case.other


@pytest.mark.soak
def test_every_other_damage_to_every_file(sound, prove):
    print(f"HOLDFAST_DAMAGE_SEED={SEED}")
    cases = damage.cases(sound[0].root, some=40, seed=SEED)
    chosen = [c for c in cases if c.kind != "flip" and not both_copies_of_the_newest(c)]
    prove(part_of(chosen), seconds=SECONDS, note="cut, grown, zeroed, swapped, doubled, gone, replaced")


def test_the_index_and_an_open_segment_in_each_others_place_are_found(sound):
    """Answers may be older ones then, which no lab can call right: but fsck says so, and every error is a typed one."""
    harmed, truth = sound
    doubles = [c for c in damage.cases(harmed.root, some=40, seed=1) if both_copies_of_the_newest(c)]
    assert doubles
    report = lab.run(harmed, truth, doubles)
    assert (report.tried, report.missed, report.untyped) == (len(doubles), [], [])


@pytest.mark.soak
@pytest.mark.parametrize("size", ["small", "large"])
def test_bytes_all_over_every_page_of_the_index(sound, prove, monkeypatch, size):
    print(f"HOLDFAST_DAMAGE_SEED={SEED}")
    if size == "large":
        monkeypatch.setattr(trust, "PROVEN_AT_OPEN_BYTES", 0)
    rng = random.Random(SEED)
    index = sound[0].files[paths.INDEX]
    chosen = [Case("flip", paths.INDEX, at, rng.randrange(1, 256)) for at in used_bytes(index, 100, rng)]
    report = prove(part_of(chosen), seconds=2 * SECONDS, note=f"bytes all over every page of a {size} index")
    assert ranges(report) <= (LISTS if size == "large" else set())


@pytest.mark.soak
def test_the_log_of_a_killed_process_and_of_a_live_one(after_kill, tmp_path_factory, prove):
    print(f"HOLDFAST_DAMAGE_SEED={SEED}")
    chosen = [*damage.cases(after_kill[0].root, some=250, seed=SEED, only=LOG)]
    prove(part_of(chosen), on=after_kill, seconds=SECONDS, note="log left by kill -9")
    with live(tmp_path_factory.mktemp("live")) as on:
        chosen = part_of(live_cases(on[0], 200, SEED))
        prove(chosen, on=on, seconds=SECONDS / 2, note="index and log in use", in_use=True)


@pytest.mark.soak
def test_after_several_damages_and_a_repair_no_answer_is_wrong(sound, tally, monkeypatch):
    """Content may be lost where its only copy was; what is answered is right."""
    print(f"HOLDFAST_DAMAGE_SEED={SEED}")
    rng = random.Random(SEED)
    harmed, truth = sound
    told = {q: true for q, true in truth.items() if q[0].startswith("content") or q[0] in ("artifact", "history")}
    # A lock that is no file any more is for people: repair itself takes the locks, and refuses with a typed error.
    every = [one for one in damage.cases(harmed.root, some=20, seed=SEED) if not one.path.startswith("locks/")]
    wrong = []
    tried, until = 0, time.monotonic() + SECONDS
    while time.monotonic() < until:
        tried += 1
        several = list({case.path: case for case in rng.sample(every, 4) if not case.other}.values())
        with harmed.harm_all(several):
            asked = told
            if any("change" in lost or "transaction" in lost for lost in holdfast.repair(harmed.root).lost):
                # What neither copy of the chain has any more was said; what came before it is the truth now.
                assert "transactions-lost" in holdfast.fsck(harmed.root).counts, several
                holdfast.repair(harmed.root, accept_loss=True)
                asked = {q: true for q, true in told.items() if q[0].startswith("content")}
            with holdfast.open(harmed.root) as store:
                found, _, untyped, _ = asking.wrong_or_absent(store, asked)
                store.put("afterwards", b"usable")
                assert store.read("afterwards") == b"usable"
            wrong += [f"{several}: {found} {untyped}"] if found or untyped else []
    tally("Several damages, then a repair: a wrong answer", tried=tried, of="stores", lost=len(wrong))
    assert wrong == []

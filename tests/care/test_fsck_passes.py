"""fsck in portions: the parts add up to the whole, and a pass goes on where it stopped or says why it does not.

The files that are read are counted, so each content has its own; test_packs.py has portions of packs.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import holdfast
from holdfast import Portion
from holdfast.blobs import LocalBlobs
from holdfast.care.fsck import passes
from holdfast.care.fsck.report import FsckReport
from holdfast.errors import InvalidValueError
from holdfast.testing import damage

pytestmark = pytest.mark.usefixtures("loose")

COUNT = 40
Checker = Callable[..., FsckReport]


def content(number: int) -> bytes:
    return f"content {number}".encode() * 20


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("original") / "store"
    with holdfast.create(root) as store, store.transaction():
        for n in range(COUNT):
            store.put(f"f/{n}", content(n))
    return root


@pytest.fixture
def root(original: Path, tmp_path: Path) -> Path:
    return damage.twin(original, tmp_path / "store")


class Paced:
    """Makes time a count: each content that is read takes a second; tells which were read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.read: list[str] = []
        verify = LocalBlobs.verify

        def counted(blobs: LocalBlobs, digest: str) -> object:
            self.read.append(digest)
            self.now += 1
            return verify(blobs, digest)

        monkeypatch.setattr(LocalBlobs, "verify", counted)
        monkeypatch.setattr(passes.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(passes, "_MARGIN_US", 0)  # the store was made a moment ago
        monkeypatch.setattr("holdfast.care.fsck.reading._WORKERS", 1)
        monkeypatch.setattr("holdfast.care.fsck.reading._AHEAD", 0)

    def taken(self) -> list[str]:
        """What was read since this was asked last."""
        read, self.read = self.read, []
        return read


@pytest.fixture
def paced(monkeypatch: pytest.MonkeyPatch) -> Paced:
    return Paced(monkeypatch)


def run(root: Path, seconds: float = 12) -> FsckReport:
    return holdfast.fsck(root, portion=Portion.during(seconds))


def to_the_end(root: Path, seconds: float = 12) -> list[FsckReport]:
    reports = [run(root, seconds)]
    while not reports[-1].full_pass.finished:
        reports.append(run(root, seconds))
        assert len(reports) < 2 * COUNT
    return reports


def digests(root: Path) -> list[str]:
    return sorted("sha256:" + path.stem for path in (root / "blobs").rglob("*.zst"))


# -- parts and samples -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [1, 2, 7, 300])
def test_all_parts_together_read_every_content_exactly_once(root, paced, parts):
    numbers = range(1, parts + 1) if parts < 10 else random.Random(1).sample(range(1, parts + 1), 3)
    for n in numbers:
        assert holdfast.fsck(root, portion=Portion.part(n, of=parts)).exit_code == 0
    if parts < 10:
        assert sorted(paced.read) == digests(root)
    assert len(set(paced.read)) == len(paced.read)


def test_a_sample_reads_as_many_as_it_says_and_the_same_again_with_its_seed(root, paced):
    first = holdfast.fsck(root, portion=Portion.count(11))
    drawn = paced.taken()
    assert len(drawn) == first.read == 11
    again = holdfast.fsck(root, portion=Portion.count(11, seed=first.portion.seed))
    assert (paced.taken(), again.read) == (drawn, 11)
    assert holdfast.fsck(root, portion=Portion.count(COUNT + 5)).read == COUNT
    others = {tuple(holdfast.fsck(root, portion=Portion.count(11, seed=n)) and paced.taken()) for n in range(4)}
    assert len(others) > 1


def test_a_share_or_a_size_reads_about_so_much(root):
    assert 0 < holdfast.fsck(root, portion=Portion.share(0.5, seed=1)).read < COUNT
    assert holdfast.fsck(root, portion=Portion.share(1.0)).read == COUNT
    total = holdfast.fsck(root).read_bytes
    assert 0 < holdfast.fsck(root, portion=Portion.size(total / 2, seed=1)).read_bytes < total


def test_whatever_the_portion_presence_rows_and_journal_are_checked_whole(root):
    sorted((root / "blobs").rglob("*.zst"))[-1].unlink()
    damage.segment(root).write_bytes(b"")
    with damage.sql(root) as connection:
        connection.execute("UPDATE artifact SET name = 'x' WHERE name = '7'")
    for portion in (Portion.part(1, of=500), Portion.count(1), Portion.during(0.001)):
        report = holdfast.fsck(root, portion=portion)
        assert set(report.counts) == {"blob-missing", "journal-behind", "row-differs"}, portion
        assert report.exit_code == 4


def test_a_portion_reads_contents_also_where_the_index_is_gone(root):
    (root / "index.sqlite3").unlink()
    report = holdfast.fsck(root, portion=Portion.count(5))
    assert (report.read, set(report.counts)) == (5, {"index-missing"})


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/0", "0%", "101%", "0", "-1", "x", "", "1/2/3", "5 percent", "0K"])
def test_what_is_no_portion_is_refused(text):
    with pytest.raises(InvalidValueError):
        Portion.parse(text)


def test_portions_are_written_as_people_write_them():
    assert Portion.parse("3/7") == Portion.part(3, of=7)
    assert Portion.parse("2.5%", seed=1) == Portion.share(0.025, seed=1)
    assert Portion.parse("200", seed=1) == Portion.count(200, seed=1)
    assert Portion.parse("1.5G", seed=1) == Portion.size(1.5 * 2**30, seed=1)
    with pytest.raises(InvalidValueError):
        Portion.during(0)
    with pytest.raises(InvalidValueError):
        holdfast.fsck(".", quick=True, portion=Portion.count(1))


# -- a pass in several runs --------------------------------------------------------------------------------------------


def test_runs_of_a_pass_go_on_from_each_other_and_read_every_content_exactly_once(root, paced):
    reports = to_the_end(root)
    assert len(reports) == 4
    assert paced.read == digests(root)
    assert [r.exit_code for r in reports] == [3, 3, 3, 0]
    assert [r.full_pass.runs for r in reports] == [1, 2, 3, 4]
    assert [r.full_pass.covered for r in reports] == [12, 24, 36, COUNT]
    assert len({r.full_pass.began for r in reports}) == 1
    last = reports[-1].full_pass
    assert (last.changed, last.gone, last.noted, last.note) == (0, 0, 0, "")
    assert last.covered_bytes == sum(path.stat().st_size for path in (root / "blobs").rglob("*.zst"))


def test_after_a_finished_pass_the_next_begins_anew(root, paced):
    to_the_end(root)
    paced.taken()
    report = run(root)
    assert paced.taken() == digests(root)[:12]
    assert (report.full_pass.runs, report.full_pass.note) == (1, "")


def test_a_run_reads_something_however_short_its_time(root, paced):
    covered = [run(root, 0.001).full_pass.covered for _ in range(3)]
    assert 0 < covered[0] < covered[1] < covered[2] < 10


def test_what_came_or_changed_after_its_turn_is_read_again_at_the_end_and_what_went_is_counted(root, paced):
    run(root, 20)
    seen = paced.taken()
    with holdfast.open(root) as store:
        added = {store.put(f"new/{n}", f"new {n}").artifact.digest for n in range(20)}
        for n in range(COUNT):
            if "sha256:" + damage.blob_of(root, content(n)).stem == seen[3]:
                store.artifacts.delete(f"f/{n}")
                store.artifacts.purge(f"id:{store.get(f'f/{n}', deleted=True).id}")
                break
        store.gc(grace_s=0)
    again = root / "blobs" / seen[5][7:9] / f"{seen[5][7:]}.zst"
    os.utime(again)  # replaced by a repair, say: its change time is new
    last = to_the_end(root, 20)[-1]
    late = {digest for digest in added if digest <= seen[-1]} | {seen[5]}
    assert late <= set(paced.taken())
    assert seen[3] not in digests(root)
    assert last.full_pass.gone == 1
    assert last.full_pass.changed >= len(late)
    assert last.exit_code == 0


def test_damage_that_came_between_with_a_new_change_time_is_found_at_the_end(root, paced):
    run(root, 20)
    victim = root / "blobs" / paced.read[2][7:9] / f"{paced.read[2][7:]}.zst"
    damage.flip(victim, -6)
    reports = to_the_end(root, 20)
    assert reports[-1].counts == {"blob-damaged": 1}


def test_what_a_run_found_is_told_again_at_the_end_of_the_pass(root, paced):
    victim = root / "blobs" / digests(root)[2][7:9] / f"{digests(root)[2][7:]}.zst"
    damage.flip(victim, -6)
    shutil.copystat(root, victim)  # and a file that looks old
    first = run(root, 20)
    assert (first.exit_code, first.counts, first.full_pass.noted) == (4, {"blob-damaged": 1}, 1)
    second = run(root, 10)
    assert (second.exit_code, second.counts, second.full_pass.noted) == (4, {}, 1)
    last = to_the_end(root, 30)[-1]
    assert (last.exit_code, last.counts, last.full_pass.noted) == (4, {"blob-damaged": 1}, 0)
    assert last.findings[0].fields["revisions_total"] == 1


def test_what_was_found_and_mended_since_is_not_told_again(root, original, paced):
    victim = root / "blobs" / digests(root)[2][7:9] / f"{digests(root)[2][7:]}.zst"
    whole = victim.read_bytes()
    damage.flip(victim, -6)
    assert run(root, 20).exit_code == 4
    victim.write_bytes(whole)
    assert to_the_end(root, 30)[-1].exit_code == 0


def test_other_checks_between_leave_the_position_alone(root, paced):
    run(root)
    for portion in (None, Portion.count(3), Portion.part(1, of=2)):
        holdfast.fsck(root, portion=portion)
    holdfast.fsck(root, quick=True)
    paced.taken()
    run(root)
    assert paced.taken() == digests(root)[12:24]


@pytest.mark.parametrize("loss", ["deleted", "emptied", "overwritten", "a version to come", "senseless"])
def test_a_lost_or_damaged_position_costs_work_and_nothing_else(root, paced, loss):
    run(root)
    state = root / "state.sqlite3"
    if loss == "deleted":
        state.unlink()
    elif loss in ("emptied", "overwritten"):
        state.write_bytes(b"" if loss == "emptied" else b"nonsense" * 2000)
    else:
        connection = sqlite3.connect(state)
        senseless = "UPDATE fsck_pass SET position = 7"
        connection.execute("PRAGMA user_version = 9" if loss == "a version to come" else senseless)
        connection.commit()
        connection.close()
    paced.taken()
    reports = to_the_end(root)
    assert paced.taken() == digests(root)
    said = "" if loss in ("deleted", "emptied") else "begun anew: the position was damaged"
    assert (reports[0].full_pass.note, reports[0].full_pass.runs) == (said, 1)
    assert reports[-1].counts.keys() <= {"state-damaged"}
    assert holdfast.fsck(root).counts == {}


@pytest.mark.parametrize("where", ["copied", "moved back in time", "another store's", "in the future"])
def test_a_position_that_belongs_elsewhere_is_not_gone_on_from_and_the_report_says_why(root, tmp_path, paced, where):
    if where == "moved back in time":
        shutil.copytree(root, tmp_path / "older")
        with holdfast.open(root) as store:
            store.put("later", "x")
    run(root)
    target = root
    if where == "copied":
        target = tmp_path / "copy"
        shutil.copytree(root, target)
        said = "moved or copied"
    elif where == "moved back in time":
        for name in ("index.sqlite3", "journal/0000000000000001.jsonl"):
            (root / name).write_bytes((tmp_path / "older" / name).read_bytes())
        said = "older state"
    else:
        connection = sqlite3.connect(root / "state.sqlite3")
        other = "store = 'x'" if where == "another store's" else "began_us = began_us * 2"
        connection.execute(f"UPDATE fsck_pass SET {other}")
        connection.commit()
        connection.close()
        said = "another store" if where == "another store's" else "clock"
    paced.taken()
    report = run(target)
    assert len(paced.taken()) >= 12
    assert report.full_pass.runs == 1
    assert report.full_pass.note.startswith("begun anew: ")
    assert said in report.full_pass.note


@pytest.mark.parametrize("why", ["read-only", "no marker", "no index", "a folder in its place", "a handle to read"])
def test_where_no_position_can_be_kept_the_check_is_made_all_the_same_and_says_so(root, paced, why, monkeypatch):
    if why == "read-only":
        monkeypatch.setattr(passes, "state_file", lambda *_: None)
    elif why in ("no marker", "no index"):
        (root / ("holdfast.json" if why == "no marker" else "index.sqlite3")).unlink()
    elif why == "a folder in its place":
        (root / "state.sqlite3").mkdir()
    before = damage.tree(root)
    if why == "a handle to read":
        with holdfast.open(root, read_only=True) as store:
            before = damage.tree(root)
            report = store.fsck(portion=Portion.during(12))
            assert damage.tree(root) == before
    else:
        report = run(root)
        assert damage.tree(root) == before
    assert len(paced.taken()) == 12
    assert not report.full_pass.kept
    assert "cannot be gone on from" in report.full_pass.note


def test_only_the_notes_on_work_under_way_are_written_and_never_for_other_checks(root, paced):
    before = damage.tree(root)
    holdfast.fsck(root, portion=Portion.count(3))
    holdfast.fsck(root)
    assert damage.tree(root) == before
    run(root)
    changed = {name for name, said in damage.tree(root).items() if before.get(name) != said}
    assert changed <= {"state.sqlite3", "state.sqlite3-journal"}


def test_ctrl_c_leaves_the_position(root, paced):
    def stop(done: int, total: int | None, what: str, unit: str) -> None:
        if what == "checking blobs" and len(paced.read) >= 15:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        holdfast.fsck(root, portion=Portion.during(1000), progress=stop)
    stopped = len(paced.taken())
    report = run(root, 1000)
    assert report.full_pass.runs == 2
    assert COUNT - stopped <= report.read <= COUNT - stopped + 2


def test_the_report_as_json_says_how_the_pass_stands(root, paced):
    plain = run(root).as_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["exit_code"] == 3
    assert plain["portion"] == {"way": "span", "amount": 12, "of": 0, "seed": None}
    assert set(plain["full_pass"]) == {
        "finished", "kept", "note", "began", "runs", "position", "covered", "covered_bytes", "changed", "gone", "noted",
    }  # fmt: skip
    assert (plain["read"], plain["full_pass"]["covered"]) == (12, 12)


# -- order, and kills --------------------------------------------------------------------------------------------------


def test_findings_come_in_the_same_order_however_many_threads_read(root, monkeypatch):
    for n in range(0, COUNT, 3):
        damage.flip(damage.blob_of(root, content(n)), -6)
    verify, told = LocalBlobs.verify, []

    def slow(blobs: LocalBlobs, digest: str) -> object:
        time.sleep(int(digest[-1], 16) / 2000)
        return verify(blobs, digest)

    monkeypatch.setattr(LocalBlobs, "verify", slow)
    for workers in (1, 2, 5):
        monkeypatch.setattr("holdfast.care.fsck.reading._WORKERS", workers)
        told.append([finding.as_dict() for finding in holdfast.fsck(root).findings])
    assert told[0] == told[1] == told[2]
    assert [f["fields"]["digest"] for f in told[0]] == sorted(f["fields"]["digest"] for f in told[0])


CHILD = """
import os, sys, time
import holdfast
from holdfast import Portion
from holdfast.blobs import LocalBlobs
from holdfast.care.fsck import passes
passes._KEEP_EVERY_S = 0.005
log = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
verify = LocalBlobs.verify
def logged(blobs, digest):
    found = verify(blobs, digest)
    os.write(log, digest.encode() + b"\\n")
    time.sleep(0.002)
    return found
LocalBlobs.verify = logged
print("ready", flush=True)
report = holdfast.fsck(sys.argv[1], portion=Portion.during(float(sys.argv[3])))
print("finished" if report.full_pass.finished else "partly", report.full_pass.runs, report.exit_code, flush=True)
"""


def killed_passes(root: Path, log: Path, rng: random.Random) -> tuple[int, int, int]:
    """One whole pass of runs of which most are killed: (kills, runs, contents read)."""
    kills = runs = 0
    while True:
        runs += 1
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(root), str(log), str(rng.choice([0.05, 0.2, 5]))],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        if rng.random() < 0.7 and runs < 60:
            time.sleep(rng.random() * 0.5)
            child.send_signal(signal.SIGKILL)
        said = child.stdout.read()
        child.wait()
        child.stdout.close()
        kills += child.returncode < 0
        if said.startswith("finished"):
            return kills, runs, len(log.read_text().split())
        assert child.returncode in (0, -9)


def every_content_was_read(root: Path, log: Path) -> bool:
    return set(log.read_text().split()) == set(digests(root))


def test_runs_that_are_killed_add_up_to_every_content(root, tmp_path, tally):
    log = tmp_path / "log"
    kills, runs, _ = killed_passes(root, log, random.Random(7))
    assert every_content_was_read(root, log)
    tally("a check in runs that are killed reads every content", tried=runs, of="runs", note=f"{kills} of them killed")


@pytest.mark.soak
def test_many_passes_of_killed_runs_add_up_to_every_content(original, tmp_path, tally):
    seed = int(os.environ.get("HOLDFAST_SEED") or random.randrange(1 << 32))
    passes_wanted = int(os.environ.get("HOLDFAST_FSCK_PASSES") or 40)
    print("HOLDFAST_SEED", seed)
    rng, kills, runs, lost = random.Random(seed), 0, 0, 0
    root = damage.twin(original, tmp_path / "store")
    with holdfast.open(root) as store, store.transaction():
        for n in range(260):
            store.put(f"more/{n}", f"more {n}" * 50)
    ends = time.monotonic() + 240
    done = 0
    while done < passes_wanted and time.monotonic() < ends:
        log = tmp_path / f"log {done}"
        more_kills, more_runs, _ = killed_passes(root, log, rng)
        kills, runs, done = kills + more_kills, runs + more_runs, done + 1
        lost += not every_content_was_read(root, log)
    assert lost == 0, seed
    tally(
        "a check in runs that are killed reads every content", tried=runs, of="runs", lost=lost,
        note=f"{kills} of them killed, in {done} passes; seed {seed}",
    )  # fmt: skip

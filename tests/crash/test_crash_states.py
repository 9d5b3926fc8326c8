"""Power loss: whatever a file system may show after it, nothing acknowledged is lost and nothing is half there.

Each workload is recorded once; states that a power loss may leave are made (all of them where they are few, else drawn
by a seed), opened, checked by fsck, compared with the ledger and used. HOLDFAST_CRASH_SEED repeats a run,
HOLDFAST_CRASH_TRIES makes the short one longer, which tries twice as many of workloads with packs. The long one
goes to every crash point of every workload, which is some 12,000 states; HOLDFAST_CRASH_SOAK says how many of each
workload it tries at least.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

import holdfast
from holdfast.engine import erasing
from holdfast.testing import crash_choices, crash_lab, crash_states
from holdfast.testing.crash_lab import CrashReport, Trace, examine, explore, is_spared, nested, record
from holdfast.testing.forgetting import forget, syncs
from holdfast.testing.index_watch import IndexSeen
from holdfast.testing.recording import Operation, Recording
from holdfast.testing.workbench import Workload
from holdfast.testing.workloads import WORKLOADS

SEED = int(os.environ.get("HOLDFAST_CRASH_SEED", "20261121"))
TRIES = int(os.environ.get("HOLDFAST_CRASH_TRIES", "5"))
SOAK_TRIES = int(os.environ.get("HOLDFAST_CRASH_SOAK", "0"))
BY_NAME = {workload.name: workload for workload in WORKLOADS}
Tally = Callable[..., None]


def soak_seed() -> int:
    return int(os.environ.get("HOLDFAST_CRASH_SEED", random.randrange(1 << 30)))


def settle(report: CrashReport, tally: Tally, of: str) -> None:
    print(report)
    note = f"{report.workload}: {report.points} crash points, seed {report.seed}"
    tally("what a power loss leaves", tried=report.tried, of=of, lost=len(report.failures), note=note)
    assert report.failures == [], f"seed {report.seed}"


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda w: w.name)
def test_no_legal_state_after_a_power_loss_lacks_what_was_acknowledged(
    workload: Workload, base: str, tally: Tally
) -> None:
    tries = 2 * TRIES if workload.packs else TRIES
    report = explore(record(workload, base, seed=SEED), base, tries=tries, seed=SEED)
    settle(report, tally, "legal states")
    assert report.tried == tries
    assert report.operations >= 200


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda w: w.name)
def test_the_same_at_every_crash_point(workload: Workload, base: str, tally: Tally) -> None:
    seed = soak_seed()
    trace = record(workload, base, seed=seed)
    points = len(trace.recording.events) + 1
    report = explore(trace, base, tries=max(SOAK_TRIES, points), seed=seed)
    settle(report, tally, "legal states")
    assert report.visited == report.points == points


def of_recoveries(workload: Workload, base: str, tally: Tally, *, seed: int, crashes: int, tries: int) -> None:
    rnd = random.Random(seed)
    trace = record(workload, base, seed=seed)
    for at in sorted(rnd.sample(range(1, len(trace.recording.events)), crashes)):
        found = crash_states.point(trace.recording, at)
        corner = crash_choices.corner(found, crash_choices.CORNERS[at % len(crash_choices.CORNERS)])
        state = crash_choices.drawn(found, rnd) if at % 2 == 0 or is_spared(trace, corner) else corner
        settle(nested(trace, state, base, tries=tries, seed=seed), tally, "states of a second crash, in the recovery")


NESTED = (
    "purge and gc", "segments sealed", "put with a rollback journal", "recover of a copy", "repair", "redact",
    "packs", "puts that wait for a sync of their packs", "gc that rewrites packs", "redact in packs",
)  # fmt: skip


@pytest.mark.parametrize("name", NESTED)
def test_a_second_crash_in_the_recovery_from_the_first_loses_nothing_either(name: str, base: str, tally: Tally) -> None:
    of_recoveries(BY_NAME[name], base, tally, seed=SEED, crashes=2, tries=3)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda w: w.name)
def test_second_crashes_in_hundreds(workload: Workload, base: str, tally: Tally) -> None:
    of_recoveries(workload, base, tally, seed=soak_seed(), crashes=4, tries=6)


# -- the lab itself: one that cannot fail proves nothing ---------------------------------------------------------------

NEEDED = [
    ("put", "bytes of blobs"),
    ("put", "names in blobs"),
    ("put", "names in blobs/xx"),
    ("segments sealed", "bytes of journal"),
    ("segments sealed", "names in journal"),
    ("segments sealed", "bytes of a sealed segment"),
    ("bulk add", "the file system"),
    ("create and migrate", "bytes of holdfast.json"),
    ("create and migrate", "names in the store"),
    ("redact", "bytes of journal"),
    ("redact", "the file system"),
    ("packs", "bytes of packs"),
    ("puts that wait for a sync of their packs", "bytes of packs"),
    ("packs", "names in packs"),
    ("repack", "bytes of repacked packs"),
    ("gc that rewrites packs", "bytes of packs"),
    ("gc that gathers loose blobs", "bytes of packs"),
    ("redact in packs", "names in packs"),
]


@pytest.mark.parametrize(("name", "kind"), NEEDED)
def test_the_lab_notices_a_store_that_forgets_one_kind_of_sync(name: str, kind: str, base: str) -> None:
    trace = record(BY_NAME[name], base, seed=1)
    assert forget(trace.recording, kind) > 0, syncs(trace.recording)
    assert explore(trace, base, tries=200, seed=1, enough=1).failures


def test_the_lab_notices_a_redaction_that_leaves_its_bytes_in_a_pack(
    base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasing, "rewrite_packs", lambda *_, **__: 0)
    trace = record(BY_NAME["redact in packs"], base, seed=1)
    failures = explore(trace, base, tries=40, seed=1, enough=1).failures
    assert "still holds a redacted text" in str(failures)


@pytest.mark.parametrize("corner", ["names kept, bytes zero", "all lost"])
def test_the_lab_notices_a_recovery_that_does_not_sync_what_it_writes_again(
    corner: str, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a pack is written over what a power loss has left there, or behind it."""
    trace = record(BY_NAME["puts that wait for a sync of their packs"], base, seed=1)
    forgotten: list[int] = []

    def forgetful(inner: Trace, place: str, **wanted: int) -> CrashReport:
        forgotten.append(forget(inner.recording, "bytes of packs"))
        return explore(inner, place, **wanted)

    monkeypatch.setattr(crash_lab, "explore", forgetful)
    commits = [n for n, e in enumerate(trace.recording.events, 1) if isinstance(e, IndexSeen) and e.how == "append"]
    found = crash_states.point(trace.recording, commits[len(commits) // 2])
    assert nested(trace, crash_choices.corner(found, corner), base, tries=60, seed=1).failures
    assert forgotten[0] > 0


def test_the_lab_notices_a_commit_that_a_rollback_journal_may_undo(base: str) -> None:
    trace = record(BY_NAME["put with a rollback journal"], base, seed=1)
    trace.recording.events = [
        replace(e, removal_synced=False) if isinstance(e, IndexSeen) else e for e in trace.recording.events
    ]
    assert explore(trace, base, tries=100, seed=1, enough=1).failures


@pytest.mark.parametrize("how", ["append", "anew"])
def test_commits_write_over_what_an_older_log_has_left_and_begin_it_anew(how: str, base: str) -> None:
    """Else the states that these may leave would not be among those that are tried."""
    trace = record(BY_NAME["put into packs"], base, seed=1)
    seen = [event for event in trace.recording.events if isinstance(event, IndexSeen)]
    pairs = [(one, then) for one, then in pairwise(seen) if then.how == how and not then.log.startswith(one.log)]
    assert pairs
    rnd = random.Random(1)
    for one, then in pairs:
        found = crash_states.point(Recording("", events=[replace(one, how="whole"), then]), 1)
        logs = {state.log for state in (crash_choices.drawn(found, rnd).index for _ in range(40)) if state}
        assert len(logs) > 2  # a commit of a page or two changes a few sectors
        assert all(log in (one.log, then.log) or log.startswith(then.log[:32]) for log in logs)


def test_the_lab_notices_a_log_that_is_written_over_before_its_pages_were_moved(base: str) -> None:
    trace = record(BY_NAME["puts that wait for a sync of their packs"], base, seed=1)
    assert forget(trace.recording, "bytes of journal") > 0  # else the journal has what the index lost
    before: bytes | None = None
    for place, event in enumerate(trace.recording.events):
        if isinstance(event, IndexSeen):
            if event.how in ("anew", "append") and before is not None:
                trace.recording.events[place] = replace(event, database=before)
            before = before or event.database
    assert explore(trace, base, tries=200, seed=1, enough=1).failures


def test_an_index_that_was_renamed_before_it_was_synced_is_derived_anew(base: str) -> None:
    """This sync is not needed for safety: a database that cannot be used is thrown away."""
    trace = record(BY_NAME["lost index"], base, seed=1)
    assert forget(trace.recording, "bytes of index.sqlite3") > 0
    renamed = [n for n, e in enumerate(trace.recording.events, 1) if isinstance(e, IndexSeen) and e.how == "names"]
    emptied = 0
    for found in crash_states.points(trace.recording, renamed):
        for zeros in [seen for seen in found.index if seen.how == "zeros"]:
            state = replace(crash_choices.corner(found, "all kept"), index=zeros)
            assert examine(trace, state, base) == []
            emptied += 1
    assert emptied


def recorded(*events: Operation | IndexSeen) -> Recording:
    return Recording("/nowhere", events=list(events))


def test_bytes_that_were_synced_are_in_every_state_and_others_may_be_zeros_or_missing() -> None:
    trace = recorded(
        Operation("create", "a", 0),
        Operation("write", "a", 0, data=b"x" * 600),
        Operation("fsync", "a", 0),
        Operation("fsync_dir", ""),
        Operation("write", "a", 0, data=b"y" * 1500, offset=600),
    )
    found = crash_states.point(trace, 5)
    rnd = random.Random(1)
    contents = {dict(crash_choices.drawn(found, rnd).files)["a"] for _ in range(300)}
    assert all(data.startswith(b"x" * 600) for data in contents)
    assert {b"x" * 600, b"x" * 600 + b"y" * 1500} < contents
    assert any(b"\0" * 512 in data and data.endswith(b"y") for data in contents)


def test_of_bytes_written_over_synced_ones_each_sector_is_new_or_old_or_zeros_and_those_beside_them_are_sure() -> None:
    """So what stands in front of it and behind it, in the same sector too, needs no other copy."""
    trace = recorded(
        Operation("create", "a", 0),
        Operation("write", "a", 0, data=b"x" * 1300),
        Operation("fsync", "a", 0),
        Operation("fsync_dir", ""),
        Operation("write", "a", 0, data=b"y" * 500, offset=300),
    )
    found = crash_states.point(trace, 5)
    pieces = [[kind * length for kind in (b"x", b"y", b"\0")] for length in (212, 288)]
    legal = {b"x" * 300 + one + two + b"x" * 500 for one in pieces[0] for two in pieces[1]}
    rnd = random.Random(1)
    assert {dict(crash_choices.drawn(found, rnd).files)["a"] for _ in range(300)} == legal
    every = [dict(state.files)["a"] for state in crash_choices.every(found)]
    assert set(every) == legal
    assert len(every) == len(legal) == round(2 ** crash_choices.log2_states(found))
    assert {dict(crash_choices.corner(found, name).files)["a"] for name in crash_choices.CORNERS} <= legal
    synced = crash_states.point(recorded(*trace.events, Operation("fsync", "a", 0)), 6)
    assert [dict(state.files)["a"] for state in crash_choices.every(synced)] == [b"x" * 300 + b"y" * 500 + b"x" * 500]


def test_names_go_in_order_or_by_folder_or_singly_but_a_rename_is_never_half_there() -> None:
    trace = recorded(
        Operation("create", "a", 0),
        Operation("create", "b", 1),
        Operation("rename", "c", 0, source="a"),
        Operation("fsync_dir", "elsewhere"),
    )
    found = crash_states.point(trace, 4)
    rnd = random.Random(1)
    seen = {tuple(sorted(dict(crash_choices.drawn(found, rnd).files))) for _ in range(300)}
    assert {(), ("a",), ("a", "b"), ("b", "c"), ("b",)} <= seen
    assert not any({"a", "c"} <= set(names) for names in seen)


def test_an_index_that_takes_the_place_of_another_is_there_under_one_of_its_names() -> None:
    old, new = IndexSeen("whole", b"old", b"", "i"), IndexSeen("names", b"new", b"", "j")
    trace = recorded(
        old,
        Operation("create", "tmp-new", 1),
        Operation("fsync_dir", ""),
        Operation("unlink", "index.sqlite3", 0),
        IndexSeen("names", None, b"", ""),
        Operation("rename", "index.sqlite3", 1, source="tmp-new"),
        new,
    )
    found = crash_states.point(trace, 6)
    rnd = random.Random(1)
    states = [crash_choices.drawn(found, rnd) for _ in range(200)]
    states += [crash_choices.corner(found, name) for name in crash_choices.CORNERS if name != "index gone"]
    every = [*crash_choices.every(found)]
    assert len(every) == round(2 ** crash_choices.log2_states(found)) == 4
    seen = {(tuple(dict(state.files)), state.index and state.index.database) for state in states + every}
    assert seen == {(("tmp-new",), b"old"), (("tmp-new",), None), ((), b"new")}
    trace.events.append(Operation("fsync_dir", ""))
    assert [state.index for state in crash_choices.every(crash_states.point(trace, 8))] == [new]


def test_a_name_that_was_synced_stays() -> None:
    trace = recorded(Operation("create", "a", 0), Operation("fsync_dir", ""), Operation("create", "b", 1))
    found = crash_states.point(trace, 3)
    rnd = random.Random(1)
    assert all("a" in dict(crash_choices.drawn(found, rnd).files) for _ in range(100))


def test_a_commit_that_returned_is_in_the_log_and_one_that_did_not_may_be_torn() -> None:
    one, two = IndexSeen("append", b"db", b"1" * 1000, "i"), IndexSeen("append", b"db", b"1" * 1000 + b"2" * 2000, "i")
    found = crash_states.point(recorded(one, two), 1)
    rnd = random.Random(1)
    logs = [state.index.log for _ in range(200) if (state := crash_choices.drawn(found, rnd)).index is not None]
    assert all(log.startswith(one.log) for log in logs)
    assert len(set(logs)) > 20


def test_an_index_that_was_there_when_the_recording_began_is_there_at_its_first_crash_point() -> None:
    whole = IndexSeen("whole", b"db", b"", "i")
    found = crash_states.point(recorded(whole, Operation("create", "a", 0)), 0)
    assert [state.index for state in crash_choices.every(found)] == [whole]
    assert crash_choices.corner(found, "all lost").index == whole


def test_the_state_without_any_loss_is_the_store_itself(base: str) -> None:
    trace = record(BY_NAME["close and reopen"], base, seed=3)
    end = crash_states.point(trace.recording, len(trace.recording.events))
    crash_states.build(crash_choices.corner(end, "all kept"), f"{base}/built")
    for part in ("blobs", "journal", "holdfast.json", "index.sqlite3"):
        for path in [p for p in [Path(base, "store", part), *Path(base, "store", part).rglob("*")] if p.is_file()]:
            assert Path(base, "built", path.relative_to(f"{base}/store")).read_bytes() == path.read_bytes()
    assert holdfast.fsck(f"{base}/store").exit_code == 0


def test_of_a_point_with_few_states_each_is_made_once() -> None:
    trace = recorded(
        Operation("create", "a", 0),
        Operation("write", "a", 0, data=b"x" * 600),
        Operation("create", "b", 1),
    )
    found = crash_states.point(trace, 3)
    states = list(crash_choices.every(found))
    # Two names; of two sectors none, the first there or not, both, each there or not.
    assert len(states) == 2 * 2 * 7 == round(2 ** crash_choices.log2_states(found))
    assert len({state.files for state in states}) == 2 * (1 + 7)
    drawn = {crash_choices.corner(found, name).files for name in crash_choices.CORNERS}
    assert drawn <= {state.files for state in states}

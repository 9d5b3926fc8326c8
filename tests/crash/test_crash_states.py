"""Power loss: whatever a file system may show after it, nothing acknowledged is lost and nothing is half there.

Each workload is recorded once; states that a power loss may leave are drawn by a seed, built, opened, checked by fsck,
compared with the ledger and used. HOLDFAST_CRASH_SEED repeats a run, HOLDFAST_CRASH_TRIES makes it longer.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import holdfast
from holdfast.testing import crash_choices, crash_states
from holdfast.testing.crash_lab import CrashReport, Trace, explore, record
from holdfast.testing.index_watch import IndexSeen
from holdfast.testing.recording import Operation, Recording
from holdfast.testing.workloads import WORKLOADS, Workload

SEED = int(os.environ.get("HOLDFAST_CRASH_SEED", "20261121"))
TRIES = int(os.environ.get("HOLDFAST_CRASH_TRIES", "14"))
SOAK_TRIES = 1500
BY_NAME = {workload.name: workload for workload in WORKLOADS}


@pytest.fixture
def base(tmp_path: Path) -> Iterator[str]:
    """In memory where there is a place for it: these states are many, and their syncs are not what is tested."""
    if not os.access("/dev/shm", os.W_OK):
        yield str(tmp_path)
        return
    made = tempfile.mkdtemp(prefix="holdfast-crash-", dir="/dev/shm")
    yield made
    shutil.rmtree(made)


def lab(workload: Workload, base: str, *, tries: int, seed: int) -> CrashReport:
    report = explore(record(workload, base, seed=seed), base, tries=tries, seed=seed)
    print(report)
    assert report.failures == [], f"seed {seed}"
    assert report.tried == tries
    return report


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda w: w.name)
def test_no_legal_state_after_a_power_loss_lacks_what_was_acknowledged(workload: Workload, base: str) -> None:
    report = lab(workload, base, tries=TRIES, seed=SEED)
    assert report.operations >= 150


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda w: w.name)
def test_the_same_in_thousands(workload: Workload, base: str) -> None:
    lab(workload, base, tries=SOAK_TRIES, seed=random.randrange(1 << 30))


# -- the lab itself ----------------------------------------------------------------------------------------------------


def without(trace: Trace, kind: str, under: str) -> None:
    """As if the store never did one kind of sync."""
    for place, event in enumerate(trace.recording.events):
        if isinstance(event, Operation) and event.kind == kind and event.path.startswith(under):
            trace.recording.events[place] = Operation("reserve", event.path)


def test_the_lab_notices_a_store_that_forgets_to_sync_its_blobs(base: str) -> None:
    """A lab that cannot fail proves nothing: without the sync of staged bytes, acknowledged content is lost."""
    trace = record(BY_NAME["put"], base, seed=1)
    trace.recording.events = [
        Operation("mark none", "")
        if isinstance(e, Operation) and e.kind == "fsync" and e.path.startswith("tmp/")
        else e
        for e in trace.recording.events
    ]
    report = explore(trace, base, tries=12, seed=1)
    assert report.failures


def test_the_lab_notices_names_that_were_not_synced(base: str) -> None:
    trace = record(BY_NAME["put"], base, seed=1)
    without(trace, "fsync_dir", "")
    assert explore(trace, base, tries=12, seed=1).failures


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


def test_the_state_without_any_loss_is_the_store_itself(base: str) -> None:
    trace = record(BY_NAME["close and reopen"], base, seed=3)
    end = crash_states.point(trace.recording, len(trace.recording.events))
    crash_states.build(crash_choices.corner(end, "all kept"), f"{base}/built")
    for part in ("blobs", "journal", "holdfast.json", "index.sqlite3"):
        for path in [p for p in [Path(base, "store", part), *Path(base, "store", part).rglob("*")] if p.is_file()]:
            assert Path(base, "built", path.relative_to(f"{base}/store")).read_bytes() == path.read_bytes()
    assert holdfast.fsck(f"{base}/store").exit_code == 0

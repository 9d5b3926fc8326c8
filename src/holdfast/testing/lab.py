"""The damage lab: a small store with every kind of file, and a verdict on each damage that is done to it.

Of each damage four things are asked. Does a full fsck find it, or is it on the closed list (nothings.py decides that,
without asking the store)? Does the store ever answer wrongly? Does any error escape that is not ours? Does it end in
time? What a damaged store does not give without saying so is counted for itself: `absent`.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import holdfast
from holdfast.blobs.compress import Shape
from holdfast.blobs.local import LocalBlobs
from holdfast.care.fsck import check_path
from holdfast.disk import Disk
from holdfast.engine.pending import Keeper
from holdfast.errors import HoldfastError
from holdfast.formats import paths
from holdfast.journal import Journal
from holdfast.testing import nothings
from holdfast.testing.asking import Answers, Question, wrong_or_absent
from holdfast.testing.chunk_workloads import small_chunks
from holdfast.testing.damage import Case
from holdfast.testing.harmed import Harmed

MANY_FRAMES = bytes(range(251)) * 40
NOT_SHRINKING = bytes((n * n * 7 + n // 3) * 2654435761 >> 13 & 0xFF for n in range(700))
EXPECTED = frozenset({"quarantined"})
"""What fsck says of the undamaged store."""
LIMIT_S = 120.0
"""No case may last longer: a pipe that is opened never ends by itself."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`found`: codes of fsck beyond those of the undamaged store; `wrong`: questions answered wrongly; `absent`: with
    less than there is, and no error; `untyped`: errors that are not ours, any of fsck; `refused`: ours."""

    found: frozenset[str]
    wrong: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    untyped: tuple[str, ...] = ()
    refused: int = 0


@dataclass(slots=True)
class Report:
    """What a lab tried. `found` and `on_list` by (kind, sort of file); the rest: the cases, as text."""

    found: Counter[tuple[str, str]] = field(default_factory=Counter)
    on_list: Counter[tuple[str, str]] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    untyped: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    refused: int = 0
    slowest_s: float = 0.0

    @property
    def tried(self) -> int:
        """How many cases."""
        return self.found.total() + self.on_list.total() + len(self.missed)

    @property
    def lost(self) -> int:
        """How many cases broke the promise; `absent` ones are counted for themselves."""
        return len(self.missed) + len(self.wrong) + len(self.untyped)

    def add(self, case: Case, verdict: Verdict, excuse: str) -> None:
        """Count a case. `excuse`: the entry of the closed list that covers it, if fsck has not found it."""
        key = (case.kind, sort_of(case.path))
        if verdict.found:
            self.found[key] += 1
        elif excuse and (not verdict.refused or case.path.startswith(paths.SEARCH)):  # made anew when next written to
            self.on_list[key] += 1
        else:
            self.missed.append(f"{case}: not found, {verdict.refused} refused")
        self.wrong += [f"{case}: {', '.join(verdict.wrong)}"] if verdict.wrong else []
        self.absent += [f"{case}: {', '.join(verdict.absent)}"] if verdict.absent else []
        self.untyped += [f"{case}: {', '.join(verdict.untyped)}"] if verdict.untyped else []
        self.refused += verdict.refused

    def __str__(self) -> str:
        """A table, and what was wrong."""
        rows = [f"{kind:12} {sort:12} {self.found[kind, sort]:7} {self.on_list[kind, sort]:7}"
                for kind, sort in sorted({*self.found, *self.on_list})]  # fmt: skip
        wrong = [*self.missed, *self.wrong, *self.untyped]
        tail = f"{self.tried} tried, {len(self.absent)} with a wrong absence, slowest {self.slowest_s:.1f} s"
        return "\n".join([f"{'damage':12} {'file':12} {'found':>7} {'on list':>7}", *rows, tail, *wrong[:40]])


def sort_of(path: str) -> str:
    """Which kind of file of a store a path is."""
    folder, _, name = path.partition("/")
    if folder == paths.JOURNAL:
        return "sealed" if name.endswith(".zst") else "segment"
    return folder if name else {paths.MARKER: "marker", paths.INDEX: "index"}.get(folder, folder)


def every_kind_of_file(root: Path) -> Path:
    """A closed store: plain and sealed segments, blobs of one and of many frames, search, leftovers, quarantine."""
    with holdfast.create(root, actor="Ada") as store:
        shrink(store)
        _fill(store)
        store.search("words")
        store.gc()
    (root / "tmp" / ("0" * 32 + ".tmp")).write_bytes(b"left by a writer")
    (root / "quarantine" / ("ab" * 32 + ".zst.0000000000000001")).write_bytes(b"set aside")
    return root


def with_packs(root: Path) -> Path:
    """A closed store with two packs: a sealed one, and one that goes on behind a torn append."""
    with holdfast.create(root, actor="Ada") as store:
        _fill(store)
        store._handle.blobs.writer.seal()  # type: ignore[attr-defined]  # noqa: SLF001
        for number in range(4):
            store.put(f"more/{number}", f"in the second pack, number {number}\n" * (number + 1))
    newest = max((root / "packs").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    with newest.open("ab") as file:
        file.write(b"the rest of an append that a crash tore off")
    with holdfast.open(root, actor="Ada") as store:
        store.put("more/last", "behind the cover\n")
        store.search("words")
    return root


def with_chunks(root: Path) -> Path:
    """A closed store with recipes that share chunks, in two packs; one content has a superseded file beside."""
    rnd = random.Random(20)  # noqa: S311
    log, model = rnd.randbytes(6_000), rnd.randbytes(5_000)
    with small_chunks(), holdfast.create(root, actor="Ada") as store:
        store._handle.blobs.pack_up_to = 3_000  # type: ignore[attr-defined]  # noqa: SLF001 - less than what is cut
        _fill(store)
        for turn in range(3):
            store.put("log", log)
            log += rnd.randbytes(1_500)
            store.put("model", model)
            model = model[: 1_000 * turn] + b"inserted" + model[1_000 * turn :]
        store.gc(grace_s=0)
        store._handle.blobs.writer.seal()  # type: ignore[attr-defined]  # noqa: SLF001
        store.put("both", log)
        store.put("both", log + model)
        store.gc()
        store.search("words")
    return root


def shrink(store: holdfast.Store) -> None:
    """Small frames and small segments, so that a small store has many."""
    handle = store._handle  # noqa: SLF001
    handle.blobs = LocalBlobs(handle.root, Disk(), shape=Shape(frame_bytes=512, one_frame_max=1024, workers=1))
    handle.journal = Journal(handle.root, Disk(), segment_bytes=2500)
    handle.keeper = Keeper(handle.blobs, handle.index, handle.disk)


def _fill(store: holdfast.Store) -> None:
    put = store.artifacts.put
    put("docs/a.md", "first words\n", metadata={"score": 1.5, "who": "Ada"}, tags=["x", "y"])
    put("docs/a.md", "second words\n", message="better")
    put("docs/deep/b.txt", ("b" * 40 + "end\n") * 20)
    store.indexes.declare("metadata.score")
    put("gone.txt", "gone\n")
    store.artifacts.delete("gone.txt")
    put("many.bin", MANY_FRAMES)
    put("noise.bin", NOT_SHRINKING)
    put("empty", b"")
    store.collections.update("docs", metadata={"kept": True})
    store.relationships.register_type("explains", family="provenance", description="says why")
    store.relationships.relate("docs/a.md", "depends_on", "docs/deep/b.txt", metadata={"why": "so"})
    run = store.runs.create("train", parameters={"rate": 0.1}, tags=["night"])
    store.runs.link(run, "input", store.get("docs/a.md"))
    store.runs.add_step(run, "load")
    store.artifacts.update("docs/a.md", status="final")


def run(harmed: Harmed, truth: Answers, chosen: Iterable[Case], *, until: float | None = None) -> Report:
    """Try cases, one after the other, and count. `until`: a time (monotonic, seconds) after which no more are begun."""
    report = Report()
    for case in chosen:
        if until is not None and time.monotonic() > until:
            break
        began = time.monotonic()
        with harmed.harm(case) as after, _in_time(case):
            verdict = judge(harmed.root, about(case, truth))
            excuse = "" if verdict.found else _excuse(harmed, case, after)
        report.add(case, verdict, excuse)
        report.slowest_s = max(report.slowest_s, time.monotonic() - began)
    return report


def _excuse(harmed: Harmed, case: Case, after: bytes | None) -> str:
    if case.kind == "swap":
        both = ((case.path, harmed.files[case.other]), (case.other, harmed.files[case.path]))
        reasons = [nothings.why(harmed.files, path, data) for path, data in both]
        return reasons[0] if all(reasons) else ""
    return nothings.why(harmed.files, case.path, after)


_FEW = ("path", "buried", "content", "changes", "status", "search", "head")


def about(case: Case, truth: Answers) -> Answers:
    """The questions worth asking: all if the index is at stake, else what reads the file, and a few."""
    touched = [one.partition("/")[0] for one in (case.path, case.other)]
    if any(one.startswith(paths.INDEX) for one in touched):
        # What is left of the blobs is counted truly when the index is made anew from them.
        return {q: true for q, true in truth.items() if q[0] != "status" or paths.BLOBS not in touched}
    return {question: true for question, true in truth.items() if _touches(question)}


def killed(root: Path) -> Path:
    """The store as kill -9 leaves it after a few changes: a write-ahead log that nobody moved into the index."""
    code = f"""if True:
        import os, holdfast
        store = holdfast.open({str(root)!r}, actor="Eve")
        for n in range(3):
            store.artifacts.put(f"late/{{n}}.txt", f"late words {{n}}", metadata={{"n": n}})
        os._exit(0)"""
    subprocess.run([sys.executable, "-c", code], check=True)
    return root


@contextmanager
def in_use(root: Path) -> Iterator[None]:
    """Another process has the store open in the block, and has written to it: index, log and shared memory are live."""
    code = f"""if True:
        import sys, holdfast
        with holdfast.open({str(root)!r}, actor="Eve") as store:
            store.artifacts.put("live/one.txt", "words while open", metadata={{"n": 1}})
            print("ready", flush=True)
            sys.stdin.read()"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdout.readline()
        try:
            yield
        finally:
            other.kill()  # its index may be damaged by now: it has nothing to say at its end


def _touches(question: Question) -> bool:
    return question[0] in _FEW or question[0].startswith("content@")


@contextmanager
def _in_time(case: Case) -> Iterator[None]:
    """TimeoutError if a case does not end, where Python can tell (the main thread)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(*_: Any) -> None:
        raise TimeoutError(f"{case} does not end")

    before, left = signal.signal(signal.SIGALRM, late), signal.setitimer(signal.ITIMER_REAL, LIMIT_S)[0]
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left)
        signal.signal(signal.SIGALRM, before)


def judge(root: Path, truth: Answers, *, read_only: bool = True) -> Verdict:
    """What fsck says of a store that may be damaged, and whether it answers anything wrongly."""
    untyped: list[str] = []
    found: frozenset[str] = frozenset()
    try:
        found = frozenset(check_path(root).counts) - EXPECTED
    except TimeoutError:
        raise
    except Exception as error:  # noqa: BLE001 - findings are asked for; of a damaged store, fsck has no right to raise
        untyped.append(f"fsck: {error!r}")
    try:
        store = holdfast.open(root, read_only=read_only, lock_wait_s=2.0)
    except HoldfastError:
        return Verdict(found, untyped=tuple(untyped), refused=len(truth))
    except TimeoutError:
        raise
    except Exception as error:  # noqa: BLE001 - the point is that there is none
        return Verdict(found, untyped=(*untyped, f"open: {error!r}"), refused=len(truth))
    with store:
        wrong, absent, more, refused = wrong_or_absent(store, truth)
    return Verdict(found, tuple(wrong), tuple(absent), (*untyped, *more), refused)

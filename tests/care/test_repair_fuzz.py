"""Several damages at once, at random, on a store with everything in it: repair ends well or names what is lost.

In one form of the store each content has a file of its own, in the other small contents are in packs: a sealed one, an
open one with a torn append in it, one that repack wrote, and one that it superseded.

`HOLDFAST_SEED` sets the first seed of the long form (else it is drawn and printed), `HOLDFAST_WRECKS` how many stores
are wrecked, `HOLDFAST_WRECK_SECONDS` when to stop at the latest.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import holdfast
from holdfast.care.fsck import check_path
from holdfast.care.repair import RepairReport
from holdfast.care.repair.report import LOST
from holdfast.errors import BlobDamagedError, BlobMissingError, ContentPurgedError, HoldfastError, NotAStoreError
from holdfast.testing import asking, damage, lab

from . import wreck
from .wreck import Wreck


@dataclass(frozen=True)
class Sample:
    """A sound store, what it answers, and other places that have its contents."""

    root: Path
    contents: wreck.Contents
    answers: asking.Answers
    store_id: str
    end: int
    backup: Path
    originals: Path
    packed: bool = False


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sample, Sample]:
    """One with a file for each content, one with packs."""
    folder = tmp_path_factory.mktemp("wrecks")
    return made(folder / "loose", wreck.store_with_everything), made(folder / "packed", wreck.store_with_packs)


def made(folder: Path, fill: Callable[[Path], wreck.Contents]) -> Sample:
    """A sample below a folder."""
    root, originals = folder / "store", folder / "originals"
    folder.mkdir()
    contents = fill(root)
    shutil.copytree(root, folder / "backup")
    originals.mkdir()
    for number, data in enumerate(dict.fromkeys(contents.values())):
        (originals / f"{number}.dat").write_bytes(data)
    identity = wreck.store_id(root)
    end = wreck.chain_of(identity, wreck.transactions_in(folder / "backup"))
    answers = asking.answers(root)
    # It also counts files and what is condemned: of a store that lost some of its files the truth is another.
    del answers["status", ""]
    packed = fill is wreck.store_with_packs
    return Sample(root, contents, answers, identity, end, folder / "backup", originals, packed)


@dataclass
class Case:
    """One wrecked store: what was done to it, what repair may use, and what there is left to be had."""

    seed: int
    sample: Sample
    folder: Path

    def __post_init__(self) -> None:
        rng = random.Random(self.seed)
        self.root = damage.twin(self.sample.root, self.folder / "store")
        self.sources = rng.choice([[], [], [self.sample.backup], [self.sample.originals]])
        self.wreck = Wreck(self.root, rng, packed=self.sample.packed)
        self.wreck.strike(rng.choice((1, 2, 2, 3, 4, 6)))
        self.before = shutil.copytree(self.root, self.folder / "before", symlinks=True)
        stores = [self.before, *(one for one in self.sources if one == self.sample.backup)]
        self.contents = wreck.contents_in(self.before / "blobs", self.before / "quarantine", *self.sources)
        self.contents |= wreck.members_in(*self._copies(stores, "see"))
        self.pieces = [piece for one in stores for piece in wreck.frames_in(one)]
        scratch = self._copies(stores, "look")
        self.found = wreck.transactions_in(*scratch)
        self.end = wreck.chain_of(self.sample.store_id, self.found)

    def __str__(self) -> str:
        names = [one.name for one in self.sources]
        return f"seed {self.seed}, sources {names}: {'; '.join(self.wreck.done)}"

    def _copies(self, stores: list[Path], name: str) -> list[Path]:
        """Copies to look into: SQLite may write beside a file that it reads."""
        return [shutil.copytree(one, self.folder / f"{name}{n}", symlinks=True) for n, one in enumerate(stores)]

    @property
    def lost(self) -> list[str]:
        """The revisions whose bytes nothing has any more, as far as anything says where they are."""
        have = self.contents
        items = self.sample.contents.items()
        return sorted(name for name, data in items if hashlib.sha256(data).hexdigest() not in have)

    @property
    def hopeless(self) -> set[str]:
        """Those of them whose bytes stand nowhere, not even in a frame of which nothing says what it holds."""
        contents = self.sample.contents
        return {name for name in self.lost if not any(contents[name] in piece for piece in self.pieces)}

    @property
    def hollow(self) -> bool:
        """Whether some of the chain is gone for ever."""
        return self.end < self.sample.end


def bytes_of(root: Path) -> dict[str, str]:
    """Name and content of every file whose bytes mean something."""
    tree = damage.tree(root).items()
    return {name: facts.split()[-1] for name, facts in tree if facts[0] != "4" and not name.startswith("locks/")}


def judge(case: Case) -> RepairReport:
    """Repair a wreck and hold the result against what there was left; an AssertionError says what is wrong."""
    tree = damage.tree(case.root)
    foretold = holdfast.repair(case.root, sources=case.sources, dry_run=True)
    assert damage.tree(case.root) == tree, "a dry run changed the store"
    report = holdfast.repair(case.root, sources=case.sources, actor="Ada")
    assert_foretold(case, foretold, report)
    assert_nothing_is_gone(case)
    after = bytes_of(case.root)
    again = holdfast.repair(case.root, sources=case.sources)
    assert again.steps == (), f"a second repair did {again.steps}"
    assert bytes_of(case.root) == after, "a second repair changed something"
    if not marker_can_be_had(case):
        return report
    if case.hollow:
        assert report.exit_code == 4, report.as_dict()
        assert report.lost, "a loss of history is not named"
        report = holdfast.repair(case.root, sources=case.sources, accept_loss=True, actor="Ada")
        assert_nothing_is_gone(case)
    else:
        assert case.hopeless <= set(report.lost) <= set(case.lost), (case.lost, case.hopeless, report.as_dict())
        assert check_path(case.root).exit_code == (4 if report.lost else 0)
        assert report.exit_code in ((4,) if report.lost else (0, 5))
    assert_rebuild_keeps(case)
    assert_usable(case, set(report.lost))
    return report


def assert_rebuild_keeps(case: Case) -> None:
    """Rows made anew from files are as good as those that repair left, and the same contents are lost.

    One that is damaged in a pack is listed there again, and a torn segment of the journal may be set aside.
    """
    before = check_path(case.root)
    holdfast.rebuild(case.root)
    after = check_path(case.root)
    assert after.counts.keys() - {*LOST, "quarantined"} <= before.counts.keys(), (before.counts, after.counts)
    gone = [{f.fields.get("digest", f.object) for f in one.findings if f.code in LOST} for one in (before, after)]
    assert gone[1] <= gone[0], gone


def marker_can_be_had(case: Case) -> bool:
    """Whether the store's id is still to be found somewhere; if not, the store says that it is none."""
    with contextlib.suppress(NotAStoreError):
        holdfast.open(case.root, read_only=True).close()
        return True
    assert case.sample.backup not in case.sources
    marker = case.before / "holdfast.json"
    assert not marker.exists() or marker.read_bytes() != (case.sample.root / "holdfast.json").read_bytes()
    return False


OUTCOMES = {"add-segment", "register-blob", "quarantine", "make-folder", "give-up-blob"}
"""Steps that show only while others are taken."""


def assert_foretold(case: Case, foretold: RepairReport, report: RepairReport) -> None:
    """The plan names all that is then done; which contents come back is exact unless there was no index to ask.

    Or none that would be believed: then opening derives its rows, and finds what other packs list.
    """
    said, done = foretold.steps, report.steps
    kinds = {step.action for step in said}
    if not kinds & {"rebuild-index", "restore-marker"}:
        assert {step.action for step in done} - OUTCOMES <= kinds, (kinds, done)
        if case.sample.packed and "DELETE FROM meta" in case.wreck.done:
            return
        restored = [{step.object for step in steps if step.action == "restore-blob"} for steps in (said, done)]
        assert restored[0] == restored[1], (restored[0] ^ restored[1], said, done)
    assert bool(said) == bool(done), (said, done)


def assert_nothing_is_gone(case: Case) -> None:
    """Every file of contents or history is still there, as it was or with more behind it, under whatever name.

    Or, of a pack, as it was but for the beginning of a torn append at its end, which says now how long it is.
    """
    now = [path.read_bytes() for path in wreck._files(case.root)]
    whole = {hashlib.sha256(data).digest() for data in now}
    for path in wreck._files(case.before):
        name = path.relative_to(case.before)
        if name.parts[0] in ("locks", "tmp") or name.name.startswith(("index.", "search.", "state.")):
            continue
        data = path.read_bytes()
        there = hashlib.sha256(data).digest() in whole or any(one.startswith(data) for one in now)
        there = there or (name.parts[0] == "packs" and any(wreck.is_covered(data, one) for one in now))
        assert there, f"{name} is in no file any more"
    look = case.folder / "after"
    shutil.rmtree(look, ignore_errors=True)
    found = wreck.transactions_in(shutil.copytree(case.root, look, symlinks=True))
    twin = case.folder / "own"
    shutil.rmtree(twin, ignore_errors=True)
    own = wreck.transactions_in(shutil.copytree(case.before, twin, symlinks=True))
    for first, hashes in own.items():
        assert hashes.keys() <= found.get(first, {}).keys(), f"transaction {first} is in no file any more"


def assert_usable(case: Case, lost: set[str]) -> None:
    """Everything that is given is right, everything that can be is given, and new work is kept."""
    packed = case.sample.packed
    if not case.hollow:
        verdict = lab.judge(case.root, case.sample.answers, read_only=False)
        assert (verdict.wrong, verdict.untyped) == ((), ())
        assert asking.readable(case.root).keys() == case.sample.contents.keys() - lost
    with holdfast.open(case.root) as store:
        store.put("new/after the repair.txt", "new")
        assert store.read("new/after the repair.txt") == b"new"
        for artifact in store.artifacts.list(recursive=True):
            with contextlib.suppress(BlobMissingError, BlobDamagedError, ContentPurgedError):
                data = store.read(f"id:{artifact.id}")
                assert hashlib.sha256(data).hexdigest() == artifact.revision.digest.removeprefix("sha256:")
    allowed = INFORMATION | ({"blob-missing"} if lost else set()) | ({"blob-damaged"} if lost and packed else set())
    assert (found := check_path(case.root).counts).keys() <= allowed, found


INFORMATION = {
    "quarantined", "blob-unreferenced", "stray-file", "journal-garbage", "blob-row-stale", "pack-torn", "pack-garbage",
}  # fmt: skip


def complaint_of(case: Case) -> str:
    """What is wrong with how a wreck is mended; "" if nothing is."""
    try:
        judge(case)
    except HoldfastError as error:
        return f"{case}\n    {type(error).__name__}: {error}"
    except AssertionError as error:
        return f"{case}\n    {str(error)[:2000]}"
    except Exception as error:  # the point is that there is none
        return f"{case}\n    UNTYPED {error!r}"
    return ""


def run(sample: Sample, folder: Path, seeds: list[int], until: float) -> tuple[int, int, int, list[str]]:
    """(stores wrecked, damages done, wrecks with a loss that is named, complaints)."""
    wrecks = damages = lossy = 0
    complaints: list[str] = []
    for seed in seeds:
        if time.monotonic() > until:
            break
        here = folder / str(seed)
        here.mkdir()
        case = Case(seed, sample, here)
        if complaint := complaint_of(case):
            print(complaint, flush=True)  # at once: a run that is cut short has said what it found
            complaints.append(complaint)
        wrecks += 1
        damages += len(case.wreck.done)
        lossy += bool(case.lost or case.hollow)
        shutil.rmtree(here)
    return wrecks, damages, lossy, complaints


@pytest.mark.parametrize("packed", [False, True])
def test_a_wrecked_store_is_mended_or_its_losses_are_named(
    samples: tuple[Sample, Sample], tmp_path: Path, packed: bool
) -> None:
    *_, complaints = run(samples[packed], tmp_path, list(range(4)), time.monotonic() + 3600)
    assert not complaints, "\n".join(complaints)


ONCE_NOT_MENDED = [
    (201713582598, False),  # marker, index and first segment gone, and a backup has all of it
    (201713582727, False),  # the index gone, and the journal cut within its last transaction
]


@pytest.mark.parametrize(("seed", "packed"), ONCE_NOT_MENDED)
def test_a_wreck_that_was_once_not_mended(
    samples: tuple[Sample, Sample], tmp_path: Path, seed: int, packed: bool
) -> None:
    *_, complaints = run(samples[packed], tmp_path, [seed], time.monotonic() + 3600)
    assert not complaints, "\n".join(complaints)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("packed", [False, True])
def test_thousands_of_wrecked_stores_are_mended_or_their_losses_are_named(
    samples: tuple[Sample, Sample], tmp_path: Path, tally: Callable[..., None], packed: bool
) -> None:
    first = int(os.environ.get("HOLDFAST_SEED") or random.SystemRandom().randrange(1 << 40))
    count = int(os.environ.get("HOLDFAST_WRECKS") or 3000)
    print(f"HOLDFAST_SEED={first}")
    until = time.monotonic() + float(os.environ.get("HOLDFAST_WRECK_SECONDS") or 300)
    wrecks, damages, lossy, complaints = run(samples[packed], tmp_path, list(range(first, first + count)), until)
    form = "small contents in packs" if packed else "each content in a file"
    note = f"{form}; {damages} damages; {lossy} of the stores lost something that no copy had, and said what"
    note += f"; seed {first}"
    tally("repair makes any damaged store usable again", tried=wrecks, of="wrecked stores", lost=len(complaints),
          note=note)  # fmt: skip
    assert not complaints, "\n".join(complaints)

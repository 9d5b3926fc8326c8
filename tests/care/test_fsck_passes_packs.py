"""fsck in portions where content lies in packs: appended, sealed, repacked. Parts and runs add up to one full check."""

from __future__ import annotations

import sqlite3

import pytest

import holdfast
from holdfast import Portion
from holdfast.blobs import LocalBlobs
from holdfast.blobs.packs import PackFolder
from holdfast.care.fsck import passes
from holdfast.testing import damage

from . import wreck


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    root = tmp_path_factory.mktemp("original") / "store"
    wreck.store_with_packs(root)
    return root


@pytest.fixture
def root(original, tmp_path):
    return damage.twin(original, tmp_path / "store")


class Paced:
    """Makes time a count: each content that is read alone takes a second; tells which were read, from wherever."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        self.read = []
        of_file, of_pack = LocalBlobs.verify, PackFolder.read

        def counted(blobs, digest):
            self.tick(digest)
            return of_file(blobs, digest)

        def counted_member(folder, digest, spot):
            self.tick(digest)
            return of_pack(folder, digest, spot)

        monkeypatch.setattr(LocalBlobs, "verify", counted)
        monkeypatch.setattr(PackFolder, "read", counted_member)
        monkeypatch.setattr(passes.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(passes, "_MARGIN_US", 0)  # the store was made a moment ago
        monkeypatch.setattr("holdfast.care.fsck.reading._WORKERS", 1)
        monkeypatch.setattr("holdfast.care.fsck.reading._AHEAD", 0)

    def tick(self, digest):
        self.read.append(digest)
        self.now += 1


@pytest.fixture
def paced(monkeypatch):
    return Paced(monkeypatch)


def contents(root):
    """{digest: (pack or "loose", offset of its frame, bytes of the frame)} of all that have a row."""
    with damage.sql(root) as connection:
        found = connection.execute(
            "SELECT c.digest, CASE b.container WHEN 0 THEN 'loose' ELSE k.name END, b.offset, b.stored_bytes "
            "FROM blob b JOIN content c ON c.key = b.content JOIN container k ON k.key = b.container"
        )
        return {f"sha256:{digest.hex()}": tuple(place) for digest, *place in found}


def to_the_end(root, seconds=7):
    reports = [holdfast.fsck(root, portion=Portion.during(seconds))]
    while not reports[-1].full_pass.finished:
        reports.append(holdfast.fsck(root, portion=Portion.during(seconds)))
        assert len(reports) < 40
    return reports


def said(*reports):
    return {(f.code, f.fields.get("digest", f.object)) for report in reports for f in report.findings}


def spoil(root, *, begins):
    """Flip a byte in the middle of the largest frame in packs whose names begin so; the digests that lie in it."""
    places = {digest: place for digest, place in contents(root).items() if place[0][0] in begins}
    pack, offset, stored = max(places.values(), key=lambda place: place[2])
    damage.flip(root / "packs" / f"{pack}.zst", offset + stored // 2)
    return {digest for digest, place in places.items() if place[:2] == (pack, offset)}


APPENDED, REPACKED = "123456789abcdef", "0"


def test_the_sample_has_all_sorts_of_packs_and_files_of_their_own(root):
    names = {place[0] for place in contents(root).values()}
    assert {"loose"} < names
    assert len([name for name in names if name.startswith("0")]) == 1
    assert len([name for name in names if name[0] in APPENDED]) == 2


def test_runs_of_a_pass_read_every_content_exactly_once_wherever_it_lies(root, paced):
    reports = to_the_end(root)
    assert len(reports) > 2
    assert paced.read == sorted(contents(root))
    assert said(*reports) == said(holdfast.fsck(root))
    last = reports[-1].full_pass
    assert (last.covered, last.changed, last.gone) == (len(contents(root)), 0, 0)


@pytest.mark.parametrize("begins", [APPENDED, REPACKED])
def test_the_runs_of_a_pass_find_together_what_a_full_check_finds(root, paced, begins):
    spoiled = spoil(root, begins=begins)
    full = said(holdfast.fsck(root))
    assert {digest for code, digest in full if code == "blob-damaged"} & spoiled
    reports = to_the_end(root)
    assert said(*reports) == full
    assert {one for one in said(reports[-1]) if one[0] == "blob-damaged"} == {
        one for one in full if one[0] == "blob-damaged"
    }, "the last run sums up what the others found"


@pytest.mark.parametrize("begins", [APPENDED, REPACKED])
def test_all_parts_together_read_every_content_once_and_find_what_a_full_check_finds(root, monkeypatch, begins):
    spoil(root, begins=begins)
    whole = holdfast.fsck(root)
    reports = [holdfast.fsck(root, portion=Portion.part(number, of=3)) for number in (1, 2, 3)]
    assert sum(report.read for report in reports) == whole.read == len(contents(root))
    assert said(*reports) == said(whole)


def test_a_sample_of_as_many_as_there_are_finds_what_a_full_check_finds(root):
    spoil(root, begins=REPACKED)
    whole = holdfast.fsck(root)
    report = holdfast.fsck(root, portion=Portion.count(len(contents(root)), seed=3))
    assert (report.read, said(report)) == (whole.read, said(whole))


def test_what_was_repacked_after_its_turn_is_read_again_where_it_is_now(root, paced):
    """Damaged there: what the first run read was the old copy."""
    holdfast.fsck(root, portion=Portion.during(12))
    behind = set(paced.read)
    before = contents(root)
    with holdfast.open(root) as store:
        assert store.repack().contents
    after = contents(root)
    moved = {digest for digest, place in after.items() if place[0] != before[digest][0]}
    victims = moved & behind
    assert victims
    pack, offset, stored = after[min(victims)]
    damage.flip(root / "packs" / f"{pack}.zst", offset + stored - 5)
    reports = to_the_end(root)
    assert said(*reports) >= {one for one in said(holdfast.fsck(root)) if one[0] == "blob-damaged"} != set()
    assert reports[-1].full_pass.changed >= len(victims)


def test_a_pack_that_was_appended_to_or_rewritten_meanwhile_is_no_finding(root, paced):
    holdfast.fsck(root, portion=Portion.during(12))
    with holdfast.open(root) as store:
        store.put("open/later", "one more in the open pack\n")
        store.artifacts.delete("open/0")
        store.artifacts.purge("open/0")
        store.gc(grace_s=0)
    reports = to_the_end(root)
    assert said(*reports) == said(holdfast.fsck(root))
    assert reports[-1].exit_code == 0
    assert set(contents(root)) <= set(paced.read)


def test_the_position_is_kept_by_digest_and_so_outlives_a_repack(root, paced):
    covered = holdfast.fsck(root, portion=Portion.during(12)).full_pass.covered
    with holdfast.open(root) as store:
        store.repack()
    report = holdfast.fsck(root, portion=Portion.during(7))
    assert report.full_pass.runs == 2
    assert report.full_pass.covered > covered
    with sqlite3.connect(root / "state.sqlite3") as connection:
        (position,) = connection.execute("SELECT position FROM fsck_pass").fetchone()
    assert f"sha256:{position.hex()}" in contents(root)

"""Repair of packs that no header speaks for: exchanged, renamed, without headers, and where rows cannot tell either."""

from __future__ import annotations

import os
import shutil

import pytest

import holdfast
from holdfast.blobs.packs import Hole, PackFolder
from holdfast.care.fsck import check_path
from holdfast.care.repair import holes
from holdfast.disk import Disk
from holdfast.testing import damage

from . import wreck


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made") / "store"
    return root, wreck.store_with_packs(root)


@pytest.fixture
def contents(made):
    return made[1]


@pytest.fixture
def root(made, tmp_path):
    return damage.twin(made[0], tmp_path / "store")


def with_rows(root):
    """The packs that rows speak of: the repacked one, the sealed one, the open one."""
    with damage.sql(root) as connection:
        names = connection.execute(
            "SELECT DISTINCT k.key, name FROM blob b JOIN container k ON k.key = b.container WHERE k.key > 0 ORDER BY 1"
        ).fetchall()
    return [root / "packs" / f"{name}.zst" for _, name in names]


def headers(path):
    data = path.read_bytes()
    return [at - 8 for at in range(len(data)) if data.startswith(b"HFPACK\1\1", at)]


def assert_all_there(root, contents):
    report = check_path(root)
    assert report.exit_code == 0, report.counts
    assert wreck.readable(root) == contents


def lose_index(root):
    for name in ("index.sqlite3", "index.sqlite3-wal", "index.sqlite3-shm"):
        (root / name).unlink(missing_ok=True)


def only(root, *kept):
    """Superseded packs would help."""
    for path in (root / "packs").iterdir():
        if path not in kept:
            path.unlink()


# -- packs under each other's names ------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", ["there", "gone"])
def test_packs_under_each_others_names_give_their_contents_back(root, contents, index):
    packs = with_rows(root)
    only(root, *packs)
    one, other = packs[0].read_bytes(), packs[1].read_bytes()
    packs[0].write_bytes(other)
    packs[1].write_bytes(one)
    if index == "gone":
        lose_index(root)
    foretold = holdfast.repair(root, dry_run=True)
    report = holdfast.repair(root)
    assert (report.lost, report.exit_code) == ((), 5)
    if index == "there":
        restored = [{s.object for s in r.steps if s.action == "restore-blob"} for r in (foretold, report)]
        assert restored[0] == restored[1] != set()
    assert_all_there(root, contents)
    assert holdfast.repair(root).steps == ()


def test_a_pack_under_a_new_name_gives_its_contents_back(root, contents):
    """Somebody renamed it: every header in it names another pack."""
    packs = with_rows(root)
    only(root, *packs)
    packs[1].rename(root / "packs" / f"{'f' * 16}.zst")
    report = holdfast.repair(root)
    assert (report.lost, report.exit_code) == ((), 5)
    assert_all_there(root, contents)


# -- without headers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1, 2])
def test_frames_whose_header_is_lost_are_found_also_where_rows_were_made_anew(root, contents, number):
    """Rows would tell; made anew from headers they do not know of these frames."""
    packs = with_rows(root)
    only(root, *packs)
    for at in headers(packs[number]):
        damage.flip(packs[number], at + 60)
    lose_index(root)
    report = holdfast.repair(root)
    assert (report.lost, report.exit_code) == ((), 5)
    assert_all_there(root, contents)
    holdfast.rebuild(root)
    assert_all_there(root, contents)


def test_a_wrecked_pack_of_a_backup_gives_what_is_left_in_it(root, contents, tmp_path):
    packs = with_rows(root)
    only(root, *packs)
    backup = shutil.copytree(root, tmp_path / "backup")
    for at in headers(backup / "packs" / packs[1].name):
        damage.flip(backup / "packs" / packs[1].name, at + 60)
    packs[1].unlink()
    report = holdfast.repair(root, sources=[backup])
    assert (report.lost, report.exit_code) == ((), 5)
    assert_all_there(root, contents)


def test_a_frame_that_is_damaged_too_is_named_as_a_loss_and_no_wrong_byte_comes_from_it(root, contents):
    packs = with_rows(root)
    only(root, *packs)
    (first, *_) = headers(packs[1])
    data = packs[1].read_bytes()
    for at in (first + 60, data.index(b"\x28\xb5\x2f\xfd", first) + 20):
        damage.flip(packs[1], at)
    lose_index(root)
    report = holdfast.repair(root)
    assert report.exit_code == 4
    assert report.lost
    left = {name: data for name, data in contents.items() if name not in report.lost}
    assert wreck.readable(root) == left


def test_rows_made_anew_have_no_place_for_what_is_damaged_in_a_pack_that_has_lost_a_header(root):
    """As repair left it: a sealed pack is believed without reading, but not one of which a part is known to be lost."""
    packs = with_rows(root)
    only(root, *packs)
    sealed = packs[1]
    first, second = headers(sealed)[:2]
    data = sealed.read_bytes()
    damage.flip(sealed, first + 60)
    damage.flip(sealed, data.index(b"\x28\xb5\x2f\xfd", second) + 20)
    report = holdfast.repair(root)
    assert report.exit_code == 4
    counts = check_path(root).counts
    assert counts["blob-missing"] == 1
    holdfast.rebuild(root)
    after = check_path(root).counts
    assert after["blob-missing"] == 1
    assert after.keys() <= counts.keys()


# -- the search itself -------------------------------------------------------------------------------------------------


def found_in(root, name, wanted, others=()):
    neighbours = holes.Neighbours(wanted)
    for raw, length in others:
        neighbours.add(raw, length)
    folder = PackFolder(str(root), Disk())
    size = (root / "packs" / f"{name}.zst").stat().st_size
    try:
        return dict(holes.spots(folder, name, Hole(0, size, "all of it"), wanted, neighbours))
    finally:
        folder.close()


def members(root, name):
    folder = PackFolder(str(root), Disk())
    try:
        return {one.digest: one.spot(name) for pack, one in folder.members() if pack == name}
    finally:
        folder.close()


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_search_finds_every_member_with_its_header_and_without(root, number):
    (path, name) = (one := with_rows(root)[number]), one.stem
    wanted = {raw: spot.size for raw, spot in members(root, name).items()}
    for spoil in (False, True):
        if spoil:
            for at in headers(path):
                damage.flip(path, at + 60)
        found = found_in(root, name, wanted)
        assert found.keys() == wanted.keys()
        folder = PackFolder(str(root), Disk())
        for raw, spot in found.items():  # of a content that another one begins with, perhaps there
            assert len(folder.read(f"sha256:{raw.hex()}", spot)) == wanted[raw]
        folder.close()


def test_the_search_finds_what_follows_a_content_only_if_that_one_is_known(root):
    """Nothing says where a content ends but its digest; other packs list it, perhaps."""
    name = with_rows(root)[0].stem
    listed = members(root, name)
    for at in headers(root / "packs" / f"{name}.zst"):
        damage.flip(root / "packs" / f"{name}.zst", at + 60)
    behind = {raw: spot for raw, spot in listed.items() if spot.start}
    assert behind
    wanted = {raw: spot.size for raw, spot in behind.items()}
    assert found_in(root, name, wanted) == {}
    before = [(raw, spot.size) for raw, spot in listed.items() if raw not in behind]
    assert found_in(root, name, wanted, before).keys() == wanted.keys()


def test_contents_beside_others_that_an_older_pack_has_are_found_too(root, contents):
    """The repacked pack lost its header; what it superseded has all but a few of its contents."""
    (repacked, *_) = with_rows(root)
    listed = members(root, repacked.stem)
    for at in headers(repacked):
        damage.flip(repacked, at + 60)
    older = [path for path in (root / "packs").iterdir() if members(root, path.stem).keys() & listed.keys()]
    assert older
    for path in older:
        os.truncate(path, headers(path)[-1] + 10)
    lose_index(root)
    report = holdfast.repair(root)
    assert (report.lost, report.exit_code) == ((), 5)
    assert_all_there(root, contents)


def test_random_bytes_hold_nothing_and_cost_no_error(root):
    name = with_rows(root)[0].stem
    path = root / "packs" / f"{name}.zst"
    wanted = {raw: spot.size for raw, spot in members(root, name).items()}
    noise = bytearray(os.urandom(200_000))
    for at in range(0, len(noise) - 64, 5_000):
        noise[at : at + 16] = b"\x28\xb5\x2f\xfd" + os.urandom(12)
        noise[at + 2_000 : at + 2_016] = b"\x5c\x2a\x4d\x18" + os.urandom(4) + b"HFPACK\1\1"
    path.write_bytes(noise)
    assert found_in(root, name, wanted) == {}

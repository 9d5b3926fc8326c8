"""A backup is a store in a second place: whole, proven, shared between generations, refused where it does not fit."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import holdfast
from holdfast import Store
from holdfast.care.backup import Folder, Way, backup, restore, verify
from holdfast.care.backup.restoring import Wanted
from holdfast.engine.settings import Settings
from holdfast.errors import (
    BackupRefusedError,
    ConflictError,
    HoldfastError,
    InvalidValueError,
    LockedError,
    NotABackupError,
    ReadOnlyError,
)
from holdfast.formats import frame
from holdfast.testing.asking import readable
from holdfast.testing.backups import Memory
from holdfast.values.change import Actor

BIG = os.urandom(300_000)
MANY_FRAMES = BIG * 5


def fill(store: Store, *, prefix: str = "a") -> None:
    for n in range(20):
        store.put(f"{prefix}/{n}", f"{prefix} number {n}\n" * 9)
    store.put(f"{prefix}/big", BIG + prefix.encode())
    store.put(f"{prefix}/many", MANY_FRAMES + prefix.encode())
    store.put(f"{prefix}/empty", b"")


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    return tmp_path / "backups"


def generation(dest: Path, number: int) -> Path:
    return dest / "generations" / f"{number:06d}"


def files_of(folder: Path) -> dict[str, int]:
    """Inodes of all files below a folder."""
    return {str(p.relative_to(folder)): p.stat().st_ino for p in folder.rglob("*") if p.is_file()}


# -- what a backup is --------------------------------------------------------------------------------------------------


def test_the_destination_opens_read_only_as_the_store_that_was_backed_up(store: Store, dest: Path) -> None:
    fill(store)
    report = store.backup(dest)
    assert (report.generation, report.made, report.exit_code) == (1, True, 0)
    with holdfast.open(dest, read_only=True) as copy:
        assert not copy.opened.rebuilt, "its index is at home where it lies"
        assert copy.id == store.id
        assert copy.read("a/many") == MANY_FRAMES + b"a"
        assert copy.read("a/empty") == b""
        assert copy.status().head_hash == store.status().head_hash == report.head_hash
        checked = copy.fsck()
    assert (checked.exit_code, dict(checked.counts)) == (0, {})
    assert holdfast.fsck(dest).exit_code == 0


def test_all_that_can_be_read_of_the_store_can_be_read_of_its_backup(store: Store, root: str, dest: Path) -> None:
    fill(store)
    store.artifacts.delete("a/3")
    store.put("a/4", "a second revision")
    store.relationships.relate("a/1", "depends_on", "a/2")
    store.backup(dest)
    assert readable(generation(dest, 1)) == readable(root)


def test_a_backup_of_an_empty_store_is_one(store: Store, dest: Path) -> None:
    assert store.backup(dest).made
    assert holdfast.verify_backup(dest).findings == ()
    with holdfast.open(dest, read_only=True) as copy:
        assert list(copy.find()) == []


def test_the_store_may_be_on_a_medium_that_cannot_be_written(store: Store, root: str, dest: Path) -> None:
    fill(store)
    store.close()
    with holdfast.open(root, read_only=True) as reading:
        assert reading.backup(dest).exit_code == 0
    assert holdfast.fsck(dest).exit_code == 0


def test_nothing_can_be_written_to_a_generation(store: Store, dest: Path) -> None:
    store.put("a", "b")
    store.backup(dest)
    for path in (dest, generation(dest, 1)):
        with pytest.raises(ReadOnlyError, match="generation of one") as refused:
            holdfast.open(path)
        assert "holdfast restore" in refused.value.remedy
        for care in (holdfast.recover, holdfast.rebuild, holdfast.repair):
            with pytest.raises(ReadOnlyError):
                care(path)


def test_a_damaged_store_is_mended_from_its_backup(store: Store, root: str, dest: Path) -> None:
    fill(store)
    store.backup(dest)
    truth = readable(root)
    store.close()
    shutil.rmtree(Path(root) / "blobs")
    shutil.rmtree(Path(root) / "packs")
    assert holdfast.repair(root, sources=[dest]).exit_code == 5
    assert readable(root) == truth


def test_every_file_of_a_backup_is_read_only_by_what_the_list_says(store: Store, dest: Path) -> None:
    fill(store)
    report = store.backup(dest)
    listed = (dest / "generations" / "000001.files").read_text().splitlines()
    found = files_of(generation(dest, 1))
    assert sorted(line.split(" ")[3] for line in listed) == sorted(found)
    assert report.copied_files == len(found)


def test_standard_tools_prove_every_byte_of_a_generation(store: Store, dest: Path) -> None:
    fill(store)
    store.backup(dest)
    page = (Path(__file__).parents[2] / "store-layout.md").read_text()
    (recipe,) = [line.strip() for line in page.splitlines() if "sha256sum --quiet -c" in line]

    def proven() -> int:
        done = subprocess.run(["bash", "-c", f"set -o pipefail; {recipe}"], cwd=generation(dest, 1), check=False)
        return done.returncode

    assert proven() == 0
    damage(generation(dest, 1), "packs")
    assert proven() != 0


# -- only what is new --------------------------------------------------------------------------------------------------


def test_files_that_are_as_they_were_are_hard_links(store: Store, dest: Path) -> None:
    fill(store)
    store.backup(dest)
    fill(store, prefix="b")
    report = store.backup(dest)
    old, new = files_of(generation(dest, 1)), files_of(generation(dest, 2))
    shared = {path for path in old if new.get(path) == old[path]}
    assert {path for path in shared if path.startswith("blobs/")} == {p for p in old if p.startswith("blobs/")}
    assert report.shared_files == len(shared)
    assert report.copied_files == len(new) - len(shared)


def test_a_pack_that_has_grown_is_copied_and_the_old_generation_keeps_its_own(store: Store, dest: Path) -> None:
    store.put("a", "one")
    store.backup(dest)
    (pack,) = (generation(dest, 1) / "packs").iterdir()
    before = pack.read_bytes()
    store.put("b", "two")
    store.backup(dest)
    assert pack.read_bytes() == before
    grown = (generation(dest, 2) / "packs" / pack.name).read_bytes()
    assert grown.startswith(before)
    assert len(grown) > len(before)


def test_of_a_pack_that_has_grown_only_what_is_new_is_unpacked(
    store: Store, root: str, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put_many((f"a/{n}", os.urandom(500)) for n in range(20))
    assert store.backup(dest).lacks == ()
    unpacked: list[int] = []
    real = frame.are_whole
    monkeypatch.setattr(
        frame, "are_whole", lambda frames, sizes: (unpacked.append(len(frames)), real(frames, sizes))[1]
    )
    store.put("b", os.urandom(500))
    assert store.backup(dest).lacks == ()
    assert unpacked == [1]
    (pack,) = (Path(root) / "packs").iterdir()
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 0xFF
    pack.write_bytes(data)
    store.put("c", os.urandom(500))
    assert store.backup(dest).lacks  # what was sound when it was copied is looked at all the same


def test_a_backup_of_what_has_not_changed_makes_no_generation(store: Store, dest: Path) -> None:
    fill(store)
    store.backup(dest)
    before = files_of(dest)
    report = store.backup(dest)
    assert (report.made, report.generation, report.copied_files) == (False, 1, 0)
    assert files_of(dest) == before


def test_a_whole_backup_shares_nothing(store: Store, dest: Path) -> None:
    fill(store)
    store.backup(dest)
    report = store.backup(dest, whole=True)
    assert report.made
    assert report.shared_files == 0
    assert not set(files_of(generation(dest, 1)).values()) & set(files_of(generation(dest, 2)).values())


def test_where_there_are_no_hard_links_files_are_copied(
    store: Store, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    store.backup(dest)
    store.put("more", "x")

    def no_links(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patched:
        patched.setattr(os, "link", no_links)
        report = backup(store._handle, Folder(str(dest)), Way())
    assert report.shared_files
    assert holdfast.verify_backup(dest).findings == ()
    assert not set(files_of(generation(dest, 1)).values()) & set(files_of(generation(dest, 2)).values())


# -- generations -------------------------------------------------------------------------------------------------------


def test_the_generations_that_are_to_be_kept_stay_whole_when_others_go(store: Store, dest: Path) -> None:
    for n in range(5):
        fill(store, prefix=f"p{n}")
        report = store.backup(dest, keep=3)
    assert report.removed == (2,)
    assert sorted(p.name for p in (dest / "generations").glob("*.json")) == [
        "000003.json",
        "000004.json",
        "000005.json",
    ]
    assert not generation(dest, 2).exists()
    assert holdfast.verify_backup(dest).findings == ()
    with holdfast.open(generation(dest, 3), read_only=True) as oldest:
        assert oldest.read("p0/big") == BIG + b"p0"
        assert oldest.fsck().exit_code == 0


def test_no_generation_goes_while_the_newest_lacks_something(store: Store, root: str, dest: Path) -> None:
    fill(store)
    store.backup(dest, whole=True)
    damage(Path(root), "blobs")
    report = store.backup(dest, keep=1, whole=True)
    assert report.lacks
    assert report.removed == ()
    assert generation(dest, 1).exists()


@pytest.mark.parametrize("keep", [0, -1])
def test_less_than_one_generation_cannot_be_kept(store: Store, dest: Path, keep: int) -> None:
    with pytest.raises(InvalidValueError, match="generations"):
        store.backup(dest, keep=keep)
    assert not dest.exists()


# -- what does not fit is refused --------------------------------------------------------------------------------------


def refused(store: Store, dest: Path) -> BackupRefusedError:
    before = files_of(dest)
    with pytest.raises(BackupRefusedError) as error:
        store.backup(dest)
    left = {path: inode for path, inode in files_of(dest).items() if path != "lock"}
    assert left == {path: inode for path, inode in before.items() if path != "lock"}, "it was touched"
    return error.value


def test_another_store_is_refused(store: Store, dest: Path, tmp_path: Path) -> None:
    store.put("a", "b")
    store.backup(dest)
    with holdfast.create(tmp_path / "other") as other:
        error = refused(other, dest)
    assert error.fields["reason"] == "other-store"
    assert "a folder of its own" in error.remedy


def test_a_forked_history_is_refused(store: Store, root: str, dest: Path, tmp_path: Path) -> None:
    store.put("a", "b")
    store.close()
    shutil.copytree(root, tmp_path / "twin")
    with holdfast.open(root) as one:
        one.put("here", "1")
        one.backup(dest)
    with holdfast.open(tmp_path / "twin") as twin:
        twin.put("there", "1")
        twin.put("there", "2")
        error = refused(twin, dest)
    assert error.fields["reason"] == "forked"
    assert "forked.md" in error.remedy


def test_an_older_history_is_refused(store: Store, root: str, dest: Path, tmp_path: Path) -> None:
    store.put("a", "b")
    store.close()
    shutil.copytree(root, tmp_path / "old")
    with holdfast.open(root) as one:
        one.put("newer", "1")
        one.backup(dest)
    with holdfast.open(tmp_path / "old") as old:
        error = refused(old, dest)
    assert error.fields["reason"] == "older"
    assert "holdfast restore" in error.remedy


def test_a_folder_that_holds_something_else_is_refused(store: Store, dest: Path) -> None:
    dest.mkdir()
    (dest / "holiday.jpg").write_bytes(b"")
    assert refused(store, dest).fields["reason"] == "occupied"


@pytest.mark.parametrize("inside", ["", "backups", "tmp/backups"])
def test_a_backup_into_the_store_itself_is_refused(store: Store, root: str, inside: str) -> None:
    store.put("a", "b")
    with pytest.raises(BackupRefusedError) as error:
        store.backup(Path(root) / inside)
    assert error.value.fields["reason"] == "inside"
    assert holdfast.fsck(root).exit_code == 0


def test_an_interrupted_backup_is_gone_on_with(store: Store, dest: Path) -> None:
    fill(store)

    def interrupt(done: int, *_: object) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.backup(dest, progress=interrupt)
    with pytest.raises(NotABackupError, match="ever finished"):
        holdfast.verify_backup(dest)
    report = store.backup(dest)
    assert report.resumed
    assert report.shared_files >= 2
    assert holdfast.verify_backup(dest).findings == ()


def test_two_backups_to_one_place_wait_for_each_other(store: Store, root: str, dest: Path) -> None:
    store.put("a", "b")
    with Folder(str(dest)).hold(0), pytest.raises(LockedError):
        holdfast.backup(root, dest, lock_wait_s=0.1)


def test_a_backup_inside_a_transaction_is_refused(store: Store, dest: Path) -> None:
    with store.transaction(), pytest.raises(ConflictError, match="transaction"):
        store.backup(dest)


def test_what_is_no_backup_is_neither_verified_nor_restored(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotABackupError):
        holdfast.verify_backup(tmp_path / "empty")
    with pytest.raises(NotABackupError):
        holdfast.restore(tmp_path / "empty", tmp_path / "new")
    assert not (tmp_path / "new").exists()


# -- damage ------------------------------------------------------------------------------------------------------------


def damage(store: Path, folder: str, *, at: int = -50) -> Path:
    """Flip a byte of the largest file of a folder; which."""
    path = max((p for p in (store / folder).rglob("*") if p.is_file()), key=lambda p: (p.stat().st_size, p.name))
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)
    return path


def test_a_damaged_file_of_the_store_is_named_and_not_copied_as_good(store: Store, root: str, dest: Path) -> None:
    fill(store)
    spoiled = damage(Path(root), "blobs", at=1000)
    report = store.backup(dest)
    assert report.exit_code == 4
    assert [one.digest for one in report.lacks] == [f"sha256:{spoiled.stem}"]
    assert not (generation(dest, 1) / spoiled.relative_to(root)).exists()
    found = holdfast.verify_backup(dest).findings
    assert [one.digest for one in found] == [f"sha256:{spoiled.stem}"], "it is said again whenever it is verified"


def test_what_is_damaged_in_the_store_since_is_whole_in_the_next_backup(store: Store, root: str, dest: Path) -> None:
    fill(store)
    store.backup(dest)
    damage(Path(root), "blobs", at=1000)
    store.put("more", "x")
    report = store.backup(dest)
    assert report.lacks == ()
    with holdfast.open(dest, read_only=True) as copy:
        assert copy.read("a/many") == MANY_FRAMES + b"a"


def test_a_damaged_member_of_a_pack_is_named_each_time_until_it_is_mended(store: Store, root: str, dest: Path) -> None:
    for n in range(20):
        store.put(f"a/{n}", os.urandom(500))
    (pack,) = (Path(root) / "packs").iterdir()
    data = bytearray(pack.read_bytes())
    data[-100] ^= 0xFF
    pack.write_bytes(data)
    first = store.backup(dest)
    assert len(first.lacks) == 1
    assert first.lacks[0].digest == store.get("a/19").digest
    store.put("large", BIG)
    again = store.backup(dest)
    assert again.lacks == first.lacks
    data[-100] ^= 0xFF
    pack.write_bytes(data)
    assert store.backup(dest).lacks == ()


def test_no_bit_of_a_sealed_pack_can_flip_without_being_named(store: Store, root: str, dest: Path) -> None:
    store.put_many((f"a/{n}", f"{n} ".encode() * 300) for n in range(200))
    store._handle.blobs.writer.seal()
    (pack,) = (Path(root) / "packs").iterdir()
    sound = pack.read_bytes()
    for n in range(9):
        harmed = bytearray(sound)
        harmed[n * (len(sound) - 1) // 8] ^= 1 << n % 8
        pack.write_bytes(harmed)
        report = store.backup(dest.with_name(f"b{n}"))
        copy = (generation(dest.with_name(f"b{n}"), 1) / "packs" / pack.name).read_bytes()
        assert report.exit_code == 4 or sound.startswith(copy), n  # of a harmed table all before it is copied
    pack.write_bytes(sound)
    assert store.backup(dest).exit_code == 0


def test_damage_to_what_nothing_refers_to_is_no_loss(store: Store, root: str, dest: Path) -> None:
    for n in range(9):
        store.put(f"a/{n}", os.urandom(500))
    store.artifacts.delete("a/4")
    store.artifacts.purge("a/4")
    store.gc(grace_s=1e9)
    (pack,) = (Path(root) / "packs").iterdir()
    data = bytearray(pack.read_bytes())
    data[len(data) * 9 // 18] ^= 0xFF  # in the middle of the fifth of nine
    pack.write_bytes(data)
    assert store.backup(dest).lacks == ()


def test_a_missing_file_of_the_store_is_named(store: Store, root: str, dest: Path) -> None:
    fill(store)
    gone = damage(Path(root), "blobs")
    gone.unlink()
    assert [one.digest for one in store.backup(dest).lacks] == [f"sha256:{gone.stem}"]


@pytest.mark.parametrize("harm", ["flipped", "gone"])
def test_a_damaged_journal_is_written_anew_from_the_index(store: Store, root: str, dest: Path, harm: str) -> None:
    fill(store)
    if harm == "flipped":
        damage(Path(root), "journal", at=400)
    else:
        shutil.rmtree(Path(root) / "journal")
    assert store.backup(dest).exit_code == 0
    assert holdfast.fsck(dest).exit_code == 0


@pytest.mark.parametrize("folder", ["blobs", "packs", "journal", "."])
def test_verify_names_every_damaged_file_of_a_backup(store: Store, dest: Path, folder: str) -> None:
    fill(store)
    store.backup(dest)
    fill(store, prefix="b")
    store.backup(dest)
    assert holdfast.verify_backup(dest).exit_code == 0
    spoiled = damage(generation(dest, 2), folder)
    found = holdfast.verify_backup(dest)
    assert found.exit_code == 4
    assert {one.path for one in found.findings} >= {str(spoiled.relative_to(dest))}


def test_a_damaged_file_is_named_in_every_generation_that_shares_it(store: Store, dest: Path) -> None:
    fill(store)
    store.backup(dest)
    store.put("more", "x")
    store.backup(dest)
    spoiled = damage(generation(dest, 1), "blobs")
    found = holdfast.verify_backup(dest).findings
    assert {(one.generation, Path(one.path).name) for one in found} == {(1, spoiled.name), (2, spoiled.name)}


def test_a_damaged_list_hides_nothing_of_the_other_generations(store: Store, dest: Path) -> None:
    fill(store)
    store.backup(dest)
    store.put("more", "x")
    store.backup(dest)
    spoiled = damage(generation(dest, 1), "packs")
    (dest / "generations" / "000002.files").write_bytes(b"nonsense\n")
    found = {one.path for one in holdfast.verify_backup(dest).findings}
    assert found == {"generations/000002.files", str(spoiled.relative_to(dest))}


def test_verify_names_what_is_missing_what_is_added_and_records_that_were_edited(store: Store, dest: Path) -> None:
    fill(store)
    store.backup(dest)
    whole = dest.with_name("whole")
    shutil.copytree(dest, whole)
    top = dest / "generations"

    def found() -> str:
        says = " ".join(f"{one.path} {one.reason}" for one in holdfast.verify_backup(dest).findings)
        shutil.rmtree(dest)
        shutil.copytree(whole, dest)
        return says

    next(iter((top / "000001" / "packs").iterdir())).unlink()
    assert "missing" in found()
    (top / "000001" / "blobs" / "stranger").write_bytes(b"")
    assert "blobs/stranger it does not belong here" in found()
    (top / "000001.json").write_bytes((top / "000001.json").read_bytes().replace(b'"files":', b'"files": '))
    assert "000001.json is damaged" in found()
    with (top / "000001.files").open("ab") as file:
        file.write(b"nonsense")
    assert "000001.files" in found()


def test_a_generation_that_is_as_new_can_be_made_beside_a_damaged_one(store: Store, dest: Path) -> None:
    fill(store)
    store.backup(dest)
    damage(generation(dest, 1), "blobs")
    store.backup(dest, whole=True)
    assert {one.generation for one in holdfast.verify_backup(dest).findings} == {1}


# -- gc, purge and redaction between two backups -----------------------------------------------------------------------


def holds(folder: Path, text: bytes) -> bool:
    """Whether a text can be read anywhere in a store, decompressed or as it stands."""
    plain = any(text in path.read_bytes() for path in folder.rglob("*") if path.is_file())
    packed = [p for p in folder.rglob("*.zst") if p.is_file()]
    return plain or any(
        text in subprocess.run(["zstd", "-dcq", p], capture_output=True, check=False).stdout for p in packed
    )


def test_what_was_redacted_is_in_no_later_generation_and_the_earlier_are_named(store: Store, dest: Path) -> None:
    fill(store)
    store.put("secret-name", "the password is hunter2\n" * 3)
    store.backup(dest)
    store.redact(store.get("secret-name"))
    report = store.backup(dest)
    assert report.erased_in == (1,)
    assert holds(generation(dest, 1), b"hunter2")
    assert not holds(generation(dest, 2), b"hunter2")
    assert not holds(generation(dest, 2), b"secret-name")
    assert holdfast.fsck(dest).exit_code == 0
    assert store.backup(dest).erased_in == (1,), "it is said as long as it is so"
    store.put("more", "x")
    assert store.backup(dest, keep=2).removed == (1,)
    assert store.backup(dest).erased_in == ()


def test_what_was_purged_and_collected_is_in_no_later_generation(store: Store, dest: Path) -> None:
    fill(store)
    store.backup(dest)
    for name in ("a/7", "a/big"):
        store.artifacts.delete(name)
        store.artifacts.purge(name)
    store.gc(grace_s=0)
    report = store.backup(dest)
    assert report.erased_in == (1,)
    assert not holds(generation(dest, 2), b"a number 7\n")
    assert holdfast.fsck(dest).exit_code == 0
    with holdfast.open(generation(dest, 1), read_only=True) as old:
        assert old.read("a/7").startswith(b"a number 7")


def test_what_was_purged_and_not_yet_collected_has_no_file_of_its_own_in_a_backup(
    store: Store, root: str, dest: Path
) -> None:
    fill(store)
    store.artifacts.delete("a/big")
    store.artifacts.purge("a/big")
    store.backup(dest)
    assert len(list((Path(root) / "blobs").rglob("*.zst"))) == 3
    assert len(list((generation(dest, 1) / "blobs").rglob("*.zst"))) == 2
    assert holdfast.fsck(dest).exit_code == 0


def test_packs_that_were_rewritten_are_copied_anew(store: Store, dest: Path) -> None:
    for n in range(300):
        store.put(f"a/{n}", os.urandom(200))
    store.backup(dest)
    store.repack()
    store.gc(grace_s=0)
    assert store.backup(dest).made
    with holdfast.open(dest, read_only=True) as copy:
        assert copy.read("a/7") == store.read("a/7")
        assert copy.fsck().exit_code == 0


def test_quarantine_is_left_out_and_that_is_said(store: Store, root: str, dest: Path) -> None:
    store.put("a", "b")
    (Path(root) / "quarantine" / ("ab" * 32 + ".zst.0123456789abcdef")).write_bytes(b"set aside")
    assert store.backup(dest).left_out == 1


# -- elsewhere ---------------------------------------------------------------------------------------------------------


def test_the_same_in_memory_as_in_a_folder(store: Store, root: str, tmp_path: Path) -> None:
    place = Memory()
    settings = Settings(Actor("Ada"))
    fill(store)
    first = backup(store._handle, place, Way())
    mid = store.status().head_seq
    store.artifacts.delete("a/3")
    store.artifacts.purge("a/3")
    store.gc(grace_s=0)
    second = backup(store._handle, place, Way())
    assert (first.generation, second.generation, second.erased_in) == (1, 2, (1,))
    place.lose_power()
    assert verify(place).findings == ()
    assert backup(store._handle, place, Way()).made is False
    restore(place, str(tmp_path / "new"), Wanted(), settings)
    assert readable(tmp_path / "new") == readable(root)
    then = restore(place, str(tmp_path / "then"), Wanted(point=holdfast.care.backup.point(mid)), settings)
    assert [one.what for one in then.losses] == ["purged"]
    store.put("more", "x")
    assert backup(store._handle, place, Way(keep=1)).removed == (1, 2)
    assert verify(place).generations == (3,)
    spoiled = next(name for name in place.files if "/packs/" in name)
    place.files[spoiled] = place.files[spoiled][:-1]
    assert [one.path for one in verify(place).findings] == [spoiled]


Make = Callable[[Path], object]


@pytest.mark.parametrize(
    "make", [lambda _: Memory(), lambda path: Folder(str(path / "place"))], ids=["memory", "folder"]
)
def test_a_place_for_backups_does_what_the_protocol_says(make: Make, tmp_path: Path) -> None:
    place = make(tmp_path)
    assert isinstance(place, holdfast.care.backup.Destination)
    with place.hold(1):
        assert place.is_empty()
        place.write("a/b/c", iter([b"one", b"two"]))  # D-1
        place.write("a/b/c", iter([b"three"]))
        assert b"".join(place.blocks("a/b/c")) == b"three"
        assert place.size("a/b/c") == 5
        place.settle()  # D-2
        place.put("small", b"whole")  # D-3
        assert place.read("small") == b"whole"
        assert place.read("none") is None
        assert place.share("a/b/c", "a/d")
        assert place.same("a/b/c", "a/d")
        assert not place.share("none", "a/e")
        assert place.size("a/e") is None
        place.write("a/b/c", iter([b"changed"]))
        assert b"".join(place.blocks("a/d")) == b"three", "what shares a file is never written through"
        with pytest.raises(HoldfastError):  # D-5
            list(place.blocks("none"))
        assert list(place.names("a")) == ["a/b/c", "a/d"]
        assert place.here("a") == ["b", "d"]
        place.remove("a/b")  # D-6
        place.remove("none")
        assert list(place.names("a")) == ["a/d"]
        assert not place.is_empty()

"""The journal: appended to, never cut; torn ends are stepped over, full segments sealed beside the plain ones."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from holdfast.errors import ChainBrokenError, NoSpaceError, StorageIOError
from holdfast.formats import lines
from holdfast.formats.lines import Garbage, Located
from holdfast.journal import SYNC_BYTES, Journal
from holdfast.testing.faults import FaultyDisk
from holdfast.values import canon, change, moment
from holdfast.values.change import Actor, Entry, Head, Transaction

STORE_ID = "01987654-0000-7000-8000-000000000000"
NOW_US = 1_750_000_000_000_000


class Writer:
    """Appends transactions to a journal as the engine does, and remembers them."""

    def __init__(self, journal: Journal, head: Head | None = None) -> None:
        self.journal = journal
        self.head = head or change.origin(STORE_ID)
        self.made: list[Transaction] = []

    def next(self, size: int = 40) -> Transaction:
        bodies = (canon.encode({"action": "x", "id": "i", "kind": "k", "note": "n" * size}),)
        salt = os.urandom(16)
        entry = Entry(
            tx=moment.draw_id(NOW_US), first=self.head.next_seq, count=1, time_us=NOW_US, actor=Actor("Ada"),
            root=change.root_of(salt, bodies), prev=self.head.hash,
        )  # fmt: skip
        return Transaction(entry, salt, bodies)

    def append(self, count: int = 1, size: int = 40) -> None:
        for _ in range(count):
            one = self.next(size)
            data = lines.encode(one)
            self.journal.prepare(one.entry.first, len(data))
            self.journal.append(data)
            self.head = one.head
            self.made.append(one)


@pytest.fixture
def home(tmp_path: Path) -> str:
    (tmp_path / "journal").mkdir()
    (tmp_path / "tmp").mkdir()
    return str(tmp_path)


@pytest.fixture
def disk() -> FaultyDisk:
    return FaultyDisk()


def read(home: str, from_seq: int = 1) -> list[Transaction]:
    found = Journal(home, FaultyDisk()).scan(from_seq)
    return [item.transaction for _, item in found if isinstance(item, Located)]


def names(home: str) -> list[str]:
    return sorted(os.listdir(Path(home, "journal")))


def test_what_was_appended_is_read_again_in_order(home: str, disk: FaultyDisk) -> None:
    writer = Writer(Journal(home, disk))
    writer.append(20)

    assert read(home) == writer.made
    assert Journal(home, disk).head() == writer.head
    assert Journal(home, disk).ends_with(writer.head)
    assert not Journal(home, disk).ends_with(writer.made[-2].head)


def test_an_empty_journal_has_no_end(home: str, disk: FaultyDisk) -> None:
    journal = Journal(home, disk)

    assert journal.head() is None
    assert journal.segments() == []
    assert list(journal.scan()) == []
    assert not journal.ends_with(change.origin(STORE_ID))


def test_full_segments_are_followed_by_new_ones_named_after_their_first_seq(home: str, disk: FaultyDisk) -> None:
    writer = Writer(Journal(home, disk, segment_bytes=1_000))
    writer.append(20)
    found = Journal(home, disk).segments()

    assert len(found) > 3
    assert read(home) == writer.made
    assert Journal(home, disk).head() == writer.head
    for first, sealed, path in found:
        assert not sealed
        start = next(iter(lines.scan([Path(path).read_bytes()])))
        assert isinstance(start, Located)
        assert start.transaction.entry.first == first


def test_a_scan_from_a_seq_on_reads_no_segment_before_it(home: str, disk: FaultyDisk) -> None:
    writer = Writer(Journal(home, disk, segment_bytes=1_000))
    writer.append(20)

    found = read(home, from_seq=15)

    assert found == writer.made[-len(found) :]
    assert 6 <= len(found) < 20


@pytest.mark.parametrize("torn", [1, 30, 150])
def test_after_a_torn_append_the_next_one_starts_on_a_line_of_its_own_and_nothing_is_cut(
    home: str, disk: FaultyDisk, torn: int
) -> None:
    journal = Journal(home, disk)
    writer = Writer(journal)
    writer.append(3)
    disk.fail("write", path="journal", torn=torn)
    with pytest.raises(StorageIOError):
        writer.append()
    journal.drop()
    before = Path(home, "journal", names(home)[0]).read_bytes()

    writer.append(2)

    assert read(home) == writer.made
    assert Path(home, "journal", names(home)[0]).read_bytes().startswith(before)
    assert sum(item.length for _, item in Journal(home, disk).scan() if isinstance(item, Garbage)) == torn + 1
    assert Journal(home, disk).ends_with(writer.head)


def test_the_end_of_a_journal_with_a_torn_tail_is_its_last_whole_transaction(home: str, disk: FaultyDisk) -> None:
    writer = Writer(Journal(home, disk))
    writer.append(3)
    with Path(home, "journal", names(home)[0]).open("ab") as file:
        file.write(lines.encode(writer.next())[:-1])

    journal = Journal(home, disk)

    assert journal.head() == writer.head
    assert not journal.ends_with(writer.head)


def test_the_end_is_found_however_long_the_last_transaction_is(home: str, disk: FaultyDisk) -> None:
    writer = Writer(Journal(home, disk))
    writer.append(2)
    writer.append(size=700_000)

    assert Journal(home, disk).head() == writer.head
    with Path(home, "journal", names(home)[0]).open("ab") as file:
        file.write(b"x" * 900_000)
    assert Journal(home, disk).head() == writer.head


def test_two_handles_that_write_in_turn_make_one_journal(home: str) -> None:
    one = Writer(Journal(home, FaultyDisk(), segment_bytes=3_000))
    two = Writer(Journal(home, FaultyDisk(), segment_bytes=3_000))
    for turn in range(30):
        mine, other = (one, two) if turn % 2 else (two, one)
        mine.append(1 + turn % 3)
        other.head = mine.head
        assert other.journal.ends_with(mine.head)

    made = sorted(one.made + two.made, key=lambda t: t.entry.first)
    assert read(home) == made
    assert len(names(home)) > 2


def test_who_follows_another_handle_goes_on_in_the_open_segment_without_a_sync(home: str) -> None:
    disks = FaultyDisk(), FaultyDisk()
    one, two = (Writer(Journal(home, disk)) for disk in disks)
    one.append()
    two.head = one.head
    two.append()
    before = [disk.calls["sync"] for disk in disks]
    for turn in range(10):
        mine, other = (one, two) if turn % 2 == 0 else (two, one)
        assert mine.journal.follow(other.head)
        mine.head = other.head
        mine.append()

    assert read(home) == sorted(one.made + two.made, key=lambda t: t.entry.first)
    assert [disk.calls["sync"] for disk in disks] == before
    assert one.journal.unsynced_bytes > 0  # what it wrote itself it still has to sync


def test_another_end_than_the_one_that_is_meant_is_not_followed(home: str, disk: FaultyDisk) -> None:
    one, two = Writer(Journal(home, disk)), Writer(Journal(home, FaultyDisk()))
    one.append()
    two.head = one.head
    two.append()
    path = Path(home, "journal", names(home)[0])
    assert not one.journal.follow(one.head)  # another transaction stands behind it
    assert one.journal.follow(two.head)
    with path.open("ab") as file:
        file.write(b'{"action":"torn')
    assert not one.journal.follow(two.head)
    two.append()
    one.head = two.head  # it is not told of the torn line, and finds it
    one.append()
    assert read(home)[-1] == one.made[-1]
    path.rename(path.with_name("elsewhere"))
    assert not one.journal.follow(one.head)


def test_a_segment_that_somebody_moved_away_is_not_written_to(home: str, disk: FaultyDisk) -> None:
    writer = Writer(Journal(home, disk))
    writer.append(2)
    path = Path(home, "journal", names(home)[0])
    path.rename(Path(home, "elsewhere"))

    writer.append(2)

    assert Path(home, "elsewhere").read_bytes() == b"".join(map(lines.encode, writer.made[:2]))
    assert read(home) == writer.made[2:]


def test_an_append_that_lacks_only_its_newline_is_whole_once_that_is_there(home: str, disk: FaultyDisk) -> None:
    writer = Writer(Journal(home, disk))
    writer.append(3)
    path = Path(home, "journal", names(home)[0])
    path.write_bytes(path.read_bytes()[:-1])
    journal = Journal(home, disk)
    assert journal.head() == writer.made[-2].head

    journal.end_torn_line()
    journal.end_torn_line()

    assert journal.head() == writer.head
    assert read(home) == writer.made


def test_space_is_claimed_before_the_commit_and_a_full_disk_found_out_then(home: str, disk: FaultyDisk) -> None:
    journal = Journal(home, disk)
    one = Writer(journal).next()
    disk.fail("reserve", error=28, times=2)

    with pytest.raises(NoSpaceError):
        journal.prepare(one.entry.first, len(lines.encode(one)))

    assert Path(home, "journal", names(home)[0]).read_bytes() == b""


def test_where_there_is_no_room_for_many_appends_space_is_claimed_for_one(home: str, disk: FaultyDisk) -> None:
    """So what makes room, a deletion, is not refused for want of a megabyte that it does not need."""
    writer = Writer(Journal(home, disk))
    disk.fail("reserve", error=28)
    writer.append()
    before = disk.calls["reserve"]
    writer.append()

    assert disk.calls["reserve"] == before + 1, "the next one asks again, for many"
    assert read(home) == writer.made


def test_reserved_space_is_not_part_of_the_file(home: str, disk: FaultyDisk) -> None:
    writer = Writer(Journal(home, disk))
    writer.append()

    assert Path(home, "journal", names(home)[0]).stat().st_size == len(lines.encode(writer.made[0]))


def test_appends_are_synced_when_asked_and_when_much_has_gathered(home: str, disk: FaultyDisk) -> None:
    journal = Journal(home, disk, segment_bytes=2 * SYNC_BYTES)
    writer = Writer(journal)
    writer.append(3)
    journal.sync_if_due()
    assert disk.calls["fsync"] == 0
    assert journal.unsynced_bytes > 0

    journal.sync()
    journal.sync()
    assert disk.calls["fsync"] == 1, "what is synced is not synced again"
    assert journal.unsynced_bytes == 0

    writer.append(size=SYNC_BYTES)
    journal.sync_if_due()
    assert disk.calls["fsync"] == 2
    writer.append()
    journal.release()
    assert disk.calls["fsync"] == 3


def test_the_name_of_a_new_segment_is_made_durable(home: str, disk: FaultyDisk) -> None:
    writer = Writer(Journal(home, disk, segment_bytes=500))
    writer.append()
    assert disk.calls["fsync_dir"] == 1
    writer.append(3)
    assert disk.calls["fsync_dir"] == len(names(home))


def rotated(home: str, disk: FaultyDisk) -> Writer:
    writer = Writer(Journal(home, disk, segment_bytes=1_000))
    writer.append(12)
    return writer


def test_sealing_makes_compressed_twins_of_all_segments_but_the_one_in_use(home: str, disk: FaultyDisk) -> None:
    writer = rotated(home, disk)
    plain = names(home)
    assert len(writer.journal.sealable()) == len(plain) - 1

    assert writer.journal.seal("seal.tmp") == len(plain) - 1
    assert writer.journal.seal("seal.tmp") == 0, "again there is nothing to do"

    assert set(names(home)) == {*plain, *(f"{name}.zst" for name in plain[:-1])}
    assert os.listdir(Path(home, "tmp")) == []
    for name in plain[:-1]:
        unpacked = subprocess.run(
            ["zstd", "-dc", str(Path(home, "journal", f"{name}.zst"))], capture_output=True, check=True
        )
        assert unpacked.stdout == Path(home, "journal", name).read_bytes()


def test_sealed_segments_say_the_same_without_the_plain_ones_and_writing_goes_on(home: str, disk: FaultyDisk) -> None:
    writer = rotated(home, disk)
    writer.journal.seal("seal.tmp")
    assert read(home) == writer.made

    for path in writer.journal.expired(-1.0):
        os.unlink(path)
    assert sum(name.endswith(".jsonl") for name in names(home)) == 1
    assert read(home) == writer.made
    assert read(home, from_seq=5)[0].entry.first <= 5
    writer.append(3)
    assert read(home) == writer.made


def test_a_segment_that_is_superseded_while_others_read_the_journal_is_read_from_its_successor(
    home: str, disk: FaultyDisk
) -> None:
    writer = rotated(home, disk)
    reading = Journal(home, disk).scan()
    first = next(reading)  # the segments are listed by now
    writer.journal.seal("seal.tmp")
    for path in writer.journal.expired(-1.0):
        os.unlink(path)

    found = [first, *reading]

    assert [item.transaction for _, item in found if isinstance(item, Located)] == writer.made


def test_a_plain_segment_expires_only_when_its_twin_is_old_enough_and_whole(home: str, disk: FaultyDisk) -> None:
    writer = rotated(home, disk)
    assert writer.journal.expired(-1.0) == [], "nothing is sealed yet"
    writer.journal.seal("seal.tmp")
    assert writer.journal.expired(3600.0) == [], "the grace period has not passed"

    waiting = writer.journal.expired(-1.0)
    twin = Path(waiting[0] + ".zst")
    twin.write_bytes(twin.read_bytes()[:-3])

    assert writer.journal.expired(-1.0) == waiting[1:]


def test_a_damaged_twin_is_passed_over_while_the_plain_segment_is_there_and_reported_when_not(
    home: str, disk: FaultyDisk
) -> None:
    writer = rotated(home, disk)
    writer.journal.seal("seal.tmp")
    _, sealed, path = next(one for one in writer.journal.segments() if one[1])
    assert sealed
    data = bytearray(Path(path).read_bytes())
    data[len(data) // 2] ^= 1
    Path(path).write_bytes(data)

    assert read(home) == writer.made
    os.unlink(path.removesuffix(".zst"))
    with pytest.raises(ChainBrokenError):
        read(home)


@pytest.mark.parametrize(
    "change_it",
    [lambda d: d[:-1], lambda d: d + b"x", lambda d: d + d, lambda d: b""],
    ids=["cut", "longer", "twice", "empty"],
)
def test_a_sealed_segment_is_one_whole_frame_and_nothing_more(home: str, disk: FaultyDisk, change_it: object) -> None:
    writer = rotated(home, disk)
    writer.journal.seal("seal.tmp")
    path = Path(next(path for _, sealed, path in writer.journal.segments() if sealed))
    path.write_bytes(change_it(path.read_bytes()))  # type: ignore[operator]
    os.unlink(str(path).removesuffix(".zst"))

    with pytest.raises(ChainBrokenError):
        read(home)


def test_a_segment_with_damage_is_not_sealed(home: str, disk: FaultyDisk) -> None:
    writer = rotated(home, disk)
    path = Path(home, "journal", names(home)[0])
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(data)

    writer.journal.seal("seal.tmp")

    assert f"{path.name}.zst" not in names(home)


@pytest.mark.parametrize("operation", ["create", "write", "fsync", "link", "fsync_dir"])
def test_sealing_that_fails_leaves_the_plain_segment_and_no_wrong_twin(
    home: str, disk: FaultyDisk, operation: str
) -> None:
    writer = rotated(home, disk)
    disk.fail(operation, path="" if operation in ("link", "fsync_dir") else "tmp")
    with pytest.raises(StorageIOError):
        writer.journal.seal("seal.tmp")

    assert read(home) == writer.made
    writer.journal.seal("seal-2.tmp")
    assert read(home) == writer.made
    assert len([name for name in names(home) if name.endswith(".zst")]) == len(names(home)) // 2

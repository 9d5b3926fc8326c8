"""What any journal must do: a test or more for each sentence of journal/contract.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import holdfast
from holdfast.disk import Disk
from holdfast.errors import HoldfastError, NoSpaceError
from holdfast.formats import lines, paths
from holdfast.formats.lines import Located
from holdfast.journal import Journal
from holdfast.journal.contract import JournalStore
from holdfast.testing.conformance.marks import shows
from holdfast.values.change import Transaction


class Full(Disk):
    """A disk with no room left once `full` is said."""

    full = False

    def reserve(self, fd: int, offset: int, length: int, path: str) -> None:  # noqa: ARG002 - as Disk's
        """As Disk's."""
        if self.full:
            raise NoSpaceError(f"no space left to reserve space in {path}", path=path)


class JournalConformance:
    """The suite. `make_journal` gives a journal at a place; each call another handle on the same one."""

    def make_journal(self, place: Path, disk: Disk) -> JournalStore:
        """A journal in a folder that has one called `journal`."""
        return Journal(str(place), disk)

    @pytest.fixture
    def chain(self) -> list[Transaction]:
        """Transactions of a store, in order."""
        return self.transactions()

    @staticmethod
    def transactions() -> list[Transaction]:
        """Six, in order."""
        with holdfast.memory() as store:
            for number in range(6):
                store.put(f"a{number}", b"%d" % number)
            return [lines.decode(data, "the chain") for data in store._handle.index.chain.read(1)]  # noqa: SLF001

    @pytest.fixture
    def place(self, tmp_path: Path) -> Path:
        """A folder for a journal."""
        (tmp_path / paths.JOURNAL).mkdir()
        return tmp_path

    @staticmethod
    def append(journal: JournalStore, chain: list[Transaction]) -> None:
        """Each, as the engine does."""
        for one in chain:
            data = lines.encode(one)
            journal.prepare(one.entry.first, len(data))
            journal.append(data)

    @staticmethod
    def read(journal: JournalStore) -> Iterator[Transaction]:
        """What is whole."""
        return (item.transaction for _, item in journal.scan() if isinstance(item, Located))

    @shows("L-1")
    def test_l1_what_was_appended_is_read_in_order(self, place: Path, chain: list[Transaction]) -> None:
        """By this handle and another."""
        journal = self.make_journal(place, Disk())
        assert isinstance(journal, JournalStore)
        for number, one in enumerate(chain, 1):
            self.append(journal, [one])
            assert list(self.read(journal)) == chain[:number]
        assert list(self.read(self.make_journal(place, Disk()))) == chain
        journal.release()

    @shows("L-2")
    def test_l2_without_space_nothing_is_appended(self, place: Path, chain: list[Transaction]) -> None:
        """And what is there stays."""
        disk = Full()
        journal = self.make_journal(place, disk)
        self.append(journal, chain[:1])
        journal.release()
        disk.full = True
        with pytest.raises(NoSpaceError):
            journal.prepare(chain[1].entry.first, 9 << 20)
        disk.full = False
        assert list(self.read(journal)) == chain[:1]
        self.append(journal, chain[1:])
        assert list(self.read(journal)) == chain
        journal.release()

    @shows("L-3")
    def test_l3_after_a_sync_nothing_is_outstanding(self, place: Path, chain: list[Transaction]) -> None:
        """And the disk was asked to sync the file."""

        class Watched(Disk):
            synced = 0

            def fsync(self, fd: int, path: str) -> None:
                Watched.synced += 1
                super().fsync(fd, path)

        journal = self.make_journal(place, Watched())
        self.append(journal, chain)
        before, size = Watched.synced, sum(len(lines.encode(one)) for one in chain)
        assert journal.unsynced_bytes == size
        journal.sync()
        assert (journal.unsynced_bytes, Watched.synced) == (0, before + 1)
        journal.release()

    @shows("L-4")
    def test_l4_a_torn_line_is_stepped_over(self, place: Path, chain: list[Transaction]) -> None:
        """What stood before it, and what comes after it, is read."""
        journal = self.make_journal(place, Disk())
        self.append(journal, chain[:3])
        journal.release()
        (file,) = (place / paths.JOURNAL).iterdir()
        file.write_bytes(file.read_bytes() + lines.encode(chain[3])[:40])
        journal = self.make_journal(place, Disk())
        self.append(journal, chain[3:])
        assert list(self.read(journal)) == chain
        assert any(not isinstance(item, Located) for _, item in journal.scan())
        journal.release()

    @shows("L-5", "L-6")
    def test_l5_the_end_is_known_whoever_wrote_it(self, place: Path, chain: list[Transaction]) -> None:
        """By the last line, and as a whole transaction."""
        journal, other = self.make_journal(place, Disk()), self.make_journal(place, Disk())
        assert journal.head() is None
        for one in chain:
            self.append(journal, [one])
            for handle in (journal, other):
                assert handle.ends_with(one.head)
                assert handle.head() == one.head
            assert not journal.ends_with(chain[0].head) or one is chain[0]
        journal.release()
        with pytest.raises((HoldfastError, AssertionError)):
            journal.append(b"not prepared")

"""The queue beside the writers' lock: what is left there is taken once, and nothing is lost with the memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.engine import queueing
from holdfast.engine.queueing import ANSWERED, IDLE, POSTED, TAKEN, Queue


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    memory = tmp_path / "memory"
    memory.mkdir()
    monkeypatch.setattr(queueing, "FOLDER", str(memory))
    path = tmp_path / "writer"
    path.write_bytes(b"")
    return path


@pytest.fixture
def queue(lock: Path) -> Iterator[Queue]:
    found = queueing.opened(str(lock))
    assert found is not None
    yield found
    found.close()


def test_an_order_is_taken_once_and_its_answer_comes_back(queue: Queue, lock: Path) -> None:
    other = queueing.opened(str(lock))
    assert other is not None
    seat = queue.seat()
    assert seat is not None
    seat.post(b"please")
    (order,) = other.take(10)
    assert (order.data, seat.state(), other.take(10)) == (b"please", TAKEN, [])
    assert not seat.withdraw()
    other.answer([(order.seat, b"done, and more than was asked")])
    seat.wait(30)
    assert seat.state() == ANSWERED
    assert seat.answer() == b"done, and more than was asked"
    assert seat.state() == IDLE
    other.close()


def test_an_order_that_was_withdrawn_is_taken_by_nobody(queue: Queue) -> None:
    seat = queue.seat()
    assert seat is not None
    seat.post(b"please")
    assert seat.withdraw()
    assert queue.take(10) == []


def test_the_oldest_are_taken_first_and_no_more_than_asked(queue: Queue) -> None:
    seats = [queue.seat() for _ in range(4)]
    for number in (2, 0, 3, 1):
        one = seats[number]
        assert one is not None
        one.post(b"%d" % number)
    assert [order.data for order in queue.take(3)] == [b"2", b"0", b"3"]
    assert [order.data for order in queue.take(3)] == [b"1"]


def test_nothing_of_an_order_or_an_answer_stays_in_the_memory(queue: Queue) -> None:
    seat = queue.seat()
    assert seat is not None
    seat.post(b"a secret that is long")
    (order,) = queue.take(1)
    queue.answer([(order.seat, b"told")])
    assert seat.answer() == b"told"
    seat.post(b"another secret")
    assert seat.withdraw()
    with queue.guarded() as memory:
        assert b"secret" not in memory[:]
        assert b"told" not in memory[:]


def test_there_are_so_many_seats_and_one_that_was_left_is_taken_again(queue: Queue) -> None:
    seats = [queue.seat() for _ in range(queueing.SEATS)]
    assert None not in seats
    assert queue.seat() is None
    last = seats[-1]
    assert last is not None
    queue.leave(last)
    assert queue.seat() is last


def test_the_seat_of_an_order_that_is_still_being_made_is_not_used_again(queue: Queue) -> None:
    seat = queue.seat()
    assert seat is not None
    seat.post(b"please")
    (order,) = queue.take(1)
    queue.leave(seat)
    again = queue.seat()
    assert again is not None
    assert again.number != order.seat
    again.post(b"another")
    queue.answer([(order.seat, b"for the first")])
    assert again.state() == POSTED


_DIES = """
import os, sys
from holdfast.engine import queueing
queueing.FOLDER = sys.argv[2]
queue = queueing.opened(sys.argv[1])
seat = queue.seat()
seat.post(b"from the dead")
os._exit(seat.number)
"""


def test_who_dies_while_it_waits_leaves_nothing_but_a_seat_for_others(queue: Queue, lock: Path) -> None:
    died = subprocess.run([sys.executable, "-c", _DIES, str(lock), queueing.FOLDER], check=False, timeout=60)
    assert 0 <= died.returncode < queueing.SEATS
    assert queue.take(10) == []
    numbers = {seat.number for _ in range(queueing.SEATS) if (seat := queue.seat()) is not None}
    assert numbers == set(range(queueing.SEATS))


def test_the_memory_goes_with_the_last_who_uses_it(lock: Path) -> None:
    first, second = queueing.opened(str(lock)), queueing.opened(str(lock))
    assert first is not None
    assert second is not None
    seat = second.seat()
    assert seat is not None
    seat.post(b"please")
    first.close()
    assert os.listdir(queueing.FOLDER) != []
    assert seat.withdraw()
    second.leave(seat)
    second.close()
    assert os.listdir(queueing.FOLDER) == []


def test_what_the_dead_have_left_goes_when_memory_is_made_for_another_lock(lock: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", _DIES, str(lock), queueing.FOLDER], check=False, timeout=60)
    (left,) = os.listdir(queueing.FOLDER)
    (tmp_path / "another").write_bytes(b"")
    (tmp_path / "third").write_bytes(b"")
    another = queueing.opened(str(tmp_path / "another"))
    assert another is not None
    there = os.listdir(queueing.FOLDER)
    assert len(there) == 1
    assert left not in there
    third = queueing.opened(str(tmp_path / "third"))
    assert third is not None
    assert len(os.listdir(queueing.FOLDER)) == 2
    another.close()
    third.close()
    assert os.listdir(queueing.FOLDER) == []


def test_memory_that_others_can_read_is_not_used(lock: Path) -> None:
    found = queueing.opened(str(lock))
    assert found is not None
    (name,) = os.listdir(queueing.FOLDER)
    found.abandon()  # without giving its seat back
    os.chmod(os.path.join(queueing.FOLDER, name), 0o644)
    assert queueing.opened(str(lock)) is None


def test_a_link_in_its_place_is_not_followed(lock: Path, tmp_path: Path) -> None:
    found = queueing.opened(str(lock))
    assert found is not None
    (name,) = os.listdir(queueing.FOLDER)
    found.close()
    (tmp_path / "precious").write_bytes(b"mine")
    os.symlink(tmp_path / "precious", os.path.join(queueing.FOLDER, name))
    assert queueing.opened(str(lock)) is None
    assert (tmp_path / "precious").read_bytes() == b"mine"


def test_without_such_memory_there_is_no_queue(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queueing, "FOLDER", str(lock.parent / "nowhere"))
    assert queueing.opened(str(lock)) is None

"""Where writers that wait for the lock leave what they want written, for whoever has it: memory that processes share.

Flat combining (Hendler, Incze, Shavit, Tzafrir, SPAA 2010): instead of each taking the lock in turn, one takes it and
does what all of them have asked for, here with one COMMIT and one sync. Nothing here decides what is true: an order
that nobody takes is carried out by whoever left it, as soon as that one has the lock, and what became of an order that
was taken and not answered is told by its transaction id. So the memory may be lost, or be two, at any time.

It is a file in /dev/shm, of the user alone, named after the lock; its first bytes are the states of its seats. A short
`flock` on it guards these. Who waits is woken by a datagram to a socket that has no name in any folder (Linux), and
looks for itself every few milliseconds in case none comes.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import stat
import struct
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import socket

FOLDER = "/dev/shm"  # noqa: S108 - memory; what is in it is guarded as the comment of `opened` says
VERSION = 1
SEATS = 32
SEAT_BYTES = 24 << 10
_HEADS = 4096
_HEAD = struct.Struct("<IIQ32s")  # process, length, when it came, address to wake
_BYTES = _HEADS + SEATS * SEAT_BYTES

FREE, IDLE, POSTED, TAKEN, ANSWERED = range(5)
"""States of a seat: nobody's; its owner's; an order waits in it; whoever has the lock has taken that; and answered."""


class Order(NamedTuple):
    """What somebody wants written. `seat`: where it was left, and where the answer goes."""

    seat: int
    data: bytes


class Queue:
    """The seats beside one writer lock, as this process sees them. From any thread."""

    def __init__(self, path: str, fd: int) -> None:
        """Use `opened`."""
        self._path = path
        self._fd = fd
        self._memory = mmap.mmap(fd, _BYTES)
        self._threads = threading.Lock()
        self._seats: list[Seat] = []
        self._every: list[Seat] = []
        self._bell = _socket()
        self._bell.settimeout(0)

    @contextlib.contextmanager
    def guarded(self) -> Iterator[mmap.mmap]:
        """The memory, while nobody else changes a state. Held for microseconds; ends with the process."""
        with self._threads:
            if self._fd < 0:
                yield self._memory  # given back: what is here concerns nobody else any more
                return
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            try:
                yield self._memory
            finally:
                fcntl.flock(self._fd, fcntl.LOCK_UN)

    def seat(self) -> Seat | None:
        """A seat for this thread; None if all are taken. Give it back with `leave`."""
        with self._threads:
            if self._seats:
                return self._seats.pop()
        with self.guarded() as memory:
            number = _one_in(memory, FREE)
            if number is None:
                number = next((n for n in range(SEATS) if memory[n] != TAKEN and not _is_there(memory, n)), None)
            if number is None:
                return None
            memory[number] = IDLE
            memory[_at(number) : _at(number) + _HEAD.size] = _HEAD.pack(os.getpid(), 0, 0, b"")
        seat = Seat(self, number)
        self._every.append(seat)
        return seat

    def leave(self, seat: Seat) -> None:
        """The seat is for the next thread that wants one; one whose order was taken and not answered is left behind."""
        if seat.state() not in (POSTED, TAKEN):
            with self._threads:
                self._seats.append(seat)

    def take(self, most: int) -> list[Order]:
        """Orders that wait, the oldest first. Only whoever has the writer lock may, and has to answer each."""
        with self.guarded() as memory:
            found = [(_head(memory, n), n) for n in range(SEATS) if memory[n] == POSTED]
            # Nobody waits for what a process wanted that is not there any more.
            chosen = sorted((head[2], n, head[1]) for head, n in found if _runs(head[0]))[:most]
            for _, number, _ in chosen:
                memory[number] = TAKEN
            return [Order(n, memory[_at(n) + _HEAD.size : _at(n) + _HEAD.size + length]) for _, n, length in chosen]

    def answer(self, answers: list[tuple[int, bytes]]) -> None:
        """What became of orders, by seat; their owners are woken."""
        addresses = []
        with self.guarded() as memory:
            for number, data in answers:
                process, length, came, address = _head(memory, number)
                start = _at(number) + _HEAD.size
                memory[start : start + max(length, len(data))] = data.ljust(length, b"\0")
                memory[_at(number) : start] = _HEAD.pack(process, len(data), came, address)
                memory[number] = ANSWERED
                addresses.append(address)
        for address in addresses:
            self._ring(address)

    def call(self) -> None:
        """Wake whoever has waited longest: the lock is free."""
        memory = self._memory
        waiting = [_head(memory, number)[2:] for number in range(SEATS) if memory[number] == POSTED]
        if waiting:
            self._ring(min(waiting)[1])

    def _ring(self, address: bytes) -> None:
        with contextlib.suppress(OSError):  # it looks for itself
            self._bell.sendto(b"\0", _address(address))

    def close(self) -> None:
        """Give the seats back, and take back what waits in them; the memory goes with the last who has one."""
        with contextlib.suppress(OSError), self.guarded() as memory:
            for seat in self._every:
                if memory[seat.number] != TAKEN:
                    seat.wipe(memory)
                    memory[seat.number] = FREE
            if not _is_used(memory):
                os.unlink(self._path)
        self.abandon()

    def abandon(self) -> None:
        """In a forked child: let go of this copy of everything; the seats stay the parent's.

        The memory itself goes when nobody looks at it any more: a thread may still.
        """
        for seat in self._every:
            seat.bell.close()
        self._bell.close()
        fd, self._fd = self._fd, -1
        self._threads = threading.Lock()  # it may be held by a thread that is not there
        if fd >= 0:
            os.close(fd)


class Seat:
    """A place for one order. Used by one thread at a time."""

    def __init__(self, queue: Queue, number: int) -> None:
        self.number = number
        self._queue = queue
        self._memory = queue._memory  # noqa: SLF001 - a state is one byte, and read without the guard
        self.bell = _socket()
        self.bell.bind("")  # a name of the kernel's choice, in no folder

    def post(self, data: bytes) -> None:
        """Leave an order of up to `MOST_BYTES`."""
        head = _HEAD.pack(os.getpid(), len(data), time.monotonic_ns(), self.bell.getsockname())
        with self._queue.guarded() as memory:
            memory[_at(self.number) : _at(self.number) + len(head) + len(data)] = head + data
            memory[self.number] = POSTED

    def state(self) -> int:
        """POSTED, TAKEN or ANSWERED of one's order; IDLE without one."""
        return self._memory[self.number]

    def wait(self, timeout_s: float) -> None:
        """Until somebody rings, or so long."""
        with contextlib.suppress(OSError):  # the time is over, or the store was closed
            self.bell.settimeout(timeout_s)
            self.bell.recv(1)

    def withdraw(self) -> bool:
        """Take the order back; False if somebody has taken it, or answered."""
        if self.state() != POSTED:  # only its owner can make it so again
            return False
        with self._queue.guarded() as memory:
            if memory[self.number] != POSTED:
                return False
            self.wipe(memory)
            return True

    def answer(self) -> bytes:
        """What became of an order that is ANSWERED; the seat is free for the next."""
        with self._queue.guarded() as memory:
            length, start = _head(memory, self.number)[1], _at(self.number) + _HEAD.size
            data = memory[start : start + length]
            self.wipe(memory)
            return data

    def give_up(self) -> None:
        """Whoever had taken the order is gone. Only with the writer lock: nobody else can have it now."""
        with self._queue.guarded() as memory:
            self.wipe(memory)

    def wipe(self, memory: mmap.mmap) -> None:
        """Contents do not stay in the memory. While it is guarded."""
        start, length = _at(self.number) + _HEAD.size, _head(memory, self.number)[1]
        memory[start : start + length] = bytes(length)
        memory[self.number] = IDLE


MOST_BYTES = SEAT_BYTES - _HEAD.size


class Beside:
    """The queue beside a lock, made when somebody first asks for it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._guard = threading.Lock()
        self._asked = False
        self._queue: Queue | None = None

    def get(self) -> Queue | None:
        """None where there can be none."""
        if not self._asked:
            with self._guard:
                if not self._asked:
                    self._queue = opened(self._path)
                    self._asked = True
        return self._queue

    def close(self) -> None:
        """Nobody waits any more."""
        if self._queue is not None:
            self._queue.close()
        self._asked, self._queue = True, None

    def abandon(self) -> None:
        """In a forked child."""
        if self._queue is not None:
            self._queue.abandon()
        self._asked, self._queue = True, None


def opened(lock_path: str) -> Queue | None:
    """The queue beside a lock; None where there can be none: no such memory here, or what has the name is not ours.

    The file is the user's alone: whoever else can write the store waits for the lock as ever. Whoever makes one removes
    those that the dead have left.
    """
    try:
        facts = os.stat(lock_path)
        path = os.path.join(FOLDER, f"holdfast-{VERSION}-{os.geteuid()}-{facts.st_dev:x}-{facts.st_ino:x}")
        for _ in range(3):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                is_new = os.fstat(fd).st_size == 0
                if _is_usable(fd, path):
                    queue = Queue(path, os.dup(fd))
                    break
            finally:
                os.close(fd)
        else:
            return None
    except (OSError, ValueError):
        return None
    if (seat := queue.seat()) is not None:
        queue.leave(seat)  # whoever has one is known to use it
    if is_new:
        _sweep(path)
    return queue


def _sweep(own: str) -> None:
    """Remove the memory of other locks that nobody who is there uses."""
    prefix = os.path.basename(own).rpartition("-")[0].rpartition("-")[0] + "-"
    with contextlib.suppress(OSError):
        for name in os.listdir(FOLDER):
            path = os.path.join(FOLDER, name)
            if name.startswith(prefix) and path != own:
                with contextlib.suppress(OSError, ValueError):
                    _remove_unused(path)


def _remove_unused(path: str) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_size == _BYTES:  # else somebody is making it
            with mmap.mmap(fd, _BYTES) as memory:
                if not _is_used(memory):
                    os.unlink(path)
    finally:
        os.close(fd)


def _is_usable(fd: int, path: str) -> bool:
    """Whether a file is the one at its path, ours alone, and has all its memory: touching what it lacked would kill."""
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        here = os.fstat(fd)
        if not stat.S_ISREG(here.st_mode) or here.st_uid != os.geteuid() or here.st_mode & 0o077:
            raise OSError(f"{path} is somebody else's")
        if os.stat(path).st_ino != here.st_ino:
            return False  # its last user has just left
        os.posix_fallocate(fd, 0, _BYTES)
    except FileNotFoundError:
        return False
    else:
        return True
    finally:
        fcntl.flock(fd, fcntl.LOCK_UN)


def _socket() -> socket.socket:
    import socket  # noqa: PLC0415 - start-up time

    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)


def _at(number: int) -> int:
    return _HEADS + number * SEAT_BYTES


def _head(memory: mmap.mmap, number: int) -> tuple[int, int, int, bytes]:
    """(process, length, when it came, address) of a seat. What cannot be so is taken for nothing."""
    process, length, came, address = _HEAD.unpack_from(memory, _at(number))
    return process, min(length, MOST_BYTES), came, address


def _address(padded: bytes) -> bytes:
    """An address as the kernel gave it: a zero byte and five digits."""
    return padded[:6]


def _one_in(memory: mmap.mmap, state: int) -> int | None:
    return next((number for number in range(SEATS) if memory[number] == state), None)


def _is_used(memory: mmap.mmap) -> bool:
    return any(memory[number] != FREE and _is_there(memory, number) for number in range(SEATS))


def _is_there(memory: mmap.mmap, number: int) -> bool:
    return _runs(_head(memory, number)[0])


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError:
        return False
    return process > 0

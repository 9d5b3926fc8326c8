"""How much memory do fsck, gc and rebuild need, and does it grow with the store?

    python tools/measure_memory.py FOLDER [BLOBS ...]      # default: 50000 100000 200000

Makes a store in FOLDER (best in memory: /dev/shm), grows it to each number of blobs, and runs each command in a process
of its own, whose peak of resident memory it prints. The last lines extrapolate from the two largest stores to a million
blobs. The store is made without syncs and in large transactions, so that it is there in minutes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from holdfast.disk import Disk
from holdfast.engine import content
from holdfast.engine import open as opening
from holdfast.engine.handle import Handle
from holdfast.engine.settings import Settings
from holdfast.engine.transaction import write
from holdfast.kinds.bulk import Bulk, Item
from holdfast.values.change import Actor
from holdfast.values.names import Name

BATCH = 5_000
MILLION = 1_000_000
OPERATIONS = {
    "import": "pass",
    "fsck": "assert holdfast.fsck({root!r}).exit_code == 0",
    "fsck --quick": "assert holdfast.fsck({root!r}, quick=True).exit_code == 0",
    "gc": "holdfast.open({root!r}).gc(grace_s=0)",
    "rebuild": "holdfast.rebuild({root!r})",
}
# Not ru_maxrss: that of a child begins with what its parent had.
_MEASURED = """
import re, time
import holdfast
began = time.monotonic()
{work}
peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
print(peak // 1024, round(time.monotonic() - began, 1))
"""


class Unsynced(Disk):
    """A disk that promises nothing: what is made with it need not survive a power loss."""

    def fsync(self, fd: int, path: str) -> None:
        """Leave it to the system."""

    def fsync_dir(self, path: str) -> None:
        """Leave it to the system."""

    def sync_filesystem(self, path: str) -> None:
        """Leave it to the system."""


def grow(root: str, have: int, wanted: int) -> None:
    """Put small artifacts, 500 in each collection, until the store has `wanted` of them."""
    settings = Settings(Actor("measure"), disk=Unsynced())
    if not have:
        opening.create(root, settings)
    handle = opening.open_store(root, settings)
    handle.index.database.run("PRAGMA synchronous = OFF")
    try:
        for first in range(have, wanted, BATCH):
            _put(handle, range(first, min(first + BATCH, wanted)))
    finally:
        handle.close()


def _put(handle: Handle, numbers: range) -> None:
    items = []
    for number in numbers:
        folder = Name(f"folder {number // 500}", b"")
        text = f"artifact {number} of many: " + " ".join(str(number * k) for k in range(1, 20))
        incoming = content.stage(handle, text, durable=False)
        items.append(Item((folder,), Name(f"{number}.txt", b""), incoming))
    handle.blobs.settle([item.incoming.staged for item in items if item.incoming and item.incoming.staged])
    with write(handle, what="measure") as unit:
        Bulk(unit).put(items)
    content.discard(handle, [item.incoming for item in items if item.incoming])


def measure(root: str, work: str) -> tuple[int, float]:
    """(peak of resident memory in MiB, seconds) of one piece of work in its own process."""
    program = _MEASURED.format(work=work.format(root=root))
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    peak, took = done.stdout.split()
    return int(peak), float(took)


def main(folder: str, sizes: list[int]) -> None:
    """Grow, measure, print."""
    root = str(Path(folder, "store"))
    have, peaks = 0, dict[str, list[int]]()
    for size in sizes:
        began = time.monotonic()
        grow(root, have, size)
        print(f"{size:,} blobs made in {time.monotonic() - began:.0f} s", flush=True)
        have = size
        for name, work in OPERATIONS.items():
            peak, took = measure(root, work)
            peaks.setdefault(name, []).append(peak)
            print(f"| {name} | {size:,} | {peak} MiB | {took} s |", flush=True)
    if len(sizes) < 2:
        return
    for name, found in peaks.items():
        slope = (found[-1] - found[-2]) / (sizes[-1] - sizes[-2])
        print(f"| {name} | {MILLION:,}, extrapolated | {found[-1] + slope * (MILLION - sizes[-1]):.0f} MiB | |")


if __name__ == "__main__":
    os.makedirs(sys.argv[1], exist_ok=True)
    main(sys.argv[1], [int(one) for one in sys.argv[2:]] or [50_000, 100_000, 200_000])

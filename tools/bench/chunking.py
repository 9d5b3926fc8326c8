"""P8: what do chunks bring? A log that grows, and checkpoints that change a little: bytes and CPU seconds, beside peers.

    python tools/bench/chunking.py FOLDER [--scale 1.0] [--which growing checkpoint] [--who holdfast restic borg]

Each snapshot is put by a process of its own (`holdfast add`, `restic backup`, `borg create`), at one path that is
overwritten. At scale 1 the log grows from 1 to 200 MB in 100 snapshots, and a checkpoint has 256 MiB, of which 2 % are
rewritten and 100 bytes inserted for each of nine more. FOLDER must lie on the disk in question; it is filled and not
removed. Prints one JSON line for each run: CPU seconds (user and system) and wall seconds of all puts, the peak memory
of the one that took most, bytes of all files then, bytes after `holdfast gc --grace 0`, which cuts first revisions and removes what recipes have superseded (its CPU seconds are `gc_cpu_s`), CPU seconds to read the
last and the middle snapshot back, and how busy others kept the machine. Last, a line for each mark: bytes at most those
of each peer (after gc, and without), time at most half of restic's, in CPU seconds and, on a quiet machine only, by the clock.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

SEED = 20261121
MIB = 1 << 20
DRAWN = 64 * MIB
"""So many random bytes at once: 256 MiB are more bits than one call of Python's `random` can count."""

SNAPSHOTS = {"growing": 100, "checkpoint": 10}


def growing(scale: float) -> Iterator[bytes]:
    """Lines of a log, so many more with each snapshot."""
    rnd = random.Random(SEED)
    words = ["".join(rnd.choices("aeinorstlu", k=rnd.randint(2, 9))) for _ in range(4_000)]
    weights = [1 / (n + 2) for n in range(len(words))]
    held, at, lines = bytearray(), 1.76e9, []
    for number in range(SNAPSHOTS["growing"]):
        wanted = int(scale * (1e6 + (200e6 - 1e6) * number / (SNAPSHOTS["growing"] - 1)))
        while len(held) < wanted:
            drawn = iter(rnd.choices(words, weights, k=100_000))
            for word in drawn:
                at += rnd.random()
                text = " ".join([word, *(next(drawn, "") for _ in range(rnd.randint(3, 14)))])
                level = rnd.choice(("INFO", "INFO", "DEBUG", "WARN"))
                lines.append(
                    f"{at:.3f} {level} {text} id={rnd.getrandbits(32):08x} dur={rnd.expovariate(0.05):.2f}ms\n"
                )
            held += "".join(lines).encode()
            lines = []
        yield bytes(held[:wanted])


def weights_of(rnd: random.Random, size: int) -> bytes:
    """Like float32 weights: three bytes at random, and an exponent out of a few."""
    whole = size // 4 * 4
    found = bytearray().join(rnd.randbytes(min(DRAWN, whole - at)) for at in range(0, whole, DRAWN))
    exponents = bytes(random.Random(1).choices((0x3C, 0xBC, 0x3B, 0xBB, 0x3D, 0xBD), (8, 8, 4, 4, 1, 1), k=256))
    found[3::4] = bytes(found[3::4]).translate(exponents)
    return bytes(found)


def checkpoint(scale: float) -> Iterator[bytes]:
    """Weights; each time a stretch of 2 % is new, and 100 bytes more stand near the beginning."""
    rnd = random.Random(SEED + 1)
    size = int(256 * MIB * scale)
    held = bytearray(weights_of(rnd, size))
    yield bytes(held)
    for _ in range(SNAPSHOTS["checkpoint"] - 1):
        stretch = size // 50 // 4 * 4
        at = rnd.randrange(size // 100, size - stretch)
        held[at : at + stretch] = weights_of(rnd, stretch)
        held[5000:5000] = rnd.randbytes(100)
        yield bytes(held)


CORPORA = {"growing": growing, "checkpoint": checkpoint}
HOLDFAST = [sys.executable, "-m", "holdfast"]


def commands(who: str, store: Path, file: Path) -> tuple[list[str], list[str]]:
    """(what makes a repository, what takes a file in)."""
    if who == "holdfast":
        return [*HOLDFAST, "init", str(store)], [*HOLDFAST, "--store", str(store), "add", str(file)]
    if who == "restic":
        restic = ["restic", "-q", "--no-cache", "-r", str(store), "--password-command", "echo bench"]
        return [*restic, "init"], [*restic, "backup", str(file)]
    return ["borg", "init", "-e", "none", str(store)], ["borg", "create", f"{store}::{{now:%H%M%S%f}}", str(file)]


def measure(who: str, which: str, folder: Path, scale: float) -> dict[str, object]:
    """One run of one program over one corpus."""
    store, file = folder / f"{which}.{who}", folder / f"{which}.bin"
    shutil.rmtree(store, ignore_errors=True)
    init, put = commands(who, store, file)
    busy = idle()
    logical = 0
    digests, puts = [], []
    run(init)
    for size, digest in snapshots(which, scale, file):
        logical += size
        digests.append(digest)
        puts.append(run(put))
    cpu = sum(one.cpu_s for one in puts)
    found: dict[str, object] = {
        "who": who, "corpus": which, "scale": scale, "cpu_s": round(cpu, 2),
        "seconds": round(sum(one.wall_s for one in puts), 2), "rss_mb": round(max(one.rss_mb for one in puts)),
        "logical": logical, "bytes": bytes_in(store),
    }  # fmt: skip
    if who == "holdfast":
        found |= own(store, digests)
    return found | {"others_busy": round(busy(cpu), 2)}


def snapshots(which: str, scale: float, file: Path) -> Iterator[tuple[int, str]]:
    """(bytes, digest) of each snapshot, which then is the file.

    A process of its own makes them: what a command is said to take of memory begins with what the one has that starts
    it, and three checkpoints are more than any of the programs takes.
    """
    ours, theirs = multiprocessing.get_context("fork").Pipe()
    maker = multiprocessing.get_context("fork").Process(target=make, args=(theirs, which, scale, file))
    maker.start()
    theirs.close()
    while (made := ours.recv()) is not None:
        yield made
        ours.send("next")
    maker.join()


def make(end: Connection, which: str, scale: float, file: Path) -> None:
    """Write one snapshot after the other, each when it is asked for; None is the last word."""
    for content in CORPORA[which](scale):
        file.write_bytes(content)
        os.sync()
        end.send((len(content), "sha256:" + hashlib.sha256(content).hexdigest()))
        end.recv()
    end.send(None)


def own(store: Path, digests: list[str]) -> dict[str, object]:
    """What only ours is asked."""
    collected = run([*HOLDFAST, "--store", str(store), "gc", "--grace", "0"])
    parts = {part.name: bytes_in(part) if part.is_dir() else part.stat().st_size for part in store.iterdir()}
    code = "import sys, holdfast; s = holdfast.open(sys.argv[1]); [s._handle.blobs.verify(d) for d in sys.argv[2:]]"
    read = run([sys.executable, "-c", code, str(store), digests[-1], digests[len(digests) // 2]])
    checked = run([*HOLDFAST, "--store", str(store), "fsck"])
    return {
        "gc_cpu_s": round(collected.cpu_s, 2), "bytes_after_gc": bytes_in(store), "parts": {name: size for name, size in sorted(parts.items()) if size > 4096},
        "verify_two_cpu_s": round(read.cpu_s, 2), "fsck_cpu_s": round(checked.cpu_s, 2),
    }  # fmt: skip


class Taken(NamedTuple):
    """What a command took; `cpu_s`, `rss_mb`: with all that it started."""

    cpu_s: float
    wall_s: float
    rss_mb: float


def run(command: list[str]) -> Taken:
    """Run a command to its end; RuntimeError if it fails."""
    # As it is installed: compiled code is kept. Without that each start of ours compiles all of it anew.
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    kept.setdefault("PYTHONPYCACHEPREFIX", os.path.join(tempfile.gettempdir(), "holdfast-bench-pycache"))
    environment = {**kept, "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}
    began = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    _, status, used = os.wait4(child.pid, 0)
    wall = time.perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{command}: exit {child.returncode}")
    return Taken(used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1024)


def bytes_in(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def idle() -> Callable[[float], float]:
    """A function that tells how many cores others have kept busy since, given our own CPU seconds."""

    def ticks() -> tuple[float, float]:
        cells = [int(one) for one in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
        return sum(cells) - cells[3] - cells[4], time.perf_counter()

    used, began = ticks()
    own = time.process_time()

    def told(cpu: float) -> float:
        now, ended = ticks()
        spent = (now - used) / os.sysconf("SC_CLK_TCK") - cpu - (time.process_time() - own)
        return max(spent, 0.0) / (ended - began)

    return told


def marks(which: str, found: dict[str, dict[str, object]]) -> Iterator[dict[str, object]]:
    """P8 for one corpus: ours beside each peer that was run."""
    ours = found.get("holdfast")
    for peer, theirs in found.items():
        if ours is None or theirs is ours:
            continue
        asked = [
            ("bytes, after gc without grace", "bytes_after_gc", "bytes", 1.0),
            ("bytes, at once", "bytes", "bytes", 1.0),
        ]
        if peer == "restic":
            asked += [("CPU seconds", "cpu_s", "cpu_s", 0.5), ("seconds", "seconds", "seconds", 0.5)]
        for what, own, other, limit in asked:
            ratio = float(str(ours[own])) / float(str(theirs[other]))
            yield {
                "mark": f"P8 {which}: {what}", "ours": ours[own], peer: theirs[other], "ratio": round(ratio, 3),
                "limit": limit, "met": ratio <= limit,
            }  # fmt: skip


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--which", nargs="+", default=[*CORPORA], choices=[*CORPORA])
    parser.add_argument("--who", nargs="+", default=["holdfast", "restic", "borg"])
    wanted = parser.parse_args()
    wanted.folder.mkdir(parents=True, exist_ok=True)
    for which in wanted.which:
        found: dict[str, dict[str, object]] = {}
        for who in wanted.who:
            if who != "holdfast" and shutil.which(who) is None:
                print(json.dumps({"who": who, "missing": "see tools/bench/install_peers.sh"}), flush=True)
                continue
            found[who] = measure(who, which, wanted.folder, wanted.scale)
            print(json.dumps(found[who]), flush=True)
        for mark in marks(which, found):
            print(json.dumps(mark), flush=True)


if __name__ == "__main__":
    main()

"""Run one command and say what it took: wall time, CPU, memory, and how busy the machine was with other things."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Taken:
    """What one run took. `other_cpus`: cores that were busy with something else; a run with much of it is spoilt.

    `said`: what the command printed as a JSON object on its last line (a Python child's own clock, rates).
    """

    wall_s: float
    cpu_s: float
    rss_mb: float
    other_cpus: float
    cold: bool
    said: dict[str, Any] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """The child's own clock where it has one (no interpreter start), else wall time."""
        return float(self.said.get("seconds", self.wall_s))


def drop_caches() -> bool:
    """Write everything out and forget what was read; False where that is not permitted."""
    os.sync()
    with contextlib.suppress(OSError):
        Path("/proc/sys/vm/drop_caches").write_text("3\n", encoding="ascii")
        return True
    return False


def _busy_s() -> float:
    fields = [int(ticks) for ticks in Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def run(command: str, *, folder: Path, environment: dict[str, str], cold: bool) -> Taken:
    """Run a shell command to its end; RuntimeError with its last words if it fails."""
    is_cold = drop_caches() if cold else False
    out, err = folder / "stdout", folder / "stderr"
    with out.open("wb") as to, err.open("wb") as errors:
        busy, began = _busy_s(), time.perf_counter()
        child = subprocess.Popen(
            ["bash", "-c", "set -e -o pipefail; " + command],
            stdin=subprocess.DEVNULL, stdout=to, stderr=errors, env=environment, cwd=folder,
        )  # fmt: skip
        _, status, used = os.wait4(child.pid, 0)
        wall = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        others = _busy_s() - busy - used.ru_utime - used.ru_stime
    if child.returncode:
        raise RuntimeError(f"{command}: exit {child.returncode}\n{err.read_text(errors='replace')[-600:]}")
    lines = out.read_text(errors="replace").strip().splitlines()
    said = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    return Taken(
        wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, max(0.0, others / max(wall, 0.01)), is_cold, said
    )


def bytes_under(path: Path) -> int:
    """Bytes of all files of a tree, or of one file."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())

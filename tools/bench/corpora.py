"""Make the files that benchmarks work on: the same bytes for the same scale, on every machine.

`small`: a tree of text-like files (JSON, Markdown, logs, tables, code), median 2 KB; 50,000 of them at scale 1.
`large`: one file, 40 % of it random, the rest records, numbers and text; 2 GiB at scale 1.
`history`: a bare git repository of code that people edit: some 500 files and 7,000 revisions of them at scale 1.

Run as `python tools/bench/corpora.py FOLDER [--scale 0.1] [small] [large] [history]`; what is there already is left alone.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

SEED = 20261121
FILES = 50_000
BLOCKS = 2_048
BLOCK_BYTES = 1 << 20
COMMITS = 2_600
SOURCES = 500
_SYLLABLES = [
    a + b
    for a in ["b", "c", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "st", "tr", "pl", "gr"]
    for b in ["a", "e", "i", "o", "u", "an", "er", "in"]
]


class Words:
    """Words of a made-up language, the frequent ones far more often than the rare."""

    def __init__(self, rnd: random.Random) -> None:
        self._rnd = rnd
        self._all = ["".join(rnd.choices(_SYLLABLES, k=rnd.choice((1, 2, 2, 3, 3, 4)))) for _ in range(6_000)]
        self._weights = list(itertools.accumulate(1 / (rank + 2) ** 0.95 for rank in range(len(self._all))))
        self._drawn: Iterator[str] = iter(())

    def __call__(self, count: int) -> list[str]:
        """`count` words."""
        found = list(itertools.islice(self._drawn, count))
        while len(found) < count:
            self._drawn = iter(self._rnd.choices(self._all, cum_weights=self._weights, k=100_000))
            found += itertools.islice(self._drawn, count - len(found))
        return found


def _record(rnd: random.Random, words: Words) -> str:
    return json.dumps(
        {"name": "_".join(words(2)), "value": round(rnd.gauss(0, 10), 6), "count": rnd.randrange(100_000),
         "tags": words(2), "text": " ".join(words(rnd.randint(4, 18)))}
    ) + "\n"  # fmt: skip


def _paragraph(rnd: random.Random, words: Words) -> str:
    title = "\n## " + " ".join(words(3)) + "\n\n" if rnd.random() < 0.15 else ""
    return " ".join(words(rnd.randint(8, 60))).capitalize() + ".\n" + title


def _log_line(rnd: random.Random, words: Words) -> str:
    level = rnd.choice(("INFO", "INFO", "DEBUG", "WARN"))
    text = " ".join(words(rnd.randint(3, 12)))
    return f"{1.76e9 + rnd.random() * 1e6:.3f} {level} [{words(1)[0]}] {text} id={rnd.getrandbits(32):08x}\n"


def _table_row(rnd: random.Random, words: Words) -> str:
    return f"{rnd.randrange(10**6)},{rnd.random() * 3:.5f},{rnd.random():.4f},{words(1)[0]}\n"


def _function(rnd: random.Random, words: Words) -> str:
    a, b, c = words(3)
    said = " ".join(words(rnd.randint(4, 14)))
    return f"\ndef {a}_{b}(self, {c}, *, {a}=None):\n    # {said}\n    return self.{b}({c}, {rnd.randrange(999)})\n"


KINDS: list[tuple[str, int, Callable[[random.Random, Words], str]]] = [
    ("json", 40, _record), ("md", 20, _paragraph), ("log", 15, _log_line), ("csv", 10, _table_row), ("py", 15, _function),
]  # fmt: skip


def small(folder: Path, scale: float) -> None:
    """The tree of small files."""
    rnd = random.Random(SEED)
    words = Words(rnd)
    weights = [weight for _, weight, _ in KINDS]
    for number in range(int(FILES * scale)):
        suffix, _, line = rnd.choices(KINDS, weights)[0]
        wanted = max(60, int(rnd.lognormvariate(7.55, 0.95)))
        parts, length = [f"{rnd.getrandbits(64):016x}\n"], 17
        while length < wanted:
            parts.append(line(rnd, words))
            length += len(parts[-1])
        place = folder / f"proj{number % 40:02d}" / f"run{number // 40 % 125:03d}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"a{number:05d}.{suffix}").write_text("".join(parts), encoding="utf-8")


def large(folder: Path, scale: float) -> None:
    """The one big file."""
    rnd = random.Random(SEED + 1)
    words = Words(rnd)
    text = "".join(_record(rnd, words) for _ in range(40_000)).encode()
    with (folder / "large.bin").open("wb") as file:
        for number in range(int(BLOCKS * scale)):
            match number % 5:
                case 0 | 3:
                    block = rnd.randbytes(BLOCK_BYTES)
                case 1 | 4:
                    walk = itertools.accumulate(rnd.choices(range(-40, 41), k=BLOCK_BYTES // 4))
                    block = struct.pack(f"{BLOCK_BYTES // 4}f", *(step / 64 for step in walk))
                case _:
                    start = rnd.randrange(len(text) - BLOCK_BYTES)
                    block = text[start : start + BLOCK_BYTES]
            file.write(block)


def history(folder: Path, scale: float) -> None:
    """The repository. A few files change often and most seldom; an edit touches some lines in one or two places."""
    rnd = random.Random(SEED + 2)
    words = Words(rnd)
    files = [_source(rnd, words) for _ in range(max(5, int(SOURCES * scale)))]
    often = list(itertools.accumulate(1 / (rank + 3) for rank in range(len(files))))
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(folder)], check=True)
    command = ["git", "--git-dir", str(folder), "fast-import", "--quiet"]
    reader = subprocess.Popen(command, stdin=subprocess.PIPE)
    assert reader.stdin is not None
    for number in range(max(20, int(COMMITS * scale))):
        reader.stdin.write(
            b"commit refs/heads/main\ncommitter a <a@b> %d +0000\ndata 1\nx\n" % (1_700_000_000 + number)
        )
        changed = (
            range(len(files)) if number == 0 else sorted({*rnd.choices(range(len(files)), cum_weights=often, k=3)})
        )
        for place in changed:
            if number:
                _edit(files[place], rnd, words)
            data = "".join(files[place]).encode()
            name = f"src/part{place % 12}/module{place:03d}.py"
            reader.stdin.write(f"M 100644 inline {name}\ndata {len(data)}\n".encode() + data + b"\n")
    reader.stdin.close()
    if reader.wait():
        raise RuntimeError("git fast-import failed")


def _source(rnd: random.Random, words: Words) -> list[str]:
    return [
        line
        for _ in range(int(rnd.lognormvariate(3.6, 1.0)) + 1)
        for line in _function(rnd, words).splitlines(keepends=True)
    ]


def _edit(lines: list[str], rnd: random.Random, words: Words) -> None:
    for _ in range(rnd.randint(1, 2)):
        at = rnd.randrange(len(lines))
        gone = min(len(lines) - at - 1, rnd.choice((0, 0, 1, 2)))
        lines[at : at + gone] = _function(rnd, words).splitlines(keepends=True)[rnd.randrange(3) :]


def make(folder: Path, scale: float, which: list[str]) -> None:
    """Make corpora under `folder`; a stamp tells which are whole."""
    for name in which:
        stamp = folder / f"{name}.made"
        if stamp.exists() and stamp.read_text() == f"{scale}":
            continue
        (folder / name).mkdir(parents=True, exist_ok=True)
        {"small": small, "large": large, "history": history}[name](folder / name, scale)
        stamp.write_text(f"{scale}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("which", nargs="*", default=["small", "large"])
    parser.add_argument("--scale", type=float, default=1.0)
    given = parser.parse_args()
    make(given.folder, given.scale, given.which)

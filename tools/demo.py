"""Show Holdfast at work on real files, by its real command, and check each claim that is shown.

`make demo` runs it. Everything happens in demo-work/, which is made anew each time. Exit code 1 if a claim is false.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import sysconfig
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "demo-work"
STORE = WORK / "store"
PACKAGES = Path(sysconfig.get_paths()["purelib"])
PROGRAM = Path(sysconfig.get_paths()["scripts"]) / "holdfast"
BIG_MIB = 300
MIB = 1 << 20
WIDTH = 116

PLACE = PACKAGES.name  # what `add` calls the collection
PART = "click"
CHANGED = ("core.py", "types.py")
NEW = "holdfast_was_here.py"


class Stage:
    """Prints what a person would type and see, and keeps count of the claims."""

    def __init__(self) -> None:
        self.claims = 0
        self.false = 0
        plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ
        self._styles = ("", "", "", "", "") if plain else ("\033[1m", "\033[2m", "\033[32m", "\033[31m", "\033[0m")

    def title(self, text: str) -> None:
        """The heading of a part."""
        strong, _, _, _, off = self._styles
        print(f"\n{strong}{text}{off}")

    def say(self, text: str) -> None:
        """A line of prose."""
        print(f"  {text}")

    def typed(self, command: str) -> None:
        """A command, before it runs."""
        strong, _, _, _, off = self._styles
        print(f"\n  {strong}$ {command}{off}", flush=True)

    def output(self, text: str, *, most: int) -> None:
        """What a command printed, cut to some lines; a long one is folded."""
        _, weak, _, _, off = self._styles
        lines = text.splitlines()
        for line in lines[:most]:
            for part in textwrap.wrap(line, WIDTH, drop_whitespace=False, max_lines=3) or [""]:
                print(f"  {weak}|{off} {part.rstrip()}")
        if len(lines) > most:
            print(f"  {weak}| … {len(lines) - most:,} more lines{off}")

    def claim(self, text: str, holds: bool) -> None:  # noqa: FBT001 - reads as an assertion
        """Something shown to be true, or not."""
        _, _, good, bad, off = self._styles
        self.claims += 1
        self.false += not holds
        mark = f"{good}true {off}" if holds else f"{bad}FALSE{off}"
        print(f"  {mark} {text}", flush=True)


STAGE = Stage()
ENVIRONMENT = {
    **os.environ,
    "HOLDFAST_STORE": str(STORE),
    "HOLDFAST_ACTOR": "demo",
    # The folder that is taken in must not change because programs in it are started.
    "PYTHONPYCACHEPREFIX": str(WORK / "pycache"),
}


def show(*words: str, most: int = 8, cwd: Path = ROOT, bar: bool = False) -> str:
    """Run the holdfast command as a person would, and show some of its output. Stops the demo if it fails.

    `bar`: it may draw its progress on the terminal.
    """
    shown = "" if cwd == ROOT else f"cd {cwd.relative_to(ROOT)} && "
    STAGE.typed(shown + shlex.join(["holdfast", *words]))
    errors = None if bar and sys.stderr.isatty() else subprocess.STDOUT
    done = subprocess.run(
        [PROGRAM, *words], cwd=cwd, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=errors, check=False
    )
    text = done.stdout.decode("utf-8", "backslashreplace")
    STAGE.output(text, most=most)
    if done.returncode != 0:
        raise SystemExit(f"\nthe command ended with exit code {done.returncode}: this is a bug")
    return text


def ask(*words: str) -> list[dict[str, Any]]:
    """The same in JSON, not shown: what the claims are checked by."""
    done = subprocess.run([PROGRAM, *words, "--json"], cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, check=True)
    text = done.stdout.decode()
    with contextlib.suppress(ValueError):
        whole = json.loads(text)
        return whole if isinstance(whole, list) else [whole]
    return [json.loads(line) for line in text.splitlines()]


def shell(command: str) -> str:
    """Run a line of shell without any of our programs, and show it."""
    STAGE.typed(command)
    shell = ["bash", "-o", "pipefail", "-c", command]
    text = subprocess.run(shell, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    STAGE.output(text.decode(), most=4)
    return text.decode()


def here(path: Path) -> str:
    """A path as a person in the project's folder would type it."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


# -- the files --------------------------------------------------------------------------------------------------------


def make_big_file(path: Path) -> str:
    """A file that compresses well in parts and not at all in others, the same every time; its sha256."""
    draw = random.Random(2026)
    lines = (f"{draw.randrange(10**6):>7},{draw.random():.4f},sensor-{draw.randrange(40)}\n" for _ in range(40_000))
    text = "".join(lines)
    rows = (text.encode() * 2)[:MIB]
    total = hashlib.sha256()
    with path.open("wb") as file:
        for number in range(BIG_MIB):
            block = draw.randbytes(MIB) if number % 3 == 0 else b"%12d" % number + rows[12:]
            total.update(block)
            file.write(block)
    return total.hexdigest()


@dataclass
class Tree:
    """What a folder holds: files and links at any depth."""

    files: int
    bytes: int


def measure(folder: Path) -> Tree:
    """Count with nothing but the operating system."""
    found = Tree(0, 0)
    for path in walk(folder):
        found.files += 1
        found.bytes += path.lstat().st_size
    return found


def walk(folder: Path) -> Iterator[Path]:
    """Every file and link below a folder."""
    for top, folders, files in os.walk(folder):
        for name in files + [name for name in folders if os.path.islink(os.path.join(top, name))]:
            yield Path(top, name)


# -- the parts of the demo --------------------------------------------------------------------------------------------


def take_in() -> str:
    """Real files and a big one."""
    STAGE.title("1. Take in a real source tree, and one big file")
    big = WORK / "measurements.bin"
    digest = make_big_file(big)
    STAGE.say(f"Made {here(big)}: {BIG_MIB} MiB, a third of it noise, the rest rows of numbers.")
    show("init", here(STORE))
    show("add", here(PACKAGES), bar=True)
    show("add", here(big), bar=True)
    tree = measure(PACKAGES)
    summary = ask("find", PLACE)[-1]
    STAGE.claim(
        f"the store has all {tree.files:,} files of the tree, {tree.bytes:,} bytes",
        (summary["artifacts"], summary["bytes"]) == (tree.files, tree.bytes),
    )
    back = subprocess.run(
        f"{shlex.quote(str(PROGRAM))} cat measurements.bin | sha256sum",
        shell=True, env=ENVIRONMENT, capture_output=True, text=True, check=True,
    ).stdout.split()[0]  # fmt: skip
    STAGE.claim("`holdfast cat measurements.bin` gives the big file back, byte for byte", back == digest)
    return digest


def look() -> None:
    """List and search."""
    STAGE.title("2. List and search")
    show("ls", f"{PLACE}/{PART}", most=6)
    listed = {m["name"] for m in ask("ls", f"{PLACE}/{PART}")[:-1]}
    STAGE.claim(f"these are the files of {PART} on disk", listed == set(os.listdir(PACKAGES / PART)))
    show("find", PLACE, "--name", "*.py", "--order", "-size", "--limit", "3")
    found = [m["path"] for m in ask("find", PLACE, "--name", "*.py", "--order", "-size", "--limit", "3")[:-1]]
    sizes = sorted((path.stat().st_size for path in walk(PACKAGES) if path.suffix == ".py"), reverse=True)
    STAGE.claim(
        "they are the three largest Python files", [(PACKAGES.parent / p).stat().st_size for p in found] == sizes[:3]
    )
    words = "terminal AND prompt*"
    show("search", words, "--limit", "3", bar=True)
    hits = [hit["artifact"]["path"] for hit in ask("search", words, "--limit", "3")[0]["hits"]]
    texts = [(PACKAGES.parent / path).read_text("utf-8", errors="replace").lower() for path in hits]
    fits = [re.search(r"(?<![a-z])terminal(?![a-z])", text) and re.search(r"(?<![a-z])prompt", text) for text in texts]
    STAGE.claim("each hit has the word `terminal`, and one that begins with `prompt`", len(hits) == 3 and all(fits))


def revise() -> None:
    """Change a part and take it in again."""
    STAGE.title("3. Change a part of it, and take in a second revision")
    part = WORK / PLACE / PART
    shutil.copytree(PACKAGES / PART, part, symlinks=True)
    for name in CHANGED:
        text = (part / name).read_text()
        changed = text.replace("import typing as t", "import typing as t  # changed", 1)
        (part / name).write_text(changed + "\n# The end.\n")
    (part / NEW).write_text('"""A new file."""\n')
    STAGE.say(f"Copied {PART} to {here(part)}, changed {len(CHANGED)} files, made 1 new one.")
    text = show("add", PLACE, cwd=WORK)
    others = measure(part).files - len(CHANGED) - 1
    claimed = f"1 new artifact, {len(CHANGED)} revised, {others} unchanged"
    STAGE.claim("only what changed made a revision", claimed in text)
    STAGE.title("4. History and difference")
    path = f"{PLACE}/{PART}/{CHANGED[0]}"
    show("log", path)
    actions = [m["action"] for m in ask("log", path)[:-1]]
    STAGE.claim("the log has both: made, then revised", actions == ["revise", "create"])
    difference = show("diff", path, "1", "2", most=20)
    before, after = PACKAGES / PART / CHANGED[0], part / CHANGED[0]
    peer = subprocess.run(["diff", "-u", before, after], capture_output=True, text=True, check=False).stdout
    STAGE.claim("the same lines as `diff -u` says", _changed_lines(difference) == _changed_lines(peer))
    old = subprocess.run([PROGRAM, "cat", path, "-r", "1"], env=ENVIRONMENT, capture_output=True, check=True).stdout
    STAGE.claim("revision 1 is still there, byte for byte", old == before.read_bytes())


def _changed_lines(difference: str) -> list[str]:
    lines = difference.splitlines()
    return [line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---") and line[:1]]


def derive() -> None:
    """A run, and what came from what."""
    STAGE.title("5. Runs and lineage")
    made = WORK / "lines.txt"
    script = f"cat {here(WORK / PLACE / PART)}/*.py | wc -l > {here(made)}"
    source, target = f"{PLACE}/{PART}/{CHANGED[0]}", "reports/lines.txt"
    show("run", "exec", "-i", source, "-o", f"{here(made)}:{target}", "count-lines", "--", "sh", "-c", script)
    show("lineage", target)
    found = ask("lineage", target)[0]
    ids = {source: ask("show", source)[0]["id"], target: ask("show", target)[0]["id"]}
    ends = {(node["endpoint"]["id"], node["endpoint"]["revision"]) for node in found["nodes"]}
    STAGE.claim("the report leads back to revision 2 of its input, by way of the run", (ids[source], 2) in ends)
    STAGE.claim("… and down from the input to the report", ids[target] in str(ask("lineage", source, "--down")[0]))


def check() -> None:
    """fsck reads every byte."""
    STAGE.title("6. Check everything")
    text = show("fsck", bar=True)  # stops the demo unless the exit code says that there are no findings
    STAGE.claim("fsck read every byte and found nothing wrong", "all is well" in text)


def lose_and_rebuild() -> None:
    """The index is disposable."""
    STAGE.title("7. Lose the index, and make it anew from journal and blobs")
    lost = WORK / "lost-index"
    lost.mkdir()
    shell(f"mv {here(STORE)}/index.sqlite3* {here(lost)}/")
    show("rebuild", bar=True)
    before, after = rows_of(lost / "index.sqlite3"), rows_of(STORE / "index.sqlite3")
    count = sum(rows for rows, _ in before.values())
    STAGE.say(f"{len(before)} tables, compared with SQLite alone (all but `meta`: the file's own identity).")
    for table in sorted(before):
        if before[table] != after.get(table):
            STAGE.say(f"table {table} differs: {before[table]} before, {after.get(table)} after")
    STAGE.claim(f"all {count:,} rows are equal to the lost ones, byte for byte", before == after and count > 0)


def rows_of(path: Path) -> dict[str, tuple[int, str]]:
    """By table: how many rows, and a digest over all of them in order."""
    found = {}
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in sorted(set(tables) - {"meta"}):
            columns = len(database.execute(f'SELECT * FROM "{table}" LIMIT 0').description)
            order = ", ".join(str(n + 1) for n in range(columns))
            total, count = hashlib.sha256(), 0
            for row in database.execute(f'SELECT * FROM "{table}" ORDER BY {order}'):
                total.update(repr(row).encode("utf-8", "surrogateescape"))
                count += 1
            found[table] = (count, total.hexdigest())
    return found


def prove(big_digest: str) -> None:
    """No Holdfast needed."""
    STAGE.title("8. Prove it without Holdfast")
    path = f"{PLACE}/{PART}/{CHANGED[0]}"
    own = hashlib.sha256((WORK / path).read_bytes()).hexdigest()
    for name, digest in ((path, own), ("measurements.bin", big_digest)):
        STAGE.say(f"sha256 of {name}: {digest}")
        file = here(STORE / "blobs" / digest[:2] / f"{digest}.zst")
        STAGE.claim("zstd and sha256sum agree", shell(f"zstd -dc {file} | sha256sum").split()[0] == digest)
    text = shell(f"{shlex.quote(sys.executable)} -I tools/prove_chain.py {here(STORE)}")
    with contextlib.closing(sqlite3.connect(f"file:{STORE}/index.sqlite3?mode=ro", uri=True)) as database:
        (head,) = database.execute("SELECT hash FROM tx ORDER BY first DESC LIMIT 1").fetchone()
    STAGE.claim("the journal proves every change, and ends where the index ends", text.split()[-1] == head.hex())


def main() -> int:
    """All parts, in order."""
    started = time.monotonic()
    if shutil.which("zstd") is None:
        print("the program zstd is missing: tools/install_system_packages.sh installs it", file=sys.stderr)
        return 1
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir()
    print("Holdfast keeps files, their history and what made them. Everything below really runs; each line marked")
    print(f"`true` was checked. The store stays in {here(STORE)} for you to look at.")
    digest = take_in()
    look()
    revise()
    derive()
    check()
    lose_and_rebuild()
    prove(digest)
    took = f"{time.monotonic() - started:.0f} seconds"
    if STAGE.false:
        STAGE.title(f"{STAGE.false} of {STAGE.claims} claims are FALSE ({took}).")
        return 1
    STAGE.title(f"All {STAGE.claims} claims are true ({took}).")
    print(f"Go on: export HOLDFAST_STORE={here(STORE)}; {here(PROGRAM)} status")
    return 0


if __name__ == "__main__":
    sys.exit(main())

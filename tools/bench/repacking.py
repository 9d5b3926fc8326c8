"""What does repack bring, and what does it cost? A git history (P7) and 50,000 small files (P1s), beside git's own gc.

    python tools/bench/repacking.py FOLDER --git-dir DIR     every revision of the last 3,000 commits of a repository
    python tools/bench/repacking.py FOLDER --small           the corpus `small` of corpora.py

Work: put every (path, revision) into a new store, oldest first (or add the tree), `repack`, `gc` without grace,
then read every content once in random order through the blob store, one by one, and run fsck. Beside it: the same
revisions given to `git fast-import`, one commit for each, then `git gc --aggressive` (for --small: `git gc`). Prints
JSON, one step a line: wall and CPU seconds (children and threads included), peak memory in MiB of the process that did
it, how busy others kept the machine (1.0 = one core: wall times beside load mean little), and bytes by kind, as they
are after the last process has closed the store; last, the bytes that index and journal take for each revision, by table.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from holdfast.formats import lines

COMMITS = 3_000
BATCH = 1_000


def revisions(git_dir: str) -> Iterator[tuple[int, str, bytes]]:
    """(number of the commit, path, content) of every file that a commit added or changed, oldest first."""
    git = ["git", "--git-dir", git_dir]
    asked = [*git, "rev-list", "--no-merges", "--topo-order", "-n", str(COMMITS), "HEAD"]
    commits = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.split()[::-1]
    found = _tree(git, commits[0]) + _changes(git, commits)
    reader = subprocess.Popen([*git, "cat-file", "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert reader.stdin is not None
    assert reader.stdout is not None
    for number, path, blob in found:
        reader.stdin.write(blob.encode() + b"\n")
        reader.stdin.flush()
        size = int(reader.stdout.readline().split()[2])
        yield number, path, reader.stdout.read(size + 1)[:-1]
    reader.stdin.close()
    reader.wait()


def _tree(git: list[str], commit: str) -> list[tuple[int, str, str]]:
    told = subprocess.run([*git, "ls-tree", "-r", "-z", commit], check=True, capture_output=True, text=True).stdout
    entries = [entry.split("\t", 1) for entry in told.split("\0") if entry]
    return [(0, path, facts.split()[2]) for facts, path in entries if facts.split()[0] in ("100644", "100755")]


def _changes(git: list[str], commits: list[str]) -> list[tuple[int, str, str]]:
    command = [*git, "diff-tree", "--stdin", "-r", "--no-renames", "--diff-filter=AM"]
    told = subprocess.run(command, input="\n".join(commits[1:]) + "\n", check=True, capture_output=True, text=True)
    numbers = {commit: number for number, commit in enumerate(commits)}
    found, number = [], 0
    for line in told.stdout.splitlines():
        if not line.startswith(":"):
            number = numbers[line.strip()]
            continue
        facts, path = line.split("\t", 1)
        if facts.split()[1] in ("100644", "100755") and not path.startswith('"'):
            found.append((number, path, facts.split()[3]))
    return found


# -- the steps, each in a process of its own ---------------------------------------------------------------------------


def put(work: Path, source: str) -> dict[str, Any]:
    """Every revision into a new store."""
    import holdfast

    shutil.rmtree(work, ignore_errors=True)
    count = size = 0
    with holdfast.create(work) as store:
        every = revisions(source)
        while batch := [one for _, one in zip(range(BATCH), every, strict=False)]:
            with store.transaction():
                for _, path, content in batch:
                    store.put(path, content)
                    count, size = count + 1, size + len(content)
    return {"puts": count, "bytes": size}


def add(work: Path, source: str) -> dict[str, Any]:
    """A tree into a new store."""
    import holdfast

    shutil.rmtree(work, ignore_errors=True)
    with holdfast.create(work) as store:
        store.add(source)
    return {}


def repack(work: Path, _: str) -> dict[str, Any]:
    """Repack; how much work that was."""
    import holdfast

    with holdfast.open(work) as store:
        done = store.repack()
    return {name: getattr(done, name) for name in ("contents", "content_bytes", "stored_before", "stored_after")}


def again(work: Path, _: str) -> dict[str, Any]:
    """Repack once more: there is nothing to do."""
    return repack(work, _)


def gc(work: Path, _: str) -> dict[str, Any]:
    """Remove what repack superseded."""
    import holdfast

    with holdfast.open(work) as store:
        return {"freed_bytes": store.gc(grace_s=0).freed_bytes}


def read(work: Path, _: str) -> dict[str, Any]:
    """Every content once, in random order, one by one; how long one takes, in milliseconds."""
    import holdfast

    with holdfast.open(work, read_only=True) as store:
        blobs = store._handle.blobs  # noqa: SLF001 - what is measured is the blob store alone
        rows = store._handle.index.database.rows("SELECT digest FROM content")  # noqa: SLF001
        every = [f"sha256:{raw.hex()}" for (raw,) in rows]
        random.Random(1).shuffle(every)
        took = []
        for digest in every:
            began = time.thread_time()
            blobs.read(digest)
            took.append(1000 * (time.thread_time() - began))
    took.sort()
    places = {"p50": 0.5, "p99": 0.99, "slowest": 1}
    return {f"{name}_cpu_ms": round(took[min(int(len(took) * at), len(took) - 1)], 3) for name, at in places.items()}


def fsck(work: Path, _: str) -> dict[str, Any]:
    """Check every byte."""
    import holdfast

    return {"findings": holdfast.fsck(work).counts}


STEPS = {one.__name__: one for one in (put, add, repack, again, gc, read, fsck)}


# -- git ---------------------------------------------------------------------------------------------------------------


def imported(folder: Path, every: Iterator[tuple[int, str, bytes]]) -> None:
    """The same revisions in a new bare repository."""
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(["git", "init", "-q", "--bare", str(folder)], check=True)
    command = ["git", "--git-dir", str(folder), "fast-import", "--quiet"]
    reader = subprocess.Popen(command, stdin=subprocess.PIPE)
    assert reader.stdin is not None
    last = -1
    for number, path, content in every:
        if number != last:
            reader.stdin.write(
                b"commit refs/heads/main\ncommitter a <a@b> %d +0000\ndata 1\nx\n" % (1_700_000_000 + number)
            )
            last = number
        name = json.dumps(path, ensure_ascii=False).encode()
        reader.stdin.write(b"M 100644 inline %s\ndata %d\n%s\n" % (name, len(content), content))
    reader.stdin.close()
    if reader.wait():
        raise RuntimeError("git fast-import failed")


def files(tree: Path) -> Iterator[tuple[int, str, bytes]]:
    """A tree as one commit."""
    for path in sorted(tree.rglob("*")):
        if path.is_file():
            yield 0, str(path.relative_to(tree)), path.read_bytes()


# -- what is printed ---------------------------------------------------------------------------------------------------


def sizes(store: Path) -> dict[str, int]:
    """Bytes in files by kind."""
    kinds = ("blobs", "packs", "index.sqlite3", "journal", "search.sqlite3", "state.sqlite3")
    found = {kind: _size_of(store / kind) for kind in kinds}
    sealed = sum(_sealed_size(path) for path in (store / "journal").iterdir())
    total = sum(found[kind] for kind in kinds[:3]) + sealed
    return {**found, "journal once sealed": sealed, "blobs, packs, index and sealed journal": total}


def _sealed_size(segment: Path) -> int:
    """Bytes of a segment of the journal as it will be when it is sealed."""
    if segment.suffix == ".zst":
        return segment.stat().st_size
    made = lines.sealing_compressor().compressobj()
    with segment.open("rb") as file:
        return sum(len(made.compress(block)) for block in iter(lambda: file.read(1 << 20), b"")) + len(made.flush())


def tables(store: Path) -> dict[str, float]:
    """Bytes of the index for each revision, by table or index of a table. The store must be closed."""
    database = sqlite3.connect(f"file:{store / 'index.sqlite3'}?mode=ro", uri=True)
    try:
        (count,) = database.execute("SELECT count(*) FROM revision").fetchone()
        rows = database.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC").fetchall()
    except sqlite3.OperationalError:
        return {}  # a library without the table of pages
    finally:
        database.close()
    return {"revisions": count} | {name: round(size / count, 1) for name, size in rows if size / count >= 1}


def _size_of(path: Path) -> int:
    return sum(p.stat().st_size for p in ([path] if path.is_file() else path.rglob("*")) if p.is_file())


def taken(name: str, command: list[str]) -> None:
    """Run one step in a process; print what it took and said."""
    busy, wall, before = _busy(), time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    out = child.stdout.read()
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{name} failed")
    wall, after = time.perf_counter() - wall, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    others = max(0.0, round((_busy() - busy - cpu) / wall, 2))
    found = {"step": name, "s": round(wall, 2), "cpu_s": round(cpu, 2), "mib": used.ru_maxrss // 1024, "others": others}
    print(json.dumps({**found, **(json.loads(out) if out.strip() else {})}), flush=True)


def _busy() -> float:
    fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
    return (sum(map(int, fields[1:9])) - int(fields[4]) - int(fields[5])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--git-dir", type=Path)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--step", choices=STEPS)
    chosen = parser.parse_args()
    folder, work = chosen.folder.resolve(), chosen.folder.resolve() / "store"
    if chosen.step:
        source = str(folder / "small") if chosen.small else str(chosen.git_dir)
        print(json.dumps(STEPS[chosen.step](work, source)))
        return
    folder.mkdir(parents=True, exist_ok=True)
    if chosen.small:
        import corpora

        corpora.make(folder, 1.0, ["small"])
    own = [
        sys.executable,
        __file__,
        str(folder),
        *(["--small"] if chosen.small else ["--git-dir", str(chosen.git_dir)]),
    ]
    for name in ("add" if chosen.small else "put", "repack", "again", "gc"):
        taken(name, [*own, "--step", name])
        print(json.dumps({"bytes": sizes(work)}), flush=True)
    for name in ("read", "fsck"):
        taken(name, [*own, "--step", name])
    print(json.dumps({"index, bytes a revision": tables(work)}))
    peer = folder / "peer.git"
    imported(peer, files(folder / "small") if chosen.small else revisions(str(chosen.git_dir)))
    effort = [] if chosen.small else ["--aggressive"]
    taken("git gc", ["git", "--git-dir", str(peer), "gc", "-q", "--prune=now", *effort])
    print(json.dumps({"git": {"objects/pack": _size_of(peer / "objects" / "pack"), "all": _size_of(peer)}}))


if __name__ == "__main__":
    main()

"""How large should the frames of a repacked pack be, and how hard should they be compressed? No store is made.

    python tools/bench/frames.py --git-dir DIR     every distinct revision of the last 3,000 commits of a repository
    python tools/bench/frames.py --tree DIR        every file of a tree

Contents are put in order of extension, name and path (--by-path: path alone); contents of different paths share a frame
up to --neighbours KiB, those of one path up to each of --caps KiB. Prints one JSON line for each cap and level: bytes of frames,
the same with what a pack needs to list frames (8 bytes) and members (36), CPU seconds to compress, the slowest frame
to decompress and the mean for a member, in milliseconds, best of three.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import zstandard
from repacking import files, revisions

FRAME_BYTES, MEMBER_BYTES = 8, 36
Contents = dict[str, list[bytes]]


def distinct(every: Iterator[tuple[int, str, bytes]]) -> Contents:
    """Contents by path, newest first, each once."""
    seen: set[bytes] = set()
    found: Contents = {}
    for _, path, content in every:
        digest = hashlib.sha256(content).digest()
        if content and digest not in seen:
            seen.add(digest)
            found.setdefault(path, []).insert(0, content)
    return found


def by_type(path: str) -> tuple[str, str, str]:
    """The order of repack, as nearly as paths alone tell it."""
    name = path.rpartition("/")[2]
    return name.rpartition(".")[2] if "." in name else "", name, path


def frames(found: Contents, order: Callable[[str], object], neighbours: int, cap: int) -> Iterator[list[bytes]]:
    """The contents, cut into frames."""
    kept: list[bytes] = []
    held = 0
    for path in sorted(found, key=order):  # type: ignore[arg-type]
        if kept and held + sum(map(len, found[path])) > neighbours:
            yield kept
            kept, held = [], 0
        for content in found[path]:
            if kept and held + len(content) > cap:
                yield kept
                kept, held = [], 0
            kept.append(content)
            held += len(content)
    if kept:
        yield kept


def measured(cut: Iterator[list[bytes]], level: int, *, far: bool) -> dict[str, float]:
    """Compress and decompress each frame."""
    options = {"enable_ldm": True, "window_log": 21} if far else {}
    compressors = {
        is_far: zstandard.ZstdCompressor(
            compression_params=zstandard.ZstdCompressionParameters(
                compression_level=level, write_checksum=True, write_content_size=True, **(options if is_far else {})
            )
        )
        for is_far in (False, True)
    }
    decompressor = zstandard.ZstdDecompressor()
    size = count = members = 0
    cpu = slowest = reading = 0.0
    for kept in cut:
        content = b"".join(kept)
        began = time.thread_time()
        stored = compressors[len(content) >= 256 * 1024].compress(content)
        cpu += time.thread_time() - began
        took = min(_timed(decompressor, stored) for _ in range(3))
        slowest, reading = max(slowest, took), reading + took * len(kept)
        size, count, members = size + len(stored), count + 1, members + len(kept)
    return {
        "frames": count, "bytes": size, "with list": size + FRAME_BYTES * count + MEMBER_BYTES * members,
        "cpu_s": round(cpu, 2), "slowest_ms": round(slowest * 1000, 2), "mean_ms": round(reading / members * 1000, 3),
    }  # fmt: skip


def _timed(decompressor: zstandard.ZstdDecompressor, stored: bytes) -> float:
    began = time.thread_time()
    decompressor.decompress(stored)
    return time.thread_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--git-dir")
    source.add_argument("--tree", type=Path)
    parser.add_argument("--by-path", action="store_true")
    parser.add_argument("--neighbours", type=int, nargs="*", default=[64], metavar="KIB")
    parser.add_argument("--caps", type=int, nargs="*", default=[1024, 2048, 4096], metavar="KIB")
    parser.add_argument("--levels", type=int, nargs="*", default=[3, 6, 9])
    parser.add_argument("--near", action="store_true", help="without long-distance matching")
    chosen = parser.parse_args()
    found = distinct(files(chosen.tree) if chosen.tree else revisions(chosen.git_dir))
    order = str if chosen.by_path else by_type
    for neighbours in chosen.neighbours:
        for cap in chosen.caps:
            for level in chosen.levels:
                cut = frames(found, order, neighbours * 1024, max(cap, neighbours) * 1024)
                facts = {"neighbours_kib": neighbours, "cap_kib": cap, "level": level}
                print(json.dumps({**facts, **measured(cut, level, far=not chosen.near)}), flush=True)


if __name__ == "__main__":
    main()

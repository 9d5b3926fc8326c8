"""Prove a store's journal without Holdfast: recompute every hash of the chain and print the last one.

Run as `python tools/prove_chain.py STORE`. Needs Python alone, and the program `zstd` once segments are sealed. It
follows chapter 4 of docs/store-layout.md and imports nothing of this project.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class NotProvenError(Exception):
    """The journal is not what its hashes say."""


@dataclass
class Chain:
    """What was proven so far: how many transactions and changes, the next seq, the hash of the last entry."""

    hash: str
    next_seq: int = 1
    transactions: int = 0
    left_out: int = 0


def prove(store: Path) -> Chain:
    """The whole chain from its origin; NotProvenError at the first transaction that does not follow."""
    store_id = json.loads((store / "holdfast.json").read_bytes())["store"]
    chain = Chain(hashlib.sha256(b"holdfast chain of " + store_id.encode()).hexdigest())
    for segment in _segments(store / "journal"):
        bodies: list[bytes] = []
        for line in _lines(segment):
            if line.startswith(b'{"entry":'):
                _follow(chain, json.loads(line), bodies)
                bodies = []
            else:
                bodies.append(line)
        chain.left_out += len(bodies)
    return chain


def _follow(chain: Chain, closing: dict[str, Any], bodies: list[bytes]) -> None:
    entry, salt = closing["entry"], bytes.fromhex(closing["salt"])
    # Lines before the last `count` are the rest of an append that was torn: they have no entry and count for nothing.
    chain.left_out += max(0, len(bodies) - entry["count"])
    bodies = bodies[-entry["count"] :]
    root = hashlib.sha256()
    for position, body in enumerate(bodies):
        own_salt = hashlib.sha256(salt + position.to_bytes(4, "big")).digest()[:16]
        root.update(hashlib.sha256(own_salt + body).digest())
    canonical = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    found = hashlib.sha256(canonical).hexdigest()
    at = f"transaction {entry['first']}"
    for claim, holds in (
        ("lacks some of its changes", len(bodies) == entry["count"]),
        ("has changes that its entry does not cover", root.hexdigest() == entry["root"]),
        ("has an entry that was altered", found == closing["hash"]),
        ("does not come next", entry["first"] == chain.next_seq),
        ("does not follow from the one before", entry["prev"] == chain.hash),
    ):
        if not holds:
            raise NotProvenError(f"{at} {claim}")
    chain.hash, chain.next_seq, chain.transactions = found, entry["first"] + entry["count"], chain.transactions + 1


def _segments(journal: Path) -> list[Path]:
    """One file for each segment, in order; of a sealed and a plain one the sealed."""
    by_name = {path.name.removesuffix(".zst"): path for path in sorted(journal.glob("*.jsonl*"))}
    return [by_name[name] for name in sorted(by_name)]


def _lines(segment: Path) -> Iterator[bytes]:
    if segment.suffix == ".zst":
        yield from subprocess.run(["zstd", "-dcq", segment], check=True, capture_output=True).stdout.split(b"\n")[:-1]
        return
    with segment.open("rb") as file:
        for line in file:
            yield line.removesuffix(b"\n")


def main() -> int:
    """Prove the store that is named and say what was found."""
    if len(sys.argv) != 2:
        print("usage: python tools/prove_chain.py STORE", file=sys.stderr)
        return 2
    try:
        chain = prove(Path(sys.argv[1]))
    except NotProvenError as error:
        print(f"not proven: {error}", file=sys.stderr)
        return 1
    print(f"{chain.transactions} transactions, {chain.next_seq - 1} changes, each follows from the one before")
    print(chain.hash)
    return 0


if __name__ == "__main__":
    sys.exit(main())

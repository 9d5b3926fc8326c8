"""Chapter 4 of store-layout.md: transactions as journal lines.

A transaction is the bodies of its changes, one canonical JSON object a line, then one line with its entry:
`{"entry":{…},"hash":"…","salt":"…"}`. Bodies without their entry do not exist: a torn append is skipped by readers.
A redacted change is a line `{"left":{…},"redacted":"…"}`, and the entry's line then has `salts` instead of `salt`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import zstandard

from holdfast.errors import ChainBrokenError, FormatTooNewError, InvalidValueError
from holdfast.values import canon, moment, patterns
from holdfast.values.change import LINE_VERSION, Actor, Entry, Head, Redacted, Transaction
from holdfast.values.frozen import dataclass

_HASH_BYTES = 32
_ENTRY_START = b'{"entry":'
_LINE_STARTS = (_ENTRY_START, b'{"action":"', b'{"left":{"action":"')
_FOLLOWS = patterns.later(rb'"first":([0-9]{1,18}),"prev":"([0-9a-f]*)')
_LEVEL, _HASH_LOG = 1, 12
"""How zstd compresses lines. They repeat each other at length, and between stand digests and ids: what looks for short
matches finds some in these, which cost more than they save (docs/design/034). So does what remembers too many places:
a table of 4,096 is full of the last lines, and smaller by 1 % and faster by 15 % than the level's own (057)."""

NO_ENTRY = "lines without an entry"
"""The reason of garbage that a torn append leaves; any other reason means that an entry stands there."""

_SEALED = {
    "strategy": zstandard.STRATEGY_BTOPT, "min_match": 6, "search_log": 1, "target_length": 999, "window_log": 18,
    "chain_log": 16, "hash_log": 15,
}  # fmt: skip
"""How a segment is, once it is done with: no match is good enough before all were weighed, and lines match at length.
8 % smaller, as small as by level 19; in thirty times the time of the above, which is 60 ms a megabyte (060)."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """Bytes of a journal that are no transaction: the rest of a torn append, or damage. Offset and length in bytes."""

    offset: int
    length: int
    reason: str


@dataclass(frozen=True, slots=True)
class Located:
    """A transaction and where its bytes stand."""

    transaction: Transaction
    offset: int
    length: int


def compressor() -> zstandard.ZstdCompressor:
    """For the bytes of transactions in rows of the index. Not for two threads at once."""
    wanted = zstandard.ZstdCompressionParameters(compression_level=_LEVEL, hash_log=_HASH_LOG, write_checksum=True)
    return zstandard.ZstdCompressor(compression_params=wanted)


def sealing_compressor() -> zstandard.ZstdCompressor:
    """For sealed segments. Not for two threads at once."""
    wanted = zstandard.ZstdCompressionParameters(**_SEALED, write_checksum=True)
    return zstandard.ZstdCompressor(compression_params=wanted)


def encode(transaction: Transaction) -> bytes:
    """The bytes of a transaction, as they stand in the journal and (compressed) in its row of the index."""
    return b"\n".join([*encode_bodies(transaction), encode_last(transaction)])


def encode_bodies(transaction: Transaction) -> list[bytes]:
    """The lines of the changes, without their newlines."""
    redacted = transaction.redacted
    if redacted is None:
        return list(transaction.bodies)
    return [
        body
        if n not in redacted.digests
        else b'{"left":%b,"redacted":"%b"}' % (body, redacted.digests[n].hex().encode())
        for n, body in enumerate(transaction.bodies)
    ]


def decode(data: bytes, where: str) -> Transaction:
    """Exactly one transaction, verified in itself; ChainBrokenError otherwise."""
    found = list(scan([data]))
    if len(found) != 1 or not isinstance(found[0], Located):
        reason = found[0].reason if found and isinstance(found[0], Garbage) else "not one transaction"
        raise ChainBrokenError(f"{where}: {reason}", seq=None, where=where)
    return found[0].transaction


def scan(blocks: Iterable[bytes]) -> Iterator[Located | Garbage]:
    """All transactions in a stream of journal bytes, each verified in itself, and what stands between them.

    Memory is that of one transaction. Whether they follow from each other is for the caller to check.
    """
    pending: list[tuple[int, bytes]] = []
    for offset, line in _lines(blocks):
        if not line.startswith(_ENTRY_START) or not line.endswith(b"\n"):
            pending.append((offset, line))
            continue
        located = _located(pending, offset, line)
        start = located.offset if isinstance(located, Located) else offset
        if pending and pending[0][0] < start:
            lost = pending[0][0]
            yield Garbage(lost, start - lost, NO_ENTRY)
        yield located
        pending = []
    if pending:
        lost = pending[0][0]
        yield Garbage(lost, pending[-1][0] + len(pending[-1][1]) - lost, NO_ENTRY)


def _located(pending: list[tuple[int, bytes]], offset: int, line: bytes) -> Located | Garbage:
    """The transaction that an entry line closes, or why it is none."""
    try:
        entry, claimed, salt, salts = _entry(canon.decode(line))
    except (InvalidValueError, KeyError, TypeError, ValueError, AttributeError) as error:
        return Garbage(offset, len(line), f"an entry that cannot be read: {error}")
    _demand_known(entry, claimed)
    lines = pending[len(pending) - entry.count :] if entry.count else []
    if len(lines) != entry.count:
        return Garbage(offset, len(line), f"transaction {entry.first} lacks {entry.count - len(lines)} of its lines")
    bodies = tuple(body[:-1] for _, body in lines)
    try:
        transaction = Transaction(entry, salt, bodies) if salts is None else _redacted(entry, salts, bodies)
    except (InvalidValueError, KeyError, TypeError, ValueError, AttributeError) as error:
        return Garbage(offset, len(line), f"transaction {entry.first} has a redacted line that cannot be read: {error}")
    if transaction.root() != entry.root or entry.hash() != claimed:
        return Garbage(offset, len(line), f"transaction {entry.first} does not match its own hashes")
    if encode_last(transaction) != line or (salts is not None and encode_bodies(transaction) != list(bodies)):
        return Garbage(offset, len(line), f"the entry of transaction {entry.first} is not in canonical form")
    start = lines[0][0] if lines else offset
    return Located(transaction, start, offset + len(line) - start)


def _demand_known(entry: Entry, claimed: bytes) -> None:
    """FormatTooNewError for the entry of a newer version; a damaged number of a known one is none."""
    if entry.version != LINE_VERSION and replace(entry, version=LINE_VERSION).hash() != claimed:
        raise FormatTooNewError(
            f"a journal line of version {entry.version} at change {entry.first}; this software knows {LINE_VERSION}",
            found=entry.version,
            known=LINE_VERSION,
        )


def peek(data: bytes) -> Entry | None:
    """The entry that closes a transaction's bytes, proven by its own hash alone; None if it is damaged.

    For who needs to know where a chain begins without going through what may be megabytes. FormatTooNewError.
    """
    line = data[data.rfind(b"\n", 0, len(data) - 1) + 1 :]
    try:
        entry, claimed, _, _ = _entry(canon.decode(line))
    except (InvalidValueError, KeyError, TypeError, ValueError, AttributeError):
        return None
    _demand_known(entry, claimed)
    return entry if entry.hash() == claimed else None


def _redacted(entry: Entry, salts: tuple[bytes, ...], lines: tuple[bytes, ...]) -> Transaction:
    """A transaction some of whose lines are redacted: those without a salt."""
    if len(salts) != len(lines) or any(len(salt) not in (0, 16) for salt in salts) or all(salts):
        raise ValueError("its salts do not fit its lines")
    bodies, digests = list(lines), {}
    for position, salt in enumerate(salts):
        if not salt:
            fields = canon.decode(lines[position])
            bodies[position] = canon.encode(fields["left"])
            digests[position] = bytes.fromhex(fields["redacted"])
            if len(digests[position]) != _HASH_BYTES:
                raise ValueError("its digest is none")
    return Transaction(entry, b"", tuple(bodies), Redacted(digests, salts))


def encode_last(transaction: Transaction) -> bytes:
    """The entry line alone."""
    entry, redacted = transaction.entry, transaction.redacted
    # Keys stand in their order: `entry`, `hash`, then `salt` or `salts`.
    proof = b'"salt":"%b"}' % transaction.salt.hex().encode()
    if redacted is not None:
        proof = canon.trusted({"salts": [salt.hex() for salt in redacted.salts]})[1:]
    return b'{"entry":%b,"hash":"%b",%b\n' % (entry.encode(), entry.hash().hex().encode(), proof)


def _entry(value: dict[str, Any]) -> tuple[Entry, bytes, bytes, tuple[bytes, ...] | None]:
    fields = value["entry"]
    first, count, tx = fields["first"], fields["count"], fields["tx"]
    root, prev = bytes.fromhex(fields["root"]), bytes.fromhex(fields["prev"])
    # Nothing here is proven yet, and what is made of it is promised to be sound (kinds/invariants.py).
    if not (type(first) is int and type(count) is int and min(first, count) >= 1 and moment.is_id(tx)):
        raise ValueError("fields of the wrong type")
    if not len(root) == len(prev) == _HASH_BYTES:
        raise ValueError("a hash of the wrong length")
    entry = Entry(
        tx=tx,
        first=first,
        count=count,
        time_us=moment.from_text(fields["time"]),
        actor=Actor(fields["actor"]["name"], fields["actor"]["kind"]),
        root=root,
        prev=prev,
        version=fields["v"],
        store=fields.get("store", ""),
    )
    claimed = bytes.fromhex(value["hash"])
    if "salts" in value:
        return entry, claimed, b"", tuple(bytes.fromhex(salt) for salt in value["salts"])
    salt = bytes.fromhex(value["salt"])
    if not salt:
        raise ValueError("no salt")
    return entry, claimed, salt, None


@dataclass(frozen=True, slots=True)
class Rough:
    """Lines of a journal up to an entry's line, as they stand: nothing verified. `last`: b"" if no entry follows."""

    bodies: list[bytes]
    last: bytes


def rough(blocks: Iterable[bytes]) -> Iterator[Rough]:
    """A stream of journal bytes as groups of lines, one for each entry: to say what is wrong where `scan` cannot."""
    pending: list[bytes] = []
    for _, line in _lines(blocks):
        if line.startswith(_ENTRY_START) and line.endswith(b"\n"):
            yield Rough(pending, line)
            pending = []
        else:
            pending.append(line.removesuffix(b"\n"))
    if pending:
        yield Rough(pending, b"")


def verified(group: Rough) -> Transaction | None:
    """The transaction that a group of lines is, verified in itself; None if it is none."""
    if not group.last:
        return None
    found = _located([(0, line + b"\n") for line in group.bodies], 0, group.last)
    return found.transaction if isinstance(found, Located) else None


def _lines(blocks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """(offset, line with its newline); the last line may lack it."""
    offset = 0
    rest: list[bytes] = []  # put together once: a line of many blocks would be copied with each
    for block in blocks:
        first, *parts = block.split(b"\n")
        rest.append(first)
        if not parts:
            continue
        parts[:0], rest = [b"".join(rest)], [parts.pop()]
        for part in parts:
            yield offset, part + b"\n"
            offset += len(part) + 1
    last = b"".join(rest)
    if last:
        yield offset, last


def may_begin(data: bytes, head: Head) -> bool:
    """Whether bytes behind the end of a chain may be what is left of its next transaction: lines that begin as ours do.

    Of an entry that shows what it follows, that must be `head`. Zeros may be anything: such bytes never reached the
    disk. Other bytes, as somebody else appends them, begin otherwise.
    """
    if not data.strip(b"\0"):
        return bool(data)
    return all(_may_be_line(line, head) for line in data.split(b"\n") if line.strip(b"\0"))


def _may_be_line(line: bytes, head: Head) -> bool:
    if not any(line[: len(start)] == start[: len(line)] for start in _LINE_STARTS):
        return False
    said = _FOLLOWS.search(line) if line.startswith(_ENTRY_START) else None
    return said is None or (int(said[1]) == head.next_seq and head.hash.hex().encode().startswith(said[2]))


def follows(transaction: Transaction, head: Head) -> bool:
    """Whether a transaction is the one that comes next after `head`."""
    return transaction.entry.first == head.next_seq and transaction.entry.prev == head.hash

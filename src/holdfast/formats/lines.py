"""Chapter 4 of store-layout.md: transactions as journal lines.

A transaction is the bodies of its changes, one canonical JSON object a line, then one line with its entry:
`{"entry":{…},"hash":"…","salt":"…"}`. Bodies without their entry do not exist: a torn append is skipped by readers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from holdfast.errors import ChainBrokenError, InvalidValueError
from holdfast.values import canon, moment
from holdfast.values.change import LINE_VERSION, Actor, Entry, Head, Transaction, root_of

_ENTRY_START = b'{"entry":'
NO_ENTRY = "lines without an entry"
"""The reason of garbage that a torn append leaves; any other reason means that an entry stands there."""


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


def encode(transaction: Transaction) -> bytes:
    """The bytes of a transaction, as they stand in the journal and (compressed) in its row of the index."""
    return b"".join([*(body + b"\n" for body in transaction.bodies), encode_last(transaction)])


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
        entry, claimed, salt = _entry(canon.decode(line))
    except (InvalidValueError, KeyError, TypeError, ValueError, AttributeError) as error:
        return Garbage(offset, len(line), f"an entry that cannot be read: {error}")
    if entry.version != LINE_VERSION and replace(entry, version=LINE_VERSION).hash() != claimed:
        raise ChainBrokenError(
            f"a journal line of version {entry.version}; this software knows {LINE_VERSION}",
            seq=entry.first,
            where="journal",
            remedy="Install a newer Holdfast.",
        )
    lines = pending[len(pending) - entry.count :] if entry.count else []
    if len(lines) != entry.count:
        return Garbage(offset, len(line), f"transaction {entry.first} lacks {entry.count - len(lines)} of its lines")
    bodies = tuple(body[:-1] for _, body in lines)
    if root_of(salt, bodies) != entry.root or entry.hash() != claimed:
        return Garbage(offset, len(line), f"transaction {entry.first} does not match its own hashes")
    transaction = Transaction(entry, salt, bodies)
    if encode_last(transaction) != line:
        return Garbage(offset, len(line), f"the entry of transaction {entry.first} is not in canonical form")
    start = lines[0][0] if lines else offset
    return Located(transaction, start, offset + len(line) - start)


def encode_last(transaction: Transaction) -> bytes:
    """The entry line alone."""
    entry = transaction.entry
    return canon.trusted({"entry": entry.as_json(), "hash": entry.hash().hex(), "salt": transaction.salt.hex()}) + b"\n"


def _entry(value: dict[str, Any]) -> tuple[Entry, bytes, bytes]:
    fields = value["entry"]
    entry = Entry(
        tx=fields["tx"],
        first=fields["first"],
        count=fields["count"],
        time_us=moment.from_text(fields["time"]),
        actor=Actor(fields["actor"]["name"], fields["actor"]["kind"]),
        root=bytes.fromhex(fields["root"]),
        prev=bytes.fromhex(fields["prev"]),
        version=fields["v"],
    )
    if not (type(entry.first) is int and type(entry.count) is int and entry.count >= 1 and moment.is_id(entry.tx)):
        raise ValueError("fields of the wrong type")
    return entry, bytes.fromhex(value["hash"]), bytes.fromhex(value["salt"])


def _lines(blocks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """(offset, line with its newline); the last line may lack it."""
    offset, rest = 0, b""
    for block in blocks:
        parts = (rest + block).split(b"\n")
        rest = parts.pop()
        for part in parts:
            yield offset, part + b"\n"
            offset += len(part) + 1
    if rest:
        yield offset, rest


def follows(transaction: Transaction, head: Head) -> bool:
    """Whether a transaction is the one that comes next after `head`."""
    return transaction.entry.first == head.next_seq and transaction.entry.prev == head.hash

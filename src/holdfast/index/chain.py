"""The index's copy of the chain: one row for each transaction, holding the journal's bytes of it, compressed."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import zstandard

from holdfast.errors import ChainBrokenError
from holdfast.formats import lines
from holdfast.index import proof
from holdfast.index.database import Database
from holdfast.index.tables import SLOT_ACTOR
from holdfast.values import moment
from holdfast.values.change import Head, Transaction

_PAGE = 64
_AT_ONCE_BYTES = 16 << 20
_TX_PROVEN = proof.proven("tx", "tx")
_PAGE_OF = f"""SELECT first, count, data, {proof.proven("tx", "tx")} FROM tx WHERE first > ?
               ORDER BY first LIMIT ?"""
_AT = f"SELECT first, count, time_us, {proof.proven('tx', 'tx')} FROM tx WHERE first <= ? ORDER BY first DESC LIMIT 1"
_HASH_AT = f"SELECT first, count, hash, {_TX_PROVEN} FROM tx WHERE first <= ? ORDER BY first DESC LIMIT 1"
_SEQS = f"""SELECT key FROM record WHERE key = ?1 AND key > ?2
            UNION SELECT key FROM revision WHERE artifact = ?1 AND number > 1 AND key > ?2
            UNION SELECT seq FROM change c
            WHERE record = ?1 AND seq > ?2 AND {proof.proven("change", "c")} ORDER BY 1"""

Term = Callable[[int, str, int], int]


class ChainRows:
    """Reads and extends the `tx` table. `term`: the key of a text, made if there is none."""

    def __init__(self, database: Database, term: Term) -> None:
        self._db = database
        self._term = term
        self._compressors = threading.local()

    def head(self, *, proven: bool = True) -> Head | None:
        """The end of the index's chain; None if it has no transaction. IndexDamagedError if its row is damaged.

        Not `proven`: as the row stands, for whoever checks it.
        """
        own = proof.proven("tx", "tx") if proven else "1"
        row = self._db.one(f"SELECT first, count, hash, time_us, {own} FROM tx ORDER BY first DESC LIMIT 1")
        return None if row is None else Head(row[0] + row[1], row[2], row[3])

    def passed(self, next_seq: int, entry_hash: bytes) -> bool:
        """Whether the chain once ended so: then all before it is what it was."""
        sql = f"SELECT first, count, hash, {_TX_PROVEN} FROM tx WHERE first < ? ORDER BY first DESC LIMIT 1"
        row = self._db.one(sql, (next_seq,))
        return row is not None and (row[0] + row[1], row[2]) == (next_seq, entry_hash)

    def hash_at(self, seq: int) -> bytes | None:
        """The hash of the transaction that holds change `seq`; None if the chain has none."""
        found = self.end_of(seq)
        return None if found is None else found[1]

    def end_of(self, seq: int) -> tuple[int, bytes] | None:
        """(last seq, hash) of the transaction that holds change `seq`; None if the chain has none."""
        row = self._db.one(_HASH_AT, (seq,))
        return (row[0] + row[1] - 1, bytes(row[2])) if row is not None and row[0] <= seq < row[0] + row[1] else None

    def append(self, transaction: Transaction, data: bytes) -> None:
        """Add a transaction's row; `data` is what the journal gets."""
        entry = transaction.entry
        actor = self._term(entry.first, f"{entry.actor.kind}:{entry.actor.name}", SLOT_ACTOR)
        cells = (entry.first, moment.id_bytes(entry.tx), entry.count, entry.time_us, actor, entry.hash())
        self._db.run(
            "INSERT INTO tx (first, tx, count, time_us, actor, hash, data, crc) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (*cells, self._compressor().compress(data), proof.checksum("tx", *cells)),
        )

    def ends(self) -> tuple[bytes, bytes] | None:
        """The bytes of the first transaction and of the last; None if there is none, or they are damaged."""
        rows = [self._db.one(f"SELECT first, data FROM tx ORDER BY first {way} LIMIT 1") for way in ("ASC", "DESC")]
        try:
            found = [self._decompress(row[0], row[1]) for row in rows if row is not None]
        except (ChainBrokenError, TypeError):
            return None
        return (found[0], found[1]) if len(found) == 2 else None

    def read(self, from_seq: int = 1) -> Iterator[bytes]:
        """The bytes of each transaction from the one that holds `from_seq` on, in order, in short reads."""
        row = self._db.one("SELECT first, count FROM tx WHERE first <= ? ORDER BY first DESC LIMIT 1", (from_seq,))
        held = row is not None and from_seq < row[0] + row[1]
        position = (row[0] if row and held else from_seq) - 1
        end: int | None = None
        while True:
            page = self._db.rows(_PAGE_OF, (position, _PAGE))
            for first, count, data, _ in page:
                # Nothing lies between: a row that a damaged page hides is missed.
                if first > (end if end is not None else max(position + 1, 1)):
                    raise proof.damaged("tx", end or position + 1)
                yield self._decompress(first, data)
                position, end = first, first + count
            if len(page) < _PAGE:
                return

    def read_whole(self) -> Iterator[tuple[int, bytes]]:
        """(first seq, bytes) of each transaction of a damaged index; empty bytes where they do not decompress."""
        position = -(1 << 62)
        while True:
            page = self._db.rows("SELECT first, data FROM tx WHERE first > ? ORDER BY first LIMIT ?", (position, _PAGE))
            for first, data in page:
                whole = b""
                with contextlib.suppress(ChainBrokenError, TypeError):  # a damaged row can hold any type
                    whole = self._decompress(first, data)
                yield first, whole
                position = first
            if len(page) < _PAGE:
                return

    def at(self, seq: int) -> Transaction | None:
        """The transaction that holds change `seq`; ChainBrokenError if its bytes are damaged."""
        row = self._db.one("SELECT first, count, data FROM tx WHERE first <= ? ORDER BY first DESC LIMIT 1", (seq,))
        if row is None or seq >= row[0] + row[1]:
            return None
        return lines.decode(self._decompress(row[0], row[2]), f"transaction {row[0]} of the index")

    def find(self, tx: str) -> Transaction | None:
        """The transaction with this id."""
        row = self._db.one("SELECT first FROM tx WHERE tx = ?", (moment.id_bytes(tx),))
        return None if row is None else self.at(row[0])

    def seqs_of_record(self, record_key: int, *, after: int = 0) -> list[int]:
        """Seqs of all changes of a record beyond `after`, in order."""
        found = [row[0] for row in self._db.rows(_SEQS, (record_key, after))]
        own = self._db.one(f"SELECT changed, {proof.proven('record', 'r')} FROM record r WHERE key = ?", (record_key,))
        # The newest is known from elsewhere: what an index lost is missed.
        if own is not None and own[0] > after and (not found or found[-1] < own[0]):
            raise proof.damaged("change", own[0])
        return found

    def seq_at(self, time_us: int) -> int:
        """The first seq of the first transaction at or after a time, or the seq that comes next if there is none.

        Times never run backwards along the chain.
        """
        head = self.head()
        low, high = 1, head.next_seq if head else 1
        while low < high:
            middle = (low + high) // 2
            row = self._db.one(_AT, (middle,))
            if row is None or not row[0] <= middle < row[0] + row[1]:
                raise proof.damaged("tx", middle)
            low, high = (low, row[0]) if row[2] >= time_us else (row[0] + row[1], high)
        return low

    def _compressor(self) -> zstandard.ZstdCompressor:
        found: zstandard.ZstdCompressor | None = getattr(self._compressors, "one", None)
        if found is None:
            found = self._compressors.one = lines.compressor()
        return found

    @staticmethod
    def _decompress(first: int, data: bytes) -> bytes:
        try:
            return _whole(data)
        except zstandard.ZstdError as error:
            raise ChainBrokenError(f"transaction {first} of the index is damaged", seq=first, where="index") from error


def _whole(data: bytes) -> bytes:
    """What one whole frame holds, or ZstdError. A damaged header may claim any size: room is made for what comes."""
    if 0 <= zstandard.frame_content_size(data) <= _AT_ONCE_BYTES:
        return zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
    stream = zstandard.ZstdDecompressor().decompressobj()
    content = stream.decompress(data)
    if not stream.eof or stream.unused_data:
        raise zstandard.ZstdError("it is not one whole frame")
    return content

"""Changes and transactions: the chain's vocabulary, as it stands in the journal (chapter 4 of store-layout.md).

A change body is a JSON object with `kind`, `id` and `action`; then `new` (what a creation or a new revision brings),
`set` (field → [old, new]) or fields of the action's own; `note` and `run` where given. It holds neither its sequence
number nor anything of the changes before it, so it can be encoded and hashed before the writer lock is taken.
"""

from __future__ import annotations

import hashlib
from json.encoder import encode_basestring as _quoted
from typing import Any

from holdfast.values import canon, moment
from holdfast.values.frozen import dataclass
from holdfast.values.records import Change

LINE_VERSION = 0
Body = dict[str, Any]

ORIGIN = "origin"
"""Key of a body: of which change of another chain this one is the merge."""

FOREIGN_CHAIN = "foreign-chain"
"""Type of the artifacts that hold chains of other stores, whose records were merged."""

ACTOR_KINDS = ("human", "api", "command-line", "schedule", "triage")


@dataclass(frozen=True, slots=True)
class Actor:
    """Who writes. `kind` is one of ACTOR_KINDS."""

    name: str
    kind: str = "api"


@dataclass(frozen=True, slots=True)
class Entry:
    """A transaction's entry in the chain. Its hash covers every field here; `first` is the seq of its first change.

    `store`: the store's id, in the first entry of its chain alone, so that a lost marker can be written anew.
    """

    tx: str
    first: int
    count: int
    time_us: int
    actor: Actor
    root: bytes
    prev: bytes
    version: int = LINE_VERSION
    store: str = ""

    @property
    def next_seq(self) -> int:
        """The seq that the following transaction starts with."""
        return self.first + self.count

    def encode(self) -> bytes:
        """The canonical bytes that `hash` is taken of."""
        return _sealed(self)[1]

    def as_json(self) -> dict[str, Any]:
        """The entry as it stands in a journal line."""
        return {
            "actor": {"kind": self.actor.kind, "name": self.actor.name},
            "count": self.count,
            "first": self.first,
            "prev": self.prev.hex(),
            "root": self.root.hex(),
            **({"store": self.store} if self.store else {}),
            "time": moment.to_text(self.time_us),
            "tx": self.tx,
            "v": self.version,
        }

    def hash(self) -> bytes:
        """What the next transaction's `prev` must be."""
        return _sealed(self)[2]


_last: tuple[Entry | None, bytes, bytes] = (None, b"", b"")


def _sealed(entry: Entry) -> tuple[Entry | None, bytes, bytes]:
    """(entry, its bytes, their hash). Row, line and head of a transaction ask one after the other: the last is kept.

    By identity: to compare all fields would cost as much as half of making it.
    """
    global _last  # noqa: PLW0603 - one assignment, so threads see the one or the other
    found = _last
    if found[0] is not entry:
        data = _encoded(entry)
        found = _last = (entry, data, hashlib.sha256(data).digest())
    return found


def _encoded(entry: Entry) -> bytes:
    store = f',"store":{_quoted(entry.store)}' if entry.store else ""
    return (
        f'{{"actor":{{"kind":{_quoted(entry.actor.kind)},"name":{_quoted(entry.actor.name)}}},"count":{entry.count},'
        f'"first":{entry.first},"prev":"{entry.prev.hex()}","root":"{entry.root.hex()}"{store},'
        f'"time":"{moment.to_text(entry.time_us)}","tx":{_quoted(entry.tx)},"v":{entry.version}}}'
    ).encode()


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain ends: the seq that comes next and the hash of the last entry."""

    next_seq: int
    hash: bytes
    time_us: int = 0


@dataclass(frozen=True, slots=True)
class Redacted:
    """What a transaction keeps of its proof after some of its changes were redacted.

    `digests`: record digest of each redacted change, by position. `salts`: the record salt of every position, b"" for
    the redacted ones: without its salt a digest gives nothing away about what it was made of.
    """

    digests: dict[int, bytes]
    salts: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Transaction:
    """A whole transaction: its entry, the salt of its record digests, and the bodies of its changes as bytes.

    Where changes were redacted, `redacted` stands in for the salt (which is b"" then), and their bodies are what is
    left of them.
    """

    entry: Entry
    salt: bytes
    bodies: tuple[bytes, ...]
    redacted: Redacted | None = None

    def root(self) -> bytes:
        """The root that the entry must name."""
        if self.redacted is None:
            return root_of(self.salt, self.bodies)
        total = hashlib.sha256()
        for position, body in enumerate(self.bodies):
            known = self.redacted.digests.get(position)
            total.update(known or hashlib.sha256(self.redacted.salts[position] + body).digest())
        return total.digest()

    def without(self, left: dict[int, bytes]) -> Transaction:
        """The same transaction with some bodies (by position) replaced by what is to be left of them.

        Entry and hash stay. The salt of the transaction goes: from it the salts of the redacted would follow.
        """
        before = self.redacted
        salts = before.salts if before else tuple(record_salt(self.salt, n) for n in range(len(self.bodies)))
        digests = dict(before.digests) if before else {}
        for position in left:
            if position not in digests:
                digests[position] = hashlib.sha256(salts[position] + self.bodies[position]).digest()
        kept = tuple(b"" if n in digests else salt for n, salt in enumerate(salts))
        bodies = tuple(left.get(n, body) for n, body in enumerate(self.bodies))
        return Transaction(self.entry, b"", bodies, Redacted(digests, kept))

    @property
    def head(self) -> Head:
        """The chain's end after this transaction."""
        return Head(self.entry.next_seq, self.entry.hash(), self.entry.time_us)

    def changes(self) -> list[Change]:
        """The changes as audit records, in order."""
        return [as_change(self.entry.first + n, canon.decode(body), self.entry) for n, body in enumerate(self.bodies)]


def origin_of(store_id: str, entry: Entry, seq: int, body: Body) -> Body:
    """What a change says that merges another chain's change: where, when and by whom that one was made.

    A change that was itself merged passes on what it says, so the first maker is named however many hands it went
    through. `tx` and `n` (its place in the transaction, from 0) identify it; forks of a store share seqs.
    """
    known = body.get(ORIGIN)
    if known is not None:
        return {key: value for key, value in known.items() if key != THROUGH}
    return {
        "store": store_id, "seq": seq, "tx": entry.tx, "n": seq - entry.first, "time": moment.to_text(entry.time_us),
        "actor": {"kind": entry.actor.kind, "name": entry.actor.name},
    }  # fmt: skip


THROUGH = "through"
"""In an origin: the last change of the other record that is in it, as `identity` names it; absent if it is itself."""


def identity(entry: Entry, seq: int, body: Body) -> str:
    """What names a change wherever it is merged to: the transaction that made it, and its place therein."""
    known = body.get(ORIGIN)
    return f"{known['tx']}:{known['n']}" if known is not None else f"{entry.tx}:{seq - entry.first}"


def origin(store_id: str) -> Head:
    """The empty chain of a store: the first transaction's `prev` ties it to the store's id."""
    return Head(1, hashlib.sha256(b"holdfast chain of " + store_id.encode()).digest())


def record_salt(salt: bytes, position: int) -> bytes:
    """The salt of one change: the first 16 bytes of sha256(transaction salt ‖ position as 4 bytes)."""
    return hashlib.sha256(salt + position.to_bytes(4, "big")).digest()[:16]


def root_of(salt: bytes, bodies: tuple[bytes, ...] | list[bytes]) -> bytes:
    """sha256 over the record digests of a transaction, in order: sha256(record salt ‖ body) each.

    The salt keeps a digest from giving away a short body after it has been redacted.
    """
    total, sha256 = hashlib.sha256(), hashlib.sha256
    for position, body in enumerate(bodies):  # no calls for the salts: there are thousands
        total.update(sha256(sha256(salt + position.to_bytes(4, "big")).digest()[:16] + body).digest())
    return total.digest()


def as_change(seq: int, body: Body, entry: Entry) -> Change:
    """A change body as an audit record."""
    before, after = _images(body)
    return Change(
        seq=seq,
        time=moment.to_datetime(entry.time_us),
        actor=entry.actor.name,
        actor_kind=entry.actor.kind,
        kind=body["kind"],
        id=body["id"],
        action=body["action"],
        before=before,
        after=after,
        note=body.get("note", ""),
        tx=entry.tx,
        run_id=body.get("run"),
        origin=body.get(ORIGIN),
    )


def _images(body: Body) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    if "set" in body:
        pairs = body["set"]
        return {k: v[0] for k, v in pairs.items()}, {k: v[1] for k, v in pairs.items()}
    rest = {k: v for k, v in body.items() if k not in ("kind", "id", "action", "new", "note", "run", ORIGIN)}
    after = {**body.get("new", {}), **rest}
    return None, after or None

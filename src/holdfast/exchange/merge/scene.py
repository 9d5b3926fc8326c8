"""What every part of a merge has in hand: both stores, the policy, and what of ours stands for what of theirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from holdfast.exchange.merge.history import History, Standing, compare
from holdfast.exchange.merge.report import Account, Item, Outcome, Policy
from holdfast.exchange.merge.target import Target
from holdfast.index.select.whole import Value
from holdfast.index.sql import SqlIndex
from holdfast.values import names
from holdfast.values.change import ORIGIN, THROUGH, Body
from holdfast.values.names import Name


@dataclass(frozen=True, slots=True)
class Theirs:
    """The state that comes in, and the chain that it follows from.

    `base`: their changes before this seq were merged, or are ours too. `wanted`: which records come in, by id.
    """

    index: SqlIndex
    store: str
    base: int = 1
    wanted: Callable[[str], bool] | None = None

    def takes(self, record_id: str) -> bool:
        """Whether a record is to come in."""
        return self.wanted is None or self.wanted(record_id)


@dataclass
class Scene:
    """`united`: their ids that a record of ours with another id stands for. `out`: their ids that stay out.

    `pins`: where revisions of theirs are found here, if not under their own id and number.
    """

    theirs: Theirs
    target: Target
    policy: Policy
    united: dict[str, str] = field(default_factory=dict)
    account: Account = field(default_factory=Account)
    out: set[str] = field(default_factory=set)
    pins: dict[str, dict[int, tuple[str, int]]] = field(default_factory=dict)
    buried: dict[str, tuple[str, str, Body]] = field(default_factory=dict)
    """Records that are to be deleted at the end: id to (kind, id of the cause or "", origin)."""

    def __post_init__(self) -> None:
        self.there = History(self.theirs.index, self.theirs.store)
        self.here = History(self.target.index, "")

    @property
    def index(self) -> SqlIndex:
        """Ours."""
        return self.target.index

    def standing(self, their_id: str, our_key: int) -> Standing:
        """How the histories of a record stand to each other."""
        their_key = self.theirs.index.key_of(their_id)
        assert their_key is not None
        return compare(self.there.marks(their_key), self.here.marks(our_key))

    def stands_for(self, their_id: str) -> str:
        """Id of the record of ours that stands for one of theirs, once it is here."""
        return self.united.get(their_id, their_id)

    def our_key(self, their_id: str) -> int | None:
        """Key of the record that stands for one of theirs here."""
        return self.index.key_of(self.stands_for(their_id))

    def say(self, row: Value, outcome: Outcome, *, path: str = "", detail: str = "") -> None:
        """Report on a record of theirs."""
        self.account.add(Item(row["kind"], row["id"], path or row.get("name", ""), outcome, detail))

    def leave_out(self, row: Value, outcome: Outcome, *, path: str = "", detail: str = "") -> None:
        """A record of theirs stays out, so that what refers to it does too."""
        self.out.add(row["id"])
        self.say(row, outcome, path=path, detail=detail)

    def decide(self, newer: Callable[[], bool]) -> Policy:
        """The policy, with `newest` decided."""
        if self.policy is Policy.NEWEST:
            return Policy.THEIRS if newer() else Policy.OURS
        return self.policy

    def is_newer(self, row: Value, our_key: int) -> bool:
        """Whether theirs was changed after ours, by the times of the very first makers."""
        seqs = self.index.chain.seqs_of_record(our_key)
        return self.there.time_us(row["changed"]) > (self.here.time_us(seqs[-1]) if seqs else 0)

    def finished(self, row: Value, bodies: list[Body]) -> list[Body]:
        """A record's changes, the last of which says up to which change of theirs the record was merged."""
        if bodies:
            last = self.there.identity(row["changed"])
            own = bodies[-1].get(ORIGIN) or self.there.origin(row["changed"])
            if f"{own['tx']}:{own['n']}" != last:
                own = {**own, THROUGH: last}
            bodies[-1] = {**bodies[-1], ORIGIN: own}
        return bodies

    def cause(self, row: Value) -> str:
        """Id of the record of theirs whose delete took this one along; "" if it was deleted itself."""
        found = self.there.at(row["deleted"])
        other = found[1]["id"] if found is not None else row["id"]
        return "" if other == row["id"] else str(other)

    def delete(self, row: Value) -> Body:
        """The delete of a record that comes in deleted."""
        cause = self.cause(row)
        cause = self.stands_for(cause)
        key = self.index.key_of(cause) if cause else None
        own = self.index.key_of(row["id"])
        # One that comes in only now was not there when the cause was deleted here: it is deleted by itself.
        is_gone = key is not None and own is not None and self.index.collections.deleted_seq(key) > own
        body = {"kind": row["kind"], "action": "delete", "id": row["id"], ORIGIN: self.there.origin(row["changed"])}
        return {**body, **({"cause": cause} if is_gone else {})}

    # -- names -------------------------------------------------------------------------------------------------------

    def holder(self, parent: int, name: Name) -> tuple[str, int] | None:
        """(kind, key) of the live record that has a name in one of our collections."""
        child = self.index.collections.child(parent, name)
        if child is not None:
            return "collection", child
        found = self.index.artifacts.by_place(parent, name)
        return None if found is None else ("artifact", self.index.key_of(found.id) or 0)

    def free(self, parent: int, name: Name, their_parent: str) -> Name:
        """A name like this one that nothing has in our collection, nor in theirs."""
        raw, dot, end = name.raw.rpartition(b".")
        stem, tail = (raw, dot + end) if raw else (name.raw, b"")
        there = self.theirs.index.key_of(their_parent) if their_parent else None
        number = 2
        while True:
            mark = b" (%d)" % number
            room = names.MAX_BYTES - len(mark) - len(tail)
            made = names.from_raw(
                (stem[:room] if room > 0 else stem[: names.MAX_BYTES - len(mark)]) + mark + tail[:room]
            )
            taken = self.holder(parent, made) is not None
            if not taken and there is not None:
                index = self.theirs.index
                taken = index.collections.child(there, made) is not None or (
                    index.artifacts.by_place(there, made) is not None
                )
            if not taken:
                return made
            number += 1

    def path(self, our_collection: str, name: Name) -> str:
        """Where something is here, in display form."""
        key = self.index.key_of(our_collection)
        folder = "" if key is None else self.index.lookups.paths([key])[key]
        return f"{folder}/{name.text}" if folder else name.text


def name_of(row: Value) -> Name:
    """The name in a row."""
    return Name(row.get("name", ""), bytes.fromhex(row.get("name_hex", "")))


def pairs_of(mine: Value, theirs: Value, fields: dict[str, Any]) -> dict[str, list[Any]]:
    """What has to be set so that ours has theirs' values. `fields`: each with what its absence stands for."""
    found = {}
    for field_name, empty in fields.items():
        old, new = mine.get(field_name, empty), theirs.get(field_name, empty)
        if old != new:
            found[field_name] = [old, new]
    return found

"""Conditions → SQL that holds for every artifact that may meet them: from indexes, and from columns that tell."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from holdfast.errors import InvalidDigestError
from holdfast.index import revised
from holdfast.index.chain import ChainRows
from holdfast.index.select.collections import CollectionRows
from holdfast.index.select.declared import DeclaredRows, Part, required
from holdfast.index.select.piece import SQL
from holdfast.values import digest, moment, query
from holdfast.values.frozen import dataclass
from holdfast.values.query import All, Any_, Compare, Condition

NO_ROWS = SQL("0")
_INDEXED = frozenset({"under", "digest", "tag", "run"})
_MANY_FOLDERS = 900
_OF_CONTENT = f"""t1.key IN (SELECT v.artifact FROM content c CROSS JOIN revision v
    ON {revised.of_content("v", "c.key")}
    WHERE substr(c.digest, 1, 4) = ? AND c.digest = ?)"""
_OF_RUN = "t1.key IN (SELECT v.artifact FROM revision v WHERE v.run = (SELECT key FROM record WHERE id = ?))"
_EXACT_INTEGER = 1 << 53
_LONGEST_GLOB = 1_000
_SLACK = 1e-12
"""SQLite reads decimal fractions a little off (it promises 15 digits), so numbers are narrowed with this much room."""
_TINY = 1e-300
_TERMS = {
    "type": "t1.type",
    "status": "t1.status",
    "media_type": "t3.media_type",
    "tenant": "t2.tenant",
    "owner": "t2.owner",
}
_PARTIES = frozenset({"tenant", "owner"})
_FEW = 2_000
"""Up to so many records of a tenant or owner are taken from the index; where there are more, artifacts are gone through
in the order that was asked for, and the first page is soon full."""

_NUMBERS = {"size": "t4.size", "revision": "t3.number"}
TIMES = {"created": "t1.key", "updated": "t2.changed"}
Narrowing = SQL | None


@dataclass(frozen=True, slots=True)
class Way:
    """How artifacts are come by. `taken`: from the index of this comparison; `by_age`: so many at once, by key."""

    taken: Compare | None
    by_age: int | None


class Narrower:
    """Narrows as far as it is exact or sure not to lose anything."""

    def __init__(self, collections: CollectionRows, chain: ChainRows, declared: DeclaredRows) -> None:
        self._collections = collections
        self._chain = chain
        self._declared = declared
        self._lookups = declared.lookups

    def first(self, condition: Condition | None, limit: int) -> tuple[Compare, Part] | None:
        """The comparison from whose index artifacts come, in order of age; None if none is, or another finds fewer."""
        found = self._declared.rarest(condition)
        others = any(one.op == "=" and one.field in _INDEXED for one in required(condition))
        return None if found is None or (others and not self._declared.is_short(found[1], limit)) else found

    def narrow(self, condition: Condition, way: Way) -> Narrowing:
        """SQL that holds for every artifact that meets the condition; None if nothing is known."""
        if isinstance(condition, All):
            return self._narrow_all(_flat(condition), way)
        if isinstance(condition, Any_):
            found = [self.narrow(part, way) for part in condition.parts]
            known = [part for part in found if part is not None]
            return _joined(known, " OR ") if known and len(known) == len(found) else None
        return self._narrow_all([condition], way) if isinstance(condition, Compare) else None

    def _narrow_all(self, conditions: list[Condition], way: Way) -> Narrowing:
        """All of them: what declared indexes leave, and what each of the others does."""
        left = [one for one in conditions if one is not way.taken]
        parts: list[SQL] = []
        for part, those in self._declared.parts(one for one in left if isinstance(one, Compare)):
            found = self._among(part, way)
            if found is not None:
                parts.append(found)
                left = [one for one in left if not any(one is that for that in those)]
        for one in left:
            narrowed = self._narrow_one(one) if isinstance(one, Compare) else self.narrow(one, way)
            if narrowed is not None:
                parts.append(narrowed)
        return _joined(parts, " AND ") if parts else None

    def _among(self, part: Part, way: Way) -> Narrowing:
        if way.taken is not None:  # artifacts come from another index already
            return part.has() if part.one else None
        return part.among() if way.by_age is None or self._declared.is_short(part, way.by_age) else None

    def _narrow_one(self, one: Compare) -> Narrowing:
        name, op, value = one.field, one.op, one.value
        if name in _TERMS and op == "=" and isinstance(value, str):
            key = self._lookups.term_key(value)
            if key and name in _PARTIES and self._lookups.few_of(name, key, _FEW):
                return SQL(f"t1.key IN (SELECT key FROM record WHERE {name} = ? AND {name} <> 0)", (key,))
            return NO_ROWS if key is None else SQL(f"{_TERMS[name]} = ?", (key,))
        if name in _NUMBERS and op in ("=", "<", "<=", ">", ">=") and _plain_number(value):
            return SQL(f"{_NUMBERS[name]} {op} ?", (value,))
        if name in TIMES and op in (">", ">=", "=") and isinstance(value, datetime):
            return SQL(f"{TIMES[name]} >= ?", (self._chain.seq_at(moment.from_datetime(value)),))
        if name in TIMES and op in ("<", "<=") and isinstance(value, datetime):
            return self._before(TIMES[name], moment.from_datetime(value))
        if name == "name" and isinstance(value, str) and "\0" not in value:
            if op == "=":
                return SQL("t1.name = ?", (value,))
            # GLOB of SQLite and of Python agree but for classes; a class is left to Python, as is what is too long.
            plain = "[" not in value and len(value) <= _LONGEST_GLOB
            return SQL("t1.name GLOB ?", (value,)) if op == "glob" and plain else None
        if name == "tag" and op == "=" and isinstance(value, str):
            return SQL("t1.key IN (SELECT record FROM tagging WHERE tag = ?)", (value,))
        if name == "digest" and op == "=" and isinstance(value, str):
            return _digest_is(value)
        if name == "under":
            return self._in_collections(self._collections.subtree(value)[0])
        if name == "run" and op == "=" and isinstance(value, str) and moment.is_id(value):
            return SQL(_OF_RUN, (moment.id_bytes(value),))
        return _narrow_metadata(one) if name.startswith("metadata.") else None

    def _before(self, column: str, time_us: int) -> Narrowing:
        """Nothing can be said where the changes of a transaction that is still open may be meant."""
        head, at = self._chain.head(), self._chain.seq_at(time_us + 1)
        return None if head is None or at >= head.next_seq else SQL(f"{column} < ?", (at,))

    def _in_collections(self, keys: list[int]) -> SQL:
        if len(keys) > _MANY_FOLDERS:  # a great part of the store: better gone through in the order that was asked for
            return SQL("+t1.collection IN (SELECT value FROM json_each(?))", (str(keys),))
        return SQL(f"t1.collection IN ({','.join('?' * len(keys))})", tuple(keys))


def _flat(condition: All) -> list[Condition]:
    return [one for part in condition.parts for one in (_flat(part) if isinstance(part, All) else [part])]


def _joined(parts: list[SQL], word: str) -> SQL:
    return SQL("(" + word.join(part.sql for part in parts) + ")", tuple(p for part in parts for p in part.params))


def _digest_is(value: str) -> SQL:
    try:
        raw = digest.raw(value)
    except InvalidDigestError:
        return NO_ROWS
    return SQL(_OF_CONTENT, (raw[:4], raw))


def _plain_number(value: Any) -> bool:
    return type(value) in (int, float) and -_EXACT_INTEGER <= value <= _EXACT_INTEGER


def _narrow_metadata(one: Compare) -> Narrowing:
    """Only where SQLite's JSON cannot go wrong: short paths of plain keys, text, and numbers below 2^53."""
    steps = query.path_of(one.field.removeprefix("metadata."))
    # Keys that JSON writes with an escape are compared as they are written, not as they are meant.
    if any(isinstance(step, str) and ('"' in step or "\\" in step or min(step, default=" ") < " ") for step in steps):
        return None
    path = "$" + "".join(f"[{step}]" if isinstance(step, int) else f'."{step}"' for step in steps)
    if one.op == "exists":
        return None
    if one.op == "=" and isinstance(one.value, str) and "\0" not in one.value:
        return SQL("json_extract(t3.metadata, ?) = ?", (path, one.value))
    if not _plain_number(one.value) or one.op not in ("=", "<", "<=", ">", ">="):
        return None
    room = abs(one.value) * _SLACK + _TINY
    low = None if one.op in ("<", "<=") else one.value - room
    high = None if one.op in (">", ">=") else one.value + room
    bounds = [(sign, bound) for sign, bound in ((">=", low), ("<=", high)) if bound is not None]
    sql = " AND ".join(f"json_extract(t3.metadata, ?) {sign} ?" for sign, _ in bounds)
    return SQL(f"({sql})", tuple(value for _, bound in bounds for value in (path, bound)))

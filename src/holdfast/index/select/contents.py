"""What reading content needs of the rows, in one query: which digest, whether it is kept, and where its bytes are.

The rows that lead to the digest prove themselves. The place does not: bytes found there are proven by the digest, and
if they are not the content's, the place is asked for again, with proof.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple
from zlib import crc32

from holdfast.formats import paths
from holdfast.formats.pack import Spot
from holdfast.index import proof
from holdfast.index.database import Database
from holdfast.index.select import proving
from holdfast.index.select.artifacts import PLACE
from holdfast.index.select.lookups import Lookups
from holdfast.index.select.making import Pin
from holdfast.index.select.sight import Row
from holdfast.index.tables import LOOSE, STATE_KEPT
from holdfast.values import canon, digest, moment
from holdfast.values.frozen import dataclass
from holdfast.values.names import Name
from holdfast.values.records import FileFacts


class Held(NamedTuple):
    """The content of a kept revision, as `BlobStore.read_many` wants it.

    `spot`: where it should be; None: in a file of its own, or nobody knows.
    """

    digest: str
    spot: Spot | None


@dataclass(frozen=True, slots=True)
class Listed:
    """A revision as far as writing a file of it needs. `artifact`: key of its artifact.

    `held`: where its content is, if that was asked for and the content is kept.
    """

    artifact: int
    number: int
    seq: int
    digest: str
    size: int
    media_type: str
    file: FileFacts
    held: Held | None = None


_BYTES = f"{proof.columns('revision', 't3')}, {proof.columns('content', 't4')}"
_WHERE = "k.name, b.offset, b.stored_bytes, b.start"
_FILES = f"LEFT JOIN blob b ON b.content = t4.key LEFT JOIN container k ON k.key = b.container AND k.key <> {LOOSE}"
_THERE = f"LEFT JOIN revision t3 ON t3.key = t1.newest LEFT JOIN content t4 ON t4.key = t3.content {_FILES}"
_ARTIFACT = proof.columns("artifact", "t1")
_OF_PLACE = f"{_WHERE}, {_BYTES}, {_ARTIFACT}"
_OF_ID = f"{_OF_PLACE}, {proof.columns('record', 't2')}"
_AT = f"FROM artifact t1 {_THERE} WHERE {PLACE}"
_OF = f"FROM record t2 CROSS JOIN artifact t1 ON t1.key = t2.key {_THERE} WHERE t2.id = ?"
_MANY_AT = f"""FROM json_each(?) n CROSS JOIN artifact t1
    ON t1.collection = json_extract(n.value, '$[0]') AND t1.name = json_extract(n.value, '$[1]') AND t1.live = 1
    {_THERE}"""
_MANY_OF = f"""FROM json_each(?1) n
    CROSS JOIN record t2 ON t2.id = substr(?2, n.key * 16 + 1, 16) CROSS JOIN artifact t1 ON t1.key = t2.key {_THERE}"""
_IN_COLLECTION = f"""SELECT {_OF_PLACE} FROM artifact t1 {_THERE}
    WHERE t1.collection = ? AND t1.live = 1 AND (t1.name, t1.stray) > (?, ?) ORDER BY t1.name, t1.stray LIMIT ?"""
_OF_REVISION = f"n.key, t4.digest, {_WHERE}, t4.size, {proof.columns('revision', 't3')}"
_MANY_REVISIONS = f"""FROM json_each(?) n CROSS JOIN revision t3 ON t3.key = n.value
    LEFT JOIN content t4 ON t4.key = t3.content {_FILES}"""
_STATE = 7 + proof.COLUMNS["revision"].index("state")
"""Where it stands in a row of _MANY_REVISIONS."""
_APART = b"\x1f"
_made = tuple.__new__
"""A named tuple of cells as they are, in half the time of a call of its class."""


def _form(*names: str) -> bytes:
    """The texts of several rows at once, each followed by its checksum; what stands between them is in no such text."""
    return _APART.join(proof.FORMS[table] + _APART + b"%a" for table in names)


_PLACED, _OWNED = _form("revision", "content", "artifact"), _form("revision", "content", "artifact", "record")


class Contents:
    """Finds contents. None, or a number that is left out, means: ask the long way, which says why."""

    def __init__(self, database: Database, lookups: Lookups) -> None:
        self._db = database
        self._lookups = lookups

    def at(self, collection: int, name: Name) -> Held | None:
        """Of the newest revision of the live artifact of a name in a collection."""
        place = (collection, name.text, name.stray)
        rows = self._db.whole(_OF_PLACE, _AT, place)
        return _placed(rows[0], place, read_next=True) if rows else None

    def of(self, artifact_id: str) -> Held | None:
        """Of the newest revision of a live artifact."""
        raw = moment.id_bytes(artifact_id)
        rows = self._db.whole(_OF_ID, _OF, (raw,))
        return _owned(rows[0], raw, read_next=True) if rows else None

    def many_at(self, places: Sequence[tuple[int, Name]]) -> dict[int, Held]:
        """The same of many places, by number."""
        found: dict[int, Held] = {}
        asked = canon.dumps([[collection, name.text] for collection, name in places])
        for row in self._db.whole(f"n.key, {_OF_PLACE}", _MANY_AT, (asked,)):
            collection, name = places[row[0]]
            if row[26] == name.stray:
                _keep(found, row[0], _placed(row[1:], (collection, name.text, name.stray)))
        return found

    def many_of(self, artifact_ids: Sequence[str]) -> dict[int, Held]:
        """The same of many ids, by number."""
        raws = [moment.id_bytes(one) for one in artifact_ids]
        found: dict[int, Held] = {}
        for row in self._db.whole(f"n.key, {_OF_ID}", _MANY_OF, (_numbers(len(raws)), b"".join(raws))):
            _keep(found, row[0], _owned(row[1:], raws[row[0]]))
        return found

    def listed(self, collection: int, after: Name, limit: int, *, placed: bool) -> list[tuple[Name, Listed]]:
        """Names and newest revisions of the live artifacts right in a collection, by name, beyond a name.

        Not `placed`: without where their contents are, which rows of an old state do not know.
        """
        found = []
        for row in self._db.rows(_IN_COLLECTION, (collection, after.text, after.stray, limit)):
            held = _placed(row, (collection, row[24], row[25]))
            made = Listed(
                row[22], row[6], row[4], digest.text(row[19]), row[20], self._lookups.term(row[8]),
                FileFacts(row[13], row[14]), held if placed else None,
            )  # fmt: skip
            found.append((Name(row[24], row[25]), made))
        return found

    def many_revisions(self, revisions: Sequence[Pin]) -> list[Held | None]:
        """The same of each of many revisions, as they are kept now.

        That the content is still the revision's own is seen by its digest, which the caller has; so its row needs no
        other proof. Those that are near each other in the index are best asked for together.
        """
        found: list[Held | None] = [None] * len(revisions)
        is_true = proving.is_revision
        for row in self._db.whole(_OF_REVISION, _MANY_REVISIONS, (str([seq for seq, _ in revisions]),)):
            if not is_true(row[7:-1], row[-1]):
                raise proof.damaged("revision", row[7])
            number, raw = row[:2]
            if row[_STATE] == STATE_KEPT and raw == revisions[number][1]:
                found[number] = _made(Held, (digest.PREFIX + raw.hex(), _spot_of(row[2:7])))
        return found


@functools.lru_cache(1024)
def pack_named(name: object) -> str | None:
    """The name of a pack that a cell holds which is not proven; None if it is another file's, or none.

    The same text for the same pack: whoever puts thousands of places in order compares it by where it is.
    """
    return name if isinstance(name, str) and paths.parse_pack(f"{name}.zst") == name else None


def _keep(found: dict[int, Held], number: int, held: Held | None) -> None:
    if held is not None:
        found[number] = held


def _numbers(count: int) -> str:
    return str(list(range(count)))


def _placed(row: Row, place: tuple[int, str, bytes], *, read_next: bool = False) -> Held | None:
    revision, _, content, _, artifact, _ = (_PLACED % row[4:]).split(_APART)
    if crc32(artifact) != row[30] or row[23:26] != place or row[29] != 1 or row[5] != row[22]:
        raise proof.damaged("artifact", row[22])
    return _held(row, revision, content, read_next=read_next)


def _owned(row: Row, raw: bytes, *, read_next: bool = False) -> Held | None:
    revision, _, content, _, artifact, _, record, _ = (_OWNED % row[4:]).split(_APART)
    if crc32(record) != row[39]:
        raise proof.damaged("record", row[31])
    if crc32(artifact) != row[30] or row[32] != raw or row[5] != row[22]:
        raise proof.damaged("artifact", row[22])
    return _held(row, revision, content, read_next=read_next) if row[29] == 1 and not row[37] else None


def _held(row: Row, revision: bytes, content: bytes, *, read_next: bool) -> Held | None:
    """`read_next`: the caller reads the bytes, and these prove by their digest what the content's row says of them."""
    if crc32(revision) != row[17]:
        raise proof.damaged("revision", row[4])
    raw, size = row[19:21]
    spot = _spot_of((*row[:4], size))
    if (not read_next or spot is None or type(raw) is not bytes) and crc32(content) != row[21]:
        raise proof.damaged("content", row[18])
    return _made(Held, (digest.text(raw), spot)) if row[16] == STATE_KEPT else None


def _spot_of(cells: Row) -> Spot | None:
    """A place, of cells in its order that are not proven; None if they cannot be one."""
    name, offset, stored, start, size = cells
    if type(offset) is type(stored) is type(start) is type(size) is int and (pack := pack_named(name)) is not None:
        return _made(Spot, (pack, offset, stored, start, size))
    return None

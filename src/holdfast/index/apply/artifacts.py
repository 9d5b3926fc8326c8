"""Reducers of artifacts and their revisions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

from holdfast.index import proof
from holdfast.index.apply import record
from holdfast.index.rows import (
    Alike,
    Cell,
    Cells,
    Column,
    ContentOf,
    Describe,
    Insert,
    KeyOf,
    Operation,
    RevisionOf,
    Term,
    Update,
)
from holdfast.index.tables import (
    KIND_CODES,
    SLOT_MEDIA,
    SLOT_OWNER,
    SLOT_SOURCE,
    SLOT_STATUS,
    SLOT_TENANT,
    SLOT_TYPE,
    STATE_KEPT,
    STATE_PURGED,
    STATE_WITHDRAWN,
)
from holdfast.values import moment
from holdfast.values.change import Body
from holdfast.values.newcomers import Newcomers
from holdfast.values.records import DEFAULT_STATUS, DEFAULT_TYPE

_KIND = KIND_CODES["artifact"]
_OWN = 5
"""What every new artifact says: `collection`, `name`, `revision`, `status`, `type`."""


class Names(Protocol):
    """What stands for the keys that a row names: symbols, or the keys themselves where somebody knows them."""

    @property
    def terms(self) -> Mapping[str, int]:
        """Keys of some interned texts, for which `term` need not be asked."""

    def key(self, seq: int, record_id: str) -> Any:
        """Of the record with an id."""

    def term(self, seq: int, text: str, slot: int) -> Any:
        """Of an interned text."""

    def content(self, seq: int, digest: str, size: int) -> Any:
        """Of the content with a digest."""


class NamesOfMany(Names, Protocol):
    """The same for columns."""

    def contents(self, seqs: Sequence[int], digests: Sequence[str], sizes: Sequence[int]) -> list[Any]:
        """Of the contents with these digests."""


class _Symbols:
    """Nothing is looked up."""

    terms: Mapping[str, int] = MappingProxyType({})

    def key(self, _seq: int, record_id: str) -> KeyOf:
        return KeyOf(record_id)

    def term(self, _seq: int, text: str, slot: int) -> Term | int:
        return Term(text, slot) if text else 0

    def content(self, _seq: int, digest: str, size: int) -> ContentOf:
        return ContentOf(digest, size)


_SYMBOLS = _Symbols()


def creation(seq: int, body: Body, names: Names) -> tuple[tuple[Any, ...], tuple[Any, ...], tuple[Any, ...]]:
    """The rows of a new artifact: of record, artifact and revision, all cells but the checksum in order of the columns.

    In one piece, because most changes of most stores are these.
    """
    new, term, known = body["new"], names.term, names.terms
    tenant = owner = tags = 0
    stray = b""
    if len(new) > _OWN:
        get = new.get
        tenant = term(seq, get("tenant", ""), SLOT_TENANT)
        owner = term(seq, get("owner", ""), SLOT_OWNER)
        tags, stray = proof.of_tags(get("tags", ())), bytes.fromhex(get("name_hex", ""))
    kind, status = new["type"], new["status"]
    record_row = (seq, moment.id_bytes(body["id"]), _KIND, tenant, owner, seq, 0, tags)
    artifact_row = (
        seq, names.key(seq, new["collection"]), new["name"], stray, known.get(kind) or term(seq, kind, SLOT_TYPE),
        known.get(status) or term(seq, status, SLOT_STATUS), seq, 1,
    )  # fmt: skip
    return record_row, artifact_row, _revision(seq, seq, 1, body, names)


def creations(first: int, new: Newcomers, names: NamesOfMany) -> dict[str, list[Column]]:
    """As `creation` of each of these changes, from seq `first` on: the same cells, as columns, by table."""
    if not new:
        return {}
    keys = list(range(first, first + len(new)))
    zero, none = Alike(0), Alike(None)
    kind, status = names.term(first, DEFAULT_TYPE, SLOT_TYPE), names.term(first, DEFAULT_STATUS, SLOT_STATUS)
    media_types = _terms(keys, new.media_types, SLOT_MEDIA, names)
    cuts = [source.rfind("/") + 1 for source in new.sources]  # as `folder_of` each
    folders = [source[:cut] for source, cut in zip(new.sources, cuts, strict=True)]
    own = [source[cut:] or None for source, cut in zip(new.sources, cuts, strict=True)]
    places = _terms(keys, folders, SLOT_SOURCE, names)
    if "" in new.sources:
        places = [place if source else None for place, source in zip(places, new.sources, strict=True)]
    held: dict[str, Any] = {}
    for seq, one in zip(keys, new.collections, strict=True):
        if one not in held:
            held[one] = names.key(seq, one)
    collections = [held[one] for one in new.collections]
    contents = names.contents(keys, new.digests, new.sizes)
    return {
        "record": [keys, moment.ids_bytes(new.ids), Alike(_KIND), zero, zero, keys, zero, zero],
        "artifact": [keys, collections, new.names, Alike(b""), Alike(kind), Alike(status), keys, Alike(1)],
        "revision": [
            keys, keys, Alike(1), contents, media_types, none, none, places, own, new.modes, new.mtimes, none,
            Alike(STATE_KEPT),
        ],
    }  # fmt: skip


def _terms(seqs: Sequence[int], texts: Sequence[str], slot: int, names: Names) -> list[Any]:
    """Keys of interned texts, each as the first change that says it has it."""
    known = names.terms
    return [known.get(text) or names.term(seq, text, slot) for seq, text in zip(seqs, texts, strict=True)]


def _create(seq: int, body: Body) -> Iterator[Operation]:
    new = body["new"]
    record_row, artifact_row, revision_row = creation(seq, body, _SYMBOLS)
    yield Insert("record", _cells("record", record_row))
    for tag in new.get("tags", ()):
        yield Insert("tagging", {"record": seq, "tag": tag})
    yield Insert("artifact", _cells("artifact", artifact_row))
    yield Insert("revision", _cells("revision", revision_row))
    if metadata := new["revision"].get("metadata"):
        yield Describe(seq, metadata, new=True)


def _cells(table: str, row: tuple[Any, ...]) -> Cells:
    return dict(zip(proof.COLUMNS[table], row, strict=True))


def _revise(seq: int, body: Body) -> Iterator[Operation]:
    new = body["new"]
    yield Describe(KeyOf(body["id"]), new["revision"].get("metadata") or {})
    yield Insert("revision", _cells("revision", _revision(seq, KeyOf(body["id"]), new["number"], body, _SYMBOLS)))
    yield Update("artifact", {"key": KeyOf(body["id"])}, {"newest": seq})
    yield from record.touched(seq, body, own_row=True)


def _revision(seq: int, artifact: Cell, number: int, body: Body, names: Names) -> tuple[Any, ...]:
    revision, run = body["new"]["revision"], body.get("run")
    get = revision.get
    content = names.content(seq, revision["digest"], revision["size"])
    known, media_type, source, metadata = names.terms, revision["media_type"], get("source"), get("metadata")
    place = own = None
    if source:  # the folder stands once for all files of it
        folder = source[: source.rfind("/") + 1]
        place = known.get(folder) or names.term(seq, folder, SLOT_SOURCE)
        own = source[len(folder) :] or None
    return (
        seq, artifact, number, content, known.get(media_type) or names.term(seq, media_type, SLOT_MEDIA),
        record.json_text(metadata) if metadata else None, get("message"), place, own, get("mode"), get("mtime_ns"),
        names.key(seq, run) if run else None, STATE_KEPT,
    )  # fmt: skip


def folder_of(source: str) -> str:
    """What stands once for all that come from one folder: the source up to its last slash."""
    return source[: source.rfind("/") + 1]


def _update(seq: int, body: Body) -> Iterator[Operation]:
    after = record.after_images(body["set"])
    cells: Cells = {}
    if "name" in after:
        cells |= record.name_cells(after)
    if "collection" in after:
        cells["collection"] = KeyOf(after["collection"])
    if "type" in after:
        cells["type"] = Term(after["type"], SLOT_TYPE)
    if "status" in after:
        cells["status"] = Term(after["status"], SLOT_STATUS)
    yield from record.updated(seq, body, cells, "artifact")


def _delete(seq: int, body: Body) -> Iterator[Operation]:
    yield from record.deleted(seq, body)
    yield Update("artifact", {"key": KeyOf(body["id"])}, {"live": None})


def _undelete(seq: int, body: Body) -> Iterator[Operation]:
    cells: Cells = {"live": 1}
    if "set" in body:
        cells |= record.name_cells(record.after_images(body["set"]))
    yield from record.undeleted(seq, body)
    yield Update("artifact", {"key": KeyOf(body["id"])}, cells)


def _purge(seq: int, body: Body) -> Iterator[Operation]:
    yield from record.touched(seq, body)
    yield from _state(body, STATE_PURGED)


def _withdraw(seq: int, body: Body) -> Iterator[Operation]:
    yield from record.touched(seq, body)
    yield from _state(body, STATE_WITHDRAWN)
    if "newest" in body:
        newest = RevisionOf(body["id"], body["newest"])
        yield Describe(KeyOf(body["id"]), newest)
        yield Update("artifact", {"key": KeyOf(body["id"])}, {"newest": newest})


def _redact(seq: int, body: Body) -> Iterator[Operation]:
    yield from record.touched(seq, body)
    if "revisions" in body:
        yield from _state(body, STATE_PURGED)


def _state(body: Body, state: int) -> Iterator[Operation]:
    for number in body["revisions"]:
        yield Update("revision", {"key": RevisionOf(body["id"], number)}, {"state": state})


REDUCERS = {
    ("artifact", "create"): _create,
    ("artifact", "revise"): _revise,
    ("artifact", "update"): _update,
    ("artifact", "delete"): _delete,
    ("artifact", "undelete"): _undelete,
    ("artifact", "purge"): _purge,
    ("artifact", "redact"): _redact,
    ("artifact", "withdraw"): _withdraw,
}

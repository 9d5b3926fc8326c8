"""Artifacts and revisions out of proven rows: what a query does in Python for each record.

All that a row names by a key is looked up at once, and may raise; turning cells into text, times and JSON waits until
somebody asks for the field (values/late.py). Rows that name the same things by the same keys share what was found.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any

from holdfast.index.select.lookups import Lookups, Written
from holdfast.index.select.sight import Folder, Row, Sight
from holdfast.index.tables import STATE_KEPT, STATE_PURGED, STATE_WITHDRAWN
from holdfast.values import canon, late, moment
from holdfast.values import digest as digests
from holdfast.values.digest import PREFIX
from holdfast.values.frozen import dataclass
from holdfast.values.late import waiting
from holdfast.values.records import Artifact, FileFacts, Revision, RevisionState

_STATES = {
    STATE_KEPT: RevisionState.KEPT,
    STATE_PURGED: RevisionState.PURGED,
    STATE_WITHDRAWN: RevisionState.WITHDRAWN,
}
_NO_FACTS = FileFacts()
_NAMES_CONTENT = frozenset({"seq", "digest"})
"""What names a content: many who look at revisions look at nothing else."""
_AT = 18
"""Where in a row of artifacts.COLUMNS the columns of the revision begin."""
_keys = itemgetter(0, _AT, 14, 15, 29)
_named = itemgetter(1, 4, 5, 12, 13, 22, 25)
"""What a row names by keys; those of them that rows share."""

(
    _set_id, _set_path, _set_path_bytes, _set_name, _set_name_bytes, _set_collection_id, _set_type, _set_status,
    _set_tags, _set_revision, _set_created_at, _set_updated_at, _set_deleted_at, _set_tenant, _set_owner,
) = late.setters(Artifact)  # fmt: skip
(
    _set_artifact_id, _set_number, _set_digest, _set_size, _set_media_type, _set_metadata, _set_written_at, _set_actor,
    _set_seq, _set_previous_digest, _set_message, _set_source, _set_file, _set_run_id, _set_state,
) = late.setters(Revision)  # fmt: skip
"""In the order of their fields: a call of each sets it."""


Pin = tuple[int, bytes]
"""A revision, known by its seq and the raw digest of its content."""


@dataclass(frozen=True, slots=True)
class Company:
    """What many rows name by the same keys: where they lie, and their words."""

    folder: Folder
    type: str
    status: str
    tenant: str
    owner: str
    media_type: str
    source: str


class Maker:
    """Makes records of one index; rows are as `select/artifacts.py` fetches them."""

    def __init__(self, lookups: Lookups) -> None:
        self._lookups = lookups

    def artifacts(
        self, rows: Sequence[Row], tags: dict[int, tuple[str, ...]], before: dict[int, str], sight: Sight
    ) -> list[Artifact]:
        """Of rows of artifacts.COLUMNS. `tags` by key, `before`: digests before the newest revisions, by their keys."""
        lookups, companies = self._lookups, sight.companies
        made: list[Artifact] = []
        named, company, first, end = None, None, 0, 0
        for row in rows:
            key, newest, changed, gone, run = _keys(row)
            if named != (now := _named(row)):
                named, company = now, companies.get(now) or self._company(now, sight)
            if not first <= newest < end:
                written = lookups.known(newest) or self._written(newest, rows[len(made) :] if made else ())
                first, end = written.first, written.end
            created = written.when if key >= first else lookups.written(key).when
            updated = created if changed == key else lookups.written(changed).when
            deleted = lookups.deleted_at(gone) if gone else None
            run = None if run is None else lookups.ids([run]).get(run)
            facts = (row, company, tags.get(key, ()), created, updated, deleted)
            made.append(waiting(Artifact, (_fill, *facts, written, before.get(newest), run)))
        return made

    def _written(self, seq: int, rest: Sequence[Row]) -> Written:
        """The transaction that wrote a row. From the second one that is read on, those of the rest are read with it.

        What came by one put each would be a statement for each else.
        """
        if len(rest) > 1:
            self._lookups.gather({one for row in rest for one in (row[_AT], row[0], row[14])})
        return self._lookups.written(seq)

    def _company(self, named: tuple[Any, ...], sight: Sight) -> Company:
        collection, *keys = named
        folder = sight.folders.get(collection) or self._lookups.folder(collection, sight)
        found = Company(folder, *map(self._lookups.term, keys))
        sight.keep_company(named, found)
        return found

    def revision(self, artifact_id: str, row: Row, before: str | None, written: Written) -> Revision:
        """Of a row that begins with the columns of a revision and of its content."""
        term = self._lookups.term
        run = None if row[11] is None else self._lookups.ids([row[11]]).get(row[11])
        late_ = (_fill_revision, row, artifact_id, term(row[4]), term(row[7]), written, before, run)
        return waiting(Revision, late_)  # type: ignore[no-any-return]


def pins(revisions: Iterable[Revision]) -> list[Pin]:
    """What names the content of each. One that waits to be filled is not filled for it: who reads many looks at no
    other field, and this takes a fifth of the time."""
    made: list[Pin] = []
    for one in revisions:
        known = late.known(one)
        if known is not None and known[0] is _fill_revision:
            row = known[1]
            made.append((row[0], row[15]))
        else:
            made.append((one.seq, digests.raw(one.digest)))
    return made


def _fill(made: Artifact, name: str, known: tuple[Any, ...]) -> None:
    """Set whether an artifact is deleted (each get asks); its newest revision, which waits too; or all other fields."""
    _, row, company, tags, created, updated, deleted, written, before, run = known
    if name == "deleted_at":
        _set_deleted_at(made, deleted)
        return
    artifact_id = moment.id_text(row[10])
    if name == "revision":
        facts = (row[_AT:], artifact_id, company.media_type, company.source, written, before, run)
        _set_revision(made, waiting(Revision, (_fill_revision, *facts)))
        return
    folder, text, stray = company.folder, row[2], row[3]
    raw = stray or text.encode("utf-8")
    inside = folder.names
    _set_id(made, artifact_id)
    _set_path(made, f"{folder.text}/{text}" if inside else text)
    _set_path_bytes(made, folder.raw + b"/" + raw if inside else raw)
    _set_name(made, text)
    _set_name_bytes(made, raw)
    _set_collection_id(made, folder.id)
    _set_type(made, company.type)
    _set_status(made, company.status)
    _set_tags(made, tags)
    _set_created_at(made, created)
    _set_updated_at(made, updated)
    _set_deleted_at(made, deleted)
    _set_tenant(made, company.tenant)
    _set_owner(made, company.owner)


def _fill_revision(made: Revision, name: str, known: tuple[Any, ...]) -> None:
    """Set the metadata of a revision, which has to be parsed; what names its content; or all other fields."""
    _, row, artifact_id, media_type, source, written, before, run = known
    if name == "metadata":
        _set_metadata(made, canon.canonical(row[5]) if row[5] else {})
        return
    if name in _NAMES_CONTENT:
        _set_seq(made, row[0])
        _set_digest(made, PREFIX + row[15].hex())
        return
    _set_artifact_id(made, artifact_id)
    _set_number(made, row[2])
    _set_digest(made, PREFIX + row[15].hex())
    _set_size(made, row[16])
    _set_media_type(made, media_type)
    _set_written_at(made, written.when)
    _set_actor(made, written.who)
    _set_seq(made, row[0])
    _set_previous_digest(made, before)
    _set_message(made, row[6] or "")
    _set_source(made, source + (row[8] or ""))
    _set_file(made, _NO_FACTS if row[9] is row[10] is None else FileFacts(row[9], row[10]))
    _set_run_id(made, run)
    _set_state(made, _STATES[row[12]])

"""Artifacts and revisions out of proven rows: what a query does in Python for each record.

All that a row names by a key is looked up at once, and may raise; turning cells into text, times and JSON waits until
somebody asks for the field (values/late.py). Rows that name the same things by the same keys share what was found.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdfast.index.apply.artifacts import STATE_KEPT, STATE_PURGED, STATE_WITHDRAWN
from holdfast.index.select.lookups import Lookups, Written
from holdfast.index.select.sight import Folder, Row, Sight
from holdfast.values import canon, late, moment
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
_AT = 18
"""Where in a row of artifacts.COLUMNS the columns of the revision begin."""

_SET, _SET_REVISION = late.setters(Artifact), late.setters(Revision)


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
        lookups, companies, made = self._lookups, sight.companies, []
        written: Written | None = None
        for row in rows:
            key, newest, changed = row[0], row[_AT], row[14]
            named = (row[1], row[4], row[5], row[12], row[13], row[22], row[25])
            company = companies.get(named) or self._company(named, sight)
            if written is None or not written.first <= newest < written.end:
                written = lookups.written(newest)
            created = written.when if key >= written.first else lookups.written(key).when
            updated = created if changed == key else lookups.written(changed).when
            deleted = lookups.deleted_at(row[15]) if row[15] else None
            run = None if row[29] is None else lookups.ids([row[29]]).get(row[29])
            facts = (row, company, tags.get(key, ()), created, updated, deleted)
            made.append(waiting(Artifact, (_fill, *facts, written, before.get(newest), run)))
        return made

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


def _fill(made: Artifact, name: str, known: tuple[Any, ...]) -> None:
    """Set the newest revision of an artifact, which waits in turn; or all other fields."""
    _, row, company, tags, created, updated, deleted, written, before, run = known
    if name == "revision":
        facts = (row[_AT:], moment.id_text(row[10]), company.media_type, company.source)
        _SET["revision"](made, waiting(Revision, (_fill_revision, *facts, written, before, run)))
        other = "path"
    else:
        folder, text, stray = company.folder, row[2], row[3]
        raw = stray or text.encode("utf-8")
        path, path_raw = text, raw
        if folder.names:
            path, path_raw = f"{folder.text}/{text}", folder.raw + b"/" + raw
        _fields(made, _SET, (
            ("id", moment.id_text(row[10])), ("path", path), ("path_bytes", path_raw), ("name", text),
            ("name_bytes", raw), ("collection_id", folder.id), ("type", company.type), ("status", company.status),
            ("tags", tags), ("created_at", created), ("updated_at", updated), ("deleted_at", deleted),
            ("tenant", company.tenant), ("owner", company.owner),
        ))  # fmt: skip
        other = "revision"
    if late.is_set(Artifact, made, other):
        late.done(made)


def _fill_revision(made: Revision, name: str, known: tuple[Any, ...]) -> None:
    """Set the digest of a revision, or its metadata, for conditions look at these; or all other fields."""
    _, row, artifact_id, media_type, source, written, before, run = known
    if name == "digest":
        _SET_REVISION[name](made, PREFIX + row[15].hex())
    elif name == "metadata":
        _SET_REVISION[name](made, canon.canonical(row[5]) if row[5] else {})
    else:
        _fields(made, _SET_REVISION, (
            ("artifact_id", artifact_id), ("number", row[2]), ("size", row[16]), ("media_type", media_type),
            ("created_at", written.when), ("actor", written.who), ("seq", row[0]), ("previous_digest", before),
            ("message", row[6] or ""), ("source", source + (row[8] or "")),
            ("file", _NO_FACTS if row[9] is row[10] is None else FileFacts(row[9], row[10])), ("run_id", run),
            ("state", _STATES[row[12]]),
        ))  # fmt: skip
    if all(late.is_set(Revision, made, other) for other in ("seq", "digest", "metadata")):
        late.done(made)


def _fields(made: object, setters: dict[str, Any], values: tuple[tuple[str, Any], ...]) -> None:
    for name, value in values:
        setters[name](made, value)

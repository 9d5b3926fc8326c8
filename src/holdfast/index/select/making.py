"""Artifacts and revisions out of proven rows: what a query does in Python for each record.

An object with the same slots that is not frozen takes the values and then becomes the record (values/frozen.py). That
takes 0.6 µs, where a frozen dataclass of fifteen fields, which sets each by a call, takes 3.5.
"""

from __future__ import annotations

from typing import Any

from holdfast.index.apply.artifacts import STATE_KEPT, STATE_PURGED, STATE_WITHDRAWN
from holdfast.index.select.lookups import Lookups, Written
from holdfast.index.select.sight import Row, Sight
from holdfast.values import canon, moment
from holdfast.values.digest import PREFIX
from holdfast.values.frozen import thawed
from holdfast.values.records import Artifact, FileFacts, Revision, RevisionState

_STATES = {
    STATE_KEPT: RevisionState.KEPT,
    STATE_PURGED: RevisionState.PURGED,
    STATE_WITHDRAWN: RevisionState.WITHDRAWN,
}
_NO_FACTS = FileFacts()
_new = object.__new__


_Artifact, _Revision = thawed(Artifact), thawed(Revision)


class Maker:
    """Makes records of one index; rows are as `select/artifacts.py` fetches them."""

    def __init__(self, lookups: Lookups) -> None:
        self._lookups = lookups

    def artifact(self, row: Row, tags: tuple[str, ...], before: str | None, sight: Sight) -> Artifact:
        """Of a row of artifacts.COLUMNS. `before`: digest of the revision before the newest."""
        lookups = self._lookups
        term, key, text, stray = lookups.term, row[0], row[2], row[3]
        folder = sight.folders.get(row[1]) or lookups.folder(row[1], sight)
        written = lookups.written(row[18])
        made: Any = _new(_Artifact)
        made.id = artifact_id = moment.id_text(row[10])
        made.name = text
        made.name_bytes = raw = stray or text.encode("utf-8")
        made.path, made.path_bytes = text, raw
        if folder.names:
            made.path, made.path_bytes = f"{folder.text}/{text}", folder.raw + b"/" + raw
        made.collection_id = folder.id
        made.type, made.status = term(row[4]), term(row[5])
        made.tags = tags
        made.revision = self.revision(artifact_id, row[18:], before, written)
        made.created_at = created = written.when if key >= written.first else lookups.written(key).when
        made.updated_at = created if row[14] == key else lookups.written(row[14]).when
        made.deleted_at = lookups.deleted_at(row[15]) if row[15] else None
        made.tenant, made.owner = term(row[12]), term(row[13])
        made.__class__ = Artifact
        return made  # type: ignore[no-any-return]

    def revision(self, artifact_id: str, row: Row, before: str | None, written: Written) -> Revision:
        """Of a row that begins with the columns of a revision and of its content."""
        term, run = self._lookups.term, row[11]
        made: Any = _new(_Revision)
        made.artifact_id = artifact_id
        made.number = row[2]
        made.digest = PREFIX + row[15].hex()
        made.size = row[16]
        made.media_type = term(row[4])
        made.metadata = canon.canonical(row[5]) if row[5] else {}
        made.created_at, made.actor = written.when, written.who
        made.seq = row[0]
        made.previous_digest = before
        made.message = row[6] or ""
        made.source = term(row[7]) + (row[8] or "")
        made.file = _NO_FACTS if row[9] is row[10] is None else FileFacts(row[9], row[10])
        made.run_id = None if run is None else self._lookups.ids([run]).get(run)
        made.state = _STATES[row[12]]
        made.__class__ = Revision
        return made  # type: ignore[no-any-return]

"""Declared indexes on metadata: conditions on one field of artifacts are met without going through all of them."""

from __future__ import annotations

from holdfast.engine.handle import Handle
from holdfast.engine.transaction import write
from holdfast.errors import InvalidValueError, NotFoundError
from holdfast.index.metadata import PREFIX
from holdfast.kinds import checks, labels
from holdfast.kinds.clauses import upheld
from holdfast.values import moment, query
from holdfast.values.change import Body
from holdfast.values.records import MetadataIndex

MOST = 32
"""Indexes that a store can have: each of them costs a little at every put."""

MAX_FIELD_BYTES = 1_000


@upheld
class Indexes:
    """`store.indexes`: which fields of artifacts' metadata are indexed. Answers are the same with them and without."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def list(self) -> tuple[MetadataIndex, ...]:
        """The declared indexes, by age."""
        self._handle.alive()
        return tuple(self._handle.index.declared.all())

    def declare(self, field: str, *, note: str = "") -> MetadataIndex:
        """Index a field, `metadata.PATH` as in conditions; what is in the store already is indexed too.

        A change like any other: durable when it returns, and part of the history, so a rebuild, a copy and a recovery
        have it. Holds the writer lock while all artifacts are gone through. Declaring it again changes nothing.
        Raises InvalidValueError for what is no such field, or one index too many; InvalidQueryError for a bad path.
        """
        field = checked(field)
        with write(self._handle, note=note, what="declare index") as unit:
            known = self.list()
            for one in known:
                if one.field == field:
                    return one
            if len(known) >= MOST:
                raise InvalidValueError(
                    f"the store has {len(known)} declared indexes", where="field", reason="too many",
                    remedy="Drop one that no query needs.",
                )  # fmt: skip
            head: Body = {"kind": "metadata-index", "id": moment.draw_id(unit.now_us), "action": "create"}
            unit.change(head | {"new": {"field": field}} | labels.given(note=note))
            return next(one for one in self.list() if one.field == field)

    def drop(self, field: str, *, note: str = "") -> MetadataIndex:
        """Index a field no longer; the index as it was. Nothing but the index goes. Raises NotFoundError."""
        field = checked(field)
        with write(self._handle, note=note, what="drop index") as unit:
            found = next((one for one in self.list() if one.field == field), None)
            if found is None:
                raise NotFoundError(f"no index is declared on {field}", kind="metadata-index", ref=field)
            unit.change({"kind": "metadata-index", "id": found.id, "action": "delete"} | labels.given(note=note))
            return found


def checked(field: str) -> str:
    """The field, its path in the one form in which it is kept: quoted only where it must be."""
    field = checks.text_of(field, "field")
    path = field.removeprefix(PREFIX)
    if path == field:
        raise InvalidValueError(
            f"{field!r} cannot be indexed", where="field", reason="not metadata",
            remedy="Name a field of the metadata, such as metadata.author.name; other fields need no declared index.",
        )  # fmt: skip
    if len(field.encode("utf-8")) > MAX_FIELD_BYTES:
        raise InvalidValueError(f"a path of {len(field)} characters", where="field", reason="too long")
    return PREFIX + query.path_text(query.path_of(path))

"""An index that shows one tenant: whatever leads to a record leads to none where it belongs to somebody else.

Records are found by an id, a name below a root, a query, a digest, or a text. Each of these ways is guarded here, and
what is reached from a record of one's own (its revisions, its collection, its steps) is one's own, for ties between
tenants are refused when they are written (engine/tenancy.py). Rooms that only whole-store work needs are not there.

Chain, rows of files, reducers and the vocabulary are the store's, and stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from holdfast.errors import StoreWideError
from holdfast.index import proof, revised
from holdfast.index.select.artifacts import ArtifactRows
from holdfast.index.select.collections import CollectionRows
from holdfast.index.select.contents import Contents, Held
from holdfast.index.select.ends import EndRows, EndState
from holdfast.index.select.finding import Finder
from holdfast.index.select.keyset import PAGE
from holdfast.index.select.lineage import LineageRows
from holdfast.index.select.lookups import MARKS, Lookups
from holdfast.index.select.making import Pin
from holdfast.index.select.relationships import RelationshipRows
from holdfast.index.select.runs import RunRows, WantedRuns
from holdfast.index.select.sight import Sight
from holdfast.index.select.tenancy import Tenancy
from holdfast.index.sql import SqlIndex
from holdfast.values import digest
from holdfast.values.query import All, Compare, Condition, Order, Plan
from holdfast.values.records import Artifact, Collection, Endpoint, Page, Relationship, Run, Step

T = TypeVar("T")
_REVISION = proof.proven("revision", "revision")
_RECORD = proof.proven("record", "q")


@dataclass(frozen=True, slots=True)
class Guard:
    """Whose records are shown."""

    tenant: str
    tenancy: Tenancy

    def ids(self, wanted: Iterable[str]) -> set[str]:
        """Those that are the tenant's."""
        return {one for one, tenant in self.tenancy.of_ids(wanted).items() if tenant == self.tenant}

    def keys(self, wanted: Iterable[int]) -> set[int]:
        """The same by key."""
        return {one for one, tenant in self.tenancy.of_keys(wanted).items() if tenant == self.tenant}

    def own(self, found: T | None) -> T | None:
        """A record, if it is the tenant's."""
        return found if getattr(found, "tenant", None) == self.tenant else None


def limit(index: SqlIndex, tenant: str) -> None:
    """From now on an open index shows this tenant's records only; `index.everything` still has all, for the engine."""
    database, sights = index.database, index.sights
    guard = Guard(tenant, index.tenancy)
    lookups = ScopedLookups(database, sights)
    lookups.guard = guard
    index.lookups = lookups
    index.collections = ScopedCollections(database, lookups)
    index.artifacts = ScopedArtifacts(database, lookups)
    index.contents = ScopedContents(database, lookups)
    ends = index.ends = ScopedEnds(database)
    index.relationships = ScopedRelationships(database, lookups, ends)
    index.runs = ScopedRuns(database, lookups)
    index.lineage = ScopedLineage(database, lookups)
    index.finder = ScopedFinder(database, index.artifacts, index.collections, index.chain, index.declared)
    for room in (index.collections, index.artifacts, index.contents, ends, index.relationships, index.runs,
                 index.lineage, index.finder):  # fmt: skip
        room.guard = guard
    index.whole = _Closed()  # type: ignore[assignment]  # none of its calls is one tenant's


class _Closed:
    """Stands where one tenant has nothing to look for."""

    def __getattr__(self, name: str) -> NoReturn:
        raise StoreWideError(f"{name}: this reads the whole store, and the handle is of one tenant")


class ScopedLookups(Lookups):
    """Keys of one's own records."""

    guard: Guard

    def key(self, record_id: str) -> int | None:
        """The key of a record of this tenant."""
        found = super().key(record_id)
        return found if found is not None and self.guard.ids([record_id]) else None


class ScopedCollections(CollectionRows):
    """Collections below the tenant's own root."""

    guard: Guard

    def root(self, tenant: str = "", sight: Sight | None = None) -> int | None:  # noqa: ARG002 - one alone is shown
        """Key of the tenant's root."""
        return super().root(self.guard.tenant, sight)

    def by_key(self, key: int) -> Collection | None:
        """The collection with a key, if it is the tenant's."""
        return self.guard.own(super().by_key(key))

    def by_id(self, collection_id: str) -> Collection | None:
        """The collection with an id, if it is the tenant's."""
        return self.guard.own(super().by_id(collection_id))


class ScopedArtifacts(ArtifactRows):
    """One's own artifacts."""

    guard: Guard

    def by_id(self, artifact_id: str, sight: Sight | None = None) -> Artifact | None:
        """The artifact with an id, if it is the tenant's."""
        return self.guard.own(super().by_id(artifact_id, sight))

    def by_key(self, key: int) -> Artifact | None:
        """The artifact with a key, if it is the tenant's."""
        return self.guard.own(super().by_key(key))

    def many_of(self, artifact_ids: Sequence[str]) -> dict[int, Artifact]:
        """Those with some ids that are the tenant's."""
        return {number: one for number, one in super().many_of(artifact_ids).items() if self.guard.own(one)}

    def many_by_key(self, keys: Sequence[int]) -> dict[int, Artifact]:
        """Those with some keys that are the tenant's."""
        return {key: one for key, one in super().many_by_key(keys).items() if self.guard.own(one)}

    def live_from(self, after_key: int, limit: int) -> NoReturn:
        """Goes through all there are."""
        raise StoreWideError(f"all artifacts from {after_key} on, {limit} at a time: the handle is of one tenant")

    def changed(self, after: int, upto: int) -> NoReturn:
        """Names the records of everybody."""
        raise StoreWideError(f"all that changed from {after + 1} to {upto}: the handle is of one tenant")


class ScopedContents(Contents):
    """Contents of one's own artifacts."""

    guard: Guard

    def of(self, artifact_id: str) -> Held | None:
        """The newest content of an artifact of the tenant."""
        return super().of(artifact_id) if self.guard.ids([artifact_id]) else None

    def many_of(self, artifact_ids: Sequence[str]) -> dict[int, Held]:
        """The same of many."""
        own = self.guard.ids(artifact_ids)
        return {number: one for number, one in super().many_of(artifact_ids).items() if artifact_ids[number] in own}

    def many_revisions(self, revisions: Sequence[Pin]) -> list[Held | None]:
        """Those of revisions that belong to artifacts of the tenant, whatever a caller says of them."""
        own = self._own_revisions([seq for seq, _ in revisions])
        found = super().many_revisions(revisions)
        return [one if seq in own else None for one, (seq, _) in zip(found, revisions, strict=True)]

    def _own_revisions(self, seqs: Sequence[int]) -> set[int]:
        found: dict[int, int] = {}
        for start in range(0, len(seqs), MARKS):
            part = list(seqs[start : start + MARKS])
            sql = f"SELECT key, artifact, {_REVISION} FROM revision WHERE key IN ({','.join('?' * len(part))})"
            found |= {row[0]: row[1] for row in self._db.rows(sql, part)}
        own = self.guard.keys(found.values())
        return {seq for seq, artifact in found.items() if artifact in own}


class ScopedEnds(EndRows):
    """The state of one's own records; others are not there."""

    guard: Guard

    def states(self, ids: Iterable[str]) -> dict[str, EndState]:
        """Of records of the tenant."""
        found = super().states(ids)
        own = self.guard.ids(found)
        return {one: state for one, state in found.items() if one in own}


class ScopedRelationships(RelationshipRows):
    """One's own relationships."""

    guard: Guard

    def by_id(self, relationship_id: str) -> Relationship | None:
        """The relationship with an id, if it is the tenant's."""
        return self.guard.own(super().by_id(relationship_id))

    def own_tombstone(self, relationship_id: str) -> bool:
        """Whether a relationship of the tenant was deleted itself."""
        return bool(self.guard.ids([relationship_id])) and super().own_tombstone(relationship_id)

    def _keys(
        self, where: list[str], parameters: list[Any], after: int, *, descending: bool, limit: int,
        types: Sequence[int] | None = None,
    ) -> list[int]:  # fmt: skip
        own = f"EXISTS (SELECT 1 FROM record q WHERE q.key = t1.key AND CASE WHEN {_RECORD} THEN q.tenant = ? END)"
        term = self._lookups.term_key(self.guard.tenant)
        where, parameters = [*where, own], [*parameters, term]
        return super()._keys(where, parameters, after, descending=descending, limit=limit, types=types)

    def equal(self, type_name: str, source: Endpoint, target: Endpoint) -> Relationship | None:
        """The tenant's relationship of this type between these very ends."""
        return self.guard.own(super().equal(type_name, source, target))


class ScopedRuns(RunRows):
    """One's own runs."""

    guard: Guard

    def by_id(self, run_id: str) -> Run | None:
        """The run with an id, if it is the tenant's."""
        return self.guard.own(super().by_id(run_id))

    def page(
        self, wanted: WantedRuns, after: int, *, descending: bool = False, limit: int = PAGE
    ) -> list[tuple[int, Run]]:
        """The first of the tenant's runs beyond a key, by age."""
        found: list[tuple[int, Run]] = []
        while True:
            part = super().page(wanted, after, descending=descending, limit=limit)
            found += [pair for pair in part if self.guard.own(pair[1])]
            if len(found) >= limit or len(part) < limit:
                return found[:limit]
            after = part[-1][0]

    def names(self, ids: list[str]) -> dict[str, str]:
        """Names of the tenant's runs."""
        own = self.guard.ids(ids)
        return super().names([one for one in ids if one in own])

    def step(self, step_id: str) -> Step | None:
        """The step with an id, if it is the tenant's."""
        return super().step(step_id) if self.guard.ids([step_id]) else None


class ScopedLineage(LineageRows):
    """Ties and labels of one's own records."""

    guard: Guard

    def labels(self, ends: Iterable[Endpoint]) -> dict[Endpoint, str]:
        """Texts of the tenant's records; of another there is only the id that was asked with."""
        wanted = list(ends)
        own = self.guard.ids(end.id for end in wanted if end.kind != "external")
        shown = super().labels(end for end in wanted if end.kind == "external" or end.id in own)
        return {end: shown.get(end, end.id) for end in wanted}


class ScopedFinder(Finder):
    """Queries for one's own artifacts."""

    guard: Guard

    def page(
        self, condition: Condition | None, order: Order, *, limit: int, token: str | None = None, deleted: bool = False
    ) -> Page[Artifact]:
        """A page of the tenant's artifacts. A token says a place in an order, and shows nothing of what lies there."""
        return super().page(self._own(condition), order, limit=limit, token=token, deleted=deleted)

    def explain(self, condition: Condition | None, order: Order, *, deleted: bool = False) -> Plan:
        """How `page` would ask."""
        return super().explain(self._own(condition), order, deleted=deleted)

    def _own(self, condition: Condition | None) -> Condition:
        own = Compare("tenant", "=", self.guard.tenant)
        return own if condition is None else All((own, condition))

    def _digests(self, low: bytes, high: bytes) -> list[str]:
        """Digests that a revision of the tenant has or had."""
        sql = f"""SELECT c.digest FROM content c WHERE substr(c.digest, 1, 4) BETWEEN ? AND ?
                 AND c.digest BETWEEN ? AND ? AND EXISTS (SELECT 1 FROM revision v JOIN record r ON r.key = v.artifact
                 JOIN term t ON t.key = r.tenant WHERE {revised.of_content("v", "c.key")} AND t.text = ?)
                 ORDER BY c.digest LIMIT 4"""
        rows = self._db.rows(sql, (low[:4], high[:4], low, high, self.guard.tenant))
        return [digest.text(row[0]) for row in rows]


Scoped = (
    ScopedLookups, ScopedCollections, ScopedArtifacts, ScopedContents, ScopedEnds, ScopedRelationships, ScopedRuns,
    ScopedLineage, ScopedFinder,
)  # fmt: skip
"""The rooms that are limited."""

"""Relationships: typed, directed links between records of any kind, and the vocabulary of their types."""

from __future__ import annotations

import functools
import heapq
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal

from holdfast.engine.handle import Handle
from holdfast.errors import ConflictError, InvalidValueError, NameTakenError, NotFoundError
from holdfast.index.select import keyset
from holdfast.index.select.relationships import Wanted, beside
from holdfast.kinds import ambient, checks, endpoints, labels
from holdfast.kinds.clauses import upheld
from holdfast.kinds.endpoints import Linkable
from holdfast.kinds.writing import write
from holdfast.values import moment
from holdfast.values.change import Body
from holdfast.values.records import Endpoint, Page, Relationship

# What only some verbs need is imported when these are called: a command must not wait for it.
# ruff: noqa: PLC0415
if TYPE_CHECKING:
    from holdfast.engine.transaction import Unit
    from holdfast.kinds import paging
    from holdfast.values.fields import Fields
    from holdfast.values.lineage import Lineage
    from holdfast.values.query import Condition
    from holdfast.values.vocabulary import RelationshipType

LINEAGE_LIMIT = 10_000
"""Nodes, and edges, that one walk keeps unless told otherwise: some megabytes."""

_PROVENANCE = "provenance"
RelationshipRef = Relationship | str
Way = Literal["both", "out", "in"]


@functools.cache
def _fields() -> Fields[Relationship]:
    """What conditions may ask of relationships."""
    from holdfast.values.fields import Fields

    return Fields(
        "relationships",
        {
            "id": lambda r: r.id,
            "type": lambda r: r.type,
            # An end is met by its id, as `kind:id`, and with its revision as `kind:id@revision`.
            "source": lambda r: _spellings(r.source),
            "target": lambda r: _spellings(r.target),
            "tag": lambda r: r.tags,
            "tenant": lambda r: r.tenant,
            "owner": lambda r: r.owner,
            "created": lambda r: r.created_at,
            "updated": lambda r: r.updated_at,
        },
        {"metadata": lambda r: r.metadata},
    )


def _spellings(end: Endpoint) -> tuple[str, ...]:
    return tuple(dict.fromkeys((end.id, f"{end.kind}:{end.id}", str(end))))


@upheld
class Relationships:
    """`store.relationships`. A relationship is visible while it has no tombstone of its own and both ends are live."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    # -- reading -----------------------------------------------------------------------------------------------------

    def get(self, ref: RelationshipRef, *, deleted: bool = False) -> Relationship:
        """The relationship with an id (`UUID` or `id:UUID`) as it is now; `deleted`: also one that is not visible.

        Raises NotFoundError.
        """
        self._handle.alive()
        record_id = ref.id if isinstance(ref, Relationship) else ref.removeprefix("id:")
        found = self._handle.index.relationships.by_id(record_id) if moment.is_id(record_id) else None
        if found is None:
            raise NotFoundError(f"there is no relationship {record_id!r}", kind="relationship", ref=record_id)
        if found.deleted_at is not None and not deleted:
            trouble = "is deleted" if self._handle.index.relationships.own_tombstone(found.id) else self._dead(found)
            raise NotFoundError(f"relationship {found.id} {trouble}", kind="relationship", ref=found.id)
        return found

    def _dead(self, found: Relationship) -> str:
        gone = self._handle.index.ends.gone([found.source, found.target])
        dead = next(end for end in (found.source, found.target) if gone.get(end.id))
        return f"is hidden, for its {'source' if dead is found.source else 'target'} {dead} is deleted"

    def of(self, record: Linkable, *, direction: Way = "both", type: str | None = None) -> Iterator[Relationship]:
        """Visible relationships of a record, oldest first: `out` of it, `in` to it, or `both`, in short reads.

        An artifact's are those of all its revisions; a Revision's those that name this very revision.
        """
        checks.one_of(direction, ("both", "out", "in"), "direction")
        end = self._named(record, "record")
        types = None if type is None else (self._type(type).name,)
        sides = {"out": ("source",), "in": ("target",)}.get(direction, ("source", "target"))
        return self._of(end, sides, types)

    def _of(self, end: Endpoint, sides: tuple[str, ...], types: tuple[str, ...] | None) -> Iterator[Relationship]:
        streams = [self._side(beside(side, end, types)) for side in sides]
        last = 0
        for key, found in heapq.merge(*streams, key=lambda pair: pair[0]):
            # One that leads from a record to itself comes from both sides.
            if key != last and found.deleted_at is None:
                yield found
            last = key

    def _side(self, wanted: Wanted) -> Iterator[tuple[int, Relationship]]:
        return keyset.stream(lambda after: self._handle.index.relationships.page(wanted, after))

    def count_touching(self, record_id: str) -> int:
        """How many visible relationships have the record with this id as an end."""
        self._handle.alive()
        return self._handle.index.relationships.count_touching(record_id)

    def find(
        self, where: Condition | None = None, *, type: str | None = None, source: Linkable | None = None,
        target: Linkable | None = None, tag: str | None = None, order: str = "created", limit: int | None = None,
        deleted: bool = False,
    ) -> Iterator[Relationship]:  # fmt: skip
        """Visible relationships that meet everything asked, by age (`-created`: newest first), in short reads.

        Fields of `where`: id, type, source, target, tag, tenant, owner, created, updated, metadata.… A source or
        target without a revision stands for every revision. `deleted`: those that are not visible, instead.
        Raises InvalidQueryError, UnknownTypeError.
        """
        return self._answer(where, self._wanted(type, source, target, tag), order, deleted=deleted).all(limit)

    def page(
        self, where: Condition | None = None, *, type: str | None = None, source: Linkable | None = None,
        target: Linkable | None = None, tag: str | None = None, order: str = "created", limit: int = 100,
        token: str | None = None, deleted: bool = False,
    ) -> Page[Relationship]:  # fmt: skip
        """As `find`, a page at a time: up to `limit` of them, and the token that the next call takes."""
        return self._answer(where, self._wanted(type, source, target, tag), order, deleted=deleted).page(limit, token)

    def _wanted(self, type: str | None, source: Linkable | None, target: Linkable | None, tag: str | None) -> Wanted:
        self._handle.alive()
        return Wanted(
            types=None if type is None else (self._type(type).name,),
            source=None if source is None else self._named(source, "source"),
            target=None if target is None else self._named(target, "target"),
            tag=tag,
        )

    def _answer(
        self, where: Condition | None, wanted: Wanted, order: str, *, deleted: bool
    ) -> paging.Answer[Relationship]:
        from holdfast.kinds import paging

        rows = self._handle.index.relationships
        return paging.answer(
            _fields(),
            functools.partial(rows.page, wanted),
            where,
            order=order,
            keep=lambda found: (found.deleted_at is not None) == deleted,
        )

    def lineage(
        self, record: Linkable, *, direction: Literal["up", "down", "both"] = "up", depth: int | None = None,
        types: str | Iterable[str] | None = None, limit: int = LINEAGE_LIMIT,
    ) -> Lineage:  # fmt: skip
        """Where a record comes from (`up`), what came of it (`down`), or both, along relationships and runs.

        Breadth first, to `depth` steps if given; cycles end the walk where it has been. Along the types whose flow
        says so, or along `types` alone; `made_by` and `used` name the ties to runs. Through live records only.
        An artifact stands for all its revisions, a Revision for itself. At most `limit` nodes and edges each;
        `truncated` tells if there was more. Raises NotFoundError, UnknownTypeError, InvalidValueError.
        """
        from holdfast.kinds import lineage

        self._handle.alive()
        start = endpoints.existing(self._handle, record, role="record")
        plan = lineage.plan(self.types(), types)
        return lineage.walk(self._handle, start, plan, direction=direction, depth=depth, limit=limit)

    # -- writing -----------------------------------------------------------------------------------------------------

    def relate(
        self, source: Linkable, type: str, target: Linkable, *, metadata: dict[str, Any] | None = None,
        tags: Iterable[str] = (), owner: str = "", note: str = "", tx: str | None = None,
    ) -> Relationship:  # fmt: skip
        """Say that `source` stands to `target` as `type` says. Durable when it returns.

        Ends are records, a Revision (pinned), an Endpoint (`external` for what is not in the store) or the path of an
        artifact. Types of the family `provenance` pin the revision of artifacts: the one a record was read with, or
        the newest. If it is there already with the same metadata it is returned and nothing changes. `tx`: an id for
        the transaction; repeating it returns the first result.
        Raises NotFoundError (field `end`), UnknownTypeError, InvalidValueError; ConflictError if it is there with other
        metadata.
        """
        said = checks.object_of(metadata, "metadata")
        from holdfast.kinds import repeats

        made = repeats.made_before(self._handle, tx, "relationship")
        if made is not None:
            return self.get(made, deleted=True)
        with write(self._handle, tx=tx, note=note, what="relate") as unit:
            known = self._type(type)
            pin = known.family.value == _PROVENANCE
            ends = (
                endpoints.existing(self._handle, source, role="source", pin=pin),
                endpoints.existing(self._handle, target, role="target", pin=pin),
            )
            _refuse_self(known.name, *ends)
            held = self._handle.index.relationships.equal(known.name, *ends)
            if held is not None:
                return _same(held, said)
            new = {
                "type": known.name, "source": endpoints.end_json(ends[0]), "target": endpoints.end_json(ends[1]),
                **labels.given(metadata=said, tags=labels.checked(tags), owner=owner),
            }  # fmt: skip
            body: Body = {"kind": "relationship", "action": "create", "id": moment.draw_id(unit.now_us), "new": new}
            return self._done(unit, body, note)

    def update(
        self, ref: RelationshipRef, *, type: str | None = None, metadata: dict[str, Any] | None = None,
        tags: Iterable[str] | None = None, owner: str | None = None, note: str = "",
    ) -> Relationship:  # fmt: skip
        """Another type, metadata (replaced whole; `{}` clears), tags or owner; what is not given stays.

        The ends never change. No change is a no-op. Raises NotFoundError, UnknownTypeError, ConflictError if such a
        relationship is there already or a provenance type would stand on an end that names no revision.
        """
        said = None if metadata is None else checks.object_of(metadata, "metadata")
        with write(self._handle, note=note, what="update relationship") as unit:
            found = self.get(ref)
            pairs: dict[str, list[Any]] = {}
            if type is not None and type != found.type:
                self._refuse_type(found, self._type(type))
                pairs["type"] = [found.type, type]
            if said is not None and not labels.same(said, found.metadata):
                pairs["metadata"] = [found.metadata, said]
            if tags is not None and (after := labels.checked(tags)) != list(found.tags):
                pairs["tags"] = [list(found.tags), after]
            if owner is not None and owner != found.owner:
                pairs["owner"] = [found.owner, owner]
            if not pairs:
                return found
            return self._done(unit, {"kind": "relationship", "action": "update", "id": found.id, "set": pairs}, note)

    def _refuse_type(self, found: Relationship, new: RelationshipType) -> None:
        _refuse_self(new.name, found.source, found.target)
        loose = [end for end in (found.source, found.target) if end.kind == "artifact" and end.revision is None]
        if new.family.value == _PROVENANCE and loose:
            raise ConflictError(
                f"{new.name} names revisions, and relationship {found.id} does not", id=found.id,
                remedy="Delete it and relate the revisions anew.",
            )  # fmt: skip
        held = self._handle.index.relationships.equal(new.name, found.source, found.target)
        if held is not None:
            raise ConflictError(f"relationship {held.id} says that already", id=found.id, holder=held.id)

    def delete(
        self, ref: RelationshipRef, *, relationships: Literal["cascade", "restrict"] = "cascade", note: str = ""
    ) -> Relationship:
        """A tombstone; relationships that have this one as an end go out of sight with it.

        With `restrict`, InUseError if there are such. `undelete` brings all of it back.
        """
        with write(self._handle, note=note, what="unrelate") as unit:
            found = self.get(ref)
            checks.refuse_touched(unit, found.id, f"relationship {found.id}", relationships)
            return self._done(unit, {"kind": "relationship", "action": "delete", "id": found.id}, note)

    def undelete(self, ref: RelationshipRef, *, note: str = "") -> Relationship:
        """Lift the relationship's own tombstone; one that is visible is returned as it is.

        Raises NotFoundError naming the end that is deleted (undelete that), ConflictError naming another that says
        the same by now.
        """
        with write(self._handle, note=note, what="undelete relationship") as unit:
            found = self.get(ref, deleted=True)
            if found.deleted_at is None:
                return found
            for role, end in (("source", found.source), ("target", found.target)):
                endpoints.existing(self._handle, end, role=role)
            held = self._handle.index.relationships.equal(found.type, found.source, found.target)
            if held is not None:
                raise ConflictError(f"relationship {held.id} says the same by now", id=found.id, holder=held.id,
                                    remedy="Delete that one first, or keep it instead.")  # fmt: skip
            return self._done(unit, {"kind": "relationship", "action": "undelete", "id": found.id}, note)

    # -- the vocabulary ----------------------------------------------------------------------------------------------

    def types(self) -> tuple[RelationshipType, ...]:
        """The known types: the built-in ones by family, then those registered in this store, by age."""
        from holdfast.values import vocabulary

        self._handle.alive()
        added = (vocabulary.extension(name, family, text) for name, family, text, _ in self._added())
        return (*vocabulary.BUILT_IN, *added)

    def register_type(self, name: str, *, family: str, description: str, note: str = "") -> RelationshipType:
        """Add a type to this store's vocabulary; kept in its history like everything else.

        `family`: structural, intent, validation or provenance. Registering the same again changes nothing.
        Raises InvalidValueError, NameTakenError if the name means something else.
        """
        from holdfast.values import vocabulary

        new = vocabulary.extension(name, family, description)
        with write(self._handle, note=note, what="register type") as unit:
            holder = next((record_id for held, _, _, record_id in self._added() if held == name), "vocabulary")
            known = next((one for one in self.types() if one.name == name), None)
            if known is not None and known == new:
                return known
            if known is not None or name in (vocabulary.MADE_BY, vocabulary.USED):
                raise NameTakenError(f"{name!r} is a relationship type already", name=name, holder=holder,
                                     kind="relationship-type", remedy="Choose another name.")  # fmt: skip
            said = {"name": name, "family": new.family.value, "description": description}
            record_id = moment.draw_id(unit.now_us)
            body: Body = {"kind": "relationship-type", "action": "create", "id": record_id, "new": said}
            unit.change(body | labels.given(note=note))
            return new

    def _added(self) -> list[tuple[str, str, str, str]]:
        return self._handle.index.relationships.types()

    # -- shared ------------------------------------------------------------------------------------------------------

    def _type(self, name: str) -> RelationshipType:
        from holdfast.values import vocabulary

        known = {one.name: one for one in self.types()}
        if name not in known:
            raise vocabulary.unknown(name, known)
        return known[name]

    def _named(self, thing: Linkable, role: str) -> Endpoint:
        self._handle.alive()
        return endpoints.named(self._handle, thing, role=role)

    def _done(self, unit: Unit, body: Body, note: str) -> Relationship:
        unit.change(body | labels.given(note=note, run=ambient.current_run(self._handle)))
        return self.get(body["id"], deleted=True)


def _refuse_self(type_name: str, source: Endpoint, target: Endpoint) -> None:
    """Two revisions of one artifact are two things, but not for `contains`: nothing is a part of its later self."""
    from holdfast.values import vocabulary

    if type_name not in vocabulary.IRREFLEXIVE or (source.kind, source.id) != (target.kind, target.id):
        return
    apart = None not in (source.revision, target.revision) and source.revision != target.revision
    if not apart or type_name in ("contains", "part_of"):
        raise InvalidValueError(f"{source} cannot be {type_name} itself", where="target", reason="self",
                                remedy="Name another record, or two revisions of it.")  # fmt: skip


def _same(held: Relationship, said: dict[str, Any]) -> Relationship:
    if labels.same(held.metadata, said):
        return held
    raise ConflictError(
        f"relationship {held.id} says that already, with other metadata", id=held.id, holder=held.id,
        remedy="Change its metadata with `update`.",
    )  # fmt: skip

"""The part of the dict model that keeps relationships and runs, and says which of them can be seen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from holdfast.testing.model_places import Refused, same
from holdfast.testing.model_trees import Trees

End = tuple[str, int | str, int | None]
"""(kind, handle or external id, pinned revision)."""

PINNING = ("derived_from", "summarized_in", "follows")
BUILT_IN = ("supports", "contains", "derived_from", "supersedes", "depends_on", "summarized_in")
"""Those that the machine uses."""

NOT_TO_ITSELF = ("contains", "derived_from", "supersedes")
NEXT = {"pending": ("processing", "cancelled"), "processing": ("completed", "failed", "cancelled")}


@dataclass
class Tie:
    """A relationship."""

    handle: int
    type: str
    source: End
    target: End
    metadata: dict[str, Any]
    tags: set[str] = field(default_factory=set)
    owner: str = ""
    deleted: bool = False


@dataclass
class Work:
    """A run. `steps`: (handle, status) in order; `links`: (direction, role, end)."""

    handle: int
    name: str
    parameters: dict[str, Any]
    status: str = "pending"
    reason: str = ""
    diagnostics: dict[str, Any] = field(default_factory=dict)
    steps: dict[int, str] = field(default_factory=dict)
    links: list[tuple[str, str, End]] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    tags: set[str] = field(default_factory=set)
    owner: str = ""
    began: bool = False
    deleted: bool = False


class Ties(Trees):
    """Verbs of relationships and runs."""

    def __init__(self) -> None:
        super().__init__()
        self.ties: dict[int, Tie] = {}
        self.works: dict[int, Work] = {}
        self.types: dict[str, tuple[str, str]] = {}

    # -- ends --------------------------------------------------------------------------------------------------------

    def is_live(self, end: End) -> bool:
        """Whether the record at an end can be seen."""
        kind, handle, _ = end
        if isinstance(handle, str):
            return True
        if kind == "relationship":
            return self.visible(self.ties[handle])
        tables: dict[str, dict[int, Any]] = {"artifact": self.things, "collection": self.places, "run": self.works}
        return not tables[kind][handle].deleted

    def visible(self, tie: Tie) -> bool:
        """No tombstone of its own, and both ends live."""
        return not tie.deleted and self.is_live(tie.source) and self.is_live(tie.target)

    def _existing(self, end: End, *, pin: bool) -> End:
        kind, handle, revision = end
        if not self.is_live(end):
            raise Refused("not-found")
        if kind != "artifact" or isinstance(handle, str):
            return end
        if revision is not None and revision > len(self.things[handle].revisions):
            raise Refused("not-found")
        return (kind, handle, self.things[handle].newest.number) if pin and revision is None else end

    def touching(self, kind: str, handle: int) -> int:
        """How many visible relationships have a record as an end."""
        own = (kind, handle)
        return sum(self.visible(one) and own in (one.source[:2], one.target[:2]) for one in self.ties.values())

    # -- relationships -----------------------------------------------------------------------------------------------

    def register(self, name: str, family: str, description: str) -> None:
        """`register_type`; the same again changes nothing."""
        if self.types.get(name) == (family, description):
            return
        if name in self.types or name in BUILT_IN:
            raise Refused("name-taken")
        self.types[name] = (family, description)
        self.note("relationship-type", "create", self.new_handle())

    def relate(
        self, source: End, type_: str, target: End, metadata: dict[str, Any], tags: set[str] | None = None
    ) -> int:
        """`relate`; the handle of the one that was made or was there."""
        self._refuse_unknown(type_)
        ends = [self._existing(end, pin=type_ in PINNING) for end in (source, target)]
        self._refuse_self(type_, *ends)
        held = self._equal(type_, *ends)
        if held is not None:
            if not same(held.metadata, metadata):
                raise Refused("conflict")
            return held.handle
        handle = self.new_handle()
        self.ties[handle] = Tie(handle, type_, ends[0], ends[1], metadata, set(tags or ()))
        self.note("relationship", "create", handle)
        return handle

    def _refuse_unknown(self, type_: str) -> None:
        if type_ not in BUILT_IN and type_ not in self.types:
            raise Refused("unknown-type")

    def _equal(self, type_: str, source: End, target: End) -> Tie | None:
        wanted = (type_, source, target, False)
        found = (one for one in self.ties.values() if (one.type, one.source, one.target, one.deleted) == wanted)
        return next(found, None)

    def _refuse_self(self, type_: str, source: End, target: End) -> None:
        if type_ in NOT_TO_ITSELF and source[:2] == target[:2]:
            apart = None not in (source[2], target[2]) and source[2] != target[2]
            if not apart or type_ == "contains":
                raise Refused("invalid-value")

    def tie(self, handle: int) -> Tie:
        """The relationship, if it can be seen."""
        if not self.visible(self.ties[handle]):
            raise Refused("not-found")
        return self.ties[handle]

    def update_tie(
        self, handle: int, *, type_: str | None, metadata: dict[str, Any] | None, tags: set[str] | None = None,
        owner: str | None = None,
    ) -> None:  # fmt: skip
        """`relationships.update`."""
        found = self.tie(handle)
        if type_ is not None and type_ != found.type:
            self._refuse_type(found, type_)
        said = {"type": type_, "metadata": metadata, "tags": tags, "owner": owner}
        self._tell(found, "relationship", said)

    def _tell(self, found: Tie | Work, kind: str, said: dict[str, Any]) -> None:
        """What was said and is not so yet; one change for all of it."""
        changed = {k: v for k, v in said.items() if v is not None and not _alike(v, getattr(found, k))}
        for name, value in changed.items():
            setattr(found, name, value)
        if changed:
            self.note(kind, "update", found.handle)

    def _refuse_type(self, found: Tie, type_: str) -> None:
        self._refuse_unknown(type_)
        self._refuse_self(type_, found.source, found.target)
        if type_ in PINNING and any(e[0] == "artifact" and e[2] is None for e in (found.source, found.target)):
            raise Refused("conflict")
        if self._equal(type_, found.source, found.target):
            raise Refused("conflict")

    def delete_tie(self, handle: int, *, cascade: bool) -> None:
        """`relationships.delete`."""
        found = self.tie(handle)
        if not cascade and self.touching("relationship", handle):
            raise Refused("in-use")
        found.deleted = True
        self.note("relationship", "delete", handle)

    def undelete_tie(self, handle: int) -> None:
        """`relationships.undelete`."""
        found = self.ties[handle]
        if self.visible(found):
            return
        if not (self.is_live(found.source) and self.is_live(found.target)):
            raise Refused("not-found")
        if self._equal(found.type, found.source, found.target):
            raise Refused("conflict")
        found.deleted = False
        self.note("relationship", "undelete", handle)

    # -- runs --------------------------------------------------------------------------------------------------------

    def run_is_live(self, handle: int) -> bool:
        """Whether a revision can be put in this run."""
        return not self.works[handle].deleted

    def work(self, handle: int) -> Work:
        """The run, if it is live."""
        if self.works[handle].deleted:
            raise Refused("not-found")
        return self.works[handle]

    def create_run(self, name: str, parameters: dict[str, Any]) -> int:
        """`runs.create`."""
        handle = self.new_handle()
        self.works[handle] = Work(handle, name, parameters)
        self.note("run", "create", handle)
        return handle

    def set_status(self, handle: int, status: str, reason: str = "") -> None:
        """`runs.set_status`; steps that have not ended end with the run."""
        found = self.work(handle)
        if status == found.status:
            return
        if status not in NEXT.get(found.status, ()):
            raise Refused("illegal-transition")
        found.status, found.reason = status, reason or found.reason
        found.began = found.began or status == "processing"
        for step, its in found.steps.items():
            if status not in NEXT and its in NEXT:
                found.steps[step] = "cancelled"
                self.note("step", "update", step)
        self.note("run", "update", handle)

    def update_run(self, handle: int, said: dict[str, Any]) -> None:
        """`runs.update`: metadata, tags, owner."""
        self._tell(self.work(handle), "run", said)

    def start_run(self, handle: int) -> None:
        """`runs.start` of a run that is there."""
        if self.work(handle).status == "processing":
            raise Refused("illegal-transition")
        self.set_status(handle, "processing")

    def diagnose(self, handle: int, said: dict[str, Any]) -> None:
        """`runs.diagnose`."""
        found = self.work(handle)
        after = found.diagnostics | said
        if not same(after, found.diagnostics):
            found.diagnostics = after
            self.note("run", "update", handle)

    def link(self, handle: int, direction: str, end: End, role: str) -> None:
        """`runs.link`."""
        found = self.work(handle)
        end = self._existing(end, pin=True)
        if end[:2] == ("run", handle):
            raise Refused("invalid-value")
        if (direction, role, end) not in found.links:
            found.links.append((direction, role, end))
            self.note("run", "link", handle)

    def outputs(self, handle: int) -> set[tuple[str, End]]:
        """What a run made: linked, or put inside it and not linked."""
        linked = {(role, end) for direction, role, end in self.works[handle].links if direction == "output"}
        made = {("artifact", t.handle, r.number) for t in self.things.values() for r in t.revisions if r.run == handle}
        return linked | {("", end) for end in made - {end for _, end in linked}}

    def add_step(self, handle: int) -> int:
        """`runs.add_step`."""
        found = self.work(handle)
        if found.status not in NEXT:
            raise Refused("conflict")
        step = self.new_handle()
        found.steps[step] = "pending"
        self.note("step", "create", step)
        return step

    def set_step_status(self, handle: int, step: int, status: str) -> None:
        """`runs.set_step_status`."""
        found = self.work(handle)
        if status == found.steps[step]:
            return
        if status not in NEXT.get(found.steps[step], ()):
            raise Refused("illegal-transition")
        found.steps[step] = status
        self.note("step", "update", step)

    def delete_run(self, handle: int, *, cascade: bool) -> None:
        """`runs.delete`."""
        found = self.work(handle)
        if not cascade and (found.steps or found.links or self.outputs(handle)):
            raise Refused("in-use")
        found.deleted = True
        self.note("run", "delete", handle)

    def undelete_run(self, handle: int) -> None:
        """`runs.undelete`."""
        if self.works[handle].deleted:
            self.works[handle].deleted = False
            self.note("run", "undelete", handle)


def _alike(left: Any, right: Any) -> bool:
    return bool(left == right) if isinstance(left, set) else same(left, right)

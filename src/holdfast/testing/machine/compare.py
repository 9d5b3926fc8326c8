"""Compares all that a store says with all that the model says: records, bytes, histories, ties, runs, answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

import holdfast
from holdfast.errors import ContentPurgedError
from holdfast.testing.machine.driver import Driver, missing
from holdfast.testing.machine.values import TAGS, TYPES, WORDS
from holdfast.testing.model import End, Rev, Thing, same
from holdfast.values.query import Condition
from holdfast.values.records import Artifact, Endpoint, Relationship, Revision


def digest_of(content: bytes) -> str:
    """The digest of content as records show it."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def agree(found: object, wanted: object, what: str) -> None:
    """One assertion for all comparisons: what was looked at, and both sides."""
    assert found == wanted, f"{what}: the store says {found!r}, the model {wanted!r}"


class Comparing(Driver):
    """Looks at the store as its users do, and wants to see what the model says."""

    def compare_lists(self) -> None:
        """What is cheap: every live artifact, collection and relationship, and what is deleted."""
        model, store = self.model, self.store
        wanted = {self.ids[t.handle]: _brief(self.model.path(t.handle), t) for t in model.live_things()}
        found = list(store.find())
        agree({a.id: _shown(a) for a in found}, wanted, "find()")
        agree(len(found), len(wanted), "how many find() gives")
        gone = {self.ids[t.handle] for t in model.things.values() if t.deleted}
        agree({a.id for a in store.find(deleted=True)}, gone, "find(deleted=True)")
        places = {model.path(p.handle): self.ids[p.handle] for p in model.live_places() if p.parent is not None}
        agree({c.path_bytes: c.id for c in store.collections.list(recursive=True)}, places, "collections")
        ties = {self.ids[t.handle]: self._tie_facts(t) for t in model.visible_ties()}
        agree({r.id: _tie_shown(r) for r in store.relationships.find()}, ties, "relationships.find()")
        hidden = {self.ids[t.handle] for t in model.ties.values() if not model.visible(t)}
        agree({r.id for r in store.relationships.find(deleted=True)}, hidden, "hidden relationships")

    def compare_all(self) -> None:
        """Everything, record by record."""
        self.compare_lists()
        for thing in self.model.things.values():
            self._compare_thing(thing)
        self._compare_places()
        self._compare_runs()
        self._compare_answers()

    # -- artifacts -----------------------------------------------------------------------------------------------------

    def _compare_thing(self, thing: Thing) -> None:
        path, ref = self.model.path(thing.handle), f"id:{self.ids[thing.handle]}"
        found = self.store.artifacts.get(ref, deleted=True)
        agree((found.deleted_at is not None), bool(thing.deleted), f"whether {path!r} is deleted")
        agree(_shown(found), _brief(path, thing), f"{path!r}")
        if not thing.deleted:
            agree(self.store.get(path).id, found.id, f"what {path!r} leads to")
            agree(self.store.get(path.decode("utf-8", "surrogateescape")).id, found.id, f"{path!r} as str")
        else:
            assert missing(lambda: self.store.get(ref)), f"{path!r} is deleted and can be seen"
        history = self.store.artifacts.revisions(ref)
        agree([r.number for r in history], [r.number for r in reversed(thing.revisions)], f"revisions of {path!r}")
        for shown, wanted in zip(history, reversed(thing.revisions), strict=True):
            self._compare_revision(ref, path, shown, wanted)
        actions = [(kind, action) for kind, action, handle in self.model.trail if handle == thing.handle]
        if not self.pending:
            agree([(c.kind, c.action) for c in self.store.artifacts.log(ref)], actions, f"the log of {path!r}")
        agree(
            self.store.relationships.count_touching(found.id), self.model.touching("artifact", thing.handle),
            f"relationships of {path!r}",
        )  # fmt: skip

    def _compare_revision(self, ref: str, path: bytes, shown: Revision, wanted: Rev) -> None:
        what = f"{path!r}@{wanted.number}"
        run = None if wanted.run is None else self.ids[wanted.run]
        facts = (shown.digest, shown.size, shown.media_type, shown.message, shown.file.mode, shown.run_id, shown.state)
        media_type = wanted.media_type or shown.media_type
        expected = (digest_of(wanted.content), len(wanted.content), media_type, wanted.message, wanted.mode, run)
        agree(facts, (*expected, wanted.state), what)
        assert same(shown.metadata, wanted.metadata), f"metadata of {what}: {shown.metadata} != {wanted.metadata}"
        if wanted.state == "kept":
            agree(self.store.read(ref, revision=wanted.number), wanted.content, f"content of {what}")
            return
        try:
            self.store.read(ref, revision=wanted.number)
        except ContentPurgedError:
            return
        raise AssertionError(f"{what} was given up and can be read")

    def _compare_places(self) -> None:
        for place in self.model.places.values():
            found = self.store.collections.get(f"id:{self.ids[place.handle]}", deleted=True)
            path = self.model.path(place.handle)
            facts = (found.path_bytes, set(found.tags), found.owner, found.deleted_at is not None)
            agree(facts, (path, place.tags, place.owner, bool(place.deleted)), f"collection {path!r}")
            assert same(found.metadata, place.metadata), f"metadata of collection {path!r}: {found.metadata}"
            if not place.deleted:
                inside = [len(part) for part in self.model.inside(place.handle)]
                agree([*self.store.collections.contents(found).values()], inside, f"contents of {path!r}")

    # -- ties and runs -------------------------------------------------------------------------------------------------

    def _tie_facts(self, tie: Any) -> tuple[object, ...]:
        return tie.type, self.endpoint(tie.source), self.endpoint(tie.target), text_of(tie.metadata)

    def _end(self, end: Endpoint) -> End:
        known = {one: handle for handle, one in self.ids.items()}
        return end.kind, known.get(end.id, end.id), end.revision

    def _compare_runs(self) -> None:
        for run in self.model.works.values():
            found = self.store.runs.get(self.ids[run.handle], deleted=True)
            facts = (found.name, found.status, found.reason, found.deleted_at is not None)
            agree(facts, (run.name, run.status, run.reason, run.deleted), f"run {run.name}")
            agree(
                (found.started_at is not None, found.ended_at is not None),
                (run.began, run.status not in ("pending", "processing")),
                f"times of run {run.name}",
            )
            assert same(found.parameters, run.parameters), f"parameters of run {run.name}: {found.parameters}"
            assert same(found.diagnostics, run.diagnostics), f"diagnostics of run {run.name}: {found.diagnostics}"
            manifest = self.store.runs.manifest(found)
            steps = [(self.ids[step], status) for step, status in run.steps.items()]
            agree([(s.id, s.status) for s in manifest.steps], steps, f"steps of run {run.name}")
            outputs = [(link.role, self._end(link.endpoint)) for link in manifest.outputs]
            agree(sorted(outputs, key=repr), sorted(self.model.outputs(run.handle), key=repr), f"outputs of {run.name}")
            inputs = [(link.role, self._end(link.endpoint)) for link in manifest.inputs]
            agree(inputs, [link[1:] for link in run.links if link[0] == "input"], f"inputs of run {run.name}")
        live = {self.ids[run.handle] for run in self.model.works.values() if not run.deleted}
        agree({run.id for run in self.store.runs.find()}, live, "runs.find()")

    # -- answers -------------------------------------------------------------------------------------------------------

    def _compare_answers(self) -> None:
        # A third of the questions each time: other steps ask the others.
        for what, fields, condition, wanted in islice(self._questions(), self.steps % 3, None, 3):
            found = {a.id for a in self.store.find(condition, **fields)}
            agree(found, {self.ids[t.handle] for t in wanted}, f"find({what})")
        by_size = [a.size for a in self.store.find(order="-size")]
        agree(by_size, sorted(by_size, reverse=True), "find(order='-size')")

    def _questions(self) -> Iterator[tuple[str, dict[str, Any], Condition | None, list[Thing]]]:
        live, field = self.model.live_things(), holdfast.field
        for tag in TAGS[:2]:
            yield f"tag={tag}", {"tag": tag}, None, [t for t in live if tag in t.tags]
        for type_ in TYPES:
            yield f"type={type_}", {"type": type_}, None, [t for t in live if t.type == type_]
        yield "not draft", {}, ~(field("status") == "draft"), [t for t in live if t.status != "draft"]
        yield "owner=Ben", {"owner": "Ben"}, None, [t for t in live if t.owner == "Ben"]
        yield "size > 3", {}, field("size") > 3, [t for t in live if len(t.newest.content) > 3]
        yield "metadata.k exists", {}, field("metadata.k").exists(), [t for t in live if "k" in t.newest.metadata]
        ones = [t for t in live if t.newest.metadata.get("k") == 1 and t.newest.metadata["k"] is not True]
        yield "metadata.k == 1", {}, field("metadata.k") == 1, ones
        big = 10**40
        yield "metadata.k == -10**40", {}, field("metadata.k") == -big, [
            t for t in live if t.newest.metadata.get("k") == -big
        ]  # fmt: skip
        for thing in live[:1]:
            wanted = [t for t in live if t.newest.content == thing.newest.content]
            yield "digest", {"digest": digest_of(thing.newest.content)}, None, wanted

    def compare_search(self) -> None:
        """Every word of the vocabulary finds the plain texts that have it, and no other plain text."""
        kept = {self.ids[t.handle] for t in self.model.live_things() if t.newest.state == "kept"}
        for word in WORDS:
            found = {hit.artifact.id for hit in self.store.search(f"text:{word}", limit=1000).hits}
            plain = {a for a in found & kept if self.store.get(f"id:{a}").media_type == "text/plain"}
            agree(plain, {self.ids[one] for one in self.model.said_by(word)}, f"search({word!r})")


def text_of(value: Any) -> str:
    """A JSON value as text; 1, 1.0 and True are three."""
    return json.dumps(value, sort_keys=True)


def _brief(path: bytes, thing: Thing) -> tuple[object, ...]:
    newest = thing.newest
    return (
        path, thing.type, thing.status, thing.owner, tuple(sorted(thing.tags)), newest.number,
        digest_of(newest.content), text_of(newest.metadata),
    )  # fmt: skip


def _shown(found: Artifact) -> tuple[object, ...]:
    return (
        found.path_bytes, found.type, found.status, found.owner, found.tags, found.number,
        found.digest, text_of(found.metadata),
    )  # fmt: skip


def _tie_shown(found: Relationship) -> tuple[object, ...]:
    return found.type, found.source, found.target, text_of(found.metadata)

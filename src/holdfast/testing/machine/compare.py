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


def digest_shown(revision: Rev) -> str:
    """The digest that a record shows: none that says anything, if the content was redacted."""
    return "sha256:" + "0" * 64 if revision.erased else digest_of(revision.content)


class Comparing(Driver):
    """Looks at the store as its users do, and wants to see what the model says."""

    def compare_lists(self) -> None:
        """What is cheap: lists, and counts."""
        self._compare_shown()
        self._compare_status()

    def _compare_shown(self) -> None:
        """Every live artifact, collection and relationship, and what is deleted."""
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
        runs = {self.ids[run.handle]: run.status for run in model.works.values() if not run.deleted}
        agree({run.id: run.status for run in store.runs.find()}, runs, "runs.find()")

    def _compare_status(self) -> None:
        """Counts are those of the records."""
        model, status = self.model, self.store.status()
        tables: dict[str, dict[int, Any]] = {"artifact": model.things, "run": model.works, "relationship": model.ties}
        for kind, table in tables.items():
            gone = sum(bool(one.deleted) for one in table.values())
            agree((status.counts[kind], status.deleted[kind]), (len(table) - gone, gone), f"how many of {kind}")
        agree(status.counts["collection"], max(len(model.live_places()) - 1, 0), "how many collections")
        revisions = [r for t in model.things.values() for r in t.revisions]
        agree(status.revisions, len(revisions), "how many revisions")
        agree(status.logical_bytes, sum(r.size for r in revisions if r.state == "kept"), "logical bytes")
        if not self.pending:
            agree(status.head_seq, len(model.trail), "the newest change")

    def compare_all(self) -> None:
        """Everything, record by record."""
        self._compare_status()
        self.compare_records()

    def compare_records(self) -> None:
        """Everything that can be seen of an earlier state, too."""
        self._compare_shown()
        live = [f"id:{self.ids[thing.handle]}" for thing in self.model.things.values() if not thing.deleted]
        agree([f"id:{one.id}" for one in self.store.artifacts.get_many(live)], live, "artifacts got together")
        for thing in self.model.things.values():
            self._compare_thing(thing)
        self._compare_places()
        self._compare_order()
        self._compare_runs()
        self._compare_answers()

    def compare_contents(self) -> None:
        """Every kept revision has its bytes, read alone; the newest ones read together too."""
        live = [thing for thing in self.model.things.values() if not thing.deleted]
        newest = {f"id:{self.ids[thing.handle]}": thing.newest for thing in live}
        kept = {ref: one.content for ref, one in newest.items() if one.state == "kept"}
        agree(dict(self.store.artifacts.read_many(kept)), kept, "contents read together")
        for thing in self.model.things.values():
            for one in thing.revisions:
                if one.state == "kept":
                    found = self.store.read(f"id:{self.ids[thing.handle]}", revision=one.number)
                    agree(found, one.content, f"content of {self.model.path(thing.handle)!r}@{one.number}")

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
        expected = (digest_shown(wanted), wanted.size, media_type, wanted.message, wanted.mode, run)
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

    def _compare_order(self) -> None:
        """Artifacts by collection and name; by name; by age."""
        model = self.model
        paths = {model.path(t.handle) for t in model.live_things()}
        listed = [a.path_bytes for a in self.store.artifacts.list(recursive=True)]
        agree(sorted(listed), sorted(paths), "artifacts.list(recursive=True)")
        inside = [path for path in listed if b"/" not in path]
        agree(inside, [a.path_bytes for a in self.store.artifacts.list()], "artifacts.list()")
        if self.pending:
            return
        # By the audit trail: of what threads made at once the model knows no order.
        live = {self.ids[t.handle] for t in model.live_things()}
        aged = [one for one in self.made if one in live]
        agree([a.id for a in self.store.find(order="created")], aged, "find(order='created')")
        agree([a.id for a in self.store.find(order="-created")], aged[::-1], "find(order='-created')")

    # -- ties and runs -------------------------------------------------------------------------------------------------

    def _tie_facts(self, tie: Any) -> tuple[object, ...]:
        tags = tuple(sorted(tie.tags))
        return tie.type, self.endpoint(tie.source), self.endpoint(tie.target), text_of(tie.metadata), tags, tie.owner

    def _end(self, end: Endpoint) -> End:
        known = {one: handle for handle, one in self.ids.items()}
        return end.kind, known.get(end.id, end.id), end.revision

    def _compare_runs(self) -> None:
        for run in self.model.works.values():
            found = self.store.runs.get(self.ids[run.handle], deleted=True)
            facts = (found.name, found.status, found.reason, found.deleted_at is not None, set(found.tags), found.owner)
            wanted = (run.name, run.status, run.reason, run.deleted, run.tags, run.owner)
            agree(facts, wanted, f"run {run.name}")
            assert same(found.metadata, run.metadata), f"metadata of run {run.name}: {found.metadata}"
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
        yield "size > 3", {}, field("size") > 3, [t for t in live if t.newest.size > 3]
        yield "metadata.k exists", {}, field("metadata.k").exists(), [t for t in live if "k" in t.newest.metadata]
        ones = [t for t in live if t.newest.metadata.get("k") == 1 and t.newest.metadata["k"] is not True]
        yield "metadata.k == 1", {}, field("metadata.k") == 1, ones
        big = 10**40
        yield "metadata.k == -10**40", {}, field("metadata.k") == -big, [
            t for t in live if t.newest.metadata.get("k") == -big
        ]  # fmt: skip
        for thing in [t for t in live if not t.newest.erased][:1]:
            wanted = [t for t in live if t.newest.content == thing.newest.content and not t.newest.erased]
            yield "digest", {"digest": digest_of(thing.newest.content)}, None, wanted
        for place in self.model.live_places()[1:3]:
            path = self.model.path(place.handle)
            if path == path.decode("utf-8", "replace").encode():
                yield f"under={path!r}", {"under": path.decode()}, None, self.model.inside(place.handle)[1]
        for run in list(self.model.works.values())[:2]:
            wanted = [t for t in live if t.newest.run == run.handle]
            yield f"run={run.handle}", {"run": self.ids[run.handle]}, None, wanted

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
        digest_shown(newest), text_of(newest.metadata),
    )  # fmt: skip


def _shown(found: Artifact) -> tuple[object, ...]:
    return (
        found.path_bytes, found.type, found.status, found.owner, found.tags, found.number,
        found.digest, text_of(found.metadata),
    )  # fmt: skip


def _tie_shown(found: Relationship) -> tuple[object, ...]:
    return found.type, found.source, found.target, text_of(found.metadata), found.tags, found.owner

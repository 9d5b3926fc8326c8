"""A handle of one tenant reaches nothing of another: by any call, by any name, and by no word of an error.

Every public call is made twice on a handle of tenant `a`: with something that tenant `b` has, and with something that
nobody has. Both must come to the same. A call that stands in no table here fails the build.
"""

from __future__ import annotations

import dataclasses
import inspect
import io
import re
import tempfile
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import zstandard

import holdfast
from holdfast import Store, View
from holdfast.errors import (
    HoldfastError,
    InvalidValueError,
    NameTakenError,
    NotFoundError,
    StoreWideError,
)
from holdfast.exchange.standards import Standards
from holdfast.index import scoped, sqlite
from holdfast.index.select.making import pins
from holdfast.index.select.runs import WantedRuns
from holdfast.index.sqlite import SqliteIndex
from holdfast.kinds.changes import Changes
from holdfast.kinds.collections import Collections
from holdfast.kinds.outbox import Consumer, Outbox
from holdfast.kinds.readings import Artifacts
from holdfast.kinds.relationships import Relationships
from holdfast.kinds.runs import Runs
from holdfast.kinds.searching import Searching
from holdfast.store import Store as StoreClass
from holdfast.stores import import_store
from holdfast.values import moment, query
from holdfast.values.records import Artifact, Collection, Endpoint, Relationship, Revision, Run, Step

MARK = "zeppelin"
"""Stands in every text that tenant b ever wrote."""


@dataclass(frozen=True)
class Refs:
    """Something to ask for: what b has, or what nobody has."""

    artifact: Artifact
    revision: Revision
    collection: Collection
    relationship: Relationship
    run: Run
    step: Step
    digest: str
    content: bytes
    word: str
    tag: str
    consumer: str
    tenant: str
    token: str
    seq: int

    @property
    def id(self) -> str:
        return f"id:{self.artifact.id}"

    @property
    def path(self) -> str:
        return self.artifact.path

    def nobody(self) -> Refs:
        """The same with what is not there."""

        def fresh() -> str:
            return moment.draw_id(1)

        def other(text: str) -> str:
            return text.replace(MARK, "nowhere")

        digest = "sha256:" + "ab" * 32
        revision = replace(self.revision, artifact_id=fresh(), digest=digest, seq=10**9)
        artifact = replace(self.artifact, id=revision.artifact_id, path=other(self.path), revision=revision,
                           path_bytes=other(self.path).encode())  # fmt: skip
        ends = (Endpoint("artifact", fresh()), Endpoint("artifact", fresh()))
        return Refs(
            artifact, revision, replace(self.collection, id=fresh(), path=other(self.collection.path)),
            replace(self.relationship, id=fresh(), source=ends[0], target=ends[1]),
            replace(self.run, id=fresh(), name=other(self.run.name)), replace(self.step, id=fresh(), run_id=fresh()),
            digest, self.content.replace(MARK.encode(), b"nowhere"), other(self.word), other(self.tag),
            other(self.consumer), other(self.tenant), self.token, self.seq,
        )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tenants")


@pytest.fixture(scope="module")
def store(folder: Path) -> Iterator[Store]:
    with holdfast.create(folder / "store", actor="keeper") as made:
        yield made


@pytest.fixture(scope="module")
def theirs(store: Store) -> Iterator[Store]:
    """Tenant b, who has one of everything."""
    with holdfast.open(store.path, tenant=f"{MARK} works", actor=f"{MARK} engineer") as b:
        b.put(f"{MARK}/plan.txt", f"{MARK} one", metadata={"k": MARK}, tags=[MARK], owner=MARK)
        b.put(f"{MARK}/plan.txt", f"{MARK} two", message=MARK)
        b.put(f"{MARK}/other.txt", f"{MARK} three", type=MARK)
        b.relationships.relate(f"{MARK}/plan.txt", "derived_from", f"{MARK}/other.txt", tags=[MARK])
        with b.runs.start(f"{MARK} run", tags=[MARK], parameters={"p": MARK}) as run:
            run.input(b.get(f"{MARK}/other.txt"))
            b.put(f"{MARK}/made.txt", f"{MARK} four")
            b.runs.add_step(run.id, f"{MARK} step")
        b.put(f"{MARK}/gone.txt", f"{MARK} five")
        b.artifacts.delete(f"{MARK}/gone.txt")
        b.outbox.create(f"{MARK}-books")
        b.relationships.delete(b.relationships.relate(f"{MARK}/plan.txt", "supports", f"{MARK}/other.txt"))
        yield b


@pytest.fixture(scope="module")
def refs(theirs: Store) -> Refs:
    plan = theirs.get(f"{MARK}/plan.txt")
    run = next(theirs.runs.find())
    token = theirs.artifacts.page(limit=1).token
    assert token is not None
    return Refs(
        plan, plan.revision, theirs.collections.get(MARK), next(theirs.relationships.find()), run,
        next(theirs.runs.steps(run)), plan.digest, f"{MARK} two".encode(), MARK, MARK, f"{MARK}-books",
        f"{MARK} works", token, plan.revision.seq,
    )  # fmt: skip


@pytest.fixture(scope="module")
def mine(store: Store, theirs: Store) -> Iterator[Store]:
    """Tenant a, with a little of its own."""
    with store.for_tenant("a") as a:
        a.put("mine.txt", "my own")
        a.put("docs/note.txt", "a note")
        with a.runs.start("my run"):
            a.put("made.txt", "by me")
        a.outbox.create("my-books")
        yield a


def own(a: Store) -> Artifact:
    return a.get("mine.txt")


Call = Callable[[Store, Refs], Any]

ARTIFACTS: dict[str, list[Call]] = {
    "get": [lambda a, r: a.get(r.id), lambda a, r: a.get(r.path), lambda a, r: a.get(r.artifact),
            lambda a, r: a.artifacts.get(r.path, deleted=True), lambda a, r: a.get(r.path.replace("plan", "gone"))],
    "get_many": [lambda a, r: list(a.artifacts.get_many(["mine.txt", r.id])),
                 lambda a, r: list(a.artifacts.get_many([r.path]))],
    "read": [lambda a, r: a.read(r.id), lambda a, r: a.read(r.path), lambda a, r: a.read(r.artifact, revision=1)],
    "read_many": [lambda a, r: list(a.artifacts.read_many([r.id])),
                  lambda a, r: list(a.artifacts.read_many([r.revision]))],
    "open": [lambda a, r: a.artifacts.open(r.id).read(), lambda a, r: a.artifacts.open(r.artifact, revision=1)],
    "open_many": [lambda a, r: [f.read() for _, f in a.artifacts.open_many([r.revision])],
                  lambda a, r: [f.read() for _, f in a.artifacts.open_many([r.id])]],
    "copy_to": [lambda a, r: a.artifacts.copy_to(r.id, io.BytesIO())],
    "revision": [lambda a, r: a.artifacts.revision(r.id, 1)],
    "revisions": [lambda a, r: a.artifacts.revisions(r.artifact)],
    "log": [lambda a, r: list(a.artifacts.log(r.id))],
    "diff": [lambda a, r: list(a.artifacts.diff(r.id, 1, 2))],
    "list": [lambda a, r: list(a.artifacts.list(recursive=True)), lambda a, r: list(a.artifacts.list(r.collection)),
             lambda a, r: list(a.artifacts.list(f"id:{r.collection.id}"))],
    "find": [
        lambda a, r: list(a.find()), lambda a, r: list(a.find(tag=r.tag)), lambda a, r: list(a.find(tenant=r.tenant)),
        lambda a, r: list(a.find(holdfast.field("metadata.k") == r.word)), lambda a, r: list(a.find(id=r.artifact.id)),
        lambda a, r: list(a.find(digest=r.digest)), lambda a, r: list(a.find(digest=r.digest[:20])),
        lambda a, r: list(a.find(owner=r.tag)), lambda a, r: list(a.find(type=r.tag)),
        lambda a, r: list(a.find(under=r.collection.path)), lambda a, r: list(a.find(related_to=r.artifact)),
        lambda a, r: list(a.find(run=r.run)), lambda a, r: list(a.find(name="*", deleted=True)),
        lambda a, r: list(a.find(~(holdfast.field("tenant") == r.tenant))), lambda a, r: list(a.find(order="-size")),
    ],
    "page": [lambda a, r: a.artifacts.page(limit=1), lambda a, r: a.artifacts.page(token=r.token),
             lambda a, r: a.artifacts.page(tag=r.tag, order="name")],
    "explain": [lambda a, r: a.artifacts.explain(tag=r.tag)],
    "put": [lambda a, r: a.put(r.path, "x"), lambda a, r: a.put("new.txt", r.content), lambda a, r: a.put(r.id, "x"),
            lambda a, r: a.put(r.artifact, "x"), lambda a, r: a.put("new.txt", "x", run=r.run.id),
            lambda a, r: a.put(r.path, r.content, expect=0)],
    "put_many": [lambda a, r: a.put_many([(r.path, r.content)])],
    "create": [lambda a, r: a.create(r.path, r.content)],
    "update": [lambda a, r: a.artifacts.update(r.id, owner="a")],
    "set_metadata": [lambda a, r: a.artifacts.set_metadata(r.artifact, {})],
    "tag": [lambda a, r: a.artifacts.tag(r.id, "x")],
    "untag": [lambda a, r: a.artifacts.untag(r.id, r.tag)],
    "rename": [lambda a, r: a.artifacts.rename(r.id, "x"),
               lambda a, r: a.artifacts.rename("mine.txt", r.artifact.name)],
    "move": [lambda a, r: a.artifacts.move(r.id, ""), lambda a, r: a.artifacts.move("mine.txt", r.collection),
             lambda a, r: a.artifacts.move("mine.txt", f"id:{r.collection.id}")],
    "revert": [lambda a, r: a.artifacts.revert(r.id, 1)],
    "delete": [lambda a, r: a.artifacts.delete(r.id)],
    "undelete": [lambda a, r: a.artifacts.undelete(r.path.replace("plan", "gone"))],
    "purge": [lambda a, r: a.artifacts.purge(r.id)],
}  # fmt: skip
COLLECTIONS: dict[str, list[Call]] = {
    "get": [lambda a, r: a.collections.get(r.collection.path), lambda a, r: a.collections.get(f"id:{r.collection.id}"),
            lambda a, r: a.collections.get(r.collection, deleted=True)],
    "list": [lambda a, r: list(a.collections.list(recursive=True)),
             lambda a, r: list(a.collections.list(r.collection))],
    "contents": [lambda a, r: a.collections.contents(r.collection), lambda a, r: a.collections.contents()],
    "create": [lambda a, r: a.collections.create(r.collection.path),
               lambda a, r: a.collections.create(f"{r.collection.path}/deep")],
    "ensure": [lambda a, r: a.collections.ensure(r.collection.path)],
    "update": [lambda a, r: a.collections.update(r.collection, owner="a")],
    "tag": [lambda a, r: a.collections.tag(r.collection, "x")],
    "untag": [lambda a, r: a.collections.untag(r.collection, "x")],
    "rename": [lambda a, r: a.collections.rename(r.collection, "x")],
    "move": [lambda a, r: a.collections.move(r.collection, ""), lambda a, r: a.collections.move("docs", r.collection)],
    "delete": [lambda a, r: a.collections.delete(r.collection, contents="cascade")],
    "undelete": [lambda a, r: a.collections.undelete(f"id:{r.collection.id}")],
}  # fmt: skip
RELATIONSHIPS: dict[str, list[Call]] = {
    "get": [lambda a, r: a.relationships.get(r.relationship), lambda a, r: a.relationships.get(r.relationship.id)],
    "relate": [
        lambda a, r: a.relationships.relate("mine.txt", "supports", r.artifact),
        lambda a, r: a.relationships.relate(r.id, "supports", "mine.txt"),
        lambda a, r: a.relationships.relate("mine.txt", "supports", Endpoint("run", r.run.id)),
    ],
    "find": [
        lambda a, r: list(a.relationships.find()),
        lambda a, r: list(a.relationships.find(source=r.artifact)),
        lambda a, r: list(a.relationships.find(tag=r.tag, deleted=True)),
        lambda a, r: list(a.relationships.find(target=r.relationship.target, type="derived_from")),
    ],
    "page": [lambda a, r: a.relationships.page(), lambda a, r: a.relationships.page(tag=r.tag)],
    "of": [lambda a, r: list(a.relationships.of(r.artifact))],
    "count_touching": [lambda a, r: a.relationships.count_touching(r.artifact.id)],
    "lineage": [
        lambda a, r: a.relationships.lineage(r.artifact),
        lambda a, r: a.relationships.lineage(r.id),
        lambda a, r: a.relationships.lineage(r.run, direction="both"),
        lambda a, r: a.relationships.lineage("mine.txt", direction="both"),
    ],
    "update": [lambda a, r: a.relationships.update(r.relationship, owner="a")],
    "delete": [lambda a, r: a.relationships.delete(r.relationship)],
    "undelete": [lambda a, r: a.relationships.undelete(r.relationship)],
    "types": [lambda a, r: a.relationships.types()],
    "register_type": [lambda a, r: a.relationships.register_type(r.word, family="intent", description="x")],
}
RUNS: dict[str, list[Call]] = {
    "get": [lambda a, r: a.runs.get(r.run), lambda a, r: a.runs.get(r.run.id, deleted=True)],
    "find": [lambda a, r: list(a.runs.find()), lambda a, r: list(a.runs.find(name=r.run.name)),
             lambda a, r: list(a.runs.find(tag=r.tag, deleted=True))],
    "page": [lambda a, r: a.runs.page(limit=1), lambda a, r: a.runs.page(tag=r.tag)],
    "steps": [lambda a, r: list(a.runs.steps(r.run))],
    "links": [lambda a, r: list(a.runs.links(r.run, "input")), lambda a, r: list(a.runs.links(r.run, "output"))],
    "manifest": [lambda a, r: a.runs.manifest(r.run)],
    "create": [lambda a, r: a.runs.create("x", inputs=[r.artifact]), lambda a, r: a.runs.create(r.run.name)],
    "start": [lambda a, r: a.runs.start(r.run).__enter__()],
    "set_status": [lambda a, r: a.runs.set_status(r.run, "failed")],
    "diagnose": [lambda a, r: a.runs.diagnose(r.run, {})],
    "update": [lambda a, r: a.runs.update(r.run, owner="a")],
    "link": [lambda a, r: a.runs.link(r.run, "input", "mine.txt"),
             lambda a, r: a.runs.link(next(a.runs.find()), "input", r.artifact)],
    "add_step": [lambda a, r: a.runs.add_step(r.run, "x")],
    "set_step_status": [lambda a, r: a.runs.set_step_status(r.step, "completed"),
                        lambda a, r: a.runs.set_step_status(r.step.id, "completed")],
    "delete": [lambda a, r: a.runs.delete(r.run)],
    "undelete": [lambda a, r: a.runs.undelete(r.run)],
}  # fmt: skip
CHANGES: dict[str, list[Call]] = {
    "list": [lambda a, r: list(a.changes.list()), lambda a, r: list(a.changes.list(record=r.artifact.id)),
             lambda a, r: list(a.changes.list(kind="step")),
             lambda a, r: list(a.changes.list(actor=f"{r.word} engineer"))],
    "head": [lambda a, r: a.changes.head()],  # a number that counts everybody's changes, and a hash
}  # fmt: skip
SEARCH: dict[str, list[Call]] = {
    "__call__": [lambda a, r: a.search(r.word), lambda a, r: a.search(f"name:{r.word}* OR own", limit=1, offset=0)],
    "left_out": [lambda a, r: list(a.search.left_out())],
}
OUTBOX: dict[str, list[Call]] = {
    "list": [lambda a, r: [replace(one, behind=0) for one in a.outbox.list()],
             lambda a, r: a.outbox.list(tenant=r.tenant)],
    "consumer": [lambda a, r: a.outbox.consumer(r.consumer),
                 lambda a, r: a.outbox.consumer(r.consumer, tenant=r.tenant)],
    "create": [lambda a, r: (a.outbox.create(r.consumer).state(), a.outbox.consumer(r.consumer).drop()),
               lambda a, r: a.outbox.create("x", tenant=r.tenant)],
}  # fmt: skip
CONSUMER: dict[str, list[Call]] = {
    "run": [lambda a, r: _consumed(a)],
    "take": [lambda a, r: _taken(a)],
    "state": [lambda a, r: replace(a.outbox.consumer("my-books").state(), behind=0)],
    "letters": [lambda a, r: list(a.outbox.consumer("my-books").letters())],
    "retry": [lambda a, r: a.outbox.consumer("my-books").retry(r.seq)],
    "discard": [lambda a, r: a.outbox.consumer("my-books").discard(r.seq)],
    "rewind": [lambda a, r: replace(a.outbox.consumer("my-books").rewind("start"), behind=0)],
    "drop": [lambda a, r: a.outbox.create("short").drop()],
    "name": [lambda a, r: a.outbox.consumer("my-books").name],
}


STANDARDS: dict[str, list[Call]] = {
    "export_ro_crate": [lambda a, r: _written(a, "export_ro_crate"),
                        lambda a, r: _written(a, "export_ro_crate", r.collection.path)],
    "export_bagit": [lambda a, r: _written(a, "export_bagit"), lambda a, r: _written(a, "export_bagit", r.collection)],
    "export_prov": [lambda a, r: _written(a, "export_prov"), lambda a, r: _written(a, "export_prov", r.path)],
    "export_openlineage": [lambda a, r: _written(a, "export_openlineage")],
    "import_bag": [lambda a, r: _taken_in(a, r, "bag")],
    "import_ro_crate": [lambda a, r: _taken_in(a, r, "ro_crate")],
}  # fmt: skip


def _written(a: Store, call: str, *ref: Any) -> Any:
    """Every byte of what an export writes."""
    with tempfile.TemporaryDirectory() as folder:
        getattr(a.standards, call)(Path(folder) / "out", *ref)
        return [path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()]


def _taken_in(a: Store, r: Refs, how: str) -> Any:
    """A package that says the paths of another tenant, taken in where that one has them."""
    with tempfile.TemporaryDirectory() as folder, holdfast.memory() as other:
        other.put(r.path, r.content)
        getattr(other.standards, "export_bagit" if how == "bag" else "export_ro_crate")(Path(folder) / "out")
        return getattr(a.standards, f"import_{how}")(Path(folder) / "out", dry_run=True)


def _snapped(a: Store, *collections: str) -> Any:
    """Every byte of a snapshot, and what a store that is made of it has."""
    with tempfile.TemporaryDirectory() as folder:
        a.snapshot(Path(folder) / "s.hfs", collections=collections)
        data = zstandard.ZstdDecompressor().stream_reader(  # a snapshot has many frames
            (Path(folder) / "s.hfs").read_bytes(), read_across_frames=True
        ).read()  # fmt: skip
        import_store(Path(folder) / "new", Path(folder) / "s.hfs")
        with holdfast.open(Path(folder) / "new", tenant=a.tenant) as new:
            assert holdfast.fsck(Path(folder) / "new").findings == ()
            return MARK.encode() in data, [(one.path, one.number, new.read(one)) for one in new.find()]


def _together(a: Store, r: Refs) -> Any:
    with a.transaction(note="both"):
        a.put("first.txt", r.content)
        return a.artifacts.tag(r.id, "x")


STORE: dict[str, list[Call]] = {
    "add": [lambda a, r: a.add(_file(a, r.content), into=r.collection.path).added],
    "at": [lambda a, r: _then(a, lambda v: list(v.find())), lambda a, r: _then(a, lambda v: v.get(r.id)),
           lambda a, r: _then(a, lambda v: v.get(r.path)), lambda a, r: _then(a, lambda v: v.read(r.artifact)),
           lambda a, r: _then(a, lambda v: list(v.artifacts.read_many([r.revision]))),
           lambda a, r: _then(a, lambda v: list(v.runs.find())), lambda a, r: _then(a, lambda v: v.runs.get(r.run)),
           lambda a, r: _then(a, lambda v: list(v.changes.list())), lambda a, r: _then(a, lambda v: list(v.losses())),
           lambda a, r: _then(a, lambda v: list(v.collections.list())),
           lambda a, r: _then(a, lambda v: list(v.relationships.find())),
           lambda a, r: _then(a, lambda v: v.relationships.lineage(r.artifact))],
    "checkout": [lambda a, r: a.checkout(r.collection, _out(a)), lambda a, r: a.checkout(r.path, _out(a)),
                 lambda a, r: sorted(p.name for p in _listed(a))],
    "snapshot": [lambda a, r: _snapped(a), lambda a, r: _snapped(a, "docs"),
                 lambda a, r: _snapped(a, r.collection.path), lambda a, r: _snapped(a, f"id:{r.collection.id}")],
    "usage": [lambda a, r: a.usage(), lambda a, r: a.usage(tenant=r.tenant), lambda a, r: a.usage(owner=r.tag)],
    "for_tenant": [lambda a, r: a.for_tenant(r.tenant)],
    "transaction": [_together],
}  # fmt: skip
TABLES: list[tuple[type, dict[str, list[Call]]]] = [
    (Artifacts, ARTIFACTS), (Collections, COLLECTIONS), (Relationships, RELATIONSHIPS), (Runs, RUNS),
    (Changes, CHANGES), (Searching, SEARCH), (Outbox, OUTBOX), (Consumer, CONSUMER), (StoreClass, STORE),
    (Standards, STANDARDS),
]  # fmt: skip
STORE_WIDE = {
    "export_tree", "import_git", "export_git", "gc", "repack", "fsck", "backup", "copy", "redact",
    "migrate_status", "status", "diagnostics", "configuration", "tenants", "indexes", "audit",
}  # fmt: skip
OF_THE_HANDLE = {"close", "id", "path", "opened", "tenant"}
NOUNS = {"artifacts", "collections", "relationships", "runs", "changes", "search", "outbox", "standards"}
SHORTHANDS = {"put", "put_many", "create", "get", "read", "find"}


def _consumed(a: Store) -> Any:
    got: list[Any] = []
    books = a.outbox.consumer("my-books")
    books.rewind("start")
    books.run(lambda one: got.append(one.change))
    return got


def _taken(a: Store) -> Any:
    with a.outbox.consumer("my-books").take() as lease:
        return [one.change for one in lease.read(100)]


def _then(a: Store, look: Callable[[View], Any]) -> Any:
    with a.at(a.changes.head().next_seq - 1) as view:
        return look(view)


def _file(a: Store, content: bytes) -> Path:
    path = a.path.parent / "given.txt"
    path.write_bytes(content)
    return path


def _out(a: Store) -> Path:
    return a.path.parent / "out"


def _listed(a: Store) -> list[Path]:
    a.checkout("", _out(a) / "all", existing="replace")
    return [path for path in (_out(a) / "all").rglob("*") if path.is_file()]


# -- the comparison ----------------------------------------------------------------------------------------------------


def outcome(call: Call, a: Store, refs: Refs) -> str:
    """What a call comes to, as text in which ids, numbers, times and digests are alike."""
    writes = call.__code__.co_filename == __file__ and "outbox" not in inspect.getsource(call)
    try:
        if not writes or "_then" in call.__code__.co_names or "search" in call.__code__.co_names:
            return "value " + shown(call(a, refs))
        with a.transaction():
            found = shown(call(a, refs))
            raise UndoneError(found)
    except UndoneError as undone:
        return f"value {undone}"
    except HoldfastError as error:
        fields = {name: value for name, value in error.fields.items() if name not in ("waited_s", "path")}
        return f"error {type(error).__name__} {shown(error.message)} {shown(fields)} {error.remedy}"


class UndoneError(Exception):
    """So that nothing of a call stays."""


def shown(value: Any) -> str:
    if isinstance(value, types.GeneratorType):
        value = list(value)
    text = repr(value) if not dataclasses.is_dataclass(value) else str(value)
    text = re.sub(r"datetime\.datetime\(.*?utc\)", "T", text)
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "I", text)
    text = re.sub(r"sha256:[0-9a-f]+|\b[0-9a-f]{64}\b|\\x[0-9a-f]{2}", "D", text)
    return re.sub(r"\d+", "0", text)


CASES = [
    pytest.param(call, id=f"{kind.__name__}.{name}-{number}")
    for kind, table in TABLES
    for name, calls in table.items()
    for number, call in enumerate(calls)
]


@pytest.mark.parametrize("call", CASES)
def test_what_another_tenant_has_comes_to_the_same_as_what_nobody_has(
    call: Call, mine: Store, theirs: Store, refs: Refs
) -> None:
    absent, present = outcome(call, mine, refs.nobody()), outcome(call, mine, refs)

    assert present.replace(MARK, "nowhere") == absent
    given = {refs.path, refs.collection.path, refs.run.name, refs.artifact.name, refs.tag, refs.consumer, refs.tenant}
    left = present
    for text in sorted(given, key=len, reverse=True):  # what the caller said itself may be said back
        left = left.replace(text, "")
    assert MARK not in left


def test_after_all_of_that_the_other_tenant_has_what_it_had(
    mine: Store, theirs: Store, refs: Refs, store: Store
) -> None:
    assert theirs.get(refs.path).revision == refs.revision
    assert [one.name for one in theirs.find()] == ["plan.txt", "other.txt", "made.txt"]
    assert theirs.read(refs.path) == refs.content
    touched = {one.id for one in theirs.changes.list(kind="artifact")}
    assert {theirs.artifacts.get(f"id:{one}", deleted=True).tenant for one in touched} == {refs.tenant}
    assert store.fsck().exit_code == 0


# -- nothing is forgotten ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "table"), TABLES, ids=lambda one: getattr(one, "__name__", ""))
def test_every_public_call_stands_in_a_table(kind: type, table: dict[str, list[Call]]) -> None:
    public = {name for name in dir(kind) if not name.startswith("_") or (name == "__call__" and name in vars(kind))}
    if kind is StoreClass:
        public |= {"artifacts", "collections"}
        public -= STORE_WIDE | OF_THE_HANDLE | NOUNS | SHORTHANDS
    assert public == set(table), "say here what the call gives a tenant that asks for what another has"


def test_a_view_has_no_calls_that_a_store_has_not() -> None:
    own = {"seq", "time", "losses", "search"}
    known = OF_THE_HANDLE | NOUNS | SHORTHANDS | {"transaction"}
    assert {name for name in dir(View) if not name.startswith("_")} <= own | known


@pytest.mark.parametrize("name", sorted(STORE_WIDE))
def test_what_concerns_the_whole_store_is_refused_to_one_tenant(name: str, mine: Store) -> None:
    with pytest.raises(StoreWideError):
        getattr(mine, name)()


ROOMS = ("lookups", "collections", "artifacts", "contents", "ends", "relationships", "runs", "lineage", "finder")
REACHED_FROM_ONES_OWN = {
    "lookups": {"folder", "take_step", "tags", "paths", "steps", "ids", "missed"},  # by key of what was found
    "collections": {"child", "taken", "newest_deleted", "children", "below", "taken_along", "deleted_seq",
                    "artifact_keys", "count_artifacts", "parent_of", "records"},
    "artifacts": {"by_place", "is_free", "briefs", "prove_absent", "newest_deleted", "revision", "history",
                  "last_number", "newest_kept", "page", "many_at", "records"},
    "contents": {"at", "many_at", "listed"},
    "ends": {"has_revision"},
    "relationships": set(),
    "runs": {"steps", "last_step", "links", "has_link", "made", "count_steps"},
    "lineage": {"linked", "makers"},
    "finder": {"in_collection"},
}  # fmt: skip
BY_WHAT_IS_GUARDED = {
    "lookups": set(), "collections": {"down", "around", "subtree", "alone"}, "artifacts": {"key_of"}, "contents": set(),
    "ends": {"gone"}, "relationships": {"page", "touching", "count_touching"}, "runs": set(), "lineage": set(),
    "finder": {"by_digest"},
}  # fmt: skip
FACTS = {
    "lookups": {"forget", "written", "known", "gather", "open_transaction", "close_transaction", "time", "prove_times",
                "actor", "term", "term_key", "is_committed", "deleted_at", "few_of"},
    "relationships": {"types"},
    "finder": {"foresee"},  # gives nothing
}  # fmt: skip


@pytest.mark.parametrize("room", ROOMS)
def test_every_way_to_a_row_is_guarded_or_begins_at_a_row_of_ones_own(room: str, mine: Store) -> None:
    limited = type(getattr(mine._handle.index, room))
    (plain,) = limited.__bases__
    public = {name for name, one in inspect.getmembers(plain, inspect.isfunction) if not name.startswith("_")}
    guarded = {name for name in vars(limited) if not name.startswith("_")} & public

    assert limited in scoped.Scoped
    assert public - guarded == REACHED_FROM_ONES_OWN[room] | BY_WHAT_IS_GUARDED[room] | FACTS.get(room, set())


def test_every_room_of_the_index_is_limited_or_knows_no_records(mine: Store, store: Store) -> None:
    rooms = {name for name, one in vars(store._handle.index).items() if hasattr(one, "__dict__")}
    knows_none = {"executor", "chain", "physical", "sights", "declared", "database", "tenancy", "everything", "whole"}
    assert {name for name in rooms if not name.startswith("_")} <= {*ROOMS, *knows_none}
    assert isinstance(mine._handle.index, sqlite.SqliteIndex)


GUARDS: dict[str, Callable[[Refs, SqliteIndex], tuple[Any, ...]]] = {
    "lookups.key": lambda r, i: (r.artifact.id,),
    "collections.root": lambda r, i: (r.tenant,),
    "collections.by_key": lambda r, i: (i.lookups.key(r.collection.id),),
    "collections.by_id": lambda r, i: (r.collection.id,),
    "artifacts.by_id": lambda r, i: (r.artifact.id,),
    "artifacts.by_key": lambda r, i: (i.lookups.key(r.artifact.id),),
    "artifacts.many_of": lambda r, i: ([r.artifact.id],),
    "artifacts.many_by_key": lambda r, i: ([i.lookups.key(r.artifact.id)],),
    "artifacts.live_from": lambda r, i: (0, 10),
    "artifacts.changed": lambda r, i: (0, 10),
    "contents.of": lambda r, i: (r.artifact.id,),
    "contents.many_of": lambda r, i: ([r.artifact.id],),
    "contents.many_revisions": lambda r, i: (pins([r.revision]),),
    "ends.states": lambda r, i: ([r.artifact.id],),
    "relationships.by_id": lambda r, i: (r.relationship.id,),
    "relationships.own_tombstone": lambda r, i: (_deleted(i),),
    "relationships.equal": lambda r, i: (r.relationship.type, r.relationship.source, r.relationship.target),
    "runs.by_id": lambda r, i: (r.run.id,),
    "runs.page": lambda r, i: (WantedRuns(), 0),
    "runs.names": lambda r, i: ([r.run.id],),
    "runs.step": lambda r, i: (r.step.id,),
    "lineage.labels": lambda r, i: ([r.artifact.endpoint],),
    "finder.page": lambda r, i: (query.field("name") == r.artifact.name, query.order("name")),
    "finder.explain": lambda r, i: (None, query.order("name")),
}
"""By the guard: what to ask with, so that without it something of the other tenant would come out."""

SHOWS: dict[str, Callable[[Any], bool]] = {
    "finder.page": lambda found: bool(found.items),
    "finder.explain": lambda found: "record_tenant" not in found.indexes,
    "lineage.labels": lambda found: MARK in repr(found),
    "runs.page": lambda found: MARK in repr(found),
    "collections.root": lambda found: found is not None,
    "contents.many_revisions": lambda found: found != [None],
}


def _deleted(index: SqliteIndex) -> str:
    sql = "SELECT r.id FROM relationship t JOIN record r ON r.key = t.key WHERE r.deleted <> 0"
    return moment.id_text(index.database.rows(sql)[0][0])


@pytest.mark.parametrize("guard", GUARDS)
def test_each_guard_keeps_back_what_would_be_shown_without_it(
    guard: str, mine: Store, theirs: Store, store: Store, refs: Refs
) -> None:
    """Whatever stands before it: a second line of defence is worth what it holds when the first is gone."""
    name, _, call = guard.partition(".")
    room, index = getattr(mine._handle.index, name), store._handle.index
    args, more = GUARDS[guard](refs, index), {"limit": 9} if guard == "finder.page" else {}
    (plain,) = type(room).__bases__
    shows = SHOWS.get(guard, bool)
    assert shows(getattr(plain, call)(room, *args, **more)), "there is nothing to keep back: the test means nothing"
    if guard == "collections.root":
        assert room.root(refs.tenant) == index.collections.root("a") != plain.root(room, refs.tenant)
        return
    try:
        found = getattr(room, call)(*args, **more)
    except StoreWideError:
        return
    assert not shows(found)


def test_every_guard_is_tried() -> None:
    rooms = dict(zip(ROOMS, scoped.Scoped, strict=True))
    guarded = {f"{room}.{name}" for room, cls in rooms.items() for name, one in vars(cls).items()
               if inspect.isfunction(one) and not name.startswith("_")}  # fmt: skip
    assert guarded == set(GUARDS)


def test_nothing_of_any_tenant_is_left_out_of_an_export_of_all(
    mine: Store, theirs: Store, store: Store, refs: Refs, tmp_path: Path
) -> None:
    """Newest contents stand under their names; a tenant's have none that all see, and are there all the same."""
    store.snapshot(tmp_path / "all.hfs")
    store.export_tree(tmp_path / "tree")
    for source in ("all.hfs", "tree"):
        import_store(tmp_path / f"from {source}", tmp_path / source)
        assert holdfast.fsck(tmp_path / f"from {source}").findings == ()
        with holdfast.open(tmp_path / f"from {source}", tenant=refs.tenant) as again:
            assert again.read(refs.path) == refs.content
            assert [one.path for one in again.find()] == [one.path for one in theirs.find()]


# -- what is written ---------------------------------------------------------------------------------------------------


def test_records_get_their_tenant_and_each_tenant_its_own_names(mine: Store, theirs: Store, store: Store) -> None:
    with pytest.raises(UndoneError), mine.transaction():  # noqa: PT012
        made = mine.put(f"{MARK}/plan.txt", "mine").artifact
        assert made.tenant == mine.collections.get(MARK).tenant == "a"
        assert [one.tenant for one in mine.find(id=made.id)] == ["a"]
        with pytest.raises(NameTakenError) as caught:
            mine.create(f"{MARK}/plan.txt", "again")
        assert caught.value.fields["holder"] == made.id
        raise UndoneError
    with pytest.raises(NotFoundError):
        store.get("mine.txt")  # by path, who keeps the store sees what has no tenant
    assert {one.tenant for one in store.find()} == {"a", f"{MARK} works"}
    assert set(store.tenants()) == {"a", f"{MARK} works"}


def test_equal_content_of_two_tenants_is_stored_once_and_nobody_is_told(
    mine: Store, theirs: Store, refs: Refs, store: Store
) -> None:
    # Not the content that `refs` asks for: who had one once is not told any more that nobody ever had it.
    other = theirs.get(f"{MARK}/other.txt")
    assert other.digest != refs.digest
    before = store.status().blobs
    made = mine.put("same.txt", theirs.read(other))
    assert made.created
    assert made.revision.digest == other.digest
    assert store.status().blobs == before
    assert [one.path for one in mine.find(digest=other.digest)] == ["same.txt"]
    mine.artifacts.delete("same.txt")
    mine.artifacts.purge("same.txt")
    assert theirs.read(other) == f"{MARK} three".encode()


def test_who_keeps_the_store_cannot_tie_tenants_together_either(mine: Store, theirs: Store, store: Store) -> None:
    one, two = mine.get("mine.txt"), theirs.get(f"{MARK}/plan.txt")
    with pytest.raises(InvalidValueError) as caught:
        store.relationships.relate(one, "supports", two)
    assert caught.value.fields["reason"] == "tenants"
    with pytest.raises(InvalidValueError):
        store.artifacts.move(one, theirs.collections.get(MARK))
    with pytest.raises(InvalidValueError):
        store.put(one, "x", run=next(theirs.runs.find()).id)
    other = mine.get("docs/note.txt")
    assert store.relationships.relate(one, "supports", other).tenant == "a"
    assert [tie.target.id for tie in mine.relationships.of(one)] == [other.id]


def test_usage_is_counted_by_tenant_and_by_owner(mine: Store, theirs: Store, store: Store, refs: Refs) -> None:
    total, b = store.usage(), store.usage(tenant=refs.tenant)
    assert b == theirs.usage()
    assert b.counts["artifact"] == 3
    assert b.deleted["artifact"] == 1
    assert (b.revisions, b.logical_bytes) == (
        5,
        sum(len(f"{MARK} {n}") for n in ("one", "two", "three", "four", "five")),
    )
    assert store.usage(owner=MARK).counts["artifact"] == 1
    assert total.revisions == b.revisions + store.usage(tenant="a").revisions + store.usage(tenant="").revisions


def test_the_records_of_one_owner_or_tenant_are_found_by_an_index_while_they_are_few(
    mine: Store, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"owner": MARK, "tenant": "a"}
    few = {}
    for field, value in asked.items():
        plan = store.artifacts.explain(**{field: value})
        assert (plan.indexes, plan.scans) == ((f"record_{field}",), ())
        few[field] = [one.id for one in store.find(**{field: value})]
        assert few[field]
    assert mine.artifacts.explain().indexes == ("record_tenant",)
    monkeypatch.setattr("holdfast.index.select.narrowing._FEW", 0)
    for field, value in asked.items():
        assert "record_owner" not in store.artifacts.explain(**{field: value}).indexes
        assert [one.id for one in store.find(**{field: value})] == few[field]


@pytest.mark.parametrize("name", [" a", "a\n", "x" * 201, "nul\0", 7])
def test_what_names_no_tenant_is_refused(name: Any, store: Store) -> None:
    for call in (lambda: store.for_tenant(name), lambda: holdfast.open(store.path, tenant=name)):
        with pytest.raises(InvalidValueError):
            call()


def test_a_rebuilt_store_has_its_tenants(tmp_path: Path) -> None:
    with holdfast.create(tmp_path / "s") as made, made.for_tenant("a") as a:
        kept = a.put("x", "one").artifact
        a.put("x", "two")
    holdfast.rebuild(tmp_path / "s")
    with holdfast.open(tmp_path / "s", tenant="a", read_only=True) as a:
        assert a.get("x").id == kept.id
        assert a.read("x") == b"two"
    assert holdfast.fsck(tmp_path / "s").exit_code == 0

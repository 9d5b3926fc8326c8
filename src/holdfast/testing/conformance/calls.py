"""Every public call of an open store, each made once with what it needs: for tests that want to leave none out."""

from __future__ import annotations

import inspect
import io
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from holdfast import Store, field

Call = Callable[[Store, Path], Any]
NOUNS = (
    "artifacts", "audit", "changes", "collections", "configuration", "indexes", "outbox", "relationships", "runs",
    "search", "standards",
)  # fmt: skip


def names_of(store: Store) -> Iterator[str]:
    """`put`, `artifacts.put`, `path` …: what a caller can say of a store, found by looking at it."""
    for name in dir(store):
        if name.startswith("_"):
            continue
        value = inspect.getattr_static(store, name, None)
        noun = getattr(store, name)
        inner = [one for one in dir(noun) if not one.startswith("_")] if name in NOUNS else []
        yield from (f"{name}.{one}" for one in inner)
        if not inner or callable(noun):
            yield name
        assert value is not None or name in NOUNS


def fill(store: Store) -> None:
    """Records of every noun for the calls to speak of."""
    one = store.put("docs/a.md", "text of it", metadata={"n": 1e16, "z": -0.0, "nul": "\0"}, tags=["t"]).artifact
    store.put("docs/a.md", "text two of it", metadata={"n": 2})
    other = store.put("b.txt", "another text").artifact
    store.collections.create("empty")
    store.relationships.relate(one, "derived_from", other)
    run = store.runs.create("made")
    store.runs.add_step(run, "first")
    store.outbox.create("made")
    store.put("gone", "x")
    store.artifacts.delete("gone")
    store.collections.create("left")
    store.collections.delete("left")


def relationship(store: Store) -> Any:
    """The one there is."""
    return next(store.relationships.find())


def run(store: Store) -> Any:
    """The one there is."""
    return next(store.runs.find())


def all_of(found: Any) -> list[Any]:
    """Of what is given one by one."""
    return list(found)


def _transaction(store: Store, _: Path) -> None:
    with store.transaction(note="two"):
        store.put("one", "1")
        store.put("two", "2")


def _start(store: Store, _: Path) -> None:
    with store.runs.start("under way") as under_way:
        under_way.output(store.put("made", "1").artifact)


def _of_a_tenant(store: Store) -> None:
    with store.for_tenant("acme") as theirs:
        theirs.put("a", "theirs")
        assert [one.path for one in theirs.find()] == ["a"]


def _at(store: Store, _: Path) -> None:
    with store.at(3) as view:
        all_of(view.artifacts.find())


def _delete_and_undelete(store: Store, what: str) -> None:
    noun, one = getattr(store, what), {"relationships": relationship, "runs": run}[what](store)
    noun.delete(one, **({"contents": "cascade"} if what == "runs" else {}))
    noun.undelete(one)


def _repository(folder: Path) -> Path:
    folder.mkdir()
    git = ["git", "-C", str(folder), "-c", "user.name=A", "-c", "user.email=a@b"]
    (folder / "file").write_text("1")
    for words in (["init", "-q"], ["add", "file"], ["commit", "-qm", "one"]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    return folder


def _file(path: Path) -> Path:
    path.write_text("from a file")
    return path


def _import(store: Store, tmp: Path, how: str) -> None:
    getattr(store.standards, f"export_{how}")(tmp / how, "docs")
    getattr(store.standards, "import_bag" if how == "bagit" else "import_ro_crate")(tmp / how, "taken")


CALLS: dict[str, Call] = {
    "add": lambda s, tmp: s.add(_file(tmp / "file"), into="in"),
    "at": _at,
    "backup": lambda s, tmp: s.backup(tmp / "backup"),
    "checkout": lambda s, tmp: s.checkout("docs", tmp / "checkout"),
    "configuration.list": lambda s, _: s.configuration.list(),
    "configuration.set": lambda s, _: s.configuration.set("lock_wait_s", 5),
    "configuration.unset": lambda s, _: s.configuration.unset("lock_wait_s"),
    "diagnostics": lambda s, _: s.diagnostics(),
    "copy": lambda s, tmp: s.copy(tmp / "copy"),
    "create": lambda s, _: s.create("new", b"1"),
    "export_git": lambda s, tmp: s.export_git(tmp / "git", ref="docs"),
    "export_tree": lambda s, tmp: s.export_tree(tmp / "tree"),
    "find": lambda s, _: all_of(s.find(field("metadata.n") > 1)),
    "fsck": lambda s, _: s.fsck(),
    "gc": lambda s, _: s.gc(grace_s=0),
    "for_tenant": lambda s, _: _of_a_tenant(s),
    "get": lambda s, _: s.get("docs/a.md"),
    "id": lambda s, _: s.id,
    "import_git": lambda s, tmp: s.import_git(_repository(tmp / "repo"), into="repo"),
    "migrate_status": lambda s, _: s.migrate_status(),
    "opened": lambda s, _: s.opened,
    "path": lambda s, _: s.path,
    "put": lambda s, _: s.put("docs/a.md", io.BytesIO(b"from a stream")),
    "put_many": lambda s, _: s.put_many([("m/1", b"1"), ("m/2", b"2")]),
    "read": lambda s, _: s.read("docs/a.md"),
    "redact": lambda s, _: s.redact(s.get("b.txt")),
    "repack": lambda s, _: s.repack(),
    "search": lambda s, _: s.search("text"),
    "search.left_out": lambda s, _: all_of(s.search.left_out()),
    "snapshot": lambda s, tmp: s.snapshot(tmp / "snapshot.hfs", collections=["docs"]),
    "status": lambda s, _: s.status(),
    "tenant": lambda s, _: s.tenant,
    "tenants": lambda s, _: s.tenants(),
    "transaction": _transaction,
    "usage": lambda s, _: s.usage(owner=""),
    "artifacts.copy_to": lambda s, _: s.artifacts.copy_to("b.txt", io.BytesIO()),
    "artifacts.create": lambda s, _: s.artifacts.create("new", "1"),
    "artifacts.delete": lambda s, _: s.artifacts.delete("b.txt"),
    "artifacts.diff": lambda s, _: all_of(s.artifacts.diff("docs/a.md", 1, 2)),
    "artifacts.explain": lambda s, _: s.artifacts.explain(field("metadata.n") > 1),
    "artifacts.find": lambda s, _: all_of(s.artifacts.find(tag="t")),
    "artifacts.get": lambda s, _: s.artifacts.get("b.txt"),
    "artifacts.get_many": lambda s, _: all_of(s.artifacts.get_many(["b.txt", "docs/a.md"])),
    "artifacts.list": lambda s, _: all_of(s.artifacts.list(recursive=True)),
    "artifacts.log": lambda s, _: all_of(s.artifacts.log("docs/a.md")),
    "artifacts.move": lambda s, _: s.artifacts.move("b.txt", "docs"),
    "artifacts.open": lambda s, _: s.artifacts.open("b.txt").read(),
    "artifacts.open_many": lambda s, _: [file.read() for _, file in s.artifacts.open_many(["b.txt"])],
    "artifacts.page": lambda s, _: s.artifacts.page(limit=1),
    "artifacts.purge": lambda s, _: s.artifacts.purge("docs/a.md", revisions=[1]),
    "artifacts.put": lambda s, tmp: s.artifacts.put("b.txt", _file(tmp / "file")),
    "artifacts.put_many": lambda s, _: s.artifacts.put_many([("m/1", b"1")]),
    "artifacts.read": lambda s, _: s.artifacts.read("docs/a.md", revision=1),
    "artifacts.read_many": lambda s, _: all_of(s.artifacts.read_many(["b.txt"])),
    "artifacts.rename": lambda s, _: s.artifacts.rename("b.txt", "c.txt"),
    "artifacts.revert": lambda s, _: s.artifacts.revert("docs/a.md", 1),
    "artifacts.revision": lambda s, _: s.artifacts.revision("docs/a.md", 1),
    "artifacts.revisions": lambda s, _: s.artifacts.revisions("docs/a.md"),
    "artifacts.set_metadata": lambda s, _: s.artifacts.set_metadata("b.txt", {"k": 1}),
    "artifacts.tag": lambda s, _: s.artifacts.tag("b.txt", "new"),
    "artifacts.undelete": lambda s, _: s.artifacts.undelete(next(s.find(deleted=True, name="gone"))),
    "artifacts.untag": lambda s, _: s.artifacts.untag("docs/a.md", "t"),
    "artifacts.update": lambda s, _: s.artifacts.update("b.txt", owner="Eve"),
    "audit.foreign": lambda s, _: s.audit.foreign(),
    "audit.head": lambda s, _: s.audit.head(),
    "audit.verify": lambda s, _: s.audit.verify(s.audit.head()),
    "changes.head": lambda s, _: s.changes.head(),
    "changes.list": lambda s, _: all_of(s.changes.list()),
    "collections.contents": lambda s, _: s.collections.contents("docs"),
    "collections.create": lambda s, _: s.collections.create("new/one", parents=True),
    "collections.delete": lambda s, _: s.collections.delete("empty"),
    "collections.ensure": lambda s, _: s.collections.ensure("docs"),
    "collections.get": lambda s, _: s.collections.get("docs"),
    "collections.list": lambda s, _: all_of(s.collections.list()),
    "collections.move": lambda s, _: s.collections.move("empty", "docs"),
    "collections.rename": lambda s, _: s.collections.rename("empty", "void"),
    "collections.tag": lambda s, _: s.collections.tag("docs", "t"),
    "collections.undelete": lambda s, _: s.collections.undelete(s.collections.delete("empty")),
    "collections.untag": lambda s, _: s.collections.untag("docs", "t"),
    "collections.update": lambda s, _: s.collections.update("docs", metadata={"k": [1]}),
    "indexes.declare": lambda s, _: s.indexes.declare("metadata.n"),
    "indexes.drop": lambda s, _: s.indexes.drop(s.indexes.declare("metadata.n").field),
    "indexes.list": lambda s, _: s.indexes.list(),
    "outbox.consumer": lambda s, _: s.outbox.consumer("made"),
    "outbox.create": lambda s, _: s.outbox.create("another"),
    "outbox.list": lambda s, _: s.outbox.list(),
    "relationships.count_touching": lambda s, _: s.relationships.count_touching(s.get("b.txt").id),
    "relationships.delete": lambda s, _: s.relationships.delete(relationship(s)),
    "relationships.find": lambda s, _: all_of(s.relationships.find(type="derived_from")),
    "relationships.get": lambda s, _: s.relationships.get(relationship(s)),
    "relationships.lineage": lambda s, _: s.relationships.lineage(s.get("docs/a.md")),
    "relationships.of": lambda s, _: all_of(s.relationships.of(s.get("b.txt"))),
    "relationships.page": lambda s, _: s.relationships.page(limit=1),
    "relationships.register_type": lambda s, _: s.relationships.register_type(
        "feeds", family="provenance", description="d"
    ),
    "relationships.relate": lambda s, _: s.relationships.relate(s.get("b.txt"), "supports", s.get("docs/a.md")),
    "relationships.types": lambda s, _: s.relationships.types(),
    "relationships.undelete": lambda s, _: _delete_and_undelete(s, "relationships"),
    "relationships.update": lambda s, _: s.relationships.update(relationship(s), metadata={"k": 1}),
    "runs.add_step": lambda s, _: s.runs.add_step(run(s), "second"),
    "runs.create": lambda s, _: s.runs.create("another", parameters={"lr": 0.1}),
    "runs.delete": lambda s, _: s.runs.delete(run(s), contents="cascade"),
    "runs.diagnose": lambda s, _: s.runs.diagnose(run(s), {"warnings": 1}),
    "runs.find": lambda s, _: all_of(s.runs.find(name="made")),
    "runs.get": lambda s, _: s.runs.get(run(s)),
    "runs.link": lambda s, _: s.runs.link(run(s), "output", s.get("b.txt")),
    "runs.links": lambda s, _: all_of(s.runs.links(run(s), "output")),
    "runs.manifest": lambda s, _: s.runs.manifest(run(s)),
    "runs.page": lambda s, _: s.runs.page(limit=1),
    "runs.set_status": lambda s, _: s.runs.set_status(run(s), "processing"),
    "runs.set_step_status": lambda s, _: s.runs.set_step_status(next(s.runs.steps(run(s))), "processing"),
    "runs.start": _start,
    "runs.steps": lambda s, _: all_of(s.runs.steps(run(s))),
    "runs.undelete": lambda s, _: _delete_and_undelete(s, "runs"),
    "runs.update": lambda s, _: s.runs.update(run(s), tags=["t"]),
    "standards.export_bagit": lambda s, tmp: s.standards.export_bagit(tmp / "bag", "docs"),
    "standards.export_openlineage": lambda s, tmp: s.standards.export_openlineage(tmp / "lineage"),
    "standards.export_prov": lambda s, tmp: s.standards.export_prov(tmp / "prov.json"),
    "standards.export_ro_crate": lambda s, tmp: s.standards.export_ro_crate(tmp / "crate", "docs"),
    "standards.import_bag": lambda s, tmp: _import(s, tmp, "bagit"),
    "standards.import_ro_crate": lambda s, tmp: _import(s, tmp, "ro_crate"),
    "close": lambda s, _: s.close(),
}
"""A new public call goes here: tests fail that find one by introspection which is not."""

"""`export tree` and `import`: equal stores, equal bytes, small differences; nothing wrong gets in, nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import holdfast
from holdfast import FileFacts, Store
from holdfast.disk import Disk
from holdfast.engine import open as opening
from holdfast.engine.open import Settings
from holdfast.errors import (
    BlobMissingError,
    DestinationDiffersError,
    FormatTooNewError,
    HoldfastError,
    ImportRefusedError,
    InvalidValueError,
    NotFoundError,
)
from holdfast.exchange import ground, importing, staging, tree_export, tree_import
from holdfast.exchange import tree as trees
from holdfast.exchange.merge.report import Wish
from holdfast.formats import lines
from holdfast.index.select import whole
from holdfast.index.tables import LOGICAL
from holdfast.testing.clock import FixedClock
from holdfast.values import canon, change, portable
from holdfast.values.change import Actor, Entry, Transaction, root_of

from .trees import NAMES, picture

GOLDEN = Path(__file__).parents[1] / "golden" / "tree"


@pytest.fixture
def full(store: Store) -> Store:
    """A store with something of everything."""
    return fill(store)


def fill(store: Store) -> Store:
    store.put("docs/a.md", "one\n", metadata={"score": 1.0}, tags=["draft"], message="first", file=FileFacts(0o644, 5))
    store.put("docs/a.md", "two\n")
    store.put("docs/A.MD", "another, where case is folded\n")
    store.put("docs/CON.txt", "a device elsewhere\n")
    store.put(".git/config", "no repository's\n")
    store.put(b"not utf-8 \xff", b"\0\1\2")
    store.put("empty", b"")
    store.put("large", b"0123456789" * 300)
    store.put("large", b"9876543210" * 300)
    store.put("link", "docs/a.md", media_type="inode/symlink")
    store.put("gone", "deleted\n")
    store.artifacts.delete("gone")
    store.put("purged", "first\n")
    store.put("purged", "second\n")
    store.artifacts.purge("purged", revisions=[1])
    store.put("secret", "hidden\n", metadata={"key": "value"})
    store.redact(store.get("secret"), fields=["name", "metadata"])
    store.collections.create("nothing in it", metadata={"why": "empty"})
    store.relationships.register_type("mirrors", family="structural", description="The source is a copy of the target.")
    store.relationships.relate("docs/a.md", "mirrors", "large", metadata={"since": 3})
    with store.runs.start("train", parameters={"rate": 0.5}, environment={"holdfast": "0"}) as run:
        run.input(store.get("large"), role="data")
        store.put("made", "by a run\n")
    return store


def logical(store: Store) -> dict[str, Any]:
    return {table: list(store._handle.index.dump(table)) for table in LOGICAL}


def contents_of(store: Store) -> dict[tuple[str, int], bytes]:
    return {
        (one.path, revision.number): store.read(one, revision=revision.number)
        for one in store.artifacts.list("", recursive=True)
        for revision in store.artifacts.revisions(one)
        if revision.state == "kept"
    }


def files(top: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(top)): p.read_bytes() for p in top.rglob("*") if p.is_file() and ".git/" not in str(p) + "/"
    }


# -- equal stores, equal bytes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("large", [True, False])
def test_import_gives_an_equal_store_and_its_export_equal_bytes(full: Store, tmp_path: Path, large: bool) -> None:
    report = full.export_tree(tmp_path / "tree", large_from=1_000 if large else None)
    done = holdfast.import_store(tmp_path / "new", tmp_path / "tree")
    with holdfast.open(tmp_path / "new", actor="Bea") as other:
        assert other.id == full.id == done.store
        assert other.changes.head() == full.changes.head()
        assert (done.head, done.changes) == (full.changes.head().hash.hex(), full.changes.head().next_seq - 1)
        assert logical(other) == logical(full)
        assert contents_of(other) == contents_of(full)
        assert other.fsck().findings == ()
        again = other.export_tree(tmp_path / "again", large_from=1_000 if large else None)
        assert again.root == report.root
        assert files(tmp_path / "again") == files(tmp_path / "tree")
        other.put("docs/a.md", "it goes on\n")
        assert other.changes.head().next_seq == full.changes.head().next_seq + 1
    with holdfast.open(tmp_path / "new", read_only=True) as other:
        assert other.fsck().findings == ()
        assert other.read("docs/a.md") == b"it goes on\n"


VERBS = st.sampled_from(["put", "put", "put", "delete", "rename", "tag", "mkdir", "undelete"])
STEPS = st.lists(
    st.tuples(VERBS, st.lists(NAMES, min_size=1, max_size=3), st.binary(max_size=20)), min_size=1, max_size=15
)


@settings(max_examples=20)
@given(steps=STEPS)
def test_any_store_comes_back_equal(steps: list[tuple[str, list[bytes], bytes]], tmp_path_factory: Any) -> None:
    top = tmp_path_factory.mktemp("any")
    try:
        with holdfast.create(top / "store", actor="Ada") as store:
            for verb, names, data in steps:
                path = b"/".join(names)
                try:
                    _do(store, verb, path, data)
                except HoldfastError:
                    continue
            if store.changes.head().next_seq == 1:
                return
            store.export_tree(top / "tree", large_from=10)
            holdfast.import_store(top / "new", top / "tree")
            with holdfast.open(top / "new") as other:
                assert logical(other) == logical(store)
                assert contents_of(other) == contents_of(store)
                other.export_tree(top / "again", large_from=10)
            assert files(top / "again") == files(top / "tree")
    finally:
        shutil.rmtree(top)


def _do(store: Store, verb: str, path: bytes, data: bytes) -> None:
    if verb == "put":
        store.put(path, data, metadata={"n": len(data)})
    elif verb == "delete":
        store.artifacts.delete(path)
    elif verb == "undelete":
        store.artifacts.undelete(path)
    elif verb == "rename":
        store.artifacts.rename(path, data[:5].replace(b"/", b"") or b"x")
    elif verb == "tag":
        store.artifacts.tag(path, "a tag")
    else:
        store.collections.create(path, parents=True)


def test_care_and_reading_change_no_byte_of_it(full: Store, tmp_path: Path) -> None:
    full.export_tree(tmp_path / "one")
    full.fsck()
    full.gc(grace_s=0)
    full.repack()
    contents_of(full)
    full.close()
    holdfast.rebuild(full.path)
    with holdfast.open(full.path) as again:
        again.export_tree(tmp_path / "two")
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_a_second_export_writes_nothing(full: Store, tmp_path: Path) -> None:
    first = full.export_tree(tmp_path / "tree")
    before = picture(tmp_path / "tree")
    second = full.export_tree(tmp_path / "tree")
    assert (second.written, second.removed, second.same) == (0, 0, first.written)
    after = picture(tmp_path / "tree")
    assert {k: v for k, v in after.items() if v[0] != "folder"} == {k: v for k, v in before.items() if v[0] != "folder"}


def test_a_change_of_one_artifact_changes_only_its_lines_and_files(full: Store, tmp_path: Path) -> None:
    full.export_tree(tmp_path / "tree")
    before = files(tmp_path / "tree")
    full.put("docs/a.md", "three\n")
    full.export_tree(tmp_path / "tree")
    after = files(tmp_path / "tree")
    shard = "0000000000000001.jsonl"
    old = "blobs/27/27dd8ed44a83ff94d557f9fd0412ed5a8cbca69ea04922d88c01184a07300a5a"  # "two\n", no file's any more
    assert {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} == {
        "FORMAT", "files/docs/a.md", old, f"changes/{shard}",
        f"records/artifacts/{shard}", f"records/revisions/{shard}",
    }  # fmt: skip
    changed = [
        (one, other)
        for one, other in zip(
            before[f"records/artifacts/{shard}"].split(b"\n"),
            after[f"records/artifacts/{shard}"].split(b"\n"),
            strict=True,
        )
        if one != other
    ]
    assert [json.loads(other)["name"] for _, other in changed] == ["a.md"]
    assert after[f"changes/{shard}"].startswith(before[f"changes/{shard}"])
    lines_before, lines_after = (set(f[f"records/revisions/{shard}"].split(b"\n")) for f in (before, after))
    assert lines_before < lines_after
    assert len(lines_after - lines_before) == 1


def test_it_goes_through_git_and_back(full: Store, tmp_path: Path) -> None:
    full.export_tree(tmp_path / "tree", large_from=1_000)
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-c", "user.name=Ada", "-c", "user.email=a@b", "-c", "core.autocrlf=true", *words],
            cwd=tmp_path / "tree", capture_output=True, text=True, check=True, env=environment,
        )  # fmt: skip
        return done.stdout

    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "one")
    full.put("docs/a.md", "three\r\n")
    full.export_tree(tmp_path / "tree")
    git("add", "-A")
    git("commit", "-qm", "two")
    assert "three" in git("show", "HEAD", "--", "files/docs/a.md")
    git("fsck", "--strict")
    git("clone", "-q", "-c", "core.autocrlf=true", ".", str(tmp_path / "clone"))
    holdfast.import_store(tmp_path / "new", tmp_path / "clone")
    with holdfast.open(tmp_path / "new") as other:
        assert logical(other) == logical(full)
        assert contents_of(other) == contents_of(full)


def test_it_is_the_tree_that_version_0_was(tmp_path: Path) -> None:
    """The golden tree was written once; import and export of it give it back."""
    holdfast.import_store(tmp_path / "new", GOLDEN)
    with holdfast.open(tmp_path / "new") as other:
        other.export_tree(tmp_path / "tree")
        assert other.read("docs/a.md") == b"two\n"
    assert files(tmp_path / "tree") == files(GOLDEN)


# -- shape -----------------------------------------------------------------------------------------------------------


def test_names_are_portable_and_can_be_read_back(full: Store, tmp_path: Path) -> None:
    full.export_tree(tmp_path / "tree")
    found = files(tmp_path / "tree")
    assert found["files/docs/a.md"] == b"two\n"
    assert found["files/docs/%43ON.txt"] == b"a device elsewhere\n"
    assert found["files/%2Egit/config"] == b"no repository's\n"
    assert found["files/not utf-8 %FF"] == b"\0\1\2"
    assert [name for name in found if name.startswith("files/docs/A.MD%~")] != []
    assert found["files/link"] == b"docs/a.md"
    assert not any(path.is_symlink() for path in (tmp_path / "tree").rglob("*"))


@given(
    names=st.lists(st.binary(min_size=1, max_size=255).filter(lambda n: not set(n) & {0, 47}), unique=True, max_size=8)
)
def test_portable_names_fold_to_different_ones_and_lead_back(names: list[bytes]) -> None:
    found = portable.all_of([(f"{n:03}", name) for n, name in enumerate(names)])
    assert len({portable.fold(name) for name in found.values()}) == len(names)
    for n, raw in enumerate(names):
        name = found[f"{n:03}"]
        assert len(name) <= 255
        assert portable.back(name) in (raw, None)
        assert portable.back(name) == raw or name.startswith(b"%=")
        assert not set(name.decode()) & set('<>:"/\\|?*')
        assert name[-1:] not in (b".", b" ")
        assert not name.lower().startswith(b".git")


def test_large_contents_are_pointers_with_the_blobs_beside_or_left_out(full: Store, tmp_path: Path) -> None:
    full.export_tree(tmp_path / "tree", large_from=1_000)
    found = files(tmp_path / "tree")
    digest = full.get("large").digest
    hexed = digest.removeprefix("sha256:")
    assert found["files/large"] == f"version https://git-lfs.github.com/spec/v1\noid {digest}\nsize 3000\n".encode()
    assert found[f"large/{hexed[:2]}/{hexed}"] == b"9876543210" * 300
    assert sum(name.startswith("large/") for name in found) == 2  # the old revision's too

    full.export_tree(tmp_path / "without", large_from=1_000, large_beside=False)
    assert not any(name.startswith("large/") for name in files(tmp_path / "without"))
    with pytest.raises(ImportRefusedError, match="left out") as caught:
        holdfast.import_store(tmp_path / "new", tmp_path / "without")
    assert len(caught.value.fields["problems"]) == 2
    assert not (tmp_path / "new").exists()


def test_a_content_that_took_its_pointers_place_is_imported(store: Store, tmp_path: Path) -> None:
    store.put("large", b"0123456789" * 300)
    store.export_tree(tmp_path / "tree", large_from=1_000, large_beside=False)
    (tmp_path / "tree/files/large").write_bytes(b"0123456789" * 300)  # as `git lfs pull` does
    holdfast.import_store(tmp_path / "new", tmp_path / "tree")
    with holdfast.open(tmp_path / "new") as other:
        assert other.read("large") == b"0123456789" * 300


def test_records_are_sharded_by_the_changes_that_made_them(store: Store, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(whole, "SHARD", 10)
    monkeypatch.setattr(trees, "SHARD", 10)
    for n in range(30):
        store.put(f"{n:02}", str(n))
    store.export_tree(tmp_path / "tree")
    names = sorted(os.listdir(tmp_path / "tree/records/artifacts"))
    assert names == [f"{n:016}.jsonl" for n in (1, 11, 21, 31)]
    for name in names:
        ids = [json.loads(line)["id"] for line in (tmp_path / "tree/records/artifacts" / name).read_text().splitlines()]
        assert ids == sorted(ids)
    before = files(tmp_path / "tree")
    store.put("new", "new")
    store.export_tree(tmp_path / "tree")
    after = files(tmp_path / "tree")
    assert all(after[name] == data for name, data in before.items() if name.endswith("0000000000000001.jsonl"))
    holdfast.import_store(tmp_path / "new", tmp_path / "tree")


# -- what is there, and edits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("edit", ["change", "add", "link"])
def test_edits_are_not_overwritten_unless_it_is_forced(full: Store, tmp_path: Path, edit: str) -> None:
    top = tmp_path / "tree"
    full.export_tree(top)
    edited = top / "files/docs/a.md" if edit == "change" else top / "files/docs/mine.md"
    edited.symlink_to("/etc") if edit == "link" else edited.write_text("my own\n")
    full.put("docs/other.md", "meanwhile\n")
    for _ in range(2):
        with pytest.raises(DestinationDiffersError) as caught:
            full.export_tree(top)
        assert caught.value.fields["paths"] == [str(edited.relative_to(top))]
    assert not (top / "files/docs/other.md").exists()
    report = full.export_tree(top, force=True)
    assert report.overwritten == [str(edited.relative_to(top))]
    full.export_tree(tmp_path / "fresh")
    assert files(top) == files(tmp_path / "fresh")


def test_renames_deletes_and_folders_for_files_follow(full: Store, tmp_path: Path) -> None:
    full.export_tree(tmp_path / "tree")
    (tmp_path / "tree" / "README.md").write_text("of nobody's business")
    full.artifacts.rename("docs/a.md", "b.md")
    full.collections.rename("docs", "texts")
    full.artifacts.delete("made")
    full.put("made/within", "a folder now\n")
    full.artifacts.delete("texts/CON.txt")
    full.export_tree(tmp_path / "tree")
    full.export_tree(tmp_path / "fresh")
    found = files(tmp_path / "tree")
    assert found.pop("README.md") == b"of nobody's business"
    assert found == files(tmp_path / "fresh")
    assert not (tmp_path / "tree/files/docs").exists()
    full.collections.delete("made", contents="cascade")
    full.put("made", "a file again\n")
    full.export_tree(tmp_path / "tree")
    assert (tmp_path / "tree/files/made").read_bytes() == b"a file again\n"


def test_another_stores_export_and_the_stores_own_folder_are_no_destination(full: Store, tmp_path: Path) -> None:
    with holdfast.create(tmp_path / "other") as other:
        with pytest.raises(NotFoundError, match="empty"):
            other.export_tree(tmp_path / "tree")
        other.put("a", "b")
        other.export_tree(tmp_path / "tree")
    with pytest.raises(DestinationDiffersError, match="another store"):
        full.export_tree(tmp_path / "tree")
    with pytest.raises(InvalidValueError):
        full.export_tree(full.path / "tree")


def test_writers_meanwhile_do_not_mix_into_it(full: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_export, "WINDOW_FILES", 3)
    count = 0

    def meanwhile(*_: Any) -> None:
        nonlocal count
        count += 1
        if count <= 3:
            full.put(f"new {count}", "meanwhile\n")
            full.put("docs/a.md", f"meanwhile {count}\n")

    full.export_tree(tmp_path / "tree", progress=meanwhile)
    assert count > 3
    holdfast.import_store(tmp_path / "new", tmp_path / "tree")


def test_content_that_is_lost_is_named_and_no_export_claims_to_have_it(store: Store, tmp_path: Path) -> None:
    store.put("large", os.urandom(100_000))
    next(store.path.glob("blobs/*/*.zst")).unlink()
    with pytest.raises(BlobMissingError):
        store.export_tree(tmp_path / "tree")
    assert not (tmp_path / "tree/FORMAT").exists()


# -- what is refused -------------------------------------------------------------------------------------------------


def _link_for_file(top: Path) -> None:
    (top / "files/docs/a.md").unlink()
    (top / "files/docs/a.md").symlink_to("../../blobs")


def _link_for_folder(top: Path) -> None:
    shutil.move(top / "files/docs", top.parent / "elsewhere")
    (top / "files/docs").symlink_to(top.parent / "elsewhere")


def _what_is_left(top: Path) -> None:
    path = _first(top, "changes/*")
    found = path.read_bytes().split(b"\n")
    place = next(n for n, line in enumerate(found) if line.startswith(b'{"left":') and b'"active"' in line)
    found[place] = found[place].replace(b'"active"', b'"edited"')
    path.write_bytes(b"\n".join(found))


def _nothing_but_a_format(top: Path) -> None:
    label = canon.decode((top / "FORMAT").read_bytes())
    label["head"] = {"next": 1, "hash": change.origin(label["store"]).hash.hex()}
    shutil.rmtree(top)
    top.mkdir()
    (top / "FORMAT").write_bytes(canon.encode(label) + b"\n")


def _first(top: Path, pattern: str) -> Path:
    return sorted(path for path in top.glob(pattern) if path.is_file())[0]


HARM: dict[str, Callable[[Path], object]] = {
    "a byte of a content": lambda top: (top / "files/docs/a.md").write_bytes(b"twO\n"),
    "a content of old": lambda top: _first(top, "blobs/*/*").write_bytes(b"x"),
    "a content gone": lambda top: (top / "files/made").unlink(),
    "a content of old gone": lambda top: _first(top, "blobs/*/*").unlink(),
    "a large content": lambda top: _first(top, "large/*/*").write_bytes(b"x" * 3_000),
    "a pointer": lambda top: (top / "files/large").write_bytes(b"version 1\n"),
    "a file too many": lambda top: (top / "files/stray").write_bytes(b"x"),
    "a record": lambda top: _edit(_first(top, "records/artifacts/*"), b'"draft"', b'"final"'),
    "a record twice": lambda top: _edit(_first(top, "records/runs/*"), b"\n", b"\n{}\n"),
    "a change": lambda top: _edit(_first(top, "changes/*"), b'"draft"', b'"final"'),
    "changes cut": lambda top: _first(top, "changes/*").write_bytes(_first(top, "changes/*").read_bytes()[:-50]),
    "changes gone": lambda top: _first(top, "changes/*").unlink(),
    "the root": lambda top: _edit(top / "FORMAT", b'"root":"sha256:', b'"root":"sha256:0'),
    "the head": lambda top: _edit(top / "FORMAT", b'"hash":"', b'"hash":"00'),
    "no format": lambda top: (top / "FORMAT").unlink(),
    "no json": lambda top: (top / "FORMAT").write_bytes(b"{"),
    "another store's id": lambda top: _edit(top / "FORMAT", b'"store":"0', b'"store":"1'),
    "an id that is a path": lambda top: (top / "FORMAT").write_bytes(
        canon.encode({**canon.decode((top / "FORMAT").read_bytes()), "store": "../../x"}) + b"\n"
    ),
    "a size that is none": lambda top: _edit(top / "FORMAT", b'"from":1000', b'"from":"1"'),
    "a size below nothing": lambda top: _edit(top / "FORMAT", b'"from":1000', b'"from":-10'),
    "format is a link": lambda top: (top / "FORMAT").rename(top / "F") and (top / "FORMAT").symlink_to("F"),
    "format is a folder": lambda top: (top / "FORMAT").unlink() or (top / "FORMAT").mkdir(),
    "changes are a link": lambda top: (top / "changes").rename(top / "c") and (top / "changes").symlink_to("c"),
    "changes are a folder": lambda top: _first(top, "changes/*").unlink() or (top / "changes/0.jsonl").mkdir(),
    "nothing but a format": _nothing_but_a_format,
    "what is left of a redacted change": _what_is_left,
    "a link for a file": _link_for_file,
    "a link for a folder": _link_for_folder,
    "a pipe": lambda top: os.mkfifo(top / "files/pipe"),
}  # fmt: skip


def _edit(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))


def _kept(top: Path) -> dict[bytes, tuple[Any, ...]]:
    """All of a store's files, but for what its locks say of who held them last."""
    return {path: facts for path, facts in picture(str(top), times=False).items() if not path.startswith(b"locks/")}


@pytest.mark.parametrize("harm", HARM)
def test_what_was_harmed_is_refused_named_and_nothing_is_made(full: Store, tmp_path: Path, harm: str) -> None:
    top = tmp_path / "tree"
    full.export_tree(top, large_from=1_000)
    HARM[harm](top)
    holdfast.create(tmp_path / "empty").close()
    before = _kept(tmp_path / "empty")
    for target in (tmp_path / "new", tmp_path / "empty"):
        with pytest.raises(ImportRefusedError) as caught:
            holdfast.import_store(target, top)
        assert caught.value.fields["problems"]
        assert ("announced" in caught.value.message) == (harm == "what is left of a redacted change")
        assert str(caught.value.fields["path"]) in caught.value.message
    assert not (tmp_path / "new").exists()
    assert _kept(tmp_path / "empty") == before


def test_a_newer_version_is_refused(full: Store, tmp_path: Path) -> None:
    full.export_tree(tmp_path / "tree")
    _edit(tmp_path / "tree/FORMAT", b'"format":0', b'"format":1')
    with pytest.raises(FormatTooNewError):
        holdfast.import_store(tmp_path / "new", tmp_path / "tree")


STORE = "01a1fbdf-1bde-7dd6-8666-95b4b81abd33"
_ID = "01a1fbdf-1bde-7dd6-8666-95b4b81abd{:02x}"
_REVISION = {"digest": "sha256:" + "ab" * 32, "size": 1, "media_type": "text/plain"}

_ARTIFACT = {"type": "file", "status": "active", "revision": _REVISION}


def _new(kind: str, number: int, **new: Any) -> dict[str, Any]:
    return {"kind": kind, "action": "create", "id": _ID.format(number), "new": new}


ROOT = _new("collection", 1, name="")
HOSTILE: dict[str, list[dict[str, Any]]] = {
    "a name that leads up": [ROOT, _new("collection", 2, parent=_ID.format(1), name="..")],
    "a name with a slash": [ROOT, _new("artifact", 2, collection=_ID.format(1), name="../../x", **_ARTIFACT)],
    "bytes that are another name": [ROOT, _new("collection", 2, parent=_ID.format(1), name="a", name_hex="2e2e")],
    "an id twice": [ROOT, _new("collection", 2, parent=_ID.format(1), name="a"),
                    _new("collection", 2, parent=_ID.format(1), name="b")],
    "a name twice": [ROOT, _new("collection", 2, parent=_ID.format(1), name="a"),
                     _new("collection", 3, parent=_ID.format(1), name="a")],
    "a place that is not": [_new("collection", 2, parent=_ID.format(9), name="a")],
    "an id that is none": [{**ROOT, "id": "../../x"}],
    "a kind that is none": [{**ROOT, "kind": "demon"}],
    "an action that is none": [ROOT, {"kind": "collection", "action": "explode", "id": _ID.format(1)}],
    "no fields": [{"kind": "collection", "id": _ID.format(1), "action": "create"}],
    "fields of other types": [_new("collection", 1, name=7)],
    "a list for a body": [{**ROOT, "new": []}],
    "a collection in itself": [ROOT, _new("collection", 2, parent=_ID.format(1), name="a"),
                               _new("collection", 3, parent=_ID.format(2), name="b"),
                               {"kind": "collection", "action": "update", "id": _ID.format(2),
                                "set": {"parent": [_ID.format(1), _ID.format(3)]}}],
    "a content that is nowhere": [ROOT, _new("artifact", 2, collection=_ID.format(1), name="x", **_ARTIFACT)],
    "a digest that is none": [ROOT, _new("artifact", 2, collection=_ID.format(1), name="x", **{
        **_ARTIFACT, "revision": {**_REVISION, "digest": "sha256:../../x"}})],
}  # fmt: skip


REASONS = {
    "a name that leads up": "it means a folder itself",
    "a name with a slash": "it has a '/'",
    "bytes that are another name": "it means a folder itself",
    "an id twice": "an id is given twice",
    "a name twice": "two of collection have one name or number",
    "a place that is not": "a record that is not there",
    "an id that is none": "is not an id",
    "a kind that is none": "does not know",
    "an action that is none": "does not know",
    "a collection in itself": "without a cycle",
    "a content that is nowhere": "files/x: missing",
    "a digest that is none": "is not a digest",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_chain_that_verifies_and_means_harm_is_refused(tmp_path: Path, what: str) -> None:
    bodies = tuple(canon.encode(body) for body in HOSTILE[what])
    salt, origin = b"s" * 16, change.origin(STORE)
    entry = Entry(_ID.format(0xFF), 1, len(bodies), 1, Actor("eve"), root_of(salt, bodies), origin.hash, store=STORE)
    made = Transaction(entry, salt, bodies)
    top = tmp_path / "tree"
    (top / "changes").mkdir(parents=True)
    (top / "changes/0000000000000001.jsonl").write_bytes(lines.encode(made))
    head = {"next": entry.next_seq, "hash": entry.hash().hex()}
    label = {
        "holdfast": "tree",
        "format": 0,
        "digest": "sha256",
        "store": STORE,
        "head": head,
        "root": "sha256:" + "0" * 64,
    }
    (top / "FORMAT").write_bytes(canon.encode({**label, "large": {"from": 10, "blobs": "beside"}}) + b"\n")
    with pytest.raises(ImportRefusedError) as caught:
        holdfast.import_store(tmp_path / "new", top)
    assert REASONS.get(what, "") in str(caught.value.fields["problems"])
    assert os.listdir(tmp_path) == ["tree"]


def test_importing_a_store_into_itself_changes_nothing(full: Store, tmp_path: Path) -> None:
    full.export_tree(tmp_path / "tree")
    head = full.changes.head()
    assert holdfast.import_store(full.path, tmp_path / "tree").merged
    assert full.changes.head() == head


def test_an_empty_store_becomes_the_one_that_was_exported(full: Store, tmp_path: Path) -> None:
    full.export_tree(tmp_path / "tree")
    assert holdfast.import_store(tmp_path / "new", tmp_path / "tree", dry_run=True).changes > 0
    assert not (tmp_path / "new").exists()
    holdfast.create(tmp_path / "new").close()
    holdfast.import_store(tmp_path / "new", tmp_path / "tree")
    with holdfast.open(tmp_path / "new") as other:
        assert (other.id, logical(other)) == (full.id, logical(full))
        assert other.opened.rebuilt is False


def test_a_content_that_stands_in_many_places_is_brought_once(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree_import, "TOGETHER_ITEMS", 2)
    store.put_many((f"{n % 3}/{n}", "the same") for n in range(9))
    store.export_tree(tmp_path / "tree")
    assert holdfast.import_store(tmp_path / "new", tmp_path / "tree").contents == 1
    with holdfast.open(tmp_path / "new") as other:
        assert set(contents_of(other).values()) == {b"the same"}


# -- killed ----------------------------------------------------------------------------------------------------------


class Counting:
    """Stands in for `os`: kills the process at its Nth call."""

    def __init__(self, kill_at: int) -> None:
        self._left = kill_at

    def __getattr__(self, name: str) -> Any:
        found = getattr(os, name)
        if not callable(found) or name in ("fsencode", "fsdecode", "fstat", "close", "fspath", "PathLike", "stat"):
            return found
        return lambda *args, **more: self.counted(found, *args, **more)

    def counted(self, call: Callable[..., Any], *args: Any, **more: Any) -> Any:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **more)


def in_child(work: Callable[[], object]) -> bool:
    """Do something in a child; whether it was killed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0
    return os.WIFSIGNALED(status)


EACH = pytest.mark.parametrize("each", [3, pytest.param(1, marks=pytest.mark.soak)], ids=["some", "all"])
"""Killed at every third operation; in the long form at every one."""


@EACH
def test_an_export_that_is_killed_at_any_operation_is_refused_or_whole_and_the_next_goes_on(
    store: Store, tmp_path: Path, each: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Disk, "sync_filesystem", lambda *_: None)
    monkeypatch.setattr(tree_export, "WINDOW_FILES", 4)
    for path in ("a", "b/c", "b/d"):
        store.put(path, f"first {path}")
    store.export_tree(tmp_path / "first")
    shutil.copytree(tmp_path / "first", tmp_path / "tree")
    store.put("b/c", "second")
    store.artifacts.delete("a")
    store.export_tree(tmp_path / "fresh")
    wanted, before = files(tmp_path / "fresh"), files(tmp_path / "first")

    def export(number: int) -> None:
        with holdfast.open(store.path, read_only=True) as own:
            calls: Any = Counting(number)
            ground.os = staging.os = tree_export.os = calls  # type: ignore[attr-defined]
            own.export_tree(tmp_path / "tree")

    number = 0
    while True:
        number += each
        killed = in_child(lambda: export(number))  # noqa: B023
        found = {name: data for name, data in files(tmp_path / "tree").items() if not name.startswith(".holdfast-")}
        assert all(data in (wanted.get(name), before.get(name)) for name, data in found.items()), number
        try:
            holdfast.import_store(tmp_path / "new", tmp_path / "tree", dry_run=True)
        except ImportRefusedError:
            pass
        else:
            assert found in (wanted, before)
        store.export_tree(tmp_path / "tree")
        assert files(tmp_path / "tree") == wanted
        shutil.rmtree(tmp_path / "tree")
        shutil.copytree(tmp_path / "first", tmp_path / "tree")
        if not killed:
            break
    assert number > 40


class KillingDisk(Disk):
    """Kills the process at the Nth operation."""

    def __init__(self, number: int) -> None:
        self._calls = Counting(number)

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name.startswith("_") or name in ("close", "size", "pread", "stat", "listdir", "read_file", "open_read"):
            return found
        return lambda *args, **more: self._calls.counted(found, *args, **more)


@EACH
@pytest.mark.parametrize("start", ["nothing", "an empty store"])
def test_an_import_that_is_killed_at_any_operation_leaves_nothing_or_everything(
    store: Store, tmp_path: Path, start: str, each: int
) -> None:
    store.put("a", "first")
    store.put("a", "second")
    store.put("large", os.urandom(100_000))
    store.export_tree(tmp_path / "tree")
    wanted = logical(store)
    target = tmp_path / "new"
    number = 0
    while True:
        number += each
        if start != "nothing":
            holdfast.create(target).close()

        def work() -> None:
            said = Settings(Actor("Ada"), disk=KillingDisk(number))  # noqa: B023
            importing.import_path(str(target), tmp_path / "tree", said, wish=Wish())

        killed = in_child(work)
        if (target / "holdfast.json").exists():
            with holdfast.open(target) as found:
                if found.changes.head().next_seq > 1:
                    assert logical(found) == wanted, number
                    assert contents_of(found) == contents_of(store), number
                    assert found.fsck().findings == ()
                    whole = True
                else:
                    whole = False
        else:
            whole = False
        if not whole:
            holdfast.import_store(target, tmp_path / "tree")
            with holdfast.open(target) as found:
                assert logical(found) == wanted, number
                assert contents_of(found) == contents_of(store), number
        shutil.rmtree(target)
        if not killed:
            break
    assert whole
    assert number > 20


def golden(folder: Path) -> None:
    """Writes the golden tree; run once: `golden(GOLDEN)`."""
    said = Settings(Actor("Ada"), clock=FixedClock())
    opening.create(str(folder.parent / "store"), said)
    with pytest.MonkeyPatch.context() as patch, Store(opening.open_store(str(folder.parent / "store"), said)) as store:
        patch.setattr("platform.platform", lambda *_, **__: "Linux")
        fill(store).export_tree(folder)  # without large/: where git-lfs is installed, git would change what is in it

"""What an export remembers of its tree: nothing unchanged is read again, no edit is missed, and nothing hangs on it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import holdfast
from holdfast import Store
from holdfast.engine import past
from holdfast.errors import DestinationDiffersError
from holdfast.exchange import ground as grounds
from holdfast.exchange import tree_notes


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Names of the files whose bytes are looked at."""
    found: list[bytes] = []
    real = grounds._digest_of
    monkeypatch.setattr(grounds, "_digest_of", lambda name, above: (found.append(name), real(name, above))[1])
    return found


@pytest.fixture
def tree(store: Store, tmp_path: Path) -> Path:
    for n in range(9):
        store.put(f"a/{n}.md", f"{n}\n", metadata={"n": n})
    store.put("b/x.md", "x\n", tags=["one"])
    store.export_tree(tmp_path / "tree")
    return tmp_path / "tree"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_unchanged_tree_is_known_by_looking_at_it(store: Store, tree: Path, read: list[bytes]) -> None:
    report = store.export_tree(tree)
    assert (report.written, report.removed, read) == (0, 0, [])
    assert report.same == len(contents(tree))
    assert report.root


def test_after_one_change_no_history_is_replayed_and_only_what_changed_is_made(
    store: Store, tree: Path, tmp_path: Path, read: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past, "index_at", lambda *_: pytest.fail("an old state was made"))
    store.put("a/3.md", "three\n")
    report = store.export_tree(tree)
    assert sorted(set(read)) == []
    assert report.written < 9
    monkeypatch.undo()
    store.export_tree(tmp_path / "fresh")
    assert contents(tree) == contents(tmp_path / "fresh")


@pytest.mark.parametrize("what", ["changed", "alike", "new", "link"])
def test_an_edit_is_found_though_nothing_is_read_of_the_rest(
    store: Store, tree: Path, read: list[bytes], what: str
) -> None:
    path = tree / "files/a/3.md"
    facts = path.stat()
    if what == "new":
        (tree / "files/a/new.md").write_text("new\n")
    elif what == "link":
        path.unlink()
        path.symlink_to("4.md")
    else:
        path.write_text("edited\n" if what == "changed" else "E\n")
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    store.put("a/5.md", "five\n")
    with pytest.raises(DestinationDiffersError):
        store.export_tree(tree)


def test_what_was_edited_and_imported_is_taken_for_ours_again(store: Store, tree: Path, read: list[bytes]) -> None:
    (tree / "files/a/3.md").write_text("edited\n")
    holdfast.import_store(store.path, tree)
    read.clear()
    store.export_tree(tree)
    read.clear()
    assert store.export_tree(tree).written == 0
    assert read == []


def test_a_file_that_was_touched_or_is_gone_is_put_right(store: Store, tree: Path, read: list[bytes]) -> None:
    os.utime(tree / "files/a/3.md")
    (tree / "files/a/4.md").unlink()
    assert store.export_tree(tree).written == 1
    assert set(read) == {b"3.md"}
    assert (tree / "files/a/4.md").read_text() == "4\n"


def _lost(root: str) -> None:
    os.unlink(os.path.join(root, "state.sqlite3"))


def _garbled(root: str) -> None:
    Path(root, "state.sqlite3").write_bytes(b"no database" * 400)


def _of_another_tree(root: str) -> None:
    with sqlite3.connect(os.path.join(root, "state.sqlite3")) as db:
        db.execute("UPDATE tree_place SET label = x'00'")


@pytest.mark.parametrize("harm", [_lost, _garbled, _of_another_tree])
def test_without_the_notes_it_is_as_before(
    store: Store, tree: Path, tmp_path: Path, harm: Callable[[str], None], read: list[bytes]
) -> None:
    harm(store.path)
    store.put("a/3.md", "three\n")
    store.export_tree(tree)
    assert read
    store.export_tree(tmp_path / "fresh")
    assert contents(tree) == contents(tmp_path / "fresh")


def test_a_file_that_is_as_young_as_the_clock_is_read_again(
    store: Store, tmp_path: Path, read: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("a", "a")
    monkeypatch.setattr(tree_notes, "_settled", lambda facts: bytes(44))
    store.export_tree(tmp_path / "tree")
    monkeypatch.undo()
    monkeypatch.setattr(grounds, "_digest_of", lambda name, above: (read.append(name), "sha256:" + "0" * 64)[1])
    with pytest.raises(DestinationDiffersError):
        store.export_tree(tmp_path / "tree")
    assert b"a" in read


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "tag", "move", "delete", "purge", "redact", "relate", "folder", "undelete"]),
        st.integers(0, 3), st.integers(0, 3),
    ),
    min_size=1, max_size=6,
)  # fmt: skip


def _do(store: Store, what: str, one: int, two: int) -> None:
    name, other = f"d{one % 2}/{one}", f"d{two % 2}/{two}"
    try:
        if what == "put":
            store.put(name, f"{one} {two}", metadata={"of": two})
        elif what == "tag":
            store.artifacts.update(name, tags=[f"t{two}"])
        elif what == "move":
            store.artifacts.rename(name, f"{two}-{one}")
        elif what == "delete":
            store.artifacts.delete(name)
        elif what == "purge":
            store.artifacts.purge(name, revisions=[1])
        elif what == "redact":
            store.redact(store.get(name), fields=["metadata"])
        elif what == "relate":
            store.relationships.relate(name, "depends_on", other)
        elif what == "folder":
            store.collections.delete(f"d{one % 2}")
        else:
            store.artifacts.undelete(name)
    except holdfast.errors.HoldfastError:
        pass


def _remembers(rounds: list[list[tuple[str, int, int]]], top: Path) -> None:
    with holdfast.create(top / "store") as store:
        store.put("d0/0", "first")
        for number, steps in enumerate(rounds):
            for step in steps:
                _do(store, *step)
            store.export_tree(top / "tree", force=True)
            store.export_tree(top / f"fresh{number}")
            assert contents(top / "tree") == contents(top / f"fresh{number}")


_QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(max_examples=3, deadline=None, suppress_health_check=_QUIET)
@given(rounds=st.lists(_STEPS, min_size=2, max_size=3))
def test_an_export_that_remembers_is_the_tree_of_one_that_does_not(
    rounds: list[list[tuple[str, int, int]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    _remembers(rounds, tmp_path_factory.mktemp("notes"))


@pytest.mark.soak
@settings(max_examples=400, deadline=None, suppress_health_check=_QUIET)
@given(rounds=st.lists(_STEPS, min_size=2, max_size=5))
def test_very_many_exports_that_remember_are_those_that_do_not(
    rounds: list[list[tuple[str, int, int]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    _remembers(rounds, tmp_path_factory.mktemp("notes"))

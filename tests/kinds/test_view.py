"""`store.at`: the store as it was, to be read and asked; nothing writes through it, and nothing of it stays behind."""

from __future__ import annotations

import contextlib
import datetime as dt
import gc
import inspect
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import Store, View
from holdfast.engine import past
from holdfast.engine.asof import KEPT
from holdfast.engine.scratch import PREFIX
from holdfast.errors import (
    ContentPurgedError,
    HandleDeadError,
    InvalidQueryError,
    InvalidValueError,
    NotFoundError,
    ReadOnlyError,
)

Ways = Callable[[], None]


@pytest.fixture(params=["taken back", "made anew"])
def store(root: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """Rows of an earlier state come in two ways; which of them is quicker is not what these tests are about."""
    monkeypatch.setattr(past, "_FEW", 0 if request.param == "taken back" else 1 << 62)
    with holdfast.create(root, actor="Ada") as made:
        yield made


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Temporary files of a test, where only it looks."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


def newest(store: Store) -> int:
    """The seq of the newest change."""
    return store.changes.head().next_seq - 1


# -- what it shows -----------------------------------------------------------------------------------------------------


def test_names_contents_metadata_and_tags_are_those_of_then(store: Store) -> None:
    store.put("notes/a.md", "one", metadata={"draft": True}, tags=["x"])
    then = newest(store)
    store.put("notes/a.md", "two", metadata={"draft": False}, tags=["y"])
    store.artifacts.rename("notes/a.md", "b.md")
    store.put("notes/a.md", "another")
    with store.at(then) as view:
        found = view.get("notes/a.md")
        assert (found.number, found.tags, found.metadata, view.read("notes/a.md")) == (
            1,
            ("x",),
            {"draft": True},
            b"one",
        )
        assert [one.path for one in view.find(holdfast.field("metadata.draft") == True)] == ["notes/a.md"]  # noqa: E712
        assert [one.path for one in view.find(tag="y")] == []
        assert [one.number for one in view.artifacts.revisions("notes/a.md")] == [1]
        with pytest.raises(NotFoundError):
            view.get("notes/b.md")


def test_what_is_deleted_now_is_there_and_what_was_deleted_then_is_not(store: Store) -> None:
    store.put("d/a", "a")
    store.artifacts.delete("d/a")
    deleted = newest(store)
    store.artifacts.undelete("d/a")
    there = newest(store)
    store.collections.delete("d", contents="cascade")
    with store.at(deleted) as view:
        assert list(view.find()) == []
        assert [one.path for one in view.find(deleted=True)] == ["d/a"]
    with store.at(there) as view:
        assert [one.path for one in view.artifacts.list(recursive=True)] == ["d/a"]
        assert [one.path for one in view.collections.list()] == ["d"]


def test_relationships_runs_lineage_and_changes_are_those_of_then(store: Store) -> None:
    store.put("raw.csv", "1")
    with store.runs.start("clean", inputs=["raw.csv"]) as run:
        store.put("clean.csv", "2")
    store.relationships.relate("clean.csv", "derived_from", "raw.csv")
    then = newest(store)
    store.runs.diagnose(run.id, {"late": 1})
    store.put("report.md", "3")
    store.relationships.relate("report.md", "derived_from", "clean.csv")
    with store.at(then) as view:
        assert [one.type for one in view.relationships.find()] == ["derived_from"]
        assert "late" not in view.runs.get(run.id).diagnostics
        assert [link.direction.value for link in view.runs.manifest(run.id).outputs] == ["output"]
        labels = {node.label for node in view.relationships.lineage("raw.csv", direction="down").nodes}
        assert "report.md" not in str(labels)
        assert "clean.csv" in str(labels)
        assert [one.seq for one in view.changes.list()] == [*range(1, then + 1)]
        assert view.changes.head().next_seq == then + 1


def test_a_time_means_the_last_transaction_until_then(store: Store) -> None:
    store.put("a", "1")
    made = store.get("a").created_at
    store.put("a", "2")
    with store.at(made) as view:
        assert view.read("a") == b"1"
        assert view.time == made
    with store.at(made.isoformat()) as view:
        assert view.read("a") == b"1"


def test_before_the_beginning_the_store_is_empty(store: Store) -> None:
    store.put("a", "1")
    long_ago = dt.datetime(1999, 1, 1, tzinfo=dt.UTC)
    for at in (0, "0", long_ago):
        with store.at(at) as view:
            assert (view.seq, view.time, list(view.find()), list(view.collections.list())) == (0, None, [], [])
            with pytest.raises(NotFoundError):
                view.get("a")


def test_a_transaction_is_never_seen_in_parts(store: Store) -> None:
    with store.transaction():
        store.put("a", "1")
        store.put("b", "2")
    with store.at(1) as view:
        assert (view.seq, [one.path for one in view.find()]) == (newest(store), ["a", "b"])


@pytest.mark.parametrize("at", [99, -1, "2026-01-01", "yesterday", 1.5, True, dt.datetime(2026, 1, 1)])
def test_what_names_no_state_is_refused(store: Store, at: Any) -> None:
    store.put("a", "1")
    with pytest.raises(InvalidValueError) as caught:
        store.at(at)
    assert caught.value.remedy


def test_what_others_write_meanwhile_does_not_show(store: Store) -> None:
    store.put("a", "1")
    with store.at(newest(store)) as view:
        store.put("b", "2")
        store.put("a", "3")
        assert [one.path for one in view.find()] == ["a"]
        assert view.read("a") == b"1"


def test_inside_a_transaction_one_can_look_back_and_its_own_changes_are_not_past(store: Store) -> None:
    store.put("a", "1")
    store.put("a", "2")
    then = newest(store)
    with contextlib.suppress(ZeroDivisionError), store.transaction():
        store.put("a", "3")
        store.artifacts.purge("a", revisions=[1])
        with store.at(then) as view:
            assert (view.read("a"), view.artifacts.read("a", revision=1)) == (b"2", b"1")
        raise ZeroDivisionError
    with store.at(then) as view:
        assert (view.read("a"), view.artifacts.read("a", revision=1)) == (b"2", b"1")


# -- what is gone ------------------------------------------------------------------------------------------------------


def test_a_content_that_was_purged_since_is_named_and_refused(store: Store) -> None:
    store.put("a", "secret")
    store.put("a", "public")
    then = newest(store)
    view = store.at(then)
    assert view.artifacts.read("a", revision=1) == b"secret"
    store.artifacts.purge("a", revisions=[1])
    purged = newest(store)
    for asked in (view, store.at(then)):
        with asked, pytest.raises(ContentPurgedError):
            asked.artifacts.read("a", revision=1)
    with store.at(then) as asked:
        assert asked.artifacts.revision("a", 1).state == "purged"
        loss = next(asked.losses())
        assert (loss.what, loss.seq, loss.id, loss.revisions) == ("purged", purged, store.get("a").id, (1,))
        assert asked.read("a") == b"public"


def test_what_was_redacted_since_is_not_in_the_past_either(store: Store, own_place: Path) -> None:
    made = store.put("a", "the name is Rumpelstiltskin", metadata={"by": "Rumpelstiltskin"}).artifact
    then = newest(store)
    with store.at(then) as idle:
        assert idle.get("a").metadata
    with store.at(then) as view:
        store.redact(made, fields=["metadata", "content"])
        assert view.get("a").metadata == {}
        with pytest.raises(ContentPurgedError):
            view.read("a")
        assert [(one.what, one.id, one.fields) for one in view.losses()] == [
            ("redacted", made.id, ("content", "metadata"))
        ]
        held = [path for path in own_place.rglob("*") if path.is_file()]
        assert held
        assert not any(b"Rumpelstiltskin" in path.read_bytes() for path in held)


def test_what_was_not_there_yet_is_no_loss(store: Store) -> None:
    store.put("a", "1")
    then = newest(store)
    store.put("b", "2")
    store.put("b", "3")
    store.artifacts.purge("b", revisions=[1])
    with store.at(then) as view:
        assert list(view.losses()) == []


# -- what it refuses ---------------------------------------------------------------------------------------------------

NOUNS = ("artifacts", "collections", "relationships", "runs", "indexes", "changes")
READS = {
    "artifacts": {"get": ["a"], "revision": ["a", 1], "revisions": ["a"], "read": ["a"], "get_many": [["a"]],
                  "read_many": [["a"]], "open": ["a"], "open_many": [["a"]], "copy_to": ["a", None], "log": ["a"],
                  "diff": ["a", 1, 2], "list": [], "find": [], "page": [], "explain": []},
    "collections": {"get": [], "list": [], "contents": []},
    "relationships": {"get": ["RELATIONSHIP"], "of": ["a"], "count_touching": ["ARTIFACT"], "find": [], "page": [],
                      "lineage": ["a"], "types": []},
    "runs": {"get": ["RUN"], "steps": ["RUN"], "links": ["RUN", "input"], "manifest": ["RUN"], "find": [], "page": []},
    "indexes": {"list": []},
    "changes": {"head": [], "list": []},
}  # fmt: skip
WRITES = {
    "artifacts": {
        "put": ["q", b"1"], "put_many": [[("q", b"1")]], "create": ["q", b"1"], "set_metadata": ["a", {"n": 1}],
        "update": ["a"], "tag": ["a", "t"], "untag": ["a", "t"], "rename": ["a", "q"], "move": ["a", "c"],
        "revert": ["a", 1], "delete": ["a"], "undelete": ["a"], "purge": ["a"],
    },
    "collections": {
        "create": ["q"], "ensure": ["q"], "update": ["c"], "tag": ["c", "t"], "untag": ["c", "t"],
        "rename": ["c", "q"], "move": ["c", ""], "delete": ["c"], "undelete": ["c"],
    },
    "relationships": {
        "relate": ["a", "references", "c/b"], "update": ["RELATIONSHIP"], "delete": ["RELATIONSHIP"],
        "undelete": ["RELATIONSHIP"], "register_type": ["likes"],
    },
    "runs": {
        "create": ["q"], "start": ["q"], "set_status": ["RUN", "completed"], "diagnose": ["RUN", {"n": 1}],
        "update": ["RUN"], "link": ["RUN", "input", "a"], "add_step": ["RUN", "q"],
        "set_step_status": ["STEP", "completed"], "delete": ["RUN"], "undelete": ["RUN"],
    },
    "indexes": {"declare": ["metadata.n"], "drop": ["metadata.n"]},
    "changes": {},
}  # fmt: skip
MORE = {"register_type": {"family": "intent", "description": "x"}}
OWN = {"seq", "time", "path", "id", "opened", "losses", "search", "transaction", "get", "read", "find", "put",
       "put_many", "create", "close"}  # fmt: skip


def public(thing: object) -> set[str]:
    """What a user can call of it."""
    return {name for name, _ in inspect.getmembers(type(thing)) if not name.startswith("_")}


@pytest.fixture
def present(root: str) -> Iterator[Store]:
    """A store with something of everything."""
    with holdfast.create(root, actor="Ada") as store:
        store.put("a", "one\n")
        store.put("a", "two\n")
        store.put("c/b", "b")
        store.relationships.relate("a", "derived_from", "c/b")
        with store.runs.start("work", inputs=["a"]) as run, run.step("part"):
            store.put("made", "m")
        store.put("after", "x")
        yield store


@pytest.fixture
def view(present: Store) -> Iterator[View]:
    with present.at(newest(present) - 1) as found:
        yield found


def filled(view: View, arguments: list[Any]) -> list[Any]:
    """The arguments, with ids for the words that stand for them."""
    run = next(view.runs.find())
    ids = {
        "RUN": run.id, "RELATIONSHIP": next(view.relationships.find()).id, "ARTIFACT": view.get("a").id,
        "STEP": next(view.runs.steps(run)).id,
    }  # fmt: skip
    return [ids.get(one, one) if isinstance(one, str) else one for one in arguments]


def test_every_public_method_of_a_view_is_known_to_read_or_to_write(view: View) -> None:
    assert public(view) == OWN
    assert {name for name in vars(view) if not name.startswith("_")} == set(NOUNS)
    for noun in NOUNS:
        assert public(getattr(view, noun)) == set(READS[noun]) | set(WRITES[noun]), noun


def test_what_reads_works(view: View, tmp_path: Path) -> None:
    for noun in NOUNS:
        for verb, said in READS[noun].items():
            with open(tmp_path / "out", "wb") as out:
                arguments = [out if one is None else one for one in filled(view, said)]
                found = getattr(getattr(view, noun), verb)(*arguments)
                if isinstance(found, Iterator):
                    list(found)


def test_what_writes_is_refused_and_leaves_nothing(present: Store, view: View, root: str) -> None:
    before = newest(present), sorted(os.listdir(f"{root}/tmp"))
    went: list[str] = []
    refused: list[ReadOnlyError] = []
    for noun in NOUNS:
        for verb, said in WRITES[noun].items():
            try:
                with getattr(getattr(view, noun), verb)(*filled(view, said), **MORE.get(verb, {})):
                    pass
                went.append(f"{noun}.{verb}")
            except ReadOnlyError as error:
                refused.append(error)
    assert went == []
    assert {one.fields["seq"] for one in refused} == {view.seq}
    assert all("as it was after change" in one.message for one in refused)
    assert (newest(present), sorted(os.listdir(f"{root}/tmp"))) == before


def test_a_transaction_cannot_be_opened_in_the_past(view: View) -> None:
    with pytest.raises(ReadOnlyError), view.transaction():
        pass


def test_full_text_says_that_it_knows_the_present_only(view: View) -> None:
    with pytest.raises(InvalidQueryError, match="full text"):
        view.search("one")


# -- how long it lasts -------------------------------------------------------------------------------------------------


def test_a_state_is_derived_once_for_all_who_look_at_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    derived: list[int] = []
    real = past.derive_at
    monkeypatch.setattr(
        past, "derive_at", lambda handle, seq, *more: (derived.append(seq), real(handle, seq, *more))[1]
    )
    store.put("a", "1")
    then = newest(store)
    store.put("a", "2")
    with store.at(then) as one, store.at(then) as two:
        assert one.read("a") == two.read("a") == b"1"
    with store.at(then) as again:
        assert again.read("a") == b"1"
    assert derived == [then]


def scratch(place: Path) -> list[Path]:
    """Files that views keep."""
    return [path for path in place.rglob("*.sqlite3*") if path.is_file()]


def test_no_more_than_a_few_states_are_kept_and_none_when_the_store_is_closed(root: str, own_place: Path) -> None:
    with holdfast.create(root) as store:
        for n in range(KEPT + 4):
            store.put("a", str(n))
        views = [store.at(seq) for seq in range(2, KEPT + 5)]
        assert len(scratch(own_place)) == len(views)
        for one in views:
            one.close()
        assert len(scratch(own_place)) == KEPT
    assert list(own_place.iterdir()) == []


def test_a_view_that_is_forgotten_is_given_back(store: Store, own_place: Path) -> None:
    store.put("a", "1")
    for seq in range(1, KEPT + 3):
        store.put("a", f"more {seq}")
        store.at(seq + 1)
        gc.collect()
    assert len(scratch(own_place)) == KEPT


def test_closed_it_says_so_and_so_it_does_when_the_store_is(root: str) -> None:
    store = holdfast.create(root)
    store.put("a", "1")
    closed, left = store.at(1), store.at(1)
    closed.close()
    closed.close()
    with pytest.raises(HandleDeadError, match="view of the past was closed"):
        closed.get("a")
    assert left.read("a") == b"1"
    store.close()
    with pytest.raises(HandleDeadError):
        left.get("a")
    left.close()


def test_what_a_killed_process_leaves_goes_with_the_next_look(store: Store, own_place: Path) -> None:
    left = own_place / f"{PREFIX}killed"
    left.mkdir()
    (left / "lock").touch()
    (left / "1-0.sqlite3").write_bytes(b"rows of somebody who was killed")
    store.put("a", "1")
    with store.at(1):
        assert not left.exists()


def test_fsck_and_gc_find_nothing_of_it_in_the_store(store: Store) -> None:
    store.put("a", "1")
    store.put("a", "2")
    with store.at(2) as view:
        assert store.fsck().findings == ()
        store.gc(grace_s=0)
        assert view.read("a") == b"1"


def test_a_store_that_is_open_for_reading_only_can_look_back(root: str) -> None:
    with holdfast.create(root) as store:
        store.put("a", "1")
        store.put("a", "2")
    with holdfast.open(root, read_only=True) as store, store.at(2) as view:
        assert view.read("a") == b"1"


def test_many_threads_may_look_at_one_state(store: Store) -> None:
    store.put("a", "1")
    then = newest(store)
    store.put("a", "2")
    found: list[bytes] = []
    with store.at(then) as view:
        threads = [threading.Thread(target=lambda: found.append(view.read("a"))) for _ in range(8)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    assert found == [b"1"] * 8


def test_a_forked_child_finds_its_views_dead(store: Store) -> None:
    store.put("a", "1")
    with store.at(1) as view:
        child = os.fork()
        if child == 0:
            code = 1
            with contextlib.suppress(BaseException):
                try:
                    view.get("a")
                except HandleDeadError:
                    code = 0
            os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert view.read("a") == b"1"


def test_a_forked_child_that_ends_leaves_the_rows_to_its_parent(root: str, own_place: Path) -> None:
    """An ordinary end clears up what the child has inherited: that must not be what its parent looks at."""
    program = f"""
import os, sys, tempfile, holdfast
tempfile.tempdir = {str(own_place)!r}
with holdfast.create({root!r}) as store:
    store.put("a", "1")
    with store.at(1) as view:
        if os.fork() == 0:
            sys.exit(0)
        os.wait()
        print(view.read("a"), len(os.listdir(tempfile.tempdir)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "b'1' 1\n"
    assert list(own_place.iterdir()) == []


def test_names_that_were_given_away_since_are_back(store: Store) -> None:
    """Who has the name now came later, and who had it then was moved: for a moment both rows claim it."""
    store.put("x", "first")
    store.put("y", "second")
    then = newest(store)
    store.artifacts.rename("x", "z")
    store.artifacts.rename("y", "x")
    store.artifacts.rename("z", "y")
    with store.at(then) as view:
        assert (view.read("x"), view.read("y")) == (b"first", b"second")

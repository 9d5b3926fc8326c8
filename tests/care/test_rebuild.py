"""The law of rebuild (G3, law 5): whatever was done, the index made anew equals the lost one row for row."""

# ruff: noqa: PT012 (a transaction that fails is more than one statement)
from __future__ import annotations

import contextlib
import os
import random
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import holdfast
import holdfast.engine.transaction
from holdfast import Actor, Endpoint, FileFacts, Store
from holdfast.errors import ChainForkedError, ConflictError, DamageError, HoldfastError, NotFoundError
from holdfast.index.apply import REDUCERS
from holdfast.index.tables import LOGICAL, PHYSICAL

RowsOf = Callable[[Store], dict[str, list[tuple[Any, ...]]]]


class OopsError(Exception):
    """What parts of transactions are interrupted with."""


def everything(store: Store) -> None:
    """Every kind of change there is, rolled back ones in between."""
    artifacts, collections, relationships, runs = store.artifacts, store.collections, store.relationships, store.runs
    collections.create(
        "papers/old",
        parents=True,
        metadata={"n": 1.0, "big": 10**30},
        tags=["t"],
        owner="Grace",
        file=FileFacts(0o755, -1),
    )
    collections.update("papers", metadata={"x": None}, owner="Ada")
    collections.tag("papers", "a", "b")
    collections.untag("papers", "b")
    with store.transaction(note="first"):
        artifacts.put(
            "papers/old/a.md",
            "one",
            metadata={"f": -0.0},
            tags=["x", "y"],
            type="note",
            status="draft",
            owner="Grace",
            message="hé",
            source="/from/here/a.md",
            file=FileFacts(0o640, 123456789),
        )
        artifacts.put("papers/old/a.md", "two")
        artifacts.put(b"papers/\xff", b"\x00" * 5000)
        with pytest.raises(OopsError), store.transaction():
            artifacts.put("undone/x", "undone", type="only here", media_type="text/x-undone")
            artifacts.rename("papers/old/a.md", "b.md")
            raise OopsError
        artifacts.put("papers/again", "two", type="only here")
    with pytest.raises(OopsError), store.transaction():
        artifacts.put("never", "never", type="never", status="never")
        raise OopsError
    artifacts.update("papers/again", type="model", status="done", owner="Ada", tags=["z"])
    artifacts.set_metadata("papers/again", {"deep": [1, {"é": "\0"}]})
    artifacts.rename(b"papers/\xff", b"\xfe")
    artifacts.move(b"papers/\xfe", "", name="plain")
    artifacts.revert("papers/old/a.md", 1)
    collections.rename("papers/old", b"\xfd")
    collections.move(b"papers/\xfd", "", name="moved")

    relationships.register_type("cites", family="intent", description="one text names another")
    first = relationships.relate("moved/a.md", "supports", "plain", metadata={"w": 0.5}, tags=["r"])
    relationships.update(first, metadata={"w": 1}, tags=["s"])
    relationships.update(first, type="conflicts_with")
    second = relationships.relate("moved/a.md", "derived_from", Endpoint("external", "https://example.org"))
    relationships.relate(collections.get("papers"), "contains", first)
    relationships.delete(second)
    relationships.undelete(second)
    relationships.delete(second)

    with runs.start("train", parameters={"lr": 0.1}) as run:
        run.input("moved/a.md", role="text")
        artifacts.put("out/model", b"weights")
        with run.step("fit"):
            artifacts.put("out/log", b"log")
        run.diagnose(loss=0.25)
    with pytest.raises(OopsError), runs.start("fails") as failing:
        artifacts.put("out/half", b"half")
        raise OopsError
    planned = runs.create("planned", metadata={"k": 1}, inputs=["plain"])
    runs.update(planned, metadata={}, tags=["later"])
    runs.delete(planned, contents="cascade")
    runs.undelete(planned)
    assert str(runs.get(failing.id).status) == "failed"

    store.indexes.declare("metadata.deep[0]")
    store.indexes.declare("metadata.n")
    artifacts.set_metadata("moved/a.md", {"n": 0.5})
    store.indexes.drop("metadata.deep[0]")

    artifacts.delete("plain", note="gone")
    artifacts.undelete("plain")
    artifacts.delete("plain")
    artifacts.put("plain", b"a new one of the name")
    artifacts.undelete(next(store.find(deleted=True)), name="plain-2")
    collections.delete("out", contents="cascade")
    collections.undelete("out", name="out-2")
    collections.delete("papers", contents="cascade")
    artifacts.purge("plain", revisions=[])
    artifacts.put("plain", b"second")
    artifacts.purge("plain", revisions=[1])
    grown = random.Random(7).randbytes(1_200_000)
    for more in (b"", b"and more", b"and more and more"):
        artifacts.put("grown", grown + more)


def test_a_store_with_every_kind_of_change_is_rebuilt_row_for_row(root: str, rows_of: RowsOf) -> None:
    with holdfast.create(root, actor="Ada") as store:
        everything(store)
        rows = rows_of(store)
        known = {(change.kind, change.action) for change in store.changes.list()}
    with holdfast.open(root, actor=Actor("cron", "schedule")) as store:
        store.put("other/actor", b"1", type="cron")
        store.gc(grace_s=0)
        rows = rows_of(store)
    assert all(rows[table] for table in (*LOGICAL, *PHYSICAL)), "a table without rows proves nothing"
    elsewhere = {("artifact", "withdraw"), ("step", "delete"), ("step", "undelete"), ("metadata-index", "undelete")}
    assert {
        one for one in set(REDUCERS) - known if one[1] != "redact"
    } <= elsewhere  # redact: tests/care/test_redact.py

    report = holdfast.rebuild(root)
    with holdfast.open(root) as store:
        assert rows_of(store) == rows
        assert not store.opened.rebuilt
    assert (report.changes, report.transactions) == (max(row[0] + row[2] for row in rows["tx"]) - 1, len(rows["tx"]))
    assert (report.unreachable, report.trouble, report.live) == (0, (), False)

    os.unlink(Path(root, "index.sqlite3"))
    holdfast.rebuild(root)
    with holdfast.open(root) as store:
        assert rows_of(store) == rows

    os.unlink(Path(root, "index.sqlite3"))
    with holdfast.open(root) as store:
        assert store.opened.rebuilt
        assert rows_of(store) == rows
        store.put("goes on", b"1")


def test_a_rebuilt_store_answers_as_before(root: str) -> None:
    def answers(store: Store) -> list[Any]:
        return [
            list(store.find()),
            list(store.find(deleted=True)),
            list(store.collections.list("", recursive=True)),
            list(store.changes.list()),
            [store.artifacts.revisions(one) for one in store.find()],
            list(store.relationships.find()),
            list(store.runs.find()),
            [hit.artifact.path for hit in store.search("two OR weights").hits],
        ]

    with holdfast.create(root, actor="Ada") as store:
        everything(store)
        before = answers(store)
    os.unlink(Path(root, "index.sqlite3"))
    with holdfast.open(root) as store:
        assert answers(store) == before


# -- anything at all ---------------------------------------------------------------------------------------------------

VERBS = (
    "put",
    "put",
    "put",
    "metadata",
    "rename",
    "move",
    "delete",
    "undelete",
    "purge",
    "revert",
    "tag",
    "mkdir",
    "rmdir",
    "back",
    "mvdir",
    "relate",
    "unrelate",
    "run",
    "nest",
    "undo",
    "update",
    "gc",
    "withdraw",
)


def act(store: Store, verb: str, luck: random.Random, depth: int = 0) -> None:
    """One thing that a caller could do, or try to."""
    names, folders = ["a", "b", b"\xff", "é"], ["", "f", "f/g", "h"]

    def path() -> Any:
        folder, name = luck.choice(folders), luck.choice(names)
        return os.fsencode(f"{folder}/".lstrip("/")) + (name if isinstance(name, bytes) else name.encode())

    def inside() -> None:
        with store.transaction(note=luck.choice(["", "nested"])):
            for _ in range(luck.randrange(1, 4)):
                act(store, luck.choice(VERBS[:-3]), luck, depth + 1)
            if verb == "undo":
                raise OopsError

    def withdraw() -> None:
        found = luck.choice(list(store.find()))
        numbers = [one.number for one in store.artifacts.revisions(found)]
        with holdfast.engine.transaction.write(store._handle) as unit:
            unit.change(
                {
                    "kind": "artifact",
                    "action": "withdraw",
                    "id": found.id,
                    "revisions": numbers[:1],
                    "newest": numbers[-1],
                }
            )

    verbs: dict[str, Callable[[], Any]] = {
        "put": lambda: store.put(
            path(),
            luck.choice(["1", "2", "3", "x" * 3000]),
            **luck.choice(
                [
                    {},
                    {"tags": luck.sample("uvw", 2)},
                    {"type": luck.choice("mn")},
                    {"metadata": {"n": luck.choice([1, 1.0, True])}},
                ]
            ),
        ),
        "metadata": lambda: store.artifacts.set_metadata(path(), luck.choice([{}, {"k": 1}, {"k": 10**40}])),
        "rename": lambda: store.artifacts.rename(path(), luck.choice(names)),
        "move": lambda: store.artifacts.move(path(), luck.choice(folders)),
        "delete": lambda: store.artifacts.delete(path()),
        "undelete": lambda: store.artifacts.undelete(path(), name=luck.choice([None, "back"])),
        "purge": lambda: store.artifacts.purge(path(), revisions=luck.choice([None, [1]])),
        "revert": lambda: store.artifacts.revert(path(), luck.randrange(1, 4)),
        "tag": lambda: luck.choice([store.artifacts.tag, store.artifacts.untag])(path(), luck.choice("uvw")),
        "update": lambda: store.artifacts.update(path(), status=luck.choice("pq"), owner=luck.choice(["", "Grace"])),
        "mkdir": lambda: store.collections.ensure(luck.choice(folders)),
        "rmdir": lambda: store.collections.delete(
            luck.choice(folders[1:]), contents=luck.choice(["cascade", "restrict"])
        ),
        "back": lambda: store.collections.undelete(luck.choice(folders[1:]), name=luck.choice([None, "k"])),
        "mvdir": lambda: store.collections.move(luck.choice(folders[1:]), luck.choice(folders)),
        "relate": lambda: store.relationships.relate(store.get(path()), "supports", store.get(path())),
        "unrelate": lambda: store.relationships.delete(luck.choice(list(store.relationships.find()))),
        "run": lambda: store.runs.create(luck.choice(["r", "s"]), parameters={"n": luck.random()}),
        "nest": inside,
        "undo": inside,
        "gc": lambda: store.gc(grace_s=0) if depth == 0 else None,
        "withdraw": withdraw,
    }
    if depth > 2:
        verb = "put"
    with contextlib.suppress(ConflictError, NotFoundError, DamageError, OopsError, IndexError, ValueError):
        verbs[verb]()


@given(st.lists(st.sampled_from(VERBS), min_size=5, max_size=30), st.integers(0, 2**32))
@settings(max_examples=25)
def test_after_anything_at_all_the_rebuilt_index_equals_the_lost_one(
    tmp_path_factory: pytest.TempPathFactory, rows_of: RowsOf, verbs: list[str], seed: int
) -> None:
    root = str(tmp_path_factory.mktemp("any") / "s")
    luck = random.Random(seed)
    with holdfast.create(root, actor="Ada") as store:
        for name in ("a", "f/b", "f/g/a", "h/é"):
            store.put(name, name)
        for verb in verbs:
            act(store, verb, luck)
        store.gc(grace_s=0)
        rows = rows_of(store)
        for one in store.find():
            if str(one.revision.state) == "kept":
                store.read(one)
    os.unlink(Path(root, "index.sqlite3"))

    with holdfast.open(root) as store:
        assert rows_of(store) == rows


# -- how ---------------------------------------------------------------------------------------------------------------


def test_an_index_and_a_journal_that_each_lack_something_complete_each_other(root: str, rows_of: RowsOf) -> None:
    with holdfast.create(root, actor="Ada") as store:
        for n in range(6):
            store.put(f"{n}", str(n))
        rows = rows_of(store)
        database = store._handle.index.database
        database.run("UPDATE tx SET data = x'00' WHERE first = 6")
    (segment,) = Path(root, "journal").iterdir()
    whole = segment.read_bytes()
    segment.write_bytes(whole[: len(whole) * 7 // 8])

    report = holdfast.rebuild(root)

    assert report.trouble
    with holdfast.open(root) as store:
        found = [row[:3] for row in rows_of(store)["tx"]]
        assert found == [row[:3] for row in rows["tx"][: len(found)]]
        assert len(found) >= 4
    assert any(path.name.startswith("index.sqlite3.") for path in Path(root, "quarantine").iterdir()), (
        "nothing that might be data is deleted"
    )


def test_a_damaged_line_in_the_middle_of_the_journal_is_made_good_by_the_index(root: str, rows_of: RowsOf) -> None:
    with holdfast.create(root, actor="Ada") as store:
        for n in range(6):
            store.put(f"{n}", str(n))
        rows = rows_of(store)
    (segment,) = Path(root, "journal").iterdir()
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)

    holdfast.rebuild(root)

    with holdfast.open(root) as store:
        assert rows_of(store) == rows


def test_what_stands_beyond_a_gap_is_reported_and_kept_but_not_used(root: str) -> None:
    with holdfast.create(root, actor="Ada") as store:
        for n in range(6):
            store.put(f"{n}", str(n))
    (segment,) = Path(root, "journal").iterdir()
    lines = segment.read_bytes().splitlines(keepends=True)
    lines[3] = lines[3].replace(b"sha256", b"sha257")
    segment.write_bytes(b"".join(lines))
    os.unlink(Path(root, "index.sqlite3"))

    report = holdfast.rebuild(root)

    assert 0 < report.unreachable < 6
    assert report.transactions + report.unreachable == 5
    assert segment.read_bytes() == b"".join(lines)


@pytest.mark.usefixtures("without_packs")
def test_a_rebuild_finds_the_blobs_that_files_show_and_no_others(root: str) -> None:
    with holdfast.create(root, actor="Ada") as store:
        for n in range(4):
            store.put(f"{n}", str(n))
        digests = [store.get(f"{n}").digest for n in range(4)]
    blobs = {path.stem: path for path in Path(root, "blobs").rglob("*.zst")}
    blobs[digests[0][7:]].unlink()
    blobs[digests[1][7:]].write_bytes(b"damaged")
    holdfast.rebuild(root)

    with holdfast.open(root) as store:
        places = [store._handle.index.physical.place(digest) for digest in digests]
        assert places[0] is None
        assert places[2] is not None
        assert {digest for digest, _ in store._handle.index.physical.missing()} >= {digests[0]}
        for n in (0, 1):
            with pytest.raises(DamageError):
                store.read(f"{n}")
        assert store.put("again", "0").created
        assert store.read("0") == b"0", "the content is back, for every revision that names it"


def test_a_rebuild_beside_an_open_store_comes_in_under_its_feet(root: str, rows_of: RowsOf) -> None:
    with holdfast.create(root, actor="Ada") as store:
        for n in range(5):
            store.put(f"{n}", str(n))
        rows = rows_of(store)
        report = holdfast.rebuild(root)
        assert report.live
        assert rows_of(store) == rows
        store.put("after", b"1")
        assert store.read("after") == b"1"
    with holdfast.open(root) as store:
        assert not store.opened.rebuilt
        assert [one.path for one in store.find()] == [*map(str, range(5)), "after"]


def test_a_rebuild_while_others_write_loses_nothing_that_was_acknowledged(root: str) -> None:
    stop, done = threading.Event(), []
    with holdfast.create(root, actor="Ada") as store:

        def work() -> None:
            while not stop.is_set():
                store.put(f"{len(done)}", b"x")
                done.append(1)

        worker = threading.Thread(target=work)
        worker.start()
        try:
            for _ in range(3):
                holdfast.rebuild(root)
        finally:
            stop.set()
            worker.join()
        assert [one.path for one in store.find()] == [str(n) for n in range(len(done))]
    os.unlink(Path(root, "index.sqlite3"))
    with holdfast.open(root) as store:
        assert len(list(store.find())) == len(done)


def test_a_fork_is_not_rebuilt_and_nothing_is_touched(root: str, tmp_path: Path) -> None:
    with holdfast.create(root, actor="Ada") as store:
        store.put("common", b"1")
    shutil.copytree(root, tmp_path / "other")
    for where, content in ((root, b"here"), (str(tmp_path / "other"), b"there")):
        with holdfast.open(where) as store:
            store.put("x", content)
    (mine,) = Path(root, "journal").iterdir()
    (theirs,) = (tmp_path / "other" / "journal").iterdir()
    mine.write_bytes(theirs.read_bytes())
    before = mine.read_bytes(), Path(root, "index.sqlite3").read_bytes()

    with pytest.raises(ChainForkedError):
        holdfast.rebuild(root)

    assert (mine.read_bytes(), Path(root, "index.sqlite3").read_bytes()) == before
    assert os.listdir(Path(root, "quarantine")) == []


def test_an_interrupted_rebuild_leaves_the_old_index_in_place(root: str, rows_of: RowsOf) -> None:
    with holdfast.create(root, actor="Ada") as store:
        with store.transaction():
            for n in range(2_100):
                store.collections.create(f"{n}")
        rows = rows_of(store)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        holdfast.rebuild(root, progress=interrupt)
    with holdfast.open(root) as store:
        assert not store.opened.rebuilt
        assert rows_of(store) == rows


def test_an_empty_store_can_be_rebuilt_too(root: str) -> None:
    holdfast.create(root).close()
    assert holdfast.rebuild(root).transactions == 0
    with holdfast.open(root) as store, pytest.raises(HoldfastError):
        store.get("x")

"""The index in PostgreSQL keeps index/contract.py: each test names the sentence that it shows."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import subprocess
import sys
import threading
import uuid
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import Store
from holdfast.engine import derive, past, recover
from holdfast.errors import (
    HandleDeadError,
    HoldfastError,
    IndexDamagedError,
    IndexElsewhereError,
    InvalidValueError,
    LockedError,
    ReadOnlyError,
    StorageIOError,
)
from holdfast.index import contract, proof
from holdfast.index.contract import Index
from holdfast.index.postgres import schema, sortable
from holdfast.index.sqlite import SqliteIndex
from holdfast.index.tables import LOGICAL, PHYSICAL
from holdfast.journal import Journal

from .test_dialect import KEYS

psycopg = pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")

from holdfast.index.postgres import connection, place  # noqa: E402
from holdfast.index.postgres.index import PostgresIndex  # noqa: E402
from holdfast.index.postgres.place import Place  # noqa: E402
from holdfast.index.postgres.server import PostgresDatabase  # noqa: E402

pytestmark = pytest.mark.postgres
FULL = pytest.mark.postgres_full
SECRET = "hunter2-geheim"
NUMBERS = {"big": 10**40, "float": 1e16, "minus": -0.0, "nul": "a\0b", "tiny": 5e-324, "nested": [1, 1.0, True, None]}
CELLS = [
    ("", "plain", None, 0), ("it's", 'say "hi"', "both ' and \"", -1), ("back\\slash", "tab\tnew\nl\r", "é", 1 << 62),
    ("\x7f\x01", "\u0100\uffff", "\U0001f600", 7), (b"", b"\x00\xff'", b'"\\\n\t', 1), (b"abc", b"'\"", None, None),
]  # fmt: skip


@pytest.fixture
def url(postgres: str) -> Iterator[str]:
    """A schema of its own."""
    name = f"t_{uuid.uuid4().hex[:16]}"
    yield f"{postgres}{'&' if '?' in postgres else '?'}schema={name}&application_name={name}"
    with psycopg.connect(postgres, autocommit=True) as link:
        found = link.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE %s", (f"{name}%",)).fetchall()
        for (one,) in found:
            link.execute(f"DROP SCHEMA {one} CASCADE")


@pytest.fixture
def index(url: str) -> Iterator[PostgresIndex]:
    """An empty one with its tables."""
    made = PostgresIndex(url)
    made.migrate()
    yield made
    made.close()


@pytest.fixture
def store(url: str, root: str) -> Iterator[Store]:
    """A fresh store with its index there."""
    with holdfast.create(url, blobs=root, actor="Ada") as made:
        yield made


Kill = Callable[[], int]


@pytest.fixture
def kill(postgres: str, url: str) -> Kill:
    """Ends every connection of the store to the server, as an administrator does; says how many."""

    def kill_all() -> int:
        with psycopg.connect(postgres, autocommit=True) as link:
            sql = """SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
                     WHERE application_name = %s"""
            row = link.execute(sql, (Place(url).schema,)).fetchone()
        return 0 if row is None else int(row[0])

    return kill_all


def fill(store: Store) -> None:
    """Something of every kind."""
    with store.transaction(note="first"):
        one = store.put("docs/a.md", "text", metadata=NUMBERS, tags=["é", "b"], type="note").artifact
        two = store.put("docs/b.md", "other", metadata={"n": 2}).artifact
    store.indexes.declare("metadata.n")
    store.put("docs/a.md", "text, revised", metadata={"n": 1.5})
    store.relationships.relate(one, "derived_from", two)
    with store.runs.start("made", parameters={"k": "v"}) as run:
        run.input(one)
    store.put("big", os.urandom(70_000))
    store.artifacts.delete(two)


def rows_of(index: Any) -> dict[str, list[Any]]:
    return {table: list(index.dump(table)) for table in LOGICAL}


def chain_is_whole(store: Store) -> bool:
    """Both copies of the chain are the same, and fsck derives the same rows from it."""
    found = store.fsck()
    return store.audit.verify().proven and not found.findings


# -- the contract ------------------------------------------------------------------------------------------------------


def test_both_indexes_have_what_the_contract_names(index: PostgresIndex, tmp_path: Path) -> None:
    assert isinstance(index, Index)
    assert isinstance(SqliteIndex(str(tmp_path / "index.sqlite3")), Index)


def test_what_is_not_committed_nobody_else_sees_i1_i3(store: Store) -> None:
    seen: list[bool] = []

    def look() -> None:
        seen.append(bool(list(store.find())))

    def in_another_thread() -> None:
        one = threading.Thread(target=look)
        one.start()
        one.join()

    with contextlib.suppress(ZeroDivisionError), store.transaction():
        store.put("a", "1")
        in_another_thread()
        raise ZeroDivisionError
    in_another_thread()
    with store.transaction():
        store.put("a", "1")
        with contextlib.suppress(ZeroDivisionError), store.transaction():
            store.put("b", "2")
            raise ZeroDivisionError
    in_another_thread()

    assert seen == [False, False, True]
    assert [one.path for one in store.find()] == ["a"]


def test_what_was_committed_stays_whatever_becomes_of_the_connection_i2(
    store: Store, url: str, root: str, kill: Kill, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("a", "1")
    commit = connection.Link.commit

    def lose_it(link: connection.Link, last: bytes | None) -> None:
        kill()
        commit(link, last)

    with monkeypatch.context() as patch:
        patch.setattr(connection.Link, "commit", lose_it)
        with pytest.raises(StorageIOError):
            store.put("b", "2")
    with pytest.raises(HandleDeadError):
        store.put("c", "3")

    with holdfast.open(url, blobs=root) as again:
        assert [one.path for one in again.find()] == ["a"]
        again.put("b", "2")
        assert chain_is_whole(again)


def test_a_reader_waits_for_no_writer_i5(store: Store, url: str, root: str) -> None:
    store.put("a", "1")
    with holdfast.open(url, blobs=root, read_only=True) as reader, store.transaction():
        store.put("b", "2")
        assert [one.path for one in reader.find()] == ["a"]
        with pytest.raises(ReadOnlyError):
            reader.put("c", "3")


@pytest.mark.parametrize("order", ["name", *(pytest.param(one, marks=FULL) for one in ("-created", "size", "updated"))])
def test_order_and_page_tokens_are_those_of_sqlite_i9(tmp_path: Path, url: str, order: str) -> None:
    names = ["b", "B", "é", "e\u0301", "~", "a b", "\uffff", "\U00010000", "_", "Ж", "10", "9"]
    with holdfast.create(tmp_path / "s") as store:
        for n, name in enumerate(names):
            store.put(name, "x" * (n % 4), metadata={"n": n % 5})
        store.copy(tmp_path / "served", index=url)
        with holdfast.open(url, blobs=tmp_path / "served") as served:
            tokens: list[str | None] = [None]
            while True:
                page = store.artifacts.page(order=order, limit=5, token=tokens[-1])
                assert served.artifacts.page(order=order, limit=5, token=tokens[-1]) == page
                if page.token is None:
                    break
                tokens.append(page.token)
    assert len(tokens) == 3


def test_a_second_writer_waits_for_the_first_i4(index: PostgresIndex, url: str) -> None:
    other = PostgresIndex(url)
    order: list[str] = []

    def write() -> None:
        other.begin()
        order.append("second began")
        other.rollback()

    index.begin()
    waiting = threading.Thread(target=write)
    waiting.start()
    waiting.join(0.2)
    order.append("first ends")
    index.set_meta("k", "v")
    index.commit()
    waiting.join()
    other.close()

    assert order == ["first ends", "second began"]


def test_who_waits_too_long_for_another_writer_is_told_so_i4(
    index: PostgresIndex, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "LOCK_WAIT_MS", 50)
    other = PostgresIndex(url)
    index.begin()
    with pytest.raises(LockedError):
        other.begin()
    index.rollback()
    other.begin()
    other.rollback()
    other.close()


def test_the_same_chain_makes_the_same_rows_as_in_sqlite_cell_for_cell_i6_i7_i8(
    tmp_path: Path, index: PostgresIndex
) -> None:
    with holdfast.create(tmp_path / "s", actor="Ada") as store:
        fill(store)
        handle = store._handle
        recover.derive(index, handle.origin, [recover.from_journal(Journal(handle.root, handle.disk))])

        assert rows_of(index) | {"tx": []} == rows_of(handle.index) | {"tx": []}
        assert list(index.chain.read()) == list(handle.index.chain.read())
        assert index.chain.head() == handle.index.chain.head()


def test_metadata_come_back_as_they_were_given_i8(store: Store) -> None:
    store.put("a", "1", metadata=NUMBERS)

    found = store.get("a").metadata

    assert found == NUMBERS
    assert repr(found) == repr(dict(sorted(NUMBERS.items())))
    assert [one.path for one in store.find(holdfast.parse_condition("metadata.float = 1e16"))] == ["a"]
    assert [one.path for one in store.find(holdfast.field("metadata.nul") == "a\0b")] == ["a"]


def test_a_damaged_row_is_never_returned_and_never_signed_i10(store: Store, url: str) -> None:
    store.put("a", "1", metadata={"n": 1})
    index: Any = store._handle.index
    index.server.run("UPDATE artifact SET name = 'b' WHERE name = 'a'")
    index.server.run('UPDATE "head" SET "version" = "version" + 1')

    with pytest.raises(IndexDamagedError):
        list(store.find())
    with pytest.raises(IndexDamagedError), store.transaction():
        index.server.run(
            f"UPDATE artifact SET live = ?1, crc = {proof.changed('artifact', ['live'])} WHERE name = 'b'", (None,)
        )
    with pytest.raises(IndexDamagedError):
        index.prove_rows(["artifact"])


def test_the_server_works_out_the_same_checksum_as_python_i10(index: PostgresIndex) -> None:
    for cells in CELLS:
        marks = ", ".join("?" * len(cells))
        (found,) = index.server.one(f"SELECT row_checksum('t', {marks})", cells) or ()
        assert found == zlib.crc32(ascii(("t", *cells)).encode()), cells


def test_the_server_makes_the_same_keys_of_declared_indexes(index: PostgresIndex) -> None:
    found = [index.server.one("SELECT sortable(?)", (key,)) for key in KEYS]

    assert found == [(sortable.encoded(key),) for key in KEYS]


def test_no_password_and_no_value_gets_out_i11(
    store: Store, url: str, root: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("PGPASSWORD", SECRET)
    told: list[str] = []
    nowhere = f"postgresql://ada:{SECRET}@localhost:1/x?schema=y&connect_timeout=1"
    for bad in (nowhere, f"postgresql://ada:{SECRET}@[bad/x", f"postgresql://ada:{SECRET}@h/x?nonsense={SECRET}"):
        with pytest.raises(HoldfastError) as caught:
            holdfast.open(bad, blobs=root)
        told += [str(caught.value), repr(caught.value), str(caught.value.fields), str(caught.value.remedy)]
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__
    monkeypatch.setenv("HOLDFAST_INDEX", nowhere)
    monkeypatch.setenv("HOLDFAST_LOCK_WAIT", "0.1")
    for call in (holdfast.open, holdfast.fsck, holdfast.rebuild, holdfast.recover, holdfast.repair, holdfast.doctor):
        try:
            told.append(repr(call(root)))
        except HoldfastError as error:
            told += [repr(error), str(error.fields), str(error.remedy)]
    index: Any = store._handle.index
    store.put(SECRET, "1", metadata={"k": SECRET})
    with pytest.raises(HoldfastError) as caught:
        index.server.run("INSERT INTO artifact SELECT * FROM artifact")
    told += [str(caught.value), str(caught.value.fields), str(index.place), repr(index.place), caplog.text]

    assert [one for one in told if SECRET in one] == []
    with open(os.path.join(root, "holdfast.json"), encoding="utf-8") as file:
        assert "postgresql://" not in file.read()


def test_a_lost_connection_is_replaced_and_a_transaction_on_it_fails_whole_i12(store: Store, kill: Kill) -> None:
    store.put("a", "1")
    assert kill() > 0
    assert [one.path for one in store.find()] == ["a"]
    assert kill() > 0
    store.put("b", "2")

    def write_across_the_loss() -> None:
        with store.transaction():
            store.put("c", "3")
            assert kill() > 0
            store.put("d", "4")

    with pytest.raises(StorageIOError):
        write_across_the_loss()

    store.put("e", "5")
    assert [one.path for one in store.find(order="name")] == ["a", "b", "e"]
    assert chain_is_whole(store)


def test_many_make_the_schema_at_once_and_one_does_i13(url: str) -> None:
    troubles: list[BaseException] = []

    def make() -> None:
        one = PostgresIndex(url)
        try:
            one.migrate()
            one.migrate()
            one.check()
        except BaseException as error:
            troubles.append(error)
        finally:
            one.close()

    threads = [threading.Thread(target=make) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

    assert troubles == []


def test_threads_write_and_read_at_once_and_leave_no_connection_behind_i14(store: Store) -> None:
    def write(number: int) -> None:
        for n in range(5):
            store.put(f"{number}/{n}", f"{number} {n}")
            assert store.read(f"{number}/{n}") == f"{number} {n}".encode()

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    server: PostgresDatabase = store._handle.index.server  # type: ignore[attr-defined]
    store.put("last", "1")

    assert len(list(store.find())) == 21
    assert len(server._pool._lent) + len(server._pool._free) <= 5


def test_who_follows_is_woken_by_a_commit_also_one_that_came_before_it_asked_i15(store: Store) -> None:
    index = store._handle.index
    seen = index.version()
    writer = threading.Thread(target=lambda: store.put("a", "1"))
    writer.start()

    assert index.wait(seen, 60.0) > seen
    writer.join()


def test_every_sentence_of_the_contract_is_shown_by_a_test_that_names_it() -> None:
    sentences = set(re.findall(r"^(I-\d+) ", contract.__doc__ or "", re.MULTILINE))
    shown = {f"I-{n}" for name in globals() if name.startswith("test_") for n in re.findall(r"_i(\d+)(?=_|$)", name)}

    assert shown == sentences


def test_what_goes_out_of_a_store_is_the_same_as_from_an_index_in_a_file(tmp_path: Path, url: str) -> None:
    with holdfast.create(tmp_path / "s", actor="Ada") as store:
        fill(store)
        store.copy(tmp_path / "served", index=url)
        with holdfast.open(url, blobs=tmp_path / "served") as served:
            for name, one in (("here", store), ("there", served)):
                one.export_tree(tmp_path / name / "tree")
                one.checkout("docs", tmp_path / name / "now")
                one.checkout("docs", tmp_path / name / "then", at=4)
    trees = [
        {
            str(file.relative_to(tmp_path / name)): file.read_bytes()
            for file in (tmp_path / name).rglob("*")
            if file.is_file()
        }
        for name in ("here", "there")
    ]

    assert trees[0] == trees[1]
    assert trees[0]["now/a.md"] == b"text, revised"
    assert trees[0]["then/a.md"] == b"text"


# -- several processes -------------------------------------------------------------------------------------------------

WRITER = """
import sys, holdfast
with holdfast.open(sys.argv[1], blobs=sys.argv[2], actor=sys.argv[3]) as store:
    for n in range(12):
        store.put(f"{sys.argv[3]}/{n}", f"{sys.argv[3]} {n}", metadata={"n": n})
        store.put("both", f"{sys.argv[3]} {n}")
"""


def test_several_processes_write_at_once_and_nothing_is_lost(store: Store, url: str, root: str) -> None:
    source = str(Path(holdfast.__file__).parents[1])
    started = [
        subprocess.Popen([sys.executable, "-c", WRITER, url, root, name], env={**os.environ, "PYTHONPATH": source})
        for name in ("ann", "bob")
    ]

    assert [one.wait(timeout=120) for one in started] == [0, 0]
    assert len(list(store.find())) == 25
    assert store.get("both").number == 24
    seqs = [change.seq for change in store.changes.list()]
    assert sorted(seqs) == list(range(1, len(seqs) + 1))
    assert chain_is_whole(store)


# -- whose index, and what becomes of it -------------------------------------------------------------------------------


def test_a_folder_whose_index_is_elsewhere_is_not_taken_for_one_without_an_index(
    store: Store, root: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("a", "1")
    store.close()

    for call in (holdfast.open, holdfast.fsck, holdfast.rebuild, holdfast.repair, holdfast.recover):
        with pytest.raises(IndexElsewhereError):
            call(root)  # type: ignore[operator]
    monkeypatch.setenv("HOLDFAST_INDEX", url)
    assert holdfast.repair(root).steps == ()  # there is nothing to mend
    assert holdfast.rebuild(root).changes == 2
    assert holdfast.fsck(root).findings == ()
    holdfast.recover(root)
    os.unlink(os.path.join(root, "journal", os.listdir(os.path.join(root, "journal"))[0]))
    assert holdfast.repair(root).steps
    assert holdfast.fsck(root).findings == ()
    assert not os.path.exists(os.path.join(root, "index.sqlite3"))


def test_the_environment_may_name_the_index(store: Store, root: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("a", "1")
    store.close()
    monkeypatch.setenv("HOLDFAST_INDEX", url)

    with holdfast.open(root) as again, holdfast.open(root, read_only=True) as reader:
        assert again.read("a") == reader.read("a") == b"1"
        assert not again.opened.rebuilt


def test_the_index_of_another_store_is_refused_and_not_touched(store: Store, url: str, tmp_path: Path) -> None:
    store.put("a", "1")

    with pytest.raises(IndexElsewhereError) as caught:
        holdfast.create(url, blobs=tmp_path / "other")

    assert caught.value.fields["reason"] == "other-store"
    assert not (tmp_path / "other" / "holdfast.json").exists()
    with pytest.raises(IndexElsewhereError):
        store.copy(tmp_path / "copy", index=url)
    assert not (tmp_path / "copy").exists()
    assert store.read("a") == b"1"


def test_what_cannot_be_reached_leaves_no_half_made_store(tmp_path: Path) -> None:
    with pytest.raises(StorageIOError):
        holdfast.create("postgresql://localhost:1/x?connect_timeout=1", blobs=tmp_path / "s")

    assert os.listdir(tmp_path / "s") == []


def test_a_store_with_an_index_in_a_file_takes_no_url(root: str, url: str) -> None:
    holdfast.create(root).close()

    with pytest.raises(IndexElsewhereError):
        holdfast.open(url, blobs=root)
    with pytest.raises(InvalidValueError):
        holdfast.open(url)
    with pytest.raises(InvalidValueError):
        holdfast.open(root, blobs=root)


@pytest.mark.parametrize(
    "what", ["lost", "behind", *(pytest.param(one, marks=FULL) for one in ("restored from a dump", "never finished"))]
)
def test_an_index_that_cannot_be_trusted_is_derived_anew_row_for_row(
    store: Store, url: str, postgres: str, root: str, what: str
) -> None:
    fill(store)
    before, index = rows_of(store._handle.index), store._handle.index
    if what == "restored from a dump":
        index.set_meta(derive.IDENTITY, "elsewhere")
    elif what == "never finished":
        index.unset_meta(derive.IDENTITY)
    elif what == "behind":
        index.database.run("DELETE FROM tx WHERE first = (SELECT max(first) FROM tx)")
    store.close()
    if what == "lost":
        with psycopg.connect(postgres, autocommit=True) as link:
            link.execute(f"DROP SCHEMA {Place(url).schema} CASCADE")

    with holdfast.open(url, blobs=root) as again:
        assert again.opened.rebuilt
        assert rows_of(again._handle.index) == before
        assert again.read("docs/a.md") == b"text, revised"
        again.put("more", "1")
    with holdfast.open(url, blobs=root) as again:
        assert not again.opened.rebuilt


def test_a_journal_that_was_lost_is_written_anew_from_the_server(store: Store, url: str, root: str) -> None:
    fill(store)
    store.close()
    for name in os.listdir(os.path.join(root, "journal")):
        os.unlink(os.path.join(root, "journal", name))

    with holdfast.open(url, blobs=root) as again:
        again.put("more", "1")
        ends = again._handle.journal.head()
        assert ends == again._handle.index.chain.head()


# -- the schema --------------------------------------------------------------------------------------------------------

CATALOG = (
    """SELECT table_name, column_name, data_type, is_nullable, collation_name, generation_expression
       FROM information_schema.columns WHERE table_schema = current_schema() ORDER BY 1, ordinal_position""",
    "SELECT indexdef FROM pg_indexes WHERE schemaname = current_schema() ORDER BY indexname",
    """SELECT p.proname, pg_get_functiondef(p.oid) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
       WHERE n.nspname = current_schema() ORDER BY 1, 2""",
    "SELECT * FROM schema_version ORDER BY version",
    "SELECT * FROM container ORDER BY key",
)


def catalog(place: Place) -> list[Any]:
    with contextlib.closing(place.connect(read_only=True)) as link:
        found = [link.execute(sql.encode()).fetchall() for sql in CATALOG]
    return [[tuple(str(cell).replace(place.schema, "S") for cell in row) for row in rows] for rows in found]


def test_the_bootstrap_file_applied_twice_makes_what_migrating_makes(index: PostgresIndex, postgres: str) -> None:
    own = index.place.schema
    other = f"{own}_boot"
    with psycopg.connect(postgres, autocommit=True) as link:
        for _ in range(2):
            link.execute(schema.bootstrap(other).encode())

    assert catalog(index.place.beside(other)) == catalog(index.place)


def test_a_store_is_made_in_a_schema_that_an_administrator_bootstrapped(url: str, postgres: str, root: str) -> None:
    with psycopg.connect(postgres, autocommit=True) as link:
        link.execute(schema.bootstrap(Place(url).schema).encode())

    with holdfast.create(url, blobs=root) as store:
        store.put("a", "1")
        assert store.read("a") == b"1"
    with psycopg.connect(postgres, autocommit=True) as link:
        sql = "SELECT nspname FROM pg_namespace WHERE nspname LIKE %s"
        assert link.execute(sql, (f"{Place(url).schema}%",)).fetchall() == [(Place(url).schema,)]


@pytest.mark.parametrize("name", ["", "pg_x", "A", "a-b", "a" * 41, '"x', "1a"])
def test_a_schema_has_a_plain_name(name: str) -> None:
    with pytest.raises(InvalidValueError):
        Place(f"postgresql://localhost/x?schema={name}")


@pytest.mark.postgres_full
def test_physical_rows_are_derived_from_files_too(store: Store, url: str, root: str) -> None:
    fill(store)
    before = {table: list(store._handle.index.dump(table)) for table in PHYSICAL}
    store._handle.index.unset_meta(derive.IDENTITY)
    store.close()

    with holdfast.open(url, blobs=root) as again:
        after = {table: list(again._handle.index.dump(table)) for table in PHYSICAL}
        assert {t: len(rows) for t, rows in after.items()} == {t: len(rows) for t, rows in before.items()}
        assert again.read("big") == store_big(again)


def store_big(store: Store) -> bytes:
    """Read through the artifact, which checks the digest."""
    return store.read(store.get("big"))


def test_the_store_as_it_was_is_derived_in_a_file_here(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past, "_FEW", 0)  # a server has no pages to copy, however many changes there are
    store.put("a", "one", metadata={"k": 1})
    store.put("a", "two")
    then = store.changes.head().next_seq - 1
    store.artifacts.rename("a", "b")
    store.artifacts.purge("b", revisions=[1])
    with store.at(then) as view:
        assert [one.path for one in view.find(holdfast.field("metadata.k") == 1)] == ["a"]
        assert view.read("a") == b"two"
        assert [loss.what for loss in view.losses()] == ["purged"]
        with store.transaction(), store.at(then) as inside:
            store.put("c", "three")
            assert [one.path for one in inside.find()] == ["a"]

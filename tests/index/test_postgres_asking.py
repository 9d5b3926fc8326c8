"""How much is asked of a server, and when: few messages, no answer that does not hold, never too many connections."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import holdfast
from holdfast import Store, field
from holdfast.errors import ConflictError, InvalidValueError, LockedError, NameTakenError, StorageIOError
from holdfast.index.postgres import merging
from holdfast.index.postgres.dialect import translated

psycopg = pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")

from holdfast.index.postgres import wire  # noqa: E402
from holdfast.index.postgres.connection import Link  # noqa: E402
from holdfast.index.postgres.place import Place  # noqa: E402
from holdfast.index.postgres.pool import Pool  # noqa: E402
from holdfast.index.postgres.server import PostgresDatabase  # noqa: E402

pytestmark = pytest.mark.postgres


@pytest.fixture
def url(postgres: str) -> Iterator[str]:
    """A schema of its own."""
    name = f"t_{uuid.uuid4().hex[:16]}"
    yield f"{postgres}{'&' if '?' in postgres else '?'}schema={name}&application_name={name}"
    with psycopg.connect(postgres, autocommit=True) as link:
        link.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")


@pytest.fixture
def place(url: str) -> Place:
    """A table of numbers there: t (a, b), a stands once."""
    found = Place(url)
    with psycopg.connect(url.partition("schema=")[0].rstrip("&?"), autocommit=True) as link:
        link.execute(f"CREATE SCHEMA {found.schema}")
        link.execute(f"CREATE TABLE {found.schema}.head (version BIGINT); INSERT INTO {found.schema}.head VALUES (1)")
        link.execute(f"CREATE TABLE {found.schema}.t (a BIGINT PRIMARY KEY, b TEXT)")
    return found


@pytest.fixture
def link(place: Place) -> Iterator[Link]:
    """A connection to it."""
    pool = Pool(place, read_only=False, most=1)
    yield Link(pool)
    pool.close()


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The statements of each message to a server."""
    said: list[list[str]] = []
    ask = wire.Wire.ask

    def noted(self: wire.Wire, statements: Any) -> Any:
        said.append([text.decode() for text, _ in statements])
        return ask(self, statements)

    monkeypatch.setattr(wire.Wire, "ask", noted)
    return said


# -- messages ----------------------------------------------------------------------------------------------------------


def test_a_put_is_two_messages(url: str, root: str, messages: list[list[str]]) -> None:
    with holdfast.create(url, blobs=root) as store:
        for n in range(3):
            store.put(f"a/{n}", f"{n}", metadata={"n": n})
        messages.clear()
        store.put("a/new", "new", metadata={"n": 1})
        assert [one[0].split()[0] for one in messages] == ["BEGIN", "WITH"]
        assert messages[-1][-1] == "COMMIT"
        assert sum(map(len, messages)) <= 7


def test_a_search_is_three_messages_whatever_it_finds(url: str, root: str, messages: list[list[str]]) -> None:
    with holdfast.create(url, blobs=root) as store:
        store.put_many((f"{n}.txt", f"word number{n}".encode()) for n in range(30))
        store.search("word")
        messages.clear()
        found = store.search("word", snippets=False)
        assert (len(found.hits), found.indexed_to) == (20, found.head)
        assert len(messages) == 3
        store.put("late.txt", b"word at last")
        assert store.search("last", snippets=False).hits[0].artifact.path == "late.txt"


def test_a_usual_question_is_one_message_while_what_was_seen_holds(
    url: str, root: str, messages: list[list[str]]
) -> None:
    with holdfast.create(url, blobs=root) as store, holdfast.open(url, blobs=root) as other:
        made = [store.put(f"c{n % 2}/{n}.txt", f"{n}", metadata={"n": n % 3}).artifact for n in range(9)]
        store.indexes.declare("metadata.n")
        questions: list[dict[str, Any]] = [
            {"where": field("metadata.n") == 1}, {"under": "c1", "order": "-created"}, {"digest": made[4].digest},
        ]  # fmt: skip

        def found(asking: Store) -> list[list[str]]:
            return [[one.path for one in asking.find(**one)] for one in questions]

        expected = [["c1/1.txt", "c0/4.txt", "c1/7.txt"], [f"c1/{n}.txt" for n in (7, 5, 3, 1)], ["c0/4.txt"]]
        assert found(other) == expected
        for one, number in zip(questions[:2], (2, 0), strict=True):
            list(other.find(**one))  # declared indexes and collections are known; the very answers are not
            messages.clear()
            list(other.find(**(one | ({"where": field("metadata.n") == number} if "where" in one else {"limit": 2}))))
            assert len(messages[0]) == 2
            assert [said for said in messages[1:] if "artifact" in str(said)] == []
        messages.clear()
        assert found(other) == expected  # from memory: only whether that still holds is asked
        assert [len(said) for said in messages] == [1, 1, 1]

        store.put("c1/1.txt", "other", metadata={"n": 2})
        store.put("c1/below/x.txt", "x", metadata={"n": 1})
        store.put("c0/4.txt", "5")
        expected = [["c0/4.txt", "c1/7.txt", "c1/below/x.txt"], [f"c1/{n}.txt" for n in ("below/x", 7, 5, 3, 1)], []]
        assert found(other) == expected == found(store)

        store.indexes.drop("metadata.n")
        assert found(other) == expected
        with other.transaction():
            other.put("c0/8.txt", "8", metadata={"n": 1})
            assert found(other)[0] == ["c0/4.txt", "c1/7.txt", "c0/8.txt", "c1/below/x.txt"]
            found(other)
        store.artifacts.delete("c0/8.txt")
        assert found(other)[0] == ["c0/4.txt", "c1/7.txt", "c1/below/x.txt"]


def test_a_message_of_many_statements_stops_at_the_first_that_fails(link: Link) -> None:
    link.begin()
    link.execute("INSERT INTO t (a, b) VALUES (?, ?)", (1, "one"))
    link.execute("INSERT INTO t (a, b) VALUES (?, ?)", (1, "again"))
    with pytest.raises(ConflictError):
        link.commit(None)
    link.script("ROLLBACK")
    assert link.execute("SELECT a, b FROM t").fetchall() == []
    link.begin()
    link.execute("INSERT INTO t (a, b) VALUES (?, ?)", (1, "one"))
    link.commit(b"UPDATE t SET b = b || '!'")
    assert link.execute("SELECT a, b FROM t").fetchall() == [(1, "one")]  # what goes along sees what was before


def test_rows_of_one_table_never_share_a_statement() -> None:
    rows = [(translated(f"INSERT INTO {table} (a) VALUES (?)"), [table]) for table in "tuttv"]
    groups = [[given[0] for _, given in group] for group in merging.groups(rows)]
    assert groups == [["t", "u"], ["t"], ["t", "v"]]
    text, given = merging.merged(rows[:2], b"UPDATE w SET x = 1")
    assert text == (
        b"WITH w0 AS (INSERT INTO t (a) VALUES ($1)), w1 AS (INSERT INTO u (a) VALUES ($2)) UPDATE w SET x = 1"
    )
    assert given == ["t", "u"]


def test_what_is_said_often_is_prepared_and_old_texts_are_forgotten(
    link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "_PREPARED", 4)
    for n in range(12):
        for _ in range(4):
            assert link.execute(f"SELECT {n} + ?", (1,)).fetchone() == (n + 1,)
    (kept,) = link.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() or (0,)
    assert 0 < kept <= 4
    link.begin()
    with pytest.raises(InvalidValueError):
        link.execute("SELECT 1 / ?", (0,))
    link.script("ROLLBACK")
    assert link.execute("SELECT 11 + ?", (2,)).fetchone() == (13,)


def test_an_interrupt_in_the_midst_of_an_answer_ends_the_connection(
    link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: wire.Wire) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(wire.Wire, "_next", interrupted)
        with pytest.raises(KeyboardInterrupt):
            link.execute("SELECT 1")
    assert link.lost
    assert link.execute("SELECT 2").fetchone() == (2,)


# -- answers that came early -------------------------------------------------------------------------------------------


def read(link: Link, a: int) -> Any:
    return link.execute("SELECT b FROM t WHERE a = ?", (a,)).fetchone()


def test_what_was_foreseen_comes_with_the_lock_and_holds_until_its_table_is_written(
    link: Link, messages: list[list[str]]
) -> None:
    for a in (1, 2, 3):
        link.foresee(lambda a=a: read(link, a), (a,))  # type: ignore[misc]
    link.foresee(lambda: link.execute("SELECT count(*) FROM t").fetchone())
    link.begin()
    assert len(messages) == 1
    assert read(link, 1) is None
    link.execute("INSERT INTO t (a, b) VALUES (?, ?)", (2, "two"))
    assert read(link, 3) is None  # the new row says nothing of it
    assert len(messages) == 1
    assert read(link, 2) == ("two",)
    assert link.execute("SELECT count(*) FROM t").fetchone() == (1,)
    link.commit(None)


def test_what_was_foreseen_outside_of_a_transaction_is_for_the_next_statement_only(link: Link, place: Place) -> None:
    link.foresee(lambda: read(link, 1))
    link.execute("PRAGMA data_version")
    assert link.execute("SELECT 1").fetchone() == (1,)
    pool = Pool(place, read_only=False, most=1)
    other = Link(pool)
    other.execute("INSERT INTO t (a, b) VALUES (?, ?)", (1, "one"))
    pool.close()
    assert read(link, 1) == ("one",)


def test_marks_cost_nothing_until_something_is_sent_and_undo_either_way(link: Link, messages: list[list[str]]) -> None:
    insert = "INSERT INTO t (a, b) VALUES (?, ?)"
    link.begin()
    link.execute(insert, (1, "kept"))
    link.execute("SAVEPOINT nested_1")
    link.execute(insert, (2, "undone before it was sent"))
    link.execute("ROLLBACK TO nested_1")
    link.execute("RELEASE nested_1")
    assert len(messages) == 1
    link.execute("SAVEPOINT nested_1")
    link.execute(insert, (3, "undone after it was sent"))
    assert read(link, 3) is not None
    link.execute("ROLLBACK TO nested_1")
    link.execute("RELEASE nested_1")
    assert read(link, 3) is None
    link.execute("SAVEPOINT nested_1")
    link.execute(insert, (4, "kept"))
    link.execute("RELEASE nested_1")
    link.commit(None)
    assert not any("SAVEPOINT" in text for text in messages[-1])
    link.begin()
    link.execute("SAVEPOINT nested_1")
    link.execute(insert, (5, "kept"))
    assert read(link, 5) is not None
    link.execute("RELEASE nested_1")
    link.commit(b"UPDATE t SET b = 'last'")
    assert link.execute("SELECT a, b FROM t ORDER BY a").fetchall() == [(1, "last"), (4, "last"), (5, "last")]


def test_a_name_that_a_collection_has_is_refused_where_others_write(url: str, root: str) -> None:
    with holdfast.create(url, blobs=root) as store, holdfast.open(url, blobs=root) as other:
        store.put("a/b/c", "1")
        other.put("a/x", "2")
        store.put("a/y", "3")
        with pytest.raises(NameTakenError):
            other.put("a/b", "4")
        with pytest.raises(NameTakenError):
            store.put("a/x/under", "5")
        assert other.put("a/x", "2").changed is False


# -- how many connections ----------------------------------------------------------------------------------------------


def test_more_threads_than_connections_get_their_answers(place: Place, url: str) -> None:
    database = PostgresDatabase(place, most=2)
    counted: list[int] = []

    def work(n: int) -> int:
        for _ in range(5):
            row = database.one("SELECT ? + 1", (n,))
            counted.append(connections(url))
        return 0 if row is None else int(row[0])

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(work, range(8))) == list(range(1, 9))
    assert max(counted) == 2
    database.close_every()


def test_who_gets_no_connection_in_time_is_told_how_many_there_are(place: Place) -> None:
    pool = Pool(place, read_only=False, most=1, wait_s=0.1)
    busy, waiting = Link(pool), Link(pool)
    busy.begin()
    with pytest.raises(LockedError, match="all 1 connections") as caught:
        in_thread(lambda: waiting.execute("SELECT 1"))
    assert "HOLDFAST_CONNECTIONS" in caught.value.remedy
    busy.commit(None)
    assert in_thread(lambda: waiting.execute("SELECT 1").fetchone()) == (1,)
    assert busy.execute("SELECT 2").fetchone() == (2,)
    pool.close()


def test_a_connection_with_tables_of_its_own_is_not_taken_away(place: Place) -> None:
    pool = Pool(place, read_only=False, most=1, wait_s=0.1)
    one, other = Link(pool), Link(pool)
    one.execute("CREATE TEMP TABLE own (a INTEGER)")
    with pytest.raises(LockedError):
        other.execute("SELECT 1")
    assert one.execute("SELECT count(*) FROM temp.own").fetchone() == (0,)
    pool.close()


def test_connections_that_a_server_ended_are_replaced_and_count_no_more(place: Place, url: str) -> None:
    pool = Pool(place, read_only=False, most=2)
    links = [Link(pool), Link(pool)]
    assert [one.execute("SELECT 1").fetchone() for one in links] == [(1,), (1,)]
    with psycopg.connect(url.partition("schema=")[0].rstrip("&?"), autocommit=True) as root:
        sql = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = %s"
        root.execute(sql, (place.schema,)).fetchall()
    for one in [*links, Link(pool)]:
        assert one.execute("SELECT 1").fetchone() == (1,)
    links[0].begin()
    with psycopg.connect(url.partition("schema=")[0].rstrip("&?"), autocommit=True) as root:
        root.execute(sql, (place.schema,)).fetchall()
    with pytest.raises(StorageIOError):
        links[0].execute("SELECT 1")
    links[0].version = None
    assert links[0].begin() == 1
    pool.close()


def test_the_setting_says_how_many(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Pool(place, read_only=True).most == 16
    monkeypatch.setenv("HOLDFAST_CONNECTIONS", "3")
    assert Pool(place, read_only=True).most == 3
    monkeypatch.setenv("HOLDFAST_CONNECTIONS", "none")
    with pytest.raises(InvalidValueError):
        Pool(place, read_only=True)


def connections(url: str) -> int:
    with psycopg.connect(url.partition("schema=")[0].rstrip("&?"), autocommit=True) as link:
        sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
        row = link.execute(sql, (Place(url).schema,)).fetchone()
    return 0 if row is None else int(row[0])


def in_thread(call: Callable[[], Any]) -> Any:
    """What a call gives in another thread, which is alive meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result(timeout=60)

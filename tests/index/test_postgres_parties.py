"""Outbox, tenants and migrations of a store whose index is in PostgreSQL: as with a file, on the server."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

import holdfast
from holdfast import Store
from holdfast.care import migrating
from holdfast.engine.settings import Settings
from holdfast.errors import InvalidDigestError, LeaseLostError, LockedError, NotFoundError
from holdfast.index.migrations.manifest import MANIFEST, Migration
from holdfast.values.change import Actor

psycopg = pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")

pytestmark = pytest.mark.postgres


@pytest.fixture
def url(postgres: str) -> Iterator[str]:
    """A schema of its own."""
    name = f"t_{uuid.uuid4().hex[:16]}"
    yield f"{postgres}{'&' if '?' in postgres else '?'}schema={name}"
    with psycopg.connect(postgres, autocommit=True) as link:
        link.execute(f'DROP SCHEMA IF EXISTS "{name}" CASCADE')


@pytest.fixture
def store(url: str, tmp_path: Path) -> Iterator[Store]:
    with holdfast.create(url, blobs=tmp_path / "store") as made:
        for number in range(4):
            made.put(f"a{number}", "x")
        yield made


def test_consumers_leases_and_dead_letters_are_on_the_server(store: Store) -> None:
    books = store.outbox.create("books", attempts=2)
    with books.take() as lease:
        some = lease.read(2)
        lease.ack(some[1])
        assert not lease.fail(lease.read(1)[0], "no")
        assert lease.fail(lease.read(1)[0], "no")
        with pytest.raises(LockedError):
            books.take()
    stalled = books.take(lease_s=0.001)
    late = stalled.read(1)
    with books.take(wait_s=30) as fresh:
        with pytest.raises(LeaseLostError):
            stalled.ack(late[0])
        assert fresh.token > stalled.token
        assert [one.seq for one in fresh.read(9)] == [4], "one by one after who ended without a word"
    books.retry()
    seen: list[tuple[int, bool]] = []
    books.run(lambda one: seen.append((one.seq, one.again)))
    assert seen == [(3, True), (4, False), (5, False)]
    assert not (store.path / "outbox.sqlite3").exists()


def test_an_acknowledgement_is_no_part_of_the_transaction_that_is_open(store: Store) -> None:
    books = store.outbox.create("books")
    with pytest.raises(RuntimeError), store.transaction():  # noqa: PT012
        books.run(lambda _: None)
        raise RuntimeError
    assert books.state().behind == 0


def test_an_index_that_is_made_anew_keeps_its_consumers(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    books = store.outbox.create("books")
    books.run(lambda _: None)
    before = books.state()
    path = store.path
    store.close()
    monkeypatch.setenv("HOLDFAST_INDEX", url)
    holdfast.rebuild(path)
    with holdfast.open(url, blobs=path) as again:
        assert again.outbox.consumer("books").state() == before


LATER = (
    *MANIFEST,
    Migration(2, "colours", "9.0.0", ('CREATE TABLE "colour" ("key" INTEGER NOT NULL PRIMARY KEY, "name" TEXT)',
                                      'CREATE INDEX "colour_name" ON "colour" ("name")'), ('DROP TABLE "colour"',)),
)  # fmt: skip


def test_a_schema_goes_up_and_down_on_the_server_with_a_copy_beside(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(store.path)
    store.close()
    monkeypatch.setenv("HOLDFAST_INDEX", url)
    settings = Settings(Actor("tess"))
    done = migrating.migrate(path, settings, manifest=LATER)
    assert (done.before, done.after) == (1, 2)
    again = migrating.migrate(path, settings, manifest=LATER)
    assert (again.before, again.after, again.copy) == (2, 2, "")
    with psycopg.connect(url.partition("?")[0] + "?" + _without_schema(url), autocommit=True) as link:
        (count,) = link.execute(f'SELECT count(*) FROM "{done.copy.removeprefix("schema ")}".artifact').fetchone() or (
            0,
        )
        assert count == 4
        link.execute(f'DROP SCHEMA "{done.copy.removeprefix("schema ")}" CASCADE')
    back = migrating.migrate(path, settings, manifest=LATER, target=1)
    assert back.after == 1
    with holdfast.open(path) as opened:
        assert opened.read("a1") == b"x"
    with psycopg.connect(url.partition("?")[0] + "?" + _without_schema(url), autocommit=True) as link:
        link.execute(f'DROP SCHEMA "{back.copy.removeprefix("schema ")}" CASCADE')


def _without_schema(url: str) -> str:
    return "&".join(part for part in url.partition("?")[2].split("&") if not part.startswith("schema="))


def test_tenants_are_apart_on_the_server_too(store: Store) -> None:
    with store.for_tenant("a") as a, store.for_tenant("b") as b:
        theirs = b.put("plan", "b's", owner="ben").artifact
        b.relationships.relate("plan", "supports", b.put("other", "x").artifact)
        mine = a.put("plan", "a's").artifact
        with b.runs.start("run"):
            b.put("made", "y")
        assert a.read("plan") == b"a's"
        assert [one.id for one in a.find()] == [mine.id]
        assert list(a.relationships.find()) == list(a.runs.find()) == []
        with pytest.raises(InvalidDigestError):
            list(a.find(digest=theirs.digest[:30]))
        with pytest.raises(NotFoundError):
            a.get(f"id:{theirs.id}")
        assert a.usage().counts["artifact"] == 1
        assert b.usage(owner="ben").counts["artifact"] == 1
        assert {one.id for one in a.changes.list(kind="artifact")} == {mine.id}
    assert store.tenants() == ("", "a", "b")

"""The outbox of a store whose index is in PostgreSQL: the same rows, on the server, under the server's clock."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

import holdfast
from holdfast import Store
from holdfast.errors import LeaseLostError, LockedError

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

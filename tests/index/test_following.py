"""I-15 of index/contract.py: who follows is woken by a commit, on a server and beside a file."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

import holdfast
from holdfast import Store

LONG_S = 60.0
"""Longer than any test waits: who is woken is so because of a commit."""


@pytest.fixture(params=["file", pytest.param("server", marks=pytest.mark.postgres)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str | None]]:
    """What `holdfast.open` takes: a path or URL, and the folder that goes with a URL."""
    folder = str(tmp_path / "store")
    if request.param == "file":
        yield folder, None
        return
    url, name = request.getfixturevalue("postgres"), f"t_{uuid.uuid4().hex[:16]}"
    yield f"{url}{'&' if '?' in url else '?'}schema={name}", folder
    import psycopg  # noqa: PLC0415 - an extra: only where there is a server

    with psycopg.connect(url, autocommit=True) as link:
        link.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")


@pytest.fixture
def store(place: tuple[str, str | None]) -> Iterator[Store]:
    with holdfast.create(place[0], blobs=place[1]) as made:
        yield made


def test_a_commit_wakes_who_waits_whatever_comes_first(store: Store, place: tuple[str, str | None]) -> None:
    index, woken, begun = store._handle.index, list[int](), threading.Semaphore(0)

    def follow() -> None:
        seen = index.version()
        for _ in range(3):
            begun.release()
            seen = index.wait(seen, LONG_S)
            woken.append(store._handle.index.chain.head().next_seq)  # type: ignore[union-attr]

    follower = threading.Thread(target=follow)
    follower.start()
    for n in range(3):
        assert begun.acquire(timeout=LONG_S)
        time.sleep(0.2 * (n % 2))  # at once, and when it surely waits
        before = index.chain.head()
        with holdfast.open(place[0], blobs=place[1]) as other:
            other.put(f"a{n}", str(n))
        assert before is None or index.chain.head() != before
    follower.join(LONG_S)

    assert not follower.is_alive()
    assert len(woken) == 3
    assert woken == sorted(woken)


def test_nothing_wakes_who_waits_where_nobody_writes(store: Store) -> None:
    store.put("a", "1")
    index = store._handle.index
    seen, began = index.version(), time.monotonic()

    assert index.wait(seen, 0.3) == seen
    assert time.monotonic() - began >= 0.3


@pytest.mark.postgres
def test_who_listens_goes_on_when_its_connection_was_ended(postgres: str, tmp_path: Path) -> None:
    import psycopg  # noqa: PLC0415 - an extra: only where there is a server

    name = f"t_{uuid.uuid4().hex[:16]}"
    url = f"{postgres}{'&' if '?' in postgres else '?'}schema={name}&application_name={name}"
    with psycopg.connect(postgres, autocommit=True) as link, holdfast.create(url, blobs=tmp_path / "store") as store:
        index, woken = store._handle.index, list[int]()
        seen = index.version()
        follower = threading.Thread(target=lambda: woken.append(index.wait(seen, LONG_S)))
        follower.start()
        listening = "SELECT pid FROM pg_stat_activity WHERE application_name = %s AND query LIKE '%%LISTEN%%'"
        until = time.monotonic() + LONG_S
        while not (found := link.execute(listening, (name,)).fetchall()) and time.monotonic() < until:
            time.sleep(0.05)
        link.execute("SELECT pg_terminate_backend(%s, 5000)", found[0])

        store.put("a", "1")
        follower.join(LONG_S)

        assert woken == [seen + 1]
        store.close()
        link.execute(f"DROP SCHEMA {name} CASCADE")

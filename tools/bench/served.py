"""What does a store cost whose index is in PostgreSQL, beside psycopg alone on the same server? Run by bench.py:

    python tools/bench/served.py WORK make STORE     a server's data in WORK; the store at STORE and a bare table there
    python tools/bench/served.py WORK ours BODY      a body of children.py (put, put_eight) or a query of queries.py
    python tools/bench/served.py WORK raw BODY       the same through psycopg, as JSON: middle and slowest of many

The server is started for each call by the project's own script (holdfast.testing.postgres), with `fsync` on, and stopped
after it. A raw put is what a put of ours writes: a row for each of its rows, of like widths, and the lock of one row, in one
transaction, prepared and sent in one go; no content, journal or check. The bare table has an index for each query.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import children
import psycopg
import queries

import holdfast
from holdfast.testing import postgres

WAY = "schema=bench"
PUT_ROWS = 6
"""A new artifact of ours: rows of content, record, artifact, revision, blob and tx, and the version of `head`."""

RAW = f"""
DROP SCHEMA IF EXISTS raw CASCADE; CREATE SCHEMA raw; SET search_path = raw;
CREATE TABLE artifact (id BIGINT PRIMARY KEY, name TEXT COLLATE "C", digest BYTEA, type TEXT, size BIGINT,
                       created DOUBLE PRECISION, metadata JSONB, collection BIGINT);
CREATE TABLE body (id BIGINT PRIMARY KEY, words TSVECTOR); CREATE TABLE head (version BIGINT); INSERT INTO head VALUES (1);
{"".join(f"CREATE TABLE put_{n} (id BIGINT PRIMARY KEY, digest BYTEA, data BYTEA, what TEXT);" for n in range(PUT_ROWS))}
"""
INDEXES = """CREATE UNIQUE INDEX an ON raw.artifact (name); CREATE INDEX ad ON raw.artifact (digest);
CREATE INDEX ac ON raw.artifact (collection, created DESC); CREATE INDEX aj ON raw.artifact ((metadata ->> 'author'));
CREATE INDEX bw ON raw.body USING gin (words); ANALYZE"""


def make(work: Path, url: str, few: str) -> None:
    """A copy of a store that queries.py has filled, its index on the server; the bare table; a store to put into."""
    for name in ("store", "puts"):
        shutil.rmtree(work / name, ignore_errors=True)
    with holdfast.open(few) as source:
        source.copy(work / "store", index=f"{url}{WAY}")
        count = source.status().counts["artifact"]
    with holdfast.open(work / "store", index=f"{url}{WAY}") as store:
        store.search(queries.WORDS[0], snippets=False)
    with psycopg.connect(url, autocommit=True) as link:
        link.execute(RAW.encode())
        with link.transaction(), link.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO artifact VALUES (%s, %s, %s, 'text', %s, %s, %s, %s)",
                [(n, path, hashlib.sha256(text.encode()).digest(), len(text), 1.7e9 + n, json.dumps(said), n // queries.EACH)
                 for n, path, text, said in queries.things(count)],
            )  # fmt: skip
            words = [(n, text) for n, _, text, _ in queries.things(count)]
            cursor.executemany("INSERT INTO body VALUES (%s, to_tsvector('simple', %s))", words)
        link.execute(INDEXES.encode())


def ours(work: Path, url: str, body: str) -> None:
    """The public API: bodies that know nothing of a server."""
    if body not in queries.CALLS:
        shutil.rmtree(work / "puts", ignore_errors=True)
        with psycopg.connect(url, autocommit=True) as link:
            link.execute("DROP SCHEMA IF EXISTS puts CASCADE")
        os.environ["HOLDFAST_INDEX"] = f"{url}schema=puts"
        holdfast.create(work / "puts", index=os.environ["HOLDFAST_INDEX"]).close()
        getattr(children, body)(str(work / "puts"))
        return
    os.environ["HOLDFAST_INDEX"] = f"{url}{WAY}"
    queries.ours(str(work / "store"), body)


def raw(work: Path, url: str, body: str) -> None:  # noqa: ARG001 - as `ours`
    """psycopg alone."""
    if body == "put_eight":
        children.eight(raw_puts, url)
    elif body == "put":
        times = sorted(raw_puts(url, 0))
        said = {"p50_ms": times[len(times) // 2] * 1e3, "p99_ms": times[int(len(times) * 0.99)] * 1e3}
        print(json.dumps({**said, "seconds": sum(times), "count": len(times)}))
    else:
        raw_query(url, body)


def raw_puts(url: str, worker: int, start: Callable[[], object] = int) -> list[float]:
    """As many rows as a put of ours, one transaction each, under the lock of one row; what each took, in seconds."""
    rnd = random.Random(worker)
    times = []
    with psycopg.connect(url) as link:
        start()
        for number in range(children.PUTS):
            row = (worker << 56 | time.time_ns() >> 10, rnd.randbytes(32), rnd.randbytes(150), f"a/{number}")
            began = time.perf_counter()
            with link.pipeline():
                link.execute("SELECT version FROM raw.head FOR UPDATE")
                for n in range(PUT_ROWS):
                    link.execute(f"INSERT INTO raw.put_{n} VALUES (%s, %s, %s, %s)".encode(), row)
                link.execute("UPDATE raw.head SET version = version + 1")
                link.commit()
            times.append(time.perf_counter() - began)
    return times


def raw_query(url: str, query: str) -> None:
    """The bare table."""
    with psycopg.connect(url, autocommit=True) as link:
        link.execute("SET search_path = raw")
        (count,) = link.execute("SELECT count(*) FROM artifact").fetchone() or (0,)
        numbers = queries._numbers(query, count)  # noqa: SLF001 - the same ones
        digests = dict(link.execute("SELECT id, digest FROM artifact").fetchall()) if query == "digest" else {}
        every = "SELECT * FROM artifact WHERE"
        calls: dict[str, tuple[str, list[Any]]] = {
            "id": (f"{every} id = %s", numbers),
            "name": (f"{every} name = %s", [queries.path_of(n) for n in numbers]),
            "digest": (f"{every} digest = %s", [digests.get(n) for n in numbers]),
            "newest": (f"{every} collection = %s ORDER BY created DESC LIMIT 50", [n // queries.EACH for n in numbers]),
            "metadata": (f"{every} metadata ->> 'author' = %s", [queries.author_of(n, count) for n in numbers]),
            "search": (
                "SELECT id FROM body, plainto_tsquery('simple', %s) q WHERE words @@ q ORDER BY ts_rank(words, q) DESC LIMIT 20",
                queries._asked(numbers),  # noqa: SLF001 - as above
            ),
        }
        sql, asked = calls[query]
        queries.timed(lambda one: link.execute(sql.encode(), (one,), prepare=True).fetchall(), asked)


def main() -> None:
    """One call, with its server."""
    work, what, *more = sys.argv[1:]
    place = Path(work)
    place.mkdir(parents=True, exist_ok=True)
    if what == "make":
        shutil.rmtree(place / "data", ignore_errors=True)
    bodies: dict[str, Callable[..., None]] = {"make": make, "ours": ours, "raw": raw}
    with postgres.running(durable=True, at=str(place / "data")) as server:
        bodies[what](place, f"{server.url}{'&' if '?' in server.url else '?'}", *more)


if __name__ == "__main__":
    main()

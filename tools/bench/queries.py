"""How much does the public API cost over bare SQLite, and does it grow with the store? Run by bench.py:

    python tools/bench/queries.py make STORE RAW ARTIFACTS     fill a store, and a bare table with the same facts
    python tools/bench/queries.py ours STORE QUERY             middle and slowest of many calls, as JSON
    python tools/bench/queries.py raw RAW QUERY                the same of the bare table
    python tools/bench/queries.py floor STORE QUERY            the same of the store's own rows, nothing checked

Records are worked out when they are looked at: `newest-read` and `id-read` ask as `newest` and `id`, and look at path,
digest, time and metadata of each record. `floor` fetches the rows of the four tables that make an artifact by SQLite
alone, and makes one tuple of each: nobody who keeps these tables can be quicker. The bare table has one row for each.

Queries: id, name, digest, newest (50 of a collection), metadata (a filter that 20 artifacts meet, however many there
are), search (20 of the first 100,000 texts, without snippets). The bare table has an index for each; nothing in it is
checked. `make` puts 1,000 artifacts in each of ARTIFACTS/1,000 collections, texts in the first 100.

So that few and many artifacts are asked alike: no store is asked for the newest of one collection twice, since answers
are remembered (of 10 collections all, of 1,000 hardly any); when all were asked for, it is opened anew. And files are
read once before, for the system may have dropped what nobody has read for a while.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import holdfast
from holdfast import Store, field
from holdfast.index.select.artifacts import COLUMNS, OTHERS

EACH = 1_000
ALIKE = 20
TEXTS = 100_000
CALLS = {
    "id": 5_000, "name": 5_000, "digest": 2_000, "newest": 500, "metadata": 500, "search": 100,
    "id-read": 5_000, "newest-read": 500,
}  # fmt: skip
READ = "-read"
TABLES = """
CREATE TABLE artifact (id INTEGER PRIMARY KEY, name TEXT, digest BLOB, type TEXT, size INTEGER, created REAL,
                       metadata TEXT, collection INTEGER);
CREATE UNIQUE INDEX an ON artifact (name); CREATE INDEX ad ON artifact (digest);
CREATE INDEX ac ON artifact (collection, created DESC); CREATE INDEX aj ON artifact (metadata ->> 'author');
CREATE VIRTUAL TABLE ft USING fts5 (body);
"""
WORDS = [f"{a}{b}{c}" for a in "bcdfghklmnprst" for b in ("a", "e", "i", "or", "un") for c in "bdfgklmnrst"]


def things(count: int) -> Iterator[tuple[int, str, str, dict[str, Any]]]:
    """(number, path, content, metadata) of everything, the same each time."""
    rnd = random.Random(3)
    weights = [1 / (n + 2) for n in range(len(WORDS))]
    for number in range(count):
        words = " ".join(rnd.choices(WORDS, weights, k=150)) if number < TEXTS else ""
        yield number, path_of(number), f"{number} {words}", {"author": author_of(number, count), "score": rnd.random()}


def author_of(number: int, count: int) -> str:
    """Who wrote a thing, of so many."""
    return f"user{number % max(1, count // ALIKE)}"


def path_of(number: int) -> str:
    """Where a thing lies."""
    return f"c{number // EACH}/art-{number:07d}.txt"


def make(store: str, raw: str, artifacts: str) -> None:
    """Fill both."""
    shutil.rmtree(store, ignore_errors=True)
    Path(raw).unlink(missing_ok=True)
    bare = sqlite3.connect(raw, isolation_level=None)
    bare.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;" + TABLES)
    with holdfast.create(store) as made:
        waiting: list[tuple[int, str, str, dict[str, Any]]] = []
        for one in things(int(artifacts)):
            waiting.append(one)
            if len(waiting) == EACH:
                _put(made, bare, waiting)
                waiting = []
        _put(made, bare, waiting)
        made.search(WORDS[0], snippets=False)
        made.indexes.declare("metadata.author")
    bare.execute("ANALYZE")
    bare.close()


def _put(made: Store, bare: sqlite3.Connection, part: list[tuple[int, str, str, dict[str, Any]]]) -> None:
    bare.execute("BEGIN")
    made.put_many((path, content, {"metadata": metadata}) for _, path, content, metadata in part)
    for number, path, content, metadata in part:
        digest = hashlib.sha256(content.encode()).digest()
        row = (number, path, digest, "text", len(content), 1.7e9 + number, json.dumps(metadata), number // EACH)
        bare.execute("INSERT INTO artifact VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        if number < TEXTS:
            bare.execute("INSERT INTO ft (rowid, body) VALUES (?, ?)", (number, content))
    bare.execute("COMMIT")


def timed(call: Callable[[Any], object], asked: list[Any]) -> None:
    """One call for each of what is asked; the first tenth warms up."""
    told(times_of(call, asked)[len(asked) // 10 :])


def times_of(call: Callable[[Any], object], asked: list[Any]) -> list[float]:
    """What each call takes, in seconds."""
    times = []
    for one in asked:
        began = time.perf_counter()
        call(one)
        times.append(time.perf_counter() - began)
    return times


def told(times: list[float]) -> None:
    """Print what calls took."""
    times = sorted(times)
    said = {"p50_ms": times[len(times) // 2] * 1e3, "p99_ms": times[int(len(times) * 0.99)] * 1e3}
    print(json.dumps({**said, "seconds": sum(times), "count": len(times)}))


def ours(store: str, query: str) -> None:
    """The public API."""
    warmed(Path(store) / "index.sqlite3")
    with holdfast.open(store, read_only=True) as opened:
        (last,) = opened.find(order="-created", limit=1)
        count = 1 + int(last.name[4:11])
        numbers = _numbers(query, count)
        query, looks = query.removesuffix(READ), query.endswith(READ)
        if query == "newest":
            newest(store, [f"c{number // EACH}" for number in numbers], looks=looks)
            return
        records = [opened.get(path_of(number)) for number in numbers] if query in ("id", "digest") else []
        calls: dict[str, tuple[Callable[[Any], object], list[Any]]] = {
            "id": (opened.get, [f"id:{one.id}" for one in records]),
            "name": (opened.get, [path_of(number) for number in numbers]),
            "digest": (lambda digest: list(opened.find(digest=digest)), [one.digest for one in records]),
            "metadata": (
                lambda user: list(opened.find(field("metadata.author") == user)),
                [author_of(number, count) for number in numbers],
            ),
            "search": (lambda words: opened.search(words, snippets=False), _asked(numbers)),
        }
        if query in ("id", "name"):
            # Opened anew, so that nothing which was looked up above is remembered.
            with holdfast.open(store, read_only=True) as fresh:
                timed(_looking(lambda ref: [fresh.get(ref)]) if looks else fresh.get, calls[query][1])
            return
        call, asked = calls[query]
        timed(_looking(call) if looks else call, asked)


def newest(store: str, collections: list[str], *, looks: bool) -> None:
    """The newest of each collection once, until enough have been asked for. The first tenth of each round warms up."""
    every, wanted, times = list(dict.fromkeys(collections)), len(collections), list[float]()
    while len(times) < wanted * 9 // 10:
        with holdfast.open(store, read_only=True) as fresh:

            def call(under: str, fresh: Store = fresh) -> list[Any]:
                return list(fresh.find(under=under, order="-created", limit=50))

            times += times_of(_looking(call) if looks else call, every)[max(1, len(every) // 10) :]
    told(times)


def warmed(path: Path) -> None:
    """Have the system keep a file in memory, before anything opens it."""
    if path.exists():
        with path.open("rb") as file:
            while file.read(1 << 20):
                pass


def _looking(call: Callable[[Any], Any]) -> Callable[[Any], object]:
    """The call, and a look at what it gave."""
    return lambda asked: [(one.path, one.digest, one.updated_at, one.metadata) for one in call(asked)]


def floor(store: str, query: str) -> None:
    """The rows that a call has to read, by SQLite alone."""
    warmed(Path(store) / "index.sqlite3")
    index = sqlite3.connect(f"file:{store}/index.sqlite3?mode=ro", uri=True)
    (last,) = index.execute("SELECT max(key) FROM artifact").fetchone()
    calls = {
        "id": (
            f"SELECT {COLUMNS} FROM record r CROSS JOIN artifact t1 ON t1.key = r.key {OTHERS} WHERE r.id = ?",
            "r.id",
        ),
        "newest": (
            f"""SELECT {COLUMNS} FROM (SELECT key FROM artifact WHERE collection = ? AND live = 1 ORDER BY key DESC
                LIMIT 50) k CROSS JOIN artifact t1 ON t1.key = k.key {OTHERS}""",
            "a.collection",
        ),
    }
    sql, cell = calls[query]
    some = f"SELECT {cell} FROM artifact a JOIN record r ON r.key = a.key WHERE a.key >= ? LIMIT 1"
    rnd = random.Random(query)
    asked = [index.execute(some, (rnd.randrange(last),)).fetchone()[0] for _ in range(CALLS[query])]
    timed(lambda one: index.execute(sql, (one,)).fetchall(), asked)


def raw(path: str, query: str) -> None:
    """The bare table."""
    warmed(Path(path))
    bare = sqlite3.connect(path)
    (count,) = bare.execute("SELECT count(*) FROM artifact").fetchone()
    numbers = _numbers(query, count)
    every = "SELECT * FROM artifact WHERE"
    digests = {}
    if query == "digest":
        digests = {n: bare.execute("SELECT digest FROM artifact WHERE id = ?", (n,)).fetchone()[0] for n in numbers}
    calls: dict[str, tuple[str, list[Any]]] = {
        "id": (f"{every} id = ?", numbers),
        "name": (f"{every} name = ?", [path_of(number) for number in numbers]),
        "digest": (f"{every} digest = ?", [digests.get(number) for number in numbers]),
        "newest": (f"{every} collection = ? ORDER BY created DESC LIMIT 50", [number // EACH for number in numbers]),
        "metadata": (f"{every} metadata ->> 'author' = ?", [author_of(number, count) for number in numbers]),
        "search": ("SELECT rowid FROM ft WHERE ft MATCH ? ORDER BY rank LIMIT 20", _asked(numbers)),
    }
    sql, asked = calls[query]
    timed(lambda one: bare.execute(sql, (one,)).fetchall(), asked)


def _numbers(query: str, count: int) -> list[int]:
    rnd = random.Random(query)
    return [rnd.randrange(count) for _ in range(CALLS[query])]


def _asked(numbers: list[int]) -> list[str]:
    """Two words each, from the middle of the vocabulary."""
    middle = WORDS[50:]
    return [f"{middle[number % len(middle)]} {middle[number // 7 % len(middle)]}" for number in numbers]


if __name__ == "__main__":
    {"make": make, "ours": ours, "raw": raw, "floor": floor}[sys.argv[1]](*sys.argv[2:])

"""What an index in PostgreSQL costs beside one in a file, and beside psycopg alone: CPU milliseconds of the client, wall too.

    python tools/bench/served.py FOLDER DATABASE [--calls 300] [--runs 3]

DATABASE is the URL of a database in which schemas can be made; two of the names `holdfast_bench*` are made and dropped.
`raw` is one INSERT of a row with a JSON column and a COMMIT, and one SELECT of it by key, through psycopg alone: what no
store on that server can be cheaper than. The best of the runs is shown. The server's own CPU time is not counted.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

import holdfast
from holdfast import Store

Costs = dict[str, tuple[float, float]]


def each(calls: int, work: Callable[[int], object]) -> tuple[float, float]:
    """(CPU, wall) milliseconds of one call."""
    cpu, wall = time.process_time(), time.monotonic()
    for n in range(calls):
        work(n)
    return (time.process_time() - cpu) * 1000 / calls, (time.monotonic() - wall) * 1000 / calls


def of_store(store: Store, calls: int) -> Costs:
    """Puts, reads and queries of one store."""
    store.indexes.declare("metadata.n")
    for n in range(20):
        store.put(f"before/{n}", str(n), metadata={"n": n})
    found = {"put": each(calls, lambda n: store.put(f"a/{n % 7}/{n}", f"c{n}", metadata={"n": n, "k": "v"}))}
    found["revise"] = each(calls, lambda n: store.put(f"a/{n % 7}/{n}", f"d{n}", metadata={"n": n + 1}))
    found["get"] = each(calls, lambda n: store.get(f"a/{n % 7}/{n}"))
    found["read"] = each(calls, lambda n: store.read(f"a/{n % 7}/{n}"))
    wanted = holdfast.field("metadata.n")
    found["find one of many"] = each(calls, lambda n: list(store.find(wanted == n)))
    found["find a page"] = each(calls // 3, lambda n: list(store.find(under=f"a/{n % 7}", order="name", limit=20)))
    with store.transaction():
        found["put in a transaction"] = each(calls, lambda n: store.put(f"t/{n}", f"t{n}"))
    return found


def raw(url: str, calls: int) -> Costs:
    """The same server without a store."""
    with psycopg.connect(url, autocommit=True) as link:
        link.execute("DROP SCHEMA IF EXISTS holdfast_bench_raw CASCADE")
        link.execute("CREATE SCHEMA holdfast_bench_raw")
        link.execute("CREATE TABLE holdfast_bench_raw.one (key BIGINT PRIMARY KEY, name TEXT, data JSONB)")
        insert = "INSERT INTO holdfast_bench_raw.one VALUES (%s, %s, %s)"
        select = "SELECT * FROM holdfast_bench_raw.one WHERE key = %s"
        found = {"put": each(calls, lambda n: link.execute(insert, (n, f"a/{n}", '{"n": 1, "k": "v"}')))}
        found["get"] = each(calls, lambda n: link.execute(select, (n,)).fetchall())
        link.execute("DROP SCHEMA holdfast_bench_raw CASCADE")
    return found


def best(runs: list[Costs]) -> Costs:
    """The smallest of each."""
    return {what: (min(one[what][0] for one in runs), min(one[what][1] for one in runs)) for what in runs[0]}


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("database")
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    url = given.database + ("&" if "?" in given.database else "?")
    results: dict[str, list[Costs]] = {"file": [], "PostgreSQL": [], "raw": []}
    for _ in range(given.runs):
        for name in ("file", "PostgreSQL"):
            shutil.rmtree(given.folder / "store", ignore_errors=True)
            with psycopg.connect(given.database, autocommit=True) as link:
                link.execute("DROP SCHEMA IF EXISTS holdfast_bench CASCADE")
            served = name == "PostgreSQL"
            path = f"{url}schema=holdfast_bench" if served else given.folder / "store"
            with holdfast.create(path, blobs=given.folder / "store" if served else None) as store:
                results[name].append(of_store(store, given.calls))
        results["raw"].append(raw(given.database, given.calls))
    with psycopg.connect(given.database, autocommit=True) as link:
        link.execute("DROP SCHEMA IF EXISTS holdfast_bench CASCADE")
    table = {name: best(runs) for name, runs in results.items()}
    print("CPU ms (wall ms) of one call\n")
    print("| call | " + " | ".join(table) + " |\n|---|" + "---:|" * len(table))
    for what in table["file"]:
        cells = [f"{one[what][0]:.2f} ({one[what][1]:.1f})" if what in one else "" for one in table.values()]
        print(f"| {what} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()

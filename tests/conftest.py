"""Stores for tests: a fresh one, one with a disk that fails and a clock that stands still, and what its tables hold."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

import holdfast
from holdfast import Store
from holdfast.engine import open as opening
from holdfast.engine.settings import Settings
from holdfast.index.tables import LOGICAL, PHYSICAL
from holdfast.kinds import promises
from holdfast.testing import postgres as servers
from holdfast.testing.clock import FixedClock
from holdfast.testing.faults import FaultyDisk
from holdfast.values.change import Actor

KIT = ("answers", "blobs", "indexes", "journals", "keepers", "stores", "streams")
# Failing tests of the kit show their values, as the plugin sees to where Holdfast is installed. Here, since nobody may
# have imported them before.
pytest.register_assert_rewrite(*(f"holdfast.testing.conformance.{name}" for name in KIT))

# No deadlines: the machine may be busy. Fixtures that last for all examples are meant where they are used.
settings.register_profile(
    "holdfast", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
settings.load_profile("holdfast")

if sys.dont_write_bytecode:  # commands are many and short: what they compile is kept, beside the sources of nobody
    os.environ["PYTHONPYCACHEPREFIX"] = os.path.join(tempfile.gettempdir(), f"holdfast-tests-compiled-{os.getuid()}")
    os.environ["PYTHONDONTWRITEBYTECODE"] = ""

_checked = os.environ.get(promises.SWITCH) is None and os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0"
if _checked and importlib.util.find_spec("icontract") is not None:
    # What calls promise and what is always so is checked in the tests. The labs, which make states by the thousand,
    # take a quarter longer so: of several workers it is done in the first one (every test passes with and without),
    # and not in commands that are started, each of which would import the library.
    # HOLDFAST_CONTRACTS=on checks in all of them (`make contracts`), `off` in none.
    promises.enforce(Store)

Opener = Callable[..., Store]
Rows = dict[str, list[tuple[Any, ...]]]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A soak goes on for an hour or two: what failed is written at once, beside the tally."""
    tally = os.environ.get("HOLDFAST_TALLY")
    if tally and report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        with open(f"{tally}.failed", "a", encoding="utf-8") as file:
            file.write(f"{report.nodeid}\n{report.longreprtext}\n{report.capstdout}\n")


@pytest.fixture
def root(tmp_path: Path) -> str:
    """Where the store of a test lies."""
    return str(tmp_path / "store")


@pytest.fixture
def store(root: str) -> Iterator[Store]:
    """A fresh store, written to by Ada."""
    with holdfast.create(root, actor="Ada") as made:
        yield made


@pytest.fixture
def clock() -> FixedClock:
    """The clock of stores that `opener` opens."""
    return FixedClock()


@pytest.fixture
def disk() -> FaultyDisk:
    """The disk of stores that `opener` opens."""
    return FaultyDisk()


@pytest.fixture
def opener(root: str, disk: FaultyDisk, clock: FixedClock) -> Iterator[Opener]:
    """Opens the store at `root` (made by the first call) with the faulty disk and the fixed clock; closes them all."""
    opened: list[Store] = []

    def open_it(**options: Any) -> Store:
        said = Settings(Actor("Ada"), **{"clock": clock, "disk": disk, "wait_s": 10.0, **options})
        if not Path(root, "holdfast.json").exists():
            opening.create(root, said)
        opened.append(Store(opening.open_store(root, said)))
        return opened[-1]

    yield open_it
    disk.heal()
    for one in opened:
        one.close()


@pytest.fixture
def rows_of() -> Callable[[Store], Rows]:
    """Every row of every logical and physical table of a store, in order of keys, to be compared with those of others.

    A pack's key is the number in which it was first met, and stands for nothing: its name is put in its place.
    """

    def rows(store: Store) -> Rows:
        found = {table: list(store._handle.index.dump(table)) for table in (*LOGICAL, *PHYSICAL)}
        names = {key: name for key, _, name, _, _ in found["container"]}
        found["container"] = sorted((kind, name) for _, kind, name, _, _ in found["container"])
        found["blob"] = [(content, names[pack], *where) for content, pack, *where, _ in found["blob"]]
        found["chunk"] = sorted((raw, size, names[pack], *where) for _, raw, size, pack, *where, _ in found["chunk"])
        return found

    return rows


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a database on a PostgreSQL server of this test run; skipped by name where there is none.

    Where HOLDFAST_TESTS_NEED names `postgresql` (`make test` does), its absence fails instead.
    """
    with contextlib.ExitStack() as held:
        try:
            url = held.enter_context(servers.server())
        except servers.NoServerError as error:
            if "postgresql" in os.environ.get("HOLDFAST_TESTS_NEED", ""):
                raise
            pytest.skip(f"no PostgreSQL server: {error}")
        yield url


Tally = Callable[..., None]


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    """Counts what a lab tried and what was lost, for the table in docs/reliability.md (tools/reliability.py writes it).

    `tally(lab, tried=, of=, lost=, note=)`: "lab" is the promise put to the test, "of" what was counted.
    Lines go to the file that HOLDFAST_TALLY names (`make soak` sets it); without it only to standard output.
    """
    began = time.monotonic()

    def count(lab: str, *, tried: int, of: str, lost: int = 0, note: str = "") -> None:
        where = request.node.nodeid.split("::")[0]
        took, date = round(time.monotonic() - began, 1), time.strftime("%Y-%m-%d", time.gmtime())
        line = {"lab": lab, "of": of, "tried": tried, "lost": lost, "note": note, "test": where, "seconds": took}
        line["date"] = date
        print(json.dumps(line))
        if out := os.environ.get("HOLDFAST_TALLY"):
            with open(out, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    return count


@pytest.fixture
def without_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every content has a file of its own: for a test that is about one of these files."""
    monkeypatch.setenv("HOLDFAST_PACK_UP_TO", "0")


@pytest.fixture(scope="module")
def loose() -> Iterator[None]:
    """Every content has a file of its own: for modules whose tests count, damage or remove these files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOLDFAST_PACK_UP_TO", "0")
        yield

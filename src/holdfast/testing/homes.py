"""Where the indexes of a test's stores are: each test of kinds, care and exchange runs with files, and on PostgreSQL.

A folder's conftest says which of its tests are about SQLite's file, each with the reason, and which of the others the
ordinary run takes to the server; `-m "postgres or postgres_full"` (`make test-both`) takes all of them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from holdfast import disk
from holdfast.engine import open as opening
from holdfast.engine import served
from holdfast.engine.settings import Settings
from holdfast.formats import paths
from holdfast.index.migrations.manifest import MANIFEST

if TYPE_CHECKING:
    from holdfast.index.postgres.index import PostgresIndex

SQLITE, POSTGRES = "sqlite", "postgresql"


def twice(metafunc: pytest.Metafunc, only_of_a_file: Mapping[str, str], ordinary: Mapping[str, Sequence[str]]) -> None:
    """Each test with both homes, but for those that are about a file.

    `ordinary`: what the ordinary run takes to the server: by module, words of which one is in the name of the test.
    """
    module, name = metafunc.module.__name__.rpartition(".")[2], metafunc.function.__name__
    params = [pytest.param(SQLITE)]
    if name not in only_of_a_file and f"{module}.py" not in only_of_a_file:
        chosen = any(word in name for word in ordinary.get(module, ()))
        params.append(pytest.param(POSTGRES, marks=pytest.mark.postgres if chosen else pytest.mark.postgres_full))
    metafunc.parametrize("index_home", params, indirect=True, scope="module")


@pytest.fixture(scope="session")
def schemas(postgres: str) -> Iterator[Schemas]:
    """Of this test run."""
    made = Schemas(postgres)
    yield made
    made.close()


@pytest.fixture(scope="module", autouse=True)
def index_home(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where the indexes of all stores are that tests make meanwhile.

    On the server each has a schema of its own, named by its folder; HOLDFAST_INDEX names that of the one made last, for
    programs that a test starts.
    """
    if request.param == SQLITE:
        yield SQLITE
        return
    schemas: Schemas = request.getfixturevalue("schemas")
    with pytest.MonkeyPatch.context() as patch, schemas.of_a_module(patch):
        yield POSTGRES


@pytest.fixture(autouse=True)
def index_emptied(request: pytest.FixtureRequest, index_home: str) -> Iterator[None]:
    """What a test makes there goes after it; what its module made before stays."""
    if index_home == SQLITE:
        yield
        return
    with request.getfixturevalue("schemas").of_a_test():
        yield


class Schemas:
    """The schemas of the stores of a test run: emptied and given to the next test, dropped at the end.

    To make one costs the server 0.15 s of CPU, to empty one a millisecond.
    """

    def __init__(self, url: str) -> None:
        import psycopg  # noqa: PLC0415 - an extra: only where there is a server

        from holdfast.index.postgres.index import PostgresIndex  # noqa: PLC0415

        self._url, self._index = url, PostgresIndex
        self._connect: Callable[[], Any] = lambda: psycopg.connect(url, autocommit=True)
        self._links = {os.getpid(): self._connect()}
        self._error = psycopg.Error
        self._made: set[str] = set()
        self._process = os.getpid()
        self._idle: list[str] = []
        self._usual: frozenset[str] = frozenset()
        self._patch = pytest.MonkeyPatch()
        self._create, self._migrate = opening.create, PostgresIndex.migrate

    @property
    def _link(self) -> Any:
        """A connection of this process: a test may fork, and what the child said the parent would not know of."""
        process = os.getpid()
        if process not in self._links:
            self._links[process] = self._connect()
        return self._links[process]

    @contextlib.contextmanager
    def of_a_module(self, patch: pytest.MonkeyPatch) -> Iterator[None]:
        """Stores have their index here."""
        self._patch = patch
        patch.setattr(opening, "create", self.create)
        patch.setattr(served, "named", self.url_of)
        patch.setattr(self._index, "migrate", functools.partialmethod(_called, self.migrate))
        with self.of_a_test():
            yield

    @contextlib.contextmanager
    def of_a_test(self) -> Iterator[None]:
        """Those that the block makes are not needed after it."""
        before = set(self._made)
        yield
        for schema in self._made - before:
            self._made.remove(schema)
            self._empty(schema)

    def close(self) -> None:
        """Drop them all."""
        for schema in [*self._made, *self._idle]:
            self._drop(schema)
        for link in self._links.values():
            link.close()

    def url_of(self, root: str) -> str:
        """Where the index of the store in a folder is."""
        schema = _schema(root)
        self._made.add(schema)
        return f"{self._url}{'&' if '?' in self._url else '?'}schema={schema}"

    def create(self, root: str, settings: Settings, **more: Any) -> None:
        """As the real one. A folder that is new has no index from another day."""
        with contextlib.suppress(OSError):
            os.makedirs(root, exist_ok=True)  # as it will: so it can be told from another
        url = self.url_of(root)
        if not os.path.exists(os.path.join(root, paths.MARKER)):
            self._empty(_schema(root))
        self._patch.setenv(served.ENVIRONMENT, url)
        self._create(root, dataclasses.replace(settings, index=url), **more)

    def migrate(self, index: PostgresIndex) -> None:
        """As the real one, or an empty schema takes the name."""
        name = index.place.schema
        if self._idle and os.getpid() == self._process and not index.exists():
            self._link.execute(
                f"DROP SCHEMA IF EXISTS {name}; ALTER SCHEMA {self._idle.pop()} RENAME TO {name}".encode()
            )
        else:
            self._migrate(index)

    def _empty(self, schema: str) -> None:
        listed = "SELECT tablename FROM pg_tables WHERE schemaname = %s AND tablename NOT IN ('schema_version', 'head')"
        tables = [name for (name,) in self._link.execute(listed, (schema,)).fetchall()]
        if not tables:
            return
        if not self._is_as_made(schema, tables):
            self._drop(schema)
            return
        aside = f"idle_{os.urandom(8).hex()}"
        from holdfast.index.postgres.schema import steps  # noqa: PLC0415

        rows = [one for step in MANIFEST for one in steps(step) if one.startswith("INSERT")]
        said = [
            f'BEGIN; ALTER SCHEMA {schema} RENAME TO {aside}; SET LOCAL search_path = {aside}',
            *(f'DELETE FROM "{name}"' for name in tables), *rows, "COMMIT",
        ]  # fmt: skip
        try:
            self._link.execute(";".join(said).encode())
            self._idle.append(aside)
        except self._error:  # what the test did to it is its own business
            self._link.execute("ROLLBACK")
            self._drop(schema)

    def _is_as_made(self, schema: str, tables: list[str]) -> bool:
        """Whether it has the newest version still: a test may have migrated it, or damaged it."""
        self._usual = self._usual or frozenset(tables)
        with contextlib.suppress(self._error):
            row = self._link.execute(
                f"SELECT array_agg(version ORDER BY version) FROM {schema}.schema_version".encode()
            )
            return row.fetchone() == ([one.version for one in MANIFEST],) and self._usual == frozenset(tables)
        return False

    def _drop(self, schema: str) -> None:
        self._link.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE".encode())


def _schema(root: str) -> str:
    """Of the store in a folder, not of another one that lay there before, or is a copy."""
    root = os.path.abspath(root)
    with contextlib.suppress(OSError):
        root += disk.identity(root)
    return "t_" + hashlib.sha256(root.encode()).hexdigest()[:16]


def _called(index: PostgresIndex, work: Callable[[PostgresIndex], None]) -> None:
    work(index)

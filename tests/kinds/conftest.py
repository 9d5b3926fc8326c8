"""What kinds promise holds on every index: each test here runs with an index in a file, and with one in PostgreSQL.

The ordinary run takes a chosen part of them to the server; `-m "postgres or postgres_full"` takes all.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from holdfast.engine import open as opening
from holdfast.engine.handle import Handle
from holdfast.engine.open import Settings

SQLITE, POSTGRES = "sqlite", "postgresql"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test twice."""
    chosen = pytest.mark.postgres if _is_chosen(metafunc) else pytest.mark.postgres_full
    params = [pytest.param(SQLITE), pytest.param(POSTGRES, marks=chosen)]
    metafunc.parametrize("index_home", params, indirect=True, scope="module")


def _is_chosen(metafunc: pytest.Metafunc) -> bool:
    return False


@pytest.fixture(scope="module", autouse=True)
def index_home(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where the indexes of all stores are that the test makes: each in a schema of its own on the server."""
    if request.param == SQLITE:
        yield SQLITE
        return
    url: str = request.getfixturevalue("postgres")
    made: set[str] = set()
    create, open_store = opening.create, opening.open_store

    def placed(root: str, settings: Settings) -> Settings:
        schema = "t_" + hashlib.sha256(os.path.abspath(root).encode()).hexdigest()[:16]
        made.add(schema)
        return dataclasses.replace(settings, index=f"{url}{'&' if '?' in url else '?'}schema={schema}")

    def create_there(root: str, settings: Settings, **more: Any) -> None:
        create(root, placed(root, settings), **more)

    def open_there(root: str, settings: Settings) -> Handle:
        return open_store(root, placed(root, settings))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "create", create_there)
        patch.setattr(opening, "open_store", open_there)
        yield POSTGRES
    with psycopg.connect(url, autocommit=True) as connection:
        for schema in made:
            connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")

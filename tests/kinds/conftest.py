"""What kinds promise holds on every index: each test here runs with an index in a file, and with one in PostgreSQL.

The ordinary run takes a chosen part of them to the server; `-m "postgres or postgres_full"` takes all.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast.engine import open as opening
from holdfast.engine.handle import Handle
from holdfast.engine.open import Settings

SQLITE, POSTGRES = "sqlite", "postgresql"


ONLY_OF_A_FILE = {
    "test_explain_says_that_a_declared_index_is_used_and_sqlite_says_so_too": "SQLite's plans, word by word",
    "test_one_value_is_found_in_order_of_age_without_sorting_however_many_have_it": "SQLite's plans",
    "test_an_index_can_be_used_however_its_path_is_spelled": "SQLite's plans",
    "test_what_is_declared_is_asked_for_again_only_when_others_have_written": "listens to SQLite's statements",
    "test_a_declaration_is_a_change_that_outlives_the_index_file": "removes the file",
    "test_what_is_redacted_is_in_no_index_either": "redaction wants a file so far",
    "test_a_plan_names_the_indexes_that_a_query_uses_and_the_tables_it_goes_through": "SQLite's plans",
    "test_declaring_twice_changes_nothing_and_dropping_what_is_not_there_is_refused": "redaction wants a file so far",
    "test_fsck_finds_a_declared_index_that_is_not_there_and_values_that_are_not_true": "edits the file",
    "test_a_row_that_errs_about_the_place_is_found_out_by_the_digest": "edits the file",
    "test_rows_that_are_not_what_was_written_are_refused_in_bulk_too": "edits the file",
    "test_what_another_process_wrote_is_seen_by_the_next_call": "the process opens the folder; see tests/index",
    "test_reading_one_asks_the_index_once_and_a_second_time_not_at_all": "listens to SQLite's statements",
    "test_relationships_outlive_the_handle_and_the_index": "removes the file",
    "test_runs_outlive_the_handle_and_the_index": "removes the file",
}
"""Tests that say something of SQLite's file and planner, each with its reason."""

ORDINARY = {
    "test_artifacts": ["undelete"],
    "test_collections": ["undelete", "deep"],
    "test_lineage": ["vocabulary"],
    "test_many": ["as_many_puts"],
    "test_relationships": ["cascade", "undelete"],
    "test_runs": ["manifest_holds"],
    "test_search_verb": ["found_at_once"],
}
"""What the ordinary run takes to the server: by module, tests with one of these words in their names."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test twice."""
    chosen = pytest.mark.postgres if _is_chosen(metafunc) else pytest.mark.postgres_full
    params = [pytest.param(SQLITE)]
    if metafunc.function.__name__ not in ONLY_OF_A_FILE:
        params.append(pytest.param(POSTGRES, marks=chosen))
    metafunc.parametrize("index_home", params, indirect=True, scope="module")


def _is_chosen(metafunc: pytest.Metafunc) -> bool:
    words = ORDINARY.get(metafunc.module.__name__.rpartition(".")[2], ())
    return any(word in metafunc.function.__name__ for word in words)


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
    import psycopg  # noqa: PLC0415 - an extra: only where there is a server

    with psycopg.connect(url, autocommit=True) as connection:
        for schema in made:
            connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")

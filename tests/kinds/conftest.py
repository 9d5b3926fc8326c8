"""What kinds promise holds on every index: each test here runs with an index in a file, and with one in PostgreSQL.

The ordinary run takes a chosen part of them to the server; `-m "postgres or postgres_full"` takes all.
"""

from __future__ import annotations

import pytest

from holdfast.testing import homes
from holdfast.testing.homes import index_emptied, index_home, schemas  # noqa: F401 - fixtures

ONLY_OF_A_FILE = {
    "test_explain_says_that_a_declared_index_is_used_and_sqlite_says_so_too": "SQLite's plans, word by word",
    "test_one_value_is_found_in_order_of_age_without_sorting_however_many_have_it": "SQLite's plans",
    "test_an_index_can_be_used_however_its_path_is_spelled": "SQLite's plans",
    "test_what_is_declared_is_asked_for_again_only_when_others_have_written": "listens to SQLite's statements",
    "test_a_declaration_is_a_change_that_outlives_the_index_file": "removes the file",
    "test_a_plan_names_the_indexes_that_a_query_uses_and_the_tables_it_goes_through": "SQLite's plans",
    "test_fsck_finds_a_declared_index_that_is_not_there_and_values_that_are_not_true": "edits the file",
    "test_a_row_that_errs_about_the_place_is_found_out_by_the_digest": "edits the file",
    "test_rows_that_are_not_what_was_written_are_refused_in_bulk_too": "edits the file",
    "test_what_another_process_wrote_is_seen_by_the_next_call": "the process opens the folder; see tests/index",
    "test_reading_one_asks_the_index_once_and_a_second_time_not_at_all": "listens to SQLite's statements",
    "test_puts_of_another_handle_cost_no_look_at_collections": "listens to SQLite's statements",
    "test_a_leader_that_dies_leaves_the_orders_to_those_who_gave_them": "its process opens the folder; see tests/index",
    "test_processes_side_by_side_get_all_their_puts": "its processes open the folder; see tests/index",
    "test_relationships_outlive_the_handle_and_the_index": "removes the file",
    "test_runs_outlive_the_handle_and_the_index": "removes the file",
    "test_a_lost_search_file_is_made_anew_and_a_reader_does_without": "removes the file of the full text",
    "test_what_is_redacted_is_in_no_index_either": "reads the file's bytes; of a server's tables see tests/index",
}
"""Tests that say something of SQLite's file and planner, each with its reason."""

ORDINARY = {
    "test_artifacts": ["undelete"],
    "test_collections": ["undelete", "deep"],
    "test_combining": ["one_commit", "is_refused", "commit_fails", "new_revisions"],
    "test_lineage": ["vocabulary"],
    "test_many": ["as_many_puts"],
    "test_relationships": ["cascade", "undelete"],
    "test_runs": ["manifest_holds"],
    "test_search_verb": ["found_at_once"],
}
"""What the ordinary run takes to the server: by module, tests with one of these words in their names."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test twice."""
    homes.twice(metafunc, ONLY_OF_A_FILE, ORDINARY)

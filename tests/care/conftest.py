"""Small stores with something of everything, made once for all tests of a process: to be copied, never changed."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.testing import damage, homes
from holdfast.testing.homes import index_emptied, index_home, schemas  # noqa: F401 - fixtures

Samples = Callable[[str], Path]

EDITS = "edits rows of the file behind everybody's back; a server's: tests/index/test_postgres.py, I-10"
REMOVES = "removes the file; a schema that is gone: test_an_index_that_cannot_be_trusted_is_derived_anew_row_for_row"
COPIES = "copies the folder with its index; of a server's see test_a_copied_folder_does_not_take_the_index_from_the_one"
LIVE = "rebuilds the file under the feet of others; on a server they must have closed the store"
ASIDE = "looks for what is left of the file in tmp/ and quarantine/; of schemas: tests/index/test_postgres_care.py"

SAYS = "says by name that the index is SQLite's, or is a damaged one; of a server's see test_postgres_parties.py"

ONLY_OF_A_FILE = {
    "test_a_copy_whose_pack_is_shorter_than_its_rows_is_recovered_by_withdrawing_what_it_lacks": COPIES,
    "test_a_copy_that_lacks_chunks_of_its_last_revision_gives_up_that_one_alone": COPIES,
    "test_killed_at_any_step_it_is_old_or_new_and_the_next_redaction_finishes": COPIES,
    "test_an_interrupted_rebuild_leaves_the_old_index_in_place": "stops between two renames of files",
    "test_it_counts_what_is_there": SAYS,
    "test_doctor_reads_the_numbers_of_a_store_that_nobody_has_open": SAYS,
    "test_a_sync_of_a_pack_that_fails_kills_the_handle_takes_nothing_back_and_is_never_asked_again": (
        "COMMIT keeps the bytes and syncs the pack later; with an index on a server a pack is synced before COMMIT"
    ),
    "test_the_index_names_the_store_also_while_the_search_index_is_mended": REMOVES,
    "test_damage_lab.py": "harms every file of a store, the index's among them",
    "test_fsck.py": "edits rows and pages of the file",
    "test_fsck_beside.py": "looks at the file while others write it",
    "test_fsck_flips.py": "flips bits of the file",
    "test_fsck_opens_all.py": "edits the file, and says what opening it refuses",
    "test_fsck_rules.py": "edits rows of the file",
    "test_fsck_untouched.py": "says what no byte of the file is changed by",
    "test_repair_fuzz.py": "harms every file of a store, the index's among them",
    "test_migrating.py": "takes SQLite's schema up and down; of a server see tests/index/test_postgres_parties.py",
    "test_each_kind_of_tampering_is_named_at_each_transaction_of_each_copy": COPIES,
    "test_chunks_damage.py": "uses the damage lab, which copies stores with their files",
    "test_packs_damage.py": "uses the damage lab, which copies stores with their files",
    "test_fsck_passes_packs.py": "uses a sample that is copied with its file",
    "test_repair_packs.py": "uses a sample that is copied with its file",
    "test_an_edited_change_is_named": EDITS,
    "test_a_dropped_transaction_is_named": EDITS,
    "test_who_did_it_cannot_be_changed_either": EDITS,
    "test_the_same_edit_in_both_copies_is_found_though_no_copy_can_name_it": EDITS,
    "test_history_rewritten_with_all_its_hashes_is_betrayed_only_by_a_head_kept_elsewhere": EDITS,
    "test_a_shortened_chain_is_betrayed_by_a_head": EDITS,
    "test_one_copy_forged_with_fitting_hashes_does_not_pass": EDITS,
    "test_every_flipped_byte_of_the_journal_is_found": REMOVES,
    "test_a_store_without_an_index_is_not_called_proven": REMOVES,
    "test_an_index_made_anew_has_the_same_contents_and_chunks": REMOVES,
    "test_a_recipe_without_its_chunks_is_no_presence_but_the_superseded_file_is": REMOVES,
    "test_whatever_the_portion_presence_rows_and_journal_are_checked_whole": EDITS,
    "test_a_portion_reads_contents_also_where_the_index_is_gone": REMOVES,
    "test_a_position_that_belongs_elsewhere_is_not_gone_on_from_and_the_report_says_why": COPIES,
    "test_where_no_position_can_be_kept_the_check_is_made_all_the_same_and_says_so": REMOVES,
    "test_an_altered_row_is_named_by_table_key_and_columns_without_its_values": EDITS,
    "test_full_journal_segments_are_sealed_and_the_plain_ones_go_after_the_grace_period": REMOVES,
    "test_a_damaged_page_of_the_index_stops_gc": "damages a page of the file: a server checks its own",
    "test_an_index_behind_the_journal_stops_gc": COPIES,
    "test_a_transaction_that_only_a_damaged_end_of_the_journal_held_stops_gc": EDITS,
    "test_a_pack_that_could_not_be_read_when_rows_were_made_is_not_collected_and_found_by_the_next_open": REMOVES,
    "test_nor_is_it_rewritten_away_because_some_of_it_has_rows": REMOVES,
    "test_redaction_removes_no_pack_in_which_something_could_be_found_that_has_no_place": REMOVES,
    "test_a_member_that_the_disk_did_not_give_back_when_rows_were_made_is_looked_for_again": REMOVES,
    "test_without_an_index_every_member_is_found_again": REMOVES,
    "test_packs_that_are_gone_cut_swapped_or_something_else_are_named": COPIES,
    "test_a_store_with_every_kind_of_change_is_rebuilt_row_for_row": REMOVES,
    "test_a_rebuilt_store_answers_as_before": REMOVES,
    "test_after_anything_at_all_the_rebuilt_index_equals_the_lost_one": REMOVES,
    "test_an_index_and_a_journal_that_each_lack_something_complete_each_other": EDITS,
    "test_what_stands_beyond_a_gap_is_reported_and_kept_but_not_used": REMOVES,
    "test_a_rebuild_while_others_write_loses_nothing_that_was_acknowledged": LIVE,
    "test_a_fork_is_not_rebuilt_and_nothing_is_touched": EDITS,
    "test_a_rebuild_beside_an_open_store_comes_in_under_its_feet": LIVE,
    "test_sealed_segments_and_quarantine_are_cleaned": ASIDE,
    "test_an_index_that_a_killed_rebuild_finished_and_left_goes_with_its_secret": ASIDE,
    "test_a_copy_with_an_older_index_does_not_bring_the_bytes_back": COPIES,
    "test_a_copy_whose_packs_were_copied_before_the_repack_and_its_index_after_it_has_everything": COPIES,
    "test_an_own_loss_of_history_is_filled_from_a_backup_but_nothing_newer_is_taken_without_need": EDITS,
    "test_a_writer_that_has_the_store_open_goes_on_behind_the_repaired_journal": REMOVES,
    "test_two_damages_of_the_chain_at_different_places_mend_each_other": EDITS,
    "test_with_accept_loss_the_store_can_be_written_to_again_and_its_content_is_kept": REMOVES,
    "test_killed_at_a_step_the_next_repair_ends_the_work": EDITS,
    "test_killed_at_any_step_the_next_repair_ends_the_work": EDITS,
    "test_a_damaged_index_that_others_have_open_is_not_taken_from_under_them": EDITS,
    "test_a_journal_whose_segments_have_each_others_names_is_read_by_what_they_hold": REMOVES,
    "test_the_sound_part_of_a_damaged_sealed_segment_and_all_behind_it_is_used": EDITS,
    "test_a_full_disk_at_opening_is_said_to_be_full_and_no_reason_to_derive_anything": "SQLite finds no room",
    "test_a_segment_that_is_a_link_to_nowhere_is_an_error_of_ours_and_mended": REMOVES,
    "test_nothing_is_written_behind_a_plain_segment_whose_sealed_successor_is_there": REMOVES,
    "test_the_damaged_file_of_a_purged_content_goes_aside_and_is_no_loss": REMOVES,
    "test_a_flipped_bit_in_the_last_transaction_of_the_journal_is_made_good_from_the_index": REMOVES,
    "test_a_damaged_index_without_a_journal_names_every_transaction_as_lost": EDITS,
    "test_without_an_index_what_the_journal_has_torn_at_its_end_comes_from_the_backup": REMOVES,
    "test_a_backup_names_the_store_if_its_chain_leads_to_what_is_left_of_ours": REMOVES,
    "test_an_older_backup_that_ends_where_ours_begins_names_the_store_too": REMOVES,
    "test_a_store_that_has_nothing_of_ours_is_not_believed": REMOVES,
    "test_a_backup_that_ends_before_ours_begins_proves_nothing": REMOVES,
    "test_without_an_index_a_transaction_that_was_cut_is_named_as_perhaps_lost": REMOVES,
    "test_a_transaction_that_lacks_only_its_last_newline_is_there": REMOVES,
    "test_what_was_cut_comes_from_a_backup_and_is_not_lost_then": REMOVES,
    "test_a_last_segment_without_any_transaction_is_named_too": REMOVES,
    "test_bytes_that_nobody_here_wrote_are_no_loss": REMOVES,
    "test_without_any_copy_of_the_history_nothing_is_called_a_store": REMOVES,
    "test_bytes_are_counted_as_put_once_each_and_as_stored": "says how large the file is",
    "test_doctor_with_a_store_gives_file_system_sizes_and_locks": "says how large the file is",
    "test_doctor_leaves_no_trace": "says that no byte of the file changes",
    "test_doctor_works_on_what_does_not_open": "removes and damages the file",
}
"""Tests that are about SQLite's file, whole modules or by name, and why they can say nothing of a server."""
ORDINARY = {
    "test_backup": ["all_that_can_be_read_of_the_store"],
    "test_gc": ["only_what_no_kept", "reader_may_look"],
    "test_rebuild": ["empty_store_can_be_rebuilt"],
    "test_redact": ["nothing_of_a_redacted"],
    "test_repack": ["everything_reads_as_before"],
    "test_restore": ["rows_of_a_restored_store", "at_a_change"],
}
"""What the ordinary run takes to the server: by module, tests with one of these words in their names."""


OF_THE_INDEX = (
    "index",
    "edited",
    "row",
    "tag ",
    "tombstone",
    "a table dropped",
    "gone from both",
    "number turned into text",
    "bytes altered",
)
"""Words in the names of damages that are done to rows or pages of the file: these cases of a test, and no others."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Damages of a file that is not there are not tried on a server."""
    of_files = [one for one in items if one.path.name == "test_repair.py" and f"[{homes.POSTGRES}-" in one.name]
    left_out = [one for one in of_files if any(word in one.name.partition("[")[2] for word in OF_THE_INDEX)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [one for one in items if one not in left_out]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test twice."""
    homes.twice(metafunc, ONLY_OF_A_FILE, ORDINARY)


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """The store of the damage lab, its small contents in "packs", or all of them in "files" of their own."""

    @functools.cache
    def made(kind: str) -> Path:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HOLDFAST_PACK_UP_TO", "0" if kind == "files" else "")
            return damage.sample_store(tmp_path_factory.mktemp("sample") / "store")

    return made


@pytest.fixture
def sample(samples: Samples) -> Path:
    """One of them, as the module wants it (`loose`)."""
    return samples("files" if os.environ.get("HOLDFAST_PACK_UP_TO") == "0" else "packs")


@pytest.fixture(params=["files", "packs"])
def sample_of_both(request: pytest.FixtureRequest, samples: Samples) -> Path:
    """One after the other."""
    return samples(request.param)


@pytest.fixture
def backup(sample: Path, tmp_path: Path) -> Path:
    """A plain copy of the sample."""
    return shutil.copytree(sample, tmp_path / "backup")

"""fsck where rows, rules, disks and ends of the chain are at odds: damage that takes more to make."""

from __future__ import annotations

import errno
import os
import shutil

import pytest

import holdfast
from holdfast.blobs import LocalBlobs
from holdfast.care.fsck import check, check_path
from holdfast.disk import Disk, raise_typed
from holdfast.engine.transaction import write
from holdfast.testing import damage


@pytest.fixture
def root(sample_of_both, tmp_path):
    return damage.twin(sample_of_both, tmp_path / "store")


def codes(root, *, quick=False):
    return sorted(check_path(root, quick=quick).counts)


def alter(root, *statements):
    """Change rows of the index behind fsck's back."""
    with damage.sql(root) as connection:
        for statement in statements:
            assert connection.execute(statement).rowcount != 0


def test_an_index_older_than_the_journal_is_behind(root):
    shutil.copy(root / "index.sqlite3", root.parent / "old")
    with holdfast.open(root) as store:
        store.artifacts.put("later", "later")
    with open(root / "index.sqlite3", "r+b") as file:  # in place, so that it stays the same file
        file.truncate()
        file.write((root.parent / "old").read_bytes())
    (found,) = check_path(root).findings
    assert found.code == "index-behind"
    assert (found.fields["first"], found.fields["end"]) == (13, 14)
    assert codes(root) == ["index-behind"]


@pytest.mark.parametrize("sample_of_both", ["files"], indirect=True)
def test_a_condemned_row_whose_file_is_gone_is_worth_a_word_only(root):
    with holdfast.open(root) as store:
        store.artifacts.purge("docs/a.md", revisions=[1])
    damage.blob_of(root, b"first\n").unlink()
    report = check_path(root)
    assert sorted(report.counts) == ["blob-row-stale"]
    assert report.exit_code == 0


def test_rules_are_checked_where_rows_are_not_derived(root):
    alter(root, "UPDATE artifact SET newest = 6 WHERE key = 3", "UPDATE revision SET number = 5 WHERE key = 4")
    report = check_path(root, quick=True)
    assert sorted(report.counts) == ["rule-broken"]
    assert {f.fields["rule"] for f in report.findings} == {
        "artifact-newest",
        "revision-numbers",
        "artifact-checksum",
        "revision-checksum",
    }
    assert sorted(check_path(root).counts) == ["row-differs"]


RULES = {
    "collection-under-root": "UPDATE collection SET parent = 5 WHERE key = 5",
    "collection-parent-live": "UPDATE collection SET live = NULL WHERE key = 2",
    "collection-live-flag": "UPDATE collection SET live = NULL WHERE key = 2",
    "artifact-collection-live": "UPDATE artifact SET collection = 99 WHERE key = 3",
    "artifact-has-record": "DELETE FROM record WHERE key = 3",
    "record-has-artifact": "DELETE FROM artifact WHERE key = 3",
    "record-has-relationship": "DELETE FROM relationship",
    "revision-first": "UPDATE revision SET number = 1 WHERE number = 2",
    "content-first": "UPDATE content SET key = 1000 WHERE key = 3",
    "revision-content": "UPDATE revision SET content = 99 WHERE key = 3",
    "content-digest": "UPDATE content SET digest = x'01' WHERE key = 3",
    "relationship-source-exists": "UPDATE relationship SET source = target, source_kind = 4",
    "relationship-target-exists": "UPDATE relationship SET target = '01890000-0000-7000-8000-000000000000'",
    "relationship-source-revision": "UPDATE relationship SET source_revision = 9",
    "tag-record": "UPDATE tagging SET record = 99",
    "change-record": "UPDATE change SET record = 99 WHERE seq = 9",
    "change-left-its-row": "DELETE FROM change WHERE seq = 9",
    "record-in-chain": "UPDATE record SET changed = 999 WHERE key = 3",
    "artifact-type-term": "UPDATE artifact SET type = 999 WHERE key = 3",
    "revision-run-exists": "UPDATE revision SET run = 3 WHERE key = 3",
    "blob-content": "UPDATE blob SET container = 9 WHERE content = 3",
}


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_is_asked_for(root, rule):
    alter(root, RULES[rule])
    report = check_path(root, quick=True)
    assert rule in {f.fields.get("rule") for f in report.findings}


def test_a_chain_that_no_rows_can_be_made_of_is_named(root):
    with holdfast.open(root) as store:
        handle = store._handle
        apply, handle.index.apply = handle.index.apply, lambda seq, body: None
        with write(handle) as unit:
            unit.change({"kind": "artifact", "id": "not an id", "action": "delete"})
        handle.index.apply = apply
        report = check(handle)
    assert sorted(report.counts) == ["chain-not-applicable", "rule-broken"]
    assert {f.fields["rule"] for f in report.findings if f.code == "rule-broken"} == {"change-left-its-row"}


@pytest.mark.parametrize("name", ["blobs", "journal", "index.sqlite3"])
def test_what_must_not_be_read_is_named(root, name):
    (root / name).chmod(0)
    try:
        if os.access(root / name, os.R_OK):
            pytest.skip("this user may read everything")
        assert "unreadable" in codes(root)
    finally:
        (root / name).chmod(0o755)


@pytest.mark.parametrize("sample_of_both", ["files"], indirect=True)
def test_what_the_disk_does_not_give_is_named(root):
    class Sick(Disk):
        def pread(self, fd, length, offset, path):
            if path.endswith(".zst"):
                raise_typed(OSError(errno.EIO, "Input/output error"), "read", path)
            return super().pread(fd, length, offset, path)

    with holdfast.open(root) as store:
        report = check_with(store, Sick())
    assert report.counts == {"unreadable": 5}


def check_with(store, disk):
    store._handle.disk, store._handle.blobs = disk, LocalBlobs(str(store.path), disk)
    return check(store._handle)

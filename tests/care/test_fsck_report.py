"""What a finding and a report of fsck say, and that page and program say the same."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from holdfast.care.fsck import KINDS, FsckReport, check_path
from holdfast.care.fsck.findings import as_markdown
from holdfast.cli.main import SECTIONS
from holdfast.testing import damage

SECOND, B3000 = b"second\n", b"b" * 3000


@pytest.fixture
def root(sample_of_both, tmp_path):
    return damage.twin(sample_of_both, tmp_path / "store")


def only(report: FsckReport, code: str):
    return next(f for f in report.findings if f.code == code)


def alter(root, *statements):
    """Change rows of the index behind fsck's back."""
    with damage.sql(root) as connection:
        for statement in statements:
            assert connection.execute(statement).rowcount != 0


@pytest.mark.parametrize("sample_of_both", ["files"], indirect=True)
def test_a_lost_blob_names_the_revisions_that_need_it(root):
    damage.blob_of(root, B3000).unlink()
    found = only(check_path(root), "blob-missing")
    assert found.object == str(damage.blob_of(root, B3000).relative_to(root))
    assert found.fields["revisions"] == ["docs/deep/b.txt@1", "docs/same.txt@1"]
    assert found.fields["revisions_total"] == 2
    assert "docs/deep/b.txt@1" in found.detail


def test_a_lost_transaction_is_named_by_its_changes(root):
    lengths = [len(one) for one in damage.transactions(root)]
    damage.flip(damage.segment(root), sum(lengths[:3]) + 30)
    found = only(check_path(root), "journal-gap")
    assert found.object == "change 7"
    assert (found.fields["first"], found.fields["end"]) == (7, 8)
    assert "0000000000000001.jsonl at byte" in found.detail


def test_an_altered_row_is_named_by_table_key_and_columns_without_its_values(root):
    alter(root, "UPDATE artifact SET name = 'secret' WHERE key = 3")
    found = only(check_path(root), "row-differs")
    assert found.object == "artifact docs/a.md"
    assert found.fields == {"table": "artifact", "key": 3, "columns": ["name"]}
    assert "secret" not in str(found.as_dict())


@pytest.mark.parametrize("sample_of_both", ["files"], indirect=True)
def test_findings_are_told_one_by_one_with_severity_meaning_and_remedy(root):
    damage.blob_of(root, SECOND).unlink()
    (root / "notes").write_text("")
    told = []
    report = check_path(root, on_finding=told.append)
    assert tuple(told) == report.findings
    for finding in told:
        kind = KINDS[finding.code]
        assert (finding.severity, finding.meaning, finding.remedy) == (kind.severity, kind.meaning, kind.remedy)
        assert set(finding.as_dict()) == {"code", "severity", "object", "detail", "meaning", "remedy", "fields"}
    plain = report.as_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["worst"] == "error"


@pytest.mark.parametrize("sample_of_both", ["files"], indirect=True)
def test_only_so_many_findings_are_kept_but_all_are_counted(root, monkeypatch):
    monkeypatch.setattr("holdfast.care.fsck.report.MOST_KEPT", 2)
    shutil.rmtree(root / "blobs")
    report = check_path(root)
    assert len(report.findings) == 2
    assert report.counts == {"folder-missing": 1, "blob-missing": 5}


def test_progress_is_told_and_can_stop_the_check(root):
    seen = []
    check_path(root, progress=lambda *step: seen.append(step))
    assert {step[3] for step in seen} >= {"bytes", "changes", "pages"}
    assert all(total is None or done <= total for done, total, _, _ in seen)

    def stop(*step):
        raise KeyboardInterrupt

    before = damage.tree(root)
    with pytest.raises(KeyboardInterrupt):
        check_path(root, progress=stop)
    assert damage.tree(root) == before


def test_every_remedy_names_what_to_do_and_every_command_in_it_exists():
    commands = {name for section in SECTIONS.values() for name in section}
    for kind in KINDS.values():
        assert kind.meaning.endswith(".")
        assert kind.remedy.endswith(".")
        for word in re.findall(r"`holdfast ([a-z]+)", kind.remedy):
            assert word in commands


def test_the_documented_table_is_the_table_of_the_program():
    page = Path(__file__).parents[2] / "docs" / "fsck.md"
    assert as_markdown() in page.read_text("utf-8")

"""What software that knows nothing of Holdfast says of our RO-Crates and OpenLineage events, at its strictest.

No warning is passed over. (`bagit` and `prov` are quick to load: their part is in test_standards.py.)
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rocrate.rocrate import ROCrate

import holdfast
from holdfast import Store

from .checkers import crate_issues, schema_errors
from .packages import ABOUT, fill


@pytest.fixture
def filled(store: Store) -> Store:
    """See `fill`."""
    return fill(store)


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Store]:
    with holdfast.create(tmp_path / "other", actor="Ben") as made:
        yield made


def test_the_validator_of_ro_crate_has_nothing_to_say(filled: Store, tmp_path: Path) -> None:
    filled.standards.export_ro_crate(tmp_path / "crate", **ABOUT)
    assert crate_issues(tmp_path / "crate", "process-run-crate") == []


def test_without_a_word_from_its_maker_a_crate_still_is_one(store: Store, tmp_path: Path) -> None:
    store.put("a.txt", "a")
    store.standards.export_ro_crate(tmp_path / "crate")
    issues = crate_issues(tmp_path / "crate", "ro-crate-1.1")
    said = ("`author`", "`publisher`")  # recommended, and nobody but the maker can say them
    assert [one for one in issues if not any(word in one for word in said)] == []
    assert len(issues) == 2


def test_events_are_what_the_published_schema_says(filled: Store, tmp_path: Path) -> None:
    filled.runs.create("later")
    report = filled.standards.export_openlineage(tmp_path / "e.jsonl", namespace="lab")
    events = [json.loads(line) for line in (tmp_path / "e.jsonl").read_text().splitlines()]
    assert (report.runs, report.events, report.pending) == (3, 6, 1)
    assert [one["eventType"] for one in events] == ["START", "COMPLETE", "START", "COMPLETE", "START", "FAIL"]
    assert [error for one in events for error in schema_errors(one)] == []
    assert [(one["name"], one["facets"]["version"]["datasetVersion"]) for one in events[1]["outputs"]] == [
        ("data/clean.csv", "1")
    ]
    assert events[5]["run"]["facets"]["errorMessage"]["message"].startswith("ZeroDivisionError")
    assert {one["job"]["namespace"] for one in events} == {"lab"}


def test_the_checker_of_events_would_find_something() -> None:
    assert schema_errors({"eventTime": "yesterday", "producer": "x"})


def test_other_software_reads_a_crate(filled: Store, tmp_path: Path) -> None:
    filled.standards.export_ro_crate(tmp_path / "crate", **ABOUT)
    found = ROCrate(str(tmp_path / "crate"))
    assert found.name == "Weather"
    raw = found.get("data/raw.csv")
    assert (raw.type, raw["encodingFormat"], raw["keywords"]) == ("File", "text/csv", ["raw", "x"])
    [action] = list(found.get_by_type("CreateAction"))
    assert (action["name"], action["result"]["@id"]) == ("clean", "data/clean.csv")


def test_a_crate_of_others_keeps_all_that_it_says(other: Store, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("1,2\n")
    made = ROCrate()
    made.name = "Theirs"
    made.add_file(
        str(tmp_path / "data.csv"), "sub/data.csv", properties={"encodingFormat": "text/csv", "about": "rain"}
    )
    made.add_file("https://example.org/big.bin")
    made.write(str(tmp_path / "crate"))
    report = other.standards.import_ro_crate(tmp_path / "crate", "got")
    assert [(one.path, one.code) for one in report.problems] == [("https://example.org/big.bin", "elsewhere")]
    found = other.get("got/sub/data.csv")
    assert (found.media_type, found.metadata["about"]) == ("text/csv", "rain")
    assert other.collections.get("got").metadata["name"] == "Theirs"
    assert json.loads(other.read("got/ro-crate-metadata.json"))["@graph"]

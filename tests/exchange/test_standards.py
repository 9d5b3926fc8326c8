"""BagIt, RO-Crate, W3C PROV, OpenLineage: what goes out, what comes back in, and what is refused.

See test_standards_checked.py for what others' validators say.
"""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bagit
import pytest
from prov.model import ProvDocument

import holdfast
from holdfast import Store, errors
from holdfast.errors import (
    DestinationDiffersError,
    ImportRefusedError,
    InvalidValueError,
    LockedError,
    MissingDependencyError,
    NameTakenError,
    NotFoundError,
)
from holdfast.exchange import package_export, package_import, parcel
from holdfast.values.records import Artifact

from .packages import ABOUT, fill


@pytest.fixture
def filled(store: Store) -> Store:
    """See `fill`."""
    return fill(store)


def everything(folder: Path) -> dict[str, bytes]:
    """Every file with its bytes, and every folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"a folder"
        for path in sorted(folder.rglob("*"))
    }


def told(one: Artifact) -> tuple[Any, ...]:
    """What must come back of an artifact."""
    revision = one.revision
    return (
        one.path_bytes, one.digest, one.media_type, json.dumps(one.metadata), one.tags, one.type, one.status, one.owner,
        revision.message, revision.file,
    )  # fmt: skip


def same(store: Store, other: Store, into: bytes = b"") -> None:
    """Each artifact and collection of one store is in the other one, below a collection."""
    wanted = [told(one) for one in store.artifacts.list(recursive=True)]
    found = [told(one) for one in other.artifacts.list(into, recursive=True)]
    assert sorted([(one[0].removeprefix(into + b"/" if into else b""), *one[1:]) for one in found]) == sorted(wanted)
    places = {one.path_bytes: (json.dumps(one.metadata), one.tags) for one in store.collections.list(recursive=True)}
    others = {
        one.path_bytes: (json.dumps(one.metadata), one.tags) for one in other.collections.list(into, recursive=True)
    }
    assert {path.removeprefix(into + b"/" if into else b""): said for path, said in others.items()} == places


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Store]:
    with holdfast.create(tmp_path / "other", actor="Ben") as made:
        yield made


# -- BagIt -------------------------------------------------------------------------------------------------------------


def test_bagit_finds_nothing_wrong_with_a_bag(filled: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    report = filled.standards.export_bagit(tmp_path / "bag", **ABOUT)
    assert (report.files, report.folders, report.runs, report.problems) == (10, 4, 3, [])
    with caplog.at_level(logging.WARNING):
        found = bagit.Bag(str(tmp_path / "bag"))
        assert found.validate()
    assert caplog.records == []
    assert found.info["External-Description"] == "Measured and cleaned."
    assert found.version_info == (1, 0)
    assert len(list(found.payload_files())) == report.files + 1


def test_a_bag_comes_in_again_as_it_was(filled: Store, other: Store, tmp_path: Path) -> None:
    filled.standards.export_bagit(tmp_path / "bag")
    report = other.standards.import_bag(tmp_path / "bag")
    assert (report.added, report.unchanged, report.problems) == (10, 0, [])
    same(filled, other)
    again = other.standards.import_bag(tmp_path / "bag")
    assert (again.added, again.unchanged) == (0, 10)
    assert other.fsck().findings == ()


def test_a_bag_of_others_is_taken_in_too(other: Store, tmp_path: Path) -> None:
    (tmp_path / "theirs" / "sub").mkdir(parents=True)
    (tmp_path / "theirs" / "a.txt").write_text("a")
    (tmp_path / "theirs" / "sub" / "100%.txt").write_text("b")
    bagit.make_bag(str(tmp_path / "theirs"), {"Contact-Name": "Ben"}, checksums=["md5", "sha512"])
    other.standards.import_bag(tmp_path / "theirs", "got")
    assert sorted(one.path for one in other.find()) == ["got/a.txt", "got/sub/100%.txt"]
    assert ["Contact-Name", "Ben"] in other.collections.get("got").metadata["bag-info"]


def test_a_name_may_have_come_by_another_unicode_form(other: Store, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "n\u00e4me").write_text("a")
    bagit.make_bag(str(tmp_path / "theirs"))
    os.rename(tmp_path / "theirs" / "data" / "n\u00e4me", tmp_path / "theirs" / "data" / "na\u0308me")
    other.standards.import_bag(tmp_path / "theirs")
    assert [one.path for one in other.find()] == ["na\u0308me"]


def test_the_same_state_gives_the_same_bytes(filled: Store, tmp_path: Path) -> None:
    for verb in ("export_bagit", "export_ro_crate"):
        export = getattr(filled.standards, verb)
        export(tmp_path / f"{verb}1", "data", **ABOUT)
        filled.gc(grace_s=0)
        filled.put("elsewhere", f"not in it {verb}")
        export(tmp_path / f"{verb}2", "data", **ABOUT)
        assert everything(tmp_path / f"{verb}1") == everything(tmp_path / f"{verb}2")


def test_an_old_state_can_be_packed(filled: Store, other: Store, tmp_path: Path) -> None:
    then = filled.changes.head().next_seq - 1
    filled.collections.delete("deep", contents="cascade")
    filled.put("data/raw.csv", "9")
    filled.standards.export_bagit(tmp_path / "bag", at=then)
    other.standards.import_bag(tmp_path / "bag")
    assert other.get("deep/large").size == 300_000
    assert other.read("data/raw.csv") == b"1,2,3\n"


def test_what_is_gone_is_named_and_the_rest_goes(filled: Store, tmp_path: Path) -> None:
    filled.artifacts.delete("data/RAW.csv")
    filled.artifacts.purge("id:" + next(filled.find(deleted=True)).id)
    filled.artifacts.undelete("data/RAW.csv")
    report = filled.standards.export_bagit(tmp_path / "bag")
    assert [(one.path, one.code) for one in report.problems] == [("data/RAW.csv", "gone")]
    assert bagit.Bag(str(tmp_path / "bag")).validate()


# -- hostile bags ------------------------------------------------------------------------------------------------------


def spoil_digest(bag: Path) -> None:
    (bag / "data" / "data" / "clean.csv").write_text("9;9\n")


def spoil_missing(bag: Path) -> None:
    (bag / "data" / "data" / "clean.csv").unlink()


def spoil_extra(bag: Path) -> None:
    (bag / "data" / "more").write_text("nobody speaks of me")


def spoil_traversal(bag: Path) -> None:
    with open(bag / "manifest-sha256.txt", "a") as file:
        file.write(f"{'0' * 64}  data/../../../etc/passwd\n")


def spoil_absolute(bag: Path) -> None:
    with open(bag / "manifest-sha256.txt", "a") as file:
        file.write(f"{'0' * 64}  /etc/passwd\n")


def spoil_link(bag: Path) -> None:
    (bag / "data" / "data" / "clean.csv").unlink()
    (bag / "data" / "data" / "clean.csv").symlink_to("/etc/passwd")


def spoil_linked_folder(bag: Path) -> None:
    shutil.move(bag / "data" / "deep", bag.parent / "moved")
    (bag / "data" / "deep").symlink_to(bag.parent / "moved")


def spoil_pipe(bag: Path) -> None:
    os.mkfifo(bag / "data" / "pipe")


def spoil_fetch(bag: Path) -> None:
    (bag / "fetch.txt").write_text("https://example.org/x - data/x\n")


def spoil_declaration(bag: Path) -> None:
    (bag / "bagit.txt").write_text("BagIt-Version: 7.0\nTag-File-Character-Encoding: UTF-8\n")


def spoil_no_bag(bag: Path) -> None:
    (bag / "bagit.txt").unlink()


def spoil_manifest(bag: Path) -> None:
    (bag / "manifest-sha256.txt").write_bytes(b"\xff\xfe not a manifest\n")


def spoil_no_manifest(bag: Path) -> None:
    (bag / "manifest-sha256.txt").unlink()


def spoil_tag(bag: Path) -> None:
    (bag / "bag-info.txt").write_text("Contact-Name: Mallory\n")


def spoil_oxum(bag: Path) -> None:
    text = (bag / "bag-info.txt").read_text()
    (bag / "bag-info.txt").write_text(text.replace("Payload-Oxum: ", "Payload-Oxum: 1"))


def spoil_document(bag: Path) -> None:
    (bag / "data" / "ro-crate-metadata.json").write_text('{"@graph": ' + "[" * 100_000)


BAD_BAGS = [one for name, one in sorted(globals().items()) if name.startswith("spoil_")]


@pytest.mark.parametrize("spoil", BAD_BAGS, ids=lambda one: one.__name__)
def test_a_bag_that_is_not_whole_is_refused_and_nothing_is_written(
    filled: Store, other: Store, tmp_path: Path, spoil: Any
) -> None:
    filled.standards.export_bagit(tmp_path / "bag")
    spoil(tmp_path / "bag")
    for dry_run in (True, False):
        with pytest.raises(ImportRefusedError) as caught:
            other.standards.import_bag(tmp_path / "bag", "in", dry_run=dry_run)
        assert caught.value.fields["problems"]
    assert other.changes.head().next_seq == 1
    assert os.listdir(tmp_path / "other" / "tmp") == []


def test_what_is_there_and_differs_is_not_overwritten(filled: Store, other: Store, tmp_path: Path) -> None:
    filled.standards.export_bagit(tmp_path / "bag", "data")
    other.put("clean.csv", "mine")
    head = other.changes.head()
    with pytest.raises(NameTakenError, match=r"clean\.csv"):
        other.standards.import_bag(tmp_path / "bag")
    assert other.changes.head() == head
    other.standards.import_bag(tmp_path / "bag", "beside")
    assert other.read("clean.csv") == b"mine"


# -- RO-Crate ----------------------------------------------------------------------------------------------------------


def test_the_payload_of_a_bag_is_a_crate(filled: Store, tmp_path: Path) -> None:
    filled.standards.export_bagit(tmp_path / "bag", **ABOUT)
    filled.standards.export_ro_crate(tmp_path / "crate", **ABOUT)
    assert everything(tmp_path / "bag" / "data") == everything(tmp_path / "crate")


def test_a_crate_comes_in_again_as_it_was(filled: Store, other: Store, tmp_path: Path) -> None:
    filled.standards.export_ro_crate(tmp_path / "crate")
    assert other.standards.import_ro_crate(tmp_path / "crate", "into/here").added == 10
    same(filled, other, b"into/here")


def crate_with(folder: Path, *entities: dict[str, Any], version: str = "1.1") -> Path:
    """A crate of one file, and what is said besides."""
    folder.mkdir()
    (folder / "a.txt").write_text("a")
    graph = [
        {"@id": "ro-crate-metadata.json", "@type": "CreativeWork", "about": {"@id": "./"},
         "conformsTo": {"@id": f"https://w3id.org/ro/crate/{version}"}},
        {"@id": "./", "@type": "Dataset", "hasPart": [{"@id": "a.txt"}]}, *entities,
    ]  # fmt: skip
    (folder / "ro-crate-metadata.json").write_text(json.dumps({"@context": "x", "@graph": graph}))
    return folder


@pytest.mark.parametrize(
    "entity",
    [
        {"@id": "../a.txt", "@type": "File"},
        {"@id": "/etc/passwd", "@type": "File"},
        {"@id": "file:///etc/passwd", "@type": "File"},
        {"@id": "x/%2e%2e/%2e%2e/a", "@type": ["File", "Image"]},
        {"@id": "absent.txt", "@type": "File"},
        {"@id": "a.txt", "@type": "File", "sha256": "0" * 64},
        {"@id": "a.txt", "@type": "File", "sha256": "short"},
        {"@id": "./", "@type": "Dataset"},
        {"@type": "File"},
        {"@id": 7},
    ],
    ids=str,
)
def test_a_crate_that_lies_is_refused(other: Store, tmp_path: Path, entity: dict[str, Any]) -> None:
    crate = crate_with(tmp_path / "crate", entity)
    with pytest.raises(ImportRefusedError):
        other.standards.import_ro_crate(crate)
    assert other.changes.head().next_seq == 1


@pytest.mark.parametrize("version", ["2.0", "0.2", "1"])
def test_a_version_that_is_not_known_is_refused(other: Store, tmp_path: Path, version: str) -> None:
    with pytest.raises(ImportRefusedError, match="version"):
        other.standards.import_ro_crate(crate_with(tmp_path / "crate", version=version))


def test_a_crate_cannot_give_a_file_a_name_that_leads_elsewhere(other: Store, tmp_path: Path) -> None:
    own = [
        {"@id": "#p", "@type": "PropertyValue", "propertyID": "holdfast", "name": "package", "value": "1",
         "encodingFormat": "application/json"},
        {"@id": "#n", "@type": "PropertyValue", "propertyID": "holdfast", "name": "name_hex", "value": "2e2e2f78"},
        {"@id": "a.txt", "@type": "File", "contentSize": "1", "additionalProperty": {"@id": "#n"}},
    ]  # fmt: skip
    crate = crate_with(tmp_path / "crate", *own)
    document = json.loads((crate / "ro-crate-metadata.json").read_text())
    document["@graph"][1]["additionalProperty"] = {"@id": "#p"}
    (crate / "ro-crate-metadata.json").write_text(json.dumps(document))
    other.standards.import_ro_crate(crate)
    assert [one.path for one in other.find()] == ["a.txt"]


def test_a_file_that_changes_after_it_was_proven_undoes_it_all(
    other: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crate = crate_with(tmp_path / "crate")
    real = package_import._Taking._take

    def meanwhile(*arguments: Any) -> None:
        (crate / "a.txt").write_text("b")
        real(*arguments)

    monkeypatch.setattr(package_import._Taking, "_take", meanwhile)
    with pytest.raises(errors.SourceChangedError):
        other.standards.import_ro_crate(crate, "in")
    assert other.changes.head().next_seq == 1


# -- destinations ------------------------------------------------------------------------------------------------------


def test_what_is_at_the_destination_stays(filled: Store, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    standards = filled.standards
    for export in (
        standards.export_bagit,
        standards.export_ro_crate,
        standards.export_prov,
        standards.export_openlineage,
    ):
        with pytest.raises(DestinationDiffersError):
            export(tmp_path / "mine")
    assert everything(tmp_path / "mine") == {"file": b"mine"}
    with pytest.raises(InvalidValueError, match="in the store"):
        standards.export_bagit(Path(filled.path) / "bag")
    with pytest.raises(NotFoundError):
        standards.export_bagit(tmp_path / "bag", "no/such")
    assert not (tmp_path / "bag").exists()


def test_a_package_that_fails_leaves_nothing(filled: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(package_export._Packing, "_root", fail)
    with pytest.raises(errors.NoSpaceError):
        filled.standards.export_bagit(tmp_path / "there" / "bag")
    assert os.listdir(tmp_path / "there") == []


def test_what_a_killed_export_left_goes_and_one_that_is_under_way_is_not_disturbed(
    filled: Store, tmp_path: Path
) -> None:
    left = tmp_path / f".bag{parcel.SUFFIX}"
    (left / "data").mkdir(parents=True)
    (left / "data" / "half").write_text("ha")
    with parcel.new_folder(filled._handle, tmp_path / "bag"), pytest.raises(LockedError):
        filled.standards.export_bagit(tmp_path / "bag")
    shutil.rmtree(tmp_path / "bag")
    filled.standards.export_bagit(tmp_path / "bag")
    assert sorted(os.listdir(tmp_path)) == ["bag", "store"]
    assert not (tmp_path / "bag" / "data" / "half").exists()


def test_an_empty_store_can_be_packed(store: Store, tmp_path: Path) -> None:
    assert store.standards.export_bagit(tmp_path / "bag").files == 0
    assert bagit.Bag(str(tmp_path / "bag")).validate()


def test_a_word_that_no_package_knows_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="colour"):
        store.standards.export_bagit(tmp_path / "bag", colour="red")


# -- PROV --------------------------------------------------------------------------------------------------------------


def prov(path: Path) -> ProvDocument:
    """A document, as other software reads it."""
    return ProvDocument.deserialize(io.StringIO(path.read_text("utf-8")), format="json")


def test_lineage_is_read_as_prov(filled: Store, tmp_path: Path) -> None:
    report = filled.standards.export_prov(tmp_path / "p.json")
    found = prov(tmp_path / "p.json")
    data = json.loads((tmp_path / "p.json").read_text())
    assert len(found.get_records()) == report.entities + report.activities + report.agents + report.relations
    assert prov(tmp_path / "p.json") == found
    assert len(data["activity"]) == 3
    raw, clean = filled.get("data/raw.csv"), filled.get("data/clean.csv")
    run = next(filled.runs.find(name="clean"))
    made = [(one["prov:entity"], one["prov:activity"]) for one in data["wasGeneratedBy"].values()]
    assert (f"holdfast:revision-{clean.id}-1", f"holdfast:run-{run.id}") in made
    derived = [(one["prov:generatedEntity"], one["prov:usedEntity"]) for one in data["wasDerivedFrom"].values()]
    assert (f"holdfast:revision-{clean.id}-1", f"holdfast:revision-{raw.id}-2") in derived
    assert (f"holdfast:revision-{raw.id}-2", f"holdfast:revision-{raw.id}-1") in derived
    assert len(data["wasInfluencedBy"]) == 1


def test_what_prov_demands_of_events_holds(filled: Store, tmp_path: Path) -> None:
    """PROV-CONSTRAINTS: one generation for an entity; nothing came of itself; ends that are spoken of are there."""
    filled.standards.export_prov(tmp_path / "p.json")
    data = json.loads((tmp_path / "p.json").read_text())
    known = {*data["entity"], *data["activity"], *data["agent"]}
    assert len(known) == len(data["entity"]) + len(data["activity"]) + len(data["agent"])
    generated = [one["prov:entity"] for one in data["wasGeneratedBy"].values()]
    assert len(generated) == len(set(generated))
    onward: dict[str, set[str]] = {}
    for relation in ("wasDerivedFrom", "specializationOf", "wasInfluencedBy", "used", "wasGeneratedBy"):
        for one in data[relation].values():
            ends = [value for key, value in sorted(one.items()) if isinstance(value, str) and value in known]
            assert len(ends) == 2, one
    for one in data["wasDerivedFrom"].values():
        onward.setdefault(one["prov:generatedEntity"], set()).add(one["prov:usedEntity"])
    for start, first in onward.items():
        seen, waiting = set(), [*first]
        while waiting:
            here = waiting.pop()
            assert here != start
            if here not in seen:
                seen.add(here)
                waiting += onward.get(here, ())


def test_of_one_artifact_goes_what_it_came_from_and_what_came_of_it(filled: Store, tmp_path: Path) -> None:
    filled.standards.export_prov(tmp_path / "p.json", "data/clean.csv")
    labels = {one["prov:label"] for one in json.loads((tmp_path / "p.json").read_text())["entity"].values()}
    assert {"data/clean.csv@1", "data/raw.csv@1", "data/raw.csv@2"} <= labels
    assert "deep/large@1" not in labels
    with pytest.raises(InvalidValueError, match="more than 3"):
        filled.standards.export_prov(tmp_path / "q.json", limit=3)
    assert not (tmp_path / "q.json").exists()


# -- OpenLineage -------------------------------------------------------------------------------------------------------


def test_prov_and_events_are_the_same_bytes_again(filled: Store, tmp_path: Path) -> None:
    for verb in ("export_prov", "export_openlineage"):
        for n in (1, 2):
            getattr(filled.standards, verb)(tmp_path / f"{verb}{n}")
        assert (tmp_path / f"{verb}1").read_bytes() == (tmp_path / f"{verb}2").read_bytes()


def test_a_library_that_is_not_there_is_named(filled: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "prov.model", None)
    with pytest.raises(MissingDependencyError, match=r"prov") as caught:
        filled.standards.export_prov(tmp_path / "p.json")
    assert "holdfast[standards]" in caught.value.remedy

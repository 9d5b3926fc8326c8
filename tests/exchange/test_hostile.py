"""Every form that comes in, and every attack: refused, named, nothing changed.

What other tests hold is said here, not repeated: T is test_tree (HARM, HOSTILE), S test_snapshot (HOSTILE), B and C
test_standards for bags and crates, G test_git_import; "here" is this module.

| attack | tree | snapshot | bag | crate | git |
|---|---|---|---|---|---|
| a path that leads out | T | S | B, here | C | G; git itself refuses |
| an absolute path | T: no name has a slash | S | B, here | C | as above |
| a link, a device, a pipe | T | S | B | here | a link is a content |
| a wrong digest | T | S | B, here | C, here | ids are git's |
| an unknown version | T | S | B | C | G: the object format |
| ids or names twice | T | S | here | here | not in a tree of git |
| names that differ by case | two artifacts: T | as T | here | as bag | two artifacts |
| cut off | T | S | B | here | G |
| a bomb: size, count, depth | here | S | B, here | here | G |
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import Store
from holdfast.errors import ImportRefusedError
from holdfast.exchange import tree_import

CONTENT = b"a"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Store]:
    """A store with something in it, that nothing may change."""
    with holdfast.create(tmp_path / "other") as made:
        made.put("mine", "mine")
        yield made


# -- bags --------------------------------------------------------------------------------------------------------------


def bag(folder: Path, *lines: str, **more: bytes) -> Path:
    """A bag of one file, with more lines in its manifest, and more files."""
    (folder / "data").mkdir(parents=True)
    (folder / "bagit.txt").write_text("BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n")
    (folder / "data/a.txt").write_bytes(CONTENT)
    listed = "".join(f"{line}\n" for line in (f"{DIGEST}  data/a.txt", *lines))
    (folder / "manifest-sha256.txt").write_text(listed)
    for name, data in more.items():
        (folder / name.replace("__", "/").replace("_txt", ".txt").replace("_", "-")).write_bytes(data)
    return folder


BAGS: dict[str, Callable[[Path], Path]] = {
    "escaped line ends that lead out": lambda top: bag(top, f"{DIGEST}  data/%0A/../../x"),
    "a path beside the payload": lambda top: bag(top, f"{DIGEST}  bagit.txt"),
    "a path by a back-slash": lambda top: bag(top, f"{DIGEST}  data\\a.txt"),
    "a home folder": lambda top: bag(top, f"{DIGEST}  ~/a.txt"),
    "a file with two digests": lambda top: bag(top, f"{'0' * 64}  data/a.txt"),
    "a digest that is none": lambda top: bag(top, "xyz  data/b.txt"),
    "a second manifest that says otherwise": lambda top: bag(
        top, manifest_sha512_txt=b"0" * 128 + b"  data/a.txt\n"
    ),
    "a manifest of an algorithm that nobody knows": lambda top: _renamed(
        bag(top), "manifest-sha256.txt", "manifest-rot13.txt"
    ),
    "an encoding that nobody knows": lambda top: _written(
        bag(top), "bagit.txt", b"BagIt-Version: 1.0\nTag-File-Character-Encoding: EBCDIC\n"
    ),
    "a size of nonsense": lambda top: _written(bag(top), "bag-info.txt", b"Payload-Oxum: many.1\n"),
    "one line without an end": lambda top: _written(bag(top), "manifest-sha256.txt", b"0" * (8 << 20)),
}  # fmt: skip


def _renamed(top: Path, old: str, new: str) -> Path:
    (top / old).rename(top / new)
    return top


def _written(top: Path, name: str, data: bytes) -> Path:
    (top / name).write_bytes(data)
    return top


@pytest.mark.parametrize("what", BAGS)
def test_a_hostile_bag_is_refused(other: Store, tmp_path: Path, what: str) -> None:
    head = other.changes.head()
    with pytest.raises(ImportRefusedError) as caught:
        other.standards.import_bag(BAGS[what](tmp_path / "bag"), "in")
    assert caught.value.fields["problems"]
    assert other.changes.head() == head


def test_names_that_differ_by_case_only_are_two_artifacts(other: Store, tmp_path: Path) -> None:
    top = bag(tmp_path / "bag", f"{DIGEST}  data/A.TXT")
    (top / "data/A.TXT").write_bytes(CONTENT)
    other.standards.import_bag(top, "in")
    assert sorted(one.path for one in other.find(under="in")) == ["in/A.TXT", "in/a.txt"]


# -- crates ------------------------------------------------------------------------------------------------------------


def crate(folder: Path, *entities: Any, graph: Any = None) -> Path:
    """A crate of one file, and what is said besides."""
    folder.mkdir()
    (folder / "a.txt").write_bytes(CONTENT)
    said = [
        {"@id": "ro-crate-metadata.json", "@type": "CreativeWork", "about": {"@id": "./"},
         "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"}},
        {"@id": "./", "@type": "Dataset", "hasPart": [{"@id": "a.txt"}]}, *entities,
    ]  # fmt: skip
    document = {"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": said if graph is None else graph}
    (folder / "ro-crate-metadata.json").write_text(json.dumps(document))
    return folder


def _linked(top: Path) -> Path:
    (top / "a.txt").unlink()
    (top / "a.txt").symlink_to("/etc/passwd")
    return top


def _linked_folder(top: Path) -> Path:
    (top.parent / "elsewhere").mkdir()
    (top.parent / "elsewhere/x").write_text("x")
    (top / "d").symlink_to(top.parent / "elsewhere")
    return top


def _pipe(top: Path) -> Path:
    (top / "a.txt").unlink()
    os.mkfifo(top / "a.txt")
    return top


def _cut(top: Path) -> Path:
    path = top / "ro-crate-metadata.json"
    path.write_bytes(path.read_bytes()[:-9])
    return top


FILE = {"@id": "a.txt", "@type": "File"}
CRATES: dict[str, Callable[[Path], Path]] = {
    "a link for a file": lambda top: _linked(crate(top, FILE)),
    "a link for a folder": lambda top: _linked_folder(crate(top, {"@id": "d/x", "@type": "File"})),
    "a pipe for a file": lambda top: _pipe(crate(top, FILE)),
    "a document that is a link": lambda top: _renamed(crate(top, FILE), "ro-crate-metadata.json", "m") and (
        (top / "ro-crate-metadata.json").symlink_to("m") or top
    ),
    "cut off": lambda top: _cut(crate(top, FILE)),
    "no graph": lambda top: crate(top, graph={}),
    "a graph of numbers": lambda top: crate(top, graph=[1, 2]),
    "a file twice": lambda top: crate(top, FILE, {**FILE, "name": "another"}),
    "one file by two names": lambda top: crate(top, FILE, {"@id": "./a.txt", "@type": "File", "sha256": "0" * 64}),
    "depth": lambda top: _written(crate(top), "ro-crate-metadata.json", b'{"@graph":' + b"[" * 200_000),
    "a document without an end": lambda top: _written(crate(top), "ro-crate-metadata.json", b" " * (8 << 20)),
}  # fmt: skip


@pytest.mark.parametrize("what", CRATES)
def test_a_hostile_crate_is_refused(other: Store, tmp_path: Path, what: str) -> None:
    head = other.changes.head()
    with pytest.raises(ImportRefusedError) as caught:
        other.standards.import_ro_crate(CRATES[what](tmp_path / "crate"), "in")
    assert caught.value.fields["problems"]
    assert other.changes.head() == head


# -- trees -------------------------------------------------------------------------------------------------------------


FIRST = "0000000000000001.jsonl"


def _endless(top: Path, name: str) -> None:
    with open(top / name, "r+b") as file:
        file.truncate(1 << 40)


@pytest.mark.parametrize(
    "name", ["FORMAT", "changes/0000000000000001.jsonl", "records/artifacts/0000000000000001.jsonl"]
)
@pytest.mark.parametrize("into", ["new", "other"])
def test_a_file_of_a_tree_that_claims_a_terabyte_is_refused(
    store: Store, other: Store, tmp_path: Path, name: str, into: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree_import, "MOST_LINE_BYTES", 8 << 20)
    store.put("a", "one")
    store.export_tree(tmp_path / "tree")
    _endless(tmp_path / "tree", name)
    head = other.changes.head()
    with pytest.raises(ImportRefusedError):
        holdfast.import_store(tmp_path / into, tmp_path / "tree")
    assert other.changes.head() == head
    assert not (tmp_path / "new").exists()

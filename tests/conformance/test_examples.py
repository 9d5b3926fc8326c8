"""The examples of docs/backends.md keep the contracts, and use nothing but what the page says is theirs to use."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import holdfast
from holdfast import Store
from holdfast.testing.conformance import BlobStoreConformance, IndexConformance, KeeperConformance
from holdfast.values import digest as digests

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
ALLOWED = {
    "holdfast.blobs.contract", "holdfast.blobs.sources", "holdfast.errors", "holdfast.index.keeper", "holdfast.values",
    "holdfast.testing.conformance",
}  # fmt: skip


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


bucket_blobs, table_keeper = example("bucket_blobs"), example("table_keeper")


class TestBucketBlobs(BlobStoreConformance):
    def make_store(self, tmp_path: Path) -> Any:
        return bucket_blobs.BucketBlobs(bucket_blobs.FolderBucket(tmp_path))

    def damage(self, place: Path, digest: str) -> None:
        part = place / digests.raw(digest).hex() / "00000001"
        part.write_bytes(part.read_bytes()[:-1] + b"?")


class TestTableKeeper(KeeperConformance):
    def open_keeper(self, place: Path) -> Any:
        return table_keeper.TableKeeper(place / "rows.db")


class TestAnIndexInATable(IndexConformance):
    def open_index(self, place: Path) -> Any:
        return table_keeper.TableKeeper(place / "rows.db")

    def open_store(self, place: Path) -> Store:
        """Both examples together, under a store in a folder."""
        bucket = bucket_blobs.BucketBlobs(bucket_blobs.FolderBucket(place / "bucket"))
        return holdfast.open(place / "store", blobs=bucket, index=self.open_index(place), create=True)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_imports_only_what_is_for_others(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    assert {one for one in modules if one.startswith("holdfast")} <= ALLOWED


def test_the_plugin_says_which_sentences_were_shown(tmp_path: Path) -> None:
    test = tmp_path / "test_mine.py"
    test.write_text(
        "from holdfast.blobs import MemoryBlobs\n"
        "from holdfast.testing.conformance import EVERYTHING, BlobStoreConformance, Capability\n"
        "class Broken(MemoryBlobs):\n"
        "    def delete(self, digest):\n"
        "        return super().delete(digest) or True\n"
        "class TestMine(BlobStoreConformance):\n"
        "    capabilities = EVERYTHING - {Capability.DURABLE, Capability.DAMAGED}\n"
        "    def make_store(self, tmp_path):\n"
        "        return Broken()\n"
    )
    words = ["-p", "no:cacheprovider", "--holdfast-sentences", "-k", "b6 or b7 or b3"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, str(test)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    said = {line.split()[0]: line.split(None, 1)[1] for line in done.stdout.splitlines() if line.startswith("B-")}
    assert said == {"B-3": "shown", "B-4": "not claimed", "B-6": "broken", "B-7": "shown"}, done.stdout + done.stderr
    assert "assert True is False" in done.stdout  # values are shown, though the test is not in the user's own file


def test_a_store_stands_on_rows_that_somebody_else_keeps(tmp_path: Path) -> None:
    """As docs/backends.md shows it."""
    rows = tmp_path / "rows.db"
    with holdfast.memory(index=table_keeper.TableKeeper(rows)) as mine:
        mine.put("notes/today.md", "rows of this lie in one table")
        assert mine.fsck().findings == ()
        assert mine.audit.verify().proven
        with mine.at(0) as view:
            assert list(view.find()) == []
        copied = mine.copy(tmp_path / "kept")
    with holdfast.open(tmp_path / "kept") as kept:
        assert (kept.audit.head(), kept.fsck().findings) == (copied.head, ())
    assert any(key.startswith(b"artifact") for key, _ in table_keeper.TableKeeper(rows).read(0).items)

"""What a command does not import: whoever looks at one record must not wait for what writes, searches or repairs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import holdfast

HEAVY = {
    "asyncio", "concurrent.futures", "icontract", "logging", "peewee", "psycopg", "pyfastcdc", "pathlib", "rich",
    "tempfile", "urllib",
}  # fmt: skip
WRITES = {
    "holdfast.engine.content", "holdfast.engine.derive", "holdfast.engine.pending", "holdfast.engine.recover",
    "holdfast.engine.transaction", "holdfast.index.execute", "holdfast.index.models", "holdfast.index.physical",
}  # fmt: skip
ROOMS = {"holdfast.blobs", "holdfast.care", "holdfast.exchange", "holdfast.search", "holdfast.serializers"}
ASKS = {"holdfast.index.select.finding", "holdfast.index.select.whole", "holdfast.index.select.runs"}
UNASKED = {
    "decimal", "difflib", "fnmatch", "getpass", "holdfast.formats.generation", "holdfast.formats.pack",
    "holdfast.index.select.contents", "holdfast.kinds.paging", "holdfast.values.fields", "holdfast.values.newcomers",
    "holdfast.values.vocabulary",
}  # fmt: skip
"""What only numbers of very many digits, near misses, globs, backups, contents, pages and types need."""
STORE = {"holdfast.engine", "holdfast.kinds", "holdfast.store", "sqlite3", "zstandard"}

RUN = """
import sys
before = set(sys.modules)  # what an installation, such as an editable one, imports for every program
from holdfast.cli.main import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print(" ".join(set(sys.modules) - before), file=sys.stderr)
"""


def imported(*words: str) -> set[str]:
    """The modules that a command has imported when it ends."""
    done = subprocess.run([sys.executable, "-c", RUN, *words], capture_output=True, text=True, check=True)
    return set(done.stderr.splitlines()[-1].split())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with holdfast.create(tmp_path / "store") as store:
        store.put("notes/a.txt", b"text", tags=["one"])
    return tmp_path / "store"


def test_help_opens_no_store_and_imports_nothing_of_one() -> None:
    assert imported("--help") & (HEAVY | WRITES | ROOMS | ASKS | STORE) == set()


def test_show_imports_what_reads_one_record_and_nothing_that_writes_or_reads_contents(folder: Path) -> None:
    assert imported("-C", str(folder), "show", "notes/a.txt") & (HEAVY | WRITES | ROOMS | ASKS | UNASKED) == set()


def test_a_listing_imports_what_asks_and_nothing_that_writes_or_reads_contents(folder: Path) -> None:
    found = imported("-C", str(folder), "find", "--tag", "one")

    assert "holdfast.index.select.finding" in found
    assert found & (HEAVY | WRITES | ROOMS) == set()


def test_adding_a_file_a_first_time_and_again_composes_without_peewee(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "b.txt"
    for text in ("one", "two"):
        file.write_text(text)
        found = imported("-C", str(folder), "add", str(file))
        assert "holdfast.index.execute" in found
        assert found & {"peewee", "holdfast.index.models", "decimal", "mimetypes", "asyncio"} == set()


END = """
import gc
from holdfast.__main__ import main
try:
    main()
except SystemExit as end:
    assert not end.code and gc.isenabled() and gc.get_freeze_count() > 10_000, gc.get_freeze_count()
"""


def test_what_a_command_has_loaded_is_not_looked_through_for_garbage_when_it_ends() -> None:
    subprocess.run([sys.executable, "-c", END, "--help"], capture_output=True, check=True)


@pytest.mark.parametrize("said", [["-C", "{}"], ["-C{}"], ["--store", "{}"], ["--store={}"]])
def test_the_store_is_named_in_every_way_that_click_knows(said: list[str], folder: Path) -> None:
    words = [one.format(folder) for one in said]
    assert "holdfast.store" in imported(*words, "show", "notes/a.txt")


def test_an_add_that_finds_nothing_new_imports_nothing_that_reads_files_or_takes_text_in(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tree" / "below").mkdir(parents=True)  # folders alone: files as young as these would be read again
    monkeypatch.chdir(tmp_path / "tree")
    reads = {"holdfast.exchange.reading", "holdfast.engine.cutting"}
    first = imported("-C", str(folder), "add", ".")
    assert first >= reads
    again = imported("-C", str(folder), "add", ".")
    assert again & {*reads, "holdfast.engine.following", "holdfast.search"} == set()

"""Every procedure is carried out word by word, by a shell and the real command, on a store in just that trouble."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import holdfast
from holdfast import errors
from holdfast.care.fsck import KINDS, check_path
from holdfast.cli.exits import Exit
from holdfast.testing.asking import readable

from ..docs import pages  # noqa: TID252 - the one reader of documents
from . import scenes
from .scenes import Readable, Scene

FOLDER = pages.ROOT / "docs" / "procedures"
PRACTISE = "Practise on a copy"
_HEADING = re.compile(r"^## +(.*?)\s*$")
_EXIT = re.compile(r"^(?P<command>.*?)\s+# exit code (?P<code>\d+)\b.*$")
TIMEOUT_S = 120


@dataclass(frozen=True)
class Expected:
    """How a page ends. `lost`: what fsck names; `plant`: trouble that no command of the page makes; `ends`: which store
    is the one to go on with; `without`: revisions whose names are gone, though their contents are not; `says`: what the
    commands print; `has`: what can be read at the end besides."""

    lost: tuple[str, ...] = ()
    plant: Callable[[Scene], None] | None = None
    ends: str = "store"
    without: tuple[str, ...] = ()
    says: str = ""
    has: tuple[str, ...] = ()


WHOLE = Expected()
ERASED = "redaction-interrupted"
REPORT = ("docs/report.txt@2",)
ALL = ("docs/report.txt@1", "docs/report.txt@2", "docs/plan.md@1", "docs/copy of the plan.md@1", "big.bin@1",
       "gone.txt@1", "docs/later.txt@1")  # fmt: skip
BACKUP, NEITHER, NO_COPY = "If you have a backup", "If you have neither", "If there is no copy anywhere"
ORIGINALS = "If you have the original files"
PAGES: dict[tuple[str, str], Expected] = {
    ("README", ""): Expected(),
    ("index-lost", ""): WHOLE,
    ("index-damaged", ""): WHOLE,
    ("index-older", ""): WHOLE,
    ("journal-lost", ""): WHOLE,
    ("journal-damaged", ""): WHOLE,
    ("torn-tail", ""): WHOLE,
    ("pack-damaged", ""): WHOLE,
    ("history-hole", "If you have a backup or another copy of this store"): Expected(),
    ("history-hole", NO_COPY): Expected(without=ALL),
    ("only-blobs-left", "If you have a backup or another copy of this store"): Expected(without=("docs/later.txt@1",)),
    ("only-blobs-left", NO_COPY): Expected(without=ALL),
    ("marker", ""): WHOLE,
    ("marker-and-index", ""): WHOLE,
    ("blob-damaged", "If you have a backup, or another store with the same content"): WHOLE,
    ("blob-damaged", "If you have the original files, under whatever name"): WHOLE,
    ("blob-damaged", NEITHER): Expected(lost=REPORT),
    ("blobs-gone", "If you have a backup, or another store with the same contents"): WHOLE,
    ("blobs-gone", ORIGINALS): Expected(lost=("docs/report.txt@1", "gone.txt@1")),
    ("blobs-gone", NEITHER): Expected(lost=ALL),
    ("strangers", ""): WHOLE,
    ("copied-in-use", ""): Expected(ends="store.copy"),
    ("forked", ""): Expected(has=("ours.txt@1", "theirs.txt@1")),
    ("disk-full", ""): Expected(plant=scenes.no_space),
    ("store-lost", ""): Expected(plant=scenes.backed_up, without=("docs/later.txt@1",), has=("later.txt@1",)),
    ("failing-disk", ""): Expected(ends="rescued", without=()),
    ("read-only", ""): Expected(plant=scenes.on_read_only, ends="medium.writable"),
    ("lock-stuck", ""): Expected(plant=scenes.locked),
    ("permissions", ""): WHOLE,
    ("network", ""): Expected(ends="store.local"),
    ("search-damaged", ""): Expected(says="docs/report.txt"),
    ("redaction-interrupted", ""): Expected(plant=scenes.redaction_killed, without=("docs/plan.md@1",)),
    ("clock-jumped", ""): Expected(plant=scenes.clock_was_ahead),
    ("too-new", ""): WHOLE,
    ("power-loss", ""): WHOLE,
    ("given-up", ""): WHOLE,
    ("not-explained", ""): WHOLE,
}
"""Every way through every page: its name, the heading of the case ("" if it has none), and how it ends."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenes.make(tmp_path_factory.mktemp("procedures"))


@pytest.fixture
def scene(made: Path, tmp_path: Path) -> Iterator[Scene]:
    made_here = scenes.fresh(made, tmp_path / "here")
    with scenes.ended(made_here):
        yield made_here


def sections(page: Path) -> dict[str, list[pages.Block]]:
    """The blocks of a page by the heading above them, in order."""
    lines = page.read_text(encoding="utf-8").splitlines()
    found: dict[str, list[pages.Block]] = {"": []}
    for block in pages.blocks(page):
        above = [m[1] for line in lines[: block.line - 1] if (m := _HEADING.match(line))]
        if block.excuse is None and block.language == "sh":
            found.setdefault(above[-1] if above else "", []).append(block)
    return found


def cases(page: Path) -> list[str]:
    """The headings of the ways through a page; [""] if there is one only."""
    lines = page.read_text(encoding="utf-8").splitlines()
    return [m[1] for line in lines if (m := _HEADING.match(line)) and m[1].startswith("If ")] or [""]


def script(page: Path, case: str) -> str:
    """The commands of one way, as they are typed: first the damage, then all but the other cases."""
    found = sections(page)
    chosen = [name for name in found if name != PRACTISE and (not name.startswith("If ") or name == case)]
    parts = [block for name in [PRACTISE, *chosen] for block in found.get(name, [])]
    return "\n".join(f"echo '--- {page.name}:{block.line}'\n{_with_exits(block.code)}" for block in parts)


def _with_exits(code: str) -> str:
    """A command whose comment names an exit code has to end with it; every other one with 0."""
    lines = []
    for line in code.splitlines():
        match = _EXIT.match(line)
        expects = 'code=0; {0} || code=$?; echo "exit code $code"; test $code = {1}'
        lines.append(expects.format(match["command"], match["code"]) if match else line)
    return "\n".join(lines)


def carry_out(scene: Scene, page: Path, case: str) -> str:
    """Run it; the output. The command is the one of this interpreter, whether or not the project is installed."""
    program = scene.folder / "bin" / "holdfast"
    program.parent.mkdir()
    source = Path(holdfast.__file__).resolve().parents[1]
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{source}" exec "{sys.executable}" -m holdfast "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "HOLDFAST_ACTOR": "ada", **scene.names}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script(page, case)], cwd=scene.folder, env=environment,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{page.name} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def expected_of(scene: Scene, expected: Expected) -> Readable:
    return {name: data for name, data in scene.truth.items() if name not in {*expected.lost, *expected.without}}


@pytest.mark.parametrize(("name", "case"), PAGES, ids=lambda part: str(part)[:30])
def test_a_procedure_carried_out_word_by_word_ends_as_it_says(scene: Scene, name: str, case: str) -> None:
    expected = PAGES[name, case]
    if expected.plant is not None:
        expected.plant(scene)
    said = carry_out(scene, FOLDER / f"{name}.md", case)
    root = scene.folder / expected.ends
    report = check_path(str(root))
    assert report.exit_code == (4 if expected.lost else 0), said + str([f.as_dict() for f in report.findings])
    named = [one for f in report.findings if f.code == "blob-missing" for one in f.fields["revisions"]]
    assert sorted(named) == sorted(expected.lost)
    now = readable(root)
    for revision, data in expected_of(scene, expected).items():
        assert now.get(revision) == data, f"{revision} is not as it was"
    kept = {data for revision, data in scene.truth.items() if revision not in expected.lost and name != ERASED}
    assert kept <= set(now.values()), "a content is nowhere any more"
    assert set(expected.has) <= now.keys()
    assert expected.says in said
    with holdfast.open(root) as store:
        assert store.put("after/the procedure", "usable").artifact.number == 1


# -- nothing is left out -----------------------------------------------------------------------------------------------


def test_every_way_through_every_page_is_carried_out() -> None:
    there = {(page.stem, case) for page in FOLDER.glob("*.md") for case in cases(page)}
    assert there == set(PAGES)


def test_every_page_says_what_is_seen_what_is_at_risk_when_it_is_well_and_what_may_be_lost() -> None:
    for page in FOLDER.glob("*.md"):
        if page.stem != "README":
            text = page.read_text(encoding="utf-8")
            for part in ("**You see:**", "**At risk:**", "Well again", "**May be lost:**"):
                assert part in text, f"{page.name} lacks {part}"
            assert len(text.splitlines()) < 90, f"{page.name} is too long for somebody in a hurry"


def linked(heading: str) -> dict[str, str]:
    """The codes of one table of the README, and what leads on from each."""
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    (part,) = [part for part in text.split("\n## ") if part.startswith(heading)]
    found = {}
    for line in part.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        for code in re.findall(r"`([a-z-]+)`|^(\d+)$", cells[0]):
            found[code[0] or code[1]] = cells[1]
    return found


def test_every_finding_of_fsck_leads_to_a_page() -> None:
    table = linked("By finding")
    assert set(table) == set(KINDS)
    assert all(".md)" in pages for pages in table.values())


def test_every_finding_is_named_on_the_page_that_it_leads_to() -> None:
    for code, cell in linked("By finding").items():
        texts = [(FOLDER / page).read_text(encoding="utf-8") for page in re.findall(r"\(([a-z-]+\.md)\)", cell)]
        assert code == "not-checked" or any(f"`{code}`" in text for text in texts), code


OF_CALLS = {
    "invalid-input", "invalid-name", "invalid-value", "invalid-digest", "invalid-query", "unknown-type", "not-found",
    "conflict", "name-taken", "expectation-failed", "illegal-transition", "in-use", "transaction-reused",
    "store-exists", "source", "source-unreadable", "source-changed", "missing-dependency", "cancelled",
    "destination-differs", "import-refused", "merge-conflict", "git", "index-elsewhere", "contract-violated",
    "cursor-astray", "data-loss", "lease-lost", "store-wide", "wrong-argument", "wrong-query", "blobs-elsewhere",
    "unknown-backend",
}  # fmt: skip
"""Errors that say something of the call or of what it was given, and nothing of the store's state."""


def test_every_error_that_a_damaged_store_can_raise_leads_to_a_page() -> None:
    codes = {
        one.code for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.HoldfastError)
    }
    assert set(linked("By error")) == codes - OF_CALLS


def test_every_exit_code_that_damage_can_have_leads_to_a_page() -> None:
    table = linked("By exit code")
    assert {int(code) for code in table} == {int(code) for code in Exit} - {0, 2, 3, 130}


def test_the_messages_of_fsck_lead_to_the_page_by_json_too(scene: Scene) -> None:
    (scene.store / "index.sqlite3").unlink()
    program = [sys.executable, "-m", "holdfast", "-C", str(scene.store), "fsck", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(Path(holdfast.__file__).parents[1])}
    done = subprocess.run(program, capture_output=True, text=True, env=environment, check=False)
    codes = {line["code"] for line in map(json.loads, done.stdout.splitlines()) if "code" in line}
    assert codes <= set(linked("By finding"))
    assert codes

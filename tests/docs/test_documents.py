"""What the documents show works: every code block runs, every link leads somewhere."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import textwrap
import uuid
from pathlib import Path
from typing import Any

import pytest

import holdfast

from . import pages
from .pages import Block

OWN_TEST = pages.ROOT / "store-layout.md"  # its recipes are run, on stores they can find damage in, by tests/layout
PROCEDURES = (
    pages.ROOT / "docs" / "procedures"
)  # carried out on stores that are in just that trouble by tests/procedures
RUNNABLE = [
    page
    for page in pages.pages()
    if page != OWN_TEST and page.parent != PROCEDURES and any(b.language in pages.RUN for b in pages.blocks(page))
]
SHELL_TIMEOUT_S = 120
SERVED = "postgresql.md"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A folder with the command `holdfast` as this interpreter runs it, whether or not the project is installed."""
    folder = tmp_path / "bin"
    folder.mkdir()
    source = Path(holdfast.__file__).resolve().parents[1]
    script = folder / "holdfast"
    script.write_text(f'#!/bin/sh\nPYTHONPATH="{source}" exec "{sys.executable}" -m holdfast "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return folder


@pytest.mark.parametrize("page", RUNNABLE, ids=pages.name)
def test_every_code_block_of_a_page_runs(
    page: Path, tmp_path: Path, program: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if page.name == SERVED:
        url = request.getfixturevalue("postgres")
        monkeypatch.setenv("DATABASE", f"{url}{'&' if '?' in url else '?'}schema=page_{uuid.uuid4().hex[:12]}")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PATH", f"{program}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HOLDFAST_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("HOLDFAST_ACTOR", "ada")
    with holdfast.create(tmp_path / "store") as store:
        names: dict[str, Any] = {"__name__": pages.name(page), "store": store, "holdfast": holdfast}
        for block in pages.blocks(page):
            if block.excuse is None and block.language in pages.RUN:
                _run(block, names)


def _run(block: Block, names: dict[str, Any]) -> None:
    if pages.RUN[block.language] == "python":
        # Empty lines in front make tracebacks name the line in the page.
        code = "\n" * (block.line - 1) + block.code
        exec(compile(code, pages.name(block.page), "exec", dont_inherit=True), names)
        return
    code = block.code
    if pages.RUN[block.language] == "console":
        code = "\n".join(line[2:] for line in code.splitlines() if line.startswith("$ "))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=SHELL_TIMEOUT_S, check=False,
    )  # fmt: skip
    where = f"{pages.name(block.page)}:{block.line}"
    assert done.returncode == 0, f"{where} ended with {done.returncode}\n{code}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", pages.pages(), ids=pages.name)
def test_a_block_that_is_not_run_says_why(page: Path) -> None:
    for block in pages.blocks(page):
        where = f"{pages.name(page)}:{block.line}"
        assert block.language in pages.RUN or block.language in pages.SHOWN, f"{where}: what is {block.language!r}?"
        assert block.excuse is None or len(block.excuse) > 10, f"{where}: not run, without a reason"


@pytest.mark.parametrize("page", pages.pages(), ids=pages.name)
def test_every_link_between_documents_leads_somewhere(page: Path) -> None:
    broken = []
    for link in pages.links(page):
        path, _, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:"):
            continue
        target = (page.parent / path).resolve() if path else page
        if target.is_dir():
            target = target / "README.md"
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in pages.anchors(target)):
            broken.append(link)
    assert not broken, f"{pages.name(page)} links to what is not there: {broken}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), [pages.ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md" or not page.exists():
            continue
        reached.add(page)
        for link in pages.links(page):
            path = link.partition("#")[0]
            if path and "://" not in link:
                target = (page.parent / path).resolve()
                waiting.append(target / "README.md" if target.is_dir() else target)
    lonely = sorted(pages.name(page) for page in set(pages.pages()) - reached)
    assert not lonely, f"no link leads to {lonely}"


def test_the_readme_has_a_tour_in_a_dozen_lines_of_each_language() -> None:
    tours = [block for block in pages.blocks(pages.ROOT / "README.md") if block.excuse is None]
    lengths = {block.language: len(textwrap.dedent(block.code).strip().splitlines()) for block in tours}
    assert set(lengths) == {"python", "sh"}
    assert all(10 <= length <= 16 for length in lengths.values()), lengths

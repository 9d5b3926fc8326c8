"""Finds the documents of the project, their code blocks and their links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUN = {"python": "python", "sh": "shell", "bash": "shell", "shell": "shell", "console": "console"}
SHOWN = {"", "text", "json", "jsonl", "sql", "toml", "markdown"}

_FENCE = re.compile(r"^( *)(`{3,}|~{3,})\s*([\w+-]*)(.*)$")
_NOT_RUN = re.compile(r"<!--\s*not run(?::\s*(.*?))?\s*-->")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+\s+(.*?)\s*#*$")


@dataclass(frozen=True)
class Block:
    """A fenced block. `line`: of its first line of code; `excuse`: why it is not run, None if it is."""

    page: Path
    line: int
    language: str
    code: str
    excuse: str | None


def pages() -> list[Path]:
    """Every document that a user reads."""
    return [ROOT / "README.md", ROOT / "store-layout.md", *sorted((ROOT / "docs").rglob("*.md"))]


def name(page: Path) -> str:
    """The page's path in the project."""
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    lines = page.read_text(encoding="utf-8").splitlines()
    number, said = 0, ""
    while number < len(lines):
        opening = _FENCE.match(lines[number])
        if opening is None:
            said = lines[number] if lines[number].strip() else said
            number += 1
            continue
        indent, fence, language, _ = opening.groups()
        end = number + 1
        while end < len(lines) and not lines[end].strip().startswith(fence):
            end += 1
        assert end < len(lines), f"{name(page)}:{number + 1}: the block does not end"
        code = "\n".join(line.removeprefix(indent) for line in lines[number + 1 : end]) + "\n"
        excuse = _NOT_RUN.fullmatch(said.strip())
        yield Block(page, number + 2, language, code, None if excuse is None else excuse[1] or "")
        number, said = end + 1, ""


def prose(page: Path) -> str:
    """The page without its code."""
    kept, fence = [], ""
    for line in page.read_text(encoding="utf-8").splitlines():
        opening = _FENCE.match(line)
        if opening and not fence:
            fence = opening[2]
        elif fence and line.strip().startswith(fence):
            fence = ""
        elif not fence:
            kept.append(re.sub(r"`[^`]*`", "", line))
    return "\n".join(kept)


def links(page: Path) -> list[str]:
    """Where the page's links lead."""
    return _LINK.findall(prose(page))


def anchors(page: Path) -> set[str]:
    """The places in a page that a link can lead to, as forges name them."""
    found = set()
    for line in page.read_text(encoding="utf-8").splitlines():
        heading = _HEADING.match(line)
        if heading:
            plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).lower()
            found.add(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return found

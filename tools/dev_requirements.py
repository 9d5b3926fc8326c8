"""Print the development dependencies of pyproject.toml, one a line: older pips cannot read dependency groups."""

from __future__ import annotations

import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def requirements() -> list[str]:
    """The `dev` group as pip takes it."""
    groups: dict[str, list[str]] = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["dependency-groups"]
    return groups["dev"]


if __name__ == "__main__":
    print("\n".join(requirements()))

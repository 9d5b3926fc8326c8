"""The reference pages say what the program says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import holdfast

TOOL = Path(__file__).resolve().parents[2] / "tools" / "generate_docs.py"


def test_the_reference_pages_are_those_that_the_program_writes() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(holdfast.__file__).parents[1])}
    command = [sys.executable, str(TOOL), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\nRun: python tools/generate_docs.py"

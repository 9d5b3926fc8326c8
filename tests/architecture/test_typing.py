"""What callers get is typed, whether or not the extras are installed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

import holdfast

NEEDED = ("click", "peewee", "playhouse", "pyfastcdc", "rich", "typing_extensions", "zstandard")
EXTRAS = ("icontract", "openlineage", "prov", "psycopg")
USE = Path(__file__).parents[1] / "typing" / "api.py"


@pytest.mark.soak
@pytest.mark.parametrize("extras", [(), EXTRAS], ids=["without extras", "with extras"])
def test_a_program_that_uses_holdfast_type_checks_strictly(tmp_path: Path, extras: tuple[str, ...]) -> None:
    """In an environment of its own, which has the libraries named and no others."""
    pytest.importorskip("mypy")
    venv.create(tmp_path / "env", with_pip=False)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(tmp_path / "env")}))
    (site / "holdfast").symlink_to(Path(holdfast.__file__).parent)
    for name in (*NEEDED, *extras):
        found = importlib.util.find_spec(name)
        if found is None:
            continue
        where = (
            Path(found.submodule_search_locations[0]) if found.submodule_search_locations else Path(found.origin or "")
        )
        (site / where.name).symlink_to(where)
    done = subprocess.run(
        [
            sys.executable, "-m", "mypy", "--strict", "--config-file", os.devnull,
            "--cache-dir", str(tmp_path / "cache"), "--python-executable", str(tmp_path / "env" / "bin" / "python"),
            str(USE),
        ],
        cwd=tmp_path, env={k: v for k, v in os.environ.items() if k != "MYPYPATH"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Success" in done.stdout

"""Small stores with something of everything, made once for all tests of a process: to be copied, never changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from holdfast.testing import damage


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of the damage lab, its small contents in packs."""
    return damage.sample_store(tmp_path_factory.mktemp("sample") / "store")


@pytest.fixture(scope="session", params=["files", "packs"])
def sample_of_both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a file for each content, and with packs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOLDFAST_PACK_UP_TO", "0" if request.param == "files" else "")
        return damage.sample_store(tmp_path_factory.mktemp("sample") / "store")


@pytest.fixture
def backup(sample: Path, tmp_path: Path) -> Path:
    """A plain copy of the sample."""
    return shutil.copytree(sample, tmp_path / "backup")

"""Small stores with something of everything, made once for all tests of a process: to be copied, never changed."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.testing import damage, homes
from holdfast.testing.homes import index_emptied, index_home, schemas  # noqa: F401 - fixtures

Samples = Callable[[str], Path]

ONLY_OF_A_FILE: dict[str, str] = {}
ORDINARY = {
    "test_backup": ["all_that_can_be_read_of_the_store"],
    "test_gc": ["only_what_no_kept"],
    "test_rebuild": ["empty_store_can_be_rebuilt"],
    "test_redact": ["nothing_of_a_redacted"],
    "test_repack": ["everything_reads_as_before"],
    "test_restore": ["rows_of_a_restored_store", "at_a_change"],
}
"""What the ordinary run takes to the server: by module, tests with one of these words in their names."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test twice."""
    homes.twice(metafunc, ONLY_OF_A_FILE, ORDINARY)


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """The store of the damage lab, its small contents in "packs", or all of them in "files" of their own."""

    @functools.cache
    def made(kind: str) -> Path:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HOLDFAST_PACK_UP_TO", "0" if kind == "files" else "")
            return damage.sample_store(tmp_path_factory.mktemp("sample") / "store")

    return made


@pytest.fixture
def sample(samples: Samples) -> Path:
    """One of them, as the module wants it (`loose`)."""
    return samples("files" if os.environ.get("HOLDFAST_PACK_UP_TO") == "0" else "packs")


@pytest.fixture(params=["files", "packs"])
def sample_of_both(request: pytest.FixtureRequest, samples: Samples) -> Path:
    """One after the other."""
    return samples(request.param)


@pytest.fixture
def backup(sample: Path, tmp_path: Path) -> Path:
    """A plain copy of the sample."""
    return shutil.copytree(sample, tmp_path / "backup")

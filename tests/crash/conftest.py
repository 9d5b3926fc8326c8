"""Where labs work that build thousands of stores."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest


@pytest.fixture
def base() -> Iterator[str]:
    """In memory where there is a place for it: these stores are many, and their syncs are not what is tested."""
    made = tempfile.mkdtemp(prefix="holdfast-lab-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    yield made
    shutil.rmtree(made)

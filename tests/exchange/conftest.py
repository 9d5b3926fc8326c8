"""What goes in and out does so with an index in a file, and with one in PostgreSQL."""

from __future__ import annotations

import pytest

from holdfast.testing import homes
from holdfast.testing.homes import index_emptied, index_home, schemas  # noqa: F401 - fixtures

ONLY_OF_A_FILE: dict[str, str] = {}
ORDINARY = {
    "test_checkout": ["what_was_purged_or_redacted_since"],
    "test_merge": ["everything_comes_in"],
    "test_snapshot": ["a_whole_store_comes_back"],
}
"""What the ordinary run takes to the server: by module, tests with one of these words in their names."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test twice."""
    homes.twice(metafunc, ONLY_OF_A_FILE, ORDINARY)

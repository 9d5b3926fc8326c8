"""Revisions are found without an entry in an index where their keys tell, and never by going through all of them."""

from pathlib import Path

import pytest

import holdfast
from holdfast.index import revised
from holdfast.index.database import Database


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Database:
    """Artifacts with one revision and with several, contents of one revision and of several, of other artifacts too."""
    root: Path = tmp_path_factory.mktemp("revised") / "store"
    with holdfast.create(root) as store:
        for name, contents in {"a": "xyx", "b": "y", "c": "zxzyw", "d": "q", "e": "qq"}.items():
            for number, content in enumerate(contents):
                store.artifacts.put(name, content.encode(), metadata={"n": number})
    return Database(str(root / "index.sqlite3"), read_only=True)


@pytest.mark.parametrize(
    ("condition", "plain", "keys"),
    [
        (revised.of_content("v", "?1"), "v.content = ?1", "SELECT key FROM content"),
        (revised.of_artifact("v", "?1"), "v.artifact = ?1", "SELECT key FROM artifact"),
        (revised.numbered("v", "?1", "1"), "v.artifact = ?1 AND v.number = 1", "SELECT key FROM artifact"),
        (revised.numbered("v", "?1", "3"), "v.artifact = ?1 AND v.number = 3", "SELECT key FROM artifact"),
    ],
    ids=["of a content", "of an artifact", "the first", "the third"],
)
def test_a_condition_finds_what_the_plain_one_finds_and_searches_for_it(
    rows: Database, condition: str, plain: str, keys: str
) -> None:
    found = 0
    for (key,) in [*rows.rows(keys), (0,), (1 << 40,)]:
        ours = rows.rows(f"SELECT v.key FROM revision v WHERE {condition} ORDER BY 1", (key,))
        assert ours == rows.rows(f"SELECT v.key FROM revision v WHERE {plain} ORDER BY 1", (key,))
        found += len(ours)
    assert found
    plan = [row[3] for row in rows.rows(f"EXPLAIN QUERY PLAN SELECT v.key FROM revision v WHERE {condition}", (1,))]
    assert not [step for step in plan if step.startswith("SCAN")], plan


def test_most_revisions_have_no_entry_in_either_index(rows: Database) -> None:
    for left_out in ("number > 1", "content <> key"):
        entries, all_rows = rows.rows(f"SELECT sum({left_out}), count(*) FROM revision")[0]
        assert 0 < entries < all_rows


def test_whether_a_content_has_a_revision_in_a_state_is_told_alike(rows: Database) -> None:
    for state in (0, 1):
        plain = f"EXISTS (SELECT 1 FROM revision r WHERE r.content = c.key AND r.state = {state})"
        told = rows.rows(f"SELECT {revised.has_in_state('c.key', state)}, {plain} FROM content c")
        assert told
        assert all(ours == theirs == (state == 0) for ours, theirs in told)

"""Rows that are told to be as the chain gives them are; and whatever is not so, by a row or a cell, is noticed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import holdfast
from holdfast.care.fsck.index import verified
from holdfast.index import matching, proof
from holdfast.index.audit import Audit
from holdfast.index.matching import COMPARED, Matching, UnlikeError
from holdfast.index.sqlite import SqliteIndex
from holdfast.testing import damage


@contextmanager
def audited(root: Path) -> Iterator[Audit]:
    index = SqliteIndex(str(root / "index.sqlite3"), read_only=True)
    audit = Audit(index)
    try:
        with audit.snapshot():
            yield audit
    finally:
        index.close()


def matched(root: Path) -> dict[str, int]:
    with audited(root) as audit:
        found = Matching(audit.index.database)
        for row in audit.chain():
            transaction = verified(row)
            assert transaction is not None
            found.take(transaction)
        return found.finish()


def counted_rows(root: Path) -> dict[str, int]:
    with audited(root) as audit:
        return {table: audit.count(table) for table in COMPARED}


def every_verb(root: Path) -> None:
    """Rows that later changes change, take away and bring back."""
    with holdfast.create(root, actor="Ada") as store:
        a = store.put("docs/a.md", "one", metadata={"n": 1}, tags=["x", "y"]).artifact
        store.put("docs/a.md", "two", metadata={"n": 2})
        store.put("docs/b.md", "two")
        store.artifacts.put("other/ö.txt", b"three", type="note")
        store.artifacts.tag("docs/a.md", "z")
        store.artifacts.untag("docs/a.md", "x")
        store.artifacts.rename("docs/b.md", "c.md")
        store.relationships.relate(a, "supports", "docs/c.md")
        store.collections.delete("docs", contents="cascade")
        store.collections.undelete("docs")
        store.artifacts.delete("docs/c.md", relationships="cascade")
        store.artifacts.purge("docs/a.md", revisions=[1])
        store.artifacts.revert("docs/a.md", 2)
        run = store.runs.create("fit", parameters={"turn": 1})
        store.runs.set_status(run, "processing")
        store.runs.link(run, "input", "docs/a.md")
        store.runs.link(run, "output", store.put("out", "out").artifact)
        store.runs.set_status(run, "completed")
        store.artifacts.put_many((f"many/{n % 7}/{n}", f"content {n % 50}") for n in range(120))
        store.artifacts.put_many((f"more/{n}", f"content {n}") for n in range(40, 60))
        store.put("many/0/7", "revised")  # a row of one of many waits for this
        store.artifacts.put_many((f"last/{n}", f"last {n}") for n in range(20))


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("busy") / "store"
    every_verb(root)
    return root


@pytest.fixture
def root(busy: Path, tmp_path: Path) -> Path:
    return damage.twin(busy, tmp_path / "store")


@pytest.mark.parametrize("page", [1, 7, 1_000])
def test_the_rows_of_every_verb_are_as_the_chain_gives_them(busy, monkeypatch, page):
    monkeypatch.setattr(matching, "_PAGE", page)
    assert matched(busy) == counted_rows(busy)


def test_what_is_known_of_keys_and_terms_is_bounded(busy, monkeypatch):
    monkeypatch.setattr(matching, "_MOST_KNOWN", 3)
    assert matched(busy) == counted_rows(busy)


def test_new_artifacts_are_compared_by_columns_also_while_rows_of_others_wait(busy, monkeypatch):
    one_by_one, each = [], Matching._each

    def counted(self, first, part):
        one_by_one.extend(body for body in part if (body["kind"], body["action"]) == ("artifact", "create"))
        return each(self, first, part)

    monkeypatch.setattr(Matching, "_each", counted)
    assert matched(busy) == counted_rows(busy)
    assert {body["new"]["name"] for body in one_by_one} == {"a.md", "ö.txt"}  # with tags, of another type


def test_rows_that_wait_for_later_changes_are_bounded(busy, monkeypatch):
    monkeypatch.setattr(matching, "_MOST_WAITING", 2)
    with pytest.raises(UnlikeError, match="too many"):
        matched(busy)


def test_a_store_with_a_declared_index_is_compared_the_long_way(root):
    with holdfast.open(root) as store:
        store.indexes.declare("metadata.n")
    with pytest.raises(UnlikeError, match="declared"):
        matched(root)


ALTERED = {
    "a cell": "UPDATE artifact SET name = 'A.md' WHERE name = 'a.md'",
    "a cell that is set later": "UPDATE record SET changed = changed + 1 WHERE key = (SELECT min(key) FROM artifact)",
    "a state": "UPDATE revision SET state = 0 WHERE state <> 0",
    "a digest": "UPDATE content SET digest = zeroblob(32) WHERE size = 5",
    "a checksum": "UPDATE collection SET crc = crc + 1 WHERE name = 'docs'",
    "a number as text": "UPDATE artifact SET stray = '' WHERE name = 'a.md'",
    "a term": "UPDATE term SET text = text || 'x' WHERE key = (SELECT max(key) FROM term)",
    "a tag that went": "INSERT INTO tagging (record, tag) SELECT record, 'x' FROM tagging LIMIT 1",
    "no tag": "DELETE FROM tagging WHERE tag = 'z'",
    "no change": "DELETE FROM change WHERE seq = (SELECT max(seq) FROM change)",
    "no revision": "DELETE FROM revision WHERE key = (SELECT max(key) FROM revision)",
    "no record": "DELETE FROM record WHERE key = (SELECT max(key) FROM record)",
    "a link": "DELETE FROM run_link",
    "a cell of one new among many": "UPDATE artifact SET status = status + 1 WHERE name = '63'",
    "a checksum of one new among many": "UPDATE record SET crc = crc + 1 WHERE key = (SELECT max(key) FROM record)",
    "a checksum of a content": "UPDATE content SET crc = crc + 1 WHERE key = (SELECT max(key) FROM content)",
    "a number that is none": "UPDATE revision SET state = x'30' WHERE key = (SELECT max(key) FROM revision)",
    "a name of one of many as bytes": "UPDATE artifact SET name = CAST(name AS BLOB) WHERE name = '63'",
    "a whole number as another": "UPDATE revision SET number = 1.5 WHERE key = (SELECT max(key) FROM revision)",
    "a row of one of many": "DELETE FROM artifact WHERE name = '63'",
    "the content of one of many": "UPDATE revision SET content = content - 1 "
    "WHERE key = (SELECT max(key) FROM content)",
    "a row where none was made": "INSERT INTO artifact SELECT key, 1, 'x', x'', 0, 0, key, 1, 0 FROM collection "
    "WHERE name = 'last'",
    "a content too many": "INSERT INTO content (key, digest, size, crc) VALUES (100000, zeroblob(32), 1, 0)",
    "a term too many": "INSERT INTO term (key, text, crc) VALUES (900000, 'unheard of', 0)",
}


@pytest.mark.parametrize("what", ALTERED)
def test_what_is_not_as_the_chain_gives_it_is_noticed(root, what):
    with damage.sql(root) as connection:
        assert connection.execute(ALTERED[what]).rowcount > 0
    with pytest.raises(UnlikeError):
        matched(root)


def test_an_altered_row_with_a_checksum_to_match_is_noticed(root):
    with damage.sql(root) as connection:
        key, *cells = connection.execute(
            "SELECT key, collection, name, stray, type, status, newest, live FROM artifact WHERE name = 'a.md'"
        ).fetchone()
        cells[1] = "b.md"
        signed = proof.checksum("artifact", key, *cells)
        connection.execute("UPDATE artifact SET name = 'b.md', crc = ? WHERE key = ?", (signed, key))
    with pytest.raises(UnlikeError):
        matched(root)

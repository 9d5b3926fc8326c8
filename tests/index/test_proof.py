"""Rows that were changed behind our back are refused when they are read, found by a quick fsck, and never signed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import holdfast
from holdfast.engine import trust
from holdfast.errors import IndexDamagedError
from holdfast.index import proof
from holdfast.testing import damage

A = "docs/a.md"

CHANGES = {
    "name": ("UPDATE artifact SET name = 'A.md' WHERE name = 'a.md'", lambda s: list(s.artifacts.list("docs"))),
    "status": ("UPDATE artifact SET status = 0 WHERE name = 'a.md'", lambda s: s.get(A)),
    "metadata": ("UPDATE revision SET metadata = '{\"score\":2.5}' WHERE number = 2", lambda s: s.get(A)),
    "digest": ("UPDATE content SET digest = zeroblob(32) WHERE size = 6", lambda s: s.artifacts.revisions(A)),
    "size": ("UPDATE content SET size = size + 1", lambda s: s.get(A)),
    "previous digest": ("UPDATE content SET size = 9 WHERE size = 6", lambda s: s.get(A)),
    "state": ("UPDATE revision SET state = 1 WHERE number = 1", lambda s: s.artifacts.read(A, revision=1)),
    "a text for an empty one": ("UPDATE revision SET message = '' WHERE number = 2", lambda s: s.get(A)),
    "text that became bytes": ("UPDATE artifact SET name = CAST(name AS BLOB)", lambda s: list(s.artifacts.find())),
    "no text at all": (
        "UPDATE artifact SET name = CAST(x'ff' AS TEXT) WHERE name = 'a.md'",
        lambda s: list(s.artifacts.find()),
    ),
    "owner": ("UPDATE record SET owner = 1", lambda s: s.get(A)),
    "another's id": ("UPDATE record SET id = randomblob(16)", lambda s: s.get(A)),
    "tag": ("UPDATE tagging SET tag = 'y'", lambda s: s.get(A)),
    "tag gone": ("DELETE FROM tagging", lambda s: s.get(A)),
    "folder": ("UPDATE collection SET name = 'd' WHERE name = 'docs'", lambda s: list(s.artifacts.find())),
    "time": ("UPDATE tx SET time_us = time_us + 1", lambda s: s.get(A)),
    "term": ("UPDATE term SET text = text || 'x'", lambda s: s.get(A)),
    "a deleted one's name": (
        "UPDATE artifact SET name = 'lost' WHERE live IS NULL",
        lambda s: s.artifacts.get("gone.txt", deleted=True),
    ),
    "relationship": ("UPDATE relationship SET target_revision = 1", lambda s: list(s.relationships.find())),
}


@pytest.fixture
def root(tmp_path):
    return damage.sample_store(tmp_path / "store")


@pytest.mark.parametrize("what", CHANGES)
def test_a_changed_row_is_refused_when_it_is_read(root, what):
    statement, read = CHANGES[what]
    with holdfast.open(root, read_only=True) as store:
        read(store)
    with damage.sql(root) as connection:
        connection.execute(statement)
    with holdfast.open(root, read_only=True) as store, pytest.raises(IndexDamagedError):
        read(store)
    quick = {finding.code for finding in holdfast.fsck(root, quick=True).findings}
    full = {finding.code for finding in holdfast.fsck(root).findings}
    assert full
    assert quick or what.startswith("tag")  # tags are compared with the chain


def test_a_damaged_row_is_not_signed_by_the_next_change_of_it(root):
    with damage.sql(root) as connection:
        connection.execute("UPDATE record SET owner = 1 WHERE kind = 2")
        before = connection.execute("SELECT * FROM record").fetchall()
    with holdfast.open(root) as store, pytest.raises(IndexDamagedError):
        store.artifacts.delete(A)
    with damage.sql(root) as connection:
        assert connection.execute("SELECT * FROM record").fetchall() == before


def test_a_rebuild_gives_every_row_its_checksum_again(root):
    with damage.sql(root) as connection:
        connection.execute("UPDATE revision SET metadata = '{}'")
    holdfast.rebuild(root)
    with holdfast.open(root) as store:
        assert store.artifacts.revisions(A)[1].metadata == {"score": 1.5}
    assert not holdfast.fsck(root).findings


def test_an_index_that_lost_its_newest_transactions_is_read_from_the_journal(root):
    with damage.sql(root) as connection:
        connection.execute("DELETE FROM tx WHERE first > 1")
    with holdfast.open(root, read_only=True) as store:
        assert store.get(A).status == "final"
        assert store.opened.reason == "the index is older than the journal"
    assert holdfast.fsck(root).findings


FACTS = {
    "a fact of the file": "UPDATE meta SET value = 'x' WHERE key = 'file identity'",
    "a blob's row": "UPDATE blob SET stored_bytes = stored_bytes + 1",
    "the container": "UPDATE container SET kind = 'pack'",
    "which record a change is of": "UPDATE change SET record = 1",
}


@pytest.mark.parametrize("what", FACTS)
def test_rows_that_no_record_is_made_of_have_checksums_too(root, what):
    with damage.sql(root) as connection:
        connection.execute(FACTS[what])
    quick = [finding.fields.get("rule") for finding in holdfast.fsck(root, quick=True).findings]
    full = {finding.code for finding in holdfast.fsck(root).findings}
    assert any(rule and rule.endswith("-checksum") for rule in quick) or "index-damaged" in full
    assert full


def test_how_much_there_is_is_not_counted_from_damaged_rows(root):
    with damage.sql(root) as connection:
        connection.execute("UPDATE blob SET stored_bytes = stored_bytes + 1")
    with holdfast.open(root, read_only=True) as store, pytest.raises(IndexDamagedError):
        store.status()


def test_content_is_not_looked_for_by_a_damaged_row(root):
    with holdfast.open(root) as store:
        store.put("other", b"first\n")
    with damage.sql(root) as connection:
        connection.execute("UPDATE blob SET condemned_us = 1")
    with holdfast.open(root) as store, pytest.raises(IndexDamagedError):
        store.put("third", b"first\n")


def test_nothing_is_collected_while_a_row_is_damaged(root):
    with holdfast.open(root) as store:
        store.artifacts.purge(A, revisions=[1])
    with damage.sql(root) as connection:
        connection.execute("UPDATE revision SET state = 1 WHERE artifact = (SELECT min(artifact) FROM revision)")
    with holdfast.open(root) as store, pytest.raises(IndexDamagedError):
        store.gc(grace_s=0)
    with holdfast.open(root) as store:
        assert list((root / "blobs").rglob("*.zst"))


def test_a_damaged_entry_of_an_index_does_not_hide_its_row(root, monkeypatch):
    """As in a large index, whose pages are not checked when it is opened."""
    monkeypatch.setattr(trust, "PROVEN_AT_OPEN_BYTES", 0)
    data = (root / "index.sqlite3").read_bytes()
    places = [n for n in range(len(data)) if data.startswith(b"gone.txt", n) or data.startswith(b"same.txt", n)]
    assert places
    hidden = 0
    for at in places:
        damage.flip(root / "index.sqlite3", at)
        with holdfast.open(root, read_only=True) as store:
            try:
                store.get("docs/same.txt")
            except IndexDamagedError:
                hidden += 1  # NotFoundError would leave the test
        damage.flip(root / "index.sqlite3", at)
    assert hidden


def test_pages_of_a_small_index_are_checked_when_it_is_opened(root):
    data = (root / "index.sqlite3").read_bytes()
    at = next(n for n in range(len(data)) if data.startswith(b"same.txt", n))
    damage.flip(root / "index.sqlite3", at)
    with holdfast.open(root, read_only=True) as store:
        assert store.get("docs/same.txt").name == "same.txt"
        assert store.opened.rebuilt


@pytest.mark.parametrize("what", [KeyboardInterrupt, MemoryError])
def test_what_stops_a_proof_from_outside_is_no_damage_and_nothing_is_made_anew(root, monkeypatch, what):
    def stopped(_: bytes) -> int:
        raise what

    with monkeypatch.context() as patch:
        patch.setattr(proof, "zlib", SimpleNamespace(crc32=stopped))
        with pytest.raises(what):
            holdfast.open(root)
    with holdfast.open(root) as store:
        assert not store.opened.rebuilt
        assert store.fsck().exit_code == 0


def test_an_interrupt_before_the_first_line_of_a_proof_is_told_from_cells_that_are_no_text(root, monkeypatch):
    """SQLite says of both that a function raised, and ours noted nothing."""
    calls = []
    real = proof.asked_by_sqlite

    def early(function):
        def asked(*cells):
            calls.append(function)
            if len(calls) == 1:
                raise KeyboardInterrupt
            return real(function)(*cells)

        return asked

    with monkeypatch.context() as patch:
        patch.setattr(proof, "asked_by_sqlite", early)
        with pytest.raises(KeyboardInterrupt):
            holdfast.open(root)
    with holdfast.open(root) as store:
        assert not store.opened.rebuilt
    with damage.sql(root) as connection:
        connection.execute("UPDATE meta SET value = CAST(x'ff' AS TEXT)")
    with holdfast.open(root) as store:
        assert store.opened.rebuilt

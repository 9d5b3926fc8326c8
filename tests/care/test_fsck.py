"""fsck names each kind of damage by its code, and only that; a sound store gives nothing.

Damage to the files of contents is here, each having its own; damage to packs is in test_packs.py.
"""

from __future__ import annotations

import shutil

import pytest

import holdfast
from holdfast.care.fsck import KINDS, check, check_path
from holdfast.disk import Disk
from holdfast.errors import ConflictError, FormatTooNewError, HandleDeadError, NotAStoreError
from holdfast.formats import frame
from holdfast.journal import Journal
from holdfast.testing import damage

pytestmark = pytest.mark.usefixtures("loose")

SECOND, B3000, FIRST, GONE = b"second\n", b"b" * 3000, b"first\n", b"gone\n"


@pytest.fixture
def root(sample, tmp_path):
    return damage.twin(sample, tmp_path / "store")


def codes(root, *, quick=False):
    return sorted(check_path(root, quick=quick).counts)


# -- a sound store -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quick", [True, False])
def test_a_sound_store_has_no_findings_closed_or_open(root, quick):
    closed = check_path(root, quick=quick)
    with holdfast.open(root) as store:
        opened = check(store._handle, quick=quick)
        beside = check_path(root, quick=quick)
    for report in (closed, opened, beside):
        assert report.findings == ()
        assert report.exit_code == 0
        assert report.worst is None
        assert report.checked["files"] == report.checked["contents"] == 5
        assert report.checked["transactions in the journal"] == report.checked["transactions in the index"] == 9


def test_a_new_store_is_sound(tmp_path):
    holdfast.create(tmp_path / "s").close()
    assert codes(tmp_path / "s") == []


def test_a_full_check_derives_every_row_and_a_quick_one_none(root):
    assert check_path(root).checked["rows"] > 30
    assert "rows" not in check_path(root, quick=True).checked


def test_a_sealed_journal_is_sound_beside_its_origin_and_alone(root):
    seal(root)
    assert codes(root) == []
    damage.segment(root).unlink()
    assert codes(root) == []


def test_after_a_purge_and_gc_a_store_is_sound(root):
    with holdfast.open(root) as store:
        store.artifacts.purge("docs/a.md", revisions=[1])
        assert check(store._handle).findings == ()
        store.gc(grace_s=0)
        assert not damage.blob_of(root, FIRST).exists()
        assert check(store._handle).findings == ()
    assert codes(root) == []


def test_what_is_no_store_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(NotAStoreError):
            check_path(path)


def test_of_a_store_of_a_newer_format_nothing_but_that_is_said(root):
    newer_format(root)
    report = check_path(root)
    assert (report.counts, report.exit_code) == ({"marker-too-new": 1}, 12)
    with pytest.raises(FormatTooNewError):
        holdfast.repair(root)


def test_a_handle_is_refused_inside_a_transaction_and_after_its_end(root):
    with holdfast.open(root) as store, store.transaction(), pytest.raises(ConflictError):
        check(store._handle)
    with pytest.raises(HandleDeadError):
        check(store._handle)


# -- one damage, one code ----------------------------------------------------------------------------------------------


def seal(root):
    """A second segment, so that the first is full, and its sealed successor."""
    first = damage.transactions(root)
    data = damage.segment(root).read_bytes()
    cut = data.index(first[4])
    damage.segment(root).write_bytes(data[:cut])
    seq = int(first[4].split(b'"first":')[1].split(b",")[0])
    (root / "journal" / f"{seq:016d}.jsonl").write_bytes(data[cut:])
    assert Journal(str(root), Disk()).seal("seal.tmp") == 1


def journal(root, *order):
    """Write the transactions anew in another order."""
    found = damage.transactions(root)
    damage.segment(root).write_bytes(b"".join(found[n] for n in order))


def statement(*sql):
    def damaging(root):
        with damage.sql(root) as connection:
            for one in sql:
                assert connection.execute(one).rowcount != 0

    return damaging


def replace_by_file(path):
    shutil.rmtree(path)
    path.write_bytes(b"not a folder")


def replace_by_folder(path):
    path.unlink()
    path.mkdir()


def swap(root):
    one, other = damage.blob_of(root, SECOND), damage.blob_of(root, FIRST)
    data = one.read_bytes(), other.read_bytes()
    one.write_bytes(data[1])
    other.write_bytes(data[0])


def cut(path, length):
    with open(path, "r+b") as file:
        file.truncate(length)


def corrupt_page(root):
    with damage.sql(root) as connection:
        page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'revision_content'").fetchone()[0]
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    with open(root / "index.sqlite3", "r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * 64)


def append(path, data):
    with open(path, "ab") as file:
        file.write(data)


def torn_tail(root):
    append(damage.segment(root), damage.transactions(root)[0][:100])


def garbage_between(root):
    found = damage.transactions(root)
    damage.segment(root).write_bytes(b"".join([*found[:3], b'{"action":"create","torn', b"\n", *found[3:]]))


def byte_in(root, number, offset, *, mask=0x01):
    lengths = [len(one) for one in damage.transactions(root)]
    start = sum(lengths[: number + (offset < 0)])
    damage.flip(damage.segment(root), start + offset, mask)


def without_line(root, number):
    found = damage.transactions(root)
    lines = found[number].splitlines(keepends=True)
    found[number] = b"".join(lines[1:])
    damage.segment(root).write_bytes(b"".join(found))


def stranger(root):
    data = b"nobody knows me"
    path = damage.blob_of(root, data)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(frame.encode(data))


def other_store(root):
    return damage.sample_store(root.parent / "other")


def old_temporary(root):
    (root / "tmp" / "left.tmp").write_bytes(b"x")
    damage.age(root / "tmp" / "left.tmp", 2)


def newer_format(root):
    marker = root / "holdfast.json"
    marker.write_bytes(marker.read_bytes().replace(b'"format":0', b'"format":7'))


def half_redacted(root):
    """As if the power went after the announcement: the journal and the index still have what was to be erased."""
    with holdfast.open(root) as store:
        before = damage.segment(root).read_bytes()
        store.redact(store.get("docs/a.md"), fields=["metadata"])
        after = damage.transactions(root)[-1]
    damage.segment(root).write_bytes(before + after)


def plain_copy(root):
    shutil.copytree(root, root.parent / "copy")
    shutil.rmtree(root)
    (root.parent / "copy").rename(root)


def misnamed(root):
    damage.segment(root).rename(root / "journal" / f"{2:016d}.jsonl")


def sealed_damaged(root):
    seal(root)
    damage.flip(root / "journal" / f"{1:016d}.jsonl.zst", 60)


def origin_of_sealed_damaged(root):
    seal(root)
    damage.flip(damage.segment(root), 60)


BLOB, JOURNAL, INDEX = damage.blob_of, damage.segment, "index.sqlite3"

DAMAGES = {
    # blobs
    "a bit flipped in a blob": (lambda r: damage.flip(BLOB(r, SECOND), -6), ["blob-damaged"]),
    "a bit flipped in a blob of many frames": (
        lambda r: damage.flip(BLOB(r, bytes(range(256)) * 3000), 40),
        ["blob-damaged"]),
    "a blob deleted": (lambda r: BLOB(r, SECOND).unlink(), ["blob-missing"]),
    "a blob cut": (lambda r: cut(BLOB(r, B3000), 12), ["blob-damaged"]),
    "a blob emptied": (lambda r: cut(BLOB(r, B3000), 0), ["blob-damaged"]),
    "bytes behind a blob": (lambda r: append(BLOB(r, SECOND), b"x"), ["blob-damaged"]),
    "two blobs swapped": (swap, ["blob-damaged"]),
    "a blob that nobody knows": (stranger, ["blob-unreferenced"]),
    "all blobs deleted": (lambda r: shutil.rmtree(r / "blobs"), ["blob-missing", "folder-missing"]),
    "a file in place of all blobs": (lambda r: replace_by_file(r / "blobs"), ["blob-missing", "wrong-type"]),
    "a file in place of a folder of blobs": (
        lambda r: replace_by_file(BLOB(r, SECOND).parent), ["blob-missing", "wrong-type"]),
    "a folder in place of a blob": (lambda r: replace_by_folder(BLOB(r, SECOND)), ["blob-missing", "wrong-type"]),
    "a name that is no blob's": (lambda r: (r / "blobs" / "readme").write_text("x"), ["stray-file"]),
    "a blob in the wrong folder": (
        lambda r: shutil.copy(BLOB(r, SECOND), r / "blobs" / "00x"), ["stray-file"]),
    # the index file
    "the index deleted": (lambda r: (r / INDEX).unlink(), ["index-missing"]),
    "a folder in place of the index": (lambda r: replace_by_folder(r / INDEX), ["wrong-type"]),
    "the index emptied": (lambda r: cut(r / INDEX, 0), ["index-schema"]),
    "the index cut": (lambda r: cut(r / INDEX, 20_000), ["index-damaged"]),
    "the head of the index overwritten": (lambda r: damage.flip(r / INDEX, 3), ["index-damaged"]),
    "a page of the index overwritten": (corrupt_page, ["index-damaged"]),
    "an index of the schema dropped": (statement('DROP INDEX "record_id"'), ["index-schema"]),
    "a table dropped": (statement('DROP TABLE "tagging"'), ["index-schema"]),
    "a table added": (statement("CREATE TABLE mine (x)"), ["index-schema"]),
    "a migration edited": (statement("UPDATE schema_version SET checksum = 'x'"), ["index-schema"]),
    "a store copied by other means": (plain_copy, ["index-copied"]),
    # its rows
    "metadata edited": (
        statement("UPDATE revision SET metadata = '{\"score\":2.5}' WHERE metadata NOTNULL"),
        ["row-differs"]),
    "a name edited": (statement("UPDATE artifact SET name = 'z' WHERE name = 'a.md'"), ["row-differs"]),
    "a number turned into text": (statement("UPDATE revision SET mode = 'x' WHERE key = 3"), ["row-differs"]),
    "a digest edited": (
        statement("UPDATE content SET digest = zeroblob(32) WHERE key = 3"),
        ["blob-missing", "blob-unreferenced", "row-differs"]),
    "a tag deleted": (statement("DELETE FROM tagging"), ["row-missing"]),
    "a tag added": (statement("INSERT INTO tagging VALUES (3, 'new')"), ["row-extra"]),
    "a size edited": (statement("UPDATE content SET size = size + 1 WHERE key = 3"), ["row-differs", "size-wrong"]),
    "a tombstone removed": (statement("UPDATE record SET deleted = 0"), ["row-differs"]),
    "a transaction's row altered": (
        statement("UPDATE tx SET time_us = time_us + 1 WHERE first = 5"),
        ["index-transaction", "rule-broken"]),
    "a transaction's bytes altered": (statement("UPDATE tx SET data = x'00' WHERE first = 4"), ["index-transaction"]),
    "a transaction deleted from the index": (statement("DELETE FROM tx WHERE first = 4"), ["index-chain"]),
    "a blob's row deleted": (statement("DELETE FROM blob WHERE content = 3"), ["blob-row-missing"]),
    "a blob's row edited": (
        statement("UPDATE blob SET stored_bytes = 1 WHERE content = 3"),
        ["blob-row-wrong", "rule-broken"],
    ),
    "a blob's count of frames edited": (
        statement("UPDATE blob SET frames = 7 WHERE content = 3"),
        ["blob-row-wrong", "rule-broken"],
    ),
    # the journal
    "the journal deleted": (lambda r: JOURNAL(r).unlink(), ["journal-behind"]),
    "the journal's folder deleted": (lambda r: shutil.rmtree(r / "journal"), ["folder-missing", "journal-behind"]),
    "a file in place of the journal's folder": (
        lambda r: replace_by_file(r / "journal"),
        ["journal-behind", "wrong-type"]),
    "a folder in place of a segment": (
        lambda r: replace_by_folder(JOURNAL(r)), ["journal-behind", "journal-garbage", "wrong-type"]),
    "a bit flipped in the middle of the journal": (lambda r: byte_in(r, 3, 30), ["journal-gap"]),
    "a bit flipped in an entry": (lambda r: byte_in(r, 3, -20), ["journal-gap"]),
    "a bit flipped in the last transaction": (lambda r: byte_in(r, 8, -50), ["journal-behind", "journal-garbage"]),
    "the last newline flipped": (lambda r: damage.flip(JOURNAL(r), -1), ["journal-behind", "journal-garbage"]),
    "a line of the journal removed": (lambda r: without_line(r, 4), ["journal-gap"]),
    "a transaction of the journal removed": (lambda r: journal(r, 0, 1, 2, 4, 5, 6, 7, 8), ["journal-gap"]),
    "the first transaction of the journal removed": (
        lambda r: journal(r, *range(1, 9)), ["journal-gap", "segment-name"]),
    "the last transaction of the journal removed": (lambda r: journal(r, *range(8)), ["journal-behind"]),
    "two transactions of the journal exchanged": (lambda r: journal(r, 0, 1, 3, 2, 4, 5, 6, 7, 8), ["journal-order"]),
    "a transaction of the journal repeated": (lambda r: journal(r, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8), ["journal-order"]),
    "a torn append at the end": (torn_tail, ["journal-garbage"]),
    "a torn append that was stepped over": (garbage_between, ["journal-garbage"]),
    "garbage at the end": (lambda r: append(JOURNAL(r), bytes(range(200))), ["journal-garbage"]),
    "a segment under another name": (misnamed, ["segment-name"]),
    "a sealed segment damaged": (sealed_damaged, ["segment-differs"]),
    "the origin of a sealed segment damaged": (origin_of_sealed_damaged, ["segment-differs"]),
    "the journal of another store": (
        lambda r: shutil.copy(JOURNAL(other_store(r)), JOURNAL(r)), ["chain-fork"]),
    # the folder
    "the marker deleted": (lambda r: (r / "holdfast.json").unlink(), ["marker-missing"]),
    "the marker altered": (lambda r: damage.flip(r / "holdfast.json", 3), ["marker-damaged"]),
    "the marker's last byte altered": (lambda r: damage.flip(r / "holdfast.json", -1, 0x2A), ["marker-damaged"]),
    "a folder in place of the marker": (lambda r: replace_by_folder(r / "holdfast.json"), ["wrong-type"]),
    "the marker of a newer format": (newer_format, ["marker-too-new"]),
    "a redaction that did not come to its end": (half_redacted, ["redaction-unfinished"]),
    "the marker of another store": (
        lambda r: shutil.copy(other_store(r) / "holdfast.json", r), ["marker-mismatch"]),
    "a folder missing": (lambda r: (r / "quarantine").rmdir(), ["folder-missing"]),
    "strange names": (
        lambda r: [(r / n).write_text("") for n in ("notes", "journal/x", "locks/y", "packs/z")],
        ["stray-file"]),
    "an old temporary file": (old_temporary, ["temporary-old"]),
    "a young temporary file": (lambda r: (r / "tmp" / "now.tmp").write_text("x"), []),
    "a damaged search index set aside": (lambda r: (r / "search.sqlite3.damaged").write_text("x"), ["quarantined"]),
    "something in quarantine": (lambda r: (r / "quarantine" / "x").write_text("x"), ["quarantined"]),
    "a search index that is none": (lambda r: (r / "search.sqlite3").write_bytes(b"x" * 5000), ["search-damaged"]),
    "notes on work under way that are none": (
        lambda r: (r / "state.sqlite3").write_bytes(b"x" * 5000), ["state-damaged"]),
    "cursors of the outbox that are none": (
        lambda r: (r / "outbox.sqlite3").write_bytes(b"x" * 5000), ["outbox-damaged"]),
    # two at once
    "a transaction gone from both": (
        lambda r: (byte_in(r, 4, 30), statement("DELETE FROM tx WHERE first = 8")(r)),
        ["index-chain", "not-checked", "transactions-lost"]),
    "the index deleted and a bit flipped in the journal": (
        lambda r: ((r / INDEX).unlink(), byte_in(r, 5, 30)), ["index-missing", "transactions-lost"]),
    "the index deleted and a bit flipped in the last transaction": (
        lambda r: ((r / INDEX).unlink(), byte_in(r, 8, -50)), ["index-missing", "transactions-lost"]),
    "the index deleted and the journal cut within the last transaction": (
        lambda r: ((r / INDEX).unlink(), JOURNAL(r).write_bytes(JOURNAL(r).read_bytes()[:-60])),
        ["index-missing", "journal-garbage", "transactions-torn"]),
    "the index and a blob deleted": (
        lambda r: ((r / INDEX).unlink(), BLOB(r, SECOND).unlink()), ["blob-missing", "index-missing"]),
    "index and journal deleted": (
        lambda r: ((r / INDEX).unlink(), JOURNAL(r).unlink(), damage.flip(BLOB(r, SECOND), -6)),
        ["blob-unreferenced", "index-missing"]),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_each_damage_is_named(root, name):
    damaging, expected = DAMAGES[name]
    damaging(root)
    before = damage.tree(root)
    report = check_path(root)
    assert sorted(report.counts) == expected, [f.as_dict() for f in report.findings]
    assert damage.tree(root) == before, "fsck changed the store"
    worst = {str(KINDS[code].severity) for code in expected}
    too_new = "marker-too-new" in expected
    assert report.exit_code == (12 if too_new else 4 if worst & {"error", "warning"} else 0)
    quick = check_path(root, quick=True)
    assert damage.tree(root) == before, "fsck changed the store"
    unseen = set(expected) - set(quick.counts)
    assert unseen <= {
        "row-differs",
        "row-missing",
        "row-extra",
        "blob-damaged",
        "blob-row-wrong",
        "size-wrong",
        "not-checked",
    }


def test_every_code_of_the_table_is_found_by_some_test():
    in_rules = {"unreadable", "index-behind", "blob-row-stale", "rule-broken", "chain-not-applicable"}
    in_packs = {code for code in KINDS if code.startswith("pack-")}  # test_packs.py
    assert {code for _, found in DAMAGES.values() for code in found} | in_rules | in_packs == set(KINDS)

"""Index and contents are checked by two processes at once: what is found, and how it is told, is the same as by one."""

from __future__ import annotations

import os
import re
import signal
import tempfile

import pytest

import holdfast
from holdfast.care.fsck import beside, blobs, check_path, journal, rows
from holdfast.testing import damage


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    root = tmp_path_factory.mktemp("sample") / "store"
    with holdfast.create(root, actor="Ada") as store:
        store.artifacts.put_many((f"many/{n % 3}/{n}", f"content {n} " * 40) for n in range(90))
        store.put("many/0/0", "another")
        store.artifacts.delete("many/1/1")
        store.put("large", os.urandom(90_000))
    return root


@pytest.fixture
def root(sample, tmp_path):
    return damage.twin(sample, tmp_path / "store")


@pytest.fixture
def children(monkeypatch):
    """Every store is worth a child; the process ids of those that were begun."""
    begun = []
    fork = os.fork

    def counted():
        process = fork()
        begun.append(process)
        return process

    monkeypatch.setattr(beside, "WORTH_BYTES", 0)
    monkeypatch.setattr(os, "fork", counted)
    return begun


def told(report):
    found = [(one.code, one.object, re.sub("scratch-[^/]*", "", one.detail)) for one in report.findings]
    return found, dict(report.checked), report.read


def alone(root, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(beside, "WORTH_BYTES", 1 << 60)
        return told(check_path(root))


def spoil_pack(root):
    (pack,) = (root / "packs").iterdir()
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 0x10
    pack.write_bytes(data)


def alter_row(root):
    with damage.sql(root) as connection:
        connection.execute("UPDATE artifact SET name = 'x' WHERE name = '7'")


def break_rule(root):
    with damage.sql(root) as connection:
        connection.execute(
            "UPDATE blob SET stored_bytes = stored_bytes + 1 WHERE content = (SELECT min(key) FROM content)"
        )


def tear_journal(root):
    (segment,) = (root / "journal").glob("*.jsonl")
    with segment.open("ab") as file:
        file.write(b'{"action":"cre')


def spoil_chain(root):
    with damage.sql(root) as connection:
        connection.execute("UPDATE tx SET data = zeroblob(20) WHERE first = (SELECT max(first) FROM tx)")


def lose_index(root):
    (root / "index.sqlite3").unlink()


def break_schema(root):
    with damage.sql(root) as connection:
        connection.execute("PRAGMA writable_schema = 1")
        wrong = """replace(sql, '"start"', '"stbrt"')"""
        assert connection.execute(f"UPDATE sqlite_master SET sql = {wrong} WHERE name = 'blob'").rowcount


def spoil_pages(root):
    """An entry of SQLite's own is another: its row can be read, but not be found by its id."""
    with damage.sql(root) as connection:
        (page,) = connection.execute("PRAGMA page_size").fetchone()
        (wanted,) = connection.execute("SELECT id FROM record WHERE key = (SELECT max(key) FROM artifact)").fetchone()
    data = bytearray((root / "index.sqlite3").read_bytes())
    leaf_of_an_index, places = 10, [found.start() for found in re.finditer(re.escape(wanted), data)]
    (place,) = [at for at in places if data[at - at % page] == leaf_of_an_index]
    data[place] ^= 1
    (root / "index.sqlite3").write_bytes(data)


def no_harm(_root):
    pass


def alter_journal(root):
    (segment,) = (root / "journal").glob("*.jsonl")
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)


def cut_journal(root):
    (segment,) = (root / "journal").glob("*.jsonl")
    segment.write_bytes(segment.read_bytes().rpartition(b"\n")[0].rpartition(b"\n")[0] + b"\n")


HARM = [
    no_harm,
    spoil_pack,
    alter_row,
    break_rule,
    tear_journal,
    alter_journal,
    cut_journal,
    spoil_chain,
    break_schema,
    spoil_pages,
    lose_index,
]


@pytest.mark.parametrize("harm", HARM)
def test_two_processes_find_and_tell_what_one_does(root, children, monkeypatch, harm):
    harm(root)
    findings, checked, read = told(check_path(root))
    assert len(children) == (harm is not lose_index)
    wanted = alone(root, monkeypatch)
    assert (findings, read) == (wanted[0], wanted[2])
    assert checked == wanted[1]
    assert bool(findings) == (harm is not no_harm)


def test_a_sound_store_is_gone_over_once_and_no_row_is_derived(root, children, monkeypatch):
    monkeypatch.setattr(rows, "derived", None)
    report = check_path(root)
    assert children
    assert report.exit_code == 0
    assert report.read == report.checked["contents"] == 92
    assert report.checked["rows"] > 300


@pytest.mark.parametrize("harm", [no_harm, tear_journal, cut_journal])
def test_a_sound_journal_is_read_by_the_child_and_any_other_by_the_parent_too(root, children, monkeypatch, harm):
    harm(root)
    here, read = [], journal.check_journal
    monkeypatch.setattr(journal, "check_journal", lambda scene: here.append(scene) or read(scene))
    report = check_path(root)
    assert children
    assert len(here) == (harm is not no_harm)
    assert report.checked["transactions in the journal"] > 0


@pytest.mark.parametrize("harm", [no_harm, alter_row, break_rule])
def test_contents_are_read_once_where_rows_must_be_derived(root, children, monkeypatch, harm):
    with holdfast.open(root) as store:
        store.indexes.declare("metadata.n")
    harm(root)
    wanted = alone(root, monkeypatch)
    passes = []
    check_blobs = blobs.check_blobs
    monkeypatch.setattr(blobs, "check_blobs", lambda *given, **more: passes.append(1) or check_blobs(*given, **more))
    assert told(check_path(root)) == wanted
    assert len(passes) == len(children) == 1


def test_where_the_child_is_killed_one_process_does_it_all(root, children, monkeypatch):
    wanted = alone(root, monkeypatch)
    look = beside._look

    def killed(*given):
        os.kill(os.getpid(), signal.SIGKILL)
        return look(*given)

    monkeypatch.setattr(beside, "_look", killed)
    assert told(check_path(root)) == wanted
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_an_error_here_ends_the_child_and_leaves_no_folder(root, children, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(beside, "_look", lambda *_: signal.pause())

    def interrupted(_done, _total, what, _unit):
        if what == "checking blobs":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check_path(root, progress=interrupted)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    assert not list(tmp_path.glob("holdfast-scratch-*"))


def test_where_no_process_can_be_had_one_does_it_all(root, children, monkeypatch):
    wanted = alone(root, monkeypatch)

    def refused():
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refused)
    assert told(check_path(root)) == wanted
    assert not children


def test_whoever_watches_may_stop_it_by_any_error(root, children):
    def stop(_done, _total, what, _unit):
        if what == "checking packs":
            raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        check_path(root, progress=stop)
    assert len(children) == 1


def test_an_open_store_is_checked_by_its_own_process(root, children):
    with holdfast.open(root) as store:
        assert store.fsck().exit_code == 0
        assert check_path(root).exit_code == 0
    assert not children

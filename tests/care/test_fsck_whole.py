"""Packs that are proven whole are not looked at again; where anything is amiss, it is found as if one by one."""

from __future__ import annotations

import os
import re

import pytest

import holdfast
from holdfast.blobs.packs import bulk
from holdfast.care.fsck import check_path, packs, whole
from holdfast.formats import frame, pack
from holdfast.testing import damage


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """Packs that repack left behind and made, and one of later contents."""
    root = tmp_path_factory.mktemp("whole") / "store"
    with holdfast.create(root, actor="Ada") as store:
        store.artifacts.put_many((f"many/{n}", f"content {n} " * 40) for n in range(300))
        store.artifacts.put_many((f"same/{n}", f"content {n} " * 40) for n in range(30))
        store.put("loose", os.urandom(90_000))
        store.repack()
        store.artifacts.put_many((f"later/{n}", f"later {n} " * 40) for n in range(90))
    return root


@pytest.fixture
def root(sample, tmp_path):
    return damage.twin(sample, tmp_path / "store")


def told(report):
    here = [(one.code, one.object, one.detail, one.fields) for one in report.findings]
    found = [(code, what, re.sub("scratch-[^/]*", "", detail), fields) for code, what, detail, fields in here]
    return found, dict(report.checked), report.read, report.read_bytes


def one_by_one(root, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(whole, "prove_packs", lambda _scene: None)
        return told(check_path(root))


def the_pack(root):
    with damage.sql(root) as connection:
        name = connection.execute(f"SELECT k.name FROM container k JOIN blob ON container = k.key AND content = {SOME}")
        return root / "packs" / f"{name.fetchone()[0]}.zst"


def spoil_frame(root):
    file = the_pack(root)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0x10
    file.write_bytes(data)


def spoil_header(root):
    file = the_pack(root)
    data = bytearray(file.read_bytes())
    data[data.index(pack.MARK) + 40] ^= 1
    file.write_bytes(data)


def cut(root):
    file = the_pack(root)
    file.write_bytes(file.read_bytes()[:-7])


def lengthen(root):
    file = the_pack(root)
    file.write_bytes(file.read_bytes() + b"more")


def lose(root):
    the_pack(root).unlink()


def sql(statement):
    def harm(root):
        with damage.sql(root) as connection:
            assert connection.execute(statement).rowcount > 0

    return harm


SOME = "(SELECT min(content) + 7 FROM blob WHERE container > 0)"
HARM = {
    "nothing": lambda _root: None,
    "a frame": spoil_frame,
    "a header": spoil_header,
    "the end": cut,
    "bytes behind the end": lengthen,
    "no pack": lose,
    "a place": sql(f"UPDATE blob SET start = start + 1 WHERE content = {SOME}"),
    "an offset": sql(f"UPDATE blob SET offset = offset + 1 WHERE content = {SOME}"),
    "an offset beyond": sql(f"UPDATE blob SET offset = 1 << 40 WHERE content = {SOME}"),
    "an offset before": sql(f"UPDATE blob SET offset = -1 WHERE content = {SOME}"),
    "a length": sql(f"UPDATE blob SET stored_bytes = stored_bytes - 1 WHERE content = {SOME}"),
    "a size": sql(f"UPDATE content SET size = size + 1 WHERE key = {SOME}"),
    "a number of frames": sql(f"UPDATE blob SET frames = 2 WHERE content = {SOME}"),
    "frames that are text": sql(f"UPDATE blob SET frames = 'x' WHERE content = {SOME}"),
    "a start that is text": sql(f"UPDATE blob SET start = 'x' WHERE content = {SOME}"),
    "a digest": sql(f"UPDATE content SET digest = zeroblob(32) WHERE key = {SOME}"),
    "a digest that is none": sql(f"UPDATE content SET digest = x'00' WHERE key = {SOME}"),
    "no row of a place": sql(f"DELETE FROM blob WHERE content = {SOME}"),
    "no row of a content": sql(f"DELETE FROM content WHERE key = {SOME}"),
    "the place of another": sql(
        f"UPDATE blob SET start = (SELECT start FROM blob b WHERE b.content = blob.content + 1) WHERE content = {SOME}"
    ),
    "another pack": sql(
        "UPDATE blob SET container = (SELECT max(key) FROM container k WHERE k.key <> blob.container) "
        f"WHERE content = {SOME}"
    ),
    "a pack of another kind": sql("UPDATE container SET kind = 'loose' WHERE key = (SELECT max(key) FROM container)"),
    "the name of a pack": sql("UPDATE container SET name = 'x' WHERE key = (SELECT max(key) FROM container)"),
}


@pytest.mark.parametrize("few", [1, 50, 8_000])
@pytest.mark.parametrize("what", HARM)
def test_whatever_is_amiss_is_found_as_if_one_by_one(root, monkeypatch, what, few):
    monkeypatch.setattr(whole, "_TOGETHER", few)
    HARM[what](root)
    found = told(check_path(root))
    assert found == one_by_one(root, monkeypatch)
    assert bool(found[0]) == (what != "nothing")


def looked_at(monkeypatch):
    """Names of the packs that are looked at more closely."""
    names, look = [], packs._look_at
    monkeypatch.setattr(packs, "_look_at", lambda scene, name: names.append(name) or look(scene, name))
    return names


def test_a_sound_pack_is_looked_at_once_and_only_a_damaged_one_again(root, monkeypatch):
    names = looked_at(monkeypatch)
    monkeypatch.setattr(bulk, "members", lambda _packs, wanted: iter(wanted))  # which would not be two of anything
    assert check_path(root).exit_code == 0
    assert names == []
    monkeypatch.undo()
    names = looked_at(monkeypatch)
    spoil_frame(root)
    assert check_path(root).exit_code == 4
    assert names == [the_pack(root).name.removesuffix(".zst")]
    assert len([*(root / "packs").iterdir()]) > 1


def test_what_repack_left_behind_is_proven_too(root, monkeypatch):
    with holdfast.open(root) as store:
        store.repack()
    names = looked_at(monkeypatch)
    report = check_path(root)
    assert report.exit_code == 0
    assert report.checked["bytes in packs that nothing refers to"] > 1_000
    assert names == []
    assert told(report) == one_by_one(root, monkeypatch)


def test_damage_of_what_nothing_refers_to_is_found_too(root, monkeypatch):
    with holdfast.open(root) as store:
        store.repack()
        old = min((root / "packs").iterdir(), key=lambda file: file.stat().st_mtime_ns)
    data = bytearray(old.read_bytes())
    data[data.index(frame.MAGIC) + 40] ^= 0x10
    old.write_bytes(data)
    found = told(check_path(root))
    assert [one[0] for one in found[0]] == ["pack-garbage"]
    assert found == one_by_one(root, monkeypatch)


def test_a_content_that_no_change_speaks_of_is_told(root, monkeypatch):
    def give_up(store):
        with store.transaction():
            store.artifacts.put_many((f"never/{n}", f"never {n} " * 40) for n in range(20))
            raise RuntimeError

    with holdfast.open(root) as store, pytest.raises(RuntimeError):
        give_up(store)
    found = told(check_path(root))
    assert found == one_by_one(root, monkeypatch)


def test_contents_in_chunks_are_read_by_their_recipes(root, monkeypatch):
    content = os.urandom(3_000_000)
    with holdfast.open(root) as store:
        store.put("large", content)
        store.put("large", content + b"more")
    found = told(check_path(root))
    assert found == one_by_one(root, monkeypatch)
    assert found[0] == []


def test_a_portion_and_a_quick_check_read_no_more_than_they_should(root, monkeypatch):
    monkeypatch.setattr(bulk, "are_true", None)
    assert check_path(root, quick=True).read == 0
    assert check_path(root, portion=holdfast.Portion.parse("10%")).read < 100

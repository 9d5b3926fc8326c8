"""Content that is cut: what comes out is what went in, ranges read what they need, and little is stored twice."""

from __future__ import annotations

import hashlib
import io
import random
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import holdfast
from holdfast.blobs.chunks import CUT_FROM, cutter
from holdfast.blobs.chunks.expected import Expected
from holdfast.blobs.chunks.intake import Intake
from holdfast.blobs.chunks.writer import Appended
from holdfast.engine import cutting
from holdfast.engine.transaction import write
from holdfast.errors import InvalidValueError, MissingDependencyError, StorageIOError
from holdfast.formats.pack import Spot
from holdfast.formats.recipe import Recipe
from holdfast.values import digest as digests

MIB = 1 << 20
BASE = random.Random(1).randbytes(2 * MIB)

GOLDEN = "1bf9922f34e16656"
"""Cuts of one content, on any machine. Another value would mean that what is stored is shared less from then on."""


def place(store, content):
    return store._handle.index.physical.place(digests.of(content))


def bytes_in(root, *folders):
    return sum(path.stat().st_size for folder in folders for path in Path(root, folder).rglob("*") if path.is_file())


def reads(store, monkeypatch):
    seen = []
    packs = store._handle.blobs.packs
    real = packs.read

    def read(digest, spot):
        seen.append(digest)
        return real(digest, spot)

    monkeypatch.setattr(packs, "read", read)
    return seen


# -- what is cut -------------------------------------------------------------------------------------------------------


def test_large_content_is_stored_whole_first_and_cut_from_its_second_revision_on(store):
    store.put("a", BASE)
    store.put("a", BASE + b"more")
    assert (place(store, BASE).cut, place(store, BASE + b"more").cut) == (False, True)
    store.gc()
    assert place(store, BASE).cut, "gc cuts the first too, for it shares much"


def test_small_content_and_other_names_are_not_cut(store):
    for n in range(3):
        store.put("small", BASE[: CUT_FROM - 10 + n])
        store.put(f"other {n}", BASE + b"%d" % n)
    assert store._handle.index.physical.chunks.totals() == (0, 0, 0)


def test_a_first_revision_that_shares_nothing_stays_whole(store):
    other = random.Random(2).randbytes(2 * MIB)
    store.put("a", BASE)
    store.put("a", other)
    store.gc()
    assert (place(store, BASE).cut, place(store, other).cut) == (False, True)


@pytest.mark.parametrize("kind", ["bytes", "path", "stream", "folder"])
def test_every_way_of_putting_cuts(store, tmp_path, kind):
    file = tmp_path / "file"
    for content in (BASE, BASE + b"1", BASE + b"2"):
        file.write_bytes(content)
        if kind == "folder":
            store.add(file)
        else:
            store.put("file", {"bytes": content, "path": file, "stream": io.BytesIO(content)}[kind])
    assert [place(store, BASE + more).cut for more in (b"", b"1", b"2")] == [False, True, True]
    assert store.read("file") == BASE + b"2"


def test_the_same_content_is_a_hit_whether_it_is_cut_or_whole(store, root):
    store.put("a", BASE)
    store.put("a", BASE + b"1")
    before = bytes_in(root, "blobs", "packs", "recipes")
    store.put("b", BASE + b"1")
    store.put("a", BASE)
    store.put("a", BASE + b"1")
    assert bytes_in(root, "blobs", "packs", "recipes") == before
    assert not list(Path(root, "tmp").iterdir())


def test_an_edit_an_insertion_and_an_append_cost_little(store, root):
    contents = [BASE, BASE[:MIB] + b"inserted" + BASE[MIB:], BASE[:500] + b"edited" + BASE[506:], BASE + bytes(5000)]
    for content in contents:
        store.put("a", content)
    store.gc(grace_s=0)
    assert bytes_in(root, "blobs", "packs", "recipes") < len(BASE) * 1.4
    assert all(store._handle.blobs.read(digests.of(one)) == one for one in contents)


def test_a_put_syncs_each_pack_once_however_many_chunks_it_has(opener, disk):
    with opener() as store:
        store.put("a", BASE)
        disk.calls.clear()
        store.put("a", BASE + random.Random(5).randbytes(3 * MIB))
        syncs = sum(count for operation, count in disk.calls.items() if "sync" in operation)
        chunks = store._handle.index.physical.chunks.totals()[0]
    assert (chunks > 50, syncs < 20) == (True, True), (chunks, disk.calls)


# -- reading -----------------------------------------------------------------------------------------------------------


def test_a_range_reads_the_chunks_it_touches_and_no_other(store, monkeypatch):
    store.put("a", b"first")
    store.put("a", BASE)
    seen = reads(store, monkeypatch)
    with store.artifacts.open("a") as file:
        file.seek(MIB)
        assert file.read(100) == BASE[MIB : MIB + 100]
    assert len(seen) <= 2
    seen.clear()
    assert store.read("a") == BASE
    recipe, _ = store._handle.blobs.recipes.read(digests.of(BASE))
    assert len(seen) == len(recipe)


def test_memory_does_not_grow_with_the_content(store, tmp_path):
    file = tmp_path / "file"
    luck = random.Random(6)
    with file.open("wb") as out:
        for _ in range(96):
            out.write(luck.randbytes(MIB))
    store.put("file", b"first")
    tracemalloc.start()
    try:
        store.put("file", file)
        with store.artifacts.open("file") as content:
            while content.read(MIB):
                pass
        assert tracemalloc.get_traced_memory()[1] < 48 * MIB
    finally:
        tracemalloc.stop()


@settings(max_examples=6)
@given(data=st.data())
def test_what_is_put_is_read_after_any_edits(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("edits") / "store"
    content, contents = BASE[: MIB + MIB // 2], []
    with holdfast.create(root) as store:
        for _ in range(data.draw(st.integers(2, 4))):
            store.put("a", content)
            contents.append(content)
            at = data.draw(st.integers(0, len(content)))
            gone = data.draw(st.integers(0, 50_000))
            new = random.Random(data.draw(st.integers(0, 99))).randbytes(data.draw(st.integers(0, 200_000)))
            content = content[:at] + new + content[at + gone :]
        for one in contents:
            reader = store._handle.blobs.open(digests.of(one))
            for _ in range(4):
                start, length = data.draw(st.integers(0, len(one))), data.draw(st.integers(0, 300_000))
                assert reader.read_at(start, length) == one[start : start + length]
            reader.close()
            assert store._handle.blobs.read(digests.of(one)) == one
        store.gc(grace_s=0)
        assert all(store._handle.blobs.read(digests.of(one)) == one for one in contents)
    assert not holdfast.fsck(root).findings


# -- cutting -----------------------------------------------------------------------------------------------------------


def cuts(content, old=None):
    with Intake(io.BytesIO(content)) as intake:
        pairs = [(raw, bytes(one)) for raw, one in cutter.cut(intake.window, expected=Expected(old))]
        assert intake.digest() == hashlib.sha256(content).digest()
    found = [one for _, one in pairs]
    assert b"".join(found) == content
    assert [raw for raw, _ in pairs] == [hashlib.sha256(one).digest() for one in found]
    return found


def test_the_same_bytes_are_always_cut_at_the_same_places():
    content = b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(8192 * 4))
    sizes = [len(one) for one in cuts(content)]
    assert hashlib.sha256(repr(sizes).encode()).hexdigest()[:16] == GOLDEN


def test_chunks_are_neither_small_nor_large_and_grow_with_the_offset():
    sizes = [len(one) for one in cuts(BASE * 4)]
    assert min(sizes[:-1]) >= cutter.AVERAGE // 4
    assert max(sizes) <= 4 * cutter.AVERAGE
    assert [cutter.average(offset << 30) for offset in (0, 1, 2, 4, 8, 16, 32, 64, 1 << 20)] == [
        size << 10 for size in (64, 64, 128, 256, 512, 1024, 2048, 2048, 2048)
    ]


# -- chunks that an older content leads to expect ----------------------------------------------------------------------


def recipe_of(found, digest=b""):
    made = Recipe(digest)
    for one in found:
        made.add(hashlib.sha256(one).digest(), len(one))
    return made


EDITS = st.lists(
    st.tuples(st.integers(0, 200_000), st.integers(0, 20_000), st.integers(0, 20_000), st.integers(0, 9)), max_size=4
)
"""(where, bytes taken out, bytes put in, which): several in one content."""


@settings(max_examples=60, deadline=None)
@given(edits=EDITS)
def test_an_older_recipe_never_changes_where_content_is_cut(edits):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutter, "AVERAGE", 1024)
        patch.setattr(cutter, "_WINDOW", 16 * 1024)
        base = (
            random.Random(5).randbytes(90_000) + bytes(40_000) + b"again" * 8_000 + random.Random(6).randbytes(60_000)
        )
        content = bytearray(base)
        for at, gone, come, which in edits:
            content[at : at + gone] = random.Random(which).randbytes(come) if which else base[:come]
        old = recipe_of(cuts(base))
        assert cuts(bytes(content), old) == cuts(bytes(content))


def test_where_chunks_grow_only_those_are_expected_that_were_cut_for_the_same_size(monkeypatch):
    monkeypatch.setattr(cutter, "AVERAGE", 256)
    monkeypatch.setattr(cutter, "_WINDOW", 1024)
    base = random.Random(7).randbytes(9 * MIB)  # they double at 8 MiB
    old = recipe_of(cuts(base))
    for moved in (b"", b"x" * 100, b"y" * 40_000):
        for content in (moved + base, base[len(moved) :], base[: 7 * MIB] + moved + base[7 * MIB :]):
            assert cuts(content, old) == cuts(content)


def test_what_is_expected_is_not_cut(monkeypatch):
    counted = []
    real = cutter._maker()

    class Counting(real):
        def cut_buf(self, view):
            for chunk in super().cut_buf(view):
                counted.append(chunk.length)
                yield chunk

    content = random.Random(8).randbytes(24 * MIB)
    old = recipe_of(cuts(content))
    monkeypatch.setattr(cutter, "_maker", lambda: Counting)
    changed = (
        b"inserted" + content[: 10 * MIB] + b"here too" + content[10 * MIB : 20 * MIB] + b"!" + content[-4 * MIB :]
    )
    cuts(changed, old)
    assert sum(counted) < 5 * 2 * 4 * cutter.AVERAGE, "some chunks behind each edit, not the rest of the content"


def test_a_foreign_recipe_of_huge_chunks_leads_to_nothing_being_held():
    content = random.Random(9).randbytes(10 * MIB)
    old = Recipe()
    for _ in range(3):
        old.add(bytes(32), 1 << 29)
    assert cuts(content, old) == cuts(content)


def test_an_edited_content_is_stored_as_if_it_were_cut_whole(store, tmp_path):
    content = random.Random(10).randbytes(9 * MIB)
    edited = content[:1000] + b"in" + content[1000 : 5 * MIB] + b"rewritten" + content[5 * MIB + 9 :]
    for one in (content, content + b"2", edited):
        store.put("a", one)
    with holdfast.create(tmp_path / "other") as other:
        other.put("a", b"something small")
        other.put("a", edited)
        lists = [list(one._handle.blobs.recipes.read(digests.of(edited))[0]) for one in (store, other)]
    assert lists[0] == lists[1]
    assert store.read("a") == edited
    assert store.fsck().exit_code == 0


def test_rows_of_chunks_that_come_together_are_those_of_each(store):
    handle = store._handle
    physical = handle.index.physical

    def spots(pack, *numbers):
        return [(hashlib.sha256(b"%d" % n).digest(), Spot(pack, 100 + n, 50, 0, 70)) for n in numbers]

    with write(handle, what="one"):
        for raw, spot in spots("a" * 32, 0, 1):
            physical.register_chunk(digests.text(raw), spot)
    with write(handle, what="many"):
        physical.register_chunks([*spots("b" * 32, *range(1, 40)), *spots("c" * 32, 39, 40)])
    found = {n: physical.chunk(digests.of(b"%d" % n)) for n in range(42)}
    assert [spot and (spot.pack[0], spot.offset) for spot in found.values()] == [
        ("a", 100), *(("b", 100 + n) for n in range(1, 39)), ("c", 139), ("c", 140), None
    ]  # fmt: skip
    with write(handle, what="none"):
        physical.register_chunks([])


# -- reading what comes ------------------------------------------------------------------------------------------------


class Drips(io.RawIOBase):
    """Gives a few bytes at a time."""

    def __init__(self, content, most):
        self._file, self._most = io.BytesIO(content), most

    def readable(self):
        return True

    def readinto(self, buffer):
        return self._file.readinto(memoryview(buffer)[: self._most])


def test_windows_are_whole_whatever_a_source_gives_at_once():
    content = random.Random(11).randbytes(100_000)
    with Intake(Drips(content, 7_001)) as intake:
        first = bytes(intake.window(60_000))
        second = bytes(intake.window(60_000, first[-10:]))
        assert (first, second) == (content[:60_000], content[59_990:])
        assert bytes(intake.window(10)) == b""
        assert intake.digest() == hashlib.sha256(content).digest()


def test_a_source_that_has_only_read_or_lies_or_fails(monkeypatch):
    class Reads:
        def __init__(self, given):
            self._given = given

        def read(self, length):
            return self._given.pop(0)[:length]

    class Fills:
        def __init__(self, count):
            self._count = count

        def readinto(self, buffer):
            if self._count == "fails":
                raise OSError(5, "no")
            return self._count

    with Intake(Reads([b"abc", b"def", b""])) as intake:
        assert bytes(intake.window(100)) == b"abcdef"
    for lie in (-1, 101, None, "many"):
        with Intake(Fills(lie)) as intake, pytest.raises(InvalidValueError):
            intake.window(100)
    with Intake(Fills("fails")) as intake, pytest.raises(StorageIOError):
        intake.window(100)


def test_chunks_that_were_kept_early_need_no_open_packs(store, monkeypatch):
    from holdfast.blobs.chunks import writer  # noqa: PLC0415

    monkeypatch.setattr(writer, "KEEP_BYTES", MIB)
    kept = []
    real = cutting.keep
    monkeypatch.setattr(cutting, "keep", lambda handle, fresh: (kept.append(len(fresh)), real(handle, fresh)))
    content = random.Random(8).randbytes(24 * MIB)
    store.put("a", b"first")
    store.put("a", content)
    assert len(kept) > 2
    assert store.read("a") == content
    assert store.gc(grace_s=0).chunks == 0
    assert Appended().fresh == []


def test_without_a_compiled_cutter_content_is_stored_whole_and_all_is_read(store, monkeypatch):
    store.put("a", BASE)
    store.put("a", BASE + b"1")
    monkeypatch.setattr(cutter, "_maker", lambda: None)
    store.put("a", BASE + b"2")
    assert not place(store, BASE + b"2").cut
    assert all(store._handle.blobs.read(digests.of(BASE + more)) == BASE + more for more in (b"", b"1", b"2"))
    with pytest.raises(MissingDependencyError, match="pyfastcdc"):
        store._handle.blobs.stage_cut(io.BytesIO(BASE))


def test_many_threads_put_alike_content_at_once(store):
    contents = [BASE + b"%d" % n for n in range(6)]
    for n in range(6):
        store.put(f"a{n}", b"first")
    threads = [threading.Thread(target=store.put, args=(f"a{n}", one)) for n, one in enumerate(contents)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [store.read(f"a{n}") for n in range(6)] == contents
    store.gc(grace_s=0)
    assert [store.read(f"a{n}") for n in range(6)] == contents


def test_holdfast_does_not_import_the_cutter_before_something_is_cut():
    code = "import sys, holdfast.store; assert 'pyfastcdc' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# -- content that goes on where the older one ended --------------------------------------------------------------------


@pytest.fixture
def cut_bytes(monkeypatch):
    """How many bytes were cut."""
    counted = [0]
    real = cutter.cut

    def cut(*arguments, **options):
        for raw, chunk in real(*arguments, **options):
            counted[0] += len(chunk)
            yield raw, chunk

    monkeypatch.setattr(cutter, "cut", cut)
    return counted


@pytest.mark.parametrize("kind", ["bytes", "path"])
def test_of_content_that_was_appended_to_only_the_end_is_cut(store, tmp_path, cut_bytes, kind):
    log = random.Random(31).randbytes(3_000_000)
    for turn in range(4):
        content = log[: 1_500_000 + 400_000 * turn]
        cut_bytes[0] = 0
        (tmp_path / "log").write_bytes(content)
        store.put("log", content if kind == "bytes" else tmp_path / "log")
        assert store.read("log") == content
        if turn > 1:
            assert cut_bytes[0] < 400_000 + 2 * 256 * 1024


def test_what_was_appended_to_has_the_recipe_that_cutting_all_of_it_gives(tmp_path):
    log = random.Random(32).randbytes(3_000_000)
    lists = []
    for name, lengths in (("often", (1_200_000, 1_700_000, 1_700_001, 2_900_000)), ("once", (1_200_000, 2_900_000))):
        with holdfast.create(tmp_path / name) as store:
            for length in lengths:
                store.put("log", log[:length])
            recipe, _ = store._handle.blobs.recipes.read(store.get("log").digest)
            lists.append(list(recipe))
    assert lists[0] == lists[1]


@pytest.mark.parametrize("at", [10, 700_000, 1_499_990], ids=["first", "middle", "last"])
@pytest.mark.parametrize("kind", ["bytes", "path", "stream"])
def test_content_that_seems_appended_to_and_is_not_is_cut_from_its_beginning(store, tmp_path, monkeypatch, kind, at):
    """The samples are made to miss the edit: only the digest of all that came before tells."""
    monkeypatch.setattr("holdfast.blobs.chunks.appended._SAMPLES", 1)
    monkeypatch.setattr("holdfast.blobs.chunks.appended.seems_appended", lambda source, old: source.seekable())
    monkeypatch.setattr("holdfast.blobs.chunks.writer.seems_appended", lambda source, old: source.seekable())
    first = random.Random(33).randbytes(1_400_000)
    second = first + b"more" * 25_000
    third = second[:at] + b"another byte here" + second[at + 17 :] + b"and more" * 20_000
    for content in (first, second, third, second[:1_450_000]):
        (tmp_path / "log").write_bytes(content)
        store.put("log", {"bytes": content, "path": tmp_path / "log", "stream": io.BytesIO(content)}[kind])
        assert store.read("log") == content
    assert store.fsck().exit_code == 0


def test_an_older_recipe_that_is_damaged_or_lacks_chunks_is_not_gone_on_with(store, root):
    log = random.Random(34).randbytes(2_500_000)
    for length in (1_200_000, 1_700_000):
        store.put("log", log[:length])
    recipe = store._handle.blobs.recipes.path(store.get("log").digest)
    with open(recipe, "r+b") as file:
        file.truncate(50)
    store.put("log", log)
    assert store._handle.blobs.verify(store.get("log").digest).size == len(log)

"""A search file that is missing, damaged, foreign, copied, of another version or read-only."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.errors import IndexDamagedError, ReadOnlyError, StorageIOError
from holdfast.search import START, Condition, Document, SearchIndex
from holdfast.search import file as file_module


def fill(path: str, count: int = 200) -> None:
    with SearchIndex(path) as index:
        documents = (Document(key, 1, f"n{key}", {"k": key}, f"word w{key} " * 20) for key in range(count))
        assert index.feed(documents, expected=START, upto=(5, b"five"))


def overwrite(path: str, offset: int, data: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def _garbage(path: str) -> None:
    Path(path).write_bytes(b"this is no database at all" * 1_000)


def _header(path: str) -> None:
    overwrite(path, 0, b"SQLite format 4\0")


def _cut(path: str) -> None:
    os.truncate(path, os.path.getsize(path) // 2)


def _zeros(path: str) -> None:
    overwrite(path, 4096, bytes(os.path.getsize(path) - 4096))


def _empty(path: str) -> None:
    os.truncate(path, 0)


def _gone(path: str) -> None:
    os.unlink(path)


def _pipe(path: str) -> None:
    os.unlink(path)
    os.mkfifo(path)


def _newer(path: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
        connection.execute("CREATE TABLE future (x)")
    connection.close()


def _no_tables(path: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE meta")
    connection.close()


def _foreign(path: str) -> None:
    os.unlink(path)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE precious (x)")
    connection.close()


def _copied(path: str) -> None:
    shutil.copy(path, path + "2")
    os.replace(path + "2", path)


UNUSABLE = [
    (_garbage, Condition.DAMAGED),
    (_header, Condition.DAMAGED),
    (_empty, Condition.MISSING),
    (_gone, Condition.MISSING),
    (_pipe, Condition.DAMAGED),
    (_newer, Condition.OTHER_VERSION),
    (_no_tables, Condition.DAMAGED),
    (_foreign, Condition.FOREIGN),
    (_copied, Condition.MOVED),
]


@pytest.mark.parametrize(("spoil", "condition"), UNUSABLE)
def test_an_unusable_file_is_made_anew_and_can_be_fed(
    path: str, spoil: Callable[[str], None], condition: Condition
) -> None:
    fill(path)
    spoil(path)
    with SearchIndex(path) as index:
        assert index.position() == START
        assert index.found is condition
        assert index.query("word", limit=5) == []
        assert index.feed([Document(1, 1, "n", None, "word")], expected=START, upto=(1, b"a"))
        assert [hit.key for hit in index.query("word", limit=5)] == [1]
        assert index.check() == []
    with SearchIndex(path) as again:
        assert again.found is Condition.CURRENT
        assert again.position() == (1, b"a")


@pytest.mark.parametrize("spoil", [_garbage, _foreign])
def test_only_what_is_no_search_index_is_moved_aside_and_kept(path: str, spoil: Callable[[str], None]) -> None:
    fill(path)
    spoil(path)
    before = Path(path).read_bytes()
    with SearchIndex(path) as index:
        index.position()
    aside = Path(path + file_module.ASIDE).read_bytes()
    assert len(aside) == len(before)
    assert aside[100:] == before[100:]


@pytest.mark.parametrize("spoil", [_newer, _no_tables, _copied])
def test_a_file_that_sqlite_can_use_is_emptied_in_place_under_those_who_have_it_open(
    path: str, spoil: Callable[[str], None]
) -> None:
    fill(path)
    spoil(path)
    inode = os.stat(path).st_ino
    with SearchIndex(path) as index:
        assert index.position() == START
    assert os.stat(path).st_ino == inode
    assert not os.path.exists(path + file_module.ASIDE)


@pytest.mark.parametrize("spoil", [_cut, _zeros])
def test_damage_that_shows_while_working_is_said_once_and_then_the_index_is_new(
    path: str, spoil: Callable[[str], None]
) -> None:
    fill(path, 3_000)
    spoil(path)
    with SearchIndex(path) as index:
        said = 0
        for _ in range(3):
            try:
                assert index.query("word", limit=5_000) == []
            except IndexDamagedError as error:
                assert "Search again" in error.remedy  # noqa: PT017
                said += 1
        assert said <= 1
        assert index.found is Condition.DAMAGED
        assert index.position() == START
        assert index.feed([Document(1, 1, "n", None, "word")], expected=START, upto=(1, b"a"))
        assert index.check() == []


def test_feeding_a_damaged_index_says_that_the_cursor_is_elsewhere_now(path: str) -> None:
    fill(path, 3_000)
    with SearchIndex(path) as index:
        assert index.position() == (5, b"five")
    _damage_word_pages(path)
    with SearchIndex(path) as index:
        assert index.position() == (5, b"five")
        fed = index.feed(
            (Document(key, 2, "n", None, "word " * 50) for key in range(3_000)), expected=(5, b"five"), upto=(6, b"6")
        )
        if fed:  # the damaged pages were not met; then asking meets them
            with pytest.raises(IndexDamagedError):
                index.query("word", limit=10_000)
        assert index.position() == START
        assert index.check() == []


def _damage_word_pages(path: str) -> None:
    """Garbage in the pages that hold the words, not in those of the cursor."""
    connection = sqlite3.connect(path)
    pages = connection.execute("SELECT pageno FROM dbstat WHERE name = 'words_data'").fetchall()
    connection.close()
    for (page,) in pages:
        overwrite(path, (page - 1) * 4096, os.urandom(4096))


def test_check_tells_of_damage_and_changes_nothing(path: str) -> None:
    fill(path, 3_000)
    _damage_word_pages(path)
    before = Path(path).read_bytes()
    with SearchIndex(path, read_only=True) as index:
        assert index.check() != []
    assert Path(path).read_bytes() == before


def test_check_finds_documents_without_words(path: str) -> None:
    fill(path)
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO doc VALUES (1000000, 1000000, 1, NULL)")
    connection.close()
    with SearchIndex(path) as index:
        assert index.check() == ["1 documents have no words"]


def test_a_handle_notices_that_its_file_was_replaced_or_removed(path: str) -> None:
    fill(path)
    with SearchIndex(path) as old:
        assert old.query("word", limit=1)
        os.unlink(path)
        with SearchIndex(path) as other:
            assert other.position() == START
            assert other.feed([Document(9, 1, "n", None, "fresh")], expected=START, upto=(1, b"a"))
            assert old.position() == (1, b"a")
            assert [hit.key for hit in old.query("fresh", limit=5)] == [9]
            assert old.feed([Document(8, 1, "n", None, "more")], expected=(1, b"a"), upto=(2, b"b"))
        assert [hit.key for hit in old.query("more OR fresh", limit=5)] == [8, 9]
    with SearchIndex(path) as again:
        assert again.position() == (2, b"b")
        assert again.check() == []


def test_a_moved_store_keeps_its_index_and_a_copied_one_does_not(path: str, tmp_path: Path) -> None:
    fill(path)
    os.rename(path, tmp_path / "elsewhere.sqlite3")
    with SearchIndex(str(tmp_path / "elsewhere.sqlite3")) as moved:
        assert moved.found is Condition.CURRENT
    shutil.copy(tmp_path / "elsewhere.sqlite3", tmp_path / "copy.sqlite3")
    with SearchIndex(str(tmp_path / "copy.sqlite3")) as copied:
        assert copied.found is Condition.MOVED
        assert copied.position() == START


@pytest.mark.parametrize(("spoil", "condition"), UNUSABLE[:-1])
def test_a_read_only_handle_makes_nothing_and_finds_nothing(
    path: str, spoil: Callable[[str], None], condition: Condition
) -> None:
    fill(path)
    spoil(path)
    before = Path(path).read_bytes() if os.path.isfile(path) else None
    with SearchIndex(path, read_only=True) as index:
        assert index.position() == START
        assert index.query("word", limit=5) == []
        assert index.counts().live == 0
        assert list(index.left_out()) == []
        assert index.found is condition
        assert index.check() == []
        with pytest.raises(ReadOnlyError):
            index.feed([], expected=START, upto=(1, b"a"))
        with pytest.raises(ReadOnlyError):
            index.reset()
    assert (Path(path).read_bytes() if os.path.isfile(path) else None) == before


def test_a_read_only_handle_answers_from_a_good_file_and_says_when_it_is_a_copy(path: str) -> None:
    fill(path)
    with SearchIndex(path, read_only=True) as index:
        assert index.found is Condition.CURRENT
        assert index.position() == (5, b"five")
        assert len(index.query("word", limit=1_000)) == 200
    _copied(path)
    with SearchIndex(path, read_only=True) as index:
        assert index.found is Condition.MOVED
        assert len(index.query("word", limit=1_000)) == 200


@contextlib.contextmanager
def writable(folder: str) -> Iterator[None]:
    """For a moment the folder may be written to again."""
    user = os.geteuid()
    os.seteuid(os.getuid())
    os.chmod(folder, 0o755)
    yield
    os.chmod(folder, 0o555)
    os.seteuid(user)


@pytest.fixture
def frozen() -> Iterator[str]:
    """A filled index in a folder that may not be written to. Root may write anywhere, so it becomes somebody else."""
    folder = tempfile.mkdtemp()  # of its own, as somebody else may not enter pytest's folders
    path = os.path.join(folder, "search.sqlite3")
    fill(path)
    os.chmod(path, 0o444)
    os.chmod(folder, 0o555)
    if os.getuid() == 0:
        os.seteuid(65_534)
    yield path
    os.seteuid(os.getuid())
    os.chmod(folder, 0o755)
    shutil.rmtree(folder)


def test_an_index_in_a_folder_that_cannot_be_written_is_read(frozen: str) -> None:
    with SearchIndex(frozen, read_only=True) as index:
        assert index.position() == (5, b"five")
        assert len(index.query("word", limit=1_000)) == 200
    assert os.listdir(os.path.dirname(frozen)) == ["search.sqlite3"]
    with SearchIndex(frozen) as index, pytest.raises(ReadOnlyError):
        index.position()


def test_an_unfinished_index_in_a_folder_that_cannot_be_written_is_refused_with_a_remedy(frozen: str) -> None:
    with writable(os.path.dirname(frozen)):
        Path(frozen + "-wal").write_bytes(b"rows that are not in the file yet")
    with SearchIndex(frozen, read_only=True) as index, pytest.raises(ReadOnlyError, match="was not closed") as caught:
        index.position()
    assert "Copy the store" in caught.value.remedy


def test_trouble_of_the_file_system_comes_out_typed(tmp_path: Path) -> None:
    with SearchIndex(str(tmp_path / "no" / "such" / "folder.sqlite3")) as index, pytest.raises(StorageIOError):
        index.position()
    (tmp_path / "folder").mkdir()
    with SearchIndex(str(tmp_path / "folder")) as index, pytest.raises(StorageIOError):
        index.position()


def test_an_odd_path_is_a_path(tmp_path: Path) -> None:
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/a?mode=ro#b%41 \xff\xe9")
    os.mkdir(folder)
    fill(folder + "/s.sqlite3")
    with SearchIndex(folder + "/s.sqlite3") as index:
        assert index.position() == (5, b"five")
    assert os.listdir(folder) == ["s.sqlite3"]


def test_a_replacement_that_fails_is_an_error_of_the_file_system(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(path)
    _garbage(path)

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(os, "replace", refuse)
    with SearchIndex(path) as index, pytest.raises(StorageIOError):
        index.position()

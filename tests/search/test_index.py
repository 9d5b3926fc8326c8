"""Feeding and asking: the cursor, what is found and in which order, what takes the place of what, what is forgotten."""

from __future__ import annotations

import glob
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from holdfast.errors import HandleDeadError, InvalidQueryError, LockedError
from holdfast.search import START, Condition, Counts, Document, Hit, LeftOut, NotIndexed, SearchIndex
from holdfast.search import index as index_module

Feed = Callable[..., None]
Find = Callable[..., list[int]]


def texts(*keys: int, word: str = "word") -> Iterator[Document]:
    return (Document(key, 1, f"n{key}", None, f"{word} k{key}") for key in keys)


def test_a_new_index_is_empty_and_stands_at_the_start(index: SearchIndex, find: Find) -> None:
    assert index.position() == START
    assert find("anything") == []
    assert index.counts() == Counts(0, 0, {})
    assert index.found is Condition.MISSING
    assert not index.needs_compaction
    assert index.check() == []


def test_nothing_is_written_before_the_first_call(path: str) -> None:
    SearchIndex(path).close()
    assert not os.path.exists(path)


def test_what_was_fed_is_there_after_reopening(index: SearchIndex, path: str) -> None:
    assert index.feed(texts(7), expected=START, upto=(3, b"abc"))
    index.close()
    with SearchIndex(path) as again:
        assert again.found is Condition.CURRENT
        assert again.position() == (3, b"abc")
        assert again.query("k7", limit=5)[0].key == 7


@pytest.mark.parametrize("wrong", [START, (1, b"x"), (2, b"a"), (9, b"z")])
def test_feeding_from_elsewhere_than_the_cursor_does_nothing_and_draws_nothing(
    index: SearchIndex, find: Find, wrong: tuple[int, bytes]
) -> None:
    assert index.feed(texts(1), expected=START, upto=(1, b"a"))

    def untouched() -> Iterator[Document]:
        raise AssertionError("drawn")
        yield

    assert not index.feed(untouched(), removed=[1], expected=wrong, upto=(5, b"b"))
    assert index.position() == (1, b"a")
    assert find("word") == [1]


def test_a_feed_whose_documents_fail_midway_leaves_no_trace(index: SearchIndex, find: Find) -> None:
    assert index.feed(texts(1, 2), expected=START, upto=(1, b"a"))

    def failing() -> Iterator[Document]:
        yield Document(2, 2, "replaced", None, "new")
        yield Document(3, 1, "three", None, "new")
        raise KeyError("blob store is gone")

    with pytest.raises(KeyError, match="blob store"):
        index.feed(failing(), removed=[1], expected=(1, b"a"), upto=(2, b"b"))
    assert index.position() == (1, b"a")
    assert find("word") == [1, 2]
    assert find("new") == []
    assert index.feed(texts(4), expected=(1, b"a"), upto=(2, b"b"))
    assert find("word") == [1, 2, 4]
    assert index.check() == []


def test_documents_may_ask_the_same_index_while_they_are_drawn(index: SearchIndex, find: Find) -> None:
    assert index.feed(texts(1), expected=START, upto=(1, b"a"))
    documents = (Document(key, 1, str(index.position()[0]), None, "x") for key in find("word"))
    assert index.feed(documents, expected=(1, b"a"), upto=(2, b"b"))
    assert find("name:1") == [1]


def test_a_newer_document_takes_the_place_of_the_one_with_its_key(index: SearchIndex, feed: Feed, find: Find) -> None:
    feed(Document(1, 1, "old name", {"k": "oldvalue"}, "old text"), Document(2, 1, "other", None, "old text"))
    feed(Document(1, 2, "new name", {"k": "newvalue"}, "new text"))
    assert find("old") == [2]
    assert find("oldvalue") == []
    assert index.query("newvalue", limit=9) == [Hit(1, 2, index.query("newvalue", limit=9)[0].score)]
    assert index.counts() == Counts(2, 1, {})


def test_of_several_documents_with_one_key_in_a_feed_the_last_stays(index: SearchIndex, feed: Feed, find: Find) -> None:
    feed(Document(1, 1, "a", None, "first"), Document(1, 2, "a", None, "second"), Document(1, 3, "a", None, "third"))
    assert find("first OR second") == []
    assert [hit.revision for hit in index.query("third", limit=9)] == [3]
    assert index.counts() == Counts(1, 2, {})


def test_removed_artifacts_are_in_no_answer_and_may_come_back(index: SearchIndex, feed: Feed, find: Find) -> None:
    feed(*texts(1, 2, 3))
    feed(removed=(2, 99))
    assert find("word") == [1, 3]
    feed(*texts(2), removed=(2,))
    assert set(find("word")) == {1, 2, 3}
    assert index.counts() == Counts(3, 1, {})


def test_a_match_in_the_name_counts_more_than_in_metadata_and_that_more_than_in_text(feed: Feed, find: Find) -> None:
    filler = [Document(key, 1, f"n{key}", None, "something else entirely") for key in range(10, 40)]
    feed(
        Document(1, 1, "plain", None, "needle and some words"),
        Document(2, 1, "plain", {"about": "needle"}, "and some words"),
        Document(3, 1, "needle", None, "and some more words"),
        *filler,
    )
    assert find("needle") == [3, 2, 1]


def test_more_occurrences_in_a_shorter_text_rank_higher_and_scores_say_so(index: SearchIndex, feed: Feed) -> None:
    feed(
        Document(1, 1, "a", None, "needle " + "hay " * 500),
        Document(2, 1, "b", None, "needle needle needle"),
        *texts(*range(10, 50)),
    )
    hits = index.query("needle", limit=9)
    assert [hit.key for hit in hits] == [2, 1]
    assert hits[0].score > hits[1].score > 0


def test_equals_come_in_order_of_key_and_pages_fit_together(index: SearchIndex, feed: Feed) -> None:
    feed(*(Document(key, 1, "same", None, "same text") for key in (5, 3, 9, 1, 7, 2)))
    whole = index.query("same", limit=100)
    assert [hit.key for hit in whole] == [1, 2, 3, 5, 7, 9]
    assert [hit for offset in range(0, 8, 2) for hit in index.query("same", limit=2, offset=offset)] == whole
    assert index.query("same", limit=0) == []
    assert index.query("same", limit=10**30, offset=4) == whole[4:]
    assert index.query("same", limit=5, offset=10**30) == []


@pytest.mark.parametrize("bad", [{"limit": -1}, {"limit": 1, "offset": -1}])
def test_negative_pages_are_refused(index: SearchIndex, bad: dict[str, int]) -> None:
    with pytest.raises(InvalidQueryError, match="negative"):
        index.query("word", **bad)


def test_beyond_the_bound_only_the_newest_matches_are_ranked_and_pages_still_fit_together(
    index: SearchIndex, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed(*(Document(key, 1, "same", None, "same " * (key % 3 + 1)) for key in range(30)))
    feed(removed=(3, 4, 25))
    everything = index.query("same", limit=100)
    monkeypatch.setattr(index_module, "RANKED", 10)
    hits = index.query("same", limit=100)
    assert {hit.key for hit in hits} == {hit.key for hit in everything} == set(range(30)) - {3, 4, 25}
    assert len(hits) == 27
    ranked, older = [hit for hit in hits if hit.score], [hit for hit in hits if not hit.score]
    assert hits == ranked + older
    assert {hit.key for hit in ranked} == set(range(20, 30)) - {25}
    assert [hit.key for hit in older] == [key for key in range(19, -1, -1) if key not in (3, 4)]
    for size in (1, 4, 9, 10):
        assert [hit for offset in range(0, 40, size) for hit in index.query("same", limit=size, offset=offset)] == hits


def test_metadata_is_found_by_keys_strings_and_numbers_at_any_depth(feed: Feed, find: Find) -> None:
    deep: Any = "bottom"
    for _ in range(190):
        deep = [{"level": deep}]
    feed(
        Document(1, 1, "a", {"Key": [1, 2.5, -7, "Some Text", {"inner": True, "void": None}], "huge": 10**5000}),
        Document(2, 1, "b", deep),
        Document(3, 1, "c", "just text"),
        Document(4, 1, "d", {"nul": "x\0y", "lone": "p\ud800q", "big": 2**64}),
    )
    for query, key in [
        ("key", 1), ("2.5", 1), ("7", 1), ('"some text"', 1), ("inner", 1), ("void", 1), ("bottom", 2), ("level", 2),
        ('"just text"', 3), ("x", 4), ('"p q"', 4), (str(2**64), 4), ("huge", 1),
    ]:  # fmt: skip
        assert find(f"metadata:({query})") == [key], query
    assert find("true OR none OR null") == []


def test_texts_that_were_left_out_are_listed_with_reason_and_counted_while_live(index: SearchIndex, feed: Feed) -> None:
    feed(
        *(Document(key, 4, f"n{key}", None, None, LeftOut.TOO_LARGE) for key in range(2_100, 0, -1)),
        Document(5_000, 1, "x", None, None, LeftOut.NOT_TEXT),
        Document(5_001, 1, "x", None, None, LeftOut.MISSING),
        Document(5_002, 1, "x", None, "text"),
        Document(5_003, 1, "x", None, None),
    )
    feed(Document(7, 5, "n7", None, "short now"), removed=(8, 5_001))
    listed = list(index.left_out())
    assert listed[0] == NotIndexed(5_000, 1, LeftOut.NOT_TEXT)
    assert listed[1:] == [NotIndexed(key, 4, LeftOut.TOO_LARGE) for key in range(1, 2_101) if key not in (7, 8)]
    assert list(index.left_out(reason=LeftOut.MISSING)) == []
    assert index.counts().left_out == {LeftOut.NOT_TEXT: 1, LeftOut.TOO_LARGE: 2_098}
    assert index.query("n9", limit=3)[0].revision == 4


def test_negative_and_very_large_keys_work(index: SearchIndex, feed: Feed, find: Find) -> None:
    feed(*(Document(key, 1, "n", None, "w", LeftOut.TOO_LARGE) for key in (-5, 0, 2**62)))
    assert find("w") == [-5, 0, 2**62]
    assert [entry.key for entry in index.left_out()] == [-5, 0, 2**62]


def test_compaction_is_asked_for_when_over_a_thousand_and_over_30_percent_are_dead(
    index: SearchIndex, feed: Feed
) -> None:
    feed(*texts(*range(1_000)))
    feed(*texts(*range(1_000)))
    assert index.counts() == Counts(1_000, 1_000, {})
    assert not index.needs_compaction
    feed(*texts(0))
    assert index.needs_compaction
    feed(*texts(*range(1_000, 3_000)))
    assert not index.needs_compaction


def test_a_reset_leaves_no_byte_of_what_was_indexed(index: SearchIndex, path: str, find: Find) -> None:
    secret = "xyzzysecret"
    for seq in range(20):
        documents = [Document(key, seq, f"{secret}name", {"m": f"{secret}meta"}, f"{secret}body") for key in range(50)]
        assert index.feed(documents, expected=index.position(), upto=(seq + 1, b"h"))
    with open(path + ".damaged", "wb") as aside:
        aside.write(secret.encode())
    assert any(secret.encode() in _bytes(name) for name in glob.glob(path + "*"))
    assert index.reset()
    for name in glob.glob(path + "*"):
        assert secret.encode() not in _bytes(name), name
    assert index.position() == START
    assert find(secret) == find("name") == []
    assert index.counts() == Counts(0, 0, {})
    assert index.feed(texts(1), expected=START, upto=(1, b"h"))
    assert find("word") == [1]


def _bytes(name: str) -> bytes:
    # only after the last use of the database in this process would this be safe; SQLite's lock on it is not needed here
    with open(name, "rb") as file:
        return file.read()


def test_a_reset_that_expects_another_position_does_nothing(index: SearchIndex, feed: Feed, find: Find) -> None:
    feed(*texts(1))
    assert not index.reset(expected=(7, b"x"))
    assert find("word") == [1]
    assert index.reset(expected=index.position())
    assert find("word") == []


def test_a_reset_says_so_when_a_reader_keeps_old_pages_and_scrub_ends_it_later(
    index: SearchIndex, feed: Feed, find: Find, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.search.file.WAIT_S", 0.05)
    feed(*texts(1, word="secretword"))
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM meta").fetchone()
    index.close()
    with SearchIndex(path) as hurried:
        with pytest.raises(LockedError, match="old pages"):
            hurried.reset()
        assert hurried.query("secretword", limit=1) == []
        assert hurried.position() == START
        reader.close()
        hurried.scrub()
        hurried.scrub()
    assert all(b"secretword" not in _bytes(name) for name in glob.glob(path + "*"))


def test_a_closed_index_is_dead_and_may_be_closed_again(index: SearchIndex) -> None:
    index.position()
    index.close()
    index.close()
    for call in (index.position, index.counts, index.reset, lambda: index.query("a", limit=1)):
        with pytest.raises(HandleDeadError):
            call()


def test_a_forked_child_may_not_use_the_index_and_the_parent_may_go_on(
    index: SearchIndex, feed: Feed, find: Find
) -> None:
    feed(*texts(1))
    child = os.fork()
    if child == 0:
        try:
            index.position()
        except HandleDeadError:
            index.close()
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    feed(*texts(2))
    assert find("word") == [1, 2]


def test_values_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Document(1, 1, "n").key = 2  # type: ignore[misc]


def test_many_threads_feed_and_ask_at_once_and_every_feed_happens_once(index: SearchIndex, find: Find) -> None:
    failures: list[BaseException] = []

    def feeder(number: int) -> None:
        done = 0
        while done < 20:
            at = index.position()
            key = number * 100 + done
            done += index.feed(texts(key), expected=at, upto=(at[0] + 1, b"%d" % key))

    def asker() -> None:
        while len(hits := index.query("word", limit=1_000)) < 80:
            assert len({hit.key for hit in hits}) == len(hits)

    def guarded(work: Callable[..., None], *args: int) -> None:
        try:
            work(*args)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(feeder, n)) for n in range(4)]
    threads += [threading.Thread(target=guarded, args=(asker,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert index.position()[0] == 80
    assert set(find("word")) == {n * 100 + done for n in range(4) for done in range(20)}
    assert index.check() == []


def test_a_look_at_the_best_alone_gives_what_a_look_at_every_document_gives(
    index: SearchIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Equal scores whose keys run against the rows, better ones among them, and dead rows among the best.
    fed = [*texts(*range(60, 0, -1)), *(Document(100 + n, 1, "x", None, "word " * (n + 2)) for n in range(30))]
    assert index.feed(fed, expected=START, upto=(1, b"a"))
    assert index.feed([], removed=[100, 103, *range(105, 125)], expected=(1, b"a"), upto=(2, b"b"))
    wanted = [(limit, offset) for limit in (0, 1, 3, 8, 20, 70) for offset in (0, 2, 9, 60)]
    quick = [index.query("word", limit=limit, offset=offset) for limit, offset in wanted]
    monkeypatch.setattr(index_module, "_FEW", -1)
    assert quick == [index.query("word", limit=limit, offset=offset) for limit, offset in wanted]


def test_a_shared_last_place_goes_to_the_smaller_key_whatever_row_it_has(index: SearchIndex, find: Find) -> None:
    assert index.feed(texts(*range(90, 0, -1)), expected=START, upto=(1, b"a"))
    assert [hit.key for hit in index.query("word", limit=3)] == [1, 2, 3]

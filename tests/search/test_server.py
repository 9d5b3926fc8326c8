"""Full text on a server finds the documents that a file finds: one tokenizer, one parser, two ways to keep the words.

What differs is the order of hits, and what the tests at the end say.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.search import START, Document, LeftOut, SearchIndex
from holdfast.search.lexemes import LONGEST_BYTES, TEXT, vectors

psycopg = pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")

from holdfast.index.postgres.index import PostgresIndex  # noqa: E402
from holdfast.search import server as server_module  # noqa: E402
from holdfast.search.server import ServerSearch  # noqa: E402

WORDS = ["alpha", "beta", "Straße", "naïve", "don't", "foo_bar", "日本語", "x1", "a", "alphabet", "İstanbul", "ﬁn"]
CORNERS = [
    Document(1, 1, "notes/alpha beta.md", {"k": "gamma", "n": 12}, "alpha beta gamma"),
    Document(2, 1, "beta alpha", {"list": ["delta", 1.5, True, None]}, "gamma beta alpha"),
    Document(3, 1, "repeats", None, "a " * 1_000 + "end here"),
    Document(4, 1, "many words", None, " ".join(f"w{n}" for n in range(40_000))),
    Document(5, 1, "one long word", None, "z" * 5_000 + " tail"),
    Document(6, 1, "no text", {"k": "alpha"}, None, LeftOut.NOT_TEXT),
    Document(7, 1, "quotes", None, "it's \"quoted\" back\\slash 'x':1A & | ! <-> (y):*"),
    Document(8, 1, "wide", None, "日本語のテキスト Ελληνικά русский \U0001d4b3 e\u0301te"),
    Document(9, 1, "", {}, ""),
]
QUERIES = [
    "alpha", '"alpha beta"', '"beta alpha"', "alp*", '"alpha be"*', "alpha NOT beta", "alpha OR delta", "-alpha gamma",
    "name:alpha", "metadata:alpha", "text:alpha", "(alpha OR delta) -(beta gamma)", '"a a a a end"', '"a end here"',
    '"w15998 w15999 w16000 w16001 w16002"', '"w31990 w31992"', '"w39998 w39999"', "w3999*", "z" * 5_000, "zz*",
    "z" * 4_999, '"z" tail', '"alpha beta md gamma"', '"md k"', 'name:"notes al"*', "name:(alpha OR beta)", "quoted x",
    "slash", '"back slash"', "日本", '"本 語"', "ελληνικα", "РУССКИЙ", "été", "\U0001d4b3", "12", "1.5",
    '"1 5"', "true", "y*", "w1 w39998", "w1 NOT w39998", "w39998 OR alpha", "(w1 OR beta) -(w39999 OR delta)",
    '"' + " ".join(["a"] * 120) + ' end"', '"' + " ".join(f"w{n}" for n in range(15_900, 16_150)) + '"',
]  # fmt: skip


@pytest.fixture(scope="module")
def server(postgres: str) -> Iterator[ServerSearch]:
    """An empty one in a schema of its own."""
    schema = f"t_{uuid.uuid4().hex[:16]}"
    with psycopg.connect(postgres, autocommit=True) as link:
        link.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
        index = PostgresIndex(f"{postgres}{'&' if '?' in postgres else '?'}schema={schema}")
        index.migrate()
        made = ServerSearch(index.elsewhere())
        yield made
        made.close()
        index.close()
        link.execute(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture
def both(server: ServerSearch, tmp_path: Path) -> Iterator[tuple[SearchIndex, ServerSearch]]:
    """One in a file, one on the server, both empty."""
    server.reset()
    with SearchIndex(str(tmp_path / "search.sqlite3")) as file:
        yield file, server


def keys(index: SearchIndex | ServerSearch, query: str) -> list[int]:
    return sorted(hit.key for hit in index.query(query, limit=1_000))


pytestmark = pytest.mark.postgres


def test_both_find_the_same_documents(both: tuple[SearchIndex, ServerSearch]) -> None:
    for index in both:
        assert index.feed(CORNERS, expected=START, upto=(9, b"h"))
    file, server = both

    found = {query: (keys(file, query), keys(server, query)) for query in QUERIES}

    assert {query: pair for query, pair in found.items() if pair[0] != pair[1]} == {}
    assert sum(bool(pair[0]) for pair in found.values()) > len(QUERIES) // 2
    assert file.counts() == server.counts()
    assert list(file.left_out()) == list(server.left_out())


TEXTS = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)
TERMS = st.builds(
    "{}{}{}".format, st.sampled_from(["", "", "name:", "text:", "metadata:"]),
    st.one_of(st.sampled_from(["alpha", "stras*", "a", "naive", "日", "foo", "x*"]),
              st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(lambda some: '"' + " ".join(some) + '"')),
    st.just(""),
)  # fmt: skip
ASKED = st.recursive(
    TERMS,
    lambda inner: st.one_of(
        st.builds("({} {})".format, inner, inner),
        st.builds("({} OR {})".format, inner, inner),
        st.builds("({} NOT {})".format, inner, inner),
    ),
    max_leaves=5,
)


@settings(max_examples=15)
@given(texts=st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=6), asked=st.lists(ASKED, max_size=6))
def test_so_they_do_whatever_is_in_them_and_asked(
    both: tuple[SearchIndex, ServerSearch], texts: list[tuple[str, str, str]], asked: list[str]
) -> None:
    documents = [Document(n, 1, name, {"k": more}, text) for n, (name, more, text) in enumerate(texts, 1)]
    for index in both:
        index.reset()
        index.feed(documents, expected=START, upto=(1, b"h"))
    for query in asked:
        if not query.startswith(("name:(", "text:(", "metadata:(")):
            assert keys(both[0], query) == keys(both[1], query), query


def test_what_is_fed_again_takes_the_place_of_what_was_and_what_is_removed_is_gone(
    both: tuple[SearchIndex, ServerSearch],
) -> None:
    for index in both:
        index.feed(CORNERS[:3], expected=START, upto=(3, b"h"))
        again = [Document(1, 2, "new", None, "epsilon"), Document(1, 3, "newest", None, "zeta")]

        assert not index.feed(again, expected=START, upto=(4, b"i"))
        assert index.feed(again, expected=(3, b"h"), upto=(4, b"i"), removed=[2])

        assert (keys(index, "zeta"), keys(index, "epsilon"), keys(index, "alpha")) == ([1], [], [])
        assert [hit.revision for hit in index.query("zeta", limit=1)] == [3]
        assert index.position() == (4, b"i")
        assert index.check() == []


def test_a_feeder_that_fails_leaves_nothing(both: tuple[SearchIndex, ServerSearch]) -> None:
    def failing() -> Iterator[Document]:
        yield CORNERS[0]
        raise RuntimeError

    for index in both:
        with pytest.raises(RuntimeError):
            index.feed(failing(), expected=START, upto=(3, b"h"))
        assert (index.position(), keys(index, "alpha")) == (START, [])


def test_pages_of_hits_follow_each_other(both: tuple[SearchIndex, ServerSearch]) -> None:
    documents = [Document(n, 1, f"n{n}", None, "word " * (n % 5 + 1)) for n in range(20)]
    for index in both:
        index.feed(documents, expected=START, upto=(1, b"h"))
        whole = index.query("word", limit=100)
        assert [hit for at in range(0, 20, 7) for hit in index.query("word", limit=7, offset=at)] == whole
        assert all(one.score >= other.score for one, other in pairwise(whole))


def test_a_name_counts_for_more_than_a_text(both: tuple[SearchIndex, ServerSearch]) -> None:
    documents = [Document(1, 1, "other", None, "word"), Document(2, 1, "word", None, "other")]
    for index in both:
        index.feed(documents, expected=START, upto=(1, b"h"))
        assert [hit.key for hit in index.query("word", limit=5)] == [2, 1]


# -- what differs, as docs/postgresql.md says --------------------------------------------------------------------------


def test_of_a_word_longer_than_the_server_keeps_only_the_beginning_can_be_asked_for_by_prefix(
    both: tuple[SearchIndex, ServerSearch],
) -> None:
    long = "q" * LONGEST_BYTES
    for index in both:
        index.feed([Document(1, 1, "n", None, f"{long}one")], expected=START, upto=(1, b"h"))
    assert [keys(index, f"{long}one") for index in both] == [[1], [1]]
    assert [keys(index, f"{long}two") for index in both] == [[], []]
    assert [keys(index, f"{long}on*") for index in both] == [[1], [1]]
    assert [keys(index, f"{long}tw*") for index in both] == [[], [1]]


def test_a_phrase_that_says_one_word_more_than_128_times_may_be_missed_where_a_text_is_cut(
    both: tuple[SearchIndex, ServerSearch],
) -> None:
    for index in both:
        index.feed([Document(1, 1, "n", None, "a " * 600 + "end")], expected=START, upto=(1, b"h"))
    for count in (100, 128):
        assert [keys(index, '"' + "a " * count + 'end"') for index in both] == [[1], [1]]
    assert [keys(index, '"' + "a " * 250 + 'end"') for index in both] == [[1], []]


def test_no_vector_has_more_than_the_server_takes() -> None:
    for words in (
        ["a"] * 2_000,
        [f"w{n}" for n in range(40_000)],
        ["é" * 900] * 300,
        ["x" * 5_000 + str(n) for n in range(900)],
    ):
        found = list(vectors([(TEXT, words)]))
        assert all(len(one.encode()) < 900_000 for one in found)
        places = [part.partition(":")[2].split(",") for one in found for part in one.split(" ")]
        assert max(map(len, places)) < 256
        assert max(int(place[:-1]) for one in places for place in one) < 16_384


SHOWN = {
    "the order of hits": None,  # it is no promise: only that both find the same
    f"more than {LONGEST_BYTES:,} bytes": (
        test_of_a_word_longer_than_the_server_keeps_only_the_beginning_can_be_asked_for_by_prefix
    ),
    "more than 128 times": test_a_phrase_that_says_one_word_more_than_128_times_may_be_missed_where_a_text_is_cut,
}
"""What a point of the page's list says, and the test above that shows it."""


def test_the_page_lists_the_differences_that_are_shown_here_and_no_others() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "postgresql.md").read_text("utf-8")
    listed = page.partition("What differs:")[2].partition("\n## ")[0].split("\n- ")[1:]
    said = [" ".join(one.split()) for one in listed]
    assert len(said) == len(SHOWN)
    assert [words for words in SHOWN if not any(words in one for one in said)] == []


def test_the_newest_are_ranked_and_older_ones_follow_in_order_of_age(
    server: ServerSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.reset()
    long = " ".join(["word", *(f"w{n}" for n in range(20_000))])
    texts = ["word", "word word", long, "word", "word word word", "word"]
    documents = [Document(n, 1, "", None, text) for n, text in enumerate(texts, 1)]
    server.feed(documents, expected=START, upto=(6, b"6"))
    every = {hit.key for hit in server.query("word", limit=10)}
    monkeypatch.setattr(server_module, "RANKED", 4)
    hits = server.query("word", limit=10)
    assert {hit.key for hit in hits} == every == {1, 2, 3, 4, 5, 6}
    assert {hit.key for hit in hits[:4]} == {3, 4, 5, 6}
    assert [hit.key for hit in hits[4:]] == [2, 1]
    assert [hit.score > 0 for hit in hits] == [True] * 4 + [False] * 2
    pages = [server.query("word", limit=2, offset=at) for at in (0, 2, 4)]
    assert [hit.key for page in pages for hit in page] == [hit.key for hit in hits]
    server.reset()
    assert server.query("word", limit=10) == []


def test_matches_are_not_looked_for_among_the_keys_of_all_documents(server: ServerSearch, postgres: str) -> None:
    """The server plans a prepared statement for any number: half of all documents would be newer than it."""
    server.reset()
    documents = [Document(n, 1, "", None, f"word w{n}") for n in range(1, 500)]
    server.feed(documents, expected=START, upto=(499, b"x"))
    said = server_module._RANKED.format(parts="SELECT doc FROM search_words WHERE many AND words @@ %s::tsquery")
    for number in range(1, said.count("%s") + 1):
        said = said.replace("%s", f"${number}", 1)
    with psycopg.connect(postgres, autocommit=True) as link:
        schema = server._server.direct("SELECT current_schema()")[0][0]
        link.execute(f"SET search_path = {schema}; SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off")
        link.execute(f"PREPARE ranked AS {said}")
        given = "'word', 'word', 0, 'word', 'word', 0, 20, 0"
        plan = "\n".join(row[0] for row in link.execute(f"EXPLAIN EXECUTE ranked ({given})").fetchall())
    assert "search_words_whole" in plan
    assert "doc >=" not in plan

"""The search language: what it means, and that nothing typed can do worse than be refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from holdfast.errors import InvalidQueryError
from holdfast.search import START, Document, SearchIndex, Term, parse

Find = Callable[..., list[int]]

DOCUMENTS = [
    Document(1, 1, "reports/wind farm.txt", {"author": "Ann Berg", "year": 2024}, "The quick brown fox jumps."),
    Document(2, 1, "reports/solar.txt", {"author": "Bo"}, "A brown quick fox; wind turbines turn."),
    Document(3, 1, "notes/fox.md", {"tags": ["wind", "water"], "deep": {"key": "naïve"}}, "Nothing here."),
    Document(4, 1, "中文/数据库.txt", None, "全文检索数据库。NOT AND OR NEAR name: 🙂 C++ 0.25 don't"),
]


@pytest.fixture
def filled(index: SearchIndex) -> SearchIndex:
    assert index.feed(DOCUMENTS, expected=START, upto=(4, b"h"))
    return index


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        ("quick", {1, 2}),
        ("QUICK fox", {1, 2}),
        ("quick AND fox", {1, 2}),
        ('"quick brown"', {1}),
        ('"brown quick"', {2}),
        ('"quick  ,  BROWN!"', {1}),
        ("turbin*", {2}),
        ("turbin", set()),
        ('"brown qui"*', {2}),
        ("wind OR nothing", {1, 2, 3}),
        ("wind or nothing", set()),
        ("quick turbines OR nothing", {2, 3}),
        ("(quick OR nothing) wind", {1, 2, 3}),
        ("fox NOT quick", {3}),
        ("fox -quick", {3}),
        ("-quick fox", {3}),
        ("fox -(quick turbines)", {1, 3}),
        ("fox -quick -nothing", set()),
        ("fox NOT NOT quick", {1, 2}),
        ("fox NOT -turbines", {2}),
        ("nothing OR (fox -turbines)", {1, 3}),
        ("name:fox", {3}),
        ("name: fox", {3}),
        ("name:farm quick", {1}),
        ("metadata:wind", {3}),
        ("metadata:year", {1}),
        ("metadata:2024", {1}),
        ("metadata:key", {3}),
        ("metadata:naive", {3}),
        ("text:wind", {2}),
        ("text:(wind OR nothing)", {2, 3}),
        ('name:"wind farm"', {1}),
        ('name:"farm wind"', set()),
        ("name:rep*", {1, 2}),
        ("wind -name:wind", {2, 3}),
        ("wind -metadata:(water OR 2024)", {2}),
        ("Name:fox", set()),
        ('"name:" near', {4}),
        ('"NOT AND" "OR"', {4}),
        ("near", {4}),
        ("数据库", {4}),
        ("检索", {4}),
        ("据数", set()),
        ("数据*", {4}),
        ("🙂", {4}),
        ("C++", {4}),
        ("0.25", {4}),
        ("0.26", set()),
        ("don't", {4}),
        ("farm.txt", {1}),
        ("quick !!! fox", {1, 2}),
        ("quick - fox", {1, 2}),
        ("quick --fox", {1, 2}),
        ("quick OR !!!", {1, 2}),
        ("quick NOT !!!", {1, 2}),
        ("quick(fox)", {1, 2}),
        ("quick () fox", {1, 2}),
        ('quick"fox"', {1, 2}),
        ("quick\tfox\n", {1, 2}),
        ("quick\0brown", {1}),
        ("\ud800 quick", {1, 2}),
        ("{name}:fox", set()),
        ("fox^2", set()),
        ("quick + fox", {1, 2}),
        ("NEAR(quick fox)", set()),
    ],
)
def test_a_query_means_this(filled: SearchIndex, find: Find, query: str, keys: set[int]) -> None:
    assert set(find(query)) == keys


@pytest.mark.parametrize(
    ("query", "reason", "at"),
    [
        ("", "there is no word to search for", 1),
        ("  \n ", "there is no word to search for", 1),
        ("!!! - …", "there is no word to search for", 1),
        ("*", "there is no word to search for", 1),
        ('""', "there is no word to search for", 1),
        ("()", "there is no word to search for", 1),
        ("-", "there is no word to search for", 1),
        ("a)", "there is a ')' too many", 2),
        (")", "there is a ')' too many", 1),
        ("a (b", "this '(' is never closed", 3),
        ("a ((b)", "this '(' is never closed", 3),
        ('a "b c', 'this " is never closed', 3),
        ("OR a", "OR has nothing before it", 1),
        ("AND a", "AND has nothing before it", 1),
        ("a OR", "OR is followed by nothing", 5),
        ("a AND", "AND is followed by nothing", 6),
        ("a AND OR b", "AND is followed by nothing", 7),
        ("a AND AND b", "AND is followed by nothing", 7),
        ("a OR OR b", "OR is followed by nothing", 6),
        ("(a OR) b", "OR is followed by nothing", 6),
        ("a NOT", "NOT is followed by nothing", 6),
        ("NOT a", "it says only what must not be there", 1),
        ("-a -b", "it says only what must not be there", 1),
        ("x OR -a", "it says only what must not be there", 6),
        ("x (-a)", "it says only what must not be there", 4),
        ("name:", "name: is followed by nothing", 6),
        ("a text: ", "text: is followed by nothing", 9),
        ("name:text:a", "name: is followed by another field", 6),
        ("name:(a text:b)", "text: stands inside name:", 9),
        ("name:-a", "the negation must stand before name:", 6),
        ("*ing", "a * may only end a word", 1),
        ("a*b", "a * may only end a word", 2),
        ("(" * 11 + "a" + ")" * 11, "groups are nested more than 10 deep", 11),
        ("(" * 4_000, "groups are nested more than 10 deep", 11),
        ("a " * 257, "there are more than 256 words", 514),
        ("a-" * 257, "there are more than 256 words", 515),
        ("x" * 8_193, "too long", 8_192),
        ('"' * 100_001, "too long", 8_192),
    ],
)
def test_what_cannot_be_understood_is_refused_with_reason_and_place(query: str, reason: str, at: int) -> None:
    with pytest.raises(InvalidQueryError) as caught:
        parse(query)
    assert str(caught.value.fields["reason"]).startswith(reason)
    assert caught.value.fields["at"] == at
    assert len(str(caught.value.fields["query"])) <= 200
    assert caught.value.as_dict()["code"] == "invalid-query"


def test_the_bounds_themselves_are_allowed(filled: SearchIndex, find: Find) -> None:
    assert find("quick " * 256) == find("quick")
    assert find("quick" + " " * 8_187) == find("quick")
    assert find("(" * 10 + "quick" + ")" * 10) == find("quick")


def test_the_deepest_group_that_is_allowed_fits_in_sqlites_parser(filled: SearchIndex, find: Find) -> None:
    query = "quick"
    for _ in range(10):
        query = f"fox OR fox quick -zzz -({query} -yyy)"
    assert set(find(query)) == {1, 2, 3}
    assert set(find("text:(" * 1 + "(" * 8 + "fox -(quick turbines)" + ")" * 9)) == {1}


def test_terms_are_what_is_looked_for_and_not_what_is_excluded() -> None:
    query = parse('Über* "to BE" name:x -no NOT (neither nor) -(-twice up)')
    assert query.terms == (
        Term(("uber",), prefix=True, field=None),
        Term(("to", "be"), prefix=False, field=None),
        Term(("x",), prefix=False, field="name"),
    )


PIECES = st.one_of(
    st.sampled_from(["quick", "fox*", "NOT ", " OR ", " AND ", "name:", "text:", "NEAR(", "--", "'; DROP TABLE doc;"]),
    st.sampled_from("\"()-* :^{}+';,\\%0é½\0\ud800\u0301数据🙂\ufb01"),
)


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.text(st.characters(exclude_categories=())), st.lists(PIECES, max_size=30).map("".join)))
@example("\u1806")
@example("a" * 8_192)
def test_any_text_gives_an_answer_or_is_refused(filled: SearchIndex, query: str) -> None:
    try:
        hits = filled.query(query, limit=10)
    except InvalidQueryError:
        return
    assert {hit.key for hit in hits} <= {1, 2, 3, 4}


TREES = st.recursive(
    st.sampled_from(["quick", "wind", "fox", "nothing"]),
    lambda inner: st.tuples(st.sampled_from(["and", "or", "not"]), inner, inner),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TREES)
def test_boolean_queries_mean_sets(filled: SearchIndex, tree: object) -> None:
    text, expected = _as_query_and_set(tree)
    try:
        query = parse(text)
    except InvalidQueryError as error:
        assert "nested" in str(error)  # noqa: PT017
        return
    assert {hit.key for hit in filled.query(query, limit=10)} == expected


def _as_query_and_set(tree: object) -> tuple[str, set[int]]:
    single = {"quick": {1, 2}, "wind": {1, 2, 3}, "fox": {1, 2, 3}, "nothing": {3}}
    if isinstance(tree, str):
        return tree, single[tree]
    assert isinstance(tree, tuple)
    operator, (left, here), (right, there) = tree[0], _as_query_and_set(tree[1]), _as_query_and_set(tree[2])
    if operator == "and":
        return f"({left} {right})", here & there
    if operator == "or":
        return f"({left} OR {right})", here | there
    return f"({left} -{right})", here - there

"""The piece of text that is shown with a hit."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import InvalidQueryError
from holdfast.search import parse, snippet
from holdfast.search.fold import words

LONG = " ".join(f"filler{number}" for number in range(500))


@pytest.mark.parametrize(
    ("text", "query", "expected"),
    [
        ("The quick brown fox", "quick", "The [quick] brown fox"),
        ("The quick brown fox", "QUICK fox", "The [quick] brown [fox]"),
        ("The quick brown fox", '"quick brown"', "The [quick brown] fox"),
        ("quick, brown; brown quick", '"quick brown"', "[quick, brown]; brown quick"),
        ("a quickly made quick quic", "quick*", "a [quickly] made [quick] quic"),
        ("quicksand quick", "quick", "quicksand [quick]"),
        ("une CAFÉ, un cafe\u0301", "cafe", "une [CAFÉ], un [café]"),
        ("die Straße", "STRASSE", "die [Straße]"),
        ("\ufb01le and office", "file", "[\ufb01le] and office"),
        ("全文检索数据库。", "数据", "全文检索[数据]库。"),
        ("ok 🙂!", "🙂", "ok [🙂]!"),
        ("foo_bar.baz", "foo-bar", "[foo_bar].baz"),
        ("a  b\n\n\tc\u3000d", "c", "a b [c] d"),
        ("one two", "name:one two", "one [two]"),
        ("one two", "text:one two", "[one] [two]"),
        ("one two", "one -two", "[one] two"),
        ("one two", "zzz", "one two"),
        ("one two", "name:zzz", "one two"),
        ("", "one", ""),
        (" \n ", "one", ""),
        ("one\x1b[31m \x07two\u202e", "two", "one[31m [two]"),
        ("[x] one", "one", "[x] [one]"),
    ],
)
def test_matches_are_marked_as_the_index_sees_them(text: str, query: str, expected: str) -> None:
    assert snippet(text, query) == expected
    assert snippet(text, parse(query)) == expected


def test_the_marks_can_be_chosen() -> None:
    assert snippet("a b c", "b", mark=("<b>", "</b>")) == "a <b>b</b> c"
    assert snippet("a b c", "b", mark=("", "")) == "a b c"


def test_the_place_with_most_different_terms_is_shown() -> None:
    text = f"apple apple apple {LONG} apple then pear here {LONG} pear pear"
    shown = snippet(text, "apple pear", width=60)
    assert "[apple] then [pear] here" in shown
    assert shown.startswith("…")
    assert shown.endswith("…")


def test_the_first_of_equal_places_is_shown_and_text_before_it_is_context() -> None:
    shown = snippet(f"{LONG} needle one {LONG} needle two", "needle", width=60)
    assert "[needle] one" in shown
    assert "filler499 [needle]" in shown


def test_a_term_that_comes_late_is_found_however_often_the_others_come() -> None:
    shown = snippet("often " * 10_000 + "rare" + " often" * 10_000, "often rare", width=40)
    assert "[rare]" in shown


def test_nothing_matching_shows_the_beginning_cut_between_words() -> None:
    shown = snippet(LONG, "zzz", width=50)
    assert shown == "filler0 filler1 filler2 filler3 filler4 filler5…"


def test_words_are_not_cut_at_either_end_where_one_ends_nearby() -> None:
    shown = snippet(f"{LONG} needle {LONG}", "needle", width=80)
    pieces = shown.strip("…").replace("[", "").replace("]", "").split()
    assert all(piece == "needle" or (piece.startswith("filler") and piece[6:].isdigit()) for piece in pieces)
    assert set(pieces) <= set(LONG.split()) | {"needle"}


def test_a_match_at_the_end_fills_the_width_with_what_is_before() -> None:
    shown = snippet(f"{LONG} needle", "needle", width=100)
    assert shown.endswith("[needle]")
    assert 70 <= len(shown) <= 105


def test_a_match_longer_than_the_width_is_cut() -> None:
    assert snippet("x" * 1_000, "x*", width=10) == "[" + "x" * 10 + "]…"
    assert snippet("ab " * 100, '"ab ab ab ab ab"', width=7).startswith("[ab ab")


def test_a_foolish_width_is_one_character() -> None:
    assert snippet("abc def", "zzz", width=0) == snippet("abc def", "zzz", width=-5) == "a…"


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("a" * (1 << 20), "a* aa b*"),
        ("a " * (1 << 19), '"a a a a a a a a a b" c'),
        ("aé" * (1 << 19), "aé*"),
        ("中文" * (1 << 18), '"文 中 文 中 x" 文'),
        (" " * (1 << 20), "a"),
        ("a" + " " * (1 << 20) + "b", '"a b" "a c"'),
        ("\u0301" * (1 << 20), "a"),
        (("a" * 30 + " ") * 34_000, " ".join("a" * length + "*" for length in range(1, 60))),
        ("\x1b" * (1 << 20) + " a", "a"),
    ],
)
def test_a_mebibyte_of_anything_takes_no_longer_than_its_length_allows(text: str, query: str) -> None:
    assert len(snippet(text, query)) < 2_000


def test_a_query_that_cannot_be_understood_is_refused() -> None:
    with pytest.raises(InvalidQueryError):
        snippet("text", '"open')


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("ab é中ß\u0301.-\n🙂ﬁ"), max_size=80), st.integers(1, 40))
def test_what_is_marked_is_what_was_asked_for(text: str, width: int) -> None:
    for term in ("a", "ab", "e", "中", "ss", "fi", "🙂"):
        shown = snippet(text, term, width=1_000, mark=("\ue000", "\ue001"))
        marked = [piece.split("\ue001")[0] for piece in shown.split("\ue000")[1:]]
        assert all(words(piece) == words(term) for piece in marked)
        assert len(marked) == words(text).count(term)
        narrow = snippet(text, term, width=width, mark=("", ""))
        assert len(narrow) <= width + 2


def test_every_match_in_what_is_shown_is_marked() -> None:
    assert snippet("a b " * 1_000, "a", width=60, mark=("", "!")).count("a!") == 15
    text = f"{LONG} pear and then apple pear {LONG}"
    assert "[pear] and then [apple] [pear]" in snippet(text, "apple pear", width=90)

"""What counts as the same word, and that SQLite's tokenizer and ours never disagree about it."""

from __future__ import annotations

import sqlite3
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.search.fold import Folding, fold, words

ANY_TEXT = st.text(st.characters(exclude_categories=()))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Straße", "STRASSE"),
        ("naïve", "NAIVE"),
        ("Ångström", "angstrom"),
        ("cafe\u0301", "café"),
        ("Ἀθήνα", "αθηνα"),
        ("Οδυσσεύς", "ΟΔΥΣΣΕΥΣ"),
        ("\ufb01le", "file"),
        ("x²", "x2"),
        ("\uff21\uff22", "ab"),
        ("İstanbul", "istanbul"),
        ("\u212bngstrom", "Angstrom"),
        ("\u0634\u064e\u0645\u0633", "\u0634\u0645\u0633"),
        ("\uac01", "\u1100\u1161\u11a8"),
        ("zero\u200cwidth", "zerowidth"),
        ("👍🏽", "👍"),
    ],
)
def test_two_ways_to_write_a_word_are_one_word(one: str, other: str) -> None:
    assert words(one) == words(other)
    assert len(words(one)) == 1


@pytest.mark.parametrize(("one", "other"), [("й", "и"), ("が", "か"), ("o", "0"), ("ø", "o"), ("café", "cafés")])
def test_different_words_stay_different(one: str, other: str) -> None:
    assert words(one) != words(other)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("foo_bar-baz.py", ["foo", "bar", "baz", "py"]),
        ("don't", ["don", "t"]),
        ("v2.10", ["v2", "10"]),
        ("“quoted” \u2013 dashed…", ["quoted", "dashed"]),
        ("数据库", ["数", "据", "库"]),
        ("データbase", ["デ", "ー", "タ", "base"]),
        ("ok🙂🤔ok", ["ok", "🙂", "🤔", "ok"]),
        ("हिन्दी", ["हिन्दी"]),
        ("a\0b", ["a", "b"]),
        ("half½", ["half1", "2"]),
        ("\ud800x", ["x"]),
        ("!!! … —", []),
        ("", []),
    ],
)
def test_text_is_cut_into_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_every_sort_of_character_folds_to_words_that_fold_to_themselves() -> None:
    alike = {*range(0x3500, 0x9F00), *range(0xAD00, 0xD700), *range(0x17100, 0x18A00), *range(0x20100, 0x2F700)}
    for block in (block for block in range(0, 0x30000, 256) if block not in alike):
        once = words("\n".join(map(chr, range(block, block + 256))))
        assert words("\n".join(once)) == once, hex(block)


def test_case_never_matters_except_for_the_dotless_i_whose_capital_is_that_of_another() -> None:
    for code in set(range(0x530)) - {0x131, 0x345}:
        character = chr(code)
        assert words(character.upper()) == words(character.lower()) == words(character), hex(code)


@settings(max_examples=200, deadline=None)
@given(st.lists(ANY_TEXT, min_size=1, max_size=20))
def test_sqlite_sees_exactly_the_words_that_we_see(texts: list[str]) -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE VIRTUAL TABLE t USING fts5 (x, content = '', tokenize = 'ascii')")
    connection.execute("CREATE VIRTUAL TABLE v USING fts5vocab (t, 'instance')")
    for number, text in enumerate(texts):
        connection.execute("INSERT INTO t (rowid, x) VALUES (?, ?)", (number, fold(text)))
    seen = connection.execute("SELECT doc, term FROM v ORDER BY doc, offset").fetchall()
    connection.close()
    assert seen == [(number, word) for number, text in enumerate(texts) for word in words(text)]


@settings(max_examples=300, deadline=None)
@given(ANY_TEXT)
def test_both_foldings_agree_and_lead_back_to_where_a_character_came_from(text: str) -> None:
    folding = Folding(text)
    assert folding.text == fold(text)
    assert folding.source == unicodedata.normalize("NFC", text)
    for position, character in enumerate(folding.text):
        assert character in fold(folding.source[folding.origin(position)])


def test_the_way_back_holds_across_long_runs_of_growing_characters() -> None:
    text = "ab" + "中" * 1_000 + "cd" + "ß" * 100 + "e"
    folding = Folding(text)
    assert folding.source[folding.origin(folding.text.index("c"))] == "c"
    assert folding.origin(len(folding.text) - 1) == len(text) - 1
    last_han = folding.text.rindex("中")
    assert folding.origin(last_han) == 1_001

"""How values look: nothing that is shown can act on a terminal, and JSON keeps what text cannot show."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from holdfast.cli import plain, text, values
from holdfast.values.records import Collection, Endpoint, FileFacts, RunStatus


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain.txt", "plain.txt"),
        ("naïve 日本 👩‍🔬.txt", "naïve 日本 👩‍🔬.txt"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x1b[31mred\x07\x7f", "\\x1b[31mred\\x07\\x7f"),
        ("c1 \x9b31m", "c1 \\x9b31m"),
        ("evil\u202etxt.exe", "evil\\u202etxt.exe"),
        ("line\u2028sep", "line\\u2028sep"),
        ("stray \udcff\udc80", "stray \\xff\\x80"),
        ("\U000e0041tag", "\\U000e0041tag"),
    ],
)
def test_a_name_is_shown_so_that_it_cannot_play_with_the_terminal(name: str, shown: str) -> None:
    assert text.safe(name) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"), (1, "1 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (1024**2 - 1, "1.0 MiB"),
        (1024**2, "1.0 MiB"), (1024**3 - 1, "1.0 GiB"), (5 * 1024**3, "5.0 GiB"), (2**70, "1024.0 EiB"),
    ],
)  # fmt: skip
def test_sizes_are_in_powers_of_1024_and_say_so(count: int, shown: str) -> None:
    assert text.size(count) == shown


def test_times_are_shown_in_utc_wherever_they_were_taken() -> None:
    moment = datetime(2026, 11, 21, 3, 4, 5, tzinfo=timezone(timedelta(hours=9)))
    assert text.time(moment) == "2026-11-20 18:04:05Z"
    assert text.time(None) == "-"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.44, "0.4 s"), (61, "1 min 1 s"), (3661, "1 h 1 min"), (86400, "24 h 0 min"), (14 * 86400, "14 days")],
)
def test_spans_are_shown_in_the_unit_that_fits(seconds: float, shown: str) -> None:
    assert text.duration(seconds) == shown


def test_columns_align_also_beside_wide_characters() -> None:
    assert text.table([("日本", "1"), ("abc", "200")], right=frozenset({1})) == ["日本    1", "abc   200"]


def test_json_is_ascii_whatever_it_holds() -> None:
    line = plain.text_of({"ü": "\x9b\u202e👍", "big": 10**5000})
    assert line.isascii()
    assert "\x9b" not in line
    assert json.loads(plain.text_of({"ü": "\x9b\u202e👍"})) == {"ü": "\x9b\u202e👍"}


def test_an_integer_of_any_size_comes_out_in_json_exactly() -> None:
    assert plain.text_of({"é": 10**5000}) == '{"\\u00e9":1' + "0" * 5000 + "}"


def test_a_record_in_json_has_iso_times_and_the_true_bytes_of_a_name_that_is_not_utf8() -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    record = Collection(
        "c",
        "a\\xff",
        b"a\xff",
        "a\\xff",
        b"a\xff",
        "above",
        {"k": [1.5, None]},
        ("t",),
        now,
        now,
        file=FileFacts(0o755),
    )
    fields = plain.plain(record)
    assert fields["kind"] == "collection"
    assert fields["name"] == "a\\xff"
    assert fields["name_hex"] == "61ff"
    assert "name_bytes" not in fields
    assert fields["created_at"] == "2026-01-02T03:04:05.000006Z"
    assert fields["file"] == {"mode": 0o755, "mtime_ns": None}
    assert fields["tags"] == ["t"]


def test_names_with_surrogate_escapes_get_a_display_form_and_their_bytes() -> None:
    assert plain.named("path", "d/\udcfe") == {"path": "d/\\xfe", "path_hex": "642ffe"}
    assert plain.named("path", "d/ü") == {"path": "d/ü"}


def test_endpoints_and_statuses_are_plain_in_json() -> None:
    assert plain.plain([Endpoint("artifact", "x", 2), RunStatus.FAILED]) == [
        {"kind": "artifact", "id": "x", "revision": 2},
        "failed",
    ]


@pytest.mark.parametrize(
    ("given", "pair"),
    [
        ("n=1", ("n", 1)), ("n=1.0", ("n", 1.0)), ("t=Ann", ("t", "Ann")), ("d=2026-11-21", ("d", "2026-11-21")),
        ('l=["a"]', ("l", ["a"])), ("e=", ("e", "")), ("e==", ("e", "=")),
        ("x=NaN", ("x", "NaN")), ("b=true", ("b", True)),
    ],
)  # fmt: skip
def test_a_pair_is_json_if_it_reads_as_json_else_text(given: str, pair: tuple[str, object]) -> None:
    found = values.PAIR.convert(given, None, None)
    assert found == pair
    assert type(found[1]) is type(pair[1])


@pytest.mark.parametrize("given", ["novalue", "=1", 'k={"a"', "k=[1,", 'k="open'])
def test_a_pair_that_opens_like_json_and_is_none_is_refused(given: str) -> None:
    with pytest.raises(Exception, match=r"is not key=value|not valid JSON"):
        values.PAIR.convert(given, None, None)


@pytest.mark.parametrize(
    ("given", "seconds"), [("90", 90), ("90s", 90), ("1.5h", 5400), ("14d", 1209600), ("2 weeks", 1209600), ("0", 0)]
)
def test_a_span_of_time_is_read_in_its_unit(given: str, seconds: float) -> None:
    assert values.SPAN.convert(given, None, None) == seconds


@pytest.mark.parametrize("given", ["", "d", "-1d", "1y", "1d2h", "inf"])
def test_a_span_of_time_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(Exception, match="span of time"):
        values.SPAN.convert(given, None, None)

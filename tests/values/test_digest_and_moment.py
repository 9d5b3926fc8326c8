"""Digests, instants and ids: one text for each value, and ids that sort as they were drawn."""

from __future__ import annotations

import hashlib
import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import InvalidDigestError, InvalidValueError
from holdfast.values import digest, moment

NOW_US = 1_750_000_000_123_456


@given(st.binary())
def test_a_digest_is_what_sha256sum_prints(data: bytes) -> None:
    expected = hashlib.sha256(data).hexdigest()

    assert digest.of(data) == f"sha256:{expected}"
    assert digest.text(digest.raw(digest.of(data))) == digest.of(data)
    assert digest.raw(expected) == hashlib.sha256(data).digest()


@pytest.mark.parametrize(
    "bad", ["", "sha256:", "md5:" + "0" * 64, "0" * 63, "0" * 65, "A" * 64, "g" * 64, " " + "0" * 64]
)
def test_what_is_no_digest_is_refused(bad: str) -> None:
    with pytest.raises(InvalidDigestError):
        digest.raw(bad)


@pytest.mark.parametrize(
    ("given_text", "expected"), [("sha256:abcd", "abcd"), ("ABCDEF", "abcdef"), ("0" * 64, "0" * 64)]
)
def test_a_prefix_of_four_digits_or_more_is_taken_in_either_case(given_text: str, expected: str) -> None:
    assert digest.prefix(given_text) == expected


@pytest.mark.parametrize("bad", ["abc", "sha256:abc", "", "xyzw", "0" * 65, "sha256:sha256:abcd"])
def test_a_prefix_that_is_too_short_or_not_hexadecimal_is_refused(bad: str) -> None:
    with pytest.raises(InvalidDigestError):
        digest.prefix(bad)


def test_ids_of_one_draw_are_uuids_of_version_7_unique_and_in_order() -> None:
    ids = list(moment.draw_ids(NOW_US, 10_000))

    assert len(set(ids)) == len(ids)
    assert ids == sorted(ids)
    for one in (ids[0], ids[-1]):
        parsed = uuid.UUID(one)
        assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
        assert parsed.int >> 80 == NOW_US // 1000
        assert moment.id_text(moment.id_bytes(one)) == one == str(parsed)


def test_ids_of_draws_a_millisecond_apart_sort_by_time_and_never_meet() -> None:
    draws = [list(moment.draw_ids(NOW_US + n * 1000, 200)) for n in range(50)]
    ids = [one for draw in draws for one in draw]

    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)


def test_ids_drawn_at_one_instant_are_unique() -> None:
    assert len({moment.draw_id(NOW_US) for _ in range(20_000)}) == 20_000


ONE_ID = "01a1fbdf-1bde-7dd6-8666-95b4b81abd33"


@pytest.mark.parametrize("bad", ["", "x", "0" * 36, ONE_ID.upper(), ONE_ID[:-1], f"{{{ONE_ID}}}"])
def test_what_is_no_id_in_its_one_form_is_refused(bad: str) -> None:
    assert not moment.is_id(bad)
    with pytest.raises(InvalidValueError):
        moment.id_bytes(bad)


@given(st.integers(min_value=-(10**15), max_value=10**17))
def test_an_instant_has_one_text_to_the_microsecond(us: int) -> None:
    text = moment.to_text(us)

    assert moment.from_text(text) == us
    assert len(text) == 27
    assert text.endswith("Z")
    assert moment.from_datetime(moment.to_datetime(us)) == us


@given(st.integers(min_value=0, max_value=10**17), st.integers(min_value=0, max_value=10**17))
def test_the_texts_of_instants_sort_as_the_instants_do(left: int, right: int) -> None:
    assert (moment.to_text(left) < moment.to_text(right)) == (left < right)


def test_a_time_of_any_zone_means_the_same_instant_and_one_without_a_zone_is_refused() -> None:
    there = datetime(2025, 1, 1, 12, tzinfo=timezone(timedelta(hours=5, minutes=30)))

    assert moment.from_datetime(there) == moment.from_datetime(there.astimezone(UTC))
    assert moment.from_text("2025-01-01T12:00:00+05:30") == moment.from_datetime(there)
    with pytest.raises(InvalidValueError):
        moment.from_datetime(datetime(2025, 1, 1))
    for bad in ("2025-01-01T12:00:00", "yesterday", ""):
        with pytest.raises(InvalidValueError):
            moment.from_text(bad)


HEXES = st.binary(min_size=32, max_size=32).map(bytes.hex)
WRITTEN = HEXES.map(lambda digits: f"sha256:{digits}")


@given(st.lists(WRITTEN | HEXES, max_size=4))
def test_many_digests_are_what_each_is_alone(every: list[str]) -> None:
    assert digest.raws(every) == [digest.raw(one) for one in every]
    assert digest.texts(digest.raws(every)) == [digest.text(digest.raw(one)) for one in every]


@given(st.lists(WRITTEN, max_size=2), WRITTEN, st.integers(0, 70), st.sampled_from(" Agx\n:"))
def test_among_many_what_is_no_digest_is_refused(every: list[str], one: str, at: int, wrong: str) -> None:
    bad = one[:at] + wrong + one[at + 1 :]
    with pytest.raises(InvalidDigestError):
        digest.raws([*every, bad if bad != one else bad[1:], *every])


@given(st.lists(st.uuids().map(str), max_size=4), st.integers(0, 35), st.sampled_from(" Ag-\n"))
def test_many_ids_are_what_each_is_alone(every: list[str], at: int, wrong: str) -> None:
    assert moment.ids_bytes(every) == [moment.id_bytes(one) for one in every]
    for one in every:
        bad = one[:at] + wrong + one[at + 1 :]
        if bad != one:
            with pytest.raises(InvalidValueError):
                moment.ids_bytes([*every, bad])
    if every:
        with pytest.raises(InvalidValueError):
            moment.ids_bytes([every[0] + every[0][:1], every[0][1:]])

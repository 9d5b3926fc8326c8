"""Chapter 2 of store-layout.md: the file that makes a folder a store."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import FormatTooNewError, NotAStoreError
from holdfast.formats import marker
from holdfast.formats.marker import Marker
from holdfast.values import canon

STORE_ID = "01987654-0000-7000-8000-000000000000"
WHOLE: dict[str, Any] = {"holdfast": "store", "format": 0, "digest": "sha256", "requires": [], "store": STORE_ID}


def test_the_marker_is_one_line_of_canonical_json_and_comes_back() -> None:
    data = marker.encode(Marker(STORE_ID))

    assert data == f'{{"digest":"sha256","format":0,"holdfast":"store","requires":[],"store":"{STORE_ID}"}}\n'.encode()
    assert marker.decode(data, "here") == Marker(STORE_ID)


@pytest.mark.parametrize("changed", [{"format": 1}, {"format": 99}, {"requires": ["packs"]}, {"digest": "blake3"}])
def test_a_store_that_asks_for_what_is_unknown_is_refused_as_too_new(changed: dict[str, Any]) -> None:
    with pytest.raises(FormatTooNewError) as caught:
        marker.decode(canon.encode(WHOLE | changed), "here")

    assert caught.value.exit_code == 12


@pytest.mark.parametrize(
    "changed",
    [
        {"holdfast": "shop"}, {"store": "x"}, {"store": 7}, {"store": None}, {"format": "0"}, {"format": True},
        {"format": None}, {"requires": "packs"}, {"requires": [["x"]]}, {"requires": [1, "a"]}, {"requires": None},
    ],
)  # fmt: skip
def test_a_marker_with_a_field_that_makes_no_sense_is_no_marker(changed: dict[str, Any]) -> None:
    with pytest.raises(NotAStoreError) as caught:
        marker.decode(canon.encode(WHOLE | changed), "here")

    assert caught.value.exit_code == 10


@given(st.binary() | st.text().map(lambda t: t.encode("utf-8", "surrogatepass")))
def test_any_other_bytes_are_no_marker(data: bytes) -> None:
    with pytest.raises(NotAStoreError):
        marker.decode(data, "here")


def test_a_changed_byte_gives_another_marker_or_a_typed_refusal() -> None:
    data = marker.encode(Marker(STORE_ID))

    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 0x01
        try:
            assert marker.decode(bytes(changed), "here").format_version == 0
        except (NotAStoreError, FormatTooNewError):
            continue

"""What a name says of the type of its content."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.kinds import media
from holdfast.values import names

RAW = st.binary(min_size=1, max_size=12).filter(lambda raw: b"/" not in raw and b"\0" not in raw)
ENDED = st.builds(
    lambda stem, end: stem + end.encode(), RAW, st.sampled_from([".txt", ".TXT", ".PnG", ".gz", ".", ".é", "..", ".İ"])
)


@given(RAW | ENDED)
def test_bytes_of_a_name_tell_the_ending_and_the_type_that_its_text_does(raw: bytes) -> None:
    assert media.told(raw) == (media.ending(raw), media.of_name(names.from_raw(raw).text))

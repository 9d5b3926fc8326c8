"""The index's copy of the chain: damaged bytes of a transaction are an error, whatever size they claim to have."""

from __future__ import annotations

import pytest
import zstandard

from holdfast.errors import ChainBrokenError
from holdfast.index.chain import ChainRows

CONTENT = b'{"a line": "of a transaction"}\n' * 400


def compressed(content: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=3, write_checksum=True).compress(content)


@pytest.mark.parametrize("claimed", [1 << 33, 1 << 60, (1 << 64) - 1])
def test_a_header_that_claims_any_size_is_damage_and_takes_no_memory(claimed: int) -> None:
    sound = compressed(CONTENT)
    header = zstandard.frame_header_size(sound)
    with pytest.raises(ChainBrokenError) as caught:
        ChainRows._decompress(7, sound[:4] + b"\xe4" + claimed.to_bytes(8, "little") + sound[header:])
    assert caught.value.fields["seq"] == 7


@pytest.mark.parametrize("content", [CONTENT, b"x" * (17 << 20)], ids=["small", "large"])
def test_every_flipped_bit_of_a_frame_s_header_gives_the_same_bytes_or_an_error(content: bytes) -> None:
    sound = compressed(content)
    assert ChainRows._decompress(1, sound) == content
    for bit in range(8 * zstandard.frame_header_size(sound)):
        harmed = bytearray(sound)
        harmed[bit // 8] ^= 1 << bit % 8
        try:
            assert ChainRows._decompress(1, bytes(harmed)) == content
        except ChainBrokenError:
            continue


@pytest.mark.parametrize("content", [CONTENT, b"x" * (17 << 20)], ids=["small", "large"])
@pytest.mark.parametrize("harm", [lambda data: data[:-1], lambda data: data + b"\0"], ids=["cut", "more behind it"])
def test_what_is_not_exactly_one_frame_is_damage(content: bytes, harm: object) -> None:
    with pytest.raises(ChainBrokenError):
        ChainRows._decompress(1, harm(compressed(content)))  # type: ignore[operator]

"""The journal is taken as proven where it has the bytes of the index's chain, in order and under the right names."""

from __future__ import annotations

import pytest

from holdfast.care.fsck.copies import Copies
from holdfast.disk import Disk
from holdfast.journal import Journal, segment

CHAIN = [(1, b"one\n" * 10), (4, b"two\n" * 100_000), (9, b"three\n"), (12, b"four\n" * 7)]
WHOLE = {1: CHAIN[0][1] + CHAIN[1][1], 9: CHAIN[2][1], 12: CHAIN[3][1]}


@pytest.fixture
def journal(tmp_path):
    (tmp_path / "journal").mkdir()
    return Journal(str(tmp_path), Disk())


def write(tmp_path, segments):
    for first, data in segments.items():
        (tmp_path / "journal" / f"{first:016}.jsonl").write_bytes(data)


def alike(journal, chain=CHAIN):
    copies = Copies(journal)
    for first, data in chain:
        copies.take(first, data)
    return copies.are_alike()


@pytest.mark.parametrize("segments", [WHOLE, {1: b"".join(data for _, data in CHAIN)}, dict(CHAIN)])
def test_the_same_bytes_are_alike_however_they_are_cut(journal, tmp_path, segments):
    write(tmp_path, segments)
    assert alike(journal)
    copies = Copies(journal)
    for first, data in CHAIN:
        copies.take(first, data)
    assert (copies.segments, copies.transactions) == (len(segments), len(CHAIN))


def test_nothing_is_alike_nothing(journal):
    assert alike(journal, [])
    assert not alike(journal)


def test_what_seal_made_is_read_as_what_it_was_made_of(journal, tmp_path):
    write(tmp_path, WHOLE)
    plain = tmp_path / "journal" / f"{1:016}.jsonl"
    segment.seal(Disk(), str(plain), str(tmp_path / "temporary"), f"{plain}.zst")
    assert not alike(journal)  # both are there: which one is whole, is for others to say
    plain.unlink()
    assert alike(journal)
    sealed = tmp_path / "journal" / f"{1:016}.jsonl.zst"
    sealed.write_bytes(sealed.read_bytes()[:-3])
    assert not alike(journal)


@pytest.mark.parametrize(
    "segments",
    [
        {**WHOLE, 1: WHOLE[1][:-1]},
        {**WHOLE, 1: WHOLE[1] + b"\n"},
        {**WHOLE, 1: WHOLE[1].replace(b"two", b"Two", 1)},
        {**WHOLE, 12: WHOLE[12] + b'{"action":"cre'},
        {**WHOLE, 12: WHOLE[12][:-1]},
        {**WHOLE, 12: b""},
        {**WHOLE, 50: b""},
        {**WHOLE, 50: WHOLE[12]},
        {1: WHOLE[1], 12: WHOLE[12]},
        {1: WHOLE[1], 10: WHOLE[9], 12: WHOLE[12]},
        {1: WHOLE[1] + WHOLE[9][:2], 9: WHOLE[9][2:], 12: WHOLE[12]},
        {2: WHOLE[1], 9: WHOLE[9], 12: WHOLE[12]},
        {9: WHOLE[9], 12: WHOLE[12]},
    ],
)
def test_a_byte_more_or_less_or_another_name_is_not_alike(journal, tmp_path, segments):
    write(tmp_path, segments)
    assert not alike(journal)


def test_a_transaction_whose_bytes_cannot_be_had_is_not_alike(journal, tmp_path):
    write(tmp_path, WHOLE)
    assert not alike(journal, [*CHAIN[:1], (4, None), *CHAIN[2:]])

"""Chapter 4 of store-layout.md: transactions as lines. A reader sees whole, proven transactions and nothing else."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import ChainBrokenError, FormatTooNewError
from holdfast.formats import lines
from holdfast.formats.lines import Garbage, Located
from holdfast.values import canon, change, moment
from holdfast.values.change import Actor, Entry, Head, Transaction

STORE_ID = "01987654-0000-7000-8000-000000000000"
NOW_US = 1_750_000_000_000_000


def sealed(head: Head, bodies: list[bytes], salt: bytes = b"s" * 16, actor: str = "Ada") -> Transaction:
    entry = Entry(
        tx=moment.draw_id(NOW_US), first=head.next_seq, count=len(bodies), time_us=NOW_US, actor=Actor(actor),
        root=change.root_of(salt, bodies), prev=head.hash,
    )  # fmt: skip
    return Transaction(entry, salt, tuple(bodies))


def body(n: int, **more: Any) -> bytes:
    return canon.encode({"kind": "artifact", "action": "update", "id": STORE_ID, "set": {"n": [None, n]}, **more})


def chain(*counts: int) -> list[Transaction]:
    head, made = change.origin(STORE_ID), []
    for count in counts:
        made.append(sealed(head, [body(head.next_seq + n) for n in range(count)]))
        head = made[-1].head
    return made


def scanned(data: bytes, block: int = 1 << 20) -> list[Located | Garbage]:
    return list(lines.scan(data[n : n + block] for n in range(0, len(data), block)))


def transactions(data: bytes) -> list[Transaction]:
    return [item.transaction for item in scanned(data) if isinstance(item, Located)]


@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=4), max_size=4))
def test_transactions_come_back_as_they_were(texts: list[list[str]]) -> None:
    head, made = change.origin(STORE_ID), []
    for part in texts:
        made.append(sealed(head, [body(n, note=text) for n, text in enumerate(part)], actor=part[0] or "x"))
        head = made[-1].head
    data = b"".join(map(lines.encode, made))

    assert transactions(data) == made
    assert [(item.offset, item.length) for item in scanned(data)] == [
        (sum(len(lines.encode(t)) for t in made[:n]), len(lines.encode(one))) for n, one in enumerate(made)
    ]


@pytest.mark.parametrize("block", [1, 7, 64, 1 << 20])
def test_it_does_not_matter_how_the_bytes_arrive(block: int) -> None:
    made = chain(1, 3, 2)
    data = b"".join(map(lines.encode, made))

    assert scanned(data, block) == scanned(data)


def test_a_line_is_json_that_proves_itself_by_sha256_alone() -> None:
    (made,) = chain(2)
    *bodies, last = lines.encode(made).splitlines()
    entry = json.loads(last)
    salt = bytes.fromhex(entry["salt"])
    own = [hashlib.sha256(salt + n.to_bytes(4, "big")).digest()[:16] for n in range(2)]
    digests = [hashlib.sha256(s + b).digest() for s, b in zip(own, bodies, strict=True)]

    assert entry["entry"]["root"] == hashlib.sha256(b"".join(digests)).hexdigest()
    assert entry["hash"] == hashlib.sha256(canon.encode(entry["entry"])).hexdigest()
    assert entry["entry"]["prev"] == hashlib.sha256(b"holdfast chain of " + STORE_ID.encode()).hexdigest()


def test_a_torn_append_at_any_byte_hides_the_transaction_and_keeps_those_before_and_after() -> None:
    first, torn = chain(1, 3)
    other = sealed(first.head, [body(7)])
    data = lines.encode(torn)

    for cut in range(len(data)):
        # The next writer ends the torn line and goes on, unless only its end was lacking.
        rest = data[:cut] + (b"" if cut == 0 or data[:cut].endswith(b"\n") else b"\n")
        if rest == data:
            continue
        found = scanned(lines.encode(first) + rest + lines.encode(other))
        whole = [item.transaction for item in found if isinstance(item, Located)]
        lost = [item for item in found if isinstance(item, Garbage)]
        assert whole == [first, other]
        assert sum(item.length for item in lost) == len(rest)


def test_half_a_transaction_is_no_transaction() -> None:
    (whole,) = chain(4)
    data = lines.encode(whole)
    without_a_body = data.split(b"\n", 1)[1]
    without_the_entry = data[: data.rindex(b'{"entry":')]

    for part in (without_a_body, without_the_entry):
        assert transactions(part) == []
        assert [type(item) for item in scanned(part)] != []


def test_a_changed_byte_anywhere_is_found() -> None:
    made = chain(1, 2, 1)
    data = b"".join(map(lines.encode, made))
    known = {lines.encode(one) for one in made}

    for place in range(len(data)):
        for flip in (0x01, 0x20, 0x80):
            changed = bytearray(data)
            changed[place] ^= flip
            try:
                found = scanned(bytes(changed))
            except ChainBrokenError:
                continue
            whole = [item.transaction for item in found if isinstance(item, Located)]
            assert {lines.encode(one) for one in whole} < known, f"byte {place}: something else came out"
            assert any(isinstance(item, Garbage) for item in found)


def test_removing_repeating_or_exchanging_transactions_breaks_the_chain() -> None:
    made = chain(1, 2, 1, 1)

    def follows(order: list[Transaction]) -> bool:
        head = change.origin(STORE_ID)
        for one in order:
            if not lines.follows(one, head):
                return False
            head = one.head
        return True

    assert follows(made)
    for n in range(3):
        assert not follows(made[:n] + made[n + 1 :])
        assert not follows(made[: n + 1] + made[n:])
        assert not follows([*made[:n], made[n + 1], made[n], *made[n + 2 :]])
    assert not follows([sealed(change.origin("another"), [body(1)])])


def test_an_entry_that_hashes_well_but_is_written_otherwise_is_garbage() -> None:
    (made,) = chain(1)
    start, last = lines.encode(made).split(b"\n")[:2]
    spaced = json.dumps(json.loads(last)).encode()

    assert transactions(start + b"\n" + spaced + b"\n") == []
    assert transactions(start + b"\n" + last) == [], "a line without its end is torn"


def test_lines_of_a_newer_version_are_refused_rather_than_taken_for_damage() -> None:
    head = change.origin(STORE_ID)
    entry = Entry(moment.draw_id(NOW_US), 1, 1, NOW_US, Actor("Ada"), b"r" * 32, head.hash, version=1)
    data = body(1) + b"\n" + lines.encode_last(Transaction(entry, b"s" * 16, (body(1),)))

    with pytest.raises(FormatTooNewError, match="version 1") as caught:
        scanned(data)
    assert "newer" in caught.value.remedy


@given(st.binary(max_size=300))
@settings(max_examples=200)
def test_any_bytes_at_all_are_scanned_to_their_end(noise: bytes) -> None:
    found = scanned(noise)

    assert all(isinstance(item, Garbage) for item in found)
    assert sum(item.length for item in found) == len(noise)


@pytest.mark.parametrize(
    "entry",
    [
        {"count": 0}, {"count": -1}, {"count": 10**9}, {"count": 1.0}, {"count": True}, {"first": "1"}, {"tx": 7},
        {"tx": "x"}, {"time": "never"}, {"root": "zz"}, {"actor": None}, {"actor": {"name": "Ada"}}, {"prev": None},
    ],
)  # fmt: skip
def test_an_entry_with_a_field_that_makes_no_sense_is_garbage(entry: dict[str, Any]) -> None:
    (made,) = chain(1)
    start, last = lines.encode(made).split(b"\n")[:2]
    line = json.loads(last)
    line["entry"] |= entry
    line["hash"] = hashlib.sha256(canon.encode(line["entry"])).hexdigest()

    assert transactions(start + b"\n" + canon.encode(line) + b"\n") == []


def test_decode_takes_exactly_one_transaction() -> None:
    one, two = chain(1, 1)

    assert lines.decode(lines.encode(one), "here") == one
    for bad in (b"", lines.encode(one) + lines.encode(two), lines.encode(one)[:-1], b"x\n" + lines.encode(one)):
        with pytest.raises(ChainBrokenError, match="here"):
            lines.decode(bad, "here")


def test_an_update_is_read_as_before_and_after_and_a_creation_as_after() -> None:
    head = change.origin(STORE_ID)
    bodies = [
        canon.encode(
            {"kind": "artifact", "id": STORE_ID, "action": "create", "new": {"name": "a"}, "note": "why", "run": "r"}
        ),
        canon.encode({"kind": "artifact", "id": STORE_ID, "action": "update", "set": {"name": ["a", "b"]}}),
        canon.encode({"kind": "artifact", "id": STORE_ID, "action": "delete"}),
    ]
    made, renamed, gone = sealed(head, bodies).changes()

    assert (made.before, made.after, made.note, made.run_id, made.seq) == (None, {"name": "a"}, "why", "r", 1)
    assert (renamed.before, renamed.after, renamed.seq) == ({"name": "a"}, {"name": "b"}, 2)
    assert (gone.before, gone.after, gone.actor, gone.actor_kind) == (None, None, "Ada", "api")

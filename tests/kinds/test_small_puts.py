"""Small content is taken in by the transaction that wants it; what a put gives back is worked out when looked at."""

from __future__ import annotations

import contextlib
import copy
import pickle
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast.engine import content
from holdfast.errors import ExpectationError, ReadOnlyError
from holdfast.store import Store


def packed(store: Store) -> int:
    """Bytes in packs."""
    return sum(one.stat().st_size for one in Path(store.path, "packs").rglob("*") if one.is_file())


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with holdfast.create(tmp_path / "s") as made:
        yield made


def test_a_put_that_is_refused_has_written_no_content(store: Store) -> None:
    store.put("a", b"first")
    before = packed(store)
    with pytest.raises(ExpectationError):
        store.put("a", b"second", expect=7)
    assert packed(store) == before


@pytest.mark.parametrize("path", ["a", "b"])
def test_content_that_is_there_is_not_written_again(store: Store, path: str) -> None:
    store.put("a", b"the same")
    before = packed(store)
    store.put(path, b"the same", metadata={"n": 1})
    assert packed(store) == before
    assert store.read(path) == b"the same"


def test_content_that_a_transaction_took_back_is_taken_in_again(store: Store) -> None:
    with contextlib.suppress(LookupError), store.transaction():
        store.put("a", b"the same")
        raise LookupError
    with store.transaction():
        store.put("a", b"the same")
        store.put("b", b"the same")
    assert store.read("a") == store.read("b") == b"the same"


@pytest.mark.parametrize("size", [content.AT_HAND_BYTES, content.AT_HAND_BYTES + 1])
def test_content_is_found_whichever_way_it_came(store: Store, size: int) -> None:
    data = b"x" * size
    store.put("a", data)
    before = packed(store)
    store.put("b", bytearray(data))
    assert packed(store) == before
    assert store.read("b") == data


def test_a_store_that_is_read_says_so_before_anything_else(store: Store) -> None:
    store.put("a", b"1")
    with holdfast.open(store.path, read_only=True) as reader, pytest.raises(ReadOnlyError):
        reader.put("a", b"2")


def test_what_a_put_gave_back_does_not_follow_what_its_caller_changes(store: Store) -> None:
    said: dict[str, Any] = {"list": [1]}
    made = store.put("a", b"1", metadata=said, tags=["x"]).artifact
    said["list"].append(2)
    assert made.metadata == {"list": [1]}
    assert made == store.get("a")


def test_what_a_put_gave_back_can_be_looked_at_when_the_store_is_closed(tmp_path: Path) -> None:
    with holdfast.create(tmp_path / "s") as store:
        put = [store.put(f"f/{n}", b"1").artifact for n in range(4)]
        found = [store.get(f"f/{n}") for n in range(4)]
    assert put[0] == found[0]
    assert pickle.loads(pickle.dumps(put[1])) == found[1]
    assert copy.deepcopy(put[2]) == found[2]
    assert repr(put[3]) == repr(found[3])
    assert hash(put[3].path) == hash("f/3")

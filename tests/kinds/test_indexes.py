"""Declared indexes (C4): used where they should be, kept whenever a store is made anew, and nothing but faster.

That answers are the same with them and without is shown in test_finding.py, which asks all its questions both ways.
"""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import holdfast
from holdfast import Store, field
from holdfast.errors import ConflictError, InvalidQueryError, InvalidValueError, NotFoundError
from holdfast.index import metadata
from holdfast.index.select import declared
from holdfast.kinds import indexes
from holdfast.values.query import Compare

SCORE = field("metadata.score")


def fill(store: Store, count: int = 60) -> None:
    with store.transaction():
        for n in range(count):
            store.put(f"d/{n}", str(n), metadata={"score": n / 10, "who": {"name": f"u{n % 5}"}, "n": n})


def names(store: Store, condition: Compare, **more: Any) -> list[str]:
    return [one.name for one in store.find(condition, **more)]


# -- that it is used ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["created", "-created", "name", "-size", "updated"])
@pytest.mark.parametrize(
    "condition",
    [
        SCORE == 1.5, SCORE >= 5.5, SCORE < 0.2, SCORE.is_in([1, 2, "x"]), (SCORE > 1) & (SCORE < 1.3), SCORE.exists(),
        (SCORE == 1.5) & (field("size") > 1), (SCORE == 1) | (SCORE == 2),
    ],
    ids=str,
)  # fmt: skip
def test_explain_says_that_a_declared_index_is_used_and_sqlite_says_so_too(
    store: Store, condition: Any, order: str
) -> None:
    fill(store)
    before = list(store.find(condition, order=order))
    assert "metadata.score" not in store.artifacts.explain(condition, order=order).indexes

    store.indexes.declare("metadata.score")

    plan = store.artifacts.explain(condition, order=order)
    assert "metadata.score" in plan.indexes
    assert plan.scans == ()
    assert any(one.startswith("SEARCH index of metadata.score USING PRIMARY KEY (declared=?") for one in plan.steps)
    assert list(store.find(condition, order=order)) == before


def test_one_value_is_found_in_order_of_age_without_sorting_however_many_have_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    monkeypatch.setattr(declared, "FEW", 1)
    store.indexes.declare("metadata.who.name")

    plan = store.artifacts.explain(field("metadata.who.name") == "u3", order="-created")

    within = plan.steps[: plan.steps.index("SCAN found")]
    assert any("(declared=? AND value=?)" in step for step in within)
    assert not any("TEMP B-TREE" in step for step in within)


def test_of_two_values_the_rarer_leads(store: Store) -> None:
    fill(store)
    store.indexes.declare("metadata.who.name")
    store.indexes.declare("metadata.n")
    condition = (field("metadata.who.name") == "u3") & (field("metadata.n") == 8)

    steps = store.artifacts.explain(condition).steps

    assert names(store, condition) == ["8"]
    assert next(step for step in steps if "USING PRIMARY KEY" in step).startswith("SEARCH index of metadata.n ")


def test_a_range_that_most_artifacts_lie_in_is_not_listed_in_order_of_age(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    store.indexes.declare("metadata.score")
    monkeypatch.setattr(declared, "FEW", 10)

    assert "metadata.score" not in store.artifacts.explain(SCORE > 1).indexes
    assert "metadata.score" in store.artifacts.explain(SCORE > 5.8).indexes
    assert "metadata.score" in store.artifacts.explain(SCORE > 1, order="name").indexes


def test_a_place_that_few_lie_in_comes_before_a_value_that_many_have(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    store.put("e/1", "1", metadata={"who": {"name": "u3"}})
    store.indexes.declare("metadata.who.name")
    monkeypatch.setattr(declared, "FEW", 3)

    condition = field("metadata.who.name") == "u3"

    assert "metadata.who.name" not in store.artifacts.explain(condition, under="e").indexes
    assert names(store, condition, under="e") == ["1"]


def test_what_no_index_can_tell_is_answered_without(store: Store) -> None:
    fill(store)
    store.put("d/none", "x")
    store.indexes.declare("metadata.score")

    for condition in (
        SCORE != 1.5,
        ~(SCORE == 1.5),
        Compare("metadata.score", "exists", False),
        field("metadata.n") == 3,
    ):
        assert "metadata.score" not in store.artifacts.explain(condition).indexes
    assert names(store, Compare("metadata.score", "exists", False)) == ["none"]


def test_an_index_can_be_used_however_its_path_is_spelled(store: Store) -> None:
    fill(store)
    store.indexes.declare('metadata."who"."name"')

    assert [one.field for one in store.indexes.list()] == ["metadata.who.name"]
    for spelled in ("metadata.who.name", 'metadata."who".name'):
        assert store.artifacts.explain(field(spelled) == "u1").indexes == ("metadata.who.name",)


# -- what it holds -----------------------------------------------------------------------------------------------------


def test_an_index_follows_the_newest_revision(store: Store) -> None:
    store.indexes.declare("metadata.k")
    key = field("metadata.k")
    store.put("a", "1", metadata={"k": 1})
    store.put("a", "2", metadata={"k": "two"})
    store.put("a", "3")
    assert names(store, key == "two") == ["a"]
    assert names(store, key == 1) == []

    store.artifacts.set_metadata("a", {})
    assert names(store, key.exists()) == []
    assert store.indexes.list()[0].artifacts == 0

    store.artifacts.revert("a", 1)
    assert names(store, key == 1.0) == ["a"]
    store.artifacts.delete("a")
    assert names(store, key == 1) == []
    assert names(store, key == 1, deleted=True) == ["a"]
    assert store.indexes.list()[0].artifacts == 1


def test_a_transaction_that_fails_leaves_nothing_in_an_index_and_no_index(store: Store) -> None:
    store.indexes.declare("metadata.k")
    store.put("a", "1", metadata={"k": 1})
    with pytest.raises(ZeroDivisionError), store.transaction():  # noqa: PT012
        store.put("a", "2", metadata={"k": 2})
        store.put("b", "2", metadata={"k": 2, "m": 1})
        store.indexes.declare("metadata.m")
        assert names(store, field("metadata.m") == 1) == ["b"]
        store.indexes.drop("metadata.k")
        raise ZeroDivisionError

    store.put("c", "3", metadata={"k": 3, "m": 3})
    assert [(one.field, one.artifacts) for one in store.indexes.list()] == [("metadata.k", 2)]
    assert (names(store, field("metadata.k") == 1), names(store, field("metadata.k") == 3)) == (["a"], ["c"])
    assert store.fsck().findings == ()


def test_bulk_puts_are_indexed_too(store: Store) -> None:
    store.indexes.declare("metadata.k")
    store.put("7", "old", metadata={"k": "old"})
    store.put_many((str(n), str(n), {"metadata": {"k": n % 3}}) for n in range(200))

    assert len(names(store, field("metadata.k") == 1)) == 67
    assert names(store, field("metadata.k") == "old") == []
    assert store.fsck().findings == ()


def test_a_change_that_another_process_makes_is_seen_at_once(store: Store) -> None:
    fill(store)
    with holdfast.open(store.path) as other:
        store.put("x", "1", metadata={"score": 77})
        other.indexes.declare("metadata.score")
        store.put("y", "1", metadata={"score": 78})
        assert "metadata.score" in store.artifacts.explain(SCORE == 78).indexes
        assert (names(store, SCORE == 78), names(other, SCORE == 77)) == (["y"], ["x"])
        other.indexes.drop("metadata.score")
        store.put("z", "1", metadata={"score": 79})
        other.indexes.declare("metadata.score")
        assert names(store, SCORE > 70) == ["x", "y", "z"]
    assert store.fsck().findings == ()


def test_what_is_declared_is_asked_for_again_only_when_others_have_written(store: Store) -> None:
    store.indexes.declare("metadata.k")
    asked: list[str] = []
    store._handle.index.database.raw().set_trace_callback(
        lambda sql: asked.append(sql) if "FROM metadata_index" in sql else None
    )
    counts = []
    with holdfast.open(store.path) as other:
        for n in range(6):
            if n in (2, 4):
                other.put(f"other/{n}", str(n))
            store.put(f"own/{n}", str(n), metadata={"k": n})
            counts.append(len(asked))
    store._handle.index.database.raw().set_trace_callback(None)

    assert counts == [0, 0, 1, 1, 2, 2]
    assert store.indexes.list()[0].artifacts == 6


# -- that it lasts -----------------------------------------------------------------------------------------------------


def test_a_declaration_is_a_change_that_outlives_the_index_file(store: Store, tmp_path: Path) -> None:
    fill(store)
    store.indexes.declare("metadata.score", note="asked for often")
    store.indexes.declare("metadata.n")
    store.indexes.drop("metadata.n")
    listed = store.indexes.list()
    said = [(one.action, one.note) for one in store.changes.list(kind="metadata-index")]
    assert said == [("create", "asked for often"), ("create", ""), ("delete", "")]
    store.close()

    copy = tmp_path / "copy"
    shutil.copytree(store.path, copy)
    holdfast.recover(copy)
    Path(store.path, "index.sqlite3").unlink()
    for root in (store.path, copy):
        with holdfast.open(root) as again:
            assert again.indexes.list() == listed
            assert again.artifacts.explain(SCORE == 1.5).indexes == ("metadata.score",)
            assert names(again, SCORE == 1.5) == ["15"]
            assert again.fsck().findings == ()


def test_what_is_redacted_is_in_no_index_either(store: Store) -> None:
    store.indexes.declare("metadata.k")
    found = store.put("a", "1", metadata={"k": "secret-of-metadata"}).artifact
    store.redact(found, fields=["metadata"])

    assert store.indexes.list()[0].artifacts == 0
    assert names(store, field("metadata.k").exists()) == []
    store.close()
    assert b"secret-of-metadata" not in Path(store.path, "index.sqlite3").read_bytes()


def test_fsck_finds_a_declared_index_that_is_not_there_and_values_that_are_not_true(store: Store) -> None:
    fill(store)
    store.indexes.declare("metadata.score")
    store.close()
    harms = [
        "DELETE FROM metadata_index",
        "UPDATE metadata_index SET live = NULL",
        "UPDATE metadata_index SET field = 'metadata.other'",
        "DELETE FROM metadata_value WHERE artifact = (SELECT max(artifact) FROM metadata_value)",
        "UPDATE metadata_value SET value = 99 WHERE value = 3",
        "UPDATE metadata_value SET value = 3.0 WHERE value = 3",
        "INSERT INTO metadata_value SELECT declared, 'x', artifact FROM metadata_value LIMIT 1",
        "DROP TABLE metadata_value",
        "DROP INDEX metadata_index_field",
    ]
    file = Path(store.path, "index.sqlite3")
    sound = file.read_bytes()
    for harm in harms:
        harmed = sqlite3.connect(file, isolation_level=None)
        harmed.execute(harm)
        harmed.close()
        found = holdfast.fsck(store.path)
        assert found.findings, harm
        file.write_bytes(sound)
    assert holdfast.fsck(store.path).findings == ()


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_declaring_twice_changes_nothing_and_dropping_what_is_not_there_is_refused(store: Store) -> None:
    first = store.indexes.declare("metadata.k")
    seq = store.changes.head().next_seq

    assert store.indexes.declare('metadata."k"') == first
    assert store.changes.head().next_seq == seq
    assert store.indexes.drop("metadata.k") == first
    with pytest.raises(NotFoundError):
        store.indexes.drop("metadata.k")
    again = store.indexes.declare("metadata.k")
    assert again.id != first.id
    with pytest.raises(ConflictError):
        store.redact(again.id)


@pytest.mark.parametrize("wrong", ["k", "size", "metadata", "", "metadata." + "k" * 1001])
def test_only_metadata_is_indexed(store: Store, wrong: str) -> None:
    with pytest.raises(InvalidValueError):
        store.indexes.declare(wrong)


@pytest.mark.parametrize("wrong", ["metadata.", "metadata.a..b", 'metadata."a', "metadata.[x]"])
def test_a_path_that_is_none_is_refused(store: Store, wrong: str) -> None:
    with pytest.raises(InvalidQueryError):
        store.indexes.declare(wrong)


def test_a_store_has_so_many_indexes_and_no_more(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexes, "MOST", 2)
    store.indexes.declare("metadata.a")
    store.indexes.declare("metadata.b")
    with pytest.raises(InvalidValueError, match="2 declared"):
        store.indexes.declare("metadata.c")
    store.indexes.declare("metadata.a")


# -- keys --------------------------------------------------------------------------------------------------------------

_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=4),
    st.text("ab\0\ud7ff\ue000\U0010ffff", min_size=98, max_size=103),
    st.sampled_from([10**400, -(10**400), 2**53, 2**53 + 1]),
    st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=1), st.integers(), max_size=1),
)  # fmt: skip
_OPS = st.sampled_from(["=", "<", "<=", ">", ">=", "in", "glob", "exists"])


@given(_VALUES, _OPS, _VALUES)
def test_what_meets_a_condition_lies_in_its_span(found: Any, op: str, value: Any) -> None:
    value = [value] if op == "in" else f"{value}*" if op == "glob" else value
    one = Compare("metadata.k", op, value)
    span = metadata.span_of(one) or metadata.Span()
    where, parameters = span.sql("t.value")
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (value BLOB)")
    connection.execute("INSERT INTO t VALUES (?)", (metadata.key_of(found),))
    (inside,) = connection.execute(f"SELECT count(*) FROM t WHERE {where}", parameters).fetchone()
    connection.close()

    assert inside or not one.matches(lambda _: found)


@given(_VALUES)
def test_a_key_comes_out_of_sqlite_as_it_went_in(value: Any) -> None:
    key = metadata.key_of(value)
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (value BLOB)")
    connection.execute("INSERT INTO t VALUES (?)", (key,))
    (back,) = connection.execute("SELECT value FROM t").fetchone()
    connection.close()

    assert (back, type(back)) == (key, type(key))


@given(_VALUES, st.lists(st.tuples(_OPS, _VALUES), min_size=1, max_size=3))
def test_what_meets_several_conditions_lies_in_what_their_spans_have_in_common(found: Any, said: list[Any]) -> None:
    conditions = [Compare("metadata.k", op, [v] if op == "in" else f"{v}*" if op == "glob" else v) for op, v in said]
    both = metadata.Span()
    for one in conditions:
        both &= metadata.span_of(one) or metadata.Span()
    where, parameters = both.sql("t.value")
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (value BLOB)")
    connection.execute("INSERT INTO t VALUES (?)", (metadata.key_of(found),))
    (inside,) = connection.execute(f"SELECT count(*) FROM t WHERE {where}", parameters).fetchone()
    connection.close()

    assert inside or not all(one.matches(lambda _: found) for one in conditions)

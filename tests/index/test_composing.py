"""Statements for rows are those that Peewee composes from the models: nothing about tables is said in two ways."""

from __future__ import annotations

from typing import Any

import pytest
from peewee import SQL, Model

from holdfast.index import composing, proof, tables


def models() -> list[tuple[str, type[Model]]]:
    return [(str(model._meta.table_name), model) for model in tables.models().all()]


def columns_of(model: type[Model]) -> tuple[str, ...]:
    return tuple(str(name) for name in model._meta.sorted_field_names if name != proof.CHECKSUM)


def signs(table: str) -> bool:
    return table in proof.COLUMNS


every_table = pytest.mark.parametrize(("table", "model"), models(), ids=[table for table, _ in models()])


@every_table
def test_columns_stand_in_the_order_of_the_models_however_they_are_given(table: str, model: type[Model]) -> None:
    columns = columns_of(model)
    assert composing.layout(table, columns[::-1]).columns == columns
    assert composing.layout(table, columns[-1:]).columns == columns[-1:]


@every_table
def test_a_new_row_is_what_peewee_inserts(table: str, model: type[Model]) -> None:
    for columns in (columns_of(model), columns_of(model)[:1]):
        every = (*columns, proof.CHECKSUM) if signs(table) else columns
        composed = model.insert({model._meta.fields[column]: 0 for column in every}).sql()[0]
        assert composing.insert(table, columns, 1) == composed
        row = composed.rpartition(" VALUES ")[2]
        assert composing.insert(table, columns, 3) == f"{composed}, {row}, {row}"


@every_table
def test_a_changed_row_is_what_peewee_updates(table: str, model: type[Model]) -> None:
    columns = columns_of(model)
    fields = model._meta.fields
    for changed, where in ((columns[-1:], columns[:1]), (columns[1:], columns[:2])):
        values: dict[Any, Any] = {fields[column]: 0 for column in changed}
        if signs(table):
            values[fields[proof.CHECKSUM]] = SQL(proof.changed(table, changed))
        query = model.update(values)
        for column in where:
            query = query.where(fields[column] == 0)
        assert plain(composing.update(table, changed, where)) == plain(query.sql()[0])


@every_table
def test_a_removed_row_is_what_peewee_deletes(table: str, model: type[Model]) -> None:
    for where in (columns_of(model)[:1], columns_of(model)[:2]):
        query = model.delete()
        for column in where:
            query = query.where(model._meta.fields[column] == 0)
        assert plain(composing.delete(table, where)) == plain(query.sql()[0])


def plain(sql: str) -> str:
    """Without the brackets that Peewee puts around every comparison."""
    head, found, tail = sql.rpartition(" WHERE ")
    return head + found + tail.replace("(", "").replace(")", "")

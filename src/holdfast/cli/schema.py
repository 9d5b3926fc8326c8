"""schema: the tables of an index as SQL, for who makes them by other means."""

from __future__ import annotations

import click

from holdfast.cli.invocation import Invocation, command


@click.group("schema")
def schema() -> None:
    """Print the tables of an index as SQL.

    Holdfast makes them by itself. It is for databases in which a program may not make tables.
    """


@command("sql")
@click.option(
    "--dialect", type=click.Choice(["postgresql", "sqlite"]), default="postgresql", show_default=True,
    help="Of which database.",
)  # fmt: skip
@click.option("--schema", "name", default="holdfast", show_default=True, help="PostgreSQL's name for the place.")
def sql(inv: Invocation, dialect: str, name: str) -> None:
    """Print the schema, made from the manifest of migrations.

    What is printed for PostgreSQL may be applied twice: psql -f does no harm to a schema that is there.
    """
    from holdfast.index import schemas  # noqa: PLC0415 - start-up time

    found = schemas.text(dialect, name)
    inv.out.document({"dialect": dialect, "sql": found})
    if not inv.json:
        inv.out.lines(found.rstrip("\n").split("\n"))


schema.add_command(sql)

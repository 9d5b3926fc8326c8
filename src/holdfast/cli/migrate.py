"""migrate: the schema of the index, which is not the format of the store."""

from __future__ import annotations

from typing import Any

import click

from holdfast.cli import plain, text
from holdfast.cli.invocation import Invocation, actor, command

_TO = click.IntRange(min=1)


@click.group("migrate")
def migrate() -> None:
    """Show or change the schema of the index.

    The index can be made anew from journal and blobs at any time (`holdfast rebuild`); the format of the store itself
    is not touched here.
    """


@command("status")
def status(inv: Invocation) -> None:
    """Show which migrations there are and which are applied."""
    from holdfast.care import migrating  # noqa: PLC0415 - start-up time

    found = migrating.status(inv.path(), _settings(inv))
    inv.out.document({"migrations": [plain.plain(one) for one in found]})
    if not inv.json:
        rows = [(str(one.version), text.safe(one.name), one.release, "yes" if one.applied else "no") for one in found]
        inv.out.lines(text.table([("version", "name", "release", "applied"), *rows], right=frozenset({0})))


@command("plan")
@click.option("--to", type=_TO, metavar="VERSION", help="By default the newest.")
def plan(inv: Invocation, to: int | None) -> None:
    """Show which steps lead to a version, and what steps down would lose.

    Nothing is changed.
    """
    from holdfast.care import migrating  # noqa: PLC0415 - start-up time

    found = migrating.plan(inv.path(), _settings(inv), target=to)
    inv.out.document({"steps": [plain.plain(one) for one in found]})
    if not inv.json:
        shown = [f"{one.direction:<4} {one.version:>3}  {text.safe(one.name)}{_losses(one)}" for one in found]
        inv.out.lines(shown or ["nothing to do"])


@command("up")
@click.option("--to", type=_TO, metavar="VERSION", help="By default the newest.")
def up(inv: Invocation, to: int | None) -> None:
    """Bring the index to a newer schema.

    Nobody may have the store open meanwhile. What was there before is kept in quarantine/ (with PostgreSQL: in a schema
    of its own). Doing it again changes nothing.
    """
    _change(inv, to, accept_loss=False, up=True)


@command("down")
@click.option("--to", type=_TO, required=True, metavar="VERSION", help="The older version.")
@click.option("--accept-loss", is_flag=True, help="Also if something has no place in the older schema.")
def down(inv: Invocation, to: int, accept_loss: bool) -> None:
    """Bring the index to an older schema, for older software.

    What would be lost is named, and nothing is done without --accept-loss.
    """
    _change(inv, to, accept_loss=accept_loss, up=False)


def _change(inv: Invocation, to: int | None, *, accept_loss: bool, up: bool) -> None:
    from holdfast.care import migrating  # noqa: PLC0415 - start-up time
    from holdfast.errors import InvalidValueError  # noqa: PLC0415

    inv.on_interrupt = "Steps that were done stay; what was there before is in quarantine/. The same command goes on."
    planned = migrating.plan(inv.path(), _settings(inv), target=to)
    if planned and (planned[0].direction == "up") is not up:
        raise InvalidValueError(
            f"schema {to} is {'older' if up else 'newer'} than what the index has", where="--to", reason="direction",
            remedy=f"Say `holdfast migrate {'down' if up else 'up'}`.",
        )  # fmt: skip
    with inv.meter() as progress:
        found = migrating.migrate(
            inv.path(), _settings(inv), target=to, accept_loss=accept_loss, progress=progress
        )  # fmt: skip
    inv.out.document(plain.plain(found))
    if not found.steps:
        inv.out.said(f"the index has schema {found.after} already")
        return
    inv.out.said(f"schema {found.before} -> {found.after}; what was there before: {text.safe(found.copy)}")


def _settings(inv: Invocation) -> Any:
    from holdfast.engine import configuration  # noqa: PLC0415
    from holdfast.engine.open import Settings  # noqa: PLC0415

    return Settings(actor(), wait_s=configuration.value("lock_wait_s", inv.lock_wait_s, root=inv.path()))


def _losses(step: Any) -> str:
    return "; loses " + ", ".join(f"{text.safe(what)}: {count}" for what, count in step.loses) if step.loses else ""


for _one in (status, plan, up, down):
    migrate.add_command(_one)

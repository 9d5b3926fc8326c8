"""config: what is set for a store."""

from __future__ import annotations

import click

from holdfast.cli import plain, text
from holdfast.cli.invocation import Invocation, command


@click.group("config")
def config() -> None:
    """Show and change what is set for a store.

    An option wins over the environment, the environment over what the store has, that over the default.
    """


@command("list")
def list_(inv: Invocation) -> None:
    """Show every setting, its value, and where that is from."""
    with inv.open(read_only=True) as store:
        found = store.configuration.list()
    inv.out.document({"settings": [plain.plain(one) for one in found]})
    if not inv.json:
        rows = [(one.name, "" if one.value is None else f"{one.value}", one.origin) for one in found]
        inv.out.lines(text.table([("setting", "value", "from"), *rows]))


@command("set")
@click.argument("name")
@click.argument("value")
def set_(inv: Invocation, name: str, value: str) -> None:
    """Keep a value in the store, for all who open it."""
    from holdfast.values import configuration  # noqa: PLC0415 - start-up time

    wanted = configuration.parsed(configuration.setting(name), value, name)
    with inv.open() as store:
        found = store.configuration.set(name, wanted)
    inv.out.document(plain.plain(found))
    inv.out.said(f"{text.safe(found.name)}: {found.value} (from {found.origin})")


@command("unset")
@click.argument("name")
def unset(inv: Invocation, name: str) -> None:
    """Keep no value of the store's own any more."""
    with inv.open() as store:
        found = store.configuration.unset(name)
    inv.out.document(plain.plain(found))
    inv.out.said(f"{text.safe(found.name)}: {'' if found.value is None else found.value} (from {found.origin})")


for _one in (list_, set_, unset):
    config.add_command(_one)

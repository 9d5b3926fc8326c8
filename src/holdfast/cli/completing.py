"""What a shell is offered while a path in the store is typed."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from holdfast.cli.invocation import Invocation
from holdfast.errors import HoldfastError

COMPLETED = 200
"""How many names a completion offers at most."""


def paths(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    """Paths in the store that begin with the word; none if the store cannot be read now."""
    folder = incomplete.rpartition("/")[0]
    found = []
    try:
        with (ctx.find_object(Invocation) or Invocation()).open(read_only=True) as store:
            for one in store.collections.list(folder):
                found.append(f"{one.path}/")
            for artifact in store.artifacts.list(folder):
                found.append(artifact.path)
                if len(found) > COMPLETED * 10:
                    break
    except (HoldfastError, OSError):
        return []
    return [CompletionItem(path) for path in found if path.startswith(incomplete)][:COMPLETED]

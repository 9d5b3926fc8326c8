"""completion: the script that makes a shell complete commands, options and paths in the store."""

from __future__ import annotations

import click
from click import shell_completion

from holdfast.cli.invocation import Invocation, command

VARIABLE = "_HOLDFAST_COMPLETE"
_WHERE = {
    "bash": "echo 'eval \"$(holdfast completion bash)\"' >> ~/.bashrc",
    "zsh": "echo 'eval \"$(holdfast completion zsh)\"' >> ~/.zshrc",
    "fish": "holdfast completion fish > ~/.config/fish/completions/holdfast.fish",
}


@command("completion")
@click.argument("shell", type=click.Choice(sorted(_WHERE)))
def completion(inv: Invocation, shell: str) -> None:
    """Print a completion script for a shell.

    \b
    bash: echo 'eval "$(holdfast completion bash)"' >> ~/.bashrc
    zsh:  echo 'eval "$(holdfast completion zsh)"' >> ~/.zshrc
    fish: holdfast completion fish > ~/.config/fish/completions/holdfast.fish
    """
    kind = shell_completion.get_completion_class(shell)
    assert kind is not None
    made = kind(click.get_current_context().find_root().command, {}, "holdfast", VARIABLE)
    script = made.source_template % made.source_vars()
    inv.out.document({"shell": shell, "script": script, "install": _WHERE[shell]})
    inv.out.line(script.rstrip("\n"))

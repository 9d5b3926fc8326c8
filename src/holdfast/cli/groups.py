"""A group of subcommands that says what was probably meant by a word that is none of them."""

from __future__ import annotations

from typing import ClassVar

import click


class Guiding(click.Group):
    """`elsewhere`: words that people look for here, with the command that does it. `verb`: what a file may want."""

    elsewhere: ClassVar[dict[str, str]] = {}
    verb = ""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The subcommand that the arguments name. UsageError with what to say instead."""
        word = args[0] if args else ""
        if word and not word.startswith("-") and word not in self.commands:
            raise click.UsageError(
                f"there is no command {word!r} in `{ctx.command_path}`. {self._meant(ctx, word)}", ctx
            )
        return super().resolve_command(ctx, args)

    def _meant(self, ctx: click.Context, word: str) -> str:
        import difflib  # noqa: PLC0415 - start-up time

        if word in self.elsewhere:
            return f"Say `{self.elsewhere[word]}`."
        near = difflib.get_close_matches(word, self.commands, n=1)
        if near:
            return f"Did you mean `{near[0]}`?"
        if self.verb:
            return f"To write that file: `{ctx.command_path} {self.verb} {word}`."
        return f"There are: {', '.join(self.commands)}."


class Snapshots(Guiding):
    """`holdfast snapshot FILE` is tried by everybody once."""

    verb = "take"


class Exports(Guiding):
    """What leaves a store by another verb."""

    elsewhere: ClassVar[dict[str, str]] = {
        "snapshot": "holdfast snapshot take FILE",
        "backup": "holdfast backup DEST",
        "folder": "holdfast checkout COLLECTION DEST",
        "files": "holdfast checkout COLLECTION DEST",
        "bag": "holdfast export bagit DEST",
        "crate": "holdfast export ro-crate DEST",
    }

"""The command itself: its table of subcommands, loaded when used, and how every error ends."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from keyword import iskeyword
from typing import Any, NoReturn

import click

from holdfast.cli.exits import Exit
from holdfast.cli.invocation import Invocation, common_options, write_options
from holdfast.cli.output import failure
from holdfast.errors import CancelledError, HoldfastError
from holdfast.index.drivers import process_is_ours

_GARBAGE_AFTER = 10_000
"""So many new objects before garbage is looked for: a start makes many that stay, and looking takes a tenth of it."""

SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Start": {
        "init": ("stores", "Make a new, empty store."),
        "status": ("stores", "Show what is in the store and how it is."),
        "doctor": ("stores", "Show versions, file system and settings, for a report."),
    },
    "Put in and take out": {
        "add": ("adding", "Take in files and whole trees."),
        "put": ("putting", "Put one content under a path."),
        "get": ("getting", "Write a content to a file."),
        "cat": ("getting", "Write contents to standard output."),
        "checkout": ("checkout", "Write a collection out as a working tree."),
        "export": ("packages", "Write the store in another shape."),
        "import": ("packages", "Take in what was exported, or merge it."),
        "snapshot": ("snapshotting", "Put a store, or a part of it, into one file."),
    },
    "Look": {
        "ls": ("listing", "List artifacts and collections."),
        "find": ("listing", "Find artifacts by name, tag, size, metadata and more."),
        "search": ("searching", "Search the text of contents, names and metadata."),
        "show": ("showing", "Show all that is known of one record."),
        "log": ("history", "Show who changed what, newest first."),
        "diff": ("history", "Show what changed between two revisions."),
        "lineage": ("links", "Show what something came from, or what came of it."),
    },
    "Change": {
        "mkdir": ("naming", "Make collections."),
        "mv": ("naming", "Move or rename an artifact or a collection."),
        "rm": ("removing", "Delete; `undelete` brings back."),
        "undelete": ("removing", "Bring back what was deleted."),
        "revert": ("revisions", "Make an old revision the newest again."),
        "purge": ("revisions", "Give up contents for good."),
        "redact": ("redacting", "Erase fields of a record, or all of it, for good."),
        "tag": ("labels", "Add tags."),
        "untag": ("labels", "Take tags off."),
        "meta": ("labels", "Show or change metadata."),
        "relate": ("links", "Relate two records."),
        "unrelate": ("links", "Delete a relationship."),
        "run": ("runs", "Record executions, with what they read and made."),
    },
    "Care": {
        "fsck": ("upkeep", "Check contents, index and journal against each other."),
        "audit": ("auditing", "Prove that nothing in the history was edited, dropped or reordered."),
        "gc": ("upkeep", "Free the space of what nothing refers to."),
        "index": ("indexes", "Say which fields of metadata are indexed."),
        "repack": ("repacking", "Put similar contents together, so that they take less space."),
        "rebuild": ("upkeep", "Make the index anew from journal and blobs."),
        "recover": ("upkeep", "Make a copied or torn store whole."),
        "backup": ("backing", "Back up the store, or check a backup."),
        "copy": ("copying", "Make the store again elsewhere, with its index in a file or in PostgreSQL."),
        "restore": ("backing", "Make a store of a backup, as of now or of an earlier change."),
        "drill": ("backing", "Try a backup out: restore it, check it, compare it, report."),
        "outbox": ("outbox", "Hand every change on to other programs, in order."),
        "config": ("config", "Show and change what is set for a store."),
        "migrate": ("migrate", "Show or change the schema of the index."),
        "schema": ("schema", "Print the tables of an index as SQL."),
    },
    "The command itself": {
        "completion": ("completion", "Print a completion script for a shell."),
        "version": ("stores", "Print the version."),
    },
}
TABLE = {name: entry for section in SECTIONS.values() for name, entry in section.items()}


class Root(click.Group):
    """`holdfast`: knows its subcommands by a table, so that help loads none of them."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.common = common_options()
        self.params.extend(self.common)

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """All subcommands, in the order of the help."""
        return list(TABLE)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        """Load the module that has the subcommand."""
        if name not in TABLE:
            return None
        process_is_ours()
        found: click.Command = getattr(
            import_module(f"holdfast.cli.{TABLE[name][0]}"), f"{name}_" if iskeyword(name) else name
        )
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The subcommand that the arguments name; a near miss is told the nearest."""
        if args and args[0] not in TABLE and not args[0].startswith("-"):
            import difflib  # noqa: PLC0415

            near = difflib.get_close_matches(args[0], TABLE, n=1)
            meant = f" Did you mean `{near[0]}`?" if near else ""
            raise click.UsageError(f"there is no command {args[0]!r}.{meant}", ctx)
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The common options, and the subcommands by what they are for."""
        write_options(self, ctx, formatter)
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, line) for name, (_module, line) in commands.items()])

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: ARG002
        **extra: Any,
    ) -> NoReturn:
        """Run, and end the process with the exit code that the table in `exits` gives. No traceback ever."""
        given = list(sys.argv[1:] if args is None else args)
        if given[:1] == ["-C"]:
            given[0] = "--store"  # the same; for a short option click first compares it with all that are longer
        invocation = Invocation()
        invocation.json = "--json" in given[: given.index("--") if "--" in given else None]
        code: int
        try:
            self._main_shell_completion(extra, prog_name or "holdfast", complete_var)
            with self.make_context(prog_name or "holdfast", given, obj=invocation, **extra) as ctx:
                code = int(self.invoke(ctx) or 0)
            sys.stdout.flush()
        except BaseException as error:  # noqa: BLE001
            code = ended_by(error, invocation)
        sys.exit(code)


def ended_by(error: BaseException, invocation: Invocation) -> int:
    """Tell the user what ended the command, and choose the exit code."""
    if isinstance(error, click.exceptions.Exit):
        try:
            sys.stdout.flush()
        except (OSError, ValueError) as unwritten:
            return ended_by(unwritten, invocation)
        return error.exit_code
    if isinstance(error, BrokenPipeError) or (isinstance(error, OSError) and error.errno == errno.EPIPE):
        _drop_output()
        return Exit.FAILED
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        _drop_output()  # what cannot be written now would fail again at the interpreter's end, with a code of its own
    try:
        return _told(error, invocation)
    except OSError:  # nobody reads stderr either
        return Exit.FAILED


def _told(error: BaseException, invocation: Invocation) -> int:
    json = invocation.json
    if isinstance(error, (KeyboardInterrupt, click.Abort, CancelledError)):
        _fail("interrupted", "interrupted", invocation.on_interrupt, Exit.INTERRUPTED, json=json)
        return Exit.INTERRUPTED
    if isinstance(error, HoldfastError):
        failure({**error.as_dict(), "exit_code": error.exit_code}, json=json)
        return error.exit_code
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        sys.stderr.write(error.format_message() + "\n")
        return Exit.USAGE
    if isinstance(error, click.ClickException):
        ctx = getattr(error, "ctx", None)
        path = ctx.command_path if ctx is not None else "holdfast"
        _fail("usage", error.format_message(), f"See `{path} --help`.", Exit.USAGE, json=json)
        return Exit.USAGE
    if isinstance(error, OSError):
        where = f"{os.fsdecode(error.filename)!r}: " if error.filename else ""
        _fail(
            "file", f"{where}{error.strerror or error}", "Check that the file is there and may be used.", 1, json=json
        )
        return Exit.FAILED
    return _bug(error, json=json)


def _bug(error: BaseException, *, json: bool) -> int:
    if os.environ.get("HOLDFAST_DEBUG"):
        import traceback  # noqa: PLC0415

        traceback.print_exception(error)
    remedy = "Please report it with the output of `holdfast doctor`; HOLDFAST_DEBUG=1 shows where it happened."
    _fail("bug", f"this is a bug in holdfast: {type(error).__name__}: {error}", remedy, Exit.FAILED, json=json)
    return Exit.FAILED


def _fail(code: str, message: str, remedy: str, exit_code: int, *, json: bool) -> None:
    fields = {"code": code, "message": message, "remedy": remedy, "fields": {}, "exit_code": int(exit_code)}
    failure(fields, json=json)


def _drop_output() -> None:
    """Whoever read our output has left: keep Python from complaining about it at exit."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from holdfast.version import __version__  # noqa: PLC0415

        sys.stdout.write(f"holdfast {__version__}\n")
        ctx.exit()


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version."
)
def cli() -> None:
    """Keep artifacts, their revisions and the runs that made them, for good.

    The store is the folder given by -C or HOLDFAST_STORE, else the nearest folder above this one that is a store.
    Exit codes are listed in docs/reference/exit-codes.md.
    """


def main() -> NoReturn:
    """The entry point of the program `holdfast`."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    gc.set_threshold(_GARBAGE_AFTER)
    cli.main(prog_name="holdfast")

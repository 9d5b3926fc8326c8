"""Write docs/reference/ from the program: commands, exit codes, errors. With --check, say what is out of date.

Run as `python tools/generate_docs.py`; the tests run it with --check.
"""

# Lines of the pages are as long as they are there.
# ruff: noqa: E501

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from holdfast import errors
from holdfast.cli.exits import MEANINGS
from holdfast.cli.main import SECTIONS, cli
from holdfast.values.configuration import TABLE, Setting

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"
NOTE = "<!-- Written by tools/generate_docs.py from the program; do not edit. -->\n"

_LINK = re.compile(r"\[([^]]*)\]\([^)]*\)")
ENVIRONMENT = [
    *(
        (one.environment, _LINK.sub(r"\1", f"{one.meaning[0].upper()}{one.meaning[1:]}."))
        for one in TABLE
        if one.environment
    ),
    ("HOLDFAST_DEBUG", "If set, a bug shows its traceback."),
    ("NO_COLOR", "If set and not empty, no colours (see no-color.org). There are none outside a terminal."),
]


COMMON = """\
Every command takes the common options, before or after its name. With `--json`, short commands print one document; long
ones (`add`, `ls`, `find`, `log`, `fsck`, `gc`, `repack`, `rebuild`, `recover`, `run list`) print JSON Lines, each with
a `message_type`, the last being `summary`; errors are one JSON document on standard error. Names that are not UTF-8
have their bytes in `name_hex` and `path_hex`.
"""

EXITS = """\
A code that is not in this table means failure. A reader that goes away early (`holdfast log | head`) ends the command
silently with 1.
"""

ERRORS = """\
Every error has a stable `code`, an exit code, structured `fields` and a remedy; in Python they are classes of
`holdfast.errors`, in JSON the keys of the document on standard error.
"""


def commands() -> str:
    """The page on the commands: every one with its help as the program prints it."""
    context = click.Context(cli, info_name="holdfast", terminal_width=100, **cli.context_settings)
    parts = [
        NOTE,
        "# Commands\n",
        _fenced(_help(cli, context)),
        COMMON,
        "## Environment\n",
        _table(("variable", "meaning"), [(f"`{name}`", meaning) for name, meaning in ENVIRONMENT]),
    ]
    for title, section in SECTIONS.items():
        parts.append(f"## {title}\n")
        for name in section:
            command = cli.get_command(context, name)
            assert command is not None
            for path, one in _with_subcommands(f"holdfast {name}", command):
                inner = click.Context(one, parent=_parent(context, path), info_name=path.split()[-1])
                parts += [f"### {path}\n", _fenced(_help(one, inner))]
    return "\n".join(parts)


def _with_subcommands(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, one in sorted(command.commands.items()):
            yield from _with_subcommands(f"{path} {name}", one)


def _parent(context: click.Context, path: str) -> click.Context:
    """The context in which the last word of `path` is called."""
    for word in path.split()[1:-1]:
        assert isinstance(context.command, click.Group)
        command = context.command.get_command(context, word)
        assert command is not None
        context = click.Context(command, parent=context, info_name=word)
    return context


def _help(command: click.Command, context: click.Context) -> str:
    """The help without what is the same for every command."""
    text = command.get_help(context)
    if command is not cli:
        text = text.split("\nCommon options:")[0]
    return text.rstrip() + "\n"


def exit_codes() -> str:
    """The page on exit codes, with the errors that end in each."""
    ends: dict[int, list[str]] = {}
    for one in _errors():
        ends.setdefault(one.exit_code, []).append(f"`{one.code}`")
    rows = [(str(int(code)), meaning, ", ".join(sorted(ends.get(code, [])))) for code, meaning in MEANINGS.items()]
    return "\n".join([NOTE, "# Exit codes\n", EXITS, _table(("code", "meaning", "errors"), rows)])


def error_page() -> str:
    """The page on errors: code, exit code, what it means, what to do."""
    rows = [
        (f"`{one.code}`", f"`{one.__name__}`", str(one.exit_code), _first_line(one), one.default_remedy)
        for one in _errors()
    ]
    return "\n".join([NOTE, "# Errors\n", ERRORS, _table(("code", "class", "exit", "meaning", "remedy"), rows)])


CONFIGURATION = """\
There is little to set; what there is has one place: the table in `values/configuration.py`, from which this page is made.

A value is taken from the first of these that has one:

1. the **argument** of the call, or the option of the command,
2. the **environment**,
3. the **store**: what `holdfast config set NAME VALUE`, or `store.configuration.set(name, value)`, keeps in its `config.json`, for all who
   open it (where the last column says so),
4. the **default**.

What is out of bounds, or no number, is refused by name (`InvalidValueError`), wherever it comes from: nothing is quietly replaced by
a default.
"""

CONFIGURED = """\
```sh
holdfast config set lock_wait_s 60
holdfast config list
holdfast config unset lock_wait_s
```

A store's own values are part of plain copies of its folder, and of no [backup](backup.md), [export](export.md) or history: a restored store begins
with the defaults. Variables marked with * count for the command alone; Python programs give the argument.

For the command alone:

| option | environment | meaning |
|---|---|---|
| `--json` | | answers for programs; long ones as JSON Lines |
| `-q`, `--quiet` | | results only |
| `--no-progress` | | no progress bar (there is none outside a terminal) |
| | `NO_COLOR` | no colours (there are none outside a terminal) |
| | `HOLDFAST_DEBUG` | a bug shows its traceback |

For Python alone: `holdfast.open(path, read_only=True)` refuses to write and works on read-only media; `create=True` makes the store if the
folder is empty or absent (`holdfast init`).

All options of all commands: [reference/commands.md](reference/commands.md).
"""

CANNOT = """\
## What cannot be set, so far

| what | value |
|---|---|
| batches of `add` | 4,000 files or 64 MiB, of which 16 MiB in files of less than 1 MiB |
| packs | full with 32 MiB or 4,096 appends; rewritten when less than half is needed |
| frames of repacked packs | revisions of one artifact up to 2 MiB of content, others up to 352 KiB; files of up to 1 MiB are taken in |
| readers of `add` | processes as `hands` says, 2 threads for large files, 8 MiB ahead |
| readers of content of 2 MiB and more | 2 threads that decompress, 1 that hashes, 6 MiB between them |
| sync of the journal, and of packs that single puts went to | with 8 MiB, if `sync_within_s` has not come before |
| checkpoint of the index's log | when it has 16 MiB, and at close |
| text that full text looks into | up to 4 MiB a content |
"""


def configuration() -> str:
    """The page on what can be set."""
    head = ("setting", "argument", "option", "environment", "default", "bounds", "in the store", "meaning")
    return "\n".join(
        [NOTE, "# Configuration\n", CONFIGURATION, _table(head, [_row(one) for one in TABLE]), CONFIGURED, CANNOT]
    )


def _row(one: Setting) -> tuple[str, ...]:
    bounds = "" if one.kind == "text" else f"{one.low:g} to {one.high:.0f}"
    environment = f"`{one.environment}`{' *' if one.command else ''}"
    stored = "yes" if one.stored else ""
    return f"`{one.name}`", one.argument, one.option, environment, one.usual, bounds, stored, one.meaning


def _errors() -> list[type[errors.HoldfastError]]:
    found = [one for _name, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, errors.HoldfastError)]
    return sorted(found, key=lambda one: one.code)


def _first_line(one: type[errors.HoldfastError]) -> str:
    return " ".join((one.__doc__ or "").split())


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in [head, *rows]]
    lines.insert(1, "|" + "---|" * len(head))
    return "\n".join(lines) + "\n"


def _fenced(text: str) -> str:
    return f"```text\n{text}```\n"


PAGES = {
    "commands.md": commands,
    "exit-codes.md": exit_codes,
    "errors.md": error_page,
    "../configuration.md": configuration,
}


def main() -> int:
    """Write the pages, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page is out of date")
    check = parser.parse_args().check
    stale = []
    for name, make in PAGES.items():
        page = FOLDER / name
        text = make()
        if page.exists() and page.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not check:
            FOLDER.mkdir(parents=True, exist_ok=True)
            page.write_text(text, encoding="utf-8")
    print(f"{'out of date' if check else 'written'}: {', '.join(stale) or 'nothing'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())

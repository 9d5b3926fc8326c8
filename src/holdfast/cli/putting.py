"""put: one content under a path, with all that can be said of it."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Any

import click

from holdfast.cli import text, values
from holdfast.cli.invocation import Invocation, command
from holdfast.cli.refs import PATH
from holdfast.cli.values import FROM_ZERO
from holdfast.values.records import FileFacts, PutResult


@command("put")
@click.argument("path", type=PATH)
@click.argument("file", required=False, type=click.Path(allow_dash=True))
@click.option("-m", "--message", default="", help="Why this revision is made.")
@click.option("--type", "type_", metavar="TYPE", help="What kind of thing it is, in your own words.")
@click.option("--status", metavar="WORD", help="Its status, in your own words.")
@click.option("--media-type", metavar="TYPE/SUBTYPE", help="Its media type; else found from name and content.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Its tags (repeatable); those it has give way.")
@click.option(
    "--meta", "pairs", multiple=True, type=values.PAIR, metavar="KEY=JSON", help="A metadata field (repeatable)."
)
@click.option("--meta-json", metavar="FILE", type=click.Path(allow_dash=True), help="Metadata from a file; - is stdin.")
@click.option("--run", metavar="ID", help="The run that made it.")
@click.option("--expect", type=FROM_ZERO, metavar="N", help="Only if revision N is the newest; 0: if new.")
def put(
    inv: Invocation,
    path: str,
    file: str | None,
    pairs: tuple[tuple[str, Any], ...],
    meta_json: str | None,
    **options: Any,
) -> None:
    """Put one content under a path.

    The content is FILE, or standard input (no FILE, or -). It becomes a new artifact, or a new revision of the one
    that has the path; the same content and metadata again change nothing. Metadata given replaces what is there;
    without --meta and --meta-json it stays.
    """
    if file in (None, "-") and meta_json == "-":
        raise click.UsageError("content and metadata cannot both come from standard input")
    if file is None and sys.stdin.isatty():
        raise click.UsageError("give a FILE, or - to type the content here (end with Ctrl-D)")
    said = _said(options) | ({} if file in (None, "-") else {"file": facts(str(file))})
    metadata = values.metadata(pairs, meta_json)
    if metadata is not None:
        said["metadata"] = metadata
    with inv.open() as store:
        content = sys.stdin.buffer if file in (None, "-") else Path(str(file))
        result = store.artifacts.put(path, content, **said)
    tell(inv, result)


def _said(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, as the API names them."""
    said = {key.rstrip("_"): value for key, value in options.items() if value not in (None, "", ())}
    if "run" in said:
        said["run"] = said["run"].removeprefix("id:")
    return said


def facts(file: str) -> FileFacts:
    """Mode and time of a file, kept beside its content. OSError if it is not there."""
    found = os.stat(file)
    if stat.S_ISDIR(found.st_mode):
        raise click.UsageError(f"{file!r} is a folder; `holdfast add` takes in trees")
    return FileFacts(stat.S_IMODE(found.st_mode), found.st_mtime_ns)


def tell(inv: Invocation, result: PutResult) -> None:
    """What a put did."""
    artifact = result.artifact
    inv.out.document(
        {"artifact": artifact, "created": result.created, "changed": result.changed, "left_out": result.left_out}
    )
    name, made = text.safe(artifact.path), f"revision {artifact.number}, {text.size(artifact.size)}"
    if not result.changed:
        inv.out.said(f"{name}: unchanged ({made})")
    else:
        inv.out.said(f"{name}: {'new, ' if result.created else ''}{made}, {text.digest(artifact.digest)}")
    if result.left_out:
        inv.out.remark(f"note: its text will not be found by `holdfast search`: {text.safe(result.left_out)}")

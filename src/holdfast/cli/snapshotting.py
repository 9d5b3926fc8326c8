"""snapshot: a store, or a part of one, in one file; what is in such a file, and parts of it."""

from __future__ import annotations

import click

from holdfast.cli import text
from holdfast.cli.exits import Exit
from holdfast.cli.groups import Snapshots
from holdfast.cli.invocation import Invocation, command
from holdfast.cli.refs import PATH
from holdfast.cli.values import FROM_ZERO

AGAIN = "Interrupted: there is no such file, or it is as it was. The same command again begins anew."
GOES_ON = "Interrupted: all files that have their names are whole. The same command again goes on."


@click.group("snapshot", cls=Snapshots)
def snapshot() -> None:
    """Put a store, or a part of it, into one file.

    `take` writes it, `ls` lists what is in one, `extract` writes parts of one as files. `holdfast import` takes it in.
    """


@command("take")
@click.argument("dest", type=click.Path())
@click.argument("collections", type=PATH, nargs=-1)
@click.option("-f", "--force", is_flag=True, help="Replace a file that is there.")
def take(inv: Invocation, dest: str, collections: tuple[str, ...], force: bool) -> int:
    """Write the store to the file DEST.

    With COLLECTIONS only these, with all they refer to. The same state gives the same bytes; `zstd -dc DEST | tar x`
    unpacks it without Holdfast.
    """
    inv.on_interrupt = AGAIN
    with inv.open(read_only=True) as store, inv.meter() as progress:
        report = store.snapshot(dest, collections=collections, force=force, progress=progress)
    amounts = ("store", "seq", "files", "bytes", "file_bytes", "digest")
    inv.out.message("summary", {key: getattr(report, key) for key in amounts})
    inv.out.said(
        f"{text.count(report.files, 'file')}, {text.size(report.bytes)} in {text.size(report.file_bytes)}; "
        f"up to change {report.seq}"
    )
    return Exit.OK


@command("ls")
@click.argument("file", type=click.Path())
@click.argument("name", required=False)
@click.option("--max-bytes", type=FROM_ZERO, metavar="BYTES", help="Read one that claims to hold up to so much.")
def ls(inv: Invocation, file: str, name: str | None, max_bytes: int | None) -> int:
    """List what is in a snapshot.

    All files, or those with NAME and below it. Only the end of FILE is read.
    """
    from holdfast.exchange import snapshot_reading  # noqa: PLC0415
    from holdfast.formats.snapshot import shown  # noqa: PLC0415

    found = snapshot_reading.listing(file, max_bytes=max_bytes)
    for one in found.files:
        path = shown(one.path)
        if name is None or path == name or path.startswith(name.rstrip("/") + "/"):
            inv.out.message("file", {"path": path, "size": one.size, "digest": one.digest})
            if not inv.json:
                click.echo(f"{one.size:>12}  {text.safe(path)}")
    told = {key: getattr(found, key) for key in ("store", "next_seq", "head", "bytes", "file_bytes")}
    inv.out.message("summary", {**told, "files": len(found.files)})
    return Exit.OK


@command("extract")
@click.argument("file", type=click.Path())
@click.argument("dest", type=click.Path())
@click.argument("names", nargs=-1)
@click.option("--max-bytes", type=FROM_ZERO, metavar="BYTES", help="Read one that claims to hold up to so much.")
def extract(inv: Invocation, file: str, dest: str, names: tuple[str, ...], max_bytes: int | None) -> int:
    """Write files of a snapshot to the folder DEST.

    Those with NAMES, as `ls` shows them, and all below them; without NAMES all. Only the parts of FILE that they lie in
    are read. Files that are there and differ are never overwritten: then nothing is written.
    """
    from holdfast.exchange import snapshot_reading  # noqa: PLC0415

    inv.on_interrupt = GOES_ON
    with inv.meter() as progress:
        report = snapshot_reading.extract(file, dest, names, max_bytes=max_bytes, progress=progress)
    inv.out.message("summary", {key: getattr(report, key) for key in ("written", "same", "bytes")})
    parts = [f"{text.count(report.written, 'file')} written", f"{text.number(report.same)} there already"]
    inv.out.said(f"{', '.join(parts)}; {text.size(report.bytes)}")
    return Exit.OK


snapshot.add_command(take)
snapshot.add_command(ls)
snapshot.add_command(extract)

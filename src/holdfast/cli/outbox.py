"""outbox: consumers that get every change, from the shell."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import click

from holdfast.cli import plain, text
from holdfast.cli.exits import Exit
from holdfast.cli.invocation import Invocation, command

_SEQS = click.IntRange(min=1)


class CommandFailed(Exception):  # noqa: N818 - it stands beside a dead letter as a word
    """The command that was called for a change did not end well."""


@click.group("outbox")
def outbox() -> None:
    """Hand every change on to other programs, in order.

    A consumer has a name and a cursor. It gets each change at least once: after a crash, those since its last
    acknowledgement again; with --tenant, changes of its records only. What fails too often is put aside, as a dead
    letter, and the others go on.
    """


@command("create")
@click.argument("name")
@click.option("--from", "start", default="start", show_default=True, metavar="start|now|SEQ",
              help="From the first change on, only what comes, or after this change.")  # fmt: skip
@click.option("--attempts", type=click.IntRange(1, 1000), default=5, show_default=True, metavar="N",
              help="How often a change is tried.")  # fmt: skip
def create(inv: Invocation, name: str, start: str, attempts: int) -> None:
    """Make a consumer."""
    with inv.open() as store:
        made = store.outbox.create(name, start=_seq(start), attempts=attempts).state()
    inv.out.document(plain.plain(made))
    inv.out.said(f"{text.safe(made.name)}: {text.count(made.behind, 'change')} to come")


@command("list")
def list_(inv: Invocation) -> None:
    """List the consumers: how far each has come, and what it could not handle."""
    with inv.open(read_only=True) as store:
        found = store.outbox.list()
    inv.out.document({"consumers": [plain.plain(one) for one in found]})
    if not inv.json:
        head = ("consumer", "tenant", "seq", "behind", "failures", "dead", "held")
        rows = [
            (text.safe(one.name), "(all)" if one.tenant is None else text.safe(one.tenant), text.number(one.seq),
             text.number(one.behind), text.number(one.failures), text.number(one.letters), "yes" if one.held else "no")
            for one in found
        ]  # fmt: skip
        inv.out.lines(text.table([head, *rows], right=frozenset({2, 3, 4, 5})) if rows else ["there is no consumer"])


@command("run")
@click.argument("name")
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND...")
@click.option("--follow", is_flag=True, help="Go on with what comes, until interrupted.")
@click.option("--lease", type=click.FloatRange(min=0.001), default=60.0, show_default=True, metavar="SECONDS",
              help="How long one change may take before another process may take over.")  # fmt: skip
@click.option("--wait", type=click.FloatRange(min=0), default=0.0, show_default=True, metavar="SECONDS",
              help="How long to wait for a process that is the consumer now.")  # fmt: skip
@click.option("--pause", type=click.FloatRange(min=0), default=1.0, show_default=True, metavar="SECONDS",
              help="How long to wait after a failure; doubled with each, up to 30.")  # fmt: skip
def run(inv: Invocation, name: str, words: tuple[str, ...], **more: Any) -> int:
    """Run a command for each change.

    The command gets the change as one line of JSON on its standard input. Exit code 0 acknowledges it, any other is a
    failure: it is tried again, and put aside when it failed too often. Several processes may do so at once: one works,
    the others can take over. Exit code: 0; 3 if changes were put aside. With --json the command's standard output goes
    to standard error.
    """
    inv.on_interrupt = "What was acknowledged stays so; the next run goes on after it."

    def hand_over(delivery: Any) -> None:
        line = plain.text_of(plain.plain(delivery.change)) + "\n"
        sys.stdout.flush()
        done = subprocess.run(words, input=line.encode(), stdout=sys.stderr if inv.json else None, check=False)
        if done.returncode:
            raise CommandFailed(f"exit code {done.returncode}")

    with inv.open() as store:
        consumer = store.outbox.consumer(name)
        found = consumer.run(hand_over, follow=more["follow"], lease_s=more["lease"], wait_s=more["wait"],
                             pause_s=more["pause"])  # fmt: skip
    code = Exit.PARTLY if found.dead else Exit.OK
    inv.out.message("summary", {**plain.plain(found), "exit_code": code})
    shown = f"{text.count(found.handled, 'change')} handled, {text.count(found.failures, 'failure')}"
    inv.out.remark(
        shown + (f", {found.dead} put aside: `holdfast outbox dead {text.safe(name)}`" if found.dead else "")
    )
    return code


@command("dead")
@click.argument("name")
def dead(inv: Invocation, name: str) -> None:
    """List the changes that a consumer could not handle."""
    with inv.open(read_only=True) as store:
        found = list(store.outbox.consumer(name).letters())
    inv.out.document({"letters": [plain.plain(one) for one in found]})
    if not inv.json:
        rows = [
            (text.number(one.seq), text.number(one.failures), text.time(one.dead_at), "yes" if one.due else "no",
             text.safe(one.reason)) for one in found
        ]  # fmt: skip
        shown = text.table([("seq", "failures", "since", "due", "reason"), *rows], right=frozenset({0, 1}))
        inv.out.lines(shown if rows else ["nothing was put aside"])


@command("retry")
@click.argument("name")
@click.argument("seqs", nargs=-1, type=_SEQS, metavar="[SEQ]...")
def retry(inv: Invocation, name: str, seqs: tuple[int, ...]) -> None:
    """Have changes tried again that were put aside: these, or all."""
    with inv.open() as store:
        count = store.outbox.consumer(name).retry(*seqs)
    inv.out.document({"due": count})
    inv.out.said(f"{text.count(count, 'change')} will be tried again by the next run")


@command("discard")
@click.argument("name")
@click.argument("seqs", nargs=-1, required=True, type=_SEQS, metavar="SEQ...")
def discard(inv: Invocation, name: str, seqs: tuple[int, ...]) -> None:
    """Give up changes that were put aside."""
    with inv.open() as store:
        count = store.outbox.consumer(name).discard(*seqs)
    inv.out.document({"discarded": count})
    inv.out.said(f"gave up {text.count(count, 'change')}")


@command("rewind")
@click.argument("name")
@click.option("--to", required=True, metavar="start|now|SEQ", help="All up to this change counts as handled.")
def rewind(inv: Invocation, name: str, to: str) -> None:
    """Put a consumer's cursor elsewhere: back, to have changes again, or on.

    Also the way on after a restore, when the cursor stands where the store's history has no such change any more.
    """
    with inv.open() as store:
        found = store.outbox.consumer(name).rewind(_seq(to))
    inv.out.document(plain.plain(found))
    inv.out.said(f"{text.safe(found.name)}: {text.count(found.behind, 'change')} to come")


@command("drop")
@click.argument("name")
def drop(inv: Invocation, name: str) -> None:
    """Remove a consumer, its cursor and what was put aside for it."""
    with inv.open() as store:
        store.outbox.consumer(name).drop()
    inv.out.document({"dropped": name})
    inv.out.said(f"dropped {text.safe(name)}")


def _seq(given: str) -> int | str:
    return int(given) if given.isascii() and given.isdigit() else given


for _one in (create, list_, run, dead, retry, discard, rewind, drop):
    outbox.add_command(_one)

"""run: executions recorded by hand, step by step; `run exec` (running.py) does it for a command."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli import plain, text, values
from holdfast.cli.invocation import Invocation, at_option, command
from holdfast.cli.refs import PATH, Labels, endpoint
from holdfast.cli.running import exec_
from holdfast.cli.values import FROM_ONE
from holdfast.values.records import Run, RunLink, RunStatus, Step

if TYPE_CHECKING:
    from holdfast import Store

STATUSES = [one.value for one in RunStatus]
ENDED = [RunStatus.COMPLETED.value, RunStatus.FAILED.value, RunStatus.CANCELLED.value]
_ROLES = {RunStatus.COMPLETED: "good", RunStatus.FAILED: "bad", RunStatus.CANCELLED: "warn"}


class RunId(click.ParamType):  # type: ignore[type-arg]
    """The id of a run, with or without `id:`."""

    name = "run"

    def convert(self, value: Any, _param: click.Parameter | None, _ctx: click.Context | None) -> str:
        """The bare id."""
        return str(value).removeprefix("id:")


RUN = RunId()


@click.group("run")
def run() -> None:
    """Record executions, with what they read and made.

    `holdfast run exec NAME -- COMMAND…` records a command. With start, input, output, step and finish a script records
    itself: `RUN=$(holdfast run start train -q)`.
    """


run.add_command(exec_)


@command("start")
@click.argument("name")
@click.option(
    "--param", "parameters", multiple=True, type=values.PAIR, metavar="KEY=JSON", help="A parameter (repeatable)."
)
@click.option(
    "--meta", "pairs", multiple=True, type=values.PAIR, metavar="KEY=JSON", help="A metadata field (repeatable)."
)
@click.option("-i", "--input", "inputs", multiple=True, type=PATH, metavar="REF", help="What it reads (repeatable).")
@click.option("--pending", is_flag=True, help="Only note it down; `run finish` or `run begin` come later.")
def start(
    inv: Invocation, name: str, parameters: tuple[tuple[str, Any], ...], pairs: tuple[tuple[str, Any], ...],
    inputs: tuple[str, ...], pending: bool,
) -> None:  # fmt: skip
    """Begin a run; prints its id."""
    with inv.open() as store, store.transaction():
        read = [endpoint(store, ref) for ref in inputs]
        made = store.runs.create(name, parameters=dict(parameters) or None, metadata=dict(pairs) or None, inputs=read)
        if not pending:
            made = store.runs.set_status(made, RunStatus.PROCESSING)
    inv.out.document(made)
    inv.out.line(made.id)


@command("begin")
@click.argument("run_id", type=RUN, metavar="RUN")
def begin(inv: Invocation, run_id: str) -> None:
    """Set a pending run going."""
    _set(inv, run_id, RunStatus.PROCESSING.value, reason="", diagnostics={})


@command("finish")
@click.argument("run_id", type=RUN, metavar="RUN")
@click.option("--status", type=click.Choice(ENDED), default=ENDED[0], show_default=True, help="How it ended.")
@click.option("--reason", default="", metavar="TEXT", help="Why it failed or was cancelled.")
@click.option(
    "--diagnose", "pairs", multiple=True, type=values.PAIR, metavar="KEY=JSON", help="A diagnostic value (repeatable)."
)
def finish(inv: Invocation, run_id: str, status: str, reason: str, pairs: tuple[tuple[str, Any], ...]) -> None:
    """End a run."""
    _set(inv, run_id, status, reason=reason, diagnostics=dict(pairs))


def _set(inv: Invocation, run_id: str, status: str, *, reason: str, diagnostics: dict[str, Any]) -> None:
    with inv.open() as store:
        changed = store.runs.set_status(
            store.runs.get(run_id), RunStatus(status), reason=reason, diagnostics=diagnostics or None
        )
    inv.out.document(changed)
    inv.out.said(f"run {text.safe(changed.name)}: {changed.status}")


@command("step")
@click.argument("run_id", type=RUN, metavar="RUN")
@click.argument("name")
@click.option("--status", type=click.Choice(STATUSES), help="What to set it to; a new step begins as processing.")
@click.option(
    "--diagnose", "pairs", multiple=True, type=values.PAIR, metavar="KEY=JSON", help="A diagnostic value (repeatable)."
)
def step(inv: Invocation, run_id: str, name: str, status: str | None, pairs: tuple[tuple[str, Any], ...]) -> None:
    """Begin a step of a run, or set the status of the one with that name."""
    with inv.open() as store, store.transaction():
        of = store.runs.get(run_id)
        known = [one for one in store.runs.manifest(of).steps if one.name == name]
        one = known[-1] if known else store.runs.add_step(of, name)
        for wanted in _statuses(one, status):
            one = store.runs.set_step_status(one, wanted, diagnostics=dict(pairs) or None)
    inv.out.document(one)
    inv.out.said(f"step {one.number} {text.safe(one.name)}: {one.status}")


def _statuses(one: Step, status: str | None) -> list[RunStatus]:
    wanted = RunStatus(status or RunStatus.PROCESSING)
    if one.status is RunStatus.PENDING and wanted in (RunStatus.COMPLETED, RunStatus.FAILED):
        return [RunStatus.PROCESSING, wanted]
    return [] if status is None and one.status is RunStatus.PROCESSING else [wanted]


def _link(
    inv: Invocation, direction: str, run_id: str, refs: tuple[str, ...], *, role: str, revision: int | None
) -> None:
    if revision is not None and len(refs) > 1:
        raise click.UsageError("--revision goes with one REF only")
    with inv.open() as store:
        of = store.runs.get(run_id)
        with store.transaction():
            for ref in refs:
                store.runs.link(of, direction, endpoint(store, ref, revision), role=role)
        manifest = store.runs.manifest(of)
    inv.out.document(manifest)
    amounts = f"{text.count(len(manifest.inputs), 'input')}, {text.count(len(manifest.outputs), 'output')}"
    inv.out.said(f"run {text.safe(of.name)}: {amounts}")


def _declare_link(direction: str, line: str) -> click.Command:
    @click.argument("run_id", type=RUN, metavar="RUN")
    @click.argument("refs", nargs=-1, required=True, type=PATH, metavar="REF...")
    @click.option("--role", default="", metavar="TEXT", help="What it is to the run, such as `training set`.")
    @click.option("-r", "--revision", type=FROM_ONE, metavar="N", help="This revision; else the newest.")
    def link(inv: Invocation, run_id: str, refs: tuple[str, ...], role: str, revision: int | None) -> None:
        _link(inv, direction, run_id, refs, role=role, revision=revision)

    return command(direction, help=line)(link)


@command("list")
@click.option("--status", type=click.Choice(STATUSES), help="Of this status only.")
@click.option("--name", metavar="GLOB", help="Names that fit a pattern of *, ? and […].")
@click.option("--limit", type=FROM_ONE, metavar="N", help="At most so many.")
@at_option
def list_(inv: Invocation, **wanted: Any) -> None:
    """List runs, newest first."""
    asked = {key: value for key, value in wanted.items() if value is not None}
    count = 0
    with inv.look() as store:
        for one in store.runs.find(order="-created", **asked):
            count += 1
            inv.out.message("run", one)
            if not inv.json:
                inv.out.line(_row(inv, one))
    inv.out.message("summary", {"runs": count})
    inv.out.said(inv.out.style(text.count(count, "run"), "weak"))


def _row(inv: Invocation, one: Run) -> str:
    status = inv.out.style(f"{one.status:<10}", _ROLES.get(one.status, "plain"))
    return f"{text.time(one.created_at)}  {status}  {_took(one):>12}  {one.id}  {text.safe(one.name)}"


def _took(one: Run | Step) -> str:
    if one.started_at is None or one.ended_at is None:
        return "-"
    return text.duration((one.ended_at - one.started_at).total_seconds())


@command("show")
@click.argument("run_id", type=RUN, metavar="RUN")
@at_option
def show(inv: Invocation, run_id: str) -> None:
    """Show a run with its steps, inputs and outputs."""
    with inv.look() as store:
        show_manifest(inv, store, store.runs.get(run_id, deleted=True))


def show_manifest(inv: Invocation, store: Store, one: Run) -> None:
    """A run's manifest: a document, or a page."""
    manifest = store.runs.manifest(one)
    inv.out.document(manifest)
    if inv.json:
        return
    rows = [
        ("run", text.safe(one.name)),
        ("id", one.id),
        ("status", f"{one.status}{', ' + text.safe(one.reason) if one.reason else ''}"),
    ]
    rows += [("started", text.time(one.started_at)), ("ended", text.time(one.ended_at)), ("took", _took(one))]
    inv.out.lines([inv.out.style(f"{key:<14}", "weak") + value for key, value in rows])
    for title, fields in (
        ("parameters", one.parameters),
        ("diagnostics", one.diagnostics),
        ("environment", one.environment),
    ):
        if fields:
            shown = [
                f"  {text.safe(key)} = {text.safe(json.dumps(plain.plain(value), ensure_ascii=False))}"
                for key, value in fields.items()
            ]
            inv.out.lines([inv.out.style(title, "weak"), *shown])
    if manifest.steps:
        steps = [(str(s.number), text.safe(s.name), str(s.status), _took(s)) for s in manifest.steps]
        inv.out.lines([inv.out.style("steps", "weak"), *("  " + line for line in text.table(steps))])
    labels = Labels(store)
    _links(inv, labels, "inputs", manifest.inputs)
    _links(inv, labels, "outputs", manifest.outputs)


def _links(inv: Invocation, labels: Labels, title: str, links: Iterable[RunLink]) -> None:
    shown = ["  " + text.safe(labels.of(one.endpoint) + (f"  ({one.role})" if one.role else "")) for one in links]
    if shown:
        inv.out.lines([inv.out.style(title, "weak"), *shown])


@command("delete")
@click.argument("run_id", type=RUN, metavar="RUN")
def delete(inv: Invocation, run_id: str) -> None:
    """Delete a run; `holdfast undelete id:RUN` brings it back. What it made stays."""
    with inv.open() as store:
        gone = store.runs.delete(run_id, contents="cascade")
    inv.out.document(gone)
    inv.out.said(f"deleted run {text.safe(gone.name)}; `holdfast undelete id:{gone.id}` brings it back")


for _one in (
    start, begin, step, finish, list_, show, delete,
    _declare_link("input", "Note what a run read."), _declare_link("output", "Note what a run made."),
):  # fmt: skip
    run.add_command(_one)

"""run exec: run a command and keep what it was, how it ended, what it read and what it made."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from holdfast.cli import text, values
from holdfast.cli.exits import Exit
from holdfast.cli.invocation import Invocation, command
from holdfast.cli.putting import facts
from holdfast.cli.refs import PATH, endpoint
from holdfast.values.records import PutResult, Run, RunStatus

KEPT = "The command was stopped and the run is recorded as cancelled; outputs were not kept."


class OutputSpec(click.ParamType):  # type: ignore[type-arg]
    """`FILE:PATH`: a file that the command makes, and where it goes in the store; FILE alone goes to its own name."""

    name = "file:path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """(file, path). The last `:` divides."""
        file, colon, path = str(value).rpartition(":")
        if not colon:
            file, path = path, os.path.basename(path)
        if not file or not path:
            self.fail(f"{value!r} is not FILE:PATH", param, ctx)
        return file, PATH.convert(path, param, ctx)


@dataclass(frozen=True)
class Ended:
    """How a command ended. `code`: its exit code, negative for a signal; None if it could not start."""

    code: int | None
    reason: str
    seconds: float
    cancelled: bool = False

    @property
    def status(self) -> RunStatus:
        """The status of its run."""
        if self.cancelled:
            return RunStatus.CANCELLED
        return RunStatus.COMPLETED if self.code == 0 else RunStatus.FAILED


@command("exec")
@click.argument("name")
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND...")
@click.option("-i", "--input", "inputs", multiple=True, type=PATH, metavar="REF", help="What it reads (repeatable).")
@click.option("-o", "--output", "outputs", multiple=True, type=OutputSpec(), metavar="FILE[:PATH]",
              help="A file it makes, and where it goes in the store (repeatable).")  # fmt: skip
@click.option(
    "--param", "parameters", multiple=True, type=values.PAIR, metavar="KEY=JSON", help="A parameter (repeatable)."
)
def exec_(
    inv: Invocation, name: str, words: tuple[str, ...], inputs: tuple[str, ...], outputs: tuple[tuple[str, str], ...],
    parameters: tuple[tuple[str, Any], ...],
) -> int:  # fmt: skip
    """Run a command and record it.

    The store is not locked while the command runs. Its outputs go in when it has succeeded, all or none, linked to the
    run. Exit code: 0; 1 if the command failed (its own code is in the run); 3 if it succeeded but an output is missing.
    With --json the command's standard output goes to standard error.
    """
    run = _begin(inv, name, words, inputs, dict(parameters))
    ended = _execute(words, quiet_stdout=inv.json)
    made, missing = _finish(inv, run, ended, outputs)
    _tell(inv, run, ended, made, missing)
    if ended.cancelled:
        return Exit.INTERRUPTED
    if ended.code != 0:
        return Exit.FAILED
    return Exit.PARTLY if missing else Exit.OK


def _begin(
    inv: Invocation, name: str, words: tuple[str, ...], inputs: tuple[str, ...], parameters: dict[str, Any]
) -> Run:
    shown = [_text(word) for word in words]
    environment = {"argv": shown, "folder": _text(os.getcwd())}
    with inv.open() as store, store.transaction():
        read = [endpoint(store, ref) for ref in inputs]
        made = store.runs.create(name, parameters=parameters or None, environment=environment, inputs=read)
        return store.runs.set_status(made, RunStatus.PROCESSING)


def _text(word: str) -> str:
    return os.fsencode(word).decode("utf-8", "backslashreplace")


def _execute(words: tuple[str, ...], *, quiet_stdout: bool) -> Ended:
    sys.stdout.flush()
    start = time.monotonic()
    try:
        with subprocess.Popen(words, stdout=_stderr() if quiet_stdout else None) as child:
            try:
                code = child.wait()
            except KeyboardInterrupt:
                child.wait()  # it got the Ctrl-C too; what it does with it is its own affair
                return Ended(child.returncode, "interrupted", time.monotonic() - start, cancelled=True)
    except OSError as error:
        return Ended(None, f"cannot start {_text(words[0])}: {error.strerror}", time.monotonic() - start)
    reason = "" if code == 0 else f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    return Ended(code, reason, time.monotonic() - start)


def _stderr() -> int:
    return 2


def _finish(
    inv: Invocation, run: Run, ended: Ended, outputs: tuple[tuple[str, str], ...]
) -> tuple[list[PutResult], list[str]]:
    here = [(file, path) for file, path in outputs if ended.code == 0 and os.path.isfile(file)]
    missing = [file for file, _path in outputs if ended.code == 0 and not os.path.isfile(file)]
    diagnostics: dict[str, Any] = {"seconds": round(ended.seconds, 3)}
    if ended.code is not None:
        diagnostics["exit_code"] = ended.code
    if missing:
        diagnostics["missing_outputs"] = [_text(file) for file in missing]
    with inv.open() as store, store.transaction():
        made = []
        for file, path in here:
            result = store.artifacts.put(path, Path(file), file=facts(file), run=run.id)
            store.runs.link(run, "output", result.revision.endpoint)
            made.append(result)
        store.runs.set_status(run, ended.status, reason=ended.reason, diagnostics=diagnostics)
    return made, missing


def _tell(inv: Invocation, run: Run, ended: Ended, made: list[PutResult], missing: list[str]) -> None:
    outputs = [{"path": one.artifact.path, "revision": one.revision, "changed": one.changed} for one in made]
    inv.out.document(
        {"id": run.id, "name": run.name, "status": ended.status, "reason": ended.reason, "exit_code": ended.code,
         "seconds": round(ended.seconds, 3), "outputs": outputs, "missing": missing}
    )  # fmt: skip
    for one in made:
        inv.out.remark(
            f"kept {text.safe(one.artifact.path)} (revision {one.artifact.number}, {text.size(one.artifact.size)})"
        )
    for file in missing:
        inv.out.remark(f"missing: the command did not make {text.safe(file)}")
    why = f" ({text.safe(ended.reason)})" if ended.reason else ""
    inv.out.remark(f"run {text.safe(run.name)}: {ended.status}{why} after {text.duration(ended.seconds)}; {run.id}")
    if ended.code is None:
        inv.out.remark(f"hint: check the spelling of: {text.safe(shlex.join(run.environment.get('argv', [])))}")

"""fsck, gc, rebuild, recover: checking the store and mending it."""

from __future__ import annotations

import re
from collections.abc import Callable

import click

import holdfast
from holdfast.care.fsck.check import check_path
from holdfast.care.fsck.findings import Finding
from holdfast.care.fsck.portion import Portion
from holdfast.care.fsck.report import FsckReport
from holdfast.care.recover import RecoverReport
from holdfast.care.repair import RepairReport
from holdfast.cli import plain, text, values
from holdfast.cli.exits import Exit
from holdfast.cli.invocation import Invocation, actor, command
from holdfast.engine import configuration
from holdfast.errors import InvalidValueError

_ROLES = {"error": "bad", "warning": "warn"}


@command("fsck")
@click.option("--quick", is_flag=True, help="Without reading contents: index, journal, and which files are there.")
@click.option("--sample", metavar="N|P%", help="Read only so many contents, or this share of them, drawn at random.")
@click.option(
    "--read-data-subset",
    "subset",
    metavar="N/T|P%|SIZE",
    help="Read only the N-th of T parts; or a random share, or about so many bytes (K, M, G, T).",
)
@click.option("--seed", type=values.FROM_ZERO, metavar="N", help="Draw what this seed drew before.")
@click.option(
    "--max-duration",
    "duration_s",
    type=values.SPAN,
    metavar="TIME",
    help="Stop after TIME, e.g. 20min; the next such check goes on from there.",
)
@click.option("--repair", is_flag=True, help="Mend what is found, and say what cannot be mended.")
@click.option(
    "--from",
    "sources",
    multiple=True,
    metavar="PATH",
    type=click.Path(),
    help="With --repair: another store, or files or a folder of originals, to take lost content from. Repeatable.",
)
@click.option("-n", "--dry-run", is_flag=True, help="With --repair: say what would be done; change nothing.")
@click.option(
    "--lost-and-found", is_flag=True, help="With --repair: take content that nothing refers to into `lost+found`."
)
@click.option(
    "--accept-loss",
    is_flag=True,
    help="With --repair: set aside what follows a hole in the history that nothing fills.",
)
def fsck(
    inv: Invocation, quick: bool, sample: str | None, subset: str | None, seed: int | None, duration_s: float | None,
    repair: bool, sources: tuple[str, ...], dry_run: bool, lost_and_found: bool,
    accept_loss: bool,
) -> int:  # fmt: skip
    """Check contents, index and journal against each other.

    Reads every byte and changes nothing, unless --repair is given; works on a store that does not open. Exit code 0:
    all is well; 3: all is well so far, and time was up; 4: there are findings; 5: there were, and all are repaired.
    Repair deletes nothing: what is damaged goes to the folder quarantine/ of the store.

    The contents can be read in portions: --sample, --read-data-subset, --max-duration. Everything else is checked
    whole each time.
    """
    portion = _portion(quick=quick, sample=sample, subset=subset, seed=seed, duration_s=duration_s)
    if repair:
        if quick or portion is not None:
            raise click.UsageError("--repair looks at every byte: it cannot be --quick or take a portion.")
        return _repair(inv, sources, dry_run=dry_run, lost_and_found=lost_and_found, accept_loss=accept_loss)
    if sources or dry_run or lost_and_found or accept_loss:
        raise click.UsageError("--from, --dry-run, --lost-and-found and --accept-loss need --repair.")
    goes_on = "; the next goes on from here." if duration_s is not None else ", and the check is not complete."
    inv.on_interrupt = f"Interrupted: nothing was changed{goes_on}"
    with inv.meter() as progress:
        report = check_path(inv.path(), quick=quick, portion=portion, progress=progress, on_finding=_teller(inv))
    inv.out.message("summary", {key: value for key, value in report.as_dict().items() if key != "findings"})
    _tell_checked(inv, report)
    return report.exit_code


def _portion(
    *, quick: bool, sample: str | None, subset: str | None, seed: int | None, duration_s: float | None
) -> Portion | None:
    said = [name for name, value in _said(quick, sample, subset, duration_s).items() if value]
    if len(said) > 1:
        raise click.UsageError(f"{' and '.join(said)} exclude each other.")
    if seed is not None and not sample and (not subset or "/" in subset):
        raise click.UsageError("--seed is for what is drawn at random: --sample, or a share or size of the data.")
    if sample and re.fullmatch(r"\s*[0-9.]+\s*%?\s*", sample) is None:
        raise click.UsageError(f"--sample {sample}: write a number of contents or a share, such as 200 or 5%.")
    try:
        if duration_s is not None:
            return Portion.during(duration_s)
        if subset and subset.strip().isdecimal():
            raise click.UsageError("--read-data-subset: write 3/7, 5% or 500M; a number of contents goes to --sample.")
        return Portion.parse(sample or subset or "", seed=seed) if sample or subset else None
    except InvalidValueError as error:
        raise click.UsageError(error.message) from error


def _said(quick: bool, sample: str | None, subset: str | None, duration_s: float | None) -> dict[str, bool]:
    return {
        "--quick": quick,
        "--sample": sample is not None,
        "--read-data-subset": subset is not None,
        "--max-duration": duration_s is not None,
    }


def _repair(
    inv: Invocation, sources: tuple[str, ...], *, dry_run: bool, lost_and_found: bool, accept_loss: bool
) -> int:
    inv.on_interrupt = "Interrupted: nothing is lost; `holdfast fsck --repair` again goes on."
    with inv.meter() as progress:
        report = holdfast.repair(
            inv.path(), sources=sources, dry_run=dry_run, lost_and_found=lost_and_found, accept_loss=accept_loss,
            actor=actor(), lock_wait_s=inv.lock_wait_s, progress=progress,
        )  # fmt: skip
    for step in report.steps:
        inv.out.message("step", step.as_dict())
        if not inv.json:
            would = "would " if dry_run else ""
            inv.out.line(f"{would}{step.action}  {text.safe(step.object)}")
            if step.detail:
                inv.out.line(f"          {text.safe(step.detail)}")
    for finding in () if dry_run else report.after.findings:
        if finding.severity != "info":
            _teller(inv)(finding)
    inv.out.message("summary", {key: value for key, value in report.as_dict().items() if key not in ("steps", "left")})
    _tell_repaired(inv, report)
    return report.exit_code


def _tell_repaired(inv: Invocation, report: RepairReport) -> None:
    for trouble in report.trouble:
        inv.out.remark(f"trouble: {text.safe(trouble)}")
    for one in report.lost if not report.dry_run else ():
        inv.out.said(inv.out.style(f"lost: {text.safe(one)}", "bad"))
    total = sum(report.before.counts.values())
    if report.exit_code == Exit.OK:
        inv.out.said(inv.out.style("all is well" if not total else "nothing to mend", "good"))
    elif report.exit_code == Exit.REPAIRED:
        inv.out.said(inv.out.style("all that was found is mended", "good"))
    elif report.dry_run:
        inv.out.said("nothing was changed; `holdfast fsck --repair` does it")
    else:
        inv.out.said(inv.out.style("not all of it could be mended", "bad"))


def _teller(inv: Invocation) -> Callable[[Finding], None]:
    def tell(finding: Finding) -> None:
        inv.out.message("finding", finding.as_dict())
        if not inv.json:
            _show_finding(inv, finding)

    return tell


def _show_finding(inv: Invocation, finding: Finding) -> None:
    fields = finding.as_dict()
    severity = str(fields["severity"])
    shown = inv.out.style(f"{severity:<8}", _ROLES.get(severity, "plain"))
    inv.out.line(f"{shown}  {finding.code}  {text.safe(finding.object)}")
    for line in (finding.detail or fields.get("meaning"), f"hint: {fields['remedy']}"):
        if line:
            inv.out.line(f"          {text.safe(str(line))}")


def _tell_checked(inv: Invocation, report: FsckReport) -> None:
    checked = ", ".join(f"{text.number(amount)} {text.safe(kind)}" for kind, amount in report.checked.items())
    inv.out.said(inv.out.style(f"checked {checked or 'nothing'} in {text.duration(report.duration_s)}", "weak"))
    _tell_portion(inv, report)
    total = sum(report.counts.values())
    if report.exit_code == Exit.OK:
        inv.out.said(inv.out.style("all is well" if not total else "nothing to mend", "good"))
    elif report.exit_code == Exit.REPAIRED:
        inv.out.said(inv.out.style(f"{text.count(total, 'finding')}, all repaired", "good"))
    elif report.exit_code == Exit.PARTLY:
        inv.out.said(inv.out.style("all is well so far", "good"))
    else:
        inv.out.said(inv.out.style(text.count(total, "finding"), "bad"))


def _tell_portion(inv: Invocation, report: FsckReport) -> None:
    portion, full_pass = report.portion, report.full_pass
    if portion is None:
        return
    seed = "" if portion.seed is None else f", drawn with --seed {portion.seed}"
    inv.out.said(f"read {text.count(report.read, 'content')}, {text.size(report.read_bytes)}{seed}")
    if full_pass is None:
        return
    if full_pass.note:
        inv.out.said(full_pass.note)
    if full_pass.finished:
        again = f"; {text.number(full_pass.changed)} came or changed meanwhile and were read again"
        gone = f"; {text.number(full_pass.gone)} were removed meanwhile"
        changed = (again if full_pass.changed else "") + (gone if full_pass.gone else "")
        inv.out.said(f"every content was read, in {text.count(full_pass.runs, 'run')} since {full_pass.began}{changed}")
    else:
        amount = f"{text.count(full_pass.covered, 'content')}, {text.size(full_pass.covered_bytes)}"
        where = "the next check with --max-duration goes on from here" if full_pass.kept else "the next begins anew"
        inv.out.said(f"time is up: {amount} read since {full_pass.began}; {where}")
    if full_pass.noted:
        inv.out.said(
            inv.out.style(f"{text.count(full_pass.noted, 'content')} with findings in this pass so far", "bad")
        )


@command("gc")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be freed; free nothing.")
@click.option(
    "--grace",
    "grace_s",
    type=values.SPAN,
    metavar="SPAN",
    help="How long condemned content is kept, e.g. 12h [default: 14d].",
)
def gc(inv: Invocation, dry_run: bool, grace_s: float | None) -> None:
    """Free the space of what nothing refers to.

    In two steps: what nothing refers to is condemned now, and removed by a gc after the grace period if nothing has
    claimed it since. Deleted artifacts keep their contents until they are purged.
    """
    inv.on_interrupt = "Interrupted: each content is either whole or gone; the next gc goes on."
    grace = configuration.value("grace_s", grace_s, root=inv.folder())
    with inv.open(read_only=dry_run) as store, inv.meter() as progress:
        report = store.gc(dry_run=dry_run, grace_s=grace, progress=progress)
    inv.out.message("summary", {**plain.plain(report), "grace_s": grace})
    if inv.json:
        return
    would = "would be " if dry_run else ""
    rows = [
        (f"{would}condemned", text.count(report.condemned, "content")),
        ("waiting", f"{text.count(report.waiting, 'content')} condemned less than {text.duration(grace)} ago"),
        (f"{would}removed", f"{text.count(report.removed, 'content')}, {text.size(report.freed_bytes)}"),
        (f"{would}gathered", f"{text.count(report.gathered, 'small content')} into packs"),
        (f"{would}cleared", text.count(report.strays + report.leftovers, "stray or leftover file")),
        *([(f"{would}repacked", text.count(report.repacked, "content"))] if report.repacked else []),
        *([(f"{would}cut", f"{text.count(report.cut, 'large content')} into chunks")] if report.cut else []),
    ]
    inv.out.lines(text.table(rows))
    if report.condemned + report.waiting and not dry_run:
        inv.out.said("next: a `holdfast gc` after the grace period removes what is condemned and still unclaimed")


@command("rebuild")
def rebuild(inv: Invocation) -> None:
    """Make the index anew from journal and blobs.

    For an index that is lost or damaged. Contents and journal are only read; the old index is set aside.
    """
    inv.on_interrupt = "Interrupted: nothing is lost; `holdfast rebuild` again starts over."
    with inv.meter() as progress:
        report = holdfast.rebuild(inv.path(), progress=progress, lock_wait_s=inv.lock_wait_s)
    inv.out.message("summary", report)
    amounts = f"{text.count(report.changes, 'change')} in {text.count(report.transactions, 'transaction')}"
    inv.out.said(f"made the index anew from {amounts}, in {text.duration(report.duration_s)}")
    if report.unreachable:
        inv.out.said(f"{text.count(report.unreachable, 'transaction')} that no chain leads to: kept in quarantine/")
    for trouble in report.trouble:
        inv.out.remark(f"trouble: {text.safe(trouble)}")
    inv.out.said("next: `holdfast fsck` checks every byte")


@command("recover")
def recover(inv: Invocation) -> None:
    """Make a copied or torn store whole.

    For a plain copy of a live store, and after damage: index and journal are brought together by the longer valid
    chain, and what the copy has no content for is withdrawn, never cut.
    """
    inv.on_interrupt = "Interrupted: nothing is lost; `holdfast recover` again goes on."
    with inv.meter() as progress:
        report = holdfast.recover(inv.path(), actor=actor(), progress=progress, lock_wait_s=inv.lock_wait_s)
    inv.out.message("summary", report)
    said = _recovered(report)
    inv.out.lines(said or ["nothing had to be mended"])
    inv.out.said("next: `holdfast fsck` checks every byte")


def _recovered(report: RecoverReport) -> list[str]:
    said = []
    if report.rebuilt:
        said.append(f"rows made anew from {text.count(report.transactions, 'transaction')}: {text.safe(report.reason)}")
    if report.withdrawn:
        amounts = f"{text.count(len(report.withdrawn), 'transaction')} with {text.count(report.records, 'record')}"
        said.append(f"withdrew {amounts}: the copy was made before their contents were in it")
    if report.missing:
        said.append(f"{text.count(len(report.missing), 'content')} missing; `holdfast fsck` names what loses by it")
    return said

"""fsck, gc, rebuild, recover: checking the store and mending it."""

from __future__ import annotations

from collections.abc import Callable

import click

import holdfast
from holdfast.care.fsck.check import check_path
from holdfast.care.fsck.findings import Finding
from holdfast.care.fsck.report import FsckReport
from holdfast.care.gc import GRACE_S
from holdfast.care.recover import RecoverReport
from holdfast.care.repair import RepairReport
from holdfast.cli import plain, text, values
from holdfast.cli.exits import Exit
from holdfast.cli.invocation import Invocation, actor, command

_ROLES = {"error": "bad", "warning": "warn"}


@command("fsck")
@click.option("--quick", is_flag=True, help="Without reading contents: index, journal, and which files are there.")
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
    inv: Invocation, quick: bool, repair: bool, sources: tuple[str, ...], dry_run: bool, lost_and_found: bool,
    accept_loss: bool,
) -> int:  # fmt: skip
    """Check contents, index and journal against each other.

    Reads every byte and changes nothing, unless --repair is given; works on a store that does not open. Exit code 0:
    all is well; 4: there are findings; 5: there were, and all are repaired. Repair deletes nothing: what is damaged
    goes to the folder quarantine/ of the store.
    """
    if repair:
        if quick:
            raise click.UsageError("--repair looks at every byte: it cannot be --quick.")
        return _repair(inv, sources, dry_run=dry_run, lost_and_found=lost_and_found, accept_loss=accept_loss)
    if sources or dry_run or lost_and_found or accept_loss:
        raise click.UsageError("--from, --dry-run, --lost-and-found and --accept-loss need --repair.")
    inv.on_interrupt = "Interrupted: nothing was changed, and the check is not complete."
    with inv.meter() as progress:
        report = check_path(inv.path(), quick=quick, progress=progress, on_finding=_teller(inv))
    inv.out.message("summary", {key: value for key, value in report.as_dict().items() if key != "findings"})
    _tell_checked(inv, report)
    return report.exit_code


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
    total = sum(report.counts.values())
    if report.exit_code == Exit.OK:
        inv.out.said(inv.out.style("all is well" if not total else "nothing to mend", "good"))
    elif report.exit_code == Exit.REPAIRED:
        inv.out.said(inv.out.style(f"{text.count(total, 'finding')}, all repaired", "good"))
    else:
        inv.out.said(inv.out.style(text.count(total, "finding"), "bad"))


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
    grace = GRACE_S if grace_s is None else grace_s
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
        (f"{would}cleared", text.count(report.strays + report.leftovers, "stray or leftover file")),
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

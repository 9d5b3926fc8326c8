"""audit: the head of the chain to write down, and the proof that nothing before it was touched."""

from __future__ import annotations

import click

from holdfast.care.audit import AuditFinding, AuditReport, verify_path
from holdfast.cli import text
from holdfast.cli.invocation import Invocation, command


@click.group("audit")
def audit() -> None:
    """Prove that nothing in the history was edited, dropped or reordered."""


@command("head")
def head(inv: Invocation) -> None:
    """Print the head of the chain, to be written down elsewhere.

    It stands for all that was committed so far: keep it where nobody who writes to this store can change it, and give
    it to `holdfast audit verify --head` later.
    """
    with inv.open(read_only=True) as store:
        found = store.audit.head()
    inv.out.document({"head": found})
    inv.out.line(found)


@command("verify")
@click.option(
    "--head", "expected", metavar="SEQ:HASH", help="A head that was written down; the chain must go through it."
)
def verify(inv: Invocation, expected: str | None) -> int:
    """Prove the chain from the first transaction on, in both of its copies.

    Names every change that was edited, dropped, reordered or inserted. Without --head, somebody who rewrote the whole
    history together with its hashes goes unnoticed. Exit code 0: proven; 4: there are findings.
    """
    inv.on_interrupt = "Interrupted: nothing was changed, and nothing is proven."
    with inv.meter() as progress:
        report = verify_path(inv.path(), expected=expected, progress=progress)
    inv.out.document(_document(report))
    for finding in report.findings:
        _show(inv, finding)
    _tell(inv, report)
    return report.exit_code


def _document(report: AuditReport) -> dict[str, object]:
    fields = {name: getattr(report, name) for name in report.__slots__}
    return {**fields, "findings": [finding.as_dict() for finding in report.findings]}


def _show(inv: Invocation, finding: AuditFinding) -> None:
    inv.out.line(f"{inv.out.style(f'{finding.what:<11}', 'bad')} {finding.where:<7}  {_place(finding)}")
    said = f"{finding.meaning}: {finding.detail}" if finding.detail else finding.meaning
    inv.out.line(f"            {text.safe(said)}")


def _place(finding: AuditFinding) -> str:
    if finding.seq is None:
        return ""
    several = finding.last is not None and finding.last > finding.seq
    place = f"changes {finding.seq} to {finding.last}" if several else f"change {finding.seq}"
    return f"{place}  {text.safe(finding.record)}".rstrip()


def _tell(inv: Invocation, report: AuditReport) -> None:
    amounts = f"{text.count(report.changes, 'change')} in {text.count(report.transactions, 'transaction')}"
    inv.out.said(inv.out.style(f"read {amounts} in {text.duration(report.duration_s)}", "weak"))
    if report.redacted:
        inv.out.said(f"{text.count(report.redacted, 'change')} redacted: proven without their contents")
    if report.total > len(report.findings):
        inv.out.said(f"{text.number(report.total - len(report.findings))} more findings are not shown")
    if not report.proven:
        inv.out.said(inv.out.style(text.count(report.total, "finding"), "bad"))
    elif report.expected:
        inv.out.said(inv.out.style(f"proven through {report.expected}", "good"))
    else:
        inv.out.said(inv.out.style(f"consistent; its head is {report.head or 'none: it is empty'}", "good"))
        inv.out.said("next: only `--head`, with a head kept elsewhere, proves that it was not rewritten as a whole")


@command("foreign")
def foreign(inv: Invocation) -> int:
    """Prove the chains of other stores that were merged into this one.

    Each is kept as a content. It is proven by itself, up to the end that the merge noted; and every change of ours that
    says it stands for one of theirs is held against it. Exit code 0: proven; 4: there are findings.
    """
    inv.on_interrupt = "Interrupted: nothing was changed, and nothing is proven."
    with inv.open(read_only=True) as store, inv.meter() as progress:
        found = store.audit.foreign(progress)
    inv.out.document({"chains": [{name: getattr(one, name) for name in one.__slots__} for one in found]})
    for one in found:
        state = inv.out.style("proven" if one.proven else "not proven", "good" if one.proven else "bad")
        inv.out.line(f"{state}  {one.store}  {one.head}  {text.count(one.merged, 'change')} merged")
        for problem in one.problems:
            inv.out.line(f"  {text.safe(problem)}")
    if not found:
        inv.out.said("no chain of another store is kept here")
    return 0 if all(one.proven for one in found) else 4


audit.add_command(foreign)
audit.add_command(head)
audit.add_command(verify)

"""Tamper evidence: whatever is edited, dropped or put elsewhere in either copy of the chain is named."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

import holdfast
from holdfast.care.audit import AuditReport, verify_path
from holdfast.errors import InvalidValueError
from holdfast.formats import lines
from holdfast.formats.lines import Located
from holdfast.index import proof
from holdfast.values import canon, change
from holdfast.values.change import Head, Transaction, root_of

Lines = list[bytes]


@pytest.fixture
def closed(root: str) -> tuple[Path, list[str], str]:
    """A closed store of ten transactions, one of them with three changes; the ids of its artifacts; its head."""
    with holdfast.create(root, actor="Ada") as store:
        made = [store.put(f"a{n}.txt", f"text {n}").artifact.id for n in range(6)]
        with store.transaction():
            made += [store.put(f"b{n}.txt", f"batch {n}").artifact.id for n in range(3)]
        store.put("a0.txt", "again")
        head = store.audit.head()
    return Path(root), made, head


def journal_of(root: Path) -> Path:
    (found,) = (root / "journal").iterdir()
    return found


def edit_journal(root: Path, edit: Callable[[Lines], Lines]) -> None:
    path = journal_of(root)
    path.write_bytes(b"".join(edit(path.read_bytes().splitlines(keepends=True))))


def edit_index(root: Path, first: int, edit: Callable[[bytes], bytes | None]) -> None:
    with sqlite3.connect(root / "index.sqlite3") as db:
        data = zstandard.decompress(db.execute("SELECT data FROM tx WHERE first = ?", (first,)).fetchone()[0])
        changed = edit(data)
        if changed is None:
            db.execute("DELETE FROM tx WHERE first = ?", (first,))
        else:
            db.execute("UPDATE tx SET data = ? WHERE first = ?", (zstandard.compress(changed), first))
    db.close()


def transactions(root: Path) -> list[Transaction]:
    return [i.transaction for i in lines.scan([journal_of(root).read_bytes()]) if isinstance(i, Located)]


def seq_of(root: Path, record: str) -> int:
    for one in transactions(root):
        for seq, body in enumerate(one.bodies, one.entry.first):
            if canon.decode(body)["id"] == record and canon.decode(body)["action"] == "create":
                return seq
    raise AssertionError(record)


def said(report: AuditReport) -> list[tuple[str, str, int | None, str]]:
    return [(f.what, f.where, f.seq, f.record) for f in report.findings]


def test_a_chain_that_nobody_touched_is_proven_up_to_its_head(closed: tuple[Path, list[str], str]) -> None:
    root, _, head = closed
    report = verify_path(str(root), expected=head)
    assert (report.proven, report.head, report.expected, report.findings) == (True, head, head, ())
    assert report.changes == int(head.partition(":")[0])


def test_an_older_head_is_proven_by_the_longer_chain(closed: tuple[Path, list[str], str]) -> None:
    root, _, head = closed
    with holdfast.open(root) as store:
        store.put("later.txt", "later")
        report = store.audit.verify(head)
        assert report.proven
        assert report.head == store.audit.head() != head


@pytest.mark.parametrize("copy", ["journal", "index"])
def test_an_edited_change_is_named(closed: tuple[Path, list[str], str], copy: str) -> None:
    root, made, head = closed
    seq = seq_of(root, made[7])  # the second of a transaction of three
    if copy == "journal":
        edit_journal(root, lambda found: [line.replace(b'"b1.txt"', b'"bX.txt"') for line in found])
    else:
        first = next(t.entry.first for t in transactions(root) if t.entry.first <= seq < t.entry.next_seq)
        edit_index(root, first, lambda data: data.replace(b'"b1.txt"', b'"bX.txt"'))
    report = verify_path(str(root), expected=head)
    assert said(report) == [("edited", copy, seq, f"artifact {made[7]}")]
    assert not report.proven


def test_a_dropped_change_of_a_transaction_is_named(closed: tuple[Path, list[str], str]) -> None:
    root, made, _ = closed
    edit_journal(root, lambda found: [line for line in found if b'"b1.txt"' not in line])
    assert said(verify_path(str(root))) == [("dropped", "journal", seq_of_index(root, made[7]), f"artifact {made[7]}")]


def seq_of_index(root: Path, record: str) -> int:
    with holdfast.open(root) as store:
        return next(c.seq for c in store.changes.list(record=record))


@pytest.mark.parametrize("copy", ["journal", "index"])
def test_a_dropped_transaction_is_named(closed: tuple[Path, list[str], str], copy: str) -> None:
    root, made, head = closed
    victim = next(t for t in transactions(root) if b'"a3.txt"' in t.bodies[0])
    if copy == "journal":
        path = journal_of(root)
        path.write_bytes(path.read_bytes().replace(lines.encode(victim), b""))
    else:
        edit_index(root, victim.entry.first, lambda _: None)
    assert said(verify_path(str(root), expected=head)) == [("dropped", copy, victim.entry.first, f"artifact {made[3]}")]


def test_transactions_in_another_order_are_named(closed: tuple[Path, list[str], str]) -> None:
    root, made, _ = closed
    one, other = (next(t for t in transactions(root) if name in t.bodies[0]) for name in (b'"a2.txt"', b'"a3.txt"'))
    path = journal_of(root)
    left, right = lines.encode(one), lines.encode(other)
    path.write_bytes(path.read_bytes().replace(left + right, right + left))
    found = verify_path(str(root))
    assert ("reordered", "journal", one.entry.first, f"artifact {made[2]}") in said(found)
    assert {f.where for f in found.findings} == {"journal"}


def test_changes_in_another_order_within_a_transaction_are_named(closed: tuple[Path, list[str], str]) -> None:
    root, made, _ = closed
    seq = seq_of(root, made[6])

    def swap(found: Lines) -> Lines:
        at = next(n for n, line in enumerate(found) if b'"b0.txt"' in line)
        found[at], found[at + 1] = found[at + 1], found[at]
        return found

    edit_journal(root, swap)
    assert said(verify_path(str(root))) == [
        ("reordered", "journal", seq, f"artifact {made[6]}"),
        ("reordered", "journal", seq + 1, f"artifact {made[7]}"),
    ]


def test_who_did_it_cannot_be_changed_either(closed: tuple[Path, list[str], str]) -> None:
    root, made, _ = closed
    seq = seq_of(root, made[0])
    at = next(t for t in transactions(root) if t.entry.first <= seq < t.entry.next_seq).entry.first
    edit_index(root, at, lambda data: data.replace(b'"Ada"', b'"Eve"'))
    (finding,) = verify_path(str(root)).findings
    assert (finding.what, finding.where, finding.seq) == ("edited", "index", at)
    assert "entry" in finding.detail


def test_the_same_edit_in_both_copies_is_found_though_no_copy_can_name_it(closed: tuple[Path, list[str], str]) -> None:
    root, made, head = closed
    seq = seq_of(root, made[3])
    edit_journal(root, lambda found: [line.replace(b'"a3.txt"', b'"aX.txt"') for line in found])
    edit_index(root, seq, lambda data: data.replace(b'"a3.txt"', b'"aX.txt"'))
    (finding,) = verify_path(str(root), expected=head).findings
    assert (finding.what, finding.where, finding.seq, finding.last) == ("edited", "chain", seq, seq)
    assert made[3] in finding.record


def in_journal(root: Path, found: list[bytes]) -> None:
    journal_of(root).write_bytes(b"".join(found))


def in_index(root: Path, found: list[bytes]) -> None:
    """What stands where each transaction stood; b"" for a row that goes."""
    with sqlite3.connect(root / "index.sqlite3") as db:
        firsts = [first for (first,) in db.execute("SELECT first FROM tx ORDER BY first")]
        for first, data in zip(firsts, found, strict=True):
            if data:
                db.execute("UPDATE tx SET data = ? WHERE first = ?", (zstandard.compress(data), first))
            else:
                db.execute("DELETE FROM tx WHERE first = ?", (first,))
    db.close()


def edited(found: list[bytes], at: int) -> list[bytes]:
    return [*found[:at], found[at].replace(b'"action":"', b'"action":"x', 1), *found[at + 1 :]]


def dropped(found: list[bytes], at: int) -> list[bytes]:
    return [*found[:at], b"", *found[at + 1 :]]


def exchanged(found: list[bytes], at: int) -> list[bytes]:
    other = at + 1 if at + 1 < len(found) else at - 1
    swapped = [*found]
    swapped[at], swapped[other] = found[other], found[at]
    return swapped


def inserted(found: list[bytes], at: int) -> list[bytes]:
    """A whole transaction that verifies in itself, before another."""
    (one,) = (i.transaction for i in lines.scan([found[at]]) if isinstance(i, Located))
    forged = replace(one.entry, prev=b"\x07" * 32, tx="01a1fc85-0151-7f9d-84b0-6e9e0fc04589")
    return [*found[:at], lines.encode(Transaction(forged, one.salt, one.bodies)) + found[at], *found[at + 1 :]]


TAMPERING = [
    *((kind, copy) for kind in (edited, dropped, exchanged) for copy in (in_journal, in_index)), (inserted, in_journal),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "write"), TAMPERING, ids=lambda one: one.__name__)
def test_each_kind_of_tampering_is_named_at_each_transaction_of_each_copy(
    closed: tuple[Path, list[str], str], kind: Callable[..., Lines], write: Callable[..., None], tmp_path: Path
) -> None:
    root, _, head = closed
    chain = transactions(root)
    found = [lines.encode(one) for one in chain]
    for at in range(len(chain)):
        twin = shutil.copytree(root, tmp_path / str(at))
        tampered = kind(found, at)
        write(twin, tampered)
        # Of two that were exchanged nobody can say which one moved.
        victims = [one.entry for one, was, now in zip(chain, found, tampered, strict=True) if was != now]
        report = verify_path(str(twin), expected=head)
        assert not report.proven, at
        assert {f.where for f in report.findings} == {write.__name__.removeprefix("in_")}, at
        named = {f.seq for f in report.findings if f.seq is not None}
        assert any(one.first <= seq < one.next_seq for one in victims for seq in named), (at, said(report))
        assert "head" not in {f.what for f in report.findings}, "the other copy leads to the head"


def rewrite(root: Path, edit: Callable[[bytes], bytes]) -> None:
    """What an owner of the store can do: change history and make every hash and both copies fit."""
    marker = json.loads((root / "holdfast.json").read_text())
    head: Head = change.origin(marker["store"])
    forged: list[Transaction] = []
    for one in transactions(root):
        bodies = tuple(edit(body) for body in one.bodies)
        entry = replace(one.entry, root=root_of(one.salt, bodies), prev=head.hash)
        forged.append(Transaction(entry, one.salt, bodies))
        head = forged[-1].head
    journal_of(root).write_bytes(b"".join(map(lines.encode, forged)))
    with sqlite3.connect(root / "index.sqlite3") as db:
        for one in forged:
            row = (one.entry.hash(), zstandard.compress(lines.encode(one)), one.entry.first)
            db.execute("UPDATE tx SET hash = ?, data = ? WHERE first = ?", row)
        proof.install(db)
        db.execute(f"UPDATE tx SET crc = row_checksum('tx', {', '.join(proof.COLUMNS['tx'])})")
    db.close()


def test_history_rewritten_with_all_its_hashes_is_betrayed_only_by_a_head_kept_elsewhere(
    closed: tuple[Path, list[str], str],
) -> None:
    root, _, head = closed
    rewrite(root, lambda body: body.replace(b'"a1.txt"', b'"aX.txt"'))
    assert verify_path(str(root)).proven, "this is what docs/audit.md says cannot be seen without a head"
    report = verify_path(str(root), expected=head)
    assert not report.proven
    assert [f.what for f in report.findings] == ["head"]


def test_a_shortened_chain_is_betrayed_by_a_head(closed: tuple[Path, list[str], str]) -> None:
    root, _, head = closed
    last = transactions(root)[-1]
    path = journal_of(root)
    path.write_bytes(path.read_bytes().removesuffix(lines.encode(last)))
    edit_index(root, last.entry.first, lambda _: None)
    assert verify_path(str(root)).proven
    assert [f.what for f in verify_path(str(root), expected=head).findings] == ["head"]


def test_one_copy_forged_with_fitting_hashes_does_not_pass(closed: tuple[Path, list[str], str]) -> None:
    root, _, _ = closed
    untouched = (root / "index.sqlite3").read_bytes()
    rewrite(root, lambda body: body.replace(b'"a1.txt"', b'"aX.txt"'))
    (root / "index.sqlite3").write_bytes(untouched)
    report = verify_path(str(root))
    assert not report.proven
    assert "rewritten" in {f.what for f in report.findings}


def test_every_flipped_byte_of_the_journal_is_found(closed: tuple[Path, list[str], str]) -> None:
    root, _, _ = closed
    path = journal_of(root)
    good = path.read_bytes()
    (root / "index.sqlite3").rename(root.parent / "index")  # the journal alone must tell
    for at in range(0, len(good), 97):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        found = {f.what for f in verify_path(str(root)).findings}
        assert found - {"unreadable"}, f"byte {at}"
    path.write_bytes(good)


def test_a_store_without_an_index_is_not_called_proven(closed: tuple[Path, list[str], str]) -> None:
    root, _, head = closed
    (root / "index.sqlite3").unlink()
    report = verify_path(str(root), expected=head)
    assert said(report) == [("unreadable", "index", None, "")]


@pytest.mark.parametrize("head", ["", "7", "7:xyz", "0:" + "0" * 64, "7:" + "A" * 64])
def test_what_is_no_head_is_refused(closed: tuple[Path, list[str], str], head: str) -> None:
    with pytest.raises(InvalidValueError):
        verify_path(str(closed[0]), expected=head)


def test_nothing_in_the_store_changes_and_writers_go_on(closed: tuple[Path, list[str], str], tmp_path: Path) -> None:
    root, _, _ = closed
    shutil.copytree(root, tmp_path / "before")
    verify_path(str(root))
    for folder, _, files in os.walk(tmp_path / "before"):
        for file in files:
            old = Path(folder, file)
            assert (root / old.relative_to(tmp_path / "before")).read_bytes() == old.read_bytes()
    with holdfast.open(root) as store, store.transaction():
        store.put("now.txt", "now")
        assert store.audit.head() == verify_path(str(root)).head, "what is not committed is not in the chain"


def test_an_empty_store_has_nothing_to_prove(root: str) -> None:
    with holdfast.create(root) as store:
        head = store.audit.head()
        report = store.audit.verify()
        assert (report.proven, report.head) == (True, head)


def run(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(holdfast.__file__).parents[1])}
    call = [sys.executable, "-m", "holdfast", "-C", str(root), *words]
    return subprocess.run(call, capture_output=True, text=True, env=environment, check=False)


def test_the_command_proves_and_names_with_exit_codes(closed: tuple[Path, list[str], str]) -> None:
    root, made, head = closed
    assert run(root, "audit", "head").stdout.strip() == head
    done = run(root, "audit", "verify", "--head", head)
    assert (done.returncode, "proven through " + head in done.stdout) == (0, True)
    edit_journal(root, lambda found: [line.replace(b'"a3.txt"', b'"aX.txt"') for line in found])
    done = run(root, "audit", "verify", "--head", head)
    assert done.returncode == 4
    assert made[3] in done.stdout
    document = json.loads(run(root, "audit", "verify", "--json").stdout)
    assert document["proven"] is False
    assert document["findings"][0]["record"] == f"artifact {made[3]}"
    assert run(root, "audit", "verify", "--head", "nonsense").returncode == 2

"""Rules: transactions, and what people do to keep a store well: collect, wait, redact, check, prove."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from holdfast.errors import ConflictError
from holdfast.index.tables import LOGICAL
from holdfast.testing.held import held, placed
from holdfast.testing.machine import moving, values, verbs
from holdfast.testing.machine.compare import Comparing, digest_of
from holdfast.testing.machine.moving import clock
from holdfast.testing.machine.values import Known, among, some

rare = precondition(lambda machine: machine.ordeals < machine.most_ordeals)
"""What takes long is done a few times in each example: the others would not be done often enough."""

outside = precondition(lambda machine: not machine.pending)
GRACE_S = 14 * 24 * 3600
FIELDS = ("name", "metadata", "content", "message", "tags", "owner")


class TransactionRules(Comparing):
    """Blocks that end well or by an exception, three deep at most; other rules go on inside of them."""

    @precondition(lambda machine: len(machine.pending) < 3)
    @rule()
    def begin(self) -> None:
        """One more block."""
        self.begin_one()

    @precondition(lambda machine: bool(machine.pending))
    @rule(fail=st.booleans())
    def end(self, fail: bool) -> None:
        """The innermost block ends."""
        self.end_one(fail=fail)
        self.count("failed" if fail else "done", "end")

    @precondition(lambda machine: bool(machine.pending))
    @rule(fail=st.booleans())
    def end_every(self, fail: bool) -> None:
        """All blocks end."""
        self.end_all(fail=fail)
        self.count("failed" if fail else "done", "end_every")

    @rule(path=values.paths, content=values.texts, inside=st.booleans())
    def fail_in_a_block(self, path: bytes, content: bytes, inside: bool) -> None:
        """A block, maybe in another, that puts, deletes and fails: nothing of it was ever there."""
        self.begin_one()
        if inside:
            self.both(lambda s: s.put(path, b"stays"), lambda m: m.put(path, b"stays", {}))
            self.begin_one()
        self.both(lambda s: s.put(path, content), lambda m: m.put(path, content, {}))
        if known := verbs.live(self):
            own = known[0].handle
            self.both(lambda s: s.artifacts.delete(f"id:{self.ids[own]}"), lambda m: m.delete(own))
        self.end_one(fail=True)
        if inside:
            self.end_one(fail=False)


class CareRules(Comparing):
    """What people do to keep a store well."""

    @outside
    @rule()
    def gc(self) -> None:
        """Without a grace period, what stays is each content of a kept revision, once, and nothing else."""
        preview = self.store.gc(dry_run=True, grace_s=0)
        report = self.store.gc(grace_s=0)
        assert replace(preview, dry_run=False) == report, f"{preview}, then {report}"
        self.only_what_is_kept()
        assert held(self.path) == Counter(self.kept()), "files hold something else, or something twice"
        self.count("packs" if report.packs_removed else "removed" if report.removed else "nothing", "gc")

    @outside
    @rule(days=st.sampled_from([0, 0, 1, 15]))
    def gc_with_grace(self, days: int) -> None:
        """What was given up stays for the grace period; what somebody put again stays for good."""
        before = self.present()
        clock.ahead_s += days * 24 * 3600
        report = self.store.gc()
        gone = before - self.present()
        assert len(gone) == report.removed, f"{report}, but {len(gone)} contents are gone"
        assert not gone & self.kept(), "gc removed content of a kept revision"
        outcomes = {"gathered": report.gathered, "removed": report.removed, "condemned": report.condemned, "nothing": 1}
        self.count(next(name for name, many in outcomes.items() if many), "gc_with_grace")
        self.compare_contents()

    @outside
    @rule(up_to=st.sampled_from([0, moving.PACK_UP_TO, 64 * 1024]))
    def pack_up_to(self, up_to: int) -> None:
        """From now on other contents go to packs; too many that have each a file are gathered by the next gc."""
        self.store._handle.blobs.pack_up_to = up_to  # type: ignore[attr-defined]  # noqa: SLF001
        self.count(str(up_to), "pack_up_to")

    @outside
    @rule()
    def repack(self) -> None:
        """Contents move to other places; each is what it was, and at once a second repack has nothing to do."""
        report = self.store.repack()
        self.compare_contents()
        assert not self.store.repack().contents
        self.count("packed" if report.contents else "nothing", "repack")

    @outside
    @rule(again=st.booleans())
    def wait_and_gc(self, again: bool) -> None:
        """Two collections with the grace period between them free what was given up, unless it was put again."""
        self.store.gc()
        if again and (dead := [t for t in self.model.things.values() if t.newest.state == "purged"]):
            content = dead[0].newest.content
            self.both(lambda s: s.put(b"again", content), lambda m: m.put(b"again", content, {}))
        clock.ahead_s += GRACE_S + 3600
        self.store.gc()
        self.only_what_is_kept()
        self.count("done", "wait_and_gc")

    @outside
    @precondition(lambda machine: bool(machine.model.trail))
    @rule()
    def gc_with_the_clock_set_back(self) -> None:
        """A clock that stands before the newest change tells no grace period: gc refuses."""
        ahead, clock.ahead_s = clock.ahead_s, -10 * 365 * 24 * 3600
        try:
            self._refused(self.store.gc)
        finally:
            clock.ahead_s = ahead

    @precondition(lambda machine: bool(machine.pending))
    @rule()
    def gc_inside(self) -> None:
        """What a transaction gave up is given up only when it has committed."""
        self._refused(lambda: self.store.gc(grace_s=0))

    def _refused(self, call: Callable[[], Any]) -> None:
        try:
            call()
        except ConflictError:
            return
        raise AssertionError("gc ran, and should have refused")

    @rare
    @outside
    @precondition(some(verbs.every))
    @rule(
        which=among(verbs.every), fields=st.sets(st.sampled_from(FIELDS), min_size=1, max_size=3),
        newest=st.booleans(),
    )  # fmt: skip
    def redact(self, which: Known, fields: set[str], newest: bool) -> None:
        """Fields of an artifact gone for good, from all its history; the chain verifies as before."""
        own = which.handle
        record, numbers = f"id:{self.ids[own]}", {self.model.things[own].newest.number} if newest else None
        plan = self.store.redact(record, fields=fields, revisions=numbers, dry_run=True)
        report = self.store.redact(record, fields=fields, revisions=numbers, note="asked for")
        assert plan.changes == report.changes
        if self.model.holds(own, fields, numbers):
            assert report.tx, f"{fields} of {which} are there, and nothing was redacted"
        if report.tx:
            self.model.redact(own, fields, numbers, f"redacted-{self.ids[own]}".encode())
        self.count("done" if report.tx else "nothing to erase", "redact")
        self.forget_words_of(own)
        self.compare_all()
        assert self.store.audit.verify(self.head_seen or None).proven

    def forget_words_of(self, handle: int) -> None:
        """What was redacted makes a repeated call another one."""
        self.repeats = [one for one in self.repeats if one.handle != handle]

    @rare
    @outside
    @rule()
    def check(self) -> None:
        """fsck reads every byte and derives every row, and finds nothing."""
        self.ordeals += 1
        self.count("done", "check")
        self.clean(quick=False)

    @outside
    @rule()
    def audit(self) -> None:
        """The chain is proven, through the head that was seen last time; and the head is written down."""
        report = self.store.audit.verify(self.head_seen or None)
        assert report.proven, report.findings
        self.head_seen = self.store.audit.head()
        seq = int(self.head_seen.partition(":")[0] or 0)
        assert seq == self.store.changes.head().next_seq - 1
        self.count("done", "audit")

    @outside
    @rule()
    def search(self) -> None:
        """Words find what has them."""
        self.compare_search()
        self.count("done", "search")

    # -- what is kept --------------------------------------------------------------------------------------------------

    def kept(self) -> set[str]:
        """Digests of the contents of kept revisions, without prefix."""
        revisions = (r for t in self.model.things.values() for r in t.revisions if r.state == "kept")
        return {digest_of(one.content).removeprefix("sha256:") for one in revisions}

    def present(self) -> set[str]:
        """Digests of the contents that have a place."""
        return {one.digest.hex() for one in placed(self.store._handle.index)}  # noqa: SLF001

    def only_what_is_kept(self) -> None:
        """What is in the store is what revisions refer to, no more and no less."""
        assert self.present() == self.kept()
        status = self.store.status()
        contents = {r.content for t in self.model.things.values() for r in t.revisions if r.state == "kept"}
        assert status.content_bytes == sum(len(content) for content in contents)
        assert (status.blobs, status.condemned) == (len(contents), 0)
        self.compare_contents()

    def clean(self, *, quick: bool) -> None:
        """fsck finds nothing that needs mending."""
        report = self.store.fsck(quick=quick)
        assert report.exit_code == 0, [(f.code, f.object, f.detail) for f in report.findings]

    def rows(self) -> dict[str, list[tuple[object, ...]]]:
        """Every row of every logical table."""
        index = self.store._handle.index  # noqa: SLF001
        return {table: list(index.dump(table)) for table in LOGICAL}

    def same_rows(self, before: dict[str, list[tuple[object, ...]]]) -> None:
        """Rows that were derived anew are those that live writes made, one by one."""
        after = self.rows()
        for table, wanted in before.items():
            assert after[table] == wanted, f"rows of {table} derived anew: {after[table]}, live: {wanted}"

    def names(self, folder: str) -> list[str]:
        """What lies in a folder of the store."""
        return sorted(os.listdir(self.path / folder))

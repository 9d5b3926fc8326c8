"""Rules: transactions, and what befalls a store: killed, collected, copied, checked, its index or journal lost."""

from __future__ import annotations

import shutil
import subprocess

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

import holdfast
from holdfast.errors import ConflictError
from holdfast.index.tables import LOGICAL
from holdfast.testing.machine import crash, values
from holdfast.testing.machine.compare import Comparing, digest_of
from holdfast.testing.machine.crash import Deed
from holdfast.testing.model import Model, Refused

rare = precondition(lambda machine: machine.ordeals < machine.most_ordeals)
"""What takes long is done a few times in each example: the others would not be done often enough."""

outside = precondition(lambda machine: not machine.pending)
deeds = st.lists(st.tuples(st.sampled_from(["put", "delete", "tag"]), values.paths, values.texts), max_size=3)


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

    @precondition(lambda machine: bool(machine.pending))
    @rule(fail=st.booleans())
    def end_every(self, fail: bool) -> None:
        """All blocks end."""
        self.end_all(fail=fail)


class CareRules(Comparing):
    """What befalls a store, and what people do against it."""

    @rare
    @rule()
    def close_and_open(self) -> None:
        """What was open in a transaction is gone, the rest stays."""
        self.ordeals += 1
        self.reopen()
        self.compare_all()

    @rare
    @outside
    @rule(done=deeds, unfinished=deeds)
    def killed(self, done: list[Deed], unfinished: list[Deed]) -> None:
        """Another process works on the store, and is killed while it does. We have the store open meanwhile."""
        self.ordeals += 1
        crash.run_and_kill(self.path, done, unfinished)
        for deed in done:
            _perform(self.model, deed)
        self.compare_trail()
        self.learn()
        self.compare_all()

    @outside
    @rule()
    def gc(self) -> None:
        """Without a grace period, what stays is each content of a kept revision, once, and nothing else."""
        self.store.gc(grace_s=0)
        kept = {r.content for t in self.model.things.values() for r in t.revisions if r.state == "kept"}
        found = self.store.status()
        assert found.content_bytes == sum(len(content) for content in kept)
        files = {path.name.removesuffix(".zst") for path in (self.path / "blobs").glob("*/*")}
        assert files == {digest_of(content).removeprefix("sha256:") for content in kept}
        self.compare_all()

    @precondition(lambda machine: bool(machine.pending))
    @rule()
    def gc_inside(self) -> None:
        """What a transaction gave up is given up only when it has committed."""
        try:
            self.store.gc(grace_s=0)
        except ConflictError:
            return
        raise AssertionError("gc ran inside an open transaction")

    @rare
    @rule()
    def lose_index(self) -> None:
        """The index is thrown away; opening derives it anew."""
        self.ordeals += 1
        self.end_all(fail=True)
        before = self.rows()
        self.store.close()
        for file in self.path.glob("index.sqlite3*"):
            file.unlink()
        self.store = type(self).open(self.path)
        assert self.store.opened.rebuilt == bool(self.model.trail)
        self.same_rows(before)
        self.compare_all()

    @rare
    @rule()
    def lose_journal(self) -> None:
        """The journal is thrown away; opening writes it anew. "Absent" never means "empty"."""
        self.ordeals += 1
        self.end_all(fail=True)
        self.store.close()
        for file in (self.path / "journal").iterdir():
            file.unlink()
        self.store = type(self).open(self.path)
        self.compare_all()

    @rare
    @outside
    @rule()
    def lose_search(self) -> None:
        """The full text is thrown away; the next search fills it again."""
        self.ordeals += 1
        self.store.close()
        for file in self.path.glob("search.sqlite3*"):
            file.unlink()
        self.store = type(self).open(self.path)
        self.compare_search()

    @rare
    @outside
    @rule()
    def rebuild(self) -> None:
        """Rows are derived anew while we have the store open."""
        self.ordeals += 1
        before = self.rows()
        assert holdfast.rebuild(self.path).live
        self.same_rows(before)
        self.compare_all()

    @rare
    @rule()
    def go_on_in_a_copy(self) -> None:
        """A plain copy of the open store is a store, with all that was acknowledged."""
        self.ordeals += 1
        copy = self.home / f"copy-{self.steps}"
        # By another process: opening SQLite's files in this one would drop its locks on them.
        subprocess.run(["cp", "-a", self.path, copy], check=True)
        self.end_all(fail=True)
        self.store.close()
        shutil.rmtree(self.path)
        self.path = copy
        report = holdfast.recover(copy)
        assert report.withdrawn == ()
        assert report.missing == ()
        self.store = type(self).open(copy)
        self.compare_all()

    @rare
    @outside
    @rule()
    def check(self) -> None:
        """fsck reads every byte and derives every row, and finds nothing."""
        self.ordeals += 1
        self.clean(quick=False)

    @outside
    @rule()
    def search(self) -> None:
        """Words find what has them."""
        self.compare_search()

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


def _perform(model: Model, deed: Deed) -> None:
    verb, path, content = deed
    try:
        if verb == "put":
            model.put(path, content, {})
        elif verb == "delete":
            model.delete(path)
        else:
            model.tag(path, add={"red"}, remove=set())
    except Refused:
        pass

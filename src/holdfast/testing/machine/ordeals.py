"""Rules: what befalls a store. Killed, copied, damaged and repaired, its index, journal or full text lost."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import rule

import holdfast
from holdfast.testing.held import spoil
from holdfast.testing.machine import crash, values
from holdfast.testing.machine.care import CareRules, outside, rare
from holdfast.testing.machine.crash import Deed
from holdfast.testing.model import Model, Refused

verbs = st.sampled_from(["put", "put", "delete", "undelete", "tag"])
deeds = st.lists(st.tuples(verbs, values.paths | st.sampled_from([b"a", b"d/a"]), values.texts), max_size=3)


class Ordeals(CareRules):
    """What befalls a store. Each takes long, and is done a few times in each example."""

    @rare
    @rule()
    def close_and_open(self) -> None:
        """What was open in a transaction is gone, the rest stays."""
        self.ordeals += 1
        self.count("done", "close_and_open")
        self.reopen()
        self.compare_all()

    @rare
    @outside
    @rule(done=deeds, unfinished=deeds)
    def killed(self, done: list[Deed], unfinished: list[Deed]) -> None:
        """Another process works on the store, and is killed while it does. We have the store open meanwhile."""
        self.ordeals += 1
        self.count("with a block open" if unfinished else "done", "killed")
        crash.run_and_kill(self.path, done, unfinished)
        for deed in done:
            _perform(self.model, deed)
        self.compare_trail()
        self.learn()
        self.compare_all()

    @rare
    @outside
    @rule(path=values.paths, content=values.texts, more=deeds, calls=st.integers(0, 9))
    def killed_within(self, path: bytes, content: bytes, more: list[Deed], calls: int) -> None:
        """Killed in the middle of a call: what was acknowledged is there, what was under way wholly or not at all."""
        self.ordeals += 1
        wanted: list[Deed] = [("put", path, content + b" killed %d" % self.steps), *more]
        acknowledged = crash.kill_within(self.path, wanted, self.home / "acknowledged", calls)
        for deed in wanted[:acknowledged]:
            _perform(self.model, deed)
        if self.store.changes.head().next_seq - 1 != len(self.model.trail):
            assert wanted[acknowledged:], "there is more than was ever begun"
            _perform(self.model, wanted[acknowledged])
        self.count("died within" if acknowledged < len(wanted) else "died after", "killed_within")
        self.compare_trail()
        self.learn()
        self.compare_all()

    @rare
    @rule()
    def lose_index(self) -> None:
        """The index is thrown away; opening derives it anew."""
        self.ordeals += 1
        self.count("done", "lose_index")
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
        self.count("done", "lose_journal")
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
        self.count("done", "lose_search")
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
        self.count("done", "rebuild")
        before = self.rows()
        assert holdfast.rebuild(self.path).live
        self.same_rows(before)
        self.compare_all()

    @rare
    @rule(recovered=st.booleans())
    def go_on_in_a_copy(self, recovered: bool) -> None:
        """A plain copy of the open store is a store, with all that was acknowledged, recovered or just opened."""
        self.ordeals += 1
        self.count("recovered" if recovered else "opened", "go_on_in_a_copy")
        copy = self.home / f"copy-{self.steps}"
        # By another process: opening SQLite's files in this one would drop its locks on them.
        subprocess.run(["cp", "-a", self.path, copy], check=True)
        self.end_all(fail=True)
        self.store.close()
        shutil.rmtree(self.path)
        self.path = copy
        if recovered:
            report = holdfast.recover(copy)
            assert report.withdrawn == ()
            assert report.missing == ()
        self.store = type(self).open(copy)
        self.compare_all()

    @rare
    @rule(how=st.sampled_from(["cut", "lost", "other"]), number=st.integers(0, 9))
    def damage_content(self, how: str, number: int) -> None:
        """A content is damaged, in its file or its pack: fsck finds it, and repair has the original in a folder."""
        self.ordeals += 1
        self.end_all(fail=True)
        self.store.gc(grace_s=0)
        names = sorted(self.kept())
        if not names:
            return
        wanted = names[number % len(names)]
        contents = {r.content for t in self.model.things.values() for r in t.revisions if r.state == "kept"}
        originals = self.home / f"originals-{self.steps}"
        originals.mkdir()
        for place, content in enumerate(sorted(contents)):
            (originals / str(place)).write_bytes(content)
        self.store.close()
        spoil(self.path, wanted, how)
        self._repaired(originals)
        self.count(how, "damage_content")

    @rare
    @rule(at=st.integers(0, 10_000))
    def damage_journal(self, at: int) -> None:
        """A byte of the journal is another: fsck finds it, and repair takes the chain from the index."""
        self.ordeals += 1
        self.end_all(fail=True)
        if not self.model.trail:
            return
        self.store.close()
        segment = min((self.path / "journal").iterdir())
        data = bytearray(segment.read_bytes())
        data[at % len(data)] ^= 1
        segment.write_bytes(data)
        self._repaired()
        self.count("done", "damage_journal")

    def _repaired(self, *sources: Path) -> None:
        assert holdfast.fsck(self.path).exit_code == 4, "the damage was not found"
        report = holdfast.repair(self.path, sources=sources, actor="Ada")
        assert (report.exit_code, report.lost) == (5, ()), (report.steps, report.lost, report.after.findings)
        self.store = type(self).open(self.path)
        self.compare_all()
        self.clean(quick=False)


def _perform(model: Model, deed: Deed) -> None:
    verb, path, content = deed
    try:
        if verb == "put":
            model.put(path, content, {})
        elif verb == "delete":
            model.delete(path)
        elif verb == "undelete":
            model.undelete(path, name=None)
        else:
            model.tag(path, add={"red"}, remove=set())
    except Refused:
        pass

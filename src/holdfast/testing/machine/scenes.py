"""How an example begins: with a store that has something of everything, so that few calls after it are refused."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize

from holdfast.testing.machine.driver import Driver
from holdfast.testing.model import End


class Scenes(Driver):
    """What is there before the first rule."""

    @initialize(scene=st.sampled_from(["garden", "graveyard", "bare"]))
    def begin_with(self, scene: str) -> None:
        """Collections in collections, artifacts with revisions and tags, ties and runs; or half deleted."""
        if scene == "bare":
            return
        self.begin_one()
        self._plant()
        self._relate()
        self._work()
        self.end_one(fail=False)
        if scene == "graveyard":
            self.both(lambda s: s.artifacts.delete(b"b"), lambda m: m.delete(b"b"))
            self.both(
                lambda s: s.collections.delete(b"d", contents="cascade"), lambda m: m.delete_place(b"d", cascade=True)
            )

    def _plant(self) -> None:
        said: dict[str, Any] = {
            "tags": {"red", "green", "ü"},
            "metadata": {"k": 1},
            "media_type": "text/plain",
            "message": "why",
        }
        for path, content in (
            (b"a", b"alpha bravo"), (b"b", b"bravo"), (b"d/a", b"charlie"), (b"d/e/b", b"alpha"), (b"d/e/d", b"delta"),
        ):  # fmt: skip
            self._put(path, content, said)
        for content in (b"alpha charlie", b"alpha delta"):
            self._put(b"a", content, {"message": "ü\n"})
        self._put(b"d/a", b"charlie delta", {"metadata": {"k": 1.0}})
        tags = {"red", "green"}
        self.both(lambda s: s.collections.tag(b"d", *tags), lambda m: m.tag_place(b"d", add=tags, remove=set()))

    def _put(self, path: bytes, content: bytes, said: dict[str, Any]) -> None:
        self.both(lambda s: s.put(path, content, **said), lambda m: m.put(path, content, dict(said)))

    def _thing(self, path: bytes, revision: int | None = None) -> End:
        return "artifact", self.model.thing(path).handle, revision

    def _relate(self) -> None:
        place: End = ("collection", self.model.place(b"d").handle, None)
        for one, type_, other in (
            (self._thing(b"d/a"), "derived_from", self._thing(b"a", 1)),
            (self._thing(b"d/e/b"), "supersedes", self._thing(b"d/a")),
            (self._thing(b"a"), "supports", place),
            (self._thing(b"a"), "summarized_in", self._thing(b"b")),
        ):
            self._tie(one, type_, other)

    def _tie(self, one: End, type_: str, other: End) -> None:
        first, second, said = self.endpoint(one), self.endpoint(other), {"k": 1}
        self.both(
            lambda s: s.relationships.relate(first, type_, second, metadata=said),
            lambda m: m.relate(one, type_, other, said),
        )

    def _work(self) -> None:
        said = {"k": 1}
        self.both(lambda s: s.runs.create("train", parameters=said), lambda m: m.create_run("train", said))
        self.both(lambda s: s.runs.create("ü", parameters=said), lambda m: m.create_run("ü", said))
        run = min(self.model.works)
        own, end = self.ids[run], self._thing(b"a")
        self.both(lambda s: s.runs.link(own, "input", self.endpoint(end)), lambda m: m.link(run, "input", end, ""))
        for _ in range(2):
            self.both(lambda s: s.runs.add_step(own, "step"), lambda m: m.add_step(run))
        self.both(lambda s: s.runs.set_status(own, "processing"), lambda m: m.set_status(run, "processing"))
        self.both(
            lambda s: s.put(b"d/out", b"bravo delta", run=own), lambda m: m.put(b"d/out", b"bravo delta", {"run": run})
        )

"""Rules: many threads at once, calls repeated with their transaction id, and answers read in pages between writes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from holdfast.errors import HoldfastError
from holdfast.testing.machine import values, verbs
from holdfast.testing.machine.driver import Driver, Paging, Repeat
from holdfast.testing.machine.values import Known, among, some
from holdfast.testing.model import Model, Refused

outside = precondition(lambda machine: not machine.pending)


def _due_repeats(machine: Any) -> list[Repeat]:
    """Also of what was moved, renamed or deleted since."""
    return list(machine.repeats)


class TogetherRules(Driver):
    """Threads, repeats, pages."""

    # -- threads -------------------------------------------------------------------------------------------------------

    @outside
    @rule(folder=values.folders, names=st.sets(values.names, min_size=2, max_size=4), content=values.texts)
    def at_once(self, folder: bytes, names: set[bytes], content: bytes) -> None:
        """Threads put beside each other; each gets what it would get alone."""
        paths = [values.path_of(folder, name) for name in sorted(names)]
        codes = _all_at_once([partial(self.store.put, path, content + b" " + path) for path in paths])
        for path, code in zip(paths, codes, strict=True):
            self._done_at_once(path, content + b" " + path, code)
        self.count("done", "at_once")

    def _done_at_once(self, path: bytes, content: bytes, outcome: object) -> None:
        def ideal(model: Model) -> None:
            model.put(path, content, {})

        self.both(lambda _: _raise_again(outcome), ideal)

    @outside
    @precondition(some(verbs.live))
    @rule(which=among(verbs.live), content=values.texts)
    def race(self, which: Known, content: bytes) -> None:
        """Threads put the same to the same artifact, and each expects the revision it saw: one wins."""
        own, its = which.handle, f"id:{self.ids[which.handle]}"
        newest = self.model.things[own].newest
        content += b" race %d" % self.steps
        put = lambda: self.store.put(its, content, expect=newest.number)  # noqa: E731
        codes = _all_at_once([put, put, put])
        lost = [code for code in codes if isinstance(code, HoldfastError)]
        assert [error.code for error in lost] == ["expectation-failed"] * 2, f"three put, and got {codes}"
        self.model.put(own, content, {})
        self.learn()
        self.count("done", "race")

    # -- the same call again -------------------------------------------------------------------------------------------

    @outside
    @rule(path=values.paths, content=values.texts, at_once=st.booleans())
    def put_with_tx(self, path: bytes, content: bytes, at_once: bool) -> None:
        """A put that can be repeated, and is, maybe at once."""
        tx = f"01980000-0000-7000-8000-{self.steps:012x}"
        before = len(self.model.trail)
        result = self.both(lambda s: s.put(path, content, tx=tx), lambda m: m.put(path, content, {}))
        if result is not None and len(self.model.trail) > before:
            thing = self.model.thing(path)
            self.repeats.append(Repeat(tx, path, content, thing.handle, thing.newest.number))
            if at_once:
                self._repeated(self.repeats[-1])

    @outside
    @precondition(some(_due_repeats))
    @rule(which=among(_due_repeats), more=st.booleans())
    def repeat(self, which: Repeat, more: bool) -> None:
        """Done once, however often it is asked for and whatever came after; the id is taken for anything else."""
        if more and not self.model.things[which.handle].deleted:
            content, its = which.content + b" more %d" % self.steps, f"id:{self.ids[which.handle]}"
            self.both(lambda s: s.put(its, content), lambda m: m.put(which.handle, content, {}))
        self._repeated(which)

    def _repeated(self, which: Repeat) -> None:
        found = self.store.put(which.path, which.content, tx=which.tx)
        assert (found.artifact.id, found.revision.number) == (self.ids[which.handle], which.revision)
        self.both(lambda s: s.put(b"else", b"else", tx=which.tx), lambda _: _refuse("transaction-reused"))
        self.both(lambda s: _in_block(s, which.tx), lambda _: _refuse("transaction-reused"))

    # -- pages ---------------------------------------------------------------------------------------------------------

    @rule(order=st.sampled_from(["created", "-created", "name", "-name"]))
    def begin_to_page(self, order: str) -> None:
        """The first page of all artifacts."""
        page = self.store.artifacts.page(order=order, limit=2)
        live = {t.handle: self.model.path(t.handle) for t in self.model.live_things()}
        paging = Paging(order, page.token, [a.id for a in page.items], set(live), live)
        self.pagings = [*self.pagings[-1:], paging]
        self._came(paging)

    @precondition(lambda machine: bool(machine.pagings))
    @rule(pages=st.integers(1, 3))
    def go_on_paging(self, pages: int) -> None:
        """The pages after it: nothing comes twice, and what was there all the time comes."""
        paging = self.pagings[-1]
        for _ in range(pages):
            if paging.token is not None:
                page = self.store.artifacts.page(order=paging.order, limit=2, token=paging.token)
                paging.token = page.token
                paging.seen += [a.id for a in page.items]
                self._came(paging)
        self.count("done" if paging.token else "to the end", "go_on_paging")

    def watch_pages(self) -> None:
        """After each step: what was renamed or deleted meanwhile need not come any more."""
        for paging in self.pagings:
            stays = {
                t.handle for t in self.model.live_things() if paging.names.get(t.handle) == self.model.path(t.handle)
            }
            paging.due &= stays

    def _came(self, paging: Paging) -> None:
        if not paging.order.endswith("name"):
            assert len(set(paging.seen)) == len(paging.seen), f"pages by {paging.order}: something came twice"
        paging.due -= {handle for handle in paging.due if self.ids[handle] in paging.seen}
        if paging.token is None:
            assert not paging.due, f"pages by {paging.order} ended without {paging.due}"
            self.pagings = [one for one in self.pagings if one is not paging]


def _in_block(store: Any, tx: str) -> None:
    with store.transaction(id=tx):
        store.put(b"else", b"else")


def _refuse(code: str) -> None:
    raise Refused(code)


def _raise_again(outcome: object) -> object:
    if isinstance(outcome, BaseException):
        raise outcome
    return None


def _all_at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    """What each call gave, or the error it raised."""
    found: list[Any] = [None] * len(calls)
    ready = threading.Barrier(len(calls))

    def work(place: int) -> None:
        ready.wait()
        try:
            found[place] = calls[place]()
        except Exception as error:  # noqa: BLE001 - whoever compares looks at it
            found[place] = error

    threads = [threading.Thread(target=work, args=(place,)) for place in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found

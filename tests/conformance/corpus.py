"""What is put into stores to compare them: something of every kind, with the names, values and fates that go wrong."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast import FileFacts, Store
from holdfast.engine import transaction
from holdfast.testing.clock import FixedClock
from holdfast.testing.conformance.calls import NOUNS
from holdfast.values import moment
from holdfast.values.records import Endpoint

NAMES: list[str | bytes] = [
    "a", "B", "b", "é", "e\u0301", "ﬁn", "İstanbul", "Ж", "日本語", "\uffff", "\U00010000", "a b", "~", "_", "10", "9",
    "it's", 'say "hi"', "back\\slash", "tab\tnew\nline", "per%cent", "100%_sure*?[x]", "CON.txt", ".git", "-rf",
    "\x7f\x01", b"not utf-8 \xff", b"\xfe\xfe", "x" * 255, "trailing.", " ",
]  # fmt: skip
"""Of artifacts. Python, SQLite and PostgreSQL each have an order of their own for them."""

VALUES: list[Any] = [
    1e16, 10**16, 1.0, 1, True, -0.0, 0, 0.0, False, None, 5e-324, 1.7976931348623157e308, 10**40, -(1 << 63), 1 << 62,
    0.1, "", "1", "null", "a\0b", "é", "e\u0301", "\U0001f600", "ß", "it's", [], {}, [1, 1.0, True, None, "x"],
    {"deep": {"er": [{"é": -0.0}]}}, 2**53, 2**53 + 1, float(2**53), "z" * 300,
]  # fmt: skip
"""Of metadata."""


class Ticking:
    """A store, or a noun of one, whose clock goes on with each call."""

    def __init__(self, of: Any, clock: FixedClock) -> None:
        self._of, self._clock = of, clock

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._of, name)
        self._clock.advance(0.7)
        return Ticking(value, self._clock) if name in NOUNS and name != "search" else value


@contextlib.contextmanager
def drawn() -> Iterator[None]:
    """Ids and salts are drawn in order, the same for each store that is made and filled in such a block."""
    ids, salts = itertools.count(1 << 20, 1 << 20), itertools.count()
    with pytest.MonkeyPatch.context() as patch:
        own = moment._drawn
        patch.setattr(moment, "_drawn", lambda now_us: (own(now_us)[0][:15] + "000-", next(ids)))
        salt = SimpleNamespace(urandom=lambda size: next(salts).to_bytes(size, "big"))
        patch.setattr(transaction, "os", salt)
        yield


def fill(store: Any) -> None:
    """All of it, in parts that follow each other."""
    things = _secrets, _places, _names, _values, _revisions, _ties, _runs
    for part in (*things, _moves, _losses, _of_others, _tenants, _settings):
        part(store)


def _secrets(store: Any) -> None:
    """First of all: a redaction derives every row anew, so it is cheap as long as there are few."""
    store.put("secret", "hidden words", metadata={"key": "value"})
    store.redact(store.get("secret"), fields=["name", "metadata"])


def _places(store: Any) -> None:
    for path in ("docs", "docs/deep", "docs/deep/er", "docs/deep/er/still", "é", "empty", "gone"):
        store.collections.create(path, metadata={"path": path}, tags=["place"])
    store.collections.ensure("made/by/the way")
    store.collections.create("a/b/c", parents=True, owner="Eve", file=FileFacts(0o700, 7))
    store.collections.rename("a", "renamed")
    store.collections.move("renamed/b", "docs")
    store.collections.update("docs/b", metadata={"n": [None, -0.0]}, owner="Bea")
    store.collections.tag("docs", "é", "tag")
    store.collections.untag("docs", "place")
    store.put("gone/with it", "gone")
    store.collections.undelete(store.collections.delete("gone", contents="cascade"))
    store.collections.delete("gone", contents="cascade")
    store.collections.delete("empty")


def _names(store: Any) -> None:
    with store.transaction(note="names"):
        for number, name in enumerate(NAMES):
            raw = name if isinstance(name, bytes) else name.encode()
            store.put(b"names/" + raw, "x" * (number % 5), type=f"t{number % 3}", tags=[f"g{number % 4}"])


def _values(store: Any) -> None:
    for number in (0, 1):
        store.indexes.declare(f"metadata.v{number}")
    given = [(f"values/{n:02}", b"%d" % n, {"metadata": {"v0": one, "n": n}}) for n, one in enumerate(VALUES)]
    store.put_many(given, status="final")
    store.artifacts.put_many([("values/none", b"none"), ("values/all", b"all", {"metadata": {"every": VALUES}})])
    store.indexes.declare("metadata.v0.deep.er")
    store.indexes.declare("metadata.dropped")
    store.indexes.drop("metadata.v1")
    store.artifacts.set_metadata("values/00", {"v0": 1e16, "more": "é"})


def _revisions(store: Any) -> None:
    for number in range(6):
        store.put("docs/a.md", f"text {number}, alpha\n" * (number + 1), metadata={"n": number}, message=f"m{number}")
    store.artifacts.put("docs/deep/b.md", "beta and alpha\nnaïve Straße\n", media_type="text/markdown", owner="Ada")
    store.artifacts.revert("docs/a.md", 2)
    store.put("docs/a.md", "alpha again\n", metadata={})
    store.artifacts.create("docs/large", bytes(range(256)) * 1200)
    store.create("docs/link", "a.md", media_type="inode/symlink", file=FileFacts(0o777, 9))
    store.artifacts.tag("docs/a.md", "é", "b", "a")
    store.artifacts.untag("docs/a.md", "b")
    store.artifacts.update("docs/a.md", type="note", status="draft", owner="Eve", note="why")


def _ties(store: Any) -> None:
    one, two = store.get("docs/a.md"), store.get("docs/deep/b.md")
    store.relationships.register_type("mirrors", family="structural", description="A copy of it: é.")
    first = store.relationships.relate(one, "derived_from", two, metadata={"v": -0.0, "w": 1e16}, tags=["t"])
    store.relationships.relate(two, "derived_from", "docs/large", owner="Eve")
    store.relationships.relate("docs/large", "mirrors", one.revision)
    store.relationships.relate(one, "supports", store.collections.get("docs"))
    store.relationships.relate(one, "supports", Endpoint("external", "https://example.org/é?a='b'"))
    store.relationships.relate("values/00", "supports", first)
    store.relationships.update(first, metadata={"v": None}, tags=["u", "é"])
    store.relationships.undelete(store.relationships.delete(first))
    store.relationships.delete(store.relationships.relate("values/01", "supports", "values/02"))


def _runs(store: Any) -> None:
    with store.runs.start("train", parameters={"rate": 1e16, "é": -0.0}, environment={"holdfast": "0"}) as run:
        run.input(store.get("docs/a.md").revision, role="data")
        with run.step("fit") as step:
            step.diagnose(loss=0.1)
        store.put("made/model", "by a run")
        run.output(store.collections.get("docs/deep"), role="é")
    with contextlib.suppress(ZeroDivisionError), store.runs.start("fails", tags=["x"]) as run:
        run.input("values/00")
        raise ZeroDivisionError("é")
    made = store.runs.create("by hand", inputs={"one": "made/model"}, metadata={"n": [1.0, 1]}, owner="Eve")
    store.runs.set_status(made, "processing")
    step = store.runs.add_step(made, "only")
    store.runs.set_step_status(step, "processing", diagnostics={"k": None})
    store.runs.link(made, "output", store.put("made/report", "of a run").artifact)
    store.runs.diagnose(made, {"warnings": 2**53 + 1})
    store.runs.update(made, tags=["é"])
    gone = store.runs.create("gone")
    store.runs.undelete(store.runs.delete(gone))
    store.runs.delete(gone)


def _moves(store: Any) -> None:
    store.artifacts.move("names/a b", "docs/deep")
    store.artifacts.rename("names/10", "ten")
    store.artifacts.move("names/9", "", name="nine")
    store.artifacts.delete("names/~", note="no more")
    store.artifacts.undelete(next(store.find(deleted=True, name="~")), name="tilde")
    store.artifacts.delete("names/_")
    store.put("names/_", "another of the same name")


def _losses(store: Any) -> None:
    store.artifacts.purge("docs/a.md", revisions=[1, 3])
    store.artifacts.purge(store.artifacts.delete("names/B"))
    with contextlib.suppress(ZeroDivisionError), store.transaction():
        store.put("never", "was")
        raise ZeroDivisionError
    with store.transaction(note="half"):
        store.put("half/kept", "1")
        with contextlib.suppress(ZeroDivisionError), store.transaction():
            store.put("half/not", "2")
            raise ZeroDivisionError
    store.gc(grace_s=0)


def _of_others(store: Any) -> None:
    store.outbox.create("made", start="now")
    store.outbox.consumer("made")


def _tenants(store: Any) -> None:
    for tenant in ("acme", "é works"):
        with store.for_tenant(tenant) as theirs:
            theirs.put("docs/a.md", f"of {tenant}, alpha", metadata={"v0": tenant}, tags=["t"])
            theirs.relationships.relate("docs/a.md", "derived_from", theirs.put("b", "beta").artifact)


def _settings(store: Any) -> None:
    store.configuration.set("lock_wait_s", 5)
    store.configuration.set("sync_within_s", 1)
    store.configuration.unset("sync_within_s")


def opened(make: Callable[[], Store], clock: FixedClock) -> Store:
    """A store that was made and filled."""
    with drawn():
        made = make()
        fill(Ticking(made, clock))
    return made

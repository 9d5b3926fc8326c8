"""What writers do while the kill lab waits for the moment to end them: every verb that changes a store, call by call.

Each call is announced to the parent before it is made and acknowledged after it returned, never earlier.
"""

from __future__ import annotations

import contextlib
import io
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.blobs.chunks import ChunkedBlobs
from holdfast.blobs.compress import Shape
from holdfast.care import rebuild
from holdfast.engine import content as contents
from holdfast.engine import handle
from holdfast.engine import open as opening
from holdfast.engine.pending import Keeper
from holdfast.engine.settings import Settings
from holdfast.exchange import folder as folders
from holdfast.index import sqlite
from holdfast.journal import Journal
from holdfast.store import Store
from holdfast.testing.kill_lab_books import Books, Fact, Intent, artifact, content, digest
from holdfast.values import moment
from holdfast.values.records import Endpoint

SEGMENT_BYTES, CHECKPOINT_BYTES, BATCH_ITEMS, IN_MEMORY_BYTES = 6_000, 120_000, 12, 4_096
SIZES = (30, 700, 2_000, 9_000)
SHARED = 4
ROUNDS = 12
SHAPE = Shape(frame_bytes=512, one_frame_max=2_048, workers=1)


def small_sizes() -> None:
    """In a process that will end: segments, checkpoints, batches and many frames come after a few kilobytes, and
    what waits for seconds does not wait long."""
    (Journal.__init__.__kwdefaults__ or {})["segment_bytes"] = SEGMENT_BYTES
    sqlite.CHECKPOINT_BYTES, folders.BATCH_ITEMS, contents.IN_MEMORY_BYTES = (
        CHECKPOINT_BYTES,
        BATCH_ITEMS,
        IN_MEMORY_BYTES,
    )
    handle.SYNC_EVERY_S, rebuild._PATIENCE_S = 0.02, 0.05  # noqa: SLF001


def draw_tx() -> str:
    """An id for a transaction."""
    return moment.draw_id(time.time_ns() // 1000)


@dataclass(slots=True)
class Bench:
    """Where one process works: `root` the store, `beside` a folder of its own, `name` what its records begin with.

    `say` reaches the parent; `doing` is told before each kind of work; `acknowledging` before a call is acknowledged.
    `rounds`: how long a job that could go on for ever does.
    """

    root: str
    beside: str
    name: str
    settings: Settings
    books: Books
    rnd: random.Random
    say: Callable[[list[Any]], None]
    doing: Callable[[str], None] = lambda _: None
    acknowledging: Callable[[], None] = lambda: None
    rounds: int = ROUNDS
    counter: int = 0

    def open(self, doing: str = "open") -> Store:
        """Open the store through the disk of the lab, with small frames; no packs unless the settings say so."""
        self.doing(doing)
        handle = opening.open_store(self.root, self.settings)
        handle.blobs = ChunkedBlobs(
            self.root, self.settings.disk, handle.index.physical, shape=SHAPE, pack_up_to=self.settings.pack_up_to
        )
        handle.keeper = Keeper(handle.blobs, handle.index, self.settings.disk)
        return Store(handle)

    def fresh(self, what: str) -> str:
        """A name that nobody has used."""
        self.counter += 1
        return f"{self.name}/{what} {self.counter}-{self.rnd.randrange(1 << 40):x}"

    def token(self) -> str:
        """Mostly a content of its own; sometimes one that other writers have too."""
        shared = self.rnd.random() < 0.15
        return f"shared {self.rnd.randrange(SHARED)}" if shared else self.fresh("content")

    @contextlib.contextmanager
    def call(
        self, doing: str, changes: dict[str, Fact], *, parts: list[list[str]] | None = None,
        again: dict[str, Any] | None = None,
    ) -> Iterator[dict[str, str]]:  # fmt: skip
        """The block is one call; it fills in the ids of what it made. All of `parts` (default: one) by itself."""
        self.doing(doing)
        ids: dict[str, str] = {}
        self.say(self.books.begin(Intent(doing, changes, [list(changes)] if parts is None else parts, again)))
        yield ids
        self.acknowledging()
        self.say(self.books.done(ids))
        self.doing("close")  # unless something else is begun, what comes now belongs to the end of the session

    def some(self, what: str, *, live: bool = True) -> str | None:
        """An artifact of this writer that a kind of call made; None if there is none."""
        start = f"artifact {self.name}/{what} "
        found = [k for k, fact in self.books.facts.items() if k.startswith(start) and fact["live"] is live]
        return self.rnd.choice(found) if found else None


def put(bench: Bench, store: Store) -> None:
    """A new artifact or a new revision, of bytes or of a stream."""
    known = bench.some("put") if bench.rnd.random() < 0.5 else None
    key = known or f"artifact {bench.fresh('put')}"
    path, token, size = key.partition(" ")[2], bench.token(), bench.rnd.choice(SIZES)
    said = {"metadata": {"turn": bench.rnd.randrange(3)}, "tags": sorted(bench.rnd.sample(["x", "y", "z"], 2))}
    again = {"how": "put", "path": path, "token": token, "size": size, "tx": draw_tx(), **said}
    data, before = content(token, size), bench.books.facts.get(key)
    fact = _after_put(before, digest(data), said)
    source: Any = io.BytesIO(data) if size > IN_MEMORY_BYTES else data
    if bench.rnd.random() < 0.5:
        store._handle.writer.meet()  # noqa: SLF001 - as if others had been met: what they wait for is made as well
    with bench.call("put", {key: fact}, again=again) as ids:
        ids[key] = store.put(path, source, tx=again["tx"], **said).artifact.id


def _after_put(before: Fact | None, wanted: str, said: dict[str, Any]) -> Fact:
    earlier = before["contents"] if before else []
    same = before is not None and earlier[-1:] == [wanted] and before["metadata"] == said["metadata"]
    return artifact(*earlier, *([] if same else [wanted]), metadata=said["metadata"], tags=tuple(said["tags"]))


def transaction(bench: Bench, store: Store) -> None:
    """Several artifacts and a relationship between two of them, all or nothing."""
    wanted = {bench.fresh("many"): content(bench.token(), bench.rnd.choice(SIZES[:3])) for _ in range(5)}
    label, tx = bench.fresh("relation"), draw_tx()
    changes: dict[str, Fact] = {f"artifact {path}": artifact(digest(data)) for path, data in wanted.items()}
    changes[f"relation {label}"] = {"live": True, "tags": []}
    with bench.call("transaction", changes, again={"how": "transaction", "tx": tx}) as ids:
        with store.transaction(id=tx):
            made = [store.put(path, data).artifact for path, data in wanted.items()]
            one = store.relationships.relate(made[0], "supports", made[1], metadata={"label": label})
        ids.update({f"artifact {a.path}": a.id for a in made} | {f"relation {label}": one.id})


def add(bench: Bench, store: Store) -> None:
    """A tree of files, in several batches; each batch is all or nothing."""
    into = bench.fresh("tree")
    tree = Path(bench.beside, into)
    tree.mkdir(parents=True)
    keys, changes = [], {}
    for number in range(bench.rnd.choice([4, 30])):
        data = content(bench.token(), bench.rnd.choice(SIZES[:3]))
        (tree / f"{number:02}").write_bytes(data)
        keys.append(f"artifact {into}/{number:02}")
        changes[keys[-1]] = artifact(digest(data))
    items = ["the folder itself", *keys]
    parts = [items[start : start + BATCH_ITEMS] for start in range(0, len(items), BATCH_ITEMS)]
    parts[0].pop(0)
    with bench.call("add", changes, parts=parts, again={"how": "add", "tree": str(tree), "into": bench.name}):
        store.add(tree, into=bench.name)


def history(bench: Bench, store: Store) -> None:
    """Delete, undelete, revert, rename of metadata; now and then purge, which gives up bytes."""
    key = bench.some("old")
    if key is None or bench.rnd.random() < 0.3:
        path, data = bench.fresh("old"), [content(bench.fresh("content"), 700) for _ in range(2)]
        key = f"artifact {path}"
        for number in (0, 1):
            fact = artifact(*map(digest, data[: number + 1]))
            with bench.call("put", {key: fact}) as ids:
                ids[key] = store.put(path, data[number]).artifact.id
    ref, before = f"id:{bench.books.ids[key]}", bench.books.facts[key]
    for verb in bench.rnd.sample(["delete", "revert", "metadata", "purge"], 4):
        _one_of_history(bench, store, verb, key=key, ref=ref)
        if not bench.books.facts[key]["live"]:
            break
    assert before is not None


def _one_of_history(bench: Bench, store: Store, verb: str, *, key: str, ref: str) -> None:
    fact = bench.books.facts[key]
    if verb == "delete":
        with bench.call("delete", {key: {**fact, "live": False}}):
            store.artifacts.delete(ref)
        with bench.call("undelete", {key: fact}):
            store.artifacts.undelete(ref)
    elif verb == "revert" and fact["contents"][0] is not None and fact["contents"][0] != fact["contents"][-1]:
        with bench.call(
            "revert", {key: {**fact, "contents": [*fact["contents"], fact["contents"][0]], "metadata": {}}}
        ):
            store.artifacts.revert(ref, 1)
    elif verb == "metadata":
        said = {"turn": bench.rnd.randrange(1 << 30)}
        with bench.call(
            "set metadata", {key: {**fact, "metadata": said, "contents": [*fact["contents"], fact["contents"][-1]]}}
        ):
            store.artifacts.set_metadata(ref, said)
    elif verb == "purge" and fact["contents"][0] is not None and bench.rnd.random() < 0.5:
        _purge(bench, store, key=key, ref=ref)


def _purge(bench: Bench, store: Store, *, key: str, ref: str) -> None:
    fact = bench.books.facts[key]
    with bench.call("delete", {key: {**fact, "live": False}}):
        store.artifacts.delete(ref)
    gone = {**fact, "live": False, "contents": [None] * len(fact["contents"])}
    with bench.call("purge", {key: gone}):
        store.artifacts.purge(ref)


def relations(bench: Bench, store: Store) -> None:
    """A relationship made, tagged, deleted and brought back."""
    label = bench.fresh("relation")
    key, path = f"relation {label}", bench.fresh("end")
    with bench.call("put", {f"artifact {path}": artifact(digest(b"end"))}) as ids:
        end = ids[f"artifact {path}"] = store.put(path, b"end").artifact.id
    again = {"how": "relate", "source": end, "label": label, "tx": draw_tx()}
    with bench.call("relate", {key: {"live": True, "tags": []}}, again=again) as ids:
        source, target = store.get(f"id:{end}"), Endpoint("external", label)
        one = store.relationships.relate(source, "supports", target, metadata={"label": label}, tx=again["tx"])
        ids[key] = one.id
    with bench.call("update relationship", {key: {"live": True, "tags": ["t"]}}):
        store.relationships.update(one, tags=["t"])
    with bench.call("delete relationship", {key: {"live": False, "tags": ["t"]}}):
        store.relationships.delete(one)
    with bench.call("undelete relationship", {key: {"live": True, "tags": ["t"]}}):
        store.relationships.undelete(one)


def runs(bench: Bench, store: Store) -> None:
    """A run with a step and an output, from pending to completed."""
    name = bench.fresh("run")
    key = f"run {name}"
    fact: Fact = {"status": "pending", "steps": [], "outputs": 0}
    again = {"how": "run", "name": name, "tx": draw_tx()}
    with bench.call("create run", {key: fact}, again=again) as ids:
        run = store.runs.create(name, tx=again["tx"])
        ids[key] = run.id
    path = bench.fresh("made by a run")
    with bench.call("put", {f"artifact {path}": artifact(digest(b"out"))}) as ids:
        made = store.put(path, b"out").artifact
        ids[f"artifact {path}"] = made.id
    calls: list[tuple[str, Fact, Callable[[], object]]] = [
        ("start run", {"status": "processing"}, lambda: store.runs.set_status(run.id, "processing")),
        ("add step", {"steps": [["load", "pending"]]}, lambda: store.runs.add_step(run.id, "load")),
        ("link output", {"outputs": 1}, lambda: store.runs.link(run.id, "output", made)),
        ("complete run", {"status": "completed", "steps": [["load", "cancelled"]]},
         lambda: store.runs.set_status(run.id, "completed")),
    ]  # fmt: skip
    for doing, news, make in calls:
        with bench.call(doing, {key: {**bench.books.facts[key], **news}}):
            make()


WRITERS: dict[str, Callable[[Bench, Store], None]] = {
    "put": put,
    "transaction": transaction,
    "add": add,
    "history": history,
    "relations": relations,
    "runs": runs,
}

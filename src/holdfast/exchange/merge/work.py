"""One merge, from the first type to the last delete: what has to be there comes before what refers to it."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.engine.recover import Progress
from holdfast.errors import MergeConflictError
from holdfast.exchange.merge.artifacts import Artifacts
from holdfast.exchange.merge.pins import Pins
from holdfast.exchange.merge.places import Places
from holdfast.exchange.merge.report import Item, Outcome, Policy, Wish
from holdfast.exchange.merge.scene import Scene
from holdfast.exchange.merge.target import emit
from holdfast.exchange.merge.ties import Ties
from holdfast.index.select.whole import Value
from holdfast.values.change import FOREIGN_CHAIN, ORIGIN, Body

_NAMED = 20


def merge(
    scene: Scene, wish: Wish, *, spare: frozenset[bytes] = frozenset(), progress: Progress | None = None
) -> None:  # fmt: skip
    """Make the changes that bring what theirs knows into ours. All of them, or MergeConflictError.

    A dry run goes on to the end: conflicts stand among the items. `wish.mirror`: what theirs has not is deleted, but
    for artifacts at the paths to `spare`, which an edit brought.
    Memory: some hundreds of bytes for each record that comes in, and for each collection of theirs.
    """
    work = _Work(scene, progress)
    work.take()
    if wish.mirror:
        work.mirror(spare)
    work.bury()
    conflicts = scene.account.conflicts
    if conflicts and not wish.dry_run:
        named = [f"{one.kind} {one.path or one.id}: {one.detail}" for one in conflicts[:_NAMED]]
        more = f" (and {len(conflicts) - 1} more)" if len(conflicts) > 1 else ""
        raise MergeConflictError(f"{named[0]}{more}", conflicts=named, count=len(conflicts))


class _Work:
    def __init__(self, scene: Scene, progress: Progress | None) -> None:
        self._scene = scene
        self._progress = progress
        self._places = Places(scene)
        pins = Pins(scene)
        self._artifacts = Artifacts(scene, self._places, pins)
        self._ties = Ties(scene, pins)
        self._done = 0

    def take(self) -> None:
        """Everything that theirs has."""
        for row in self._rows("relationship-types"):
            self._ties.type(row)
        for row in self._rows("runs"):
            self._ties.run(row)
        for row in self._rows("collections"):
            self._places.place(row["id"])
        # Those that were deleted first: a live one can have their name.
        for is_dead in (True, False):
            for row in self._rows("artifacts"):
                if ("deleted" in row) == is_dead:
                    self._artifact(row)
            self._artifacts.flush()
        for row in self._rows("relationships"):
            self._ties.relationship(row)
        self._ties.flush()
        for row in self._rows("steps"):
            self._ties.step(row)
        self._ties.flush()
        for row in self._rows("run-links"):
            self._ties.link(row)
        self._ties.flush()
        for one in self._scene.theirs.index.declared.all():
            if self._scene.theirs.takes(one.id):
                self._ties.declared(one)

    def _artifact(self, row: Value) -> None:
        if row["type"] != FOREIGN_CHAIN or self._scene.our_key(row["id"]) is not None:
            self._artifacts.take(row)
            return
        # Chains that theirs keeps: two stores may well keep one of the same.
        policy, self._scene.policy = self._scene.policy, Policy.RENAME
        self._artifacts.take(row)
        self._scene.policy = policy

    def _rows(self, what: str) -> Iterator[Value]:
        whole = self._scene.theirs.index.whole
        for first in whole.shards(what):
            for row in whole.rows(what, first):
                if self._scene.theirs.takes(row["run"] if what in ("steps", "run-links") else row["id"]):
                    yield row
                self._done += 1
                if self._progress and self._done % 500 == 0:
                    self._progress(self._done, None, "merging", "records")

    # -- deletes -------------------------------------------------------------------------------------------------------

    def bury(self) -> None:
        """The deletes that came in, for records that were here: a collection only if nothing live is left in it."""
        buried = self._scene.buried
        folders = sorted((one for one, (kind, *_) in buried.items() if kind == "collection"), key=self._depth)
        for one in reversed(folders):
            left = [found for found in self._inside(one) if found[1] not in buried]
            if left and not self._empty(one, left):
                del buried[one]
        order = sorted(buried, key=lambda one: (buried[one][0] != "collection", self._depth(one)))
        first = [one for one in order if buried[one][1] not in buried]
        self._delete(first, with_cause=False)
        self._delete([one for one in order if buried[one][1] in buried], with_cause=True)

    def _depth(self, record_id: str) -> int:
        index, depth = self._scene.index, 0
        key = index.key_of(record_id)
        while key is not None and depth < 1 << 20:
            key, depth = index.collections.parent_of(key) if self._is_folder(key) else None, depth + 1
        return depth

    def _is_folder(self, key: int) -> bool:
        return self._scene.index.collections.by_key(key) is not None

    def _inside(self, collection: str) -> list[tuple[str, str]]:
        index = self._scene.index
        key = index.key_of(collection)
        assert key is not None
        inner = [("collection", one.id) for _, one in index.collections.children(key)]
        keys = list(index.collections.artifact_keys(key))
        return inner + [("artifact", one) for one in index.lookups.ids(keys).values()]

    def _empty(self, collection: str, left: list[tuple[str, str]]) -> bool:
        """Whether a collection goes although ours has something in it that theirs does not know."""
        scene = self._scene
        decided = scene.decide(lambda: False)
        if decided is Policy.THEIRS:
            for kind, one in left:
                cause = scene.buried[collection][1] or collection
                scene.buried[one] = kind, cause, {}
                if kind == "collection":
                    self._empty(one, [found for found in self._inside(one) if found[1] not in scene.buried])
            return True
        key = scene.index.key_of(collection)
        path = "" if key is None else scene.index.lookups.paths([key])[key]
        outcome = {Policy.FAIL: Outcome.CONFLICT, Policy.SKIP: Outcome.SKIPPED}.get(decided, Outcome.KEPT)
        detail = "theirs deleted it; ours has more in it"
        scene.account.add(Item("collection", collection, path, outcome, detail))
        return False

    def _delete(self, ids: list[str], *, with_cause: bool) -> None:
        scene = self._scene
        bodies: list[Body] = []
        for one in ids:
            kind, cause, origin = scene.buried[one]
            body: Body = {"kind": kind, "action": "delete", "id": one, **({ORIGIN: origin} if origin else {})}
            bodies.append(body | ({"cause": cause} if with_cause else {}))
            scene.account.add(Item(kind, one, self._path(kind, one), Outcome.DELETED))
        # A cause is deleted before what goes along with it: one after the other, where they follow from each other.
        emit(scene.target, [[body] for body in bodies])

    def _path(self, kind: str, record_id: str) -> str:
        index = self._scene.index
        if kind == "artifact":
            found = index.artifacts.by_id(record_id)
            return "" if found is None else found.path
        place = index.collections.by_id(record_id) if kind == "collection" else None
        return "" if place is None else place.path

    # -- mirror --------------------------------------------------------------------------------------------------------

    def mirror(self, spare: frozenset[bytes]) -> None:
        """What ours has and theirs has not is deleted, so that the same is live in both."""
        scene = self._scene
        standing_in = set(scene.united.values())
        for what in ("collections", "artifacts", "relationships", "runs"):
            for first in scene.index.whole.shards(what):
                for row in list(scene.index.whole.rows(what, first)):
                    if "deleted" in row or row["id"] in standing_in or row["seq"] >= scene.target.first_new:
                        continue
                    if row.get("type") == FOREIGN_CHAIN or (what == "collections" and self._keeps_chains(row)):
                        continue
                    if not self._is_live_there(row["id"]) and not self._is_spared(row, spare):
                        scene.buried.setdefault(row["id"], (row["kind"], "", {}))

    def _is_spared(self, row: Value, spare: frozenset[bytes]) -> bool:
        """Whether a new file in the tree is in its place, or below it."""
        if not spare or row["kind"] not in ("artifact", "collection"):
            return False
        index, record_id = self._scene.index, row["id"]
        found = index.artifacts.by_id(record_id) if row["kind"] == "artifact" else index.collections.by_id(record_id)
        path = b"" if found is None else found.path_bytes
        return path in spare or any(one.startswith(path + b"/") for one in spare)

    def _keeps_chains(self, row: Value) -> bool:
        """The root, and the collections that hold chains of other stores."""
        if "parent" not in row:
            return True
        key = row["seq"]
        below = [key, *self._scene.index.collections.below(key)]
        keys = [one for folder in below for one in self._scene.index.collections.artifact_keys(folder)]
        found = self._scene.index.artifacts.many_by_key(keys).values()
        return any(one.type == FOREIGN_CHAIN for one in found)

    def _is_live_there(self, record_id: str) -> bool:
        index = self._scene.theirs.index
        key = index.key_of(record_id)
        if key is None:
            return False
        kinds = ("artifacts", "collections", "relationships", "runs")
        rows = (next(index.whole.beside(what, "key", key), None) for what in kinds)
        return any(row is not None and "deleted" not in row for row in rows)

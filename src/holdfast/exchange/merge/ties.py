"""What stands between records: types of relationships, relationships, runs with steps and links."""

from __future__ import annotations

from typing import Any

from holdfast.exchange.merge.pins import Pins
from holdfast.exchange.merge.report import Outcome, Policy
from holdfast.exchange.merge.scene import Scene, pairs_of
from holdfast.exchange.merge.target import emit
from holdfast.index.select.whole import Value
from holdfast.kinds.indexes import MOST
from holdfast.values.change import ORIGIN, Body
from holdfast.values.records import Direction, Endpoint, MetadataIndex

_TOGETHER = 500
_COMMON: dict[str, Any] = {"tags": [], "owner": ""}
_FIELDS: dict[str, dict[str, Any]] = {
    "relationship": {"type": "", "metadata": {}, **_COMMON},
    "run": {
        "name": "", "status": "", "parameters": {}, "environment": {}, "diagnostics": {}, "metadata": {}, "reason": "",
        "started": None, "ended": None, **_COMMON,
    },
    "step": {"name": "", "status": "", "started": None, "ended": None, "diagnostics": {}},
}  # fmt: skip
_PARTS = {"relationship": "relationships", "run": "runs", "step": "steps"}


class Ties:
    """Takes in what refers to other records. Records that it refers to have to be there, or to stay out."""

    def __init__(self, scene: Scene, pins: Pins) -> None:
        self._scene = scene
        self._pins = pins
        self._waiting: list[list[Body]] = []

    def flush(self) -> None:
        """Make the changes that wait to be made together."""
        waiting, self._waiting = self._waiting, []
        emit(self._scene.target, waiting)

    def type(self, row: Value) -> None:
        """A type that was added to the vocabulary: one word means one thing."""
        scene = self._scene
        known = {name: family for name, family, *_ in scene.index.relationships.types()}
        if row["name"] not in known:
            new = {name: row.get(name, "") for name in ("name", "family", "description")}
            body = {"kind": row["kind"], "action": "create", "id": row["id"], "new": new}
            emit(scene.target, [scene.finished(row, [body])])
            scene.say(row, Outcome.ADDED)
        elif known[row["name"]] != row["family"] and scene.policy is Policy.FAIL:
            scene.say(row, Outcome.CONFLICT, detail="ours has the word in another family")
        else:
            scene.say(row, Outcome.SAME)

    def declared(self, one: MetadataIndex) -> None:
        """An index on metadata, unless ours has one on the field, or has dropped this very one."""
        scene = self._scene
        row = {"kind": "metadata-index", "id": one.id, "name": one.field}
        ours = {index.field for index in scene.index.declared.all()}
        key = scene.theirs.index.key_of(one.id)
        if key is None or one.field in ours or scene.our_key(one.id) is not None:
            scene.say(row, Outcome.SAME)
        elif len(ours) >= MOST:
            scene.say(row, Outcome.SKIPPED, detail=f"ours has {len(ours)} declared indexes, and no store can have more")
        else:
            body = {"kind": row["kind"], "action": "create", "id": one.id, "new": {"field": one.field}}
            emit(scene.target, [[{**body, ORIGIN: scene.there.origin(key)}]])
            scene.say(row, Outcome.ADDED)

    # -- relationships -------------------------------------------------------------------------------------------------

    def relationship(self, row: Value) -> None:
        """One relationship, between what stands here for its ends."""
        scene = self._scene
        key = scene.our_key(row["id"])
        if key is not None:
            self._existing(row, key)
            return
        if any(end["kind"] == "relationship" for end in (row["source"], row["target"])):
            self.flush()
        ends = {side: self._end(row[side]) for side in ("source", "target")}
        if None in ends.values():
            scene.leave_out(row, Outcome.SKIPPED, path=row["type"], detail="an end of it is not here")
            return
        if "deleted" not in row and self._is_there(row["type"], ends):
            scene.say(row, Outcome.SAME, path=row["type"])
            return
        new = {**_given(row, "relationship"), **ends}
        body: Body = {"kind": "relationship", "action": "create", "id": row["id"], "new": new}
        self._queue(row, [{**body, ORIGIN: scene.there.origin(row["seq"])}])
        scene.say(row, Outcome.ADDED, path=row["type"])

    def _is_there(self, word: str, ends: dict[str, Any]) -> bool:
        source, target = (Endpoint(**ends[side]) for side in ("source", "target"))
        return self._scene.index.relationships.equal(word, source, target) is not None

    def _end(self, end: Value) -> Value | None:
        """What stands here for an end; None if nothing does."""
        scene = self._scene
        if end["kind"] == "external":
            return end
        ours = scene.stands_for(end["id"])
        if end["id"] in scene.out or scene.index.key_of(ours) is None:
            return None
        if end.get("revision") is None:
            return {**end, "id": ours}
        pinned = self._pins.find(end["id"], end["revision"])
        return None if pinned is None else {**end, "id": pinned[0], "revision": pinned[1]}

    def _queue(self, row: Value, bodies: list[Body]) -> None:
        scene = self._scene
        if "deleted" in row:
            bodies.append(scene.delete(row))
        self._waiting.append(scene.finished(row, bodies))
        if len(self._waiting) >= _TOGETHER:
            self.flush()

    def _existing(self, row: Value, key: int) -> None:
        """A relationship, run or step that is here: theirs counts, unless ours did something of its own."""
        scene, kind = self._scene, row["kind"]
        if row["changed"] < scene.theirs.base:
            scene.say(row, Outcome.SAME)
            return
        self.flush()
        mine = next(scene.index.whole.beside(_PARTS[kind], "key", key), None)
        if mine is None:
            scene.leave_out(row, Outcome.CONFLICT, detail="its id is that of another kind of record here")
            return
        standing = scene.standing(row["id"], key)
        pairs = pairs_of(mine, row, _FIELDS[kind])
        gone = ("deleted" in row, "deleted" in mine)
        if not standing.fresh or (not pairs and gone[0] == gone[1]):
            scene.say(row, Outcome.SAME)
            return
        if standing.own:
            decided = scene.decide(lambda: scene.is_newer(row, key))
            if decided is not Policy.THEIRS:
                outcome = {Policy.FAIL: Outcome.CONFLICT, Policy.SKIP: Outcome.SKIPPED}.get(decided, Outcome.KEPT)
                scene.say(row, outcome, detail="both changed it")
                return
        bodies: list[Body] = []
        if pairs:
            bodies.append({"kind": kind, "action": "update", "id": row["id"], "set": pairs})
        if gone == (True, False):
            bodies.append(scene.delete(row))
        elif gone == (False, True):
            bodies.append({"kind": kind, "action": "undelete", "id": row["id"]})
        emit(scene.target, [scene.finished(row, bodies)])
        scene.say(row, Outcome.DELETED if gone == (True, False) else Outcome.CHANGED, detail=", ".join(sorted(pairs)))

    # -- runs ----------------------------------------------------------------------------------------------------------

    def run(self, row: Value) -> None:
        """One run by itself: revisions name it, so it comes before them."""
        scene = self._scene
        key = scene.our_key(row["id"])
        if key is not None:
            self._existing(row, key)
            return
        body: Body = {"kind": "run", "action": "create", "id": row["id"], "new": _given(row, "run")}
        within = scene.there.at(row["seq"])
        made_in = within[1].get("run") if within is not None else None
        if made_in is not None and scene.our_key(made_in) is not None:
            body["run"] = made_in
        self._queue(row, [{**body, ORIGIN: scene.there.origin(row["seq"])}])
        self.flush()
        scene.say(row, Outcome.ADDED)

    def step(self, row: Value) -> None:
        """A step of a run; behind ours if both added one."""
        scene = self._scene
        run = scene.our_key(row["run"])
        key = scene.our_key(row["id"])
        if key is not None:
            self._existing({**row, "name": row.get("name", "")}, key)
            return
        if run is None or row["run"] in scene.out:
            scene.leave_out(row, Outcome.SKIPPED, detail="its run is not here")
            return
        self.flush()
        taken = {one["number"] for one in scene.index.whole.beside("steps", "run", run)}
        number = row["number"] if row["number"] not in taken else max(taken) + 1
        new = {"run": row["run"], "number": number, **_given(row, "step")}
        body: Body = {"kind": "step", "action": "create", "id": row["id"], "new": new}
        self._queue(row, [{**body, ORIGIN: scene.there.origin(row["seq"])}])
        scene.say(row, Outcome.ADDED)

    def link(self, row: Value) -> None:
        """What went into a run, or came out of it."""
        scene = self._scene
        key = scene.our_key(row["run"])
        if key is None or row["run"] in scene.out or row["seq"] < scene.theirs.base:
            return
        target = self._end(row["target"])
        shown = {"kind": "run-link", "id": row["run"], "name": row["target"]["id"]}
        if target is None:
            scene.say(shown, Outcome.SKIPPED, detail="what it names is not here")
            return
        end, role = Endpoint(**target), row.get("role", "")
        if key < scene.target.first_new and scene.index.runs.has_link(key, Direction(row["direction"]), end, role=role):
            return
        new = {"direction": row["direction"], "role": role, "target": target}
        body: Body = {"kind": "run", "action": "link", "id": row["run"], "new": new}
        self._waiting.append([{**body, ORIGIN: scene.there.origin(row["seq"])}])
        if len(self._waiting) >= _TOGETHER:
            self.flush()


def _given(row: Value, kind: str) -> Body:
    return {name: row[name] for name in (*_FIELDS[kind], "tenant") if row.get(name) not in (None, "", [], {})}

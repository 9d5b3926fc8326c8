"""Collections: those with one path become one; others come in with their ids, each after the one that it lies in."""

from __future__ import annotations

from holdfast.exchange.merge.report import Outcome, Policy
from holdfast.exchange.merge.scene import Scene, name_of, pairs_of
from holdfast.exchange.merge.target import emit
from holdfast.index.select.whole import Value
from holdfast.kinds.collections import name_change, name_fields
from holdfast.values.change import ORIGIN, Body
from holdfast.values.names import Name

_SAID = {"metadata": {}, "tags": [], "owner": ""}
_FIELDS = {**_SAID, "mode": None, "mtime_ns": None}


class Places:
    """Knows, and makes, the collection of ours for each of theirs."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._placed: dict[str, str | None] = {}

    def place(self, their_id: str) -> str | None:
        """Id of our collection for one of theirs; None if it stays out."""
        if their_id in self._placed:
            return self._placed[their_id]
        waiting: list[Value] = []
        at: str | None = their_id
        while at is not None and at not in self._placed:
            row = self._scene.theirs.index.whole.one("collections", at)
            assert row is not None
            waiting.append(row)
            at = row.get("parent")
        for row in reversed(waiting):
            self._placed[row["id"]] = self._one(row)
        return self._placed[their_id]

    def _one(self, row: Value) -> str | None:
        scene = self._scene
        if "parent" not in row:
            return self._root(row)
        up = self._placed[row["parent"]]
        if up is None:
            scene.leave_out(row, Outcome.SKIPPED, detail="the collection that holds it stays out")
            return None
        ours = scene.stands_for(row["id"])
        key = scene.index.key_of(ours)
        if key is None:
            return self._new(row, up)
        if row["id"] not in scene.united and row["changed"] >= scene.theirs.base:
            self._existing(row, key, up)
        else:
            scene.say(row, Outcome.SAME)
        return ours

    def _root(self, row: Value) -> str:
        scene = self._scene
        key = scene.index.collections.root(row.get("tenant", ""))
        if key is None:
            new = {**name_fields(name_of(row)), **_given(row)}
            self._emit(row, [{"kind": "collection", "action": "create", "id": row["id"], "new": new}])
            return str(row["id"])
        found = scene.index.lookups.ids([key])[key]
        if found != row["id"]:
            scene.united[row["id"]] = found
        return found

    def _emit(self, row: Value, bodies: list[Body]) -> None:
        emit(self._scene.target, [self._scene.finished(row, bodies)])

    # -- new ---------------------------------------------------------------------------------------------------------

    def _new(self, row: Value, up: str) -> str | None:
        scene, name = self._scene, name_of(row)
        if "deleted" not in row and not self.alive(up):
            scene.leave_out(row, self._refusal(), path=name.text, detail="the collection that holds it was deleted")
            return None
        parent = scene.index.key_of(up)
        assert parent is not None
        holder = scene.holder(parent, name) if parent < scene.target.first_new else None
        if "deleted" in row:
            if holder is not None:
                name = scene.free(parent, name, row["parent"])
            self._create(row, up, name)
            emit(scene.target, [[scene.delete(row)]])
            return str(row["id"])
        if holder is not None:
            if holder[0] == "collection":
                return self._unite(row, holder[1], scene.path(up, name))
            taken = scene.decide(lambda: True)
            if taken in (Policy.FAIL, Policy.SKIP):
                scene.leave_out(row, self._refusal(), path=scene.path(up, name), detail="an artifact has its name")
                return None
            name = scene.free(parent, name, row["parent"])
        self._create(row, up, name)
        outcome = Outcome.ADDED if name == name_of(row) else Outcome.RENAMED
        scene.say(row, outcome, path=scene.path(up, name))
        return str(row["id"])

    def _refusal(self) -> Outcome:
        return Outcome.CONFLICT if self._scene.policy is Policy.FAIL else Outcome.SKIPPED

    def _create(self, row: Value, up: str, name: Name) -> None:
        new = {"parent": up, **name_fields(name), **_given(row)}
        body: Body = {"kind": "collection", "action": "create", "id": row["id"], "new": new}
        body[ORIGIN] = self._scene.there.origin(row["seq"])
        self._emit(row, [body])

    def _unite(self, row: Value, key: int, path: str) -> str:
        """Two collections with one path: what is said of theirs counts only if it says something else than ours."""
        scene = self._scene
        mine = next(scene.index.whole.beside("collections", "key", key))
        scene.united[row["id"]] = mine["id"]
        said = {field: value for field, value in _SAID.items() if row.get(field, value) != value}
        pairs = pairs_of(mine, row, said)
        if pairs and any(old not in ({}, [], "") for old, _ in pairs.values()):
            decided = scene.decide(lambda: scene.is_newer(row, key))
            if decided is Policy.FAIL:
                scene.say(row, Outcome.CONFLICT, path=path, detail=f"{', '.join(pairs)} differ")
            if decided is not Policy.THEIRS:
                pairs = {}
        if pairs:
            self._emit(row, [{"kind": "collection", "action": "update", "id": mine["id"], "set": pairs}])
        scene.say(row, Outcome.UNITED, path=path)
        return str(mine["id"])

    # -- here already ------------------------------------------------------------------------------------------------

    def _existing(self, row: Value, key: int, up: str) -> None:
        scene = self._scene
        standing = scene.standing(row["id"], key)
        mine = next(scene.index.whole.beside("collections", "key", key))
        path = scene.path(mine.get("parent", ""), name_of(mine))
        if not standing.fresh:
            scene.say(row, Outcome.SAME, path=path)
            return
        wanted = {**row, "parent": up}
        differs = pairs_of(mine, wanted, {**_FIELDS, "parent": "", "name": "", "name_hex": ""})
        gone = ("deleted" in row, "deleted" in mine)
        if not differs and gone[0] == gone[1]:
            scene.say(row, Outcome.SAME, path=path)
            return
        if standing.own:
            decided = scene.decide(lambda: scene.is_newer(row, key))
            if decided is not Policy.THEIRS:
                outcome = {Policy.FAIL: Outcome.CONFLICT, Policy.SKIP: Outcome.SKIPPED}.get(decided, Outcome.KEPT)
                scene.say(row, outcome, path=path, detail="both changed it")
                return
        if gone == (True, False):
            scene.buried[row["id"]] = "collection", scene.cause(row), scene.there.origin(row["changed"])
            return
        if gone == (False, True) and not self._raise(row["id"]):
            scene.say(row, self._refusal(), path=path, detail="the collection that holds it was deleted")
            return
        self._set(row, mine, pairs_of(mine, wanted, _FIELDS) | self._moved(mine, wanted, key))

    def _set(self, row: Value, mine: Value, pairs: dict[str, list[object]]) -> None:
        # Without a field too: the change says up to where theirs was merged.
        self._emit(row, [{"kind": "collection", "action": "update", "id": mine["id"], "set": pairs}])
        found = self._scene.index.whole.one("collections", mine["id"]) or mine
        path = self._scene.path(found.get("parent", ""), name_of(found))
        self._scene.say(row, Outcome.CHANGED, path=path, detail=", ".join(sorted(pairs)))

    def _moved(self, mine: Value, wanted: Value, key: int) -> dict[str, list[object]]:
        """A new place or name; where that is taken, or would lead into itself, ours stays where it is."""
        scene, old, new = self._scene, name_of(mine), name_of(wanted)
        up = scene.index.key_of(wanted["parent"])
        assert up is not None
        if (mine.get("parent"), old) == (wanted["parent"], new):
            return {}
        inside = up == key or up in scene.index.collections.below(key)
        if inside or not self.alive(wanted["parent"]):
            scene.say(wanted, self._refusal(), path=old.text, detail="it cannot be moved to where theirs is")
            return {}
        if scene.holder(up, new) is not None:
            if scene.policy in (Policy.FAIL, Policy.SKIP):
                scene.say(wanted, self._refusal(), path=scene.path(wanted["parent"], new), detail="its name is taken")
                return {}
            new = scene.free(up, new, "")
        moved = {} if mine.get("parent") == wanted["parent"] else {"parent": [mine.get("parent"), wanted["parent"]]}
        return {**moved, **(name_change(old, new) if new != old else {})}

    def alive(self, ours: str) -> bool:
        """Whether something live can lie in a collection of ours; a deleted one comes back if the policy says so."""
        key = self._scene.index.key_of(ours)
        if key is None:
            return False
        return not self._scene.index.collections.deleted_seq(key) or self._raise(ours)

    def _raise(self, ours: str) -> bool:
        """Bring back a collection with those that it lies in, unless ours wins: then False."""
        scene = self._scene
        if scene.policy in (Policy.FAIL, Policy.SKIP, Policy.OURS) and not self._undeleted_there(ours):
            return False
        index = scene.index
        waiting: list[int] = []
        key = index.key_of(ours)
        while key is not None and index.collections.deleted_seq(key):
            waiting.append(key)
            key = index.collections.parent_of(key)
        for one in reversed(waiting):
            mine = next(index.whole.beside("collections", "key", one))
            parent, name = index.collections.parent_of(one), name_of(mine)
            assert parent is not None
            new = name if scene.holder(parent, name) is None else scene.free(parent, name, "")
            body: Body = {"kind": "collection", "action": "undelete", "id": mine["id"]}
            scene.target.change_all([body | ({"set": name_change(name, new)} if new != name else {})])
        return True

    def _undeleted_there(self, ours: str) -> bool:
        """Whether it is theirs that brought it back, and ours did nothing since."""
        scene = self._scene
        key, there = scene.index.key_of(ours), scene.theirs.index.key_of(ours)
        if key is None or there is None or scene.theirs.index.collections.deleted_seq(there):
            return False
        standing = scene.standing(ours, key)
        return bool(standing.fresh) and not standing.own


def _given(row: Value) -> dict[str, object]:
    return {field: row[field] for field in (*_FIELDS, "tenant") if row.get(field) not in (None, "", [], {})}

"""Artifacts with their revisions: new ones whole, known ones by what is new in theirs; conflicts as the policy says."""

from __future__ import annotations

import itertools

from holdfast.exchange.merge.pins import Pins, newest_of, number_of, shown_by
from holdfast.exchange.merge.places import Places
from holdfast.exchange.merge.report import Outcome, Policy
from holdfast.exchange.merge.scene import Scene, name_of, pairs_of
from holdfast.exchange.merge.target import emit
from holdfast.index.select.whole import Value
from holdfast.kinds.collections import name_change, name_fields
from holdfast.values import moment
from holdfast.values.change import ORIGIN, Body
from holdfast.values.names import Name

_TOGETHER = 500
_SAID = {"type": "", "status": "", "tags": [], "owner": ""}
_OF_REVISION = ("digest", "size", "media_type", "metadata", "message", "source", "mode", "mtime_ns")


class Artifacts:
    """Takes artifacts in, in the order in which they are given."""

    def __init__(self, scene: Scene, places: Places, pins: Pins) -> None:
        self._scene = scene
        self._places = places
        self._pins = pins
        self._waiting: list[tuple[list[Body], dict[str, int]]] = []
        self._names: set[tuple[str, Name]] = set()

    def take(self, row: Value) -> None:
        """One artifact of theirs."""
        scene = self._scene
        key = scene.our_key(row["id"])
        if key is None:
            self._new(row)
        elif row["changed"] < scene.theirs.base:
            scene.say(row, Outcome.SAME)
        else:
            self.flush()
            self._existing(row, key)

    def flush(self) -> None:
        """Make the changes that wait to be made together."""
        waiting, self._waiting = self._waiting, []
        self._names.clear()
        needed: dict[str, int] = {}
        for _, contents in waiting:
            needed |= contents
        self._scene.target.bring(needed)
        emit(self._scene.target, [bodies for bodies, _ in waiting])

    # -- new ---------------------------------------------------------------------------------------------------------

    def _new(self, row: Value) -> None:
        scene, name = self._scene, name_of(row)
        up = self._places.place(row["collection"])
        dead = "deleted" in row
        if up is None or (not dead and not self._places.alive(up)):
            is_conflict = up is not None and scene.policy is Policy.FAIL
            outcome = Outcome.CONFLICT if is_conflict else Outcome.SKIPPED
            scene.leave_out(row, outcome, detail="the collection that holds it stays out, or was deleted")
            return
        parent = scene.index.key_of(up)
        assert parent is not None
        holder = scene.holder(parent, name) if parent < scene.target.first_new else None
        if holder is not None and dead:
            name = scene.free(parent, name, row["collection"])
        elif holder is not None:
            self.flush()
            self._clash(row, up, holder)
            return
        self._whole(row, row["id"], up, name)
        scene.say(row, Outcome.ADDED, path=scene.path(up, name), detail="deleted" if dead else "")

    def _whole(self, row: Value, ours: str, up: str, name: Name) -> None:
        """The artifact with all its revisions, as new changes; an id of its own if `ours` is another one."""
        scene = self._scene
        if (up, name) in self._names:  # one that is deleted, but is not yet
            self.flush()
        self._names.add((up, name))
        revisions = self._pins.revisions(row["id"])
        new = {"collection": up, **name_fields(name), **_given(row), "revision": _fields(revisions[0])}
        bodies = [self._body(ours, "create", {"new": new}, revisions[0])]
        for before, one in itertools.pairwise(revisions):
            new = {"number": one["number"], "revision": _fields(one)}
            bodies.append(self._body(ours, "revise", {"previous": before["digest"], "new": new}, one))
        bodies += self._states(ours, revisions, {one["seq"]: one["number"] for one in revisions}, row)
        if "deleted" in row:
            bodies.append({**scene.delete(row), "id": ours})
        self._waiting.append((scene.finished(row, bodies), _contents(revisions)))
        if len(self._waiting) >= _TOGETHER:
            self.flush()

    def _body(self, ours: str, action: str, fields: Body, revision: Value) -> Body:
        run = revision.get("run")
        known = run is not None and self._scene.our_key(run) is not None
        origin = self._scene.there.origin(revision["seq"])
        more = {"run": run} if known else {}
        return {"kind": "artifact", "action": action, "id": ours, **fields, **more, ORIGIN: origin}

    def _states(self, ours: str, revisions: list[Value], numbers: dict[int, int], row: Value) -> list[Body]:
        """What revisions lost: bytes that were given up, or that were taken back."""
        found: list[Body] = []
        origin = self._scene.there.origin(row["changed"])
        gone = {state: [numbers[one["seq"]] for one in revisions if one["state"] == state]
                for state in ("purged", "withdrawn")}  # fmt: skip
        if gone["purged"]:
            found.append({"kind": "artifact", "action": "purge", "id": ours, "revisions": gone["purged"]})
        if gone["withdrawn"]:
            newest = numbers.get(row["newest"])
            body: Body = {"kind": "artifact", "action": "withdraw", "id": ours, "revisions": gone["withdrawn"]}
            found.append(body | ({"newest": newest} if newest else {}))
        return [{**body, ORIGIN: origin} for body in found]

    # -- two artifacts with one name ---------------------------------------------------------------------------------

    def _clash(self, row: Value, up: str, holder: tuple[str, int]) -> None:
        scene, name = self._scene, name_of(row)
        path = scene.path(up, name)
        if holder[0] == "artifact" and self._is_held(row, holder[1]):
            scene.say(row, Outcome.UNITED, path=path, detail="the same content")
            return
        decided = scene.decide(lambda: scene.is_newer(row, holder[1]))
        if decided in (Policy.FAIL, Policy.SKIP):
            outcome = Outcome.CONFLICT if decided is Policy.FAIL else Outcome.SKIPPED
            scene.leave_out(row, outcome, path=path, detail=f"another {holder[0]} has its name")
        elif decided is Policy.RENAME or holder[0] == "collection":
            parent = scene.index.key_of(up)
            assert parent is not None
            new = scene.free(parent, name, row["collection"])
            self._whole(row, row["id"], up, new)
            self.flush()
            scene.say(row, Outcome.RENAMED, path=scene.path(up, new), detail=f"another {holder[0]} has its name")
        else:
            mine = next(scene.index.whole.beside("artifacts", "key", holder[1]))
            scene.united[row["id"]] = mine["id"]
            self._grow(row, mine, self._pins.revisions(row["id"]), decided)
            outcome = Outcome.UNITED if decided is Policy.THEIRS else Outcome.KEPT
            scene.say(row, outcome, path=path, detail="both have it; the other's revisions are in its history")

    def _is_held(self, row: Value, key: int) -> bool:
        """Whether ours has every revision of theirs, and the same newest: then it stands for theirs as it is."""
        scene = self._scene
        ours = next(scene.index.whole.beside("artifacts", "key", key))
        mine = sorted(scene.index.whole.beside("revisions", "artifact", key), key=number_of)
        held = {shown_by(one): one for one in mine}
        theirs = self._pins.revisions(row["id"])
        is_newest = shown_by(newest_of(row, theirs)) == shown_by(newest_of(ours, mine))
        if any(shown_by(one) not in held for one in theirs) or not is_newest or pairs_of(ours, row, _SAID):
            return False
        # The change says up to where theirs is known, so that a later one of theirs is no conflict.
        body: Body = {"kind": "artifact", "action": "update", "id": ours["id"], "set": {}}
        emit(scene.target, [scene.finished(row, [body])])
        self._scene.united[row["id"]] = ours["id"]
        self._scene.pins[row["id"]] = {one["number"]: (ours["id"], held[shown_by(one)]["number"]) for one in theirs}
        return True

    # -- here already ------------------------------------------------------------------------------------------------

    def _existing(self, row: Value, key: int) -> None:
        scene = self._scene
        mine = next(scene.index.whole.beside("artifacts", "key", key), None)
        if mine is None:
            scene.leave_out(row, Outcome.CONFLICT, detail="its id is that of another kind of record here")
            return
        standing = scene.standing(row["id"], key)
        if not standing.fresh:
            scene.say(row, Outcome.SAME)
            return
        path = scene.path(mine["collection"], name_of(mine))
        revisions = self._pins.revisions(row["id"])
        fresh = [one for one in revisions if one["seq"] in standing.fresh]
        decided = Policy.THEIRS
        if standing.own and not self._alike(row, mine, key, revisions):
            decided = scene.decide(lambda: scene.is_newer(row, key))
            if decided in (Policy.FAIL, Policy.SKIP):
                outcome = Outcome.CONFLICT if decided is Policy.FAIL else Outcome.SKIPPED
                scene.say(row, outcome, path=path, detail="both changed it")
                return
            if decided is Policy.RENAME:
                self._beside(row, mine, fresh)
                return
        self._grow(row, mine, fresh, decided)
        if decided is Policy.OURS:
            scene.say(row, Outcome.KEPT, path=path, detail="both changed it; ours is newest")
        else:
            self._settle(row, mine)

    def _alike(self, row: Value, mine: Value, key: int, revisions: list[Value]) -> bool:
        """Whether both came to the same."""
        ours = newest_of(mine, list(self._scene.index.whole.beside("revisions", "artifact", key)))
        up = self._scene.stands_for(row["collection"])
        is_there = (mine["collection"], name_of(mine)) == (up, name_of(row))
        is_gone = ("deleted" in row) == ("deleted" in mine)
        same = shown_by(ours) == shown_by(newest_of(row, revisions))
        return is_there and is_gone and same and not pairs_of(mine, row, _SAID)

    def _beside(self, row: Value, mine: Value, fresh: list[Value]) -> None:
        """Theirs as an artifact of its own, since one id cannot stand for both."""
        scene = self._scene
        if "deleted" in row or not fresh or "deleted" in mine:
            scene.say(row, Outcome.KEPT, path=name_of(mine).text, detail="both changed it; ours stays as it is")
            return
        up = scene.index.key_of(mine["collection"])
        assert up is not None
        name, copy = scene.free(up, name_of(row), row["collection"]), moment.draw_id(scene.target.now_us)
        self._whole(row, copy, mine["collection"], name)
        self.flush()
        self._pins.note(row["id"], {one["number"]: (copy, one["number"]) for one in fresh})
        path = scene.path(mine["collection"], name)
        scene.say(row, Outcome.RENAMED, path=path, detail="both changed it; theirs is a copy with an id of its own")

    def _grow(self, row: Value, mine: Value, fresh: list[Value], decided: Policy) -> None:
        """Theirs' new revisions behind ours; with ours newest again where it is to stay so."""
        scene, ours = self._scene, mine["id"]
        key = scene.index.key_of(ours)
        assert key is not None
        before = sorted(scene.index.whole.beside("revisions", "artifact", key), key=number_of)
        newest = newest_of(mine, before)
        number, previous = before[-1]["number"], newest["digest"]
        numbers: dict[int, int] = {}
        bodies: list[Body] = []
        for one in fresh:
            number += 1
            new = {"number": number, "revision": _fields(one)}
            bodies.append(self._body(ours, "revise", {"previous": previous, "new": new}, one))
            previous, numbers[one["seq"]] = one["digest"], number
        bodies += self._states(ours, fresh, numbers, row)
        theirs = self._pins.revisions(row["id"])
        if decided is not Policy.OURS:
            bodies += self._lost(row, ours, theirs, before)
        wanted = newest if decided is Policy.OURS else newest_of(row, theirs)
        now = fresh[-1] if fresh else newest
        is_elsewhere = bool(fresh) if decided is Policy.OURS else shown_by(now) != shown_by(wanted)
        if is_elsewhere and wanted["state"] == "kept":
            said = {name: value for name, value in _fields(wanted).items() if name != "message"}
            new = {"number": number + 1, "revision": said}
            bodies.append({"kind": "artifact", "action": "revise", "id": ours, "previous": previous, "new": new})
            if decided is not Policy.OURS:
                bodies[-1][ORIGIN] = scene.there.origin(row["changed"])
        self._pins.note(row["id"], {one["number"]: (ours, numbers[one["seq"]]) for one in fresh})
        if decided is not Policy.OURS:
            pairs = pairs_of(mine, row, _SAID)
            # Without a field too: the change says up to where theirs was merged. A delete says so itself.
            if pairs or not (bodies or ("deleted" in row and "deleted" not in mine)):
                bodies.append({"kind": "artifact", "action": "update", "id": ours, "set": pairs})
            bodies = scene.finished(row, bodies)
        scene.target.bring(_contents([*fresh, wanted]))
        emit(scene.target, [bodies])

    def _lost(self, row: Value, ours: str, theirs: list[Value], before: list[Value]) -> list[Body]:
        """What theirs gave up, or took back, of revisions that were known here before."""
        here = {one["number"]: one for one in before}
        numbers: dict[int, int] = {}
        for one in theirs:
            pinned = self._pins.find(row["id"], one["number"])
            if pinned is not None and pinned[0] == ours and pinned[1] in here:
                numbers[one["seq"]] = pinned[1]
        lost = [
            one
            for one in theirs
            if one["seq"] in numbers and one["state"] != "kept" and here[numbers[one["seq"]]]["state"] == "kept"
        ]
        return self._states(ours, lost, numbers, row)

    def _settle(self, row: Value, mine: Value) -> None:
        """Where it lies, what it is called, and whether it is deleted, as theirs has it."""
        scene = self._scene
        path = scene.path(mine["collection"], name_of(mine))
        if "deleted" in row:
            if "deleted" not in mine:
                scene.buried[mine["id"]] = "artifact", scene.cause(row), scene.there.origin(row["changed"])
            return
        up, old, new = self._places.place(row["collection"]), name_of(mine), name_of(row)
        if up is None or not self._places.alive(up):
            scene.say(row, self._refusal(), path=path, detail="the collection that holds it stays out, or was deleted")
            return
        parent = scene.index.key_of(up)
        assert parent is not None
        if (mine["collection"], old) != (up, new) or "deleted" in mine:
            if scene.holder(parent, new) is not None:
                if scene.policy in (Policy.FAIL, Policy.SKIP):
                    scene.say(row, self._refusal(), path=scene.path(up, new), detail="its name is taken")
                    return
                new = scene.free(parent, new, row["collection"])
            bodies = _moved(mine, up, new)
            emit(scene.target, [[{**body, ORIGIN: scene.there.origin(row["changed"])} for body in bodies]])
        scene.say(row, Outcome.CHANGED, path=scene.path(up, new))

    def _refusal(self) -> Outcome:
        return Outcome.CONFLICT if self._scene.policy is Policy.FAIL else Outcome.SKIPPED


def _given(row: Value) -> Body:
    return {name: row[name] for name in (*_SAID, "tenant") if row.get(name)}


def _fields(revision: Value) -> Body:
    return {name: revision[name] for name in _OF_REVISION if revision.get(name) is not None}


def _contents(revisions: list[Value]) -> dict[str, int]:
    return {one["digest"]: one["size"] for one in revisions if one["state"] == "kept"}


def _moved(mine: Value, up: str, new: Name) -> list[Body]:
    """The changes that bring an artifact back, if it is deleted, and to its place and name."""
    old = name_of(mine)
    bodies: list[Body] = []
    pairs = name_change(old, new) if old != new else {}
    if "deleted" in mine:
        bodies.append({"kind": "artifact", "action": "undelete", "id": mine["id"], **({"set": pairs} if pairs else {})})
        pairs = {}
    if mine["collection"] != up:
        pairs = {**pairs, "collection": [mine["collection"], up]}
    if pairs:
        bodies.append({"kind": "artifact", "action": "update", "id": mine["id"], "set": pairs})
    return bodies

"""Revisions of theirs by id and number, and where each is here: numbers differ once both made some."""

from __future__ import annotations

from holdfast.exchange.merge.scene import Scene
from holdfast.index.select.whole import Value

_SHOWN = ("digest", "media_type", "metadata", "mode")
"""What makes a revision another one, as for `put`."""


class Pins:
    """Finds them, and remembers those that were asked for."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def revisions(self, their_id: str) -> list[Value]:
        """The revisions of an artifact of theirs, by number."""
        index = self._scene.theirs.index
        return sorted(index.whole.beside("revisions", "artifact", index.key_of(their_id) or 0), key=number_of)

    def find(self, their_id: str, number: int) -> tuple[str, int] | None:
        """(id, number) here of a revision of theirs; None if it is not here."""
        scene = self._scene
        if their_id in scene.out:
            return None
        if their_id not in scene.pins:
            ours = scene.stands_for(their_id)
            key = scene.index.key_of(ours)
            if key is None:
                return None
            if key >= scene.target.first_new:
                return ours, number
            scene.pins[their_id] = self._known(their_id, ours, key)
        return scene.pins[their_id].get(number)

    def note(self, their_id: str, more: dict[int, tuple[str, int]]) -> None:
        """Revisions of theirs that now are here under other numbers; what was known of the others stays."""
        self.find(their_id, 1)
        self._scene.pins[their_id] = {**self._scene.pins.get(their_id, {}), **more}

    def _known(self, their_id: str, ours: str, key: int) -> dict[int, tuple[str, int]]:
        scene = self._scene
        here = scene.here.numbers(key)
        held = {shown_by(one): one["number"] for one in scene.index.whole.beside("revisions", "artifact", key)}
        found = {}
        for one in self.revisions(their_id):
            number = here.get(scene.there.identity(one["seq"])) or held.get(shown_by(one))
            if number is not None:
                found[one["number"]] = (ours, number)
        return found


def newest_of(row: Value, revisions: list[Value]) -> Value:
    """An artifact's newest revision, of all that it has."""
    return next(one for one in revisions if one["seq"] == row["newest"])


def number_of(row: Value) -> int:
    """For sorting revisions."""
    return int(row["number"])


def shown_by(row: Value) -> str:
    """What revisions have in common that say the same."""
    return repr([row.get(name) for name in (*_SHOWN, "state")])

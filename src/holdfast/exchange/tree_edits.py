"""Takes a person's edits in as new revisions; where the store went on since the export, the policy decides."""

from __future__ import annotations

from typing import Any

from holdfast.engine.content import Incoming
from holdfast.engine.transaction import Unit
from holdfast.errors import MergeConflictError
from holdfast.exchange.edits import Edit, Edits
from holdfast.exchange.merge.report import Item, Outcome, Policy, Wish
from holdfast.exchange.merge.scene import Scene
from holdfast.index.select.whole import Value
from holdfast.kinds import collections, labels, media, revising
from holdfast.kinds.revising import Description
from holdfast.values import moment, names
from holdfast.values.names import Name
from holdfast.values.records import Artifact, FileFacts

_NAMED = 20


class Applying:
    """The edits of one tree, in an open transaction; after the merge of what the tree was exported from."""

    def __init__(self, unit: Unit, scene: Scene, edits: Edits, wish: Wish) -> None:
        self._unit = unit
        self._scene = scene
        self._edits = edits
        self._wish = wish

    def run(self) -> None:
        """All of them. MergeConflictError if the policy is to fail and the store has gone on."""
        for edit in self._edits.found:
            if edit.collection:
                self._collection(edit)
            elif edit.artifact:
                self._artifact(edit)
            else:
                self._new(edit)
        conflicts = self._scene.account.conflicts
        if conflicts and not self._wish.dry_run:
            named = [f"{one.path}: {one.detail}" for one in conflicts[:_NAMED]]
            raise MergeConflictError(
                named[0] + (f" (and {len(conflicts) - 1} more)" if len(conflicts) > 1 else ""),
                conflicts=named, count=len(conflicts),
            )  # fmt: skip

    def _say(self, kind: str, record_id: str, path: str, outcome: Outcome, detail: str = "") -> None:
        self._scene.account.add(Item(kind, record_id, path, outcome, detail))

    def _decide(self, edit: Edit, changed_us: int) -> Policy:
        return self._scene.decide(lambda: edit.mtime_ns // 1000 > changed_us)

    # -- artifacts -----------------------------------------------------------------------------------------------------

    def _base(self, edit: Edit) -> Value:
        """The newest revision as it was exported."""
        index = self._scene.theirs.index
        row = index.whole.one("artifacts", edit.artifact)
        assert row is not None
        return next(one for one in index.whole.beside("revisions", "key", row["newest"]))

    def _artifact(self, edit: Edit) -> None:
        scene = self._scene
        ours = scene.stands_for(edit.artifact)
        found = scene.index.artifacts.by_id(ours)
        if found is None:
            if not edit.gone:
                self._say("artifact", edit.artifact, edit.where, self._lost(), "it is not here any more")
            return
        if edit.gone and (self._wish.mirror or not edit.fields):
            self._gone(edit, found)
            return
        base = self._base(edit)
        pairs = {name: pair for name, pair in edit.fields.items() if name != "metadata"}
        moved = (found.digest, found.media_type) != (base["digest"], base["media_type"])
        moved = moved or found.deleted_at is not None or not labels.same(found.metadata, base.get("metadata", {}))
        moved = moved or any(_value(found, name) not in pair for name, pair in pairs.items())
        said = self._said(edit)
        incoming = self._edits.look(edit) if edit.at else revising.same_content(found.revision)
        if moved and not self._comes_to_same(found, incoming, said):
            self._conflict(edit, found, incoming, said)
            return
        self._put(found, incoming, said)

    def _said(self, edit: Edit) -> Description:
        metadata = edit.fields["metadata"][1] if "metadata" in edit.fields else None
        plain: dict[str, Any] = {name: pair[1] for name, pair in edit.fields.items() if name != "metadata"}
        return Description(metadata=metadata, message="edited in an export", **plain).checked()

    def _comes_to_same(self, found: Artifact, incoming: Incoming, said: Description) -> bool:
        same = found.deleted_at is None and found.digest == incoming.digest
        same = same and (said.metadata is None or labels.same(said.metadata, found.metadata))
        return same and not revising.own_changes(found, said)

    def _put(self, found: Artifact, incoming: Incoming, said: Description) -> None:
        if self._wish.dry_run:
            is_same = self._comes_to_same(found, incoming, said)
            self._say("artifact", found.id, found.path, Outcome.SAME if is_same else Outcome.CHANGED, "edited")
            return
        result = revising.revise(self._unit, found, incoming, said)
        is_new = result.changed or bool(revising.own_changes(found, said))
        self._say("artifact", found.id, found.path, Outcome.CHANGED if is_new else Outcome.SAME, "edited")

    def _conflict(self, edit: Edit, found: Artifact, incoming: Incoming, said: Description) -> None:
        decided = self._decide(edit, moment.from_datetime(found.updated_at))
        detail = "it was edited in the export, and changed here since"
        if decided is Policy.THEIRS and found.deleted_at is None:
            self._put(found, incoming, said)
        elif decided in (Policy.THEIRS, Policy.RENAME) and edit.at:
            key = self._scene.index.key_of(found.collection_id)
            assert key is not None
            if self._scene.index.collections.deleted_seq(key):
                self._say("artifact", found.id, found.path, self._lost(), "the collection that holds it was deleted")
                return
            name = names.from_raw(found.name_bytes)
            if self._scene.holder(key, name) is not None:
                name = self._scene.free(key, name, "")
            self._create(key, name, incoming, Outcome.RENAMED)
        else:
            outcome = {Policy.FAIL: Outcome.CONFLICT, Policy.SKIP: Outcome.SKIPPED}.get(decided, Outcome.KEPT)
            self._say("artifact", found.id, found.path or edit.where, outcome, detail)

    def _gone(self, edit: Edit, found: Artifact) -> None:
        """A file that is not there any more: only a mirror deletes, and only what nobody changed since."""
        if not self._wish.mirror or found.deleted_at is not None:
            return
        base = self._base(edit)
        if found.digest != base["digest"] and self._decide(edit, 1 << 62) is not Policy.THEIRS:
            outcome = Outcome.CONFLICT if self._scene.policy is Policy.FAIL else Outcome.KEPT
            self._say("artifact", found.id, found.path, outcome, "its file was removed, and it was changed here since")
            return
        self._scene.target.change_all([{"kind": "artifact", "action": "delete", "id": found.id}])
        self._say("artifact", found.id, found.path, Outcome.DELETED)

    def _lost(self) -> Outcome:
        return Outcome.CONFLICT if self._scene.policy is Policy.FAIL else Outcome.SKIPPED

    # -- new files -----------------------------------------------------------------------------------------------------

    def _new(self, edit: Edit) -> None:
        scene = self._scene
        above = scene.stands_for(edit.path[0])
        key = scene.index.key_of(above)
        steps = tuple(names.from_raw(one) for one in edit.path[1])
        if key is None or scene.index.collections.deleted_seq(key):
            self._say("artifact", "", edit.where, self._lost(), "the collection that holds it was deleted")
            return
        path = scene.index.lookups.steps([key])[key] + steps
        held = self._in_the_way(path)
        if held is None:
            folder = collections.ensure_down(self._unit, path[:-1])
            self._create(folder, path[-1], self._edits.look(edit), Outcome.ADDED)
            return
        incoming = self._edits.look(edit)
        if isinstance(held, Artifact) and held.path_bytes == names.join_raw(path):
            if held.digest == incoming.digest:
                self._say("artifact", held.id, held.path, Outcome.SAME)
                return
            decided = self._decide(edit, moment.from_datetime(held.updated_at))
            if decided is Policy.THEIRS:
                self._put(held, incoming, Description(message="edited in an export"))
                return
            if decided is Policy.RENAME:
                parent = scene.index.key_of(held.collection_id)
                assert parent is not None
                self._create(parent, scene.free(parent, path[-1], ""), incoming, Outcome.RENAMED)
                return
            outcome = {Policy.FAIL: Outcome.CONFLICT, Policy.SKIP: Outcome.SKIPPED}.get(decided, Outcome.KEPT)
            self._say("artifact", held.id, held.path, outcome, "a new file in the export, and another one here")
            return
        self._say("artifact", "", edit.where, self._lost(), "something of another kind is in its place")

    def _in_the_way(self, path: tuple[Name, ...]) -> object:
        """What is in the place of a new file, or of a folder that it needs; None if nothing is."""
        index = self._scene.index
        key = index.collections.root()
        for depth, name in enumerate(path):
            if key is None:
                return None
            found = index.artifacts.by_place(key, name)
            if found is not None:
                return found
            child = index.collections.child(key, name)
            if child is not None and depth == len(path) - 1:
                return child
            key = child
        return None

    def _create(self, folder: int, name: Name, incoming: Incoming, outcome: Outcome) -> None:
        path = names.join((*self._scene.index.lookups.steps([folder])[folder], name))
        if self._wish.dry_run:
            self._say("artifact", "", path, outcome, "a new file")
            return
        media_type = media.detect(name.text, incoming.head)
        said = Description(media_type=media_type, message="edited in an export", file=FileFacts())
        made = revising.create(self._unit, folder, name, incoming, said)
        self._say("artifact", made.id, made.path, outcome, "a new file")

    # -- collections ---------------------------------------------------------------------------------------------------

    def _collection(self, edit: Edit) -> None:
        scene = self._scene
        ours = scene.stands_for(edit.collection)
        mine = scene.index.whole.one("collections", ours)
        if mine is None or "deleted" in mine:
            self._say("collection", edit.collection, edit.where, self._lost(), "it is not here any more")
            return
        said = {name: pair[1] for name, pair in edit.fields.items()}
        if "tags" in said:
            said["tags"] = labels.checked(said["tags"])
        now = {name: mine.get(name, type(value)()) for name, value in said.items()}
        pairs = {name: [now[name], value] for name, value in said.items() if now[name] != value}
        found = scene.index.collections.by_id(ours)
        assert found is not None
        if any(now[name] != edit.fields[name][0] for name in pairs):
            decided = self._decide(edit, moment.from_datetime(found.updated_at))
            if decided is not Policy.THEIRS:
                outcome = {Policy.FAIL: Outcome.CONFLICT, Policy.SKIP: Outcome.SKIPPED}.get(decided, Outcome.KEPT)
                self._say(
                    "collection", ours, found.path, outcome, "it was edited in the export, and changed here since"
                )
                return
        if pairs:
            scene.target.change_all([{"kind": "collection", "action": "update", "id": ours, "set": pairs}])
        self._say("collection", ours, found.path, Outcome.CHANGED if pairs else Outcome.SAME, "edited")


def _value(found: Artifact, name: str) -> Any:
    value = getattr(found, name)
    return list(value) if name == "tags" else value

"""What a person changed in an exported tree: contents, new files, files that are gone, and fields in records' lines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from holdfast.engine import content
from holdfast.engine.content import Incoming
from holdfast.engine.handle import Handle
from holdfast.errors import HoldfastError, InvalidNameError, InvalidValueError
from holdfast.exchange.ground import Readable, Steps
from holdfast.exchange.tree import FILES, RECORDS, Part, Tree, named_in, place
from holdfast.exchange.tree_compare import Difference, Why, differences
from holdfast.exchange.tree_import import NAMED, refused
from holdfast.index.sql import SqlIndex
from holdfast.kinds import labels
from holdfast.kinds.checks import object_of, text_of
from holdfast.values import canon, names, portable

_EDITABLE = {
    "artifacts": ("tags", "type", "status", "owner"),
    "revisions": ("metadata",),
    "collections": ("metadata", "tags", "owner"),
}
"""What may be edited in a record's line; of revisions in that of the newest one."""

_EMPTY: dict[str, Any] = {"tags": [], "metadata": {}, "owner": "", "type": "", "status": ""}
_ROOM = 1 << 20


@dataclass(slots=True)
class Edit:
    """What was edited of one record, or a new file. `artifact`, `collection`: their id, one of them, or neither if new.

    `at`: where its file is, if that was edited or is new; `gone`: it is not there any more. `fields`: [old, new] each.
    `where`: the place as text. `path`: of a new file: id of their collection, and the names from there on.
    """

    where: str
    artifact: str = ""
    collection: str = ""
    at: Steps = ()
    gone: bool = False
    fields: dict[str, list[Any]] = field(default_factory=dict)
    path: tuple[str, tuple[bytes, ...]] = ("", ())
    mtime_ns: int = 0


@dataclass
class Edits:
    """All edits of a tree, by record; `places`: those where the bytes are not what was exported."""

    ground: Readable
    found: list[Edit] = field(default_factory=list)
    places: set[Steps] = field(default_factory=set)
    incoming: dict[Steps, Incoming] = field(default_factory=dict)

    def stage(self, handle: Handle) -> None:
        """Bring edited and new contents into files that nothing speaks of. SourceUnreadableError."""
        for one in self.found:
            if one.at:
                with self.ground.open(one.at[:-1], one.at[-1]) as file:
                    self.incoming[one.at] = content.stage_stream(handle, file)

    def new_paths(self, index: SqlIndex) -> frozenset[bytes]:
        """Where the new files are, by the paths of theirs."""
        found = []
        for one in self.found:
            above = index.collections.by_id(one.path[0]) if one.path[1] else None
            if above is not None:
                found.append(b"/".join([*([above.path_bytes] if above.path_bytes else []), *one.path[1]]))
        return frozenset(found)

    def look(self, one: Edit) -> Incoming:
        """What is staged of an edit; in a dry run only its digest."""
        found = self.incoming.get(one.at)
        if found is not None:
            return found
        facts = self.ground.look(one.at[:-1], one.at[-1])
        return Incoming(self.ground.digest(one.at[:-1], one.at[-1]), facts.st_size if facts else 0, b"")


def find_edits(ground: Readable, tree: Tree, *, exact: bool) -> Edits:
    """What differs from the tree as it was exported. ImportRefusedError for all that cannot be an edit.

    `exact`: any difference is refused. Memory: some hundreds of bytes for each edit.
    """
    edits = Edits(ground)
    wrong: list[str] = []
    by_record: dict[str, Edit] = {}
    finder = _Finder(ground, tree)
    for one in differences(ground, tree):
        reason = str(one) if exact else finder.take(one, edits, by_record)
        if reason:
            wrong.append(reason)
    if wrong:
        raise refused(wrong[:NAMED], len(wrong))
    return edits


class _Finder:
    def __init__(self, ground: Readable, tree: Tree) -> None:
        self._ground = ground
        self._tree = tree
        self._folders: tuple[Steps, _Folder | None] = ((), None)

    def take(self, one: Difference, edits: Edits, by_record: dict[str, Edit]) -> str:
        """Take a difference as an edit; else why it is none."""
        top = one.steps[0]
        try:
            if top == FILES and len(one.steps) > 1 and one.why in (Why.CHANGED, Why.STRAY, Why.MISSING):
                return self._file(one, edits, by_record)
            if top == RECORDS and one.why is Why.CHANGED and len(one.steps) == 3:
                return self._records(one, edits, by_record)
        except (HoldfastError, KeyError, TypeError, ValueError, AttributeError) as error:
            return f"{place(one.steps)}: {error}"
        return str(one)

    def _file(self, one: Difference, edits: Edits, by_record: dict[str, Edit]) -> str:
        folder = self._folder(one.steps[1:-1])
        name, where = one.steps[-1], place(one.steps)
        facts = self._ground.look(one.steps[:-1], name)
        mtime_ns = facts.st_mtime_ns if facts is not None else 0
        artifact = folder.artifacts.get(name) if not folder.rest else None
        if artifact is not None:
            if one.why is Why.CHANGED and self._is_pointer(one.steps):
                return f"{where}: a pointer cannot be edited; put the content in its place"
            edit = _of(edits, by_record, artifact, Edit(where, artifact=artifact))
            edit.gone = one.why is Why.MISSING
            edit.at, edit.mtime_ns = (() if edit.gone else one.steps), mtime_ns
        elif one.why is Why.STRAY:
            raw = [portable.back(step) for step in (*folder.rest, name)]
            if None in raw:
                return f"{where}: the name of a new file cannot begin with %="
            path = tuple(names.parse(step or b"").raw for step in raw)
            edits.found.append(Edit(where, at=one.steps, path=(folder.id, path), mtime_ns=mtime_ns))
        else:
            return str(one)
        edits.places.add(one.steps)
        return ""

    def _is_pointer(self, steps: Steps) -> bool:
        head = self._ground.read(steps[:-1], steps[-1], 40) or b""
        return head.startswith(b"version https://git-lfs")

    def _folder(self, steps: Steps) -> _Folder:
        if self._folders[1] is None or self._folders[0] != steps:
            self._folders = steps, _down(self._tree.index, steps)
        assert self._folders[1] is not None
        return self._folders[1]

    def _records(self, one: Difference, edits: Edits, by_record: dict[str, Edit]) -> str:
        what, where = one.steps[1].decode("ascii"), place(one.steps)
        allowed = _EDITABLE.get(what)
        if allowed is None:
            return f"{where}: {what} cannot be edited in a tree"
        part = Part(what, int(one.steps[2].split(b".")[0]))
        before = (self._tree.leaf(part).data or b"").splitlines()
        data = self._ground.read(one.steps[:-1], one.steps[-1], 4 * sum(map(len, before)) + _ROOM) or b""
        after = [canon.decode(line) for line in data.splitlines() if line.strip()]
        if len(after) != len(before):
            return f"{where}: lines of records can be edited, neither added nor removed"
        known = {_key(row): row for row in map(canon.decode, before)}
        for row in after:
            old = known.pop(_key(row), None)
            if old is None:
                return f"{where}: {_key(row)} is no record of this file, or stands there twice"
            pairs = {name: [old.get(name, _EMPTY.get(name)), row.get(name, _EMPTY.get(name))]
                     for name in sorted({*old, *row}) if old.get(name) != row.get(name)}  # fmt: skip
            refused_fields = sorted(set(pairs) - set(allowed))
            if refused_fields:
                return f"{where}: {', '.join(refused_fields)} of {_key(row)} cannot be edited in a tree"
            reason = self._fields(what, old, pairs, _Into(edits, by_record, where)) if pairs else ""
            if reason:
                return reason
        return ""

    def _fields(self, what: str, old: dict[str, Any], pairs: dict[str, list[Any]], into: _Into) -> str:
        record = old["artifact"] if what == "revisions" else old["id"]
        if what == "revisions":
            newest = self._tree.index.whole.one("artifacts", record)
            if newest is None or newest["newest"] != old["seq"]:
                return f"{into.where}: only the newest revision of {record} can be edited"
        is_folder = what == "collections"
        _check({name: pair[1] for name, pair in pairs.items()})
        edit = Edit(into.where, artifact="" if is_folder else record, collection=record if is_folder else "")
        facts = self._ground.look((RECORDS, what.encode()), into.where.rpartition("/")[2].encode())
        edit = _of(into.edits, into.by_record, record, edit)
        edit.fields |= pairs
        edit.mtime_ns = edit.mtime_ns or (facts.st_mtime_ns if facts is not None else 0)
        return ""


@dataclass(frozen=True, slots=True)
class _Into:
    edits: Edits
    by_record: dict[str, Edit]
    where: str


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder under files/: the collection of theirs that it is, or the nearest one above and the steps from there."""

    id: str
    artifacts: dict[bytes, str]
    rest: Steps = ()


def _down(index: SqlIndex, steps: Steps) -> _Folder:
    key = index.collections.root()
    if key is None:
        raise InvalidNameError("the exported store has no root collection", name="", reason="root")
    for depth in range(len(steps) + 1):
        inner, own = named_in(index, key)
        if depth == len(steps):
            ids = index.lookups.ids([key, *(one.artifact for _, one in own)])
            return _Folder(ids[key], {name: ids[one.artifact] for name, one in own})
        child = next((found for name, found, _ in inner if name == steps[depth]), None)
        if child is None:
            return _Folder(index.lookups.ids([key])[key], {}, steps[depth:])
        key = child
    raise AssertionError


def _of(edits: Edits, by_record: dict[str, Edit], record: str, new: Edit) -> Edit:
    found = by_record.get(record)
    if found is None:
        found = by_record[record] = new
        edits.found.append(new)
    return found


def _check(said: dict[str, Any]) -> None:
    """InvalidValueError for a value that cannot be kept."""
    empty = next((name for name, value in said.items() if value is None), None)
    if empty is not None:
        raise InvalidValueError(f"{empty} is null", where=empty, reason="type", remedy="Remove the field instead.")
    object_of(said.get("metadata"), "metadata")
    labels.checked(said.get("tags", ()))
    for name in ("owner", "type", "status"):
        text_of(said.get(name, ""), name)
        if name != "owner" and said.get(name) == "":
            raise InvalidValueError(f"{name} is empty", where=name, reason="empty")


def _key(row: dict[str, Any]) -> str:
    return f"{row['artifact']}@{row['number']}" if "number" in row and "artifact" in row else str(row["id"])

"""What the store keeps of a git history beyond files and revisions: in a collection of its own, as artifacts.

Beside a collection `NAME` that a history was taken into lies `NAME.git`:

    import.json                 how far the import is, of what; a revision for every batch
    tags.json                   the tags, with the bytes of those that are objects
    commits/<number>.jsonl      commits in the order in which they were taken: the bytes of each, then what it changes
    contents/<git's id>         contents whose paths no collection can hold

With them and the revisions each commit can be made again, byte for byte (docs/design/026).
"""

from __future__ import annotations

import base64
import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, cast

from holdfast.engine.handle import Handle
from holdfast.errors import FormatTooNewError, ImportRefusedError, InvalidDigestError, NotFoundError
from holdfast.exchange.git.touched import FOLDER
from holdfast.kinds import addresses, fetching
from holdfast.values import canon, digest, names
from holdfast.values.names import Name
from holdfast.values.records import Artifact

VERSION = 0
SUFFIX = b".git"
STATE, TAGS, COMMITS, CONTENTS = "import.json", "tags.json", "commits", "contents"
TYPE = "git-history"
MEDIA_TYPE = "application/x-git-history"
_IN_MEMORY = 8 << 20
_MODES = ("100644", "100755", "120000", "160000")
_OBJECT_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class State:
    """How far an import is.

    `collection`: id of where the files are. `since`, `paths`: what bounds the history. `taken`: the tip of what was
    taken before; `tip`: of what is being taken, of which `done` commits are, the last of them `last`. `commits`: how
    many there are in all. `closed`: all of `tip` is taken.
    """

    collection: str
    branch: str
    tip: bytes
    paths: tuple[bytes, ...] = ()
    since: tuple[bytes, ...] = ()
    taken: tuple[bytes, ...] = ()
    done: int = 0
    last: bytes = b""
    commits: int = 0
    closed: bool = False

    def going_on_to(self, tip: bytes) -> State:
        """The next leg."""
        return replace(self, tip=tip, taken=(self.tip,), done=0, last=b"", closed=False)

    def encode(self) -> bytes:
        """As it stands in the store."""
        value = {
            "holdfast": "git", "format": VERSION, "collection": self.collection, "branch": self.branch,
            "tip": self.tip.decode(), "last": self.last.decode(), "done": self.done, "commits": self.commits,
            "closed": self.closed, "paths": [packed(one) for one in self.paths],
            "since": [one.decode() for one in self.since], "taken": [one.decode() for one in self.taken],
        }  # fmt: skip
        return canon.encode(value) + b"\n"


def state_of(data: bytes) -> State:
    """What `State.encode` wrote. ImportRefusedError, FormatTooNewError."""
    try:
        value: Any = canon.decode(data)
        if value["holdfast"] != "git":
            raise ValueError("it is no record of an import")
        if value["format"] > VERSION:
            raise FormatTooNewError(f"a record of version {value['format']}; this software knows {VERSION}",
                                    found=value["format"], known=VERSION)  # fmt: skip
        return State(
            value["collection"], value["branch"], _id(value["tip"]), tuple(unpacked(p) for p in value["paths"]),
            tuple(one.encode() for one in value["since"]), tuple(one.encode() for one in value["taken"]),
            value["done"], _id(value["last"]) if value["last"] else b"", value["commits"], value["closed"],
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ImportRefusedError(
            f"{STATE} cannot be read: {error}", path=STATE, reason="form",
            remedy="Make its last good revision the newest: `holdfast revert`.",
        ) from error  # fmt: skip


@dataclass(frozen=True, slots=True)
class Change:
    """What a commit does to a path, against its first parent. `mode` b"": it goes. `digest`: None for a submodule.

    `mode` FOLDER: a tree that only its own bytes, `raw`, can stand for; the tree of all, whose path is b"", is last.
    """

    path: bytes
    mode: bytes = b""
    object_id: bytes = b""
    digest: str | None = None
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class Kept:
    """A commit that was taken. `parents`: those that were taken too; `number` counts from 1."""

    number: int
    id: bytes
    raw: bytes
    parents: tuple[bytes, ...]


class Chapter:
    """Commits as lines, on their way to an artifact. Much is kept in a temporary file."""

    def __init__(self, first: int) -> None:
        self.first = first
        # Closed by `close`.
        self.file = cast("BinaryIO", tempfile.SpooledTemporaryFile(_IN_MEMORY))  # noqa: SIM115

    def begin(self, kept: Kept) -> None:
        """A commit; what it changes follows."""
        value = {"n": kept.number, "id": kept.id.decode(), "raw": packed(kept.raw)}
        self._line({**value, "parents": [one.decode() for one in kept.parents]})

    def change(self, one: Change) -> None:
        """Something that it changes."""
        if one.mode == FOLDER:
            self._line(["T", one.object_id.decode(), base64.b64encode(one.raw).decode(), packed(one.path)])
        elif one.mode:
            self._line([one.mode.decode(), one.object_id.decode(), one.digest, packed(one.path)])
        else:
            self._line(["D", packed(one.path)])

    def _line(self, value: Any) -> None:
        self.file.write(canon.encode(value) + b"\n")

    def close(self) -> None:
        """It is in the store, or never will be."""
        self.file.close()


def told(source: Iterable[bytes]) -> Iterator[Kept | Change]:
    """What the lines of a chapter say. ImportRefusedError."""
    for line in source:
        try:
            value: Any = canon.decode(line)
            if isinstance(value, dict):
                parents = tuple(_id(one) for one in value["parents"])
                yield Kept(value["n"], _id(value["id"]), unpacked(value["raw"]), parents)
            elif value[0] == "T":
                raw = base64.b64decode(value[2], validate=True)
                yield Change(unpacked(value[3]), FOLDER, _id(value[1]), raw=raw)
            elif value[0] == "D":
                yield Change(unpacked(value[1]))
            else:
                yield _content_change(value)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, InvalidDigestError) as error:
            raise ImportRefusedError(
                f"a line of commits cannot be read: {error}", path=COMMITS, reason="form",
                remedy="Make the last good revision of that artifact the newest: `holdfast revert`.",
            ) from error  # fmt: skip


def _content_change(value: Any) -> Change:
    """Nothing in it may mean anything else to whoever is told of it."""
    mode, object_id, found, path = value
    if mode not in _MODES or (found is None) != (mode == "160000"):
        raise ValueError(f"{mode!r} is no mode of it")
    if found is not None:
        digest.raw(found)
    return Change(unpacked(path), mode.encode(), _id(object_id), found)


def _id(value: str) -> bytes:
    if not _OBJECT_ID.fullmatch(value):
        raise ValueError(f"{value!r} is no id")
    return value.encode()


def packed(raw: bytes) -> str | dict[str, str]:
    """Bytes as JSON: text, if they are UTF-8."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(raw).decode()}


def unpacked(value: Any) -> bytes:
    """The bytes again."""
    return value.encode("utf-8") if isinstance(value, str) else base64.b64decode(value["base64"], validate=True)


def beside(place: tuple[Name, ...]) -> tuple[Name, ...]:
    """Where the record of a history lies that was taken into a collection."""
    if not place:
        return (names.parse(SUFFIX),)
    return (*place[:-1], names.parse(place[-1].raw + SUFFIX))


def find(handle: Handle, place: tuple[Name, ...]) -> tuple[State, Artifact] | None:
    """The state of the import into a collection, and the artifact that says so; None if there was none."""
    try:
        found = addresses.artifact(handle, names.join_raw((*beside(place), Name(STATE))))
    except NotFoundError:
        return None
    if found.type != TYPE:
        return None
    return state_of(fetching.content(handle, found)), found

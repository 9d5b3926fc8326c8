"""How far an export is, noted in the repository, and how its branch is moved: forward, or not at all.

The note lies in the folder `holdfast` of the git directory, a file for each branch. It can be lost: the next export
then tells all anew, which gives the same commits.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import quote

from holdfast import disk
from holdfast.errors import DestinationDiffersError, GitError, LockedError
from holdfast.exchange.git.program import Git, run

FOLDER = "holdfast"
VERSION = 0
_REMEDY = (
    "Take its commits into the store (`holdfast import git`) and export again; or export to another branch (--branch)."
)


@dataclass(frozen=True, slots=True)
class Position:
    """`seq`, `hash`: where the chain ended that is told; `head`: the commit that tells it.

    `has_own`: that is a commit of the store's own, which git is not known to have. `altered`: new ids of commits from
    git that could not be as they were.
    """

    store: str
    collection: str
    seq: int = 0
    hash: bytes = b""
    head: bytes = b""
    has_own: bool = False
    altered: dict[bytes, bytes] = field(default_factory=dict)

    def encode(self) -> bytes:
        """As it stands in the note."""
        value = {
            "holdfast": "git export", "format": VERSION, "store": self.store, "collection": self.collection,
            "seq": self.seq, "hash": self.hash.hex(), "head": self.head.decode(), "has_own": self.has_own,
            "altered": {old.decode(): new.decode() for old, new in self.altered.items()},
        }  # fmt: skip
        return json.dumps(value, indent=1).encode() + b"\n"


class Stored:
    """The note for a branch, locked while it is used: use it in a `with`."""

    def __init__(self, git: Git, branch: str) -> None:
        self._git = git
        self.branch = branch
        self._folder = os.path.join(git.folder, FOLDER)
        self._path = os.path.join(self._folder, quote(branch, safe="") + ".json")
        self.scratch = b"refs/holdfast/" + secrets.token_hex(8).encode()
        self._lock = -1

    def __enter__(self) -> Self:
        with disk.typed("make a folder in", self._git.folder):
            os.makedirs(self._folder, exist_ok=True)
            self._lock = os.open(os.path.join(self._folder, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise LockedError(
                f"another export is writing to {self._git.folder}", lock=self._folder, holder="another export",
                waited_s=0.0, remedy="Wait until it is done.",
            ) from None  # fmt: skip
        self._clear_abandoned()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)

    def _clear_abandoned(self) -> None:
        """What an export that was killed has left: nobody else is at work, and what it wrote is told again."""
        for ref in self._git.ask("for-each-ref", "--format=%(refname)", "refs/holdfast/").splitlines():
            self._git.ask("update-ref", "-d", ref)
        with contextlib.suppress(OSError):
            for name in os.listdir(self._git.folder):
                if name.startswith("fast_import_crash_"):
                    os.unlink(os.path.join(self._git.folder, name))

    def read(self, store: str, collection: str) -> Position:
        """Where the last export of a collection stood; the beginning, if there is no note, or its commit is gone."""
        try:
            with open(self._path, "rb") as file:
                value: Any = json.loads(file.read())
            found = Position(
                value["store"], value["collection"], value["seq"], bytes.fromhex(value["hash"]),
                value["head"].encode(), value["has_own"] is True,
                {old.encode(): new.encode() for old, new in value["altered"].items()},
            )  # fmt: skip
        except FileNotFoundError:
            return Position(store, collection)
        except (OSError, KeyError, TypeError, ValueError, AttributeError):
            return Position(store, collection)  # a note that cannot be read is worth as much as none
        if (found.store, found.collection) != (store, collection):
            raise DestinationDiffersError(
                f"the branch {self.branch!r} has the export of something else", path=self.branch, paths=[self.branch],
                count=1, remedy="Export to another branch (--branch), or to another repository.",
            )  # fmt: skip
        if found.head and self._git.try_("cat-file", "-e", found.head) is None:
            return Position(store, collection)
        return found

    def write(self, position: Position) -> None:
        """Note a position; durable, and whole or not at all."""
        passing = f"{self._path}.{secrets.token_hex(4)}"
        with disk.typed("write a file in", self._folder):
            with open(passing, "wb") as file:
                file.write(position.encode())
                file.flush()
                os.fsync(file.fileno())
            os.replace(passing, self._path)

    def forget_scratch(self) -> None:
        """The name that commits had while they were written."""
        self._git.ask("update-ref", "-d", self.scratch)

    def publish(self, tip: bytes) -> None:
        """Move the branch to a commit that comes after what it is now; with its work tree, if it is checked out.

        DestinationDiffersError if it has gone another way, or if files in the work tree would be overwritten.
        """
        name = f"refs/heads/{self.branch}"
        before = self._git.try_("rev-parse", "--verify", "--quiet", name)
        if before == tip:
            return
        if before is not None and self._git.try_("merge-base", "--is-ancestor", before, tip) is None:
            raise DestinationDiffersError(
                f"the branch {self.branch!r} has commits that the store does not know: it is at "
                f"{before[:12].decode()}", path=self.branch, paths=[self.branch], count=1, remedy=_REMEDY,
            )  # fmt: skip
        folder = self._checked_out(name)
        if not folder:
            self._git.ask("update-ref", "-m", "holdfast export", name, tip, before or b"")
            return
        try:
            run(("-C", folder, "merge", "--ff-only", "--quiet", tip))
        except GitError as error:
            raise DestinationDiffersError(
                f"the branch {self.branch!r} is checked out in {folder}, and git does not overwrite what was edited "
                f"there: {error.message}", path=folder, paths=[folder], count=1,
                remedy="Commit or stash the edits there, and export again; the commits are in the repository already.",
            ) from error  # fmt: skip

    def _checked_out(self, name: str) -> str:
        """The work tree that has the branch; "" if none has."""
        folder = b""
        for line in self._git.ask("worktree", "list", "--porcelain").splitlines():
            key, _, value = line.partition(b" ")
            if key == b"worktree":
                folder = value
            elif key == b"branch" and value == os.fsencode(name):
                return os.fsdecode(folder)
        return ""

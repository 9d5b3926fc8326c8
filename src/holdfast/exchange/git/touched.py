"""A commit on its way in, and what it touches."""

from __future__ import annotations

from dataclasses import dataclass, field

from holdfast.exchange.git.commits import CommitText

REGULAR, EXECUTABLE, LINK, SUBMODULE, FOLDER = b"100644", b"100755", b"120000", b"160000", b"040000"


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit on the way in. `parents`: those that are in the history that is taken; `is_cut`: not all are."""

    id: bytes
    raw: bytes
    text: CommitText
    parents: tuple[bytes, ...]

    @property
    def is_cut(self) -> bool:
        """Whether it has parents that are left out."""
        return self.parents != self.text.parents


@dataclass(frozen=True, slots=True)
class Touch:
    """What a commit did to a path. `mode` b"": the path is gone. `source`: where the content was before, if moved.

    `before`: git's id of the old content there, all zeros if there was none. `first`: against the first parent.
    """

    path: bytes
    mode: bytes
    object_id: bytes
    before: bytes
    source: bytes = b""
    first: bool = True


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree that is new with a commit; `raw`: its bytes, if fast-import could not write them."""

    path: bytes
    id: bytes
    raw: bytes = b""


@dataclass(slots=True)
class Touched:
    """What a commit touches. `trees`: those that are new against its first parent, the deepest first."""

    commit: Commit
    touches: list[Touch] = field(default_factory=list)
    trees: list[Tree] = field(default_factory=list)

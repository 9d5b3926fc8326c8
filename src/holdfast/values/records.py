"""The records of the store as callers see them: frozen values, never rows.

Ids are UUIDv7 as text, times aware UTC datetimes with microseconds, sizes bytes, digests `sha256:hex`. Every record
has a tenant and an owner; both are "" for those who need none. `path` and `name` are UTF-8 for display;
`path_bytes` and `name_bytes` are the true bytes, and can be given back wherever a path or a name is asked for.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar

from holdfast.values.frozen import dataclass
from holdfast.values.late import Late

R = TypeVar("R")

DEFAULT_TYPE, DEFAULT_STATUS = "file", "active"
"""Of an artifact of which nothing else is said."""

SYMLINK_MEDIA_TYPE = "inode/symlink"
"""A symbolic link is an artifact of this media type; its content is the link's target, byte for byte."""


class RevisionState(StrEnum):
    """Whether the bytes of a revision can be expected to be there."""

    KEPT = "kept"
    PURGED = "purged"  # given up on purpose; gc frees the bytes
    WITHDRAWN = "withdrawn"  # taken back: by a roll-back, or because a copy of the store never got the bytes


class RunStatus(StrEnum):
    """The life of a run or a step."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Direction(StrEnum):
    """Which way something stands to a run."""

    INPUT = "input"
    OUTPUT = "output"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One end of a relationship, or an input or output of a run. `revision` pins an artifact's revision."""

    kind: str
    id: str
    revision: int | None = None

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}" + (f"@{self.revision}" if self.revision is not None else "")


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a file system said of the file a revision came from. `mode`: permission bits; `mtime_ns`: nanoseconds."""

    mode: int | None = None
    mtime_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Revision(Late):
    """An immutable numbered state of an artifact."""

    artifact_id: str
    number: int
    digest: str
    size: int
    media_type: str
    metadata: dict[str, Any]
    created_at: datetime
    actor: str
    seq: int
    previous_digest: str | None = None
    message: str = ""
    source: str = ""
    file: FileFacts = FileFacts()
    run_id: str | None = None
    state: RevisionState = RevisionState.KEPT

    @property
    def endpoint(self) -> Endpoint:
        """This very revision, as an end of a relationship."""
        return Endpoint("artifact", self.artifact_id, self.number)


@dataclass(frozen=True, slots=True)
class Artifact(Late):
    """A named thing with a history. `revision` is its newest one."""

    id: str
    path: str
    path_bytes: bytes
    name: str
    name_bytes: bytes
    collection_id: str
    type: str
    status: str
    tags: tuple[str, ...]
    revision: Revision
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None
    tenant: str = ""
    owner: str = ""

    kind = "artifact"

    @property
    def number(self) -> int:
        """Number of the newest revision."""
        return self.revision.number

    @property
    def digest(self) -> str:
        """Digest of the newest content."""
        return self.revision.digest

    @property
    def size(self) -> int:
        """Bytes of the newest content."""
        return self.revision.size

    @property
    def media_type(self) -> str:
        """Media type of the newest content."""
        return self.revision.media_type

    @property
    def metadata(self) -> dict[str, Any]:
        """Metadata of the newest revision."""
        return self.revision.metadata

    @property
    def endpoint(self) -> Endpoint:
        """The artifact, whatever its newest revision will be, as an end of a relationship."""
        return Endpoint("artifact", self.id)


@dataclass(frozen=True, slots=True)
class Collection:
    """A place for artifacts and further collections. The root has the path ""."""

    id: str
    path: str
    path_bytes: bytes
    name: str
    name_bytes: bytes
    parent_id: str | None
    metadata: dict[str, Any]
    tags: tuple[str, ...]
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None
    file: FileFacts = FileFacts()
    tenant: str = ""
    owner: str = ""

    kind = "collection"

    @property
    def endpoint(self) -> Endpoint:
        """The collection as an end of a relationship."""
        return Endpoint("collection", self.id)


@dataclass(frozen=True, slots=True)
class Relationship:
    """A typed, directed link between two records."""

    id: str
    type: str
    source: Endpoint
    target: Endpoint
    metadata: dict[str, Any]
    tags: tuple[str, ...]
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None
    tenant: str = ""
    owner: str = ""

    kind = "relationship"

    @property
    def endpoint(self) -> Endpoint:
        """The relationship itself as an end of another."""
        return Endpoint("relationship", self.id)


@dataclass(frozen=True, slots=True)
class Step:
    """A part of a run, in order of `number` (from 1)."""

    id: str
    run_id: str
    number: int
    name: str
    status: RunStatus
    started_at: datetime | None
    ended_at: datetime | None
    diagnostics: dict[str, Any]


@dataclass(frozen=True, slots=True)
class RunLink:
    """What a run read or made. `role` is the caller's word for it, such as "training set"."""

    run_id: str
    direction: Direction
    role: str
    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class Run:
    """An execution that read inputs and made outputs."""

    id: str
    name: str
    status: RunStatus
    parameters: dict[str, Any]
    diagnostics: dict[str, Any]
    environment: dict[str, Any]
    metadata: dict[str, Any]
    tags: tuple[str, ...]
    reason: str
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    deleted_at: datetime | None = None
    tenant: str = ""
    owner: str = ""

    kind = "run"

    @property
    def endpoint(self) -> Endpoint:
        """The run as an end of a relationship."""
        return Endpoint("run", self.id)


@dataclass(frozen=True, slots=True)
class RunManifest:
    """A run with all that belongs to it."""

    run: Run
    steps: tuple[Step, ...]
    inputs: tuple[RunLink, ...]
    outputs: tuple[RunLink, ...]


@dataclass(frozen=True, slots=True)
class MetadataIndex:
    """A declared index on a field of artifacts' metadata. `artifacts`: how many of them, deleted or not, have it."""

    id: str
    field: str
    artifacts: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the audit trail: who did what to which record, and how it was before and after.

    `origin`: of which change of another store's chain it is the merge: `store`, `seq`, `tx`, `n`, `time`, `actor`.
    """

    seq: int
    time: datetime
    actor: str
    actor_kind: str
    kind: str
    id: str
    action: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    note: str
    tx: str
    run_id: str | None
    origin: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class PutResult:
    """What a put did. `created`: the artifact is new; `changed`: a revision was made (False: it was a no-op).

    `left_out` says why the text of the new revision will not be found by full-text search; "" if it will be.
    """

    artifact: Artifact
    created: bool
    changed: bool
    left_out: str = ""

    @property
    def revision(self) -> Revision:
        """The newest revision, made by this put or equal to what was put."""
        return self.artifact.revision


@dataclass(frozen=True, slots=True)
class Page(Generic[R]):
    """A part of a result. `token` fetches the next part; None at the end."""

    items: tuple[R, ...]
    token: str | None = None


Record = Artifact | Collection | Relationship | Run
"""What has an id, a history and can be an end of a relationship."""

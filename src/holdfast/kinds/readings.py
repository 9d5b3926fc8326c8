"""Reading artifacts: records, content, history, differences."""

from __future__ import annotations

import builtins
import contextlib
import errno
import io
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

from holdfast.engine.handle import Handle
from holdfast.errors import InvalidQueryError, InvalidValueError
from holdfast.kinds import addresses, artifacts, fetching, revising
from holdfast.kinds.addresses import ArtifactRef, CollectionRef
from holdfast.kinds.clauses import upheld
from holdfast.values import names, query
from holdfast.values.query import Compare, Condition, Plan
from holdfast.values.records import Artifact, Change, Page, Record, Revision

MAX_DIFF_BYTES = 64 << 20
_PAGE = 200
_KEEP_NOTHING = (io.BufferedWriter, io.BufferedRandom, io.FileIO, io.BytesIO)


@upheld
class Artifacts(artifacts.Artifacts):
    """`store.artifacts`: all verbs."""

    def get(self, ref: ArtifactRef, *, deleted: bool = False) -> Artifact:
        """The artifact at a path, `id:UUID` or of an older record, as it is now. Raises NotFoundError."""
        return addresses.artifact(self._handle, ref, deleted=deleted)

    def revision(self, ref: ArtifactRef, number: int) -> Revision:
        """One revision. Raises NotFoundError."""
        return revising.revision_of(self._handle, self.get(ref, deleted=True), number)

    def revisions(self, ref: ArtifactRef) -> builtins.list[Revision]:
        """All revisions, newest first; also of a deleted artifact."""
        found = self.get(ref, deleted=True)
        return self._handle.index.artifacts.history(addresses.key_of(self._handle, found.id), found.id)

    def read(self, ref: ArtifactRef, *, revision: int | None = None) -> bytes:
        """The content whole, checked against its digest. For what fits in memory; else `open` or `copy_to`.

        Raises NotFoundError, ContentPurgedError, BlobMissingError, DamageError.
        """
        if revision is None:
            return fetching.content(self._handle, ref)
        return self._handle.blobs.read(self._readable(ref, revision).digest)

    def get_many(self, refs: Iterable[ArtifactRef]) -> Iterator[Artifact]:
        """Many artifacts as `get` gives them, in the order of `refs`, in short reads. Raises NotFoundError."""
        return fetching.records(self._handle, refs)

    def read_many(self, refs: Iterable[fetching.R]) -> Iterator[tuple[fetching.R, bytes]]:
        """(ref, content) for each of `refs`, in the order that reads them quickest; each is checked against its digest.

        A ref is what `read` takes, or a revision, of which the very content it had is read. A list is put in order as a
        whole, what comes from elsewhere 64,000 at a time; memory holds the places of so many, and one content. Raises
        as `read` for the first that cannot be read.
        """
        return fetching.contents(self._handle, refs)

    def open(self, ref: ArtifactRef, *, revision: int | None = None) -> io.BufferedReader:
        """The content as a file object that reads and seeks; only the frames it touches are read, each checked."""
        from holdfast.blobs import buffered  # noqa: PLC0415 - start-up time: not every command reads contents

        return buffered(self._handle.blobs.open(self._readable(ref, revision).digest))

    def open_many(self, refs: Iterable[fetching.R]) -> Iterator[tuple[fetching.R, io.BufferedReader]]:
        """(ref, file object) for each of `refs`, in their order: for contents that do not fit in memory.

        A ref is what `read_many` takes. Each file reads and seeks as that of `open`, and is closed when the next one is
        asked for. Raises as `open` for the first that cannot be opened.
        """
        return fetching.files(self._handle, refs)

    def copy_to(self, ref: ArtifactRef, target: BinaryIO, *, revision: int | None = None) -> int:
        """Write the content into a binary file, in bounded memory, checked whole; its size in bytes.

        Damage raises after some bytes were written: the caller must not keep them then. BlockingIOError if the target
        does not wait and takes nothing.
        """
        from holdfast.blobs import copy_to, lend_to  # noqa: PLC0415 - as above

        found = self._readable(ref, revision)
        # Python's own files keep nothing that they are given; of others that is not known.
        give = lend_to if type(target) in _KEEP_NOTHING else copy_to
        with contextlib.closing(self._handle.blobs.open(found.digest)) as reader:
            give(reader, _all_into(target))
        return found.size

    def log(self, ref: ArtifactRef) -> Iterator[Change]:
        """Every change of the artifact, oldest first; also of a deleted one."""
        from holdfast.kinds import changes  # noqa: PLC0415 - start-up time

        found = self.get(ref, deleted=True)
        return changes.Changes(self._handle).list(record=found.id)

    def diff(self, ref: ArtifactRef, old: int, new: int, *, context: int = 3) -> Iterator[str]:
        """A unified diff of two revisions as lines without newlines; nothing if they are equal.

        Raises InvalidValueError if one is not UTF-8 text.
        """
        import difflib  # noqa: PLC0415 - start-up time

        found = self.get(ref, deleted=True)
        before, after = self._lines(found, old), self._lines(found, new)
        names = f"{found.path}@{old}", f"{found.path}@{new}"
        return _shown(difflib.unified_diff(before, after, *names, n=context))

    def _lines(self, found: Artifact, number: int) -> builtins.list[str]:
        revision = revising.revision_of(self._handle, found, number)
        revising.refuse_gone(found, revision)
        if revision.size > MAX_DIFF_BYTES:
            raise InvalidValueError(
                f"revision {number} of {found.path!r} has {revision.size} bytes, too many for a line diff",
                where="revision", reason="too large",
            )  # fmt: skip
        try:
            text = self._handle.blobs.read(revision.digest).decode("utf-8")
        except UnicodeDecodeError as error:
            raise InvalidValueError(
                f"revision {number} of {found.path!r} is not UTF-8 text", where="revision", reason="binary",
                remedy="Write both revisions to files and compare them with a tool for their format.",
            ) from error  # fmt: skip
        # Only a newline ends a line: other separators are content, and so is whether the last line has one.
        return [line for line in re.split(r"(?<=\n)", text) if line]

    # -- many --------------------------------------------------------------------------------------------------------

    def list(self, collection: CollectionRef = "", *, recursive: bool = False) -> Iterator[Artifact]:
        """Live artifacts in a collection, by name; `recursive`: then those of each collection below, depth first."""
        handle = self._handle
        if collection in ("", b"") and handle.index.collections.root() is None:
            return
        waiting = [addresses.key_of(handle, addresses.collection(handle, collection).id)]
        while waiting:
            key = waiting.pop()
            after = None
            while page := handle.index.finder.in_collection(key, after=after, limit=_PAGE):
                yield from page
                after = names.from_raw(page[-1].name_bytes)
            if recursive:
                waiting.extend(reversed([child for child, _ in handle.index.collections.children(key)]))

    def find(
        self, where: Condition | None = None, *, order: str = "created", limit: int | None = None,
        deleted: bool = False, **fields: Any,
    ) -> Iterator[Artifact]:  # fmt: skip
        """Artifacts that meet a condition, in a total order, in short reads; `deleted`: tombstones instead.

        `fields` are shorthands that all must hold: name (a glob if it has `*?[`), under, type, status, tag, tags,
        media_type, digest (or a prefix of one), owner, tenant, run, related_to. `order`: created, updated, name or
        size; `-size` descends. Raises InvalidQueryError, InvalidDigestError.
        """
        token, left = None, limit
        condition = self._condition(where, fields)
        while left is None or left > 0:
            wanted = _PAGE if left is None else min(left, _PAGE)
            page = self._page(condition, order, limit=wanted, token=token, deleted=deleted)
            yield from page.items
            if not page.items and token is None:
                self._refuse_unknown(fields)
            token = page.token
            if token is None:
                return
            left = None if left is None else left - len(page.items)

    def page(
        self, where: Condition | None = None, *, order: str = "created", limit: int = 100, token: str | None = None,
        deleted: bool = False, **fields: Any,
    ) -> Page[Artifact]:  # fmt: skip
        """One page of what `find` gives; `token` of a page fetches the next one. Records added meanwhile may appear."""
        if limit < 1:
            raise InvalidQueryError(f"a page of {limit}", query=str(limit), reason="limit")
        condition = self._condition(where, fields)
        found = self._page(condition, order, limit=limit, token=token, deleted=deleted)
        if not found.items and token is None:
            self._refuse_unknown(fields)
        return found

    def _page(
        self, condition: Condition | None, order: str, *, limit: int, token: str | None, deleted: bool
    ) -> Page[Artifact]:
        index, said = self._handle.index, query.order(order)
        if index.is_far and token is None and self._handle.tenant is None:
            index.foresee(lambda: index.finder.foresee(condition, said, limit=limit, deleted=deleted))
        return index.finder.page(condition, said, limit=limit, token=token, deleted=deleted)

    def _refuse_unknown(self, fields: dict[str, Any]) -> None:
        """Nothing was found: InvalidDigestError if that is because nothing ever had the digest."""
        if fields.get("digest") is not None:
            self._handle.index.finder.by_digest(fields["digest"])

    def explain(
        self, where: Condition | None = None, *, order: str = "created", deleted: bool = False, **fields: Any
    ) -> Plan:
        """How `find` would go about it: which indexes are used, and which tables are gone through."""
        condition = self._condition(where, fields)
        return self._handle.index.finder.explain(condition, query.order(order), deleted=deleted)

    def _condition(self, where: Condition | None, fields: dict[str, Any]) -> Condition | None:
        self._handle.alive()
        parts = [] if where is None else [where]
        for name, value in fields.items():
            if value is None:
                continue
            parts += self._shorthand(name, value)
        return query.All(tuple(parts)) if parts else None

    def _shorthand(self, name: str, value: Any) -> builtins.list[Condition]:
        if name == "name" and isinstance(value, str):
            value = value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            return [Compare(name, "glob" if set(value) & set("*?[") else "=", value)]
        if name == "digest":
            return [Compare(name, "=", self._handle.index.finder.by_digest(value, trusting=True))]
        if name == "tags":
            return [Compare("tag", "=", tag) for tag in value]
        if name == "related_to":
            return [Compare("id", "in", sorted(related_artifacts(self._handle, value)))]
        if name in ("under", "type", "status", "tag", "media_type", "owner", "tenant", "run", "id"):
            return [Compare(name, "=", getattr(value, "id", value))]
        raise InvalidQueryError(f"find() has no shorthand {name!r}", query=name, reason="field")

    def _readable(self, ref: ArtifactRef, number: int | None) -> Revision:
        found = self.get(ref, deleted=number is not None)
        revision = found.revision if number is None else revising.revision_of(self._handle, found, number)
        revising.refuse_gone(found, revision)
        return revision


def _all_into(target: BinaryIO) -> Callable[[bytes | memoryview], object]:
    """What writes all that it is given: a raw file may take less of it, where a disk is full or a signal came."""
    if not isinstance(target, io.RawIOBase):
        return target.write

    def write(part: bytes | memoryview) -> None:
        left = memoryview(part)
        while left:
            taken = target.write(left)
            if not taken:
                raise BlockingIOError(errno.EAGAIN, "the target takes nothing more now; give one that waits")
            left = left[taken:]

    return write


def _shown(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        yield line.removesuffix("\n")
        if not line.endswith("\n"):
            yield "\\ No newline at end of file"


def related_artifacts(handle: Handle, record: Record) -> set[str]:
    """Ids of the artifacts at the other end of a record's visible relationships."""
    from holdfast.kinds.relationships import Relationships  # noqa: PLC0415 - start-up time

    found: set[str] = set()
    for one in Relationships(handle).of(record):
        for end in (one.source, one.target):
            if end.kind == "artifact" and end.id != record.id:
                found.add(end.id)
    return found

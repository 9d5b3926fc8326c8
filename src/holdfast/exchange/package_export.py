"""Writes a collection as an RO-Crate, by itself or as the payload of a BagIt bag.

Files come under their names, one after the other, and the metadata document grows with them: what is held in memory is
a name for each file, never contents or the document. The same state gives the same bytes, whenever it is exported.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import file_digest, sha256
from itertools import islice
from typing import BinaryIO

from holdfast.engine.handle import Handle
from holdfast.engine.past import When
from holdfast.engine.recover import Progress
from holdfast.errors import ContentPurgedError, DamageError, IndexDamagedError, NotFoundError
from holdfast.exchange import bag, crate, doings, naming, parcel
from holdfast.exchange.crate import About, Entity
from holdfast.exchange.folder import Problem
from holdfast.kinds import view as views
from holdfast.kinds.view import View
from holdfast.values import canon
from holdfast.values.records import (
    DEFAULT_STATUS,
    DEFAULT_TYPE,
    Artifact,
    Collection,
    Endpoint,
    FileFacts,
    RevisionState,
    RunLink,
)
from holdfast.version import __version__

IN_MEMORY_BYTES = 1 << 20
_WINDOW = 500
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class PackageReport:
    """What was packed. `seq`: the last change of the state; `files`, `bytes`: contents; `runs`: told of in it.

    `renamed`: files and folders whose names other systems cannot hold; the true ones stand in the metadata.
    `problems`: what could not go along: contents that are gone or damaged, runs that have not ended.
    """

    seq: int = 0
    files: int = 0
    folders: int = 0
    bytes: int = 0
    runs: int = 0
    renamed: int = 0
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to pack: a collection ("" is all), in the state of a time; what is said of it; as a bag or by itself."""

    ref: str | bytes | Collection = ""
    at: When | None = None
    about: About = field(default_factory=About)
    bagged: bool = True


def export(
    handle: Handle, dest: str | bytes | os.PathLike[str], wanted: Wanted, progress: Progress | None = None
) -> PackageReport:
    """Make the package in the new or empty folder `dest`; it is there whole and durable, or not at all.

    Raises NotFoundError, DestinationDiffersError, InvalidValueError, NoSpaceError. What cannot go along is reported.
    """
    handle.alive()
    head = handle.index.chain.head() or handle.origin
    at = head.next_seq - 1 if wanted.at is None else wanted.at
    with views.view_at(handle, at, progress=progress) as view, parcel.new_folder(handle, dest) as top:
        found = _collection(view, wanted.ref)
        return _Packing(view, top, wanted, progress).run(found)


def _collection(view: View, ref: str | bytes | Collection) -> Collection | None:
    try:
        return view.collections.get(ref)
    except NotFoundError:
        if ref in ("", b""):
            return None  # the root of a store that has nothing yet
        raise


class _Document:
    """The metadata document as it grows, an entity a line; each once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = sha256()
        self._said: set[str] = set()
        self.size = 0
        self._write(b'{"@context":' + canon.encode(crate.CONTEXT) + b',"@graph":[\n' + canon.encode(crate.descriptor()))

    def add(self, entity: Entity, *, shared: bool = False) -> None:
        """One more entity. `shared`: others may have said the same."""
        if shared:
            if entity["@id"] in self._said:
                return
            self._said.add(entity["@id"])
        self._write(b",\n" + canon.encode(entity))

    def end(self) -> str:
        """The digest of all of it."""
        self._write(b"\n]}\n")
        return self._hash.hexdigest()

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)
        self.size += len(data)


class _Packing:
    def __init__(self, view: View, top: str, wanted: Wanted, progress: Progress | None) -> None:
        self._view = view
        self._top = top
        self._wanted = wanted
        self._progress = progress
        self._base = os.path.join(top, bag.DATA) if wanted.bagged else top
        self._ids: dict[str, tuple[int, str]] = {}
        self._changed = _EPOCH
        self.report = PackageReport(view.seq)

    def run(self, found: Collection | None) -> PackageReport:
        if self._wanted.bagged:
            os.mkdir(self._base)
        with open(os.path.join(self._top, bag.MANIFEST) if self._wanted.bagged else os.devnull, "wb") as self._manifest:
            with open(os.path.join(self._base, crate.DOCUMENT), "xb") as file:
                document = self._document = _Document(file)
                for entity in crate.people(self._wanted.about):
                    document.add(entity, shared=True)
                parts = self._folders(found)
                mentions = list(self._runs())
                self._root(found, parts, mentions)
                digest = document.end()
            self._manifest.write(bag.line(digest, f"{bag.DATA}/{crate.DOCUMENT}"))
        if self._wanted.bagged:
            self._tags(found, document.size)
        return self.report

    # -- files and folders -------------------------------------------------------------------------------------------

    def _folders(self, found: Collection | None) -> list[str]:
        """All below, each folder before what lies in it; the ids of what lies at the top."""
        waiting: list[tuple[Collection, tuple[str, ...]]] = []
        top: list[str] = []
        if found is not None:
            top = self._folder(found, (), waiting)
        while waiting:
            child, steps = waiting.pop()
            os.mkdir(os.path.join(self._base, *steps))
            parts = self._folder(child, steps, waiting)
            own = crate.path_id(steps, folder=True)
            told = self._told(child, own, steps[-1])
            self._describe(crate.folder(own, child, parts=parts, properties=[one["@id"] for one in told]), told)
            self.report.folders += 1
        return top

    def _folder(
        self, found: Collection, steps: tuple[str, ...], waiting: list[tuple[Collection, tuple[str, ...]]]
    ) -> list[str]:
        self._changed = max(self._changed, found.updated_at)
        children = list(self._view.collections.list(found))
        inside = [(one.id, one.name_bytes) for one in children]
        inside += [(one.id, one.name_bytes) for one in self._view.artifacts.list(found)]
        names = naming.plain(inside, reserved=() if steps else crate.RESERVED)
        self.report.renamed += sum(names[one].encode() != raw for one, raw in inside)
        waiting += [
            (one, (*steps, names[one.id])) for one in sorted(children, key=lambda one: names[one.id], reverse=True)
        ]
        parts = sorted(crate.path_id((*steps, names[one.id]), folder=True) for one in children)
        artifacts = self._view.artifacts.list(found)
        while window := list(islice(artifacts, _WINDOW)):
            parts += self._files(window, steps, names)
            if self._progress:
                self._progress(self.report.files, None, window[-1].path, "files")
        return parts

    def _files(self, window: list[Artifact], steps: tuple[str, ...], names: dict[str, str]) -> list[str]:
        parts = []
        small = self._small(window)
        for one in window:
            self._changed = max(self._changed, one.updated_at)
            path = (*steps, names[one.id])
            if not self._write(one, path, small.get(one.id)):
                continue
            own = crate.path_id(path)
            self._ids[one.id] = (one.number, own)
            parts.append(own)
            self._manifest.write(bag.line(one.digest, "/".join((bag.DATA, *path))))
            told = self._told(one, own, path[-1])
            self._describe(crate.file(own, one, properties=[each["@id"] for each in told]), told)
            self.report.files += 1
            self.report.bytes += one.size
        return parts

    def _small(self, window: list[Artifact]) -> dict[str, bytes]:
        """Small contents, read together in the order in which they lie; nothing if one of them cannot be read."""
        wanted = [
            one for one in window if one.revision.state is RevisionState.KEPT and one.size <= IN_MEMORY_BYTES // 8
        ]
        try:
            return {one.id: data for one, data in self._view.artifacts.read_many(wanted)}
        except DamageError:
            return {}

    def _write(self, one: Artifact, path: tuple[str, ...], data: bytes | None) -> bool:
        place = os.path.join(self._base, *path)
        try:
            with open(place, "xb") as file:
                if data is None:
                    self._view.artifacts.copy_to(one, file)
                else:
                    file.write(data)
                if one.revision.file.mode is not None:
                    os.fchmod(file.fileno(), one.revision.file.mode & 0o777 | 0o600)
        except IndexDamagedError:
            raise
        except DamageError as error:
            os.unlink(place)
            code = "gone" if isinstance(error, ContentPurgedError) else "damaged"
            self.report.problems.append(Problem(one.path, code, error.message))
            return False
        if one.revision.file.mtime_ns is not None:
            os.utime(place, ns=(one.revision.file.mtime_ns, one.revision.file.mtime_ns))
        return True

    def _told(self, one: Artifact | Collection, own: str, written: str) -> list[Entity]:
        if isinstance(one, Artifact):
            more = {"owner": one.owner, "source": one.revision.source}
            more |= {"type": one.type} if one.type != DEFAULT_TYPE else {}
            more |= {"status": one.status} if one.status != DEFAULT_STATUS else {}
            facts = crate.facts(one.name_bytes, written, one.revision.file, **more)
        else:
            facts = crate.facts(one.name_bytes, written, one.file)
        return [*crate.properties(own, crate.METADATA, one.metadata), *crate.properties(own, crate.OWN, facts)]

    def _describe(self, entity: Entity, properties: list[Entity]) -> None:
        self._document.add(entity)
        for one in properties:
            self._document.add(one)

    # -- runs ---------------------------------------------------------------------------------------------------------

    def _runs(self) -> Iterator[str]:
        if not self._ids:
            return
        for done in doings.runs(self._view, lambda end: end.id in self._ids):
            run = done.run
            if run.status not in crate.ENDED:
                self.report.problems.append(Problem(f"run {run.name} ({run.id})", "running", f"it is {run.status}"))
                continue
            self._changed = max(self._changed, run.updated_at)
            objects, results = ([self._end(link) for link in links] for links in (done.inputs, done.outputs))
            action, *others = crate.action(crate.Doing(run, done.who, objects, results))
            self._document.add(action)
            for one in others:
                self._document.add(one, shared=True)
            self.report.runs += 1
            yield action["@id"]

    def _end(self, link: RunLink) -> str:
        """The id of what a run read or made: the file, if the crate has that very revision, else its name alone."""
        end = link.endpoint
        number, own = self._ids.get(end.id, (0, ""))
        if own and end.revision == number:
            return own
        entity = self._named(end)
        self._document.add(entity, shared=True)
        return str(entity["@id"])

    def _named(self, end: Endpoint) -> Entity:
        found = doings.artifact(self._view, end)
        if found is None:
            return crate.named(f"{end.kind}:{end.id}")
        number = end.revision or found.number
        return crate.elsewhere(found, number, self._view.artifacts.revision(found, number).digest)

    # -- the whole ----------------------------------------------------------------------------------------------------

    def _root(self, found: Collection | None, parts: list[str], mentions: list[str]) -> None:
        told = crate.properties(
            "./", crate.OWN, crate.facts(b"", "", FileFacts() if found is None else found.file, package=1)
        )
        told += [] if found is None else crate.properties("./", crate.METADATA, found.metadata)
        links = crate.Links(parts, mentions, [one["@id"] for one in told])
        for entity in crate.root(found, self._wanted.about, links, self._changed):
            self._document.add(entity, shared=True)
        for one in told:
            self._document.add(one)

    def _tags(self, found: Collection | None, document: int) -> None:
        about = self._wanted.about
        fields = [
            ("Source-Organization", about.publisher), ("Contact-Name", about.author),
            ("External-Description", about.description),
            ("External-Identifier", f"urn:uuid:{found.id}" if found is not None else ""),
            ("Bagging-Date", self._changed.date().isoformat()),
            ("Payload-Oxum", f"{self.report.bytes + document}.{self.report.files + 1}"),
            ("Bag-Software-Agent", f"Holdfast {__version__}"),
        ]  # fmt: skip
        for name, data in ((bag.DECLARATION, bag.DECLARED), (bag.INFO, bag.info(fields))):
            with open(os.path.join(self._top, name), "xb") as file:
                file.write(data)
        with open(os.path.join(self._top, bag.TAG_MANIFEST), "xb") as file:
            for name in sorted((bag.DECLARATION, bag.INFO, bag.MANIFEST)):
                with open(os.path.join(self._top, name), "rb") as tag:
                    file.write(bag.line(file_digest(tag, "sha256").hexdigest(), name))

"""Takes in the files of a BagIt bag or an RO-Crate, with what is said of each; all is checked before any is written.

A package is somebody else's: links and special files in it, paths that lead out of it, digests that are wrong, files
that are missing or lie elsewhere, and documents that cannot be read are refused, each named.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import Any

from holdfast.engine.handle import Handle
from holdfast.engine.recover import Progress
from holdfast.engine.transaction import write
from holdfast.errors import ImportRefusedError, InvalidInputError, NameTakenError, NotFoundError, SourceChangedError
from holdfast.exchange import bag, crate, crate_reading
from holdfast.exchange.crate_reading import Crate, Told
from holdfast.exchange.folder import Problem
from holdfast.exchange.ground import Ground, Steps, shown
from holdfast.kinds import labels
from holdfast.kinds.collections import Collections
from holdfast.kinds.readings import Artifacts
from holdfast.values import names

NAMED = 20
MOST_FILES = 1_000_000
MAX_DOCUMENT_BYTES = 256 << 20
"""The document is read whole, and takes several times its bytes in memory."""

_PIECE = 1 << 20


@dataclass(slots=True)
class TakenReport:
    """What came in. `unchanged`: files that were there already, the same; `problems`: what a crate lists elsewhere."""

    added: int = 0
    unchanged: int = 0
    collections: int = 0
    bytes: int = 0
    dry_run: bool = False
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _File:
    """A file to take in. `path`: in the store, below the collection; `digest`: its SHA-256, as it was proven."""

    steps: Steps
    path: bytes
    digest: str
    size: int
    told: Told


def import_package(
    handle: Handle, source: str | bytes | os.PathLike[str], into: str | bytes, *, bagged: bool, dry_run: bool = False,
    progress: Progress | None = None,
) -> TakenReport:  # fmt: skip
    """Take the package in the folder `source` into the collection `into`, in one transaction.

    Files that are there already and equal are left as they are. Raises ImportRefusedError naming what is wrong with it,
    NameTakenError if something else has one of the names; nothing is written then.
    """
    if not dry_run:
        handle.writable()
    folder = os.fsdecode(source)
    if not os.path.isdir(folder):
        raise _refused(folder, [f"{folder!r} is no folder"], 1)
    with Ground(folder) as ground:
        return _Taking(handle, ground, names.parse_path(into), progress).run(bagged=bagged, dry_run=dry_run)


class _Problems:
    """What is wrong: the first few by name, and how many."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._named: list[str] = []
        self._count = 0

    def tell(self, problem: str) -> None:
        """One more."""
        self._count += 1
        if self._count <= NAMED:
            self._named.append(problem)

    def end(self) -> None:
        """ImportRefusedError if there was one."""
        if self._count:
            raise _refused(self._folder, self._named, self._count)


def _refused(folder: str, problems: list[str], count: int) -> ImportRefusedError:
    more = f" (and {count - 1} more)" if count > 1 else ""
    return ImportRefusedError(
        f"{folder!r} is not taken in: {problems[0]}{more}", path=folder, problems=problems, count=count,
        remedy=f"Nothing was changed. Have it made whole by its maker; the error names the first {NAMED} problems.",
    )  # fmt: skip


class _Taking:
    def __init__(self, handle: Handle, ground: Ground, into: tuple[names.Name, ...], progress: Progress | None) -> None:
        self._handle = handle
        self._ground = ground
        self._into = into
        self._progress = progress
        self._problems = _Problems(ground.top)
        self._folders: list[Steps] = []

    def run(self, *, bagged: bool, dry_run: bool) -> TakenReport:
        self._refuse_what_is_none(bag.DECLARATION if bagged else crate.DOCUMENT, "bag" if bagged else "RO-Crate")
        sizes = self._survey()
        self._problems.end()
        base: Steps = (os.fsencode(bag.DATA),) if bagged else ()
        claims = bag.Claims()
        if bagged:
            claims = bag.read({shown(steps): size for steps, size in sizes.items()}, self._text, self._problems.tell)
            self._problems.end()
        told = self._crate(base, sizes, is_there=not bagged or (*base, crate.DOCUMENT.encode()) in sizes)
        files = list(self._files(base, sizes, told, claims))
        self._refuse_clashes(files, told)
        self._problems.end()
        report = TakenReport(dry_run=dry_run, problems=[Problem(*one) for one in told.elsewhere])
        report.bytes = sum(one.size for one in files)
        self._take(files, told, claims, report)
        return report

    # -- checking ----------------------------------------------------------------------------------------------------

    def _refuse_what_is_none(self, document: str, what: str) -> None:
        """Before anything else: the folder named by mistake may be a whole disk, and looking through it takes an hour."""
        if self._ground.look((), document.encode()) is None:
            self._problems.tell(f"{document} is missing: this is no {what}")
        self._problems.end()

    def _survey(self) -> dict[Steps, int]:
        """All files with their sizes. Nothing but files and folders may be there."""
        found: dict[Steps, int] = {}
        waiting: list[Steps] = [()]
        while waiting:
            steps = waiting.pop()
            for entry in os.scandir(self._ground.folder(steps)):
                inner = (*steps, os.fsencode(entry.name))
                if entry.is_symlink() or not (
                    entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)
                ):
                    self._problems.tell(
                        f"{shown(inner)} is neither a file nor a folder: links and the like are not followed"
                    )
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append(inner)
                    self._folders.append(inner)
                else:
                    found[inner] = entry.stat(follow_symlinks=False).st_size
            if len(found) + len(self._folders) > MOST_FILES:
                self._problems.tell(f"there are more than {MOST_FILES} files: take them in by parts")
                break
        self._folders.sort()
        return dict(sorted(found.items()))

    def _text(self, path: str, limit: int) -> bytes:
        steps = tuple(map(os.fsencode, path.split("/")))
        return self._ground.read(steps[:-1], steps[-1], limit) or b""

    def _crate(self, base: Steps, sizes: dict[Steps, int], *, is_there: bool) -> Crate:
        place = (*base, crate.DOCUMENT.encode())
        if not is_there:
            return Crate(folders={steps[1:]: Told() for steps in self._folders if steps[:1] == base and steps[1:]})
        if place not in sizes:
            self._problems.tell(f"{crate.DOCUMENT} is missing: this is no RO-Crate")
        elif sizes[place] > MAX_DOCUMENT_BYTES:
            self._problems.tell(f"{crate.DOCUMENT}: {sizes[place]} bytes are more than it may have")
        self._problems.end()
        data = self._text(shown(place), MAX_DOCUMENT_BYTES)
        inside = {steps[len(base) :]: size for steps, size in sizes.items() if steps[: len(base)] == base}
        folders = {steps[len(base) :] for steps in self._folders if steps[: len(base)] == base}
        return crate_reading.read(data, inside, folders, self._problems.tell)

    def _files(self, base: Steps, sizes: dict[Steps, int], told: Crate, claims: bag.Claims) -> Iterator[_File]:
        """Every file read whole and proven; those of the payload go on."""
        for count, (steps, size) in enumerate(sizes.items()):
            with self._ground.open(steps[:-1], steps[-1]) as file:
                digest = bag.prove(claims, shown(steps), iter(partial(file.read, _PIECE), b""), self._problems.tell)
            if self._progress and count % 1000 == 0:
                self._progress(count, len(sizes), shown(steps), "files")
            inner = steps[len(base) :]
            if steps[: len(base)] != base or (told.is_ours and inner == (crate.DOCUMENT.encode(),)):
                continue
            said = told.files.get(inner, Told())
            if said.sha256 and said.sha256 != digest:
                self._problems.tell(f"{shown(inner)}: its SHA-256 is {digest}, and {crate.DOCUMENT} says {said.sha256}")
            yield _File(steps, b"/".join(told.true_names(inner)), digest, size, said)

    def _refuse_clashes(self, files: list[_File], told: Crate) -> None:
        taken: set[bytes] = set()
        for one in files:
            try:
                names.parse_path(one.path)
                labels.checked(one.told.tags)
            except InvalidInputError as error:
                self._problems.tell(f"{shown(one.steps)}: {error.message}")
            if one.path in taken:
                self._problems.tell(f"{shown(one.steps)}: another file has the name {shown((one.path,))!r} too")
            taken.add(one.path)
        for steps in told.folders:
            path = b"/".join(told.true_names(steps))
            if path in taken:
                self._problems.tell(f"{shown((path,))!r} is both a file and a folder")

    # -- taking in ---------------------------------------------------------------------------------------------------

    def _take(self, files: list[_File], told: Crate, claims: bag.Claims, report: TakenReport) -> None:
        prefix = b"".join(name.raw + b"/" for name in self._into)
        if report.dry_run:
            self._count(files, prefix, report)
            return
        with write(self._handle, what="import"):
            fresh = self._count(files, prefix, report)
            self._collections(told, claims, report)
            Artifacts(self._handle).put_many(self._given(one, prefix) for one in fresh)

    def _count(self, files: list[_File], prefix: bytes, report: TakenReport) -> list[_File]:
        """Those that are not there yet; NameTakenError for a name that something else has."""
        fresh = []
        artifacts = Artifacts(self._handle)
        for one in files:
            try:
                found = artifacts.get(prefix + one.path)
            except NotFoundError:
                report.added += 1
                fresh.append(one)
                continue
            same = found.digest == f"sha256:{one.digest}" and found.revision.state == "kept"
            same = same and labels.same(found.metadata, one.told.metadata)
            if not same or one.told.media_type not in ("", found.media_type):
                raise NameTakenError(
                    f"{found.path!r} is there, and is not what the package has", name=found.path, holder=found.id,
                    kind="artifact", remedy="Take the package into another collection, or move what is there away.",
                )  # fmt: skip
            report.unchanged += 1
        return fresh

    def _given(self, one: _File, prefix: bytes) -> tuple[bytes, Any, dict[str, Any]]:
        told = one.told
        said: dict[str, Any] = {
            "metadata": told.metadata,
            "tags": told.tags,
            "file": told.file,
            "message": told.message,
        }
        said |= {key: value for key, value in (
            ("media_type", told.media_type), ("owner", told.owner), ("type", told.type), ("status", told.status),
            ("source", told.source),
        ) if value}  # fmt: skip
        return prefix + one.path, _Proven(self._ground, one), said

    def _collections(self, told: Crate, claims: bag.Claims, report: TakenReport) -> None:
        collections = Collections(self._handle)
        if not self._into and not told.folders and not told.root.metadata:
            return
        for steps in [(), *sorted(told.folders)]:
            said = told.folders.get(steps, Told()) if steps else told.root
            path = b"/".join([*(name.raw for name in self._into), *told.true_names(steps)])
            metadata = dict(said.metadata)
            if not steps and claims.info and not told.is_ours:
                metadata["bag-info"] = [[key, value] for key, value in claims.info]
            try:
                found = collections.get(path)
            except NotFoundError:
                found = collections.ensure(path)
                report.collections += 1
            if (metadata and not found.metadata) or said.file != crate_reading.NO_FACTS:
                collections.update(found, metadata=metadata or found.metadata, file=said.file)
            if said.tags:
                collections.tag(found, *said.tags)


class _Proven(io.RawIOBase):
    """A file of the package that must still be what it was when it was proven; SourceChangedError at its end if not."""

    def __init__(self, ground: Ground, one: _File) -> None:
        super().__init__()
        self._one = one
        self._ground = ground
        self._file: Any = None
        self._hash = sha256()

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        if self._file is None:
            self._file = self._ground.open(self._one.steps[:-1], self._one.steps[-1])
        data: bytes = self._file.read(size)
        self._hash.update(data)
        if not data or size < 0:
            self._file.close()
            if self._hash.hexdigest() != self._one.digest:
                place = shown(self._one.steps)
                raise SourceChangedError(f"{place} changed while it was read", path=place, tries=1)
        return data

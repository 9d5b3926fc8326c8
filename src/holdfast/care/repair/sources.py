"""Where content can be had again: the store's own quarantine, other stores, and folders of original files."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import stat as flags
from collections.abc import Iterator, Sequence
from typing import BinaryIO, cast

from holdfast.blobs import LocalBlobs
from holdfast.blobs.files import open_file
from holdfast.blobs.reader import buffered
from holdfast.care.fsck.view import View
from holdfast.care.repair import packs
from holdfast.care.repair.plan import Spool
from holdfast.care.repair.salvage import Salvage
from holdfast.disk import Disk
from holdfast.engine import content, recover
from holdfast.engine.open import place_of
from holdfast.errors import HoldfastError, InvalidValueError
from holdfast.formats import paths
from holdfast.journal import Journal
from holdfast.values import digest as digests
from holdfast.values.change import Transaction

_EMPTY = hashlib.sha256(b"").digest()
"""Content of no bytes can be had from nothing."""


class Sources:
    """All places in which content is looked for. Nothing of what they say is believed: digests decide."""

    def __init__(self, root: str, given: Sequence[str], disk: Disk) -> None:
        """Raises InvalidValueError for a path that is not there, or is the store itself."""
        self._root = root
        self._disk = disk
        self.stores: list[str] = []
        self._folders: list[str] = []
        self._found: dict[bytes, str] = {}
        self._packed: packs.Found = {}
        self._salvage = Salvage(root, disk)
        for path in map(os.path.abspath, map(place_of, given)):
            if not os.path.exists(path):
                raise InvalidValueError(f"{path} is not there", where="from", reason="absent")
            if os.path.isdir(root) and os.path.samefile(path, root):
                raise InvalidValueError(f"{path} is the store itself", where="from", reason="itself")
            (self.stores if os.path.isdir(os.path.join(path, paths.BLOBS)) else self._folders).append(path)

    def look_for(self, wanted: Spool) -> None:
        """Read the files of the folders once: those whose size is that of a content which is looked for.

        And the store's own damaged files: what is under a wrong name, or has lost only its frame table, is all there.
        """
        if not wanted.count:
            return
        self._salvage.look_for(wanted)
        raws = {digests.raw(digest) for digest, _ in wanted}
        known = {digests.raw(digest): size for digest, size in wanted}
        self._packed = packs.places([self._root, *self.stores], known, self._disk)
        if not self._folders:
            return
        sizes = {size for _, size in wanted}
        for path in self._files():
            with contextlib.suppress(OSError, HoldfastError):
                if None in sizes or os.stat(path).st_size in sizes:
                    found = _digest_of(path)
                    if found in raws:
                        self._found.setdefault(found, path)

    def _files(self) -> Iterator[str]:
        for top in self._folders:
            if not os.path.isdir(top):
                yield top
                continue
            for folder, _, names in os.walk(top):
                for name in sorted(names):
                    path = os.path.join(folder, name)
                    with contextlib.suppress(OSError):
                        if flags.S_ISREG(os.lstat(path).st_mode):
                            yield path

    def offers(self, digest: str) -> Iterator[tuple[str, BinaryIO]]:
        """(where, the content) from each place that has it, best first; close each. Reading proves nothing yet."""
        raw = digests.raw(digest)
        yield from self._quarantined(raw)
        for store in self.stores:
            with contextlib.suppress(HoldfastError, OSError):
                reader = LocalBlobs(store, self._disk).open(digest)
                yield store, cast("BinaryIO", buffered(reader))
            yield from packs.by_recipe(store, digest, self._disk)
        for where, data in packs.contents(self._packed, raw, self._disk):
            yield where, io.BytesIO(data)
        if raw in self._found:
            with contextlib.suppress(OSError):
                yield self._found[raw], open(self._found[raw], "rb")  # noqa: SIM115
        yield from self._salvage.offers(raw)
        if raw == _EMPTY:
            yield "nothing", io.BytesIO()

    def _quarantined(self, raw: bytes) -> Iterator[tuple[str, BinaryIO]]:
        folder = os.path.join(self._root, paths.QUARANTINE)
        start = os.path.basename(paths.blob_file(raw)) + "."
        for name in self._disk.listdir(folder) if os.path.isdir(folder) else []:
            if name.startswith(start):
                with contextlib.suppress(HoldfastError, OSError):
                    reader = open_file(self._disk, os.path.join(folder, name), digests.text(raw))
                    yield f"{paths.QUARANTINE}/{name}", cast("BinaryIO", buffered(reader))

    @contextlib.contextmanager
    def chains(self, *, of: Sequence[str] | None = None) -> Iterator[list[Iterator[Transaction]]]:
        """The copies of the chain that the sources hold, in journals and indexes; `of`: only those of these stores."""
        with contextlib.ExitStack() as stack:
            found: list[Iterator[Transaction]] = []
            for store in self.stores if of is None else of:
                found.append(recover.from_journal(Journal(store, self._disk)))
                view = View(store)
                stack.callback(view.close)
                with contextlib.suppress(HoldfastError, FileNotFoundError):
                    found.append(recover.salvaged(view.open().index, []))
            yield found

    def where(self, digest: str) -> str:
        """The first place that has a content, read whole and proven; "" if none has."""
        for where, file in self.offers(digest):
            with file, contextlib.suppress(HoldfastError, OSError):
                if content.hash_blocks(file.read) == digest:
                    return where
        return ""


def _digest_of(path: str) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()

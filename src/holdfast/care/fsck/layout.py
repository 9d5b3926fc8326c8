"""Checks the store's folder: its marker, the names in it, what lies in tmp/ and quarantine/."""

from __future__ import annotations

import errno
import os
import stat as flags
import time

from holdfast import ram
from holdfast.care.fsck.report import TOO_NEW
from holdfast.care.fsck.scene import Scene
from holdfast.errors import FormatTooNewError, HoldfastError, NotAStoreError
from holdfast.formats import marker, paths
from holdfast.formats.marker import Marker

OLD_S = 24 * 3600.0
_COMPANIONS = ("", "-wal", "-shm", "-journal")
_LOCKS = tuple(map(os.path.basename, (paths.WRITER_LOCK, paths.HANDLES_LOCK, paths.SEARCH_LOCK)))


def read_marker(scene: Scene) -> Marker | None:
    """The marker if it is sound. NotAStoreError if nothing here looks like a store."""
    path = os.path.join(scene.root, paths.MARKER)
    try:
        data = scene.disk.read_file(path, marker.MAX_BYTES)
        found = marker.decode(data, path, served=True, elsewhere=True)
    except FileNotFoundError:
        if _other_type(scene, paths.MARKER, folder=False):  # a link to nothing
            return None
        if not _looks_like_a_store(scene):
            raise NotAStoreError(f"{scene.root} is not a store: it has no {paths.MARKER}", path=scene.root) from None
        scene.out.found("marker-missing", paths.MARKER)
        return None
    except FormatTooNewError as error:
        scene.out.found(TOO_NEW, paths.MARKER, error.message)
        return None
    except NotAStoreError as error:
        scene.out.found("marker-damaged", paths.MARKER, error.message)
        return None
    except HoldfastError as error:
        if error.fields.get("errno") == errno.EFBIG:
            scene.out.found("marker-damaged", paths.MARKER, error.message)
        elif not _other_type(scene, paths.MARKER, folder=False):
            scene.out.found("unreadable", paths.MARKER, error.message)
        return None
    scene.out.checked["markers"] += 1
    if marker.encode(found) != data:
        scene.out.found("marker-damaged", paths.MARKER, "it says the same as was written, but in other bytes")
    _other_type(scene, paths.MARKER, folder=False)  # a link to a marker elsewhere
    return found


def _looks_like_a_store(scene: Scene) -> bool:
    wanted = {paths.INDEX, paths.JOURNAL, paths.BLOBS}
    return len(wanted & set(scene.disk.listdir(scene.root))) >= 2


def check_names(scene: Scene) -> None:
    """Every name right in the store, and in the folders that have names of few forms."""
    known = {paths.MARKER, paths.CONFIG, *paths.FOLDERS, *(d + c for d in paths.DATABASES for c in _COMPANIONS)}
    for name in _names(scene, ""):
        scene.out.checked["names"] += 1
        if name == paths.SEARCH_DAMAGED:
            scene.out.found("quarantined", name, "a damaged search index that was replaced")
        elif name not in known:
            scene.out.found("stray-file", name)
        elif name not in paths.FOLDERS and name != paths.MARKER:
            _other_type(scene, name, folder=False)
    for folder in paths.FOLDERS:
        if scene.facts(folder) is None:
            scene.out.found("folder-missing", folder + "/")
        elif not _other_type(scene, folder, folder=True):
            _check_folder(scene, folder)


def _check_folder(scene: Scene, folder: str) -> None:
    if folder == paths.BLOBS:
        return  # walked with the blobs
    now = time.time()
    for name in _names(scene, folder):
        path = f"{folder}/{name}"
        facts = scene.facts(path)
        if facts is None:
            continue
        scene.out.checked["names"] += 1
        if folder == paths.TMP:
            if facts.st_mtime < now - OLD_S:
                age = f"{(now - facts.st_mtime) / 86400:.1f} days old, {facts.st_size} bytes"
                scene.out.found("temporary-old", path, age, bytes=facts.st_size)
        elif folder == paths.QUARANTINE:
            scene.out.found("quarantined", path, f"{facts.st_size} bytes", bytes=facts.st_size)
        elif not _belongs(folder, name):
            scene.out.found("stray-file", path)
        elif not flags.S_ISREG(facts.st_mode):
            scene.out.found("wrong-type", path, "it is not a regular file")


def _belongs(folder: str, name: str) -> bool:
    if folder == paths.JOURNAL:
        return paths.parse_segment(name) is not None
    if folder == paths.PACKS:
        return paths.parse_pack(name) is not None
    if folder == paths.RECIPES:
        return paths.parse_recipe(name) is not None
    return folder == paths.LOCKS and name in _LOCKS


def _names(scene: Scene, folder: str) -> list[str]:
    try:
        return scene.disk.listdir(os.path.join(scene.root, folder))
    except HoldfastError as error:
        scene.out.found("unreadable", folder + "/", error.message)
        return []


def _other_type(scene: Scene, name: str, *, folder: bool) -> bool:
    """Whether something of another type stands at a name, which is then reported.

    A folder may be a link to one on another disk; a file may not: it would be written elsewhere than the rest is kept.
    """
    path = os.path.join(scene.root, name)
    if ram.holds(path):
        return False
    right = os.path.isdir(path) if folder else os.path.isfile(path) and not os.path.islink(path)
    if right or not os.path.lexists(path):
        return False
    scene.out.found("wrong-type", name, "it is not a folder" if folder else "it is not a regular file")
    return True

"""What a report of trouble should say of machine and store: versions, file system, locks. No names, no content."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from importlib import metadata
from typing import Any

import zstandard

from holdfast.blobs import chunks
from holdfast.care import diagnostics
from holdfast.disk import NETWORK, Disk
from holdfast.disk import mount_of as _mount_of
from holdfast.engine import open as opening
from holdfast.engine import served
from holdfast.engine.locks import FileLock
from holdfast.errors import HoldfastError, LockedError
from holdfast.formats import marker, paths
from holdfast.index import libraries
from holdfast.index.database import Database
from holdfast.index.migrations.manifest import LATEST_SCHEMA_VERSION
from holdfast.version import __version__

_SYNCS = 5


def doctor(path: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """Facts about this installation and, with `path`, about the folder and the store in it, as plain values.

    Works on a store that does not open. Of the store its marker, its lock files and, to be read, its index are opened.
    Where it can be written to, a small file is made in its `tmp/`, synced a few times and removed.
    """
    found: dict[str, Any] = {"versions": _versions(), "platform": _platform()}
    warnings = [f"a second SQLite library is loaded: {name}" for name in libraries.second_libraries()]
    if path is not None:
        root = os.path.abspath(os.fspath(path))
        found["file system"] = _file_system(root, warnings)
        found["store"] = _store(root, warnings)
    found["warnings"] = warnings
    return found


def _versions() -> dict[str, str]:
    found = {"holdfast": __version__, "python": platform.python_version(), **libraries.versions()}
    found["zstandard"] = zstandard.__version__
    found["pyfastcdc"] = "compiled" if chunks.available() else "not usable: large content is stored whole"
    found["zstd"] = ".".join(str(part) for part in zstandard.ZSTD_VERSION)
    for name in ("click", "rich"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _platform() -> dict[str, Any]:
    return {
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "implementation": platform.python_implementation(),
        "processors": os.cpu_count(),
    }


# -- file system -------------------------------------------------------------------------------------------------------


def _file_system(root: str, warnings: list[str]) -> dict[str, Any]:
    kind, options = _mount_of(root)
    network = kind in NETWORK
    if network:
        warnings.append(f"the store is on a network file system ({kind}): its locks and syncs may not hold")
    found: dict[str, Any] = {"type": kind, "network": network, "read-only": "ro" in options}
    with contextlib.suppress(OSError):
        facts = os.statvfs(root)
        found["free bytes"] = facts.f_bavail * facts.f_frsize
        found["free inodes"] = facts.f_favail
    found["sync ms"] = _sync_ms(root)
    return found


def _sync_ms(root: str) -> float | None:
    """Median milliseconds of writing 4 KiB and syncing it; None where nothing can be written."""
    folder = os.path.join(root, paths.TMP)
    if not os.path.isdir(folder):
        return None
    disk = Disk()
    path = os.path.join(folder, f"{os.urandom(16).hex()}.tmp")
    try:
        fd = disk.create(path)
    except (HoldfastError, FileNotFoundError):
        return None
    took = []
    try:
        for _ in range(_SYNCS):
            started = time.perf_counter()
            disk.write(fd, bytes(4096), path)
            disk.fsync(fd, path)
            took.append((time.perf_counter() - started) * 1000)
    except HoldfastError:
        return None
    finally:
        disk.close(fd)
        disk.unlink(path)
    return round(sorted(took)[_SYNCS // 2], 3)


# -- store -------------------------------------------------------------------------------------------------------------


def _store(root: str, warnings: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "marker": "sound",
        "known format": marker.FORMAT_VERSION,
        "known schema": LATEST_SCHEMA_VERSION,
    }
    try:
        seen = opening.read_marker(root, Disk(), served=True, elsewhere=True)
        found |= {"id": seen.store_id, "format": seen.format_version, "requires": list(seen.features)}
    except HoldfastError as error:
        found["marker"] = error.code
        warnings.append(f"the marker cannot be used ({error.code})")
    for name in paths.DATABASES:
        found[name] = _size(os.path.join(root, name))
        found[name + "-wal"] = _size(os.path.join(root, name + "-wal"))
    found["index"] = _rows(root)
    found["files"] = diagnostics.files(root, Disk())
    found["writer"] = _holder(os.path.join(root, paths.WRITER_LOCK))
    found["open elsewhere or here"] = _holder(os.path.join(root, paths.HANDLES_LOCK)) is not None
    away = {marker.SERVED, marker.INDEX_ELSEWHERE}
    if found["marker"] == "sound" and found[paths.INDEX] is None and away.isdisjoint(found["requires"]):
        warnings.append("there is no index: it is made anew when the store is opened")
    return found


def _rows(root: str) -> dict[str, Any] | None:
    """Numbers of rows, read from the index as it is; the code of the error where it cannot be read."""
    try:
        place = served.place_of(root, Disk())
        if place is None and not os.path.isfile(os.path.join(root, paths.INDEX)):
            return None
        if place is not None:
            served_index = served.index_class()(place, read_only=True)
            database, dialect = served_index.database, diagnostics.POSTGRESQL
        else:
            path = os.path.join(root, paths.INDEX)
            # Where there is no log to be read with it, no files are made beside it either.
            quiet = not os.path.exists(path + "-wal")
            database, dialect = Database(path, read_only=True, without_log=quiet), diagnostics.SQLITE
        try:
            return diagnostics.index_facts(database, dialect)
        finally:
            database.close_every()
    except HoldfastError as error:
        return {"error": error.code}


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None


def _holder(path: str) -> dict[str, Any] | None:
    """What the holder of a lock wrote of itself; None if nobody holds it."""
    try:
        lock = FileLock(path, absent_is_fine=True)
    except HoldfastError:
        return None
    try:
        lock.acquire(shared=False, wait_s=0.0)
    except LockedError as error:
        holder = error.fields.get("holder")
        # Not the name of the machine: reports are read by others.
        return {"pid": holder.get("pid"), "since": holder.get("since")} if isinstance(holder, dict) else {"pid": None}
    except HoldfastError:
        return None
    finally:
        lock.close()
    return None

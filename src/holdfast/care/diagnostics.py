"""What a report of trouble should say of an open store: versions, counts, sizes, states. No word that a user wrote."""

from __future__ import annotations

import os
from typing import Any

from holdfast.disk import Disk
from holdfast.engine import outbox
from holdfast.engine.handle import Handle
from holdfast.errors import HoldfastError
from holdfast.formats import marker, paths
from holdfast.index import migrating
from holdfast.index.database import Database
from holdfast.index.migrations.manifest import LATEST_SCHEMA_VERSION
from holdfast.version import __version__

POSTGRESQL = "postgresql"
SQLITE = "sqlite"


def diagnostics(handle: Handle) -> dict[str, Any]:
    """Counts, versions, sizes and states of a store, as plain values under keys that stay. HandleDeadError.

    Names, contents, metadata, tags, actors and paths are nowhere in it. What cannot be read stands as the code of its
    error: a report is wanted most where something is broken.
    """
    handle.alive()
    served = marker.SERVED in handle.marker.features
    return {
        "versions": {
            "holdfast": __version__, "format": handle.marker.format_version, "known format": marker.FORMAT_VERSION,
            "known schema": LATEST_SCHEMA_VERSION,
        },
        "store": {"id": handle.marker.store_id, "requires": list(handle.marker.features)},
        "index": _or_code(lambda: index_facts(handle.index.database, POSTGRESQL if served else SQLITE)),
        "chain": _or_code(lambda: _chain(handle)),
        "outbox": _or_code(lambda: _outbox(handle)),
        "files": files(handle.root, handle.disk),
        "state": {
            "read only": handle.read_only, "derived anew": handle.opened.rebuilt,
            "somebody writes": _or_code(lambda: handle.writer.holder() is not None),
            "write-ahead log": handle.index.has_log(),
        },
    }  # fmt: skip


def index_facts(database: Database, dialect: str) -> dict[str, Any]:
    """Dialect, schema version and the numbers of rows that the manifest of migrations names."""
    return {"dialect": dialect, "schema": migrating.version_of(database), "rows": migrating.counts(database)}


def files(root: str, disk: Disk) -> dict[str, Any]:
    """How many files there are in the folders of a store, and how large its databases and its journal are."""
    found: dict[str, Any] = {}
    for folder in (paths.JOURNAL, paths.PACKS, paths.RECIPES, paths.QUARANTINE, paths.TMP):
        found[folder] = _or_code(lambda folder=folder: len(disk.listdir(os.path.join(root, folder))))
    found["journal bytes"] = _or_code(lambda: _sizes(os.path.join(root, paths.JOURNAL), disk))
    for name in paths.DATABASES:
        facts = disk.stat(os.path.join(root, name))
        found[f"{name} bytes"] = None if facts is None else facts.st_size
    return found


def _sizes(folder: str, disk: Disk) -> int:
    facts = (disk.stat(os.path.join(folder, name)) for name in disk.listdir(folder))
    return sum(one.st_size for one in facts if one is not None)


def _chain(handle: Handle) -> dict[str, Any]:
    head = handle.index.chain.head() or handle.origin
    return {"changes": head.next_seq - 1, "head": head.hash.hex()}


def _outbox(handle: Handle) -> dict[str, Any]:
    rows = outbox.outboxes_of(handle).rows(make=False)
    consumers, letters = (0, 0) if rows is None else rows.totals()
    return {"consumers": consumers, "dead letters": letters}


def _or_code(ask: Any) -> Any:
    try:
        return ask()
    except HoldfastError as error:
        return {"error": error.code}
    except OSError as error:
        return {"error": type(error).__name__}

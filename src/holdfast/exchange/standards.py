"""`store.standards`: collections, lineage and runs in the forms that the field has agreed on."""

from __future__ import annotations

import os
from typing import Any

from holdfast.engine.handle import Handle
from holdfast.engine.past import When
from holdfast.engine.recover import Progress
from holdfast.errors import InvalidValueError
from holdfast.exchange import openlineage_export, package_export, package_import, prov_export
from holdfast.exchange.crate import About
from holdfast.exchange.openlineage_export import EventsReport
from holdfast.exchange.package_export import PackageReport, Wanted
from holdfast.exchange.package_import import TakenReport
from holdfast.exchange.prov_export import LIMIT, ProvReport
from holdfast.kinds.clauses import upheld
from holdfast.values.records import Collection


@upheld
class Standards:
    """Out and in again: RO-Crate, BagIt, W3C PROV, OpenLineage. What is written appears whole or not at all."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def export_bagit(
        self, dest: str | bytes | os.PathLike[str], ref: str | bytes | Collection = "", *, at: When | None = None,
        progress: Progress | None = None, **about: str,
    ) -> PackageReport:  # fmt: skip
        """A collection as a BagIt bag (RFC 8493) whose payload is an RO-Crate: see `export_ro_crate`."""
        wanted = Wanted(ref, at, _about(about), bagged=True)
        return package_export.export(self._handle, dest, wanted, progress)

    def export_ro_crate(
        self, dest: str | bytes | os.PathLike[str], ref: str | bytes | Collection = "", *, at: When | None = None,
        progress: Progress | None = None, **about: str,
    ) -> PackageReport:  # fmt: skip
        """A collection as an RO-Crate 1.1, with the runs that read or made what is in it (Process Run Crate 0.5).

        Into the new or empty folder `dest`: newest contents, names, tags and metadata. `about`: name, description,
        license, author, affiliation, publisher, url. Durable when it returns. Raises NotFoundError,
        DestinationDiffersError, InvalidValueError.
        """
        wanted = Wanted(ref, at, _about(about), bagged=False)
        return package_export.export(self._handle, dest, wanted, progress)

    def export_prov(
        self, dest: str | bytes | os.PathLike[str], ref: str | bytes = "", *, at: When | None = None,
        limit: int = LIMIT, progress: Progress | None = None,
    ) -> ProvReport:  # fmt: skip
        """Lineage as W3C PROV-JSON in the new file `dest`: see `holdfast.exchange.prov_export`."""
        return prov_export.export(self._handle, dest, ref, at=at, limit=limit, progress=progress)

    def export_openlineage(
        self,
        dest: str | bytes | os.PathLike[str],
        *,
        namespace: str = "",
        at: When | None = None,
        progress: Progress | None = None,
    ) -> EventsReport:
        """Runs as OpenLineage events in the new file `dest`: see `holdfast.exchange.openlineage_export`."""
        return openlineage_export.export(self._handle, dest, namespace=namespace, at=at, progress=progress)

    def import_bag(
        self,
        source: str | bytes | os.PathLike[str],
        into: str | bytes = "",
        *,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> TakenReport:
        """Take in the payload of a BagIt bag, with the metadata of the RO-Crate that it may be.

        Every digest, path and name is checked before anything is written, and all comes in one transaction. Raises
        ImportRefusedError, NameTakenError.
        """
        return package_import.import_package(
            self._handle, source, into, bagged=True, dry_run=dry_run, progress=progress
        )  # fmt: skip

    def import_ro_crate(
        self,
        source: str | bytes | os.PathLike[str],
        into: str | bytes = "",
        *,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> TakenReport:
        """Take in the files of an RO-Crate with what it says of them: else as `import_bag`."""
        return package_import.import_package(
            self._handle, source, into, bagged=False, dry_run=dry_run, progress=progress
        )  # fmt: skip


def _about(said: dict[str, Any]) -> About:
    try:
        return About(**{key: value for key, value in said.items() if value is not None})
    except TypeError as error:
        raise InvalidValueError(
            f"a package cannot be told {', '.join(sorted(said))}", where="about", reason="argument",
            remedy="Say name, description, license, author, affiliation, publisher or url.",
        ) from error  # fmt: skip

"""Backups: generations of a store in a folder (or another destination), checked, restored, and tried out.

Names are loaded when they are used: who backs up need not wait for what restores.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.care.backup.destination import Destination
    from holdfast.care.backup.drilling import DrillReport, drill
    from holdfast.care.backup.folder import Folder
    from holdfast.care.backup.report import BackupReport, Finding, RestoreReport, VerifyReport
    from holdfast.care.backup.restoring import Wanted, restore
    from holdfast.care.backup.rewinding import Point, point
    from holdfast.care.backup.taking import Way, backup, kept
    from holdfast.care.backup.verifying import verify
    from holdfast.values.loss import Loss

_HOMES = {
    "BackupReport": "holdfast.care.backup.report",
    "Destination": "holdfast.care.backup.destination",
    "DrillReport": "holdfast.care.backup.drilling",
    "Finding": "holdfast.care.backup.report",
    "Folder": "holdfast.care.backup.folder",
    "Loss": "holdfast.values.loss",
    "Point": "holdfast.care.backup.rewinding",
    "RestoreReport": "holdfast.care.backup.report",
    "VerifyReport": "holdfast.care.backup.report",
    "Wanted": "holdfast.care.backup.restoring",
    "Way": "holdfast.care.backup.taking",
    "backup": "holdfast.care.backup.taking",
    "drill": "holdfast.care.backup.drilling",
    "kept": "holdfast.care.backup.taking",
    "point": "holdfast.care.backup.rewinding",
    "restore": "holdfast.care.backup.restoring",
    "verify": "holdfast.care.backup.verifying",
}

__all__ = [
    "BackupReport",
    "Destination",
    "DrillReport",
    "Finding",
    "Folder",
    "Loss",
    "Point",
    "RestoreReport",
    "VerifyReport",
    "Wanted",
    "Way",
    "backup",
    "drill",
    "kept",
    "point",
    "restore",
    "verify",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(home), name)
    return found

"""Backups: generations of a store in a folder (or another destination), checked, restored, and tried out."""

from holdfast.care.backup.destination import Destination
from holdfast.care.backup.drilling import DrillReport, drill
from holdfast.care.backup.folder import Folder
from holdfast.care.backup.report import BackupReport, Finding, RestoreReport, VerifyReport
from holdfast.care.backup.restoring import Wanted, restore
from holdfast.care.backup.rewinding import Point, point
from holdfast.care.backup.taking import Way, backup, kept
from holdfast.care.backup.verifying import verify
from holdfast.values.loss import Loss

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

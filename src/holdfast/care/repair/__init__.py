"""Repair: mends what fsck finds, from the copies that are left, and deletes nothing."""

from holdfast.care.repair.report import RepairReport, Step
from holdfast.care.repair.work import Wanted, repair

__all__ = ["RepairReport", "Step", "Wanted", "repair"]

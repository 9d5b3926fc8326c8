"""fsck: holds blobs, index and journal against each other, names every difference, and changes nothing."""

from holdfast.care.fsck.check import check, check_path
from holdfast.care.fsck.findings import KINDS, Finding, Severity
from holdfast.care.fsck.portion import Portion
from holdfast.care.fsck.report import FsckReport, OnFinding, PassReport

__all__ = ["KINDS", "Finding", "FsckReport", "OnFinding", "PassReport", "Portion", "Severity", "check", "check_path"]

"""Tamper evidence: the whole chain, in both of its copies, proven up to a head that was written down elsewhere."""

from holdfast.care.audit.foreign import ForeignChain
from holdfast.care.audit.report import AuditFinding, AuditReport
from holdfast.care.audit.room import Auditing
from holdfast.care.audit.verify import verify_path

__all__ = ["AuditFinding", "AuditReport", "Auditing", "ForeignChain", "verify_path"]

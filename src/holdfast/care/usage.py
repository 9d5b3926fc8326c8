"""How much of a store is whose: records and bytes by tenant and by owner."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.engine import tenancy
from holdfast.engine.handle import Handle
from holdfast.errors import InvalidValueError
from holdfast.index.select.usage import UsageRows
from holdfast.kinds import checks


@dataclass(frozen=True, slots=True)
class Usage:
    """Live records and tombstones by kind, and bytes. `tenant`, `owner`: whose; None: all.

    `logical_bytes`: all kept revisions together, before compression; `content_bytes`: each content once, however often
    it was put. A content that two tenants have counts for both: what it takes on the disk is the store's (`status`).
    """

    tenant: str | None
    owner: str | None
    counts: dict[str, int]
    deleted: dict[str, int]
    revisions: int
    logical_bytes: int
    content_bytes: int


def usage(handle: Handle, *, tenant: str | None = None, owner: str | None = None) -> Usage:
    """Count; the rows are read once over. A handle of one tenant counts its own. IndexDamagedError."""
    handle.alive()
    tenancy.checked(tenant)
    if owner is not None:
        checks.text_of(owner, "owner")
    if handle.tenant is not None:
        if tenant not in (None, handle.tenant):
            raise InvalidValueError("this handle is of one tenant", where="tenant", reason="tenant",
                                    remedy="Leave `tenant` out.")  # fmt: skip
        tenant = handle.tenant
    found = UsageRows(handle.index.database).count(tenant, owner)
    return Usage(tenant, owner, found.live, found.deleted, found.revisions, found.logical, found.unique)


def tenants(handle: Handle) -> tuple[str, ...]:
    """Every tenant that has records, by name; "" is the default one."""
    handle.alive()
    return tuple(UsageRows(handle.index.database).tenants())

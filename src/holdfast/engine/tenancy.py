"""Which tenant a change belongs to: new records get theirs here, and no change ties records of two tenants together.

That holds for every way of writing, for all go through a unit of work. So what is reached from a record of one tenant
is that tenant's, and reading has to be guarded only where records are found (index/scoped.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from holdfast.engine.handle import Handle
from holdfast.errors import InvalidValueError, NotFoundError, StoreWideError
from holdfast.values import moment
from holdfast.values.change import Body

SHARED = frozenset({"relationship-type", "metadata-index"})
"""Kinds of records that belong to the store as a whole."""

MAX_CHARACTERS = 200


def checked(tenant: object) -> str | None:
    """A tenant's name as it can be kept; InvalidValueError."""
    if tenant is None:
        return None
    if (
        not isinstance(tenant, str)
        or len(tenant) > MAX_CHARACTERS
        or not tenant.isprintable()
        or tenant != tenant.strip()
    ):
        raise InvalidValueError(
            f"{tenant!r} cannot name a tenant", where="tenant", reason="name",
            remedy=f"Give a text of up to {MAX_CHARACTERS} printable characters, without spaces at its ends.",
        )  # fmt: skip
    return tenant


def root_first(handle: Handle, bodies: Sequence[Body], now_us: int) -> Body | None:
    """The change that makes the tenant's root collection, if it has none and `bodies` do not begin with it."""
    if not handle.tenant or handle.index.collections.root() is not None:
        return None
    if bodies[0]["kind"] == "collection" and "parent" not in bodies[0].get("new", {}):
        return None
    new = {"name": "", "tenant": handle.tenant}
    return {"kind": "collection", "action": "create", "id": moment.draw_id(now_us), "new": new}


def bound(handle: Handle, bodies: Sequence[Body]) -> Sequence[Body]:
    """The changes, each with its tenant. Raises for one that concerns, or refers to, a record of another tenant."""
    own = handle.tenant
    if own is None and _is_plain(bodies) and not handle.index.tenancy.in_use():
        return bodies
    known: dict[str, str] = {}
    for body in bodies:
        if body["action"] == "create":
            known[body["id"]] = ""
    wanted = {one for body in bodies for one in _concerned(body)} - known.keys()
    known |= handle.index.tenancy.of_ids(wanted)
    found = []
    for body in bodies:
        found.append(_bound(body, known, own))
    return found


def _is_plain(bodies: Sequence[Body]) -> bool:
    """Whether none says a tenant."""
    from holdfast.values.newcomers import Newcomers  # noqa: PLC0415 - start-up time: who reads makes none

    if type(bodies) is Newcomers:
        return True
    return all("tenant" not in body.get("new", ()) for body in bodies)


def _bound(body: Body, known: dict[str, str], own: str | None) -> Body:
    if body["kind"] in SHARED:
        if own is not None:
            raise StoreWideError(f"a {body['kind']} is for all tenants, and the handle is of one")
        return body
    creates = body["action"] == "create"
    tenants = {known[one] for one in _concerned(body) if one in known and not (creates and one == body["id"])}
    said = body.get("new", {}).get("tenant")
    if own is not None and tenants - {own}:
        stranger = next(one for one in _concerned(body) if known.get(one, own) != own)
        raise NotFoundError(f"there is no record {stranger!r}", kind="record", ref=stranger)
    if said is not None:
        tenants.add(said)
    if len(tenants) > 1:
        raise InvalidValueError(
            "records of two tenants cannot be tied to each other", where="tenant", reason="tenants",
            remedy="Put what both need under each of them: contents are stored once all the same.",
        )  # fmt: skip
    if not creates:
        return body
    tenant = own if own is not None else next(iter(tenants), "")
    known[body["id"]] = tenant
    return body if said is not None or not tenant else {**body, "new": {**body["new"], "tenant": tenant}}


def _concerned(body: Body) -> Iterator[str]:
    """Ids of the records that a change is about, or refers to."""
    yield body["id"]
    new = body.get("new", {})
    for field in ("parent", "collection", "run"):
        if isinstance(new.get(field), str):
            yield new[field]
        pair = body.get("set", {}).get(field)
        if pair is not None and isinstance(pair[1], str):
            yield pair[1]
    for side in ("source", "target"):
        end = new.get(side)
        if isinstance(end, dict) and end.get("kind") != "external":
            yield end["id"]
    for field in ("run", "cause"):
        if isinstance(body.get(field), str):
            yield body[field]

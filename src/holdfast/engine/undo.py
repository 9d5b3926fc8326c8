"""What takes a transaction back: the changes that undo it, newest first. History stays: undoing adds, never cuts.

Used where a copy of the store lacks the bytes of its last transactions, and where the work of a run is rolled back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from holdfast.values import canon, moment
from holdfast.values.change import Body, Transaction


def touched(transaction: Transaction) -> set[str]:
    """Ids of the records that a transaction changed."""
    return {body["id"] for body in _bodies(transaction)}


def created(transaction: Transaction) -> set[str]:
    """Ids of the records that a transaction made."""
    return {body["id"] for body in _bodies(transaction) if body["action"] == "create"}


def mentioned(transaction: Transaction) -> set[str]:
    """Every id that stands anywhere in a transaction's changes."""
    return set(_ids(list(_bodies(transaction))))


def contents(transaction: Transaction) -> set[str]:
    """Digests of the content that a transaction brought in."""
    revisions = (body.get("new", {}).get("revision") for body in _bodies(transaction))
    return {revision["digest"] for revision in revisions if revision}


def inverses(transaction: Transaction) -> Iterator[Body]:
    """The changes that take a transaction back, to be made in this order.

    What cannot be taken back is left out: bytes that were purged, and links of runs (their ends go).
    """
    for body in reversed(list(_bodies(transaction))):
        yield from _inverse(body)


def _inverse(body: Body) -> Iterator[Body]:
    head: Body = {"kind": body["kind"], "id": body["id"]}
    action = body["action"]
    if action == "create" and body["kind"] == "artifact":
        yield {**head, "action": "withdraw", "revisions": [1]}
        yield {**head, "action": "delete"}
    elif action == "create" and body["kind"] != "relationship-type":
        yield {**head, "action": "delete"}
    elif action == "revise":
        # The number to go back to is known when the change is made: others may have been withdrawn since.
        yield {**head, "action": "withdraw", "revisions": [body["new"]["number"]], "newest": None}
    elif action == "update":
        yield {**head, "action": "update", "set": {field: [new, old] for field, (old, new) in body["set"].items()}}
    elif action == "delete":
        yield {**head, "action": "undelete"}
    elif action == "undelete":
        yield {**head, "action": "delete"}


def _bodies(transaction: Transaction) -> Iterator[Body]:
    for body in transaction.bodies:
        yield canon.decode(body)


def _ids(value: Any) -> Iterator[str]:
    if isinstance(value, str) and moment.is_id(value):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _ids(item)
    elif isinstance(value, list):
        for item in value:
            yield from _ids(item)

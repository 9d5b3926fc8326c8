"""Faults of kinds that the other mutants have not: edges of pages, times, names that look alike, caches, neighbours."""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Iterator
from typing import Any

from holdfast import Store
from holdfast.blobs import MemoryBlobs

from .mutants import blobs, store


@store("S-13", "test_every_operator_means_what_is_written_of_it")
def takes_null_for_missing(one: Store) -> None:
    inner = one.artifacts.find

    def otherwise(where: Any = None, **named: Any) -> Any:
        found = inner(where, **named)
        if getattr(where, "op", "") != "exists":
            return found
        return (a for a in found if (a.metadata.get("v") is not None) or "v" not in a.metadata)

    one.artifacts.find = otherwise  # type: ignore[method-assign]


@store("S-3", "test_what_was_saved_is_given_back_as_it_was", drags="S-7 S-13")
def composes_names(one: Store) -> None:
    inner = one.artifacts.put
    one.artifacts.put = lambda path, content, **said: inner(  # type: ignore[method-assign]
        unicodedata.normalize("NFC", path) if isinstance(path, str) else path, content, **said
    )


@store("S-7", "test_pages_joined_are_the_whole")
def ends_at_a_full_page(one: Store) -> None:
    """The last artifact is lost where a page is just full."""
    inner = one.artifacts.page

    def page(*args: Any, limit: int = 100, **named: Any) -> Any:
        found = inner(*args, limit=limit, **named)
        return (
            dataclasses.replace(found, items=found.items[:-1])
            if len(found.items) == limit and not found.token
            else found
        )

    one.artifacts.page = page  # type: ignore[method-assign]


@store("S-3", "test_what_was_read_is_read_anew_when_it_has_changed")
def remembers_what_it_read(one: Store) -> None:
    """A cache by path that no later write ends."""
    inner, known = one.artifacts.get, {}

    def get(ref: Any, **named: Any) -> Any:
        if not isinstance(ref, str) or named:
            return inner(ref, **named)
        return known.setdefault(ref, inner(ref))

    one.artifacts.get = get  # type: ignore[method-assign]


@blobs("B-6", "test_b6_what_is_deleted_takes_no_neighbour_along")
class TakesNeighboursAlong(MemoryBlobs):
    """Those whose digest begins alike lie in one folder, and go with it."""

    def delete(self, digest: str) -> bool:
        found = super().delete(digest)
        for entry in list(self.walk()):
            if found and entry.digest[:9] == digest[:9]:
                super().delete(entry.digest)
        return found


@blobs("B-10", "test_b10_many_are_read_each_once_for_each_time_it_was_asked_for")
class EndsEarlyWithoutAnError(MemoryBlobs):
    """A connection that was lost looks like the end."""

    def read_many(self, wanted: Any) -> Iterator[Any]:
        for digest, content in super().read_many(wanted):
            yield digest, content[: 1 << 16]

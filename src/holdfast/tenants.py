"""What a store has for several tenants: handles of one, how much each has, and what is for who keeps it for all."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar

from holdfast.engine.handle import Handle
from holdfast.errors import StoreWideError
from holdfast.kinds.clauses import upheld

# Most stores have one tenant: what only others need is imported when it is used.
# ruff: noqa: PLC0415
if TYPE_CHECKING:
    from holdfast.care.usage import Usage
    from holdfast.kinds.settings import Configuration

P = ParamSpec("P")
S = TypeVar("S", bound="OfTenants")
R = TypeVar("R")


def store_wide(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """A method that concerns all tenants: on a handle of one it raises StoreWideError."""

    def guarded(store: S, /, *args: P.args, **more: P.kwargs) -> R:
        if store.tenant is not None:
            raise StoreWideError(f"{method.__name__} concerns the whole store, and this handle is of one tenant")
        return method(store, *args, **more)

    functools.update_wrapper(guarded, method)
    return guarded


@upheld
class OfTenants:
    """The part of `Store` that knows of tenants."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    @property
    def tenant(self) -> str | None:
        """Whose records alone it reads and writes; None: all."""
        return self._handle.tenant

    def for_tenant(self, tenant: str) -> Self:
        """The same store, opened once more for one tenant: records of others are not there for it. To be closed too.

        See docs/tenants.md. Whatever this one may not do (write, for one), that one may not either.
        """
        from holdfast import ram
        from holdfast.engine import memory
        from holdfast.engine import open as opening
        from holdfast.engine.settings import Settings
        from holdfast.engine.tenancy import checked

        if self.tenant is not None:
            raise StoreWideError("for_tenant concerns the whole store, and this handle is of one tenant")
        own = self._handle
        own.alive()
        settings = Settings(
            own.actor,
            wait_s=own.wait_s,
            read_only=own.read_only,
            clock=own.clock,
            disk=own.disk,
            tenant=checked(tenant),
            index=getattr(own.index, "place", None),
        )
        if ram.holds(own.root):
            return type(self)(memory.join(own.root, settings))
        return type(self)(opening.open_store(own.root, settings))

    def usage(self, *, tenant: str | None = None, owner: str | None = None) -> Usage:
        """Records and bytes, of one tenant or owner or of all: see `holdfast.care.usage`."""
        from holdfast.care import usage as using

        return using.usage(self._handle, tenant=tenant, owner=owner)

    @store_wide
    def tenants(self) -> tuple[str, ...]:
        """Every tenant that has records, by name; "" is the default one."""
        from holdfast.care import usage as using

        return using.tenants(self._handle)

    @functools.cached_property
    @store_wide
    def configuration(self) -> Configuration:
        """What is set for this store."""
        from holdfast.kinds.settings import Configuration

        return Configuration(self._handle)

    @store_wide
    def diagnostics(self) -> dict[str, Any]:
        """Versions, counts, sizes and states, for a report: no name, no content. See `holdfast.care.diagnostics`."""
        from holdfast.care import diagnostics

        return diagnostics.diagnostics(self._handle)

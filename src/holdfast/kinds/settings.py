"""What is set for a store, and what a store has of its own."""

from __future__ import annotations

from typing import Any

from holdfast.engine import configuration
from holdfast.engine.configuration import Configured
from holdfast.engine.handle import Handle
from holdfast.kinds.clauses import upheld
from holdfast.values.configuration import TABLE


@upheld
class Configuration:
    """`store.configuration`: values that count for this store when a call does not say otherwise."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def list(self) -> tuple[Configured, ...]:
        """Every setting that a store can have, its value, and where that is from: environment, store or default."""
        self._handle.alive()
        root, disk = self._handle.root, self._handle.disk
        return tuple(configuration.found(one.name, root=root, disk=disk) for one in TABLE if one.stored)

    def set(self, name: str, value: Any) -> Configured:
        """Keep a value in the store, for all who open it from now on. Durable when it returns. InvalidValueError."""
        return self._keep(name, value)

    def unset(self, name: str) -> Configured:
        """Keep none any more; what counts then. No value is no error."""
        return self._keep(name, None)

    def _keep(self, name: str, value: Any) -> Configured:
        handle = self._handle
        handle.writable()
        handle.writer.acquire("configure", wait_s=handle.wait_s)
        try:
            configuration.store_value(handle.root, handle.disk, name, value)
        finally:
            handle.writer.release()
        return configuration.found(name, root=handle.root, disk=handle.disk)

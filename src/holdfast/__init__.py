"""Holdfast keeps artifacts, their revisions and the runs that made them, for good, on your own machine.

Names are loaded when they are used (PEP 562): the command's help must not pay for the database.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from holdfast.version import __version__

if TYPE_CHECKING:
    from holdfast.care.backup.calls import backup_path as backup
    from holdfast.care.backup.calls import drill_path as drill
    from holdfast.care.backup.calls import restore_path as restore
    from holdfast.care.backup.calls import verify_path as verify_backup
    from holdfast.care.fsck.portion import Portion
    from holdfast.kinds.view import View
    from holdfast.store import Store
    from holdfast.stores import create_store as create
    from holdfast.stores import doctor, import_store
    from holdfast.stores import fsck_store as fsck
    from holdfast.stores import memory_store as memory
    from holdfast.stores import open_store as open  # noqa: A004
    from holdfast.stores import rebuild_store as rebuild
    from holdfast.stores import recover_store as recover
    from holdfast.stores import repair_store as repair
    from holdfast.values.change import Actor
    from holdfast.values.query import field
    from holdfast.values.query import parse as parse_condition
    from holdfast.values.records import Endpoint, FileFacts

_HOMES = {
    "Actor": ("holdfast.values.change", "Actor"),
    "Endpoint": ("holdfast.values.records", "Endpoint"),
    "FileFacts": ("holdfast.values.records", "FileFacts"),
    "Portion": ("holdfast.care.fsck.portion", "Portion"),
    "Store": ("holdfast.store", "Store"),
    "View": ("holdfast.kinds.view", "View"),
    "backup": ("holdfast.care.backup.calls", "backup_path"),
    "create": ("holdfast.stores", "create_store"),
    "doctor": ("holdfast.stores", "doctor"),
    "drill": ("holdfast.care.backup.calls", "drill_path"),
    "field": ("holdfast.values.query", "field"),
    "fsck": ("holdfast.stores", "fsck_store"),
    "import_store": ("holdfast.stores", "import_store"),
    "memory": ("holdfast.stores", "memory_store"),
    "open": ("holdfast.stores", "open_store"),
    "parse_condition": ("holdfast.values.query", "parse"),
    "rebuild": ("holdfast.stores", "rebuild_store"),
    "recover": ("holdfast.stores", "recover_store"),
    "repair": ("holdfast.stores", "repair_store"),
    "restore": ("holdfast.care.backup.calls", "restore_path"),
    "verify_backup": ("holdfast.care.backup.calls", "verify_path"),
}

__all__ = [
    "Actor",
    "Endpoint",
    "FileFacts",
    "Portion",
    "Store",
    "View",
    "__version__",
    "backup",
    "create",
    "doctor",
    "drill",
    "field",
    "fsck",
    "import_store",
    "memory",
    "open",
    "parse_condition",
    "rebuild",
    "recover",
    "repair",
    "restore",
    "verify_backup",
]


def __getattr__(name: str) -> Any:
    """Load a public name on its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'holdfast' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    found = globals()[name] = getattr(import_module(module), attribute)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

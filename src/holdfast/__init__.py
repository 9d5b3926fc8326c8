"""Holdfast keeps artifacts, their revisions and the runs that made them, for good, on your own machine."""

from holdfast.store import Store
from holdfast.store import create_store as create
from holdfast.store import doctor
from holdfast.store import fsck_store as fsck
from holdfast.store import open_store as open  # noqa: A004
from holdfast.store import rebuild_store as rebuild
from holdfast.store import recover_store as recover
from holdfast.values.change import Actor
from holdfast.values.query import field
from holdfast.values.query import parse as parse_condition
from holdfast.values.records import Endpoint, FileFacts
from holdfast.version import __version__

__all__ = [
    "Actor",
    "Endpoint",
    "FileFacts",
    "Store",
    "__version__",
    "create",
    "doctor",
    "field",
    "fsck",
    "open",
    "parse_condition",
    "rebuild",
    "recover",
]

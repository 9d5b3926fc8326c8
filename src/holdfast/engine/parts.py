"""Parts of a store that somebody else has written: a blob store or an index, given as an object or by a URL.

A URL is resolved by its scheme, through the entry points `holdfast.blobs` and `holdfast.indexes`: a package that is
installed names there what makes its backend of a URL. PostgreSQL's scheme is our own (engine/served.py). What a store
stands on it does not keep, for a URL may have a password: its marker says only that a part is elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from inspect import get_annotations
from typing import TYPE_CHECKING, Any, cast

from holdfast.blobs.contract import BlobStore
from holdfast.errors import InvalidValueError, MissingDependencyError, UnknownBackendError
from holdfast.formats import marker
from holdfast.index.contract import Index
from holdfast.index.keeper import Keeper
from holdfast.index.sql import SqlIndex
from holdfast.values.frozen import dataclass

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint, EntryPoints

BLOBS, INDEXES = "holdfast.blobs", "holdfast.indexes"
"""Groups of entry points. Of a blob store: `make(url)`; of an index: `make(url, read_only=…)`."""

INDEX_ENVIRONMENT = "HOLDFAST_INDEX"
BLOBS_ENVIRONMENT = "HOLDFAST_BLOBS"
_LACKS = "See the numbered sentences in docs/backends.md, and hold it to them with holdfast.testing.conformance."


class Opens:
    """Makes handles on an index that was given, or that a URL names. The first handle is the given object itself."""

    def __init__(self, given: object) -> None:
        """UnknownBackendError for a URL that nobody serves, InvalidValueError for what is no index."""
        if isinstance(given, str):
            _served_by(INDEXES, given)
        self._url = given if isinstance(given, str) else None
        self._object = None if isinstance(given, str) else index_of(given)
        self._used = False

    def __call__(self, *, read_only: bool) -> SqlIndex:
        """A handle, for reading only if that is asked for. UnknownBackendError, InvalidValueError, and its own."""
        if self._object is None:
            return index_of(_made(INDEXES, self._url or "", read_only=read_only))
        if self._used:
            return self._object.again(read_only=read_only)
        self._used = True
        return self._object

    def give_back(self, index: SqlIndex) -> None:
        """A handle that was only looked at: closed, unless it is what the next call would give."""
        if index is self._object:
            self._used = False
        else:
            index.close()


@dataclass(frozen=True, slots=True)
class Parts:
    """What of a store is not in its folder and not PostgreSQL's. None: it is as usual."""

    blobs: BlobStore | None = None
    index: Opens | None = None


def scheme_of(given: object) -> str:
    """The scheme of a URL; "" of what is none."""
    if not isinstance(given, str) or "://" not in given:
        return ""
    found = given.partition("://")[0]
    return (
        found.lower() if found.isascii() and found.replace("+", "").replace("-", "").replace(".", "").isalnum() else ""
    )


def blobs_of(given: object) -> BlobStore:
    """The blob store that was given, or that a URL names. UnknownBackendError, InvalidValueError, errors of its own."""
    made = _made(BLOBS, given) if isinstance(given, str) else given
    return cast("BlobStore", _fitting(made, BlobStore, "blobs"))


def index_of(made: object) -> SqlIndex:
    """An index that somebody else has written, or the one over what keeps its rows. InvalidValueError for neither."""
    if isinstance(made, Index):
        return cast("SqlIndex", made)
    from holdfast.index.kept import KeptIndex  # noqa: PLC0415 - start-up time

    return KeptIndex(cast("Keeper", _fitting(made, Keeper, "index")))


def _fitting(made: object, protocol: type[Any], where: str) -> object:
    """InvalidValueError unless it has all that the protocol names: before a byte is written."""
    if isinstance(made, protocol):
        return made
    wanted = {name for one in protocol.__mro__ for name in (*vars(one), *get_annotations(one))}
    lacks = sorted(name for name in wanted if not name.startswith("_") and not hasattr(made, name))
    raise InvalidValueError(
        f"{type(made).__name__} is no {protocol.__name__}: it lacks {', '.join(lacks)}", where=where, reason="protocol",
        remedy=_LACKS,
    )  # fmt: skip


def _made(group: str, url: str, **how: Any) -> object:
    return _loaded(_served_by(group, url))(url, **how)


def _served_by(group: str, url: str) -> EntryPoint:
    scheme = scheme_of(url)
    for one in _registered(group):
        if one.name == scheme:
            return one
    raise unknown(group, scheme)


def _registered(group: str) -> EntryPoints:
    from importlib.metadata import entry_points  # noqa: PLC0415 - start-up time

    return entry_points(group=group)


def _loaded(one: EntryPoint) -> Callable[..., object]:
    try:
        loaded: Callable[..., object] = one.load()
    except ImportError as error:
        package = one.dist.name if one.dist is not None else one.value
        raise MissingDependencyError(
            f"{package}, which serves {one.name}://, cannot be imported: {error.name or 'it'} is missing",
            library=error.name or package, extra="", remedy=f"Install {package} with all that it needs.",
        ) from error  # fmt: skip
    return loaded


def installed(group: str) -> list[str]:
    """The schemes that a URL may have."""
    return sorted({one.name for one in _registered(group)} | ({"postgresql"} if group == INDEXES else set()))


def unknown(group: str, scheme: str) -> UnknownBackendError:
    """The error for a scheme that nobody has registered. It does not repeat the URL: that may have a password."""
    found = installed(group)
    what = "blob store" if group == BLOBS else "index"
    known = ", ".join(f"{one}://" for one in found) or "none"
    return UnknownBackendError(
        f"no {what} is installed for {scheme or 'this'}://; installed: {known}", scheme=scheme, group=group,
        installed=found,
    )  # fmt: skip


def parts_named(features: tuple[str, ...]) -> Parts:
    """What the environment names of the parts that a marker asks for."""
    blobs = os.environ.get(BLOBS_ENVIRONMENT) if marker.BLOBS_ELSEWHERE in features else None
    index = os.environ.get(INDEX_ENVIRONMENT) if marker.INDEX_ELSEWHERE in features else None
    return Parts(blobs_of(blobs) if blobs else None, Opens(index) if index else None)

"""Reads the metadata document of an RO-Crate: what is said of each file and folder, and whether it can be so.

RO-Crate 1.0 to 1.x. Of a crate that Holdfast made, records come back as they were; of another one, all that is said of
a file becomes its metadata.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.exchange import crate
from holdfast.exchange.crate import Entity
from holdfast.exchange.ground import Steps, shown
from holdfast.values import canon
from holdfast.values.records import FileFacts

_KNOWN = "https://w3id.org/ro/crate/1."
_FILE, _FOLDER = ("File", "MediaObject"), ("Dataset",)
NO_FACTS = FileFacts()
Tell = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Told:
    """What is said of one file or folder. "" and empty: nothing is."""

    media_type: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    message: str = ""
    owner: str = ""
    type: str = ""
    status: str = ""
    source: str = ""
    sha256: str = ""
    name: bytes = b""
    file: FileFacts = NO_FACTS


@dataclass(slots=True)
class Crate:
    """What a document says. `elsewhere`: (id, code, why) of data that is not in the folder; `is_ours`: we wrote it."""

    files: dict[Steps, Told] = field(default_factory=dict)
    folders: dict[Steps, Told] = field(default_factory=dict)
    root: Told = field(default_factory=Told)
    elsewhere: list[tuple[str, str, str]] = field(default_factory=list)
    is_ours: bool = False

    def true_names(self, steps: Steps) -> Steps:
        """The names in the store of the steps down to a file or folder."""
        found = []
        for depth in range(1, len(steps) + 1):
            said = self.folders.get(steps[:depth]) or (self.files.get(steps) if depth == len(steps) else None)
            found.append(said.name if said is not None and said.name else steps[depth - 1])
        return tuple(found)


def read(data: bytes, files: dict[Steps, int], folders: set[Steps], tell: Tell) -> Crate:
    """What the document says of the files (with their sizes) and folders that are there; what is wrong is told."""
    graph = _graph(data, tell)
    found = Crate()
    if graph is None:
        return found
    root = _root(graph, tell)
    if root is None:
        return found
    found.is_ours = _properties(graph, root, crate.OWN).get("package") == 1
    found.root = _told(graph, root, ours=found.is_ours)
    for entity in graph.values():
        kinds = _list(entity.get("@type"))
        kind = "file" if set(kinds) & set(_FILE) else "folder" if set(kinds) & set(_FOLDER) else ""
        if not kind or entity is root:
            continue
        steps = _steps(entity["@id"], found, tell)
        if steps is None:
            continue
        if kind == "file" and steps in files:
            found.files[steps] = told = _told(graph, entity, ours=found.is_ours)
            size = entity.get("contentSize")
            if found.is_ours and str(size) != str(files[steps]):
                tell(f"{shown(steps)}: it has {files[steps]} bytes, and {crate.DOCUMENT} says {size}")
            if told.sha256 and len(told.sha256) != 64:
                tell(f"{shown(steps)}: {told.sha256!r} is no SHA-256")
        elif kind == "folder" and (steps in folders or not steps):
            found.folders[steps] = _told(graph, entity, ours=found.is_ours)
        else:
            tell(f"{shown(steps)}: {crate.DOCUMENT} names this {kind}, and it is not there")
    for steps in folders:
        found.folders.setdefault(steps, Told())
    return found


def _graph(data: bytes, tell: Tell) -> dict[str, Entity] | None:
    try:
        value = canon.decode(data.decode("utf-8-sig"))
        entities = value["@graph"]
        found: dict[str, Entity] = {}
        for entity in entities:
            own = entity["@id"]
            if not isinstance(own, str):
                raise TypeError("an @id is no text")
            if own in found:
                tell(f"{crate.DOCUMENT}: {own!r} stands in it twice")
            found[own] = entity
    except (HoldfastError, UnicodeDecodeError, KeyError, TypeError, RecursionError) as error:
        tell(f"{crate.DOCUMENT} cannot be read: {error}")
        return None
    return found


def _root(graph: dict[str, Entity], tell: Tell) -> Entity | None:
    descriptor = graph.get(crate.DOCUMENT) or graph.get(f"./{crate.DOCUMENT}")
    if descriptor is None:
        tell(f"{crate.DOCUMENT} does not speak of itself: this is no RO-Crate of a known version")
        return None
    versions = [str(one.get("@id")) for one in _list(descriptor.get("conformsTo")) if isinstance(one, dict)]
    if not any(one.startswith(_KNOWN) for one in versions):
        tell(f"{crate.DOCUMENT} is of a version that is not known: {', '.join(versions) or 'it names none'}")
    about = descriptor.get("about")
    found = graph.get(str(about.get("@id"))) if isinstance(about, dict) else None
    if found is None:
        tell(f"{crate.DOCUMENT} does not say what it is about")
    return found


def _steps(own: str, found: Crate, tell: Tell) -> Steps | None:
    """The place of a data entity in the folder; None if it lies elsewhere, or leads out of it (then that is told)."""
    parts = urllib.parse.urlsplit(own)
    if parts.scheme in ("http", "https", "ftp", "urn", "doi", "arcp"):
        found.elsewhere.append((own, "elsewhere", "it lies on the web, not in the package"))
        return None
    if own.startswith("#"):
        return None
    raw = urllib.parse.unquote_to_bytes(own.removeprefix("./"))
    steps = tuple(step for step in raw.rstrip(b"/").split(b"/"))
    if (
        parts.scheme
        or parts.netloc
        or raw.startswith(b"/")
        or b"\0" in raw
        or any(s in (b"", b".", b"..") for s in steps)
    ):
        tell(f"{crate.DOCUMENT}: {own!r} leads out of the package")
        return None
    return steps


def _told(graph: dict[str, Entity], entity: Entity, *, ours: bool) -> Told:
    sha = str(entity.get("sha256") or "").lower()
    media_type = next((one for one in _list(entity.get("encodingFormat")) if isinstance(one, str) and "/" in one), "")
    if not ours:
        metadata = {key: value for key, value in entity.items() if key not in ("@id", "@type")}
        values = _properties(graph, entity, None)
        return Told(
            media_type=media_type, metadata=metadata | ({"additionalProperty": values} if values else {}), sha256=sha
        )
    own = _properties(graph, entity, crate.OWN)
    return Told(
        media_type=media_type, metadata=_properties(graph, entity, crate.METADATA),
        tags=tuple(str(one) for one in _list(entity.get("keywords"))),
        message=str(entity.get("description") or "") if "sha256" in entity else "",
        owner=str(own.get("owner", "")), type=str(own.get("type", "")), status=str(own.get("status", "")),
        source=str(own.get("source", "")), sha256=sha, name=_hex(own.get("name_hex")),
        file=FileFacts(_number(own.get("mode"), 0o7777), _number(own.get("mtime_ns"), 1 << 62)),
    )  # fmt: skip


def _properties(graph: dict[str, Entity], entity: Entity, of: str | None) -> dict[str, Any]:
    """Values by name, of one propertyID or of all."""
    found: dict[str, Any] = {}
    for one in _list(entity.get("additionalProperty")):
        said = graph.get(str(one.get("@id")), one) if isinstance(one, dict) else {}
        if not isinstance(said.get("name"), str) or (of is not None and said.get("propertyID") != of):
            continue
        value = said.get("value")
        if of is not None and said.get("encodingFormat") == "application/json" and isinstance(value, str):
            try:
                value = canon.decode(value)
            except HoldfastError:
                continue
        found[said["name"]] = value
    return found


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _hex(value: Any) -> bytes:
    try:
        raw = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        return b""
    return b"" if b"/" in raw or raw in (b".", b"..") else raw


def _number(value: Any, most: int) -> int | None:
    return value if type(value) is int and -most <= value <= most else None

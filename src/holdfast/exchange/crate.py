"""What RO-Crate calls things: entities of its metadata document, made of records.

RO-Crate 1.1 (https://w3id.org/ro/crate/1.1), and Process Run Crate 0.5 for runs (https://w3id.org/ro/wfrun/process/0.5).
What these have no word for stands in `additionalProperty` of the file or folder, so that an import has it again.
"""

from __future__ import annotations

import hashlib
import urllib.parse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from holdfast.values import canon
from holdfast.values.records import Artifact, Collection, FileFacts, Run, RunStatus

Entity = dict[str, Any]

DOCUMENT = "ro-crate-metadata.json"
PREVIEW = "ro-crate-preview.html"
RESERVED = (DOCUMENT, PREVIEW, "ro-crate-preview_files")
CONTEXT = ["https://w3id.org/ro/crate/1.1/context", {"sha256": "http://schema.org/sha256"}]
SPECIFICATION = "https://w3id.org/ro/crate/1.1"
PROCESS = "https://w3id.org/ro/wfrun/process/0.5"
METADATA, OWN = "metadata", "holdfast"
"""What a PropertyValue is of (its propertyID): the user's metadata, or a fact that only Holdfast keeps."""

_STATUS = {
    RunStatus.COMPLETED: "http://schema.org/CompletedActionStatus",
    RunStatus.FAILED: "http://schema.org/FailedActionStatus",
    RunStatus.CANCELLED: "http://schema.org/FailedActionStatus",
}
ENDED = frozenset(_STATUS)


@dataclass(frozen=True, slots=True)
class About:
    """What is said of a package as a whole, where the collection does not say so.

    `license`: a URI, or the words of one; `author`, `affiliation`, `publisher`: names; `url`: of the organizations.
    """

    name: str = ""
    description: str = ""
    license: str = ""
    author: str = ""
    affiliation: str = ""
    publisher: str = ""
    url: str = ""


def one_or_many(found: list[Any]) -> Any:
    """A list of one is written as the one: the specification asks for compact forms."""
    return found[0] if len(found) == 1 else found


def ref(entity_id: str) -> dict[str, str]:
    """A reference to another entity."""
    return {"@id": entity_id}


def refs(ids: Iterable[str]) -> Any:
    """References to other entities."""
    return one_or_many([ref(one) for one in ids])


def path_id(steps: Iterable[str], *, folder: bool = False) -> str:
    """The id of a file or folder: its path, as a relative URI."""
    path = "/".join(urllib.parse.quote(step, safe="!$&'()*+,;=@~-._") for step in steps)
    return f"{path}/" if folder else path


def time(moment: datetime) -> str:
    """A time as the profiles want it: to the millisecond, with its zone."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def descriptor() -> Entity:
    """What the document says of itself."""
    return {"@id": DOCUMENT, "@type": "CreativeWork", "about": ref("./"), "conformsTo": ref(SPECIFICATION)}


@dataclass(frozen=True, slots=True)
class Links:
    """Ids of what the crate itself refers to: what lies at its top, runs, and property values."""

    parts: list[str]
    mentions: list[str]
    properties: list[str]


def root(found: Collection | None, about: About, links: Links, changed: datetime) -> Iterator[Entity]:
    """The collection as the crate itself, and what that refers to."""
    name = about.name or (found.path if found is not None and found.path else "A Holdfast store")
    said: Entity = {
        "@id": "./", "@type": "Dataset", "name": name, "datePublished": time(changed),
        "description": about.description or f"The collection {name}, exported from a Holdfast store.",
        "license": ref(_license_id(about)),
    }  # fmt: skip
    if found is not None:
        said["identifier"] = f"urn:uuid:{found.id}"
        if found.tags:
            said["keywords"] = one_or_many(list(found.tags))
    if about.author:
        said["author"] = ref(_id("person", about.author))
    if about.publisher:
        said["publisher"] = ref(_id("organization", about.publisher))
    for key, ids in (
        ("hasPart", links.parts), ("mentions", links.mentions), ("additionalProperty", links.properties),
    ):  # fmt: skip
        if ids:
            said[key] = refs(ids)
    if links.mentions:
        said["conformsTo"] = ref(PROCESS)
        yield {"@id": PROCESS, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}
    yield said


def _license_id(about: About) -> str:
    if not about.license:
        return "#license-not-stated"
    is_uri = bool(urllib.parse.urlsplit(about.license).scheme)
    return about.license if is_uri else _id("license", about.license)


def people(about: About) -> Iterator[Entity]:
    """The license, and who is named: before others name them with less."""
    yield {
        "@id": _license_id(about), "@type": "CreativeWork", "name": about.license or "License not stated",
        "description": f"The license of this package: {about.license}." if about.license
        else "Nobody has said under which license this may be used: ask its makers.",
    }  # fmt: skip
    if about.author:
        said = {"@id": _id("person", about.author), "@type": "Person", "name": about.author}
        yield said | ({"affiliation": ref(_id("organization", about.affiliation))} if about.affiliation else {})
    for name in dict.fromkeys(one for one in (about.affiliation if about.author else "", about.publisher) if one):
        said = {"@id": _id("organization", name), "@type": "Organization", "name": name}
        yield said | ({"url": about.url} if about.url else {})


def _id(kind: str, name: str) -> str:
    return f"#{kind}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def named(name: str) -> Entity:
    """Something that has nothing but a name here."""
    return {"@id": _id("thing", name), "@type": "CreativeWork", "name": name}


def folder(entity_id: str, found: Collection, *, parts: list[str], properties: list[str]) -> Entity:
    """A collection in it."""
    said: Entity = {"@id": entity_id, "@type": "Dataset", "name": found.name, "identifier": f"urn:uuid:{found.id}"}
    if found.tags:
        said["keywords"] = one_or_many(list(found.tags))
    for key, ids in (("hasPart", parts), ("additionalProperty", properties)):
        if ids:
            said[key] = refs(ids)
    return said


def file(entity_id: str, found: Artifact, *, properties: list[str]) -> Entity:
    """An artifact with its newest revision."""
    said: Entity = {
        "@id": entity_id, "@type": "File", "name": found.name, "identifier": f"urn:uuid:{found.id}",
        "contentSize": str(found.size), "encodingFormat": found.media_type,
        "sha256": found.digest.removeprefix("sha256:"), "version": str(found.number),
        "dateCreated": time(found.created_at), "dateModified": time(found.revision.created_at),
    }  # fmt: skip
    if found.tags:
        said["keywords"] = one_or_many(list(found.tags))
    if found.revision.message:
        said["description"] = found.revision.message
    if properties:
        said["additionalProperty"] = refs(properties)
    return said


def properties(entity_id: str, of: str, values: dict[str, Any]) -> list[Entity]:
    """Facts as property values: text as it is, all else as JSON, which its encodingFormat says."""
    made = []
    for key in sorted(values):
        value = values[key]
        said: Entity = {
            "@id": f"#{of}-{hashlib.sha256(f'{entity_id} {key}'.encode()).hexdigest()[:32]}", "@type": "PropertyValue",
            "propertyID": of, "name": key, "value": value if isinstance(value, str) else canon.dumps(value),
        }  # fmt: skip
        made.append(said if isinstance(value, str) else {**said, "encodingFormat": "application/json"})
    return made


def facts(name: bytes, written: str, file: FileFacts, **more: Any) -> dict[str, Any]:
    """What only Holdfast keeps of a file or folder: its true name where another had to be written, mode, time."""
    found = {key: value for key, value in more.items() if value}
    if name != written.encode():
        found["name_hex"] = name.hex()
    if file.mode is not None:
        found["mode"] = file.mode
    if file.mtime_ns is not None:
        found["mtime_ns"] = file.mtime_ns
    return found


@dataclass(frozen=True, slots=True)
class Doing:
    """A run that goes along. `who`: who made it; `objects`, `results`: ids of what it read and made."""

    run: Run
    who: str
    objects: list[str]
    results: list[str]


def action(doing: Doing) -> Iterator[Entity]:
    """A run that has ended, and what that refers to."""
    run = doing.run
    own = f"#run-{run.id}"
    parameters = properties(own, "parameter", run.parameters)
    said: Entity = {
        "@id": own, "@type": "CreateAction" if doing.results else "ActivateAction", "name": run.name,
        "description": str(run.metadata.get("description") or f"The run {run.name}, {run.status}."),
        "identifier": f"urn:uuid:{run.id}", "instrument": ref(_application(run)),
        "agent": ref(_id("person", doing.who)), "actionStatus": _STATUS[run.status],
    }  # fmt: skip
    for key, at in (("startTime", run.started_at), ("endTime", run.ended_at)):
        if at is not None:
            said[key] = time(at)
    if run.status is not RunStatus.COMPLETED:
        said["error"] = run.reason or str(run.status)
    if objects := [*doing.objects, *(one["@id"] for one in parameters)]:
        said["object"] = refs(objects)
    if doing.results:
        said["result"] = refs(doing.results)
    yield said
    yield from parameters
    yield application(run)
    yield {"@id": _id("person", doing.who), "@type": "Person", "name": doing.who}


def application(run: Run) -> Entity:
    """What was run: by the run's name; version and place if its metadata or environment say so."""
    version, url = _version(run), _url(run)
    said: Entity = {"@id": _application(run), "@type": "SoftwareApplication", "name": run.name}
    return said | ({"softwareVersion": version} if version else {}) | ({"url": url} if url else {})


def _application(run: Run) -> str:
    """The profile wants an absolute URI, which only a run that names its tool can give."""
    url = _url(run)
    if url.startswith(("http://", "https://")):
        return f"{url}#{urllib.parse.quote(f'{run.name} {_version(run)}'.rstrip(), safe='')}"
    return _id("application", canon.dumps([run.name, _version(run), url]))


def _version(run: Run) -> str:
    git = run.environment.get("git")
    commit = git.get("commit") if isinstance(git, dict) else None
    return str(run.metadata.get("version") or commit or "")


def _url(run: Run) -> str:
    return str(run.metadata.get("url") or "")


def elsewhere(found: Artifact, number: int, digest: str) -> Entity:
    """A revision that a run read or made and that is not in the crate: named, without its bytes."""
    return {
        "@id": f"#revision-{found.id}-{number}", "@type": "CreativeWork", "name": f"{found.path}@{number}",
        "identifier": f"urn:uuid:{found.id}", "version": str(number), "sha256": digest.removeprefix("sha256:"),
    }  # fmt: skip

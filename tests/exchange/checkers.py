"""The checkers of others, at their strictest, with what they look up on the web taken from `published/`."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any
from unittest import mock

from jsonschema import Draft202012Validator
from jsonschema.validators import validator_for
from referencing import Registry, Resource
from rocrate_validator import models, services
from rocrate_validator.utils.http import HttpRequester

PUBLISHED = Path(__file__).parent / "published"
CONTEXT = "https://w3id.org/ro/crate/1.1/context"


class _Answer:
    """What the web would answer."""

    status_code = 200
    headers = {"Content-Type": "application/ld+json"}  # noqa: RUF012

    def __init__(self, path: Path) -> None:
        self.text = path.read_text("utf-8")

    def json(self) -> Any:
        return json.loads(self.text)


def _web(url: str, *_: Any, **__: Any) -> Any:
    if url == CONTEXT:
        return _Answer(PUBLISHED / "ro-crate-1.1-context.jsonld")
    raise ConnectionError(f"the test has no web, and {url} was asked for")


def crate_issues(crate: Path, profile: str) -> list[str]:
    """What `roc-validator` has to say of a crate: what a profile and its bases require, and what they recommend."""
    settings = services.ValidationSettings(
        rocrate_uri=str(crate), profile_identifier=profile, requirement_severity=models.Severity.RECOMMENDED,
        no_cache=True, skip_availability_check=False,
    )  # fmt: skip
    with mock.patch.object(HttpRequester, "get", staticmethod(_web), create=True), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python, and among the validator's own libraries
        result = services.validate(settings)
    return [f"{one.severity.name} {one.check.identifier}: {one.message}" for one in result.get_issues()]


def schema_errors(event: dict[str, Any]) -> list[str]:
    """What is wrong with an OpenLineage event, by the published schemas of events and of each facet in it."""
    resources = []
    for path in PUBLISHED.glob("*.json"):
        schema = json.loads(path.read_text("utf-8"))
        resources.append((schema["$id"], Resource.from_contents(schema)))
    registry: Any = Registry().with_resources(resources)
    checker = Draft202012Validator.FORMAT_CHECKER
    found = []
    for schema_url, value in [(event.get("schemaURL", OPENLINEAGE), event), *_facets(event)]:
        schema = {"$ref": schema_url}
        kind = validator_for(registry.contents(schema_url.partition("#")[0]))
        found += [str(one) for one in kind(schema, registry=registry, format_checker=checker).iter_errors(value)]
    return found


OPENLINEAGE = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"


def _facets(value: Any) -> list[tuple[str, Any]]:
    found = []
    if isinstance(value, dict):
        if "_schemaURL" in value:
            found.append((value["_schemaURL"], value))
        found += [one for inner in value.values() for one in _facets(inner)]
    elif isinstance(value, list):
        found += [one for inner in value for one in _facets(inner)]
    return found

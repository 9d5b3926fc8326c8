"""Only has to type-check, as strictly as the package itself: what callers get is typed."""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

import holdfast
from holdfast.values.records import Artifact, Change, Collection, PutResult, Relationship, Revision, Run


def use(path: Path) -> None:
    with holdfast.open(path, create=True) as store:
        assert_type(store, holdfast.Store)
        assert_type(store.artifacts.put("a", b"1", metadata={"k": 1}), PutResult)
        assert_type(store.artifacts.get("a"), Artifact)
        assert_type(store.artifacts.revisions("a"), list[Revision])
        assert_type(store.artifacts.read("a"), bytes)
        assert_type(store.collections.ensure("b"), Collection)
        assert_type(store.relationships.relate("a", "supports", "a"), Relationship)
        assert_type(store.runs.create("r"), Run)
        assert_type(next(store.changes.list()), Change)
        for artifact in store.artifacts.find(holdfast.field("size") > 1):
            assert_type(artifact.digest, str)
        with store.at(1) as view:
            assert_type(view, holdfast.View)
            assert_type(view.artifacts.get("a"), Artifact)
            assert_type(view.read("a"), bytes)
        assert_type(store.standards.export_bagit("bag", "b").files, int)

"""A store that is hard to pack."""

from __future__ import annotations

import os

import pytest

import holdfast
from holdfast import Store

ABOUT = {
    "name": "Weather", "description": "Measured and cleaned.", "license": "https://spdx.org/licenses/CC0-1.0",
    "author": "Ada", "affiliation": "Institute", "publisher": "Institute", "url": "https://example.org",
}  # fmt: skip
TOOL = {"url": "https://example.org/tool", "version": "1.2"}


def fill(store: Store) -> Store:
    """Names that are hard to write, metadata of all sorts, links, folders with nothing in them, runs that went ill."""
    store.put(
        "data/raw.csv", "1,2\n", metadata={"by": "lab", "n": 1, "x": 1.0, "deep": {"a": [1, None, True]}, "ü": "é"},
        tags=["raw", "x"], message="first", type="dataset", status="draft", owner="Ada",
    )  # fmt: skip
    store.put("data/naïve: file?.txt", "ü")
    store.put("data/100%.txt", "percent")
    store.put(b"data/\xff\xfe.bin", b"\0\1")
    store.put("data/RAW.csv", "another")
    store.put("ro-crate-metadata.json", "mine")
    store.put("deep/er/empty", b"", file=holdfast.FileFacts(0o755, 1_700_000_000_123_456_789))
    store.put("deep/large", os.urandom(300_000))
    store.put("deep/link", b"er/empty", media_type="inode/symlink")
    store.collections.create("nothing", metadata={"why": "empty"}, tags=["bare"])
    with store.runs.start("clean", inputs={"t": "data/raw.csv"}, parameters={"sep": ",", "n": 2}, metadata=TOOL):
        store.put("data/clean.csv", "1;2\n")
    store.put("data/raw.csv", "1,2,3\n")
    with store.runs.start("check", inputs=["data/clean.csv"], metadata=TOOL, tags=["nightly"]):
        pass
    with pytest.raises(ZeroDivisionError), store.runs.start("bad", inputs=["data/clean.csv"], metadata=TOOL):
        raise ZeroDivisionError
    store.relationships.relate("data/clean.csv", "derived_from", "data/raw.csv")
    store.relationships.relate("data/clean.csv", "supersedes", "data/RAW.csv")
    return store

"""What any blob store must do: the suite of `holdfast.testing.blobs`, with crashes and damage.

Subclass BlobStoreConformance under a name that begins with `Test`, and give `make_store`; `damage` where bytes at rest
can be reached.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.blobs.contract import BlobStore
from holdfast.errors import BlobDamagedError, BlobMissingError
from holdfast.testing.blobs import CONTENTS, BlobStoreTests, digest_of
from holdfast.testing.conformance.marks import EVERYTHING, Capability, demand, shows

_NUMBERED = re.compile(r"test_b([0-9]+)_")


class BlobStoreConformance(BlobStoreTests):
    """The suite. `capabilities`: what the store claims; tests that need more are skipped by name."""

    capabilities: frozenset[Capability] = EVERYTHING

    def damage(self, place: Path, digest: str) -> None:
        """Change a byte of a published blob at rest, behind the store's back."""
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def _as_claimed(self, request: pytest.FixtureRequest) -> None:
        demand(request.function, self.capabilities)

    def test_b1_a_digest_is_that_of_the_bytes_alone(self, tmp_path: Path) -> None:
        """B-1: another content has another digest, and none is given for the other."""
        store = self.make_store(tmp_path)
        digests = [self.put(store, content) for content in CONTENTS.values()]
        assert digests == [digest_of(content) for content in CONTENTS.values()]
        assert all(store.read(digest_of(content)) == content for content in CONTENTS.values())

    @shows("B-3", "B-4", needs=Capability.DURABLE)
    def test_b3_a_crash_between_staging_and_publishing_leaves_nothing_in_the_way(self, tmp_path: Path) -> None:
        """Whoever opens the store then sees only what was published, and can put the same again."""
        first = self.make_store(tmp_path)
        kept = self.put(first, b"published")
        for content in CONTENTS.values():
            first.stage(content)
            first.stage(content, durable=False)
        second = self.make_store(tmp_path)  # the first is never closed, as if its process had been killed
        assert second.read(kept) == b"published"
        for content in CONTENTS.values():
            assert second.stat(digest_of(content)) is None
            with pytest.raises(BlobMissingError):
                second.read(digest_of(content))
            assert second.read(self.put(second, content)) == content

    @shows("B-4", needs=Capability.DURABLE)
    def test_b4_what_was_published_is_there_in_a_new_handle(self, tmp_path: Path) -> None:
        """Without the old one being closed."""
        first = self.make_store(tmp_path)
        digests = [self.put(first, content) for content in CONTENTS.values()]
        second = self.make_store(tmp_path)
        assert [second.read(digest) for digest in digests] == list(CONTENTS.values())

    @shows("B-4", "B-5", needs=Capability.DAMAGED)
    def test_b5_a_damaged_blob_is_found_and_replaced_when_it_comes_again(self, tmp_path: Path) -> None:
        """A wrong byte is never given; the same content, published again, takes its place."""
        content = CONTENTS["incompressible"]
        store = self.make_store(tmp_path)
        digest = self.put(store, content)
        store.close()
        self.damage(tmp_path, digest)
        store = self.make_store(tmp_path)
        with pytest.raises(BlobDamagedError):
            store.read(digest)
        with pytest.raises(BlobDamagedError):
            store.verify(digest)
        with pytest.raises(BlobDamagedError):
            list(store.read_many([(digest, None)]))
        assert self.put(store, content) == digest
        assert store.read(digest) == content

    @shows("B-5", needs=Capability.DAMAGED)
    def test_b5_a_range_of_a_damaged_blob_is_right_or_refused(self, tmp_path: Path) -> None:
        """Frames that the damage did not touch may be given; the one that it did may not."""
        content = CONTENTS["incompressible"]
        store = self.make_store(tmp_path)
        digest = self.put(store, content)
        store.close()
        self.damage(tmp_path, digest)
        refused = 0
        with contextlib.closing(self.make_store(tmp_path)) as again:
            for offset in range(0, len(content), 50_000):
                try:
                    with contextlib.closing(again.open(digest)) as reader:
                        is_right = reader.read_at(offset, 50_000) == content[offset : offset + 50_000]
                    assert is_right, f"50,000 bytes at {offset} are not what went in"  # not shown: too long to compare
                except BlobDamagedError:
                    refused += 1
        assert refused


def sentences(test: Callable[..., Any]) -> tuple[str, ...]:
    """The sentences of a test of a blob store: as marked, or as its name says."""
    found: tuple[str, ...] = getattr(test, "sentences", ())
    named = _NUMBERED.match(test.__name__)
    return found or ((f"B-{named[1]}",) if named else ())


__all__ = ["BlobStore", "BlobStoreConformance", "sentences"]

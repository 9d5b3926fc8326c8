"""What a backend that somebody else writes is held to: classes to subclass, with a factory; see docs/backends.md.

    from holdfast.testing.conformance import BlobStoreConformance

    class TestMine(BlobStoreConformance):
        def make_store(self, tmp_path):
            return MyBlobs(tmp_path)

Each test names the numbered sentences of a contract that it shows; `pytest --holdfast-sentences` prints them.
"""

from holdfast.testing.conformance.blobs import BlobStoreConformance
from holdfast.testing.conformance.indexes import IndexConformance
from holdfast.testing.conformance.journals import JournalConformance
from holdfast.testing.conformance.keepers import KeeperConformance
from holdfast.testing.conformance.marks import EVERYTHING, Capability, contract, each_test, sentences_of, shows
from holdfast.testing.conformance.stores import StoreConformance
from holdfast.testing.conformance.streams import StreamConformance

__all__ = [
    "EVERYTHING",
    "BlobStoreConformance",
    "Capability",
    "IndexConformance",
    "JournalConformance",
    "KeeperConformance",
    "StoreConformance",
    "StreamConformance",
    "contract",
    "each_test",
    "sentences_of",
    "shows",
]

"""The local blob store keeps the contract also when frames are tiny; else see tests/conformance."""

from pathlib import Path

from holdfast.blobs import LocalBlobs
from holdfast.blobs.compress import Shape
from holdfast.disk import Disk
from holdfast.testing.blobs import BlobStoreTests


class TestLocalBlobsInFramesOf4KiB(BlobStoreTests):
    def make_store(self, tmp_path: Path) -> LocalBlobs:
        return LocalBlobs(str(tmp_path), Disk(), shape=Shape(frame_bytes=4096, one_frame_max=1000, workers=3))

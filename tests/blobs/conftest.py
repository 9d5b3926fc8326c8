"""What the tests of blobs share: a store with tiny frames, the path of a blob, and damage to it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.blobs import LocalBlobs
from holdfast.blobs.compress import Shape
from holdfast.disk import Disk


@pytest.fixture
def tiny(tmp_path: Path) -> LocalBlobs:
    """Frames of 512 bytes of content, one frame alone up to 400."""
    return LocalBlobs(str(tmp_path), Disk(), shape=Shape(frame_bytes=512, one_frame_max=400, workers=2))


@pytest.fixture
def path_of(tmp_path: Path) -> Callable[[str], Path]:
    """Where a published blob lies."""
    return lambda digest: tmp_path / "blobs" / digest[7:9] / f"{digest[7:]}.zst"

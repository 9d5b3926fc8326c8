"""Many small blobs in one file: written by one process each, read by all, found again without an index."""

from holdfast.blobs.packs.folder import PackFolder
from holdfast.blobs.packs.scan import Hole, PackScan
from holdfast.blobs.packs.store import PACK_UP_TO, PackedBlobs, Places

__all__ = ["PACK_UP_TO", "Hole", "PackFolder", "PackScan", "PackedBlobs", "Places"]

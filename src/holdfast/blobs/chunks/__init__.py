"""Large content, cut where its bytes say so: equal stretches of two contents become equal chunks, stored once."""

from holdfast.blobs.chunks.cutter import CUT_FROM, available
from holdfast.blobs.chunks.folder import RecipeFolder
from holdfast.blobs.chunks.reader import ChunkedReader
from holdfast.blobs.chunks.store import ChunkedBlobs, ChunkPlaces

__all__ = ["CUT_FROM", "ChunkPlaces", "ChunkedBlobs", "ChunkedReader", "RecipeFolder", "available"]

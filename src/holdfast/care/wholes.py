"""What gc does about large content stored whole though a later revision is in chunks: cuts it, where that saves.

Nothing would be gained earlier: the file must stay for the grace period anyway, for a plain copy that is being made. So
no put waits for it, and what is purged before is never cut. Whom gc has looked at it does not look at again: most often
nothing is shared then, and to see that, most of a content is read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

from holdfast.engine import cutting
from holdfast.engine.handle import Handle
from holdfast.errors import DamageError
from holdfast.index.physical import Place

log = logging.getLogger("holdfast.care")

SEEN_FACT = "cut contents gc has looked at"
"""The largest key of a content in chunks whose revisions before were looked at; keys grow with time."""


def due(handle: Handle) -> Iterator[tuple[str, Place]]:
    """(digest of a content in chunks, where the one before it is, stored whole) of those not looked at yet."""
    chunks = handle.index.physical.chunks
    if cutting.cuts(handle) is None:
        return
    last = ""
    for key, like in chunks.cut_since(int(handle.index.meta(SEEN_FACT) or 0)):
        for digest in chunks.whole_before(key):
            place = cutting.uncut(handle, digest) if digest != last else None
            if place is not None:
                last = digest
                yield like, place


def cut(handle: Handle, *, done: Callable[[int], None] = lambda _: None) -> int:
    """Cut what is due and shares enough with what came after it; how many. Durable on return.

    What cannot be read is left as it is. `done` hears how many there are so far. Raises what writing raises.
    """
    chunks = handle.index.physical.chunks
    newest = chunks.last_cut() if cutting.cuts(handle) is not None else 0
    taken = 0
    for like, place in due(handle):
        try:
            taken += cutting.cut_whole(handle, place.digest, like=like)
        except DamageError as error:
            log.warning("not-cut", extra={"holdfast": {"code": error.code}})
        done(taken)
    if newest > int(handle.index.meta(SEEN_FACT) or 0):
        handle.index.set_meta(SEEN_FACT, str(newest))
    return taken

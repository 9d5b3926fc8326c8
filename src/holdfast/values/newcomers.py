"""New artifacts of which nothing special is said, as columns: a sequence of changes that need not become objects.

Who takes the changes one by one gets each as a body; who knows columns (the encoder, the index) takes these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from holdfast.values.change import Body
from holdfast.values.records import DEFAULT_STATUS, DEFAULT_TYPE

_NUMBERS = {int, type(None)}


@dataclass(slots=True, eq=False)
class Newcomers(Sequence[Body]):
    """Creations of artifacts, each with its first revision; `collections`: ids of those that they go to.

    `modes`, `mtimes`: None where nothing is said; `sources`: "" likewise. All have as many items.
    """

    ids: list[str] = field(default_factory=list)
    collections: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    media_types: list[str] = field(default_factory=list)
    modes: list[int | None] = field(default_factory=list)
    mtimes: list[int | None] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)

    def is_plain(self) -> bool:
        """Whether all numbers are whole ones, as those of files are."""
        return _NUMBERS.issuperset([*map(type, self.modes), *map(type, self.mtimes)])

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, number: int) -> Body: ...
    @overload
    def __getitem__(self, number: slice) -> list[Body]: ...
    def __getitem__(self, number: int | slice) -> Body | list[Body]:
        if isinstance(number, slice):
            return [self._body(one) for one in range(*number.indices(len(self)))]
        return self._body(number)

    def _body(self, number: int) -> Body:
        revision: dict[str, Any] = {
            "digest": self.digests[number], "size": self.sizes[number], "media_type": self.media_types[number],
        }  # fmt: skip
        said = {"source": self.sources[number] or None, "mode": self.modes[number], "mtime_ns": self.mtimes[number]}
        revision |= {name: value for name, value in said.items() if value is not None}
        new = {
            "collection": self.collections[number], "name": self.names[number], "type": DEFAULT_TYPE,
            "status": DEFAULT_STATUS, "revision": revision,
        }  # fmt: skip
        return {"kind": "artifact", "action": "create", "id": self.ids[number], "new": new}

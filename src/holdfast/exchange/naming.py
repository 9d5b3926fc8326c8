"""File names in packages of the field's standards: portable, and without `%`, which BagIt tools read in different ways.

RFC 8493 has `%` in a manifest written as `%25`; widely used software does not know that. So what `values/portable.py`
writes with `%` stands with `=` here, and the true name is said beside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from holdfast.values import portable


def plain(names: Iterable[tuple[str, bytes]], *, reserved: Iterable[str] = ()) -> dict[str, str]:
    """The names of what lies in one folder, by id, no two of which some file system takes for one."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    kept = {portable.fold(one.encode()) for one in reserved}
    for record_id, raw in sorted(names):
        name = portable.of(raw).replace(b"%", b"=")
        if portable.fold(name) in kept:
            name = b"=%02X" % name[0] + name[1:]
        if portable.fold(name) in taken:
            whole = hashlib.sha256(raw).hexdigest().encode()
            name = name + b"=~" + whole[:8] if len(name) <= portable.MAX_BYTES - 10 else b"=" + whole + b"=~"
        taken.add(portable.fold(name))
        found[record_id] = name.decode()
    return found

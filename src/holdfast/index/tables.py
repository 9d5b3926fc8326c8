"""The tables: their names, classes and codes; columns, keys and constraints are in models.py.

Three classes of rows, never mixed. *Logical* rows come from the chain alone and are rebuilt row for row. *Physical*
rows come from files alone. The rest (`meta`, `schema_version`) belongs to this very index file.

Keys are small on purpose: the key of a row is the seq of the change that made it (a change makes at most one row of a
table), so a rebuild gives the same keys, and a key is unique across all kinds of records. Terms (types, media types,
actors …) stand once; their key is seq * 8 + slot, for one change can bring several.

`crc` is the checksum of the row (proof.py): pages have none. Three tables go without: the tags of a record are covered
by `record.tags`, what stands in `schema_version` is compared with what this software knows, and `metadata_value` only
narrows a search down to rows that prove themselves.

SQL is composed from one set of model classes that no database stands behind: no row ever goes through them, so stores
and threads cannot mix (docs/design/003).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from holdfast.index import drivers

if TYPE_CHECKING:
    from holdfast.index.models import Tables

LOGICAL = (
    "tx", "change", "term", "record", "collection", "artifact", "content", "revision", "tagging", "relationship", "run",
    "step", "run_link", "relationship_type", "metadata_index", "metadata_value",
)  # fmt: skip
PHYSICAL = ("container", "blob", "chunk")
PENDING = "pending"
"""Bytes of packs that no sync has reached yet. Neither logical nor physical: nothing but this index has them so."""

KIND_CODES = {
    "collection": 1, "artifact": 2, "relationship": 3, "run": 4, "step": 5, "relationship-type": 6, "metadata-index": 7,
}  # fmt: skip
"""How a record's kind stands in its row. Codes are never given anew."""

KIND_NAMES = {code: name for name, code in KIND_CODES.items()}

STATE_KEPT, STATE_PURGED, STATE_WITHDRAWN = range(3)
"""What became of a revision's content, as it stands in its row."""

SLOT_TYPE, SLOT_MEDIA, SLOT_SOURCE, SLOT_ACTOR, SLOT_TENANT, SLOT_OWNER, SLOT_STATUS = range(7)
SLOTS = 8
"""Which of the terms that one change brings: their keys follow from its seq and from this."""

EXTERNAL = 0
"""The code of an end of a relationship that is no record."""

LOOSE = 0
"""Key of the container that stands for all loose blob files."""

RECIPES = -1
"""Key of the container that stands for all recipes. Those of packs are positive."""


@functools.cache
def models() -> Tables:
    """The model classes of SQLite's dialect. They compose and are never run: they have no database."""
    drivers.load_peewee()
    from peewee import SqliteDatabase  # noqa: PLC0415 - start-up time: reading needs no Peewee

    from holdfast.index.models import make  # noqa: PLC0415

    return make(SqliteDatabase(None))

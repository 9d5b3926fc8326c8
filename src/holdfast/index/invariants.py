"""What rows promise each other: one query for each rule, giving the rows that break it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from holdfast.errors import InvalidValueError
from holdfast.index import proof, revised
from holdfast.index.tables import KIND_CODES, LOOSE, RECIPES
from holdfast.values import moment


@dataclass(frozen=True, slots=True)
class Invariant:
    """`query` gives the keys in `table` that break the rule; `rule` is the sentence that does not hold for them.

    The function `id_bytes(text)` turns an id into its 16 bytes (NULL if it is none).
    """

    name: str
    table: str
    rule: str
    query: str


def id_bytes(text: Any) -> bytes | None:
    """What the queries ask for by the name `id_bytes`."""
    try:
        return moment.id_bytes(text)
    except (InvalidValueError, TypeError):
        return None


def _record_of(table: str, kind: str) -> list[Invariant]:
    code = KIND_CODES[kind]
    return [
        Invariant(
            f"{kind}-has-record", table, f"a {kind} has a record of its kind",
            f"SELECT n.key FROM {table} n LEFT JOIN record r ON r.key = n.key WHERE r.kind IS NOT {code}",
        ),
        Invariant(
            f"record-has-{kind}", "record", f"a record of kind {kind} has its row in {table}",
            f"SELECT r.key FROM record r LEFT JOIN {table} n ON n.key = r.key WHERE r.kind = {code} AND n.key IS NULL",
        ),
    ]  # fmt: skip


def _live_flag(table: str) -> Invariant:
    return Invariant(
        f"{table}-live-flag", table, f"a {table} is marked live exactly if it has no tombstone",
        f"SELECT n.key FROM {table} n JOIN record r ON r.key = n.key WHERE (n.live IS 1) <> (r.deleted = 0)",
    )  # fmt: skip


def _unique(table: str, within: str) -> Invariant:
    return Invariant(
        f"{table}-names-unique", table, f"no two live rows of {table} have one name in one place",
        f"SELECT max(key) FROM {table} WHERE live = 1 AND {within} IS NOT NULL "
        f"GROUP BY {within}, name, stray HAVING count(*) > 1",
    )  # fmt: skip


def _term(table: str, column: str, key: str = "key") -> Invariant:
    return Invariant(
        f"{table}-{column}-term", table, f"the text that {table}.{column} stands for is there",
        f"SELECT n.{key} FROM {table} n LEFT JOIN term t ON t.key = n.{column} "
        f"WHERE n.{column} IS NOT NULL AND n.{column} <> 0 AND t.key IS NULL",
    )  # fmt: skip


def _end(table: str, end: str) -> list[Invariant]:
    return [
        Invariant(
            f"{table}-{end}-exists", table, f"the {end} of a {table} exists and is of the kind it says",
            f"SELECT n.key FROM {table} n LEFT JOIN record r ON r.id = id_bytes(n.{end}) "
            f"WHERE n.{end}_kind <> 0 AND r.kind IS NOT n.{end}_kind",
        ),
        Invariant(
            f"{table}-{end}-revision", table, f"the revision that the {end} of a {table} is pinned to exists",
            f"SELECT n.key FROM {table} n JOIN record r ON r.id = id_bytes(n.{end}) "
            f"LEFT JOIN revision v ON {revised.numbered('v', 'r.key', f'n.{end}_revision')} "
            f"WHERE n.{end}_revision IS NOT NULL AND r.kind = {KIND_CODES['artifact']} AND v.key IS NULL",
        ),
    ]  # fmt: skip


def _refers(table: str, column: str, kind: str, key: str = "key") -> Invariant:
    return Invariant(
        f"{table}-{column}-exists", table, f"{table}.{column} names a {kind}",
        f"SELECT n.{key} FROM {table} n LEFT JOIN record r ON r.key = n.{column} "
        f"WHERE n.{column} IS NOT NULL AND r.kind IS NOT {KIND_CODES[kind]}",
    )  # fmt: skip


_PLACES = (
    Invariant(
        "collection-under-root", "collection", "every collection leads up to a root, without a cycle",
        "WITH RECURSIVE reached(key) AS (SELECT key FROM collection WHERE parent IS NULL "
        "UNION SELECT c.key FROM reached CROSS JOIN collection c ON c.parent = reached.key) "
        "SELECT key FROM collection WHERE key NOT IN (SELECT key FROM reached)",
    ),
    Invariant(
        "collection-parent-live", "collection", "a live collection lies in a live one",
        "SELECT c.key FROM collection c JOIN collection p ON p.key = c.parent WHERE c.live = 1 AND p.live IS NOT 1",
    ),
    Invariant(
        "artifact-collection-live", "artifact", "a live artifact lies in a live collection",
        "SELECT a.key FROM artifact a LEFT JOIN collection c ON c.key = a.collection "
        "WHERE c.key IS NULL OR (a.live = 1 AND c.live IS NOT 1)",
    ),
)  # fmt: skip

_DECLARED = (
    Invariant(
        "metadata-value-index", "metadata_value", "a value in a declared index belongs to one that is there",
        "SELECT DISTINCT v.declared FROM metadata_value v LEFT JOIN metadata_index m ON m.key = v.declared "
        "WHERE m.live IS NOT 1",
    ),
    Invariant(
        "metadata-value-artifact", "metadata_value", "a declared index has each artifact once at most",
        "SELECT v.artifact FROM metadata_value v LEFT JOIN artifact a ON a.key = v.artifact WHERE a.key IS NULL "
        "UNION SELECT artifact FROM metadata_value GROUP BY declared, artifact HAVING count(*) > 1",
    ),
)  # fmt: skip

_HISTORY = (
    Invariant(
        "artifact-newest", "artifact", "the newest revision of an artifact exists and is its own",
        "SELECT a.key FROM artifact a LEFT JOIN revision v ON v.key = a.newest WHERE v.artifact IS NOT a.key",
    ),
    Invariant(
        "revision-numbers", "artifact", "the revisions of an artifact are numbered 1, 2, 3 … without a gap",
        f"SELECT a.key FROM artifact a LEFT JOIN revision v ON v.key = a.key AND v.number = {revised.FIRST} "
        "WHERE v.key IS NULL UNION SELECT artifact FROM revision WHERE number > 1 "
        "GROUP BY artifact HAVING max(number) <> count(*) + 1",
    ),
    Invariant(
        "revision-first", "revision", "the first revision of an artifact, and no other, has the key of the artifact",
        f"SELECT key FROM revision WHERE (number = {revised.FIRST}) <> (key = artifact)",
    ),
    Invariant(
        "content-first", "content", "a content has the key of the first revision that has it",
        "SELECT c.key FROM content c LEFT JOIN revision v ON v.key = c.key WHERE v.content IS NOT c.key",
    ),
    Invariant(
        "revision-content", "revision", "the content that a revision names is known",
        "SELECT v.key FROM revision v LEFT JOIN content c ON c.key = v.content WHERE c.key IS NULL",
    ),
    Invariant(
        "content-digest", "content", "a content has a digest of 32 bytes, and each digest stands once",
        "SELECT c.key FROM content c WHERE typeof(c.digest) <> 'blob' OR length(c.digest) <> 32 OR c.size < 0 "
        "UNION SELECT max(key) FROM content GROUP BY substr(digest, 1, 4), digest HAVING count(*) > 1",
    ),
    Invariant(
        "blob-content", "blob", "a blob's row belongs to a known content and container",
        "SELECT b.content FROM blob b LEFT JOIN content c ON c.key = b.content "
        "LEFT JOIN container k ON k.key = b.container WHERE c.key IS NULL OR k.key IS NULL",
    ),
    Invariant(
        "container-loose", "container",
        "one container is of loose files, one of recipes, each file beginning at 0; the others are packs",
        f"SELECT {LOOSE} WHERE NOT EXISTS "
        f"(SELECT 1 FROM container WHERE key = {LOOSE} AND kind = 'loose' AND name = 'loose') "
        f"UNION SELECT {RECIPES} WHERE NOT EXISTS "
        f"(SELECT 1 FROM container WHERE key = {RECIPES} AND kind = 'recipes' AND name = 'recipes') "
        f"UNION SELECT content FROM blob WHERE container <= {LOOSE} AND (offset <> 0 OR start <> 0) "
        f"UNION SELECT key FROM container WHERE key NOT IN ({LOOSE}, {RECIPES}) AND (kind <> 'pack' OR key < 0)",
    ),
    Invariant(
        "chunk-place", "chunk", "a chunk has a digest of 32 bytes that no other has, and lies in a pack",
        "SELECT h.key FROM chunk h LEFT JOIN container k ON k.key = h.container WHERE k.kind IS NOT 'pack' "
        "OR typeof(h.digest) <> 'blob' OR length(h.digest) <> 32 OR h.size <= 0 "
        "UNION SELECT max(key) FROM chunk GROUP BY substr(digest, 1, 4), digest HAVING count(*) > 1",
    ),
    Invariant(
        "tag-record", "tagging", "a tag belongs to a record",
        "SELECT DISTINCT t.record FROM tagging t LEFT JOIN record r ON r.key = t.record WHERE r.key IS NULL",
    ),
    Invariant(
        "change-record", "change", "a change belongs to a record",
        "SELECT c.seq FROM change c LEFT JOIN record r ON r.key = c.record WHERE r.key IS NULL",
    ),
    Invariant(
        "change-left-its-row", "tx", "each change of a transaction left a record, a revision or a row of `change`",
        "SELECT t.first FROM tx t WHERE t.count <> "
        "(SELECT count(*) FROM record WHERE key BETWEEN t.first AND t.first + t.count - 1) + "
        "(SELECT count(*) FROM change WHERE seq BETWEEN t.first AND t.first + t.count - 1) + "
        "(SELECT count(*) FROM revision v WHERE v.key BETWEEN t.first AND t.first + t.count - 1 "
        "AND NOT EXISTS (SELECT 1 FROM record r WHERE r.key = v.key))",
    ),
    Invariant(
        "record-in-chain", "record", "what made, changed and deleted a record is in the chain",
        "SELECT key FROM record WHERE max(key, changed, deleted) > (SELECT max(first + count) - 1 FROM tx) "
        "OR changed < key OR (deleted <> 0 AND deleted <= key)",
    ),
)  # fmt: skip

_CHECKSUMS = tuple(
    Invariant(f"{table}-checksum", table, f"a row of {table} is what its checksum says", proof.unproven(table))
    for table in proof.COLUMNS
)

INVARIANTS: tuple[Invariant, ...] = (
    *_record_of("collection", "collection"),
    *_record_of("artifact", "artifact"),
    *_record_of("relationship", "relationship"),
    *_record_of("run", "run"),
    *_record_of("step", "step"),
    *_record_of("relationship_type", "relationship-type"),
    *_record_of("metadata_index", "metadata-index"),
    _live_flag("metadata_index"),
    _live_flag("collection"),
    _live_flag("artifact"),
    _unique("collection", "parent"),
    _unique("artifact", "collection"),
    *_PLACES,
    *_HISTORY,
    *_DECLARED,
    _refers("revision", "artifact", "artifact"),
    _refers("revision", "run", "run"),
    _refers("step", "run", "run"),
    _refers("run_link", "run", "run"),
    *_end("relationship", "source"),
    *_end("relationship", "target"),
    *_end("run_link", "target"),
    _term("artifact", "type"),
    _term("artifact", "status"),
    _term("revision", "media_type"),
    _term("revision", "source"),
    _term("record", "tenant"),
    _term("record", "owner"),
    _term("relationship", "type"),
    _term("tx", "actor", key="first"),
    *_CHECKSUMS,
)
"""Every rule, in the order in which fsck asks."""

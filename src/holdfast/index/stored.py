"""Which files of a store its rows speak of, and a copy of an index made fit to stand beside them: for backups."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.index import proof
from holdfast.index.database import Database
from holdfast.index.packed import REFERENCED
from holdfast.index.tables import KIND_NAMES, LOOSE, STATE_KEPT
from holdfast.values import moment

_PAGE = 1_000
_HEAD = "substr(c.digest, 1, 4)"
_OF_FILES = f"""SELECT c.digest, {proof.proven("content", "c")}, {proof.proven("blob", "b")}
    FROM content c CROSS JOIN blob b ON b.content = c.key
    WHERE b.container = ?1 AND ({_HEAD}, c.digest) > (?2, ?3) ORDER BY {_HEAD}, c.digest LIMIT {_PAGE}"""
_MEMBERS = (
    f"SELECT container, offset + stored_bytes AS reach FROM blob WHERE container > {LOOSE}",
    "SELECT container, offset + stored_bytes AS reach FROM chunk",
)
"""Every table that has members of packs."""

_HAS = (
    f"""SELECT 1 FROM content c JOIN blob b ON b.content = c.key JOIN container k ON k.key = b.container
    WHERE {_HEAD} = ?1 AND c.digest = ?2 AND k.name = ?3""",
    f"""SELECT 1 FROM chunk c JOIN container k ON k.key = c.container
    WHERE {_HEAD} = ?1 AND c.digest = ?2 AND k.name = ?3""",
)
"""For each of them: whether a digest is a member of a pack."""

_REACH = f"""SELECT k.name, max(m.reach), {proof.proven("container", "k")} FROM ({" UNION ALL ".join(_MEMBERS)}) m
    JOIN container k ON k.key = m.container WHERE k.kind = 'pack' GROUP BY k.key ORDER BY k.name"""
_UNNEEDED = f"""DELETE FROM blob WHERE content IN (SELECT blob.content FROM blob JOIN content
    ON content.key = blob.content WHERE NOT {REFERENCED})"""
_EMPTY = f"""DELETE FROM container WHERE key > {LOOSE}
    AND key NOT IN (SELECT container FROM ({" UNION ALL ".join(_MEMBERS)}))"""
_MISSING = f"""SELECT revision.key, record.id, revision.number FROM revision
    JOIN record ON record.key = revision.artifact LEFT JOIN blob ON blob.content = revision.content
    WHERE blob.content IS NULL AND revision.state = {STATE_KEPT} AND revision.key > ?
    ORDER BY revision.key LIMIT {_PAGE}"""
_KINDS = "SELECT kind, count(*) FROM record GROUP BY kind"


class StoredFiles:
    """Reads which files rows speak of. IndexDamagedError where a row is not what was written."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def loose(self, container: int = LOOSE) -> Iterator[bytes]:
        """Raw digests of contents that have a file of their own, in order, in short reads."""
        if self._db.one("SELECT 1 FROM blob WHERE container = ? LIMIT 1", (container,)) is None:
            return  # else every content would be looked at to say so: most stores have most of it in packs
        after = b""
        while page := self._db.rows(_OF_FILES, (container, after[:4], after)):
            yield from (row[0] for row in page)
            after = page[-1][0]

    def packs(self) -> list[tuple[str, int]]:
        """(name, up to which byte) of packs that something lies in, by name."""
        return [(name, reach) for name, reach, _ in self._db.rows(_REACH)]

    def is_member(self, raw: bytes, pack: str) -> bool:
        """Whether a row says that a digest lies in a pack."""
        return any(self._db.one(sql, (raw[:4], raw, pack)) is not None for sql in _HAS)

    def count(self) -> int:
        """How many files: an estimate for progress."""
        row = self._db.one(f"SELECT (SELECT count(*) FROM blob WHERE container <= {LOOSE}), count(*) FROM container")
        return int(row[0]) + int(row[1]) if row else 0

    def counts(self) -> dict[str, int]:
        """Records by kind, deleted ones too, and revisions: as the rows stand, to be compared later."""
        found = {KIND_NAMES.get(kind, "unknown"): count for kind, count in self._db.rows(_KINDS)}
        row = self._db.one("SELECT count(*) FROM revision")
        return {**found, "revision": int(row[0]) if row else 0}

    def missing(self) -> Iterator[tuple[str, int]]:
        """(id of the artifact, number) of kept revisions whose content is nowhere, in short reads."""
        after = 0
        while page := self._db.rows(_MISSING, (after,)):
            yield from ((moment.id_text(record_id), number) for _, record_id, number in page)
            after = page[-1][0]

    def trim(self) -> None:
        """Forget what nothing refers to: a copy of the store need not have it. In the open transaction.

        And what the index keeps of packs: those of the copy have it.
        """
        self._db.run("DELETE FROM pending")
        self._db.run(_UNNEEDED)
        self._db.run(_EMPTY)

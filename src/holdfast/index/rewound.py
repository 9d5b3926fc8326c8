"""Takes the rows of an index back to an earlier change: what came later goes, what changed later is made anew.

Keys of rows are seqs, so a row that was made later is known by its key; and each change touches the rows of one record
only, so the records that were changed later are made anew from their own changes up to then, by the same reducers.
All else stands as it was. Much less work than all changes anew, and the rows are the same (tests/engine/test_past.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from holdfast.errors import ChainBrokenError, IndexDamagedError
from holdfast.index import tables
from holdfast.index.apply import reduce
from holdfast.index.rows import Cell, DeletedWith, Operation, Update
from holdfast.index.sql import SqlIndex
from holdfast.index.tables import SLOTS, STATE_KEPT
from holdfast.values import moment
from holdfast.values.change import Body

_BY_KEY = (
    "record", "collection", "artifact", "content", "revision", "relationship", "run", "step", "run_link",
    "relationship_type", "metadata_index",
)  # fmt: skip
_OF_RECORD = {
    "record": "key", "collection": "key", "artifact": "key", "relationship": "key", "run": "key", "step": "key",
    "relationship_type": "key", "tagging": "record", "revision": "artifact", "run_link": "run", "change": "record",
    "metadata_value": "artifact",
}  # fmt: skip
_LATER = {
    **dict.fromkeys(_BY_KEY, "key > ?1"), "tx": "first > ?1", "change": "seq > ?1", "tagging": "record > ?1",
    "metadata_value": "artifact > ?1", "term": f"key >= (?1 + 1) * {SLOTS}",
}  # fmt: skip

_TOUCHED = """INSERT INTO rewound
    SELECT record FROM change WHERE seq > ?1 AND record <= ?1
    UNION SELECT artifact FROM revision WHERE key > ?1 AND artifact <= ?1
    UNION SELECT key FROM record WHERE changed > ?1 AND key <= ?1"""
_HISTORY = """INSERT INTO rewound_seq
    SELECT key FROM rewound
    UNION SELECT key FROM revision WHERE artifact IN (SELECT key FROM rewound) AND number > 1 AND key <= ?1
    UNION SELECT seq FROM change WHERE record IN (SELECT key FROM rewound) AND seq <= ?1"""
_INDEX_CHANGED = f"""SELECT 1 FROM record WHERE kind = {tables.KIND_CODES["metadata-index"]} AND changed > ?1
    UNION SELECT 1 FROM record r JOIN rewound t ON t.key = r.key
    WHERE r.kind = {tables.KIND_CODES["metadata-index"]} LIMIT 1"""
_NAMES = """SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name <> 'revision'
    AND sql LIKE 'CREATE UNIQUE INDEX%WHERE%'"""
_DELETED = """SELECT max(c.seq) FROM change c JOIN record r ON r.key = c.record WHERE r.id = ?1 AND c.seq < ?2"""
_TAKEN = f"""SELECT key, state FROM revision WHERE key > ?1 AND key <= ?2 AND state <> {STATE_KEPT}
    ORDER BY key LIMIT 1000"""
_PAGE = 1_000

BodyOf = Callable[[int], Body]


class Rewinding:
    """A copy of an index that nobody else uses, on its way back to the state after change `seq`."""

    def __init__(self, index: SqlIndex, seq: int) -> None:
        self._index = index
        self._db = index.database
        self._seq = seq

    def survey(self) -> int | None:
        """Open the transaction and note what is to be made anew: how many changes that takes.

        None: a declared index came or went since, and what it held of all artifacts is in no row.
        """
        self._index.begin()
        self._db.run("CREATE TABLE rewound (key INTEGER PRIMARY KEY)")
        self._db.run("CREATE TABLE rewound_seq (seq INTEGER PRIMARY KEY)")
        self._db.run(_TOUCHED, (self._seq,))
        if self._db.one(_INDEX_CHANGED, (self._seq,)) is not None:
            return None
        self._db.run(_HISTORY, (self._seq,))
        row = self._db.one("SELECT count(*) FROM rewound_seq")
        return int(row[0]) if row else 0

    def run(self, body_of: BodyOf) -> None:
        """Make it so, and commit. `body_of`: the change of a seq; they are asked for in order."""
        names = [(str(name), str(sql)) for name, sql in self._db.rows(_NAMES)]
        for name, _ in names:  # names that were given away since are back before those who have them now are gone
            self._db.run(f'DROP INDEX "{name}"')
        for table, column in _OF_RECORD.items():
            self._db.run(f"DELETE FROM {table} WHERE {column} IN (SELECT key FROM rewound)")
        for table, later in _LATER.items():
            self._db.run(f"DELETE FROM {table} WHERE {later}", (self._seq,))
        for seq in self._seqs():
            self._index.executor.apply(seq, self._resolved(seq, body_of(seq)))
        for _, sql in names:
            self._db.run(sql)
        self._db.run("DROP TABLE rewound")
        self._db.run("DROP TABLE rewound_seq")
        self._index.physical.forget_all()
        self._index.commit()
        self._index.forget()

    def _seqs(self) -> Iterator[int]:
        after = 0
        while page := self._db.rows("SELECT seq FROM rewound_seq WHERE seq > ? ORDER BY seq LIMIT ?", (after, _PAGE)):
            for (seq,) in page:
                yield seq
            after = page[-1][0]

    def _resolved(self, seq: int, body: Body) -> Iterator[Operation]:
        for operation in reduce(seq, body):
            if isinstance(operation, Update) and isinstance(operation.values.get("deleted"), DeletedWith):
                cells = {column: self._deleted(seq, cell) for column, cell in operation.values.items()}
                yield Update(operation.table, operation.where, cells)
            else:
                yield operation

    def _deleted(self, seq: int, cell: Cell) -> Cell:
        """What took a record along was deleted just before; its row may by now tell of a later time."""
        if not isinstance(cell, DeletedWith):
            return cell
        row = self._db.one(_DELETED, (moment.id_bytes(cell.id), seq))
        if row is None or row[0] is None:
            raise ChainBrokenError(f"change {seq} names no delete that took it along", seq=seq, where="change")
        return int(row[0])


def take_away(index: SqlIndex, now: SqlIndex, seq: int) -> int:
    """In an index of an earlier state: contents that were given up since are not kept; of how many revisions.

    `now`: the index of the store as it is.
    """
    count, after = 0, 0
    index.begin()
    with now.database.errors(), now.database.committed() as connection:
        while page := connection.execute(_TAKEN, (after, seq)).fetchall():
            count += sum(_take(index, seq, key, state) for key, state in page)
            after = page[-1][0]
    index.commit()
    return count


def _take(index: SqlIndex, seq: int, key: int, state: int) -> bool:
    found = index.database.one("SELECT state FROM revision WHERE key = ?", (key,))
    if found is None:
        raise IndexDamagedError(f"revision {key} is not in the rows of change {seq}", reason="revision")
    if found[0] == STATE_KEPT:
        index.executor.apply(seq, [Update("revision", {"key": key}, {"state": state})])
    return bool(found[0] == STATE_KEPT)

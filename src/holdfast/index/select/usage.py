"""What each tenant, or each owner, has: counted from rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from holdfast.index import proof, revised
from holdfast.index.database import Database
from holdfast.index.tables import KIND_NAMES, STATE_KEPT

_RECORD = proof.proven("record", "r")
_REVISION = proof.proven("revision", "v")
_CONTENT = proof.proven("content", "c")


@dataclass(frozen=True, slots=True)
class Counted:
    """Sums. `logical`: bytes of all kept revisions together; `unique`: each content once."""

    live: dict[str, int]
    deleted: dict[str, int]
    revisions: int
    logical: int
    unique: int


class UsageRows:
    """Reads sums of records and contents, of one tenant or owner, or of all."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def tenants(self) -> list[str]:
        """Every tenant that has records, by name."""
        rows = self._db.rows(
            "SELECT DISTINCT coalesce(t.text, '') FROM record r LEFT JOIN term t ON t.key = r.tenant ORDER BY 1"
        )
        return [str(row[0]) for row in rows]

    def count(self, tenant: str | None, owner: str | None) -> Counted:
        """The sums of what both conditions leave; None: no condition."""
        where, cells = _where(tenant, owner)
        live, deleted = dict.fromkeys(KIND_NAMES.values(), 0), dict.fromkeys(KIND_NAMES.values(), 0)
        sql = f"""SELECT r.kind, r.deleted = 0, count(*) FROM record r WHERE {where}
                  AND NOT EXISTS (SELECT 1 FROM collection k WHERE k.key = r.key AND k.parent IS NULL) GROUP BY 1, 2"""
        for kind, is_live, count in self._db.rows(sql, cells):
            (live if is_live else deleted)[KIND_NAMES.get(kind, "unknown")] = count
        of = f"""FROM record r JOIN revision v ON v.artifact = r.key JOIN content c ON c.key = v.content
                 WHERE {where} AND {_REVISION} AND {_CONTENT}"""
        sums = f"SELECT count(*), sum(CASE WHEN v.state = {STATE_KEPT} THEN c.size END)"
        revisions, logical = self._row(f"{sums} {of}", cells)
        # Revisions and records have proven themselves just now.
        (unique,) = self._row(
            f"""SELECT sum(c.size) FROM content c WHERE {_CONTENT} AND EXISTS (SELECT 1 FROM revision v
                JOIN record r ON r.key = v.artifact WHERE {revised.of_content("v", "c.key")}
                AND v.state = {STATE_KEPT} AND {where})""",
            cells,
        )
        return Counted(live, deleted, revisions, logical, unique)

    def _row(self, sql: str, cells: list[Any]) -> tuple[int, ...]:
        return tuple(int(cell or 0) for cell in self._db.one(sql, cells) or ())


def _where(tenant: str | None, owner: str | None) -> tuple[str, list[Any]]:
    parts, cells = ["r.key = r.key"], []
    for column, text in (("tenant", tenant), ("owner", owner)):
        if text == "":
            parts.append(f"r.{column} = 0")
        elif text is not None:
            parts.append(f"r.{column} = (SELECT key FROM term WHERE text = ?)")
            cells.append(text)
    # No row is left out before it has proven itself: CASE looks in this order.
    return f"CASE WHEN {_RECORD} THEN {' AND '.join(parts)} END", cells

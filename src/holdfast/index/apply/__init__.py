"""Change → rows: one pure reducer for each kind and action. Live writes, rebuild, import and restore all come here.

No clock, no randomness, no reading of rows: what only the index knows is left as a symbol. The same changes in the
same order therefore always give the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from holdfast.errors import ChainBrokenError
from holdfast.index.apply import artifacts, collections, declared, relationships, runs
from holdfast.index.rows import Operation
from holdfast.values.change import Body

Reducer = Callable[[int, Body], Iterator[Operation]]

REDUCERS: dict[tuple[str, str], Reducer] = {
    **collections.REDUCERS,
    **artifacts.REDUCERS,
    **relationships.REDUCERS,
    **runs.REDUCERS,
    **declared.REDUCERS,
}


def reduce(seq: int, body: Body) -> Iterator[Operation]:
    """The operations that change number `seq` stands for; ChainBrokenError if this software does not know it."""
    reducer = REDUCERS.get((body["kind"], body["action"]))
    if reducer is None:
        raise ChainBrokenError(
            f"change {seq} is a {body['kind']!r} {body['action']!r}, which this version does not know",
            seq=seq,
            where="change",
            remedy="Install a newer Holdfast.",
        )
    return reducer(seq, body)

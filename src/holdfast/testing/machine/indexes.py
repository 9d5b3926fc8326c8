"""Rules: indexes on metadata, which no other rule may notice."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule

from holdfast.testing.machine.compare import Comparing, agree

FIELDS = st.sampled_from(["metadata.k", "metadata.ü", 'metadata."a.b"'])


class IndexRules(Comparing):
    """Verbs of declared indexes."""

    @rule(field=FIELDS)
    def declare_index(self, field: str) -> None:
        """On what is there and what will come; again: nothing happens."""
        self.both(lambda s: s.indexes.declare(field), lambda m: m.declare(field))
        self._compare_indexes()

    @rule(field=FIELDS)
    def drop_index(self, field: str) -> None:
        """Gone, but for one that is not there."""
        self.both(lambda s: s.indexes.drop(field), lambda m: m.drop(field))
        self._compare_indexes()

    def _compare_indexes(self) -> None:
        found = {one.field: one.artifacts for one in self.store.indexes.list()}
        wanted = dict.fromkeys(self.model.indexes, 0)
        for thing in self.model.things.values():
            for field in wanted:
                wanted[field] += field.removeprefix("metadata.").strip('"') in thing.newest.metadata
        agree(found, wanted, "indexes.list()")

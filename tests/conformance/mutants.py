"""Backends that are wrong on purpose, each in one way: what the kit must find, and which of its tests does.

Every numbered sentence of every contract has at least one. They stand on backends in memory, so that they cost little.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import io
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import holdfast
from holdfast import Store, ram
from holdfast.blobs import BlobRaw, LocalBlobs, MemoryBlobs
from holdfast.blobs.contract import BlobStat, Staged, WalkEntry
from holdfast.disk import Disk
from holdfast.errors import (
    BlobDamagedError,
    BlobMissingError,
    HandleDeadError,
    HoldfastError,
    LockedError,
    NotFoundError,
    StorageIOError,
)
from holdfast.formats import paths
from holdfast.index.sqlite import SqliteIndex
from holdfast.journal import Journal
from holdfast.testing.blobs import CONTENTS
from holdfast.testing.conformance import (
    EVERYTHING,
    BlobStoreConformance,
    Capability,
    IndexConformance,
    JournalConformance,
    StoreConformance,
    StreamConformance,
)
from holdfast.values import digest as digests
from holdfast.values import lifecycle
from holdfast.values.records import RunStatus

IN_MEMORY = "/dev/null/holdfast-mutant"


@dataclass(frozen=True)
class Mutant:
    """`breaks`: the sentences; `caught_by`: the test of the kit that must fail; `suite`: the class to run.

    `drags`: sentences that fall with them, because their tests rest on the same thing. No test of any other fails.
    """

    name: str
    breaks: tuple[str, ...]
    caught_by: str
    suite: Any = field(repr=False)
    drags: tuple[str, ...] = ()


MUTANTS: list[Mutant] = []


# -- indexes ----------------------------------------------------------------------------------------------------------


class Sound(SqliteIndex):
    """The index in memory, with nothing wrong: what the others spoil."""

    main = threading.main_thread()

    @property
    def file(self) -> Any:
        return self.database._file


def index(breaks: str, caught_by: str, drags: str = "") -> Callable[[type], type]:
    """A wrong index. It is registered under its class's name."""

    def register(wrong: type[Sound]) -> type[Sound]:
        class Suite(IndexConformance):
            def open_index(self, place: Path) -> SqliteIndex:
                return wrong(f"{IN_MEMORY}{place}")

        MUTANTS.append(Mutant(wrong.__name__, tuple(breaks.split()), caught_by, Suite, tuple(drags.split())))
        return wrong

    return register


@index("I-1", "test_changes_are_seen_by_others_only_after_commit")
class ShowsWhatIsNotCommitted(Sound):
    said: str | None = None

    def set_meta(self, key: str, value: str) -> None:
        super().set_meta(key, value)
        if key == "kit-fact":
            self.said = value

    def meta(self, key: str) -> str | None:
        found = super().meta(key)
        return self.said if key == "kit-fact" and found is None and self.said else found

    def rollback(self) -> None:
        self.said = None
        super().rollback()

    def commit(self) -> None:
        super().commit()
        self.said = None


@index("I-2", "test_what_was_committed_is_there_in_a_new_handle")
class LosesTheLastWrite(Sound):
    def close(self) -> None:
        with contextlib.suppress(HoldfastError):
            self.unset_meta("kit-fact")
        super().close()


@index("S-4", "test_the_last_write_before_closing_is_there")
class ForgetsItAllWhenClosed(Sound):
    def close(self) -> None:
        with contextlib.suppress(Exception):
            self.begin()
            self.database.run("DELETE FROM artifact")
            self.commit()
        super().close()


@index("I-3 S-10", "test_rollback_leaves_nothing_and_needs_no_transaction", drags="S-11 I-12")
class IgnoresRollback(Sound):
    def rollback(self) -> None:
        if self.database.raw().in_transaction:
            self.commit()


@index("I-3", "test_rolling_back_to_a_mark_leaves_what_came_before", drags="S-10")
class IgnoresMarks(Sound):
    def rollback_to(self, depth: int) -> None:
        self.release(depth)


@index("I-3", "test_rollback_leaves_nothing_and_needs_no_transaction")
class WantsATransactionToRollBack(Sound):
    def rollback(self) -> None:
        self.database.run("ROLLBACK") if self.database.raw().in_transaction else self._fail()

    def _fail(self) -> None:
        raise StorageIOError("no transaction", path="", operation="rollback", errno=0)


@index("I-4", "test_transactions_come_one_after_the_other")
class LetsWritersReadBeforeTheirTurn(Sound):
    """What was read before BEGIN is written after it: the oldest of all lost updates."""

    seen: str | None = None

    def begin(self) -> None:
        self.seen = self.meta("kit-fact")
        threading.Event().wait(0.002)
        super().begin()

    def set_meta(self, key: str, value: str) -> None:
        super().set_meta(key, value)
        self.seen = value if key == "kit-fact" else self.seen

    def meta(self, key: str) -> str | None:
        if self.database.raw().in_transaction and key == "kit-fact":
            return self.seen
        return super().meta(key)


@index("I-5", "test_readers_wait_for_no_writer", drags="S-10")
class ShutsReadersOut(Sound):
    def __init__(self, path: str, *, read_only: bool = False) -> None:
        super().__init__(path, read_only=read_only)
        rows, owner = self.database.rows, self

        def only_the_writer(sql: str, parameters: Any = ()) -> Any:
            if owner.file.writer.locked() and not owner.database.raw().in_transaction:
                raise LockedError("somebody writes", lock="index", holder=None, waited_s=0.0)
            return rows(sql, parameters)

        self.database.rows = only_the_writer  # type: ignore[method-assign]


@index("I-6", "test_one_by_one_and_together_give_the_same_rows")
class ForgetsWhatRelationshipsSay(Sound):
    def apply(self, seq: int, body: Any) -> None:
        super().apply(seq, _spoilt(body, "metadata", lambda _: {}) if body["kind"] == "relationship" else body)


@index("I-7", "test_the_chain_gives_back_the_bytes_that_were_acknowledged")
class LosesTheEndOfTheChain(Sound):
    def __init__(self, path: str, *, read_only: bool = False) -> None:
        super().__init__(path, read_only=read_only)
        at = self.chain.at
        self.chain.at = lambda seq: None if at(seq) is None or at(at(seq).entry.next_seq) is None else at(seq)  # type: ignore[method-assign,union-attr]


@index("I-7 S-11", "test_changes_come_in_order_without_a_gap", drags="S-14")
class ReusesASeq(Sound):
    def __init__(self, path: str, *, read_only: bool = False) -> None:
        super().__init__(path, read_only=read_only)
        head = self.chain.head

        def stale(*, proven: bool = True) -> Any:
            found = head(proven=proven)
            return found and dataclasses.replace(found, next_seq=found.next_seq - (found.next_seq > 20))

        self.chain.head = stale  # type: ignore[method-assign]


def _spoilt(body: Any, key: str, change: Callable[[Any], Any]) -> Any:
    body = copy.deepcopy(body)
    for part in (body.get("new", {}), body.get("new", {}).get("revision", {})):
        if key in part:
            part[key] = change(part[key])
    return body


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, dict):
        return {key: _each(one, change) for key, one in value.items()}
    return [_each(one, change) for one in value] if isinstance(value, list) else change(value)


class SpoilsMetadata(Sound):
    """Metadata goes through `change` before it is kept."""

    change: Callable[[Any], Any] = staticmethod(lambda value: value)

    def apply(self, seq: int, body: Any) -> None:
        super().apply(seq, _spoilt(body, "metadata", lambda found: _each(found, type(self).change)))

    def apply_all(self, first: int, bodies: Any) -> None:
        spoilt = [_spoilt(body, "metadata", lambda found: _each(found, type(self).change)) for body in bodies]
        super().apply_all(first, spoilt)


@index("I-8 S-3", "test_values_come_back_as_they_were_given", drags="I-6")
class DropsTheSignOfZero(SpoilsMetadata):
    change = staticmethod(lambda value: 0.0 if isinstance(value, float) and value == 0 else value)


@index("I-8 S-3", "test_values_come_back_as_they_were_given", drags="I-6")
class MakesWholeFloatsIntegers(SpoilsMetadata):
    change = staticmethod(lambda value: int(value) if isinstance(value, float) and value == 1e16 else value)


@index("I-8 S-3", "test_what_was_saved_is_given_back_as_it_was", drags="I-6 S-13")
class RoundsBigIntegers(SpoilsMetadata):
    change = staticmethod(lambda value: float(value) if type(value) is int and abs(value) > 2**53 else value)


@index("I-8 S-3", "test_values_come_back_as_they_were_given", drags="I-6 S-13")
class CutsTextAtNul(SpoilsMetadata):
    change = staticmethod(lambda value: value.partition("\0")[0] if isinstance(value, str) else value)


@index("I-8 S-3", "test_values_come_back_as_they_were_given", drags="I-6 S-13")
class NormalisesText(SpoilsMetadata):
    change = staticmethod(lambda value: "é" if value == "e\u0301" else value)


class Wrapped:
    """A part of an index with some of its calls replaced."""

    def __init__(self, inner: Any, **replaced: Any) -> None:
        self._inner = inner
        self._replaced = replaced

    def __getattr__(self, name: str) -> Any:
        return self._replaced.get(name) or getattr(self._inner, name)


class PagesOtherwise(Sound):
    """Pages of the finder go through `turn`."""

    def __init__(self, path: str, *, read_only: bool = False) -> None:
        super().__init__(path, read_only=read_only)
        page = self.finder.page

        def turned(condition: Any, order: Any, *, limit: int, token: Any = None, deleted: bool = False) -> Any:
            return self.turn(page(condition, order, limit=limit, token=token, deleted=deleted), order)

        self.finder.page = turned  # type: ignore[method-assign]

    def turn(self, page: Any, order: Any) -> Any:
        return page


@index("I-9 S-7", "test_orders_are_total_and_by_code_point")
class SortsByLocale(PagesOtherwise):
    def turn(self, page: Any, order: Any) -> Any:
        if order.field != "name":
            return page
        items = sorted(page.items, key=lambda one: (one.name.casefold(), one.name), reverse=order.descending)
        return dataclasses.replace(page, items=tuple(items))


@index("I-9 S-7", "test_orders_are_total_and_by_code_point")
class LeavesTiesToChance(PagesOtherwise):
    def turn(self, page: Any, order: Any) -> Any:
        if order.field != "size":
            return page
        items = sorted(page.items, key=lambda one: (one.size, one.digest, one.name[::-1]))
        return dataclasses.replace(page, items=tuple(items))


@index("I-9", "test_order_and_page_tokens_are_those_of_every_backend")
class MakesTokensOfItsOwn(PagesOtherwise):
    def turn(self, page: Any, order: Any) -> Any:
        return page if page.token is None else dataclasses.replace(page, token=page.token + "=")


@index("S-7", "test_pages_joined_are_the_whole")
class LosesOneBetweenPages(PagesOtherwise):
    def turn(self, page: Any, order: Any) -> Any:
        return page if page.token is None or len(page.items) < 5 else dataclasses.replace(page, items=page.items[:-1])


@index("I-10", "test_a_row_that_is_not_what_was_written_is_not_given")
class BelievesItsRows(Sound):
    def prove_rows(self, tables_of_interest: Sequence[str]) -> None:
        pass


@index("I-11", "test_errors_are_typed_and_hold_no_value")
class SaysWhatWasAsked(Sound):
    def __init__(self, path: str, *, read_only: bool = False) -> None:
        super().__init__(path, read_only=read_only)
        run = self.database.run

        def loud(sql: str, parameters: Any = ()) -> Any:
            logging.getLogger("mutant").info("run %s %s", sql, parameters)
            return run(sql, parameters)

        self.database.run = loud


@index("I-11", "test_errors_are_typed_and_hold_no_value")
class LetsErrorsThrough(Sound):
    def meta(self, key: str) -> str | None:
        try:
            return super().meta(key)
        except HandleDeadError as error:
            raise sqlite3.ProgrammingError("Cannot operate on a closed database.") from error


@index("I-12", "test_a_thread_that_ended_leaves_the_others_well")
class KeepsWhatAThreadLeft(Sound):
    def rollback(self) -> None:
        if threading.current_thread() is self.main:
            super().rollback()
        elif self.database.raw().in_transaction:
            self.commit()


@index("I-13 S-2", "test_an_index_without_a_schema_is_told_from_a_sound_one", drags="I-2 I-4")
class MigratesOnlyOnce(Sound):
    def migrate(self) -> None:
        self.database.run("CREATE TABLE migrated (once)")
        super().migrate()


@index("S-2", "test_bringing_up_the_schema_again_changes_nothing")
class BeginsAnewWhenMigrated(Sound):
    def migrate(self) -> None:
        super().migrate()
        self.database.run("DELETE FROM artifact")
        self.database.run("DELETE FROM tx")


@index("I-15", "test_who_follows_is_woken_by_a_commit_of_another")
class SleepsOn(Sound):
    def version(self) -> int:
        return 1


@index("I-14", "test_many_threads_read_and_write_at_once")
class ForgetsWhatOtherThreadsWrite(Sound):
    def set_meta(self, key: str, value: str) -> None:
        if threading.current_thread() is self.main or not key[0].isdigit() or key.endswith("-0"):
            super().set_meta(key, value)


@index("S-14", "test_what_threads_write_at_once_is_all_there")
class LosesWritesOfManyThreads(Sound):
    def __init__(self, path: str, *, read_only: bool = False) -> None:
        super().__init__(path, read_only=read_only)
        self.own = threading.local()

    def apply(self, seq: int, body: Any) -> None:
        super().apply(seq, body)
        self.own.changed = threading.current_thread() is not self.main and seq % 5 == 0

    def commit(self) -> None:
        if getattr(self.own, "changed", False):
            self.own.changed = False
            self.rollback()
        else:
            super().commit()


# -- stores -----------------------------------------------------------------------------------------------------------


def store(
    breaks: str, caught_by: str, drags: str = "", *, claims: Capability | None = None
) -> Callable[[Callable[[Store], Any]], Any]:
    """A wrong store: a sound one in memory, spoilt by the function. `claims`: what it says it can besides."""

    def register(spoil: Callable[[Store], Any]) -> Callable[[Store], Any]:
        class Suite(StoreConformance):
            capabilities = EVERYTHING - {Capability.DURABLE} | ({claims} if claims else frozenset())

            def open_store(self, place: Path) -> Store:
                made = holdfast.memory()
                spoil(made)
                return made

        MUTANTS.append(Mutant(spoil.__name__, tuple(breaks.split()), caught_by, Suite, tuple(drags.split())))
        return spoil

    return register


def after(owner: Any, name: str, change: Callable[..., Any]) -> None:
    """What a call gives goes through `change`."""
    inner = getattr(owner, name)
    setattr(owner, name, lambda *args, **named: change(inner(*args, **named)))


WRITTEN_TO = "S-2 S-3 S-5 S-6 S-7 S-8 S-9 S-10 S-11 S-12 S-13 S-14 S-15 R-1 R-2 R-3"
"""All that can only be seen in a store that takes something in."""


@store("S-1", "test_a_store_is_ready_when_it_is_open", drags=WRITTEN_TO)
def is_open_for_reading_only(one: Store) -> None:
    one._handle.read_only = True


@store("S-1", "test_a_store_is_ready_when_it_is_open")
def has_an_older_schema(one: Store) -> None:
    one.migrate_status = lambda: [(0, "older", True)]  # type: ignore[method-assign]


@store("S-3", "test_old_revisions_stay_what_they_were")
def gives_the_newest_for_the_oldest(one: Store) -> None:
    inner = one.artifacts.read
    one.artifacts.read = lambda ref, **_: inner(ref)  # type: ignore[method-assign]


@store("S-4", "test_after_reopening_everything_is_as_it_was", claims=Capability.DURABLE)
def is_another_each_time(one: Store) -> None:
    """Nothing is spoilt: a store in memory that claims to be durable is wrong enough."""


@store("S-5", "test_a_name_is_taken_once", drags="S-12")
def takes_a_name_twice(one: Store) -> None:
    inner, put = one.artifacts.create, one.artifacts.put
    one.artifacts.create = lambda path, content, **said: (  # type: ignore[method-assign]
        put(path, content).artifact if any(a.path == path for a in one.artifacts.find()) else inner(path, content)
    )


@store("S-6", "test_an_end_that_is_not_there_is_refused")
def relates_to_nothing(one: Store) -> None:
    inner = one.relationships.relate

    def anyway(source: Any, type: str, target: Any, **more: Any) -> Any:
        try:
            return inner(source, type, target, **more)
        except NotFoundError:
            return None

    one.relationships.relate = anyway  # type: ignore[method-assign]


@store("S-8", "test_a_walk_reaches_what_can_be_reached")
def stops_walking_early(one: Store) -> None:
    inner = one.relationships.lineage
    one.relationships.lineage = lambda *args, **named: inner(*args, **{"depth": 2, **named})  # type: ignore[method-assign]


@store("S-9", "test_owners_and_tenants_have_their_own")
def mixes_owners_up(one: Store) -> None:
    inner = one.artifacts.find

    def mixed(*args: Any, owner: str | None = None, **named: Any) -> Any:
        if owner is None:
            return inner(*args, **named)
        return (a for a in inner(*args, **named) if a.owner.casefold() == owner.casefold())

    one.artifacts.find = mixed  # type: ignore[method-assign]


@store("S-10", "test_a_nested_part_can_fail_by_itself")
def undoes_only_the_whole(one: Store) -> None:
    one._handle.index.rollback_to = one._handle.index.release  # type: ignore[method-assign]


@store("S-11", "test_changes_come_in_order_without_a_gap", drags="S-14")
def leaves_a_change_out(one: Store) -> None:
    after(one.changes, "list", lambda found: (c for c in found if c.seq != 17))


@store("S-12", "test_diagnostics_hold_no_value_of_a_record")
def logs_what_is_put(one: Store) -> None:
    inner = one.artifacts.put

    def loud(path: Any, content: Any, **said: Any) -> Any:
        logging.getLogger("mutant").debug("put", extra={"metadata": said.get("metadata")})
        return inner(path, content, **said)

    one.artifacts.put = loud  # type: ignore[method-assign]


@store("S-13", "test_every_operator_means_what_is_written_of_it")
def takes_true_for_one(one: Store) -> None:
    _asks_otherwise(one, lambda found, asked: found or (asked.op == "=" and asked.value is True))


@store("S-13", "test_every_operator_means_what_is_written_of_it")
def counts_a_missing_field_as_less(one: Store) -> None:
    inner = one.artifacts.find

    def otherwise(where: Any = None, **named: Any) -> Any:
        asked = getattr(where, "op", "")
        found = list(inner(where, **named))
        return iter(found if asked != "<" else [a for a in inner() if a in found or "v" not in a.metadata])

    one.artifacts.find = otherwise  # type: ignore[method-assign]


@store("S-13", "test_conditions_combine")
def takes_or_for_and(one: Store) -> None:
    inner = one.artifacts.find

    def otherwise(where: Any = None, **named: Any) -> Any:
        if type(where).__name__ == "All" and "Not" not in {type(p).__name__ for p in where.parts}:
            where = where.parts[0] | where.parts[1]
        return inner(where, **named)

    one.artifacts.find = otherwise  # type: ignore[method-assign]


def _asks_otherwise(one: Store, holds: Callable[[bool, Any], bool]) -> None:
    inner = one.artifacts.find

    def otherwise(where: Any = None, **named: Any) -> Any:
        if getattr(where, "field", "") != "metadata.v":
            return inner(where, **named)
        found = {a.id for a in inner(where, **named)}
        return (a for a in inner() if holds(a.id in found, where) and "v" in a.metadata)

    one.artifacts.find = otherwise  # type: ignore[method-assign]


@store("S-14", "test_what_threads_write_at_once_is_all_there")
def loses_what_a_thread_put(one: Store) -> None:
    inner = one.artifacts.put

    def lossy(path: Any, content: Any, **said: Any) -> Any:
        made = inner(path, content, **said)
        if path == "3-5":
            one.artifacts.delete(path)
        return made

    one.artifacts.put = lossy  # type: ignore[method-assign]


@store("S-15", "test_a_search_finds_what_has_all_its_words")
def finds_any_of_the_words(one: Store) -> None:
    inner = one.search

    class Loose:
        def __call__(self, words: str) -> Any:
            return inner(words.split(maxsplit=1)[0])

    vars(one)["search"] = Loose()


@store("R-1", "test_a_run_goes_its_way_and_no_other")
def lets_runs_go_any_way(one: Store) -> None:
    inner = one.runs.set_status

    def anyway(run: Any, status: str, **more: Any) -> Any:
        if RunStatus(status) in lifecycle.ALLOWED[one.runs.get(run).status]:
            return inner(run, status, **more)
        return one.runs.get(run)

    one.runs.set_status = anyway  # type: ignore[method-assign]


@store("R-2", "test_what_a_run_read_is_pinned")
def pins_nothing(one: Store) -> None:
    after(one.runs, "links", lambda found: (
        dataclasses.replace(link, endpoint=dataclasses.replace(link.endpoint, revision=2)) for link in found
    ))  # fmt: skip


@store("R-3", "test_a_run_ends_with_its_block")
def leaves_runs_open(one: Store) -> None:
    inner = one.runs.start

    @contextlib.contextmanager
    def start(name: Any, **more: Any) -> Iterator[Any]:
        under_way = inner(name, **more).__enter__()
        yield under_way

    one.runs.start = start  # type: ignore[method-assign]


# -- journals ---------------------------------------------------------------------------------------------------------


def journal(breaks: str, caught_by: str, drags: str = "") -> Callable[[type[Journal]], type[Journal]]:
    """A wrong journal."""

    def register(wrong: type[Journal]) -> type[Journal]:
        class Suite(JournalConformance):
            def make_journal(self, place: Path, disk: Disk) -> Any:
                return wrong(str(place), disk)

        MUTANTS.append(Mutant(wrong.__name__, tuple(breaks.split()), caught_by, Suite, tuple(drags.split())))
        return wrong

    return register


@journal("L-1", "test_l1_what_was_appended_is_read_in_order", drags="L-2 L-4")
class ReadsBackwards(Journal):
    def scan(self, from_seq: int = 1) -> Any:
        return iter(list(super().scan(from_seq))[::-1])


@journal("L-2", "test_l2_without_space_nothing_is_appended")
class ClaimsNoSpace(Journal):
    def _reserve(self, length: int) -> int:
        return length


@journal("L-3", "test_l3_after_a_sync_nothing_is_outstanding")
class OnlySaysThatItSynced(Journal):
    def sync(self) -> None:
        self._synced = self._appended


@journal("L-4", "test_l4_a_torn_line_is_stepped_over")
class StopsAtATornLine(Journal):
    def scan(self, from_seq: int = 1) -> Any:
        for place, item in super().scan(from_seq):
            yield place, item
            if not hasattr(item, "transaction"):
                return


@journal("L-5", "test_l5_the_end_is_known_whoever_wrote_it")
class SaysYesToEveryEnd(Journal):
    def ends_with(self, head: Any) -> bool:
        return True


@journal("L-6", "test_l5_the_end_is_known_whoever_wrote_it")
class KnowsOnlyItsOwnEnd(Journal):
    def head(self) -> Any:
        return super().head() if self._fd is not None else None


# -- blob stores ------------------------------------------------------------------------------------------------------


def blobs(breaks: str, caught_by: str, drags: str = "", *, claims: Capability | None = None) -> Callable[[type], type]:
    """A wrong blob store. `claims`: what one in memory says it can besides what it can."""

    def register(wrong: type) -> type:
        class Suite(BlobStoreConformance):
            capabilities = EVERYTHING if issubclass(wrong, LocalBlobs) else frozenset({claims} if claims else ())

            def make_store(self, tmp_path: Path) -> Any:
                return wrong(str(tmp_path), Disk()) if issubclass(wrong, LocalBlobs) else wrong()

            def damage(self, place: Path, digest: str) -> None:
                damage_blob(place, digest)

        MUTANTS.append(Mutant(wrong.__name__, tuple(breaks.split()), caught_by, Suite, tuple(drags.split())))
        return wrong

    return register


@blobs("B-1", "test_b1_a_blob_is_known_by_its_digest_and_kept_once")
class KeepsTwoCopies(MemoryBlobs):
    def walk(self) -> Iterator[WalkEntry]:
        found = list(super().walk())
        yield from found * 2 if len(found) == 1 else found


@blobs("B-1", "test_b1_a_digest_is_that_of_the_bytes_alone", drags="B-2")
class TakesOneForAnother(MemoryBlobs):
    """Once there are several, one of them is given with another one's end."""

    def publish(self, staged: Sequence[Staged]) -> list[BlobStat]:
        found = super().publish(staged)
        several = len(self._published) > len(CONTENTS) - 2
        for digest, content in self._published.items():
            if several and content == CONTENTS["just two frames"]:
                self._published[digest] = content[:-1] + b"?"
        return found


@blobs("B-2", "test_b2_what_was_not_settled_cannot_be_published")
class PublishesWhatIsNotDurable(MemoryBlobs):
    def publish(self, staged: Sequence[Staged]) -> list[BlobStat]:
        with contextlib.suppress(Exception):
            self.settle(staged)
        return super().publish(staged)


@blobs("B-3", "test_b3_staged_bytes_are_not_there_yet")
class ShowsWhatIsStaged(MemoryBlobs):
    def verify(self, digest: str) -> BlobStat:
        for content in self._staged.values():
            if digests.of(content) == digest and digest not in self._published:
                return BlobStat(digest, len(content), len(content), 1)
        return super().verify(digest)


@blobs("B-4", "test_b4_publishing_what_is_there_is_no_error", drags="B-9")
class PublishesOnlyOnce(MemoryBlobs):
    def publish(self, staged: Sequence[Staged]) -> list[BlobStat]:
        for one in staged:
            if one.digest in self._published:
                raise StorageIOError("it is there", path=one.digest, operation="publish", errno=17)
        return super().publish(staged)


@blobs("B-4", "test_b4_what_was_published_is_there_in_a_new_handle", claims=Capability.DURABLE)
class KeepsItToItself(MemoryBlobs):
    """Nothing is spoilt: a store in memory that claims to be durable is wrong enough."""


@blobs("B-4 B-5", "test_b5_a_damaged_blob_is_found_and_replaced_when_it_comes_again")
class ReturnsUnverifiedBytes(LocalBlobs):
    def read(self, digest: str, *, spot: Any = None) -> bytes:
        try:
            return super().read(digest, spot=spot)
        except BlobMissingError:
            raise
        except Exception:
            return b"\0" * 700 * 1024


@blobs("B-5", "test_b5_a_range_of_a_damaged_blob_is_right_or_refused")
class GivesZerosForDamage(LocalBlobs):
    def open(self, digest: str) -> Any:
        reader = super().open(digest)
        read_at = reader.read_at

        class Lenient:
            def read_at(self, offset: int, length: int) -> bytes:
                try:
                    return read_at(offset, length)
                except Exception:
                    return b"\0" * length

        return Wrapped(reader, read_at=Lenient().read_at)


@blobs("B-5", "test_b5_what_comes_out_is_what_went_in")
class IsOffByOne(MemoryBlobs):
    def open(self, digest: str) -> Any:
        reader = super().open(digest)
        return Wrapped(reader, read_at=lambda offset, length: reader.read_at(offset - (offset > 0), length))


@blobs("B-6", "test_b6_deleting")
class DeletesWhatIsAbsent(MemoryBlobs):
    def delete(self, digest: str) -> bool:
        super().delete(digest)
        return True


@blobs("B-7", "test_b7_discarding_forgets_staged_bytes_only")
class DiscardsTooMuch(MemoryBlobs):
    def discard(self, staged: Sequence[Staged]) -> None:
        super().discard(staged)
        for one in staged:
            self._published.pop(one.digest, None)


@blobs("B-8", "test_b8_a_walk_says_what_each_blob_takes", drags="B-2 B-9")
class WalksInNoOrder(MemoryBlobs):
    def walk(self) -> Iterator[WalkEntry]:
        yield from list(super().walk())[::-1]


@blobs("B-9", "test_b9_many_threads_at_once")
class IsForOneThread(MemoryBlobs):
    def read(self, digest: str, *, spot: Any = None) -> bytes:
        if threading.current_thread() is not threading.main_thread() and len(self._published) > 20:
            raise StorageIOError("another thread", path=digest, operation="read", errno=11)
        return super().read(digest, spot=spot)


@blobs("B-10", "test_b10_many_are_read_each_once_for_each_time_it_was_asked_for")
class ReadsEachOnce(MemoryBlobs):
    def read_many(self, wanted: Any) -> Iterator[tuple[int, bytes]]:
        seen: set[str] = set()
        for number, (digest, spot) in enumerate(wanted):
            if digest not in seen:
                seen.add(digest)
                yield number, self.read(digest, spot=spot)


# -- open contents ----------------------------------------------------------------------------------------------------


class SoundStream(io.BufferedReader):
    """An open content, with nothing wrong: what the others spoil."""

    @classmethod
    def opened(cls, store: LocalBlobs, digest: str) -> Any:
        return cls(BlobRaw(store.open(digest)), 4096)


def stream(breaks: str, caught_by: str, drags: str = "") -> Callable[[type[SoundStream]], type[SoundStream]]:
    """A wrong stream, of a blob in a folder."""

    def register(wrong: type[SoundStream]) -> type[SoundStream]:
        class Suite(StreamConformance):
            def open_stream(self, place: Path, content: bytes) -> Any:
                store = LocalBlobs(str(place), Disk())
                if store.stat(digests.of(content)) is None:
                    store.publish([store.stage(content)])
                return wrong.opened(store, digests.of(content))

            def damage(self, place: Path, content: bytes) -> None:
                damage_blob(place, digests.of(content))

        MUTANTS.append(Mutant(wrong.__name__, tuple(breaks.split()), caught_by, Suite, tuple(drags.split())))
        return wrong

    return register


def damage_blob(place: Path, digest: str) -> None:
    """Change a bit in the middle of a blob's file."""
    path = place / paths.blob_file(digests.raw(digest))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x40
    path.write_bytes(data)


@stream("F-1", "test_it_gives_as_much_as_is_asked_for")
class GivesLessThanThereIs(SoundStream):
    def readinto(self, buffer: Any) -> int:
        return super().readinto(memoryview(buffer)[:1000])


@stream("F-1", "test_its_lines_are_those_of_its_bytes")
class TakesEmptyLinesForTheEnd(SoundStream):
    def __next__(self) -> bytes:
        line = super().__next__()
        if line == b"\n":
            raise StopIteration
        return line


@stream("F-2", "test_it_is_sought_in_as_in_a_file")
class StopsAtTheEnd(SoundStream):
    def seek(self, target: int, whence: int = 0, /) -> int:
        size = self.raw.size  # type: ignore[attr-defined]
        return super().seek(min(target, size) if whence == 0 else target, whence)


@stream("F-2", "test_what_lies_before_the_start_cannot_be_reached")
class TakesTheStartForWhatLiesBefore(SoundStream):
    def seek(self, target: int, whence: int = 0, /) -> int:
        try:
            return super().seek(target, whence)
        except ValueError:
            if self.closed:
                raise
            return super().seek(0)


@stream("F-3", "test_a_stream_fits_the_protocol_and_cannot_be_written_to")
class TakesWhatIsWritten(SoundStream):
    def write(self, data: bytes) -> int:
        return len(data)


@stream("F-4", "test_damage_is_refused_from_start_to_end_and_after_a_jump")
class GivesZerosInstead(SoundStream):
    def read(self, size: int | None = -1, /) -> bytes:
        try:
            return super().read(size)
        except BlobDamagedError:
            return b"\0" * max(size or 0, 0)


@stream("F-5", "test_after_closing_every_use_is_refused")
class StaysOpen(SoundStream):
    def tell(self) -> int:
        return 0 if self.closed else super().tell()


@stream("F-6", "test_python_takes_it_for_a_binary_file")
class GivesTextToWhoAsksForOne(SoundStream):
    def read1(self, size: int = -1, /) -> bytes:
        return super().read1(size).replace(b"\xc3\xa4", b"a")


class OnePlaceForAll(SoundStream):
    """Whoever opens a content that is open gets the same place in it."""

    known: ClassVar[dict[str, Any]] = {}

    @classmethod
    def opened(cls, store: LocalBlobs, digest: str) -> Any:
        found = cls.known.get(digest)
        if found is None or found.closed:
            found = cls.known[digest] = super().opened(store, digest)
        return found


stream("F-7", "test_several_on_one_content_do_not_disturb_each_other")(OnePlaceForAll)


def forget(place: Path) -> None:
    """What a mutant left in memory at a place goes."""
    ram.free(f"{IN_MEMORY}{place}")

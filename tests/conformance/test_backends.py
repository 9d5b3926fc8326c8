"""Every backend of our own keeps the contracts, by the kit that others run too."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import holdfast
from holdfast import Store
from holdfast.blobs import LocalBlobs, MemoryBlobs, buffered
from holdfast.blobs.streams import ContentStream
from holdfast.disk import Disk
from holdfast.formats import paths
from holdfast.index.sql import SqlIndex
from holdfast.index.sqlite import SqliteIndex
from holdfast.ram import free
from holdfast.testing.conformance import (
    BlobStoreConformance,
    Capability,
    IndexConformance,
    JournalConformance,
    KeeperConformance,
    StreamConformance,
)
from holdfast.testing.conformance.marks import EVERYTHING
from holdfast.values import digest as digests

from .dict_keeper import DictKeeper

IN_MEMORY = "/dev/null/holdfast-kit"


class TestInMemory(IndexConformance):
    """The reference."""

    capabilities = EVERYTHING - {Capability.DURABLE}

    def open_index(self, place: Path) -> SqliteIndex:
        return SqliteIndex(f"{IN_MEMORY}{place}")

    def open_store(self, place: Path) -> Store:
        return holdfast.memory()

    @pytest.fixture(autouse=True)
    def _emptied(self, place: Path) -> Iterator[None]:
        yield
        free(f"{IN_MEMORY}{place}")


class TestDicts(KeeperConformance):
    capabilities = EVERYTHING - {Capability.DAMAGED}

    def open_keeper(self, place: Path) -> DictKeeper:
        return DictKeeper(place)


class TestInAFolder(IndexConformance):
    def open_index(self, place: Path) -> SqliteIndex:
        index = SqliteIndex(str(place / "index.sqlite3"))
        index.database.rows("PRAGMA journal_mode = WAL")
        return index

    def open_store(self, place: Path) -> Store:
        return holdfast.open(place / "store", create=True)


class TestJournal(JournalConformance):
    pass


class TestMemoryBlobs(BlobStoreConformance):
    capabilities = EVERYTHING - {Capability.DURABLE, Capability.DAMAGED}

    def make_store(self, tmp_path: Path) -> MemoryBlobs:
        return MemoryBlobs()


class TestLocalBlobs(BlobStoreConformance):
    def make_store(self, tmp_path: Path) -> LocalBlobs:
        return LocalBlobs(str(tmp_path), Disk())

    def damage(self, place: Path, digest: str) -> None:
        path = place / paths.blob_file(digests.raw(digest))
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0x40
        path.write_bytes(data)


class TestStreamsOfBlobs(StreamConformance):
    def open_stream(self, place: Path, content: bytes) -> ContentStream:
        store = LocalBlobs(str(place), Disk())
        digest = digests.of(content)
        if store.stat(digest) is None:
            store.publish([store.stage(content)])
        return buffered(store.open(digest))

    def damage(self, place: Path, content: bytes) -> None:
        TestLocalBlobs().damage(place, digests.of(content))


class TestStreamsOfAStore(StreamConformance):
    """In a folder, where small contents are in packs."""

    capabilities = EVERYTHING - {Capability.DAMAGED}

    @pytest.fixture(autouse=True)
    def _stored(self, place: Path) -> Iterator[None]:
        with holdfast.create(place / "store") as self.store:
            yield

    def open_stream(self, place: Path, content: bytes) -> ContentStream:
        self.store.put("content", content)
        return self.store.artifacts.open("content")


class TestStreamsOfAStoreInMemory(TestStreamsOfAStore):
    @pytest.fixture(autouse=True)
    def _stored(self, place: Path) -> Iterator[None]:
        with holdfast.memory() as self.store:
            yield


class TestStreamsOfThePast(TestStreamsOfAStore):
    def open_stream(self, place: Path, content: bytes) -> ContentStream:
        self.store.put("content", content)
        self.store.put("content", b"something else by now")
        return self.store.artifacts.open("content", revision=self.store.get("content").number - 1)


class OnPostgres(IndexConformance):
    @pytest.fixture(autouse=True)
    def _server(self, postgres: str, place: Path) -> Iterator[None]:
        self.schema = "k_" + hashlib.sha256(os.fsencode(place)).hexdigest()[:16]
        self.url = f"{postgres}{'&' if '?' in postgres else '?'}schema={self.schema}"
        yield
        import psycopg  # noqa: PLC0415 - an extra: only where there is a server

        with psycopg.connect(postgres, autocommit=True) as link:
            link.execute(f"DROP SCHEMA IF EXISTS {self.schema} CASCADE")

    def open_index(self, place: Path) -> SqlIndex:
        from holdfast.index.postgres.index import PostgresIndex  # noqa: PLC0415 - as above

        return PostgresIndex(self.url)

    def open_store(self, place: Path) -> Store:
        return holdfast.open(self.url, blobs=place / "store", create=True)


ORDINARY = (
    "test_rolling_back_to_a_mark_leaves_what_came_before",
    "test_values_come_back_as_they_were_given",
    "test_orders_are_total_and_by_code_point",
    "test_one_by_one_and_together_give_the_same_rows",
)


@pytest.mark.postgres_full
class TestOnPostgres(OnPostgres):
    """All of it."""


@pytest.mark.postgres
class TestAPartOnPostgres(OnPostgres):
    """What an ordinary run takes to the server: values, order, rows and marks, where one differs most from a file."""


for _name in [name for name in dir(TestAPartOnPostgres) if name.startswith("test_") and name not in ORDINARY]:
    setattr(TestAPartOnPostgres, _name, None)

"""What any blob store must pass: one test or more for each sentence of blobs/contract.py.

Subclass BlobStoreTests under a name that begins with `Test` and give `make_store`.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import threading
from pathlib import Path

import pytest

from holdfast.blobs.contract import BlobStore
from holdfast.blobs.reader import copy_to
from holdfast.errors import BlobMissingError, HandleDeadError, InvalidInputError, InvalidValueError, StorageIOError
from holdfast.formats.appending import prepare
from holdfast.values import digest as digests

ABSENT = "sha256:" + "0" * 64
KIB = 1024
CONTENTS = {
    "empty": b"",
    "one byte": b"x",
    "text": b"the quick brown fox\n" * 40,
    "just one frame": bytes(range(256)) * KIB,
    "just two frames": bytes(range(256)) * KIB + b"!",
    "several groups": hashlib.shake_256(b"several").digest(KIB) * (3 * KIB) + b"end",
    "incompressible": hashlib.shake_256(b"random").digest(700 * KIB),
}
sized = pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS.keys())


def digest_of(content: bytes) -> str:
    """The digest by hashlib alone."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


class Trickle(io.RawIOBase):
    """A source that gives a few bytes at a time, as a socket would, and fails at byte `fail_at`."""

    def __init__(self, content: bytes, step: int, fail_at: int | None = None) -> None:
        self._inner = io.BytesIO(content)
        self._step = step
        self._fail_at = fail_at

    def read(self, size: int = -1, /) -> bytes:
        """At most `step` bytes."""
        if self._fail_at is not None and self._inner.tell() >= self._fail_at:
            raise OSError(5, "cable pulled")
        return self._inner.read(min(self._step, size) if size >= 0 else self._step)


class _Batches:
    """What is said of contents that others have compressed."""

    def test_b2_what_others_hashed_and_compressed_is_staged_as_if_it_were_given(self, store: BlobStore) -> None:
        """B-2, B-4, B-7: frames of one content and of several; a part of it is never published."""
        contents = [b"%d" % n * (n * 61) for n in range(1, 40)] + [bytes(range(256)) * 256]
        made = prepare([(digests.raw(digest_of(content)), content) for content in contents])
        assert dict(made.contents()) == {digests.raw(digest_of(content)): content for content in contents}
        contents = [content for _, content in made.contents()]
        staged = store.stage_batch(made)
        assert [(one.digest, one.size) for one in staged] == [(digest_of(one), len(one)) for one in contents]
        store.discard(staged[30:])
        store.settle(staged[:30])
        assert [stat.digest for stat in store.publish(staged[:30])] == [one.digest for one in staged[:30]]
        assert all(store.read(digest_of(content)) == content for content in contents[:30])
        assert store.stat(staged[35].digest) is None


class BlobStoreTests(_Batches):
    """The conformance suite."""

    def make_store(self, tmp_path: Path) -> BlobStore:
        """An empty store; `tmp_path` is a folder of its own."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, tmp_path: Path) -> BlobStore:
        """The store under test."""
        return self.make_store(tmp_path)

    @staticmethod
    def put(store: BlobStore, content: bytes) -> str:
        """Stage and publish; returns the digest."""
        staged = store.stage(content)
        store.publish([staged])
        return staged.digest

    def test_b1_the_store_fits_the_protocol(self, store: BlobStore) -> None:
        """B-1: by its methods."""
        assert isinstance(store, BlobStore)

    @sized
    def test_b1_a_blob_is_known_by_its_digest_and_kept_once(self, store: BlobStore, content: bytes) -> None:
        """B-1."""
        first, second = store.stage(content), store.stage(io.BytesIO(content))
        assert first.digest == second.digest == digest_of(content)
        assert first.size == second.size == len(content)
        stats = store.publish([first, second])
        assert [stat.digest for stat in stats] == [digest_of(content)] * 2
        assert [entry.digest for entry in store.walk()] == [digest_of(content)]

    @sized
    def test_b2_a_source_may_give_any_number_of_bytes_at_a_time(self, store: BlobStore, content: bytes) -> None:
        """B-2: whole, in crumbs, or as a view; the same blob."""
        whole = store.stage(content)
        crumbs = store.stage(Trickle(content, 70_001))  # type: ignore[arg-type]
        view = store.stage(memoryview(content))
        assert {whole.digest, crumbs.digest, view.digest} == {digest_of(content)}
        assert whole.stored_bytes == crumbs.stored_bytes == view.stored_bytes

    def test_b2_what_was_not_settled_cannot_be_published(self, store: BlobStore) -> None:
        """B-2, B-4."""
        staged = store.stage(b"later", durable=False)
        with pytest.raises(InvalidValueError, match="settle"):
            store.publish([staged])
        store.settle([staged])
        store.settle([staged])
        store.publish([staged])
        assert store.read(staged.digest) == b"later"

    def test_b2_many_are_settled_and_published_at_once(self, store: BlobStore) -> None:
        """B-2, B-4: in the order given."""
        contents = [b"%d" % n for n in range(300)]
        staged = [store.stage(content, durable=False) for content in contents]
        store.settle(staged)
        stats = store.publish(staged)
        assert [stat.digest for stat in stats] == [digest_of(content) for content in contents]
        assert [store.read(stat.digest) for stat in stats] == contents
        assert [entry.digest for entry in store.walk()] == sorted(stat.digest for stat in stats)

    def test_b2_many_are_staged_together_as_they_would_be_one_by_one(self, store: BlobStore) -> None:
        """B-2, B-3, B-4, B-7: of every size, settled and published in parts, some of them never."""
        contents = [*CONTENTS.values(), *(b"%d" % n * (n * 37) for n in range(1, 200)), bytes(range(256)) * 256]
        staged = store.stage_all({digest_of(content): content for content in contents})
        assert [(one.digest, one.size) for one in staged] == [(digest_of(one), len(one)) for one in contents]
        with pytest.raises(InvalidValueError, match="settle"):
            store.publish(staged[:1])
        assert list(store.walk()) == []
        store.discard(staged[100:])
        store.settle(staged[:50])
        store.settle(staged[:100])
        stats = store.publish(staged[50:100]) + store.publish(staged[:50])
        assert {stat.digest for stat in stats} == {one.digest for one in staged[:100]}
        assert all(store.read(digest_of(content)) == content for content in contents[:100])
        assert store.stat(staged[100].digest) is None

    def test_b2_nothing_staged_together_is_nothing(self, store: BlobStore) -> None:
        """B-2."""
        assert store.stage_all({}) == []

    @pytest.mark.parametrize("fail_at", [0, 100, 2_000_000])
    def test_b2_a_source_that_fails_leaves_nothing(self, store: BlobStore, fail_at: int) -> None:
        """B-2: the error is typed and says that it was the source."""
        content = CONTENTS["several groups"]
        with pytest.raises(StorageIOError, match="cable pulled") as caught:
            store.stage(Trickle(content, 65_536, fail_at))  # type: ignore[arg-type]
        assert caught.value.fields["operation"] == "read source"
        assert list(store.walk()) == []

    def test_b2_a_source_of_text_is_refused(self, store: BlobStore) -> None:
        """B-2."""
        with pytest.raises(InvalidValueError):
            store.stage(io.StringIO("text"))  # type: ignore[arg-type]
        assert list(store.walk()) == []

    def test_b3_staged_bytes_are_not_there_yet(self, store: BlobStore) -> None:
        """B-3."""
        staged = store.stage(b"in nobody's way")
        assert store.stat(staged.digest) is None
        assert list(store.walk()) == []
        for look in (store.open, store.read, store.verify):
            with pytest.raises(BlobMissingError):
                look(staged.digest)

    def test_b4_publishing_what_is_there_is_no_error(self, store: BlobStore) -> None:
        """B-4."""
        digest = self.put(store, b"twice")
        assert self.put(store, b"twice") == digest
        assert store.read(digest) == b"twice"

    def test_b4_staged_bytes_are_published_once(self, store: BlobStore) -> None:
        """B-4: a spent stage is an error of the caller, found before anything happens."""
        staged, other = store.stage(b"once"), store.stage(b"other")
        store.publish([staged])
        with pytest.raises(InvalidValueError, match="no longer staged"):
            store.publish([other, staged])
        assert store.stat(other.digest) is None
        store.publish([other])

    def test_b4_publishing_nothing_is_nothing(self, store: BlobStore) -> None:
        """B-4."""
        assert store.publish([]) == []
        store.settle([])
        store.discard([])

    @sized
    def test_b5_what_comes_out_is_what_went_in(self, store: BlobStore, content: bytes) -> None:
        """B-5: whole, as a stat, in ranges, through a file, as a stream."""
        digest = self.put(store, content)
        assert store.read(digest) == content
        for stat in (store.stat(digest), store.verify(digest)):
            assert stat is not None
            assert (stat.digest, stat.size) == (digest, len(content))
        with contextlib.closing(store.open(digest)) as reader:
            assert (reader.digest, reader.size) == (digest, len(content))
            step = max(len(content) // 7, 1)
            for offset in range(0, len(content) + 2, step):
                for length in (0, 1, step, 2 * step, len(content) + 5):
                    assert reader.read_at(offset, length) == content[offset : offset + length]
            parts: list[bytes] = []
            copy_to(reader, parts.append)
            assert b"".join(parts) == content

    def test_b5_what_is_absent_is_missing(self, store: BlobStore) -> None:
        """B-5."""
        assert store.stat(ABSENT) is None
        for look in (store.open, store.read, store.verify):
            with pytest.raises(BlobMissingError) as caught:
                look(ABSENT)
            assert caught.value.fields["digest"] == ABSENT

    def test_b5_ranges_that_cannot_be_are_refused(self, store: BlobStore) -> None:
        """B-5."""
        reader = store.open(self.put(store, b"short"))
        for offset, length in ((-1, 2), (0, -1)):
            with pytest.raises(InvalidValueError):
                reader.read_at(offset, length)
        reader.close()
        reader.close()

    def test_b5_a_closed_reader_of_a_big_blob_gives_its_content_or_says_so(self, store: BlobStore) -> None:
        """B-5: never nothing as if the blob were empty."""
        content = CONTENTS["several groups"]
        reader = store.open(self.put(store, content))
        reader.close()
        with contextlib.suppress(HandleDeadError):
            assert reader.read_at(5, 10) == content[5:15]

    @pytest.mark.parametrize("bad", ["", "sha256:12", "md5:" + "0" * 64, "0" * 65, "../" + "0" * 61])
    def test_b5_what_is_no_digest_is_refused(self, store: BlobStore, bad: str) -> None:
        """B-5: before any file is touched."""
        for look in (store.stat, store.open, store.read, store.verify, store.delete):
            with pytest.raises(InvalidInputError):
                look(bad)

    def test_b6_deleting(self, store: BlobStore) -> None:
        """B-6."""
        digest = self.put(store, b"gone")
        assert store.delete(digest) is True
        assert store.stat(digest) is None
        assert store.delete(digest) is False
        assert self.put(store, b"gone") == digest
        assert store.read(digest) == b"gone"

    def test_b6_what_is_deleted_takes_no_neighbour_along(self, store: BlobStore) -> None:
        """B-6: two contents whose digests begin with the same four figures, and one that begins like another."""
        gone, near, longer = b"157", b"251", b"157 and more"
        digests = [self.put(store, content) for content in (gone, near, longer)]
        assert digests[0][:11] == digests[1][:11]
        assert store.delete(digests[0]) is True
        assert store.stat(digests[0]) is None
        assert [store.read(digest) for digest in digests[1:]] == [near, longer]

    def test_b7_discarding_forgets_staged_bytes_only(self, store: BlobStore) -> None:
        """B-7."""
        kept = store.stage(b"same")
        store.publish([kept])
        again, never = store.stage(b"same"), store.stage(b"never", durable=False)
        store.discard([again, never, kept, again])
        assert store.read(kept.digest) == b"same"
        assert store.stat(never.digest) is None
        for refused in (store.publish, store.settle):
            with pytest.raises(InvalidValueError, match="no longer staged"):
                refused([never])

    def test_b8_walking_an_empty_store(self, store: BlobStore) -> None:
        """B-8."""
        assert list(store.walk()) == []

    def test_b8_a_walk_says_what_each_blob_takes(self, store: BlobStore) -> None:
        """B-8."""
        digests = sorted(self.put(store, content) for content in CONTENTS.values())
        entries = list(store.walk())
        assert [entry.digest for entry in entries] == digests
        assert [entry.path for entry in entries] == sorted(entry.path for entry in entries)
        for entry in entries:
            stat = store.stat(entry.digest or "")
            assert stat is not None
            assert stat.stored_bytes == entry.stored_bytes

    def test_b9_many_threads_at_once(self, store: BlobStore) -> None:
        """B-9: the same blobs staged, published and read by eight threads."""
        contents = [b"shared %d" % n * (n * 977) for n in range(24)]
        failures: list[BaseException] = []

        def work() -> None:
            try:
                for content in contents:
                    digest = self.put(store, content)
                    assert store.read(digest) == content
            except BaseException as error:  # noqa: BLE001 - handed to the main thread, which fails
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert [entry.digest for entry in store.walk()] == sorted({digest_of(content) for content in contents})

    def test_b10_many_are_read_each_once_for_each_time_it_was_asked_for(self, store: BlobStore) -> None:
        """B-10: whatever is said of the place, which may be nothing or wrong."""
        contents = [b"", b"a", b"b" * 5_000, bytes(range(256)) * 2_000]
        known = [self.put(store, content) for content in contents]
        spots = [stat.spot for stat in map(store.stat, known) if stat is not None]
        wrong = [None, *spots[:-1]]
        wanted = [*zip(known, spots, strict=True), *zip(known, wrong, strict=True), (known[1], None)]
        found = list(store.read_many(wanted))
        assert sorted(number for number, _ in found) == list(range(len(wanted)))
        assert all(content == contents[known.index(wanted[number][0])] for number, content in found)
        with pytest.raises(BlobMissingError):
            list(store.read_many([(known[0], None), (f"sha256:{hashlib.sha256(b'absent').hexdigest()}", None)]))
        assert list(store.read_many([])) == []

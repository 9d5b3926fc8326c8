"""Law 4: whatever happens to a blob's file, what is read is right or is refused."""

import hashlib
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.blobs import LocalBlobs
from holdfast.errors import BlobDamagedError, BlobMissingError
from holdfast.formats import frame, seekable

PathOf = Callable[[str], Path]

WORDS = [b"alpha", b"beta", b"gamma", b"delta", b"epsilon", b"zeta", b"eta", b"theta"]


def text(length: int, seed: bytes = b"seed") -> bytes:
    """Compressible content without long repeats, so that frames hold Huffman and FSE tables."""
    picks = hashlib.shake_256(seed).digest(length)
    return b" ".join(WORDS[pick & 7] + b"%d" % (pick >> 5) for pick in picks)[:length]


ONE_FRAME = text(350)
MANY_FRAMES = text(2300)
both = pytest.mark.parametrize("content", [ONE_FRAME, MANY_FRAMES], ids=["one frame", "many frames"])


def put(store: LocalBlobs, content: bytes) -> str:
    staged = store.stage(content)
    store.publish([staged])
    return staged.digest


def read_by_range(store: LocalBlobs, digest: str) -> bytes:
    reader = store.open(digest)
    try:
        return b"".join(reader.read_at(at, 300) for at in range(0, reader.size, 300))
    finally:
        reader.close()


def outcome(store: LocalBlobs, digest: str, content: bytes) -> str:
    """`refused` if every way of reading whole refuses, `right` if all give the content; never anything else."""
    seen = set()
    for read in (store.read, store.verify, lambda d: read_by_range(store, d)):
        try:
            got = read(digest)
        except BlobDamagedError as error:
            seen.add("refused" if error.fields["digest"] == digest and error.fields["path"] else "error without cause")
        else:
            assert not isinstance(got, bytes) or got == content, "a wrong byte came out"
            seen.add("right")
    assert len(seen) == 1
    return seen.pop()


def damaged_forms(whole: bytes, mask: int) -> Iterator[tuple[int, bytes]]:
    for at in range(len(whole)):
        yield at, whole[:at] + bytes([whole[at] ^ mask]) + whole[at + 1 :]


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
@both
def test_no_altered_byte_gives_a_wrong_byte_and_nearly_none_goes_unnoticed(
    tiny: LocalBlobs, path_of: PathOf, content: bytes, mask: int
) -> None:
    """Only compressed blocks have bits without a meaning: the padding of their entropy tables (RFC 8878, 4.1.1)."""
    digest = put(tiny, content)
    path = path_of(digest)
    whole = path.read_bytes()
    unnoticed = []
    for at, altered in damaged_forms(whole, mask):
        path.write_bytes(altered)
        if outcome(tiny, digest, content) == "right":
            unnoticed.append(at)
    padded = compressed_bodies(whole)
    assert set(unnoticed) <= padded
    assert len(unnoticed) <= len(padded) // 50


def test_no_altered_byte_of_content_that_does_not_shrink_goes_unnoticed(tiny: LocalBlobs, path_of: PathOf) -> None:
    for content in (os.urandom(100), os.urandom(1100)):
        digest = put(tiny, content)
        whole = path_of(digest).read_bytes()
        assert compressed_bodies(whole) == set()
        for _, altered in damaged_forms(whole, 0x80):
            path_of(digest).write_bytes(altered)
            assert outcome(tiny, digest, content) == "refused"


def compressed_bodies(whole: bytes) -> set[int]:
    """The places inside compressed blocks: neither headers nor checksums nor trailer nor table."""
    places: set[int] = set()
    at = 0
    while whole[at : at + 4] == frame.MAGIC:
        end = at + frame.measure(whole[at:])[1]
        at += frame.head(whole[at:])[1]
        last = 0
        while not last:
            block = int.from_bytes(whole[at : at + 3], "little")
            last, kind, size = block & 1, block >> 1 & 3, block >> 3
            if kind == 2:
                places.update(range(at + 3, at + 3 + size))
            at += 4 if kind == 1 else 3 + size
        at = end
    return places


@both
def test_no_cut_goes_unnoticed(tiny: LocalBlobs, path_of: PathOf, content: bytes) -> None:
    digest = put(tiny, content)
    path = path_of(digest)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert outcome(tiny, digest, content) == "refused", length


@pytest.mark.parametrize("more", [b"\0", b"\0" * 4096, b"garbage", frame.EMPTY, frame.encode(b"more")])
@both
def test_nothing_may_follow_the_end(tiny: LocalBlobs, path_of: PathOf, content: bytes, more: bytes) -> None:
    digest = put(tiny, content)
    path = path_of(digest)
    path.write_bytes(path.read_bytes() + more)
    assert outcome(tiny, digest, content) == "refused"


@both
def test_nothing_may_come_before_the_start(tiny: LocalBlobs, path_of: PathOf, content: bytes) -> None:
    digest = put(tiny, content)
    path = path_of(digest)
    skippable = (0x184D2A50).to_bytes(4, "little") + (3).to_bytes(4, "little") + b"abc"
    path.write_bytes(skippable + path.read_bytes())
    assert outcome(tiny, digest, content) == "refused"


def test_a_valid_file_of_other_content_is_refused(tiny: LocalBlobs, path_of: PathOf) -> None:
    contents = [text(size, seed) for size in (350, 2300) for seed in (b"one", b"two")]
    digests = [put(tiny, content) for content in contents]
    files = [path_of(digest).read_bytes() for digest in digests]
    for n, digest in enumerate(digests):
        for m, other in enumerate(files):
            if m != n:
                path_of(digest).write_bytes(other)
                assert outcome(tiny, digest, contents[n]) == "refused"
                with pytest.raises(BlobDamagedError):
                    tiny.open(digest)


def layout(path: Path) -> tuple[bytes, list[bytes], bytes]:
    """(whole file, its frames, trailer and table)."""
    whole = path.read_bytes()
    tail = whole[-seekable.tail_bytes(whole[-seekable.FOOT_BYTES :]) :]
    places = seekable.decode_tail(tail, len(whole)).places
    return whole, [whole[a:b] for a, b in itertools.pairwise(places)], tail


def equal_frames() -> bytes:
    """Frames that differ only in one digit, so that their stored forms are equally long."""
    return b"".join(b"%d" % n + b"same length " * 42 + b"......." for n in range(5))


def test_frames_that_changed_places_are_refused(tiny: LocalBlobs, path_of: PathOf) -> None:
    content = equal_frames()
    digest = put(tiny, content)
    path = path_of(digest)
    _, frames, tail = layout(path)
    assert len(frames) == 5
    assert len(set(map(len, frames))) == 1
    frames[1], frames[3] = frames[3], frames[1]
    path.write_bytes(b"".join(frames) + tail)
    assert outcome(tiny, digest, content) == "refused"
    reader = tiny.open(digest)
    assert reader.read_at(0, 512) == content[:512]
    for n in (1, 3):
        with pytest.raises(BlobDamagedError, match=f"frame {n} is not the one"):
            reader.read_at(512 * n + 7, 1)
    reader.close()


def test_frames_and_table_that_changed_places_are_refused(tiny: LocalBlobs, path_of: PathOf) -> None:
    content = equal_frames()
    digest = put(tiny, content)
    path = path_of(digest)
    _, frames, tail = layout(path)
    entries = tail[seekable.TRAILER_BYTES + 8 : -seekable.FOOT_BYTES]
    rows = [entries[at : at + 12] for at in range(0, len(entries), 12)]
    for things in (frames, rows):
        things[1], things[3] = things[3], things[1]
    head = tail[: seekable.TRAILER_BYTES + 8]
    path.write_bytes(b"".join(frames) + head + b"".join(rows) + tail[-seekable.FOOT_BYTES :])
    with pytest.raises(BlobDamagedError, match="seek table was altered"):
        tiny.open(digest)


def test_a_forged_file_whose_frames_and_table_agree_fails_by_its_digest(tiny: LocalBlobs, path_of: PathOf) -> None:
    content, other = equal_frames(), equal_frames().replace(b"same", b"SAME")
    digest, forged = put(tiny, content), put(tiny, other)
    _, frames, tail = layout(path_of(forged))
    entries = seekable.new_entries()
    entries.frombytes(tail[seekable.TRAILER_BYTES + 8 : -seekable.FOOT_BYTES])
    path_of(digest).write_bytes(b"".join(frames) + seekable.encode_tail(bytes.fromhex(digest[7:]), entries))
    for whole in (tiny.read, tiny.verify):
        with pytest.raises(BlobDamagedError, match="hashes to"):
            whole(digest)


def test_a_cut_at_a_frame_boundary_is_refused(tiny: LocalBlobs, path_of: PathOf) -> None:
    digest = put(tiny, MANY_FRAMES)
    path = path_of(digest)
    _, frames, tail = layout(path)
    for kept in range(len(frames) + 1):
        path.write_bytes(b"".join(frames[:kept]))
        assert outcome(tiny, digest, MANY_FRAMES) == "refused"
    for left_out in range(len(frames)):
        path.write_bytes(b"".join(frames[:left_out] + frames[left_out + 1 :]) + tail)
        assert outcome(tiny, digest, MANY_FRAMES) == "refused"


def test_a_first_frame_alone_is_not_the_blob_even_if_it_fits_one_frame(tiny: LocalBlobs, path_of: PathOf) -> None:
    digest = put(tiny, MANY_FRAMES)
    path = path_of(digest)
    path.write_bytes(layout(path)[1][0])
    with pytest.raises(BlobDamagedError, match="the content is that of"):
        tiny.read(digest)


def test_a_file_that_is_cut_while_it_is_open_is_refused(tiny: LocalBlobs, path_of: PathOf) -> None:
    digest = put(tiny, MANY_FRAMES)
    reader = tiny.open(digest)
    os.truncate(path_of(digest), 300)
    with pytest.raises(BlobDamagedError):
        reader.read_at(1500, 10)
    reader.close()


def test_an_empty_file_is_no_empty_blob(tiny: LocalBlobs, path_of: PathOf) -> None:
    digest = put(tiny, b"")
    path = path_of(digest)
    assert path.read_bytes() == frame.EMPTY
    for form in (b"", b"\0" * 13, frame.EMPTY + b"\0", frame.EMPTY[:-1], *dict(damaged_forms(frame.EMPTY, 1)).values()):
        path.write_bytes(form)
        assert outcome(tiny, digest, b"") == "refused"


def test_what_is_no_file_is_no_blob(tiny: LocalBlobs, path_of: PathOf, tmp_path: Path) -> None:
    digest = put(tiny, ONE_FRAME)
    path = path_of(digest)
    good = tmp_path / "good.zst"
    path.rename(good)
    for make in (path.mkdir, lambda: path.symlink_to(good), lambda: os.mkfifo(path)):
        make()
        for look in (tiny.stat, tiny.open, tiny.read, tiny.verify):
            with pytest.raises(BlobDamagedError, match="not a regular file"):
                look(digest)
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    with pytest.raises(BlobMissingError):
        tiny.read(digest)


def test_content_that_ends_like_a_seek_table_is_still_one_frame(tiny: LocalBlobs, path_of: PathOf) -> None:
    """A frame of stored bytes can hold a whole forged tail; the form is told from the front, so it does no harm."""
    forged = seekable.encode_tail(b"\0" * 32, seekable.new_entries())
    digest = put(tiny, forged)
    assert tiny.read(digest) == forged
    assert tiny.stat(digest).frames == 1


@both
def test_a_damaged_blob_is_set_aside_and_replaced_when_it_is_published_again(
    tiny: LocalBlobs, path_of: PathOf, tmp_path: Path, content: bytes
) -> None:
    digest = put(tiny, content)
    path = path_of(digest)
    bad = path.read_bytes()[:-1] + b"?"
    path.write_bytes(bad)
    assert put(tiny, content) == digest
    assert tiny.read(digest) == content
    (aside,) = (tmp_path / "quarantine").iterdir()
    assert aside.name.startswith(path.name + ".")
    assert aside.read_bytes() == bad


def test_a_folder_or_link_in_the_place_of_a_blob_is_set_aside_too(
    tiny: LocalBlobs, path_of: PathOf, tmp_path: Path
) -> None:
    digest = put(tiny, ONE_FRAME)
    path = path_of(digest)
    path.rename(tmp_path / "elsewhere")
    path.mkdir()
    (path / "inside").write_bytes(b"kept")
    put(tiny, ONE_FRAME)
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    put(tiny, ONE_FRAME)
    assert path.is_file()
    assert not path.is_symlink()
    assert tiny.read(digest) == ONE_FRAME
    aside = list((tmp_path / "quarantine").iterdir())
    assert sorted(kept.is_symlink() for kept in aside) == [False, True]
    assert [(kept / "inside").read_bytes() for kept in aside if not kept.is_symlink()] == [b"kept"]

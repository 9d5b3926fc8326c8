"""A recipe is text that standard tools print, and no change of any byte of it goes unnoticed."""

from __future__ import annotations

import hashlib
import random
import subprocess

import pytest

from holdfast.errors import BlobDamagedError
from holdfast.formats import frame, recipe
from holdfast.formats.recipe import Recipe

LUCK = random.Random(3)
CHUNKS = [LUCK.randbytes(LUCK.randrange(1, 90)) for _ in range(40)]


def made(chunks=CHUNKS):
    found = Recipe(hashlib.sha256(b"".join(chunks)).digest())
    for chunk in chunks:
        found.add(hashlib.sha256(chunk).digest(), len(chunk))
    return found


def stored(chunks=CHUNKS):
    return b"".join(recipe.encode(made(chunks)))


def test_a_recipe_comes_back_as_it_was():
    found = recipe.decode(stored(), made().digest)
    assert list(found) == [(hashlib.sha256(chunk).digest(), len(chunk)) for chunk in CHUNKS]
    assert (len(found), found.size) == (40, sum(map(len, CHUNKS)))
    assert found.starts[7] == sum(map(len, CHUNKS[:7]))


def test_it_is_lines_of_text_for_zstd(tmp_path):
    path = tmp_path / "recipe.zst"
    path.write_bytes(stored())
    lines = subprocess.run(["zstd", "-dcq", path], capture_output=True, check=True).stdout.decode().splitlines()
    assert lines[0] == f"recipe 1 {made().digest.hex()} {made().size} 40"
    assert lines[1] == f"{hashlib.sha256(CHUNKS[0]).hexdigest()} {len(CHUNKS[0])}"
    text = "".join(line + "\n" for line in lines[:-1])
    assert lines[-1] == f"end {hashlib.sha256(text.encode()).hexdigest()}"


def test_a_long_recipe_has_several_frames_and_is_not_whole_without_the_last():
    many = [b"%d" % n for n in range(40_000)]
    data = stored(many)
    _, first = frame.measure(data)
    assert first < len(data)
    assert len(recipe.decode(data, made(many).digest)) == 40_000
    with pytest.raises(BlobDamagedError, match=r"beginning or end|cut off"):
        recipe.decode(data[:first], made(many).digest)


def test_no_changed_bit_and_no_cut_goes_unnoticed():
    data, digest, found = stored(), made().digest, 0
    for place in range(len(data)):
        spoilt = bytearray(data)
        spoilt[place] ^= 1 << LUCK.randrange(8)
        try:  # a few bits of entropy tables mean nothing
            assert list(recipe.decode(bytes(spoilt), digest)) == list(made())
        except BlobDamagedError:
            found += 1
        with pytest.raises(BlobDamagedError):
            recipe.decode(data[:place], digest)
    assert found > 0.98 * len(data)
    with pytest.raises(BlobDamagedError):
        recipe.decode(data + data, digest)


@pytest.mark.parametrize(
    "text",
    [
        "recipe 2 {d} 3 1\n{c} 3\n", "recipe 1 {d} 3 2\n{c} 3\n", "recipe 1 {d} 4 1\n{c} 3\n", "{c} 3\n",
        "recipe 1 {d} 3 1\n{c} 3", "recipe 1 {d} 3 1\n{c} 03\n", "recipe 1 {d} 3 1\r\n{c} 3\n",
        "recipe 1 {d} 0 1\n{c} 0\n",
    ],
)  # fmt: skip
def test_what_is_no_recipe_is_refused_even_if_it_proves_itself(text):
    raw = hashlib.sha256(b"abc").digest()
    body = text.format(d=raw.hex(), c=raw.hex()).encode()
    data = frame.encode(body + b"end %s\n" % hashlib.sha256(body).hexdigest().encode())
    with pytest.raises(BlobDamagedError):
        recipe.decode(data, raw)


def test_the_recipe_of_another_content_is_refused():
    with pytest.raises(BlobDamagedError, match="another content"):
        recipe.decode(stored(), hashlib.sha256(b"").digest())

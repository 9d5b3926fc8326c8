"""What the files of a store hold, loose, in packs and as recipes, and damage done to one content of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from holdfast.blobs.chunks import RecipeFolder
from holdfast.blobs.packs import PackFolder
from holdfast.disk import Disk
from holdfast.formats import paths
from holdfast.formats.pack import Member
from holdfast.index.audit import Audit, ContentRow
from holdfast.index.sql import SqlIndex


def held(root: Path) -> Counter[str]:
    """How many times files of the store hold a content, by its digest without prefix; needed or not.

    A chunk counts where no recipe lists it, and where it is there more than once.
    """
    found = Counter(path.name.removesuffix(".zst") for path in (root / paths.BLOBS).glob("*/*"))
    recipes, chunks = RecipeFolder(str(root), Disk()), set[str]()
    for entry in recipes.walk():
        assert entry.digest is not None
        found[entry.digest.removeprefix("sha256:")] += 1
        chunks.update(raw.hex() for raw, _ in recipes.read(entry.digest)[0])
    found.update(member.digest.hex() for _, member in PackFolder(str(root), Disk()).members())
    found.subtract(chunks)
    return +found


def placed(index: SqlIndex) -> Iterator[ContentRow]:
    """Every content of which a row says where it is, in order of digests."""
    audit, after = Audit(index), b""
    while page := audit.contents_after(after):
        yield from (one for one in page if one.stored_bytes is not None)
        after = page[-1].digest


def spoil(root: Path, digest: str, how: str) -> None:
    """Damage a content in the closed store at `root`, and what stands behind it: `cut`, `lost` (its file), `other`.

    Of cut content, its recipe and the file that it superseded.
    """
    recipe = root / paths.recipe_file(bytes.fromhex(digest))
    if recipe.exists():
        _spoil_file(recipe, how)
        for file in (root / paths.BLOBS).glob(f"*/{digest}.zst"):
            _spoil_file(file, how)
        return
    packed = [one for one in PackFolder(str(root), Disk()).members() if one[1].digest.hex() == digest]
    if packed:
        _spoil_pack(root / paths.pack_file(packed[0][0]), packed[0][1], how)
        return
    _spoil_file(next((root / paths.BLOBS).glob(f"*/{digest}.zst")), how)


def _spoil_file(file: Path, how: str) -> None:
    if how == "lost":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-1] if how == "cut" else b"not what the name says")


def _spoil_pack(file: Path, member: Member, how: str) -> None:
    data = bytearray(file.read_bytes())
    if how == "lost":
        file.unlink()
    elif how == "cut":
        file.write_bytes(data[: member.offset + member.stored - 1])
    else:
        data[member.offset + member.stored // 2] ^= 0x55
        file.write_bytes(data)

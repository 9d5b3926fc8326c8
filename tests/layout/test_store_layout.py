"""store-layout.md is enough: its own recipes, run as they stand there, give everything back and find damage."""

from __future__ import annotations

import hashlib
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

import holdfast
from holdfast.index.apply import REDUCERS

PAGE = Path(__file__).parents[2] / "store-layout.md"


def block(start: str) -> str:
    """The code block of the page that begins so, fenced or indented."""
    text = PAGE.read_text("utf-8")
    for found in re.findall(r"```(?:sh|python)\n(.*?)```", text, re.DOTALL):
        if found.startswith(start):
            return found
    lines = text.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("    " + start))
    taken = []
    for line in lines[at:]:
        if line and not line.startswith("    "):
            break
        taken.append(line[4:])
    return "\n".join(taken)


def sh(script: str, folder: Path) -> str:
    done = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """A store with renames, deletes, links, odd names, several revisions and a large blob."""
    root = tmp_path / "store"
    with holdfast.create(root) as store:
        store.put("a/b/c.txt", "first")
        store.put("a/b/c.txt", "second")
        store.put("gone.txt", "gone")
        store.put(b"a/caf\xe9", b"\x00\xff")
        store.put("large.bin", b"".join(n.to_bytes(4, "big") for n in range(400_000)))
        store.put("back.txt", "back")
        store.artifacts.delete("gone.txt")
        store.artifacts.delete("back.txt")
        store.artifacts.undelete("back.txt", name="returned.txt")
        store.artifacts.rename("a/b/c.txt", "renamed.txt")
        store.collections.rename("a/b", "B")
        tree = tmp_path / "tree"
        tree.mkdir()
        (tree / "link").symlink_to("../nowhere")
        (tree / "file").write_bytes(b"x")
        store.add(tree)
    return root


def test_the_python_recipe_gives_every_live_artifact_back(full: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recover.py"
    recipe.write_text(block("import hashlib"))
    dest = tmp_path / "out"
    subprocess.run([sys.executable, recipe, full, dest], check=True)
    found = {}
    for folder, _, files in os.walk(os.fsencode(dest)):
        for name in files:
            path = os.path.join(folder, name)
            kept = os.readlink(path) if os.path.islink(path) else Path(os.fsdecode(path)).read_bytes()
            found[os.path.relpath(path, os.fsencode(dest))] = kept
    with holdfast.open(full) as store:
        wanted = {}
        for artifact in store.find():
            folder = store.collections.get("id:" + artifact.collection_id)
            wanted[os.path.join(os.fsencode(folder.path), artifact.name_bytes)] = store.read(artifact)
    assert found == wanted
    assert found[b"a/B/renamed.txt"] == b"second"
    assert found[b"tree/link"] == b"../nowhere"
    assert found[b"a/caf\xe9"] == b"\x00\xff"


def test_the_python_recipe_refuses_a_journal_that_was_edited(full: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recover.py"
    recipe.write_text(block("import hashlib"))
    segment = next((full / "journal").iterdir())
    segment.write_bytes(segment.read_bytes().replace(b"renamed.txt", b"changed.txt"))
    command = [sys.executable, recipe, full, tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "damaged at change" in done.stderr


def test_the_shell_recipe_proves_every_entry_of_the_chain(full: Path) -> None:
    recipe = block("segments()")
    assert sh(recipe, full) == ""
    segment = next((full / "journal").iterdir())
    segment.write_bytes(segment.read_bytes().replace(b'"count":1,', b'"count":2,', 1))
    assert sh(recipe, full).count("wrong:") == 1


def test_the_shell_recipe_proves_every_blob_and_names_a_damaged_one(full: Path) -> None:
    recipe = block("find blobs -type f")
    assert sh(recipe, full) == ""
    blob = sorted((full / "blobs").glob("*/*.zst"))[0]
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 0xFF
    blob.write_bytes(data)
    assert blob.name in sh(recipe + " 2>/dev/null", full)


def test_sealed_segments_are_read_by_the_same_recipe(full: Path, tmp_path: Path) -> None:
    segment = next((full / "journal").iterdir())
    subprocess.run(["zstd", "-q", "--rm", segment], check=True)
    recipe = tmp_path / "recover.py"
    recipe.write_text(block("import hashlib"))
    subprocess.run([sys.executable, recipe, full, tmp_path / "out"], check=True)
    assert (tmp_path / "out" / "a" / "B" / "renamed.txt").read_bytes() == b"second"


def test_the_page_names_every_kind_of_change_that_a_reducer_knows() -> None:
    text = PAGE.read_text("utf-8")
    chapter = text[text.index("## Chapter 5") : text.index("## Chapter 6")]
    kind, listed = "", set()
    for row in (line.split("|") for line in chapter.splitlines() if line.startswith("|")):
        kind = row[1].strip("` ") or kind
        listed |= {(kind, action.strip("` ")) for action in row[2].split(",")}
    assert set(REDUCERS) <= listed


def test_the_recipes_prove_and_give_back_a_redacted_store(full: Path, tmp_path: Path) -> None:
    with holdfast.open(full) as store:
        store.redact(store.get("large.bin"), fields=["content"])
        store.redact(store.collections.get("a"))
        files = [a for a in store.find() if a.path != "large.bin" and a.media_type != "inode/symlink"]
        named = {a.path: store.read(a) for a in files}
    assert sh(block("segments() {"), full) == ""
    recipe = tmp_path / "recover.py"
    recipe.write_text(block("import hashlib, json"), "utf-8")
    subprocess.run([sys.executable, recipe, full, tmp_path / "out"], check=True)
    for path, content in named.items():
        if path.isascii() and "\\x" not in path:
            assert (tmp_path / "out" / path).read_bytes() == content
    segment = next((full / "journal").iterdir())
    whole = segment.read_bytes()
    edits = (b'"redacted":"', b'"redacted":"00'), (b'{"left":{"action":"create"', b'{"left":{"action":"update"')
    for old, new in edits:
        assert old in whole
        segment.write_bytes(whole.replace(old, new, 1))
        command = [sys.executable, recipe, full, tmp_path / "out2"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode != 0


def test_the_recipes_list_the_members_of_packs_prove_them_and_name_a_damaged_one(full: Path) -> None:
    (full / "members.py").write_text(block("import struct"))
    listed = sh("python3 members.py packs/*.zst", full).splitlines()
    with holdfast.open(full) as store:
        small = {a.digest.removeprefix("sha256:"): a.size for a in store.find(deleted=True) if a.size <= 65536}
    found = {line.split()[0]: int(line.split()[2]) for line in listed}
    assert small.items() <= found.items()
    assert sh(block("python3 members.py"), full) == ""
    (pack,) = (full / "packs").iterdir()
    data = bytearray(pack.read_bytes())
    data[-3] ^= 0xFF
    pack.write_bytes(data)
    assert "damaged:" in sh(block("python3 members.py") + " 2>/dev/null", full)


def test_the_recipes_list_and_prove_the_members_of_repacked_packs(full: Path) -> None:
    (full / "members.py").write_text(block("import struct"))
    before = {line.split()[0] for line in sh("python3 members.py packs/*.zst", full).splitlines()}
    with holdfast.open(full) as store:
        for number in range(3):
            store.put("revised", b"".join(n.to_bytes(4, "big") for n in range(30_000)) + b"%d" % number)
        assert store.repack().loose_superseded == 3
        store.gc(grace_s=0)
    (pack,) = (full / "packs").iterdir()
    assert pack.name.startswith("0")
    listed = [line.split()[:3] for line in sh("python3 members.py packs/*.zst", full).splitlines()]
    assert before <= {digest for digest, _, _ in listed}
    assert sh(block("python3 members.py"), full) == ""
    command = block("zstd -dc packs/0123").replace("packs/0123….zst", str(pack))
    assert all(sh(f"AT={at} SIZE={size}\n{command}", full).split()[0] == digest for digest, at, size in listed)


def test_the_recipe_for_one_member_is_what_the_page_says(full: Path) -> None:
    (full / "members.py").write_text(block("import struct"))
    digest, at, size, pack = sh("python3 members.py packs/*.zst", full).splitlines()[3].split()
    command = block("zstd -dc packs/0123").replace("packs/0123….zst", pack)
    assert sh(f"AT={at} SIZE={size}\n{command}", full).split()[0] == digest


def test_the_recipes_step_over_a_torn_end_its_cover_and_damage(full: Path) -> None:
    (pack,) = (full / "packs").iterdir()
    with open(pack, "ab") as file:
        file.write(b"torn off by a crash")
    (full / "members.py").write_text(block("import struct"))
    before = sh("python3 members.py packs/*.zst", full)
    with holdfast.open(full) as store:
        store.put("later", "goes on behind the cover")
    assert list((full / "packs").iterdir()) == [pack]
    assert sh(block("python3 members.py"), full) == ""
    after = sh("python3 members.py packs/*.zst", full)
    assert after.startswith(before)
    data = bytearray(pack.read_bytes())
    data[60] ^= 0xFF  # in the first header
    pack.write_bytes(data)
    assert len(sh("python3 members.py packs/*.zst", full).splitlines()) == len(after.splitlines())


@pytest.fixture
def cut(full: Path) -> bytes:
    """Content of three revisions that is stored in chunks, all but the first; the newest."""
    content = random.Random(1).randbytes(1_200_000)
    with holdfast.open(full) as store:
        for more in (b"", b"and more", b"and more and more"):
            store.put("grown.log", content + more)
        store.gc(grace_s=0)
    assert len(list((full / "recipes").iterdir())) == 3
    return content + b"and more and more"


def test_the_recipe_for_recipes_proves_them_prints_what_they_make_and_names_a_damaged_one(
    full: Path, cut: bytes
) -> None:
    (full / "members.py").write_text(block("import struct"))
    proves = block("LIST=")
    assert sh(proves, full) == ""
    digest = hashlib.sha256(cut).hexdigest()
    made = subprocess.run(
        ["bash", "-c", f"{proves.split('for FILE')[0]}\ncontent_of {digest}"], cwd=full, capture_output=True, check=True
    )
    assert made.stdout == cut
    (largest, *_) = sorted((full / "packs").iterdir(), key=lambda path: -path.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[-300_000] ^= 0xFF
    largest.write_bytes(data)
    assert "damaged: recipes/" in sh(proves + " 2>/dev/null", full)


def test_the_python_recipe_gives_chunked_content_back(full: Path, cut: bytes, tmp_path: Path) -> None:
    recipe = tmp_path / "recover.py"
    recipe.write_text(block("import hashlib"))
    subprocess.run([sys.executable, recipe, full, tmp_path / "out"], check=True)
    assert (tmp_path / "out" / "grown.log").read_bytes() == cut

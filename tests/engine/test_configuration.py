"""One table says what can be set: argument, environment, store, default; what is out of bounds is refused by name."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import Store
from holdfast.blobs.packs.writer import PACK_BYTES
from holdfast.engine import configuration
from holdfast.errors import InvalidValueError, ReadOnlyError
from holdfast.values.configuration import BY_NAME, TABLE

NUMBERS = [one for one in TABLE if one.kind != "text"]
STORED = [one for one in TABLE if one.stored]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for one in TABLE:
        monkeypatch.delenv(one.environment, raising=False)
    holdfast.create(tmp_path / "s").close()
    return tmp_path / "s"


@pytest.mark.parametrize("one", STORED, ids=lambda one: one.name)
def test_an_argument_wins_over_the_environment_that_over_the_store_and_that_over_the_default(
    one: Any, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(argument: Any = None) -> tuple[Any, str]:
        told = configuration.found(one.name, argument, root=str(root))
        return told.value, told.origin

    lowest = one.low
    assert found() == (one.default, "default")
    with holdfast.open(root) as store:
        assert store.configuration.set(one.name, lowest + 3).value == lowest + 3
    assert found() == (lowest + 3, "store")
    monkeypatch.setenv(one.environment, str(lowest + 2))
    assert found() == (lowest + 2, "environment")
    assert found(lowest + 1) == (lowest + 1, "argument")
    monkeypatch.setenv(one.environment, "")
    with holdfast.open(root) as store:
        assert store.configuration.unset(one.name).origin == "default"
    assert found() == (one.default, "default")


@pytest.mark.parametrize("one", NUMBERS, ids=lambda one: one.name)
@pytest.mark.parametrize("bad", ["-1", "many", "1e400", "nan", "٣", "99999999999999999999999", " ", "0x10"])
def test_a_bad_value_in_the_environment_is_refused_by_name(
    one: Any, bad: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(one.environment, bad)
    with pytest.raises(InvalidValueError) as caught:
        configuration.value(one.name, root=str(root))
    assert caught.value.fields["where"] == one.environment
    assert "Give" in caught.value.remedy


@pytest.mark.parametrize(
    ("variable", "act"),
    [("HOLDFAST_LOCK_WAIT", lambda s: None), ("HOLDFAST_PACK_UP_TO", lambda s: None),
     ("HOLDFAST_CACHE_KIB", lambda s: None), ("HOLDFAST_BUSY_TIMEOUT_MS", lambda s: None),
     ("HOLDFAST_COMPRESSION_LEVEL", lambda s: None), ("HOLDFAST_SEGMENT_BYTES", lambda s: None),
     ("HOLDFAST_SYNC_WITHIN", lambda s: None), ("HOLDFAST_PACK_BYTES", lambda s: None),
     ("HOLDFAST_GRACE", lambda s: s.gc()), ("HOLDFAST_REPACK_FROM", lambda s: s.gc()),
     ("HOLDFAST_HANDS", lambda s: s.add(__file__))],
)  # fmt: skip
def test_it_is_refused_where_it_would_count_and_nothing_is_done(
    variable: str, act: Any, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "soon")

    def use() -> None:
        with holdfast.open(root) as store:
            act(store)

    with pytest.raises(InvalidValueError) as caught:
        use()
    assert caught.value.fields["where"] == variable


@pytest.mark.parametrize("bad", [-1, True, "3", None, 10**30, float("nan"), []])
def test_a_bad_value_for_a_store_is_refused_and_nothing_is_kept(bad: Any, root: Path) -> None:
    with holdfast.open(root) as store:
        for one in STORED if bad is not None else ():
            with pytest.raises(InvalidValueError):
                store.configuration.set(one.name, bad)
        with pytest.raises(InvalidValueError):
            store.configuration.set("actor", "me")
        with pytest.raises(InvalidValueError):
            store.configuration.set("nonsense", 1)
    assert not (root / "config.json").exists()


def test_what_counts_for_a_store_counts(root: Path) -> None:
    with holdfast.open(root) as store:
        for name, value in (("pack_up_to", 0), ("lock_wait_s", 0.25), ("grace_s", 0)):
            store.configuration.set(name, value)
    with holdfast.open(root) as store:
        assert store._handle.wait_s == 0.25
        store.put("a", "small")
        assert not os.listdir(root / "packs")
        store.artifacts.delete("a")
        store.artifacts.purge("a")
        store.gc()
        store.gc()
        assert store.status().blobs == 0, "the grace period was over at once"
    assert json.loads((root / "config.json").read_text()) == {"grace_s": 0.0, "lock_wait_s": 0.25, "pack_up_to": 0}
    assert holdfast.fsck(root).findings == ()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"lock_wait_s": "x"}', '{"colour": 1}', "\0" * 100])
def test_a_file_that_is_no_settings_is_refused_and_harms_nothing(text: str, root: Path) -> None:
    (root / "config.json").write_text(text)
    with pytest.raises(InvalidValueError):
        holdfast.open(root)
    assert holdfast.fsck(root).exit_code == 0
    (root / "config.json").unlink()
    holdfast.open(root).close()


def test_who_may_only_read_sets_nothing(root: Path) -> None:
    with holdfast.open(root, read_only=True) as store:
        assert {one.name for one in store.configuration.list()} == {one.name for one in STORED}
        with pytest.raises(ReadOnlyError):
            store.configuration.set("hands", 1)


def test_a_smaller_segment_begins_the_next_sooner_and_syncs_may_come_sooner_only(root: Path) -> None:
    with holdfast.open(root) as store:
        store.configuration.set("segment_bytes", 4096)
        store.configuration.set("sync_within_s", 0.05)
        for more in (5.01, 0.0):
            with pytest.raises(InvalidValueError):
                store.configuration.set("sync_within_s", more)
    with holdfast.open(root) as store:
        assert store._handle.sync_s == 0.05
        for number in range(40):
            store.put(f"a{number}", "x", message="y" * 200)
        deadline = time.monotonic() + 60
        while store._handle.journal.unsynced_bytes:
            assert time.monotonic() < deadline, "nothing was synced"
            time.sleep(0.02)
    assert len(os.listdir(root / "journal")) > 2
    assert holdfast.fsck(root).findings == ()


def test_a_level_of_compression_counts_for_a_process_and_digests_stay(root: Path) -> None:
    program = (
        "import sys, pathlib, holdfast\n"
        "text = b''.join(one.read_bytes() for one in sorted(pathlib.Path(sys.argv[2]).glob('*.md')))\n"
        "with holdfast.open(sys.argv[1]) as store:\n"
        "    made = store.put('a', text)\n"
        "    print(made.revision.digest, store._handle.index.physical.place(made.revision.digest).stored_bytes)\n"
        "    store.artifacts.delete('a'); store.artifacts.purge('a'); store.gc(grace_s=0); store.gc(grace_s=0)\n"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", program, str(root), str(ROOT / "docs")], capture_output=True, text=True, check=True,
            env={**os.environ, "HOLDFAST_COMPRESSION_LEVEL": level, "PYTHONPATH": str(ROOT / "src")},
        ).stdout.split()
        for level in ("1", "9")
    ]  # fmt: skip
    assert found[0][0] == found[1][0]
    assert int(found[1][1]) < int(found[0][1])


def test_every_variable_that_the_program_reads_is_in_the_table() -> None:
    read = set()
    for path in (ROOT / "src/holdfast").rglob("*.py"):
        if "testing" not in path.parts:
            read |= set(re.findall(r"(?<!_)HOLDFAST_[A-Z_]+", path.read_text("utf-8")))
    assert read == {one.environment for one in TABLE} | {"HOLDFAST_DEBUG"}
    assert len(BY_NAME) == len(TABLE)
    page = (ROOT / "docs/configuration.md").read_text("utf-8")
    assert all(f"`{one.name}`" in page and one.environment in page for one in TABLE)


def test_what_the_table_says_of_sqlite_is_what_connections_have(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(store: Store, pragma: str) -> Any:
        return store._handle.index.database.rows(f"PRAGMA {pragma}")[0][0]

    with holdfast.open(root) as store:
        assert asked(store, "cache_size") == -BY_NAME["cache_kib"].default  # type: ignore[operator]
        assert asked(store, "busy_timeout") == BY_NAME["busy_timeout_ms"].default
    monkeypatch.setenv("HOLDFAST_CACHE_KIB", "1024")
    monkeypatch.setenv("HOLDFAST_BUSY_TIMEOUT_MS", "7")
    with holdfast.open(root) as store:
        assert (asked(store, "cache_size"), asked(store, "busy_timeout")) == (-1024, 7)


def test_a_pack_is_full_with_the_bytes_that_were_asked_for(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = BY_NAME["pack_bytes"]
    assert one.default == PACK_BYTES
    monkeypatch.setattr("holdfast.values.configuration.BY_NAME", BY_NAME | {one.name: replace(one, low=1)})
    monkeypatch.setenv(one.environment, "100000")
    with holdfast.open(root) as store:
        for number in range(6):
            store.put(f"n{number}", os.urandom(40_000))
        assert store.fsck().findings == ()
    sizes = sorted(one.stat().st_size for one in (root / "packs").iterdir())
    assert len(sizes) == 2
    assert sizes[-1] < 200_000

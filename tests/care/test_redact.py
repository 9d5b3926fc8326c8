"""Redaction: what was erased is in no byte of the store any more, and the chain still verifies."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
import unicodedata
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import zstandard

import holdfast
from holdfast import Store
from holdfast.care.audit import verify_path
from holdfast.engine import erasing
from holdfast.engine.locks import WriterLock
from holdfast.errors import (
    ChainBrokenError,
    ConflictError,
    ContentPurgedError,
    InvalidValueError,
    LockedError,
    NotFoundError,
)
from holdfast.values import redaction

Rows = dict[str, list[tuple[Any, ...]]]
SECRET = "zweikommafuenfgeheim"
ALL_SECRETS = [f"{SECRET}-{part}" for part in ("name", "old", "meta", "message", "source", "tag", "note", "content")]


def every_byte(root: str | Path) -> Iterator[tuple[str, bytes]]:
    """Every file of a store, raw; every zstd file decompressed; every transaction row of an index file decompressed.

    What a server has, tests/index/test_postgres_care.py looks through.
    """
    for folder, _, files in os.walk(root):
        for file in files:
            path = Path(folder, file)
            data = path.read_bytes()
            yield str(path), data
            if ".zst" in file:
                with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
                    yield f"{path} decompressed", reader.read()
    if not Path(root, "index.sqlite3").exists():
        return
    db = sqlite3.connect(f"file:{root}/index.sqlite3?mode=ro", uri=True)
    for first, data in db.execute("SELECT first, data FROM tx"):
        yield f"transaction {first}", zstandard.decompress(data)
    db.close()


def where_is(text: str, root: str | Path) -> list[str]:
    return [name for name, data in every_byte(root) if text.encode() in data]


def disguises(text: str) -> Iterator[bytes]:
    """A text as programs and people write it: encodings, escapes, base64 at each offset, hex, other cases."""
    forms = {
        text,
        text.upper(),
        text.casefold(),
        unicodedata.normalize("NFD", text),
        unicodedata.normalize("NFC", text),
    }
    for form in forms:
        yield from (form.encode(encoding) for encoding in ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le"))
        yield json.dumps(form)[1:-1].encode()
        yield urllib.parse.quote(form).encode()
        yield form.encode().hex().encode()
        yield form.encode()[::-1]
        for offset in range(3):
            coded = base64.b64encode(b"x" * offset + form.encode() + b"xx")
            yield coded[4 if offset else 0 : -4]


def where_in_disguise(text: str, root: str | Path) -> list[tuple[str, bytes]]:
    wanted = set(disguises(text))
    return [(name, one) for name, data in every_byte(root) for one in wanted if one in data]


def fill(store: Store, tmp: Path) -> str:
    """An artifact whose every part holds a secret, among others that hold none; its id."""
    tmp.mkdir(exist_ok=True)
    (tmp / f"{SECRET}-source").write_text(f"{SECRET}-content in a file")
    store.put("before.txt", "harmless before")
    made = store.put(
        f"{SECRET}-old.txt", f"first {SECRET}-content", metadata={f"{SECRET}-meta": f"{SECRET}-meta"},
        message=f"{SECRET}-message", tags=[f"{SECRET}-tag"], source=f"/home/{SECRET}-source/x.txt",
    ).artifact  # fmt: skip
    with store.transaction(note=f"{SECRET}-note"):
        store.put("beside.txt", "harmless beside")
    store.artifacts.rename(made, f"{SECRET}-name.txt")
    store.artifacts.update(made, status="draft", note=f"{SECRET}-note")
    store.put(f"{SECRET}-name.txt", f"second {SECRET}-content" * 20_000, message=f"{SECRET}-message")
    store.put("after.txt", "harmless after")
    store.search(SECRET)
    return made.id


def test_nothing_of_a_redacted_record_is_left_in_any_byte(tmp_path: Path, rows_of: Callable[[Store], Rows]) -> None:
    root = str(tmp_path / "store")
    with holdfast.create(root, actor="Ada") as store:
        made = fill(store, tmp_path / "files")
        others = {a.path: (a.id, store.read(a)) for a in store.find() if a.id != made}
        head = store.audit.head()
        report = store.redact(made)
        # The note was given to a transaction with another record in it: that one keeps it, and the report says so.
        beside = next(c for c in store.changes.list(record=store.get("beside.txt").id))
        assert report.also_in == (beside.seq,)
        store.redact(store.get("beside.txt"), fields=["note"])

        assert {a.path: (a.id, store.read(a)) for a in store.find() if a.id != made} == others
        assert store.audit.verify(head).proven
        assert store.audit.verify().redacted == len(report.changes) + 1
        found = store.get(f"id:{made}")
        assert (found.name, found.metadata, found.tags) == (f"redacted-{made}", {}, ())
        with pytest.raises(ContentPurgedError):
            store.read(found)
        assert store.search(SECRET).hits == ()
        live = rows_of(store)
    for secret in ALL_SECRETS:
        assert where_is(secret, root) == []
    assert where_is(SECRET, root) == []
    assert where_is("harmless", root), "the search for secrets does see contents"
    assert holdfast.fsck(root).exit_code == 0
    holdfast.rebuild(root)
    with holdfast.open(root) as store:
        assert rows_of(store) == live
        assert store.put(f"redacted-{made}", "a new start").artifact.number == 3


def test_what_was_erased_by_whom_and_when_stays_visible(store: Store, tmp_path: Path) -> None:
    made = fill(store, tmp_path / "files")
    report = store.redact(made, fields=["metadata", "message"], note="asked for by the owner")
    *_, last = store.changes.list(record=made)
    assert (last.action, last.actor, last.note, last.tx) == ("redact", "Ada", "asked for by the owner", report.tx)
    assert last.after is not None
    assert [(one["seq"], one["fields"]) for one in last.after["erased"]] == [
        (one.seq, list(one.fields)) for one in report.changes
    ]
    found = store.get(f"id:{made}")
    assert (found.name, found.metadata, found.revision.message) == (f"{SECRET}-name.txt", {}, "")
    assert store.read(found).startswith(b"second")


def test_one_revision_can_lose_its_content_while_the_others_stay(root: str) -> None:
    with holdfast.create(root) as store:
        made = store.put("a", f"{SECRET} one").artifact
        store.put("a", "two")
        report = store.redact(made, fields=["content"], revisions=[1])
        assert (report.revisions, report.blobs) == ((1,), 1)
        assert store.read("a") == b"two"
        with pytest.raises(ContentPurgedError):
            store.read("a", revision=1)
        assert store.artifacts.revision("a", 1).digest == redaction.NOTHING
    assert where_is(SECRET, root) == []
    assert where_is(made.digest.removeprefix("sha256:"), root) == [], "a digest would give a short content away"
    assert holdfast.fsck(root).exit_code == 0


def test_content_that_something_else_has_too_stays_and_is_named(store: Store) -> None:
    made, other = store.put("a", SECRET).artifact, store.put("b", SECRET).artifact
    assert store.redact(made, fields=["content"], dry_run=True).contents_kept == (made.digest,)
    report = store.redact(made, fields=["content"])
    assert report.contents_kept == (made.digest,)
    assert store.read(other) == SECRET.encode()
    assert store.redact(other, fields=["content"]).contents_kept == ()
    assert where_is(SECRET, store.path) == []


def test_a_dry_run_says_what_would_go_and_changes_nothing(store: Store, tmp_path: Path) -> None:
    made = fill(store, tmp_path / "files")
    head = store.audit.head()
    would = store.redact(made, dry_run=True)
    assert store.audit.head() == head
    assert store.get(f"id:{made}").name == f"{SECRET}-name.txt"
    did = store.redact(made)
    assert (would.changes, would.revisions, would.also_in) == (did.changes, did.revisions, did.also_in)
    assert store.redact(made).tx == "", "there is nothing left to erase"


def test_other_kinds_of_records_are_redacted_too(root: str, rows_of: Callable[[Store], Rows]) -> None:
    with holdfast.create(root) as store:
        one, two = store.put(f"{SECRET}/one", "1").artifact, store.put("two", "2").artifact
        folder = store.collections.get(SECRET)
        store.collections.update(folder, metadata={"k": SECRET})
        link = store.relationships.relate(one, "supports", two, metadata={"why": SECRET}, tags=[SECRET])
        run = store.runs.create(SECRET, parameters={"p": SECRET}, metadata={"m": SECRET})
        store.runs.update(run, metadata={"m": SECRET + "2"})
        for record in (folder, link, run):
            store.redact(record)
        assert store.get(f"id:{one.id}").path == f"redacted-{folder.id}/one"
        assert store.runs.get(run.id).name == f"redacted-{run.id}"
        assert store.relationships.get(link.id).metadata == {}
        live = rows_of(store)
    assert where_is(SECRET, root) == []
    assert holdfast.fsck(root).exit_code == 0
    holdfast.rebuild(root)
    with holdfast.open(root) as store:
        assert rows_of(store) == live


def test_sealed_segments_and_quarantine_are_cleaned(root: str) -> None:
    with holdfast.create(root) as store:
        store._handle.journal._segment_bytes = 2_000
        made = store.put(f"{SECRET}-name", f"{SECRET} content").artifact
        for n in range(30):
            store.put(f"f{n}", f"{n}")
        store.gc()
        assert list((Path(root) / "journal").glob("*.zst")), "there are sealed segments"
        plain = made.digest.removeprefix("sha256:")
        aside = [
            Path(root, "quarantine", f"{plain}.zst.0123456789abcdef"),
            Path(root, "quarantine", "index.sqlite3.0a"),
        ]
        for one in aside:
            one.write_bytes(SECRET.encode())
        Path(root, "quarantine", "else").write_bytes(b"somebody's")
        report = store.redact(made)
        assert (report.quarantined, report.left_aside) == (2, 1)
        assert store.audit.verify().proven
    assert where_is(SECRET, root) == []


def test_no_disguise_of_a_secret_is_left_anywhere_be_the_store_open_or_closed(root: str) -> None:
    secret = "Grüße aus Ærøskøbing, Käthe"
    with holdfast.create(root, actor="Ada") as store:
        one = store.put(f"{secret}/{secret}.txt", f"{secret} " * 3, metadata={secret: [secret]}, tags=[secret]).artifact
        two = store.put("other.txt", "harmless").artifact
        folder = store.collections.get(secret)
        link = store.relationships.relate(one, "supports", two, metadata={"why": secret}, tags=[secret])
        run = store.runs.create(secret, parameters={"p": secret}, metadata={"command": ["sh", "-c", secret]})
        step = store.runs.add_step(run, secret)
        store.runs.link(run, "input", one, role=secret)
        store.runs.update(run, metadata={"m": secret})
        store.artifacts.rename(one, f"{secret} again.txt")
        store.search("harmless")
        head = store.audit.head()
        assert where_in_disguise(secret, root), "it is seen before"
        for record in (one, folder, link, step, run):
            store.redact(record.id)
        assert where_in_disguise(secret, root) == []
        raw = hashlib.sha256((f"{secret} " * 3).encode())
        for digest in (raw.digest(), raw.hexdigest().encode()):
            assert [name for name, data in every_byte(root) if digest in data] == [], "a digest can be guessed"
        assert store.audit.verify(head).proven
        assert store.read("other.txt") == b"harmless"
    assert where_in_disguise(secret, root) == []
    assert holdfast.fsck(root).exit_code == 0


def test_segments_and_search_files_that_a_repair_set_aside_are_cleaned_but_not_history_of_its_own(root: str) -> None:
    with holdfast.create(root) as store:
        made = store.put(f"{SECRET}-name", f"{SECRET} content").artifact
        store.put("other", "x")
    (segment,) = Path(root, "journal").iterdir()
    data, quarantine = segment.read_bytes(), Path(root, "quarantine")
    damaged = data.replace(b"other", b"othxr")
    (quarantine / f"{segment.name}.00").write_bytes(damaged)
    (quarantine / f"{segment.name}.zst.01").write_bytes(zstandard.compress(data))
    (quarantine / "search.sqlite3.02").write_bytes(SECRET.encode())
    stranger = Path(root).with_name("stranger")
    with holdfast.create(stranger) as store:
        store.put("elsewhere", "y")
    (history,) = (stranger / "journal").iterdir()
    (quarantine / f"{history.name}.03").write_bytes(history.read_bytes())
    with holdfast.open(root) as store:
        report = store.redact(made)
        assert (report.quarantined, report.left_aside) == (3, 1)
    assert where_is(SECRET, root) == []
    assert [path.name for path in quarantine.iterdir()] == [f"{history.name}.03"]


def test_an_index_that_a_killed_rebuild_finished_and_left_goes_with_its_secret(root: str) -> None:
    with holdfast.create(root) as store:
        artifact = store.put("a", SECRET).artifact
        left = Path(root, "tmp", "derive-whole-0.tmp")
        left.write_bytes(Path(root, "index.sqlite3").read_bytes())
        store.redact(artifact.id, fields=["content", "name"])
        assert not left.exists()
        assert where_is(SECRET, root) == []


def test_a_plain_copy_of_a_redacted_store_recovers(root: str, tmp_path: Path) -> None:
    with holdfast.create(root) as store:
        made = fill(store, tmp_path / "files")
        store.redact(made)
        head = store.audit.head()
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    holdfast.recover(copy)
    with holdfast.open(copy) as store:
        assert store.get(f"id:{made}").name == f"redacted-{made}"
        assert store.audit.verify(head).proven
    assert holdfast.fsck(copy).exit_code == 0


def test_a_copy_with_an_older_index_does_not_bring_the_bytes_back(root: str, tmp_path: Path) -> None:
    with holdfast.create(root) as store:
        made = fill(store, tmp_path / "files")
    shutil.copy(Path(root, "index.sqlite3"), tmp_path / "old")
    with holdfast.open(root) as store:
        store.redact(made, fields=["name", "metadata"])
    os.replace(tmp_path / "old", Path(root, "index.sqlite3"))  # another inode: a file that came from elsewhere
    with holdfast.open(root) as store:
        assert store.get(f"id:{made}").name == f"redacted-{made}"
        assert store.audit.verify().proven
    assert where_is(f"{SECRET}-meta", root) == []


def test_what_is_left_of_a_change_cannot_be_edited_unseen(root: str, tmp_path: Path) -> None:
    with holdfast.create(root) as store:
        made = fill(store, tmp_path / "files")
        store.redact(made, fields=["message"])
    (segment,) = Path(root, "journal").iterdir()
    segment.write_bytes(segment.read_bytes().replace(f"{SECRET}-old".encode(), f"{SECRET}-xld".encode(), 1))
    found = verify_path(root).findings
    assert found
    assert {(f.what, f.record) for f in found} == {("altered", f"artifact {made}")}


def test_bad_requests_change_nothing(store: Store) -> None:
    made = store.put("a", "1").artifact
    head = store.audit.head()
    with pytest.raises(InvalidValueError):
        store.redact(made, fields=["everything"])
    with pytest.raises(InvalidValueError):
        store.redact(made, fields=[])
    with pytest.raises(NotFoundError):
        store.redact("0190aaaa-0000-7000-8000-000000000000")
    with pytest.raises(ConflictError), store.transaction():
        store.redact(made)
    other = store.put("b", "2").artifact
    store.artifacts.rename(other, f"redacted-{made.id}")
    with pytest.raises(ConflictError):
        store.redact(made)
    assert head != store.audit.head()
    assert store.get("a").name == "a"


def test_a_store_that_others_have_open_is_not_redacted(opener: Callable[..., Store], root: str) -> None:
    one = opener(wait_s=0.2)
    made = one.put("a", SECRET).artifact
    other = opener()
    with pytest.raises(LockedError):
        one.redact(made)
    assert one.read("a") == other.read("a") == SECRET.encode()
    other.close()
    assert one.redact(made).tx


def test_a_broken_chain_is_not_redacted(root: str, tmp_path: Path) -> None:
    with holdfast.create(root) as store:
        made = fill(store, tmp_path / "files")
        (segment,) = Path(root, "journal").iterdir()
        segment.write_bytes(segment.read_bytes().replace(b"before.txt", b"befoer.txt"))
        with pytest.raises(ChainBrokenError):
            store.redact(made)
        assert store.get(f"id:{made}").name == f"{SECRET}-name.txt"
        assert store.read(f"id:{made}").startswith(b"second")


KILLED = """
import os, sys
sys.path.insert(0, {source!r})
from holdfast import Store
from holdfast.engine import open as opening
from holdfast.engine.settings import Settings
from holdfast.testing.faults import FaultyDisk, _VERBS
from holdfast.values.change import Actor
disk, calls = FaultyDisk(), 0
store = Store(opening.open_store({root!r}, Settings(Actor("Ada"), disk=disk)))
def count(path):
    global calls
    calls += 1
    if calls == {at}:
        os.kill(os.getpid(), 9)
for verb in ("create", "write", "fsync", "fsync_dir", "unlink", "rename", "open_append"):
    disk.before(verb, count)
store.redact({made!r})
print(calls)
"""


def test_a_pack_that_another_thread_has_just_put_into_is_left_to_it_first(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it staged lies beside what is to be erased, in a pack that nobody else may write again before it commits."""
    staged, may_go_on = threading.Event(), threading.Event()
    real = WriterLock.acquire

    def acquire(lock: WriterLock, what: str, *, wait_s: float) -> None:
        if threading.current_thread().name == "beside":
            staged.set()
            may_go_on.wait()
        real(lock, what, wait_s=wait_s)

    monkeypatch.setattr(WriterLock, "acquire", acquire)
    with holdfast.create(root) as store:
        made = store.put("secret", SECRET * 9).artifact
        other = threading.Thread(
            target=store.put, args=("beside", io.BytesIO(b"harmless " * 20)), name="beside", daemon=True
        )
        other.start()
        staged.wait()
        store._handle.wait_s = 0.0
        with pytest.raises(LockedError, match="another thread"):
            store.redact(made)
        assert not store.audit.verify().proven
        assert {f.code for f in store.fsck().findings} >= {"redaction-unfinished"}
        store._handle.wait_s = 60.0
        rest = SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: (may_go_on.set(), other.join()))
        monkeypatch.setattr(erasing, "time", rest)
        store.redact(made)
        assert store.read("beside") == b"harmless " * 20
        assert store.audit.verify().proven
    assert where_is(SECRET, root) == []
    assert holdfast.fsck(root).exit_code == 0


STRIDE = 17
"""The ordinary suite kills at every seventeenth step; `soak` at every one."""


@pytest.mark.parametrize("stride", [STRIDE, pytest.param(1, marks=pytest.mark.soak)])
def test_killed_at_any_step_it_is_old_or_new_and_the_next_redaction_finishes(tmp_path: Path, stride: int) -> None:
    original = tmp_path / "original"
    with holdfast.create(original) as store:
        store._handle.journal._segment_bytes = 1_500
        made = fill(store, tmp_path / "files")
        store.redact(store.get("beside.txt"), fields=["note"])
        store.gc(grace_s=0)
        others = {a.path: store.read(a) for a in store.find() if a.id != made}
    source = str(Path(holdfast.__file__).parents[1])
    at, last = 1, False
    while not last:
        root = tmp_path / "store"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(original, root)
        holdfast.open(root).close()  # a copy: its rows are made anew now, not in the middle
        script = KILLED.format(source=source, root=str(root), at=at, made=made)
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        last = done.returncode == 0
        assert last or done.returncode == -9, done.stderr
        with holdfast.open(root) as store:
            assert {a.path: store.read(a) for a in store.find() if a.id != made} == others, at
            name = store.get(f"id:{made}").name
            assert name in (f"{SECRET}-name.txt", f"redacted-{made}"), at
            finished = name != f"{SECRET}-name.txt" and store.audit.verify().proven
        # Nobody is told to do it again where `audit verify` finds nothing: then nothing may be left.
        assert not finished or where_is(SECRET, root) == [], at
        with holdfast.open(root) as store:
            store.redact(made)
            assert store.audit.verify().proven, at
        assert where_is(SECRET, root) == [], at
        assert holdfast.fsck(root).exit_code == 0, at
        at += stride
    assert at > 3 * stride


def test_the_command_asks_shows_and_erases(root: str) -> None:
    with holdfast.create(root) as store:
        store.put(f"{SECRET}.txt", SECRET)
    environment = {**os.environ, "PYTHONPATH": str(Path(holdfast.__file__).parents[1])}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        call = [sys.executable, "-m", "holdfast", "-C", root, "redact", *words]
        return subprocess.run(
            call, capture_output=True, text=True, env=environment, check=False, stdin=subprocess.DEVNULL
        )

    assert run(f"{SECRET}.txt").returncode == 2, "without a terminal nobody can be asked"
    dry = run("-n", f"{SECRET}.txt")
    assert (dry.returncode, "would erase content, name" in dry.stdout) == (0, True)
    assert where_is(SECRET, root) != []
    assert run("--yes", "-f", "name", f"{SECRET}.txt").returncode == 0
    with holdfast.open(root) as store:
        (left,) = store.find()
        assert store.read(left) == SECRET.encode()
    done = run("--yes", f"id:{left.id}", "--json")
    assert (done.returncode, '"revisions": [1]' in done.stdout or '"revisions":[1]' in done.stdout) == (0, True)
    assert where_is(SECRET, root) == []

"""What the crash lab puts a store through: collecting, rebuilding, recovering, redacting, repairing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from holdfast.care import rebuild as rebuilding
from holdfast.care import recover as recovering
from holdfast.care import repair as repairing
from holdfast.engine import open as opening
from holdfast.engine.settings import Settings
from holdfast.errors import NotAStoreError
from holdfast.store import Store
from holdfast.testing.ledger import Fate
from holdfast.testing.workbench import Bench, made


def collected(bench: Bench) -> None:
    """Purge, gc with and without a grace period, and content that comes back."""
    ledger = bench.ledger
    with bench.open() as store:
        for turn in range(5):
            kept, gone = bench.content(), bench.content()
            ledger.put(store, f"kept {turn}", kept)
            ledger.put(store, f"gone {turn}", gone)
            ref = f"id:{ledger.ids[f'gone {turn}']}"
            with ledger.call({f"gone {turn}": Fate((gone,), live=False)}):
                store.artifacts.delete(ref)
            with ledger.call({f"gone {turn}": Fate((None,), live=False)}):
                store.artifacts.purge(ref)
            if turn % 2:
                with ledger.call({}):
                    store.gc()
                # Condemned by now; a put of the same content takes it back.
                ledger.put(store, f"back {turn}", gone)
            with ledger.call({}):
                store.gc(grace_s=0)
            ledger.put(store, f"anew {turn}", gone)


def rebuilt(bench: Bench) -> None:
    """Rebuilds of a closed store, and of one that is open."""
    for turn in range(3):
        with bench.open() as store:
            for n in range(5):
                bench.ledger.put(store, f"{n}", bench.content())
            if turn == 1:
                with bench.ledger.call({}):
                    rebuilding.rebuild(bench.root, bench.settings)
                bench.ledger.put(store, "beside a live rebuild", bench.content())
        with bench.ledger.call({}):
            rebuilding.rebuild(bench.root, bench.settings)


def lost_index(bench: Bench) -> None:
    """The index is thrown away between two sessions, and derived anew by the next open."""
    for turn in range(4):
        with bench.open() as store:
            for n in range(5):
                bench.ledger.put(store, f"{turn}/{n}", bench.content())
        bench.settings.disk.unlink(os.path.join(bench.root, "index.sqlite3"))


def copy_made(bench: Bench) -> None:
    """A plain copy that lacks the content of the last few transactions."""
    original = Bench(os.path.join(bench.beside, "original"), bench.beside, bench.settings, bench.ledger, bench.rnd)
    made(original)
    with original.open() as store:
        for n in range(12):
            bench.ledger.put(store, f"kept {n}", bench.content())
        lacking = [store.put(f"lacking {n}", bench.content()).revision.digest for n in range(3)]
    shutil.copytree(original.root, bench.root)
    for digest in lacking:
        raw = digest.removeprefix("sha256:")
        os.unlink(os.path.join(bench.root, "blobs", raw[:2], f"{raw}.zst"))


def recovered(root: str, _: str, settings: Settings) -> None:
    """Recover a store."""
    handle = opening.open_store(root, settings)
    try:
        recovering.recover_store(handle)
    finally:
        handle.close()


def recovered_copy(bench: Bench) -> None:
    """The copy is recovered, then written to."""
    with bench.ledger.call(dict(bench.ledger.now)):
        recovered(bench.root, bench.beside, bench.settings)
    with bench.open() as store:
        for turn in range(18):
            bench.ledger.put(store, f"later {turn}", bench.content())


def sealed(bench: Bench) -> None:
    """With segments of a few kilobytes: many are begun, sealed, and their originals removed."""
    with bench.open() as store:
        for turn in range(24):
            bench.ledger.put(store, f"{turn % 6}", bench.content(100))
            if turn % 6 == 5:
                with bench.ledger.call({}):
                    store.gc(grace_s=0)


def repacked(bench: Bench) -> None:
    """Revisions that resemble one another are repacked, again and again, between puts, purges and collections."""
    ledger = bench.ledger
    texts = [bench.content(900).hex().encode() for _ in range(3)]
    long = bench.content(70_000)
    with bench.open() as store:
        for turn in range(7):
            for n, text in enumerate(texts):
                ledger.put(store, f"text {n}", text + bench.content(20).hex().encode())
                ledger.put(store, f"text {n}", text + bench.content(20).hex().encode())
            ledger.put(store, "long", long + bench.content(20))
            gone = bench.content(300)
            ledger.put(store, f"gone {turn}", gone)
            with ledger.call({}):
                store.repack()
            ref = f"id:{ledger.ids[f'gone {turn}']}"
            with ledger.call({f"gone {turn}": Fate((gone,), live=False)}):
                store.artifacts.delete(ref)
            with ledger.call({f"gone {turn}": Fate((None,), live=False)}):
                store.artifacts.purge(ref)
            with ledger.call({}):
                store.gc(grace_s=0 if turn % 2 else 1e6)
            ledger.put(store, f"anew {turn}", gone)


# -- redact ------------------------------------------------------------------------------------------------------------


def redacted(bench: Bench) -> None:
    """Names, metadata and content of some artifacts are erased for good, between puts."""
    ledger = bench.ledger
    with bench.open() as store:
        for n in range(8):
            ledger.put(store, f"kept {n}", bench.content(300))
        for n in range(3):
            path, content = f"secret {n} of {bench.rnd.random()}", bench.content(300)
            with ledger.call({path: Fate((content,))}):
                store.put(path, content, metadata={"told": path})
            ledger.known(store, path)
            ledger.put(store, f"kept {n}", bench.content(300))
            if n == 1:
                _collect(bench, store, path)
            redact(bench, store, path, content)
            ledger.put(store, f"kept {n + 3}", bench.content(300))


def _collect(bench: Bench, store: Store, path: str) -> None:
    """Content that gc removed before anybody thought of redacting it: its removal need not be sure by then."""
    ref, before = f"id:{bench.ledger.ids[path]}", bench.ledger.now[path].contents
    with bench.ledger.call({path: Fate(before, live=False)}):
        store.artifacts.delete(ref)
    with bench.ledger.call({path: Fate((None,), live=False)}):
        store.artifacts.purge(ref)
    with bench.ledger.call({}):
        store.gc(grace_s=0)


def redact(bench: Bench, store: Store, path: str, content: bytes) -> None:
    """Erase an artifact that has this content and no other: neither its path nor its content is in any file then."""
    ledger = bench.ledger
    ledger.secrets[path] = (path.encode(), content[:100])
    with ledger.call({path: Fate((None,), ledger.now[path].live, nameless=True)}):
        store.redact(f"id:{ledger.ids[path]}")


def redacted_again(root: str, _: str, settings: Settings) -> None:
    """Give the commands once more whose redactions were announced and not finished, as `audit verify` says."""
    try:
        store = Store(opening.open_store(root, settings))
    except NotAStoreError:
        return
    with store:
        for finding in store.audit.verify().findings:
            if finding.what == "unfinished" and finding.record:
                store.redact(f"id:{finding.record.split()[-1]}")


# -- repair ------------------------------------------------------------------------------------------------------------


def damaged(bench: Bench) -> None:
    """A store whose journal has flipped bytes and a hole, which its index can fill; its marker is gone."""
    _filled(bench)
    segments = sorted(Path(bench.root, "journal").iterdir())
    for segment in segments[1:-1]:
        data = bytearray(segment.read_bytes())
        data[len(data) // 2] ^= 1
        segment.write_bytes(data)
    segments[0].unlink()
    Path(bench.root, "holdfast.json").unlink()


def repaired(bench: Bench) -> None:
    """One repair, then life goes on."""
    with bench.ledger.call({}):
        repaired_once(bench.root, bench.beside, bench.settings)
    _goes_on(bench)


def repaired_once(root: str, _: str, settings: Settings) -> None:
    """Repair a store from itself."""
    repairing.repair(root, settings, repairing.Wanted())


def bereft(bench: Bench) -> None:
    """A store whose content is missing or damaged, and its index gone; a backup lies beside it."""
    _filled(bench)
    shutil.copytree(bench.root, os.path.join(bench.beside, "backup"))
    for number, blob in enumerate(sorted(Path(bench.root, "blobs").rglob("*.zst"))):
        if number % 3 == 0:
            blob.write_bytes(blob.read_bytes()[:-1])
        elif number % 3 == 1:
            blob.unlink()
    Path(bench.root, "index.sqlite3").unlink()


def bereft_of_packs(bench: Bench) -> None:
    """A store that has one pack without its first header, one cut, one lost; a backup lies beside it."""
    made(bench)
    for turn in range(5):
        with bench.open() as one, bench.open() as other:
            for n in range(12):
                bench.ledger.put(one if n % 2 else other, f"old {turn} {n}", bench.content())
    shutil.copytree(bench.root, os.path.join(bench.beside, "backup"))
    for number, pack in enumerate(sorted(Path(bench.root, "packs").iterdir())):
        data = bytearray(pack.read_bytes())
        if number % 4 == 0:
            data[20] ^= 1
        elif number % 4 == 1:
            del data[len(data) // 2 :]
        if number % 4 == 2:
            pack.unlink()
        else:
            pack.write_bytes(data)


def repaired_from(bench: Bench) -> None:
    """One repair from the backup, then life goes on."""
    with bench.ledger.call({}):
        repaired_from_once(bench.root, bench.beside, bench.settings)
    _goes_on(bench)


def repaired_from_once(root: str, beside: str, settings: Settings) -> None:
    """Repair a store from the backup beside it."""
    repairing.repair(root, settings, repairing.Wanted([os.path.join(beside, "backup")]))


def _filled(bench: Bench) -> None:
    made(bench)
    with bench.open() as store:
        for turn in range(30):
            bench.ledger.put(store, f"old {turn % 24}", bench.content())


def _goes_on(bench: Bench) -> None:
    with bench.open() as store:
        for turn in range(36):
            bench.ledger.put(store, f"new {turn}", bench.content())

"""Makes a recording forget a kind of sync, as if the store had never done it: what the crash lab then must notice."""

from __future__ import annotations

import os
from dataclasses import replace

from holdfast.formats import paths
from holdfast.testing.recording import Operation, Recording

_SYNCS = ("fsync", "fsync_dir", "sync_filesystem")


def syncs(recording: Recording) -> dict[str, int]:
    """The kinds of syncs in a recording, in words, and how often each was done."""
    found: dict[str, int] = {}
    for event in recording.events:
        if isinstance(event, Operation) and event.kind in _SYNCS:
            word = _word(event, _homes(recording))
            found[word] = found.get(word, 0) + 1
    return found


def forget(recording: Recording, kind: str) -> int:
    """Take all syncs of one kind (a key of `syncs`) out of a recording; how many there were."""
    homes, count = _homes(recording), 0
    for place, event in enumerate(recording.events):
        if isinstance(event, Operation) and event.kind in _SYNCS and _word(event, homes) == kind:
            recording.events[place] = replace(event, kind="reserve")
            count += 1
    return count


def _homes(recording: Recording) -> dict[int, str]:
    """Where each file that began in `tmp/` got its name in the end."""
    return {
        event.file: event.path
        for event in recording.events
        if isinstance(event, Operation) and event.kind in ("link", "rename")
    }


def _word(event: Operation, homes: dict[int, str]) -> str:
    if event.kind == "sync_filesystem":
        return "the file system"
    if event.kind == "fsync_dir":
        top, _, below = event.path.partition("/")
        return f"names in {top or 'the store'}{'/xx' if below else ''}"
    home = homes.get(event.file, event.path)
    top, _, name = home.partition("/")
    if top == paths.PACKS and paths.is_repacked(name):
        return "bytes of repacked packs"
    return f"bytes of {'a sealed segment' if top == 'journal' and home.endswith('.zst') else os.path.basename(top)}"

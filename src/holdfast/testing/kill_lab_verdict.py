"""What a fresh process says of a store after somebody was killed at work on it, compared with the books.

Everything acknowledged is there; of the call in flight each part is wholly there or wholly absent; the same call made
again with its transaction id gives the first result; no lock is left; the next write goes well; fsck reads every byte
and finds nothing to mend; and the next gc takes away what the dead left lying about.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from holdfast.care import gc
from holdfast.errors import TransactionReusedError
from holdfast.formats import paths
from holdfast.store import Store
from holdfast.testing.chunk_workloads import small_chunks
from holdfast.testing.held import held, placed
from holdfast.testing.kill_lab_books import Books, Fact, Intent, Look, content
from holdfast.testing.kill_lab_writers import Bench
from holdfast.values.records import Endpoint

Seen = dict[str, tuple[Fact | None, str | None]]


def differences(look: Look, books: Books, under: str) -> tuple[list[str], Seen]:
    """What one writer's part of the store lacks or has half, in words; and how the call in flight turned out."""
    flying = books.flying.changes if books.flying else {}
    wrong, seen = [], {}
    for key in {**books.facts, **flying}:
        fact, known = look.at(key, books.ids.get(key))
        before = books.facts.get(key)
        if fact != before and (key not in flying or fact != flying[key]):
            wrong.append(f"{key}: {_short(fact)} instead of {_short(before)}")
        if key in flying:
            seen[key] = (fact, known)
    wrong += [f"{key}: nobody put it there" for key in sorted(look.paths(under) - {*books.facts, *flying})]
    if books.flying:
        wrong += _halves(books.flying, books, seen)
    return wrong, seen


def _halves(flying: Intent, books: Books, seen: Seen) -> Iterator[str]:
    for part in flying.parts:
        moved = [key for key in part if flying.changes[key] != books.facts.get(key)]
        done = [key for key in moved if seen[key][0] == flying.changes[key]]
        if done and done != moved:
            yield f"half of {flying.doing}: {done} of {moved}"


def _short(fact: Fact | None) -> str:
    return (
        "nothing"
        if fact is None
        else str({k: [c and c[:8] for c in v] if k == "contents" else v for k, v in fact.items()})
    )


def repeat(bench: Bench, store: Store, intent: Intent) -> list[str]:
    """Make a call once more with its transaction id; what went wrong with that. Its facts hold afterwards."""
    assert intent.again is not None
    problem = _REPEAT[intent.again["how"]](bench, store, intent)
    look = Look(store)
    wrong = [f"{intent.doing} made again: {problem}"] if problem else []
    for key, wanted in intent.changes.items():
        fact, _ = look.at(key, bench.books.ids.get(key))
        if fact != wanted and not problem:
            wrong.append(f"{intent.doing} made again: {key} is {_short(fact)} instead of {_short(wanted)}")
    return wrong


def _put(bench: Bench, store: Store, intent: Intent) -> str:
    again, (key,) = dict(intent.again or {}), intent.changes
    data = content(again["token"], again["size"])
    result = store.put(again["path"], data, tx=again["tx"], metadata=again["metadata"], tags=again["tags"])
    first = bench.books.ids.get(key)
    expected = len(intent.changes[key]["contents"])
    if first is not None and result.artifact.id != first:
        return f"{key} got another id"
    return "" if result.revision.number == expected else f"revision {result.revision.number}, not {expected}"


def _transaction(_bench: Bench, store: Store, intent: Intent) -> str:
    done = Look(store).at(next(iter(intent.changes)), None)[0] is not None
    try:
        with store.transaction(id=(intent.again or {})["tx"]):
            pass
    except TransactionReusedError:
        return "" if done else "refused, and not there"
    return "done twice" if done else "was not done"


def _add(_bench: Bench, store: Store, intent: Intent) -> str:
    again = intent.again or {}
    report = store.add(again["tree"], into=again["into"])
    return "; ".join(problem.reason for problem in report.problems)


def _relate(_bench: Bench, store: Store, intent: Intent) -> str:
    again = intent.again or {}
    source, target = store.get(f"id:{again['source']}"), Endpoint("external", again["label"])
    store.relationships.relate(source, "supports", target, metadata={"label": again["label"]}, tx=again["tx"])
    return ""


def _run(_bench: Bench, store: Store, intent: Intent) -> str:
    again = intent.again or {}
    store.runs.create(again["name"], tx=again["tx"])
    found = [one for one in store.runs.find() if one.name == again["name"]]
    return "" if len(found) == 1 else f"{len(found)} runs {again['name']}"


def _redact(_bench: Bench, store: Store, intent: Intent) -> str:
    again = intent.again or {}
    with small_chunks():
        store.redact(again["id"], fields=["content"], revisions=[again.get("revision", 1)])
    found = held(store.path)
    if "revision" in again and (strays := set(found) - {one.digest.hex() for one in placed(store._handle.index)}):  # noqa: SLF001
        return f"chunks or contents that no row speaks of are still there: {sorted(strays)}"
    return "the bytes are still there" if found[again["digest"]] else ""


_REPEAT: dict[str, Callable[[Bench, Store, Intent], str]] = {
    "put": _put, "transaction": _transaction, "add": _add, "relate": _relate, "run": _run, "redact": _redact,
}  # fmt: skip


def examine(benches: list[Bench], *, alone: bool, thorough: bool) -> list[tuple[list[str], Seen]]:
    """The verdict on some dead writers of one store: for each what is wrong, and how its call in flight turned out.

    `alone`: nobody else is at work. `thorough`: fsck reads every byte, and gc is held to the letter if `alone`.
    """
    verdicts = []
    with benches[0].open() as store:
        for bench in benches:
            look = Look(store)
            wrong, seen = differences(look, bench.books, f"{bench.name}/")
            verdicts.append((wrong or _again(bench, store, seen), seen))
        more = _next_write(benches[0], store)
        if thorough:
            more += fsck(store, alone=alone) + (_swept(benches[0], store) if alone else [])
        verdicts[0][0].extend(more)
    return verdicts


def _next_write(bench: Bench, store: Store) -> list[str]:
    made = store.put(bench.fresh("put"), b"the next writer").artifact
    read = store.read(f"id:{made.id}")
    store.artifacts.delete(f"id:{made.id}")
    return [] if read == b"the next writer" else ["the next writer's bytes are not there"]


def _again(bench: Bench, store: Store, seen: Seen) -> list[str]:
    """Calls made again: the last acknowledged ones, and the one in flight, which is then done."""
    wrong: list[str] = []
    flying = bench.books.flying
    latest = {key: intent for intent in bench.books.repeatable for key in intent.changes}
    for intent in bench.books.repeatable:
        untouched = all(latest[k] is intent and bench.books.facts.get(k) == v for k, v in intent.changes.items())
        if untouched and not (flying and set(flying.changes) & set(intent.changes)):
            wrong += repeat(bench, store, intent)
    if flying and flying.again and (flying.again["how"] != "transaction" or all(fact for fact, _ in seen.values())):
        wrong += repeat(bench, store, flying)
        look = Look(store)
        seen.update({key: look.at(key, bench.books.ids.get(key)) for key in flying.changes})
    return wrong


def fsck(store: Store, *, alone: bool) -> list[str]:
    """Findings that should not be: beside others at work only those that fsck could confirm."""
    found = store.fsck().findings
    return [
        f"fsck: {one.code} {one.object} {one.detail}"
        for one in found
        if str(one.severity) == "error" or (str(one.severity) == "warning" and alone)
        if alone or one.fields.get("confirmed", True)
    ]


def _swept(bench: Bench, store: Store) -> list[str]:
    """Whether gc takes away what was left lying about. The young age of temporary files is no excuse here."""
    gc.LEFTOVER_S = 0.0
    store.gc(grace_s=0)
    left = [f"gc left {paths.TMP}/{name}" for name in os.listdir(os.path.join(bench.root, paths.TMP))]
    strays = store.gc(dry_run=True, grace_s=0).strays
    return left + ([f"gc left {strays} files that no row knows"] if strays else [])

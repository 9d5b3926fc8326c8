"""A report of trouble says counts, versions, sizes and states, and not one word that anybody wrote into the store."""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import Actor, FileFacts, Store
from holdfast.care.doctor import doctor
from holdfast.errors import HoldfastError
from holdfast.index.tables import LOGICAL, PHYSICAL
from holdfast.testing.conformance.calls import NOUNS

MARK = "hush"
FORMS = (MARK, MARK.upper(), MARK.encode().hex())


def planted(folder: Path) -> Store:
    """A store with something secret in every field of every record."""
    store = holdfast.create(folder / f"{MARK}-folder", actor=Actor(f"{MARK} actor"))
    file = folder / f"{MARK}-file.txt"
    file.write_text(f"{MARK} text of a file")
    store.add(file, into=f"{MARK}/added")
    made = store.put(
        f"{MARK}/name", f"{MARK} content", metadata={f"{MARK} key": [f"{MARK} value"]}, tags=[f"{MARK}-tag"],
        owner=f"{MARK} owner", type=f"{MARK}-type", media_type=f"text/{MARK}", message=f"{MARK} message",
        source=f"https://example.org/{MARK}", file=FileFacts(mode=0o600),
    ).artifact  # fmt: skip
    store.collections.create(f"{MARK} place", metadata={MARK: MARK}, tags=[MARK], owner=MARK)
    store.relationships.register_type(f"{MARK}_of", family="intent", description=f"{MARK} description")
    store.relationships.relate(made, f"{MARK}_of", holdfast.Endpoint("external", f"urn:{MARK}"), metadata={MARK: 1},
                               tags=[MARK], note=f"{MARK} note")  # fmt: skip
    store.indexes.declare(f"metadata.{MARK}")
    with pytest.raises(ValueError, match=MARK), store.runs.start(  # noqa: PT012
        f"{MARK} run", parameters={MARK: MARK}, environment={MARK: MARK}, metadata={MARK: MARK}, tags=[MARK]
    ) as run:  # fmt: skip
        store.runs.add_step(run.id, f"{MARK} step")
        raise ValueError(f"{MARK} failure")
    with store.transaction(note=f"{MARK} note"):
        store.artifacts.rename(made, f"{MARK} renamed")
    with store.for_tenant(f"{MARK} tenant") as tenant:
        tenant.put(f"{MARK}", MARK)
    books = store.outbox.create(f"{MARK}-books", attempts=1)
    books.run(_fails, pause_s=0)
    store.search(MARK)
    return store


def _fails(_: object) -> None:
    raise RuntimeError(f"{MARK} reason")


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """All that is logged, with everything that a handler could print of it."""
    texts: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            texts.append(record.getMessage() + json.dumps(vars(record), default=str))

    keeper = Keep(level=0)
    logger = logging.getLogger("holdfast")
    with caplog.at_level(0, "holdfast"):
        logger.addHandler(keeper)
        yield texts
        logger.removeHandler(keeper)


def told(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def test_nothing_that_was_put_is_in_diagnostics_or_logs(tmp_path: Path, said: list[str]) -> None:
    store = planted(tmp_path)
    seen = told(store.diagnostics())
    path = store.path
    text = told(doctor(path))
    store.close()
    (path / "journal" / "9999999999999999.jsonl").write_text(MARK)
    text += told(doctor(path))
    (path / "index.sqlite3").write_bytes(MARK.encode() * 5000)
    text += told(doctor(path))
    holdfast.rebuild(path)
    for form in FORMS:
        assert form not in seen
        assert form not in text
        assert form not in "".join(said).replace(str(tmp_path), "")


def test_errors_about_contents_and_metadata_do_not_quote_them(tmp_path: Path) -> None:
    secret = f"{MARK}-value"
    with holdfast.create(tmp_path / "s") as store:
        calls = [
            lambda: store.put("a", b"x", metadata={"k": {secret, 1}}),
            lambda: store.put("a", b"x", metadata={"k": float("nan"), "other": secret}),
            lambda: store.put("a", secret, expect=7),
            lambda: store.create("a", secret) and store.create("a", secret),
            lambda: store.artifacts.set_metadata("none", {"k": secret}),
            lambda: store.runs.create("r", parameters={"k": object(), "p": secret}),
        ]
        for call in calls:
            with pytest.raises(HoldfastError) as caught:
                call()
            assert secret not in f"{caught.value} {caught.value.fields} {caught.value.remedy}"


def test_it_counts_what_is_there(tmp_path: Path) -> None:
    with planted(tmp_path) as store:
        found = store.diagnostics()
    assert set(found["index"]["rows"]) == {*LOGICAL, *PHYSICAL}
    assert found["index"]["rows"]["artifact"] == 3
    assert found["index"]["dialect"] == "sqlite"
    assert found["outbox"] == {"consumers": 1, "dead letters": found["chain"]["changes"]}
    assert found["files"]["journal"] == 1
    assert found["state"]["read only"] is False


def test_doctor_reads_the_numbers_of_a_store_that_nobody_has_open(tmp_path: Path) -> None:
    store = planted(tmp_path)
    rows = store.diagnostics()["index"]
    path = store.path
    store.close()
    assert doctor(path)["store"]["index"] == rows
    (path / "index.sqlite3").write_bytes(b"x" * 5000)
    assert doctor(path)["store"]["index"] == {"error": "index-damaged"}
    (path / "index.sqlite3").unlink()
    assert doctor(path)["store"]["index"] is None


# -- every public call -------------------------------------------------------------------------------------------------

SECRETS = ("content", "metadata", "parameters", "environment", "diagnostics", "message", "note", "owner",
           "tags", "items", "description")  # fmt: skip
"""Parameters whose values nobody is told, by whatever call. Keys of metadata are: they say where a value is wrong."""

NEVER_CALLED = {
    "close", "backup", "copy", "export_tree", "export_git", "import_git", "fsck", "export_bagit", "export_ro_crate",
    "import_bag", "import_ro_crate", "export_prov", "export_openlineage", "snapshot", "add", "checkout", "at", "gc",
    "for_tenant", "run", "take", "search", "repack", "foreign", "verify",
}  # fmt: skip
"""Of these what a store holds is not an argument; they are long, or end the store."""


class Shy:
    """Says a secret when it is asked what it is."""

    def __repr__(self) -> str:
        return f"{MARK} repr"


SECRET_VALUES: list[Any] = [
    f"{MARK}\ud800", f"{MARK}\0", {"k": {f"{MARK}", 1}}, {"k": [MARK, float("nan")]}, Shy(), {"k": Shy()}, {Shy(): 1},
    [MARK, Shy()], {"k": f"{MARK}\ud800"}, [f"{MARK}\ud800"], MARK,
]  # fmt: skip
PLAIN_VALUES: list[Any] = [None, 1.5, "nowhere", [object()], "art"]


def calls_of(store: Store) -> Iterator[tuple[str, Any, list[inspect.Parameter]]]:
    """Every public call of a store and its nouns, found by looking."""
    for noun in ("", *NOUNS):
        owner = getattr(store, noun) if noun else store
        for name in dir(owner):
            call = getattr(owner, name, None) if not name.startswith("_") and name not in NEVER_CALLED else None
            if callable(call) and not (not noun and name in NOUNS):
                parameters = list(inspect.signature(call).parameters.values())
                yield f"{noun}.{name}".strip("."), call, [p for p in parameters if p.kind < p.VAR_POSITIONAL or
                                                          p.kind is p.KEYWORD_ONLY]  # fmt: skip


def full(store: Store) -> dict[str, Any]:
    """Secrets wherever one may stand but for names; what calls are to be given where nothing else is said."""
    art = store.put("art", f"{MARK} 1", metadata={MARK: MARK}, tags=[MARK], owner=MARK, message=MARK).artifact
    store.put("art", f"{MARK} 2", source=f"https://example.org/{MARK}")
    store.put("other", f"{MARK} 3")
    store.collections.create("col", metadata={MARK: [MARK]}, tags=[MARK], owner=MARK)
    tie = store.relationships.relate("art", "supports", "other", metadata={MARK: MARK}, tags=[MARK], note=MARK)
    run = store.runs.create("run", parameters={MARK: MARK}, environment={MARK: MARK}, metadata={MARK: 1}, tags=[MARK])
    step = store.runs.add_step(run, "step")
    store.outbox.create("books")
    store._handle.wait_s = 0.001
    return {"path": "art", "ref": "art", "record": art, "source": "art", "target": "other", "type": "supports", "at": 1,
            "run": run, "relationship": tie, "step": step, "direction": "input", "status": "failed", "content": b"1",
            "metadata": {}, "revision": 1, "old": 1, "new": 1}  # fmt: skip


def outcomes(store: Store, usual: dict[str, Any], *, secret: bool) -> Iterator[tuple[str, list[str]]]:
    """(call and parameter, all that the error says, and what is in it) of every call with every wrong value."""
    for call, method, parameters in calls_of(store):
        wanted = {p.name: usual.get(p.name, "x") for p in parameters if p.default is p.empty}
        for one in parameters:
            if secret and one.name not in SECRETS:
                continue
            for value in SECRET_VALUES if secret else PLAIN_VALUES:
                given = wanted | {one.name: value}
                ahead = [given.pop(p.name) for p in parameters if p.kind < p.KEYWORD_ONLY and p.name in wanted]
                try:
                    with store.transaction():
                        found = method(*ahead, **given)
                        list(found) if inspect.isgenerator(found) else None
                        raise ZeroDivisionError  # nothing of it stays
                except ZeroDivisionError:
                    continue
                except HoldfastError as error:
                    yield f"{call}({one.name}={type(value).__name__})", list(all_said(error))
                except (TypeError, AttributeError, ValueError, LookupError):
                    continue  # a wrong kind of argument that Python itself refuses


def all_said(error: BaseException | None) -> Iterator[str]:
    """An error and what it came of, with all that they hold."""
    while error is not None:
        held = (error, error.args, getattr(error, "fields", ""), getattr(error, "remedy", ""))
        yield " ".join([type(error).__name__, *map(str, held)])
        if error.__context__ is not None and error.__context__ is not error.__cause__:
            yield from all_said(error.__context__)
        error = error.__cause__


@pytest.mark.parametrize("secret", [True, False], ids=["said in the call", "kept in the store"])
def test_no_error_of_any_call_nor_what_it_came_of_nor_a_log_says_a_secret(secret: bool, said: list[str]) -> None:
    with holdfast.memory(actor=Actor(f"{MARK} actor")) as store:
        usual = full(store)
        told = [(call, text) for call, texts in outcomes(store, usual, secret=secret) for text in texts]
    assert len(told) > 100
    assert [one for one in told if MARK in one[1]] == []
    assert [one for one in said if MARK in one] == []

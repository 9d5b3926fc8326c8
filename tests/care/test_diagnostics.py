"""A report of trouble says counts, versions, sizes and states, and not one word that anybody wrote into the store."""

from __future__ import annotations

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

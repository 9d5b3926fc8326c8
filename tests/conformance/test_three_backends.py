"""One corpus, put into a store in memory, one in a folder, and one with its index in PostgreSQL: nobody can tell them
apart by their rows, by an answer, by a refusal, or by what goes out of them.

The clock, the ids and the salts are the same for all three, so everything else has to be.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast import Store, field
from holdfast.engine import memory
from holdfast.engine import open as opening
from holdfast.engine.settings import Settings
from holdfast.errors import HoldfastError
from holdfast.index.tables import LOGICAL
from holdfast.testing.clock import FixedClock
from holdfast.testing.conformance.calls import names_of
from holdfast.values.change import Actor

from .corpus import VALUES, opened

psycopg = pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")

pytestmark = pytest.mark.postgres

Three = dict[str, Store]
Question = Callable[[Any], Any]
ORDERS = [f"{sign}{one}" for one in ("created", "updated", "name", "size") for sign in ("", "-")]
V0 = field("metadata.v0")


@pytest.fixture(scope="module")
def url(postgres: str) -> Iterator[str]:
    """A schema of its own."""
    name = f"t_{uuid.uuid4().hex[:16]}"
    yield f"{postgres}{'&' if '?' in postgres else '?'}schema={name}"
    with psycopg.connect(postgres, autocommit=True) as link:
        link.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")


@pytest.fixture(scope="module")
def three(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    """The stores, filled."""
    clocks = {name: FixedClock() for name in ("memory", "sqlite", "postgresql")}
    top = tmp_path_factory.mktemp("three")

    def said(name: str) -> Settings:
        return Settings(Actor("Ada"), clock=clocks[name], index=url if name == "postgresql" else None)

    def in_folder(name: str) -> Store:
        opening.create(str(top / name), said(name))
        return Store(opening.open_store(str(top / name), said(name)))

    with contextlib.ExitStack() as held:
        made: Three = {}
        for name, make in {
            "memory": lambda: Store(memory.make(said("memory"))),
            "sqlite": lambda: in_folder("sqlite"),
            "postgresql": lambda: in_folder("postgresql"),
        }.items():
            made[name] = held.enter_context(opened(make, clocks[name]))
        yield made


def plain(value: Any, root: str) -> Any:
    """A value as it can be compared: `repr` tells 1 from 1.0 and True, and 0.0 from -0.0."""
    if isinstance(value, HoldfastError):
        return type(value).__name__, str(value).replace(root, "ROOT"), plain(value.fields, root)
    if isinstance(value, (list, tuple, Iterator)):
        return [plain(one, root) for one in value]
    return repr(value).replace(root, "ROOT")


def answer(store: Any, question: Question) -> Any:
    """What a store says, or how it refuses."""
    try:
        found = question(store)
        return plain(found, str(store.path))
    except HoldfastError as error:
        return plain(error, str(store.path))


def the_same(three: Three, questions: dict[str, Question]) -> dict[str, Any]:
    """What all say, by question; those that they answer differently are shown."""
    said = {name: {asked: answer(store, one) for asked, one in questions.items()} for name, store in three.items()}
    first = said["memory"]
    for name, found in said.items():
        assert {asked: found[asked] for asked in found if found[asked] != first[asked]} == {
            asked: first[asked] for asked in found if found[asked] != first[asked]
        }, f"{name} and memory differ"
    return first


# -- rows --------------------------------------------------------------------------------------------------------------


def test_all_have_the_same_chain(three: Three) -> None:
    heads = {store.audit.head() for store in three.values()}

    assert len(heads) == 1
    assert all(store.audit.verify(heads.copy().pop()).proven for store in three.values())
    assert len({tuple(store._handle.index.chain.read()) for store in three.values()}) == 1


@pytest.mark.parametrize("table", LOGICAL)
def test_all_have_the_same_rows_cell_for_cell(three: Three, table: str) -> None:
    found = {name: [repr(row) for row in store._handle.index.dump(table)] for name, store in three.items()}

    assert found["memory"], "the corpus has nothing for it"
    assert found["sqlite"] == found["memory"]
    assert found["postgresql"] == found["memory"]


def test_all_are_sound(three: Three) -> None:
    assert {name: [one.code for one in store.fsck(quick=True).findings] for name, store in three.items()} == {
        name: [] for name in three
    }


# -- answers -----------------------------------------------------------------------------------------------------------


def pages(ask: Callable[..., Any], **asked: Any) -> list[Any]:
    """All pages, with their tokens."""
    found = [ask(**asked, limit=20)]
    while found[-1].token is not None:
        found.append(ask(**asked, limit=20, token=found[-1].token))
    return found


def conditions() -> dict[str, Any]:
    """Each operator, on values of each sort, and on the fields that have a column of their own."""
    found: dict[str, Any] = {}
    for number, value in enumerate(VALUES):
        found[f"= value {number}"] = value == V0
        if not isinstance(value, (list, dict)):
            found[f"< value {number}"] = value > V0
    some = VALUES[3], VALUES[10], VALUES[17], VALUES[24]
    for value in some:
        found |= {f"!= {value!r}": value != V0, f"<= {value!r}": value >= V0}
        found |= {f"> {value!r}": value < V0, f">= {value!r}": value <= V0}
    found |= {
        "in": V0.is_in(["é", 1, None, [], 1e16, "1"]),
        "glob": V0.glob("*[é1]*"),
        "exists": V0.exists(),
        "not exists": ~V0.exists(),
        "deep": field("metadata.v0.deep.er").exists(),
        "undeclared": field("metadata.n") > 3.5,
        "both": (V0 > 0) & (field("metadata.n") < 20),
        "either": (V0 == "é") | (field("size") > 1000),
        "name": field("name").glob("*[é日]*"),
        "name after": field("name") > "e\u0301",
        "size": field("size").is_in([0, 3]),
        "tag": field("tag") == "g1",
        "no tag": ~(field("tag") == "g1"),
        "owner": field("owner") == "Eve",
        "created": field("created") > "2025-06-15T15:07:00Z",
        "number": field("number") >= 2,
    }
    return found


def test_every_condition_finds_the_same_in_the_same_order(three: Three) -> None:
    asked = conditions()
    questions: dict[str, Question] = {
        name: (lambda store, one=one: [found.path for found in store.find(one)]) for name, one in asked.items()
    }

    found = the_same(three, questions)

    assert sum(bool(one) for one in found.values()) > len(found) * 2 // 3


def test_every_order_gives_the_same_pages_and_tokens(three: Three) -> None:
    questions: dict[str, Question] = {
        f"{order} {what}": (lambda store, order=order, more=more: pages(store.artifacts.page, order=order, **more))
        for order in ORDERS
        for what, more in {"all": {}, "some": {"where": V0.exists()}, "deleted": {"deleted": True}}.items()
        if what == "all" or order in ("name", "-size")
    }
    for order in ("created", "-created"):
        questions |= {
            f"relationships {order}": lambda store, order=order: pages(store.relationships.page, order=order),
            f"runs {order}": lambda store, order=order: pages(store.runs.page, order=order),
        }

    found = the_same(three, questions)

    assert all(len(found[f"{order} all"]) > 3 for order in ORDERS)


SHORTHANDS: dict[str, dict[str, Any]] = {
    "name": {"name": "*e*"}, "under": {"under": "docs"}, "type": {"type": "t1"}, "status": {"status": "final"},
    "tag": {"tag": "é"}, "tags": {"tags": ["é", "a"]}, "media": {"media_type": "text/markdown"},
    "owner": {"owner": "Eve"}, "tenant": {"tenant": "acme"}, "deleted": {"deleted": True}, "limit": {"limit": 3},
}  # fmt: skip
WORDS = [
    "alpha", "alp*", '"alpha again"', "alpha NOT beta", "alpha OR beta", "name:a", "metadata:é", "text:straße", "naive",
    "(alpha OR beta) -again", "hidden", "secret", "nothing", "istanbul", "日本語", "z*",
]  # fmt: skip
REFUSED: dict[str, Question] = {
    "nobody": lambda s: s.get("nobody"),
    "purged": lambda s: s.artifacts.read("docs/a.md", revision=1),
    "no revision": lambda s: s.artifacts.revision("docs/a.md", 99),
    "taken": lambda s: s.artifacts.create("docs/a.md", "1"),
    "a collection's name": lambda s: s.put("docs", "1"),
    "expected": lambda s: s.put("docs/a.md", "1", expect=2),
    "restrict": lambda s: s.artifacts.delete("docs/a.md", relationships="restrict"),
    "not empty": lambda s: s.collections.delete("docs"),
    "unknown type": lambda s: s.relationships.relate("docs/a.md", "nothing", "docs/large"),
    "said otherwise": lambda s: s.relationships.relate(
        "docs/deep/b.md", "derived_from", "docs/large", metadata={"": 1}
    ),
    "transition": lambda s: s.runs.set_status(next(s.runs.find(name="train")), "pending"),
    "order": lambda s: s.find(order="shoe size"),
    "token": lambda s: s.artifacts.page(token="none"),
    "words": lambda s: s.search('"'),
    "consumer": lambda s: s.outbox.create("made"),
    "no index": lambda s: s.indexes.drop("metadata.nothing"),
    "undelete": lambda s: s.artifacts.undelete(next(s.find(name="with it", deleted=True))),
    "live": lambda s: s.artifacts.purge("docs/a.md"),
    "itself": lambda s: s.collections.move("docs", "docs/deep"),
    "diff": lambda s: list(s.artifacts.diff("docs/a.md", 1, 2)),
    "NaN": lambda s: s.put("nan", "1", metadata={"x": float("nan")}),
    "of a tenant": lambda s: s.for_tenant("a\0b"),
}


def of_records(store: Any) -> Iterator[Any]:
    """Everything that is said of each record."""
    for one in [*store.artifacts.list(recursive=True), *store.artifacts.find(deleted=True)]:
        yield one, store.artifacts.revisions(one)
    for path in ("docs/a.md", "values/00", "names/_"):
        yield list(store.artifacts.log(path))
    for one in store.collections.list(recursive=True):
        yield store.collections.get(f"id:{one.id}"), store.collections.contents(one), store.artifacts.list(one)
    for one in [*store.relationships.find(), *store.relationships.find(deleted=True)]:
        yield one
    for one in store.runs.find():
        yield store.runs.get(one.id), store.runs.steps(one), store.runs.manifest(one)
        yield store.runs.links(one, "input"), store.runs.links(one, "output")


def of_lineage(store: Any) -> Iterator[Any]:
    """Each record that has ties, in each direction, whole and cut short."""
    for path in ("docs/a.md", "docs/large", "made/model"):
        one = store.get(path)
        yield store.relationships.of(one), store.relationships.count_touching(one.id)
        for way in ("up", "down", "both"):
            yield store.relationships.lineage(one, direction=way)
            yield store.relationships.lineage(one.revision, direction=way, depth=1, limit=2)
    yield store.relationships.lineage(next(store.runs.find(name="train")), direction="both")


def contents(store: Any) -> Iterator[Any]:
    """Every content, by each of the calls that read."""
    live = list(store.find(tenant=""))
    yield sorted((one.path, data) for one, data in store.artifacts.read_many(live))
    yield [(one.path, file.read()) for one, file in store.artifacts.open_many(live[:5])]
    yield list(store.artifacts.get_many([f"id:{one.id}" for one in live[:5]]))
    out = io.BytesIO()
    yield store.artifacts.copy_to("docs/a.md", out, revision=2), out.getvalue()
    yield store.artifacts.open("docs/large").read(10), store.read("docs/a.md"), store.artifacts.diff("docs/a.md", 2, 4)


def counts(store: Any) -> Any:
    """What is counted, but for sizes of what each keeps in its own way."""
    own = ("journal_bytes", "index_bytes", "search_bytes", "search_seq", "temporaries")
    found = store.status()
    return [(one.name, getattr(found, one.name)) for one in dataclasses.fields(found) if one.name not in own]


def outbox(store: Any) -> list[Any]:
    """How consumers stand. When is not compared: those of many machines go by the clock of the server they share."""
    return [(one.name, one.tenant, one.seq, one.hash, one.letters, one.held) for one in store.outbox.list()]


def past(store: Any) -> Iterator[Any]:
    """What is seen of a state before."""
    with store.at(150) as view:
        yield list(view.find(order="name")), list(view.relationships.find()), list(view.losses()), view.time


def of_tenants(store: Any) -> Iterator[Any]:
    """What one is shown."""
    for tenant in store.tenants()[-1:]:
        with store.for_tenant(tenant) as theirs:
            yield list(theirs.find(order="name")), list(theirs.changes.list()), theirs.tenant, theirs.usage()
            yield sorted(hit.artifact.path for hit in theirs.search("alpha OR beta").hits)
            yield list(theirs.relationships.lineage("docs/a.md").nodes)


QUESTIONS: dict[str, Question] = {
    **{f"find by {name}": (lambda s, more=more: s.artifacts.find(**more)) for name, more in SHORTHANDS.items()},
    "related to": lambda s: s.find(related_to=s.get("docs/a.md")),
    "of a run": lambda s: s.find(run=next(s.runs.find(name="train"))),
    "by digest": lambda s: s.find(digest=s.get("docs/a.md").digest[:20]),
    "relationships": lambda s: s.relationships.find(field("metadata.v").exists(), tag="u"),
    "of a type": lambda s: s.relationships.find(type="derived_from", source=s.get("docs/a.md")),
    "one relationship": lambda s: s.relationships.get(next(s.relationships.find()).id),
    "runs": lambda s: s.runs.find(field("parameters.rate") == 1e16),
    "records": of_records, "lineage": of_lineage, "contents": contents, "counts": counts, "past": past,
    "of tenants": of_tenants,
    "get": lambda s: (s.artifacts.get("docs/a.md"), s.artifacts.read("docs/a.md")),
    "revision": lambda s: s.artifacts.revision("docs/a.md", 2),
    "types": lambda s: s.relationships.types(), "indexes": lambda s: s.indexes.list(),
    "head": lambda s: (s.changes.head(), s.audit.head()),
    "changes": lambda s: s.changes.list(), "some changes": lambda s: s.changes.list(kind="run", since_seq=20, limit=5),
    "usage": lambda s: (s.usage(), s.usage(owner="Eve"), s.usage(tenant="acme")), "tenants": lambda s: s.tenants(),
    "outbox": outbox, "configuration": lambda s: s.configuration.list(), "id": lambda s: s.id,
    "tenant": lambda s: s.tenant, "foreign": lambda s: s.audit.foreign(),
    "left out": lambda s: sorted((one.path, why) for one, why in s.search.left_out()),
}  # fmt: skip


def test_every_question_has_one_answer(three: Three) -> None:
    found = the_same(three, QUESTIONS)

    empty = {"tenant", "foreign"}
    assert {asked for asked, one in found.items() if one in ([], "None")} == empty


def test_words_find_the_same_artifacts(three: Three) -> None:
    """As sets: the order of hits is no promise (docs/postgresql.md). In a file and in memory it is one order."""

    def hits(store: Any, words: str) -> Any:
        found = store.search(words, limit=1000)
        return sorted((one.artifact.path, one.artifact.id, one.snippet) for one in found.hits), found.indexed_to

    the_same(three, {words: lambda store, words=words: hits(store, words) for words in WORDS})
    files = {name: store for name, store in three.items() if name != "postgresql"}
    found = the_same(files, {words: lambda store, words=words: store.search(words).hits for words in WORDS})
    assert sum(bool(one) for one in found.values()) > len(WORDS) // 2


def test_what_is_refused_is_refused_in_the_same_words(three: Three) -> None:
    found = the_same(three, REFUSED)

    assert [asked for asked, one in found.items() if not one or not str(one[0]).endswith("Error")] == []


# -- what goes out -----------------------------------------------------------------------------------------------------

EXPORTS: dict[str, Callable[[Store, Path], Any]] = {
    "tree": lambda s, to: s.export_tree(to),
    "snapshot": lambda s, to: s.snapshot(to),
    "checkout": lambda s, to: s.checkout("docs", to),
}
MORE: dict[str, Callable[[Store, Path], Any]] = {
    "some in a snapshot": lambda s, to: s.snapshot(to, collections=["docs", "made"]),
    "checkout of the past": lambda s, to: s.checkout("docs", to, at=150),
    "bagit": lambda s, to: s.standards.export_bagit(to, "docs"),
    "ro-crate": lambda s, to: s.standards.export_ro_crate(to, "docs"),
    "prov": lambda s, to: s.standards.export_prov(to),
    "openlineage": lambda s, to: s.standards.export_openlineage(to),
    "git": lambda s, to: s.export_git(to, ref="docs", bare=True),
}


@pytest.mark.parametrize("form", [*EXPORTS, *(pytest.param(one, marks=pytest.mark.postgres_full) for one in MORE)])
def test_what_goes_out_is_the_same_to_the_byte(three: Three, tmp_path: Path, form: str) -> None:
    found = {}
    for name, store in three.items():
        top = tmp_path / name / "out"
        top.parent.mkdir()
        (EXPORTS | MORE)[form](store, top)
        paths = [top, *top.rglob("*")]
        found[name] = {str(one.relative_to(top)): one.read_bytes() for one in paths if one.is_file()}

    assert found["memory"]
    for name in ("sqlite", "postgresql"):
        assert found[name].keys() == found["memory"].keys()
        assert [path for path, data in found[name].items() if data != found["memory"][path]] == []


# -- nothing is left out -----------------------------------------------------------------------------------------------

NOT_HERE = {
    "add": "files come in alike whatever the index is: tests/exchange is run with both",
    "artifacts.explain": "says how each database goes about it",
    "backup": "packs have names drawn at random; tests/care is run with both",
    "close": "the last thing",
    "copy": "tests/index/test_postgres_care.py, to and from a server",
    "diagnostics": "of versions and sizes",
    "import_git": "as `add`",
    "migrate_status": "of the form of each index",
    "opened": "how each was opened",
    "repack": "concerns packs alone",
    "standards.import_bag": "as `add`",
    "standards.import_ro_crate": "as `add`",
}
"""Public calls that are not made here, each with the reason."""


def test_every_public_call_is_made_here_or_said_to_be_left_out(three: Three) -> None:
    text = "".join(Path(__file__).with_name(one).read_text("utf-8") for one in ("corpus.py", Path(__file__).name))
    made = set(re.findall(r"\b(?:s|store|theirs)\.([a-z]\w*(?:\.[a-z]\w*)?)", text))
    made |= {one.partition(".")[0] for one in made}

    assert set(names_of(three["sqlite"])) - made == set(NOT_HERE)

"""Finding (C1): every field and operator against an oracle that reads all artifacts one by one; orders and pages."""

from __future__ import annotations

import base64
import itertools
import math
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import holdfast
from holdfast import Store, field
from holdfast.engine import open as opening
from holdfast.engine.settings import Settings
from holdfast.errors import ContractViolationError, InvalidDigestError, InvalidInputError, InvalidQueryError
from holdfast.index.select import declared, finding
from holdfast.testing.clock import FixedClock
from holdfast.values import canon, query
from holdfast.values.change import Actor
from holdfast.values.query import MISSING, All, Any_, Compare, Condition, Not
from holdfast.values.records import Artifact

BIG = 2**53
NUMBERS: list[Any] = [
    0,
    1,
    1.0,
    -0.0,
    -1,
    2,
    0.1,
    0.30000000000000004,
    0.3,
    1e16,
    10**16,
    BIG,
    BIG + 1,
    -BIG - 1,
    2**63,
    2**64 + 1,
    10**30,
    10**400,
    1.7976931348623157e308,
    5e-324,
    4.999999999999999,
    5,
    123456789.123456789,
    9.007199254740993e15,
    1e-7,
]
TEXTS: list[Any] = ["", "a", "b", "10", "9", "é", "z", "\U0001f600", "a\0b", 'q"\\', "[1]", "true", "null"]
OTHERS: list[Any] = [True, False, None, [], [1], [1.0], [True], {}, {"k": 1}, {"k": True}]
POOL = NUMBERS + TEXTS + OTHERS
KEYS = ["x", "é", "a b", "a.b", 'q"', "back\\", "nul\0", "new\nline", "", "t\x7f", "[0]"]
TYPES, STATUSES, OWNERS = ["file", "note", "é"], ["active", "done"], ["", "Grace"]
TAGS = ["t1", "t2", "ü", "50%"]
NAMES = ["a", "b.md", "B.md", "c1", "c2", "x[y", "é.md", "*", "new\nline", "\\xff"]
FOLDERS = ["", "f", "f/g", "f/é", "h"]
MEDIA = ["text/plain", "application/json"]


DECLARED = ["metadata.x", 'metadata."a.b"', "metadata.é", 'metadata."nul\\u0000"', "metadata.list[0]", "metadata.n"]


@pytest.fixture(scope="module", params=["without indexes", "with declared indexes", "with indexes of what is frequent"])
def filled(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Store]:
    """Two hundred artifacts of all sorts, made at a dozen moments; some deleted, some revised.

    Indexes are declared before the first, between others, and after the last; one was dropped in between.
    """
    with pytest.MonkeyPatch.context() as patch:
        if "frequent" in request.param:
            patch.setattr(declared, "FEW", 3)
        yield from _filled(tmp_path_factory, [] if "without" in request.param else DECLARED)


def _filled(tmp_path_factory: pytest.TempPathFactory, indexed: list[str]) -> Iterator[Store]:
    luck = random.Random(7)
    clock = FixedClock()
    root = str(tmp_path_factory.mktemp("find") / "s")
    said = Settings(Actor("Ada"), clock=clock)
    opening.create(root, said)
    store = Store(opening.open_store(root, said))
    for n in range(12):
        for one in indexed[n // 3 : n // 3 + 1]:
            store.indexes.declare(one)
        if n == 7:
            for one in indexed[:1]:
                store.indexes.drop(one)
        with store.transaction():
            for m in range(17):
                values = {key: luck.choice(POOL) for key in luck.sample(KEYS, 3)}
                nested = {"list": [luck.choice(POOL), {"deep": luck.choice(POOL)}], "n": n}
                name = luck.choice(NAMES) if m < 4 else f"{luck.choice(NAMES)}-{luck.randrange(60)}"
                folder = luck.choice(FOLDERS)
                raw = f"{folder}/{name}".lstrip("/").encode() + (b"\xff" if m == 0 else b"")
                store.put(
                    raw,
                    "x" * luck.choice([0, 1, 5, 5, 5, 100, 3000]) + str(luck.randrange(40)),
                    metadata=luck.choice([values, values | nested, {}]),
                    tags=luck.sample(TAGS, luck.randrange(3)),
                    type=luck.choice(TYPES),
                    status=luck.choice(STATUSES),
                    owner=luck.choice(OWNERS),
                    media_type=luck.choice(MEDIA),
                    message=luck.choice(["", "hé"]),
                    source=luck.choice(["", "/s/a", "https://x"]),
                )
        clock.advance(luck.choice([0, 0.000001, 60]))
    # By path: ids are drawn anew each time, and so might be deleted all that has the one name that a test asks for.
    for one in luck.sample(sorted(store.find(), key=lambda a: a.path_bytes), 25):
        store.artifacts.delete(one)
    for one in (*indexed[:1], *indexed[4:]):
        store.indexes.declare(one)
    assert {one.field for one in store.indexes.list()} == set(indexed)
    yield store
    store.close()


def everything(store: Store, *, deleted: bool = False) -> list[Artifact]:
    return list(store.find(deleted=deleted))


def value_of(artifact: Artifact, name: str) -> Any:
    """The oracle's own reading of a field, from the record alone."""
    if name.startswith("metadata."):
        return query.dig(artifact.metadata, query.path_of(name.removeprefix("metadata.")))
    plain = {
        "collection": artifact.path[: -len(artifact.name)].rstrip("/"),
        "tag": artifact.tags,
        "created": artifact.created_at,
        "updated": artifact.updated_at,
        "revision": artifact.number,
        "message": artifact.revision.message,
        "source": artifact.revision.source,
        "metadata": artifact.metadata,
        "run": artifact.revision.run_id or MISSING,
    }
    return plain[name] if name in plain else getattr(artifact, name)


def meets(artifact: Artifact, condition: Condition) -> bool:
    if isinstance(condition, Compare) and condition.field == "under":
        folder = artifact.path[: -len(artifact.name)].rstrip("/")
        return condition.value == "" or folder == condition.value or folder.startswith(condition.value + "/")
    if isinstance(condition, (All, Any_)):
        results = [meets(artifact, part) for part in condition.parts]
        return all(results) if isinstance(condition, All) else any(results)
    if isinstance(condition, Not):
        return not meets(artifact, condition.part)
    return condition.matches(lambda name: value_of(artifact, name))


def step(key: str) -> str:
    return canon.dumps(key)


VALUES = st.sampled_from(POOL)
METADATA_FIELDS = st.one_of(
    st.sampled_from(KEYS).map(lambda key: f"metadata.{step(key)}"),
    st.sampled_from(
        [
            "metadata.x",
            "metadata.list[0]",
            "metadata.list[1].deep",
            "metadata.list[9]",
            "metadata.list",
            "metadata.n",
            "metadata.x.y",
        ]
    ),
)
MOMENTS = st.sampled_from([0, 1, 59, 60, 61, 120, 300, 10_000]).map(
    lambda s: datetime.fromtimestamp(FixedClock().now_us() / 1e6, UTC) + timedelta(seconds=s)
)
SIMPLE = st.one_of(
    st.builds(Compare, METADATA_FIELDS, st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), VALUES),
    st.builds(Compare, METADATA_FIELDS, st.just("exists"), st.booleans()),
    st.builds(Compare, METADATA_FIELDS, st.just("in"), st.lists(VALUES, max_size=3)),
    st.builds(Compare, METADATA_FIELDS, st.just("glob"), st.sampled_from(["*", "?", "1*", "[a-c]", "é"])),
    st.builds(
        Compare, st.sampled_from(["name", "path"]), st.sampled_from(["=", "!=", "<", ">="]), st.sampled_from(NAMES)
    ),
    st.builds(
        Compare,
        st.sampled_from(["name", "path"]),
        st.just("glob"),
        st.sampled_from(["*.md", "?", "[bB]*", "x[[]y*", "*\n*", "é*", "\\*", "[*", "*-1?"]),
    ),
    st.builds(
        Compare,
        st.sampled_from(["type", "status", "owner", "media_type", "tenant"]),
        st.sampled_from(["=", "!=", "<", "glob"]),
        st.sampled_from([*TYPES, *STATUSES, *OWNERS, *MEDIA, "unheard of", "*e"]),
    ),
    st.builds(
        Compare, st.just("tag"), st.sampled_from(["=", "!=", "glob", ">"]), st.sampled_from([*TAGS, "t*", "none"])
    ),
    st.builds(Compare, st.just("tag"), st.just("in"), st.lists(st.sampled_from(TAGS))),
    st.builds(
        Compare,
        st.sampled_from(["size", "revision"]),
        st.sampled_from(["=", "!=", "<", "<=", ">", ">="]),
        st.sampled_from([0, 1, 2, 5, 6, 6.0, 6.5, 100, 10**30, -1, "5", True, None, 1e300]),
    ),
    st.builds(
        Compare, st.sampled_from(["created", "updated"]), st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), MOMENTS
    ),
    st.builds(Compare, st.just("under"), st.just("="), st.sampled_from(["", "f", "f/g", "f/é", "nowhere", "g"])),
    st.builds(
        Compare,
        st.sampled_from(["collection", "message", "source"]),
        st.sampled_from(["=", "!="]),
        st.sampled_from(["", "f/g", "hé", "/s/a"]),
    ),
    st.builds(
        Compare, st.just("digest"), st.sampled_from(["=", "!="]), st.sampled_from(["sha256:" + "0" * 64, "x", "5"])
    ),
    st.builds(Compare, st.just("run"), st.sampled_from(["=", "exists"]), st.sampled_from(["x", True, False])),
    st.builds(Compare, st.just("metadata"), st.sampled_from(["=", "!="]), st.just({})),
)
CONDITIONS = st.recursive(
    SIMPLE,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map(tuple).map(All)
        | st.lists(inner, min_size=1, max_size=3).map(tuple).map(Any_)
        | inner.map(Not)
    ),
    max_leaves=5,
)


@given(CONDITIONS, st.booleans())
@settings(max_examples=150)
@example(Compare("metadata.x", ">", BIG), False)
@example(Compare("metadata.x", "<", 5), False)
@example(Compare("metadata.x", "=", 0.1), False)
@example(Compare('metadata."new\\nline"', "=", 1), False)
@example(Not(Compare("under", "=", "f")), False)
def test_find_gives_exactly_what_meets_the_condition(filled: Store, condition: Condition, deleted: bool) -> None:
    if deleted and "under" in condition.fields():
        return  # a tombstone may lie in a place that is gone
    expected = [one for one in everything(filled, deleted=deleted) if meets(one, condition)]

    assert list(filled.find(condition, deleted=deleted)) == expected


@given(
    st.sampled_from(NUMBERS) | st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["=", "<", "<=", ">", ">="]),
)
@settings(max_examples=60)
def test_numbers_are_compared_exactly_at_their_very_edge(filled: Store, number: Any, op: str) -> None:
    expected = [one for one in everything(filled) if meets(one, Compare("metadata.x", op, number))]

    assert list(filled.find(Compare("metadata.x", op, number))) == expected


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(-3, 3))
@settings(max_examples=40)
def test_a_fraction_and_its_neighbours_are_told_apart(store: Store, number: float, away: int) -> None:
    other = number
    for _ in range(abs(away)):
        other = math.nextafter(other, math.inf if away > 0 else -math.inf)
    if math.isinf(other):
        return
    store.put("edge", b"x", metadata={"n": number})
    n = field("metadata.n")

    assert [bool(list(store.find(condition))) for condition in (n == other, n < other, n >= other)] == [
        number == other,
        number < other,
        number >= other,
    ]


# -- orders and pages --------------------------------------------------------------------------------------------------

ORDERS: dict[str, Any] = {
    "created": lambda a: (),
    "updated": lambda a: a.updated_at,
    "name": lambda a: a.name.encode(),
    "size": lambda a: a.size,
}


@pytest.mark.parametrize("order", [sign + name for name in ORDERS for sign in ("", "-")])
def test_every_order_is_total_and_the_same_in_pages_of_any_size(filled: Store, order: str) -> None:
    whole = list(filled.find(order=order))
    key = ORDERS[order.removeprefix("-")]
    values = [key(one) for one in whole]
    assert values == sorted(values, reverse=order.startswith("-"))
    assert {one.id for one in whole} == {one.id for one in everything(filled)}

    for size in (1, 2, 7, 50, len(whole), len(whole) + 1):
        token, pages = None, []
        while True:
            page = filled.artifacts.page(order=order, limit=size, token=token)
            pages.append(page.items)
            token = page.token
            if token is None:
                break
        assert [one for page_items in pages for one in page_items] == whole
        assert all(len(items) == size for items in pages[:-1])
        assert pages[-1]


def test_of_equal_values_the_older_comes_first_and_last_when_turned_around(filled: Store) -> None:
    age = {one.id: n for n, one in enumerate(everything(filled))}
    for name, key in (("size", lambda a: a.size), ("name", lambda a: a.name.encode())):
        assert [one.id for one in filled.find(order=name)] == sorted(
            age, key=lambda i: (key(filled.get(f"id:{i}")), age[i])
        )
        assert [one.id for one in filled.find(order=f"-{name}")] == [one.id for one in filled.find(order=name)][::-1]


def test_pages_of_a_condition_that_few_meet_and_reads_shorter_than_a_page(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    condition = (field("type") == "note") & ~(field("status") == "done")
    whole = list(filled.find(condition, order="-size"))
    assert 10 < len(whole) < 100

    for fetch in (1, 3, 10):
        monkeypatch.setattr(finding, "_FETCH", fetch)
        token, found = None, []
        while True:
            page = filled.artifacts.page(condition, order="-size", limit=4, token=token)
            found += page.items
            if (token := page.token) is None:
                break
        assert found == whole
        assert list(filled.find(condition, order="-size")) == whole


def test_a_page_goes_on_behind_what_was_seen_although_others_were_added_and_removed(store: Store) -> None:
    for n in range(10):
        store.put(f"{n}", b"x" * n)
    page = store.artifacts.page(order="name", limit=4)
    store.artifacts.delete("3")
    store.artifacts.delete("5")
    store.put("10", b"")
    store.put("45", b"")

    rest = [one.name for one in store.artifacts.page(order="name", limit=100, token=page.token).items]
    assert rest == ["4", "45", "6", "7", "8", "9"]


@pytest.mark.parametrize("limit", [0, 1, 5, 10**6])
def test_a_limit_cuts_the_result(filled: Store, limit: int) -> None:
    assert list(filled.find(order="size", limit=limit)) == list(filled.find(order="size"))[:limit]


def test_a_token_that_was_not_made_for_the_query_is_refused(filled: Store) -> None:
    token = filled.artifacts.page(order="name", limit=1).token

    def made(*position: Any) -> str:
        return base64.urlsafe_b64encode(canon.encode(list(position))).decode()

    for bad in (
        "",
        "x",
        "é",
        "\0",
        base64.urlsafe_b64encode(b"5").decode(),
        made("size"),
        made("size", "x", 1),
        made("size", 1, [2]),
        made("size", 1, 2**70),
        made("size", 1, True),
        made("size", None, 1),
        made("size", -1, 1),
        token,
    ):
        with pytest.raises(InvalidQueryError):
            filled.artifacts.page(order="size", limit=1, token=bad)
    with pytest.raises(InvalidQueryError):
        filled.artifacts.page(order="-name", limit=1, token=token)


# -- shorthands --------------------------------------------------------------------------------------------------------


def test_shorthands_mean_the_conditions_they_stand_for_and_all_must_hold(filled: Store) -> None:
    def ids(*conditions: Condition, **fields: Any) -> list[str]:
        return [one.id for one in filled.find(*conditions, **fields)]

    assert ids(name="*.md") == ids(field("name").glob("*.md")) != []
    assert ids(name="a") == ids(field("name") == "a") != []
    assert ids(type="note", status="done") == ids((field("type") == "note") & (field("status") == "done")) != []
    assert ids(tag="t1") == ids(field("tag") == "t1") != []
    assert ids(tags=["t1", "t2"]) == ids((field("tag") == "t1") & (field("tag") == "t2")) != []
    assert ids(under="f") == [one.id for one in everything(filled) if one.path.startswith("f/")] != []
    assert ids(media_type="text/plain", owner="Grace") != []
    assert ids(field("size") > 50, type="file") == ids((field("size") > 50) & (field("type") == "file"))
    assert ids(type=None) == ids()
    with pytest.raises(InvalidQueryError):
        filled.find(colour="red").__next__()


def test_a_name_that_is_not_utf8_is_found_by_what_it_looks_like(store: Store) -> None:
    made = store.put(b"\xff.md", b"x").artifact

    for name in ("\\xff.md", "\udcff.md", "*.md"):
        assert [one.id for one in store.find(name=name)] == [made.id]


def test_a_digest_is_found_by_any_prefix_that_fits_one_content(store: Store) -> None:
    for n in range(300):
        store.put(f"{n}", str(n))
    digests = sorted({one.digest for one in store.find()})
    shared = next(a for a, b in itertools.pairwise(digests) if a[7:9] == b[7:9])

    for one in store.find(limit=20):
        for given_digest in (one.digest, one.digest[7:], one.digest[7:].upper(), one.digest[:40]):
            assert [found.id for found in store.find(digest=given_digest)] == [one.id]
    common = 4
    while shared[7 : 7 + common] not in (d[7 : 7 + common] for d in digests if d != shared) and common > 2:
        common -= 1
    for bad, candidates in (("0" * 63, 0), ("ffff" * 10, 0)):
        with pytest.raises(InvalidDigestError) as caught:
            list(store.find(digest=bad))
        assert len(caught.value.fields.get("candidates", [])) == candidates  # type: ignore[arg-type]
    for bad in ("abc", "xyz!", ""):
        with pytest.raises(InvalidDigestError):
            list(store.find(digest=bad))


def test_an_ambiguous_prefix_names_the_candidates(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    database = store._handle.index.database
    one, two = (store.put(name, name).artifact for name in ("a", "b"))
    low = bytes.fromhex(one.digest[7:])
    database.run(
        "UPDATE content SET digest = ? WHERE substr(digest, 1, 4) = ?",
        (low[:10] + b"\0" * 22, bytes.fromhex(two.digest[7:])[:4]),
    )

    with pytest.raises(InvalidDigestError) as caught:
        list(store.find(digest=one.digest[:20]))
    assert caught.value.fields["candidates"] == sorted([one.digest, "sha256:" + (low[:10] + b"\0" * 22).hex()])
    assert [found.id for found in store.find(digest=one.digest)] == [one.id]


def test_what_is_related_to_a_record_is_found(store: Store) -> None:
    one, two, three = (store.put(name, name).artifact for name in "abc")
    store.relationships.relate(one, "supports", two)
    store.relationships.relate(three, "supports", one)

    assert [found.path for found in store.find(related_to=one)] == ["b", "c"]
    assert [found.path for found in store.find(related_to=two)] == ["a"]


def test_tombstones_are_found_only_when_asked_for(filled: Store) -> None:
    gone = everything(filled, deleted=True)

    assert len(gone) == 25
    assert all(one.deleted_at is not None for one in gone)
    assert all(one.deleted_at is None for one in everything(filled))


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "condition",
    [
        field("colour") == 1,
        field("") == 1,
        field("metadata.") == 1,
        field("metadata..x") == 1,
        field('metadata."') == 1,
        field("created") > "yesterday",
        field("created") > datetime(2025, 1, 1),
        field("updated") == "2025-01-01T00:00:00",
        field("name") == "\ud800",
        field("metadata.\udcff") == 1,
        field("tag") == "\udcff",
        field("type") == "\udcff",
        field("under") > "a",
        field("under") == 5,
        Compare("under", "glob", "*"),
        All((field("size") > 1, field("colour") == 1)),
        Not(field("colour") == 1),
        Condition(),
    ],
)
def test_a_condition_that_makes_no_sense_is_refused_before_anything_is_read(
    filled: Store, condition: Condition
) -> None:
    with pytest.raises(InvalidQueryError):
        list(filled.find(condition))


def test_an_order_or_a_limit_that_makes_no_sense_is_refused(filled: Store) -> None:
    for order in ("colour", "", "--name", "metadata.x"):
        with pytest.raises(InvalidQueryError):
            list(filled.find(order=order))
    with pytest.raises(InvalidQueryError):
        filled.artifacts.page(limit=0)
    for ask in (filled.artifacts.page, filled.artifacts.find):
        with pytest.raises(ContractViolationError):
            ask(limit=-1)


def test_times_are_taken_as_text_and_in_any_zone(filled: Store) -> None:
    moment = everything(filled)[30].created_at
    there = moment.astimezone(timezone(timedelta(hours=-7)))

    assert (
        list(filled.find(field("created") >= moment.isoformat())) == list(filled.find(field("created") >= there)) != []
    )
    assert list(filled.find(holdfast.parse_condition(f"created<={moment.isoformat()}"))) == list(
        filled.find(field("created") <= moment)
    )


def test_results_come_in_short_reads_while_the_store_goes_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.kinds.readings._PAGE", 3)
    for n in range(10):
        store.put(f"{n}", b"x")
    found = store.find()
    first = [next(found) for _ in range(4)]
    store.artifacts.delete("9")
    store.put("late", b"x")

    assert [one.name for one in first] + [one.name for one in found] == [*map(str, range(9)), "late"]


def test_a_plan_names_the_indexes_that_a_query_uses_and_the_tables_it_goes_through(store: Store) -> None:
    made = store.put("docs/a", "1", tags=["x"]).artifact
    newest = store.artifacts.explain(under="docs", order="-created")
    assert (newest.indexes, newest.scans) == (("artifact_newest",), ())
    assert store.artifacts.explain(tag="x").indexes == ("tagging_tag_record",)
    by_digest = store.artifacts.explain(digest=made.digest)
    assert (by_digest.indexes, by_digest.scans) == (("content_digest", "revision_content"), ())
    everything = store.artifacts.explain(field("metadata.a") == "b")
    assert (everything.indexes, everything.scans) == ((), ("artifact",))
    assert everything.steps


def test_the_newest_of_a_collection_come_newest_first_whatever_lies_in_others(store: Store) -> None:
    for number in range(30):
        store.put(f"{'abc'[number % 3]}/{number}", str(number))
    store.put("b/below/31", "31")
    store.artifacts.delete("b/28")
    found = [one.name for one in store.find(under="b", order="-created", limit=4)]
    assert found == ["31", "25", "22", "19"]
    first = store.artifacts.page(under="b", order="-created", limit=2)
    second = store.artifacts.page(under="b", order="-created", limit=2, token=first.token)
    assert [one.name for one in (*first.items, *second.items)] == found


def test_a_page_without_a_limit_and_a_plan_for_an_order_there_is_not_are_refused(filled: Store) -> None:
    for ask in (filled.relationships.page, filled.runs.page):
        with pytest.raises(InvalidInputError):
            ask(limit=None)
    with pytest.raises(InvalidQueryError):
        filled.artifacts.explain(order="colour")

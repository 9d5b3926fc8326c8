"""Relationships: what they join, what they refuse, when they are seen, and the vocabulary of their types."""

from __future__ import annotations

from pathlib import Path

import pytest

import holdfast
from holdfast.errors import (
    ConflictError,
    InUseError,
    InvalidQueryError,
    InvalidValueError,
    NameTakenError,
    NotFoundError,
    UnknownTypeError,
)
from holdfast.index.select import keyset
from holdfast.values import vocabulary
from holdfast.values.query import field, parse
from holdfast.values.records import Endpoint
from holdfast.values.vocabulary import Flow

NOBODY = "01890000-0000-7000-8000-000000000000"
ROW_A7 = {
    "structural": "contains part_of interfaces_with",
    "intent": "satisfies constrained_by affected_by_decision based_on_assumption supersedes",
    "validation": "analyzed_by validated_by supports conflicts_with depends_on",
    "provenance": "described_by updated_by_session evidenced_by summarized_in derived_from",
}


@pytest.fixture
def store(tmp_path):
    with holdfast.create(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def ab(store):
    """Two artifacts in two collections."""
    return store.artifacts.create("one/a.txt", "a"), store.artifacts.create("two/b.txt", "b")


def external(text="https://example.org/x"):
    return Endpoint("external", text)


def changes_of(store):
    """How many there are; a note that a call broke a clause changes nothing, and does not count."""
    return sum(not one.note.startswith("contract: ") for one in store.changes.list()) + 1


def ids(relationships):
    return [one.id for one in relationships]


# -- making ------------------------------------------------------------------------------------------------------------


def test_a_relationship_joins_records_across_collections_and_keeps_its_metadata(store, ab):
    made = store.relationships.relate(*_sentence(ab, "depends_on"), metadata={"weight": 1.0}, tags=["b", "a", "b"])
    assert made == store.relationships.get(made.id)
    assert (made.type, made.source, made.target) == ("depends_on", ab[0].endpoint, ab[1].endpoint)
    assert made.metadata == {"weight": 1.0}
    assert made.tags == ("a", "b")
    assert made.created_at == made.updated_at


def _sentence(ab, type_name):
    return ab[0], type_name, ab[1]


def test_every_kind_of_record_can_be_an_end(store, ab):
    run = store.runs.create("train")
    about = store.relationships.relate(*_sentence(ab, "supports"))
    collection = store.collections.get("one")
    for thing in (ab[0].revision, collection, run, about, external()):
        made = store.relationships.relate(thing, "described_by", ab[1])
        assert made.source == getattr(thing, "endpoint", thing)
        assert ids(store.relationships.of(thing, direction="out", type="described_by")) == [made.id]


def test_a_path_and_an_id_and_a_put_result_name_an_artifact(store, ab):
    put = store.artifacts.put("c.txt", "c")
    made = store.relationships.relate("one/a.txt", "depends_on", f"id:{ab[1].id}")
    assert (made.source, made.target) == (ab[0].endpoint, ab[1].endpoint)
    assert store.relationships.relate(put, "depends_on", "one/a.txt").source == put.artifact.endpoint


def test_provenance_pins_the_revision_a_record_was_read_with_and_otherwise_the_newest(store, ab):
    store.artifacts.put("one/a.txt", "a2")
    store.artifacts.put("two/b.txt", "b2")
    made = store.relationships.relate(ab[0], "derived_from", "two/b.txt")
    assert (made.source.revision, made.target.revision) == (1, 2)
    assert store.relationships.relate(ab[0].endpoint, "derived_from", external()).source.revision == 2
    assert store.relationships.relate(ab[0], "depends_on", ab[1]).source.revision is None


def test_the_same_relationship_again_changes_nothing(store, ab):
    made = store.relationships.relate(*_sentence(ab, "depends_on"), metadata={"n": 1})
    before = changes_of(store)
    assert store.relationships.relate(*_sentence(ab, "depends_on"), metadata={"n": 1}) == made
    assert changes_of(store) == before


@pytest.mark.parametrize("other", [{"n": 2}, {"n": 1.0}, {"n": True}, {}])
def test_the_same_relationship_with_other_metadata_is_refused_and_names_the_holder(store, ab, other):
    made = store.relationships.relate(*_sentence(ab, "depends_on"), metadata={"n": 1})
    with pytest.raises(ConflictError, match=made.id) as caught:
        store.relationships.relate(*_sentence(ab, "depends_on"), metadata=other)
    assert caught.value.fields["holder"] == made.id
    assert "update" in caught.value.remedy


def test_other_revisions_make_another_relationship(store, ab):
    first = store.relationships.relate(ab[0].revision, "derived_from", ab[1].revision)
    newer = store.artifacts.put("one/a.txt", "a2").revision
    assert store.relationships.relate(newer, "derived_from", ab[1].revision).id != first.id


@pytest.mark.parametrize("end", ["source", "target"])
def test_a_missing_end_is_named(store, ab, end):
    gone = store.artifacts.create("gone", "x")
    store.artifacts.delete(gone)
    missing = [
        gone, "gone", "never/there", f"id:{NOBODY}", Endpoint("artifact", NOBODY), Endpoint("run", ab[0].id),
        Endpoint("artifact", ab[0].id, 2), gone.revision,
    ]  # fmt: skip
    before = changes_of(store)
    for thing in missing:
        pair = (thing, ab[1]) if end == "source" else (ab[1], thing)
        with pytest.raises(NotFoundError, match=f"the {end} is not there") as caught:
            store.relationships.relate(pair[0], "depends_on", pair[1])
        assert caught.value.fields["end"] == end
    assert changes_of(store) == before


@pytest.mark.parametrize("kind", ["document", "chunk", "memory", "entity", "session", "step", "relationship-type", ""])
def test_kinds_that_are_not_kept_are_refused(store, ab, kind):
    with pytest.raises(InvalidValueError, match="source"):
        store.relationships.relate(Endpoint(kind, ab[0].id), "depends_on", ab[1])


@pytest.mark.parametrize("thing", [None, 7, object(), Endpoint("external", ""), Endpoint("external", "a\0b")])
def test_what_is_no_end_is_refused(store, ab, thing):
    with pytest.raises(InvalidValueError):
        store.relationships.relate(thing, "depends_on", ab[1])


@pytest.mark.parametrize("thing", [Endpoint("run", NOBODY, 1), Endpoint("external", "x", 1)])
def test_only_artifacts_have_revisions(store, ab, thing):
    with pytest.raises(InvalidValueError, match="revision"):
        store.relationships.relate(thing, "depends_on", ab[1])


@pytest.mark.parametrize("type_name", ["contains", "part_of", "supersedes", "derived_from"])
def test_nothing_contains_supersedes_or_comes_from_itself(store, ab, type_name):
    with pytest.raises(InvalidValueError, match="itself"):
        store.relationships.relate(ab[0], type_name, ab[0])


def test_a_revision_may_come_from_an_older_one_of_the_same_artifact_but_is_no_part_of_it(store, ab):
    newer = store.artifacts.put("one/a.txt", "a2").revision
    assert store.relationships.relate(newer, "derived_from", ab[0].revision).target.revision == 1
    with pytest.raises(InvalidValueError, match="itself"):
        store.relationships.relate(newer, "part_of", ab[0].revision)


def test_other_types_may_join_a_record_to_itself_and_are_seen_once(store, ab):
    made = store.relationships.relate(ab[0], "conflicts_with", ab[0])
    assert ids(store.relationships.of(ab[0])) == [made.id]
    assert store.relationships.count_touching(ab[0].id) == 1


@pytest.mark.parametrize("metadata", [{"x": float("nan")}, {"x": (1,)}, {"x": "\ud800"}, {1: 2}, [1], "text"])
def test_metadata_that_cannot_be_kept_is_refused_before_anything_is_written(store, ab, metadata):
    before = changes_of(store)
    with pytest.raises(InvalidValueError):
        store.relationships.relate(*_sentence(ab, "depends_on"), metadata=metadata)
    assert changes_of(store) == before


def test_an_error_in_a_transaction_leaves_no_relationship(store, ab):
    def work():
        with store.transaction():
            store.relationships.relate(*_sentence(ab, "depends_on"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work()
    assert list(store.relationships.find()) == []


def test_a_transaction_id_that_is_repeated_gives_the_first_result(store, ab):
    tx = "01890000-0000-7000-8000-00000000aaaa"
    made = store.relationships.relate(*_sentence(ab, "depends_on"), tx=tx)
    assert store.relationships.relate(*_sentence(ab, "depends_on"), tx=tx) == made
    assert len(list(store.relationships.find())) == 1


def test_what_is_said_inside_a_run_names_the_run_in_the_audit_trail(store, ab):
    with store.runs.start("link") as run:
        made = store.relationships.relate(*_sentence(ab, "depends_on"), note="because")
    (change,) = store.changes.list(record=made.id)
    assert (change.run_id, change.note) == (run.id, "because")


# -- updating and deleting ---------------------------------------------------------------------------------------------


def test_update_changes_what_is_given_and_keeps_the_rest(store, ab):
    made = store.relationships.relate(*_sentence(ab, "depends_on"), metadata={"n": 1}, tags=["x"], owner="ada")
    updated = store.relationships.update(made, type="supports", tags=["y"])
    assert (updated.type, updated.metadata, updated.tags, updated.owner) == ("supports", {"n": 1}, ("y",), "ada")
    assert (updated.id, updated.source, updated.target) == (made.id, made.source, made.target)
    cleared = store.relationships.update(made.id, metadata={}, owner="eve")
    assert (cleared.metadata, cleared.owner) == ({}, "eve")
    before = [change.before for change in store.changes.list(record=made.id)]
    assert before == [None, {"type": "depends_on", "tags": ["x"]}, {"metadata": {"n": 1}, "owner": "ada"}]


def test_an_update_that_changes_nothing_writes_nothing(store, ab):
    made = store.relationships.relate(*_sentence(ab, "depends_on"), metadata={"n": 1}, tags=["x"])
    before = changes_of(store)
    assert store.relationships.update(made, type="depends_on", metadata={"n": 1}, tags=["x"], owner="") == made
    assert changes_of(store) == before
    store.relationships.update(made, metadata={"n": 1.0})
    assert changes_of(store) == before + 1


def test_an_update_to_what_another_says_is_refused(store, ab):
    held = store.relationships.relate(*_sentence(ab, "supports"))
    made = store.relationships.relate(*_sentence(ab, "depends_on"))
    with pytest.raises(ConflictError) as caught:
        store.relationships.update(made, type="supports")
    assert caught.value.fields["holder"] == held.id


def test_an_update_to_a_provenance_type_needs_pinned_ends(store, ab):
    loose = store.relationships.relate(*_sentence(ab, "depends_on"))
    with pytest.raises(ConflictError, match="revisions"):
        store.relationships.update(loose, type="derived_from")
    pinned = store.relationships.relate(ab[0].revision, "depends_on", ab[1].revision)
    assert store.relationships.update(pinned, type="derived_from").type == "derived_from"


def test_an_update_cannot_make_a_record_contain_itself(store, ab):
    made = store.relationships.relate(ab[0], "conflicts_with", ab[0])
    with pytest.raises(InvalidValueError, match="itself"):
        store.relationships.update(made, type="contains")


def test_a_deleted_relationship_is_gone_from_every_answer_until_it_is_undeleted(store, ab):
    made = store.relationships.relate(*_sentence(ab, "depends_on"), metadata={"n": 1})
    gone = store.relationships.delete(made, note="wrong")
    assert gone.deleted_at is not None
    with pytest.raises(NotFoundError, match="deleted"):
        store.relationships.get(made.id)
    assert store.relationships.get(made.id, deleted=True) == gone
    assert ids(store.relationships.of(ab[0])) == ids(store.relationships.find()) == []
    assert ids(store.relationships.find(deleted=True)) == [made.id]
    assert store.relationships.count_touching(ab[0].id) == 0
    back = store.relationships.undelete(made.id)
    assert (back.deleted_at, back.metadata) == (None, {"n": 1})
    assert ids(store.relationships.of(ab[0])) == [made.id]
    assert [change.action for change in store.changes.list(record=made.id)] == ["create", "delete", "undelete"]


def test_verbs_on_a_deleted_relationship_do_not_find_it(store, ab):
    made = store.relationships.relate(*_sentence(ab, "depends_on"))
    store.relationships.delete(made)
    for verb in (store.relationships.delete, store.relationships.update, store.relationships.get):
        with pytest.raises(NotFoundError):
            verb(made.id)


@pytest.mark.parametrize("ref", [NOBODY, f"id:{NOBODY}", "no id at all", ""])
def test_no_relationship_has_that_id(store, ref):
    with pytest.raises(NotFoundError, match="no relationship"):
        store.relationships.get(ref)


def test_undelete_is_refused_when_another_says_the_same_by_now(store, ab):
    made = store.relationships.relate(*_sentence(ab, "depends_on"))
    store.relationships.delete(made)
    newer = store.relationships.relate(*_sentence(ab, "depends_on"))
    with pytest.raises(ConflictError) as caught:
        store.relationships.undelete(made.id)
    assert caught.value.fields["holder"] == newer.id


def test_undelete_of_a_visible_one_is_a_no_op(store, ab):
    made = store.relationships.relate(*_sentence(ab, "depends_on"))
    before = changes_of(store)
    assert store.relationships.undelete(made) == made
    assert changes_of(store) == before


def test_a_relationship_that_others_touch_can_be_kept_from_deletion(store, ab):
    made = store.relationships.relate(*_sentence(ab, "depends_on"))
    store.relationships.relate(made, "evidenced_by", external())
    with pytest.raises(InUseError) as caught:
        store.relationships.delete(made, relationships="restrict")
    assert caught.value.fields["counts"] == {"relationships": 1}
    with pytest.raises(InvalidValueError, match="relationships"):
        store.relationships.delete(made, relationships="perhaps")
    assert store.relationships.delete(made).deleted_at is not None


# -- visibility --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [0, 1])
def test_a_deleted_end_hides_a_relationship_and_its_undelete_shows_it_again(store, ab, end):
    made = store.relationships.relate(*_sentence(ab, "depends_on"))
    gone = store.artifacts.delete(ab[end])
    with pytest.raises(NotFoundError, match=f"its {('source', 'target')[end]}"):
        store.relationships.get(made.id)
    hidden = store.relationships.get(made.id, deleted=True)
    assert hidden.deleted_at == gone.deleted_at
    assert ids(store.relationships.of(ab[1 - end])) == ids(store.relationships.find()) == []
    assert store.relationships.count_touching(ab[1 - end].id) == 0
    with pytest.raises(NotFoundError, match=("source", "target")[end]):
        store.relationships.undelete(made.id)
    store.artifacts.undelete(ab[end])
    assert store.relationships.get(made.id) == made


def test_what_was_deleted_by_itself_stays_deleted_when_its_end_comes_back(store, ab):
    kept = store.relationships.relate(*_sentence(ab, "depends_on"))
    dropped = store.relationships.relate(*_sentence(ab, "supports"))
    store.relationships.delete(dropped)
    store.artifacts.delete(ab[0])
    store.artifacts.undelete(ab[0])
    assert ids(store.relationships.of(ab[0])) == [kept.id]


def test_a_deleted_collection_hides_what_its_artifacts_are_related_to(store, ab):
    made = store.relationships.relate(*_sentence(ab, "depends_on"))
    store.collections.delete("one", contents="cascade")
    assert ids(store.relationships.of(ab[1])) == []
    store.collections.undelete("one")
    assert ids(store.relationships.of(ab[1])) == [made.id]


def test_a_relationship_on_a_hidden_relationship_is_hidden_to_any_depth(store, ab):
    about = [store.relationships.relate(*_sentence(ab, "depends_on"))]
    for _ in range(4):
        about.append(store.relationships.relate(about[-1], "evidenced_by", external()))
    store.artifacts.delete(ab[1])
    assert ids(store.relationships.find()) == []
    with pytest.raises(NotFoundError, match="source is not there"):
        store.relationships.relate(about[-1], "evidenced_by", external("https://example.org/other"))
    store.artifacts.undelete(ab[1])
    assert ids(store.relationships.find()) == ids(about)


def test_a_deleted_run_and_a_deleted_relationship_hide_too(store, ab):
    run = store.runs.create("r")
    on_run = store.relationships.relate(ab[0], "depends_on", run)
    store.runs.delete(run)
    assert ids(store.relationships.find()) == []
    store.runs.undelete(run)
    assert ids(store.relationships.find()) == [on_run.id]


def test_an_external_end_is_always_live_even_if_its_text_is_the_id_of_a_deleted_record(store, ab):
    gone = store.artifacts.create("gone", "x")
    made = store.relationships.relate(ab[0], "depends_on", Endpoint("external", gone.id))
    store.relationships.relate(ab[0], "depends_on", gone)
    store.artifacts.delete(gone)
    assert ids(store.relationships.of(ab[0])) == [made.id]
    assert store.relationships.get(made.id).deleted_at is None
    assert ids(store.relationships.of(Endpoint("external", gone.id))) == [made.id]
    assert ids(store.relationships.of(gone)) == []


def test_an_artifact_that_is_related_can_be_kept_from_deletion(store, ab):
    store.relationships.relate(*_sentence(ab, "depends_on"))
    with pytest.raises(InUseError) as caught:
        store.artifacts.delete(ab[1], relationships="restrict")
    assert caught.value.fields["counts"] == {"relationships": 1}


def test_relationships_outlive_the_handle_and_the_index(tmp_path):
    with holdfast.create(tmp_path / "s") as store:
        a, b = store.artifacts.create("a", "a"), store.artifacts.create("b", "b")
        store.relationships.register_type("reads", family="structural", description="The source reads the target.")
        made = store.relationships.relate(a, "reads", b, metadata={"big": 10**40}, tags=["t"])
        dropped = store.relationships.relate(a, "depends_on", b)
        gone = store.relationships.delete(dropped)
    with holdfast.open(tmp_path / "s") as store:
        assert list(store.relationships.find()) == [made]
        types = store.relationships.types()
    for name in ("index.sqlite3", "index.sqlite3-wal", "index.sqlite3-shm"):
        (tmp_path / "s" / name).unlink(missing_ok=True)
    with holdfast.open(tmp_path / "s") as store:
        assert store.opened.rebuilt
        assert list(store.relationships.find()) == [made]
        assert store.relationships.get(gone.id, deleted=True) == gone
        assert store.relationships.types() == types
        assert store.relationships.relate(b, "reads", a).type == "reads"


# -- reading -----------------------------------------------------------------------------------------------------------


def test_of_tells_directions_and_types_apart(store, ab):
    out = store.relationships.relate(*_sentence(ab, "depends_on"))
    inward = store.relationships.relate(ab[1], "supports", ab[0])
    of = store.relationships.of
    assert ids(of(ab[0])) == [out.id, inward.id]
    assert ids(of(ab[0], direction="out")) == [out.id]
    assert ids(of(ab[0], direction="in")) == [inward.id]
    assert ids(of("one/a.txt", type="supports")) == [inward.id]
    with pytest.raises(InvalidValueError, match="direction"):
        of(ab[0], direction="sideways")
    with pytest.raises(UnknownTypeError):
        of(ab[0], type="suports")


def test_an_artifact_has_the_relationships_of_all_its_revisions_and_a_revision_only_its_own(store, ab):
    loose = store.relationships.relate(ab[0], "depends_on", ab[1])
    first = store.relationships.relate(ab[0].revision, "derived_from", ab[1].revision)
    newer = store.artifacts.put("one/a.txt", "a2").revision
    second = store.relationships.relate(newer, "derived_from", ab[1].revision)
    assert ids(store.relationships.of(ab[0])) == [loose.id, first.id, second.id]
    assert ids(store.relationships.of(newer)) == [second.id]
    assert ids(store.relationships.find(source=ab[0].revision)) == [first.id]


def test_long_answers_come_whole_and_in_order_whatever_the_page_size(store, ab, monkeypatch):
    names = ("depends_on", "supports", "interfaces_with")
    with store.transaction():
        made = [store.relationships.relate(ab[0], names[n % 3], external(f"u:{n}")) for n in range(23)]
        made += [store.relationships.relate(external(f"u:{n}"), names[n % 2], ab[0]) for n in range(7)]
    for size in (1, 2, 5, 23, 30, 500):
        monkeypatch.setattr(keyset, "PAGE", size)
        monkeypatch.setattr("holdfast.index.select.relationships.PAGE", size)
        monkeypatch.setattr(type(store._handle.index.relationships).page, "__kwdefaults__",
                            {"descending": False, "limit": size})  # fmt: skip
        assert ids(store.relationships.of(ab[0])) == ids(made)
        assert ids(store.relationships.find()) == ids(made)
        assert ids(store.relationships.find(order="-created")) == ids(reversed(made))
        assert ids(store.relationships.find(source=ab[0], order="-created")) == ids(reversed(made[:23]))
        assert store.relationships.count_touching(ab[0].id) == 30


def test_find_combines_what_is_asked(store, ab):
    one = store.relationships.relate(*_sentence(ab, "depends_on"), metadata={"score": 3}, tags=["x"], owner="ada")
    two = store.relationships.relate(*_sentence(ab, "supports"), metadata={"score": 7})
    three = store.relationships.relate(ab[1], "supports", external(), tags=["x"])
    find = store.relationships.find
    assert ids(find(type="supports")) == [two.id, three.id]
    assert ids(find(type="supports", source=ab[0])) == [two.id]
    assert ids(find(target=external())) == [three.id]
    assert ids(find(source=ab[0], target="two/b.txt")) == [one.id, two.id]
    assert ids(find(tag="x")) == [one.id, three.id]
    assert ids(find(parse("metadata.score >= 5"))) == [two.id]
    assert ids(find(field("metadata.score") < 5, type="supports")) == []
    assert ids(find(~field("metadata.score").exists())) == [three.id]
    assert ids(find(field("tag") == "x")) == [one.id, three.id]
    assert ids(find(field("owner") == "ada")) == [one.id]
    assert ids(find((field("type") == "supports") & (field("source") == ab[0].id))) == [two.id]
    assert ids(find(field("target") == "external:https://example.org/x")) == [three.id]
    assert ids(find(field("created") >= one.created_at)) == [one.id, two.id, three.id]
    assert ids(find(parse("created < 2001-01-01T00:00:00Z"))) == []
    assert ids(find(limit=2)) == [one.id, two.id]


@pytest.mark.parametrize("where", ["size > 3", "metadata. = 1", "metadata.[ = 1", "created > yesterday"])
def test_questions_that_make_no_sense_are_refused_at_once(store, where):
    with pytest.raises(InvalidQueryError):
        store.relationships.find(parse(where))


def test_orders_and_limits_that_make_no_sense_are_refused_at_once(store):
    with pytest.raises(InvalidQueryError, match="ordered"):
        store.relationships.find(order="type")
    with pytest.raises(InvalidValueError, match="limit"):
        store.relationships.find(limit=0)
    with pytest.raises(InvalidQueryError):
        store.relationships.find(where="type = supports")


def test_pages_join_to_the_whole_answer_and_their_tokens_to_their_own_query_only(store, ab):
    made = [store.relationships.relate(ab[0], "supports", external(f"u:{n}"), metadata={"n": n}) for n in range(7)]
    odd = [one.id for one in made if one.metadata["n"] % 2]
    found, token, sizes = [], None, []
    while True:
        page = store.relationships.page(field("metadata.n").is_in([1, 3, 5]), limit=2, token=token)
        found += ids(page.items)
        sizes.append(len(page.items))
        token = page.token
        if token is None:
            break
    assert (found, sizes) == (odd, [2, 1])
    token = store.relationships.page(limit=2).token
    for use in (
        lambda: store.relationships.page(order="-created", token=token),
        lambda: store.runs.page(token=token),
        lambda: store.relationships.page(token="garbage"),
        lambda: store.relationships.page(token=""),
    ):
        with pytest.raises(InvalidQueryError, match="token"):
            use()
    assert store.relationships.page(limit=7).token is None


# -- the vocabulary ----------------------------------------------------------------------------------------------------


def test_the_built_in_vocabulary_is_that_of_the_promise():
    found = {}
    for one in vocabulary.BUILT_IN:
        found.setdefault(str(one.family), []).append(one.name)
        assert one.description.endswith(".")
        assert one.inverse
    assert {family: " ".join(names) for family, names in found.items()} == ROW_A7


def test_the_page_of_the_manual_has_the_vocabulary_as_it_is():
    page = (Path(__file__).parents[2] / "docs" / "relationships.md").read_text("utf-8")
    ends = {Flow.TARGET: " target ", Flow.SOURCE: " source ", Flow.NONE: " "}
    rows = [f"| {t.family} | `{t.name}` | {t.description} | {t.inverse} |{ends[t.flow]}|" for t in vocabulary.BUILT_IN]
    assert "\n".join(rows) in page


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("derivedfrom", "derived_from"), ("derived", "derived_from"), ("Derived-From", "derived_from"),
        ("depend_on", "depends_on"), ("part of", "part_of"), ("suport", "supports"), ("validates_by", "validated_by"),
    ],
)  # fmt: skip
def test_an_unknown_type_is_refused_with_the_nearest_known_ones_named(store, ab, asked, expected):
    before = changes_of(store)
    with pytest.raises(UnknownTypeError, match=expected) as caught:
        store.relationships.relate(*_sentence(ab, asked))
    assert caught.value.fields["nearest"][0] == expected
    assert caught.value.fields["type"] == asked
    assert changes_of(store) == before


def test_a_type_like_no_other_is_refused_without_a_guess():
    assert vocabulary.nearest("zzzzqqq", ["derived_from"]) == ()
    assert "nearest are" not in str(vocabulary.unknown("zzzzqqq", ["derived_from"]))


def test_a_registered_type_is_used_like_any_other_and_suggested_too(store, ab):
    new = store.relationships.register_type("trained_on", family="provenance", description="A model, and its data.")
    assert store.relationships.types()[-1] == new
    made = store.relationships.relate(*_sentence(ab, "trained_on"))
    assert (made.source.revision, made.target.revision) == (1, 1)
    with pytest.raises(UnknownTypeError, match="trained_on"):
        store.relationships.relate(*_sentence(ab, "trained_by"))


def test_registering_the_same_type_again_changes_nothing_and_another_meaning_is_refused(store):
    said = {"family": "intent", "description": "The source wants the target."}
    new = store.relationships.register_type("wants", **said)
    before = changes_of(store)
    assert store.relationships.register_type("wants", **said) == new
    assert changes_of(store) == before
    for other in ({**said, "family": "validation"}, {**said, "description": "Something else."}):
        with pytest.raises(NameTakenError, match="wants"):
            store.relationships.register_type("wants", **other)


@pytest.mark.parametrize("name", ["contains", "made_by", "used"])
def test_names_that_mean_something_already_are_taken(store, name):
    with pytest.raises(NameTakenError):
        store.relationships.register_type(name, family="intent", description="Mine.")


@pytest.mark.parametrize(
    ("name", "family", "description"),
    [("Bad", "intent", "x"), ("9x", "intent", "x"), ("a b", "intent", "x"), ("", "intent", "x"),
     ("a" * 65, "intent", "x"), ("fine", "nowhere", "x"), ("fine", "intent", "  ")],
)  # fmt: skip
def test_types_that_are_not_well_formed_are_refused(store, name, family, description):
    before = changes_of(store)
    with pytest.raises(InvalidValueError):
        store.relationships.register_type(name, family=family, description=description)
    assert changes_of(store) == before


def test_a_type_registered_in_a_transaction_that_fails_is_unknown_again(store, ab):
    def work():
        with store.transaction():
            store.relationships.register_type("wants", family="intent", description="The source wants the target.")
            store.relationships.relate(*_sentence(ab, "wants"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work()
    with pytest.raises(UnknownTypeError):
        store.relationships.relate(*_sentence(ab, "wants"))

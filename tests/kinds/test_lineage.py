"""Lineage: which ties are walked which way, and that the walk ends."""

from __future__ import annotations

import pytest

import holdfast
from holdfast.errors import InvalidValueError, NotFoundError, UnknownTypeError, WrongQueryError
from holdfast.values import vocabulary
from holdfast.values.lineage import Origin
from holdfast.values.records import Endpoint
from holdfast.values.vocabulary import Flow

UP = {
    "derived_from", "described_by", "evidenced_by", "updated_by_session", "depends_on", "based_on_assumption",
    "constrained_by", "affected_by_decision", "supersedes",
}  # fmt: skip


@pytest.fixture
def store(tmp_path):
    with holdfast.create(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def abc(store):
    """c came from b, b from a, each in a collection of its own."""
    with store.transaction():
        made = [store.artifacts.create(f"{name}/{name}", name) for name in "abc"]
        store.relationships.relate(made[1], "depends_on", made[0])
        store.relationships.relate(made[2], "depends_on", made[1])
    return made


def depths(found):
    return {node.label: node.depth for node in found.nodes}


def edges(found):
    labels = {node.endpoint: node.label for node in found.nodes}
    return [(labels[edge.source], edge.type, labels[edge.target]) for edge in found.edges]


def test_up_finds_what_a_record_came_from_and_down_what_came_of_it(store, abc):
    up = store.relationships.lineage(abc[2])
    assert depths(up) == {"c/c": 0, "b/b": 1, "a/a": 2}
    assert edges(up) == [("c/c", "depends_on", "b/b"), ("b/b", "depends_on", "a/a")]
    down = store.relationships.lineage("a/a", direction="down")
    assert depths(down) == {"a/a": 0, "b/b": 1, "c/c": 2}
    assert edges(down) == [("b/b", "depends_on", "a/a"), ("c/c", "depends_on", "b/b")]
    both = store.relationships.lineage(abc[1], direction="both")
    assert depths(both) == {"b/b": 0, "a/a": 1, "c/c": 1}
    assert not up.truncated
    assert {edge.origin for edge in both.edges} == {Origin.RELATIONSHIP}
    assert [node.depth for node in both.nodes] == [0, 1, 1]


def test_an_edge_names_the_relationship_it_rests_on(store, abc):
    (held,) = store.relationships.of(abc[0])
    (edge,) = store.relationships.lineage(abc[1]).edges
    assert (edge.id, edge.source, edge.target) == (held.id, held.source, held.target)


@pytest.mark.parametrize(("depth", "reached"), [(0, 1), (1, 2), (2, 3), (3, 3)])
def test_depth_bounds_the_walk_and_is_not_a_truncation(store, abc, depth, reached):
    found = store.relationships.lineage(abc[2], depth=depth)
    assert (len(found.nodes), len(found.edges), found.truncated) == (reached, reached - 1, False)


def test_a_cycle_is_walked_once(store, abc):
    store.relationships.relate(abc[0], "depends_on", abc[2])
    store.relationships.relate(abc[1], "depends_on", abc[1])
    for direction in ("up", "down", "both"):
        found = store.relationships.lineage(abc[0], direction=direction)
        assert len(found.nodes) == 3
        assert sorted(edges(found)) == [
            ("a/a", "depends_on", "c/c"), ("b/b", "depends_on", "a/a"), ("b/b", "depends_on", "b/b"),
            ("c/c", "depends_on", "b/b"),
        ]  # fmt: skip


def test_a_node_met_on_both_ways_has_the_smaller_depth(store, abc):
    store.relationships.relate(abc[0], "depends_on", abc[2])
    assert depths(store.relationships.lineage(abc[0], direction="both")) == {"a/a": 0, "c/c": 1, "b/b": 1}


def test_a_node_has_the_smallest_of_its_depths(store, abc):
    store.relationships.relate(abc[2], "derived_from", abc[0].endpoint)
    found = store.relationships.lineage(abc[2].endpoint)
    by_end = {node.endpoint: node.depth for node in found.nodes}
    assert by_end[abc[0].revision.endpoint] == 1


def test_which_types_are_walked_is_as_the_vocabulary_says(store):
    assert {one.name for one in vocabulary.BUILT_IN if one.flow is Flow.TARGET} == UP
    assert {one.name for one in vocabulary.BUILT_IN if one.flow is Flow.SOURCE} == {"summarized_in"}
    with store.transaction():
        start, others = store.artifacts.create("start", "x"), {}
        for one in vocabulary.BUILT_IN:
            others[one.name] = store.artifacts.create(one.name, one.name)
            store.relationships.relate(start.endpoint, one.name, others[one.name].endpoint)
    up = {node.label for node in store.relationships.lineage(start).nodes} - {"start"}
    down = {node.label for node in store.relationships.lineage(start, direction="down").nodes} - {"start"}
    assert up == UP
    assert down == {"summarized_in"}


def test_what_points_down_is_told_by_its_inverse_so_that_every_edge_points_up(store):
    with store.transaction():
        text, summary = store.artifacts.create("text", "long"), store.artifacts.create("summary", "short")
        store.relationships.relate(text, "summarized_in", summary)
    expected = [("summary", "summarizes", "text")]
    assert edges(store.relationships.lineage(summary)) == expected
    assert edges(store.relationships.lineage(text, direction="down")) == expected
    assert edges(store.relationships.lineage(text)) == []


def test_named_types_are_walked_alone_even_structural_ones(store, abc):
    store.relationships.relate(abc[2], "part_of", abc[0])
    assert edges(store.relationships.lineage(abc[2], types=["part_of"])) == [("c/c", "part_of", "a/a")]
    assert edges(store.relationships.lineage(abc[0], types="part_of", direction="down")) == [("c/c", "part_of", "a/a")]
    with store.runs.start("make") as run:
        store.artifacts.put("c/c", "again")
        run.input(abc[0])
    assert edges(store.relationships.lineage(abc[2], types=["part_of"])) == [("c/c", "part_of", "a/a")]
    assert edges(store.relationships.lineage(abc[2], types=["made_by"])) == [("c/c", "made_by", "make")]


def test_a_registered_type_is_walked_if_it_is_of_the_family_of_provenance(store, abc):
    store.relationships.register_type("drawn_from", family="provenance", description="Where it was drawn from.")
    store.relationships.register_type("likes", family="intent", description="The source likes the target.")
    store.relationships.relate(abc[0].revision, "drawn_from", Endpoint("external", "urn:well"))
    store.relationships.relate(abc[0], "likes", Endpoint("external", "urn:cake"))
    found = store.relationships.lineage(abc[2])
    assert depths(found) == {"c/c": 0, "b/b": 1, "a/a": 2, "urn:well": 3}
    assert "urn:cake" in depths(store.relationships.lineage(abc[0], types=["likes"]))


def test_a_revision_is_walked_for_itself_and_an_artifact_for_all_its_revisions(store):
    with store.transaction():
        one, two = store.artifacts.create("one", "1"), store.artifacts.create("two", "2")
        first = store.artifacts.create("out", "from one").revision
        store.relationships.relate(first, "derived_from", one)
        second = store.artifacts.put("out", "from two").revision
        store.relationships.relate(second, "derived_from", two)
        store.relationships.relate("out", "depends_on", Endpoint("external", "urn:tool"))
    assert depths(store.relationships.lineage(first)) == {"out": 0, "one": 1, "urn:tool": 1}
    assert depths(store.relationships.lineage(second)) == {"out": 0, "two": 1, "urn:tool": 1}
    whole = store.relationships.lineage("out")
    assert depths(whole) == {"out": 0, "one": 1, "two": 1, "urn:tool": 1}
    assert [edge.revision for edge in whole.edges] == [1, 2, None]
    assert {edge.source for edge in whole.edges} == {whole.nodes[0].endpoint}
    assert depths(store.relationships.lineage(one.revision, direction="down")) == {"one": 0, "out": 1}


def test_runs_join_their_inputs_to_what_they_made(store):
    raw, extra = store.artifacts.create("raw.csv", "raw"), store.artifacts.create("extra.csv", "extra")
    with store.runs.start("clean", inputs=[raw]):
        clean = store.artifacts.put("clean.csv", "clean").revision
    with store.runs.start("train", inputs={"data": clean, "more": extra}) as run:
        model = store.artifacts.put("model.bin", "weights").revision
        run.output(store.artifacts.create("elsewhere.log", "log"), role="log")
    up = store.relationships.lineage(model)
    assert depths(up) == {"model.bin": 0, "train": 1, "clean.csv": 2, "extra.csv": 2, "clean": 3, "raw.csv": 4}
    assert edges(up)[:2] == [("model.bin", "made_by", "train"), ("train", "used", "clean.csv")]
    assert {edge.origin for edge in up.edges} == {Origin.RUN}
    assert up.edges[0].id == run.id
    down = store.relationships.lineage(raw, direction="down")
    assert depths(down) == {
        "raw.csv": 0, "clean": 1, "clean.csv": 2, "train": 3, "elsewhere.log": 4, "model.bin": 4,
    }  # fmt: skip
    assert len(down.edges) == len(set(down.edges)) == 5


def test_an_output_that_was_put_and_linked_stands_once(store):
    with store.runs.start("make") as run:
        run.output(store.artifacts.put("out", "x"), role="result")
    for thing, direction in (("out", "up"), (store.runs.get(run.id), "down")):
        found = store.relationships.lineage(thing, direction=direction)
        assert (len(found.nodes), len(found.edges)) == (2, 1)


def test_a_run_made_only_the_revision_it_made(store):
    store.artifacts.create("out", "by hand")
    with store.runs.start("second"):
        store.artifacts.put("out", "by run")
    store.artifacts.put("out", "by hand again")
    for number, reached in ((1, []), (2, ["second"]), (3, [])):
        found = store.relationships.lineage(store.artifacts.revision("out", number))
        assert [node.label for node in found.nodes[1:]] == reached
    (edge,) = store.relationships.lineage("out").edges
    assert edge.revision == 2


def test_deleted_records_are_no_part_of_a_lineage(store, abc):
    with store.runs.start("make", inputs=[abc[2]]) as run:
        store.artifacts.put("out", "x")
    whole = {"out": 0, "make": 1, "c/c": 2, "b/b": 3, "a/a": 4}
    assert depths(store.relationships.lineage("out")) == whole
    store.artifacts.delete(abc[1])
    assert depths(store.relationships.lineage("out")) == {"out": 0, "make": 1, "c/c": 2}
    store.artifacts.delete(abc[2])
    assert depths(store.relationships.lineage("out")) == {"out": 0, "make": 1}
    with pytest.raises(NotFoundError, match="deleted"):
        store.relationships.lineage(abc[2])
    store.artifacts.undelete(abc[2])
    store.runs.delete(run, contents="cascade")
    assert depths(store.relationships.lineage("out")) == {"out": 0}
    assert depths(store.relationships.lineage(abc[2], direction="down")) == {"c/c": 0}


def test_a_limit_bounds_nodes_and_edges_and_says_so(store):
    with store.transaction():
        hub = store.artifacts.create("hub", "x")
        for n in range(12):
            store.relationships.relate(hub, "depends_on", Endpoint("external", f"u:{n}"))
    whole = store.relationships.lineage(hub)
    assert (len(whole.nodes), len(whole.edges), whole.truncated) == (13, 12, False)
    assert store.relationships.lineage(hub, limit=13) == whole
    cut = store.relationships.lineage(hub, limit=12)
    assert (len(cut.nodes), len(cut.edges), cut.truncated) == (12, 11, True)
    assert cut.nodes == whole.nodes[:12]
    ends = {node.endpoint for node in cut.nodes}
    assert all(edge.source in ends and edge.target in ends for edge in cut.edges)


def test_edges_between_few_nodes_are_bounded_too(store):
    types = sorted(UP)
    with store.transaction():
        a, b = store.artifacts.create("a", "a"), store.artifacts.create("b", "b")
        for name in types:
            store.relationships.relate(a.revision, name, b.revision)
    found = store.relationships.lineage(a.revision, limit=5)
    assert (len(found.nodes), len(found.edges), found.truncated) == (2, 5, True)


def test_every_kind_of_record_can_be_the_start(store, abc):
    with store.transaction():
        about = store.relationships.relate(abc[0], "supports", abc[2])
        store.relationships.relate(about, "evidenced_by", Endpoint("external", "urn:e"))
        place = store.collections.get("a")
        store.relationships.relate(place, "derived_from", Endpoint("external", "urn:p"))
    assert depths(store.relationships.lineage(about)) == {"supports": 0, "urn:e": 1}
    assert depths(store.relationships.lineage(place)) == {"a": 0, "urn:p": 1}
    assert depths(store.relationships.lineage(Endpoint("external", "urn:p"), direction="down")) == {"urn:p": 0, "a": 1}


@pytest.mark.parametrize(
    "asked", [{"direction": "left"}, {"depth": -1}, {"depth": 1.5}, {"depth": True}, {"limit": 0}, {"limit": None}]
)
def test_walks_that_make_no_sense_are_refused(store, abc, asked):
    with pytest.raises((InvalidValueError, WrongQueryError)):
        store.relationships.lineage(abc[0], **asked)


def test_unknown_types_and_records_are_refused(store, abc):
    with pytest.raises(UnknownTypeError, match="derived_from"):
        store.relationships.lineage(abc[0], types=["derived"])
    with pytest.raises(NotFoundError):
        store.relationships.lineage("nowhere")


def test_lineage_is_the_same_after_reopening(tmp_path):
    with holdfast.create(tmp_path / "s") as store:
        store.artifacts.create("raw", "raw")
        with store.runs.start("make", inputs=["raw"]):
            store.artifacts.put("out", "x")
        before = store.relationships.lineage("out")
    with holdfast.open(tmp_path / "s", read_only=True) as store:
        assert store.relationships.lineage("out") == before
    assert len(before.nodes) == 3

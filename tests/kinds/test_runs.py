"""Runs: their life, what they read and made, and what is known of them later."""

from __future__ import annotations

import itertools
import platform
import subprocess
import threading

import pytest

import holdfast
from holdfast.errors import (
    CancelledError,
    ConflictError,
    ContractViolationError,
    IllegalTransitionError,
    InUseError,
    InvalidQueryError,
    InvalidValueError,
    NotFoundError,
    TransactionReusedError,
)
from holdfast.index.apply import reduce
from holdfast.index.rows import KeyOf, Update
from holdfast.index.select import keyset
from holdfast.kinds import environment
from holdfast.values import lifecycle
from holdfast.values.query import field, parse
from holdfast.values.records import Direction, Endpoint, RunStatus

NOBODY = "01890000-0000-7000-8000-000000000000"
STATUSES = ("pending", "processing", "completed", "failed", "cancelled")
ALLOWED = {
    ("pending", "processing"), ("pending", "cancelled"), ("processing", "completed"), ("processing", "failed"),
    ("processing", "cancelled"),
}  # fmt: skip
WAY_TO = {"pending": [], "processing": ["processing"], "completed": ["processing", "completed"],
          "failed": ["processing", "failed"], "cancelled": ["cancelled"]}  # fmt: skip


@pytest.fixture
def store(tmp_path):
    with holdfast.create(tmp_path / "store") as opened:
        yield opened


def in_status(store, status):
    run = store.runs.create("r")
    for one in WAY_TO[status]:
        run = store.runs.set_status(run, one)
    return run


def changes_of(store):
    return store.changes.head().next_seq


# -- the life of a run -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("current", "wanted"), list(itertools.product(STATUSES, STATUSES)))
def test_the_table_of_transitions_is_kept_for_runs_and_steps(store, current, wanted):
    run = store.runs.create("holder")
    step = store.runs.add_step(run, "s")
    for one in WAY_TO[current]:
        step = store.runs.set_step_status(step, one)
    run = in_status(store, current)
    before = changes_of(store)
    verbs = ((run, store.runs.set_status, "run"), (step, store.runs.set_step_status, "step"))
    for record, verb, kind in verbs:
        if current == wanted:
            assert verb(record, wanted) == record
        elif (current, wanted) in ALLOWED:
            assert verb(record, wanted).status == wanted
        else:
            with pytest.raises(IllegalTransitionError) as caught:
                verb(record, wanted)
            following = [to for here, to in sorted(ALLOWED) if here == current]
            assert sorted(caught.value.fields["allowed"]) == sorted(following)
            assert caught.value.fields | {"allowed": ()} == {
                "kind": kind, "id": record.id, "from_status": current, "to_status": wanted, "allowed": (),
            }  # fmt: skip
            assert all(name in caught.value.remedy for name in following)
    assert changes_of(store) - before == (2 if (current, wanted) in ALLOWED else 0)


def test_the_table_says_whether_anything_happens():
    for current, wanted in [(RunStatus(c), RunStatus(w)) for c, w in ALLOWED]:
        assert lifecycle.moves("run", "x", current=current, wanted=wanted) is True
    for status in RunStatus:
        assert lifecycle.moves("run", "x", current=status, wanted=status) is False
    assert {"completed", "failed", "cancelled"} == lifecycle.ENDED


def test_an_unknown_status_is_refused(store):
    run = store.runs.create("r")
    with pytest.raises(InvalidValueError, match="done") as caught:
        store.runs.set_status(run, "done")
    assert "completed" in caught.value.remedy


def test_a_new_run_is_pending_and_has_no_times(store):
    run = store.runs.create("train", parameters={"rate": 0.1}, metadata={"who": "ada"}, tags=["b", "a"], owner="ada")
    assert (run.status, run.started_at, run.ended_at, run.reason) == ("pending", None, None, "")
    assert (run.parameters, run.metadata, run.tags, run.owner) == ({"rate": 0.1}, {"who": "ada"}, ("a", "b"), "ada")
    assert store.runs.get(run.id) == store.runs.get(f"id:{run.id}") == store.runs.get(run) == run


def test_start_and_end_are_times_of_their_transactions(store):
    run = store.runs.create("r")
    going = store.runs.set_status(run, "processing")
    assert (going.started_at, going.ended_at) == (going.updated_at, None)
    done = store.runs.set_status(run, "failed", reason="no luck")
    assert (done.started_at, done.ended_at, done.reason) == (going.started_at, done.updated_at, "no luck")
    assert done.ended_at >= done.started_at >= run.created_at
    assert store.runs.set_status(store.runs.create("never"), "cancelled").started_at is None


def test_times_stand_as_iso_text_in_the_audit_trail(store):
    run = store.runs.set_status(store.runs.create("r"), "processing")
    *_, change = store.changes.list(record=run.id)
    assert change.after == {"status": "processing", "started": run.started_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}


def test_a_change_that_takes_a_start_back_clears_the_time():
    pairs = {"status": ["processing", "pending"], "started": ["2026-01-01T00:00:00.000000Z", None]}
    operations = list(reduce(9, {"kind": "run", "action": "update", "id": NOBODY, "set": pairs}))
    assert Update("run", {"key": KeyOf(NOBODY)}, {"status": "pending", "started_us": None}) in operations


def test_diagnostics_add_up_also_when_the_status_stays_and_after_the_end(store):
    run = in_status(store, "processing")
    store.runs.set_status(run, "processing", diagnostics={"a": 1, "b": 1})
    store.runs.set_status(run, "completed", diagnostics={"b": 2})
    assert store.runs.diagnose(run, {"c": 3}).diagnostics == {"a": 1, "b": 2, "c": 3}
    before = changes_of(store)
    store.runs.diagnose(run, {"c": 3})
    assert changes_of(store) == before


def test_steps_that_have_not_ended_end_with_their_run(store):
    run = in_status(store, "processing")
    steps = [store.runs.add_step(run, name) for name in ("waiting", "working", "done")]
    for step in steps[1:]:
        store.runs.set_step_status(step, "processing")
    store.runs.set_step_status(steps[2], "completed")
    ended = store.runs.set_status(run, "failed")
    found = list(store.runs.steps(run))
    assert [step.status for step in found] == ["cancelled", "cancelled", "completed"]
    assert [step.ended_at == ended.ended_at for step in found] == [True, True, False]


def test_a_run_that_has_ended_takes_no_more_steps(store):
    with pytest.raises(ConflictError, match="no more steps"):
        store.runs.add_step(in_status(store, "completed"), "late")


@pytest.mark.parametrize("name", ["", None, 7, "a\0b", "\ud800"])
def test_names_that_say_nothing_are_refused(store, name):
    before = changes_of(store)
    with pytest.raises((InvalidValueError, ContractViolationError)):
        store.runs.create(name)
    assert changes_of(store) == before
    with pytest.raises((InvalidValueError, ContractViolationError)):
        store.runs.add_step(store.runs.create("r"), name)


@pytest.mark.parametrize("which", ["parameters", "metadata", "environment"])
@pytest.mark.parametrize("value", [[1], "text", {"x": float("inf")}, {"x": {1, 2}}])
def test_objects_that_cannot_be_kept_are_refused_before_anything_is_written(store, which, value):
    before = changes_of(store)
    with pytest.raises(InvalidValueError):
        store.runs.create("r", **{which: value})
    assert changes_of(store) == before


def test_update_changes_what_people_say_of_a_run(store):
    run = store.runs.create("r", metadata={"a": 1}, tags=["x"])
    updated = store.runs.update(run, tags=["y"], owner="ada")
    assert (updated.metadata, updated.tags, updated.owner) == ({"a": 1}, ("y",), "ada")
    assert store.runs.update(run, metadata={}).metadata == {}
    before = changes_of(store)
    store.runs.update(run, metadata={}, tags=["y"], owner="ada")
    assert changes_of(store) == before


def test_a_transaction_id_that_is_repeated_makes_one_run(store):
    tx = "01890000-0000-7000-8000-00000000aaaa"
    run = store.runs.create("r", tx=tx)
    assert store.runs.create("r", tx=tx) == run
    assert list(store.runs.find()) == [run]
    other = "01890000-0000-7000-8000-00000000bbbb"
    store.artifacts.put("a", "a", tx=other)
    with pytest.raises(TransactionReusedError):
        store.runs.create("r", tx=other)


def test_an_error_in_a_transaction_leaves_no_run(store):
    def work():
        with store.transaction():
            store.runs.add_step(store.runs.create("r"), "s")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work()
    assert list(store.runs.find()) == []


# -- working in a run --------------------------------------------------------------------------------------------------


def test_the_block_of_start_is_the_run(store):
    with store.runs.start("train", parameters={"rate": 0.1}) as run:
        inside = store.runs.get(run.id)
        run.diagnose(loss=0.5, steps=3)
    done = store.runs.get(run)
    assert (inside.status, inside.ended_at, inside.parameters) == ("processing", None, {"rate": 0.1})
    assert (done.status, done.reason, done.diagnostics) == ("completed", "", {"loss": 0.5, "steps": 3})
    assert done == run.record
    assert done.ended_at is not None


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (ValueError("bad rate"), "failed", "ValueError: bad rate"),
        (KeyError("k"), "failed", "KeyError: 'k'"),
        (RuntimeError(), "failed", "RuntimeError"),
        (ValueError("\ud800\0" + "x" * 5000), "failed", "ValueError: \\ud800\\0" + "x" * (2000 - 20)),
        (KeyboardInterrupt(), "cancelled", "KeyboardInterrupt"),
        (CancelledError("stopped"), "cancelled", "CancelledError: stopped"),
        (GeneratorExit(), "cancelled", "GeneratorExit"),
        (SystemExit(3), "failed", "SystemExit: 3"),
        (SystemExit(0), "completed", ""),
        (SystemExit(), "completed", ""),
    ],
)
def test_an_exception_ends_the_run_and_goes_on(store, error, status, reason):
    with pytest.raises(type(error)) as caught, store.runs.start("r") as run:
        raise error
    assert caught.value is error
    done = store.runs.get(run.id)
    assert (done.status, done.reason) == (status, reason)
    assert done.ended_at is not None


def test_a_pending_run_is_started_by_its_record_or_its_id(store):
    for ref in (lambda run: run, lambda run: f"id:{run.id}"):
        pending = store.runs.create("r", parameters={"a": 1})
        with store.runs.start(ref(pending)) as run:
            assert run.id == pending.id
        assert store.runs.get(pending).status == "completed"


@pytest.mark.parametrize("status", ["processing", "completed", "failed", "cancelled"])
def test_a_run_is_started_once(store, status):
    run = in_status(store, status)
    with pytest.raises(IllegalTransitionError), store.runs.start(run):
        pytest.fail("the block must not run")
    assert store.runs.get(run) == run


def test_of_two_that_start_the_same_pending_run_one_is_refused(store):
    pending = store.runs.create("r")
    with store.runs.start(pending):
        second = store.runs.start(pending)  # what it knows of the run is old by now
        with pytest.raises(IllegalTransitionError, match="started already"):
            second.__enter__()
    assert store.runs.get(pending).status == "completed"


def test_a_run_comes_into_being_when_its_block_is_entered_in_one_transaction(store):
    started = store.runs.start("r", inputs=[Endpoint("external", "u")])
    assert list(store.runs.find()) == []
    with started as run:
        changes = list(store.changes.list(record=run.id))
    assert [change.action for change in changes] == ["create", "link", "update"]
    assert len({change.tx for change in changes}) == 1


def test_a_run_that_is_there_is_not_described_again(store):
    with pytest.raises(InvalidValueError, match="description"):
        store.runs.start(store.runs.create("r"), parameters={"a": 1})


def test_a_run_that_was_ended_inside_its_block_stays_as_it_was_ended(store):
    with store.runs.start("r") as run:
        store.runs.set_status(run, "failed", reason="by hand")
    assert (run.record.status, run.record.reason) == ("failed", "by hand")


def test_an_error_after_the_run_was_ended_inside_its_block_goes_on_and_changes_nothing(store):
    run = store.runs.create("r")

    def work():
        with store.runs.start(run):
            store.runs.set_status(run, "cancelled")
            raise ValueError("later")

    with pytest.raises(ValueError, match="later"):
        work()
    assert store.runs.get(run).status == "cancelled"


def test_the_error_of_the_block_is_not_hidden_by_a_store_that_cannot_be_written_any_more(tmp_path):
    store = holdfast.create(tmp_path / "s")
    run = store.runs.create("r")

    def work():
        with store.runs.start(run):
            store.close()
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        work()
    with holdfast.open(tmp_path / "s") as store:
        assert store.runs.get(run.id).status == "processing"


def test_steps_are_numbered_and_end_as_their_blocks_do(store):
    pending = store.runs.create("r")

    def work():
        with store.runs.start(pending) as run:
            with run.step("load") as load:
                load.diagnose(rows=3)
            with run.step("fit"):
                raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        work()
    run = store.runs.get(pending)
    first, second = store.runs.steps(run)
    assert (first.number, first.name, first.status, first.diagnostics) == (1, "load", "completed", {"rows": 3})
    assert (second.number, second.name, second.status) == (2, "fit", "failed")
    assert second.diagnostics == {"reason": "ValueError: broken"}
    assert first.started_at <= first.ended_at <= second.started_at <= second.ended_at
    assert run.status == "failed"


def test_a_step_interrupted_is_cancelled(store):
    with pytest.raises(KeyboardInterrupt), store.runs.start("r") as run, run.step("long"):
        raise KeyboardInterrupt
    assert [step.status for step in store.runs.steps(run)] == ["cancelled"]
    assert run.record.status == "cancelled"


# -- inputs, outputs, manifest -----------------------------------------------------------------------------------------


def test_what_is_put_inside_a_run_is_linked_to_it(store):
    with store.runs.start("r") as run:
        inside = store.artifacts.put("in", "1").revision
        tagged = store.artifacts.set_metadata("in", {"n": 1}).revision
    outside = store.artifacts.put("in", "2").revision
    assert [one.run_id for one in (inside, tagged, outside)] == [run.id, run.id, None]
    assert [link.endpoint for link in store.runs.links(run, "output")] == [inside.endpoint, tagged.endpoint]


def test_the_innermost_run_of_the_thread_gets_the_output(store):
    with store.runs.start("outer") as outer:
        with store.runs.start("inner") as inner:
            one = store.artifacts.put("a", "a").revision
        two = store.artifacts.put("b", "b").revision
        elsewhere = []
        other = threading.Thread(target=lambda: elsewhere.append(store.artifacts.put("c", "c").revision))
        other.start()
        other.join()
    assert (one.run_id, two.run_id, elsewhere[0].run_id) == (inner.id, outer.id, None)


def test_runs_of_two_stores_do_not_mix(store, tmp_path):
    with holdfast.create(tmp_path / "other") as other, store.runs.start("r"):
        assert other.artifacts.put("a", "a").revision.run_id is None


def test_after_a_failure_puts_belong_to_no_run(store):
    with pytest.raises(ValueError, match="x"), store.runs.start("r"):
        raise ValueError("x")
    assert store.artifacts.put("a", "a").revision.run_id is None


def test_inputs_pin_the_revision_that_was_read(store):
    old = store.artifacts.create("data", "1")
    store.artifacts.put("data", "2")
    with store.runs.start("r", inputs={"train": old}) as run:
        run.input("data", role="test")
        run.input(Endpoint("artifact", old.id))
        run.input(Endpoint("external", "https://example.org"), "web")
        run.input(store.collections.get(""))
    found = [(link.role, str(link.endpoint)) for link in store.runs.manifest(run).inputs]
    root = store.collections.get("").endpoint
    assert found == [
        ("train", f"artifact:{old.id}@1"), ("test", f"artifact:{old.id}@2"), ("", f"artifact:{old.id}@2"),
        ("web", "external:https://example.org"), ("", str(root)),
    ]  # fmt: skip


def test_the_manifest_holds_everything_in_order_and_nothing_twice(store):
    data = store.artifacts.create("data", "1")
    with store.runs.start("r", inputs=[data, data], parameters={"p": 1}) as run:
        with run.step("only"):
            first = store.artifacts.put("first", "1")
        link = run.output(first, role="model")
        second = store.artifacts.put("second", "2").revision
        run.output(Endpoint("external", "s3://bucket/x"))
        run.output(second)
        run.output(second)
        third = store.artifacts.put("third", "3").revision
        run.diagnose(ok=True)
    manifest = store.runs.manifest(run.id)
    assert manifest.run == run.record
    assert manifest.run.diagnostics == {"ok": True}
    assert [step.name for step in manifest.steps] == ["only"]
    assert [one.endpoint for one in manifest.inputs] == [data.revision.endpoint]
    assert manifest.outputs[0] == link
    assert (link.role, link.direction, link.run_id) == ("model", Direction.OUTPUT, run.id)
    assert [str(one.endpoint).partition(":")[0] for one in manifest.outputs] == ["artifact", "external"] + [
        "artifact"
    ] * 2
    assert [one.endpoint for one in manifest.outputs[2:]] == [second.endpoint, third.endpoint]


def test_the_same_link_again_changes_nothing_but_another_role_is_another_link(store):
    run, data = store.runs.create("r"), store.artifacts.create("data", "1")
    store.runs.link(run, "input", data)
    before = changes_of(store)
    store.runs.link(run, "input", data)
    assert changes_of(store) == before
    store.runs.link(run, "input", data, role="again")
    store.runs.link(run, "output", data)
    manifest = store.runs.manifest(run)
    assert [link.role for link in manifest.inputs] == ["", "again"]
    assert len(manifest.outputs) == 1


def test_links_that_make_no_sense_are_refused(store):
    run = store.runs.create("r")
    before = changes_of(store)
    with pytest.raises(NotFoundError, match="the input is not there"):
        store.runs.link(run, "input", "nowhere")
    with pytest.raises(InvalidValueError, match="own output"):
        store.runs.link(run, "output", run)
    with pytest.raises(InvalidValueError, match="direction"):
        store.runs.link(run, "sideways", Endpoint("external", "x"))
    with pytest.raises(InvalidValueError, match="role"):
        store.runs.link(run, "input", Endpoint("external", "x"), role="a\0b")
    with pytest.raises(NotFoundError, match="no run"):
        store.runs.link(NOBODY, "input", Endpoint("external", "x"))
    with pytest.raises(NotFoundError):
        store.runs.create("with a missing input", inputs=["nowhere"])
    assert changes_of(store) == before
    assert list(store.runs.find()) == [run]


def test_a_manifest_still_names_what_was_deleted_since(store):
    with store.runs.start("r") as run:
        made = store.artifacts.put("out", "x").artifact
    store.artifacts.delete(made)
    assert [link.endpoint for link in store.runs.manifest(run).outputs] == [made.revision.endpoint]


def test_long_manifests_come_whole_and_in_order_whatever_the_page_size(store, monkeypatch):
    with store.transaction(), store.runs.start("r") as run:
        expected = []
        for n in range(7):
            expected.append(store.artifacts.put(f"a{n}", str(n)).revision.endpoint)
            expected.append(run.output(Endpoint("external", f"u:{n}")).endpoint)
            store.runs.add_step(run, f"s{n}")
    for size in (1, 2, 7, 8):
        monkeypatch.setattr(keyset, "PAGE", size)
        monkeypatch.setattr("holdfast.index.select.runs.PAGE", size)
        manifest = store.runs.manifest(run)
        assert [link.endpoint for link in manifest.outputs] == expected
        assert [step.number for step in manifest.steps] == [1, 2, 3, 4, 5, 6, 7]


def test_runs_outlive_the_handle_and_the_index(tmp_path):
    with holdfast.create(tmp_path / "s") as store:
        data = store.artifacts.create("data", "1")
        with store.runs.start("r", inputs={"in": data}, tags=["t"]) as run:
            with run.step("s"):
                store.artifacts.put("out", "x")
            store.runs.set_status(run, "failed", reason="x", diagnostics={"big": 10**40})
        gone = store.runs.delete(store.runs.create("gone"))
        before = store.runs.manifest(run)
    assert before.run.status == "failed"
    with holdfast.open(tmp_path / "s") as store:
        assert store.runs.manifest(run.id) == before
    for name in ("index.sqlite3", "index.sqlite3-wal", "index.sqlite3-shm"):
        (tmp_path / "s" / name).unlink(missing_ok=True)
    with holdfast.open(tmp_path / "s") as store:
        assert store.opened.rebuilt
        assert store.runs.manifest(run.id) == before
        assert store.runs.get(gone.id, deleted=True) == gone
        assert list(store.runs.find()) == [before.run]


# -- finding and deleting ----------------------------------------------------------------------------------------------


def test_find_combines_what_is_asked(store):
    one = store.runs.create("train-a", parameters={"rate": 0.1}, tags=["x"], owner="ada")
    two = store.runs.set_status(store.runs.create("train-b", parameters={"rate": 0.5}), "processing")
    three = store.runs.set_status(store.runs.create("eval", metadata={"m": {"k": [1, 2]}}), "cancelled")
    find = store.runs.find
    assert list(find()) == [one, two, three]
    assert list(find(order="-created", limit=2)) == [three, two]
    assert list(find(name="train-*")) == [one, two]
    assert list(find(status="pending", tag="x")) == [one]
    assert list(find(tag="y")) == []
    assert list(find(parse("parameters.rate > 0.2"))) == [two]
    assert list(find(field("metadata.m.k[1]") == 2, name="e*")) == [three]
    assert list(find(field("status").is_in(["pending", "cancelled"]))) == [one, three]
    assert list(find(field("started").exists())) == [two]
    assert list(find(field("ended") >= three.ended_at)) == [three]
    assert list(find(field("owner") == "ada")) == [one]
    assert list(find(field("environment.holdfast") == holdfast.__version__)) == [one, two, three]
    for wrong in ({"where": field("type") == "x"}, {"order": "name"}, {"where": parse("started > noon")}):
        with pytest.raises(InvalidQueryError):
            find(**wrong)
    with pytest.raises(InvalidValueError, match="status"):
        find(status="done")


def test_pages_of_runs_join_to_the_whole_answer(store):
    with store.transaction():
        made = [store.runs.create(f"r{n}") for n in range(5)]
    found, token = [], None
    while True:
        page = store.runs.page(order="-created", limit=2, token=token)
        found += page.items
        token = page.token
        if token is None:
            break
    assert [run.id for run in found] == [run.id for run in reversed(made)]


def test_a_run_says_what_it_holds_before_it_is_deleted_and_cascades_when_told_to(store):
    with store.runs.start("r", inputs=[Endpoint("external", "u")]) as run:
        with run.step("one"):
            out = store.artifacts.put("out", "x")
        run.output(out, role="model")
        store.artifacts.put("more", "x")
    with pytest.raises(InUseError) as caught:
        store.runs.delete(run)
    assert caught.value.fields["counts"] == {"steps": 1, "inputs": 1, "outputs": 2}
    before = store.runs.manifest(run)
    gone = store.runs.delete(run, contents="cascade", note="old")
    assert gone.deleted_at is not None
    assert list(store.runs.find()) == []
    assert list(store.runs.find(deleted=True)) == [gone]
    with pytest.raises(NotFoundError, match="deleted"):
        store.runs.get(run.id)
    with pytest.raises(NotFoundError):
        store.runs.set_step_status(before.steps[0], "cancelled")
    assert store.artifacts.get("out").revision.run_id == run.id
    store.runs.undelete(run.id)
    after = store.runs.manifest(run)
    assert (after.steps, after.inputs, after.outputs) == (before.steps, before.inputs, before.outputs)


def test_a_run_that_is_related_can_be_kept_from_deletion(store):
    run = store.runs.create("r")
    store.relationships.relate(run, "evidenced_by", Endpoint("external", "u"))
    with pytest.raises(InUseError) as caught:
        store.runs.delete(run, relationships="restrict")
    assert caught.value.fields["counts"] == {"relationships": 1}
    with pytest.raises(InvalidValueError):
        store.runs.delete(run, contents="all")
    assert store.runs.delete(run).deleted_at is not None
    assert store.runs.undelete(run).deleted_at is None
    assert store.runs.undelete(run) == store.runs.get(run)


@pytest.mark.parametrize("ref", [NOBODY, f"id:{NOBODY}", "r", ""])
def test_no_run_has_that_id(store, ref):
    store.runs.create("r")
    with pytest.raises(NotFoundError, match="no run"):
        store.runs.get(ref)


# -- the environment ---------------------------------------------------------------------------------------------------


def test_versions_are_captured_always_and_what_is_given_lies_over_them(store):
    run = store.runs.create("r", environment={"platform": "mine", "numpy": "2.1"})
    assert run.environment == {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "holdfast": holdfast.__version__,
        "platform": "mine",
        "numpy": "2.1",
    }
    assert store.runs.create("r").environment["platform"] == platform.platform()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "t")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "t@example.org")
    return folder


def git(*arguments):
    done = subprocess.run(["git", *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_git_is_captured_when_asked(store, repository):
    (repository / "f").write_text("1")
    git("init", "-q", "-b", "trunk")
    git("add", "f")
    git("commit", "-q", "-m", "one")
    with store.runs.start("r", capture=["git"]) as run:
        pass
    expected = {"available": True, "commit": git("rev-parse", "HEAD"), "branch": "trunk", "dirty": False}
    assert run.record.environment["git"] == expected
    (repository / "f").write_text("2")
    assert store.runs.create("r", capture=["git"]).environment["git"] == {**expected, "dirty": True}


def test_where_git_cannot_answer_a_typed_note_says_why(store, repository, monkeypatch):
    def noted():
        found = store.runs.create("r", capture=("git",)).environment["git"]
        assert found["available"] is False
        assert found["reason"]
        return found["code"]

    assert noted() == "no-repository"
    git("init", "-q")
    assert noted() == "no-commit"
    monkeypatch.setenv("PATH", str(repository))
    assert noted() == "no-git"


def test_git_that_hangs_or_fails_is_noted(monkeypatch):
    def hang(*_, **__):
        raise subprocess.TimeoutExpired("git", 10)

    monkeypatch.setattr(environment.subprocess, "run", hang)
    assert environment.capture(["git"])["git"]["code"] == "failed"


def test_hardware_is_captured_when_asked(store):
    found = store.runs.create("r", capture=["hardware"]).environment["hardware"]
    assert found["machine"] == platform.machine()
    assert found["memory"] is None or found["memory"] > 1 << 20


def test_an_unknown_capture_is_refused(store):
    before = changes_of(store)
    with pytest.raises(InvalidValueError, match="weather") as caught:
        store.runs.start("r", capture=["weather"])
    assert "git" in caught.value.remedy
    assert changes_of(store) == before

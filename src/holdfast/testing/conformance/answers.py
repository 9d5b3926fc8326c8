"""What any store must answer: order and pages, walks, owners, conditions, against the oracle."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import Store
from holdfast.testing.conformance import oracle
from holdfast.testing.conformance.marks import EVERYTHING, Capability, demand, shows


class Answers:
    """A part of `StoreConformance`. `capabilities`: what the backend claims; tests that need more are skipped."""

    capabilities: frozenset[Capability] = EVERYTHING

    def open_store(self, place: Path) -> Store:
        """The store at a place, which is made if nothing is there. `place` is a folder that the backend may use."""
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def _as_claimed(self, request: pytest.FixtureRequest) -> None:
        demand(request.function, self.capabilities)

    @pytest.fixture
    def place(self, tmp_path: Path) -> Path:
        """A place where nothing is."""
        return tmp_path

    @staticmethod
    def corpus(store: Store) -> list[oracle.Record]:
        """Artifacts with every odd value and name; what the oracle is to know of them."""
        records: list[oracle.Record] = []
        for age, value in enumerate(oracle.ODD_VALUES):
            metadata = {"v": value, "n": {"deep": value}}
            records.append({"name": f"v{age}", "metadata": metadata, "size": age % 5, "age": age})
        for age, name in enumerate(oracle.ODD_NAMES, len(records)):
            records.append({"name": name, "metadata": {}, "size": age % 3, "age": age})
        with store.transaction():
            for one in records:
                store.put(one["name"], b"x" * one["size"], metadata=one["metadata"])
        return records

    # -- order -------------------------------------------------------------------------------------------------------

    @shows("S-7")
    def test_orders_are_total_and_by_code_point(self, place: Path) -> None:
        """Every order both ways, against lists that were sorted by hand."""
        with self.open_store(place) as store:
            records = self.corpus(store)
            for order in ("name", "-name", "size", "-size", "age", "-age"):
                asked = order.replace("age", "created")
                wanted = [one["name"] for one in oracle.in_order(records, order)]
                assert [one.name for one in store.find(order=asked)] == wanted, order

    @shows("S-7")
    def test_pages_joined_are_the_whole(self, place: Path) -> None:
        """Whatever their size; each record once, though others are added before the place of the token."""
        with self.open_store(place) as store:
            records = self.corpus(store)
            for order, limit in (("name", 1), ("-name", 7), ("size", 4), ("-size", 100), ("created", 5)):
                names, token = [], None
                while True:
                    page = store.artifacts.page(order=order, limit=limit, token=token)
                    names += [one.name for one in page.items]
                    token = page.token
                    if token is None:
                        break
                wanted = [one["name"] for one in oracle.in_order(records, order.replace("created", "age"))]
                assert names == wanted, order
            first = store.artifacts.page(order="name", limit=20)
            store.put("\x20first of all", "1")
            rest = store.artifacts.page(order="name", limit=100, token=first.token)
            joined = [one.name for one in (*first.items, *rest.items)]
            assert joined == [one["name"] for one in oracle.in_order(records, "name")]

    # -- the graph ---------------------------------------------------------------------------------------------------

    @shows("S-8")
    def test_a_walk_reaches_what_can_be_reached(self, place: Path) -> None:
        """With distances, in both directions; through a diamond and round a circle."""
        links = [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("d", "e"), ("e", "b"), ("x", "y")]
        with self.open_store(place) as store:
            made = {name: store.put(name, name).artifact for name in "abcdexy"}
            for source, target in links:
                store.relationships.relate(f"id:{made[source].id}", "derived_from", f"id:{made[target].id}")
            names = {one.id: name for name, one in made.items()}
            for start, at in made.items():
                for direction, edges in (("up", links), ("down", [(to, of) for of, to in links])):
                    found = store.relationships.lineage(f"id:{at.id}", direction=direction)  # type: ignore[arg-type]
                    # The start stands for the artifact; where a circle comes back to it, it is met as a revision.
                    depths: dict[str, int] = {}
                    for node in found.nodes:
                        depths.setdefault(names[node.endpoint.id], node.depth)
                    assert depths == oracle.reached(edges, start), (start, direction)
                    assert len(found.nodes) == len({node.endpoint for node in found.nodes})
            near = store.relationships.lineage(f"id:{made['a'].id}", depth=1)
            assert {names[node.endpoint.id] for node in near.nodes} == {"a", "b", "c"}

    # -- owners and tenants ------------------------------------------------------------------------------------------

    @shows("S-9")
    def test_owners_and_tenants_have_their_own(self, place: Path) -> None:
        """All of theirs, nobody else's; nobody's are found by the empty name."""
        owners = ["", "Ada", "ada", "Eve", "É"]
        with self.open_store(place) as store:
            for number in range(25):
                store.put(f"a{number}", b"%d" % number, owner=owners[number % 5])
            store.artifacts.update("a1", owner="Eve")
            for owner in owners:
                wanted = {f"a{n}" for n in range(25) if (owners[n % 5] if n != 1 else "Eve") == owner}
                assert {one.name for one in store.find(owner=owner)} == wanted
            assert list(store.find(owner="nobody")) == []
            assert (len(list(store.find(tenant=""))), list(store.find(tenant="another"))) == (25, [])

    # -- conditions --------------------------------------------------------------------------------------------------

    @shows("S-13")
    def test_every_operator_means_what_is_written_of_it(self, place: Path) -> None:
        """Each with each odd value, against the oracle, in order of age."""
        with self.open_store(place) as store:
            records = self.corpus(store)
            for question in self.questions():
                wanted = [one["name"] for one in records if oracle.meets(one, question)]
                found = [one.name for one in store.find(condition(question))]
                assert found == wanted, question

    @shows("S-13")
    def test_conditions_combine(self, place: Path) -> None:
        """Both, one of them, not: of a part of the questions, two by two."""
        with self.open_store(place) as store:
            records = self.corpus(store)
            some = self.questions()[::23]
            for one, other in itertools.pairwise(some):
                for combined, holds in (
                    (condition(one) & condition(other), lambda a, b: a and b),
                    (condition(one) | condition(other), lambda a, b: a or b),
                    (~condition(one) & ~condition(other), lambda a, b: not a and not b),
                ):
                    met = [r["name"] for r in records if holds(oracle.meets(r, one), oracle.meets(r, other))]
                    assert [a.name for a in store.find(combined)] == met, (one, other)

    @staticmethod
    def questions() -> list[oracle.Question]:
        """Every operator with every odd value."""
        asked: list[oracle.Question] = []
        for operator, every in (("=", 1), ("!=", 4), ("<", 1), ("<=", 3), (">", 3), (">=", 2)):
            asked += [("metadata.v", operator, value) for value in oracle.ODD_VALUES[::every]]
        asked += [("metadata.n.deep", operator, value) for value in oracle.ODD_VALUES[::5] for operator in ("=", ">")]
        asked += [(f, "exists", True) for f in ("metadata.v", "metadata.n.deep", "metadata.w", "metadata.v.a")]
        asked += [("metadata.v", "in", oracle.ODD_VALUES[at : at + 4]) for at in range(0, 36, 3)]
        asked += [("metadata.v", "glob", pattern) for pattern in ("*", "?", "a*", "*b", "A?", "*\0*", "")]
        asked += [("name", "glob", pattern) for pattern in ("*", "?", "v1*", "*s", "É", "e?")]
        return asked + [("name", operator, "Z") for operator in ("=", "!=", "<", ">=")]


def condition(question: oracle.Question) -> Any:
    """A question of the oracle as the store wants it."""
    field, operator, value = question
    asked = holdfast.field(field)
    made: dict[str, Callable[[], Any]] = {
        "=": lambda: asked == value, "!=": lambda: asked != value, "<": lambda: asked < value,
        "<=": lambda: asked <= value, ">": lambda: asked > value, ">=": lambda: asked >= value,
        "in": lambda: asked.is_in(value), "glob": lambda: asked.glob(value), "exists": asked.exists,
    }  # fmt: skip
    return made[operator]()

"""Frozen dataclasses made quickly are what `dataclasses` makes: in every way that somebody else can see."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from typing import Any, Generic, TypeVar

import pytest

from holdfast.values import frozen

T = TypeVar("T")


class Shape:
    __slots__ = ()

    def area(self) -> int:
        raise NotImplementedError


def _box(decorator: Any) -> Any:
    @decorator(frozen=True, slots=True)
    class Box(Shape):
        """A box."""

        width: int
        height: int = 2
        marks: list[str] = dataclasses.field(default_factory=list)

        kind = "box"

        def __post_init__(self) -> None:
            if self.width < 0:
                raise ValueError("no such box")

        def area(self) -> int:
            return self.width * self.height

    return Box


@frozen.dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 0


@frozen.dataclass(frozen=True, slots=True)
class Alone:
    value: float


@frozen.dataclass(frozen=True, slots=True)
class Nothing:
    """No fields."""


@frozen.dataclass(frozen=True, slots=True)
class Many(Generic[T]):
    items: tuple[T, ...]


@pytest.fixture(params=[frozen.dataclass, dataclasses.dataclass], ids=["ours", "theirs"])
def box(request: pytest.FixtureRequest) -> Any:
    return _box(request.param)


def test_fields_defaults_and_factories_are_taken(box: Any) -> None:
    one, other = box(3), box(width=3, height=2, marks=[])
    assert one == other
    assert one.marks is not other.marks
    assert (one.width, one.height, one.marks, one.kind, one.area()) == (3, 2, [], "box", 6)
    assert repr(box(1, 4)).endswith("Box(width=1, height=4, marks=[])")


def test_what_is_checked_after_making_is_checked_each_time(box: Any) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="no such box"):
            box(-1)


def test_wrong_arguments_are_a_type_error(box: Any) -> None:
    for given in ({}, {"width": 1, "depth": 2}):
        with pytest.raises(TypeError):
            box(**given)


def test_nothing_can_be_changed_added_or_removed(box: Any) -> None:
    one = box(1)
    for name in ("width", "depth", "__class__"):
        with pytest.raises((dataclasses.FrozenInstanceError, TypeError)):
            setattr(one, name, 2)
        with pytest.raises((dataclasses.FrozenInstanceError, TypeError)):
            delattr(one, name)
    assert not hasattr(one, "__dict__")


def test_to_others_it_is_a_dataclass(box: Any) -> None:
    one = box(1, 4, ["a"])
    assert [field.name for field in dataclasses.fields(box)] == ["width", "height", "marks"]
    assert dataclasses.asdict(one) == {"width": 1, "height": 4, "marks": ["a"]}
    assert dataclasses.replace(one, height=5) == box(1, 5, ["a"])
    assert str(inspect.signature(box)).startswith("(width: 'int', height: 'int' = 2, marks: 'list[str]' = ")
    assert box.__dataclass_params__.frozen
    assert box.__match_args__ == ("width", "height", "marks")
    assert box.__doc__ == "A box."


@pytest.mark.parametrize("one", [Point(1), Alone(2.0), Nothing(), Many((1, 2))], ids=lambda one: type(one).__name__)
def test_it_can_be_copied_compared_hashed_and_sent_to_another_process(one: Any) -> None:
    for again in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one)), dataclasses.replace(one)):
        assert again == one
        assert hash(again) == hash(one)
        assert type(again) is type(one)
    assert one != object()


def test_objects_of_two_classes_are_never_equal() -> None:
    assert Point(1) != Alone(1)
    assert len({Point(1), Point(1, 0), Point(1, 1)}) == 2


def test_a_class_that_extends_one_is_made_of_it_too() -> None:
    class Named(Point):
        pass

    named = Named(1, 2)
    assert (type(named), named.x, named.y) == (Named, 1, 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        named.x = 3  # type: ignore[misc]


def test_what_else_a_dataclass_can_be_is_left_to_dataclasses() -> None:
    @frozen.dataclass(frozen=True, slots=True)
    class Hidden:
        shown: int
        secret: str = dataclasses.field(default="", repr=False)

    assert "secret" not in repr(Hidden(1))


# -- those that may be changed -----------------------------------------------------------------------------------------


def _tray(decorator: Any) -> Any:
    @decorator(slots=True)
    class Tray(Shape):
        """A tray."""

        width: int
        marks: list[str] = dataclasses.field(default_factory=list)
        turns: int = 0

        def __post_init__(self) -> None:
            self.turns += 1

    return Tray


@pytest.fixture(params=[frozen.dataclass, dataclasses.dataclass], ids=["ours", "theirs"])
def tray(request: pytest.FixtureRequest) -> Any:
    return _tray(request.param)


def test_one_that_is_not_frozen_can_be_changed_in_its_fields_alone(tray: Any) -> None:
    one, other = tray(3), tray(width=3, marks=[])
    assert (one, one.turns, one.marks is other.marks) == (other, 1, False)
    one.width = 4
    del one.marks
    assert (one.width, hasattr(one, "marks"), hasattr(one, "__dict__")) == (4, False, False)
    with pytest.raises(AttributeError):
        one.depth = 1
    with pytest.raises(TypeError):
        tray()


def test_one_that_is_not_frozen_is_no_key_and_else_a_dataclass(tray: Any) -> None:
    one = tray(1, ["a"])
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)
    assert repr(one).endswith("Tray(width=1, marks=['a'], turns=1)")
    assert not tray.__dataclass_params__.frozen
    assert [field.name for field in dataclasses.fields(tray)] == ["width", "marks", "turns"]
    assert (copy.copy(one), copy.deepcopy(one)) == (one, one)
    assert copy.copy(one) is not one


def test_an_object_of_a_class_that_extends_one_can_be_changed_too() -> None:
    @frozen.dataclass(slots=True)
    class Cart:
        load: int = 0

    class Named(Cart):
        pass

    cart = Named(2)
    cart.load += 1
    assert (type(cart), cart.load, Named().load) == (Named, 3, 0)

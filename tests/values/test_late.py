"""A record whose fields are worked out late is, to everybody who has it, the record."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import pytest

from holdfast.values import late
from holdfast.values.frozen import dataclass
from holdfast.values.late import Late, waiting


@dataclass(frozen=True, slots=True)
class Box(Late):
    width: int
    height: int = 2

    @property
    def area(self) -> int:
        return self.width * self.height


_set_width, _set_height = late.setters(Box)


def _measure(box: Box, name: str, known: tuple[Any, ...]) -> None:
    _, asked, width, height = known
    asked.append(name)
    _set_width(box, width)
    _set_height(box, height)


def _box(width: int, height: int) -> tuple[Box, list[str]]:
    asked: list[str] = []
    return waiting(Box, (_measure, asked, width, height)), asked


def test_nothing_is_worked_out_before_it_is_asked_for_and_nothing_twice() -> None:
    box, asked = _box(3, 4)
    assert isinstance(box, Box)
    assert asked == []
    assert (box.area, box.width, box.height) == (12, 3, 4)
    assert asked == ["width"]


def test_it_is_equal_to_one_made_at_once_and_shows_itself_alike() -> None:
    box, _ = _box(3, 4)
    assert box == Box(3, 4)
    assert Box(3, 4) == _box(3, 4)[0]
    assert hash(_box(3, 4)[0]) == hash(Box(3, 4))
    assert repr(_box(3, 4)[0]) == repr(Box(3, 4))
    assert dataclasses.asdict(_box(3, 4)[0]) == {"width": 3, "height": 4}
    assert dataclasses.replace(_box(3, 4)[0], height=5) == Box(3, 5)


@pytest.mark.parametrize("through", [copy.copy, copy.deepcopy, lambda box: pickle.loads(pickle.dumps(box))])
def test_it_is_copied_whole(through: Any) -> None:
    assert through(_box(3, 4)[0]) == Box(3, 4)


def test_it_is_frozen_before_and_after_it_was_looked_at() -> None:
    box, _ = _box(3, 4)
    for _ in range(2):
        with pytest.raises(dataclasses.FrozenInstanceError):
            box.width = 7  # type: ignore[misc]
        assert box.width == 3


def test_what_is_no_field_is_missed_as_ever() -> None:
    for box in (_box(3, 4)[0], Box(3, 4)):
        assert not hasattr(box, "depth")
        with pytest.raises(AttributeError, match="'Box' object has no attribute 'depth'"):
            _ = box.depth  # type: ignore[attr-defined]


def test_a_record_that_was_never_filled_has_no_field() -> None:
    with pytest.raises(AttributeError):
        _ = object.__new__(Box).width

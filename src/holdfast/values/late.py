"""Records whose fields are worked out when somebody asks for them, from what was proven when they were read.

Nothing is read later: whoever makes such a record has proven its row, and looked up all that the row only names. What
is left is to turn cells into text, times and parsed JSON. This takes longer than to fetch them, and most callers look
at three fields of fifteen. To everybody else it is the record: frozen, with slots, equal by value, copied and pickled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any


class Late:
    """What a record class extends whose objects may be filled later. See `waiting`."""

    __slots__ = ("_late",)

    if not TYPE_CHECKING:  # to a type checker the fields are there

        def __getattr__(self, name: str) -> Any:
            """A field that is not set yet: the maker fills it, and perhaps others with it.

            Two threads may do so at once: they set the same values.
            """
            if name not in self.__dataclass_fields__:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            late = _late_of(self)
            late[0](self, name, late)
            return object.__getattribute__(self, name)


_slot: Any = vars(Late)["_late"]
_late_of, _set_late = _slot.__get__, _slot.__set__
_new = object.__new__


def waiting(cls: Any, late: tuple[Any, ...]) -> Any:
    """A record whose first item of `late`, called with the record, the name of a field and `late`, fills that field."""
    made = _new(cls)
    _set_late(made, late)
    return made


def known(record: Late) -> tuple[Any, ...] | None:
    """What a record was made of that `waiting` made; None of any other."""
    try:
        return _late_of(record)  # type: ignore[no-any-return]
    except AttributeError:
        return None


def setters(cls: type) -> list[Any]:
    """What sets each field of a record, in order. A slot can be set, whatever the class says of setting attributes."""
    return [vars(cls)[name].__set__ for name in vars(cls)["__slots__"]]

"""Which fields a noun has for conditions, and how a record gives their values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from holdfast.errors import InvalidQueryError, InvalidValueError
from holdfast.values import moment, query
from holdfast.values.query import MISSING, All, Any_, Compare, Condition, Not

R = TypeVar("R")


@dataclass(frozen=True)
class Fields(Generic[R]):
    """The fields of one noun. `plain`: a value each; `objects`: JSON objects, reached into by `NAME.path`."""

    noun: str
    plain: Mapping[str, Callable[[R], Any]]
    objects: Mapping[str, Callable[[R], dict[str, Any]]]
    times: frozenset[str] = frozenset({"created", "updated"})

    def checked(self, condition: Condition) -> Condition:
        """The condition with times as instants; InvalidQueryError for fields that the noun does not have."""
        if isinstance(condition, (All, Any_)):
            return type(condition)(tuple(self.checked(part) for part in condition.parts))
        if isinstance(condition, Not):
            return Not(self.checked(condition.part))
        if not isinstance(condition, Compare):
            raise InvalidQueryError(f"{condition!r} is no condition", query=str(condition), reason="type")
        root, dot, path = condition.field.partition(".")
        if dot and root in self.objects:
            query.path_of(path)
        elif condition.field not in self.plain:
            known = [*sorted(self.plain), *(f"{name}.…" for name in self.objects)]
            raise InvalidQueryError(
                f"{self.noun} have no field {condition.field!r}", query=condition.field, reason="field",
                remedy=f"Fields: {', '.join(known)}.",
            )  # fmt: skip
        return self._dated(condition)

    def matches(self, condition: Condition, record: R) -> bool:
        """Whether a record meets a checked condition."""

        def read(name: str) -> Any:
            if name in self.plain:
                found = self.plain[name](record)
                return MISSING if found is None else found
            root, _, path = name.partition(".")
            return query.dig(self.objects[root](record), query.path_of(path))

        return condition.matches(read)

    def _dated(self, one: Compare) -> Compare:
        if one.field not in self.times or not isinstance(one.value, str):
            return one
        try:
            return Compare(one.field, one.op, moment.to_datetime(moment.from_text(one.value)))
        except InvalidValueError as error:
            raise InvalidQueryError(error.message, query=one.value, reason="time") from error

"""Answers of any length, in pages: what meets a condition, how many, and from where on."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic, Protocol, TypeVar

from holdfast.errors import InvalidQueryError, InvalidValueError
from holdfast.index.select import keyset
from holdfast.values import canon
from holdfast.values.fields import Fields
from holdfast.values.query import Condition
from holdfast.values.records import Page

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
_LAST = (1 << 63) - 1


class Read(Protocol[R_co]):
    """Gives the first rows beyond a key, at most `limit`, with their keys."""

    def __call__(self, after: int, *, descending: bool, limit: int) -> Sequence[tuple[int, R_co]]:
        """The rows in order of their keys."""
        ...


@dataclass(frozen=True)
class Answer(Generic[R]):
    """A question to one noun, checked, not yet read. What is not to be kept is read, and left out."""

    fields: Fields[R]
    read: Read[R]
    where: Condition | None
    order: str
    keep: Callable[[R], bool]

    def all(self, limit: int | None) -> Iterator[R]:
        """The records in order, in short reads."""
        size = _checked_limit(limit)
        return (record for _, record in islice(self._stream(self._start(), size), size))

    def page(self, limit: int, token: str | None) -> Page[R]:
        """Up to `limit` records from where `token` says."""
        size = _positive(limit)
        stream = self._stream(self._start() if token is None else self._decode(token), size + 1)
        found = list(islice(stream, size + 1))
        more = len(found) > size
        return Page(tuple(record for _, record in found[:size]), self._encode(found[size - 1][0]) if more else None)

    @property
    def _descending(self) -> bool:
        return self.order.startswith("-")

    def _start(self) -> int:
        return _LAST if self._descending else 0

    def _stream(self, after: int, expected: int | None) -> Iterator[tuple[int, R]]:
        """In short reads: the first as long as what is wanted, later ones longer, for then much was not kept."""
        size = keyset.PAGE if expected is None else min(expected, keyset.PAGE)
        while True:
            rows = self.read(after, descending=self._descending, limit=size)
            for key, record in rows:
                if self.keep(record) and (self.where is None or self.fields.matches(self.where, record)):
                    yield key, record
            if len(rows) < size:
                return
            after, size = rows[-1][0], min(size * 4, keyset.PAGE)

    def _encode(self, key: int) -> str:
        return base64.urlsafe_b64encode(canon.encode([self.fields.noun, self.order, key])).decode()

    def _decode(self, token: str) -> int:
        try:
            noun, order, key = canon.decode(base64.urlsafe_b64decode(token.encode()))
        except (ValueError, TypeError) as error:
            raise InvalidQueryError(f"{token!r} is no page token", query=token, reason="token") from error
        if (noun, order) != (self.fields.noun, self.order) or type(key) is not int or not 0 <= key < _LAST:
            raise InvalidQueryError("the page token was made for another query", query=token, reason="token")
        return key


def answer(
    fields: Fields[R], read: Read[R], where: Condition | None, *, order: str,
    keep: Callable[[R], bool] = lambda _: True,
) -> Answer[R]:  # fmt: skip
    """A question whose condition and order make sense; InvalidQueryError if they don't."""
    if order.removeprefix("-") != "created":
        raise InvalidQueryError(
            f"{fields.noun} are not ordered by {order!r}", query=order, reason="order",
            remedy="Orders: created, -created.",
        )  # fmt: skip
    return Answer(fields, read, None if where is None else fields.checked(where), order, keep)


def _checked_limit(limit: int | None) -> int | None:
    return None if limit is None else _positive(limit)


def _positive(limit: object) -> int:
    if type(limit) is not int or limit < 1:
        raise InvalidValueError(
            f"limit is {limit!r}", where="limit", reason="not positive", remedy="Give a whole number from 1 on."
        )
    return limit

"""What public calls ask of their arguments: numbered clauses, checked before anything is done, and always.

A parameter of one name means the same in every call, so a clause belongs to a name; types are what signatures say
(typed.py). `upheld` puts the checks in front of the methods of a class; a call that breaks a clause raises
WrongArgumentError or, of what belongs to a question, WrongQueryError. Both are ContractViolationError, and also what a
value that makes no sense raises elsewhere. The store's chain says so (once a minute for each clause at most; a store
that is open for reading only says nothing, nor does one that is busy).
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar, cast

from holdfast.engine.handle import Handle
from holdfast.errors import ContractViolationError, HoldfastError, WrongArgumentError, WrongQueryError
from holdfast.kinds import typed

EVERY_S = 60.0
"""So often, in seconds, is the breaking of one clause written down at most."""

C = TypeVar("C", bound=type)
F = TypeVar("F", bound=Callable[..., Any])


class Clause(NamedTuple):
    """A numbered sentence about a parameter. `holds`: whether a value keeps it."""

    number: str
    words: str
    holds: Callable[[Any], bool]


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _count(value: Any) -> bool:
    return value is None or (_whole(value) and value >= 0)


def _text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _name(value: Any) -> bool:
    return value is None or isinstance(value, (str, bytes))


def _record(value: Any) -> bool:
    return isinstance(value, (str, bytes)) or hasattr(value, "id") or hasattr(value, "artifact_id")


def _named(value: Any) -> bool:
    return isinstance(value, str) or hasattr(value, "id") or hasattr(value, "artifact_id")


def _several(value: Any) -> bool:
    return value is None or (isinstance(value, Iterable) and not isinstance(value, (str, bytes, bytearray)))


def _seconds(value: Any) -> bool:
    return value is None or ((_whole(value) or isinstance(value, float)) and 0 <= value < math.inf)


CLAUSES: dict[str, Clause] = {
    "limit": Clause("P-1", "`limit` is a whole number, 0 or more, or None for no limit", _count),
    "portion": Clause("P-2", "`portion` is a Portion", lambda v: v is None or hasattr(v, "way")),
    "context": Clause("P-3", "`context` is a whole number of lines, 0 or more", lambda v: _whole(v) and v >= 0),
    "since_seq": Clause("P-4", "`since_seq` is a whole number", _whole),
    "order": Clause("P-5", "`order` is the name of an order, as text", lambda v: isinstance(v, str)),
    "token": Clause("P-6", "`token` is the token of a page, or None for the first one", _text),
    "type": Clause("P-7", "`type` is text", _text),
    "tx": Clause("P-8", "`tx` is the id of a transaction, as text", _text),
    "record": Clause("P-9", "`record` is a record, or text that names one", lambda v: v is None or _named(v)),
    "path": Clause("P-10", "`path` is text or bytes, or a record that is there", _record),
    "name": Clause("P-11", "`name` is text or bytes", _name),
    "tags": Clause("P-12", "`tags` is a list", lambda v: v is None or isinstance(v, Iterable)),
    "types": Clause("P-13", "`types` is a list of texts, or one", lambda v: isinstance(v, str) or _several(v)),
    "revisions": Clause("P-14", "`revisions` is a list of numbers", _several),
    "grace_s": Clause("P-15", "`grace_s` is a number of seconds, 0 or more, or None for two weeks", _seconds),
    "note": Clause("P-16", "`note` is text", lambda v: isinstance(v, str)),
    "inputs": Clause("P-17", "`inputs` is a list of records", _several),
    "capture": Clause("P-18", "`capture` is a list of names of facts, and not one name", _several),
    "run": Clause("P-19", "`run` is a run, or text that names one", _named),
    "file": Clause("P-20", "`file` is a FileFacts", lambda v: v is None or hasattr(v, "mtime_ns")),
    "owner": Clause("P-21", "`owner` is text", _text),
    "head": Clause("P-22", "`head` is the head of a chain, as text", _text),
}
"""By the name of the parameter."""


TYPED = Clause("P-23", "a value is of a type that the call's signature names for it", lambda _: True)
"""For all parameters. What it may be is in the message."""


class Asked(NamedTuple):
    """What is asked of a parameter. `place`: among the positional ones, or -1. `rest`: it takes all others."""

    place: int
    name: str
    clause: Clause | None
    fits: typed.Check | None
    annotation: str
    rest: bool = False


def upheld(cls: C) -> C:
    """Check the clauses of all public methods that a class itself has, and types."""
    noun = cls.__name__.lower()
    for name, method in list(vars(cls).items()):
        if not name.startswith("_") and inspect.isfunction(method):
            setattr(cls, name, _checked(f"{noun}.{name}", method))
    return cls


def upheld_call(function: F) -> F:
    """Types alone, for a function that stands by itself: a `path` is a store's there, and no record's."""
    name = function.__name__.removesuffix("_store").removesuffix("_path")
    checked: Any = _checked(f"holdfast.{name}", function, first=0)
    return cast("F", checked)


def _asked(method: Callable[..., Any], clauses: Mapping[str, Clause]) -> list[Asked]:
    found = []
    for place, one in enumerate(inspect.signature(method).parameters.values()):
        rest = one.kind is one.VAR_POSITIONAL
        clause = None if rest else clauses.get(one.name)
        annotation = str(one.annotation)
        fits = None if one.annotation is one.empty else typed.check_of(annotation)
        if one.kind is not one.VAR_KEYWORD and (clause is not None or fits is not None):
            found.append(Asked(-1 if one.kind is one.KEYWORD_ONLY else place, one.name, clause, fits, annotation, rest))
    return found


def _checked(call: str, method: Callable[..., Any], first: int = 1) -> Callable[..., Any]:
    """`first`: the place of the first argument that is one; before it stands what a method belongs to.

    What is asked is looked up at the first call: most commands make a few of them.
    """
    known: list[list[Asked]] = []

    @functools.wraps(method)
    def wrapper(*args: Any, **named: Any) -> Any:
        given = len(args)
        if not known:
            known.append(_asked(method, CLAUSES if first else {}))
        for one in known[0]:
            if one.rest:
                values = args[one.place :]
            elif one.name in named:
                values = (named[one.name],)
            elif first <= one.place < given:
                values = (args[one.place],)
            else:
                continue
            for value in values:
                if one.clause is not None and not one.clause.holds(value):
                    raise violated(_handle_of(args, first), one.clause, call, (one.name, type(value).__name__))
                if one.fits is not None and not one.fits(value):
                    clause = TYPED._replace(words=f"{TYPED.words}, of `{one.name}` {one.annotation}")
                    raise violated(_handle_of(args, first), clause, call, (one.name, type(value).__name__))
        return method(*args, **named)

    return wrapper


def _handle_of(args: tuple[Any, ...], first: int) -> Handle | None:
    return getattr(args[0], "_handle", None) if first and args else None


QUESTIONS = frozenset({"limit", "order", "token"})
"""Parameters that belong to a question: what is wrong of them is an InvalidQueryError, as other orders and tokens."""


def violated(handle: Handle | None, clause: Clause, call: str, given: tuple[str, str]) -> ContractViolationError:
    """The error to be raised, after it was written down. `given`: the name of the parameter, the type of the value."""
    if handle is not None:
        note(handle, clause.number, call, "precondition")
    name, kind = given
    said = f"{call}: {clause.words}; it was given a value of the type {kind} that is not so"
    fields = {"clause": clause.number, "call": call, "part": "precondition", "reason": "clause"}
    if name in QUESTIONS:
        return WrongQueryError(said, **fields, query=name)
    return WrongArgumentError(said, **fields, where=name)


_said: dict[tuple[str, str], float] = {}
_guard = threading.Lock()


def note(handle: Handle, number: str, call: str, part: str) -> None:
    """Write down that a clause was broken, unless that was done a moment ago, or would make the caller wait."""
    from holdfast.engine import transaction  # noqa: PLC0415 - start-up time: hardly any call breaks one

    if handle.read_only or transaction.current(handle) is not None:
        return
    key, now = (handle.marker.store_id, number), time.monotonic()
    with _guard:
        if now - _said.get(key, -EVERY_S) < EVERY_S:
            return
        _said[key] = now
    with contextlib.suppress(HoldfastError):
        _write_down(handle, f"contract: {number} ({part}) broken by {call}")


def _write_down(handle: Handle, said: str) -> None:
    root = handle.index.collections.root()
    if root is None:
        return  # nothing was ever written here
    from holdfast.engine import transaction  # noqa: PLC0415 - as above

    with transaction.write(handle, what="note", wait_s=0.0) as unit:
        found = handle.index.collections.by_key(root)
        assert found is not None
        # A change of the root in which nothing changes: the chain has its note, and every reader knows what it is.
        unit.change({"kind": "collection", "action": "update", "id": found.id, "set": {}, "note": said})

"""Whatever a public call is given of a type that makes no sense, the error is one of ours, and says what to do."""

from __future__ import annotations

import contextlib
import inspect
import io
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import Store
from holdfast.errors import HoldfastError, WrongArgumentError
from holdfast.kinds import typed
from holdfast.testing.conformance import calls

WRONG: tuple[Any, ...] = (None, 7, b"\xff", [object()], object())
FITTING: dict[str, Any] = {
    "content": b"x", "metadata": {}, "revision": 1, "old": 1, "new": 1, "at": 1, "type": "derived_from",
    "target": "b.txt", "refs": ["b.txt"], "contents": [("new", b"1")], "condition": "name = 'a'",
}  # fmt: skip
SHORTHANDS = ("put", "put_many", "create", "get", "read", "find")
ALONE = [one for one in holdfast.__all__ if one[0].islower() and callable(getattr(holdfast, one)) and one != "field"]


def public(store: Store) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every call of a store and of its nouns, found by looking at it."""
    for noun in ("", *calls.NOUNS):
        owner = getattr(store, noun) if noun else store
        for name in dir(type(owner)):
            if name.startswith("_") or name == "close" or (not noun and name in (*calls.NOUNS, *SHORTHANDS)):
                continue
            found = getattr(owner, name)
            if callable(found):
                yield f"{noun}.{name}".strip("."), found


def spoiled(call: Callable[..., Any]) -> Iterator[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    """(parameter, arguments) with each parameter given each wrong value, and all others what fits."""
    parameters = list(inspect.signature(call).parameters.values())
    wanted = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    for one, wrong in itertools.product(parameters, WRONG):
        if one.kind is one.VAR_KEYWORD:
            continue
        given = {p.name: wrong if p is one else FITTING.get(p.name, "docs/a.md") for p in wanted}
        positional = [given.pop(p.name) for p in wanted if p.kind is not p.KEYWORD_ONLY]
        if one.kind is one.VAR_POSITIONAL:
            positional.append(wrong)
        elif one not in wanted:
            given[one.name] = wrong
        yield f"{one.name}={type(wrong).__name__}", tuple(positional), given


def made_of(call: Callable[..., Any], positional: tuple[Any, ...], given: dict[str, Any]) -> HoldfastError | None:
    """The error, if it is one of ours; what is given one by one is begun, what is to be left is left."""
    try:
        found = call(*positional, **given)
        if hasattr(found, "__next__"):
            list(itertools.islice(found, 2))
        elif hasattr(found, "__enter__"):
            with contextlib.suppress(io.UnsupportedOperation), found:
                pass
    except HoldfastError as error:
        return error
    return None


@pytest.fixture
def aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that take `docs/a.md` for a place to write to find none of ours."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("aside")
def test_no_public_call_of_a_store_lets_a_bare_error_out() -> None:
    """A new call, or a new parameter of one, is tried without being named here."""
    bare, tried, refused = [], 0, 0
    with holdfast.memory() as store:
        calls.fill(store)
        for name, call in public(store):
            for said, positional, given in spoiled(call):
                tried += 1
                try:
                    error = made_of(call, positional, given)
                except Exception as other:
                    bare.append((name, said, repr(other)[:80]))
                    continue
                refused += error is not None
                assert error is None or error.remedy, (name, said)
    assert bare == []
    assert tried > 1200
    assert refused > 900


@pytest.mark.usefixtures("aside")
@pytest.mark.parametrize("name", ALONE)
def test_no_function_that_stands_by_itself_lets_a_bare_error_out(name: str) -> None:
    call = getattr(holdfast, name)
    for said, positional, given in spoiled(call):
        try:
            error = made_of(call, positional, given)
        except Exception as other:
            pytest.fail(f"{name}({said}): {other!r}")
        assert error is None or error.remedy


def test_the_message_says_the_call_the_parameter_and_what_it_may_be() -> None:
    with (
        holdfast.memory() as store,
        pytest.raises(WrongArgumentError, match=r"store\.add.*`into` str \| bytes") as caught,
    ):
        store.add(into=None)  # type: ignore[arg-type]
    assert (caught.value.fields["clause"], caught.value.fields["where"]) == ("P-23", "into")


@pytest.mark.parametrize(
    ("annotation", "fits", "fits_not"),
    [("str | bytes", ["", b""], [None, 1, []]), ("int | None", [1, None], ["1", 1.5]),
     ("str | os.PathLike[str]", ["", Path()], [b"", None]),
     ("Iterable[int]", [[1], (), {1}, iter([1])], [["1"], "1", None, 3]),
     ("Iterable[str | bytes] | str | None", ["a", ["a", b"b"], None], [[7], 7]), ("Artifact | str", ["a", 7], [None]),
     ("'CollectionRef'", [7], [None]), ("Callable[[int, int], None] | None", [print, None], [7]),
     ("float", [1, 1.5], ["1"]),
     ("dict[str, Any]", [{}], [[], None]), ("bool", [True, 0], ["no", None])],
)  # fmt: skip
def test_an_annotation_is_a_check(annotation: str, fits: list[Any], fits_not: list[Any]) -> None:
    check = typed.check_of(annotation)
    assert check is not None
    assert [check(one) for one in fits] == [True] * len(fits)
    assert [check(one) for one in fits_not] == [False] * len(fits_not)
    assert typed.check_of("Any") is None

"""Folders that are looked at ahead: the same in the same order whoever looks, each once, within bounds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from holdfast.exchange import hand, looking
from holdfast.exchange.hands import Hands
from holdfast.exchange.looking import Looking


class Told(Hands):
    """Answers at once, in this process; or loses what is asked. Remembers what was asked for."""

    def __init__(self, count: int = 2, *, lost: bool = False) -> None:
        super().__init__(count)
        self.asked: list[list[bytes]] = []
        self.looked: list[bytes] = []
        self._lost = lost

    def ask(self, work: str, *given: Any) -> Future[Any]:
        """As the real one."""
        assert work == "look"
        self.asked.append(given[0])
        answer: Future[Any] = Future()
        if self._lost:
            answer.set_exception(EOFError())
        else:
            answer.set_result(found := hand.look_all(*given))
            self.looked += [path for path, _ in found[0]]
        return answer


@pytest.fixture
def tree(tmp_path: Path) -> bytes:
    """Folders beside and below each other, some empty, one deep, one of many files."""
    top = tmp_path / "tree"
    for n in range(9):
        for m in range(n % 4):
            (top / f"d{n}" / f"e{m}" / "deep").mkdir(parents=True)
            (top / f"d{n}" / f"e{m}" / "file").write_bytes(b"x")
        (top / f"d{n}").mkdir(parents=True, exist_ok=True)
    (top / "d3" / "many").mkdir()
    for n in range(40):
        (top / "d3" / "many" / f"{n}").touch()
        (top / "d3" / "many" / f"folder{n}").mkdir()
    (top.joinpath(*["down"] * 60)).mkdir(parents=True)
    return os.fsencode(top)


def walked(path: bytes, ahead: Looking, own: tuple[int, int] = (0, 0)) -> Iterator[tuple[bytes, list[bytes]]]:
    """Every folder and what lies in it, depth first, as a walk takes them."""
    seen, rest = ahead.at(path)
    parts = [seen]
    yield path, seen[1]
    while parts:
        part = parts.pop()
        for one in hand.below(path, part, own):
            yield from walked(one, ahead, own)
        if rest:
            part = ahead.more(path, rest[: looking.TOGETHER])
            rest = rest[looking.TOGETHER :]
            yield path, part[1]
            parts.append(part)


@pytest.fixture(params=[(1, 1, 7), (2, 5, 1_000), (32, 2_000, 1_000)])
def sizes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    folders, entries, together = request.param
    monkeypatch.setattr(looking, "ALONE_FOLDERS", 0)
    monkeypatch.setattr(looking, "AHEAD_FOLDERS", folders)
    monkeypatch.setattr(looking, "AHEAD_ENTRIES", entries)
    monkeypatch.setattr(looking, "TOGETHER", together)


@pytest.mark.usefixtures("sizes")
def test_what_is_found_does_not_depend_on_who_looks(tree: bytes) -> None:
    alone = list(walked(tree, Looking(Hands(0), (0, 0))))
    assert {path for path, _ in alone} == {path for path, *_ in os.walk(tree)}
    for helpers in (Told(1), Told(3), Told(lost=True)):
        assert list(walked(tree, Looking(helpers, (0, 0)))) == alone
        assert helpers.asked


@pytest.mark.usefixtures("sizes")
def test_nothing_is_looked_at_twice_and_nothing_is_kept_in_the_end(tree: bytes) -> None:
    helpers = Told()
    ahead = Looking(helpers, (0, 0))
    found = list(walked(tree, ahead))
    assert len(helpers.looked) == len(set(helpers.looked)) <= len({path for path, _ in found})
    assert [ahead._held, *(len(one) for one in (ahead._known, ahead._next, ahead._under_way, ahead._asked))] == [0] * 5


@pytest.mark.usefixtures("sizes")
def test_so_much_is_held_and_no_more(tree: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "HELD_ENTRIES", 3)
    helpers = Told(1)
    ahead = Looking(helpers, (0, 0))
    alone = list(walked(tree, Looking(Hands(0), (0, 0))))
    most = 0
    found = []
    for one in walked(tree, ahead):
        found.append(one)
        most = max(most, ahead._held)
    assert found == alone
    assert most <= 3 + 3 * (looking.AHEAD_ENTRIES + min(looking.TOGETHER, 80))


def test_the_folder_that_nobody_goes_into_is_not_looked_at(tree: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "ALONE_FOLDERS", 0)
    own = os.stat(os.path.join(tree, b"d3", b"many"))
    helpers = Told()
    found = list(walked(tree, Looking(helpers, (own.st_dev, own.st_ino)), (own.st_dev, own.st_ino)))
    assert not [path for path, _ in found if b"many" in path]
    assert not [path for some in helpers.asked for path in some if b"many" in path]


def test_few_folders_are_asked_of_nobody(tmp_path: Path) -> None:
    for n in range(looking.ALONE_FOLDERS):
        (tmp_path / str(n)).mkdir()
    helpers = Told()
    assert len(list(walked(os.fsencode(tmp_path), Looking(helpers, (0, 0))))) == looking.ALONE_FOLDERS + 1
    assert helpers.asked == []
    (tmp_path / "one more").mkdir()
    list(walked(os.fsencode(tmp_path), Looking(helpers, (0, 0))))
    assert helpers.asked


class Late(Hands):
    """Never begins, or has begun when it is asked and answers when somebody waits."""

    def __init__(self, *, begun: bool) -> None:
        super().__init__(2)
        self.answers: list[tuple[Future[Any], tuple[Any, ...]]] = []
        self._begun = begun

    def ask(self, work: str, *given: Any) -> Future[Any]:
        """As the real one."""
        answer: Future[Any] = Answered(given) if self._begun else Future()
        self.answers.append((answer, given))
        return answer


class Answered(Future[Any]):
    """Is under way until somebody waits for it."""

    def __init__(self, given: tuple[Any, ...]) -> None:
        super().__init__()
        self._given = given
        self.set_running_or_notify_cancel()

    def result(self, timeout: float | None = None) -> Any:
        """As the real one."""
        self.set_result(hand.look_all(*self._given))
        return super().result(timeout)


@pytest.mark.usefixtures("sizes")
@pytest.mark.parametrize("begun", [False, True])
def test_what_nobody_has_begun_is_not_waited_for(tree: bytes, monkeypatch: pytest.MonkeyPatch, *, begun: bool) -> None:
    alone = list(walked(tree, Looking(Hands(0), (0, 0))))
    looked: list[bytes] = []
    look = hand.look

    def counted(path: bytes, names: Any = None, most: int = 1 << 62) -> Any:
        if names is None:
            looked.append(path)
        return look(path, names, most)

    monkeypatch.setattr(hand, "look", counted)
    helpers = Late(begun=begun)
    assert list(walked(tree, Looking(helpers, (0, 0)))) == alone
    assert sorted(looked) == sorted({path for path, _ in alone})
    assert {answer.cancelled() for answer, _ in helpers.answers} == {not begun}

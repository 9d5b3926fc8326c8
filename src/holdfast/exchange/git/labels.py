"""Tags of a repository: which of them are on a history, and their objects, byte for byte."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from holdfast.errors import ImportRefusedError
from holdfast.exchange.git import record
from holdfast.exchange.git.objects import Objects
from holdfast.exchange.git.program import Git
from holdfast.exchange.git.record import State
from holdfast.values import canon

_FORM = "%(objecttype) %(objectname) %(*objecttype) %(*objectname) %(refname)"
_DEEPEST = 20


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag. `target`: the commit; `objects`: the bytes of the tag objects that lead there, the outermost first."""

    name: bytes
    target: bytes
    objects: tuple[bytes, ...] = ()


def read(git: Git, state: State) -> tuple[list[Tag], list[str]]:
    """The tags on the commits of a state, by name, and the names of all others."""
    everything = git.ask("for-each-ref", "--format=%(refname)", "refs/tags").splitlines()
    without = [arg for one in state.since for arg in ("--no-merged", one)]
    told = git.ask("for-each-ref", "--merged", state.tip, *without, f"--format={_FORM}", "refs/tags")
    objects = Objects(git)
    try:
        found = [tag for line in told.splitlines() if (tag := _tag(objects, line)) is not None]
    finally:
        objects.close()
    kept = {b"refs/tags/" + tag.name for tag in found}
    left = [
        name.removeprefix(b"refs/tags/").decode("utf-8", "backslashreplace") for name in everything if name not in kept
    ]
    return sorted(found, key=lambda tag: tag.name), left


def _tag(objects: Objects, line: bytes) -> Tag | None:
    kind, object_id, _, _, name = line.split(b" ", 4)
    raws: list[bytes] = []
    while kind == b"tag" and len(raws) < _DEEPEST:
        raw = objects.many([object_id])[0]
        raws.append(raw)
        lines = raw.split(b"\n", 2)
        object_id, kind = lines[0].removeprefix(b"object "), lines[1].removeprefix(b"type ")
    return Tag(name.removeprefix(b"refs/tags/"), object_id, tuple(raws)) if kind == b"commit" else None


def encode(tags: list[Tag]) -> bytes:
    """Tags as they stand in the store: a line each."""
    lines = (
        {
            "name": record.packed(tag.name),
            "target": tag.target.decode(),
            "objects": [record.packed(o) for o in tag.objects],
        }
        for tag in tags
    )
    return b"".join(canon.encode(line) + b"\n" for line in lines)


def decode(data: bytes) -> list[Tag]:
    """The tags again. ImportRefusedError."""
    found = []
    for line in data.splitlines():
        try:
            value: Any = canon.decode(line)
            raws = tuple(record.unpacked(one) for one in value["objects"])
            found.append(Tag(record.unpacked(value["name"]), value["target"].encode(), raws))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ImportRefusedError(
                f"{record.TAGS} cannot be read: {error}", path=record.TAGS, reason="form",
                remedy="Make its last good revision the newest: `holdfast revert`.",
            ) from error  # fmt: skip
    return found


def write(git: Git, tag: Tag, altered: dict[bytes, bytes]) -> tuple[str, str] | None:
    """Set a tag as it was; what is wrong with it, as code and reason, if that cannot be."""
    target = altered.get(tag.target, tag.target)
    if git.try_("cat-file", "-e", target + b"^{commit}") is None:
        return "left-out", "its commit is not in this history"
    name = b"refs/tags/" + tag.name
    wanted, unsigned = target, False
    if b"\n" in tag.name or git.try_("check-ref-format", name) is None:
        return "refused", "no tag can have this name"
    for kept in reversed(tag.objects):
        unsigned = target != tag.target
        raw = _onto(kept, wanted) if unsigned else kept
        wanted = git.ask("hash-object", "-w", "-t", "tag", "--literally", "--stdin", given=raw)
    before = git.try_("rev-parse", "--verify", "--quiet", name)
    if before not in (None, wanted):
        return "in-the-way", "a tag of this name is there, and stays"
    if before is None:
        git.ask("update-ref", name, wanted, b"")
    return ("unsigned", "its commit has another id now: a signature was left out") if unsigned and tag.objects else None


def _onto(raw: bytes, target: bytes) -> bytes:
    """A tag object for another commit; without a signature, which would not fit any more."""
    lines = raw.split(b"\n", 1)
    rest = lines[1] if len(lines) > 1 else b""
    for mark in (b"-----BEGIN PGP SIGNATURE-----", b"-----BEGIN SSH SIGNATURE-----", b"-----BEGIN SIGNED MESSAGE-----"):
        rest = rest.partition(mark)[0]
    return b"object " + target + b"\n" + rest

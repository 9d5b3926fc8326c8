"""A commit as git has it: its text taken apart, and put together again. No byte is lost on the way."""

from __future__ import annotations

import codecs
import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

_IDENT = re.compile(rb"(?:[^<>\n\0]* )?<[^<>\n\0]*> (?:0|[1-9][0-9]{0,17}) [+-][0-9]{4}")
_PARTS = re.compile(rb"(.*?) ?<([^>]*)> ?(-?[0-9]{1,18})?(?: ([+-][0-9]{4}))?", re.DOTALL)
_MINUTES_OF_A_DAY = 24 * 60


@dataclass(frozen=True, slots=True)
class Person:
    """Who wrote, and when. `name` and `email` as bytes; `seconds` since 1970 and `minutes` east of UTC, if known."""

    name: bytes
    email: bytes
    seconds: int | None
    minutes: int

    def shown(self, encoding: str) -> str:
        """`Name <address>`."""
        return text(self.name + b" <" + self.email + b">", encoding).replace("\0", "").strip() or "unknown"

    @property
    def when(self) -> datetime | None:
        """The moment with its offset; None if no calendar has it."""
        if self.seconds is None or abs(self.minutes) >= _MINUTES_OF_A_DAY:
            return None
        try:
            moment = datetime.fromtimestamp(self.seconds, UTC)
            return moment.astimezone(timezone(timedelta(minutes=self.minutes)))
        except (OverflowError, ValueError, OSError):
            return None


@dataclass(frozen=True, slots=True)
class CommitText:
    """What a commit says. `others`: headers that fast-import cannot write, such as signatures.

    `is_plain`: fast-import can write this very commit; else its bytes have to be written as they are.
    """

    tree: bytes
    parents: tuple[bytes, ...]
    author: bytes
    committer: bytes
    encoding: bytes
    message: bytes
    others: tuple[bytes, ...]
    is_plain: bool

    @property
    def charset(self) -> str:
        """The encoding that names and message are in, as far as anybody knows."""
        return self.encoding.decode("ascii", "replace") or "utf-8"

    def encode(self, parents: tuple[bytes, ...], *, tree: bytes = b"") -> bytes:
        """The bytes of a plain commit like this one, with these parents."""
        lines = [b"tree " + (tree or self.tree), *(b"parent " + one for one in parents)]
        lines += [b"author " + self.author, b"committer " + self.committer]
        lines += [b"encoding " + self.encoding] if self.encoding else []
        return b"\n".join(lines) + b"\n\n" + self.message


def parse(raw: bytes) -> CommitText:
    """Take a commit apart; what is out of order makes it not plain."""
    head, _, message = raw.partition(b"\n\n")
    found: dict[bytes, bytes] = {}
    parents: list[bytes] = []
    others: list[bytes] = []
    for line in re.split(rb"\n(?! )", head):
        key, _, value = line.partition(b" ")
        if key == b"parent":
            parents.append(value)
        elif key in (b"tree", b"author", b"committer", b"encoding") and key not in found:
            found[key] = value
        else:
            others.append(key)
    made = CommitText(
        found.get(b"tree", b""), tuple(parents), found.get(b"author", b""), found.get(b"committer", b""),
        found.get(b"encoding", b""), message, tuple(others), is_plain=False,
    )  # fmt: skip
    is_plain = (
        not others and b"\0" not in raw and len(set(parents)) == len(parents) and made.encode(made.parents) == raw
        and all(_IDENT.fullmatch(one) for one in (made.author, made.committer))
    )  # fmt: skip
    return CommitText(made.tree, made.parents, made.author, made.committer, made.encoding, message, made.others,
                      is_plain)  # fmt: skip


def is_ident(line: bytes) -> bool:
    """Whether fast-import takes a line as who and when."""
    return _IDENT.fullmatch(line) is not None


def person(line: bytes) -> Person:
    """Who and when, of the value of an author or committer line."""
    parts = _PARTS.match(line)
    if parts is None:
        return Person(line, b"", None, 0)
    zone = parts[4] or b"+0000"
    minutes = int(zone[1:3]) * 60 + int(zone[3:5])
    return Person(parts[1], parts[2], None if parts[3] is None else int(parts[3]),
                  -minutes if zone[:1] == b"-" else minutes)  # fmt: skip


def text(raw: bytes, encoding: str = "utf-8") -> str:
    """Bytes as text for people: in UTF-8, else in the encoding that is named, else with stray bytes escaped."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        pass
    try:
        return raw.decode(codecs.lookup(encoding).name)
    except (LookupError, UnicodeError, ValueError):
        return raw.decode("utf-8", "backslashreplace")


def object_id(kind: bytes, data: bytes, *, like: bytes) -> bytes:
    """The id that git gives to an object, of the same length as another id."""
    name = "sha256" if len(like) == 64 else "sha1"
    found = hashlib.new(name, b"%s %d\0" % (kind, len(data)), usedforsecurity=False)
    found.update(data)
    return found.hexdigest().encode()

"""URLs on the command line, which may have a password: read from a file instead, and a warning where they are not."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import click

from holdfast.errors import InvalidValueError, StorageIOError

_LONGEST = 64 * 1024


class UrlType(click.ParamType):  # type: ignore[type-arg]
    """A URL, or `@FILE` for the one that stands in a file: everybody on the machine can read a command line (`ps`)."""

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002
        """The URL. StorageIOError, InvalidValueError: they repeat nothing of it."""
        said = str(value)
        if said.startswith("@"):
            return _in_file(said[1:])
        if has_password(said):
            click.echo(
                "warning: whoever lists processes can read this password; keep it in ~/.pgpass or PGPASSFILE, or the "
                "URL in a file (@FILE)", err=True,
            )  # fmt: skip
        return said


def has_password(url: str) -> bool:
    """Whether somebody who reads the URL reads a password."""
    try:
        parts = urlsplit(url)
        return bool(parts.password) or "password" in dict(parse_qsl(parts.query))
    except ValueError:
        return False


def _in_file(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(_LONGEST).strip()
    except OSError as error:
        raise StorageIOError(
            f"cannot read the URL in {path!r}: {error.strerror}", path=path, operation="read", errno=error.errno or 0
        ) from error
    except UnicodeDecodeError:
        text = ""
    if not text or len(text.splitlines()) != 1:
        raise InvalidValueError(
            f"{path!r} is to have one line, the URL", where="URL", reason="file",
            remedy="Write the URL, and nothing else, into the file; let nobody else read it (chmod 600).",
        )  # fmt: skip
    return text


URL = UrlType()

"""Runs git: which one, on which repository, and how it fails. What the environment says changes nothing of it."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import subprocess
import tempfile
from typing import IO, Self

from holdfast.errors import GitError

OLDEST = (2, 28)
"""The first whose fast-import takes dates as they are (`raw-permissive`)."""

_FIXED = {
    "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1", "GIT_ADVICE": "0",
}  # fmt: skip
_SETTINGS = ("-c", "core.quotePath=false", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null",
             "-c", "protocol.allow=never", "-c", "gc.auto=0", "-c", "fastimport.unpackLimit=0")  # fmt: skip
_TOLD = 500
OUT_OF_MEMORY = "out of memory"


class Git:
    """git at work on one repository. `folder`: absolute path of its git directory."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    @functools.cached_property
    def empty_tree(self) -> bytes:
        """The id of a tree without anything in it; it tells how long ids are here."""
        return self.ask("hash-object", "-t", "tree", "--stdin")

    def ask(self, *args: str | bytes, given: bytes = b"") -> bytes:
        """What git prints, without the last newline. GitError if it fails."""
        return run(("--git-dir", self.folder, *args), given=given).rstrip(b"\n")

    def try_(self, *args: str | bytes) -> bytes | None:
        """The same; None if git says no."""
        try:
            return self.ask(*args)
        except GitError:
            return None

    def start(self, *args: str | bytes, given: bool = True, **more: object) -> Running:
        """A git that goes on while it is talked to."""
        return Running(("--git-dir", self.folder, *args), given=given, **more)

    @property
    def work_tree(self) -> str:
        """The work tree that belongs to the repository; "" if it is bare."""
        if self.ask("rev-parse", "--is-bare-repository") == b"true":
            return ""
        above, name = os.path.split(self.folder)
        named = self.try_("config", "--get", "core.worktree")
        if named is not None:
            return os.path.join(self.folder, os.fsdecode(named))
        return above if name == ".git" else ""


class Running:
    """A git process with pipes. Use it in a `with`: an exception ends it."""

    def __init__(self, args: tuple[str | bytes, ...], *, given: bool, **more: object) -> None:
        self._what = _name_of(args)
        # A pipe that nobody reads would stop it when it is full.
        self._told: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed at the end
        with _typed(self._what):
            self.process = subprocess.Popen(  # type: ignore[call-overload]
                _command(args), env=_environment(), stdin=subprocess.PIPE if given else subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=self._told, bufsize=1 << 16,
                process_group=0, **more,
            )  # fmt: skip

    @property
    def into(self) -> IO[bytes]:
        """What it reads."""
        assert self.process.stdin is not None
        found: IO[bytes] = self.process.stdin
        return found

    @property
    def out(self) -> IO[bytes]:
        """What it prints."""
        assert self.process.stdout is not None
        found: IO[bytes] = self.process.stdout
        return found

    def hold_to(self, size: int) -> None:
        """No more than so many bytes of memory, where the system can see to it: then it ends with `OUT_OF_MEMORY`."""
        with contextlib.suppress(ImportError, AttributeError, OSError):
            import resource  # noqa: PLC0415 - POSIX only

            resource.prlimit(self.process.pid, resource.RLIMIT_DATA, (size, size))

    def say(self, data: bytes) -> None:
        """Send, without waiting that it is read."""
        try:
            self.into.write(data)
        except (BrokenPipeError, ValueError):
            raise self.failure() from None

    def flush(self) -> None:
        """What was said is on its way."""
        try:
            self.into.flush()
        except (BrokenPipeError, ValueError):
            raise self.failure() from None

    def line(self) -> bytes:
        """A line that it prints, without its end. GitError if there is none any more."""
        found = self.out.readline()
        if not found.endswith(b"\n"):
            raise self.failure()
        return found[:-1]

    def exactly(self, length: int) -> bytes:
        """So many bytes that it prints."""
        found = self.out.read(length)
        if len(found) != length:
            raise self.failure()
        return found

    def failure(self) -> GitError:
        """Why it does not go on, when it has stopped."""
        with contextlib.suppress(OSError):
            self.into.close()
        with contextlib.suppress(OSError):
            self.out.close()
        return _failed(self._what, self.process.wait(), self._complaint())

    def finish(self) -> None:
        """It has all it needs: wait for its end. GitError if that is not a good one."""
        with contextlib.suppress(OSError):
            if self.process.stdin is not None:
                self.process.stdin.close()
        if self.process.wait() != 0:
            raise _failed(self._what, self.process.returncode, self._complaint())

    def _complaint(self) -> bytes:
        self._told.seek(max(0, self._told.seek(0, os.SEEK_END) - _TOLD))
        return self._told.read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            if self.process.stdin is not None:
                self.process.stdin.close()
        if self.process.poll() is None:
            self.process.kill()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process.wait()
        self._told.close()


def run(args: tuple[str | bytes, ...], *, given: bytes = b"", folder: str | None = None) -> bytes:
    """What one git prints. GitError."""
    with _typed(_name_of(args)):
        done = subprocess.run(_command(args), env=_environment(), input=given, capture_output=True, check=False,
                              cwd=folder)  # fmt: skip
    if done.returncode != 0:
        raise _failed(_name_of(args), done.returncode, done.stderr)
    return done.stdout


def repository(path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> Git:
    """The repository at a path: bare, with a work tree, or a link to one. GitError if there is none."""
    version()
    top = os.fsdecode(path)
    if not os.path.isdir(top):
        raise GitError(f"there is no folder {top!r}", command="rev-parse", status=128,
                       remedy="Name a repository on this machine; clone it first if it is elsewhere.")  # fmt: skip
    found = run(("-C", top, "rev-parse", "--absolute-git-dir")).rstrip(b"\n")
    git = Git(os.fsdecode(found))
    real, asked = os.path.realpath(git.folder), os.path.realpath(top)
    if asked not in (real, os.path.realpath(git.work_tree or top)):
        raise GitError(f"{top!r} is no repository itself: it lies in one", command="rev-parse", status=128,
                       remedy=f"Name the repository: {os.path.dirname(real)!r}.")  # fmt: skip
    return git


@functools.cache
def version() -> tuple[int, int]:
    """Of the git that is used. GitError if there is none, or one that is too old."""
    told = run(("version",)).decode("ascii", "replace")
    numbers = re.search(r"(\d+)\.(\d+)", told)
    found = (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)
    if found < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise GitError(f"this is {told.strip()}; {oldest} or newer is needed", command="version", status=0,
                       remedy=f"Install git {oldest} or newer.")  # fmt: skip
    return found


def _command(args: tuple[str | bytes, ...]) -> list[str | bytes]:
    return ["git", *_SETTINGS, *args]


def _environment() -> dict[str, str]:
    """Without what would send git to another repository or make it do something else."""
    return {key: value for key, value in os.environ.items() if not key.startswith("GIT_")} | _FIXED


def _name_of(args: tuple[str | bytes, ...]) -> str:
    rest = iter(args)
    for one in rest:
        if one in ("--git-dir", "-C", "-c"):
            next(rest, None)
        elif not os.fsdecode(one).startswith("-"):
            return os.fsdecode(one)
    return ""


@contextlib.contextmanager
def _typed(command: str):  # type: ignore[no-untyped-def]
    try:
        yield
    except FileNotFoundError as error:
        raise GitError(
            "there is no git on this machine", command=command, status=127, remedy="Install git, and have it in PATH."
        ) from error
    except OSError as error:
        raise GitError(f"git cannot be started: {error.strerror}", command=command, status=126) from error


def _failed(command: str, status: int, told: bytes) -> GitError:
    text = told.decode("utf-8", "backslashreplace").strip()
    if "dubious ownership" in text:
        return GitError(
            "the repository belongs to somebody else, and git does not trust it", command=command, status=status,
            remedy="If you do: `git config --global --add safe.directory PATH`.",
        )  # fmt: skip
    if "not a git repository" in text:
        return GitError("this is no git repository", command=command, status=status,
                        remedy="Name the folder of a repository, bare or with a work tree.")  # fmt: skip
    last = text[-_TOLD:].replace("\n", "; ") or f"it ended with {status}"
    return GitError(f"git {command}: {last}", command=command, status=status)

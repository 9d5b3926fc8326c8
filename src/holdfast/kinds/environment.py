"""What a run ran on: versions of software always, git and hardware when asked."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable
from typing import Any

from holdfast.errors import InvalidValueError
from holdfast.version import __version__

_GIT_TIMEOUT_S = 10


def capture(wanted: Iterable[str] = ()) -> dict[str, Any]:
    """`python`, `holdfast` and `platform`; then what `wanted` names: `git`, `hardware`. InvalidValueError for others.

    `git` is {available: True, commit, branch, dirty} of the repository that the process works in, or
    {available: False, code, reason} with the code no-git, no-repository, no-commit or failed.
    """
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    unknown = [name for name in names if name not in _CAPTURES]
    if unknown:
        raise InvalidValueError(f"{unknown[0]!r} cannot be captured", where="capture", reason="unknown",
                                remedy=f"Capture any of: {', '.join(_CAPTURES)}.")  # fmt: skip
    software = {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "holdfast": __version__,
        "platform": platform.platform(),
    }
    return software | {name: _CAPTURES[name]() for name in names}


def _git() -> dict[str, Any]:
    commit = _ask_git("rev-parse", "--verify", "--quiet", "HEAD")
    if isinstance(commit, dict):
        return commit
    branch, changed = _ask_git("rev-parse", "--abbrev-ref", "HEAD"), _ask_git("status", "--porcelain")
    if isinstance(branch, dict):
        return branch
    if isinstance(changed, dict):
        return changed
    return {"available": True, "commit": commit, "branch": branch, "dirty": bool(changed)}


def _ask_git(*arguments: str) -> str | dict[str, Any]:
    """What git answers, or why it does not."""
    # Looking must not write: git would refresh its index on the way.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, timeout=_GIT_TIMEOUT_S, env=environment,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        return _no_git("no-git", "git is not installed")
    except (OSError, subprocess.SubprocessError) as error:
        return _no_git("failed", f"git could not be asked: {type(error).__name__}")
    if done.returncode == 0:
        return done.stdout.decode("utf-8", "backslashreplace").strip()
    said = done.stderr.decode("utf-8", "backslashreplace").strip()
    if "not a git repository" in said:
        return _no_git("no-repository", "the working directory is in no git repository")
    if not said and "--quiet" in arguments:
        return _no_git("no-commit", "the repository has no commit yet")
    return _no_git("failed", said[:500] or f"git ended with {done.returncode}")


def _no_git(code: str, reason: str) -> dict[str, Any]:
    return {"available": False, "code": code, "reason": reason}


def _hardware() -> dict[str, Any]:
    """Memory in bytes."""
    found: dict[str, Any] = {"machine": platform.machine(), "processors": os.cpu_count(), "byteorder": sys.byteorder}
    try:
        found["memory"] = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        found["memory"] = None
    return found


_CAPTURES: dict[str, Callable[[], dict[str, Any]]] = {"git": _git, "hardware": _hardware}

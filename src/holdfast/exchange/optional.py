"""Libraries of the extra `standards`, imported when something is written with them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from holdfast.errors import MissingDependencyError

EXTRA = "standards"


def library(module: str) -> Any:
    """A module of an optional library; MissingDependencyError names what to install."""
    try:
        return import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise MissingDependencyError(
            f"this needs the library {name}, which is not installed", library=name, extra=EXTRA,
            remedy=f"Install it: pip install 'holdfast[{EXTRA}]'.",
        ) from error  # fmt: skip

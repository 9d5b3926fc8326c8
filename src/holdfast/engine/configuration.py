"""Where the value of a setting comes from: argument, environment, store, default, in this order.

A store's own values are in `config.json`, one JSON object, replaced whole. Without the file there are none.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

from holdfast import ram
from holdfast.disk import Disk
from holdfast.errors import InvalidValueError
from holdfast.formats import paths
from holdfast.values import canon, configuration
from holdfast.values.configuration import Value
from holdfast.values.frozen import dataclass

MAX_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Configured:
    """A value and where it is from: "argument", "environment", "store" or "default"."""

    name: str
    value: Value
    origin: str


def value(name: str, argument: Any = None, *, root: str | None = None, disk: Disk | None = None) -> Any:
    """The value that counts. `root`: of the store; None: there is none yet. InvalidValueError for one that is none."""
    return found(name, argument, root=root, disk=disk).value


def found(name: str, argument: Any = None, *, root: str | None = None, disk: Disk | None = None) -> Configured:
    """The value that counts, and where it is from. InvalidValueError names the place of a bad one."""
    one = configuration.setting(name)
    if argument is not None:
        return Configured(name, configuration.checked(one, argument, name), "argument")
    said = os.environ.get(one.environment, "") if one.environment else ""
    if said:
        return Configured(name, configuration.parsed(one, said, one.environment), "environment")
    if one.stored and root is not None:
        own = stored(root, disk or ram.disk_of(root))
        if name in own:
            return Configured(name, own[name], "store")
    return Configured(name, one.default, "default")


def chosen(name: str, root: str) -> Any:
    """The value that counts, or None where nobody chose one: what is usual then is for those who use it to say."""
    one = found(name, root=root)
    return None if one.origin == "default" else one.value


def stored(root: str, disk: Disk) -> dict[str, Value]:
    """A store's own values; InvalidValueError if the file is not what `store_value` writes."""
    path = os.path.join(root, paths.CONFIG)
    if not (isinstance(disk, ram.RamDisk) or os.path.lexists(path)):
        return {}
    try:
        told = canon.decode(disk.read_file(path, MAX_BYTES))
        if not isinstance(told, dict):
            raise TypeError(type(told).__name__)
        own = {name: configuration.setting(name) for name in told}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, OSError) as error:
        raise InvalidValueError(
            f"{paths.CONFIG} cannot be read as settings: {error}", where=paths.CONFIG, reason="form",
            remedy=f"Remove {paths.CONFIG} from the store's folder, then set anew what is wanted (`holdfast config`).",
        ) from error  # fmt: skip
    return {name: configuration.checked(one, told[name], f"{name} in {paths.CONFIG}") for name, one in own.items()}


def store_value(root: str, disk: Disk, name: str, wanted: Value) -> dict[str, Value]:
    """Give a store a value of its own (None: no more); all it has. Durable when it returns. InvalidValueError.

    For whoever holds the writer lock.
    """
    one = configuration.setting(name)
    if not one.stored:
        raise InvalidValueError(
            f"{name} cannot be kept in a store", where=name, reason="not stored",
            remedy=f"Those that can: {', '.join(s.name for s in configuration.TABLE if s.stored)}.",
        )  # fmt: skip
    own = {key: known for key, known in stored(root, disk).items() if key != name}
    if wanted is not None:
        own[name] = configuration.checked(one, wanted, name)
    path, temporary = os.path.join(root, paths.CONFIG), os.path.join(root, paths.TMP, f"{os.urandom(16).hex()}.tmp")
    fd = disk.create(temporary)
    try:
        disk.write(fd, canon.encode(own) + b"\n", temporary)
        disk.fsync(fd, temporary)
    finally:
        disk.close(fd)
    try:
        disk.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            disk.unlink(temporary)
        raise
    disk.fsync_dir(root)
    return own

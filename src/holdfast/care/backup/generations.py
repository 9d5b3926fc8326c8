"""The generations in a destination: which there are, whose they are, and how one goes without harm to the others."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.care.backup.destination import Destination
from holdfast.errors import BackupDamagedError, NotABackupError
from holdfast.formats import generation
from holdfast.formats.generation import Entry, Generation


def store_id(destination: Destination) -> str:
    """Of which store a destination holds backups. NotABackupError, FormatTooNewError."""
    data = destination.read(generation.MARKER)
    if data is None:
        raise NotABackupError(f"{destination.where} holds no backup", path=destination.where)
    return generation.decode_marker(data, f"{destination.where}/{generation.MARKER}")


def numbers(destination: Destination) -> list[int]:
    """The generations that are whole, oldest first."""
    found = (generation.number_of(name) for name in destination.here(generation.FOLDER))
    return sorted(number for number in found if number is not None)


def read(destination: Destination, number: int) -> Generation:
    """One generation. NotABackupError if there is none of this number, BackupDamagedError."""
    name = generation.record_of(number)
    data = destination.read(name)
    if data is None:
        raise NotABackupError(
            f"{destination.where} has no generation {number}", path=destination.where,
            remedy=f"It has: {', '.join(map(str, numbers(destination))) or 'none'}.",
        )  # fmt: skip
    found = generation.decode_record(data, name)
    if found.number != number or generation.encode_record(found) != data:
        raise BackupDamagedError(f"{name} is damaged", path=name, reason="it is not what was written")
    return found


def newest(destination: Destination) -> Generation | None:
    """The newest generation; None if there is none yet."""
    there = numbers(destination)
    return read(destination, there[-1]) if there else None


def entries(destination: Destination, number: int) -> Iterator[Entry]:
    """Every file of a generation, in order. BackupDamagedError where the list is no list."""
    name = generation.list_of(number)
    return generation.decode_entries(destination.blocks(name), name)


def remove(destination: Destination, number: int) -> None:
    """A generation goes; first what says that it is whole. What others share with it stays."""
    destination.remove(generation.record_of(number))
    destination.settle()
    for name in (generation.folder_of(number), generation.drafts_of(number), generation.list_of(number)):
        destination.remove(name)


def clear(destination: Destination, *, but: int) -> None:
    """Remove what killed backups and removals left, apart from the generation that is being made."""
    whole = {name for number in numbers(destination) for name in _names(number)}
    whole |= {generation.folder_of(but), generation.drafts_of(but)}
    for one in destination.here(generation.FOLDER):
        if f"{generation.FOLDER}/{one}" not in whole:
            destination.remove(f"{generation.FOLDER}/{one}")
    for one in destination.here(""):
        if one.startswith(f"{generation.MARKER}."):
            destination.remove(one)


def _names(number: int) -> tuple[str, ...]:
    return generation.folder_of(number), generation.record_of(number), generation.list_of(number)


def unlisted(destination: Destination, number: int) -> Iterator[str]:
    """Names in a generation's folder that its list does not have."""
    listed = entries(destination, number)
    entry = next(listed, None)
    top = generation.folder_of(number)
    for path in _in_order(destination, top):
        order = generation.order_of(path)
        while entry is not None and entry.order < order:
            entry = next(listed, None)
        if entry is None or entry.order != order:
            yield f"{top}/{path}"


def _in_order(destination: Destination, top: str) -> Iterator[str]:
    for folder in generation.COPIED:
        yield from (name[len(top) + 1 :] for name in destination.names(f"{top}/{folder}"))
    for name in destination.here(top):
        if name not in generation.COPIED and destination.size(f"{top}/{name}") is not None:
            yield name

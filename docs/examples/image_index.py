"""An index that somebody else wrote: rows in memory, and one file that is written anew at each commit.

For places where SQLite's locks and log do not work, such as a network share, and for stores that are small. Statements,
rows and queries are Holdfast's own; what is different is where the database is, and what makes a commit durable.
"""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.errors import ReadOnlyError, StorageIOError
from holdfast.index import ram
from holdfast.index.sqlite import SqliteIndex


class ImageIndex(SqliteIndex):
    """See holdfast/index/contract.py: the comments name its sentences. One process at a time."""

    def __init__(self, path: str | Path, *, read_only: bool = False) -> None:
        self.file = Path(path)
        self._held = ram.place()
        super().__init__(self._held)
        self.read_only = read_only
        if self.file.exists():
            ram.fill(self, self.file.read_bytes())

    def identity(self) -> str:
        """What a copy of the file cannot carry along."""
        found = self.file.stat() if self.file.exists() else None
        return f"image:{self.file}" if found is None else f"image:{found.st_dev}:{self.file}"

    def again(self, *, read_only: bool = True) -> ImageIndex:
        """Another handle on the same index; only the first one may write."""
        if not read_only:
            raise ReadOnlyError(f"{self.file} is open", path=str(self.file))
        return ImageIndex(self.file, read_only=True)

    def commit(self) -> None:
        """I-2: durable when this returns; the file has the old image or the new one, whole."""
        super().commit()
        self._save()

    def migrate(self) -> None:
        """I-13."""
        super().migrate()
        self._save()

    def set_meta(self, key: str, value: str) -> None:
        """In the open transaction, or by itself."""
        super().set_meta(key, value)
        self._save()

    def unset_meta(self, key: str) -> None:
        """In the open transaction, or by itself."""
        super().unset_meta(key)
        self._save()

    def take_over(self, fresh: SqliteIndex) -> None:
        """The rows of another file become this one's, in one step: when they are derived anew."""
        super().take_over(fresh)
        self._save()

    def close(self) -> None:
        """The file has it all."""
        super().close()
        ram.free(self._held)

    def _save(self) -> None:
        if self.read_only or self.database.raw().in_transaction:
            return
        passing = self.file.with_name(self.file.name + ".new")
        try:
            with passing.open("wb") as out:
                out.write(ram.image(self))
                out.flush()
                os.fsync(out.fileno())
            passing.replace(self.file)
            folder = os.open(self.file.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise StorageIOError(
                f"cannot write {self.file}: {error.strerror}", path=str(self.file), operation="sync", errno=error.errno
            ) from error

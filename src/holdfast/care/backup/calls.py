"""Backups by paths: what `holdfast.backup`, `restore`, `verify_backup` and `drill` are."""

from __future__ import annotations

import os
from datetime import datetime
from typing import TYPE_CHECKING

from holdfast.care.backup.folder import Folder
from holdfast.care.backup.report import BackupReport, RestoreReport, VerifyReport
from holdfast.care.backup.taking import Way, backup, kept
from holdfast.engine.open import open_store
from holdfast.engine.recover import Progress
from holdfast.engine.settings import Settings, actor_of
from holdfast.kinds.clauses import upheld_call
from holdfast.values.change import Actor

if TYPE_CHECKING:
    from holdfast.care.backup.drilling import DrillReport


@upheld_call
def backup_path(
    path: str | os.PathLike[str], destination: str | os.PathLike[str], *, keep: int | None = None, whole: bool = False,
    lock_wait_s: float = 30.0, progress: Progress | None = None,
) -> BackupReport:  # fmt: skip
    """Back up the store in a folder into another one, as a new generation, while others write.

    Only new files are copied, each compared with its digest; what is as it was is shared with the generation before.
    A generation is a store that opens read-only, and so does the destination, as its newest. `keep`: so many
    generations stay, older ones go (None: all stay); `whole`: copy everything, share nothing. The newest generation is
    durable when it returns; interrupted or killed, the destination has the old ones whole, and the next backup goes on.

    A store that is damaged is backed up as far as it is whole: `BackupReport.lacks` names the rest. Raises
    BackupRefusedError (another store, a fork, an older store, no backup), ConflictError (inside a transaction),
    LockedError (another backup is at work), NoSpaceError, and what `open` raises.
    """
    way = Way(keep=kept(keep), whole=whole)
    handle = open_store(os.fspath(path), Settings(actor_of(None), wait_s=lock_wait_s, read_only=True))
    try:
        return backup(handle, Folder(os.fspath(destination)), way, progress)
    finally:
        handle.close()


@upheld_call
def verify_path(
    destination: str | os.PathLike[str], *, generation: int | None = None, progress: Progress | None = None
) -> VerifyReport:
    """Read every file of a backup (or of one generation) and compare it with what was written. Changes nothing.

    Raises NotABackupError, FormatTooNewError.
    """
    from holdfast.care.backup.verifying import verify  # noqa: PLC0415 - who backs up need not wait for it

    return verify(Folder(os.fspath(destination)), only=generation, progress=progress)


@upheld_call
def restore_path(
    source: str | os.PathLike[str], destination: str | os.PathLike[str], *, generation: int | None = None,
    at: int | str | datetime | None = None, verify: bool = False, actor: Actor | str | None = None,
    index: str | None = None, progress: Progress | None = None,
) -> RestoreReport:  # fmt: skip
    """Make a store of a backup (its newest `generation`, or this one) in a new or empty folder.

    Every file is compared with what was written. `at`: the store as it was when a change was committed (its seq), or at
    a time (ISO 8601 with a zone, or an aware datetime); what was purged or redacted since is named in `losses`, and
    said in the history of the new store. `verify`: a full fsck afterwards. `index`: URL of the new store's index, if
    it is to be on a server (None: it is a file, whatever the store had). Interrupted, the folder is no store, and the
    same call goes on. Durable when it returns.

    Raises NotABackupError, StoreExistsError (the folder is not empty), InvalidValueError (`at`), BackupDamagedError (no
    whole chain is left of it), IndexElsewhereError (the database has another store's index), NoSpaceError.
    """
    from holdfast.care.backup.restoring import Wanted, restore  # noqa: PLC0415 - as above
    from holdfast.care.backup.rewinding import point  # noqa: PLC0415

    wanted = Wanted(generation, point(at), verify=verify)
    settings = Settings(actor_of(actor), index=index)
    return restore(Folder(os.fspath(source)), os.fspath(destination), wanted, settings, progress)


@upheld_call
def drill_path(
    source: str | os.PathLike[str], *, store: str | os.PathLike[str] | None = None,
    scratch: str | os.PathLike[str] | None = None, progress: Progress | None = None,
) -> DrillReport:  # fmt: skip
    """Try a backup out: restore its newest generation to a scratch folder, check every byte, compare, remove it.

    `store`: the store that it is of, to compare head and counts with; `scratch`: where to restore (a new folder in it),
    else in TMPDIR. Whatever is wrong is in the report. Raises NotABackupError, NoSpaceError.
    """
    from holdfast.care.backup.drilling import drill  # noqa: PLC0415 - as above

    return drill(
        Folder(os.fspath(source)), store=None if store is None else os.fspath(store),
        scratch=None if scratch is None else os.fspath(scratch), progress=progress,
    )  # fmt: skip

"""The error tree: what went wrong, what it concerns, and what to do next.

HoldfastError
├── InvalidInputError (ValueError)      the call itself is wrong; nothing was written
│   ├── InvalidNameError                    a name that no file system could hold
│   ├── InvalidValueError                   metadata, content or an option that cannot be kept as given
│   ├── InvalidDigestError                  not a digest, or an ambiguous prefix
│   ├── InvalidQueryError                   a query, order or page token that makes no sense
│   ├── UnknownTypeError                    a relationship type outside the vocabulary
│   └── UnknownBackendError                 nothing is installed for the URL of a blob store or index
├── NotFoundError (LookupError)         the record, revision or endpoint is not there
├── ConflictError                       the store's state does not allow it; nothing was written
│   ├── NameTakenError                      a live record already has that name
│   ├── ExpectationError                    `expect=` names another revision than the newest
│   ├── IllegalTransitionError              the life cycle has no such step
│   ├── InUseError                          something still refers to it (`restrict`), or it still holds something
│   ├── TransactionReusedError              a transaction id was given twice for different work
│   ├── LeaseLostError                      another process has the outbox's consumer now
│   ├── StoreWideError                      it concerns all tenants, and the handle is of one
│   ├── CursorAstrayError                   a cursor of the outbox stands where the history has no such change
│   ├── MergeConflictError                  both stores changed the same, and nobody said whose counts
│   └── DestinationDiffersError             what is at a destination is not what was to be written there
├── DamageError                         bytes or rows are not what they must be
│   ├── DigestMismatchError                 content does not hash to its digest
│   ├── BlobMissingError                    no file has the content
│   ├── BlobDamagedError                    a blob file is torn, cut or altered
│   ├── ContentPurgedError                  the bytes were given up on purpose
│   ├── ChainBrokenError                    a transaction does not follow from the one before
│   ├── ChainForkedError                    index and journal tell two different histories
│   ├── IndexDamagedError                   the index file cannot be read as a database
│   └── BackupDamagedError                  a file of a backup is not what was written
├── StoreError                          the store as a whole
│   ├── NotAStoreError            (exit 10)
│   ├── NotABackupError           (exit 10)
│   ├── IndexElsewhereError                 the store's index is on a server, and this call wants it in a file
│   ├── BlobsElsewhereError                 the store's contents are in somebody else's blob store
│   ├── BackupRefusedError                  a backup of this store does not belong there
│   ├── StoreExistsError
│   ├── LockedError               (exit 11)
│   ├── FormatTooNewError         (exit 12)
│   ├── SchemaTooNewError         (exit 12)
│   ├── SchemaOutdatedError
│   ├── MigrationChangedError
│   ├── DataLossError                       going down a schema version would lose something, and nobody agreed
│   ├── NoSpaceError              (exit 13)
│   ├── ReadOnlyError
│   ├── StorageIOError                      the operating system refused; the handle is poisoned if a sync failed
│   └── HandleDeadError                     closed, forked or poisoned handle
├── SourceError                         what was to be taken in could not be
│   ├── ImportRefusedError                  an export that is not whole, not what it says, or harmful
│   ├── SourceUnreadableError               a file or stream could not be read
│   └── SourceChangedError                  a file kept changing while it was read
├── ContractViolationError              a clause of what a call promises or asks for does not hold
│   ├── WrongArgumentError                  an argument breaks a clause: it is an invalid value, too
│   └── WrongQueryError                     an order, limit or page token does: it is an invalid query, too
├── GitError                            git is missing, too old, or refuses
├── MissingDependencyError              an extra is not installed
└── CancelledError              (exit 130) interrupted by the user

Each class has a stable `code`, an `exit_code` for the command line, structured `fields` and a `remedy`.
"""

from __future__ import annotations

from typing import ClassVar


class HoldfastError(Exception):
    """Base of every error that Holdfast raises.

    `code` is stable and may be matched on; `fields` holds what the error is about as plain values; `remedy` says what
    to do next. The text of the exception is for people and may change.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    default_remedy: ClassVar[str] = "Run `holdfast doctor` and report what it prints."

    def __init__(self, message: str, *, remedy: str | None = None, **fields: object) -> None:
        super().__init__(message)
        self.message = message
        self.fields: dict[str, object] = fields
        self.remedy = remedy or self.default_remedy

    def __reduce__(self) -> tuple[object, ...]:
        """Errors cross process boundaries whole (worker pools pickle them)."""
        return (_rebuild, (type(self), self.message, self.remedy, self.fields))

    def as_dict(self) -> dict[str, object]:
        """The error as plain values, for `--json` and logs."""
        return {"code": self.code, "message": self.message, "remedy": self.remedy, "fields": self.fields}


def _rebuild(cls: type[HoldfastError], message: str, remedy: str, fields: dict[str, object]) -> HoldfastError:
    return cls(message, remedy=remedy, **fields)


class InvalidInputError(HoldfastError, ValueError):
    """The call itself is wrong; nothing was read or written."""

    code = "invalid-input"
    exit_code = 2
    default_remedy = "Correct the argument and call again; nothing was written."


class InvalidNameError(InvalidInputError):
    """A name or path that cannot be kept. Fields: `name`, `reason`."""

    code = "invalid-name"
    default_remedy = "Choose a name of 1 to 255 bytes without NUL or '/', other than '.' and '..'."


class InvalidValueError(InvalidInputError):
    """A value that cannot be kept exactly as given. Fields: `where`, `reason`."""

    code = "invalid-value"
    default_remedy = "Give JSON values only: str, int, finite float, bool, None, list, dict with str keys."


class InvalidDigestError(InvalidInputError):
    """Not a digest, or a prefix that fits several. Fields: `digest`, `candidates`."""

    code = "invalid-digest"
    default_remedy = "Give `sha256:` and 64 hexadecimal digits, or more digits of the prefix."


class InvalidQueryError(InvalidInputError):
    """A condition, order, page token or search text that makes no sense. Fields: `query`, `reason`."""

    code = "invalid-query"
    default_remedy = "See docs/queries.md for fields, operators and search syntax."


class UnknownTypeError(InvalidInputError):
    """A relationship type outside the vocabulary. Fields: `type`, `nearest`."""

    code = "unknown-type"
    default_remedy = "Use one of the known types (`holdfast relate --types`), or register a new one."


class UnknownBackendError(InvalidInputError):
    """No installed package serves the scheme of a URL. Fields: `scheme`, `group` of entry points, `installed`."""

    code = "unknown-backend"
    default_remedy = "Install the package that serves it (`pip install 'holdfast[postgres]'` for postgresql://)."


class NotFoundError(HoldfastError, LookupError):
    """No such record. Fields: `kind`, `ref`."""

    code = "not-found"
    default_remedy = "List what is there: `holdfast ls`, `holdfast find`; deleted records: `holdfast ls --deleted`."


class ConflictError(HoldfastError):
    """The state of the store does not allow the call; nothing was written."""

    code = "conflict"
    default_remedy = "Read the record again and decide anew; nothing was written."


class NameTakenError(ConflictError):
    """A live record already has the name. Fields: `name`, `holder` (its id), `kind`."""

    code = "name-taken"
    default_remedy = "Choose another name, or put a new revision of the record that has it."


class ExpectationError(ConflictError):
    """`expect=` was not met. Fields: `expected`, `found` (revision numbers; 0 means absent)."""

    code = "expectation-failed"
    default_remedy = "Read the newest revision, merge your change into it, and put with its number."


class IllegalTransitionError(ConflictError):
    """The life cycle has no such step. Fields: `kind`, `id`, `from_status`, `to_status`, `allowed`."""

    code = "illegal-transition"
    default_remedy = "Use one of the allowed next states."


class InUseError(ConflictError):
    """Something refers to the record or lies in it. Fields: `id`, `counts`."""

    code = "in-use"
    default_remedy = "Say `cascade` to take these along, or remove them first."


class TransactionReusedError(ConflictError):
    """A transaction id was given again, for other work than it was first used for. Fields: `tx`."""

    code = "transaction-reused"
    default_remedy = "Draw a new transaction id for new work; repeat an id only to repeat the same call."


class LeaseLostError(ConflictError):
    """A consumer of the outbox was taken over: what was not acknowledged is delivered again. Fields: `token`."""

    code = "lease-lost"
    default_remedy = "Stop working on these changes. Take the consumer again, with a longer lease if the work needs it."


class StoreWideError(ConflictError):
    """The call concerns the whole store, and the handle was opened for one tenant. Nothing was done."""

    code = "store-wide"
    default_remedy = "Open the store without a tenant: it is for whoever keeps it for all of them."


class CursorAstrayError(ConflictError):
    """A cursor of the outbox is no place of this history. Fields: `seq`, `head_seq`, `reason` ("ahead" or "fork")."""

    code = "cursor-astray"
    default_remedy = "Put the consumer right; then `holdfast outbox rewind NAME --to SEQ`, the last change both have."


class DestinationDiffersError(ConflictError):
    """What is where files are to go differs from them. Fields: `path` (the first), `paths` (some), `count`."""

    code = "destination-differs"
    default_remedy = "Say --keep to leave what is there, --force to replace it, or choose another destination."


class DamageError(HoldfastError):
    """Bytes or rows are not what they must be. Nothing damaged is returned."""

    code = "damage"
    default_remedy = "Run `holdfast fsck`; it names every difference. `holdfast fsck --repair` mends it."


class DigestMismatchError(DamageError):
    """Content does not hash to its digest. Fields: `expected`, `found`."""

    code = "digest-mismatch"


class BlobMissingError(DamageError):
    """No file holds the content. Fields: `digest`; `quarantined`: its damaged file, if repair set one aside."""

    code = "blob-missing"
    default_remedy = "Run `holdfast fsck`; if this is a copy of a live store, run `holdfast recover`."


class BlobDamagedError(DamageError):
    """A blob file is cut, torn or altered. Fields: `digest`, `path`, `reason`."""

    code = "blob-damaged"


class ContentPurgedError(DamageError):
    """The bytes of this revision were given up on purpose. Fields: `id`, `revision`, `digest`."""

    code = "content-purged"
    default_remedy = "The revision was purged or withdrawn; see `holdfast log` for who did it and when."


class ChainBrokenError(DamageError):
    """A transaction does not verify or does not follow from the one before. Fields: `seq`, `where`."""

    code = "chain-broken"


class ChainForkedError(DamageError):
    """Index and journal hold different transactions at one place. Fields: `seq`."""

    code = "chain-forked"
    default_remedy = "Two histories claim this store. Nothing was touched. Keep a copy, and run `holdfast fsck --json`."


class IndexDamagedError(DamageError):
    """The index cannot be read as a database. Fields: `reason`."""

    code = "index-damaged"
    default_remedy = "Run `holdfast fsck --repair`: the index is made anew from journal and blobs."


class BackupDamagedError(DamageError):
    """A file of a backup is missing, or not what was written. Fields: `path`, `reason`."""

    code = "backup-damaged"
    default_remedy = """Run `holdfast backup verify DEST`: it names every damaged file. Another generation may be \
whole (`holdfast restore --generation N`); `holdfast backup --whole DEST` makes a new one that shares no file."""


class StoreError(HoldfastError):
    """The store as a whole cannot be used as asked."""

    code = "store"


class NotAStoreError(StoreError):
    """The folder is not a store. Fields: `path`."""

    code = "not-a-store"
    exit_code = 10
    default_remedy = "Make one with `holdfast init`, or name another folder with -C or HOLDFAST_STORE."


class NotABackupError(StoreError):
    """The folder holds no backup. Fields: `path`."""

    code = "not-a-backup"
    exit_code = 10
    default_remedy = "Name the folder that was given to `holdfast backup`; a plain copy of a store is opened as it is."


class IndexElsewhereError(StoreError):
    """The index is in PostgreSQL, or in one that somebody else has written; or it is another store's than the URL says.

    Fields: `path`, `reason`: `postgresql`, `elsewhere`, `file`, `other-store`, `copied`, `distrusted`.
    """

    code = "index-elsewhere"
    default_remedy = "Give its URL: `holdfast.open(FOLDER, index=URL)`, or HOLDFAST_INDEX."


class BlobsElsewhereError(StoreError):
    """The contents are in a blob store that somebody else has written, or are not, though one was given.

    Fields: `path`, `reason`: `elsewhere` (say where), `folder` (they are in the store), `unsupported` (by this call).
    """

    code = "blobs-elsewhere"
    default_remedy = "Give it: `holdfast.open(FOLDER, blobs=OBJECT_OR_URL)`, or HOLDFAST_BLOBS."


class BackupRefusedError(StoreError):
    """What is in the destination does not lead on to this store; nothing was touched there.

    Fields: `path`, `seq`, `reason`: `other-store`, `forked` (a change in the backup is not in the store), `older` (the
    backup goes on where the store ends), `occupied` (by something that is no backup), `inside` (the store).
    """

    code = "backup-refused"
    default_remedy = "Back up to a new folder, and keep this one until you know what happened."


class StoreExistsError(StoreError):
    """There is a store, or something else, where one was to be made. Fields: `path`."""

    code = "store-exists"
    default_remedy = "Open the store that is there, or choose an empty folder."


class LockedError(StoreError):
    """Somebody else holds the lock. Fields: `lock`, `holder`, `waited_s`; `holders`: all who have the store open."""

    code = "locked"
    exit_code = 11
    default_remedy = "Wait for the holder to finish, or give a longer --lock-wait. The lock ends with its process."


class FormatTooNewError(StoreError):
    """The store was written by a newer Holdfast. Fields: `found`, `known`."""

    code = "format-too-new"
    exit_code = 12
    default_remedy = "Install a newer Holdfast; nothing was touched."


class SchemaTooNewError(StoreError):
    """The index has a newer schema than this software knows. Fields: `found`, `known`."""

    code = "schema-too-new"
    exit_code = 12
    default_remedy = "Install a newer Holdfast, or rebuild the index with this one (`holdfast rebuild`)."


class SchemaOutdatedError(StoreError):
    """The index has an older schema than this software works with. Fields: `found`, `known`."""

    code = "schema-outdated"
    default_remedy = (
        "Run `holdfast migrate up` when nobody has the store open; `holdfast migrate plan` shows the steps."
    )


class MigrationChangedError(StoreError):
    """A migration that was applied has been edited since. Fields: `version`, `applied`, `known`."""

    code = "migration-changed"
    default_remedy = "Restore the original migration; write a new one for new changes."


class DataLossError(StoreError):
    """An older schema has no place for something. Fields: `losses` (pairs of what and how many). Nothing was done."""

    code = "data-loss"
    default_remedy = "Say --accept-loss if that may go."


class NoSpaceError(StoreError):
    """The disk or the quota is full; what was not acknowledged is absent. Fields: `path`."""

    code = "no-space"
    exit_code = 13
    default_remedy = "Free space (`holdfast gc` may help) and repeat the call."


class ReadOnlyError(StoreError):
    """A write on a store that is open for reading only. Fields: `path`."""

    code = "read-only"
    default_remedy = "Open the store for writing on a writable medium."


class StorageIOError(StoreError):
    """The operating system failed a file operation. Fields: `path`, `operation`, `errno`."""

    code = "storage-io"
    default_remedy = "Check the disk and its cables and logs; then open the store anew and run `holdfast fsck`."


class HandleDeadError(StoreError):
    """The handle was closed, went through a fork, or a sync failed on it. Fields: `reason`."""

    code = "handle-dead"
    default_remedy = "Open the store anew. After a fork each process opens its own handle."


class SourceError(HoldfastError):
    """What was to be taken into the store could not be taken whole; nothing of it was stored."""

    code = "source"


class ImportRefusedError(SourceError):
    """What was to be imported is not whole, or not what it says. Fields: `path`, `problems` (some), `count`."""

    code = "import-refused"
    default_remedy = "Nothing was changed. Export anew, or take the named files back as they were (`git checkout`)."


class MergeConflictError(ConflictError):
    """Both stores changed the same, and nobody said whose counts. Fields: `conflicts` (some, as text), `count`."""

    code = "merge-conflict"
    default_remedy = "Look with `--dry-run`; then say `--on-conflict` skip, rename, newest, theirs or ours."


class SourceUnreadableError(SourceError):
    """A file or stream outside the store could not be read. Fields: `path`, `errno`."""

    code = "source-unreadable"
    default_remedy = "Check that it is there and that you may read it, then repeat the call."


class SourceChangedError(SourceError):
    """A file changed each time it was read; nothing of it was stored. Fields: `path`, `tries`."""

    code = "source-changed"
    default_remedy = "Add it again when nobody writes to it."


class ContractViolationError(HoldfastError):
    """A clause does not hold. Fields: `clause`, `call`, `part`: "precondition", "postcondition" or "invariant".

    Of a precondition: the call is wrong, and nothing was done. Of the others: Holdfast is.
    """

    code = "contract-violated"
    default_remedy = "The clause says what the call wants; docs/contracts.md lists them all."


class WrongArgumentError(ContractViolationError, InvalidValueError):
    """An argument breaks a clause. Fields: `clause`, `call`, `part`, `where` (which one), `reason`: "clause"."""

    code = "wrong-argument"
    exit_code = 2


class WrongQueryError(ContractViolationError, InvalidQueryError):
    """An order, limit or page token breaks a clause. Fields: `clause`, `call`, `part`, `query` (which), `reason`."""

    code = "wrong-query"
    exit_code = 2


class GitError(HoldfastError):
    """git is missing, too old, or refuses. Fields: `command`, `status` (its exit status)."""

    code = "git"
    default_remedy = "Run `git fsck` on the repository; what git said is in the message."


class MissingDependencyError(HoldfastError):
    """An optional library is missing. Fields: `library`, `extra`."""

    code = "missing-dependency"
    default_remedy = "Install the extra that the message names."


class CancelledError(HoldfastError):
    """The user interrupted a long operation; what it had committed stays."""

    code = "cancelled"
    exit_code = 130
    default_remedy = "Run the same command again: it goes on where it stopped."

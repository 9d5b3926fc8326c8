"""The catalogue of steps at which processes are killed: what each is called, how it is recognised, which jobs take it.

A step is the state that the store is in just before a `Moment`, while something is being done. What is written for
`any` holds whatever is done, unless the thing that is done has a line of its own for the same moment.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from holdfast.testing.kill_lab_tracing import COMMITTED, LOCKED, Moment

_ANY = """
create temporary                        | staging: before the file in tmp/ is made | put history
write temporary                         | staging: file made, nothing written
half write temporary                    | staging: half of a write done
fsync temporary                         | staged, before its sync
create temporary (in transaction)       | staging in an open transaction: before the file is made | transaction
write temporary (in transaction)        | staging in an open transaction: nothing written
half write temporary (in transaction)   | staging in an open transaction: half of a write done
fsync temporary (in transaction)        | staged in an open transaction, before its sync
hold writer lock (locked)               | writer lock held, nothing looked at | put history relations runs transaction
begin index (locked)                    | before BEGIN, index and journal not looked at
mkdir blob folder (in transaction)      | after BEGIN: before a folder for blobs is made | put transaction
link blob (in transaction)              | after BEGIN: staged, before the blob gets its name
fsync_dir blobs (in transaction)        | blob linked, the folder above its folder not synced
fsync_dir blob folder (in transaction)  | blob linked, folder not synced
unlink temporary (in transaction)       | blob durable, its second name still in tmp/
row index (in transaction)              | rows half applied | put history relations runs transaction
create segment (in transaction)         | rotation: before a new segment is made
fsync_dir journal (in transaction)      | rotation: new segment made, its name not synced
fsync segment (in transaction)          | rotation: before the last segment is synced
commit index (in transaction)           | all applied, before COMMIT
half commit index (in transaction)      | in COMMIT: half of it in the write-ahead log
write segment (committed)               | after COMMIT, before the journal
half write segment (committed)          | journal half written
checkpoint index (committed)            | before a checkpoint
half checkpoint index (committed)       | in a checkpoint: half of the pages moved
row index (committed)                   | checkpointed, before the commit that begins the log anew | put transaction
fsync segment (committed)               | at rest: packs settled, before the last segment is synced | put_into_packs
release writer lock (committed)         | all written, before the writer lock is let go | put history relations runs
acknowledge call                        | returned, not yet acknowledged
fsync segment                           | in the background: before the journal is synced
release writer lock (locked)            | nothing to commit, before the writer lock is let go
fsync segment (locked)                  | at rest: before the last segment is synced
checkpoint index (locked)               | at rest: before the log is moved into the database
half checkpoint index (locked)          | at rest: half of the pages moved
hold handles lock (locked)              | deriving: alone with the store, nothing read | derive rebuild
journal mode new index (locked)         | deriving: before the new file is made | derive rebuild live_rebuild
begin new index (locked)                | deriving: before a batch of rows
row new index (locked)                  | deriving: a batch half loaded
commit new index (locked)               | deriving: a batch loaded, before its COMMIT
fsync new index (locked)                | deriving: all loaded, before its sync
rename temporary (locked)               | deriving: whole, before its name says so | derive rebuild
fsync_dir tmp (locked)                  | deriving: its name says that it is whole, folder not synced | derive rebuild
unlink index (locked)                   | deriving: before a file of the old index goes | rebuild recover_of_a_copy
rename index (locked)                   | deriving: no index there, before the new one gets its name | derive rebuild
fsync_dir store (locked)                | deriving: a name of the index changed, folder not synced
journal mode index (locked)             | deriving: in place, before it keeps a log
row index (locked)                      | deriving: in place, before it is at home there
create pack                             | before a new pack is made | put_into_packs add_into_packs add_with_help
write pack                              | before an append to a pack
half write pack                         | half of an append written: a torn end
fsync pack                              | appended to a pack, before its sync
fsync_dir packs                         | a new pack synced, folder not synced
create pack (in transaction)            | in an open transaction: before a new pack is made | transaction_into_packs
write pack (in transaction)             | in an open transaction: before an append to a pack
half write pack (in transaction)        | in an open transaction: half of an append written
fsync pack (in transaction)             | in an open transaction: appended to a pack, before its sync
fsync_dir packs (in transaction)        | in an open transaction: a new pack synced, folder not synced
fsync pack (locked)                     | at rest: before a pack whose end is kept is synced| put_into_packs gc_of_packs
fsync_dir packs (locked)                | at rest: its bytes synced, not its name
fsync_dir store (in transaction)        | before the first recipe of this handle gets its name | put_of_chunks
link recipe (in transaction)            | chunks and recipe durable, before the recipe gets its name
fsync_dir recipes (in transaction)      | recipe named, folder not synced
journal mode search                     | opening the full text: before it keeps a log | search gc
journal mode search (locked)            | opening the full text under the lock: before it keeps a log | redact
"""

_OF = {
    "add": """
sync_filesystem tmp                     | batch staged, before one sync for all of it | add
link blob (in transaction)              | batch synced, before its blobs get names
fsync_dir blob folder (in transaction)  | some blobs of the batch have names, folders not synced
commit index (in transaction)           | batch applied, before its COMMIT
write segment (committed)               | batch committed, before the journal
release writer lock (committed)         | batch written, before the next
""",
    "gc": """
row index (in transaction)              | condemned or removed, rows half changed | gc
unlink blob (in transaction)            | before a blob that is not needed goes
commit index (in transaction)           | files removed, before COMMIT takes their rows
half commit index (in transaction)      | in COMMIT after files were removed
release writer lock (committed)         | after COMMIT of a step
create temporary (in transaction)       | sealing: before the compressed file is made
write temporary (in transaction)        | sealing: compressed file made, nothing written
half write temporary (in transaction)   | sealing: compressed file half written
fsync temporary (in transaction)        | sealing: compressed, before its sync
link sealed segment (in transaction)    | sealing: proven, before the sealed segment gets its name
fsync_dir journal (in transaction)      | sealing: sealed segment named, folder not synced
unlink segment (in transaction)         | sealing: before the plain original goes
unlink temporary (in transaction)       | before a file in tmp/ goes
row index                               | before needed chunks are marked, in tables that vanish | gc_of_chunks
unlink recipe (in transaction)          | before a recipe that is not needed goes
begin search                            | purged: before the words go, too | gc
row search                              | purged: before the words are marked as gone for good
commit search                           | purged: words dropped, before COMMIT
half commit search                      | purged: in COMMIT of dropped words
vacuum search                           | purged: before the full text is written anew
checkpoint search                       | purged: before the log of the full text is emptied
half checkpoint search                  | purged: the full text half written anew
""",
    "cutting the one before": """
write pack                              | before chunks of the revision before are appended | gc_of_chunks
half write pack                         | chunks of the revision before half appended
fsync pack                              | chunks of the revision before appended, before the sync
write temporary                         | before the recipe of the revision before is written
fsync temporary                         | recipe of the revision before written, before its sync
link recipe (in transaction)            | recipe of the revision before durable, before it gets its name
fsync_dir recipes (in transaction)      | recipe of the revision before named, folder not synced
row index (in transaction)              | rows of chunks half made, the file still the content's place
commit index (in transaction)           | the revision before is in chunks, before COMMIT
half commit index (in transaction)      | in COMMIT of rows of chunks
release writer lock (committed)         | the file of the revision before superseded by its recipe
""",
    "live rebuild": """
backup index (locked)                   | derived beside, before the rows go into the live index | live_rebuild
half backup index (locked)              | half of the pages in the live index
take over index (locked)                | pages in the live index, the lock still held
unlink new index (locked)               | taken over, before the derived file goes
release writer lock (locked)            | taken over, before the writer lock is let go
acknowledge call                        | returned, not yet acknowledged
""",
    "recover": """
hold writer lock (locked)               | before it is looked what the copy lacks | recover_of_a_copy
begin index (locked)                    | before BEGIN of what takes transactions back
row index (in transaction)              | transactions half taken back
commit index (in transaction)           | taken back, before COMMIT
half commit index (in transaction)      | in COMMIT of what takes them back
write segment (committed)               | taken back, before the journal
half write segment (committed)          | taken back, journal half written
release writer lock (committed)         | taken back, before the writer lock is let go
""",
    "open after a kill": """
hold handles lock                       | alone: a crash is suspected | open:_torn_line open:_journal_behind
fsync segment (locked)                  | before the last segment is synced, whatever it holds
write segment (locked)                  | before the torn line is ended, or the journal catches up
half write segment (locked)             | half of that is written
release writer lock (locked)            | journal level, before the writer lock is let go
""",
    "writing the end of a pack again": """
overwrite pack (locked)                 | the end of a pack is kept: before it is written | open:_packs_not_settled
half overwrite pack (locked)            | half of it written again
fsync pack (locked)                     | written again, before its sync
begin index (locked)                    | synced, before the index gives it up
row index (in transaction)              | before its rows go
commit index (in transaction)           | its rows gone, before COMMIT
""",
    "open after a power loss": """
hold handles lock                       | alone: a crash is suspected | open:_hole_in_the_journal
create temporary (locked)               | hole found, before the successor is made
write temporary (locked)                | successor made, nothing written
half write temporary (locked)           | successor half written
fsync temporary (locked)                | successor written, before its sync
link quarantined (locked)               | successor proven, before the torn segment is kept aside
fsync_dir quarantine (locked)           | torn segment kept aside, folder not synced
rename segment (locked)                 | before the successor takes its name
fsync_dir journal (locked)              | successor in place, folder not synced
""",
    "create": """
mkdir blobs                             | before the first folder is made | create
mkdir packs                             | one folder made
mkdir recipes                           | two folders made
mkdir journal                           | three folders made
mkdir quarantine                        | four folders made
mkdir tmp                               | five folders made
mkdir locks                             | six folders made
create temporary                        | folders made, before the marker's file
write temporary                         | marker's file made, nothing written
half write temporary                    | marker half written
fsync temporary                         | marker written, before its sync
link marker                             | before the marker gets its name
unlink temporary                        | marker named, its second name still in tmp/
fsync_dir store                         | marker named, folder not synced
""",
    "search": """
hold search lock                        | before changes are read | search
begin search                            | documents read, before BEGIN
row search                              | before the words are put in one by one
commit search                           | words fed, before COMMIT
half commit search                      | in COMMIT of the words
rollback search                         | hits read, before the answer
""",
    "fsck": """
rollback index                          | rows compared, before its view is given up | fsck
""",
    "redact": """
hold handles lock                       | alone with the store | redact
begin new index (in transaction)        | proof before the announcement: before rows
journal mode new index (in transaction) | proof before the announcement: no file
row new index (in transaction)          | proof before the announcement: rows half loaded
commit new index (in transaction)       | proof before the announcement: rows loaded, before their COMMIT
unlink new index (in transaction)       | proof done, before its file goes
commit index (in transaction)           | announced, before COMMIT
half commit index (in transaction)      | in COMMIT of the announcement
write segment (committed)               | announcement committed, before the journal
release writer lock (committed)         | announcement written, nothing erased
commit new index (locked)               | new rows derived beside, before their COMMIT
unlink blob (locked)                    | before the blob goes
fsync_dir blob folder (locked)          | blob gone, folder not synced
sync_filesystem store (locked)          | blobs, words and notes gone, which is not yet sure
create temporary (locked)               | before a segment's successor is made
write temporary (locked)                | successor made, nothing written
half write temporary (locked)           | successor half written
fsync temporary (locked)                | successor written, before its sync
rename segment (locked)                 | successor proven, before it takes the segment's name
fsync_dir journal (locked)              | successor in place, folder not synced
backup index (locked)                   | journal erased, before the new rows go into the index
half backup index (locked)              | half of the pages in the index
take over index (locked)                | pages in the index, the log not emptied
unlink new index (locked)               | taken over, before the derived file goes
checkpoint index (locked)               | before the log is emptied of old pages
half checkpoint index (locked)          | half of the pages moved
fsync_dir packs (locked)                | a pack with what is erased is gone, folder not synced | redact_in_packs
unlink recipe (locked)                  | chunks without rows, before their recipe goes | redact_chunks
fsync_dir recipes (locked)              | recipe gone, folder not synced
begin search (locked)                   | before the words go | redact
row search (locked)                     | before the words are marked as gone for good
commit search (locked)                  | words dropped, before COMMIT
half commit search (locked)             | in COMMIT of dropped words
vacuum search (locked)                  | before the full text is written anew
checkpoint search (locked)              | before the log of the full text is emptied
half checkpoint search (locked)         | the full text half written anew
""",
    "sealing a pack": """
fsync pack                              | full: before the sync of all before the table of contents | put_into_packs
write pack                              | full and synced, before the table of contents
half write pack                         | half of the table of contents written
fsync pack (in transaction)             | in an open transaction: full, before the sync | transaction_into_packs
write pack (in transaction)             | in an open transaction: full and synced, before the table of contents
half write pack (in transaction)        | in an open transaction: half of the table of contents written
""",
    "covering a torn end": """
overwrite pack                          | torn end found, before it is covered | add_behind_a_torn_append
half overwrite pack                     | half of the cover written
fsync pack                              | torn end covered, before its sync
overwrite pack (in transaction)         | in an open transaction: torn end found | put_behind_a_torn_append
half overwrite pack (in transaction)    | in an open transaction: half of the cover written
fsync pack (in transaction)             | in an open transaction: torn end covered, before its sync
""",
    "rewriting a pack": """
create pack                             | before the pack is made that takes what is needed | gc_of_packs
write pack                              | before what is needed of a pack is written again
half write pack                         | half of what is needed written again
fsync pack                              | written again, before its sync
fsync_dir packs                         | written again to a new pack and synced, folder not synced
begin index (locked)                    | written again, durable, before BEGIN of the move of rows
row index (in transaction)              | rows half moved to the new place
commit index (in transaction)           | rows moved, before COMMIT
half commit index (in transaction)      | in COMMIT of moved rows
release writer lock (committed)         | rows moved, the old pack not yet condemned
create pack (locked)                    | erasing: before the pack is made that takes the rest | redact_in_packs
write pack (locked)                     | erasing: before the rest of a pack is written again
half write pack (locked)                | erasing: half of the rest written again
fsync pack (locked)                     | erasing: the rest written again, before its sync
fsync_dir packs (locked)                | erasing: the rest in a new pack, folder not synced
""",
    "condemning packs": """
row index (in transaction)              | before empty packs are condemned | gc_of_packs
commit index (in transaction)           | old packs condemned, before COMMIT
release writer lock (committed)         | old packs condemned, none removed
""",
    "removing a pack": """
unlink pack (in transaction)            | before the file of a condemned pack goes | gc_of_packs redact_in_packs
row index (in transaction)              | file of a pack gone, before its row goes
commit index (in transaction)           | file of a pack gone, before COMMIT takes its row | gc_of_packs
half commit index (in transaction)      | in COMMIT after a pack was removed
release writer lock (committed)         | a pack gone for good, the next not looked at
""",
    "gathering": """
create pack                             | before a pack is made for loose contents | gathering
write pack                              | before loose contents are appended to a pack
half write pack                         | loose contents half appended
fsync pack                              | loose contents appended, before the sync
fsync_dir packs                         | loose contents in a new pack, folder not synced
set_time blob                           | loose contents in a pack, before their files get the present time
begin index (locked)                    | files begin to wait, before BEGIN
row index (in transaction)              | rows half moved from files to a pack
commit index (in transaction)           | rows moved from files to a pack, before COMMIT
half commit index (in transaction)      | in COMMIT of rows that move from files to a pack
release writer lock (committed)         | files superseded by a pack
""",
    "repair": """
hold handles lock                       | store closed, a crash of its users suspected | repair
rename marker (locked)                  | before the marker gets its name
mkdir packs (locked)                    | before a missing folder is made
fsync_dir store (locked)                | a name in the store's folder not synced
create temporary (locked)               | before the successor of a file is made
write temporary (locked)                | successor made, nothing written
half write temporary (locked)           | successor half written
fsync temporary (locked)                | successor written, before its sync
link quarantined (locked)               | before the damaged segment is kept aside
fsync_dir quarantine (locked)           | something set aside, folder not synced
rename segment (locked)                 | before the successor takes the segment's name
fsync_dir journal (locked)              | successor in place, folder not synced
create temporary                        | before lost content is staged
fsync temporary                         | lost content staged, before its sync
rename quarantined (in transaction)     | before a damaged blob is set aside
fsync_dir quarantine (in transaction)   | damaged blob set aside, folder not synced
link blob (in transaction)              | before the content gets its name again
fsync_dir blob folder (in transaction)  | content named again, folder not synced
fsync recipe (in transaction)           | the same recipe is there already, before its sync | repair_of_chunks
link recipe (in transaction)            | chunks restored, before the recipe gets its name again
commit index (in transaction)           | content there again, before COMMIT | repair
release writer lock (committed)         | content there again, before the writer lock is let go
""",
}

SETTING_UP = frozenset({"litter"})
"""What is done to have something to do; what happens meanwhile is no step of anything."""

_TIDYING = frozenset({"unlink temporary (locked)", "unlink temporary"})
"""Removing what a killed derivation left in tmp/, or what two threads staged alike: nothing depends on it, and whether
it comes to it at all is a matter of luck."""


def needs_name(place: tuple[str, Moment]) -> bool:
    """Whether a moment is none that the catalogue knows, and should be."""
    return place[0] not in SETTING_UP and str(place[1]) not in _TIDYING and step_at(place) is None


@dataclass(frozen=True, slots=True)
class Step:
    """A named step. `doing`: only while this is done ("" whatever is done); `jobs`: names of jobs that come to it."""

    name: str
    doing: str
    moment: str
    jobs: tuple[str, ...]


def _table(doing: str, text: str) -> list[Step]:
    """The lines of a table; a line without jobs has those of the line before."""
    steps: list[Step] = []
    jobs: tuple[str, ...] = ()
    for line in text.strip().splitlines():
        moment, name, *said = (part.strip() for part in line.split("|"))
        jobs = tuple(one.replace("_", " ") for one in said[0].split()) if said else jobs
        steps.append(Step(f"{doing + ': ' if doing else ''}{name}", doing, moment, jobs))
    return steps


STEPS: tuple[Step, ...] = (*_table("", _ANY), *(step for doing, text in _OF.items() for step in _table(doing, text)))
_KNOWN = {(step.doing, step.moment): step for step in STEPS}


_AFTER_A_KILL, _AFTER_A_LOSS = "open after a kill", "open after a power loss"
_SETTLING = "writing the end of a pack again"
_WHOEVER_COMES_NEXT = frozenset({"hold handles lock", "write segment (locked)", "half write segment (locked)"})
"""Whoever writes or opens next puts right what a dead writer left, whatever it was that they wanted to do."""


_ERASING = frozenset({"redact", "rewriting a pack", "removing a pack"})
"""A redaction commits rows of blobs between its steps, and keeps the writer lock."""


def step_at(place: tuple[str, Moment]) -> Step | None:
    """The step that a moment is while something is being done; None if it has no name."""
    doing, moment = place[0], str(place[1])
    if doing in SETTING_UP:
        return None
    found = _KNOWN.get((doing, moment))
    if found is None and place[1].phase == COMMITTED and doing in _ERASING:
        found = _KNOWN.get((doing, str(replace(place[1], phase=LOCKED))))
    found = found or _KNOWN.get(("", moment))
    if found is None and place[1].phase == COMMITTED and doing in _ERASING:
        return step_at((doing, replace(place[1], phase=LOCKED)))
    if found is None and moment.endswith("overwrite pack (locked)"):
        return _KNOWN[_SETTLING, moment]  # by whoever opens the store, also where nobody tells of parts
    if found is None and moment in _WHOEVER_COMES_NEXT:
        return _KNOWN[_AFTER_A_KILL, moment]
    if found is None and doing == _AFTER_A_KILL:
        return _KNOWN.get((_AFTER_A_LOSS, moment))
    return found

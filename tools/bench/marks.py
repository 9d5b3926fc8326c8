"""The marks: on which work, by which commands of ours and of the peers, and what ratio we mean to reach.

Commands are shell lines. Words they may use: {small}, {large}: the corpora; {store}, {peer}: where ours and the peer's
repository go; {child}, {reading}, {queries}: run a body of children.py, reading.py, queries.py; {past}: a step of
repacking.py on the repository {history}; {chunking}: chunking.py in a folder of its own, {scale}: of how much; {million},
{raw}: where many artifacts go, and a bare table with the same facts; {artifacts}: how many; {few}: where ten thousand go; {served}: a body
of served.py; {holdfast}: the command.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

OURS = "holdfast"


def seconds(taken: dict[str, float]) -> float:
    """Time: smaller is better."""
    return taken["seconds"]


def rate(taken: dict[str, float]) -> float:
    """Things a second: larger is better."""
    return taken["count"] / taken["seconds"]


def stored(taken: dict[str, float]) -> float:
    """Bytes on disk."""
    return taken["bytes"]


def stored_after_gc(taken: dict[str, float]) -> float:
    """Bytes on disk when what is superseded has gone; the peers keep no such thing."""
    return taken.get("bytes_after_gc", taken["bytes"])


def p50(taken: dict[str, float]) -> float:
    """The middle latency, in milliseconds."""
    return taken["p50_ms"]


def p99(taken: dict[str, float]) -> float:
    """The latency that one in a hundred exceeds, in milliseconds."""
    return taken["p99_ms"]


def slowest(taken: dict[str, float]) -> float:
    """The slowest of many reads, in milliseconds of CPU."""
    return taken["slowest_cpu_ms"]


def memory(taken: dict[str, float]) -> float:
    """Peak memory, in MB."""
    return taken["rss_mb"]


@dataclass(frozen=True)
class Step:
    """One measured command. `prepare` runs before each time, unmeasured; `keeps`: what it leaves, to be sized."""

    name: str
    who: str
    command: str
    prepare: str = ""
    keeps: str = ""
    cold: bool = True
    once: bool = False


@dataclass(frozen=True)
class Mark:
    """A promise: `ours` compared with `theirs` by `of`, at most `limit` times it (at least, if `rising`).

    `theirs` None: `limit` is absolute. Several of theirs: the best of them counts. `missing`: why it is not measured.
    `floor`: a step that does alone what nobody who keeps the promises of the mark can leave out; `floor_work` says what.
    `bare`: of a mark that compares ours with ours among fewer, the same two steps of a bare table: what growth is inherent.
    """

    id: str
    work: str
    ours: str = ""
    theirs: tuple[str, ...] = ()
    of: Callable[[dict[str, float]], float] = seconds
    limit: float = 1.0
    rising: bool = False
    unit: str = "s"
    missing: str = ""
    note: str = field(default="")
    floor: str = ""
    floor_work: str = ""
    bare: tuple[str, str] | None = None


_FRESH = "rm -rf {store}; {holdfast} init {store}"
_GIT = "rm -rf {peer}; git init -q --bare {peer}; git --git-dir={peer} config gc.auto 0; git --git-dir={peer} config core.bare false"
_GIT_ADD = "cd {small}; git --git-dir={peer} --work-tree=. add -A . && "
_RESTIC = "rm -rf {peer} {peer}-cache; restic -q -r {peer} init"
_BORG = "rm -rf {peer} {peer}-base; borg init -e none {peer}"

QUERIES = {"id": 6.0, "name": 6.0, "digest": 6.0, "newest": 3.0, "metadata": 3.0, "search": 1.5}
"""How many times the bare table's time each may take."""

SERVED = ("put", "put_eight", *QUERIES)
SERVED_PUT = 3.0
"""How many times the time of the same rows through psycopg alone a put may take: it also writes content and journal."""

FLOORS = ("id", "newest")
"""What is also measured with a look at each record, and by SQLite alone on the tables that we keep."""

REVISED = {"checkpoint": "ten checkpoints of 256 MiB, edited", "growing": "a log of 1 to 200 MB, 100 snapshots"}

STEPS = (
    # One tree of small files, then the same again, then reads, then a check: for each in turn on what it made.
    Step("tar", "tar, zstd -T2 -3", "tar -C {small} -cf - . | zstd -T2 -3 -q -o {peer}.zst; sync {peer}.zst", "rm -f {peer}.zst", "{peer}.zst"),
    Step("add", OURS, "cd {small}; {holdfast} -C {store} add .", _FRESH, "{store}"),
    Step("again", OURS, "cd {small}; {holdfast} -C {store} add ."),
    Step("read", OURS, "{child} read_small {store}"),
    Step("small-floor", "sha256 of each content alone", "{child} hash_small {small}", cold=False),
    Step("bulk", OURS + ", in bulk", "{reading} bulk {store}"),
    Step("bulk-paths", OURS + ", in bulk, by path", "{reading} paths {store}"),
    Step("fsck", OURS, "{holdfast} -C {store} fsck"),
    Step("text", OURS, "{holdfast} -C {store} search zzzz", once=True, keeps="{store}"),
    Step("show", OURS, "{holdfast} -C {store} status", cold=False),
    Step("help", OURS, "{holdfast} --help", cold=False),
    Step("rebuild", OURS, "{holdfast} -C {store} rebuild"),
    Step("kept", OURS, "{child} kept {store}", cold=False, once=True),
    Step("repack", OURS, "{holdfast} -C {store} repack && {holdfast} -C {store} gc --grace 0", once=True),
    Step("repacked", OURS + ", repacked", "{child} kept {store}", cold=False, once=True),
    Step("repacked-read", OURS + ", repacked", "{child} read_small {store}"),
    Step("repacked-bulk", OURS + ", repacked, in bulk", "{reading} bulk {store}"),
    Step("add-warm", OURS + ", warm", "cd {small}; {holdfast} -C {store} add .", _FRESH, cold=False),
    Step("add-text", OURS + ", full text", "cd {small}; {holdfast} -C {store} add --searchable .", _FRESH, "{store}"),
    Step("add-checksum", OURS + " --checksum", "cd {small}; {holdfast} -C {store} add --checksum .", cold=False),
    Step("add-again-after", OURS + ", after another's write", "cd {small}; {holdfast} -C {store} add .", "echo $RANDOM > {peer}.x; {holdfast} -C {store} put other {peer}.x", cold=False),
    Step("put-many", OURS + " put_many", "{child} put_many {store} {small}", _FRESH, cold=False),
    Step("restic-add-warm", "restic, warm", "cd {small}; restic -q -r {peer} backup .", _RESTIC, cold=False),
    Step("restic-add", "restic", "cd {small}; restic -q -r {peer} backup .", _RESTIC, "{peer}"),
    Step("restic-again", "restic", "cd {small}; restic -q -r {peer} backup ."),
    Step("restic-check", "restic", "restic -q -r {peer} check --read-data"),
    Step("borg-add", "borg", "cd {small}; borg create -C zstd,3 {peer}::a .", _BORG, "{peer}"),
    Step("borg-check", "borg", "borg check --verify-data {peer}", once=True),
    Step("objects-add", "disk-objectstore (raw bytes)", "{child} objects_add {peer} {small}", "rm -rf {peer}", "{peer}"),
    Step("objects-read", "disk-objectstore, one by one", "{child} objects_read {peer}", once=True),
    Step("objects-bulk", "disk-objectstore, in bulk", "{child} objects_read_bulk {peer}"),
    Step("git-add", "git (unsynced)", _GIT_ADD + "git --git-dir={peer} --work-tree=. commit -q -m x", _GIT, "{peer}"),
    Step("git-again", "git", _GIT_ADD + "git --git-dir={peer} --work-tree=. status --porcelain"),
    Step("git-gc", "git gc", "git --git-dir={peer} gc -q", once=True, keeps="{peer}"),
    Step("git-read", "git, after gc", "{child} git_read {peer}"),
    Step("git-check", "git, after gc", "git --git-dir={peer} fsck --full"),
    # One big file.
    Step("zstd-large", "zstd -T2 -3", "zstd -T2 -3 -q {large}/large.bin -o {peer}.zst; sync {peer}.zst", "rm -f {peer}.zst", "{peer}.zst"),
    Step("zstd-out", "zstd -dc", "zstd -dc -q {peer}.zst > /dev/null"),
    Step("zstd-proof", "zstd -dc, sha256sum", "zstd -dc -q {peer}.zst | sha256sum"),
    Step("large", OURS, "cd {large}; {holdfast} -C {store} put large.bin large.bin", _FRESH, "{store}"),
    Step("large-floor", "sha256 alone", "{child} hash_large {large}/large.bin", cold=False),
    Step("large-out", OURS, "{child} read_large {store}"),
    Step("large-copy", OURS + ", copied out", "{reading} large {store}"),
    Step("pieces", OURS, "{child} read_pieces {store}", cold=False),
    Step("large-fsck", OURS, "{holdfast} -C {store} fsck"),
    Step("borg-large", "borg", "cd {large}; borg create -C zstd,3 {peer}::a .", _BORG, "{peer}", once=True),
    Step("restic-large", "restic", "cd {large}; restic -q -r {peer} backup .", _RESTIC, "{peer}", once=True),
    # Every revision of a git history.
    Step("git-history", "git gc --aggressive", "git --git-dir={peer} gc -q --prune=now --aggressive", "rm -rf {peer}; cp -a {history} {peer}", "{peer}/objects/pack", once=True),
    Step("history-put", OURS, "{past} --git-dir {history} --step put", "mkdir -p {past_folder}", once=True),
    Step("history-repack", OURS, "{past} --git-dir {history} --step repack", once=True),
    Step("history-gc", OURS, "{past} --git-dir {history} --step gc", keeps="{past_folder}/store/packs", once=True),
    Step("history-kept", OURS, "{child} kept {past_folder}/store", cold=False, once=True),
    Step("history-read", OURS, "{past} --git-dir {history} --step read", cold=False, once=True),
    # Large content that grows and is edited, revision by revision.
    *(Step(f"{prefix}{work}", who, f"{{chunking}} --scale {{scale}} --which {work} --who {who}", cold=False, once=True)
      for work in REVISED for who, prefix in ((OURS, ""), ("restic", "restic-"), ("borg", "borg-"))),
    # Questions to very many.
    Step("many", OURS, "{queries} make {million} {raw} {artifacts}", cold=False, once=True, keeps="{million}"),
    *(Step(f"ours-{query}", OURS, f"{{queries}} ours {{million}} {query}", cold=False) for query in QUERIES),
    *(Step(f"raw-{query}", "SQLite, nothing checked", f"{{queries}} raw {{raw}} {query}", cold=False) for query in QUERIES),
    *(Step(f"ours-{query}-read", OURS + ", four fields of each looked at", f"{{queries}} ours {{million}} {query}-read", cold=False) for query in FLOORS),
    *(Step(f"floor-{query}", "SQLite, our four tables, nothing checked", f"{{queries}} floor {{million}} {query}", cold=False) for query in FLOORS),
    # The same of ten thousand: what the number of artifacts costs.
    Step("few", OURS, "{queries} make {few} {few}.raw 10000", cold=False, once=True),
    *(Step(f"few-{query}", OURS + ", among 10,000", f"{{queries}} ours {{few}} {query}", cold=False) for query in QUERIES),
    *(Step(f"few-raw-{query}", "SQLite, nothing checked, among 10,000", f"{{queries}} raw {{few}}.raw {query}", cold=False) for query in QUERIES),
    Step("many-fsck", OURS, "{holdfast} -C {million} fsck --quick", cold=False, once=True),
    Step("many-gc", OURS, "{holdfast} -C {million} gc --dry-run", cold=False, once=True),
    Step("many-show", OURS, "{holdfast} -C {million} show c7/art-0007007.txt", cold=False),
    Step("many-put", OURS + ", among many", "{child} put {million}", cold=False, once=True),
    # Single durable writes.
    Step("objects-put", "disk-objectstore add_object (bytes alone)", "{child} objects_put {peer}", "rm -rf {peer}", cold=False),
    Step("put", OURS, "{child} put {store}", _FRESH, cold=False),
    Step("put-floor", "append to a file, COMMIT of one row by SQLite, synced", "{child} put_floor {peer}-floor", "rm -rf {peer}-floor", cold=False),
    Step("put-eight", OURS + ", eight processes", "{child} put_eight {store}", _FRESH, cold=False),
    # The same two with the index on a PostgreSQL server, beside psycopg alone, among ten thousand.
    Step("served", OURS + ", PostgreSQL", "{served} make {few}", cold=False, once=True),
    *(Step(f"served-{body}", OURS + ", PostgreSQL", f"{{served}} ours {body}", cold=False) for body in SERVED),
    *(Step(f"psycopg-{body}", "psycopg, nothing checked", f"{{served}} raw {body}", cold=False) for body in SERVED),
)  # fmt: skip

MARKS = (
    Mark("P1", "add a tree of small files, cold", "add", ("tar",), limit=1.25),
    Mark("P1 peers", "the same, against the fastest peer that compresses", "add", ("restic-add", "borg-add", "git-add")),
    Mark("P1 warm", "the same, warm", "add-warm", ("restic-add-warm",), limit=0.5),
    Mark("P1 many", "the same contents by put_many, warm", "put-many", ("objects-add",)),
    Mark("P1 text", "the same, full text complete (add --searchable)", "add-text", ("tar",), limit=2.5),
    Mark("P1 text after", "the same, full text by the first search after it", "add+text", ("tar",), limit=2.5),
    Mark("P1s", "bytes of that store, index and sealed journal counted", "kept", ("restic-add",), of=stored, unit="MB"),
    Mark("P1s repack", "the same after repack (asked: 70 of restic's 80.7 MB)", "repacked", ("restic-add",), of=stored, limit=70 / 80.7, unit="MB"),
    Mark("P2", "add the same tree again, unchanged", "again", ("git-again",), limit=2.0),
    Mark("P2 peers", "the same, against restic", "again", ("restic-again",), limit=0.33),
    Mark("P3", "add one big file", "large", ("zstd-large",), limit=1.1,
         floor="large-floor", floor_work="sha256 of the same bytes alone, on one of the processors that zstd has for itself"),
    Mark("P4", "read all small ones in random order, one by one", "read", ("git-read",), of=rate, limit=0.6, rising=True, unit="/s"),
    Mark("P4 bulk", "the same in bulk, in the order of the store", "bulk", ("git-read",), of=rate, limit=1.2, rising=True, unit="/s",
         floor="small-floor", floor_work="sha256 of each alone"),
    Mark("P5", "read the big file, verified", "large-out", ("zstd-out",), limit=1.25,
         floor="large-floor", floor_work="sha256 of the same bytes alone"),
    Mark("P5 pieces", "random reads of 4 KB in it, warm", "pieces", of=rate, limit=5_000, rising=True, unit="/s"),
    Mark("P6", "full fsck of the small ones", "fsck", ("restic-check",)),
    Mark("P6 large", "full fsck of the big one", "large-fsck", ("zstd-proof",), limit=1 / 0.6,
         floor="large-floor", floor_work="sha256 of the same bytes alone"),
    Mark("P7", "a git history after repack: packs with their tables", "history-gc", ("git-history",), of=stored, unit="MB"),
    Mark("P7 time", "the same: how long repack takes", "history-repack", ("git-history",), limit=0.25),
    Mark("P7 read", "the same: any revision, one by one, the slowest", "history-read", of=slowest, limit=5.0, unit="ms"),
    *(Mark(f"P8 {work}", said, work, (f"restic-{work}",), limit=0.5) for work, said in REVISED.items()),
    *(Mark(f"P8s {work}", f"the same: bytes, what a recipe superseded removed ({work})", work,
           (f"restic-{work}", f"borg-{work}"), of=stored_after_gc, unit="MB") for work in REVISED),
    Mark("P9", "one durable put of 2 KB, middle", "put", ("objects-put",), of=p50, unit="ms"),
    Mark("P9 tail", "the slowest of a hundred", "put", ("objects-put",), of=p99, unit="ms"),
    Mark("P9 eight", "eight writers together, puts a second", "put-eight", ("put",), of=rate, rising=True, unit="/s"),
    *(Mark(f"P10 {query}", f"many artifacts: {query}", f"ours-{query}", (f"raw-{query}",), of=p50, limit=limit, unit="ms")
      for query, limit in QUERIES.items()),
    *(Mark(f"P10 {query} grown", f"the same against its own time among 10,000: {query}", f"ours-{query}", (f"few-{query}",),
           of=p50, limit=2.0, unit="ms", bare=(f"raw-{query}", f"few-raw-{query}")) for query in QUERIES),
    Mark("P9 served", "one durable put, the index in PostgreSQL", "served-put", ("psycopg-put",), of=p50, limit=SERVED_PUT, unit="ms"),
    Mark("P9 served eight", "eight writers together there, puts a second", "served-put_eight", ("psycopg-put_eight",), of=rate, limit=1 / SERVED_PUT, rising=True, unit="/s"),
    *(Mark(f"P10 served {query}", f"among 10,000 in PostgreSQL: {query}", f"served-{query}", (f"psycopg-{query}",), of=p50, limit=limit, unit="ms")
      for query, limit in QUERIES.items()),
    *(Mark(f"P10 {query} looked at", f"many artifacts: {query}, four fields of each record looked at", f"ours-{query}-read", (f"raw-{query}",),
           of=p50, limit=QUERIES[query], unit="ms") for query in FLOORS),
    *(Mark(f"P10 {query} floor", f"the same by SQLite alone on our tables, nothing checked: {query}", f"floor-{query}", (f"raw-{query}",),
           of=p50, limit=QUERIES[query], unit="ms") for query in FLOORS),
    Mark("P4 packed", "read all small ones one by one, after repack", "repacked-read", ("git-read",), of=rate, limit=0.6, rising=True, unit="/s"),
    Mark("P4 packed bulk", "the same in bulk", "repacked-bulk", ("git-read",), of=rate, limit=1.2, rising=True, unit="/s"),
    Mark("P11", "peak memory, small files", "add", of=memory, limit=150, unit="MB"),
    Mark("P11 large", "peak memory, big file", "large", of=memory, limit=150, unit="MB"),
    Mark("P11 fsck", "peak memory, fsck --quick of many", "many-fsck", of=memory, limit=300, unit="MB"),
    Mark("P11 gc", "peak memory, gc of many (dry run)", "many-gc", of=memory, limit=300, unit="MB"),
    Mark("P12", "`holdfast --help`", "help", limit=0.12),
    Mark("P12 show", "`holdfast show` among many", "many-show", limit=0.2),
    Mark("P12 status", "`holdfast status` of the small files", "show", limit=0.2),
)  # fmt: skip

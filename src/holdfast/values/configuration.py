"""What can be set, in one table: names, where a value may come from, defaults and bounds. Pure.

docs/configuration.md is made from it. A value is taken from the first of these that has one: the argument of a call (or
the option of the command), the environment, the store (`holdfast config set`), the default.
"""

from __future__ import annotations

import contextlib
import math
from typing import Any

from holdfast.errors import InvalidValueError
from holdfast.values.frozen import dataclass

Value = int | float | str | None
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing that can be set. `kind`: "seconds", "bytes", "count" or "text"; `low`, `high`: bounds of a number.

    `argument`: of which Python calls; `option`: of the command; `environment`: the variable; "" where there is none.
    `stored`: whether a store can have a value of its own. `command`: the variable counts for the command alone.
    """

    name: str
    kind: str
    default: Value
    meaning: str
    argument: str = ""
    option: str = ""
    environment: str = ""
    stored: bool = False
    command: bool = False
    low: float = 0
    high: float = math.inf
    shown: str = ""

    @property
    def usual(self) -> str:
        """The default in words."""
        return self.shown or str(self.default)


TABLE = (
    Setting(
        "path", "text", None, "which store", argument="`path`", option="`-C`, `--store`", environment="HOLDFAST_STORE",
        command=True, shown="the nearest folder above that is a store",
    ),
    Setting(
        "index", "text", None,
        "URL of an index that is in [PostgreSQL](postgresql.md) or [elsewhere](backends.md), and no file; kept nowhere",
        argument="`index`; `path` with `blobs`", option="`init --index`", environment="HOLDFAST_INDEX",
        shown="a file of the store",
    ),
    Setting(
        "blobs", "text", None, "URL of the [blob store](backends.md) that has a store's contents; kept nowhere",
        argument="`blobs`", environment="HOLDFAST_BLOBS", shown="in the store's folder",
    ),
    Setting(
        "actor", "text", None, "who writes, as it stands in the [changes](changes.md)", argument="`actor`",
        environment="HOLDFAST_ACTOR", shown="the login name",
    ),
    Setting(
        "tenant", "text", None, "show and write one [tenant's](tenants.md) records only", argument="`tenant`",
        option="`--tenant`", environment="HOLDFAST_TENANT", command=True, shown="all",
    ),
    Setting(
        "lock_wait_s", "seconds", 30.0, "how long a write waits for other writers", argument="`lock_wait_s`",
        option="`--lock-wait`", environment="HOLDFAST_LOCK_WAIT", stored=True, high=_DAY_S,
    ),
    Setting(
        "grace_s", "seconds", 14.0 * _DAY_S, "how long `gc` keeps what nothing refers to any more",
        argument="`grace_s` of `gc`", option="`gc --grace`", environment="HOLDFAST_GRACE", stored=True,
        high=36_500 * _DAY_S, shown="1209600 (14 days)",
    ),
    Setting(
        "pack_up_to", "bytes", 65_536,
        "content of up to so many bytes goes into [packs](packs.md); 0: each content has a file of its own",
        environment="HOLDFAST_PACK_UP_TO", stored=True, high=65_536,
    ),
    Setting(
        "pack_bytes", "bytes", 33_554_432, "a [pack](packs.md) with so many bytes is sealed, and the next begins",
        environment="HOLDFAST_PACK_BYTES", low=8_388_608, high=1 << 30,
    ),
    Setting(
        "compression_level", "count", 3,
        "zstd level of content as it is put, from quick to small; what `repack` writes has its own",
        environment="HOLDFAST_COMPRESSION_LEVEL", low=1, high=19,
    ),
    Setting(
        "segment_bytes", "bytes", 4_194_304, "a file of the journal with so many bytes is sealed, and the next begins",
        environment="HOLDFAST_SEGMENT_BYTES", stored=True, low=4_096, high=1 << 30,
    ),
    Setting(
        "sync_within_s", "seconds", 5.0,
        "journal and packs are synced this long after a write at the latest; until then the index has the durable copy",
        environment="HOLDFAST_SYNC_WITHIN", stored=True, low=0.05, high=5.0,
    ),
    Setting(
        "repack_from", "bytes", 67_108_864,
        "`gc` [repacks](repack.md) once so many bytes of content were added; 0: only `holdfast repack` does",
        environment="HOLDFAST_REPACK_FROM", stored=True, high=1 << 62,
    ),
    Setting(
        "hands", "count", None, "so many processes may help `add` to read, hash and compress small files; 0: none",
        environment="HOLDFAST_HANDS", stored=True, high=64, shown="one for each processor, up to 4",
    ),
    Setting(
        "contracts", "text", None, "`on`: calls also check what they promise of their results",
        environment="HOLDFAST_CONTRACTS", shown="off",
    ),
    Setting(
        "cache_kib", "count", 16_384, "how much of the index each thread's connection keeps in memory, in KiB",
        environment="HOLDFAST_CACHE_KIB", low=64, high=1 << 24,
    ),
    Setting(
        "busy_timeout_ms", "count", 10_000, "how long SQLite waits for a lock of its own, in milliseconds",
        environment="HOLDFAST_BUSY_TIMEOUT_MS", high=600_000,
    ),
    Setting(
        "connections", "count", 16,
        "how many connections to [PostgreSQL](postgresql.md#connections) an open store has at most for its index; as "
        "many for full text, and for the outbox",
        environment="HOLDFAST_CONNECTIONS", low=2, high=10_000,
    ),
)  # fmt: skip

BY_NAME = {one.name: one for one in TABLE}


def setting(name: str) -> Setting:
    """One of the table; InvalidValueError for a name that is none."""
    found = BY_NAME.get(name)
    if found is None:
        raise InvalidValueError(f"there is no setting {name!r}", where="setting", reason="name",
                                remedy=f"Settings: {', '.join(BY_NAME)}.")  # fmt: skip
    return found


def parsed(one: Setting, text: str, where: str) -> Value:
    """A value from a text, as the environment and the command give it; InvalidValueError that names `where`."""
    if one.kind == "text":
        return text
    value: Value = None
    if text.isascii():
        with contextlib.suppress(ValueError):
            value = float(text) if one.kind == "seconds" else int(text)
    return checked(one, value, where, text)


def checked(one: Setting, value: Any, where: str, said: object = None) -> Value:
    """A value as a call or a store gives it; InvalidValueError that names `where`."""
    kinds: tuple[type, ...] = (str,) if one.kind == "text" else (int, float) if one.kind == "seconds" else (int,)
    fits = type(value) in kinds and (one.kind == "text" or one.low <= value <= one.high)
    if not fits:
        raise InvalidValueError(
            f"{where} cannot be {value if said is None else said!r}", where=where, reason="range",
            remedy=f"Give {_wanted(one)}.",
        )  # fmt: skip
    return float(value) if one.kind == "seconds" else value


def _wanted(one: Setting) -> str:
    if one.kind == "text":
        return "a text"
    noun = {"seconds": "seconds", "bytes": "a whole number of bytes", "count": "a whole number"}[one.kind]
    return f"{noun} from {one.low:g} to {one.high:.0f}"

"""How a store is opened, and by whom."""

from __future__ import annotations

import os
from dataclasses import field
from typing import TYPE_CHECKING

from holdfast.disk import Disk
from holdfast.errors import InvalidValueError
from holdfast.values import canon
from holdfast.values.change import ACTOR_KINDS, Actor
from holdfast.values.frozen import dataclass
from holdfast.values.moment import Clock, SystemClock

if TYPE_CHECKING:
    from holdfast.engine.parts import Parts


@dataclass(frozen=True, slots=True)
class Settings:
    """How a store is opened. `wait_s`: seconds to wait for a lock.

    `pack_up_to`: content of up to so many bytes goes into packs, 0: none does; None: as usual. `index`: URL of an index
    on a server; None: it is a file of the store. `parts`: a blob store or an index that somebody else has written;
    None: as the environment says. `segment_bytes`, `sync_s`: see docs/configuration.md. `tenant`: whose records are
    shown and written; None: all.
    """

    actor: Actor
    wait_s: float = 30.0
    read_only: bool = False
    clock: Clock = field(default_factory=SystemClock)
    disk: Disk = field(default_factory=Disk)
    pack_up_to: int | None = None
    segment_bytes: int | None = None
    sync_s: float | None = None
    index: str | None = None
    parts: Parts | None = None
    tenant: str | None = None


def actor_of(actor: Actor | str | None) -> Actor:
    """An actor from what a caller gave: HOLDFAST_ACTOR or the login name if nothing; InvalidValueError."""
    if actor is None:
        import getpass  # noqa: PLC0415 - start-up time: the command says who it is

        try:
            actor = os.environ.get("HOLDFAST_ACTOR") or getpass.getuser()
        except (OSError, KeyError):
            actor = f"uid-{os.getuid()}"
    if isinstance(actor, str):
        actor = Actor(actor)
    if actor.kind not in ACTOR_KINDS:
        raise InvalidValueError(
            f"{actor.kind!r} is no kind of actor", where="actor", reason="kind",
            remedy=f"Use one of: {', '.join(ACTOR_KINDS)}.",
        )  # fmt: skip
    if not actor.name or "\0" in actor.name:
        raise InvalidValueError(f"{actor.name!r} is no name of an actor", where="actor", reason="name")
    canon.encode(actor.name)
    return actor

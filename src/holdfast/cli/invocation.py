"""One call of the command: which store, whose name, how to print; and the options that every command has."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, cast

import click

from holdfast.cli.output import Output

if TYPE_CHECKING:
    from holdfast import Store
    from holdfast.cli.progress import Silent

MARKER = "holdfast.json"
SAFE = "Nothing is left half done: what was reported as done stays, the rest is absent."


class Invocation:
    """What the common options said. Options after the command's name win over those before it."""

    def __init__(self) -> None:
        self.store: str | None = None
        self.json = False
        self.quiet = False
        self.progress = True
        self.lock_wait_s: float | None = None
        self.tenant: str | None = None
        self.at: str | None = None
        self.on_interrupt = SAFE
        self._out: Output | None = None

    @property
    def out(self) -> Output:
        """Where the answer goes."""
        if self._out is None:
            self._out = Output(json=self.json, quiet=self.quiet)
        return self._out

    def meter(self) -> Silent:
        """Progress for a long call; use it in a `with`."""
        from holdfast.cli import progress  # noqa: PLC0415

        return progress.meter(self.out, wanted=self.progress)

    def path(self) -> str:
        """The store's folder, for what concerns the whole store: StoreWideError if one tenant's was asked for."""
        if self.tenant is not None:
            from holdfast.errors import StoreWideError  # noqa: PLC0415

            raise StoreWideError("this concerns the whole store", remedy="Leave --tenant and HOLDFAST_TENANT out.")
        return self.folder()

    def folder(self) -> str:
        """The store's folder: -C, else HOLDFAST_STORE, else the nearest folder above with a marker, else this one."""
        named = self.store or os.environ.get("HOLDFAST_STORE")
        return named or nearest(os.getcwd()) or "."

    @contextlib.contextmanager
    def look(self) -> Iterator[Store]:
        """The store, to be read; with --at as it was then: a view has the nouns of a store."""
        with self.open(read_only=True) as store:
            if self.at is None:
                yield store
                return
            with self.meter() as progress:
                view = store.at(self.at, progress=progress)
            with view:
                yield cast("Store", view)

    def open(self, *, read_only: bool = False) -> Store:
        """Open the store for this call. Raises what `holdfast.open` raises."""
        import holdfast  # noqa: PLC0415
        from holdfast.cli.allocating import share_arenas  # noqa: PLC0415

        share_arenas()
        store = holdfast.open(
            self.folder(), actor=actor(), read_only=read_only, lock_wait_s=self.lock_wait_s, tenant=self.tenant
        )
        if store.opened.rebuilt:
            self.out.remark(f"note: the index was derived anew ({store.opened.reason})")
        return store


def actor() -> Any:
    """Who writes: $HOLDFAST_ACTOR, else the login name."""
    import holdfast  # noqa: PLC0415

    return holdfast.Actor(os.environ.get("HOLDFAST_ACTOR") or _login(), kind="command-line")


def _login() -> str:
    """What `getpass.getuser` says, without what that imports to read passwords."""
    named = next(filter(None, map(os.environ.get, ("LOGNAME", "USER", "LNAME", "USERNAME"))), None)
    if named is not None:
        return named
    try:
        import pwd  # noqa: PLC0415

        return pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, OSError, KeyError):  # a container without an entry for this user
        return f"uid-{os.getuid()}"


def nearest(start: str) -> str | None:
    """The folder itself or the nearest one above that has a store's marker; None if none has."""
    folder = os.path.abspath(start)
    while True:
        if os.path.lexists(os.path.join(folder, MARKER)):
            return folder
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above


def _keep(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
        # What the environment says was taken before the command's name: it must not undo an option that stood there.
        source = ctx.get_parameter_source(parameter.name or "")
        again = ctx.parent is not None and source is click.core.ParameterSource.ENVIRONMENT
        if value is not None and not again and not ctx.resilient_parsing:
            setattr(ctx.ensure_object(Invocation), name, value)

    return callback


def common_options() -> list[click.Option]:
    """The options that every command has, and the command itself before them."""

    def option(*names: str, field: str, **more: Any) -> click.Option:
        return click.Option([*names], expose_value=False, callback=_keep(field), **more)

    def flag(*names: str, field: str, **more: Any) -> click.Option:
        return option(*names, field=field, is_flag=True, default=None, **more)

    store = "The store's folder [env: HOLDFAST_STORE]."
    wait = "How long to wait for other writers [env: HOLDFAST_LOCK_WAIT; default: 30]."
    tenant = "Show and write this tenant's records only [env: HOLDFAST_TENANT]."
    seconds = click.FloatRange(min=0)
    return [
        option("-C", "--store", field="store", metavar="DIR", type=click.Path(), help=store),
        flag("--json", field="json", flag_value=True, is_eager=True, help="Answer in JSON."),
        flag("-q", "--quiet", field="quiet", flag_value=True, help="Print results only."),
        flag("--no-progress", field="progress", flag_value=False, help="Show no progress."),
        option(
            "--lock-wait", field="lock_wait_s", metavar="SECONDS", type=seconds, envvar="HOLDFAST_LOCK_WAIT", help=wait
        ),
        option("--tenant", field="tenant", metavar="NAME", envvar="HOLDFAST_TENANT", help=tenant),
    ]


def at_option(function: Any) -> Any:
    """`--at`, for commands that read by `Invocation.look`."""
    text = "As it was after this change, or at this time (ISO 8601 with a zone)."
    declare = click.option(
        "--at", metavar="SEQ|TIME", expose_value=False, callback=_keep("at"), help=text
    )  # fmt: skip
    return declare(function)


class Command(click.Command):
    """A command with the common options, listed apart from its own in the help."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.common = common_options()
        self.params.extend(self.common)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Own options first, then those that every command has."""
        write_options(self, ctx, formatter)


def write_options(command: click.Command, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    """Two lists of options: the command's own, and the common ones."""
    common = {id(option) for option in getattr(command, "common", ())}
    options = [one for one in command.get_params(ctx) if isinstance(one, click.Option)]
    own = [one.get_help_record(ctx) for one in options if id(one) not in common]
    shared = [one.get_help_record(ctx) for one in options if id(one) in common]
    for title, records in (("Options", own), ("Common options", shared)):
        shown = [record for record in records if record is not None]
        if shown:
            with formatter.section(title):
                formatter.write_dl(shown)


def command(name: str, **more: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """Declare a command; its function gets the Invocation first."""

    def declare(function: Callable[..., Any]) -> click.Command:
        return click.command(name, cls=Command, **more)(click.make_pass_decorator(Invocation, ensure=True)(function))

    return declare

"""What every command works with: settings, one database connection, the programme, who acts; and how it ends.

Exit 0 done, 1 something is wrong, 2 wrong usage or a wrong setting. Errors go to stderr; with ``--json`` also to stdout.
"""

import asyncio
import getpass
import os
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, NoReturn

import asyncpg
import orjson
import typer
from rich.console import Console, ConsoleDimensions
from rich.table import Table
from rich.text import Text

from app.config import Settings, load_settings
from app.errors import BadInput, CardrailError, ConfigError, NotFound
from app.machines.programme import Programme
from app.store import audit, data_keys, db, schema, trouble
from app.wiring import keys_of, load_programme, open_database, platform_of, stripe_of

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it. Without it the command only says what it would do.")]
Limit = Annotated[int, typer.Option(min=1, max=10_000, help="Rows at most.")]
EventStatus = Annotated[
    Literal["pending", "applied", "ignored", "parked"] | None, typer.Option(help="Only in this status.")
]
EventSource = Annotated[
    Literal["webhook", "response", "poll", "request", "timer"] | None, typer.Option(help="Only from this source.")
]


def _why(given: str) -> str:
    """A reason of blanks is none."""
    if not given.strip():
        raise typer.BadParameter("The reason is empty.")
    return given.strip()


WhyOption = Annotated[str, typer.Option("--reason", help="Why; kept with who and when.", callback=_why)]
WHY = "asked for on the command line"
"""Where a reason may be left out."""

WRONG_USAGE = frozenset(
    {
        ConfigError.default_code,
        *("request_unreadable", "account_unnamed", "account_missing", "not_the_sandbox"),
        *("bad_mode", "bad_replay", "bad_since", "empty_filter", "bad_period", "period_too_long"),
        *("bad_rules", "bad_url", "unknown_type", "platform_unknown", "key_missing"),
    }
)
"""Codes of what the caller typed, or has set, wrongly: exit 2."""

PIPED_COLUMNS = 10_000
"""So wide is a table that another program reads: a row is a line, whatever it holds."""


class _Paper(Console):
    """stdout: as wide as the terminal, or as wide as it must be where there is none."""

    @property  # type: ignore[misc]  # nobody sets it
    def size(self) -> ConsoleDimensions:
        seen = super().size
        narrow = self.is_terminal or "COLUMNS" in os.environ
        return seen if narrow else ConsoleDimensions(PIPED_COLUMNS, seen.height)


out = _Paper()
err = Console(stderr=True)


@dataclass(frozen=True, kw_only=True)
class Desk:
    """An operator's place: a connection and what is needed to read and ask."""

    conn: asyncpg.Connection
    settings: Settings
    programme: Programme
    platform: str
    who: str

    @staticmethod
    def now_ms() -> int:
        return time.time_ns() // 1_000_000


Work = Callable[[Desk], Awaitable[Any]]


def whoami() -> str:
    """Who acts, as the audit names them."""
    return f"cli:{getpass.getuser()}"


def settings(*, as_json: bool = False) -> Settings:
    """The settings of this environment; a wrong one ends the command with the sentence that names it."""
    try:
        return load_settings(os.environ)
    except ConfigError as error:
        fail(error, as_json=as_json)


class _Dry(Exception):
    """Ends a transaction that was only to show what would be."""


def at_desk(
    work: Work,
    *,
    as_json: bool = False,
    change: str = "",
    reason: str | None = None,
    platform: bool = False,
    dry: bool = False,
) -> Any:
    """Run ``work`` in one transaction. A ``change`` (``accounts.hold acct_1``) leaves an audit row, refused too.

    ``platform``: it must know the platform's own account, which Stripe is asked for when the settings do not name it.
    ``dry``: all of it is undone and nothing is noted, so what would be refused is refused here as well.
    """
    change = "" if dry else change

    async def go() -> Any:
        given = settings(as_json=as_json)
        async with open_database(given) as dsn:
            keys = keys_of(given)
            conn = await db.connect(dsn, name="cardrail cli", keys=keys)
            try:
                await schema.check(conn)
                await data_keys.load(conn, keys)
                own = await _platform(given, needed=bool(change)) if platform else given.platform_account_id
                desk = Desk(
                    conn=conn,
                    settings=given,
                    programme=load_programme(given.programme_file),
                    platform=own or "",
                    who=whoami(),
                )
                made = None
                with suppress(_Dry):
                    async with conn.transaction():
                        made = await work(desk)
                        if change:
                            action, _, target = change.partition(" ")
                            result = outcome_of(made)
                            await audit.note(
                                conn, who=desk.who, action=action, target=target, reason=reason, result=result
                            )
                        if dry:
                            raise _Dry
                return made
            except CardrailError as error:
                await note_refusal(conn, error, change, reason)
                raise
            finally:
                await conn.close()

    return ending(lambda: asyncio.run(go()), as_json=as_json)


async def _platform(given: Settings, *, needed: bool) -> str | None:
    """The platform's own account. Unless it is ``needed``, not to know it stops nobody from looking."""
    stripe = stripe_of(given)
    try:
        return await platform_of(given, stripe)
    except ConfigError:
        if needed:
            raise
        return None
    finally:
        await stripe.close()


async def note_refusal(conn: asyncpg.Connection, error: CardrailError, change: str, reason: str | None) -> None:
    """Keep in the audit that a ``change`` was tried and refused. What was mistyped, or is not there, was not tried."""
    if change and not isinstance(error, BadInput | NotFound):
        action, _, target = change.partition(" ")
        result = {"error": error.code}
        await audit.note(conn, who=whoami(), action=action, target=target, reason=reason, result=result)


def outcome_of(made: object) -> dict[str, object]:
    """What the audit keeps of what was made: how it is called and how it stands, never a key."""
    return {name: made[name] for name in ("id", "state", "on") if name in made} if isinstance(made, dict) else {}


def ending(work: Callable[[], Any], *, as_json: bool = False) -> Any:
    """Run ``work``; our own errors and a database that cannot be reached end the command with exit 1 or 2."""
    try:
        return work()
    except CardrailError as error:
        fail(error, as_json=as_json)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        sentence = trouble.in_words(error, os.environ.get("DATABASE_URL") or None)
        fail(CardrailError(sentence, code="unavailable"), as_json=as_json)


def fail(error: CardrailError, *, as_json: bool = False) -> NoReturn:
    """End with the error's sentence."""
    if as_json:
        show_json({"error": {"code": error.code, "message": error.message}})
    err.print(error.message, style="red", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(2 if error.code in WRONG_USAGE else 1) from None


def show_json(value: object) -> None:
    sys.stdout.write(orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z).decode() + "\n")


def show_rows(rows: list[dict[str, Any]], columns: list[str], *, as_json: bool) -> None:
    """A list as a table, or as JSON with all that is known."""
    if as_json:
        show_json({"data": rows})
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.upper(), overflow="fold", no_wrap=column in {"id", "account", "fingerprint"})
    for row in rows:
        table.add_row(*(Text(_cell(row.get(column))) for column in columns))
    _show(table)
    if not rows:
        err.print("Nothing found.", style="dim")


def show_thing(thing: dict[str, Any], *, as_json: bool) -> None:
    """One thing, member by member."""
    if as_json:
        show_json(thing)
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in thing.items():
        table.add_row(name, Text(_cell(value)))
    _show(table)


def _show(table: Table) -> None:
    """A table, its lines without the blanks that fill up the last column."""
    with out.capture() as drawn:
        out.print(table)
    for line in drawn.get().splitlines():
        out.file.write(line.rstrip() + "\n")


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict) and set(value) == {"value", "currency"}:
        return f"{int(value['value']) / 100:,.2f} {str(value['currency']).upper()}"
    if isinstance(value, dict) and "code" in value:
        return f"{value['code']}: {value.get('message') or ''}"
    if isinstance(value, dict | list):
        return orjson.dumps(value, default=str, option=orjson.OPT_UTC_Z).decode() if value else "-"
    return value.isoformat(sep=" ", timespec="seconds")[:19] if isinstance(value, datetime) else str(value)


def would(sentence: str, *, as_json: bool) -> None:
    """Say what the command would do; it then ends without doing it."""
    if as_json:
        show_json({"dry_run": True, "would": sentence})
    else:
        out.print(f"Would {sentence}. Nothing was done: add --yes to do it.", markup=False, highlight=False)


def moment(text: str) -> datetime:
    """An RFC 3339 time with its zone; wrong usage otherwise."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text} is no RFC 3339 time, like 2026-11-24T10:00:00Z") from error
    if found.tzinfo is None:
        raise typer.BadParameter(f"{text} has no zone: add Z")
    return found

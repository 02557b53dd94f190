"""`cardrail events`, `cardrail commands`, `cardrail replays`: what happened, what was asked, and another try."""

from datetime import datetime
from typing import Annotated, Any

import typer

from app.cli import ops
from app.cli.desk import (
    AsJson,
    Desk,
    EventSource,
    EventStatus,
    Limit,
    WhyOption,
    Work,
    Yes,
    at_desk,
    moment,
    show_rows,
    show_thing,
    would,
)
from app.cli.jobs import in_words, standing
from app.cli.lines import event_in_words
from app.errors import NotFound
from app.machines.commands import KINDS
from app.ops import requests
from app.store import replays as jobs
from app.store import views
from app.web import shown, whole
from app.web.api.commands import Status

events = typer.Typer(no_args_is_help=True)
commands = typer.Typer(no_args_is_help=True)
replays = typer.Typer(no_args_is_help=True)

EventId = Annotated[str, typer.Argument(metavar="EVT", help="The event.")]
CommandId = Annotated[str, typer.Argument(metavar="CMD", help="The command.")]
Since = Annotated[
    datetime | None, typer.Option(parser=moment, metavar="TIME", help="RFC 3339: arrived at this time or later.")
]
Until = Annotated[
    datetime | None, typer.Option(parser=moment, metavar="TIME", help="RFC 3339: arrived before this time.")
]
Account = Annotated[str | None, typer.Option(help="Only of this account.")]


@events.command("list")
def list_events(
    account: Account = None,
    type_: Annotated[str | None, typer.Option("--type", help="Only of this type.")] = None,
    status: EventStatus = None,
    source: EventSource = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """Events, newest arrival first."""

    async def work(desk: Desk) -> list[dict[str, Any]]:
        rows = await views.events(
            desk.conn,
            limit=limit,
            account=account,
            type=type_,
            status=status,
            source=source,
            since=since,
            until=until,
        )
        return [shown.event(row) for row in rows]

    columns = ["id", "account", "type", "source", "status", "received_at", "deliveries", "attempts", "error"]
    show_rows(at_desk(work, as_json=as_json), columns, as_json=as_json)


async def _event(desk: Desk, event_id: str) -> views.Row:
    row = await views.event(desk.conn, event_id)
    if row is None:
        raise NotFound(f"There is no event {event_id}.")
    return row


@events.command("show")
def show_event(event_id: EventId, as_json: AsJson = False) -> None:
    """One event: payload, what it did, where it came from, what followed."""

    async def work(desk: Desk) -> dict[str, Any]:
        return await whole.event(desk.conn, await _event(desk, event_id), private=False)

    found = at_desk(work, as_json=as_json)
    show_thing(found if as_json else event_in_words(found), as_json=as_json)


events.command("replay")(ops.replay_event)


@events.command("ignore")
def ignore_event(event_id: EventId, reason: WhyOption, yes: Yes = False, as_json: AsJson = False) -> None:
    """Close a parked event without effect."""

    async def work(desk: Desk) -> dict[str, Any]:
        return await requests.ignore_event(desk.conn, event_id, by=desk.who, reason=reason)

    made = at_desk(work, as_json=as_json, change=f"events.ignore {event_id}", reason=reason, dry=not yes)
    if yes:
        show_thing(made, as_json=as_json)
    else:
        would(f"close {event_id} without effect", as_json=as_json)


def _kind(text: str) -> str:
    if text not in KINDS:
        raise typer.BadParameter(f"There is no kind {text}: one of {', '.join(KINDS)}.")
    return text


@commands.command("list")
def list_commands(
    account: Account = None,
    status: Annotated[Status | None, typer.Option(help="Only in this status.")] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", parser=_kind, metavar="KIND", help="Only of this kind: create_card ...")
    ] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """Commands, newest first."""

    async def work(desk: Desk) -> list[dict[str, Any]]:
        rows = await views.commands(desk.conn, limit=limit, account=account, status=status, kind=kind)
        return [shown.command(row) for row in rows]

    columns = ["id", "account", "kind", "status", "attempts", "amount", "object_id", "created", "error"]
    show_rows(at_desk(work, as_json=as_json), columns, as_json=as_json)


async def _command(desk: Desk, command_id: str) -> dict[str, Any]:
    row = await views.command(desk.conn, command_id)
    if row is None:
        raise NotFound(f"There is no command {command_id}.")
    return shown.command(row)


@commands.command("show")
def show_command(command_id: CommandId, as_json: AsJson = False) -> None:
    """One command."""
    show_thing(at_desk(lambda desk: _command(desk, command_id), as_json=as_json), as_json=as_json)


@commands.command("retry")
def retry_command(
    command_id: CommandId, reason: WhyOption = "retried by an operator", yes: Yes = False, as_json: AsJson = False
) -> None:
    """Send a parked command again, under its one idempotency key."""

    async def work(desk: Desk) -> dict[str, Any]:
        return await requests.retry_command(desk.conn, command_id, at_ms=desk.now_ms())

    _decide(
        work, "retry", "send {kind} of {account} again (it is {status})", command_id, reason, yes=yes, as_json=as_json
    )


@commands.command("discard")
def discard_command(command_id: CommandId, reason: WhyOption, yes: Yes = False, as_json: AsJson = False) -> None:
    """Give a parked command up."""

    async def work(desk: Desk) -> dict[str, Any]:
        return await requests.discard_command(desk.conn, command_id, by=desk.who, reason=reason, at_ms=desk.now_ms())

    _decide(
        work, "discard", "give up {kind} of {account} (it is {status})", command_id, reason, yes=yes, as_json=as_json
    )


def _decide(work: Work, deed: str, plan: str, command_id: str, reason: str, *, yes: bool, as_json: bool) -> None:
    """Do it to the command; without ``yes`` it is tried and undone, so what is refused is refused there as well."""
    before: dict[str, Any] = {}

    async def both(desk: Desk) -> dict[str, Any]:
        before.update(await _command(desk, command_id))
        return dict(await work(desk))

    made = at_desk(both, as_json=as_json, change=f"commands.{deed} {command_id}", reason=reason, dry=not yes)
    if yes:
        show_thing(made, as_json=as_json)
    else:
        would(plan.format_map(before), as_json=as_json)


@replays.command("list")
def list_replays(as_json: AsJson = False) -> None:
    """The newest jobs."""

    async def work(desk: Desk) -> list[dict[str, Any]]:
        return [dict(row) for row in await jobs.newest(desk.conn)]

    rows = at_desk(work, as_json=as_json)
    if not as_json:
        rows = [{**row, "state": standing(row)} for row in rows]
    columns = ["id", "state", "mode", "done", "total", "failed", "by"]
    show_rows(rows, columns, as_json=as_json)


@replays.command("show")
def show_replay(replay_id: Annotated[str, typer.Argument(metavar="REPLAY")], as_json: AsJson = False) -> None:
    """One job."""

    async def work(desk: Desk) -> dict[str, Any]:
        row = await jobs.find(desk.conn, replay_id)
        if row is None:
            raise NotFound(f"There is no replay {replay_id}.")
        return dict(row)

    found = at_desk(work, as_json=as_json)
    show_thing(found if as_json else in_words(found), as_json=as_json)


replays.command("start")(ops.start_replay)
replays.command("confirm")(ops.confirm_replay)
replays.command("stop")(ops.stop_replay)

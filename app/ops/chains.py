"""The journal as a chain of causes: webhook -> transition -> command -> the events that the command caused."""

from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg

from app.store import chains, views

Told = dict[str, Any]


async def behind(conn: asyncpg.Connection, account_id: str, lines: Sequence[views.Row]) -> list[Told]:
    """For each journal line ``{event, issued}``: the event behind it, and the commands issued with it.

    ``event`` is ``{id, type, source, status, caused_by, caused}``, a command ``{id, kind, status, object_id, error,
    caused}``; ``caused`` are events ``{id, account, type, source, status}``. An event that stands behind several lines
    tells what it caused in each.
    """
    issued = [command for line in lines for command in views.parsed(line["commands"]) or ()]
    seen = list({line["event_id"] for line in lines})
    events = {row["event_id"]: row for row in await chains.events(conn, account_id, seen)}
    commands = {row["command_id"]: row for row in await chains.commands(conn, account_id, issued)}
    followed: dict[str, list[Told]] = {}
    for row in await chains.caused(conn, account_id, [*seen, *issued]):
        followed.setdefault(row["cause"], []).append(
            {"id": row["event_id"], "account": row["account_id"], **{k: row[k] for k in ("type", "source", "status")}}
        )
    return [
        {
            "event": _event(line["event_id"], events, followed),
            "issued": [_command(c, commands, followed) for c in views.parsed(line["commands"]) or ()],
        }
        for line in lines
    ]


def _event(event_id: str, events: Mapping[str, views.Row], followed: Mapping[str, list[Told]]) -> Told | None:
    event = events.get(event_id)
    if event is None:
        return None
    known = {name: event[name] for name in ("type", "source", "status", "caused_by")}
    return {"id": event_id, **known, "caused": followed.get(event_id, [])}


def _command(command_id: str, commands: Mapping[str, views.Row], followed: Mapping[str, list[Told]]) -> Told:
    command = commands.get(command_id)
    known = {name: command[name] if command is not None else None for name in ("kind", "status", "object_id")}
    error = views.parsed(command["error"]) if command is not None else None
    return {"id": command_id, **known, "error": error, "caused": followed.get(command_id, [])}

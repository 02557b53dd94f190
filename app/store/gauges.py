"""What the gauges on /metrics show: read from the database, so any worker can say it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from app.store import outbox
from app.store.db import Connection

COUNTED_MAX = 100_000
"""Rows looked at per gauge; a larger backlog shows as this many."""


class Waiting(NamedTuple):
    """How many wait (``number``), and for how many seconds the oldest has."""

    number: int
    oldest_s: float


class Gauges(NamedTuple):
    """Events that wait (also those that are tried again later), commands that are due and that neither hold nor brake keeps back, what is parked, when a worker was last heard of (None: never), up to when nothing is missing."""

    events: Waiting
    commands: Waiting
    parked_events: Waiting
    parked_commands: Waiting
    heartbeat_s: float | None
    complete_until: datetime | None
    brakes: Sequence[tuple[str, str]]


_WAITING = "SELECT count(*), coalesce(extract(epoch FROM now() - min({at})), 0)::float8 FROM ({rows} LIMIT $1) AS r"
_EVENTS = "SELECT received_at AS at FROM events WHERE status = {status}"
_COMMANDS = "SELECT {at} AS at FROM outbox o WHERE status {status}"


async def read(conn: Connection) -> Gauges:
    """All gauges, from a bounded number of rows."""
    open_ = f"IN ('pending', 'in_flight', 'unknown') AND due_at <= now() AND {outbox.FREE}"
    return Gauges(
        events=await _waiting(conn, _EVENTS.format(status="'pending'")),
        commands=await _waiting(conn, _COMMANDS.format(at="due_at", status=open_)),
        parked_events=await _waiting(conn, _EVENTS.format(status="'parked'")),
        parked_commands=await _waiting(conn, _COMMANDS.format(at="updated_at", status="= 'parked'")),
        heartbeat_s=await conn.fetchval("SELECT extract(epoch FROM now() - max(at))::float8 FROM heartbeats"),
        complete_until=await conn.fetchval("SELECT at FROM watermarks WHERE name = $1", COMPLETE),
        brakes=[tuple(row) for row in await conn.fetch("SELECT step, by FROM brakes WHERE released_at IS NULL")],
    )


async def _waiting(conn: Connection, rows: str) -> Waiting:
    found: Any = await conn.fetchrow(_WAITING.format(at="at", rows=rows), COUNTED_MAX)
    return Waiting(*found)


COMPLETE = "events.complete"
"""The mark up to which no event of Stripe is missing, as far as the gap hunter could see."""


async def mark_complete(conn: Connection, until: datetime) -> None:
    """Nothing is missing up to ``until``; the mark never goes back."""
    await conn.execute(
        "INSERT INTO watermarks AS w (name, at) VALUES ($1, $2)"
        " ON CONFLICT (name) DO UPDATE SET at = greatest(w.at, excluded.at), updated_at = now()",
        COMPLETE,
        until,
    )


async def begin_hunt(conn: Connection) -> bool:
    """Be the only process that hunts, until :func:`end_hunt` on the same connection."""
    return bool(await conn.fetchval("SELECT pg_try_advisory_lock(hashtext('cardrail gap hunt'))"))


async def end_hunt(conn: Connection) -> None:
    await conn.execute("SELECT pg_advisory_unlock(hashtext('cardrail gap hunt'))")


async def complete_until(conn: Connection) -> tuple[datetime, float] | None:
    """The mark, and how many seconds ago it was last confirmed; None before the first hunt."""
    row = await conn.fetchrow(
        "SELECT at, extract(epoch FROM now() - updated_at)::float8 FROM watermarks WHERE name = $1", COMPLETE
    )
    return None if row is None else (row[0], row[1])

"""Bulk replay jobs, and the events that a job's filter names in the order in which it goes through them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg

from app.store import sealed

Row = Mapping[str, Any]

_JOB = """
SELECT id, state, mode, filter, rate, reason, by, total, done, failed, dry_run, forecast, by_key, confirmed_by,
       confirmed_at, cursor->>'error' AS last_error, created_at, updated_at,
       state = 'planned' AND NOT dry_run AND coalesce((forecast->>'complete')::boolean, false) AS needs_confirmation
  FROM replays
"""
_WORK = "SELECT id, mode, filter, rate, reason, by, total, done, failed, cursor, dry_run, created_at FROM replays"
_UNFORESEEN = "state = 'planned' AND NOT coalesce((forecast->>'complete')::boolean, false)"
_FILTERED = """
 FROM events
WHERE ($1::text IS NULL OR account_id = $1) AND ($2::text IS NULL OR type = $2) AND ($3::text IS NULL OR status = $3)
  AND ($4::text IS NULL OR source = $4) AND ($5::timestamptz IS NULL OR received_at >= $5)
  AND ($6::timestamptz IS NULL OR received_at < $6) AND ($7::text IS NULL OR event_id = $7)
  AND ($8::timestamptz IS NULL OR received_at < $8)
"""
FILTERS = ("account", "type", "status", "source", "since", "until", "event")
FOLDED = (
    "account_id, event_id, source, type, kind, created, received_at, payload, fetched, attempts, caused_by, status,"
    " twin_id"
)
PREFETCH = 200


async def newest(conn: asyncpg.Connection, *, limit: int = 50, after: Sequence[Any] | None = None) -> list[Row]:
    """Jobs, newest first; ``after`` is time and id of the last one seen."""
    at, job = (datetime.fromisoformat(after[0]), after[1]) if after else (None, None)
    return list(
        await conn.fetch(
            f"{_JOB} WHERE $1::timestamptz IS NULL OR (created_at, id) < ($1, $2::text)"
            " ORDER BY created_at DESC, id DESC LIMIT $3",
            at,
            job,
            limit,
        )
    )


async def find(conn: asyncpg.Connection, replay_id: str) -> Row | None:
    row: Row | None = await conn.fetchrow(f"{_JOB} WHERE id = $1", replay_id)
    return row


async def lock(conn: asyncpg.Connection, replay_id: str) -> Row | None:
    """The job, against another who confirms or stops it, until the transaction ends."""
    row: Row | None = await conn.fetchrow(f"{_JOB} WHERE id = $1 FOR UPDATE", replay_id)
    return row


def _values(asked: Mapping[str, Any], before: datetime | None) -> list[Any]:
    """The filter's values in order; ``before`` keeps out what arrives while the job runs."""
    given = [asked.get(name) for name in FILTERS]
    times = [datetime.fromisoformat(value) if value else None for value in given[4:6]]
    return [*given[:4], *times, given[6], before]


async def count(conn: asyncpg.Connection, asked: Mapping[str, Any]) -> dict[str, int]:
    """How many events a filter names, by status."""
    rows = await conn.fetch(
        f"SELECT status, count(*) AS n {_FILTERED} GROUP BY status ORDER BY status", *_values(asked, None)
    )
    return {row["status"]: row["n"] for row in rows}


async def events(
    conn: asyncpg.Connection, asked: Mapping[str, Any], *, before: datetime, after: Sequence[str], limit: int
) -> list[Row]:
    """The next events of a job, in key order, without their bodies."""
    return list(
        await conn.fetch(
            f"SELECT account_id, event_id, status {_FILTERED} AND (account_id, event_id) > ($9, $10)"
            " ORDER BY account_id, event_id LIMIT $11",
            *_values(asked, before),
            *after,
            limit,
        )
    )


async def bodies(
    conn: asyncpg.Connection, asked: Mapping[str, Any], before: datetime | None
) -> AsyncIterator[list[Row]]:
    """All events of a filter with their bodies, account by account, in the order in which apply would take them up.

    In pages of ``PREFETCH``; needs a transaction.
    """
    query = f"SELECT {FOLDED} {_FILTERED} ORDER BY account_id, created, received_at, event_id"
    cursor = await conn.cursor(query, *_values(asked, before))
    while page := await cursor.fetch(PREFETCH):
        yield await sealed.opened(conn, sealed.EVENTS, page, lenient=True)


async def create(
    conn: asyncpg.Connection,
    *,
    replay_id: str,
    state: str,
    mode: str,
    asked: Mapping[str, Any],
    rate: int,
    reason: str,
    by: str,
    by_key: str,
    total: int,
    dry_run: bool,
    forecast: Mapping[str, Any] | None,
) -> None:
    await conn.execute(
        "INSERT INTO replays (id, state, mode, filter, rate, reason, by, by_key, total, dry_run, forecast)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        replay_id,
        state,
        mode,
        dict(asked),
        rate,
        reason,
        by,
        by_key,
        total,
        dry_run,
        forecast,
    )


async def stop(conn: asyncpg.Connection, replay_id: str) -> bool:
    """Stop a job that is planned or running; what it did stays done."""
    return bool(
        await conn.fetchval(
            "UPDATE replays SET state = 'stopped', updated_at = now()"
            " WHERE id = $1 AND state IN ('planned', 'running') RETURNING true",
            replay_id,
        )
    )


async def confirm(conn: asyncpg.Connection, replay_id: str, *, by: str, key: str) -> None:
    """Let a planned job run, and keep who said so."""
    await conn.execute(
        "UPDATE replays SET state = 'running', confirmed_by = $2, confirmed_key = $3, confirmed_at = now(),"
        " updated_at = now() WHERE id = $1 AND state = 'planned'",
        replay_id,
        by,
        key,
    )


async def unforeseen(conn: asyncpg.Connection) -> list[Row]:
    """Planned jobs of which nobody has said yet what they would do."""
    return list(await conn.fetch(f"{_WORK} WHERE {_UNFORESEEN} ORDER BY created_at, id"))


async def foresee(conn: asyncpg.Connection, replay_id: str, forecast: Mapping[str, Any], *, state: str) -> None:
    """Keep what a planned job would do, as far as it is known. A job that was stopped meanwhile stays stopped."""
    await conn.execute(
        "UPDATE replays SET forecast = $2, state = $3, updated_at = now() WHERE id = $1 AND state = 'planned'",
        replay_id,
        dict(forecast),
        state,
    )


async def running(conn: asyncpg.Connection) -> list[Row]:
    """Jobs that run, with how far they are."""
    return list(await conn.fetch(f"{_WORK} WHERE state = 'running' ORDER BY created_at, id"))


async def try_lock(conn: asyncpg.Connection, replay_id: str) -> bool:
    """One process works on a job at a time, until its transaction ends."""
    return bool(await conn.fetchval("SELECT pg_try_advisory_xact_lock(hashtext('replay ' || $1))", replay_id))


async def advance(
    conn: asyncpg.Connection, replay_id: str, *, done: int, failed: int, cursor: Mapping[str, Any], state: str
) -> None:
    """Note progress. A job that was stopped meanwhile stays stopped.

    ``total`` was counted when the job was made; events enter and leave a filter meanwhile (by their status, or because
    they were written and not yet committed then), so it follows what is really there.
    """
    await conn.execute(
        "UPDATE replays SET done = done + $2, failed = failed + $3, cursor = $4, updated_at = now(),"
        " total = CASE WHEN $5 = 'finished' THEN done + $2 ELSE greatest(total, done + $2) END,"
        " state = CASE WHEN state = 'running' THEN $5 ELSE state END WHERE id = $1",
        replay_id,
        done,
        failed,
        dict(cursor),
        state,
    )

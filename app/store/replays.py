"""Bulk replay jobs, and the events that a job's filter names in the order in which it goes through them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg

Row = Mapping[str, Any]

_JOB = "SELECT id, state, mode, filter, rate, reason, by, total, done, failed, created_at, updated_at FROM replays"
_FILTERED = """
 FROM events
WHERE ($1::text IS NULL OR account_id = $1) AND ($2::text IS NULL OR type = $2) AND ($3::text IS NULL OR status = $3)
  AND ($4::text IS NULL OR source = $4) AND ($5::timestamptz IS NULL OR received_at >= $5)
  AND ($6::timestamptz IS NULL OR received_at < $6) AND ($7::timestamptz IS NULL OR received_at < $7)
"""
FILTERS = ("account", "type", "status", "source", "since", "until")


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


def _values(asked: Mapping[str, Any], before: datetime | None) -> list[Any]:
    """The filter's values in order; ``before`` keeps out what arrives while the job runs."""
    times = [datetime.fromisoformat(asked[n]) if asked.get(n) else None for n in ("since", "until")]
    return [*(asked.get(name) for name in FILTERS[:4]), *times, before]


async def count(conn: asyncpg.Connection, asked: Mapping[str, Any]) -> dict[str, int]:
    """How many events a filter names, by status."""
    rows = await conn.fetch(
        f"SELECT status, count(*) AS n {_FILTERED} GROUP BY status ORDER BY status", *_values(asked, None)
    )
    return {row["status"]: row["n"] for row in rows}


async def events(
    conn: asyncpg.Connection, asked: Mapping[str, Any], *, before: datetime, after: Sequence[str], limit: int
) -> list[Row]:
    """The next events of a job, in key order."""
    return list(
        await conn.fetch(
            "SELECT account_id, event_id, source, type, kind, created, received_at, payload, fetched, attempts,"
            f" caused_by, status, twin_id {_FILTERED} AND (account_id, event_id) > ($8, $9)"
            " ORDER BY account_id, event_id LIMIT $10",
            *_values(asked, before),
            *after,
            limit,
        )
    )


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
    total: int,
) -> None:
    await conn.execute(
        "INSERT INTO replays (id, state, mode, filter, rate, reason, by, total) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        replay_id,
        state,
        mode,
        dict(asked),
        rate,
        reason,
        by,
        total,
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


async def running(conn: asyncpg.Connection) -> list[Row]:
    """Jobs that run, with how far they are."""
    return list(
        await conn.fetch(
            "SELECT id, mode, filter, rate, reason, by, total, done, failed, cursor, created_at FROM replays"
            " WHERE state = 'running' ORDER BY created_at, id"
        )
    )


async def try_lock(conn: asyncpg.Connection, replay_id: str) -> bool:
    """One process works on a job at a time, until its transaction ends."""
    return bool(await conn.fetchval("SELECT pg_try_advisory_xact_lock(hashtext('replay ' || $1))", replay_id))


async def advance(
    conn: asyncpg.Connection, replay_id: str, *, done: int, failed: int, cursor: Mapping[str, Any], state: str
) -> None:
    """Note progress. A job that was stopped meanwhile stays stopped."""
    await conn.execute(
        "UPDATE replays SET done = done + $2, failed = failed + $3, cursor = $4, updated_at = now(),"
        " state = CASE WHEN state = 'running' THEN $5 ELSE state END WHERE id = $1",
        replay_id,
        done,
        failed,
        dict(cursor),
        state,
    )

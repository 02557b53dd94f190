"""Who did what, and why: one row per operation of a person or an internal service."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg
import msgspec

Row = Mapping[str, Any]


async def note(
    conn: asyncpg.Connection,
    *,
    who: str,
    action: str,
    target: str,
    reason: str | None = None,
    result: Mapping[str, object] | None = None,
) -> None:
    await conn.execute(
        "INSERT INTO operator_actions (who, action, target, reason, result) VALUES ($1, $2, $3, $4, $5::text::jsonb)",
        who,
        action,
        target,
        reason,
        msgspec.json.encode(dict(result or {})).decode(),
    )


async def note_once(conn: asyncpg.Connection, *, who: str, action: str, target: str, reason: str, hours: int) -> bool:
    """Note it unless it was noted in the last ``hours``; whether it was not. Needs a transaction, in which others wait."""
    await conn.execute("SELECT pg_advisory_xact_lock(hashtext($1 || ' ' || $2))", action, target)
    made = await conn.fetchval(
        """
        INSERT INTO operator_actions (who, action, target, reason)
        SELECT $1::text, $2::text, $3::text, $4::text WHERE NOT EXISTS (
            SELECT FROM operator_actions
             WHERE who = $1 AND action = $2 AND target = $3 AND at > now() - make_interval(hours => $5))
        RETURNING true
        """,
        who,
        action,
        target,
        reason,
        hours,
    )
    return bool(made)


async def newest(
    conn: asyncpg.Connection,
    *,
    limit: int = 50,
    after: Sequence[Any] | None = None,
    who: str | None = None,
    target: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[Row]:
    """Operations, newest first; ``target`` is a part of what was acted on (an account, an event)."""
    return list(
        await conn.fetch(
            """
            SELECT id, at, who, action, target, reason, result FROM operator_actions
             WHERE ($1::bigint IS NULL OR id < $1) AND ($2::text IS NULL OR who = $2)
               AND ($3::text IS NULL OR strpos(target, $3) > 0)
               AND ($4::timestamptz IS NULL OR at >= $4) AND ($5::timestamptz IS NULL OR at < $5)
             ORDER BY id DESC LIMIT $6
            """,
            after[0] if after else None,
            who,
            target,
            since,
            until,
            limit,
        )
    )

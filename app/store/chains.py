"""What stands behind the lines of a journal, and what followed from them: read in three statements, never per line."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.store.db import Connection

Row = Mapping[str, Any]


async def events(conn: Connection, account_id: str, event_ids: Sequence[str]) -> list[Row]:
    """These events, without their payloads."""
    return list(
        await conn.fetch(
            "SELECT event_id, type, source, status, created, caused_by FROM events"
            " WHERE account_id = $1 AND event_id = ANY($2::text[])",
            account_id,
            list(event_ids),
        )
    )


async def commands(conn: Connection, account_id: str, command_ids: Sequence[str]) -> list[Row]:
    """These commands and how they stand."""
    return list(
        await conn.fetch(
            "SELECT command_id, kind, status, attempts, object_id, error FROM outbox"
            " WHERE account_id = $1 AND command_id = ANY($2::text[])",
            account_id,
            list(command_ids),
        )
    )


async def caused(conn: Connection, account_id: str, causes: Sequence[str]) -> list[Row]:
    """Events of this account that these commands or events caused, and copies of events handed on to other accounts.

    Those are named ``event:account``; the operators compare bytes, since ``;`` follows ``:`` in no dictionary's order.
    """
    return list(
        await conn.fetch(
            """
            SELECT account_id, event_id, type, source, status, caused_by AS cause FROM events
             WHERE account_id = $1 AND caused_by = ANY($2::text[])
            UNION
            SELECT e.account_id, e.event_id, e.type, e.source, e.status, c.cause
              FROM unnest($2::text[]) AS c (cause)
              JOIN events e ON e.event_id ~>=~ (c.cause || ':') AND e.event_id ~<~ (c.cause || ';') AND e.account_id <> $1
             ORDER BY event_id
            """,
            account_id,
            list(causes),
        )
    )


async def newest_lines(conn: Connection, account_id: str, limit: int) -> list[Row]:
    """The newest lines of an account's journal, newest first."""
    return list(
        await conn.fetch(
            "SELECT account_id, seq, machine, object_id, from_state, to_state, event_id, at, commands, note"
            " FROM journal WHERE account_id = $1 ORDER BY seq DESC LIMIT $2",
            account_id,
            limit,
        )
    )

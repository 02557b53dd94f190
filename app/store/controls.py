"""What a person may change beside the log: holds, brakes, parked commands and events. One function per statement."""

from collections.abc import Mapping
from typing import Any

import asyncpg
import msgspec

Row = Mapping[str, Any]


async def lock_account(conn: asyncpg.Connection, account_id: str) -> Row | None:
    """The account for an operation on it, locked against another such operation until the transaction ends."""
    row: Row | None = await conn.fetchrow(
        "SELECT account_id, state, enrolled, hold, country FROM accounts WHERE account_id = $1 FOR NO KEY UPDATE",
        account_id,
    )
    return row


async def find_account(conn: asyncpg.Connection, account_id: str) -> Row | None:
    row: Row | None = await conn.fetchrow(
        "SELECT account_id, state, enrolled, hold, country FROM accounts WHERE account_id = $1", account_id
    )
    return row


async def set_hold(conn: asyncpg.Connection, account_id: str, hold: Mapping[str, object] | None) -> None:
    """Hold or release at once; the commands of a held account are not claimed."""
    await conn.execute(
        "UPDATE accounts SET hold = $2::text::jsonb, version = version + 1, updated_at = now() WHERE account_id = $1",
        account_id,
        None if hold is None else msgspec.json.encode(dict(hold)).decode(),
    )


async def brakes(conn: asyncpg.Connection) -> list[Row]:
    """The steps that stand still."""
    return list(await conn.fetch("SELECT step, reason, by, at FROM brakes WHERE released_at IS NULL ORDER BY step"))


async def set_brake(conn: asyncpg.Connection, *, step: str, reason: str, by: str) -> Row:
    """Stop a step. On a step that stands still it replaces the reason."""
    row: Row = await conn.fetchrow(
        """
        INSERT INTO brakes (step, reason, by) VALUES ($1, $2, $3)
        ON CONFLICT (step) DO UPDATE SET reason = excluded.reason, by = excluded.by, at = now(),
               released_at = NULL, released_by = NULL, release_reason = NULL
        RETURNING step, reason, by, at
        """,
        step,
        reason,
        by,
    )
    return row


async def trip_brake(conn: asyncpg.Connection, *, step: str, reason: str, by: str) -> bool:
    """Stop a step unless it stands still already, so a person's reason is never written over. True when set now."""
    return bool(
        await conn.fetchval(
            """
            INSERT INTO brakes AS b (step, reason, by) VALUES ($1, $2, $3)
            ON CONFLICT (step) DO UPDATE SET reason = excluded.reason, by = excluded.by, at = now(),
                   released_at = NULL, released_by = NULL, release_reason = NULL
             WHERE b.released_at IS NOT NULL
            RETURNING true
            """,
            step,
            reason,
            by,
        )
    )


async def release_brake(conn: asyncpg.Connection, *, step: str, reason: str, by: str) -> bool:
    """Let a step go on; who released it and why stays. False when it did not stand still."""
    return bool(
        await conn.fetchval(
            "UPDATE brakes SET released_at = now(), released_by = $2, release_reason = $3"
            " WHERE step = $1 AND released_at IS NULL RETURNING true",
            step,
            by,
            reason,
        )
    )


async def retry_command(conn: asyncpg.Connection, account_id: str, command_id: str) -> bool:
    """Send it again, under its one key, as soon as a worker can. False when its status does not allow that."""
    done = await conn.fetchval(
        """
        UPDATE outbox SET status = CASE WHEN status = 'parked' THEN 'pending' ELSE status END, due_at = now(),
               attempts = CASE WHEN status = 'parked' THEN 0 ELSE attempts END, updated_at = now()
         WHERE account_id = $1 AND command_id = $2 AND status IN ('parked', 'pending', 'unknown') RETURNING true
        """,
        account_id,
        command_id,
    )
    return bool(done)


async def discard_command(
    conn: asyncpg.Connection, account_id: str, command_id: str, error: Mapping[str, object]
) -> bool:
    """Give a command up that is parked, or was never sent. False when it may be under way."""
    done = await conn.fetchval(
        """
        UPDATE outbox SET status = 'rejected', error = $3::text::jsonb, updated_at = now()
         WHERE account_id = $1 AND command_id = $2
           AND (status = 'parked' OR (status = 'pending' AND first_call_at IS NULL)) RETURNING true
        """,
        account_id,
        command_id,
        msgspec.json.encode(dict(error)).decode(),
    )
    return bool(done)


async def retry_event(conn: asyncpg.Connection, account_id: str, event_id: str) -> bool:
    """Fold it again. Only what was never applied: a parked, ignored or waiting event."""
    done = await conn.fetchval(
        "UPDATE events SET status = 'pending', due_at = now(), attempts = 0, error = NULL"
        " WHERE account_id = $1 AND event_id = $2 AND status IN ('parked', 'pending') RETURNING true",
        account_id,
        event_id,
    )
    return bool(done)


async def ignore_event(conn: asyncpg.Connection, account_id: str, event_id: str, error: Mapping[str, object]) -> bool:
    """Close a parked or waiting event without effect; the reason stays beside it."""
    done = await conn.fetchval(
        "UPDATE events SET status = 'ignored', error = $3::text::jsonb"
        " WHERE account_id = $1 AND event_id = $2 AND status IN ('parked', 'pending') RETURNING true",
        account_id,
        event_id,
        msgspec.json.encode(dict(error)).decode(),
    )
    return bool(done)

"""The whole log and the whole state of one account, and the lease of an operator who works on it.

Functions take a connection and never commit. The state is compared with the log inside one snapshot, and written only
by the holder of the account's lease.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from app.store import sealed
from app.store.db import Connection

Row = Mapping[str, Any]
CHUNK = 200

_EVENT = (
    "SELECT account_id, event_id, source, type, kind, created, received_at, payload, fetched, attempts, caused_by,"
    " status, twin_id, applied_seq, programme FROM events"
)


_LOG = f"{_EVENT} WHERE account_id = $1 AND status = 'applied' AND applied_seq > $2"


async def log_of(conn: Connection, account_id: str, *, after: int = 0) -> AsyncIterator[list[Row]]:
    """The applied events of an account after one of them, in the order in which they were applied, ``CHUNK`` at a time.

    Needs a transaction.
    """
    cursor = await conn.cursor(f"{_LOG} ORDER BY applied_seq", account_id, after)
    while page := await cursor.fetch(CHUNK):
        yield await sealed.opened(conn, sealed.EVENTS, page, lenient=True)


async def log_page(conn: Connection, account_id: str, *, after: int, through: int, limit: int) -> list[Row]:
    """The next of them, up to the event applied as number ``through``."""
    query = f"{_LOG} AND applied_seq <= $3 ORDER BY applied_seq LIMIT $4"
    rows = await conn.fetch(query, account_id, after, through, limit)
    return await sealed.opened(conn, sealed.EVENTS, rows, lenient=True)


async def event(conn: Connection, event_id: str, account_id: str | None = None) -> Row | None:
    """One event as the fold wants it."""
    row: Row | None = await conn.fetchrow(
        f"{_EVENT} WHERE event_id = $1 AND ($2::text IS NULL OR account_id = $2) ORDER BY account_id LIMIT 1",
        event_id,
        account_id,
    )
    return await sealed.opened_one(conn, sealed.EVENTS, row)


async def objects_of(conn: Connection, account_id: str) -> list[Row]:
    return list(
        await conn.fetch(
            "SELECT object_id, kind, state, data, observed_at, version FROM objects WHERE account_id = $1", account_id
        )
    )


async def accounts_after(conn: Connection, after: str, limit: int) -> list[str]:
    """A page of account ids."""
    rows = await conn.fetch(
        "SELECT account_id FROM accounts WHERE account_id > $1 ORDER BY account_id LIMIT $2", after, limit
    )
    return [row["account_id"] for row in rows]


async def count_accounts(conn: Connection) -> int:
    return int(await conn.fetchval("SELECT count(*) FROM accounts"))


async def lease(conn: Connection, account_id: str, token: UUID, *, lease_s: float) -> bool:
    """Take the account's lease if it is free; while it is held no worker folds this account."""
    return bool(
        await conn.fetchval(
            """
            UPDATE accounts SET lease_token = $2, lease_until = now() + make_interval(secs => $3)
             WHERE account_id = $1 AND (lease_until IS NULL OR lease_until < now()) RETURNING true
            """,
            account_id,
            token,
            lease_s,
        )
    )


async def delete_objects(conn: Connection, account_id: str, object_ids: Sequence[str]) -> None:
    """Take away objects that the log does not explain (repair only)."""
    await conn.execute(
        "DELETE FROM objects WHERE account_id = $1 AND object_id = ANY($2::text[])", account_id, list(object_ids)
    )


async def commands_known(conn: Connection, account_id: str, command_ids: Sequence[str]) -> dict[str, str]:
    """Those of these commands that exist, with their status."""
    rows = await conn.fetch(
        "SELECT command_id, status FROM outbox WHERE account_id = $1 AND command_id = ANY($2::text[])",
        account_id,
        list(command_ids),
    )
    return {row["command_id"]: row["status"] for row in rows}


async def commands_of(conn: Connection, account_id: str) -> list[Row]:
    """Every command of an account, without its parameters."""
    return list(
        await conn.fetch(
            "SELECT command_id AS id, kind, intent, status, amount, currency, caused_by FROM outbox WHERE account_id = $1",
            account_id,
        )
    )


async def hold_back(conn: Connection, account_id: str, command_ids: Sequence[str], error: Row) -> None:
    """Park commands that this very transaction inserted, so that none of them leaves."""
    await conn.execute(
        "UPDATE outbox SET status = 'parked', error = $3::text::jsonb"
        " WHERE account_id = $1 AND command_id = ANY($2::text[]) AND status = 'pending' AND first_call_at IS NULL",
        account_id,
        list(command_ids),
        msgspec.json.encode(dict(error)).decode(),
    )


async def close_as_applied(conn: Connection, account_id: str, event_id: str, applied_seq: int) -> None:
    """Mark an event applied that its writer has given its effect in this transaction."""
    await conn.execute(
        "UPDATE events SET status = 'applied', applied_seq = $3, applied_at = now(), error = NULL"
        " WHERE account_id = $1 AND event_id = $2",
        account_id,
        event_id,
        applied_seq,
    )


async def to_pending(conn: Connection, account_id: str, event_id: str) -> bool:
    """Let apply take up an event that had no effect yet. False for one that was applied."""
    return bool(
        await conn.fetchval(
            "UPDATE events SET status = 'pending', due_at = now(), attempts = 0, error = NULL"
            " WHERE account_id = $1 AND event_id = $2 AND status IN ('parked', 'pending', 'ignored') RETURNING true",
            account_id,
            event_id,
        )
    )


async def copy_event(conn: Connection, account_id: str, event_id: str, copy_id: str) -> bool:
    """Append an applied event to the log once more under a name of its own; what it read is read again."""
    row = await event(conn, event_id, account_id)
    if row is None or row["payload"] is None:
        return False
    return bool(
        await conn.fetchval(
            """
            INSERT INTO events (account_id, event_id, source, type, kind, created, payload, caused_by, status)
            SELECT account_id, $3, 'request', type, kind, created, $4, event_id, 'pending' FROM events
             WHERE account_id = $1 AND event_id = $2
            ON CONFLICT DO NOTHING RETURNING true
            """,
            account_id,
            event_id,
            copy_id,
            sealed.seal(conn, sealed.EVENTS, "payload", account_id, copy_id, row["payload"]),
        )
    )


async def known_events(conn: Connection, keys: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those of these ``(account_id, event_id)`` that the log holds."""
    rows = await conn.fetch(
        """
        SELECT k.account_id, k.event_id FROM unnest($1::text[], $2::text[]) AS k (account_id, event_id)
          JOIN events e ON e.account_id = k.account_id AND e.event_id = k.event_id
        """,
        [account for account, _ in keys],
        [event_id for _, event_id in keys],
    )
    return {(row["account_id"], row["event_id"]) for row in rows}

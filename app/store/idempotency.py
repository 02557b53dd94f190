"""Idempotency keys of API writes. The row is inserted and completed in the transaction of the write itself: an equal
request that runs at the same moment waits on the row and then reads the first one's answer.
"""

from collections.abc import Mapping
from typing import Any

import asyncpg

Row = Mapping[str, Any]


async def begin(conn: asyncpg.Connection, *, key_id: str, key: str, fingerprint: bytes) -> bool:
    """Claim the key; waits for a transaction that claims it right now. False when an answer is already kept."""
    made = await conn.fetchval(
        "INSERT INTO idempotency (key_id, key, fingerprint) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING true",
        key_id,
        key,
        fingerprint,
    )
    return bool(made)


async def kept(conn: asyncpg.Connection, *, key_id: str, key: str) -> Row | None:
    row: Row | None = await conn.fetchrow(
        "SELECT fingerprint, status, body FROM idempotency WHERE key_id = $1 AND key = $2", key_id, key
    )
    return row


async def finish(conn: asyncpg.Connection, *, key_id: str, key: str, status: int, body: str) -> None:
    """Keep the answer. ``body`` is kept as one JSON string, so that it is given again to the letter."""
    await conn.execute(
        "UPDATE idempotency SET status = $3, body = to_jsonb($4::text) WHERE key_id = $1 AND key = $2",
        key_id,
        key,
        status,
        body,
    )

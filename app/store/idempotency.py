"""Idempotency keys of API writes. The row is inserted and completed in the transaction of the write itself: an equal
request that runs at the same moment waits on the row and then reads the first one's answer.
"""

from collections.abc import Mapping
from typing import Any

import asyncpg

from app.store import sealed

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
        "SELECT key_id, key, fingerprint, status, body FROM idempotency WHERE key_id = $1 AND key = $2", key_id, key
    )
    return await sealed.opened_one(conn, sealed.IDEMPOTENCY, row)


async def finish(conn: asyncpg.Connection, *, key_id: str, key: str, status: int, body: bytes) -> None:
    """Keep the answer, to be given again to the letter."""
    await conn.execute(
        "UPDATE idempotency SET status = $3, body = $4 WHERE key_id = $1 AND key = $2",
        key_id,
        key,
        status,
        sealed.seal(conn, sealed.IDEMPOTENCY, "body", key_id, key, body),
    )

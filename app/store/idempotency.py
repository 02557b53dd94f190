"""Idempotency keys of API writes.

Of a write that is one transaction the row is inserted and completed in that transaction: an equal request that runs at
the same moment waits on the row and then reads the first one's answer. A write that works in transactions of its own
claims its key first, under a lease: until the lease ends, an equal request learns that the first is under way.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from app.store import sealed

Row = Mapping[str, Any]


class Key(NamedTuple):
    """A key of one caller (``key_id``: the API key that asks), and the request that it is for."""

    key_id: str
    key: str
    fingerprint: bytes


async def begin(conn: asyncpg.Connection, asked: Key) -> bool:
    """Claim the key in the write's own transaction; waits for one that claims it right now. False: it is taken."""
    made = await conn.fetchval(
        "INSERT INTO idempotency (key_id, key, fingerprint) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING true",
        *asked,
    )
    return bool(made)


async def claim(conn: asyncpg.Connection, asked: Key, token: UUID, *, lease_s: float) -> bool:
    """Claim the key under a lease, also from a holder of the same request whose lease ended. False: it is taken."""
    made = await conn.fetchval(
        """
        INSERT INTO idempotency AS i (key_id, key, fingerprint, lease_token, lease_until)
        VALUES ($1, $2, $3, $4, now() + make_interval(secs => $5))
        ON CONFLICT (key_id, key) DO UPDATE SET lease_token = $4, lease_until = now() + make_interval(secs => $5)
         WHERE i.status IS NULL AND i.fingerprint = $3 AND i.lease_until <= now()
        RETURNING true
        """,
        *asked,
        token,
        lease_s,
    )
    return bool(made)


async def renew(conn: asyncpg.Connection, asked: Key, token: UUID, *, lease_s: float) -> None:
    """Let the lease last ``lease_s`` from now; 0 ends it, and the key stays bound to its request."""
    await conn.execute(
        "UPDATE idempotency SET lease_until = now() + make_interval(secs => $4)"
        " WHERE key_id = $1 AND key = $2 AND lease_token = $3",
        asked.key_id,
        asked.key,
        token,
        lease_s,
    )


async def kept(conn: asyncpg.Connection, asked: Key) -> Row | None:
    """What stands under the key; ``status`` and ``body`` are null while its request is under way."""
    row: Row | None = await conn.fetchrow(
        "SELECT key_id, key, fingerprint, status, body FROM idempotency WHERE key_id = $1 AND key = $2",
        asked.key_id,
        asked.key,
    )
    return await sealed.opened_one(conn, sealed.IDEMPOTENCY, row)


async def finish(conn: asyncpg.Connection, asked: Key, *, status: int, body: bytes, token: UUID | None = None) -> None:
    """Keep the answer, to be given again to the letter, unless the lease of ``token`` was lost to somebody else."""
    await conn.execute(
        "UPDATE idempotency SET status = $4, body = $5, lease_token = NULL, lease_until = NULL"
        " WHERE key_id = $1 AND key = $2 AND lease_token IS NOT DISTINCT FROM $3",
        asked.key_id,
        asked.key,
        token,
        status,
        sealed.seal(conn, sealed.IDEMPOTENCY, "body", asked.key_id, asked.key, body),
    )


async def forget(conn: asyncpg.Connection, asked: Key, token: UUID) -> None:
    """Free a key whose request failed: it may be used again, for anything."""
    await conn.execute(
        "DELETE FROM idempotency WHERE key_id = $1 AND key = $2 AND lease_token = $3",
        asked.key_id,
        asked.key,
        token,
    )


async def drop_old(conn: asyncpg.Connection, *, days: int, limit: int) -> int:
    """Drop the oldest keys that were first used more than ``days`` ago and are not under way; how many there were."""
    rows = await conn.fetch(
        """
        DELETE FROM idempotency WHERE (key_id, key) IN (
            SELECT key_id, key FROM idempotency
             WHERE created_at < now() - make_interval(days => $1) AND coalesce(lease_until <= now(), true)
             ORDER BY created_at LIMIT $2)
        RETURNING 1
        """,
        days,
        limit,
    )
    return len(rows)

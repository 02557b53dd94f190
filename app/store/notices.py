"""Notices to subscribers, from written to delivered. Functions take a connection and never commit.

As in the outbox, a claim moves ``due_at`` to the lease's end, so a notice whose worker died comes up again by itself
under the same id.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from app.store.db import Connection

Row = Mapping[str, Any]


class NoticeRow(msgspec.Struct):
    """A notice to be sent; ``body`` is the JSON that is signed."""

    account_id: str
    notice_id: str
    subscription_id: str
    type: str
    body: str


async def insert(conn: Connection, rows: Sequence[NoticeRow]) -> None:
    """Write notices. One that is known is sent once more (a replay), unless that is under way."""
    await conn.execute(
        """
        INSERT INTO notices (account_id, notice_id, subscription_id, type, body)
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
        ON CONFLICT (account_id, notice_id) DO UPDATE
           SET status = 'pending', attempts = 0, due_at = now(), error = NULL, updated_at = now()
         WHERE notices.status <> 'in_flight'
        """,
        [r.account_id for r in rows],
        [r.notice_id for r in rows],
        [r.subscription_id for r in rows],
        [r.type for r in rows],
        [r.body for r in rows],
    )


async def claim(conn: Connection, *, token: UUID, free: Mapping[str, int], lease_s: float) -> list[Row]:
    """Lease due notices, for each subscription at most as many as it has ``free`` places."""
    return list(
        await conn.fetch(
            """
            WITH due AS (
                SELECT n.account_id, n.notice_id FROM unnest($2::text[], $3::int[]) AS s (id, free), LATERAL (
                    SELECT account_id, notice_id FROM notices
                     WHERE subscription_id = s.id AND status IN ('pending', 'in_flight') AND due_at <= now()
                     ORDER BY due_at LIMIT s.free) AS n
            )
            UPDATE notices n
               SET status = 'in_flight', lease_token = $1, due_at = now() + make_interval(secs => $4),
                   attempts = n.attempts + 1, updated_at = now()
              FROM due
             WHERE n.account_id = due.account_id AND n.notice_id = due.notice_id
               AND n.status IN ('pending', 'in_flight') AND n.due_at <= now()
            RETURNING n.account_id, n.notice_id, n.subscription_id, n.type, n.body, n.attempts
            """,
            token,
            list(free),
            list(free.values()),
            lease_s,
        )
    )


async def settle(
    conn: Connection,
    *,
    token: UUID,
    account_id: str,
    notice_id: str,
    status: str,
    response_code: int | None,
    error: str | None = None,
    due_s: float = 0.0,
    attempts_back: int = 0,
) -> bool:
    """Write how an attempt ended if the lease is still ours; False when it is not."""
    done = await conn.fetchval(
        """
        UPDATE notices
           SET status = $4, response_code = $5, error = $6, due_at = now() + make_interval(secs => $7),
               attempts = attempts - $8, delivered_at = CASE WHEN $4 = 'delivered' THEN now() ELSE delivered_at END,
               lease_token = NULL, updated_at = now()
         WHERE account_id = $2 AND notice_id = $3 AND lease_token = $1 AND status = 'in_flight'
        RETURNING true
        """,
        token,
        account_id,
        notice_id,
        status,
        response_code,
        error,
        due_s,
        attempts_back,
    )
    return bool(done)


async def hurry(conn: Connection, subscription_id: str) -> None:
    """Try at once whatever waits for its next attempt."""
    await conn.execute(
        "UPDATE notices SET due_at = now() WHERE subscription_id = $1 AND status = 'pending' AND due_at > now()",
        subscription_id,
    )


_ALL = """
SELECT account_id, notice_id, subscription_id, type, body, status, attempts, due_at, response_code, error, delivered_at,
       created_at
  FROM notices
"""


async def newest(
    conn: Connection,
    subscription_id: str,
    *,
    limit: int,
    after: Sequence[Any] | None = None,
    status: str | None = None,
) -> list[Row]:
    """Notices of one subscription, newest first; ``after`` is (created_at, notice_id) of the row before.

    ``status`` may also be ``failing``: an attempt failed, and another follows.
    """
    created, notice_id = (datetime.fromisoformat(after[0]), after[1]) if after else (None, None)
    return list(
        await conn.fetch(
            f"""
            {_ALL} WHERE subscription_id = $1
               AND ($2::text IS NULL OR status = $2
                    OR ($2 = 'failing' AND status IN ('pending', 'in_flight') AND error IS NOT NULL))
               {"AND (created_at, notice_id) < ($4, $5)" if after else ""}
             ORDER BY created_at DESC, notice_id DESC LIMIT $3
            """,
            subscription_id,
            status,
            limit,
            *((created, notice_id) if after else ()),
        )
    )


async def find(conn: Connection, subscription_id: str, notice_id: str) -> Row | None:
    row: Row | None = await conn.fetchrow(
        f"{_ALL} WHERE notice_id = $2 AND subscription_id = $1", subscription_id, notice_id
    )
    return row


async def again(conn: Connection, subscription_id: str, notice_id: str) -> Row | None:
    """Send it once more, from the first attempt on; None when there is none, or it is under way."""
    row: Row | None = await conn.fetchrow(
        """
        UPDATE notices SET status = 'pending', attempts = 0, due_at = now(), error = NULL, updated_at = now()
         WHERE notice_id = $2 AND subscription_id = $1 AND status <> 'in_flight' RETURNING notice_id, status
        """,
        subscription_id,
        notice_id,
    )
    return row


async def drop_old(conn: Connection, subscription_id: str, *, days: int, limit: int) -> int:
    """Drop ended notices of one subscription that are older than ``days``; how many there were."""
    rows = await conn.fetch(
        """
        DELETE FROM notices WHERE (account_id, notice_id) IN (
            SELECT account_id, notice_id FROM notices
             WHERE subscription_id = $1 AND created_at < now() - make_interval(days => $2)
               AND status IN ('delivered', 'failed')
             ORDER BY created_at LIMIT $3)
        RETURNING 1
        """,
        subscription_id,
        days,
        limit,
    )
    return len(rows)

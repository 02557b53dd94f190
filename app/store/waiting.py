"""Accounts that have waited for Stripe longer than they should without hearing anything."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.store.db import Connection

Row = Mapping[str, Any]


async def silent(
    conn: Connection, *, states: Sequence[str], silent_s: float, limit: int, skip: Sequence[str]
) -> list[Row]:
    """Enrolled accounts in these states of which nothing changed for ``silent_s``, the most silent first."""
    return list(
        await conn.fetch(
            """
            SELECT account_id, state, facts FROM accounts
             WHERE state = ANY($1::text[]) AND enrolled AND hold IS NULL
               AND updated_at < now() - make_interval(secs => $2) AND account_id <> ALL($4::text[])
             ORDER BY updated_at LIMIT $3
            """,
            list(states),
            silent_s,
            limit,
            list(skip),
        )
    )


async def open_objects(conn: Connection, account_id: str, kinds: Sequence[str], ended: Sequence[str]) -> list[Row]:
    """Objects of the account whose story is not over, newest first."""
    return list(
        await conn.fetch(
            """
            SELECT object_id, kind, state FROM objects
             WHERE account_id = $1 AND kind = ANY($2::text[]) AND state <> ALL($3::text[])
             ORDER BY updated_at DESC LIMIT 100
            """,
            account_id,
            list(kinds),
            list(ended),
        )
    )


async def objects_named(conn: Connection, account_id: str, object_ids: Sequence[str]) -> list[Row]:
    """These objects as they are stored."""
    return list(
        await conn.fetch(
            "SELECT object_id, kind, state, data, observed_at, version FROM objects"
            " WHERE account_id = $1 AND object_id = ANY($2::text[])",
            account_id,
            list(object_ids),
        )
    )


async def topped_before(conn: Connection, *, day: int, after: str, limit: int) -> list[Row]:
    """Live accounts whose last top-up was before this day (days since the epoch, UTC), a page by account id."""
    return list(
        await conn.fetch(
            """
            SELECT account_id, facts FROM accounts
             WHERE account_id > $2 AND state = 'live' AND enrolled AND hold IS NULL
               AND (facts->>'topup_day')::bigint < $1
             ORDER BY account_id LIMIT $3
            """,
            day,
            after,
            limit,
        )
    )


async def to_poll(conn: Connection, *, silent_s: float, skip: Sequence[str], limit: int) -> list[Row]:
    """Setup intents that are not over and were silent for ``silent_s``: no event will ever tell of them."""
    return list(
        await conn.fetch(
            """
            SELECT account_id, object_id, state FROM objects
             WHERE kind = 'outbound_setup_intent' AND state IN ('requires_payout_method', 'requires_action')
               AND updated_at < now() - make_interval(secs => $1) AND object_id <> ALL($2::text[])
             ORDER BY updated_at LIMIT $3
            """,
            silent_s,
            list(skip),
            limit,
        )
    )

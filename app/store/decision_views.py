"""Reads of real-time decisions, joined with what Stripe recorded. Newest first; the rules of `views` hold here too."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg

from app.store.views import Row, Where

_DECISION = """
SELECT account_id, authorization_id, request_event_id, card_id, approved, reason, amount, currency, requested,
       took_us, stripe_reason, stripe_approved, decided_at, inputs FROM decisions
"""
# As the partial index says it, word for word.
_MISMATCH = (
    "stripe_approved IS NOT NULL"
    " AND (stripe_approved <> approved OR stripe_reason IN ('webhook_timeout', 'webhook_error'))"
)


async def decisions(
    conn: asyncpg.Connection,
    *,
    limit: int,
    after: Sequence[Any] | None = None,
    account: str | None = None,
    approved: bool | None = None,
    reason: str | None = None,
    mismatch: bool | None = None,
) -> list[Row]:
    """Decisions; ``mismatch``: only those that Stripe did not follow or did not hear, or only the others."""
    where = Where()
    where.add_given("account_id = {}", account)
    where.add_given("approved = {}", approved)
    where.add_given("reason = {}", reason)
    if mismatch is not None:
        where.add(_MISMATCH if mismatch else f"({_MISMATCH}) IS NOT TRUE")
    if after:
        where.add(
            "(decided_at, request_event_id, account_id) < ({}, {}, {})", datetime.fromisoformat(after[0]), *after[1:]
        )
    return await where.fetch(conn, _DECISION, "decided_at DESC, request_event_id DESC, account_id DESC", limit)


async def of_authorization(conn: asyncpg.Connection, authorization_id: str, limit: int) -> list[Row]:
    """The decisions of one authorization: its first request, increments, and what was asked again."""
    where = Where()
    where.add("authorization_id = {}", authorization_id)
    return await where.fetch(conn, _DECISION, "decided_at DESC, request_event_id DESC", limit)


async def unfollowed(conn: asyncpg.Connection, hours: int) -> list[Row]:
    """What Stripe recorded instead of our answers in the last hours: ``{stripe_reason, count, newest}``, newest first."""
    return list(
        await conn.fetch(
            "SELECT stripe_reason, count(*) AS count, max(decided_at) AS newest FROM decisions"  # noqa: S608 - from above
            f" WHERE {_MISMATCH} AND decided_at > now() - make_interval(hours => $1) GROUP BY 1 ORDER BY 3 DESC LIMIT 20",
            hours,
        )
    )

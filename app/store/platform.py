"""Reads of the platform's own money: its financial account, its addresses, the fundings that wait."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import asyncpg

from app.store.controls import brakes

__all__ = ["addresses", "brakes", "financial_account", "funding_waiting"]

Row = Mapping[str, Any]

_OBJECT = "SELECT account_id, object_id, kind, state, data, observed_at, version FROM objects"


async def financial_account(conn: asyncpg.Connection, platform: str, financial_account_id: str | None) -> Row | None:
    """The platform's financial account: the configured one, or the one that we saw last."""
    row: Row | None = await conn.fetchrow(
        f"{_OBJECT} WHERE account_id = $1 AND kind = 'financial_account' AND ($2::text IS NULL OR object_id = $2)"
        " ORDER BY observed_at DESC LIMIT 1",
        platform,
        financial_account_id,
    )
    return row


async def addresses(conn: asyncpg.Connection, platform: str) -> list[Row]:
    return list(
        await conn.fetch(
            f"{_OBJECT} WHERE account_id = $1 AND kind = 'financial_address' ORDER BY object_id LIMIT 200", platform
        )
    )


async def funding_waiting(conn: asyncpg.Connection) -> Row:
    """Fundings that are due, unsure or parked: how many, how much in US cents, since when; ``short``: for want of money."""
    row: Row = await conn.fetchrow(
        """
        SELECT count(*) AS count, coalesce(sum(amount), 0)::bigint AS amount, min(created_at) AS oldest,
               count(*) FILTER (WHERE error->>'code' = 'insufficient_funds') AS short_count,
               coalesce(sum(amount) FILTER (WHERE error->>'code' = 'insufficient_funds'), 0)::bigint AS short_amount
          FROM outbox
         WHERE kind = 'create_outbound_payment' AND status IN ('pending', 'in_flight', 'unknown', 'parked')
        """
    )
    return row


async def wake_funding(conn: asyncpg.Connection, cents: int, limit: int) -> int:
    """Make the oldest fundings that wait for money due at once, as many as ``cents`` pay for. How many."""
    rows = await conn.fetch(
        """
        WITH waiting AS (
            SELECT account_id, command_id, sum(amount) OVER (ORDER BY created_at, command_id) AS running FROM (
                SELECT account_id, command_id, amount, created_at FROM outbox
                 WHERE status = 'pending' AND kind = 'create_outbound_payment'
                   AND error->>'code' = 'insufficient_funds'
                 ORDER BY created_at, command_id LIMIT $2) AS oldest
        )
        UPDATE outbox o SET due_at = now() FROM waiting w
         WHERE o.account_id = w.account_id AND o.command_id = w.command_id AND w.running <= $1
           AND o.status = 'pending' AND o.due_at > now()
        RETURNING 1
        """,
        cents,
        limit,
    )
    return len(rows)


async def negative_count(conn: asyncpg.Connection, limit: int) -> int:
    """How many accounts have a negative balance, as last read; at most ``limit``."""
    found = await conn.fetchval(
        """
        SELECT count(*) FROM (
            SELECT 1 FROM accounts WHERE jsonb_path_exists(facts, '$.balance.available.* ? (@ < 0)') LIMIT $1) AS n
        """,
        limit,
    )
    return int(found)


async def negative(conn: asyncpg.Connection, limit: int) -> list[Row]:
    """Accounts with a negative balance, as last read."""
    return list(
        await conn.fetch(
            """
            SELECT account_id, facts->'balance'->'available' AS available FROM accounts
             WHERE jsonb_path_exists(facts, '$.balance.available.* ? (@ < 0)') ORDER BY account_id LIMIT $1
            """,
            limit,
        )
    )


class Money(NamedTuple):
    """What the platform has (minor units per currency), what fundings wait for, and how many balances are negative."""

    available: Mapping[str, int]
    waiting: int
    waiting_for_balance: int
    negative: int


async def money(conn: asyncpg.Connection, account: str, financial_account_id: str | None, counted_max: int) -> Money:
    """What the gauges of money show; ``account`` is the platform's, at most ``counted_max`` negative ones are counted."""
    row = await financial_account(conn, account, financial_account_id)
    balance = (row["data"].get("balance") or {}) if row is not None else {}
    waiting = await funding_waiting(conn)
    negative = await negative_count(conn, counted_max)
    return Money(balance.get("available") or {}, waiting["count"], waiting["short_count"], negative)

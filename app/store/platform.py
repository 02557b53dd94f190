"""Reads of the platform's own money: its financial account, its addresses, the fundings that wait."""

from collections.abc import Mapping
from typing import Any

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
    """Fundings that are due, unsure or parked: how many, how much in US cents, since when."""
    row: Row = await conn.fetchrow(
        """
        SELECT count(*) AS count, coalesce(sum(amount), 0)::bigint AS amount, min(created_at) AS oldest FROM outbox
         WHERE kind = 'create_outbound_payment' AND status IN ('pending', 'in_flight', 'unknown', 'parked')
        """
    )
    return row

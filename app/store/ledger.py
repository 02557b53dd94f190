"""The ledger's rows: balances as read, entries of transactions, and which accounts' entries are still to be read."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import asyncpg
import msgspec

Row = Mapping[str, Any]

MARK_S = 0.5
"""How long after a transaction its entries are read: what comes in a burst is read once."""


class BalanceRow(msgspec.Struct):
    """The balance of one financial account as read; ``balance`` is JSON."""

    account_id: str
    object_id: str
    at: datetime
    balance: bytes


async def keep_balances(conn: asyncpg.Connection, rows: Sequence[BalanceRow]) -> None:
    """Keep the last reading of each UTC day."""
    await conn.execute(
        """
        INSERT INTO balances AS b (account_id, object_id, day, at, balance)
        SELECT DISTINCT ON (account_id, object_id, (at AT TIME ZONE 'UTC')::date)
               account_id, object_id, (at AT TIME ZONE 'UTC')::date, at, balance::jsonb
          FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[]) AS n (account_id, object_id, at, balance)
         ORDER BY account_id, object_id, (at AT TIME ZONE 'UTC')::date, at DESC
        ON CONFLICT (account_id, object_id, day) DO UPDATE SET at = excluded.at, balance = excluded.balance
         WHERE excluded.at >= b.at
        """,
        [r.account_id for r in rows],
        [r.object_id for r in rows],
        [r.at for r in rows],
        [r.balance.decode() for r in rows],
    )


async def mark(conn: asyncpg.Connection, accounts: Sequence[str]) -> None:
    """Transactions of these accounts changed: their entries are to be read."""
    await conn.execute(
        """
        INSERT INTO ledger_reads (account_id, due_at)
        SELECT account_id, now() + make_interval(secs => $2) FROM unnest($1::text[]) AS n (account_id)
        ON CONFLICT (account_id) DO UPDATE SET changed_at = now(), due_at = excluded.due_at, tries = 0
        """,
        sorted(accounts),
        MARK_S,
    )


async def claim(conn: asyncpg.Connection, *, limit: int, lease_s: float) -> list[Row]:
    """Accounts whose entries are due; who claims has ``lease_s`` before another may."""
    return list(
        await conn.fetch(
            """
            UPDATE ledger_reads SET due_at = now() + make_interval(secs => $2), tries = tries + 1
             WHERE due_at <= now() AND account_id IN (
                   SELECT account_id FROM ledger_reads WHERE due_at <= now() ORDER BY due_at LIMIT $1)
            RETURNING account_id, changed_at, until, tries
            """,
            limit,
            lease_s,
        )
    )


async def read(
    conn: asyncpg.Connection, account_id: str, changed_at: datetime, until: datetime | None, again_s: float | None
) -> None:
    """Entries up to ``until`` are here; look again after ``again_s``, or not before the next transaction."""
    await conn.execute(
        """
        UPDATE ledger_reads SET until = greatest(until, $3),
               due_at = CASE WHEN changed_at = $2 THEN now() + make_interval(secs => $4) ELSE due_at END
         WHERE account_id = $1
        """,
        account_id,
        changed_at,
        until,
        again_s,
    )


async def incomplete(conn: asyncpg.Connection, account_id: str) -> int:
    """Transactions whose entries do not add up to their impact yet. Reads each entry once, however many there are."""
    found = await conn.fetchval(INCOMPLETE, account_id)
    return int(found)


INCOMPLETE = """
SELECT count(*) FROM (
    SELECT id FROM (
        SELECT object_id AS id, (data->'balance_impact'->'available'->>'value')::bigint AS value, true AS whole
          FROM objects WHERE account_id = $1 AND kind = 'transaction' AND data ? 'balance_impact'
        UNION ALL
        SELECT data->>'transaction', -(data->'balance_impact'->'available'->>'value')::bigint, false
          FROM objects WHERE account_id = $1 AND kind = 'transaction_entry') AS legs
     GROUP BY id HAVING bool_or(whole) AND coalesce(sum(value), 0) <> 0) AS apart
"""
"""No join: without statistics one is planned as a loop within a loop, which takes minutes for thousands of entries."""


_ENTRIES = """
WITH entries AS (
    SELECT data->>'financial_account' AS financial_account,
           data->'balance_impact'->'available'->>'currency' AS currency,
           (data->'balance_impact'->'available'->>'value')::bigint AS available,
           coalesce((data->'balance_impact'->'inbound_pending'->>'value')::bigint, 0) AS inbound_pending,
           coalesce((data->'balance_impact'->'outbound_pending'->>'value')::bigint, 0) AS outbound_pending,
           (data->>'effective_at')::timestamptz AS effective,
           coalesce(data->>'created', data->>'effective_at')::timestamptz AS created,
           coalesce(data->>'category', '') AS category
      FROM objects WHERE account_id = $1 AND kind = 'transaction_entry'
)
"""


async def entries(conn: asyncpg.Connection, account_id: str, since: datetime, limit: int) -> list[Row]:
    """Entries that are effective or were created at ``since`` or later, at most ``limit``."""
    query = f"{_ENTRIES} SELECT * FROM entries WHERE greatest(effective, created) >= $2 ORDER BY effective LIMIT $3"  # noqa: S608 - a constant of our own
    return list(await conn.fetch(query, account_id, since, limit))


async def sums(conn: asyncpg.Connection, account_id: str, before: datetime) -> list[Row]:
    """Per financial account and currency what was effective before, and what of it was also created before."""
    parts = ("available", "inbound_pending", "outbound_pending")
    chosen = ", ".join(
        f"coalesce(sum({part}) FILTER (WHERE effective < $2), 0)::bigint AS opening_{part},"
        f" coalesce(sum({part}) FILTER (WHERE greatest(effective, created) < $2), 0)::bigint AS known_{part}"
        for part in parts
    )
    query = f"{_ENTRIES} SELECT financial_account, currency, {chosen} FROM entries GROUP BY 1, 2"  # noqa: S608 - names of our own
    return list(await conn.fetch(query, account_id, before))


async def balances(conn: asyncpg.Connection, account_id: str, first: date, last: date) -> list[Row]:
    """The last reading of each day."""
    return list(
        await conn.fetch(
            "SELECT object_id, day, at, balance FROM balances WHERE account_id = $1 AND day BETWEEN $2 AND $3",
            account_id,
            first,
            last,
        )
    )


async def accounts(conn: asyncpg.Connection) -> list[str]:
    """Every account that ever had a balance read or a transaction."""
    rows = await conn.fetch("SELECT account_id FROM balances UNION SELECT account_id FROM ledger_reads ORDER BY 1")
    return [row["account_id"] for row in rows]


async def moved_last(conn: asyncpg.Connection, limit: int) -> list[str]:
    """The accounts whose transactions changed last, newest first."""
    rows = await conn.fetch("SELECT account_id FROM ledger_reads ORDER BY changed_at DESC LIMIT $1", limit)
    return [row["account_id"] for row in rows]


async def moved_lately(conn: asyncpg.Connection, *, days: int, settled_s: float, after: str, limit: int) -> list[str]:
    """Accounts by id whose transactions changed in the last days, but not in the last ``settled_s`` seconds."""
    rows = await conn.fetch(
        "SELECT account_id FROM ledger_reads WHERE account_id > $3 AND changed_at > now() - make_interval(days => $1)"
        " AND changed_at < now() - make_interval(secs => $2) ORDER BY account_id LIMIT $4",
        days,
        settled_s,
        after,
        limit,
    )
    return [row["account_id"] for row in rows]


async def reread(conn: asyncpg.Connection, account_id: str, *, days: int) -> None:
    """List the entries of the last days once more."""
    await conn.execute(
        "UPDATE ledger_reads SET until = least(until, now() - make_interval(days => $2)), due_at = now(), tries = 0"
        " WHERE account_id = $1",
        account_id,
        days,
    )

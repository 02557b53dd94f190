"""Old bodies and old rows: which may go, a chunk at a time, in the order of their arrival.

A watermark per pass says how far it is, so no pass looks at the same rows again. What may not go when its turn comes (a
parked event, an enrollment whose holder has no card yet) goes with its row's pass, or stays.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from app.store.db import Connection

Row = Mapping[str, Any]

BODIES, ROWS = "retention.bodies", "retention.rows"
MONEY = (
    "adjustment",
    "authorization",
    "currency_conversion",
    "inbound_transfer",
    "issuing_transaction",
    "outbound_payment",
    "outbound_transfer",
    "received_credit",
    "received_debit",
    "transaction",
    "transaction_entry",
)
"""Machines whose journal lines make their event one of money: its row is kept for ever."""

# Applied events are needed by a rebuild until a checkpoint stands behind them, save those that no fold reads: a real-time
# request was answered at the door. An enrollment's body holds what the cardholder is made from, and is read when that call
# is built.
_DROP = """
UPDATE events e SET payload = NULL, fetched = NULL
  FROM unnest($1::text[], $2::text[]) AS k (account_id, event_id)
 WHERE e.account_id = k.account_id AND e.event_id = k.event_id AND e.payload IS NOT NULL
   AND (e.status = 'ignored' OR (e.status = 'applied' AND (e.applied_seq IS NULL OR e.applied_seq <= (
            SELECT c.applied_seq FROM checkpoints c WHERE c.account_id = e.account_id))))
   AND (e.type <> 'enrollment.requested' OR EXISTS (
            SELECT FROM objects o LEFT JOIN accounts a ON a.account_id = o.data->>'account'
             WHERE o.account_id = e.account_id AND o.object_id = split_part(e.event_id, '~', 1)
               AND (o.state = 'rejected' OR a.state = 'closed' OR a.facts ? 'cardholder')))
RETURNING 1
"""
# A real-time request stays too: its decision names it.
_DELETE = """
DELETE FROM events e
 USING unnest($1::text[], $2::text[]) AS k (account_id, event_id)
 WHERE e.account_id = k.account_id AND e.event_id = k.event_id AND e.payload IS NULL
   AND e.source IN ('webhook', 'poll') AND e.status IN ('applied', 'ignored') AND e.type <> 'issuing_authorization.request'
   AND NOT EXISTS (SELECT FROM journal j
                    WHERE j.account_id = e.account_id AND j.event_id = e.event_id AND j.machine = ANY($3::text[]))
RETURNING 1
"""


async def try_lock(conn: Connection) -> bool:
    """One process at a time, until its transaction ends."""
    return bool(await conn.fetchval("SELECT pg_try_advisory_xact_lock(hashtext('cardrail retention'))"))


async def count(conn: Connection, name: str, days: int) -> int:
    """Events that a pass has not looked at yet, though they are old enough."""
    return int(
        await conn.fetchval(
            "SELECT count(*) FROM events WHERE received_at < now() - make_interval(days => $2)"
            " AND received_at > coalesce((SELECT at FROM watermarks WHERE name = $1), '-infinity')",
            name,
            days,
        )
    )


async def through(conn: Connection, name: str) -> datetime | None:
    """How far a pass is: it has looked at all that arrived until then."""
    found: datetime | None = await conn.fetchval("SELECT at FROM watermarks WHERE name = $1", name)
    return found


async def checkpoints(conn: Connection) -> int:
    """Accounts whose rebuild begins at a checkpoint."""
    return int(await conn.fetchval("SELECT count(*) FROM checkpoints"))


async def chunk(conn: Connection, name: str, days: int, limit: int) -> list[Row]:
    """The next events of a pass: about ``limit``, and all that arrived in one moment with the last of them."""
    return list(
        await conn.fetch(
            """
            WITH since AS (SELECT coalesce((SELECT at FROM watermarks WHERE name = $1), '-infinity') AS at),
                 last AS (
                SELECT max(received_at) AS at FROM (
                    SELECT received_at FROM events, since
                     WHERE received_at > since.at AND received_at < now() - make_interval(days => $2)
                     ORDER BY received_at LIMIT $3) AS first)
            SELECT account_id, event_id, status, applied_seq, received_at FROM events, since, last
             WHERE received_at > since.at AND received_at <= last.at ORDER BY account_id, event_id
            """,
            name,
            days,
            limit,
        )
    )


async def passed(conn: Connection, name: str, at: datetime) -> None:
    """Note how far a pass is."""
    await conn.execute(
        "INSERT INTO watermarks (name, at) VALUES ($1, $2)"
        " ON CONFLICT (name) DO UPDATE SET at = excluded.at, updated_at = now()",
        name,
        at,
    )


async def drop_bodies(conn: Connection, rows: Sequence[Row]) -> int:
    """Drop the bodies of those that may go; how many there were."""
    return len(await conn.fetch(_DROP, [r["account_id"] for r in rows], [r["event_id"] for r in rows]))


async def delete_rows(conn: Connection, rows: Sequence[Row]) -> int:
    """Delete those that moved no money, came from Stripe and have lost their bodies; how many there were."""
    return len(await conn.fetch(_DELETE, [r["account_id"] for r in rows], [r["event_id"] for r in rows], list(MONEY)))

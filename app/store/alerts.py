"""Health alerts of Stripe, and which of those that told of missing events were answered with a backfill."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from app.store.db import Connection

Row = Mapping[str, Any]

OPEN_MAX = 100
_ALERT = """
SELECT o.object_id, o.state, o.data, o.created_at, o.updated_at, w.at AS backfilled_at
  FROM objects o LEFT JOIN watermarks w ON w.name = 'health.backfill:' || o.object_id
 WHERE o.account_id = $1 AND o.kind = 'health_alert'
"""


async def every(
    conn: Connection, platform: str, *, limit: int, after: Sequence[Any] | None = None, state: str | None = None
) -> list[Row]:
    """Alerts by id."""
    return list(
        await conn.fetch(
            f"{_ALERT} AND ($2::text IS NULL OR o.state = $2) AND o.object_id > $3 ORDER BY o.object_id LIMIT $4",
            platform,
            state,
            after[0] if after else "",
            limit,
        )
    )


async def firing(conn: Connection, platform: str) -> list[Row]:
    """Alerts that are open now, the oldest first."""
    return list(await conn.fetch(f"{_ALERT} AND o.state = 'firing' ORDER BY o.created_at LIMIT {OPEN_MAX}", platform))


async def unanswered(conn: Connection, platform: str, alarm: str, limit: int) -> list[Row]:
    """Alerts of this alarm that no backfill answered yet."""
    return list(
        await conn.fetch(
            f"{_ALERT} AND o.data ->> 'alarm' = $2 AND w.at IS NULL ORDER BY o.created_at LIMIT $3",
            platform,
            alarm,
            limit,
        )
    )


async def begin(conn: Connection) -> bool:
    """Be the only process that answers alerts, until :func:`end` on the same connection."""
    return bool(await conn.fetchval("SELECT pg_try_advisory_lock(hashtext('cardrail health alerts'))"))


async def end(conn: Connection) -> None:
    await conn.execute("SELECT pg_advisory_unlock(hashtext('cardrail health alerts'))")


async def answered(conn: Connection, alert_id: str, at: datetime) -> None:
    """Note that the backfill for this alert is complete, so that it is made once."""
    await conn.execute(
        "INSERT INTO watermarks (name, at) VALUES ('health.backfill:' || $1, $2) ON CONFLICT (name) DO NOTHING",
        alert_id,
        at,
    )

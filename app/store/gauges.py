"""What the gauges on /metrics show: read from the database, so any worker can say it."""

from typing import NamedTuple

from app.store.db import Connection

COUNTED_MAX = 100_000
"""Rows looked at per gauge; a larger backlog shows as this many."""


class Gauges(NamedTuple):
    """Age of the oldest due event in seconds, how many wait, and how much is parked."""

    oldest_s: float
    pending: int
    parked_events: int
    parked_commands: int


async def read(conn: Connection) -> Gauges:
    """All gauges, in one statement that looks at a bounded number of rows."""
    row = await conn.fetchrow(
        """
        SELECT (SELECT coalesce(extract(epoch FROM now() - min(received_at)), 0)::float8 FROM
                  (SELECT received_at FROM events WHERE status = 'pending' LIMIT $1) AS p),
               (SELECT count(*) FROM (SELECT 1 FROM events WHERE status = 'pending' LIMIT $1) AS p),
               (SELECT count(*) FROM (SELECT 1 FROM events WHERE status = 'parked' LIMIT $1) AS p),
               (SELECT count(*) FROM (SELECT 1 FROM outbox WHERE status = 'parked' LIMIT $1) AS p)
        """,
        COUNTED_MAX,
    )
    return Gauges(*row)

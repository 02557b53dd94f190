"""Bodies of events that had no effect and are old: counted and dropped. The rows stay, for they know duplicates."""

from app.store.db import Connection

_COUNT = """
SELECT count(*) FROM events
 WHERE status = 'ignored' AND kind <> 'internal' AND received_at < now() - make_interval(days => $1)
   AND payload <> '{}'::bytea
"""
_DROP = """
UPDATE events SET payload = '{}'::bytea, fetched = NULL
 WHERE (account_id, event_id) IN (
       SELECT account_id, event_id FROM events
        WHERE status = 'ignored' AND kind <> 'internal' AND received_at < now() - make_interval(days => $1)
          AND payload <> '{}'::bytea
        ORDER BY received_at LIMIT $2)
RETURNING 1
"""


async def count(conn: Connection, days: int) -> int:
    return int(await conn.fetchval(_COUNT, days))


async def drop_payloads(conn: Connection, days: int, limit: int) -> int:
    """Drop the bodies of at most ``limit`` events; how many there were."""
    return len(await conn.fetch(_DROP, days, limit))

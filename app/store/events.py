"""Events as they arrive: many rows in one statement, each kept once.

The rule it enforces: storing never waits for a lock that a worker holds. ON CONFLICT, even DO
NOTHING, waits for whoever is updating the row, so known keys are left out by a plain read first and ON CONFLICT only
settles the race of two inserts. Counting a repeat is a statement of its own with a lock timeout, and the caller may
come back to it. The caller owns the transaction.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from app.store.db import Connection

CHANNEL = "cardrail_events"
Key = tuple[str, str]


class NewEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One row to be: ``deliveries`` is how often it came within this batch."""

    account_id: str
    event_id: str
    type: str
    kind: str
    created: datetime
    payload: bytes
    source: str = "webhook"
    status: str = "pending"
    twin_id: str | None = None
    deliveries: int = 1

    @property
    def key(self) -> Key:
        """What makes it the same event."""
        return self.account_id, self.event_id


_INSERT = """
INSERT INTO events (account_id, event_id, source, type, kind, created, payload, twin_id, status, deliveries)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::bytea[],
                     $8::text[], $9::text[], $10::int[]) AS given (account_id, event_id)
WHERE (SELECT true FROM events AS known
       WHERE known.account_id = given.account_id AND known.event_id = given.event_id) IS NULL
ON CONFLICT DO NOTHING
RETURNING account_id, event_id
"""

_COUNT = """
UPDATE events SET deliveries = events.deliveries + again.n
FROM unnest($1::text[], $2::text[], $3::int[]) AS again (account_id, event_id, n)
WHERE events.account_id = again.account_id AND events.event_id = again.event_id
"""


async def insert_events(conn: Connection, rows: Sequence[NewEvent]) -> set[Key]:
    """Insert ``rows`` (distinct keys, sorted by key so that two writers cannot deadlock); returns the keys that were new."""
    made = await conn.fetch(
        _INSERT,
        [row.account_id for row in rows],
        [row.event_id for row in rows],
        [row.source for row in rows],
        [row.type for row in rows],
        [row.kind for row in rows],
        [row.created for row in rows],
        [row.payload for row in rows],
        [row.twin_id for row in rows],
        [row.status for row in rows],
        [row.deliveries for row in rows],
    )
    return {(record[0], record[1]) for record in made}


async def count_deliveries(conn: Connection, again: Mapping[Key, int], *, lock_timeout_ms: int) -> None:
    """Add repeats to ``deliveries``, within a transaction; raises LockNotAvailableError rather than wait longer."""
    await conn.execute(f"SET LOCAL lock_timeout = {lock_timeout_ms:d}")
    await conn.execute(_COUNT, [key[0] for key in again], [key[1] for key in again], list(again.values()))


async def notify(conn: Connection) -> None:
    """Wake the workers; in a transaction of its own, since a NOTIFY makes commits wait for each other."""
    await conn.execute("SELECT pg_notify($1, '')", CHANNEL)

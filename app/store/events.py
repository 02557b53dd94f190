"""Events as they arrive: many rows in one statement, each kept once.

The rule it enforces: storing never waits for a lock that a worker holds. ON CONFLICT, even DO
NOTHING, waits for whoever is updating the row, so known keys are left out by a plain read first and ON CONFLICT only
settles the race of two inserts. Counting a repeat is a statement of its own with a lock timeout, and the caller may
come back to it. The caller owns the transaction.
"""

import contextlib
import operator
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg
import msgspec
import orjson

from app.store import sealed
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


# The small columns travel as one JSON text: asyncpg looks at each element of each array, which costs more than all else.
_MANY = """
INSERT INTO events (account_id, event_id, source, type, kind, created, status, twin_id, deliveries, payload)
SELECT * FROM ROWS FROM (
    json_to_recordset($1::text::json) AS (account_id text, event_id text, source text, type text, kind text,
                                          created timestamptz, status text, twin_id text, deliveries int),
    unnest($2::bytea[])
) AS given (account_id, event_id)
WHERE (SELECT true FROM events AS known
       WHERE known.account_id = given.account_id AND known.event_id = given.event_id) IS NULL
"""
# The same for a lone event, without the detour: it is what an otherwise idle service answers with.
_ONE = """
INSERT INTO events (account_id, event_id, source, type, kind, created, status, twin_id, deliveries, payload)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10
WHERE NOT EXISTS (SELECT FROM events WHERE account_id = $1 AND event_id = $2)
"""
_RETURNING = " RETURNING account_id, event_id"
# Each as it is when no other writer can be faster, and with a way out of that race.
_INSERTS = {text: (text + _RETURNING, text + " ON CONFLICT DO NOTHING" + _RETURNING) for text in (_ONE, _MANY)}
_SMALL = ("account_id", "event_id", "source", "type", "kind", "created", "status", "twin_id", "deliveries")

_small_of = operator.attrgetter(*_SMALL)

_COUNT = """
UPDATE events SET deliveries = events.deliveries + again.n
FROM unnest($1::text[], $2::text[], $3::int[]) AS again (account_id, event_id, n)
WHERE events.account_id = again.account_id AND events.event_id = again.event_id
"""


async def insert_events(conn: Connection, rows: Sequence[NewEvent], *, alone: bool = False) -> set[Key]:
    """Insert ``rows`` (distinct keys, sorted by key so that two writers cannot deadlock); returns the keys that were new.

    ``alone`` says that the caller has no transaction open: then the statement is first tried without ON CONFLICT, whose
    provisional rows cost a tenth of the insert, and repeated with it when another writer was faster with one of the rows.
    """
    statement, values = _insertion(conn, rows)
    quick, safe = _INSERTS[statement]
    if alone:
        with contextlib.suppress(asyncpg.UniqueViolationError):
            return _keys(await conn.fetch(quick, *values))
    return _keys(await conn.fetch(safe, *values))


class Single:
    """The insert of one event, prepared on a connection that is held: what an otherwise idle service answers with."""

    def __init__(self, conn: Connection, statement: Any) -> None:
        self._conn = conn
        self._statement = statement

    @classmethod
    async def prepare(cls, conn: Connection) -> "Single":
        """It serves until the connection is handed back to its pool."""
        quick, _ = _INSERTS[_ONE]
        return cls(conn, await conn.prepare(quick))

    async def insert(self, event: NewEvent) -> bool:
        """Whether the event was new. Raises UniqueViolationError when another writer was faster."""
        _, values = _insertion(self._conn, (event,))
        return bool(await self._statement.fetch(*values))


def _keys(made: Sequence[asyncpg.Record]) -> set[Key]:
    return {(record[0], record[1]) for record in made}


def _insertion(conn: Connection, rows: Sequence[NewEvent]) -> tuple[str, tuple[Any, ...]]:
    if len(rows) == 1:
        [only] = rows
        payload = sealed.seal(conn, sealed.EVENTS, "payload", only.account_id, only.event_id, only.payload)
        return _ONE, (*_small_of(only), payload)
    small = [{name: getattr(row, name) for name in _SMALL} for row in rows]
    payloads = sealed.seal_all(
        conn, sealed.EVENTS, "payload", ((row.account_id, row.event_id, row.payload) for row in rows)
    )
    return _MANY, (orjson.dumps(small).decode(), payloads)


async def count_deliveries(conn: Connection, again: Mapping[Key, int], *, lock_timeout_ms: int) -> None:
    """Add repeats to ``deliveries``, within a transaction; raises LockNotAvailableError rather than wait longer."""
    await conn.execute(f"SET LOCAL lock_timeout = {lock_timeout_ms:d}")
    await conn.execute(_COUNT, [key[0] for key in again], [key[1] for key in again], list(again.values()))


async def notify(conn: Connection) -> None:
    """Wake the workers; in a transaction of its own, since a NOTIFY makes commits wait for each other.

    It waits for no disk either (a lost wake-up is found by polling), so it does not delay the next insert's flush.
    """
    await conn.execute("SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, '')", CHANNEL)

"""All read queries of API, CLI and console. Pages are keyset pages: a cursor is the key of the last row seen.

Functions take a connection, lock nothing and never commit. Lists fetch ``limit`` rows after ``after``; the caller asks
for one more than it shows to know whether there is a next page.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg
import orjson

from app.machines.lifecycle import STEPS
from app.store import sealed

Row = Mapping[str, Any]


def parsed(value: object) -> Any:
    """A jsonb value as asyncpg gives it: text without a codec, else already parsed."""
    return orjson.loads(value) if isinstance(value, str | bytes) else value


class Where:
    """The conditions of one query, with their numbered arguments."""

    def __init__(self) -> None:
        self.conditions: list[str] = []
        self.arguments: list[object] = []

    def add(self, condition: str, *values: object) -> None:
        """Add ``condition``, whose ``{}`` stand for ``values``."""
        marks = []
        for value in values:
            self.arguments.append(value)
            marks.append(f"${len(self.arguments)}")
        self.conditions.append(condition.format(*marks))

    def add_given(self, condition: str, value: object) -> None:
        if value is not None:
            self.add(condition, value)

    @property
    def sql(self) -> str:
        return "WHERE " + " AND ".join(self.conditions) if self.conditions else ""

    async def fetch(self, conn: asyncpg.Connection, select: str, order: str, limit: int) -> list[Row]:
        query = f"{select} {self.sql} ORDER BY {order} LIMIT {int(limit)}"
        return list(await conn.fetch(query, *self.arguments))


_LAST_ERROR = """
  LEFT JOIN LATERAL (
      SELECT what, id, status, error, at, kind, due_at FROM (
          (SELECT 'command' AS what, o.command_id AS id, o.status, o.error, o.updated_at AS at, o.kind, o.due_at
             FROM outbox o WHERE o.account_id = a.account_id AND o.error IS NOT NULL AND o.status <> 'settled'
              AND (o.status <> 'rejected' OR NOT EXISTS (
                   SELECT FROM outbox n
                    WHERE n.account_id = o.account_id AND n.kind = o.kind AND n.status = 'settled'
                      AND n.created_at > o.created_at AND split_part(n.intent, '/', 1) = split_part(o.intent, '/', 1)))
            ORDER BY o.status = 'parked' DESC, o.status = 'parked' AND NOT starts_with(o.intent, 'req_') DESC, o.updated_at DESC
            LIMIT 1)
          UNION ALL
          (SELECT 'event', e.event_id, e.status, e.error, e.received_at, e.type, e.due_at
             FROM events e WHERE e.account_id = a.account_id AND e.status = 'parked' LIMIT 1)
          UNION ALL
          (SELECT 'event', e.event_id, e.status, e.error, e.received_at, e.type, e.due_at
             FROM events e WHERE e.account_id = a.account_id AND e.status = 'pending' AND e.error IS NOT NULL LIMIT 1)
      ) AS all_errors ORDER BY status = 'parked' DESC, at DESC LIMIT 1
  ) AS le ON true
  LEFT JOIN LATERAL (
      SELECT o.command_id, o.kind, o.status, o.due_at, o.attempts
        FROM outbox o WHERE o.account_id = a.account_id AND o.status IN ('pending', 'in_flight', 'unknown')
       ORDER BY o.due_at LIMIT 1
  ) AS call ON true
"""

_BESIDE = """
       le.what AS error_what, le.id AS error_id, le.status AS error_status, le.error, le.at AS error_at,
       le.kind AS error_kind, le.due_at AS error_due_at, call.command_id AS call_id, call.kind AS call_kind,
       call.status AS call_status, call.due_at AS call_due_at, call.attempts AS call_attempts,
       (SELECT jsonb_agg(jsonb_build_object('step', b.step, 'by', b.by, 'reason', b.reason) ORDER BY b.step)
          FROM brakes b WHERE b.released_at IS NULL) AS brakes
  FROM accounts a
"""

_ACCOUNT = f"""
SELECT a.account_id, a.state, a.since, a.version, a.applied, a.programme, a.country, a.enrolled, a.hold, a.facts,
       a.created_at, a.updated_at, {_BESIDE}
"""

_STANDING = f"SELECT a.state, a.since, a.version, a.applied, {_BESIDE}"


async def account(conn: asyncpg.Connection, account_id: str) -> Row | None:
    """One account with the last thing that went wrong there and is not over: no later attempt at the same succeeded."""
    row: Row | None = await conn.fetchrow(f"{_ACCOUNT} {_LAST_ERROR} WHERE a.account_id = $1", account_id)
    return row


async def account_state(conn: asyncpg.Connection, account_id: str) -> Row | None:
    """State and version only: what a conditional or waiting read looks at."""
    row: Row | None = await conn.fetchrow(
        "SELECT state, version, enrolled, hold FROM accounts WHERE account_id = $1", account_id
    )
    return row


async def account_standing(conn: asyncpg.Connection, account_id: str) -> Row | None:
    """What an answer about the account depends on, without the facts: enough for its ETag."""
    row: Row | None = await conn.fetchrow(f"{_STANDING} {_LAST_ERROR} WHERE a.account_id = $1", account_id)
    return row


async def states(conn: asyncpg.Connection, account_ids: Sequence[str]) -> dict[str, str]:
    """The states of these accounts, those that exist."""
    rows = await conn.fetch("SELECT account_id, state FROM accounts WHERE account_id = ANY($1)", list(account_ids))
    return {row["account_id"]: row["state"] for row in rows}


async def accounts(
    conn: asyncpg.Connection,
    *,
    platform: str,
    limit: int,
    after: Sequence[Any] | None = None,
    state: str | None = None,
    country: str | None = None,
    held: bool | None = None,
    stuck: bool | None = None,
    deadlines: Mapping[str, int] | None = None,
) -> list[Row]:
    """Accounts by id, without the platform's own. ``deadlines`` are seconds per stage, for ``stuck``: what is past its
    deadline, has something parked, or stands at a step that was refused for good.
    """
    where = Where()
    where.add("a.account_id <> {}", platform)
    where.add_given("a.state = {}", state)
    where.add_given("a.country = {}", country)
    if held is not None:
        where.add(f"a.hold IS {'NOT ' if held else ''}NULL")
    if stuck is not None:
        known = dict(deadlines or {})
        late = (
            "(EXISTS (SELECT 1 FROM unnest({}::text[], {}::int[]) AS d (state, limit_s)"
            "          WHERE d.state = a.state AND a.enrolled AND a.since < now() - make_interval(secs => d.limit_s))"
            " OR EXISTS (SELECT 1 FROM events e WHERE e.account_id = a.account_id AND e.status = 'parked')"
            " OR EXISTS (SELECT 1 FROM outbox o WHERE o.account_id = a.account_id AND o.status = 'parked')"
            " OR EXISTS (SELECT 1 FROM outbox o JOIN unnest({}::text[], {}::text[]) AS s (state, kind)"
            "                       ON s.state = a.state AND s.kind = o.kind"
            "             WHERE o.account_id = a.account_id AND a.enrolled AND o.status = 'rejected' AND NOT EXISTS"
            "                   (SELECT 1 FROM outbox n WHERE n.account_id = o.account_id AND n.kind = o.kind"
            "                       AND n.created_at > o.created_at)))"
        )
        steps = {state: kind for state, (_, kind) in STEPS.items()}
        given = (list(known), list(known.values()), list(steps), list(steps.values()))
        where.add(late if stuck else f"NOT {late}", *given)
    if after:
        where.add("a.account_id > {}", after[0])
    return await where.fetch(conn, f"{_ACCOUNT} {_LAST_ERROR}", "a.account_id", limit)


_EVENT = """
SELECT account_id, event_id, source, type, kind, created, received_at, status, deliveries, attempts, error, caused_by,
       applied_at, due_at
  FROM events
"""


async def events(
    conn: asyncpg.Connection,
    *,
    limit: int,
    after: Sequence[Any] | None = None,
    account: str | None = None,
    type: str | None = None,  # noqa: A002 - Stripe's word for it
    status: str | None = None,
    source: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[Row]:
    """Events, newest arrival first. ``since``/``until`` bound the arrival."""
    where = Where()
    where.add_given("account_id = {}", account)
    where.add_given("type = {}", type)
    where.add_given("status = {}", status)
    where.add_given("source = {}", source)
    where.add_given("received_at >= {}", since)
    where.add_given("received_at < {}", until)
    if after:
        where.add("(received_at, event_id, account_id) < ({}, {}, {})", datetime.fromisoformat(after[0]), *after[1:])
    return await where.fetch(conn, _EVENT, "received_at DESC, event_id DESC, account_id DESC", limit)


async def event(conn: asyncpg.Connection, event_id: str, account: str | None = None) -> Row | None:
    """One event with payload and what was fetched for it; ``unsealable`` says why where that does not open."""
    row: Row | None = await conn.fetchrow(
        """
        SELECT account_id, event_id, source, type, kind, created, received_at, status, deliveries, attempts, error,
               caused_by, applied_at, due_at, payload, fetched, twin_id, applied_seq
          FROM events WHERE event_id = $1 AND ($2::text IS NULL OR account_id = $2)
         ORDER BY account_id LIMIT 1
        """,
        event_id,
        account,
    )
    return None if row is None else (await sealed.opened(conn, sealed.EVENTS, [row], lenient=True))[0]


async def owner_of(conn: asyncpg.Connection, object_id: str) -> str | None:
    """Whose an object is. No index knows it: for a person who has nothing but the id."""
    owner: str | None = await conn.fetchval("SELECT account_id FROM objects WHERE object_id = $1 LIMIT 1", object_id)
    return owner


async def journal_of_event(conn: asyncpg.Connection, account_id: str, event_id: str) -> list[Row]:
    return list(
        await conn.fetch(f"{_JOURNAL} WHERE account_id = $1 AND event_id = $2 ORDER BY seq", account_id, event_id)
    )


async def caused_by_event(conn: asyncpg.Connection, account_id: str, event_id: str) -> list[Row]:
    """Commands that the event caused, and events caused by it or by those commands (handed-on ones included)."""
    return list(
        await conn.fetch(
            """
            WITH issued AS (SELECT command_id, kind, status FROM outbox WHERE account_id = $1 AND caused_by = $2)
            SELECT 'command' AS what, command_id AS id, kind AS type, status, $1 AS account_id, $2 AS caused_by
              FROM issued
            UNION ALL
            SELECT 'event', event_id, type, status, account_id, caused_by FROM events
             WHERE account_id = $1 AND (caused_by = $2 OR caused_by IN (SELECT command_id FROM issued))
            UNION ALL
            SELECT 'event', event_id, type, status, account_id, caused_by FROM events
             WHERE event_id ~>=~ ($2 || ':') AND event_id ~<~ ($2 || ';') AND account_id <> $1
            """,
            account_id,
            event_id,
        )
    )


_COMMAND = """
SELECT account_id, command_id, kind, intent, idempotency_key, amount, currency, status, attempts, due_at,
       object_id, request_id, error, caused_by, first_call_at, created_at, updated_at
  FROM outbox
"""


async def commands(
    conn: asyncpg.Connection,
    *,
    limit: int,
    after: Sequence[Any] | None = None,
    account: str | None = None,
    status: str | None = None,
    kind: str | None = None,
) -> list[Row]:
    """Commands, newest first."""
    where = Where()
    where.add_given("account_id = {}", account)
    where.add_given("status = {}", status)
    where.add_given("kind = {}", kind)
    if after:
        where.add("(created_at, account_id, command_id) < ({}, {}, {})", datetime.fromisoformat(after[0]), *after[1:])
    return await where.fetch(conn, _COMMAND, "created_at DESC, account_id DESC, command_id DESC", limit)


async def command(conn: asyncpg.Connection, command_id: str) -> Row | None:
    row: Row | None = await conn.fetchrow(f"{_COMMAND} WHERE command_id = $1 LIMIT 1", command_id)
    return row


async def command_for(conn: asyncpg.Connection, account_id: str, intent: str) -> Row | None:
    """The newest command of this intent (a request's id is the intent of its command)."""
    row: Row | None = await conn.fetchrow(
        f"{_COMMAND} WHERE account_id = $1 AND intent = $2 ORDER BY created_at DESC LIMIT 1", account_id, intent
    )
    return row


_OBJECT = "SELECT account_id, object_id, kind, state, data, observed_at, version, created_at, updated_at FROM objects"


async def objects(
    conn: asyncpg.Connection,
    account_id: str,
    *,
    limit: int,
    after: Sequence[Any] | None = None,
    kind: str | None = None,
    linked_to: str | None = None,
) -> list[Row]:
    """Objects by id; with ``linked_to`` those that name this object, or that it names."""
    where = Where()
    where.add("account_id = {}", account_id)
    where.add_given("kind = {}", kind)
    if linked_to is not None:
        where.add(
            "object_id IN (SELECT linked_id FROM links WHERE account_id = {} AND object_id = {}"
            " UNION ALL SELECT object_id FROM links WHERE account_id = {} AND linked_id = {})",
            account_id,
            linked_to,
            account_id,
            linked_to,
        )
    if after:
        where.add("object_id > {}", after[0])
    return await where.fetch(conn, _OBJECT, "object_id", limit)


async def object_of(conn: asyncpg.Connection, account_id: str, object_id: str) -> Row | None:
    row: Row | None = await conn.fetchrow(f"{_OBJECT} WHERE account_id = $1 AND object_id = $2", account_id, object_id)
    return row


async def request_event(conn: asyncpg.Connection, account_id: str, event_id: str) -> Row | None:
    """The event that carries a request, applied or not."""
    row: Row | None = await conn.fetchrow(
        "SELECT account_id, event_id, type, status, payload, error, created, received_at FROM events"
        " WHERE account_id = $1 AND event_id = $2 AND source = 'request'",
        account_id,
        event_id,
    )
    return await sealed.opened_one(conn, sealed.EVENTS, row)


async def answer_to(conn: asyncpg.Connection, account_id: str, command_id: str) -> Row | None:
    """The event that carries what Stripe answered when it did what the command asked."""
    row: Row | None = await conn.fetchrow(
        "SELECT account_id, event_id, payload FROM events"
        " WHERE account_id = $1 AND caused_by = $2 AND type = 'command.settled' LIMIT 1",
        account_id,
        command_id,
    )
    return await sealed.opened_one(conn, sealed.EVENTS, row)


_JOURNAL = """
SELECT account_id, seq, machine, object_id, from_state, to_state, event_id, at, commands, note FROM journal
"""


async def journal(
    conn: asyncpg.Connection, account_id: str, *, limit: int, after: Sequence[Any] | None = None
) -> list[Row]:
    """Journal of one account, oldest first."""
    where = Where()
    where.add("account_id = {}", account_id)
    if after:
        where.add("seq > {}", after[0])
    return await where.fetch(conn, _JOURNAL, "seq", limit)


_ENROLLMENTS = """
SELECT * FROM (
    SELECT account_id, object_id AS event_id, state, data, created_at AS created, NULL::bytea AS payload, NULL::jsonb AS error
      FROM objects WHERE account_id = $1 AND kind = 'enrollment'
    UNION ALL
    SELECT e.account_id, e.event_id, 'requested', NULL::jsonb, e.created, e.payload, e.error FROM events e
     WHERE e.account_id = $1 AND e.type = 'enrollment.requested' AND e.status IN ('pending', 'parked')
       AND NOT EXISTS (SELECT 1 FROM objects o WHERE o.account_id = $1 AND o.object_id = e.event_id)
) AS enrollments
"""


async def enrollments(
    conn: asyncpg.Connection, platform: str, *, limit: int, after: Sequence[Any] | None = None, state: str | None = None
) -> list[Row]:
    """Enrollments by id: those the platform's log knows, and those asked for a moment ago."""
    rows = await conn.fetch(
        f"{_ENROLLMENTS} WHERE event_id > $2 AND ($3::text IS NULL OR state = $3) ORDER BY event_id LIMIT $4",
        platform,
        after[0] if after else "",
        state,
        limit,
    )
    return await sealed.opened(conn, sealed.EVENTS, rows)


async def enrollment(conn: asyncpg.Connection, platform: str, enrollment_id: str) -> Row | None:
    row: Row | None = await conn.fetchrow(f"{_ENROLLMENTS} WHERE event_id = $2", platform, enrollment_id)
    return await sealed.opened_one(conn, sealed.EVENTS, row)

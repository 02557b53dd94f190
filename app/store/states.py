"""State of accounts: leases, what a batch of events needs to be folded, and the one write that ends the batch.

Only ``flow.apply`` writes here. Every function takes a connection and never commits; the fence is the first statement
of the applying transaction, and whoever lost the lease writes nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from app.store import sealed
from app.store.db import Connection

Row = Mapping[str, Any]

JOURNAL_WITHIN_S = 60.0
"""A transaction older than this may not begin to write the journal."""


async def claim(
    conn: Connection, *, token: UUID, after: str, accounts_max: int, lease_s: float
) -> tuple[list[str], str]:
    """Lease those that are free of the next ``accounts_max`` accounts with due events, by compare-and-set; and the last
    account that was looked at, empty when none stands behind it.

    Walks the index of pending events account by account behind ``after``, so a large backlog of one account costs one
    step. A caller that goes on where it stopped leaves none out.
    """
    rows = await conn.fetch(
        """
        WITH RECURSIVE due AS (
            (SELECT account_id, 1 AS n FROM events
              WHERE status = 'pending' AND due_at <= now() AND account_id > $1 ORDER BY account_id LIMIT 1)
            UNION ALL
            SELECT next.account_id, due.n + 1 FROM due, LATERAL (
                SELECT account_id FROM events
                 WHERE status = 'pending' AND due_at <= now() AND account_id > due.account_id
                 ORDER BY account_id LIMIT 1) AS next
             WHERE due.n < $2
        )
        SELECT account_id FROM due
        """,
        after,
        accounts_max,
    )
    wanted = [row["account_id"] for row in rows]
    if not wanted:
        return [], ""
    await open_logs(conn, wanted)
    leased = await conn.fetch(
        """
        UPDATE accounts SET lease_token = $2, lease_until = now() + make_interval(secs => $3)
         WHERE account_id IN (
               SELECT account_id FROM accounts
                WHERE account_id = ANY($1) AND (lease_until IS NULL OR lease_until < now())
                ORDER BY account_id)
           AND (lease_until IS NULL OR lease_until < now())
        RETURNING account_id
        """,
        wanted,
        token,
        lease_s,
    )
    return [row["account_id"] for row in leased], wanted[-1] if len(wanted) == accounts_max else ""


async def open_logs(conn: Connection, accounts: Sequence[str]) -> None:
    """Make the rows of accounts that are heard of for the first time."""
    await conn.execute("INSERT INTO accounts (account_id) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING", accounts)


async def pending(conn: Connection, accounts: Sequence[str], *, per_account_max: int) -> list[Row]:
    """The due events of the leased accounts, each account's oldest first."""
    rows = await conn.fetch(
        """
            SELECT e.* FROM unnest($1::text[]) AS a (account_id), LATERAL (
                SELECT account_id, event_id, source, type, kind, created, received_at, payload, fetched, attempts,
                       caused_by
                  FROM events
                 WHERE account_id = a.account_id AND status = 'pending' AND due_at <= now()
                 ORDER BY due_at LIMIT $2) AS e
             ORDER BY e.account_id, e.created, e.received_at, e.event_id
            """,
        list(accounts),
        per_account_max,
    )
    return await sealed.opened(conn, sealed.EVENTS, rows, lenient=True)


async def load_accounts(conn: Connection, accounts: Sequence[str]) -> dict[str, Row]:
    rows = await conn.fetch(
        "SELECT account_id, state, since, version, seq, applied, facts, enrolled, country FROM accounts"
        " WHERE account_id = ANY($1)",
        list(accounts),
    )
    return {row["account_id"]: row for row in rows}


async def load_objects(conn: Connection, keys: Sequence[tuple[str, str]]) -> list[Row]:
    """The objects that a batch names, of ``(account_id, object_id)``."""
    return list(
        await conn.fetch(
            """
            SELECT o.account_id, o.object_id, o.kind, o.state, o.data, o.observed_at, o.version
              FROM unnest($1::text[], $2::text[]) AS k (account_id, object_id)
              JOIN objects o ON o.account_id = k.account_id AND o.object_id = k.object_id
            """,
            [account for account, _ in keys],
            [object_id for _, object_id in keys],
        )
    )


async def decided(conn: Connection, keys: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those of these ``(account_id, authorization_id)`` on which we made a decision."""
    rows = await conn.fetch(
        """
        SELECT k.account_id, k.authorization_id FROM unnest($1::text[], $2::text[]) AS k (account_id, authorization_id)
         WHERE EXISTS (SELECT 1 FROM decisions d
                        WHERE d.account_id = k.account_id AND d.authorization_id = k.authorization_id)
        """,
        [account for account, _ in keys],
        [authorization for _, authorization in keys],
    )
    return [(row["account_id"], row["authorization_id"]) for row in rows]


class AccountRow(msgspec.Struct):
    """What a batch leaves of one account."""

    account_id: str
    state: str
    since: datetime
    facts: bytes
    enrolled: bool
    country: str | None
    seq: int
    applied: int
    changed: bool


async def fence(conn: Connection, token: UUID, rows: Sequence[AccountRow]) -> set[str]:
    """Write the accounts whose lease is still ours and give the lease back. Returns those that passed."""
    passed = await conn.fetch(
        """
        UPDATE accounts a
           SET state = n.state, since = n.since, facts = n.facts::jsonb, enrolled = n.enrolled,
               country = coalesce(n.country, a.country), seq = n.seq, applied = n.applied,
               version = a.version + n.changed, lease_token = NULL, lease_until = NULL, updated_at = now()
          FROM unnest($2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::bool[], $7::text[], $8::bigint[],
                      $9::bigint[], $10::int[])
               AS n (account_id, state, since, facts, enrolled, country, seq, applied, changed)
         WHERE a.account_id = n.account_id AND a.lease_token = $1
        RETURNING a.account_id
        """,
        token,
        [r.account_id for r in rows],
        [r.state for r in rows],
        [r.since for r in rows],
        [r.facts.decode() for r in rows],
        [r.enrolled for r in rows],
        [r.country for r in rows],
        [r.seq for r in rows],
        [r.applied for r in rows],
        [int(r.changed) for r in rows],
    )
    return {row["account_id"] for row in passed}


async def renew(conn: Connection, token: UUID, accounts: Sequence[str], *, lease_s: float) -> None:
    """Keep leases that are still ours for another ``lease_s``."""
    await conn.execute(
        "UPDATE accounts SET lease_until = now() + make_interval(secs => $3)"
        " WHERE account_id = ANY($1) AND lease_token = $2",
        list(accounts),
        token,
        lease_s,
    )


async def release(conn: Connection, token: UUID, accounts: Sequence[str]) -> None:
    """Give leases back without writing anything else."""
    await conn.execute(
        "UPDATE accounts SET lease_token = NULL, lease_until = NULL WHERE account_id = ANY($1) AND lease_token = $2",
        list(accounts),
        token,
    )


class EventRow(msgspec.Struct):
    """How one event of a batch ends. ``due_s`` is set when it must come again; ``fetched`` and ``error`` are JSON."""

    account_id: str
    event_id: str
    status: str
    applied_seq: int | None = None
    fetched: bytes | None = None
    error: bytes | None = None
    due_s: float = 0.0
    attempts: int = 0
    programme: str | None = None


async def close_events(conn: Connection, rows: Sequence[EventRow]) -> None:
    await conn.execute(
        """
        UPDATE events e
           SET status = n.status, applied_seq = coalesce(n.applied_seq, e.applied_seq),
               applied_at = CASE WHEN n.status = 'applied' THEN now() ELSE e.applied_at END,
               fetched = coalesce(n.fetched, e.fetched), error = n.error::jsonb,
               due_at = CASE WHEN n.status = 'pending' THEN now() + make_interval(secs => n.due_s) ELSE e.due_at END,
               attempts = e.attempts + n.attempts, programme = coalesce(n.programme, e.programme)
          FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bytea[], $6::text[], $7::float8[], $8::int[],
                      $9::text[])
               AS n (account_id, event_id, status, applied_seq, fetched, error, due_s, attempts, programme)
         WHERE e.account_id = n.account_id AND e.event_id = n.event_id
        """,
        [r.account_id for r in rows],
        [r.event_id for r in rows],
        [r.status for r in rows],
        [r.applied_seq for r in rows],
        [
            None
            if r.fetched is None
            else sealed.seal(conn, sealed.EVENTS, "fetched", r.account_id, r.event_id, r.fetched)
            for r in rows
        ],
        [None if r.error is None else r.error.decode() for r in rows],
        [r.due_s for r in rows],
        [r.attempts for r in rows],
        [r.programme for r in rows],
    )


class ObjectRow(msgspec.Struct):
    """One object as it stands after a batch; ``data`` is JSON."""

    account_id: str
    object_id: str
    kind: str
    state: str
    data: bytes
    observed_at: datetime
    version: int


async def put_objects(conn: Connection, rows: Sequence[ObjectRow]) -> None:
    await conn.execute(
        """
        INSERT INTO objects (account_id, object_id, kind, state, data, observed_at, version)
        SELECT account_id, object_id, kind, state, data::jsonb, observed_at, version
          FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::bigint[])
               AS n (account_id, object_id, kind, state, data, observed_at, version)
        ON CONFLICT (account_id, object_id) DO UPDATE
           SET state = excluded.state, data = excluded.data, observed_at = excluded.observed_at,
               version = excluded.version, updated_at = now()
        """,
        [r.account_id for r in rows],
        [r.object_id for r in rows],
        [r.kind for r in rows],
        [r.state for r in rows],
        [r.data.decode() for r in rows],
        [r.observed_at for r in rows],
        [r.version for r in rows],
    )


class LineRow(msgspec.Struct):
    """One journal line; ``commands`` is a JSON list of command ids."""

    account_id: str
    seq: int
    machine: str
    object_id: str
    before: str | None
    after: str
    event_id: str
    commands: bytes
    note: str | None


class TooLate(Exception):
    """The transaction has been open for too long to write the journal; done again from the start it will pass."""


async def write_journal(conn: Connection, rows: Sequence[LineRow], *, within_s: float = JOURNAL_WITHIN_S) -> None:
    """Append lines. Raises TooLate in a transaction older than ``within_s``: readers of the stream of all
    accounts no longer wait for it (``feed``), so they would miss what it writes.
    """
    open_s = await conn.fetchval(
        """
        WITH written AS (
            INSERT INTO journal (account_id, seq, machine, object_id, from_state, to_state, event_id, at, commands,
                                 note)
            SELECT account_id, seq, machine, object_id, before, after, event_id, clock_timestamp(), commands::jsonb,
                   note
              FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                          $8::text[], $9::text[])
                   AS n (account_id, seq, machine, object_id, before, after, event_id, commands, note)
        )
        SELECT extract(epoch FROM clock_timestamp() - now())::float8
        """,
        [r.account_id for r in rows],
        [r.seq for r in rows],
        [r.machine for r in rows],
        [r.object_id for r in rows],
        [r.before for r in rows],
        [r.after for r in rows],
        [r.event_id for r in rows],
        [r.commands.decode() for r in rows],
        [r.note for r in rows],
    )
    if open_s > within_s:
        raise TooLate(f"the transaction has been open for {open_s:.0f} s")

"""The outbox: commands from intent to outcome. Functions take a connection and never commit.

A claimed row carries a lease; ``due_at`` moves to the lease's end, so a command whose worker died comes up again by
itself, under the same key.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from app.store import sealed
from app.store.db import Connection

Row = Mapping[str, Any]


class CommandRow(msgspec.Struct):
    """A new command; ``params`` is JSON, ``amount`` minor units."""

    account_id: str
    command_id: str
    kind: str
    intent: str
    idempotency_key: str
    params: bytes
    amount: int | None
    currency: str | None
    object_id: str | None
    caused_by: str


async def insert(conn: Connection, rows: Sequence[CommandRow]) -> None:
    """Write intents. One command per intent for ever: a known one is left as it is."""
    await conn.execute(
        """
        INSERT INTO outbox (account_id, command_id, kind, intent, idempotency_key, params, amount, currency, object_id,
                            caused_by, status)
        SELECT account_id, command_id, kind, intent, key, params, amount, currency, object_id, caused_by, 'pending'
          FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::bigint[], $8::text[],
                      $9::text[], $10::text[])
               AS n (account_id, command_id, kind, intent, key, params, amount, currency, object_id, caused_by)
        ON CONFLICT (account_id, command_id) DO NOTHING
        """,
        [r.account_id for r in rows],
        [r.command_id for r in rows],
        [r.kind for r in rows],
        [r.intent for r in rows],
        [r.idempotency_key for r in rows],
        sealed.seal_all(conn, sealed.OUTBOX, "params", ((r.account_id, r.command_id, r.params) for r in rows)),
        [r.amount for r in rows],
        [r.currency for r in rows],
        [r.object_id for r in rows],
        [r.caused_by for r in rows],
    )


FREE = """NOT EXISTS (SELECT 1 FROM accounts a WHERE a.account_id = o.account_id AND a.hold IS NOT NULL)
 AND NOT EXISTS (SELECT 1 FROM brakes b WHERE b.step IN ('all', o.kind) AND b.released_at IS NULL)"""
"""Of a command ``o``: neither a hold nor a brake keeps it back, so that it waits for a worker alone."""


async def claim(conn: Connection, *, token: UUID, commands_max: int, lease_s: float) -> list[Row]:
    """Lease due commands of accounts that are not held and of kinds that no brake stops."""
    rows = await conn.fetch(
        """
            WITH due AS (
                SELECT o.account_id, o.command_id FROM outbox o
                  JOIN accounts a ON a.account_id = o.account_id
                 WHERE o.status IN ('pending', 'in_flight', 'unknown') AND o.due_at <= now()
                   AND a.hold IS NULL
                   AND NOT EXISTS (SELECT 1 FROM brakes b WHERE b.step IN ('all', o.kind) AND b.released_at IS NULL)
                 ORDER BY o.due_at LIMIT $2
            )
            UPDATE outbox o
               SET status = 'in_flight', lease_token = $1, lease_until = now() + make_interval(secs => $3),
                   due_at = now() + make_interval(secs => $3), attempts = o.attempts + 1, updated_at = now()
              FROM due
             WHERE o.account_id = due.account_id AND o.command_id = due.command_id
               AND o.status IN ('pending', 'in_flight', 'unknown') AND o.due_at <= now()
            RETURNING o.account_id, o.command_id, o.kind, o.intent, o.idempotency_key, o.params, o.amount, o.currency,
                      o.object_id, o.attempts, o.first_call_at, o.caused_by, o.created_at, o.error,
                      o.lease_token
            """,
        token,
        commands_max,
        lease_s,
    )
    return await sealed.opened(conn, sealed.OUTBOX, rows, lenient=True)


async def wake(conn: Connection, accounts: Sequence[str], codes: Sequence[str]) -> int:
    """Make those commands of these accounts due at once that wait for one of these reasons; how many."""
    rows = await conn.fetch(
        """
        UPDATE outbox SET due_at = now()
         WHERE account_id = ANY($1::text[]) AND status = 'pending' AND due_at > now() AND error->>'code' = ANY($2::text[])
        RETURNING 1
        """,
        accounts,
        codes,
    )
    return len(rows)


_MOVED = "amount IS NOT NULL AND (status <> 'rejected' OR error ->> 'code' = 'discarded')"
"""As the index of what moved by day has it."""


async def moved_today(conn: Connection, account_id: str) -> tuple[int, int]:
    """Minor units sent since midnight UTC: by this account, and by all.

    What Stripe rejected moved nothing; of what was sent and then given up by a person nobody knows that.
    """
    row = await conn.fetchrow(
        f"""
        WITH day AS (SELECT date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' AS begun)
        SELECT (SELECT coalesce(sum(amount), 0) FROM outbox
                 WHERE account_id = $1 AND first_call_at >= (SELECT begun FROM day) AND {_MOVED})::bigint AS own,
               (SELECT coalesce(sum(amount), 0) FROM outbox
                 WHERE first_call_at >= (SELECT begun FROM day) AND {_MOVED})::bigint AS everyone
        """,  # noqa: S608 - a part of this file only
        account_id,
    )
    return row["own"], row["everyone"]


async def stopped_by(conn: Connection, account_id: str, kind: str) -> str | None:
    """What stops this command now, though it was claimed a moment ago: ``hold``, a brake's step, or None."""
    found: str | None = await conn.fetchval(
        """
        SELECT 'hold' FROM accounts WHERE account_id = $1 AND hold IS NOT NULL
        UNION ALL
        SELECT step FROM brakes WHERE step IN ('all', $2) AND released_at IS NULL
        LIMIT 1
        """,
        account_id,
        kind,
    )
    return found


async def keep_lease(conn: Connection, row: Row, *, lease_s: float) -> bool:
    """Lease a claimed command for ``lease_s`` from now on; False when the lease is not ours any more."""
    kept = await conn.fetchval(
        """
        UPDATE outbox SET lease_until = now() + make_interval(secs => $4), due_at = now() + make_interval(secs => $4)
         WHERE account_id = $1 AND command_id = $2 AND lease_token = $3 RETURNING true
        """,
        row["account_id"],
        row["command_id"],
        row["lease_token"],
        lease_s,
    )
    return bool(kept)


async def first_call(conn: Connection, account_id: str, command_id: str) -> None:
    """Note that the call is about to be made."""
    await conn.execute(
        "UPDATE outbox SET first_call_at = coalesce(first_call_at, now()) WHERE account_id = $1 AND command_id = $2",
        account_id,
        command_id,
    )


async def renew_key(conn: Connection, row: Row, key: str, *, lease_s: float) -> bool:
    """Go on under another key, first called now; what was said under the one before no longer tells of this one. False,
    and nothing is written, when the lease is not ours any more.
    """
    if not await keep_lease(conn, row, lease_s=lease_s):
        return False
    await conn.execute(
        """
        UPDATE outbox SET idempotency_key = $3, first_call_at = now(), error = NULL
         WHERE account_id = $1 AND command_id = $2
        """,
        row["account_id"],
        row["command_id"],
        key,
    )
    return True


class Burst(NamedTuple):
    """How commands of one kind ended lately: how many failed, of how many accounts, and how many were done."""

    failed: int
    accounts: int
    settled: int


async def burst(
    conn: Connection, kind: str, *, platform: str, window_s: float, uncounted: Sequence[str], counted_max: int
) -> Burst:
    """Look at the last ``window_s``, but never past the last release of the kind's brake. At most ``counted_max`` rows.

    The platform's commands open an account each, so there every command counts as an account.
    """
    row = await conn.fetchrow(
        """
        WITH since AS (
            SELECT greatest(now() - make_interval(secs => $3), max(released_at)) AS at
              FROM brakes WHERE step IN ('all', $1)),
        ended AS (
            SELECT status, CASE WHEN account_id = $2 THEN command_id ELSE account_id END AS account
              FROM outbox
             WHERE kind = $1 AND status IN ('settled', 'rejected', 'parked')
               AND updated_at > (SELECT at FROM since)
               AND (status = 'settled' OR coalesce(error->>'code', '') <> ALL($4::text[]))
             ORDER BY updated_at DESC LIMIT $5)
        SELECT count(*) FILTER (WHERE status <> 'settled'), count(DISTINCT account) FILTER (WHERE status <> 'settled'),
               count(*) FILTER (WHERE status = 'settled') FROM ended
        """,
        kind,
        platform,
        window_s,
        list(uncounted),
        counted_max,
    )
    return Burst(*row)


async def lock_burst(conn: Connection, kind: str) -> None:
    """One failure of a kind at a time counts the others, until the transaction ends: none is overlooked by all."""
    await conn.execute("SELECT pg_advisory_xact_lock(hashtext('cardrail burst ' || $1))", kind)


async def lock_money(conn: Connection) -> None:
    """One at a time through the caps, until the transaction ends."""
    await conn.execute("SELECT pg_advisory_xact_lock(hashtext('cardrail caps'))")


async def settle(
    conn: Connection,
    *,
    token: UUID,
    account_id: str,
    command_id: str,
    status: str,
    object_id: str | None = None,
    request_id: str | None = None,
    error: bytes | None = None,
    due_s: float = 0.0,
    attempts_back: int = 0,
    key: str | None = None,
    moved: bool = True,
    called: bool = True,
) -> bool:
    """Write one outcome if the lease is still ours; False when it is not.

    ``moved`` is false when Stripe said that no money did: it will count for the caps of the day on which it is asked again.
    ``called`` is false when Stripe was not asked at all, now or before: then its key is as young as ever.
    """
    done = await conn.fetchval(
        """
        UPDATE outbox
           SET status = $4, object_id = coalesce($5, object_id), request_id = coalesce($6, request_id),
               error = $7::text::jsonb, due_at = now() + make_interval(secs => $8), attempts = attempts - $9,
               idempotency_key = coalesce($10, idempotency_key), lease_token = NULL, lease_until = NULL,
               first_call_at = CASE WHEN $12 AND ($11 OR amount IS NULL) THEN first_call_at END, updated_at = now()
         WHERE account_id = $2 AND command_id = $3 AND lease_token = $1
        RETURNING true
        """,
        token,
        account_id,
        command_id,
        status,
        object_id,
        request_id,
        None if error is None else error.decode(),
        due_s,
        attempts_back,
        key,
        moved,
        called,
    )
    return bool(done)

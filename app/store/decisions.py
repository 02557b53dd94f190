"""Real-time decisions: the one read that they rest on, the one write that records them, and what Stripe made of them.

The rule: all decisions of one account stand in line behind :func:`begin`, whose lock no worker ever takes; the read is
a statement of its own after it, so it sees every decision that was committed before. Every lookup is by the account.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zlib import crc32

import msgspec
from prometheus_client import Counter

from app.machines.decision import Request, Snapshot, Spent, controls_of, interval_starts
from app.machines.programme import Authorization
from app.store.db import Connection

Row = Mapping[str, Any]

LOCK_CLASS = 1_635_087_464
"""The class of advisory locks (``auth`` in ASCII) that only decisions take; collisions of keys merely queue."""

HOLDS_KEPT_DAYS = 35
"""An approval older than this holds nothing any more: captures come within 31 days."""

_mismatches = Counter(
    "cardrail_authorization_mismatches", "Decisions that Stripe did not follow, by reason", ["reason"]
)

_FACTS = """
WITH account AS MATERIALIZED (
    SELECT state, hold IS NOT NULL OR facts ->> 'hold' IS NOT NULL AS held,
           (facts #>> '{balance,available,usdc}')::bigint AS available,
           coalesce((facts #>> '{balance,at}')::bigint, 0) AS balance_ms,
           to_timestamp(coalesce((facts #>> '{balance,at}')::float8, 0) / 1000) AS balance_at
      FROM accounts WHERE account_id = $1
), card AS MATERIALIZED (
    SELECT o.state, o.data -> 'spending_controls' AS controls, CASE
               WHEN jsonb_path_exists(l.limits, '$[*].interval ? (@ != "per_authorization" && @ != "daily"
                                                && @ != "weekly" && @ != "monthly" && @ != "yearly")')
                   THEN '-infinity'::timestamptz
               WHEN l.limits @> '[{"interval": "yearly"}]' THEN least($6::timestamptz, $7::timestamptz, $8::timestamptz)
               WHEN l.limits @> '[{}]' THEN least($6::timestamptz, $7::timestamptz)
               ELSE $9::timestamptz END AS since
      FROM objects o, LATERAL (SELECT o.data #> '{spending_controls,spending_limits}' AS limits) AS l
     WHERE o.account_id = $1 AND o.object_id = $2 AND o.kind = 'card'
), holds AS MATERIALIZED (
    SELECT authorization_id, max(decided_at) AS last,
           sum(CASE WHEN approved THEN coalesce((inputs ->> 'reserved')::bigint, amount) ELSE requested END) AS reserved
      FROM decisions
     WHERE account_id = $1 AND decided_at > $10 AND coalesce(stripe_approved, approved)
     GROUP BY authorization_id
), debits AS MATERIALIZED (
    SELECT o.data ->> 'authorization' AS authorization_id,
           sum((o.data #>> '{amount,value}')::bigint) AS amount, bool_or(o.state IN ('canceled', 'failed')) AS released
      FROM objects o, account
     WHERE o.account_id = $1 AND o.kind = 'received_debit' AND EXISTS (SELECT 1 FROM holds)
       AND o.observed_at <= account.balance_at + interval '5 seconds'
     GROUP BY 1
), open AS (
    SELECT sum(greatest(h.reserved - coalesce(d.amount, 0), 0)) AS amount
      FROM account, holds h
      LEFT JOIN objects a ON a.account_id = $1 AND a.object_id = h.authorization_id
      LEFT JOIN debits d ON d.authorization_id = h.authorization_id
     WHERE NOT coalesce(d.released, false)
       AND NOT coalesce(a.updated_at > h.last AND (
               a.state IN ('reversed', 'expired')
               OR (a.state = 'closed' AND (a.data ->> 'approved' = 'false' OR d.amount IS NOT NULL
                                           OR a.observed_at + interval '1 second' <= account.balance_at))), false)
), sent AS (
    SELECT sum(o.amount) AS amount FROM outbox o, account
     WHERE o.account_id = $1 AND o.amount IS NOT NULL AND o.currency = 'usdc'
       AND (o.status IN ('pending', 'in_flight', 'unknown')
            OR (o.status = 'parked' AND o.first_call_at IS NOT NULL)
            OR (o.status = 'settled' AND o.updated_at > account.balance_at))
), asked AS MATERIALIZED (
    SELECT decided_at, reason, coalesce(stripe_approved, approved) AS yes,
           CASE WHEN approved THEN amount ELSE requested END AS amount, coalesce(inputs ->> 'category', '') AS category
      FROM decisions
     WHERE account_id = $1 AND card_id = $2 AND decided_at >= least($9, (SELECT since FROM card))
), spent AS (
    SELECT category, sum(amount) AS all_time,
           sum(amount) FILTER (WHERE decided_at >= $5) AS daily, sum(amount) FILTER (WHERE decided_at >= $6) AS weekly,
           sum(amount) FILTER (WHERE decided_at >= $7) AS monthly, sum(amount) FILTER (WHERE decided_at >= $8) AS yearly
      FROM asked WHERE yes GROUP BY category
)
SELECT account.state AS account_state, account.held, account.available, account.balance_ms,
       card.state AS card_state, card.controls,
       (coalesce((SELECT amount FROM open), 0) + coalesce((SELECT amount FROM sent), 0))::bigint AS open,
       (SELECT jsonb_agg(jsonb_strip_nulls(to_jsonb(spent))) FROM spent) AS spent,
       (SELECT count(*) FROM asked WHERE decided_at > $4 AND reason <> 'velocity_count') AS velocity_count,
       (SELECT coalesce(sum(amount), 0)::bigint FROM asked WHERE decided_at > $4 AND yes) AS velocity_amount,
       (SELECT jsonb_agg(jsonb_build_object(
                   'event', request_event_id, 'approved', approved, 'counts', coalesce(stripe_approved, approved),
                   'reason', reason, 'amount', amount, 'requested', requested, 'partial', inputs -> 'partial',
                   'held', inputs -> 'held', 'history', inputs -> 'history'))
          FROM decisions WHERE account_id = $1 AND authorization_id = $3) AS earlier
  FROM (VALUES (1)) AS always LEFT JOIN account ON true LEFT JOIN card ON true
"""

_RECORD = """
WITH event AS (
    INSERT INTO events (account_id, event_id, source, type, kind, created, payload, status, applied_at)
    VALUES ($1, $2, 'webhook', $3, 'snapshot', $4, $5, 'applied', now())
        ON CONFLICT (account_id, event_id) DO UPDATE SET deliveries = events.deliveries + 1
)
INSERT INTO decisions (account_id, request_event_id, authorization_id, card_id, approved, reason, amount, currency,
       requested, inputs, took_us, decided_at)
VALUES ($1, $2, $6, $7, $8, $9, $10, $11, $12, $13, $14, to_timestamp($15::float8 / 1000))
    ON CONFLICT (account_id, authorization_id, request_event_id) DO UPDATE
   SET approved = excluded.approved, reason = excluded.reason, amount = excluded.amount, inputs = excluded.inputs,
       took_us = excluded.took_us
"""

_EVENT_ONLY = """
INSERT INTO events (account_id, event_id, source, type, kind, created, payload, status, applied_at, error)
VALUES ($1, $2, 'webhook', $3, 'snapshot', $4, $5, $6, CASE WHEN $6 = 'applied' THEN now() END, $7)
    ON CONFLICT (account_id, event_id) DO UPDATE SET deliveries = events.deliveries + 1
"""

_STRIPE_SAID = """
UPDATE decisions d SET stripe_reason = said.reason, stripe_approved = said.approved
  FROM unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::bool[])
       AS said (account_id, authorization_id, history, reason, approved)
 WHERE d.account_id = said.account_id AND d.authorization_id = said.authorization_id AND (d.inputs ->> 'history')::int = said.history
   AND (d.stripe_reason IS DISTINCT FROM said.reason OR d.stripe_approved IS DISTINCT FROM said.approved)
RETURNING d.approved, said.approved AS stripe_approved, said.reason
"""


class Earlier(msgspec.Struct, frozen=True):
    """A decision that this authorization already has; ``counts`` is false where Stripe did not follow an approval."""

    event: str
    approved: bool
    counts: bool
    reason: str
    amount: int
    requested: int
    partial: bool | None = None
    held: int | None = None
    history: int | None = None


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """One request event and what was answered. ``inputs`` is what the answer rested on; times in milliseconds."""

    account_id: str
    event_id: str
    type: str
    created: datetime
    payload: bytes
    request: Request
    approved: bool
    reason: str
    amount: int
    inputs: dict[str, object]
    took_us: int
    decided_at_ms: int


async def begin(conn: Connection, account_id: str) -> None:
    """Begin the transaction of one decision and stand in line behind the others of this account: one round trip."""
    key = crc32(account_id.encode()) - 2**31
    await conn.execute(f"BEGIN; SELECT pg_advisory_xact_lock({LOCK_CLASS}, {key})")


async def commit(conn: Connection) -> None:
    """End what :func:`begin` began; the lock goes with it."""
    await conn.execute("COMMIT")


async def facts(
    conn: Connection, account_id: str, request: Request, rules: Authorization, at_ms: int
) -> tuple[Snapshot, list[Earlier]]:
    """All that a decision reads, and what was decided before on its authorization: one statement."""
    starts = interval_starts(at_ms)
    now = datetime.fromtimestamp(at_ms / 1000, UTC)
    velocity_start = now - timedelta(seconds=rules.velocity.window_s)
    row: Row = await conn.fetchrow(
        _FACTS,
        account_id,
        request.card,
        request.authorization,
        velocity_start,
        starts["daily"],
        starts["weekly"],
        starts["monthly"],
        starts["yearly"],
        _since(request, rules, starts, velocity_start),
        now - timedelta(days=HOLDS_KEPT_DAYS),
    )
    earlier = msgspec.convert(row["earlier"] or [], list[Earlier])
    snapshot = Snapshot(
        account_state=row["account_state"],
        held=bool(row["held"]),
        card_state=row["card_state"],
        controls=controls_of(row["controls"]),
        available=row["available"],
        balance_at=row["balance_ms"] or 0,
        open=row["open"],
        authorized=sum(e.amount if e.approved else e.requested for e in earlier if e.counts),
        spent=msgspec.convert(row["spent"] or [], tuple[Spent, ...]),
        velocity_count=row["velocity_count"],
        velocity_amount=row["velocity_amount"],
    )
    return snapshot, earlier


def _since(
    request: Request, rules: Authorization, starts: Mapping[str, datetime], velocity_start: datetime
) -> datetime:
    """How far back the card's decisions are summed: no further than some rule looks. The statement adds the card's own."""
    looked_at = {limit.interval for limit in request.controls.spending_limits or ()} - {"per_authorization"}
    looked_at |= {name for name in (*starts, "all_time") if getattr(rules, name) is not None}
    if not looked_at <= {*starts}:
        return datetime(1970, 1, 1, tzinfo=UTC)
    return min((velocity_start, *(starts[name] for name in looked_at)))


async def record(conn: Connection, decided: Decided) -> None:
    """Write the decision and its request event. What was answered is the truth: it replaces what was only decided."""
    request = decided.request
    await conn.execute(
        _RECORD,
        decided.account_id,
        decided.event_id,
        decided.type,
        decided.created,
        decided.payload,
        request.authorization,
        request.card,
        decided.approved,
        decided.reason,
        decided.amount,
        request.currency,
        request.amount,
        decided.inputs,
        decided.took_us,
        decided.decided_at_ms,
    )


async def keep_event(
    conn: Connection,
    *,
    account_id: str,
    event_id: str,
    type: str,  # noqa: A002 - Stripe's word for it
    created: datetime,
    payload: bytes,
    status: str,
    error: Mapping[str, object] | None = None,
) -> None:
    """Store a request event that made no decision of its own: a repeat (applied), or one that cannot be read (parked)."""
    await conn.execute(_EVENT_ONLY, account_id, event_id, type, created, payload, status, error)


async def record_stripe(
    conn: Connection, account_id: str, authorization_id: str, history: Sequence[Mapping[str, Any]]
) -> int:
    """Join the decisions of an authorization with its ``request_history``. Returns how many newly differ.

    A decision belongs to the entry whose place is the length that the history had when it was asked for, so a late or
    repeated observation joins the same entries again and changes nothing.
    """
    return await record_stripe_all(conn, [(account_id, authorization_id, history)])


async def record_stripe_all(
    conn: Connection, authorizations: Iterable[tuple[str, str, Sequence[Mapping[str, Any]]]]
) -> int:
    """:func:`record_stripe` for many ``(account, authorization, history)``, in one statement."""
    said = [
        (account_id, authorization_id, place, str(entry.get("reason") or "unknown"), entry.get("approved") is True)
        for account_id, authorization_id, history in authorizations
        for place, entry in enumerate(sorted(history, key=lambda entry: int(entry.get("created") or 0)))
    ]
    if not said:
        return 0
    rows: list[Row] = await conn.fetch(_STRIPE_SAID, *(list(column) for column in zip(*said, strict=True)))
    differ = [row for row in rows if _differs(row)]
    for row in differ:
        _mismatches.labels(row["reason"] if row["reason"] in _KNOWN else "other").inc()
    return len(differ)


_KNOWN = frozenset({"webhook_approved", "webhook_declined", "webhook_timeout", "webhook_error"})


def _differs(row: Row) -> bool:
    return row["approved"] != row["stripe_approved"] or row["reason"] in ("webhook_timeout", "webhook_error")

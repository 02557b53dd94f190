"""Real-time decisions: the one write that records them, and what Stripe made of them.

The rule: a decision is written only when no other decision of its account came after the facts that it rests on
(:func:`record`), so nothing is locked while it is made. Every lookup is by the account.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from prometheus_client import Counter

from app.machines.purchase import Request
from app.store import sealed
from app.store.db import Connection

Row = Mapping[str, Any]

_mismatches = Counter(
    "cardrail_authorization_mismatches", "Decisions that Stripe did not follow, by reason", ["reason"]
)

_TAKE = """
WITH given AS MATERIALIZED (
    SELECT g.*, ($2::bytea[])[place] AS payload FROM jsonb_to_recordset($1) AS g
        (place int, account_id text, request_event_id text, type text, created timestamptz, authorization_id text,
         card_id text, approved bool, reason text, amount bigint, currency text, requested bigint, inputs jsonb,
         took_us int, decided_ms float8, turn bigint)
), taken AS (
    INSERT INTO decision_turns AS t (account_id, turn) SELECT account_id, turn FROM given ORDER BY account_id
        ON CONFLICT (account_id) DO UPDATE SET turn = t.turn + 1 {condition}
    RETURNING account_id
), event AS (
    INSERT INTO events (account_id, event_id, source, type, kind, created, payload, status, applied_at)
    SELECT account_id, request_event_id, 'webhook', type, 'snapshot', created, payload, 'applied', now()
      FROM given WHERE account_id IN (SELECT account_id FROM taken)
        ON CONFLICT (account_id, event_id) DO UPDATE SET deliveries = events.deliveries + 1
)
INSERT INTO decisions (account_id, request_event_id, authorization_id, card_id, approved, reason, amount, currency,
       requested, inputs, took_us, decided_at)
SELECT account_id, request_event_id, authorization_id, card_id, approved, reason, amount, currency,
       requested, inputs, took_us, to_timestamp(decided_ms / 1000)
  FROM given WHERE account_id IN (SELECT account_id FROM taken)
    ON CONFLICT (account_id, authorization_id, request_event_id) DO UPDATE
   SET approved = excluded.approved, reason = excluded.reason, amount = excluded.amount, inputs = excluded.inputs,
       took_us = excluded.took_us
RETURNING account_id
"""
_RECORD = _TAKE.format(condition="WHERE t.turn + 1 = excluded.turn")
_RECORD_ANYWAY = _TAKE.format(condition="")

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
RETURNING d.approved, said.approved AS stripe_approved, said.reason AS stripe_reason
"""


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


async def record(conn: Connection, decided: Sequence[Decided], turns: Sequence[int]) -> set[str]:
    """Write decisions, one per account, each with its request event; returns the accounts whose decision was written.

    ``turns`` are the accounts' turns when the facts were read: where another decision came in between, nothing is
    written, and it has to be made again. The row of the account's turn orders the decisions; no worker ever takes it.
    """
    return await _write(conn, _RECORD, decided, [turn + 1 for turn in turns])


async def record_answered(conn: Connection, decided: Decided) -> None:
    """Write what was answered without the database: it is the truth, and replaces what was only decided."""
    await _write(conn, _RECORD_ANYWAY, [decided], [1])


async def _write(conn: Connection, statement: str, decided: Sequence[Decided], turns: Sequence[int]) -> set[str]:
    given = [
        {
            "place": place,
            "account_id": one.account_id,
            "request_event_id": one.event_id,
            "type": one.type,
            "created": one.created,
            "authorization_id": one.request.authorization,
            "card_id": one.request.card,
            "approved": one.approved,
            "reason": one.reason,
            "amount": one.amount,
            "currency": one.request.currency,
            "requested": one.request.amount,
            "inputs": one.inputs,
            "took_us": one.took_us,
            "decided_ms": one.decided_at_ms,
            "turn": turn,
        }
        for place, (one, turn) in enumerate(zip(decided, turns, strict=True), 1)
    ]
    payloads = sealed.seal_all(conn, sealed.EVENTS, "payload", ((d.account_id, d.event_id, d.payload) for d in decided))
    rows: list[Row] = await conn.fetch(statement, given, payloads)
    return {row["account_id"] for row in rows}


async def decided_since(conn: Connection, account_id: str, authorization_id: str, event_id: str) -> list[str]:
    """The request events of an authorization from this one on, as far as they were decided."""
    rows: list[Row] = await conn.fetch(
        "SELECT request_event_id FROM decisions WHERE account_id = $1 AND authorization_id = $2 AND decided_at >="
        " (SELECT min(decided_at) FROM decisions WHERE account_id = $1 AND authorization_id = $2"
        "     AND request_event_id = $3)",
        account_id,
        authorization_id,
        event_id,
    )
    return [row["request_event_id"] for row in rows]


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
    kept = sealed.seal(conn, sealed.EVENTS, "payload", account_id, event_id, payload)
    await conn.execute(_EVENT_ONLY, account_id, event_id, type, created, kept, status, error)


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
    differ = [row for row in rows if differs(row)]
    for row in differ:
        _mismatches.labels(row["stripe_reason"] if row["stripe_reason"] in _KNOWN else "other").inc()
    return len(differ)


UNHEARD = ("webhook_timeout", "webhook_error")
_KNOWN = frozenset({"webhook_approved", "webhook_declined", *UNHEARD})


def count_unheard(histories: Iterable[Sequence[Mapping[str, Any]]]) -> None:
    """Count authorizations that Stripe asked us about in vain: no decision of ours exists that could be marked."""
    for history in histories:
        for reason in {str(entry.get("reason")) for entry in history}.intersection(UNHEARD):
            _mismatches.labels(reason).inc()


def differs(row: Row) -> bool:
    """Whether Stripe recorded another outcome than we answered, or had no answer of ours that it could use."""
    if row["stripe_approved"] is None:
        return False
    return row["approved"] != row["stripe_approved"] or row["stripe_reason"] in UNHEARD

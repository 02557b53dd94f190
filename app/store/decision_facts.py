"""What decisions read: account, card, cardholder, balance, holds, sums and what was decided before, for many at once.

The rule: one statement, so all of it is one snapshot, and with it comes the account's turn: whoever records what it
decided from this snapshot names that turn, and is refused when another decision came in between. Every lookup is by the
account. Sums reach no further back than some rule looks.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from app.machines.decision import Snapshot, Spent, interval_starts
from app.machines.programme import Authorization
from app.machines.purchase import Controls, Request, controls_of
from app.store.db import Connection

Row = Mapping[str, Any]

HOLDS_KEPT_DAYS = 35
"""An approval older than this holds nothing any more: captures come within 31 days."""

_EVER = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER = datetime(9000, 1, 1, tzinfo=UTC)


def _since(limits: str, otherwise: str) -> str:
    """How far back ``limits`` (spending limits as jsonb) look: everything, for an interval that nobody knows."""
    return f"""CASE
        WHEN {limits} IS NULL OR {limits} = '[]' THEN {otherwise}
        WHEN jsonb_path_exists({limits}, '$[*].interval ? (@ != "per_authorization" && @ != "daily"
                                          && @ != "weekly" && @ != "monthly" && @ != "yearly")')
            THEN '-infinity'::timestamptz
        WHEN {limits} @> '[{{"interval": "yearly"}}]' THEN least($4::timestamptz, $5::timestamptz, $6::timestamptz)
        ELSE least($4::timestamptz, $5::timestamptz) END"""


def _spent(asked: str) -> str:
    """Sums by category since each interval began."""
    return f"""
    SELECT jsonb_agg(jsonb_strip_nulls(to_jsonb(s))) FROM (
        SELECT category, sum(amount) AS all_time,
               sum(amount) FILTER (WHERE decided_at >= $3) AS daily,
               sum(amount) FILTER (WHERE decided_at >= $4) AS weekly,
               sum(amount) FILTER (WHERE decided_at >= $5) AS monthly,
               sum(amount) FILTER (WHERE decided_at >= $6) AS yearly
          FROM {asked} WHERE yes GROUP BY category) AS s"""  # noqa: S608 - parts of this file only


_ASKED = """decided_at, reason, coalesce(stripe_approved, approved) AS yes,
               CASE WHEN approved THEN amount ELSE requested END AS amount,
               coalesce(inputs ->> 'category', '') AS category"""

FACTS = f"""
SELECT place, found.* FROM jsonb_to_recordset($1) AS ask (place int, account_id text, card_id text, authorization_id text,
                                                 holder_id text, card_since timestamptz, holder_since timestamptz)
CROSS JOIN LATERAL (
    WITH account AS MATERIALIZED (
        SELECT state, hold IS NOT NULL OR facts ->> 'hold' IS NOT NULL AS held,
               (facts #>> '{{balance,available,usdc}}')::bigint AS available,
               coalesce((facts #>> '{{balance,at}}')::bigint, 0) AS balance_ms,
               to_timestamp(coalesce((facts #>> '{{balance,at}}')::float8, 0) / 1000) AS balance_at
          FROM accounts WHERE account_id = ask.account_id
    ), card AS MATERIALIZED (
        SELECT state, data -> 'spending_controls' AS controls, coalesce(data ->> 'cardholder', ask.holder_id) AS holder_id,
               {_since("data #> '{spending_controls,spending_limits}'", "$2::timestamptz")} AS since
          FROM objects WHERE account_id = ask.account_id AND object_id = ask.card_id AND kind = 'card'
    ), holder AS MATERIALIZED (
        SELECT o.state, o.data -> 'spending_controls' AS controls,
               {_since("o.data #> '{spending_controls,spending_limits}'", "'infinity'::timestamptz")} AS since
          FROM card JOIN objects o ON o.account_id = ask.account_id AND o.object_id = card.holder_id
         WHERE o.kind = 'cardholder'
    ), holds AS MATERIALIZED (
        SELECT authorization_id, max(decided_at) AS last,
               sum(CASE WHEN approved THEN coalesce((inputs ->> 'reserved')::bigint, amount) ELSE requested END) AS reserved
          FROM decisions
         WHERE account_id = ask.account_id AND decided_at > $7 AND coalesce(stripe_approved, approved)
           AND request_event_id <> ALL ($8::text[])
         GROUP BY authorization_id
    ), open AS (
        SELECT sum(greatest(h.reserved - coalesce(d.amount, 0), 0)) AS amount
          FROM account CROSS JOIN holds h
          LEFT JOIN objects a ON a.account_id = ask.account_id AND a.object_id = h.authorization_id
         CROSS JOIN LATERAL (
               SELECT sum((o.data #>> '{{amount,value}}')::bigint) AS amount, bool_or(o.state IN ('canceled', 'failed')) AS released
                 FROM objects o
                WHERE o.account_id = ask.account_id AND o.kind = 'received_debit'
                  AND o.data ->> 'authorization' = h.authorization_id
                  AND o.observed_at <= account.balance_at + interval '5 seconds') AS d
         WHERE NOT coalesce(d.released, false)
           AND NOT coalesce(a.updated_at > h.last AND (
                   a.state IN ('reversed', 'expired')
                   OR (a.state = 'closed' AND (a.data ->> 'approved' = 'false' OR d.amount IS NOT NULL
                                               OR (a.data ->> 'closed_heard_ms')::bigint <= account.balance_ms
                                               OR a.observed_at + interval '1 second' <= account.balance_at))), false)
    ), sent AS (
        SELECT sum(o.amount) AS amount FROM outbox o, account
         WHERE o.account_id = ask.account_id AND o.amount IS NOT NULL AND o.currency = 'usdc'
           AND (o.status IN ('pending', 'in_flight', 'unknown')
                OR (o.status = 'parked' AND o.first_call_at IS NOT NULL)
                OR (o.status = 'settled' AND o.updated_at > account.balance_at))
    ), asked AS MATERIALIZED (
        SELECT {_ASKED} FROM decisions
         WHERE account_id = ask.account_id AND card_id = ask.card_id
           AND decided_at >= least(ask.card_since, (SELECT since FROM card)) AND request_event_id <> ALL ($8::text[])
    ), asked_of_holder AS MATERIALIZED (
        SELECT {_ASKED} FROM decisions
         WHERE account_id = ask.account_id AND request_event_id <> ALL ($8::text[])
           AND decided_at >= least(ask.holder_since, (SELECT since FROM holder))
           AND card_id IN (SELECT c.object_id FROM objects c, card
                            WHERE c.account_id = ask.account_id AND c.kind = 'card'
                              AND (c.object_id = ask.card_id OR c.data ->> 'cardholder' = card.holder_id))
    )
    SELECT account.state AS account_state, account.held, account.available, account.balance_ms,
           card.state AS card_state, card.controls, holder.state AS holder_state, holder.controls AS holder_controls,
           (coalesce((SELECT amount FROM open), 0) + coalesce((SELECT amount FROM sent), 0))::bigint AS open,
           ({_spent("asked")}) AS spent,
           CASE WHEN least(ask.holder_since, holder.since) < '9000-01-01Z' THEN ({_spent("asked_of_holder")}) END AS holder_spent,
           pace.velocity_count, pace.velocity_amount,
           (SELECT jsonb_agg(jsonb_build_object(
                       'event', request_event_id, 'approved', approved, 'counts', coalesce(stripe_approved, approved),
                       'reason', reason, 'amount', amount, 'requested', requested, 'partial', inputs -> 'partial',
                       'held', inputs -> 'held', 'history', inputs -> 'history'))
              FROM decisions WHERE account_id = ask.account_id AND authorization_id = ask.authorization_id
               AND request_event_id <> ALL ($8::text[])) AS earlier,
           coalesce((SELECT turn FROM decision_turns WHERE account_id = ask.account_id), 0) AS turn
      FROM (VALUES (1)) AS always
      LEFT JOIN account ON true LEFT JOIN card ON true LEFT JOIN holder ON true
     CROSS JOIN (SELECT count(*) FILTER (WHERE reason <> 'velocity_count') AS velocity_count,
                        coalesce(sum(amount) FILTER (WHERE yes), 0)::bigint AS velocity_amount
                   FROM asked WHERE decided_at > $2) AS pace
) AS found
"""  # noqa: S608 - parts of this file only


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


class Facts(msgspec.Struct, frozen=True):
    """What one request is judged by. ``turn`` grows with every decision of the account."""

    snapshot: Snapshot
    earlier: list[Earlier]
    turn: int


async def read(
    conn: Connection,
    asked: Sequence[tuple[str, Request]],
    rules: Authorization,
    at_ms: int,
    ignoring: Sequence[str] = (),
) -> list[Facts]:
    """All that the decisions on these ``(account, request)`` rest on, in their order: one statement.

    ``ignoring`` names request events whose decisions shall not count (a trial of what was decided already).
    """
    rows: list[Row] = await conn.fetch(FACTS, *arguments(asked, rules, at_ms, ignoring))
    return [_facts(row) for row in sorted(rows, key=lambda row: int(row["place"]))]


def arguments(
    asked: Sequence[tuple[str, Request]], rules: Authorization, at_ms: int, ignoring: Sequence[str]
) -> list[object]:
    """What :data:`FACTS` is asked with."""
    starts = interval_starts(at_ms)
    now = datetime.fromtimestamp(at_ms / 1000, UTC)
    velocity_start = now - timedelta(seconds=rules.velocity.window_s)
    least = min(velocity_start, _reach(rules, starts))
    return [
        [
            {
                "place": place,
                "account_id": account_id,
                "card_id": request.card,
                "authorization_id": request.authorization,
                "holder_id": request.holder,
                "card_since": min(least, _looks_back(request.controls, starts)),
                "holder_since": _looks_back(request.holder_controls, starts),
            }
            for place, (account_id, request) in enumerate(asked)
        ],
        velocity_start,
        starts["daily"],
        starts["weekly"],
        starts["monthly"],
        starts["yearly"],
        now - timedelta(days=HOLDS_KEPT_DAYS),
        ignoring,
    ]


def _facts(row: Row) -> Facts:
    earlier = msgspec.convert(row["earlier"], list[Earlier]) if row["earlier"] else []
    snapshot = Snapshot(
        account_state=row["account_state"],
        held=bool(row["held"]),
        card_state=row["card_state"],
        controls=controls_of(row["controls"]),
        holder_state=row["holder_state"],
        holder_controls=controls_of(row["holder_controls"]),
        available=row["available"],
        balance_at=row["balance_ms"] or 0,
        open=row["open"],
        authorized=sum(e.amount if e.approved else e.requested for e in earlier if e.counts),
        spent=_sums(row["spent"]),
        holder_spent=_sums(row["holder_spent"]),
        velocity_count=row["velocity_count"],
        velocity_amount=row["velocity_amount"],
    )
    return Facts(snapshot, earlier, row["turn"])


def _sums(raw: object) -> tuple[Spent, ...]:
    return msgspec.convert(raw, tuple[Spent, ...]) if raw else ()


def _reach(rules: Authorization, starts: Mapping[str, datetime]) -> datetime:
    if rules.all_time is not None:
        return _EVER
    return min((start for name, start in starts.items() if getattr(rules, name) is not None), default=_NEVER)


def _looks_back(controls: Controls, starts: Mapping[str, datetime]) -> datetime:
    """How far back limits that came with the request look; the statement adds the stored ones."""
    looked_at = {limit.interval for limit in controls.spending_limits or ()} - {"per_authorization"}
    return min((starts.get(name, _EVER) for name in looked_at), default=_NEVER)

"""doctor: looks at everything that can be wrong from outside the code, and says what would help.

A check is ``ok``, ``warning`` (look at it) or ``wrong`` (the service does not do its duty; exit 1). It changes nothing.
"""

import time
from typing import Any, Literal

import asyncpg
import msgspec

from app.errors import CardrailError
from app.ops.parts import Parts
from app.store import controls, health, heartbeats, schema
from app.stripe import catalog
from app.stripe.client import Missing, Reading

REJECTIONS_HOURS = 24
UNKNOWN_DAYS = 7
SKEW_MAX_S = 5.0
BACKLOG_MAX_S = 300.0
HEARTBEAT_MAX_S = 30.0
DESTINATIONS = "/v2/core/event_destinations"
HELPS = {
    "signature_mismatch": "is every destination's signing secret in STRIPE_WEBHOOK_SECRETS?",
    "signature_missing": "somebody who is not Stripe posts here, or a proxy drops the Stripe-Signature header",
    "signature_stale": "is the clock of this machine right? old deliveries are sent again by Stripe with a new time",
}


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing looked at."""

    check: str
    state: Literal["ok", "warning", "wrong"]
    says: str


async def examine(parts: Parts) -> list[Check]:
    """Look at everything. Never raises for what it finds."""
    try:
        await schema.check(parts.pool)
        found = [Check(check="schema", state="ok", says=schema.head())]
    except CardrailError as error:
        return [Check(check="schema", state="wrong", says=error.message)]
    async with parts.pool.acquire() as conn:
        found += [await _clock(conn), await _worker(conn), await _backlog(conn)]
        found += await _rejections(conn)
        found += [*await _brakes(conn), *await _parked(conn), await _unknown(conn)]
    found += await _stripe(parts)
    return found


def wrong(found: list[Check]) -> bool:
    """Whether something needs to be done."""
    return any(check.state == "wrong" for check in found)


async def _clock(conn: asyncpg.Connection) -> Check:
    skew = abs(time.time() - await health.clock_s(conn))
    state: Literal["ok", "wrong"] = "ok" if skew <= SKEW_MAX_S else "wrong"
    return Check(check="clock", state=state, says=f"{skew:.1f} s from the database's clock")


async def _worker(conn: asyncpg.Connection) -> Check:
    age = await heartbeats.newest_age_s(conn)
    if age is None or age > HEARTBEAT_MAX_S:
        said = "no worker was ever heard of" if age is None else f"no worker was heard of for {age:.0f} s"
        return Check(check="worker", state="warning", says=f"{said}: cardrail worker")
    return Check(check="worker", state="ok", says=f"heard of {age:.0f} s ago")


async def _backlog(conn: asyncpg.Connection) -> Check:
    row = await health.backlog(conn)
    oldest = max(row["events_age_s"], row["commands_age_s"])
    said = f"{row['events']} events and {row['commands']} commands are due, the oldest for {oldest:.0f} s"
    return Check(check="backlog", state="wrong" if oldest > BACKLOG_MAX_S else "ok", says=said)


async def _rejections(conn: asyncpg.Connection) -> list[Check]:
    rows = await health.rejections(conn, REJECTIONS_HOURS)
    if not rows:
        return [Check(check="rejections", state="ok", says=f"none in {REJECTIONS_HOURS} h")]
    found = []
    for row in rows:
        help_ = HELPS.get(row["code"], "")
        seen = msgspec.json.encode(row["detail"] or {}).decode()
        said = f"{row['count']} in {REJECTIONS_HOURS} h, the last at {row['newest']:%Y-%m-%d %H:%M:%S}Z {seen} {help_}"
        state: Literal["wrong", "warning"] = "wrong" if str(row["code"]).startswith("signature") else "warning"
        found.append(Check(check=f"rejections {row['code']}", state=state, says=said.strip()))
    return found


async def _brakes(conn: asyncpg.Connection) -> list[Check]:
    rows = await controls.brakes(conn)
    if not rows:
        return [Check(check="brakes", state="ok", says="none is on")]
    return [
        Check(
            check=f"brake {row['step']}",
            state="warning",
            says=f"on since {row['at']:%Y-%m-%d %H:%M}Z, {row['by']}: {row['reason']}",
        )
        for row in rows
    ]


async def _parked(conn: asyncpg.Connection) -> list[Check]:
    rows = await health.parked(conn)
    if not rows:
        return [Check(check="parked", state="ok", says="nothing needs a person")]
    return [
        Check(
            check=f"parked {row['what']} {row['kind']}",
            state="wrong",
            says=f"{row['count']} x {row['code']} since {row['oldest']:%Y-%m-%d %H:%M}Z, for example {row['example']}: {row['message']}",
        )
        for row in rows
    ]


async def _unknown(conn: asyncpg.Connection) -> Check:
    rows = [r for r in await health.ignored_types(conn, UNKNOWN_DAYS) if catalog.lookup(r["type"]) is None]
    if not rows:
        return Check(check="event types", state="ok", says=f"none unknown in {UNKNOWN_DAYS} days")
    said = ", ".join(f"{row['type']} ({row['count']})" for row in rows[:20])
    return Check(check="event types", state="warning", says=f"kept but not understood: {said}")


async def _stripe(parts: Parts) -> list[Check]:
    """The key, and the destinations at Stripe against what we must hear of."""
    answer = await parts.stripe.read("/v1/account", context=None)
    if not isinstance(answer, Reading):
        says = f"{parts.settings.api_base} does not answer with this key: {answer.code}"
        return [Check(check="stripe", state="wrong", says=says)]
    own = answer.object.get("id")
    if own != parts.platform_account:
        says = f"the key belongs to {own}, PLATFORM_ACCOUNT_ID is {parts.platform_account}"
        return [Check(check="stripe", state="wrong", says=says)]
    found = [Check(check="stripe", state="ok", says=f"the key of {own} is answered")]
    if isinstance(await parts.stripe.read(DESTINATIONS, context=None), Missing):
        return [*found, Check(check="destinations", state="warning", says="this key may not list them")]
    try:
        rows = await parts.stripe.list_all(DESTINATIONS, {"include": ["webhook_endpoint.url"]}, None)
    except TimeoutError as error:
        return [*found, Check(check="destinations", state="warning", says=str(error))]
    return found + destinations(rows)


def destinations(rows: list[dict[str, Any]]) -> list[Check]:
    """The destinations against our catalogue: enabled, both payload styles, both scopes, all types."""
    hooks = [row for row in rows if row.get("type") == "webhook_endpoint"]
    found = []
    for row in hooks:
        name = f"destination {row.get('id')}"
        if row.get("status") not in (None, "enabled"):
            found.append(Check(check=name, state="wrong", says=f"is {row.get('status')} at Stripe"))
    live = [row for row in hooks if row.get("status") in (None, "enabled")]
    heard = {str(t) for row in live for t in row.get("enabled_events") or ()}
    if not live:
        return [*found, Check(check="destinations", state="warning", says="none at Stripe posts to a webhook endpoint")]
    found += [
        Check(check="destinations", state="warning", says=f"none hears of {scope}")
        for scope in ("@self", "@accounts")
        if not any(scope in (row.get("events_from") or ["@self"]) for row in live)
    ]
    missing = [t for t, entry in catalog.ENTRIES.items() if entry.handling == "object" and not _heard(t, heard)]
    if missing and "*" not in heard:
        said = f"{len(missing)} types that we follow reach no destination: {', '.join(missing[:8])}"
        found.append(Check(check="destinations", state="warning", says=said))
    return found or [Check(check="destinations", state="ok", says=f"{len(live)} enabled, {len(heard)} types")]


def _heard(event_type: str, heard: set[str]) -> bool:
    names = {event_type, f"v1.{event_type}", catalog.canonical(event_type)}
    names.add(event_type.replace("[configuration.money_manager]", "[configuration.storer]"))
    return bool(names & heard)

"""What Stripe's door saw: refused deliveries and why, and events that we keep without understanding them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from app.ops.doctor.check import Check
from app.store import health
from app.store.db import Connection
from app.stripe import catalog

REJECTIONS_HOURS = 24
OVER_AFTER = timedelta(hours=1)
"""Without another refusal for so long, what was wrong is over: Stripe would have tried again."""
IGNORED_DAYS = 7
UNKNOWN_SHOWN_MAX = 20
SECRETS = "STRIPE_WEBHOOK_SECRETS"
AUTHORIZATION_SECRETS = "STRIPE_AUTHORIZATION_SECRETS"

HELPS = {
    "signature_missing": "somebody who is not Stripe posts here, or a proxy drops the Stripe-Signature header",
    "signature_malformed": "a proxy changes the Stripe-Signature header, or it is not Stripe that posts",
    "signature_scheme": "only v0 was sent: a test that proves nothing; real deliveries carry v1",
    "signature_stale": "set this machine's clock by NTP; something on the way may also hold deliveries back",
    "signature_future": "set this machine's clock by NTP: it is behind Stripe's",
    "body_too_large": "raise CARDRAIL_BODY_MAX_BYTES if it was Stripe that posted",
}
CAUSES = {
    "wrong_secret": f"put the signing secret of every destination that posts here into {SECRETS} and restart:"
    " cardrail destinations list names them, Stripe's dashboard shows each one's secret",
    "other_door": f"{SECRETS} and {AUTHORIZATION_SECRETS} are changed over, or the destination posts to the other path",
    "reserialised": "a proxy parses the body and writes it again: pass the raw bytes on",
    "malformed_v1": "a proxy changes the Stripe-Signature header, or it is not Stripe that posts",
}


async def look(conn: Connection, *, livemode: bool) -> list[Check]:
    """Refusals of the last day by code and cause; unknown types and events of the other mode of the last week."""
    ignored = await health.ignored_types(conn, IGNORED_DAYS)
    return [*await rejections(conn), _unknown(ignored), _mode(ignored, livemode=livemode)]


async def rejections(conn: Connection) -> list[Check]:
    """Refusals of the last day by code and cause."""
    rows = await health.rejections(conn, REJECTIONS_HOURS)
    if not rows:
        return [Check(check="rejections", state="ok", says=f"none in {REJECTIONS_HOURS} h")]
    return [_rejection(dict(row)) for row in rows]


def _rejection(row: dict[str, Any]) -> Check:
    code, cause = str(row["code"]), row["cause"]
    detail = row["detail"] or {}
    parts = [f"{row['count']} in {REJECTIONS_HOURS} h, the last at {row['newest']:%Y-%m-%d %H:%M:%S}Z"]
    if cause:
        parts.append(f"cause {cause}")
    if detail.get("path"):
        parts.append(f"at {detail['path']}")
    if "secret" in detail:
        parts.append(f"signed with secret number {int(detail['secret']) + 1}")
    elif "secrets_tried" in detail:
        parts.append(f"{detail['secrets_tried']} secrets tried")
    if detail.get("mode"):
        parts.append(f"the body says {detail['mode']} mode")
    if row["skew_from"] is not None:
        parts.append(f"clock skew {row['skew_from']:.0f} to {row['skew_to']:.0f} s")
    do = CAUSES.get(str(cause), HELPS.get(code, ""))
    if detail.get("mode") and detail["mode"] != detail.get("our_mode"):
        do = (
            f"a destination of {detail['mode']} mode posts here, and this service runs in {detail.get('our_mode')} mode"
        )
    over = datetime.now(UTC) - row["newest"] > OVER_AFTER
    wrong = code.startswith("signature") and code != "signature_missing" and not over
    return Check(check=f"rejections {code}", state="wrong" if wrong else "warning", says=", ".join(parts), do=do)


def _unknown(ignored: Sequence[health.Row]) -> Check:
    rows = [r for r in ignored if r["count"] > r["other_mode"] and catalog.lookup(r["type"]) is None]
    if not rows:
        return Check(check="event types", state="ok", says=f"none unknown in {IGNORED_DAYS} days")
    says = ", ".join(f"{row['type']} ({row['count']})" for row in rows[:UNKNOWN_SHOWN_MAX])
    one = f"cardrail events list --status ignored --type {rows[0]['type']}"
    do = f"nothing is lost: {one} shows them; a newer release may know it"
    return Check(check="event types", state="warning", says=f"kept but not understood: {says}", do=do)


def _mode(ignored: Sequence[health.Row], *, livemode: bool) -> Check:
    """Test events at a live service are usual: Stripe sends those of connected accounts to its live destinations too."""
    ours, other = ("live", "test") if livemode else ("test", "live")
    count = sum(row["other_mode"] for row in ignored)
    if count == 0:
        return Check(check="mode", state="ok", says=f"{ours}; no event of the other in {IGNORED_DAYS} days")
    says = (
        f"this service runs in {ours} mode; {count} events of {other} mode in {IGNORED_DAYS} days are kept, not applied"
    )
    if livemode:
        return Check(check="mode", state="ok", says=says)
    do = "if they are meant for it, set CARDRAIL_LIVEMODE=true with the live key; else let them go elsewhere at Stripe"
    return Check(check="mode", state="warning", says=says, do=do)

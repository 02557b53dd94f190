"""Stripe's side: the key, the clock, and the event destinations against our catalogue."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.errors import Unavailable
from app.ops import destinations as listed
from app.ops.doctor.check import Check, worse_than
from app.ops.parts import Parts
from app.stripe import destinations
from app.stripe.client import Missing, Reading

SKEW_WARN_S, SKEW_MAX_S = 5.0, 60.0
ENSURE = "cardrail destinations ensure --yes"
ENSURE_AT = "cardrail destinations ensure --url https://HOST --yes"
"""Where nobody can know the address that Stripe reaches us at."""


async def look(parts: Parts) -> list[Check]:
    """The key first: without an answer to it nothing else can be seen."""
    answer = await parts.stripe.read("/v1/account", context=None)
    if not isinstance(answer, Reading):
        says = f"{parts.settings.api_base} does not answer with this key: {answer.code}"
        do = "check STRIPE_API_KEY and STRIPE_API_BASE, and Stripe's status page"
        return [Check(check="stripe", state="wrong", says=says, do=do)]
    own = answer.object.get("id")
    if own != parts.platform_account:
        says = f"the key belongs to {own}, PLATFORM_ACCOUNT_ID is {parts.platform_account}"
        return [Check(check="stripe", state="wrong", says=says, do="set the two to the same account")]
    found = [Check(check="stripe", state="ok", says=f"the key of {own} is answered"), *clock(parts.stripe.skew_s)]
    if isinstance(await parts.stripe.read(destinations.PATH, context=None), Missing):
        says = "this key may not list them"
        return [*found, Check(check="destinations", state="warning", says=says, do="look in Stripe's dashboard")]
    try:
        rows = await listed.rows(parts)
    except Unavailable as error:
        return [*found, Check(check="destinations", state="warning", says=error.message, do="try again")]
    at = None if parts.settings.public_url is None else parts.settings.base_url + destinations.DOOR
    ensure = ENSURE if listed.known_door(parts, rows) else ENSURE_AT
    return found + against_catalogue(rows, parts.settings.stripe_api_version, at, ensure)


def clock(skew_s: float | None) -> list[Check]:
    """How far our clock is ahead of Stripe's (below zero: behind)."""
    if skew_s is None:
        return []
    size = abs(skew_s)
    state = worse_than(size, SKEW_WARN_S, SKEW_MAX_S)
    where = "from" if state == "ok" else "ahead of" if skew_s > 0 else "behind"
    says = f"{size:.0f} s {where} Stripe's clock"
    return [Check(check="clock at stripe", state=state, says=says, do="" if state == "ok" else "set this clock by NTP")]


def against_catalogue(
    rows: Sequence[Mapping[str, Any]], version: str, url: str | None, ensure: str = ENSURE
) -> list[Check]:
    """The destinations that post to us: enabled, each style in each scope, all types, the version that we speak.

    ``ensure`` is the command that mends them.
    """
    mine = destinations.ours(rows, url)
    found = [
        Check(check=f"destination {row.get('id')}", state="wrong", says=f"is {row.get('status')} at Stripe", do=ensure)
        for row in mine
        if not destinations.enabled(row) and not destinations.is_classic(row)
    ]
    found += _classic(mine, ensure)
    live = [row for row in mine if destinations.enabled(row)]
    if not live:
        says = f"none of {len(rows)} at Stripe posts to {url or destinations.DOOR}: no event reaches us"
        return [*found, Check(check="destinations", state="wrong", says=says, do=ensure)]
    for style in destinations.STYLES:
        for scope in destinations.SCOPES:
            found += _covered(live, style, scope, version, ensure)
    found += [
        Check(
            check=f"destination {row.get('id')}",
            state="warning",
            says=f"its snapshots are rendered in {row['snapshot_api_version']}, we speak {version}",
            do="both are understood; to move, delete it at Stripe and run " + ensure,
        )
        for row in live
        if row.get("snapshot_api_version") not in (None, version)
    ]
    return found or [Check(check="destinations", state="ok", says=f"{len(live)} enabled, every type in both scopes")]


def _classic(mine: Sequence[Mapping[str, Any]], ensure: str) -> list[Check]:
    """Webhook endpoints of v1 that post to us: those that are off, and what comes twice because of them."""
    found = [
        Check(
            check=f"webhook endpoint {row['id']}",
            state="warning",
            says=f"a webhook endpoint of v1 that is {row['status']} at Stripe",
            do=f"delete it at Stripe if nobody needs it; what it brought: {ensure}",
        )
        for row in mine
        if destinations.is_classic(row) and not destinations.enabled(row)
    ]
    for old, new, types in destinations.twice(mine):
        says = f"{len(types)} types come twice, from here and from {new.get('id')}: {', '.join(types[:4])}"
        do = "harmless, each has one effect; delete this endpoint of v1 at Stripe"
        found.append(Check(check=f"webhook endpoint {old['id']}", state="warning", says=says, do=do))
    return found


def _covered(live: Sequence[Mapping[str, Any]], style: str, scope: str, version: str, ensure: str) -> list[Check]:
    name = f"destinations {style} {scope}"
    if not any(destinations.brings(row, style, scope) for row in live):
        return [Check(check=name, state="wrong", says=f"no destination brings {style} events of {scope}", do=ensure)]
    moving = destinations.missing(live, style, scope, destinations.needed(style, version, all_known=False))
    others = destinations.missing(live, style, scope, destinations.needed(style, version))
    if not others:
        return []
    says = f"{len(others)} types do not reach us: {', '.join((moving or others)[:8])}"
    return [Check(check=name, state="wrong" if moving else "warning", says=says, do=ensure)]

"""destinations: what Stripe sends where, and creating what is missing, so that everything we follow reaches our door.

Run again it does nothing: what exists is looked for first. A signing secret is shown by Stripe once, in the answer to
the creation; it is handed on to the caller once and is never stored, logged or audited.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from app.config import LOOPBACK, Settings
from app.errors import BadInput, Unavailable
from app.ops.parts import Actor, Parts
from app.store import audit
from app.stripe import destinations
from app.stripe.destinations import Step
from app.stripe.outcome import Outcome, Rejected, Settled

SETTING = "STRIPE_WEBHOOK_SECRETS"


async def rows(parts: Parts) -> list[dict[str, Any]]:
    """The destinations at Stripe, with where they post to; webhook endpoints of v1 in the same form.

    Raises Unavailable when Stripe does not tell.
    """
    try:
        found = await parts.stripe.list_all(destinations.PATH, {"include": ["webhook_endpoint.url"]}, None)
        classic = await parts.stripe.list_all(destinations.CLASSIC_PATH, {}, None)
        return [*found, *(dict(row) for row in destinations.classic(classic))]
    except TimeoutError as error:
        raise Unavailable(
            f"Stripe does not list the event destinations: {error}", code="destinations_unknown"
        ) from error


def known_door(parts: Parts, rows: Sequence[Mapping[str, Any]]) -> str | None:
    """Where Stripe shall post to, when nobody says it: as set, else where it posts already, else here for a Stripe that runs here.

    None when that cannot be known: an address of this machine alone is nothing to tell Stripe.
    """
    settings = parts.settings
    if settings.public_url is not None:
        return settings.base_url
    doors = {str(at) for row in destinations.ours(rows, None) if (at := (row.get("webhook_endpoint") or {}).get("url"))}
    own = settings.base_url + destinations.DOOR
    if own in doors or (not doors and _stripe_is_here(settings)):
        return own
    return doors.pop() if len(doors) == 1 else None


def _stripe_is_here(settings: Settings) -> bool:
    """Whether Stripe is played on this machine, so that it reaches an address of this machine."""
    return settings.uses_sandbox or urlsplit(settings.api_base).hostname in LOOPBACK


def door(parts: Parts, url: str | None, rows: Sequence[Mapping[str, Any]] = ()) -> str:
    """The address that Stripe shall post to: ``url``, or the one that is known. Raises BadInput for one that cannot be."""
    found = url or known_door(parts, rows)
    if found is None:
        raise BadInput(
            "Say where Stripe shall post to: set CARDRAIL_PUBLIC_URL or give --url https://HOST.",
            code="bad_url",
            status=422,
        )
    given = found.rstrip("/")
    split = urlsplit(given)
    if split.scheme not in ("http", "https") or not split.hostname:
        raise BadInput(f"{given} is no http(s) address.", code="bad_url", status=422)
    if parts.settings.livemode and split.scheme != "https":
        raise BadInput(
            "Stripe posts to https only in live mode: set CARDRAIL_PUBLIC_URL or give --url.",
            code="bad_url",
            status=422,
        )
    return given if split.path.rstrip("/") else given + destinations.DOOR


async def listed(parts: Parts) -> list[dict[str, Any]]:
    """The destinations in our words: ``{id, api, name, status, style, scopes, types, url, api_version}``."""
    return [
        {
            "id": row.get("id"),
            "api": "v1" if destinations.is_classic(row) else "v2",
            "name": row.get("name"),
            "status": row.get("status"),
            "style": row.get("event_payload"),
            "scopes": row.get("events_from") or ["@self"],
            "types": len(row.get("enabled_events") or ()),
            "url": (row.get("webhook_endpoint") or {}).get("url"),
            "api_version": row.get("snapshot_api_version"),
        }
        for row in await rows(parts)
    ]


async def ensure(parts: Parts, actor: Actor, *, url: str | None, yes: bool) -> dict[str, Any]:
    """Create, extend or enable what is missing. Dry without ``yes``. Types that Stripe refuses are left out and told.

    Returns ``{url, dry_run, steps, secrets, failed}``; ``secrets`` are the new signing secrets, shown this once.
    Raises BadInput for an address that cannot be, Unavailable when Stripe does not list its destinations.
    """
    if url is not None:
        door(parts, url)  # refused before Stripe is asked
    there, version = await rows(parts), parts.settings.stripe_api_version
    at = door(parts, url, there)
    steps = destinations.plan(there, at, version)
    secrets: list[str] = []
    failed: list[str] = []
    done: list[dict[str, Any]] = []
    for step in steps:
        told = {
            "action": step.action,
            "style": step.style,
            "scope": step.scope,
            "id": step.id,
            "missing": len(step.missing),
        }
        if yes:
            outcome, refused = await _asked(parts, step, version)
            if refused:
                failed.append(f"{step.action} {step.style} {step.scope}: Stripe refuses {', '.join(refused)}")
            if outcome is None:
                continue
            if not isinstance(outcome, Settled):
                failed.append(f"{step.action} {step.style} {step.scope}: {outcome.message} ({outcome.code})")
                continue
            told |= {"id": outcome.object_id, "missing": len(step.missing) - len(refused)}
            endpoint = outcome.object.get("webhook_endpoint")
            secret = endpoint.get("signing_secret") if isinstance(endpoint, dict) else None
            if step.action == "create" and isinstance(secret, str):
                secrets.append(secret)
        done.append(told)
    if yes:
        result = {"steps": done, "failed": failed}
        async with parts.pool.acquire() as conn:
            await audit.note(
                conn, who=actor.who, action="destinations.ensure", target=at, reason=actor.reason, result=result
            )
    return {"url": at, "dry_run": not yes, "steps": done, "secrets": secrets, "failed": failed}


async def _asked(parts: Parts, step: Step, version: str) -> tuple[Outcome | None, list[str]]:
    """Do one step, without the types that Stripe names in a refusal: one that it does not know must not cost the others.

    Returns what it came to, None when nothing was left to ask for, and the refused types.
    """
    refused: list[str] = []
    while True:
        outcome = await parts.stripe.call(step.request(version), f"cardrail-destination-{uuid4().hex}")
        named = step.named(outcome.message) if isinstance(outcome, Rejected) else ()
        if not named:
            return outcome, refused
        refused += named
        step = step.without(named)
        if not step.missing:
            return None, refused


def advice(secrets: list[str]) -> str:
    """How new secrets reach the settings, in one sentence."""
    return f"Add to {SETTING} (keep those that are there), then restart: {','.join(secrets)}"

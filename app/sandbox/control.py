"""Routes under ``/_sandbox/``: look at the world, change it as Stripe or the outside would, prove what happened."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from app.sandbox import (
    accounts,
    alarms,
    authorizations,
    capabilities,
    captures,
    cardholders,
    cards,
    disputes,
    event_api,
    money_control,
    persons,
    scenarios,
    tokens,
)
from app.sandbox.calls import Json, Record
from app.sandbox.errors import ApiError, invalid
from app.sandbox.vocabulary import capability_in
from app.sandbox.world import World

WAIT_MAX_S = 60.0
WAIT_STEP_S = 0.005


def _account(world: World, ident: str) -> Record:
    record = world.records.get(ident)
    if record is None or record.kind != accounts.KIND:
        raise ApiError(404, "not_found", f"No such account: {ident}")
    return record


def ledger(world: World, _ids: list[str], _body: Json) -> Json:
    """All accounts and the proof that the books balance."""
    return world.ledger.proof()


def requests(world: World, _ids: list[str], _body: Json) -> Json:
    """Counts per method and path template, and of objects made."""
    return {"requests": dict(world.requests), "created": dict(world.created)}


async def idle(world: World, _ids: list[str], body: Json) -> Json:
    """Whether nothing is under way; with ``?wait_s=5`` it waits for that, at most so long."""
    until = time.monotonic() + min(float(body.get("wait_s", 0)), WAIT_MAX_S)
    while not world.idle() and time.monotonic() < until:  # noqa: ASYNC110 - two counters, no event to wait for
        await asyncio.sleep(WAIT_STEP_S)
    return {"idle": world.idle(), "steps": world.pending_steps, "webhooks": world.webhooks.pending}


def events(world: World, _ids: list[str], body: Json) -> Json:
    """All events and where they were delivered; ``?undelivered=1``."""
    wanted = str(body.get("undelivered", "")) in {"1", "true"}
    rows = [
        {"id": e.id, "type": e.type, "style": e.style, "account": e.account, "deliveries": e.deliveries}
        for e in world.events.by_id.values()
        if not wanted or e.undelivered
    ]
    return {"data": rows}


def faults(world: World, _ids: list[str], body: Json) -> Json:
    """Show or set the faults."""
    world.faults.set(body)
    return world.faults.shown()


def expire_keys(world: World, _ids: list[str], _body: Json) -> Json:
    """Let every idempotency key used so far be forgotten."""
    return {"expired": world.keys.expire()}


def destination(world: World, _ids: list[str], body: Json) -> Json:
    """A destination for all events of a style."""
    version = str(body.get("api_version") or world.settings.api_version)
    record = event_api.register(
        world, str(body["url"]), str(body["secret"]), str(body.get("event_payload", "thin")), version
    )
    return {**record.data, "url": record.hidden["url"]}


def thin_twins(world: World, _ids: list[str], body: Json) -> Json:
    """Send a thin ``v1.*`` event beside every snapshot event from now on, or no longer: ``on``."""
    world.events.thin_twins = bool(body.get("on", True))
    return {"on": world.events.thin_twins}


def authorization_endpoint(world: World, _ids: list[str], body: Json) -> Json:
    """Set or clear the real-time endpoint and the default answer."""
    world.authorization_url = body.get("url")
    world.authorization_secret = body.get("secret", world.authorization_secret)
    world.authorization_default = bool(body.get("default", world.authorization_default))
    return {"url": world.authorization_url, "default": world.authorization_default}


def decisions(world: World, _ids: list[str], _body: Json) -> Json:
    """Every authorization decision with its latency."""
    return {"data": world.decisions}


async def purchase(world: World, _ids: list[str], body: Json) -> Json:
    """A purchase: authorized, and captured unless ``capture`` is false. ``asked`` and ``latency_ms``: the real-time endpoint."""
    account = str(body["account"])
    usable = [c for c in world.all("issuing.card", account) if c.data["status"] == "active"]
    card = world.records.get(body["card"]) if body.get("card") else next(iter(usable), None)
    if card is None or card.kind != "issuing.card" or card.account != account:
        raise invalid(f"{account} has no active card", param="card")
    amount = body.get("amount")
    if type(amount) is not int or amount <= 0:
        raise invalid("amount must be a positive integer", param="amount")
    controllable = body.get("is_amount_controllable") is True
    record = await authorizations.authorize(world, card, amount, body, controllable=controllable)
    decided = next(one for one in reversed(world.decisions) if one["authorization"] == record.id)
    spent: Json | None = None
    if record.data["approved"] and body.get("capture", True):
        spent = captures.capture_now(world, record, record.data["amount"]).data
    history = record.data["request_history"][-1]
    return {
        "approved": record.data["approved"],
        "reason": history["reason"],
        "reason_message": history["reason_message"],
        "asked": decided["asked"],
        "latency_ms": decided["latency_ms"],
        "authorization": record.data,
        "transaction": spent,
    }


def close(world: World, ids: list[str], _body: Json) -> Json:
    """Close an account, as Stripe may."""
    account = _account(world, ids[0])
    accounts.shut(world, account)
    return account.data


def capability(world: World, ids: list[str], body: Json) -> Json:
    """Set ``path`` (``card_creator.commercial.lead.prepaid_card``; either vocabulary) to ``status``."""
    account = _account(world, ids[0])
    name, _, path = str(body["path"]).partition(".")
    name = "money_manager" if name == "storer" else name
    status = str(body["status"])
    if name not in account.data["configuration"] or account.data["configuration"][name] is None:
        raise invalid(f"no such configuration: {name}", param="path")
    if status != "active" and status not in capabilities.DETAILS:
        raise invalid(f"no such status: {status}", param="status")
    capabilities.change(world, account, {f"{name}.{one}": status for one in capability_in(path)})
    return account.data


def kyc(world: World, ids: list[str], body: Json) -> Json:
    """Tell how a verification ends."""
    outcome = str(body.get("outcome"))
    if outcome not in scenarios.OUTCOMES:
        raise invalid(f"outcome must be one of {', '.join(scenarios.OUTCOMES)}", param="outcome")
    account = _account(world, ids[0])
    scenarios.decide(world, account, outcome)
    return account.data


def link_return(world: World, ids: list[str], _body: Json) -> Json:
    """The holder comes back from the hosted onboarding; says nothing about success."""
    account = _account(world, ids[0])
    configurations = account.data["applied_configurations"]
    data = {"account_id": account.id, "configurations": configurations, "use_case": "account_onboarding"}
    link = world.add(persons.LINK, account.id, {})
    return {"event": world.events.thin(f"{persons.LINK}.returned", link, account.id, data=data).id}


def requirements(world: World, ids: list[str], body: Json) -> Json:
    """Ask for something: ``entries`` of ``{field, who, deadline, time?}``; ``future`` announces them."""
    account = _account(world, ids[0])
    entries = []
    for one in body.get("entries") or []:
        who, deadline = str(one.get("who", "user")), str(one.get("deadline", "currently_due"))
        entry = capabilities.requirement(str(one["field"]), who, deadline, [capabilities.PREPAID])
        entry["minimum_deadline"]["time"] = one.get("time")
        entries.append(entry)
    part = "future_requirements" if body.get("future") else "requirements"
    capabilities.require(world, account, entries, part=part)
    return dict(account.data[part])


def token(world: World, _ids: list[str], body: Json) -> Json:
    """Put a card into a wallet."""
    card = world.records.get(str(body["card"]))
    if card is None or card.kind != cards.KIND:
        raise invalid("no such card", param="card")
    held = bool(body.get("held", False))
    return tokens.provision(world, card, str(body.get("wallet_provider", "apple_pay")), held=held).data


def token_status(world: World, ids: list[str], body: Json) -> Json:
    """What the network makes of a token: ``active``, ``suspended`` or ``deleted``."""
    record = world.records.get(ids[0])
    if record is None or record.kind != tokens.TOKEN:
        raise invalid("no such token", param="id")
    tokens.become(world, record, str(body["status"]))
    return record.data


def screening(world: World, ids: list[str], body: Json) -> Json:
    """Stripe's screening of a cardholder: ``reason`` (``under_review``, ``listed``, ``rejected.listed``) or null."""
    record = world.records.get(ids[0])
    if record is None or record.kind != cardholders.KIND:
        raise invalid("no such cardholder", param="id")
    reason = body.get("reason")
    if reason not in (None, "under_review", "listed", "rejected.listed"):
        raise invalid(f"no such reason: {reason}", param="reason")
    cardholders.review(world, record, reason)
    return record.data


def dispute(world: World, ids: list[str], body: Json) -> Json:
    """The window for filing a dispute passes: ``status`` is ``expired``."""
    record = world.records.get(ids[0])
    if record is None or record.kind != disputes.KIND or body.get("status") != "expired":
        raise invalid("no such dispute, or status is not expired", param="status")
    disputes.expire(world, record)
    return record.data


Control = Callable[[World, list[str], Json], Any]
ROUTES: tuple[tuple[str, str, Control], ...] = (
    ("GET", "/_sandbox/ledger", ledger),
    ("GET", "/_sandbox/requests", requests),
    ("GET", "/_sandbox/idle", idle),
    ("GET", "/_sandbox/events", events),
    ("GET", "/_sandbox/faults", faults),
    ("PUT", "/_sandbox/faults", faults),
    ("DELETE", "/_sandbox/idempotency_keys", expire_keys),
    ("POST", "/_sandbox/destinations", destination),
    ("PUT", "/_sandbox/thin_twins", thin_twins),
    ("PUT", "/_sandbox/authorization_endpoint", authorization_endpoint),
    ("GET", "/_sandbox/authorizations", decisions),
    ("POST", "/_sandbox/purchases", purchase),
    ("POST", "/_sandbox/accounts/{id}/close", close),
    ("POST", "/_sandbox/accounts/{id}/capabilities", capability),
    ("POST", "/_sandbox/accounts/{id}/kyc", kyc),
    ("POST", "/_sandbox/accounts/{id}/link_returns", link_return),
    ("POST", "/_sandbox/tokens", token),
    ("POST", "/_sandbox/tokens/{id}", token_status),
    ("POST", "/_sandbox/cardholders/{id}/screening", screening),
    ("POST", "/_sandbox/disputes/{id}", dispute),
    ("POST", "/_sandbox/accounts/{id}/requirements", requirements),
    ("POST", "/_sandbox/health_alerts", alarms.alert),
    *money_control.ROUTES,
)

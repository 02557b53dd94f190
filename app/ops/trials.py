"""Trials: what an authorization would be answered now, and why, under the rules in force or others.

The rule: a trial decides, locks and records nothing. It may be about a stored event, or about an event or object as Stripe
would send it; one that asks for nothing any more (it was answered long ago) is asked again as if it were new. What was
decided on that very request, and later on its authorization, does not count.
"""

import time
from typing import Any

import asyncpg
import msgspec

from app.errors import BadInput, NotFound
from app.flow.decide import inputs_of
from app.machines import decision
from app.machines.decision import REASONS, YES, Approve, Decline
from app.machines.events import Json
from app.machines.programme import Authorization, rule_faults, version_of
from app.machines.purchase import Request, request_of
from app.store import decision_facts, decisions, views

PREFIX = "issuing_authorization."


class Asked(msgspec.Struct, frozen=True):
    """What to try: an authorization of an account, and the stored event it came in, if it did."""

    account: str
    authorization: Json
    event: str | None = None


async def stored(conn: asyncpg.Connection, event_id: str) -> Asked:
    """A stored authorization event. Raises NotFound, or BadInput when it is about something else."""
    row = await views.event(conn, event_id)
    if row is None:
        raise NotFound(f"There is no event {event_id}.")
    if row["payload"] is None:
        raise _unreadable("its body was dropped: it is older than retention keeps")
    try:
        raw = msgspec.json.decode(bytes(row["payload"]))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable("the stored payload is no JSON") from error
    found = given(raw, row["account_id"])
    return Asked(row["account_id"], found.authorization, event_id)


def given(raw: object, account: str | None = None) -> Asked:
    """An event or an authorization object as Stripe sends it; ``account`` names whose it is where it does not say so."""
    if not isinstance(raw, dict):
        raise _unreadable("it is no JSON object")
    thing: object = raw
    if raw.get("object") == "event" or isinstance(raw.get("data"), dict):
        data = raw.get("data")
        thing = data.get("object") if isinstance(data, dict) else None
        if not str(raw.get("type") or PREFIX).startswith(PREFIX):
            raise _unreadable(f"{raw['type']} is no event of an authorization")
        account = account or raw.get("account") or str(raw.get("context") or "").rpartition("/")[2] or None
    if not isinstance(thing, dict) or thing.get("object", "issuing.authorization") != "issuing.authorization":
        raise _unreadable("there is no issuing.authorization in it")
    if not isinstance(account, str) or "\0" in account:
        raise BadInput("Name the account whose authorization this is.", code="account_unnamed", status=422)
    return Asked(account, thing)


def rules_of(raw: object) -> Authorization:
    """Rules to try: the ``[authorization]`` table of a programme, as JSON. Raises BadInput that says what is wrong."""
    try:
        rules = msgspec.convert(raw, Authorization)
    except msgspec.ValidationError as error:
        raise BadInput(f"rules: {error}", code="bad_rules", status=422) from error
    if wrong := rule_faults(rules):
        raise BadInput("rules: " + "; ".join(wrong), code="bad_rules", status=422)
    return rules


async def trial(conn: asyncpg.Connection, asked: Asked, rules: Authorization, at_ms: int) -> dict[str, Any]:
    """The answer that ``asked`` would get at ``at_ms``, with the rule and all that it rests on."""
    begun = time.perf_counter_ns()
    raw, again = _asking(asked.authorization)
    try:
        request = request_of(raw)
    except ValueError as error:
        raise _unreadable(str(error)) from error
    ignoring: list[str] = []
    if asked.event is not None:
        ignoring = await decisions.decided_since(conn, asked.account, request.authorization, asked.event)
    [facts] = await decision_facts.read(conn, [(asked.account, request)], rules, at_ms, ignoring)
    outcome = decision.decide(facts.snapshot, request, rules, at_ms)
    took_us = (time.perf_counter_ns() - begun) // 1000
    ceilings = sorted(decision.ceilings(facts.snapshot, request, rules), key=lambda ceiling: ceiling.room)
    return {
        **_answer(outcome, request),
        "rules": version_of(rules),
        "account": asked.account,
        "authorization": request.authorization,
        "card": request.card,
        "event": asked.event,
        "asked_again": again,
        "inputs": {
            "account_state": facts.snapshot.account_state,
            "held": facts.snapshot.held,
            "card_state": facts.snapshot.card_state,
            "cardholder_state": facts.snapshot.holder_state,
            **inputs_of(facts.snapshot),
            "spent": msgspec.to_builtins(facts.snapshot.spent),
            "cardholder_spent": msgspec.to_builtins(facts.snapshot.holder_spent),
        },
        "ceilings": [{"reason": c.reason, "room": _money(c.room, request)} for c in ceilings],
        "took_us": took_us,
    }


def _answer(outcome: Approve | Decline, request: Request) -> dict[str, Any]:
    approved = isinstance(outcome, Approve)
    return {
        "approved": approved,
        "reason": outcome.reason,
        "rule": outcome.reason,
        "says": {**REASONS, **YES}[outcome.reason],
        "amount": _money(outcome.amount if isinstance(outcome, Approve) else request.amount, request),
        "requested": _money(request.amount, request),
        "partial": isinstance(outcome, Approve) and outcome.partial,
        "reserved": _money(outcome.reserved if isinstance(outcome, Approve) else 0, request),
    }


def _asking(raw: Json) -> tuple[Json, bool]:
    """The authorization with something to ask for: one that was answered asks for all of its amount again."""
    if raw.get("pending_request") is not None:
        return raw, False
    amount = raw.get("amount") or raw.get("merchant_amount")
    pending = {"amount": amount, "currency": raw.get("currency"), "is_amount_controllable": False}
    return {**raw, "amount": 0, "request_history": [], "pending_request": pending}, True


def _money(cents: int, request: Request) -> dict[str, object]:
    return {"value": cents, "currency": request.currency}


def _unreadable(why: str) -> BadInput:
    return BadInput(f"This asks for no authorization: {why}.", code=decision.UNREADABLE, status=422)

"""Card authorizations: Stripe's own checks, the real-time endpoint, the hold."""

import time
from typing import Any

from app.sandbox import books, pins
from app.sandbox.calls import Answer, Call, Json, Record
from app.sandbox.clock import unix
from app.sandbox.errors import invalid, refused
from app.sandbox.objections import currency_of, objection
from app.sandbox.realtime import ask
from app.sandbox.world import World

KIND = "issuing.authorization"
DEBIT = "v2.money_management.received_debit"
PRESENT = ("chip", "contactless", "swipe")
MERCHANT: Json = {
    "category": "eating_places_restaurants",
    "category_code": "5812",
    "name": "SANDBOX CAFE",
    "network_id": "1234567890",
    "city": "San Francisco",
    "country": "US",
    "postal_code": "94103",
    "state": "CA",
    "terminal_id": None,
    "url": None,
    "tax_id": None,
}


async def create(world: World, call: Call) -> Answer:
    """Test helper: a merchant asks for money."""
    body = call.params
    card = world.find("issuing.card", body["card"], call.account, "v1")
    wanted = int(body.get("amount") or body.get("merchant_amount") or 0)
    if wanted <= 0:
        raise invalid("amount must be positive", param="amount")
    controllable = body.get("is_amount_controllable") == "true"
    record = await authorize(world, card, wanted, body, controllable=controllable)
    return Answer(record)


async def authorize(world: World, card: Record, wanted: int, body: Json, *, controllable: bool = False) -> Record:
    """Decide, record why, and hold the money when approved."""
    data: Json = {
        "amount": 0,
        "approved": False,
        "authorization_method": body.get("authorization_method", "online"),
        "balance_transactions": [],
        "card": dict(card.data),
        "cardholder": card.data["cardholder"]["id"],
        "currency": "usd",
        "fleet": None,
        "fraud_challenges": None,
        "fuel": None,
        "merchant_amount": int(body.get("merchant_amount") or wanted),
        "merchant_currency": body.get("merchant_currency", "usd"),
        "merchant_data": {**MERCHANT, **(body.get("merchant_data") or {})},
        "metadata": {},
        "network_data": {"transaction_id": "sandbox"},
        "pending_request": None,
        "request_history": [],
        "status": "pending",
        "token": body.get("token"),
        "transactions": [],
        "treasury": None,
        "verification_data": {
            "address_line1_check": "not_provided",
            "address_postal_code_check": "not_provided",
            "authentication_exemption": None,
            "cvc_check": "match",
            "expiry_check": "match",
            "three_d_secure": None,
            **(body.get("verification_data") or {}),
        },
        "wallet": body.get("wallet") or _wallet(world, card, body.get("token")),
    }
    record = world.add(KIND, card.account, data, card=card, fa=card.hidden["fa"], wanted=wanted, captured=0)
    data = record.data
    wrong = None if card.data["status"] != "active" else pins.objection(world, card, body)
    approved, amount = await _decide(world, record, wanted, controllable=controllable, reason=wrong)
    data["approved"] = approved
    data["amount"] = amount if approved else wanted
    if approved:
        debit = _hold(world, record, amount)
        world.snapshot("created", record)
        world.thin(".created", debit)
        world.thin(".pending", debit)
        _held(world, record, amount)
    else:
        data["status"] = "closed"
        world.snapshot("created", record)
    return record


def _wallet(world: World, card: Record, token: Any) -> str | None:
    """The wallet that a token stands in; the token must be an active one of this card."""
    if token is None:
        return None
    found = world.find("issuing.token", token, card.account, "v1")
    if found.data["card"] != card.id or found.data["status"] != "active":
        raise invalid("The token is no active one of this card.", param="token")
    return str(found.data["wallet_provider"])


async def _decide(
    world: World, record: Record, wanted: int, *, controllable: bool = False, reason: str | None = None
) -> tuple[bool, int]:
    """Whether and how much; adds to the history why. ``reason``: what is against it already."""
    began = time.perf_counter()
    card: Record = record.hidden["card"]
    merchant, present = record.data["merchant_data"], record.data["authorization_method"] in PRESENT
    reason = reason or objection(world, card, wanted, merchant, present=present)
    asked = reason is None and bool(world.authorization_url)
    approved, amount, message = reason is None, wanted, None
    if reason is None:
        reason = "card_active"
        if asked:
            record.hidden["asked"], record.hidden["called"] = (wanted, controllable), None
            approved, amount, reason, message = await ask(world, record, wanted, controllable=controllable)
            record.hidden["asked"], world.cause = None, None
            if record.hidden["called"] is not None:
                approved, amount, reason, message = record.hidden["called"]
            if approved and (late := objection(world, card, amount, merchant, present=present)):
                approved, reason = False, late
    now = unix()
    record.data["request_history"].append(
        {
            "amount": wanted if not approved else amount,
            "approved": approved,
            "authorization_code": f"S{len(world.decisions):05d}" if approved else None,
            "created": now,
            "currency": "usd",
            "merchant_amount": record.data["merchant_amount"],
            "merchant_currency": record.data["merchant_currency"],
            "network_risk_score": 1,
            "reason": reason,
            "reason_message": message,
            "requested_at": now,
        }
    )
    took_ms = round((time.perf_counter() - began) * 1000, 3)
    decision = {"authorization": record.id, "approved": approved, "reason": reason, "amount": amount}
    world.decisions.append({**decision, "asked": asked, "latency_ms": took_ms, "reason_message": message})
    return approved, amount


def _hold(world: World, record: Record, amount: int) -> Record:
    """The received debit of a new hold; not yet announced."""
    fa: Record = record.hidden["fa"]
    debit: Json = {
        "status": "pending",
        "type": "card_spend",
        "financial_account": fa.id,
        "amount": books.amount(amount, currency_of(fa)),
        "external_amount": None,
        "card_spend": {
            "card_v1_id": record.data["card"]["id"],
            "authorization": {"issuing_authorization_v1": record.id, "amount": books.amount(amount, "usd")},
            "card_transactions": [],
        },
        "status_details": None,
        "status_transitions": dict.fromkeys(("canceled_at", "failed_at", "returned_at", "succeeded_at")),
        "description": None,
        "receipt_url": None,
        "dispute_details": None,
    }
    made = world.add(DEBIT, record.account, debit)
    record.hidden["debit"] = made
    return made


def _held(world: World, record: Record, amount: int) -> None:
    fa: Record = record.hidden["fa"]
    signed = books.amount(-amount, currency_of(fa))
    flow, before = ("issuing_authorization", record.id), books.known_as("treasury_issuing_authorization", record.id)
    transaction = books.open_transaction(world, record.account, fa.id, flow, signed, before=before)
    record.hidden["transaction"] = transaction
    books.move(world, transaction, "", available=-amount, outbound_pending=amount)


async def increment(world: World, call: Call) -> Answer:
    """Test helper: the merchant asks for more on the same authorization."""
    record = world.find(KIND, call.ids[0], call.account, "v1")
    more = int(call.params["increment_amount"])
    if record.data["status"] != "pending":
        raise refused("invalid_authorization_state", f"The authorization is {record.data['status']}.")
    approved, amount = await _decide(world, record, more)
    if approved:
        before = record.data["amount"]
        record.data["amount"] = before + amount
        _hold_more(world, record, amount)
        world.snapshot("updated", record, {"amount": before})
        world.thin(".updated", record.hidden["debit"])
    else:
        world.snapshot("updated", record, {"request_history": record.data["request_history"][:-1]})
    return Answer(record)


def decide_by_call(world: World, call: Call) -> Answer:
    """Approve or decline while the request is pending; it wins over the answer of the endpoint."""
    record = world.find(KIND, call.ids[0], call.account, "v1")
    if record.hidden.get("asked") is None:
        raise refused("authorization_not_pending", "The authorization has no pending request.")
    wanted, controllable = record.hidden["asked"]
    approved = call.path.endswith("/approve")
    amount = int(call.params.get("amount") or wanted)
    if amount != wanted and (not approved or not controllable or not 0 < amount <= wanted):
        raise invalid("amount is not controllable here", param="amount")
    record.hidden["called"] = (approved, amount, "webhook_approved" if approved else "webhook_declined", None)
    record.data["metadata"].update(call.params.get("metadata") or {})
    return Answer(record)


def finalize(world: World, call: Call) -> Answer:
    """Test helper: a pump tells what was really taken; the hold becomes that much."""
    record = world.find(KIND, call.ids[0], call.account, "v1")
    final = int(call.params["final_amount"])
    if record.data["status"] != "pending" or record.hidden["captured"] or final <= 0:
        raise refused("invalid_authorization_state", "Only an open, uncaptured authorization has a final amount.")
    before: int = record.data["amount"]
    more = final - before
    record.data["amount"] = final
    _hold_more(world, record, more)
    world.snapshot("updated", record, {"amount": before})
    world.thin(".updated", record.hidden["debit"])
    return Answer(record)


def _hold_more(world: World, record: Record, more: int) -> None:
    """Hold so much more (or, negative, less) for an open authorization."""
    debit: Record = record.hidden["debit"]
    transaction: Record = record.hidden["transaction"]
    debit.data["amount"]["value"] += more
    debit.data["card_spend"]["authorization"]["amount"]["value"] += more
    transaction.data["amount"]["value"] -= more
    books.move(world, transaction, "", available=-more, outbound_pending=more)


def respond(world: World, call: Call) -> Answer:
    """Test helper: the cardholder answers the fraud challenge that was sent with a decline."""
    record = world.find(KIND, call.ids[0], call.account, "v1")
    challenges: list[Json] = record.data["fraud_challenges"] or []
    if not challenges or challenges[-1]["status"] != "pending":
        raise refused("no_fraud_challenge", "No fraud challenge is pending.")
    before = [dict(one) for one in challenges]
    challenges[-1]["status"] = "verified" if call.params["confirmed"] == "true" else "rejected"
    record.data["verified_by_fraud_challenge"] = call.params["confirmed"] == "true"
    world.snapshot("updated", record, {"fraud_challenges": before})
    return Answer(record)

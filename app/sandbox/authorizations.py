"""Card authorizations: Stripe's own checks, the real-time endpoint, the hold."""

import time

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
        "token": None,
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
        "wallet": body.get("wallet"),
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
        _held(world, record, debit, amount)
    else:
        data["status"] = "closed"
        world.snapshot("created", record)
    return record


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
            approved, amount, reason, message = await ask(world, record, wanted, controllable=controllable)
            world.cause = None
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


def _held(world: World, record: Record, debit: Record, amount: int) -> None:
    fa: Record = record.hidden["fa"]
    signed = books.amount(-amount, currency_of(fa))
    transaction = books.open_transaction(world, record.account, fa.id, ("received_debit", debit.id), signed)
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
        debit: Record = record.hidden["debit"]
        debit.data["amount"]["value"] += amount
        debit.data["card_spend"]["authorization"]["amount"]["value"] += amount
        transaction: Record = record.hidden["transaction"]
        transaction.data["amount"]["value"] -= amount
        books.move(world, transaction, "", available=-amount, outbound_pending=amount)
        world.snapshot("updated", record, {"amount": before})
        world.thin(".updated", debit)
    return Answer(record)

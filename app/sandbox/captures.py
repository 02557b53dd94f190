"""What follows an authorization: capture, reversal, expiry, force capture, refund."""

from app.sandbox import books
from app.sandbox.authorizations import DEBIT, KIND, MERCHANT
from app.sandbox.calls import Answer, Call, Json, Record
from app.sandbox.clock import rfc3339
from app.sandbox.errors import invalid, refused
from app.sandbox.objections import currency_of
from app.sandbox.world import World

TRANSACTION = "issuing.transaction"
NETWORK = "world:card_network"


def _open(world: World, call: Call) -> Record:
    record = world.find(KIND, call.ids[0], call.account, "v1")
    if record.data["status"] != "pending":
        raise refused("invalid_authorization_state", f"The authorization is {record.data['status']}.")
    return record


def capture(world: World, call: Call) -> Answer:
    """Test helper: the merchant captures."""
    record = _open(world, call)
    amount = int(call.params.get("capture_amount") or _left(record))
    if amount <= 0:
        raise invalid("capture_amount must be positive", param="capture_amount")
    capture_now(world, record, amount, close=call.params.get("close_authorization", "true") == "true")
    return Answer(record)


def _left(record: Record) -> int:
    """What is still held."""
    impact: Json = record.hidden["transaction"].data["balance_impact"]
    return int(impact["outbound_pending"]["value"])


def capture_now(world: World, record: Record, amount: int, *, close: bool = True) -> Record:
    """Take captured money; more than held comes from the available balance; closing releases the rest."""
    debit: Record = record.hidden["debit"]
    held = _left(record)
    taken, over = min(amount, held), max(0, amount - held)
    rest = held - taken if close else 0
    spent = _transaction(world, record.hidden["card"], -amount, record)
    record.hidden["captured"] += amount
    record.data["transactions"].append(dict(spent.data))
    world.snapshot("created", spent)
    links = debit.data["card_spend"]["card_transactions"]
    links.append({"issuing_transaction_v1": spent.id, "amount": books.amount(amount, "usd")})
    finished = close or held == taken
    captured = record.hidden["captured"]
    if finished:
        record.data["status"] = "closed"
        debit.data["amount"]["value"] = captured
        debit.data["status"] = "succeeded"
        debit.data["status_transitions"]["succeeded_at"] = rfc3339()
        record.hidden["transaction"].data["amount"]["value"] = -captured
    world.snapshot("updated", record, {"status": "pending"} if finished else {"transactions": []})
    world.thin(".updated", debit)
    books.move(world, record.hidden["transaction"], NETWORK, available=rest - over, outbound_pending=-(taken + rest))
    if finished:
        world.thin(".succeeded", debit)
    return spent


def _transaction(
    world: World, card: Record, amount: int, authorization: Record | None, merchant: Json | None = None
) -> Record:
    data: Json = {
        "type": "capture" if amount < 0 else "refund",
        "amount": amount,
        "amount_details": {"atm_fee": None, "cashback_amount": 0},
        "currency": "usd",
        "merchant_amount": amount,
        "merchant_currency": "usd",
        "authorization": authorization.id if authorization else None,
        "balance_transaction": None,
        "card": card.id,
        "cardholder": card.data["cardholder"]["id"],
        "dispute": None,
        "merchant_data": authorization.data["merchant_data"] if authorization else {**MERCHANT, **(merchant or {})},
        "metadata": {},
        "network_data": {"authorization_code": None, "processing_date": None, "transaction_id": "sandbox"},
        "purchase_details": None,
        "settlement": None,
        "token": authorization.data["token"] if authorization else None,
        "treasury": None,
        "wallet": authorization.data["wallet"] if authorization else None,
    }
    return world.add(TRANSACTION, card.account, data, card=card, refunded=0)


def reverse(world: World, call: Call) -> Answer:
    """Test helper: the merchant gives the hold back, or a part."""
    record = _open(world, call)
    held = _left(record)
    amount = int(call.params.get("reverse_amount") or held)
    if not 0 < amount <= held:
        raise invalid("reverse_amount is more than is held", param="reverse_amount")
    _release(world, record, amount, "reversed")
    return Answer(record)


def expire(world: World, call: Call) -> Answer:
    """Test helper: the hold runs out."""
    record = _open(world, call)
    _release(world, record, _left(record), "expired")
    return Answer(record)


def _release(world: World, record: Record, amount: int, status: str) -> None:
    debit: Record = record.hidden["debit"]
    before = record.data["amount"]
    record.data["amount"] = before - amount
    whole = _left(record) == amount
    captured = record.hidden["captured"]
    books.move(world, record.hidden["transaction"], "", available=amount, outbound_pending=-amount)
    if not whole:
        debit.data["amount"]["value"] -= amount
        world.snapshot("updated", record, {"amount": before})
        world.thin(".updated", debit)
        return
    record.data["status"] = "closed" if captured else status
    end = "succeeded" if captured else "canceled"
    debit.data["status"] = end
    debit.data["status_transitions"][f"{end}_at"] = rfc3339()
    world.snapshot("updated", record, {"amount": before, "status": "pending"})
    world.thin(f".{end}", debit)


def force(world: World, call: Call) -> Answer:
    """Test helper: a capture without an authorization; may make the balance negative."""
    body = call.params
    card = world.find("issuing.card", body["card"], call.account, "v1")
    amount = int(body["amount"])
    spent = _transaction(world, card, -amount, None, body.get("merchant_data"))
    fa: Record = card.hidden["fa"]
    link = {"issuing_transaction_v1": spent.id, "amount": books.amount(amount, "usd")}
    debit = world.add(
        DEBIT,
        card.account,
        {
            "status": "succeeded",
            "type": "card_spend",
            "financial_account": fa.id,
            "amount": books.amount(amount, currency_of(fa)),
            "external_amount": None,
            "card_spend": {"card_v1_id": card.id, "authorization": None, "card_transactions": [link]},
            "status_details": None,
            "status_transitions": {
                "canceled_at": None,
                "failed_at": None,
                "returned_at": None,
                "succeeded_at": rfc3339(),
            },
        },
    )
    signed = books.amount(-amount, currency_of(fa))
    flow, before = ("issuing_transaction", spent.id), books.known_as("received_debit", debit.id)
    transaction = books.open_transaction(world, card.account, fa.id, flow, signed, before=before)
    world.snapshot("created", spent)
    books.move(world, transaction, NETWORK, available=-amount)
    world.thin(".created", debit)
    world.thin(".succeeded", debit)
    return Answer(spent)


def refund(world: World, call: Call) -> Answer:
    """Test helper: the merchant pays back, at most what was captured."""
    original = world.find(TRANSACTION, call.ids[0], call.account, "v1")
    most = -original.data["amount"] - original.hidden["refunded"]
    amount = int(call.params.get("refund_amount") or most)
    if original.data["type"] != "capture" or not 0 < amount <= most:
        raise invalid("refund_amount is more than was captured", param="refund_amount")
    original.hidden["refunded"] += amount
    authorization = world.records.get(original.data["authorization"] or "")
    _pay_back(world, original.hidden["card"], amount, authorization, None)
    return Answer(original)


def unlinked_refund(world: World, call: Call) -> Answer:
    """Test helper: a merchant pays something to the card that was never bought with it."""
    body = call.params
    amount = int(body["amount"])
    if amount <= 0:
        raise invalid("amount must be positive", param="amount")
    card = world.find("issuing.card", body["card"], call.account, "v1")
    return Answer(_pay_back(world, card, amount, None, body.get("merchant_data")))


def _pay_back(world: World, card: Record, amount: int, authorization: Record | None, merchant: Json | None) -> Record:
    back = _transaction(world, card, amount, authorization, merchant)
    world.snapshot("created", back)
    spend = {"card_v1_id": card.id, "refund": {"issuing_transaction_v1": back.id}}
    fa: Record = card.hidden["fa"]
    books.receive(world, fa, "card_spend", spend, amount, currency_of(fa), NETWORK)
    return back

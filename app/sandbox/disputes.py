"""Issuing disputes: unsubmitted, submitted once, then won or lost by the test helper."""

from app.sandbox import books
from app.sandbox.calls import Answer, Call, Json, Record
from app.sandbox.errors import invalid, refused
from app.sandbox.objections import currency_of
from app.sandbox.world import World

KIND = "issuing.dispute"


def create(world: World, call: Call) -> Answer:
    """Dispute a captured transaction."""
    body = call.params
    if "transaction" not in body:
        raise invalid("Missing required param: transaction.", code="parameter_missing", param="transaction")
    spent = world.find("issuing.transaction", body["transaction"], call.account, "v1")
    most = -spent.data["amount"]
    amount = int(body.get("amount") or most)
    if not 0 < amount <= most:
        raise invalid("amount is more than the transaction", param="amount")
    if spent.data["dispute"]:
        raise refused("dispute_exists", "The transaction is already disputed.")
    data: Json = {
        "status": "unsubmitted",
        "amount": amount,
        "currency": "usd",
        "transaction": spent.id,
        "evidence": body.get("evidence") or {"reason": "other"},
        "balance_transactions": [],
        "loss_reason": None,
        "treasury": None,
        "metadata": body.get("metadata") or {},
    }
    dispute = world.add(KIND, call.account, data, transaction=spent)
    spent.data["dispute"] = dispute.id
    world.snapshot("created", dispute)
    world.snapshot("updated", spent, {"dispute": None})
    return Answer(dispute)


def update(world: World, call: Call) -> Answer:
    """Change evidence or amount before, metadata also after submission."""
    dispute = world.find(KIND, call.ids[0], call.account, "v1")
    changed: Json = {}
    for name in ("amount", "evidence", "metadata"):
        if name in call.params:
            if name != "metadata" and dispute.data["status"] != "unsubmitted":
                raise refused("dispute_submitted", "Only metadata can be changed now.")
            changed[name] = dispute.data[name]
            dispute.data[name] = int(call.params[name]) if name == "amount" else call.params[name]
    world.snapshot("updated", dispute, changed)
    return Answer(dispute)


def submit(world: World, call: Call) -> Answer:
    """Send to the network, once."""
    dispute = world.find(KIND, call.ids[0], call.account, "v1")
    if dispute.data["status"] != "unsubmitted":
        raise refused("dispute_submitted", "A dispute can be submitted once.")
    dispute.data["status"] = "submitted"
    world.snapshot("submitted", dispute)
    world.snapshot("updated", dispute, {"status": "unsubmitted"})
    return Answer(dispute)


def close(world: World, call: Call) -> Answer:
    """Test helper: ``status`` is won or lost."""
    dispute = world.find(KIND, call.ids[0], call.account, "v1")
    if dispute.data["status"] != "submitted":
        raise refused("dispute_not_submitted", "Only a submitted dispute can be closed.")
    dispute.data["status"] = call.params["status"]
    if dispute.data["status"] == "won":
        card: Record = dispute.hidden["transaction"].hidden["card"]
        fa: Record = card.hidden["fa"]
        spend = {"card_v1_id": card.id, "dispute": {"issuing_dispute_v1": dispute.id}}
        books.receive(world, fa, "card_spend", spend, dispute.data["amount"], currency_of(fa), "world:card_network")
        world.snapshot("funds_reinstated", dispute)
    else:
        dispute.data["loss_reason"] = "other"
    world.snapshot("closed", dispute)
    return Answer(dispute)

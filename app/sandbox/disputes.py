"""Issuing disputes: unsubmitted, submitted once, then won or lost: by the test helper, or by themselves when the
evidence says ``winning_evidence`` or ``losing_evidence``.
"""

from app.sandbox import books
from app.sandbox.calls import Answer, Call, Json, Record
from app.sandbox.errors import invalid, refused
from app.sandbox.objections import currency_of
from app.sandbox.world import World

KIND = "issuing.dispute"
NETWORK = "world:card_network"


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
    said = str(dispute.data["evidence"])
    for magic, status in (("winning_evidence", "won"), ("losing_evidence", "lost")):
        if magic in said:
            world.later(_settle, world, dispute, status)
    return Answer(dispute)


def close(world: World, call: Call) -> Answer:
    """Test helper: ``status`` is won or lost."""
    dispute = _submitted(world, call)
    if call.params["status"] not in ("won", "lost"):
        raise invalid("status must be won or lost", param="status")
    _settle(world, dispute, call.params["status"])
    return Answer(dispute)


def provisional_credit(world: World, call: Call) -> Answer:
    """Test helper: the network credits the money before it has decided."""
    dispute = _submitted(world, call)
    if dispute.hidden.get("credited"):
        raise refused("already_credited", "The dispute is credited already.")
    _reinstate(world, dispute)
    return Answer(dispute)


def expire(world: World, dispute: Record) -> None:
    """Control: the window for filing passes."""
    if dispute.data["status"] != "unsubmitted":
        raise refused("dispute_submitted", "Only an unsubmitted dispute expires.")
    dispute.data["status"] = "expired"
    world.snapshot("closed", dispute)


def _submitted(world: World, call: Call) -> Record:
    dispute = world.find(KIND, call.ids[0], call.account, "v1")
    if dispute.data["status"] != "submitted":
        raise refused("dispute_not_submitted", "Only a submitted dispute can be settled.")
    return dispute


def _settle(world: World, dispute: Record, status: str) -> None:
    if dispute.data["status"] != "submitted":
        return
    dispute.data["status"] = status
    credited = dispute.hidden.get("credited", False)
    if status == "won" and not credited:
        _reinstate(world, dispute)
    if status == "lost":
        dispute.data["loss_reason"] = "other"
        if credited:
            _rescind(world, dispute)
    world.snapshot("closed", dispute)


def _reinstate(world: World, dispute: Record) -> None:
    card: Record = dispute.hidden["transaction"].hidden["card"]
    fa: Record = card.hidden["fa"]
    dispute.hidden["credited"] = True
    spend = {"card_v1_id": card.id, "dispute": {"issuing_dispute_v1": dispute.id}}
    credit = books.receive(world, fa, "card_spend", spend, dispute.data["amount"], currency_of(fa), NETWORK)
    dispute.hidden["credit"] = credit.id
    world.snapshot("funds_reinstated", dispute)


def _rescind(world: World, dispute: Record) -> None:
    """Take a provisional credit back: a ledger transaction of its own, which may make the balance negative."""
    card: Record = dispute.hidden["transaction"].hidden["card"]
    fa: Record = card.hidden["fa"]
    dispute.hidden["credited"] = False
    signed = books.amount(-dispute.data["amount"], currency_of(fa))
    flow, category = ("issuing_dispute", dispute.id), "issuing_dispute_provisional_credit_reversal"
    before = books.known_as("received_credit", dispute.hidden["credit"], "received_credit_reversal")
    taken = books.open_transaction(world, dispute.account, fa.id, flow, signed, category, before=before)
    books.move(world, taken, NETWORK, available=-dispute.data["amount"])
    world.snapshot("funds_rescinded", dispute)

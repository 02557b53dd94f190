"""Movements on a financial account: ledger postings, and the transactions and entries that tell of them."""

from app.sandbox.calls import Answer, Call, Json, Record
from app.sandbox.clock import rfc3339
from app.sandbox.errors import refused
from app.sandbox.ledger import PARTS
from app.sandbox.world import World

TRANSACTION = "v2.money_management.transaction"
ENTRY = "v2.money_management.transaction_entry"
CREDIT = "v2.money_management.received_credit"
RECEIPT = {"status": "not_applicable", "url": None, "url_expires_at": None}


def amount(value: int, currency: str) -> Json:
    """An Amount."""
    return {"value": value, "currency": currency}


def need(world: World, fa: str, value: int, currency: str) -> None:
    """Raise the typed ``insufficient_funds`` unless the account has this much available."""
    if world.ledger.available(fa, currency) < value:
        raise refused("insufficient_funds", "The balance is too low for this transfer.", kind="insufficient_funds")


def open_transaction(
    world: World,
    account: str,
    fa: str,
    flow: tuple[str, str],
    signed: Json,
    category: str | None = None,
    *,
    before: Json | None = None,
) -> Record:
    """A transaction without entries yet; the first ``move`` announces it.

    ``before``: the flow and category that API versions show which do not know these (``vocabulary.flow_out``).
    """
    kind, ident = flow
    zero = amount(0, signed["currency"])
    data: Json = {
        "status": "pending",
        "amount": signed,
        "category": category or kind,
        "financial_account": fa,
        "flow": {"type": kind, kind: ident},
        "balance_impact": {part: dict(zero) for part in PARTS},
        "counterparty": None,
        "regulatory_receipt": RECEIPT,
        "status_transitions": {"posted_at": None, "void_at": None},
        "description": None,
        "metadata": {},
        "treasury_transaction": None,
    }
    return world.add(TRANSACTION, account, data, fresh=True, before=before)


def known_as(kind: str, ident: str, category: str | None = None) -> Json:
    """A flow and its category, as a transaction shows them."""
    return {"flow": {"type": kind, kind: ident}, "category": category or kind}


def opening(world: World, fa: Record, cents: int) -> None:
    """What the platform had before we looked: in its books like all money, but no event tells of it."""
    flow = ("received_credit", "rc_test_opening")
    transaction = open_transaction(world, fa.account, fa.id, flow, amount(cents, "usd"))
    _post(world, transaction, "world:opening", available=cents)
    transaction.hidden.pop("fresh", None)


def move(world: World, transaction: Record, counter: str, **parts: int) -> None:
    """One balanced movement: the parts of the financial account change, the counter account takes the opposite."""
    _post(world, transaction, counter, **parts)
    extra: Json = {"treasury_transaction": None}
    if transaction.hidden.pop("fresh", False):
        world.thin(".created", transaction, {**extra, "v1_id": None})
    else:
        world.thin(".updated", transaction, extra)


def _post(world: World, transaction: Record, counter: str, **parts: int) -> None:
    data = transaction.data
    fa, currency = data["financial_account"], data["amount"]["currency"]
    legs = [(f"fa:{fa}:{part}", currency, delta) for part, delta in parts.items() if delta]
    rest = -sum(parts.values())
    world.ledger.post([*legs, (counter, currency, rest)] if rest else legs)
    impact = data["balance_impact"]
    for part, delta in parts.items():
        impact[part]["value"] += delta
    now = rfc3339()
    details = {key: data[key] for key in ("category", "financial_account", "flow")}
    entry: Json = {
        "transaction": transaction.id,
        "balance_impact": {part: amount(parts.get(part, 0), currency) for part in PARTS},
        "transaction_details": details,
        "effective_at": now,
        "treasury_transaction_entry": None,
    }
    world.add(ENTRY, transaction.account, entry, before=transaction.hidden.get("before"))
    if impact["inbound_pending"]["value"] or impact["outbound_pending"]["value"]:
        data["status"] = "pending"
    else:
        data["status"] = "posted" if impact["available"]["value"] else "void"
        data["status_transitions"][f"{data['status']}_at"] = now


def receive(
    world: World,
    fa: Record,
    kind: str,
    detail: Json,
    value: int,
    currency: str,
    counter: str,
    *,
    clearing: bool = False,
    clears: bool = True,
    **more: object,
) -> Record:
    """A received credit that succeeds at once, its transaction, and both events. ``counter`` is who pays.

    While it is ``clearing`` the money is pending; it becomes available a step later if it ``clears`` by itself.
    """
    money = amount(value, currency)
    now = rfc3339()
    data: Json = {
        "status": "succeeded",
        "type": kind,
        "financial_account": fa.id,
        "amount": money,
        "amount_received": dict(money),
        "external_amount": None,
        kind: detail,
        "status_details": None,
        "status_transitions": {"succeeded_at": now, "failed_at": None, "returned_at": None},
        "description": None,
        "receipt_url": None,
        **more,
    }
    credit = world.add(CREDIT, fa.account, data)
    transaction = open_transaction(world, fa.account, fa.id, ("received_credit", credit.id), dict(money))
    move(world, transaction, counter, **{"inbound_pending" if clearing else "available": value})
    credit.hidden["transaction"] = transaction
    world.thin(".succeeded", credit)
    if not clearing:
        world.thin(".available", credit, {"transaction_id": transaction.id})
    elif clears:
        world.later(clear, world, credit)
    return credit


def clear(world: World, credit: Record) -> None:
    """The money of a credit that was clearing is there."""
    transaction, value = credit.hidden["transaction"], credit.data["amount"]["value"]
    if transaction.data["balance_impact"]["inbound_pending"]["value"]:
        move(world, transaction, "", available=value, inbound_pending=-value)
        world.thin(".available", credit, {"transaction_id": transaction.id})


def describe(world: World, call: Call) -> Answer:
    """Of a transaction only the description may change."""
    record = world.find(TRANSACTION, call.ids[0], call.account)
    record.data["description"] = call.params.get("description")
    return Answer(record)

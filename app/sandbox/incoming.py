"""Money that comes in from banks: wires and ACH credits with every outcome, pulls, and corrections by Stripe.

A wire is spendable at once; an ACH credit has succeeded first and becomes available a step later. What an inbound
transfer comes to is told by the id of its payment method: ``...fail`` fails at the bank, ``...return`` is returned
after it was available, everything else succeeds.
"""

from app.sandbox import books
from app.sandbox.calls import Answer, Call, Json, Record
from app.sandbox.clock import rfc3339
from app.sandbox.errors import invalid, refused
from app.sandbox.financial_accounts import KIND as FA
from app.sandbox.financial_accounts import need_open
from app.sandbox.world import World

PULL = "v2.money_management.inbound_transfer"
ADJUSTMENT = "v2.money_management.adjustment"
DEBIT = "v2.money_management.received_debit"
BANKS = "world:banks"
CLEARING = frozenset({"ach", "bacs"})
OUTCOMES = ("succeeded", "failed", "returned", "pending")


def bank_credit(
    world: World, fa: Record, value: int, currency: str, address: str | None, network: str, outcome: str = "succeeded"
) -> Record:
    """Money from a bank outside; ``failed`` never reaches the balance, ``returned`` is taken back a step later, ``pending``
    stays pending until it is cleared by hand.
    """
    if outcome not in OUTCOMES:
        raise invalid(f"outcome must be one of {', '.join(OUTCOMES)}", param="outcome")
    detail: Json = {
        "financial_address": address,
        "originating_bank_account": {
            "type": "aba",
            "aba": {"network": network, "last4": "6789", "bank_name": "Elsewhere"},
        },
        "statement_descriptor": "SANDBOX",
    }
    external = books.amount(value, currency)
    if outcome == "failed":
        return _failed(world, fa, detail, external)
    waits = outcome == "pending"
    clearing = waits or network in CLEARING
    how = {"clearing": clearing, "clears": not waits}
    credit = books.receive(world, fa, "bank_transfer", detail, value, currency, BANKS, external_amount=external, **how)
    if outcome == "returned":
        world.later(give_back, world, credit)
    return credit


def _failed(world: World, fa: Record, detail: Json, money: Json) -> Record:
    data: Json = {
        "status": "failed",
        "type": "bank_transfer",
        "financial_account": fa.id,
        "amount": money,
        "amount_received": dict(money),
        "external_amount": money,
        "bank_transfer": detail,
        "status_details": {"failed": {"reason": "stripe_rejected"}},
        "status_transitions": {"succeeded_at": None, "failed_at": rfc3339(), "returned_at": None},
        "description": None,
        "receipt_url": None,
    }
    credit = world.add(books.CREDIT, fa.account, data)
    world.thin(".failed", credit)
    return credit


def give_back(world: World, credit: Record) -> None:
    """The originator takes a credit back: the balance falls, below zero if it must."""
    if credit.data["status"] != "succeeded":
        raise invalid(f"a credit that {credit.data['status']} cannot be returned", param="status")
    got = credit.data["amount"]
    flow = ("received_credit", credit.id)
    signed = books.amount(-got["value"], got["currency"])
    fa = credit.data["financial_account"]
    taken = books.open_transaction(world, credit.account, fa, flow, signed, "received_credit_reversal")
    books.move(world, taken, BANKS, available=-got["value"])
    credit.data["status"] = "returned"
    credit.data["status_details"] = {"returned": {"reason": "originator_initiated_reversal"}}
    credit.data["status_transitions"]["returned_at"] = rfc3339()
    world.thin(".returned", credit)


def create_pull(world: World, call: Call) -> Answer:
    """An inbound transfer: money is pulled from a bank account of the caller's own."""
    body = call.params
    fa = world.records.get(body["to"]["financial_account"])
    if fa is None or fa.kind != FA or fa.account != call.account:
        raise refused("to_financial_account_not_found", "No such financial account.", status=404)
    need_open(fa)
    money = dict(body["amount"])
    if type(money.get("value")) is not int or money["value"] <= 0:
        raise invalid("amount.value must be a positive integer", param="amount.value")
    method = body["from"]["payment_method"]
    data: Json = {
        "amount": money,
        "from": {"debited": dict(money), "payment_method": {"type": "us_bank_account", "us_bank_account": method}},
        "to": {"credited": dict(money), "financial_account": fa.id},
        "transfer_history": [],
        "description": body.get("description"),
        "statement_descriptor": "SANDBOX",
        "receipt_url": None,
    }
    pull = world.add(PULL, call.account, data)
    flow = ("inbound_transfer", pull.id)
    pull.hidden["transaction"] = books.open_transaction(world, call.account, fa.id, flow, dict(money))
    _history(world, pull, "bank_debit_queued")
    books.move(world, pull.hidden["transaction"], BANKS, inbound_pending=money["value"])
    world.later(_process, world, pull)
    return Answer(pull)


def _history(world: World, pull: Record, state: str, reason: str | None = None) -> None:
    now = rfc3339()
    entry: Json = {"id": world.ids.new("ibthe_test_"), "type": state, "created": now, "effective_at": now}
    if reason:
        entry[state] = {"return_reason" if state.endswith("returned") else "failure_reason": reason}
    pull.data["transfer_history"].append(entry)
    world.thin(f".{state}", pull)


def _process(world: World, pull: Record) -> None:
    _history(world, pull, "bank_debit_processing")
    world.later(_settle, world, pull)


def _settle(world: World, pull: Record) -> None:
    value = pull.data["amount"]["value"]
    transaction = pull.hidden["transaction"]
    method = str(pull.data["from"]["payment_method"]["us_bank_account"])
    if method.endswith("fail"):
        books.move(world, transaction, BANKS, inbound_pending=-value)
        _history(world, pull, "bank_debit_failed", "insufficient_funds")
        return
    _history(world, pull, "bank_debit_succeeded")
    books.move(world, transaction, "", available=value, inbound_pending=-value)
    world.thin(".available", pull, {"transaction_id": transaction.id})
    if method.endswith("return"):
        world.later(_return_pull, world, pull)


def _return_pull(world: World, pull: Record) -> None:
    money = pull.data["amount"]
    signed = books.amount(-money["value"], money["currency"])
    fa = pull.data["to"]["financial_account"]
    flow = ("inbound_transfer", pull.id)
    back = books.open_transaction(world, pull.account, fa, flow, signed, "inbound_transfer_reversal")
    books.move(world, back, BANKS, available=-money["value"])
    _history(world, pull, "bank_debit_returned", "bank_debit_not_authorized")


def adjust(world: World, fa: Record, value: int, currency: str, flow: Json | None, *, told: bool = True) -> Record:
    """Stripe corrects a balance; ``value`` may be negative. Not ``told``: the adjustment's own event is lost."""
    data: Json = {
        "amount": books.amount(value, currency),
        "financial_account": fa.id,
        "adjusted_flow": flow,
        "description": "correction",
        "reference": None,
        "receipt_url": None,
    }
    made = world.add(ADJUSTMENT, fa.account, data)
    transaction = books.open_transaction(
        world, fa.account, fa.id, ("adjustment", made.id), books.amount(value, currency)
    )
    books.move(world, transaction, "world:adjustments", available=value)
    if told:
        world.thin(".created", made)
    return made


def bank_debit(world: World, address: Record, money: Json, network: str) -> None:
    """A pull from outside: succeeds when there is enough, else fails for want of funds."""
    fa = world.records[address.data["financial_account"]]
    value, currency = money["value"], money["currency"]
    enough = world.ledger.available(fa.id, currency) >= value
    status = "succeeded" if enough else "failed"
    data: Json = {
        "status": status,
        "type": "bank_transfer",
        "financial_account": fa.id,
        "amount": books.amount(value, currency),
        "external_amount": books.amount(value, currency),
        "bank_transfer": {"financial_address": address.id, "network": network, "statement_descriptor": "SANDBOX"},
        "status_details": None if enough else {"failed": {"reason": "insufficient_funds"}},
        "status_transitions": {"canceled_at": None, "failed_at": None, "returned_at": None, "succeeded_at": None},
        "description": None,
        "receipt_url": None,
        "dispute_details": None,
    }
    data["status_transitions"][f"{status}_at"] = rfc3339()
    made = world.add(DEBIT, fa.account, data)
    if enough:
        signed = books.amount(-value, currency)
        transaction = books.open_transaction(world, fa.account, fa.id, ("received_debit", made.id), signed)
        books.move(world, transaction, BANKS, available=-value)
    world.thin(f".{status}", made)


def give_debit_back(world: World, debit: Record) -> None:
    """A bank's debit that succeeded comes back: the balance rises again."""
    if debit.data["status"] != "succeeded" or debit.data["type"] != "bank_transfer":
        raise invalid("only a bank's debit that succeeded can be returned", param="status")
    money, flow = debit.data["amount"], ("received_debit", debit.id)
    fa = debit.data["financial_account"]
    back = books.open_transaction(world, debit.account, fa, flow, dict(money), "received_debit_reversal")
    books.move(world, back, BANKS, available=money["value"])
    debit.data["status"] = "returned"
    debit.data["status_details"] = {"returned": {"reason": "originator_initiated"}}
    debit.data["status_transitions"]["returned_at"] = rfc3339()
    world.thin(".returned", debit)

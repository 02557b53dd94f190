"""Control routes for money: what banks and Stripe do by themselves, and books that are wrong on purpose."""

from typing import Any

from app.sandbox import addresses, incoming, payout_methods, settlement
from app.sandbox.books import CREDIT, clear
from app.sandbox.calls import Json, Record
from app.sandbox.errors import invalid
from app.sandbox.financial_accounts import KIND as FA
from app.sandbox.world import World


def _money(body: Json, *, signed: bool = False) -> tuple[int, str]:
    amount = body["amount"]
    value, currency = (amount["value"], amount.get("currency", "usd")) if isinstance(amount, dict) else (amount, "usd")
    if type(value) is not int or value == 0 or (value < 0 and not signed):
        raise invalid("amount must be a positive integer", param="amount")
    return value, str(currency)


def _of_kind(world: World, ident: str, kind: str) -> Record:
    record = world.records.get(ident)
    if record is None or record.kind != kind:
        raise invalid(f"no such {kind.rpartition('.')[2]}: {ident}", param="id")
    return record


def platform_credit(world: World, _ids: list[str], body: Json) -> Json:
    """Money reaches the platform from a bank: ``amount``, ``network``, ``outcome`` succeeded, failed, returned or pending."""
    fa = world.records[world.settings.platform_financial_account]
    value, currency = _money(body)
    network = str(body.get("network", "us_domestic_wire"))
    outcome = str(body.get("outcome", "succeeded"))
    return incoming.bank_credit(world, fa, value, currency, None, network, outcome).data


def platform_drain(world: World, _ids: list[str], body: Json) -> Json:
    """Take all but ``leave`` cents of US dollars from the platform, as an adjustment."""
    fa = world.records[world.settings.platform_financial_account]
    value = int(body.get("leave", 0)) - world.ledger.available(fa.id, "usd")
    return incoming.adjust(world, fa, value, "usd", None).data if value else {}


def credit_end(world: World, ids: list[str], _body: Json) -> Json:
    """The originator takes a received credit back."""
    credit = _of_kind(world, ids[0], CREDIT)
    incoming.give_back(world, credit)
    return credit.data


def credit_clear(world: World, ids: list[str], _body: Json) -> Json:
    """A credit that was pending is available."""
    credit = _of_kind(world, ids[0], CREDIT)
    clear(world, credit)
    return credit.data


def debit_end(world: World, ids: list[str], _body: Json) -> Json:
    """The originator of a bank's debit gives the money back."""
    debit = _of_kind(world, ids[0], incoming.DEBIT)
    incoming.give_debit_back(world, debit)
    return debit.data


def address(world: World, ids: list[str], body: Json) -> Json:
    """How the setting up of an address ends when it does not succeed, or its end: ``failed`` or ``archived``."""
    record = _of_kind(world, ids[0], addresses.KIND)
    record.data["status"] = status = str(body["status"])
    if status == "failed":
        world.thin(".failed", record)
    return record.data


def payout_method(world: World, ids: list[str], body: Json) -> Json:
    """What Stripe makes of a payout method: ``transfers`` (a usage status) and ``restricted``."""
    method = _of_kind(world, ids[0], payout_methods.KIND)
    if body.get("transfers"):
        method.data["usage_status"]["transfers"] = str(body["transfers"])
    if "restricted" in body:
        method.data["restricted"] = bool(body["restricted"])
    world.thin(".updated", method)
    return method.data


def adjustment(world: World, _ids: list[str], body: Json) -> Json:
    """Stripe corrects the balance of ``financial_account`` by a signed ``amount``; ``told`` false: its event is lost."""
    fa = _of_kind(world, str(body["financial_account"]), FA)
    value, currency = _money(body, signed=True)
    return incoming.adjust(world, fa, value, currency, body.get("adjusted_flow"), told=body.get("told", True)).data


def drift(world: World, _ids: list[str], body: Json) -> Json:
    """Move money on ``financial_account`` without a transaction: what must never happen, and must be found."""
    fa = _of_kind(world, str(body["financial_account"]), FA)
    value, currency = _money(body, signed=True)
    world.ledger.post([(f"fa:{fa.id}:available", currency, value), ("world:drift", currency, -value)])
    return {"financial_account": fa.id, "amount": {"value": value, "currency": currency}}


def outbound_end(world: World, ids: list[str], body: Json) -> Json:
    """Move an outbound flow on: ``posted``, ``failed``, ``canceled``, ``returned`` or ``under_review``."""
    return settlement.end_by_hand(world, ids[0], str(body["status"]), body.get("reason")).data


ROUTES: tuple[tuple[str, str, Any], ...] = (
    ("POST", "/_sandbox/platform/credits", platform_credit),
    ("POST", "/_sandbox/platform/drains", platform_drain),
    ("POST", "/_sandbox/credits/{id}/returns", credit_end),
    ("POST", "/_sandbox/credits/{id}/clearings", credit_clear),
    ("POST", "/_sandbox/debits/{id}/returns", debit_end),
    ("POST", "/_sandbox/addresses/{id}", address),
    ("POST", "/_sandbox/payout_methods/{id}", payout_method),
    ("POST", "/_sandbox/adjustments", adjustment),
    ("POST", "/_sandbox/drifts", drift),
    ("POST", "/_sandbox/outbound/{id}", outbound_end),
)

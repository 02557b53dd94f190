"""Outbound payments and transfers: one state machine, ``processing`` to ``posted``, ``failed`` or ``canceled``.

A payment in usd to a connected account's financial account in usdc converts 1:1 inside and arrives there as a received
credit. ``posted`` is not final: a return may follow.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from app.sandbox import books, capabilities, conversions, listing
from app.sandbox.calls import Answer, Call, Json, Record
from app.sandbox.clock import parse, rfc3339
from app.sandbox.errors import invalid, refused
from app.sandbox.financial_accounts import KIND as FA
from app.sandbox.financial_accounts import need_open
from app.sandbox.settlement import METHOD, PAYMENT, TRANSFER, end, restore, settle
from app.sandbox.world import World


def create_payment(world: World, call: Call) -> Answer:
    """A payment to a connected account's financial account or payout method."""
    source, money = _source(world, call)
    to = call.params["to"]
    recipient = world.records.get(to["recipient"])
    if recipient is None or recipient.kind != "v2.core.account" or call.account != world.platform:
        raise refused("to_recipient_not_found", f"No such recipient: {to['recipient']}")
    if recipient.data["closed"]:
        raise refused("recipient_feature_not_active", "The recipient is closed.")
    target = world.records.get(to.get("payout_method") or "")
    if to.get("payout_method") is None:
        target = next(iter(world.all(FA, recipient.id)), None)
        if target is None:
            raise refused("default_payout_method_config_not_found", "The recipient has no default payout method.")
    if target is None or target.account != recipient.id or target.kind not in {FA, METHOD}:
        raise refused("payout_method_invalid", "No such payout method.", status=404)
    if target.kind == FA and target.data["status"] != "open":
        raise refused("pending_financial_account", "The financial account of the recipient is not open.")
    holds = target.data["storage"]["holds_currencies"] if target.kind == FA else [to.get("currency", money["currency"])]
    currency = to.get("currency") or (money["currency"] if money["currency"] in holds else holds[0])
    if currency not in holds:
        raise refused("payout_method_unsupported_currency", f"The payout method does not take {currency}.")
    if target.kind == METHOD:
        usable(target, "payments")
    return Answer(_begin(world, call, PAYMENT, source, target, currency, {"recipient": recipient.id}))


def create_transfer(world: World, call: Call) -> Answer:
    """A transfer to a payout method of the same owner."""
    source, money = _source(world, call)
    to = call.params["to"]
    if to["payout_method"] == source.id:
        raise refused("payout_method_must_differ_from_financial_account", "The payout method is the financial account.")
    target = world.records.get(to["payout_method"])
    if target is None or target.account != call.account or target.kind not in {FA, METHOD}:
        raise refused("payout_method_invalid", "No such payout method.", status=404)
    account = world.records.get(call.account)
    if target.kind == METHOD:
        usable(target, "transfers")
    way = {"crypto_wallet": "crypto_wallets", "bank_account": "bank_accounts"}.get(
        target.data["type"], "financial_accounts"
    )
    found = capabilities.status(account, f"money_manager.outbound_transfers.{way}") if account else "active"
    if found is None:
        message = f"The account has not requested outbound_transfers.{way}."
        raise refused("storer_capability_missing", message, kind="feature_not_enabled")
    if found != "active":
        message = f"outbound_transfers.{way} is not active."
        raise refused("storer_capability_not_active", message, kind="feature_not_enabled")
    currency = to.get("currency") or money["currency"]
    return Answer(_begin(world, call, TRANSFER, source, target, currency, {}))


def usable(method: Record, use: str) -> None:
    """Raise unless a payout method may be used for ``payments`` or ``transfers``."""
    if method.data["archived"]:
        raise refused("payout_method_archived", "The payout method is archived.")
    if method.data["restricted"] or method.data["usage_status"][use] != "eligible":
        raise refused("payout_method_unusable", f"The payout method is not set up for {use}.")


def _source(world: World, call: Call) -> tuple[Record, Json]:
    body = call.params
    source = world.records.get(body["from"]["financial_account"])
    if source is None or source.kind != FA or source.account != call.account:
        raise refused("from_financial_account_not_found", "No such financial account.", status=404)
    money = dict(body["amount"])
    value, currency = money.get("value"), money.get("currency")
    if type(value) is not int or value <= 0 or not isinstance(currency, str):
        raise invalid("amount.value must be a positive integer", param="amount.value")
    need_open(source)
    if body["from"]["currency"] not in source.data["storage"]["holds_currencies"]:
        raise refused("from_balance_unsupported_currency", "The financial account does not hold this currency.")
    if currency != body["from"]["currency"]:
        raise invalid("amount.currency must be from.currency here", param="amount.currency")
    books.need(world, source.id, value, currency)
    return source, money


def _begin(world: World, call: Call, kind: str, source: Record, target: Record, currency: str, extra: Json) -> Record:
    body = call.params
    money = dict(body["amount"])
    data: Json = {
        "status": "processing",
        "cancelable": True,
        "amount": money,
        "from": {"financial_account": source.id, "debited": dict(money)},
        "to": {**extra, "payout_method": target.id, "credited": _credited(money, currency)},
        "trace_id": {"status": "unsupported" if target.kind == FA else "pending", "value": None},
        "status_details": None,
        "delivery_options": body.get("delivery_options"),
        "status_transitions": dict.fromkeys(("posted_at", "failed_at", "canceled_at", "returned_at")),
        "expected_arrival_date": rfc3339((datetime.now(UTC) + timedelta(minutes=30)).timestamp()),
        "statement_descriptor": body.get("statement_descriptor", "STRIPE"),
        "description": body.get("description"),
        "receipt_url": None,
        "recipient_verification": None,
        "metadata": body.get("metadata") or {},
    }
    if kind == PAYMENT:
        data["recipient_notification"] = body.get("recipient_notification") or {"setting": "configured"}
        data["outbound_payment_quote"] = body.get("outbound_payment_quote")
    flow = world.add(kind, call.account, data)
    signed = books.amount(-money["value"], money["currency"])
    transaction = books.open_transaction(world, call.account, source.id, (kind.rpartition(".")[2], flow.id), signed)
    flow.hidden["transaction"] = transaction
    world.thin(".created", flow)
    books.move(world, transaction, "", available=-money["value"], outbound_pending=money["value"])
    world.later(settle, world, flow)
    return flow


def _credited(money: Json, currency: str) -> Json:
    return books.amount(conversions.converted(money["value"], money["currency"], currency), currency)


def cancel(world: World, call: Call) -> Answer:
    """Cancel while it is still possible."""
    kind = TRANSFER if "outbound_transfers" in call.path else PAYMENT
    flow = world.find(kind, call.ids[0], call.account)
    noun = kind.rpartition(".")[2]
    if flow.data["status"] == "canceled":
        raise refused(f"{noun}_already_canceled", "Already canceled.", kind="already_canceled")
    if not flow.data["cancelable"]:
        raise refused(f"{noun}_not_cancelable", "It can no longer be canceled.", kind="not_cancelable")
    restore(world, flow)
    end(world, flow, "canceled")
    return Answer(flow)


def lists(kind: str) -> Any:
    """The list handler of a kind."""

    def everything(world: World, call: Call) -> Answer:
        statuses = listing.wanted(call.params, "status")
        recipient = call.params.get("recipient")
        return listing.v2(
            call,
            world.all(kind, call.account),
            lambda r: (
                (statuses is None or r.data["status"] in statuses)
                and (recipient is None or r.data["to"].get("recipient") == recipient)
                and listing.within(parse(r.data["created"]), call.params)
            ),
            lambda r: r.data,
        )

    return everything

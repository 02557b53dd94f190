"""What we keep of money-management objects, beside their plain fields: whitelists, like all of ``objects``."""

from collections.abc import Callable
from typing import Any

from app.stripe.fields import at, listed

_OUTBOUND = (
    "amount",
    "cancelable",
    "expected_arrival_date",
    "trace_id",
    "statement_descriptor",
)
PLAIN: dict[str, tuple[str, ...]] = {
    "financial_account": ("type", "country"),
    "financial_address": ("type", "financial_account", "settlement_currency"),
    "outbound_payment": (*_OUTBOUND, "outbound_payment_quote"),
    "outbound_transfer": _OUTBOUND,
    "outbound_setup_intent": ("usage_intent",),
    "payout_method": ("type", "crypto_wallet", "usage_status", "archived", "restricted", "available_payout_speeds"),
    "received_credit": ("type", "amount", "amount_received", "external_amount", "financial_account"),
    "received_debit": ("type", "amount", "financial_account", "settles_at"),
    "inbound_transfer": ("amount",),
    "transaction": ("amount", "category", "flow", "financial_account", "status_transitions", "balance_impact"),
    "transaction_entry": ("transaction", "balance_impact", "effective_at", "created"),
    "adjustment": ("amount", "financial_account", "adjusted_flow", "description", "reference"),
    "currency_conversion": ("financial_account", "exchange_rate", "created"),
}
"""Fields kept as Stripe says them, per kind. Free text (descriptions, display names, metadata) may name people: never."""

_SECRET = frozenset({"account_number", "iban", "account_holder_name", "account_holder_address"})
_NUMBERS = ("last4", "bank_name", "routing_number")
"""What may be kept of bank details: never the account number itself, and never the holder."""


def _financial_account(obj: dict[str, Any]) -> dict[str, Any]:
    balance = obj.get("balance")
    parts = ("available", "inbound_pending", "outbound_pending")
    return {
        "holds_currencies": at(obj, "storage", "holds_currencies"),
        "balance": {p: _amounts(balance.get(p)) for p in parts} if isinstance(balance, dict) else None,
        "closed_reason": at(obj, "status_details", "closed", "reason"),
    }


def _amounts(part: object) -> dict[str, int]:
    if not isinstance(part, dict):
        return {}
    values = {str(c): a.get("value") for c, a in part.items() if isinstance(a, dict)}
    return {c: v for c, v in values.items() if isinstance(v, int) and not isinstance(v, bool)}


def _outbound(obj: dict[str, Any]) -> dict[str, Any]:
    return {
        "recipient": at(obj, "to", "recipient"),
        "financial_account": at(obj, "from", "financial_account"),
        "payout_method": at(obj, "to", "payout_method"),
        "debited": at(obj, "from", "debited"),
        "credited": at(obj, "to", "credited"),
        "reason": _reason(obj) or "",  # a review that is over must not stand here for ever
        "posted_at": at(obj, "status_transitions", "posted_at"),
        "returned_at": at(obj, "status_transitions", "returned_at"),
    }


def _reason(obj: dict[str, Any]) -> str | None:
    details = obj.get("status_details")
    if not isinstance(details, dict):
        return None
    reasons = (d.get("reason") for d in details.values() if isinstance(d, dict))
    return next((r for r in reasons if isinstance(r, str) and r), None)


def without_numbers(raw: dict[str, Any]) -> dict[str, Any]:
    """A financial address without account numbers and holders, in either shape; any other object as it is."""
    if not str(raw.get("object", "")).endswith("financial_address"):
        return raw
    return {k: _hidden(v) for k, v in raw.items()}


def _hidden(value: Any, depth: int = 0) -> Any:
    if not isinstance(value, dict) or depth > 4:
        return value
    return {k: None if k in _SECRET else _hidden(v, depth + 1) for k, v in value.items()}


def _financial_address(obj: dict[str, Any]) -> dict[str, Any]:
    """Either shape as one: how money comes in, without the numbers that are Stripe's to show."""
    old = at(obj, "credentials")
    bank = at(obj, "bank_account") or old
    kind = at(bank, "type")
    wallet = at(obj, "crypto_wallet") or at(old, "crypto_wallet")
    details = at(bank, str(kind)) if kind != "crypto_wallet" else None
    kept = {k: details[k] for k in _NUMBERS if isinstance(details.get(k), str)} if isinstance(details, dict) else None
    return {
        "currency": at(bank, "currency") or obj.get("currency"),
        "country": at(bank, "country"),
        "network": at(wallet, "network"),
        "credentials": {"type": kind, **kept} if kept is not None else None,
    }


def _inbound_transfer(obj: dict[str, Any]) -> dict[str, Any]:
    history = [h for h in listed(obj.get("transfer_history")) if isinstance(h, dict)]
    last: dict[str, Any] = history[-1] if history else {}
    detail = last.get(str(last.get("type")))
    return {
        "financial_account": at(obj, "to", "financial_account"),
        "debited": at(obj, "from", "debited"),
        "credited": at(obj, "to", "credited"),
        "payment_method": at(obj, "from", "payment_method", "type"),
        "reason": at(detail, "failure_reason") or at(detail, "return_reason"),
    }


def _transaction_entry(obj: dict[str, Any]) -> dict[str, Any]:
    details = obj.get("transaction_details")
    keys = ("category", "financial_account", "flow")
    return {k: at(details, k) for k in keys}


def _currency_conversion(obj: dict[str, Any]) -> dict[str, Any]:
    return {"debited": at(obj, "from", "amount"), "credited": at(obj, "to", "amount")}


def _received_credit(obj: dict[str, Any]) -> dict[str, Any]:
    return {
        "outbound_payment": at(obj, "balance_transfer", "outbound_payment"),
        "refund": at(obj, "card_spend", "refund", "issuing_transaction_v1"),
        "dispute": at(obj, "card_spend", "dispute", "issuing_dispute_v1"),
        "card": at(obj, "card_spend", "card_v1_id"),
        "transaction_hash": at(obj, "crypto_wallet_transfer", "transaction_hash"),
        "financial_address": at(obj, "bank_transfer", "financial_address"),
        "network": at(obj, "bank_transfer", "originating_bank_account", "aba", "network"),
        "reason": _reason(obj),
    }


def _received_debit(obj: dict[str, Any]) -> dict[str, Any]:
    spends = listed(at(obj, "card_spend", "card_transactions"))
    return {
        "card": at(obj, "card_spend", "card_v1_id"),
        "authorization": at(obj, "card_spend", "authorization", "issuing_authorization_v1"),
        "transactions": [t.get("issuing_transaction_v1") for t in spends if isinstance(t, dict)],
        "reason": _reason(obj),
    }


def _setup_intent(obj: dict[str, Any]) -> dict[str, Any]:
    method = obj.get("payout_method")
    return {"payout_method": method.get("id") if isinstance(method, dict) else method}


def _payout_method(obj: dict[str, Any]) -> dict[str, Any]:
    bank = obj.get("bank_account")
    keys = ("bank_account_type", "bank_name", "country", "last4", "enabled_delivery_schemes", "supported_currencies")
    return {"bank_account": {k: bank[k] for k in keys if k in bank} if isinstance(bank, dict) else None}


MORE: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "financial_account": _financial_account,
    "financial_address": _financial_address,
    "outbound_payment": _outbound,
    "outbound_transfer": _outbound,
    "outbound_setup_intent": _setup_intent,
    "payout_method": _payout_method,
    "received_credit": _received_credit,
    "received_debit": _received_debit,
    "inbound_transfer": _inbound_transfer,
    "transaction_entry": _transaction_entry,
    "currency_conversion": _currency_conversion,
}
"""Fields taken from deeper down, per kind; None is left out."""

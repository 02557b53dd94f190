"""What we keep of Issuing's objects, beside their plain fields: whitelists, like all of ``objects``."""

from collections.abc import Callable
from typing import Any

from app.stripe.fields import at, id_of, listed

PLAIN: dict[str, tuple[str, ...]] = {
    "cardholder": ("type", "spending_controls"),
    "card": (
        "type",
        "last4",
        "brand",
        "currency",
        "exp_month",
        "exp_year",
        "spending_controls",
        "cancellation_reason",
        "replacement_for",
        "replaced_by",
        "replacement_reason",
        "financial_account_v2",
        "personalization_design",
        "program",
    ),
    "authorization": (
        "approved",
        "amount",
        "currency",
        "merchant_amount",
        "merchant_currency",
        "authorization_method",
        "wallet",
    ),
    "issuing_transaction": ("amount", "currency", "type", "merchant_amount", "merchant_currency", "wallet"),
    "dispute": ("amount", "currency", "loss_reason"),
    "token": ("network", "wallet_provider", "last4", "token_type", "provisioning_decision", "network_updated_at"),
    "personalization_design": ("name", "rejection_reasons", "lookup_key"),
}
"""Fields taken as they are, per kind. Free text, metadata included, may name people: never."""


def _cardholder(obj: dict[str, Any]) -> dict[str, Any]:
    requirements = obj.get("requirements")
    due = requirements.get("past_due") if isinstance(requirements, dict) else None
    lead = at(obj, "individual", "user_terms_acceptance", "lead", "date")
    terms = lead or at(obj, "individual", "card_issuing", "user_terms_acceptance", "date")
    return {
        "disabled_reason": at(obj, "requirements", "disabled_reason") or "",
        "past_due": due,
        "terms_accepted": bool(terms) if obj.get("type") == "individual" else None,
        "tax_id_provided": at(obj, "company", "tax_id_provided"),
    }


def _card(obj: dict[str, Any]) -> dict[str, Any]:
    shipping = obj.get("shipping")
    keys = ("status", "service", "type", "carrier", "tracking_number", "tracking_url", "eta")
    wallets = {w: at(obj, "wallets", w, "eligible") for w in ("apple_pay", "google_pay")}
    reasons = {w: at(obj, "wallets", w, "ineligible_reason") for w in ("apple_pay", "google_pay")}
    return {
        "cardholder": id_of(obj.get("cardholder")),
        "shipping": {k: shipping[k] for k in keys if k in shipping} if isinstance(shipping, dict) else None,
        "wallets": {k: v for k, v in wallets.items() if v is not None} or None,
        "wallets_ineligible": {k: v for k, v in reasons.items() if v is not None} or None,
    }


def _merchant(obj: dict[str, Any]) -> dict[str, Any] | None:
    merchant = obj.get("merchant_data")
    keys = ("category", "category_code", "name", "country", "network_id")
    return {k: merchant[k] for k in keys if k in merchant} if isinstance(merchant, dict) else None


def _authorization(obj: dict[str, Any]) -> dict[str, Any]:
    keys = ("approved", "reason", "amount", "created")
    history = [h for h in listed(obj.get("request_history")) if isinstance(h, dict)]
    asked = [f for f in listed(obj.get("fraud_challenges")) if isinstance(f, dict)]
    return {
        "card": id_of(obj.get("card")),
        "cardholder": id_of(obj.get("cardholder")),
        "token": id_of(obj.get("token")),
        "merchant": _merchant(obj),
        "request_history": [{k: h.get(k) for k in keys} for h in history],
        "fraud_challenges": [{k: f.get(k) for k in ("channel", "status")} for f in asked] or None,
        "transactions": [i for t in listed(obj.get("transactions")) if (i := id_of(t)) is not None],
    }


def _issuing_transaction(obj: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {k: id_of(obj.get(k)) for k in ("authorization", "card", "cardholder", "dispute", "token")}
    return {**found, "merchant": _merchant(obj)}


def _dispute(obj: dict[str, Any]) -> dict[str, Any]:
    return {"transaction": id_of(obj.get("transaction")), "reason": at(obj, "evidence", "reason")}


MORE: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "cardholder": _cardholder,
    "card": _card,
    "authorization": _authorization,
    "issuing_transaction": _issuing_transaction,
    "dispute": _dispute,
    "token": lambda obj: {"card": id_of(obj.get("card"))},
    "personalization_design": lambda obj: {"physical_bundle": id_of(obj.get("physical_bundle"))},
}
"""Fields taken from deeper down, per kind; None is left out."""

"""Stripe's objects as observations: which state one is in, and the fields we serve and reason with.

A whitelist per kind, so no personal data can pass by accident: no names of people, no contact, no birth dates, no
postal addresses. Unknown shapes never raise; what is missing is absent.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from app.machines.events import Observed
from app.stripe import movements
from app.stripe.fields import at, id_of, listed

KINDS = {
    "v2.core.account": "account",
    "v2.money_management.financial_account": "financial_account",
    "v2.money_management.financial_address": "financial_address",
    "v2.money_management.outbound_payment": "outbound_payment",
    "v2.money_management.outbound_transfer": "outbound_transfer",
    "v2.money_management.outbound_setup_intent": "outbound_setup_intent",
    "v2.money_management.payout_method": "payout_method",
    "v2.money_management.received_credit": "received_credit",
    "v2.money_management.received_debit": "received_debit",
    "v2.money_management.inbound_transfer": "inbound_transfer",
    "v2.money_management.transaction": "transaction",
    "v2.money_management.transaction_entry": "transaction_entry",
    "v2.money_management.adjustment": "adjustment",
    "v2.money_management.currency_conversion": "currency_conversion",
    "issuing.cardholder": "cardholder",
    "issuing.card": "card",
    "issuing.authorization": "authorization",
    "issuing.transaction": "issuing_transaction",
    "issuing.dispute": "dispute",
    "issuing.token": "token",
    "issuing.personalization_design": "personalization_design",
}

_DEEPEST = 32
"""No object of Stripe's nests this deep; what does is cut off."""

_PLAIN: dict[str, tuple[str, ...]] = {
    **movements.PLAIN,
    "cardholder": ("type", "spending_controls", "metadata"),
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
        "metadata",
    ),
    "authorization": (
        "approved",
        "amount",
        "currency",
        "merchant_amount",
        "merchant_currency",
        "authorization_method",
        "metadata",
    ),
    "issuing_transaction": ("amount", "currency", "type", "merchant_amount", "merchant_currency"),
    "dispute": ("amount", "currency", "loss_reason", "metadata"),
    "token": ("network", "wallet_provider", "last4", "token_type"),
    "personalization_design": ("name", "rejection_reasons"),
}


def observe(raw: object, at_ms: int, *, sure: bool) -> Observed | None:
    """A Stripe object as an observation at ``at_ms``; None when it is none that we follow."""
    if not isinstance(raw, dict):
        return None
    obj: dict[str, Any] = raw
    kind = _kind(str(obj.get("object", "")))
    object_id = obj.get("id")
    if kind is None or not isinstance(object_id, str) or not object_id or "\x00" in object_id:
        return None
    fields: dict[str, Any] = {k: obj[k] for k in _PLAIN.get(kind, ()) if k in obj}
    more = _MORE.get(kind)
    if more is not None:
        fields |= {k: v for k, v in more(obj).items() if v is not None}
    return Observed(
        kind=kind, object_id=object_id, status=_clean(_status(kind, obj)), at=at_ms, fields=_clean(fields), sure=sure
    )


def _kind(tag: str) -> str | None:
    if tag in KINDS:
        return KINDS[tag]
    return next((kind for full, kind in KINDS.items() if full.rsplit(".", 1)[-1] == tag and "money" in full), None)


def _status(kind: str, obj: dict[str, Any]) -> str:
    match kind:
        case "account":
            return "closed" if obj.get("closed") else "open"
        case "payout_method":
            return _word(at(obj, "usage_status", "transfers"), "requires_action")
        case "inbound_transfer":
            history = [h for h in listed(obj.get("transfer_history")) if isinstance(h, dict)]
            return _word(history[-1].get("type")) if history else "bank_debit_queued"
        case "issuing_transaction":
            return _word(obj.get("type"), "capture")
        case "transaction_entry" | "adjustment" | "currency_conversion":
            return "posted"
        case _:
            return _word(obj.get("status"))


def _account(obj: dict[str, Any]) -> dict[str, Any]:
    configuration = obj.get("configuration")
    capabilities: dict[str, Any] = {}
    for name, part in (configuration if isinstance(configuration, dict) else {}).items():
        if isinstance(part, dict):
            _capabilities(name, part.get("capabilities"), (), capabilities)
    return {
        "capabilities": capabilities or None,
        "requirements": _requirements(obj.get("requirements")),
        "future_requirements": _requirements(obj.get("future_requirements")),
        "closed": bool(obj.get("closed")),
        "country": _country(obj),
        "applied_configurations": obj.get("applied_configurations"),
    }


def _country(obj: dict[str, Any]) -> str | None:
    country = at(obj, "identity", "country")
    return country.upper() if isinstance(country, str) else None


def _capabilities(configuration: str, node: object, path: tuple[str, ...], found: dict[str, Any]) -> None:
    if not isinstance(node, dict) or len(path) > _DEEPEST:
        return
    if isinstance(node.get("status"), str):
        codes = [d.get("code") for d in listed(node.get("status_details")) if isinstance(d, dict)]
        for name in _paths(configuration, path):
            found[name] = {"status": node["status"], "codes": [c for c in codes if isinstance(c, str)]}
        return
    for key, child in node.items():
        _capabilities(configuration, child, (*path, str(key)), found)


def _paths(configuration: str, path: tuple[str, ...]) -> list[str]:
    """Canonical paths of a capability: the old vocabulary's names become the new ones."""
    name = "money_manager" if configuration == "storer" else configuration
    head, rest = (path[0], path[1:]) if path else ("", ())
    if head == "holds_currencies":
        return [".".join((name, "business_storage", way, *rest)) for way in ("inbound", "outbound")]
    if head in ("financial_addresses", "financial_addressses"):
        return [".".join((name, "received_credits", *rest))]
    return [".".join((name, *path))]


def _requirements(part: object) -> list[dict[str, Any]] | None:
    if not isinstance(part, dict):
        return None
    found = []
    for entry in listed(part.get("entries")):
        if isinstance(entry, dict):
            restricts = listed(at(entry, "impact", "restricts_capabilities"))
            found.append(
                {
                    "what": entry.get("description"),
                    "who": entry.get("awaiting_action_from"),
                    "deadline": at(entry, "minimum_deadline", "status"),
                    "time": at(entry, "minimum_deadline", "time"),
                    "capabilities": [r.get("capability") for r in restricts if isinstance(r, dict)],
                }
            )
    return found


def _cardholder(obj: dict[str, Any]) -> dict[str, Any]:
    requirements = obj.get("requirements")
    due = requirements.get("past_due") if isinstance(requirements, dict) else None
    return {"disabled_reason": at(obj, "requirements", "disabled_reason") or "", "past_due": due}


def _card(obj: dict[str, Any]) -> dict[str, Any]:
    shipping = obj.get("shipping")
    keys = ("status", "service", "type", "carrier", "tracking_number", "tracking_url", "eta")
    wallets = {w: at(obj, "wallets", w, "eligible") for w in ("apple_pay", "google_pay")}
    return {
        "cardholder": id_of(obj.get("cardholder")),
        "shipping": {k: shipping[k] for k in keys if k in shipping} if isinstance(shipping, dict) else None,
        "wallets": {k: v for k, v in wallets.items() if v is not None} or None,
    }


def _merchant(obj: dict[str, Any]) -> dict[str, Any] | None:
    merchant = obj.get("merchant_data")
    keys = ("category", "category_code", "name", "country", "network_id")
    return {k: merchant[k] for k in keys if k in merchant} if isinstance(merchant, dict) else None


def _authorization(obj: dict[str, Any]) -> dict[str, Any]:
    keys = ("approved", "reason", "amount", "created")
    history = [h for h in listed(obj.get("request_history")) if isinstance(h, dict)]
    return {
        "card": id_of(obj.get("card")),
        "cardholder": id_of(obj.get("cardholder")),
        "token": id_of(obj.get("token")),
        "merchant": _merchant(obj),
        "request_history": [{k: h.get(k) for k in keys} for h in history],
        "transactions": [i for t in listed(obj.get("transactions")) if (i := id_of(t)) is not None],
    }


def _issuing_transaction(obj: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {k: id_of(obj.get(k)) for k in ("authorization", "card", "cardholder", "dispute", "token")}
    return {**found, "merchant": _merchant(obj)}


def _dispute(obj: dict[str, Any]) -> dict[str, Any]:
    return {"transaction": id_of(obj.get("transaction")), "reason": at(obj, "evidence", "reason")}


_MORE: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    **movements.MORE,
    "account": _account,
    "cardholder": _cardholder,
    "card": _card,
    "authorization": _authorization,
    "issuing_transaction": _issuing_transaction,
    "dispute": _dispute,
    "token": lambda obj: {"card": id_of(obj.get("card"))},
}


def milliseconds(time: object, otherwise: int) -> int:
    """A Stripe time, unix seconds or RFC 3339, in milliseconds."""
    if isinstance(time, int) and not isinstance(time, bool):
        return time * 1000
    if isinstance(time, str):
        try:
            moment = datetime.fromisoformat(time)
            return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
        except (ValueError, OverflowError):
            return otherwise
    return otherwise


def _word(value: object, otherwise: str = "unknown") -> str:
    return value if isinstance(value, str) and value else otherwise


def _clean(value: Any, depth: int = 0) -> Any:
    """The same JSON without NUL characters, which PostgreSQL's jsonb cannot hold, and without a bottomless pit."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd") if "\x00" in value else value
    if isinstance(value, (dict, list)) and depth > _DEEPEST:
        return None
    if isinstance(value, dict):
        return {_clean(k): _clean(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list):
        return [_clean(v, depth + 1) for v in value]
    return value

"""Stripe's objects as observations: which state one is in, and the fields we serve and reason with.

A whitelist per kind, so no personal data can pass by accident: no names of people, no contact, no birth dates, no
postal addresses. Unknown shapes never raise; what is missing is absent.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from app.machines.events import Observed
from app.stripe import issuing, movements
from app.stripe.fields import at, listed

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

_NUMBER_MAX = 2**63 - 1
"""Beyond it a number would come back from the log as another one."""

_PLAIN = {**movements.PLAIN, **issuing.PLAIN}


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


_MORE: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    **movements.MORE,
    **issuing.MORE,
    "account": _account,
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
    """The same JSON without what cannot be kept and read back as it was: NUL, endless numbers, a bottomless pit."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd") if "\x00" in value else value
    if isinstance(value, int | float) and not -_NUMBER_MAX <= value <= _NUMBER_MAX:
        return None
    if isinstance(value, (dict, list)) and depth > _DEEPEST:
        return None
    if isinstance(value, dict):
        return {_clean(k): _clean(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list):
        return [_clean(v, depth + 1) for v in value]
    return value

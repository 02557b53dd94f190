"""Which fields of an object name other objects: what ties a purchase together, from the card to the ledger."""

from app.machines.events import Json

FIELDS: dict[str, tuple[str, ...]] = {
    "card": ("cardholder", "replacement_for", "replaced_by", "personalization_design"),
    "authorization": ("card", "cardholder", "token", "transactions"),
    "issuing_transaction": ("authorization", "card", "cardholder", "dispute", "token"),
    "dispute": ("transaction",),
    "token": ("card",),
    "received_debit": ("card", "authorization", "transactions"),
    "received_credit": ("card", "refund", "dispute", "outbound_payment"),
    "transaction": ("flow",),
    "transaction_entry": ("transaction",),
    "adjustment": ("adjusted_flow",),
    "outbound_payment": ("payout_method",),
    "outbound_transfer": ("payout_method",),
    "outbound_setup_intent": ("payout_method",),
}
"""Per kind the fields that hold an id, a list of ids, or a flow (``{type, <type>: id}``). An account's one financial
account is left out: everything belongs to it."""

PURCHASE = frozenset({"authorization", "issuing_transaction", "received_debit", "received_credit", "dispute"})
"""Kinds that make up one purchase: what is linked to one of them is linked to all of them."""

FOLLOWED = PURCHASE | {"transaction"}
"""From these kinds a purchase is followed through. Which part of it the ledger names depends on Stripe's API version."""


def linked(kind: str, data: Json) -> tuple[str, ...]:
    """The ids that an object names, each once, in order."""
    found: dict[str, None] = {}
    for field in FIELDS.get(kind, ()):
        for one in _ids(data.get(field)):
            found.setdefault(one)
    return tuple(found)


def _ids(value: object) -> list[str]:
    if isinstance(value, dict):
        value = value.get(str(value.get("type")))
    several = value if isinstance(value, list) else [value]
    return [one for one in several if isinstance(one, str) and one]

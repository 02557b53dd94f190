"""What a merchant asks for, read from Stripe's ``issuing.authorization`` with its ``pending_request``.

The rule: whatever cannot be meant (no amount, a text nobody can store, an absurd number) is a ValueError here, so that
the decision only ever sees a request that it can judge. Amounts are US cents.
"""

import msgspec

from app.machines.events import Json

TEXT_MAX = 255
AMOUNT_MAX = 10**15


class Limit(msgspec.Struct, frozen=True):
    """At most ``amount`` per ``interval``, in these merchant categories (none named: in all)."""

    amount: int
    interval: str
    categories: tuple[str, ...] | None = None


class Controls(msgspec.Struct, frozen=True):
    """``spending_controls`` of a card as Stripe shows them; an absent list binds nobody."""

    allowed_categories: tuple[str, ...] | None = None
    blocked_categories: tuple[str, ...] | None = None
    allowed_merchant_countries: tuple[str, ...] | None = None
    blocked_merchant_countries: tuple[str, ...] | None = None
    allowed_card_presences: tuple[str, ...] | None = None
    blocked_card_presences: tuple[str, ...] | None = None
    spending_limits: tuple[Limit, ...] | None = None


FREE = Controls()
"""Controls that bind nobody: what most cards and cardholders have."""


class Checks(msgspec.Struct, frozen=True):
    """``verification_data``, each as Stripe says it (`match`, `mismatch`, `not_provided`); empty: it says nothing.

    Stripe verifies a PIN itself and asks nobody when it is wrong, so ``pin`` is empty unless Stripe comes to show it.
    """

    cvc: str = ""
    expiry: str = ""
    postal_code: str = ""
    address: str = ""
    pin: str = ""
    three_d_secure: str = ""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a merchant asks for: ``amount`` more on this authorization, on top of the ``held`` that it has.

    ``extra`` is what Stripe reserves above the amount; ``history`` how many requests this authorization had before;
    ``holder`` the cardholder, whose own controls bind besides the card's.
    """

    authorization: str
    card: str
    amount: int
    currency: str
    held: int = 0
    extra: int = 0
    hold_currency: str = "usd"
    history: int = 0
    controllable: bool = False
    cashback: int = 0
    category: str = ""
    category_code: str = ""
    country: str = ""
    method: str = ""
    checks: Checks = Checks()
    card_state: str | None = None
    controls: Controls = FREE
    holder: str | None = None
    holder_state: str | None = None
    holder_controls: Controls = FREE


def request_of(raw: Json) -> Request:
    """Read an ``issuing.authorization`` with its ``pending_request``. Raises ValueError when it asks for nothing."""
    pending, card = _part(raw, "pending_request"), raw.get("card")
    if not raw.get("id") or not card or not isinstance(pending.get("amount"), int):
        raise ValueError("no card, no authorization id or no pending amount")
    shown: Json = card if isinstance(card, dict) else {"id": card}
    merchant, hold = _part(raw, "merchant_data"), _part(pending, "hold_amount")
    holder = _holder(raw, shown)
    amount = _int(pending.get("amount"))
    texts = [
        raw["id"],
        shown.get("id"),
        holder.get("id"),
        merchant.get("category"),
        merchant.get("country"),
        pending.get("currency"),
    ]
    if any("\0" in str(text) or len(str(text)) > TEXT_MAX for text in texts):
        raise ValueError("a text that cannot be kept")
    return Request(
        authorization=str(raw["id"]),
        card=str(shown.get("id")),
        amount=amount,
        currency=str(pending.get("currency") or raw.get("currency") or "").lower(),
        held=_int(raw.get("amount")),
        extra=max(0, _int(hold.get("value")) - amount),
        hold_currency=str(hold.get("currency") or "usd").lower(),
        history=_length(raw.get("request_history")),
        controllable=pending.get("is_amount_controllable") is True,
        cashback=_int(_part(pending, "amount_details").get("cashback_amount")),
        category=str(merchant.get("category") or ""),
        category_code=str(merchant.get("category_code") or ""),
        country=str(merchant.get("country") or "").upper(),
        method=str(raw.get("authorization_method") or ""),
        checks=_checks(_part(raw, "verification_data")),
        card_state=_text(shown.get("status")),
        controls=controls_of(shown.get("spending_controls")),
        holder=_text(holder.get("id")),
        holder_state=_text(holder.get("status")),
        holder_controls=controls_of(holder.get("spending_controls")),
    )


def controls_of(raw: object) -> Controls:
    """Spending controls from Stripe's JSON. Raises ValueError (msgspec's) for what cannot be read.

    Limits in a currency other than the card's (a cardholder's may be) are Stripe's to convert and to enforce.
    """
    if not isinstance(raw, dict) or not any(raw.values()):
        return FREE
    if str(raw.get("spending_limits_currency") or "usd").lower() != "usd":
        raw = {**raw, "spending_limits": None}
    return msgspec.convert(raw, Controls)


def _holder(raw: Json, card: Json) -> Json:
    """The cardholder as whole as it is shown: inside the card, or beside it, or only its id."""
    shown = [card.get("cardholder"), raw.get("cardholder")]
    whole = next((one for one in shown if isinstance(one, dict)), None)
    return whole or {"id": next((one for one in shown if isinstance(one, str)), None)}


def _checks(raw: Json) -> Checks:
    def said(name: str) -> str:
        return str(raw.get(name) or "")

    return Checks(
        cvc=said("cvc_check"),
        expiry=said("expiry_check"),
        postal_code=said("address_postal_code_check"),
        address=said("address_line1_check"),
        pin=said("pin_check"),
        three_d_secure=str(_part(raw, "three_d_secure").get("result") or ""),
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _part(raw: Json, name: str) -> Json:
    found = raw.get(name)
    return found if isinstance(found, dict) else {}


def _int(value: object) -> int:
    if not isinstance(value, int):
        return 0
    if abs(value) > AMOUNT_MAX:
        raise ValueError("an amount that cannot be meant")
    return value


def _length(value: object) -> int:
    return len(value) if isinstance(value, list) else 0

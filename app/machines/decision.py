"""The real-time decision: what is known of account, card and request in, one answer with one stable reason out.

The rule: guards run in one order and the first that fails names the reason; of all ceilings (hard cap, programme, card
controls, velocity, balance) the most restrictive wins. Amounts are US cents; one USDC covers one dollar. A sum that
may be double counted is counted twice: an approval never rests on money that might not be there.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

import msgspec

from app.machines.events import Json
from app.machines.programme import HARD_CAP, Authorization

INTERVALS = ("daily", "weekly", "monthly", "yearly", "all_time")
CASH = frozenset({"automated_cash_disburse", "manual_cash_disburse"})
IN_PERSON = frozenset({"chip", "contactless", "swipe"})
TEXT_MAX = 255
AMOUNT_MAX = 10**15
NO_TIME = "no_decision_in_time"
"""Reason of the default: nobody could decide before the deadline, or the database is gone."""
UNREADABLE = "request_unreadable"

REASONS = (
    "account_unknown",
    "account_held",
    "account_restricted",
    "account_closed",
    "account_not_live",
    "card_unknown",
    "card_inactive",
    "card_canceled",
    "currency_unsupported",
    "amount_invalid",
    "cash_withdrawal_not_allowed",
    "category_blocked",
    "category_not_allowed",
    "country_blocked",
    "country_not_allowed",
    "card_presence_blocked",
    "card_presence_not_allowed",
    "cvc_failed",
    "postal_code_failed",
    "velocity_count",
    "cap_exceeded",
    "spending_limit_per_authorization",
    *(f"spending_limit_{interval}" for interval in INTERVALS),
    "velocity_amount",
    "insufficient_balance",
    NO_TIME,
    UNREADABLE,
)
"""Every reason of a decline, in the order in which guards ask. Stable: shown, kept and branched on."""


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


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a merchant asks for: ``amount`` more on this authorization, on top of the ``held`` that it has.

    ``extra`` is what Stripe reserves above the amount; ``history`` how many requests this authorization had before.
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
    cvc_check: str = ""
    postal_code_check: str = ""
    card_state: str | None = None
    controls: Controls = Controls()


def request_of(raw: Json) -> Request:
    """Read an ``issuing.authorization`` with its ``pending_request``. Raises ValueError when it asks for nothing."""
    pending, card = _part(raw, "pending_request"), raw.get("card")
    if not raw.get("id") or not card or not isinstance(pending.get("amount"), int):
        raise ValueError("no card, no authorization id or no pending amount")
    shown: Json = card if isinstance(card, dict) else {"id": card}
    merchant, checks, hold = _part(raw, "merchant_data"), _part(raw, "verification_data"), _part(pending, "hold_amount")
    amount = _int(pending.get("amount"))
    texts = [raw["id"], shown.get("id"), merchant.get("category"), merchant.get("country"), pending.get("currency")]
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
        cvc_check=str(checks.get("cvc_check") or ""),
        postal_code_check=str(checks.get("address_postal_code_check") or ""),
        card_state=None if shown.get("status") is None else str(shown["status"]),
        controls=controls_of(shown.get("spending_controls")),
    )


def controls_of(raw: object) -> Controls:
    """Spending controls from Stripe's JSON. Raises ValueError (msgspec's) for what cannot be read."""
    return msgspec.convert(raw, Controls) if isinstance(raw, dict) else Controls()


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


class Spent(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one card had approved in one merchant category since each interval began."""

    category: str = ""
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    all_time: int = 0


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What we hold at the moment of the request. ``account_state`` or ``card_state`` None: we know no such thing.

    ``available`` is the USDC balance as read at ``balance_at`` (milliseconds), ``open`` what was approved or sent since
    and is not yet subtracted there. ``authorized`` is what we approved before on this authorization.
    """

    account_state: str | None = None
    held: bool = False
    card_state: str | None = None
    controls: Controls = Controls()
    available: int | None = None
    balance_at: int = 0
    open: int = 0
    authorized: int = 0
    spent: tuple[Spent, ...] = ()
    velocity_count: int = 0
    velocity_amount: int = 0


class Approve(msgspec.Struct, frozen=True):
    """Yes, to ``amount``; ``reserved`` (at least as much) is what stays set aside until Stripe's balance shows it."""

    amount: int
    reserved: int
    reason: str = "approved"
    partial: bool = False


class Decline(msgspec.Struct, frozen=True):
    """No, for one of :data:`REASONS`."""

    reason: str


class Ceiling(msgspec.Struct, frozen=True):
    """How much more one rule allows, and the reason when that is too little."""

    room: int
    reason: str


def decide(snapshot: Snapshot, request: Request, rules: Authorization, at_ms: int) -> Approve | Decline:
    """Answer one request. ``at_ms`` is the moment that ``snapshot`` was summed for; sums in it are taken as they are."""
    if at_ms < 0:
        return Decline(NO_TIME)
    refused = (
        _standing(snapshot, request)
        or _money(request)
        or _merchant(snapshot, request, rules)
        or _verification(request, rules)
        or _velocity(snapshot, rules)
    )
    if refused:
        return Decline(refused)
    if request.amount == 0 and request.extra == 0:
        return Approve(0, 0, "approved_check")
    tightest: Ceiling | None = None
    for ceiling in ceilings(snapshot, request, rules):
        if tightest is None or ceiling.room < tightest.room:
            tightest = ceiling
    assert tightest is not None
    return _within(tightest, request, rules)


def _within(tightest: Ceiling, request: Request, rules: Authorization) -> Approve | Decline:
    if request.amount <= tightest.room:
        return Approve(request.amount, request.amount + request.extra)
    room = tightest.room
    if request.controllable and rules.partial and room > 0 and room >= request.cashback:
        return Approve(room, room + request.extra, "approved_partial", partial=True)
    return Decline(tightest.reason)


def _standing(snapshot: Snapshot, request: Request) -> str | None:
    match snapshot.account_state:
        case None:
            return "account_unknown"
        case "closed":
            return "account_closed"
        case _ if snapshot.held:
            return "account_held"
        case "restricted" | "rejected":
            return "account_restricted"
        case state if state != "live":
            return "account_not_live"
    if snapshot.card_state is None:
        return "card_unknown"
    said = {snapshot.card_state, request.card_state or "active"}
    if "canceled" in said:
        return "card_canceled"
    return None if said == {"active"} else "card_inactive"


def _money(request: Request) -> str | None:
    if request.currency != "usd" or request.hold_currency not in ("usd", "usdc"):
        return "currency_unsupported"
    return "amount_invalid" if request.amount < 0 or request.cashback < 0 else None


def _merchant(snapshot: Snapshot, request: Request, rules: Authorization) -> str | None:
    if not rules.cash_withdrawal and (request.category in CASH or request.category_code in ("6010", "6011")):
        return "cash_withdrawal_not_allowed"
    codes = {request.category, request.category_code} - {""}
    presence = {"present" if request.method in IN_PERSON else "not_present"} if request.method else set()
    programme = Controls(
        allowed_categories=rules.allowed_categories,
        blocked_categories=rules.blocked_categories,
        allowed_merchant_countries=rules.allowed_countries,
        blocked_merchant_countries=rules.blocked_countries,
    )
    for one in (programme, snapshot.controls, request.controls):
        refused = (
            _listed("category", codes, one.allowed_categories, one.blocked_categories)
            or _listed(
                "country", {request.country} - {""}, one.allowed_merchant_countries, one.blocked_merchant_countries
            )
            or _listed("card_presence", presence, one.allowed_card_presences, one.blocked_card_presences)
        )
        if refused:
            return refused
    return None


def _listed(what: str, said: set[str], allowed: Iterable[str] | None, blocked: Iterable[str] | None) -> str | None:
    """A list of the allowed refuses what is not said as well: nobody knows that it is in."""
    if said.intersection(blocked or ()):
        return f"{what}_blocked"
    return f"{what}_not_allowed" if allowed and not said.intersection(allowed) else None


def _verification(request: Request, rules: Authorization) -> str | None:
    """Checks that the programme asks for; a card that was there in person brings neither CVC nor postal code."""
    if request.method in IN_PERSON:
        return None
    if rules.require_cvc and request.cvc_check != "match":
        return "cvc_failed"
    return "postal_code_failed" if rules.require_postal_code and request.postal_code_check != "match" else None


def _velocity(snapshot: Snapshot, rules: Authorization) -> str | None:
    return "velocity_count" if snapshot.velocity_count >= rules.velocity.count_max else None


def ceilings(snapshot: Snapshot, request: Request, rules: Authorization) -> Iterator[Ceiling]:
    """Every ceiling on the additional amount that this request may get, strictest reasons first among equals."""
    authorized = max(snapshot.authorized, request.held)
    yield Ceiling(HARD_CAP - authorized, "cap_exceeded")
    if rules.per_authorization < HARD_CAP:
        yield Ceiling(rules.per_authorization - authorized, "spending_limit_per_authorization")
    for interval in INTERVALS:
        limit: int | None = getattr(rules, interval)
        if limit is not None:
            yield Ceiling(limit - _spent(snapshot, interval, None), f"spending_limit_{interval}")
    yield from _card_limits(snapshot, request, authorized)
    yield Ceiling(rules.velocity.amount_max - snapshot.velocity_amount, "velocity_amount")
    yield Ceiling((snapshot.available or 0) - snapshot.open - request.extra, "insufficient_balance")


def _card_limits(snapshot: Snapshot, request: Request, authorized: int) -> Iterator[Ceiling]:
    """Limits that Stripe holds for the card, as we last saw it and as this request shows it."""
    for limit in (*(snapshot.controls.spending_limits or ()), *(request.controls.spending_limits or ())):
        only = frozenset(limit.categories or ())
        if only and request.category not in only:
            continue
        if limit.interval == "per_authorization":
            yield Ceiling(limit.amount - authorized, "spending_limit_per_authorization")
        else:
            # An interval that we do not know is summed over all time: the stricter reading.
            interval = limit.interval if limit.interval in INTERVALS else "all_time"
            yield Ceiling(limit.amount - _spent(snapshot, interval, only or None), f"spending_limit_{interval}")


def _spent(snapshot: Snapshot, interval: str, only: frozenset[str] | None) -> int:
    return sum(int(getattr(s, interval)) for s in snapshot.spent if only is None or s.category in only)


def interval_starts(at_ms: int) -> dict[str, datetime]:
    """When the running day, week (from Sunday), month and year began, in UTC, as Stripe counts its limits."""
    now = datetime.fromtimestamp(at_ms / 1000, UTC)
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return {
        "daily": day,
        "weekly": day - timedelta(days=(day.weekday() + 1) % 7),
        "monthly": day.replace(day=1),
        "yearly": day.replace(month=1, day=1),
    }

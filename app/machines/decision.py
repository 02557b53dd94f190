"""The real-time decision: what is known of account, card and request in, one answer with one stable reason out.

The rule: guards run in one order and the first that fails names the reason; of all ceilings (hard cap, programme, card
controls, velocity, balance) the most restrictive wins, and the first that is too low names the reason. Amounts are US cents; one USDC covers one dollar. A sum that
may be double counted is counted twice: an approval never rests on money that might not be there.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

import msgspec

from app.machines.programme import HARD_CAP, Authorization
from app.machines.purchase import FREE, Controls, Request

INTERVALS = ("daily", "weekly", "monthly", "yearly", "all_time")
_PER = ("per day", "per week", "per month", "per year", "over all time")
CASH = frozenset({"automated_cash_disburse", "manual_cash_disburse"})
CASH_CODES = frozenset({"6010", "6011"})
IN_PERSON = frozenset({"chip", "contactless", "swipe"})
NO_TIME = "no_decision_in_time"
"""Reason of the default: nobody could decide before the deadline, or the database is gone."""
UNREADABLE = "request_unreadable"

REASONS = {
    "account_unknown": "We do not follow this account.",
    "account_closed": "The account is closed.",
    "account_held": "Automation is held for this account.",
    "account_restricted": "A capability fell back or was refused.",
    "account_not_live": "The account is not live yet.",
    "card_unknown": "The account has no such card.",
    "card_canceled": "The card is canceled.",
    "card_inactive": "The card is not active.",
    "cardholder_inactive": "The cardholder is not active.",
    "currency_unsupported": "It is not in US dollars (or USDC).",
    "amount_invalid": "The amount is negative.",
    "cash_withdrawal_not_allowed": "The programme allows no cash withdrawals.",
    "category_blocked": "The merchant's category is blocked.",
    "category_not_allowed": "The merchant's category is not among the allowed ones.",
    "country_blocked": "The merchant's country is blocked.",
    "country_not_allowed": "The merchant's country is not among the allowed ones.",
    "card_presence_blocked": "Buying in this way (card present or not) is blocked.",
    "card_presence_not_allowed": "Buying in this way (card present or not) is not among the allowed ones.",
    "pin_failed": "In person the programme asks for a PIN, and none was verified.",
    "cvc_failed": "The programme asks for a matching CVC.",
    "expiry_failed": "The programme asks for a matching expiry date.",
    "postal_code_failed": "The programme asks for a matching postal code.",
    "address_failed": "The programme asks for a matching first line of the address.",
    "three_d_secure_failed": "The programme asks for 3-D Secure, and the holder was not authenticated.",
    "velocity_count": "Too many requests on the card within the window.",
    "cap_exceeded": "Above 10,000 USD per authorization, which no programme can raise.",
    "spending_limit_per_authorization": "Above a limit per authorization.",
    **{f"spending_limit_{i}": f"Above a limit {text}." for i, text in zip(INTERVALS, _PER, strict=True)},
    "velocity_amount": "Too much on the card within the window.",
    "insufficient_balance": "More than the balance that nothing else holds.",
    NO_TIME: "Nobody could decide in time; the default answered.",
    UNREADABLE: "The request cannot be read.",
}
"""Every reason of a decline with what it says, in the order in which guards ask. Stable: shown, kept, branched on."""

YES = {
    "approved": "Approved as asked.",
    "approved_partial": "A part is approved, as far as the tightest ceiling allows.",
    "approved_check": "A check of the card for no money, approved.",
}
"""Every reason of an approval (and :data:`NO_TIME` where the default approves)."""


class Spent(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was approved in one merchant category since each interval began."""

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
    controls: Controls = FREE
    holder_state: str | None = None
    holder_controls: Controls = FREE
    available: int | None = None
    balance_at: int = 0
    open: int = 0
    authorized: int = 0
    spent: tuple[Spent, ...] = ()
    holder_spent: tuple[Spent, ...] = ()
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
    return _within(list(ceilings(snapshot, request, rules)), request, rules)


def _within(known: list[Ceiling], request: Request, rules: Authorization) -> Approve | Decline:
    room = min(ceiling.room for ceiling in known)
    if request.amount <= room:
        return Approve(request.amount, request.amount + request.extra)
    if request.controllable and rules.partial and room > 0 and room >= request.cashback:
        return Approve(room, room + request.extra, "approved_partial", partial=True)
    return Decline(next(ceiling.reason for ceiling in known if request.amount > ceiling.room))


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
    if said != {"active"}:
        return "card_canceled" if "canceled" in said else "card_inactive"
    holder = {snapshot.holder_state or "active", request.holder_state or "active"}
    return None if holder == {"active"} else "cardholder_inactive"


def _money(request: Request) -> str | None:
    if request.currency != "usd" or request.hold_currency not in ("usd", "usdc"):
        return "currency_unsupported"
    return "amount_invalid" if request.amount < 0 or request.cashback < 0 else None


def _merchant(snapshot: Snapshot, request: Request, rules: Authorization) -> str | None:
    cash = request.category in CASH or request.category_code in CASH_CODES or request.cashback > 0
    if cash and not rules.cash_withdrawal:
        return "cash_withdrawal_not_allowed"
    codes = {request.category, request.category_code} - {""}
    presence = {"present" if request.method in IN_PERSON else "not_present"} if request.method else set()
    programme = Controls(
        allowed_categories=rules.allowed_categories,
        blocked_categories=rules.blocked_categories,
        allowed_merchant_countries=rules.allowed_countries,
        blocked_merchant_countries=rules.blocked_countries,
    )
    for one in (programme, *_controls(snapshot, request)):
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


def _controls(snapshot: Snapshot, request: Request) -> tuple[Controls, ...]:
    """Of card and cardholder, each as we last saw it and as this request shows it; those that bind somebody."""
    known = (snapshot.controls, request.controls, snapshot.holder_controls, request.holder_controls)
    return tuple(one for one in known if one is not FREE)


def _verification(request: Request, rules: Authorization) -> str | None:
    """Checks that the programme asks for; a card that was there in person brings none but the PIN."""
    checks = request.checks
    if request.method in IN_PERSON:
        verified = checks.pin == "match" if checks.pin else request.method == "chip"
        return "pin_failed" if rules.require_pin and not verified else None
    for wanted, said, reason in (
        (rules.require_cvc, checks.cvc, "cvc_failed"),
        (rules.require_expiry, checks.expiry, "expiry_failed"),
        (rules.require_postal_code, checks.postal_code, "postal_code_failed"),
        (rules.require_address, checks.address, "address_failed"),
    ):
        if wanted and said != "match":
            return reason
    missing = rules.require_three_d_secure and checks.three_d_secure != "authenticated"
    return "three_d_secure_failed" if missing else None


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
            yield Ceiling(limit - _sum(snapshot.spent, interval, None), f"spending_limit_{interval}")
    for controls in (snapshot.controls, request.controls):
        yield from _limits(controls, snapshot.spent, request, authorized)
    for controls in (snapshot.holder_controls, request.holder_controls):
        yield from _limits(controls, snapshot.holder_spent, request, authorized)
    yield Ceiling(rules.velocity.amount_max - snapshot.velocity_amount, "velocity_amount")
    yield Ceiling((snapshot.available or 0) - snapshot.open - request.extra, "insufficient_balance")


def _limits(controls: Controls, spent: tuple[Spent, ...], request: Request, authorized: int) -> Iterator[Ceiling]:
    """Limits that Stripe holds for a card or a cardholder."""
    for limit in controls.spending_limits or ():
        only = frozenset(limit.categories or ())
        if only and request.category not in only:
            continue
        if limit.interval == "per_authorization":
            yield Ceiling(limit.amount - authorized, "spending_limit_per_authorization")
        else:
            # An interval that we do not know is summed over all time: the stricter reading.
            interval = limit.interval if limit.interval in INTERVALS else "all_time"
            yield Ceiling(limit.amount - _sum(spent, interval, only or None), f"spending_limit_{interval}")


def _sum(spent: tuple[Spent, ...], interval: str, only: frozenset[str] | None) -> int:
    return sum(int(getattr(s, interval)) for s in spent if only is None or s.category in only)


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

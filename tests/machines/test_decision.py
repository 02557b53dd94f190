"""The decision, given/when/then, and as properties: no sequence of approvals exceeds a cap or the balance."""

import re
import tomllib
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.machines.decision import (
    REASONS,
    YES,
    Approve,
    Decline,
    Snapshot,
    Spent,
    decide,
    interval_starts,
)
from app.machines.programme import HARD_CAP, Authorization, Programme, Velocity, faults, rule_faults
from app.machines.purchase import Checks, Controls, Limit, Request, controls_of, request_of

RULES = Authorization()
LIVE = Snapshot(account_state="live", card_state="active", available=10_000_000)
ASKED = Request(authorization="iauth_1", card="ic_1", amount=1_000, currency="usd")


def made(what: Any, **changes: Any) -> Any:
    fields = {name: getattr(what, name) for name in what.__struct_fields__}
    return type(what)(**{**fields, **changes})


def reason(rules: dict[str, Any] | None = None, asked: dict[str, Any] | None = None, **snapshot: Any) -> str:
    return decide(made(LIVE, **snapshot), made(ASKED, **asked or {}), made(RULES, **rules or {}), 0).reason


def limits(interval: str, amount: int, *categories: str) -> Controls:
    return Controls(spending_limits=(Limit(amount, interval, categories),))


@pytest.mark.parametrize(
    ("expected", "snapshot"),
    [
        ("account_unknown", {"account_state": None}),
        ("account_held", {"held": True}),
        ("account_held", {"held": True, "account_state": "funded"}),
        ("account_restricted", {"account_state": "restricted"}),
        ("account_restricted", {"account_state": "rejected"}),
        ("account_closed", {"account_state": "closed", "held": True}),
        ("account_not_live", {"account_state": "cardholder_ready"}),
        ("card_unknown", {"card_state": None}),
        ("card_inactive", {"card_state": "inactive"}),
        ("card_canceled", {"card_state": "canceled"}),
        ("insufficient_balance", {"available": 999}),
        ("insufficient_balance", {"available": None}),
        ("insufficient_balance", {"available": 1_500, "open": 501}),
        ("approved", {"available": 1_500, "open": 500}),
        ("velocity_count", {"velocity_count": 30}),
        ("velocity_amount", {"velocity_amount": HARD_CAP - 999}),
        ("cap_exceeded", {"authorized": HARD_CAP - 999}),
        ("cap_exceeded", {"authorized": HARD_CAP - 999, "available": 1}),
        ("approved", {"authorized": HARD_CAP - 1_000}),
        ("category_blocked", {"controls": Controls(blocked_categories=("bars",))}),
        ("category_not_allowed", {"controls": Controls(allowed_categories=("taxis",))}),
        ("country_blocked", {"controls": Controls(blocked_merchant_countries=("US",))}),
        ("country_not_allowed", {"controls": Controls(allowed_merchant_countries=("MX",))}),
        ("cardholder_inactive", {"holder_state": "blocked"}),
        ("approved", {"holder_state": "active"}),
        ("category_blocked", {"holder_controls": Controls(blocked_categories=("bars",))}),
        ("country_not_allowed", {"holder_controls": Controls(allowed_merchant_countries=("MX",))}),
        ("spending_limit_per_authorization", {"holder_controls": limits("per_authorization", 999)}),
        ("spending_limit_daily", {"holder_controls": limits("daily", 1_500), "holder_spent": (Spent("x", daily=501),)}),
        ("approved", {"holder_controls": limits("daily", 1_500), "spent": (Spent("x", daily=501),)}),
        ("card_presence_blocked", {"controls": Controls(blocked_card_presences=("not_present",))}),
        ("card_presence_not_allowed", {"controls": Controls(allowed_card_presences=("present",))}),
        ("spending_limit_per_authorization", {"controls": limits("per_authorization", 999)}),
        ("spending_limit_daily", {"controls": limits("daily", 1_500), "spent": (Spent("taxis", daily=501),)}),
        ("approved", {"controls": limits("daily", 1_500, "bars"), "spent": (Spent("taxis", daily=501),)}),
        ("spending_limit_weekly", {"controls": limits("weekly", 999, "bars")}),
        ("approved", {"controls": limits("weekly", 1, "taxis")}),
        ("spending_limit_all_time", {"controls": limits("fortnightly", 999)}),
    ],
)
def test_what_is_known_gives_one_reason(expected: str, snapshot: dict[str, Any]) -> None:
    assert reason(asked={"category": "bars", "country": "US", "method": "online"}, **snapshot) == expected


@pytest.mark.parametrize(
    ("expected", "rules", "asked"),
    [
        ("cap_exceeded", {}, {"amount": HARD_CAP + 1}),
        ("spending_limit_per_authorization", {"per_authorization": 999}, {}),
        ("spending_limit_daily", {"daily": 999}, {}),
        ("spending_limit_weekly", {"weekly": 999}, {}),
        ("spending_limit_monthly", {"monthly": 999}, {}),
        ("spending_limit_yearly", {"yearly": 999}, {}),
        ("spending_limit_all_time", {"all_time": 999}, {}),
        ("category_blocked", {"blocked_categories": ("bars",)}, {"category": "bars"}),
        ("category_blocked", {"blocked_categories": ("5813",)}, {"category": "bars", "category_code": "5813"}),
        ("category_not_allowed", {"allowed_categories": ("taxis",)}, {}),
        ("country_blocked", {"blocked_countries": ("KP",)}, {"country": "KP"}),
        ("country_not_allowed", {"allowed_countries": ("MX",)}, {"country": "US"}),
        ("cvc_failed", {"require_cvc": True}, {"checks": Checks(cvc="mismatch")}),
        ("cvc_failed", {"require_cvc": True}, {"checks": Checks(cvc="not_provided")}),
        ("approved", {"require_cvc": True}, {"checks": Checks(cvc="match")}),
        ("approved", {"require_cvc": True}, {"method": "chip"}),
        ("postal_code_failed", {"require_postal_code": True}, {"checks": Checks(postal_code="mismatch")}),
        ("expiry_failed", {"require_expiry": True}, {"checks": Checks(expiry="mismatch")}),
        ("address_failed", {"require_address": True}, {"checks": Checks(address="not_provided")}),
        ("three_d_secure_failed", {"require_three_d_secure": True}, {"checks": Checks(three_d_secure="failed")}),
        ("approved", {"require_three_d_secure": True}, {"checks": Checks(three_d_secure="authenticated")}),
        ("pin_failed", {"require_pin": True}, {"method": "contactless"}),
        ("pin_failed", {"require_pin": True}, {"method": "chip", "checks": Checks(pin="mismatch")}),
        ("approved", {"require_pin": True}, {"method": "chip"}),
        ("approved", {"require_pin": True}, {"method": "swipe", "checks": Checks(pin="match")}),
        ("approved", {"require_pin": True}, {"method": "online"}),
        ("cash_withdrawal_not_allowed", {"cash_withdrawal": False}, {"cashback": 1}),
        ("cash_withdrawal_not_allowed", {"cash_withdrawal": False}, {"category_code": "6011"}),
        ("spending_limit_daily", {}, {"holder_controls": limits("daily", 999)}),
        ("cardholder_inactive", {}, {"holder_state": "inactive"}),
        ("cash_withdrawal_not_allowed", {"cash_withdrawal": False}, {"category": "automated_cash_disburse"}),
        ("approved", {}, {"category": "automated_cash_disburse"}),
        ("currency_unsupported", {}, {"currency": "mxn"}),
        ("currency_unsupported", {}, {"hold_currency": "eur"}),
        ("amount_invalid", {}, {"amount": -1}),
        ("card_canceled", {}, {"card_state": "canceled"}),
        ("approved_check", {"daily": 0}, {"amount": 0}),
    ],
)
def test_rules_and_request_give_one_reason(expected: str, rules: dict[str, Any], asked: dict[str, Any]) -> None:
    assert reason(rules, asked) == expected


def test_a_hold_above_the_amount_is_reserved() -> None:
    asked = made(ASKED, amount=100, extra=9_900)
    assert decide(made(LIVE, available=9_999), asked, RULES, 0) == Decline("insufficient_balance")
    assert decide(made(LIVE, available=10_000), asked, RULES, 0) == Approve(100, 10_000)


def test_a_part_only_where_amount_and_programme_allow_it_and_never_below_cashback() -> None:
    little, asked = made(LIVE, available=700), made(ASKED, controllable=True, cashback=700)
    assert decide(little, asked, RULES, 0) == Approve(700, 700, "approved_partial", partial=True)
    for snapshot, request, rules in (
        (little, made(asked, controllable=False), RULES),
        (little, asked, made(RULES, partial=False)),
        (little, made(asked, cashback=701), RULES),
        (made(LIVE, available=0), asked, RULES),
        (made(LIVE, available=-5), made(asked, cashback=0), RULES),
    ):
        assert decide(snapshot, request, rules, 0) == Decline("insufficient_balance")


def test_intervals_begin_as_stripe_counts_them() -> None:
    sunday = int(datetime(2026, 11, 22, 0, 0, tzinfo=UTC).timestamp() * 1000)
    before = interval_starts(sunday - 1)
    assert before["weekly"] == datetime(2026, 11, 15, tzinfo=UTC)
    assert interval_starts(sunday)["weekly"] == interval_starts(sunday)["daily"] == datetime(2026, 11, 22, tzinfo=UTC)
    assert (before["monthly"], before["yearly"]) == (
        datetime(2026, 11, 1, tzinfo=UTC),
        datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_a_request_is_read_from_stripes_words() -> None:
    asked = request_of(
        {
            "id": "iauth_1",
            "amount": 300,
            "currency": "usd",
            "card": {"id": "ic_1", "status": "active", "spending_controls": {"allowed_categories": None}},
            "merchant_data": {"category": "taxis", "category_code": "4121", "country": "us"},
            "verification_data": {"cvc_check": "match", "address_postal_code_check": "mismatch"},
            "pending_request": {
                "amount": 100,
                "currency": "usd",
                "is_amount_controllable": True,
                "amount_details": {"atm_fee": None, "cashback_amount": 20},
                "hold_amount": {"value": 150, "currency": "usd"},
            },
            "request_history": [{}],
        }
    )
    assert (asked.amount, asked.held, asked.extra, asked.history, asked.cashback) == (100, 300, 50, 1, 20)
    assert (asked.category, asked.country, asked.checks.cvc, asked.controllable) == ("taxis", "US", "match", True)


@pytest.mark.parametrize(
    ("card", "beside", "expected"),
    [
        ({"cardholder": "ich_1"}, None, ("ich_1", None, None)),
        ({}, "ich_1", ("ich_1", None, None)),
        ({"cardholder": "ich_1"}, {"id": "ich_1", "status": "blocked"}, ("ich_1", "blocked", None)),
        (
            {"cardholder": {"id": "ich_1", "status": "active", "spending_controls": {"blocked_categories": ["bars"]}}},
            "ich_1",
            ("ich_1", "active", ("bars",)),
        ),
    ],
)
def test_the_cardholder_is_read_wherever_stripe_shows_it(card: dict[str, Any], beside: Any, expected: Any) -> None:
    raw = {"id": "i", "card": {"id": "ic", **card}, "cardholder": beside, "pending_request": {"amount": 1}}
    asked = request_of(raw)
    assert (asked.holder, asked.holder_state, asked.holder_controls.blocked_categories) == expected


def test_limits_in_another_currency_are_left_to_stripe() -> None:
    limit = {"amount": 1, "interval": "daily"}
    assert controls_of({"spending_limits": [limit], "spending_limits_currency": "mxn"}).spending_limits is None
    assert controls_of({"spending_limits": [limit], "spending_limits_currency": "usd"}).spending_limits


@pytest.mark.parametrize(
    "rules",
    [
        {"per_authorization": HARD_CAP + 1},
        {"daily": -1},
        {"deadline_ms": 2_000},
        {"blocked_countries": ("us",)},
        {"velocity": Velocity(window_s=0)},
        {"velocity": Velocity(count_max=-1)},
    ],
)
def test_rules_that_cannot_be_meant_stop_the_start(rules: dict[str, Any]) -> None:
    assert len(faults(Programme(authorization=Authorization(**rules)))) == 1


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"id": "i", "card": "ic", "pending_request": None},
        {"id": "i", "card": {"id": "ic"}, "pending_request": {"amount": "12"}},
        {"id": "i\0", "card": {"id": "ic"}, "pending_request": {"amount": 12}},
        {"id": "i", "card": {"id": "ic"}, "pending_request": {"amount": 10**20}},
    ],
)
def test_what_asks_for_nothing_is_no_request(raw: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        request_of(raw)


class Ledger:
    """The plainest bookkeeping of what was approved: it knows no rule, only sums."""

    def __init__(self, available: int) -> None:
        self.available = available
        self.reserved = 0
        self.spent = 0
        self.by_category: dict[str, int] = defaultdict(int)
        self.by_authorization: dict[str, int] = defaultdict(int)
        self.approvals = 0

    def snapshot(self, controls: Controls, authorization: str) -> Snapshot:
        return Snapshot(
            account_state="live",
            card_state="active",
            available=self.available,
            open=self.reserved,
            controls=controls,
            authorized=self.by_authorization[authorization],
            spent=tuple(Spent(c, a, a, a, a, a) for c, a in self.by_category.items()),
            velocity_count=self.approvals,
            velocity_amount=self.spent,
        )

    def take(self, asked: Request, approved: Approve) -> None:
        self.reserved += approved.reserved
        self.spent += approved.amount
        self.by_category[asked.category] += approved.amount
        self.by_authorization[asked.authorization] += approved.amount
        self.approvals += 1


AMOUNTS = st.integers(0, 1_200_000)
CATEGORIES = st.sampled_from(["bars", "taxis", "books"])
REQUESTS = st.lists(
    st.builds(
        Request,
        authorization=st.sampled_from(["iauth_1", "iauth_2", "iauth_3"]),
        card=st.just("ic_1"),
        amount=AMOUNTS,
        currency=st.just("usd"),
        extra=st.integers(0, 5_000),
        controllable=st.booleans(),
        cashback=st.integers(0, 1_000),
        category=CATEGORIES,
    ),
    max_size=30,
)
MAYBE = st.none() | st.integers(0, 3_000_000)
PROGRAMMES = st.builds(
    Authorization,
    per_authorization=st.integers(1, HARD_CAP),
    daily=MAYBE,
    weekly=MAYBE,
    monthly=MAYBE,
    yearly=MAYBE,
    all_time=MAYBE,
    partial=st.booleans(),
    velocity=st.builds(Velocity, count_max=st.integers(1, 20), amount_max=st.integers(0, 3_000_000)),
)
LIMITS = st.lists(
    st.builds(
        Limit, st.integers(0, 2_000_000), st.sampled_from(["daily", "all_time"]), st.lists(CATEGORIES).map(tuple)
    ),
    max_size=3,
).map(lambda found: Controls(spending_limits=tuple(found)))


@given(st.integers(-1_000, 5_000_000), REQUESTS, PROGRAMMES, LIMITS)
def test_no_sequence_of_approvals_exceeds_a_cap_or_the_balance(
    available: int, requests: list[Request], rules: Authorization, controls: Controls
) -> None:
    ledger = Ledger(available)
    for asked in requests:
        match decide(ledger.snapshot(controls, asked.authorization), asked, rules, 0):
            case Approve() as approved:
                assert 0 <= approved.amount <= asked.amount
                assert approved.amount == asked.amount or (
                    asked.controllable and approved.amount >= asked.cashback > -1
                )
                ledger.take(asked, approved)
            case Decline(reason=why):
                assert why in REASONS
    assert ledger.reserved <= max(available, 0)
    assert all(total <= min(HARD_CAP, rules.per_authorization) for total in ledger.by_authorization.values())
    for cap in (rules.daily, rules.weekly, rules.monthly, rules.yearly, rules.all_time, rules.velocity.amount_max):
        assert cap is None or ledger.spent <= cap
    assert ledger.approvals <= rules.velocity.count_max
    for limit in controls.spending_limits or ():
        within = set(limit.categories or ledger.by_category)
        assert sum(ledger.by_category[c] for c in within) <= limit.amount


@given(st.integers(0, 20_000), AMOUNTS)
def test_more_balance_never_turns_a_yes_into_a_no(available: int, more: int) -> None:
    if isinstance(decide(made(LIVE, available=available), ASKED, RULES, 0), Approve):
        assert isinstance(decide(made(LIVE, available=available + more), ASKED, RULES, 0), Approve)


def test_the_docs_tell_every_reason_in_the_order_of_the_guards() -> None:
    text = (Path(__file__).parents[2] / "docs/authorizations.md").read_text()
    told = re.findall(r"^\| `(\w+)` \| (.+) \|$", text, flags=re.MULTILINE)
    assert told == [*REASONS.items(), *YES.items()]


def test_the_docs_show_rules_that_can_be_run() -> None:
    text = (Path(__file__).parents[2] / "docs/authorizations.md").read_text()
    shown = tomllib.loads(text.partition("```toml\n")[2].partition("```")[0])
    assert rule_faults(msgspec.convert(shown, Authorization)) == []
    assert set(shown) | {"weekly", "monthly", "yearly", "all_time", "require_expiry", "require_postal_code"} | {
        "require_address"
    } == set(Authorization.__struct_fields__)

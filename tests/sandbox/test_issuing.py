"""Issuing beyond a simple purchase: calls that decide, challenges, designs, programs, and what is refused."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.sandbox.conftest import Box, Receiver

I = "/v1/issuing"  # noqa: E741 - short for the path of Issuing
T = "/v1/test_helpers/issuing"


@pytest.mark.parametrize(("verb", "approved"), [("approve", True), ("decline", False)])
def test_a_call_while_the_request_is_pending_wins_over_the_answer(
    started: Callable[..., Box], receiver: Receiver, verb: str, approved: bool
) -> None:
    box = started(authorization_url=receiver.url)
    account, _, card = box.spender()
    receiver.decision, receiver.release = {"approved": not approved}, threading.Event()
    with ThreadPoolExecutor() as other:
        buying = other.submit(
            box.call, "POST", f"{T}/authorizations", {"card": card, "amount": "500"}, Stripe_Account=account
        )
        while not receiver.got:
            threading.Event().wait(0.005)
        (pending,) = box.call("GET", f"{I}/authorizations", Stripe_Account=account).json()["data"]
        called = box.call("POST", f"{I}/authorizations/{pending['id']}/{verb}", Stripe_Account=account)
        assert called.status_code == 200, called.text
        receiver.release.set()
        made = buying.result().json()
    assert made["approved"] is approved
    late = box.call("POST", f"{I}/authorizations/{made['id']}/{verb}", Stripe_Account=account)
    assert (late.status_code, late.json()["error"]["code"]) == (400, "authorization_not_pending")


@pytest.mark.parametrize(("confirmed", "status"), [("true", "verified"), ("false", "rejected")])
def test_a_decline_may_send_a_challenge_that_the_holder_answers(
    started: Callable[..., Box], receiver: Receiver, confirmed: str, status: str
) -> None:
    receiver.decision = {"approved": False, "send_fraud_challenges": ["sms"]}
    box = started(authorization_url=receiver.url)
    account, _, card = box.spender()
    made = box.call("POST", f"{T}/authorizations", {"card": card, "amount": "500"}, Stripe_Account=account).json()
    assert [c["status"] for c in made["fraud_challenges"]] == ["pending"]
    path = f"{T}/authorizations/{made['id']}/fraud_challenges/respond"
    answered = box.call("POST", path, {"confirmed": confirmed}, Stripe_Account=account).json()
    assert [c["status"] for c in answered["fraud_challenges"]] == [status]
    assert box.call("POST", path, {"confirmed": confirmed}, Stripe_Account=account).status_code == 400


def test_a_design_is_reviewed_activated_and_rejected(box: Box) -> None:
    account = box.account()
    (bundle,) = box.call("GET", f"{I}/physical_bundles", Stripe_Account=account).json()["data"]
    body = {"physical_bundle": bundle["id"], "name": "Blue", "card_logo": "file_1"}
    design = box.call("POST", f"{I}/personalization_designs", body, Stripe_Account=account).json()
    assert design["status"] == "review"
    path = f"{T}/personalization_designs/{design['id']}"
    for step, status in (("activate", "active"), ("deactivate", "inactive")):
        assert box.call("POST", f"{path}/{step}", Stripe_Account=account).json()["status"] == status
    reasons = {"rejection_reasons[card_logo][0]": "geographic_location"}
    rejected = box.call("POST", f"{path}/reject", reasons, Stripe_Account=account).json()
    assert (rejected["status"], rejected["rejection_reasons"]["card_logo"]) == ("rejected", ["geographic_location"])
    told = [e["type"].rpartition(".")[2] for e in box.control("GET", "events")["data"] if "design" in e["type"]]
    assert told == ["activated", "updated", "deactivated", "updated", "rejected", "updated"]


def test_one_program_is_the_default(box: Box) -> None:
    account = box.account()
    for name in ("iprg_1", "iprg_2"):
        body = {"platform_program": name, "is_default": "true"}
        assert box.call("POST", f"{I}/programs", body, Stripe_Account=account).status_code == 200
    rows = box.call("GET", f"{I}/programs", Stripe_Account=account).json()["data"]
    assert [(row["platform_program"], row["is_default"]) for row in rows] == [("iprg_2", True), ("iprg_1", False)]


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"type": "physical"}, "shipping"),
        ({"replacement_for": "ic_nowhere"}, None),
        (
            {"spending_controls[allowed_categories][0]": "a", "spending_controls[blocked_categories][0]": "b"},
            "spending",
        ),
    ],
)
def test_a_card_that_cannot_be_made(box: Box, more: dict[str, str], param: str | None) -> None:
    account, wallet, card = box.spender()
    holder = box.call("GET", f"{I}/cards/{card}", Stripe_Account=account).json()["cardholder"]["id"]
    body = {"currency": "usd", "type": "virtual", "cardholder": holder, "financial_account_v2": wallet, **more}
    answer = box.call("POST", f"{I}/cards", body, Stripe_Account=account)
    assert answer.status_code in (400, 404)
    assert param is None or answer.json()["error"]["param"].startswith(param)

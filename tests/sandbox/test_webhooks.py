"""Webhooks: signed, retried, shaped by style, and the one whose answer is the decision."""

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
import stripe

from app.sandbox import DestinationSettings
from tests.sandbox.conftest import OLD, Box, Receiver

Start = Callable[..., Box]
SECRET = "whsec_test"


def listening(started: Start, receiver: Receiver, **settings: Any) -> Box:
    both = tuple(DestinationSettings(f"{receiver.url}/{s}", SECRET, s) for s in ("thin", "snapshot"))
    return started(destinations=both, **settings)


def test_every_push_is_signed_and_thin_ones_carry_no_data(started: Start, receiver: Receiver) -> None:
    box = listening(started, receiver)
    account, _, card = box.spender()
    box.control("POST", "purchases", {"account": account, "card": card, "amount": 100})
    box.settle()
    for path, headers, body in receiver.got:
        assert stripe.WebhookSignature.verify_header(body.decode(), headers["Stripe-Signature"], SECRET, 300)
        event = json.loads(body)
        if path == "/thin":
            assert event["object"] == "v2.core.event"
            assert "data" not in event
            box.stripe.parse_event_notification(body, headers["Stripe-Signature"], SECRET)
        else:
            assert event["account"] == account
            stripe.Webhook.construct_event(body, headers["Stripe-Signature"], SECRET)
    assert {
        "v2.core.account.created",
        "v2.core.account[configuration.card_creator].capability_status_updated",
        "v2.money_management.financial_account.updated",
        "v2.money_management.outbound_payment.posted",
        "v2.money_management.received_credit.available",
        "v2.money_management.received_debit.pending",
        "v2.money_management.received_debit.succeeded",
        "v2.money_management.transaction.updated",
        "issuing_card.created",
        "issuing_authorization.created",
        "issuing_authorization.updated",
        "issuing_transaction.created",
    } <= set(receiver.types)


def test_a_fetched_event_has_its_data(started: Start, receiver: Receiver) -> None:
    box = listening(started, receiver)
    box.account()
    _, headers, body = next(g for g in receiver.got if b"card_creator" in g[2])
    note = box.stripe.parse_event_notification(body, headers["Stripe-Signature"], SECRET)
    event: Any = note.fetch_event()
    assert event.data.updated_capability == "commercial.lead.prepaid_card"
    related: Any = note
    assert related.fetch_related_object().id == json.loads(body)["context"]


def test_an_old_version_names_events_in_the_old_words_and_once(started: Start, receiver: Receiver) -> None:
    box = listening(started, receiver, api_version=OLD)
    account = box.account()
    names = [t for t in receiver.types if "storer" in t or "money_manager" in t]
    assert set(names) == {"v2.core.account[configuration.storer].capability_status_updated"}
    page = box.call("GET", "/v2/core/events?limit=100", Stripe_Context=account).json()["data"]
    paths = [e["data"]["updated_capability"] for e in page if "storer" in e["type"]]
    assert sorted(paths) == [
        "holds_currencies.usdc",
        "outbound_transfers.bank_accounts",
        "outbound_transfers.crypto_wallets",
    ]


def test_what_is_not_acknowledged_comes_again(started: Start, receiver: Receiver) -> None:
    box = started()
    receiver.answers = [500, 302, 404]
    body = {"url": receiver.url, "secret": SECRET, "event_payload": "thin"}
    ident = box.control("POST", "destinations", body)["id"]
    box.stripe.v2.core.event_destinations.ping(ident)
    box.settle()
    assert receiver.types == ["v2.core.event_destination.ping"] * 4
    assert box.control("GET", "events?undelivered=1")["data"] == []


def test_after_the_last_attempt_it_is_undelivered(started: Start, receiver: Receiver) -> None:
    box = started(webhook_attempts_max=2)
    receiver.answers = [500, 500]
    ident = box.control("POST", "destinations", {"url": receiver.url, "secret": SECRET, "event_payload": "thin"})["id"]
    box.stripe.v2.core.event_destinations.ping(ident)
    box.settle()
    assert [e["type"] for e in box.control("GET", "events?undelivered=1")["data"]] == ["v2.core.event_destination.ping"]


def test_a_destination_takes_what_it_asked_for_and_can_be_disabled(box: Box, receiver: Receiver) -> None:
    made = box.stripe.v2.core.event_destinations.create(
        {
            "name": "mine",
            "type": "webhook_endpoint",
            "event_payload": "thin",
            "enabled_events": ["v2.core.account.created"],
            "events_from": ["@accounts"],
            "webhook_endpoint": {"url": receiver.url},
            "include": ["webhook_endpoint.signing_secret"],
        }
    )
    assert made.webhook_endpoint is not None
    secret = made.webhook_endpoint.signing_secret
    assert secret is not None
    box.account()
    ((_, headers, body),) = receiver.got
    assert stripe.WebhookSignature.verify_header(body.decode(), headers["Stripe-Signature"], secret, 300)
    box.stripe.v2.core.event_destinations.disable(made.id)
    box.account()
    assert len(receiver.got) == 1


@pytest.mark.parametrize(
    ("decision", "approved", "reason"),
    [
        ({"approved": True}, True, "webhook_approved"),
        ({"approved": False}, False, "webhook_declined"),
        ({"approved": "yes"}, False, "webhook_error"),
        ({"approved": True, "amount": 50}, False, "webhook_error"),
    ],
)
def test_the_endpoint_decides(
    box: Box, receiver: Receiver, decision: dict[str, Any], approved: bool, reason: str
) -> None:
    account, _, card = box.spender()
    box.control("PUT", "authorization_endpoint", {"url": receiver.url, "secret": SECRET})
    receiver.decision = decision
    answer = box.control("POST", "purchases", {"account": account, "card": card, "amount": 100})
    assert (answer["approved"], answer["reason"]) == (approved, reason)
    ((_, headers, body),) = receiver.got
    event = stripe.Webhook.construct_event(body, headers["Stripe-Signature"], SECRET)
    assert event.type == "issuing_authorization.request"
    assert event.data.object["pending_request"]["amount"] == 100
    assert box.control("GET", "authorizations")["data"][-1]["latency_ms"] > 0


def test_a_late_answer_counts_as_the_default(started: Start, receiver: Receiver) -> None:
    box = started(authorization_timeout_s=0.1)
    account, wallet, card = box.spender()
    box.control("PUT", "authorization_endpoint", {"url": receiver.url, "secret": SECRET})
    receiver.release = threading.Event()
    answer = box.control("POST", "purchases", {"account": account, "card": card, "amount": 100})
    assert (answer["approved"], answer["reason"]) == (False, "webhook_timeout")
    box.control("PUT", "authorization_endpoint", {"url": receiver.url, "default": True})
    assert box.control("POST", "purchases", {"account": account, "card": card, "amount": 100})["approved"]
    assert box.balance(account, wallet)["available"] == 9900


@pytest.mark.parametrize("reason", ["insufficient_funds", "card_inactive", "spending_controls", "account_disabled"])
def test_stripe_declines_by_itself_without_asking(box: Box, receiver: Receiver, reason: str) -> None:
    account, wallet, _ = box.spender()
    limit = {
        "spending_controls[spending_limits][0][amount]": "50",
        "spending_controls[spending_limits][0][interval]": "daily",
    }
    more = {"card_inactive": {"status": "inactive"}, "spending_controls": limit}.get(reason, {})
    card = box.card(account, wallet, **more)
    if reason == "account_disabled":
        body = {"path": "card_creator.commercial.lead.prepaid_card", "status": "restricted"}
        box.control("POST", f"accounts/{account}/capabilities", body)
    box.control("PUT", "authorization_endpoint", {"url": receiver.url})
    amount = 20_000 if reason == "insufficient_funds" else 100
    answer = box.control("POST", "purchases", {"account": account, "card": card, "amount": amount})
    assert (answer["approved"], answer["reason"]) == (False, reason)
    assert answer["authorization"]["status"] == "closed"
    assert receiver.got == []

"""Money: balances, the books, and what every movement leaves behind."""

from typing import Any

import pytest

from app.sandbox.ledger import Ledger, Unbalanced
from tests.sandbox.conftest import Box

MM = "/v2/money_management"
T = "/v1/test_helpers/issuing"


def rows(box: Box, what: str, account: str) -> list[dict[str, Any]]:
    return list(box.call("GET", f"{MM}/{what}?limit=100", Stripe_Context=account).json()["data"])


def balanced(box: Box, account: str, wallet: str) -> dict[str, int]:
    """The balance, after checking it against the books, the transactions and their entries."""
    proof = box.control("GET", "ledger")
    assert proof["balanced"]
    assert set(proof["sums"].values()) == {0}
    balance = box.balance(account, wallet)
    for source in ("transactions", "transaction_entries"):
        for part, value in balance.items():
            assert sum(r["balance_impact"][part]["value"] for r in rows(box, source, account)) == value
    for transaction in rows(box, "transactions", account):
        entries = [e for e in rows(box, "transaction_entries", account) if e["transaction"] == transaction["id"]]
        for part, impact in transaction["balance_impact"].items():
            assert impact["value"] == sum(e["balance_impact"][part]["value"] for e in entries)
    return balance


def test_funding_converts_one_to_one_and_arrives_as_a_credit(box: Box) -> None:
    account = box.account()
    wallet = box.wallet(account)
    payment = box.fund(account, wallet)
    assert payment["status"] == "posted"
    assert payment["to"]["credited"] == {"value": 10_000, "currency": "usdc"}
    (credit,) = rows(box, "received_credits", account)
    assert credit["type"] == "balance_transfer"
    assert credit["balance_transfer"]["outbound_payment"] == payment["id"]
    assert balanced(box, account, wallet) == {"available": 10_000, "inbound_pending": 0, "outbound_pending": 0}


def test_a_payment_that_fails_once_gives_the_money_back_and_the_next_posts(box: Box) -> None:
    account = box.account("+payment_fails_once")
    wallet = box.wallet(account)
    first = box.fund(account, wallet)
    assert first["status"] == "failed"
    assert first["status_details"]["failed"]["reason"] == "unknown_failure"
    assert box.control("GET", "ledger")["accounts"]["fa:fa_test_platform:available"]["usd"] == 100_000_000
    assert box.fund(account, wallet)["status"] == "posted"
    assert balanced(box, account, wallet)["available"] == 10_000


def test_a_returned_payment_is_taken_back(box: Box) -> None:
    account = box.account("+payment_returned")
    wallet = box.wallet(account)
    assert box.fund(account, wallet)["status"] == "returned"
    assert rows(box, "received_credits", account)[0]["status"] == "returned"
    assert balanced(box, account, wallet)["available"] == 0


def test_a_payment_to_a_bank_is_traced_and_keeps_its_quote(box: Box) -> None:
    account = box.account()
    bank = {"account_number": "000123456789", "country": "US", "currency": "usd", "routing_number": "110000000"}
    asked = {"usage_intent": "payment", "payout_method_data": {"type": "bank_account", "bank_account": bank}}
    intent = box.call("POST", f"{MM}/outbound_setup_intents", asked, Stripe_Context=account).json()
    body = {
        "from": {"financial_account": "fa_test_platform", "currency": "usd"},
        "to": {"recipient": account, "payout_method": intent["payout_method"]["id"], "currency": "usd"},
        "amount": {"value": 900, "currency": "usd"},
        "outbound_payment_quote": "obpq_test_1",
    }
    made = box.call("POST", f"{MM}/outbound_payments", body).json()
    assert (made["outbound_payment_quote"], made["trace_id"]) == ("obpq_test_1", {"status": "pending", "value": None})
    box.settle()
    paid = box.call("GET", f"{MM}/outbound_payments/{made['id']}").json()
    assert (paid["status"], paid["trace_id"]["status"]) == ("posted", "supported")
    assert paid["trace_id"]["value"]


def test_a_transfer_leaves_and_one_canceled_stays(box: Box) -> None:
    account, wallet, _ = box.spender()
    method = {"type": "crypto_wallet", "crypto_wallet": {"address": "0x" + "a" * 40, "network": "polygon"}}
    intent = box.call(
        "POST",
        f"{MM}/outbound_setup_intents",
        {"usage_intent": "transfer", "payout_method_data": method},
        Stripe_Context=account,
    ).json()
    body = {
        "from": {"financial_account": wallet, "currency": "usdc"},
        "to": {"payout_method": intent["payout_method"]["id"], "currency": "usdc"},
        "amount": {"value": 1000, "currency": "usdc"},
    }
    first = box.call("POST", f"{MM}/outbound_transfers", body, Stripe_Context=account).json()
    second = box.call("POST", f"{MM}/outbound_transfers", body, Stripe_Context=account).json()
    path = f"{MM}/outbound_transfers/{second['id']}/cancel"
    assert box.call("POST", path, Stripe_Context=account).json()["status"] == "canceled"
    box.settle()
    assert box.call("POST", path, Stripe_Context=account).json()["error"]["type"] == "already_canceled"
    found = box.call("GET", f"{MM}/outbound_transfers/{first['id']}", Stripe_Context=account).json()
    assert found["status"] == "posted"
    assert balanced(box, account, wallet)["available"] == 9000


def test_a_setup_intent_for_payments_does_not_serve_transfers(box: Box) -> None:
    account, wallet, _ = box.spender()
    method = {"type": "crypto_wallet", "crypto_wallet": {"address": "0x" + "a" * 40, "network": "polygon"}}
    path = f"{MM}/outbound_setup_intents"
    intent = box.call("POST", path, {"payout_method_data": method}, Stripe_Context=account).json()
    body = {
        "from": {"financial_account": wallet, "currency": "usdc"},
        "to": {"payout_method": intent["payout_method"]["id"]},
        "amount": {"value": 1000, "currency": "usdc"},
    }
    answer = box.call("POST", f"{MM}/outbound_transfers", body, Stripe_Context=account)
    assert answer.json()["error"]["code"] == "payout_method_unusable"


def authorize(box: Box, account: str, card: str, amount: int) -> dict[str, Any]:
    body = {"card": card, "amount": str(amount), "currency": "usd"}
    answer = box.call("POST", f"{T}/authorizations", body, Stripe_Account=account)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.mark.parametrize(
    ("steps", "status", "debit", "left"),
    [
        ([("capture", {})], "closed", "succeeded", 8750),
        ([("capture", {"capture_amount": "1000"})], "closed", "succeeded", 9000),
        ([("capture", {"capture_amount": "1500"})], "closed", "succeeded", 8500),
        (
            [("capture", {"capture_amount": "500", "close_authorization": "false"}), ("capture", {})],
            "closed",
            "succeeded",
            8750,
        ),
        ([("reverse", {})], "reversed", "canceled", 10_000),
        ([("reverse", {"reverse_amount": "250"}), ("capture", {})], "closed", "succeeded", 9000),
        ([("expire", {})], "expired", "canceled", 10_000),
        ([("increment", {"increment_amount": "750"}), ("capture", {})], "closed", "succeeded", 8000),
    ],
)
def test_a_hold_ends_as_the_merchant_says(
    box: Box, steps: list[tuple[str, dict[str, str]]], status: str, debit: str, left: int
) -> None:
    account, wallet, card = box.spender()
    held = authorize(box, account, card, 1250)
    assert balanced(box, account, wallet) == {"available": 8750, "inbound_pending": 0, "outbound_pending": 1250}
    for step, body in steps:
        answer = box.call("POST", f"{T}/authorizations/{held['id']}/{step}", body, Stripe_Account=account)
        assert answer.status_code == 200, answer.text
    ended = box.call("GET", f"/v1/issuing/authorizations/{held['id']}", Stripe_Account=account)
    assert ended.json()["status"] == status
    assert rows(box, "received_debits", account)[0]["status"] == debit
    assert balanced(box, account, wallet) == {"available": left, "inbound_pending": 0, "outbound_pending": 0}


def test_a_refund_and_a_dispute_won_bring_money_back(box: Box) -> None:
    account, wallet, card = box.spender()
    spent = box.control("POST", "purchases", {"account": account, "card": card, "amount": 1250, "currency": "usd"})
    ident = spent["transaction"]["id"]
    box.call("POST", f"{T}/transactions/{ident}/refund", {"refund_amount": "250"}, Stripe_Account=account)
    assert balanced(box, account, wallet)["available"] == 9000
    body = {"transaction": ident, "amount": "1000", "evidence[reason]": "fraudulent"}
    dispute = box.call("POST", "/v1/issuing/disputes", body, Stripe_Account=account).json()
    box.call("POST", f"/v1/issuing/disputes/{dispute['id']}/submit", {}, Stripe_Account=account)
    won = box.call("POST", f"{T}/disputes/{dispute['id']}/close", {"status": "won"}, Stripe_Account=account)
    assert won.json()["status"] == "won", won.text
    assert balanced(box, account, wallet)["available"] == 10_000


def test_a_posting_that_makes_money_is_refused_whole() -> None:
    ledger = Ledger()
    with pytest.raises(Unbalanced):
        ledger.post([("a", "usd", 1), ("b", "usdc", -1)])
    assert not any(ledger.balances.values())

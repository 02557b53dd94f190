"""Magic values, and the life of an account."""

from typing import Any

import pytest

from tests.sandbox.conftest import Box, account_body

INCLUDE = "include[0]=configuration.card_creator&include[1]=configuration.money_manager&include[2]=requirements"


def account(box: Box, ident: str) -> dict[str, Any]:
    return dict(box.call("GET", f"/v2/core/accounts/{ident}?{INCLUDE}").json())


def prepaid(found: dict[str, Any]) -> str:
    return str(found["configuration"]["card_creator"]["capabilities"]["commercial"]["lead"]["prepaid_card"]["status"])


def test_by_default_the_requirements_go_and_all_becomes_active(box: Box) -> None:
    body = {**account_body(), "include": ["requirements"]}
    made = box.call("POST", "/v2/core/accounts", body).json()
    assert made["requirements"]["entries"][0]["awaiting_action_from"] == "user"
    box.settle()
    found = account(box, made["id"])
    assert prepaid(found) == "active"
    assert found["requirements"]["entries"] == []


def test_kyc_restricted_waits_for_the_user(box: Box) -> None:
    found = account(box, box.account("+kyc_restricted"))
    assert prepaid(found) == "restricted"
    assert {e["minimum_deadline"]["status"] for e in found["requirements"]["entries"]} == {"past_due", "currently_due"}
    storage = found["configuration"]["money_manager"]["capabilities"]["business_storage"]
    assert storage["inbound"]["usdc"]["status"] == "active"


@pytest.mark.parametrize(
    ("outcome", "status"),
    [("verified", "active"), ("restricted", "restricted"), ("rejected", "rejected"), ("unsupported", "unsupported")],
)
def test_kyc_slow_waits_to_be_told(box: Box, outcome: str, status: str) -> None:
    ident = box.account("+kyc_slow")
    assert prepaid(account(box, ident)) == "pending"
    box.control("POST", f"accounts/{ident}/kyc", {"outcome": outcome})
    assert prepaid(account(box, ident)) == status


def test_closing_names_every_configuration(box: Box) -> None:
    ident = box.account()
    path = f"/v2/core/accounts/{ident}/close"
    assert box.call("POST", path, {"applied_configurations": ["card_creator"]}).status_code == 400
    closed = box.call("POST", path, {"applied_configurations": ["card_creator", "money_manager"]})
    assert closed.json()["closed"] is True
    assert [a.id for a in box.stripe.v2.core.accounts.list().data] == []


def test_money_reaches_the_platform_through_its_address(box: Box) -> None:
    mm = box.stripe.v2.money_management
    address = mm.financial_addresses.create(
        {"financial_account": "fa_test_platform", "type": "bank_account", "bank_account": {"currency": "usd"}}
    )
    box.settle()
    mm.test_helpers.financial_addresses.credit(
        address.id, {"amount": {"value": 5000, "currency": "usd"}, "network": "ach"}
    )
    box.control("POST", "platform/credits", {"amount": 7000})
    box.settle()
    assert sorted(c.amount.value for c in mm.received_credits.list().data) == [5000, 7000]
    assert mm.financial_accounts.retrieve("fa_test_platform").balance.available["usd"].value == 100_012_000

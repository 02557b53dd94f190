from typing import Any

import pytest

from app.machines.commands import KINDS
from app.stripe.requests import BUILDERS, Request, build

NEW, OLD = "2026-10-14.preview", "2026-06-10.preview"
HOLDER = {"type": "individual", "name": "A" * 30, "billing": {"address": {"line1": "x"}}}


def make(kind: str, params: dict[str, Any], version: str = NEW) -> Request:
    return build(kind, params, account_id="acct_1", version=version, metadata={"cardrail_command": "cmd_1"})


def test_every_kind_of_command_has_one_builder() -> None:
    assert set(BUILDERS) == set(KINDS)


@pytest.mark.parametrize(
    ("version", "name"), [(OLD, "storer"), ("2026-06-24.preview", "money_manager"), (NEW, "money_manager")]
)
def test_the_vocabulary_follows_the_version(version: str, name: str) -> None:
    request = make("create_account", {"country": "MX", "entity_type": "individual"}, version)
    assert set(request.params["configuration"]) == {name, "merchant", "card_creator"}
    assert f"configuration.{name}" in request.params["include"]
    held = request.params["configuration"][name]["capabilities"]
    assert held["outbound_transfers"]["bank_accounts"] == {"requested": True}
    assert ("holds_currencies" in held) is (name == "storer")
    assert request.params["identity"]["country"] == "mx"
    assert request.context is None


def test_funding_is_made_in_the_platforms_own_context() -> None:
    params = {
        "from_financial_account": "fa_p",
        "recipient": "acct_1",
        "payout_method": "fa_1",
        "amount": {"value": 1, "currency": "usd"},
        "to_currency": "usdc",
    }
    request = make("create_outbound_payment", params)
    assert request.context is None
    assert request.params["from"] == {"financial_account": "fa_p", "currency": "usd"}
    assert request.params["to"] == {"recipient": "acct_1", "payout_method": "fa_1", "currency": "usdc"}
    assert request.params["metadata"] == {"cardrail_command": "cmd_1"}


def test_terms_go_under_lead_and_the_name_fits() -> None:
    request = make("create_cardholder", {**HOLDER, "user_terms_acceptance": {"date": 5, "ip": "1.2.3.4"}})
    assert request.params["individual"]["user_terms_acceptance"]["lead"] == {"date": 5, "ip": "1.2.3.4"}
    assert len(request.params["name"]) == 24
    assert (request.api, request.context) == ("v1", "acct_1")


def test_a_company_needs_no_individual() -> None:
    assert "individual" not in make("create_cardholder", {**HOLDER, "type": "company"}).params


def test_a_card_names_its_v2_financial_account() -> None:
    params = {"cardholder": "ich_1", "type": "virtual", "financial_account_v2": "fa_1", "metadata": {"a": "b"}}
    request = make("create_card", params)
    assert request.params["financial_account_v2"] == "fa_1"
    assert request.params["status"] == "active"
    assert request.params["metadata"] == {"a": "b", "cardrail_command": "cmd_1"}


def test_a_wallet_is_set_up_for_transfers() -> None:
    data = {"type": "crypto_wallet", "crypto_wallet": {"address": "0x1", "network": "base"}}
    request = make("create_outbound_setup_intent", {"payout_method_data": data})
    assert request.params == {"usage_intent": "transfer", "payout_method_data": data}
    assert request.context == "acct_1"


def test_an_unknown_kind_or_a_missing_parameter_is_refused() -> None:
    for kind, params in (("create_moon", {}), ("create_card", {"type": "virtual"})):
        with pytest.raises(KeyError):
            make(kind, params)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Ana Demo", "Ana Demo"),
        ("  Ana   Demo ", "Ana Demo"),
        ("Ana Maria Rodriguez Hdez", "Ana Maria Rodriguez Hdez"),
        ("Ana Maria Rodriguez Hernandez", "Ana Maria Rodriguez"),
        ("A" * 30, "A" * 24),
    ],
)
def test_a_long_name_is_shortened_to_what_a_card_can_carry(name: str, shown: str) -> None:
    assert (
        build("create_cardholder", {**HOLDER, "name": name}, account_id="acct_1", version=NEW).params["name"] == shown
    )

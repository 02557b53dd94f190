"""The catalogue knows every literal event type of the programme, under each of its names."""

from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.machines.registry import MACHINES
from app.stripe.catalog import ENTRIES, Handling, canonical, lookup

FILE = Path(__file__).resolve().parents[1] / "data" / "event_types.txt"
TYPES = FILE.read_text(encoding="utf-8").split()
SYNCHRONOUS = "issuing_authorization.request"
OURS = {
    "v2.core.account.updated": "account",
    "v2.core.account[requirements].updated": "account",
    "v2.core.account[configuration.storer].capability_status_updated": "account",
    "v2.core.account[configuration.card_creator].updated": "account",
    "v2.money_management.financial_account.updated": "financial_account",
    "v2.money_management.financial_address.activated": "financial_address",
    "v2.money_management.outbound_transfer.under_review": "outbound_transfer",
    "v2.money_management.outbound_payment.posted": "outbound_payment",
    "v2.money_management.payout_method.updated": "payout_method",
    "v2.money_management.received_credit.available": "received_credit",
    "v2.money_management.received_debit.returned": "received_debit",
    "v2.money_management.inbound_transfer.bank_debit_returned": "inbound_transfer",
    "v2.money_management.transaction.created": "transaction",
    "v2.money_management.adjustment.created": "adjustment",
    "v2.core.health.event_generation_failure.resolved": "health_alert",
    "v1.issuing_card.updated": "card",
    "issuing_cardholder.created": "cardholder",
    "issuing_dispute.funds_reinstated": "dispute",
    "issuing_token.created": "token",
    "issuing_personalization_design.rejected": "personalization_design",
    "issuing_transaction.purchase_details_receipt_updated": "issuing_transaction",
}


FOLLOWED = {
    "v2.core.account_link": "the link's end changes nothing; the account's own events tell what the holder gave",
    "v2.core.account_person": "personal; what it means for the account comes as requirements and capabilities",
    "v2.core.account_signals": "Stripe's opinion of a website; no step of ours rests on it",
    "v2.core.approval_request": "for people in Stripe's dashboard",
    "v2.core.event_destination": "a ping: that it is in the log is all it says",
    "v2.money_management.debit_dispute": "bank debits are not a part of the programme",
    "v2.money_management.earned_credit": "Stripe's rewards to the platform; the ledger shows the money",
    "v2.money_management.financial_account.wallet_export": "asked for in the dashboard",
    "v2.money_management.financial_account_statement": "a document",
    "v2.money_management.inbound_transfer_mandate": "set up in the dashboard",
    "v2.money_management.payout_intent": "not used: payments and transfers are made directly",
    "v2.money_management.received_debit_mandate": "bank debits are not a part of the programme",
    "v2.money_management.recipient_verification": "not used",
    "issuing_settlement": "a report; each transaction is followed itself",
    "issuing_dispute_settlement_detail": "a report; each dispute is followed itself",
    "issuing_fraud_liability_debit": "between Stripe and the platform",
    "account": "the v1 view of an account; the v2 events are followed",
    "account.application": "the v1 view of an account",
    "account.external_account": "v1 payouts are not used",
    "capability": "the v1 view of a capability",
    "person": "the v1 view of a person",
    "balance": "the v1 balance is not where the programme's money is",
    "balance_settings": "as balance",
    "topup": "as balance",
    "payout": "as balance",
    "account_notice": "for people in Stripe's dashboard",
}
"""Families of types that are kept and have no effect, on purpose, each with the reason."""


def test_what_is_only_followed_is_so_on_purpose() -> None:
    families = {t.removeprefix("v1.").rpartition(".")[0] for t, e in ENTRIES.items() if e.handling == "followed"}
    assert families == set(FOLLOWED)


def test_the_list_names_each_type_once() -> None:
    assert len(TYPES) == len(set(TYPES)) > 150


@pytest.mark.parametrize("event_type", TYPES)
def test_every_literal_type_is_known_and_handled(event_type: str) -> None:
    entry = lookup(event_type)
    assert entry is not None
    assert entry.handling in get_args(Handling)
    assert (entry.kind is None) == (entry.handling == "followed")
    assert entry.kind is None or entry.kind in MACHINES


@pytest.mark.parametrize(("event_type", "kind"), OURS.items())
def test_a_type_leads_to_the_machine_of_its_object(event_type: str, kind: str) -> None:
    entry = lookup(event_type)
    assert entry is not None
    assert (entry.kind, entry.handling) == (kind, "alert" if kind == "health_alert" else "object")


def test_only_the_authorization_request_is_answered_at_once() -> None:
    found = {t for t in TYPES if (entry := lookup(t)) and entry.handling == "synchronous"}
    assert found == {SYNCHRONOUS, f"v1.{SYNCHRONOUS}"}


@pytest.mark.parametrize("event_type", [t for t in TYPES if t.startswith("v1.")])
def test_a_thin_twin_means_what_its_snapshot_means(event_type: str) -> None:
    snapshot = event_type.removeprefix("v1.")
    assert snapshot in TYPES
    assert canonical(event_type) == canonical(snapshot)
    assert lookup(event_type) == lookup(snapshot)


@pytest.mark.parametrize("suffix", ["updated", "capability_status_updated"])
def test_both_vocabularies_mean_one_thing(suffix: str) -> None:
    old, new = (f"v2.core.account[configuration.{name}].{suffix}" for name in ("storer", "money_manager"))
    assert canonical(old) == canonical(new) == new
    assert lookup(old) == lookup(new)


@pytest.mark.parametrize("kind", ["received_credit", "received_debit", "transaction", "adjustment"])
def test_what_moves_money_may_have_changed_a_balance(kind: str) -> None:
    entries = [entry for t, entry in ENTRIES.items() if t.startswith(f"v2.money_management.{kind}.")]
    assert entries
    assert all(entry.balance for entry in entries)


@pytest.mark.parametrize(
    "event_type",
    [
        "",
        "v1.",
        "v1.v1.issuing_card.updated",
        "v1.v2.core.account.updated",
        "v2.core.account",
        "v2.core.account.deleted",
        "v2.core.account.updated ",
        "V2.CORE.ACCOUNT.UPDATED",
        "v2.core.account[configuration.unheard].updated",
        "v2.money_management.outbound_setup_intent.created",
        "issuing_card",
        "issuing_authentication.decision",
        "treasury.financial_account.created",
    ],
)
def test_a_type_that_is_not_listed_is_unknown(event_type: str) -> None:
    assert lookup(event_type) is None


@given(st.text())
def test_any_text_has_one_canonical_name_and_raises_nothing(event_type: str) -> None:
    assert lookup(event_type) == lookup(canonical(event_type))
    assert canonical(canonical(event_type)) == canonical(event_type)

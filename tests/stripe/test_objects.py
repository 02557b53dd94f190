"""Objects as observations: the documented samples, both vocabularies, nothing personal, and any JSON at all."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.machines.registry import MACHINES
from app.stripe.objects import KINDS, milliseconds, observe

FILE = Path(__file__).resolve().parents[1] / "data" / "objects.json"
SAMPLES: dict[str, dict[str, Any]] = {sample["object"]: sample for sample in msgspec.json.decode(FILE.read_bytes())}
USDC = "usdc"
EXPECTED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "v2.core.account": (
        "account",
        "open",
        {"closed": False, "applied_configurations": ["merchant", "money_manager", "card_creator"]},
    ),
    "v2.money_management.financial_account": (
        "financial_account",
        "open",
        {
            "balance": {"available": {USDC: 9000}, "inbound_pending": {}, "outbound_pending": {USDC: 1000}},
            "holds_currencies": [USDC],
        },
    ),
    "v2.money_management.financial_address": (
        "financial_address",
        "active",
        {"type": "bank_account", "financial_account": "fa_test_65SDemoPlat", "settlement_currency": "usd"},
    ),
    "v2.money_management.outbound_transfer": (
        "outbound_transfer",
        "processing",
        {"payout_method": "cwa_test_65SDemoWallet", "debited": {"value": 1000, "currency": USDC}, "cancelable": True},
    ),
    "v2.money_management.outbound_payment": (
        "outbound_payment",
        "posted",
        {"recipient": "acct_1SMxConnDemo", "posted_at": "2026-10-14T09:00:01.200Z"},
    ),
    "v2.money_management.outbound_setup_intent": (
        "outbound_setup_intent",
        "succeeded",
        {"usage_intent": "transfer", "payout_method": "cwa_test_65SDemoWallet"},
    ),
    "v2.money_management.received_credit": (
        "received_credit",
        "succeeded",
        {"outbound_payment": "obp_test_65SDemo1", "financial_account": "fa_test_65SDemoConn"},
    ),
    "v2.money_management.received_debit": (
        "received_debit",
        "pending",
        {"card": "ic_1SDemo0001", "authorization": "iauth_1SDemo0001", "transactions": []},
    ),
    "v2.money_management.inbound_transfer": ("inbound_transfer", "bank_debit_queued", {"description": None}),
    "v2.money_management.transaction": ("transaction", "pending", {"category": "outbound_transfer"}),
    "v2.money_management.transaction_entry": ("transaction_entry", "posted", {"transaction": "trxn_test_65SDemo1"}),
    "v2.money_management.adjustment": ("adjustment", "posted", {"amount": {"value": -250, "currency": USDC}}),
    "issuing.cardholder": ("cardholder", "active", {"type": "individual", "disabled_reason": "", "past_due": []}),
    "issuing.card": (
        "card",
        "active",
        {"cardholder": "ich_1SDemo0001", "last4": "4242", "wallets": {"apple_pay": True, "google_pay": True}},
    ),
    "issuing.transaction": (
        "issuing_transaction",
        "capture",
        {"amount": -1250, "authorization": "iauth_1SDemo0001", "card": "ic_1SDemo0001"},
    ),
    "issuing.dispute": ("dispute", "submitted", {"transaction": "ipi_1SDemo0001", "reason": "not_received"}),
    "issuing.token": ("token", "active", {"card": "ic_1SDemo0001", "wallet_provider": "apple_pay"}),
}
PERSONAL: dict[str, Any] = {
    "name": "Ana PERSONAL",
    "email": "PERSONAL@example.com",
    "phone": "PERSONAL+52",
    "phone_number": "PERSONAL+52",
    "contact_email": "PERSONAL@example.com",
    "contact_phone": "PERSONAL+52",
    "first_name": "PERSONAL",
    "last_name": "PERSONAL",
    "given_name": "PERSONAL",
    "surname": "PERSONAL",
    "dob": {"day": "PERSONAL"},
    "address": {"line1": "PERSONAL", "postal_code": "PERSONAL"},
    "account_holder_name": "PERSONAL",
    "account_holder_address": {"line1": "PERSONAL"},
    "account_number": "PERSONAL",
    "routing_number": "PERSONAL",
}
PEOPLE = [
    "identity",
    "individual",
    "billing",
    "company",
    "shipping",
    "bank_account",
    "counterparty",
    "verification_data",
    "recipient",
    "credentials",
    "cardholder",
    "representative",
    "relationship",
    "evidence",
    "requirements",
    "status_details",
    "merchant_data",
    "card_spend",
    "to",
    "from",
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def known_keys(value: object) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*(known_keys(v) for v in value.values()))
    return set().union(*(known_keys(v) for v in value)) if isinstance(value, list) else set()


KEYS = sorted(known_keys(list(SAMPLES.values())) | set(PEOPLE) | {"future_requirements", "entries", "request_history"})
hostile = st.recursive(
    json_values, lambda inner: st.dictionaries(st.sampled_from(KEYS), inner, max_size=8), max_leaves=20
)


@pytest.mark.parametrize("tag", SAMPLES)
def test_a_documented_object_is_observed_as_what_it_is(tag: str) -> None:
    kind, status, fields = EXPECTED[tag]
    seen = observe(SAMPLES[tag], 7, sure=True)
    assert seen is not None
    assert (seen.kind, seen.status, seen.at, seen.sure) == (kind, status, 7, True)
    assert seen.object_id == SAMPLES[tag]["id"]
    assert fields == {k: seen.fields.get(k) for k in fields}
    assert status in MACHINES[kind].states


def test_every_kind_that_is_observed_has_its_machine() -> None:
    assert set(KINDS.values()) <= set(MACHINES)


def status_of(status: str, *codes: str) -> dict[str, Any]:
    return {"status": status, "status_details": [{"code": code, "resolution": "provide_info"} for code in codes]}


def capabilities(configuration: dict[str, Any]) -> Any:
    seen = observe({"object": "v2.core.account", "id": "acct_1", "configuration": configuration}, 1, sure=True)
    assert seen is not None
    return seen.fields["capabilities"]


def test_the_old_and_the_new_shape_of_an_account_say_the_same() -> None:
    usdc, wallets, addresses = status_of("active"), status_of("pending", "determining_status"), status_of("restricted")
    new = {
        "business_storage": {"inbound": {USDC: usdc}, "outbound": {USDC: usdc}},
        "outbound_transfers": {"crypto_wallets": wallets},
        "received_credits": {"crypto_wallets": addresses},
    }
    said = capabilities({"money_manager": {"applied": True, "capabilities": new}, "merchant": None})
    for spelt in ("financial_addresses", "financial_addressses"):
        old = {
            "holds_currencies": {USDC: usdc},
            "outbound_transfers": {"crypto_wallets": wallets},
            spelt: {"crypto_wallets": addresses},
        }
        assert capabilities({"storer": {"applied": True, "capabilities": old}, "merchant": None}) == said
    assert said["money_manager.business_storage.outbound.usdc"] == {"status": "active", "codes": []}
    assert said["money_manager.outbound_transfers.crypto_wallets"]["codes"] == ["determining_status"]


def test_the_documented_account_says_which_capabilities_it_lacks() -> None:
    said = capabilities(SAMPLES["v2.core.account"]["configuration"])
    assert {path: found["status"] for path, found in said.items()} == {
        "money_manager.business_storage.inbound.usdc": "active",
        "money_manager.business_storage.outbound.usdc": "active",
        "money_manager.outbound_transfers.crypto_wallets": "pending",
        "card_creator.commercial.lead.prepaid_card": "restricted",
    }


@pytest.mark.parametrize("tag", [tag for tag in KINDS if tag != "issuing.personalization_design"])
def test_no_personal_data_passes(tag: str) -> None:
    raw = {"object": tag, "id": "x_1", "status": "active", **SAMPLES.get(tag, {}), **PERSONAL}
    for place in PEOPLE:
        inside = raw.get(place)
        raw[place] = {**(inside if isinstance(inside, dict) else {}), **PERSONAL}
    if tag in ("issuing.authorization", "issuing.transaction"):
        del raw["merchant_data"]["name"]  # a shop's name is no person's, and is served
    seen = observe(raw, 1, sure=True)
    assert seen is not None
    assert "PERSONAL" not in msgspec.json.encode(seen).decode()


def test_the_names_in_the_samples_stay_out() -> None:
    for tag, personal in (("issuing.cardholder", ("Ana", "Calle", "1990", "+5255")), ("v2.core.account", ("owner@",))):
        served = msgspec.json.encode(observe(SAMPLES[tag], 1, sure=True)).decode()
        assert not [word for word in personal if word in served]


def test_the_last_of_a_transfers_history_is_its_state() -> None:
    raw = SAMPLES["v2.money_management.inbound_transfer"]
    history = [{"type": "bank_debit_queued"}, {"type": "bank_debit_processing"}, {"type": "bank_debit_failed"}]
    seen = observe({**raw, "transfer_history": history}, 1, sure=True)
    assert seen is not None
    assert seen.status == "bank_debit_failed"


@pytest.mark.parametrize(
    "raw",
    [
        None,
        [],
        "v2.core.account",
        {},
        {"object": "issuing.card"},
        {"object": "issuing.card", "id": ""},
        {"object": "issuing.card", "id": 5},
        {"object": "issuing.card", "id": "ic_\x00"},
        {"object": "account", "id": "acct_1"},
        {"object": "charge", "id": "ch_1"},
        {"object": ["issuing.card"], "id": "ic_1"},
    ],
)
def test_what_is_no_object_of_ours_is_not_observed(raw: object) -> None:
    assert observe(raw, 1, sure=False) is None


@pytest.mark.parametrize("status", [None, "", 5, {"name": "Ana"}, ["x"], True])
def test_a_status_that_is_no_word_is_unknown(status: object) -> None:
    seen = observe({"object": "issuing.card", "id": "ic_1", "status": status}, 1, sure=False)
    assert seen is not None
    assert seen.status == "unknown"


def test_depth_has_an_end() -> None:
    deep: dict[str, Any] = {}
    for _ in range(50_000):
        deep = {"x": deep}
    for raw in (
        {"object": "issuing.card", "id": "ic_1", "metadata": deep},
        {"object": "v2.core.account", "id": "acct_1", "configuration": {"merchant": {"capabilities": deep}}},
    ):
        assert observe(raw, 1, sure=False) is not None


@given(tag=st.sampled_from(sorted(KINDS)), raw=st.dictionaries(st.sampled_from(KEYS), hostile), sure=st.booleans())
def test_any_shape_of_a_known_kind_is_observed_and_can_be_kept(tag: str, raw: dict[str, Any], *, sure: bool) -> None:
    seen = observe({**raw, "object": tag, "id": "x_1"}, 1, sure=sure)
    assert seen is not None
    assert seen.status
    assert b"\\u0000" not in msgspec.json.encode(seen).replace(b"\\\\", b"")


@given(json_values)
def test_any_json_raises_nothing(raw: object) -> None:
    observe(raw, 1, sure=False)


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (1_790_000_000, 1_790_000_000_000),
        ("2026-10-14T09:00:01.200Z", 1_791_968_401_200),
        ("2026-10-14T09:00:01.200", 1_791_968_401_200),
        ("0001-01-01", -62_135_596_800_000),
        ("9999-12-31T23:59:59-23:59", 253_402_387_139_000),
        ("yesterday", 5),
        (True, 5),
        (None, 5),
        (1.5, 5),
    ],
)
def test_times_of_both_apis_are_milliseconds(time: object, expected: int) -> None:
    assert milliseconds(time, 5) == expected


@given(json_values)
def test_any_time_raises_nothing(time: object) -> None:
    milliseconds(time, 0)


@pytest.mark.parametrize("number", [10**25, -(10**25), 10**400, 1e25])
def test_a_number_that_would_come_back_from_the_log_as_another_one_is_absent(number: float) -> None:
    raw = {"object": "v2.money_management.outbound_transfer", "id": "obt_1", "amount": {"value": number}}
    seen = observe(raw, 1, sure=True)
    assert seen is not None
    assert seen.fields["amount"] == {"value": None}

"""Keys, versions, contexts, vocabularies and the shape of requests."""

import pytest
import stripe

from app.sandbox.forms import decode
from tests.sandbox.conftest import KEY, NEW, OLD, Box, account_body

FAS = "/v2/money_management/financial_accounts"


def test_without_a_key_401_and_without_a_version_v2_400(box: Box) -> None:
    assert box.http.get(FAS).status_code == 401
    assert box.http.get(FAS, headers={"Authorization": f"Bearer {KEY}"}).status_code == 400
    assert box.call("GET", "/v1/events").status_code == 200


def test_a_connected_object_does_not_exist_without_its_context(box: Box) -> None:
    account = box.account()
    wallet = box.wallet(account)
    assert box.call("GET", f"{FAS}/{wallet}").status_code == 404
    assert box.call("GET", f"{FAS}/{wallet}", Stripe_Context=account).status_code == 200
    card = box.card(account, wallet)
    assert box.call("GET", f"/v1/issuing/cards/{card}").json()["error"]["code"] == "resource_missing"
    assert box.call("GET", f"/v1/issuing/cards/{card}", Stripe_Account=account).status_code == 200
    assert box.call("GET", f"/v1/issuing/cards/{card}", Stripe_Context=account).status_code == 200
    assert box.call("GET", FAS, Stripe_Context="acct_nobody").status_code == 403


def test_what_is_not_included_is_null_also_in_a_create(box: Box) -> None:
    body = {**account_body(), "include": ["identity"]}
    made = box.call("POST", "/v2/core/accounts", body).json()
    assert made["identity"]["country"] == "mx"
    assert made["configuration"] is None
    assert made["requirements"] is None
    found = box.call("GET", f"/v2/core/accounts/{made['id']}?include[0]=requirements").json()
    assert found["identity"] is None
    assert found["requirements"]["entries"]


@pytest.mark.parametrize(("version", "old"), [(OLD, True), (NEW, False)])
def test_each_version_has_its_vocabulary_and_refuses_the_other(box: Box, version: str, old: bool) -> None:
    good = box.call("POST", "/v2/core/accounts", account_body(old=old), Stripe_Version=version)
    assert good.status_code == 200, good.text
    name = "storer" if old else "money_manager"
    assert name in good.json()["applied_configurations"]
    capabilities = good.json()["configuration"][name]["capabilities"]
    assert ("holds_currencies" in capabilities) is old
    bad = box.call("POST", "/v2/core/accounts", account_body(old=not old), Stripe_Version=version)
    assert bad.status_code == 400
    other = "money_manager" if old else "storer"
    path = f"/v2/core/accounts/{good.json()['id']}?include[0]=configuration.{other}"
    assert box.call("GET", path, Stripe_Version=version).status_code == 400


@pytest.mark.parametrize(("version", "kind"), [("2026-08-26.preview", "us_bank_account"), (NEW, "bank_account")])
def test_addresses_have_two_shapes(box: Box, version: str, kind: str) -> None:
    path = "/v2/money_management/financial_addresses"
    body: dict[str, object] = {"financial_account": "fa_test_platform", "type": kind}
    if kind == "bank_account":
        body["bank_account"] = {"currency": "usd"}
    made = box.call("POST", path, body, Stripe_Version=version)
    assert made.status_code == 200, made.text
    box.settle()
    ident = made.json()["id"]
    query = "?include[0]=credentials.us_bank_account.account_number" if kind != "bank_account" else ""
    found = box.call("GET", f"{path}/{ident}{query}", Stripe_Version=version).json()
    assert found["status"] == "active"
    numbers = found["credentials"]["us_bank_account"] if query else found["bank_account"]["aba"]
    assert numbers["account_number"].endswith(numbers["last4"])
    wrong = OLD if kind == "bank_account" else NEW
    assert box.call("POST", path, body, Stripe_Version=wrong).status_code == 400


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"nonsense": 1}, "parameter_unknown"),
        ({"amount": {"value": "1", "currency": "usd"}}, "parameter_invalid"),
        ({"amount": {"value": -1, "currency": "usd"}}, "parameter_invalid"),
        ({"to": {}}, "parameter_missing"),
        ({"amount": {"value": 10**12, "currency": "usd"}}, "insufficient_funds"),
        ({"from": {"financial_account": "fa_x", "currency": "usd"}}, "from_financial_account_not_found"),
    ],
)
def test_a_wrong_payment_is_refused(box: Box, change: dict[str, object], code: str) -> None:
    account = box.account()
    wallet = box.wallet(account)
    body = {
        "from": {"financial_account": "fa_test_platform", "currency": "usd"},
        "to": {"recipient": account, "payout_method": wallet, "currency": "usdc"},
        "amount": {"value": 1, "currency": "usd"},
        **change,
    }
    answer = box.call("POST", "/v2/money_management/outbound_payments", body)
    assert answer.status_code in {400, 404}
    assert answer.json()["error"]["code"] == code


@pytest.mark.parametrize(
    "body",
    [
        {"configuration": []},
        {"configuration": {"card_creator": 1}},
        {"identity": {"country": ["mx"]}},
        {
            "configuration": {
                "card_creator": {"capabilities": {"commercial": {"lead": {"prepaid_card": {"requested": []}}}}}
            }
        },
        {"include": ["nonsense"]},
        {"include": 5},
        {"metadata": "x"},
    ],
)
def test_hostile_bodies_are_400_never_500(box: Box, body: dict[str, object]) -> None:
    for version in (OLD, NEW):
        answer = box.call("POST", "/v2/core/accounts", body, Stripe_Version=version)
        assert answer.status_code == 400, answer.text
    assert "v2.core.account" not in box.control("GET", "requests")["created"]


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "page=nonsense", "page=MQ==", "created[gte]=yesterday"])
def test_hostile_queries_are_400(box: Box, query: str) -> None:
    box.account()
    answer = box.call("GET", f"/v2/core/events?{query}", Stripe_Context=box.account())
    assert answer.status_code == 400, answer.text


def test_the_sdk_maps_our_errors_to_its_classes(box: Box) -> None:
    with pytest.raises(stripe.AuthenticationError):
        stripe.StripeClient("sk_wrong", base_addresses={"api": box.url}).v1.events.list()
    account = box.account("+kyc_slow")
    with pytest.raises(stripe.FeatureNotEnabledError):
        box.stripe.v2.money_management.financial_accounts.create(
            {"type": "storage", "storage": {"holds_currencies": ["usdc"]}}, {"stripe_context": account}
        )


def test_a_card_needs_its_open_financial_account(box: Box) -> None:
    account = box.account("+fa_slow")
    body = {"type": "storage", "storage": {"holds_currencies": ["usdc"]}}
    wallet = box.call("POST", FAS, body, Stripe_Context=account).json()["id"]
    card = {"currency": "usd", "type": "virtual", "cardholder": "ich_x"}
    missing = box.call("POST", "/v1/issuing/cards", card, Stripe_Account=account)
    assert missing.json()["error"]["param"] == "financial_account_v2"
    pending = box.call("POST", "/v1/issuing/cards", {**card, "financial_account_v2": wallet}, Stripe_Account=account)
    assert pending.json()["error"]["code"] == "pending_financial_account"


def test_both_lists_page_to_the_end(box: Box) -> None:
    account = box.account()
    wallet = box.wallet(account)
    for _ in range(5):
        box.card(account, wallet)
    seen = [
        c.id for c in box.stripe.v1.issuing.cards.list({"limit": 2}, {"stripe_account": account}).auto_paging_iter()
    ]
    assert len(seen) == len(set(seen)) == 5
    page = box.stripe.v2.core.events.list({"limit": 3}, {"stripe_context": account})
    events = [e.id for e in page.auto_paging_iter()]
    assert len(events) == len(set(events)) > 5
    one = box.stripe.v2.core.events.list(
        {"limit": 50, "types": ["v2.core.account.created"]}, {"stripe_context": account}
    )
    assert [e.type for e in one.data] == ["v2.core.account.created"]


def test_brackets_nest() -> None:
    assert decode("a[b][c]=1&d[]=x&d[]=y&e[0][f]=2&e[1][f]=3&g=") == {
        "a": {"b": {"c": "1"}},
        "d": ["x", "y"],
        "e": [{"f": "2"}, {"f": "3"}],
        "g": "",
    }

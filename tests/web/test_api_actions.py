from typing import Any

import httpx
import msgspec
import pytest

from app.wiring import Services
from tests.conftest import payload_of
from tests.web.conftest import add_account

EVM = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
BAD_EVM = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD"


async def asked(services: Services, request_id: str) -> dict[str, Any]:
    happening: dict[str, Any] = msgspec.json.decode(await payload_of(services.pool, request_id))["happenings"][0]
    return happening


@pytest.mark.parametrize(
    ("path", "body", "action", "params"),
    [
        (
            "wallets",
            {"network": "polygon", "address": EVM},
            "create_outbound_setup_intent",
            {
                "usage_intent": "transfer",
                "payout_method_data": {
                    "type": "crypto_wallet",
                    "crypto_wallet": {"network": "polygon", "address": EVM},
                },
            },
        ),
        (
            "bank-accounts",
            {"country": "mx", "currency": "mxn", "account_number": "032180000118359719"},
            "create_outbound_setup_intent",
            {
                "usage_intent": "transfer",
                "payout_method_data": {
                    "type": "bank_account",
                    "bank_account": {"country": "MX", "currency": "mxn", "account_number": "032180000118359719"},
                },
            },
        ),
        (
            "transfers",
            {"payout_method": "cwa_1", "amount": {"value": 1000, "currency": "usdc"}, "currency": "usdc"},
            "create_outbound_transfer",
            {"payout_method": "cwa_1", "amount": {"value": 1000, "currency": "usdc"}, "to_currency": "usdc"},
        ),
        (
            "fundings",
            {"amount": {"value": 500, "currency": "usd"}},
            "create_outbound_payment",
            {"amount": {"value": 500, "currency": "usd"}},
        ),
        ("cards", {"type": "virtual"}, "create_card", {"type": "virtual"}),
        (
            "onboarding-links",
            {"refresh_url": "https://a.example/r", "return_url": "https://a.example/d"},
            "create_account_link",
            {"refresh_url": "https://a.example/r", "return_url": "https://a.example/d"},
        ),
    ],
)
async def test_a_request_becomes_an_event_of_the_account(
    api: httpx.AsyncClient, services: Services, path: str, body: dict[str, Any], action: str, params: dict[str, Any]
) -> None:
    await add_account(services.pool, "acct_1")
    answer = await api.post(f"/v1/accounts/acct_1/{path}", json=body)
    assert answer.status_code == 202, answer.text
    made = answer.json()
    assert made["state"] == "requested"
    happening = await asked(services, made["id"])
    assert (happening["action"], happening["params"]) == (action, params)
    seen = (await api.get(made["href"])).json()
    assert (seen["id"], seen["kind"], seen["state"], seen["object_id"]) == (made["id"], "request", "requested", None)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("wallets", {"network": "bitcoin", "address": EVM}, "network"),
        ("wallets", {"network": "polygon", "address": BAD_EVM}, "address"),
        ("wallets", {"network": "solana", "address": EVM}, "address"),
        ("wallets", {"network": "polygon", "address": EVM, "memo": "x"}, "memo"),
        (
            "bank-accounts",
            {"country": "MX", "currency": "mxn", "account_number": "032180000118359710"},
            "account_number",
        ),
        ("bank-accounts", {"country": "US", "currency": "usd", "account_number": "000123456789"}, "routing_number"),
        ("bank-accounts", {"country": "MX", "currency": "usd", "account_number": "032180000118359719"}, "currency"),
        ("bank-accounts", {"country": "KP", "currency": "usd", "account_number": "1234567"}, "country"),
        ("fundings", {"amount": {"value": 0, "currency": "usd"}}, "amount.value"),
        ("fundings", {"amount": {"value": -1, "currency": "usd"}}, "amount.value"),
        ("fundings", {"amount": {"value": "100", "currency": "usd"}}, "amount.value"),
        ("fundings", {"amount": {"value": 1.5, "currency": "usd"}}, "amount.value"),
        ("fundings", {"amount": {"value": True, "currency": "usd"}}, "amount.value"),
        ("fundings", {"amount": {"value": 100, "currency": "usdc"}}, "amount.currency"),
        ("fundings", {"amount": {"value": 100, "currency": "usd"}, "more": 1}, "more"),
        (
            "transfers",
            {"payout_method": "x", "amount": {"value": 1, "currency": "usdc"}, "currency": "gbp"},
            "currency",
        ),
    ],
)
async def test_what_cannot_be_meant_is_refused_at_once(
    api: httpx.AsyncClient, services: Services, path: str, body: dict[str, Any], field: str
) -> None:
    await add_account(services.pool, "acct_1")
    answer = await api.post(f"/v1/accounts/acct_1/{path}", json=body)
    assert answer.status_code == 422
    assert field in [error["field"] for error in answer.json()["errors"]]
    assert await services.pool.fetchval("SELECT count(*) FROM events") == 0


async def test_nothing_is_asked_of_an_account_that_is_unknown_or_not_enrolled(
    api: httpx.AsyncClient, services: Services
) -> None:
    await add_account(services.pool, "acct_followed", enrolled=False)
    body = {"type": "virtual"}
    assert (await api.post("/v1/accounts/acct_nobody/cards", json=body)).status_code == 404
    refused = await api.post("/v1/accounts/acct_followed/cards", json=body)
    assert (refused.status_code, refused.json()["code"]) == (409, "account_not_enrolled")


async def test_a_card_is_frozen_thawed_and_cancelled(api: httpx.AsyncClient, services: Services) -> None:
    await add_account(services.pool, "acct_1")
    path = "/v1/accounts/acct_1/cards/ic_1"
    assert (await api.post(f"{path}/freezes", json={"reason": "lost"})).status_code == 404
    await services.pool.execute(
        "INSERT INTO objects (account_id, object_id, kind, state, data, observed_at)"
        " VALUES ('acct_1', 'ic_1', 'card', 'active', '{}', now())"
    )
    for answer, change in (
        (await api.post(f"{path}/freezes", json={"reason": "lost"}), {"status": "inactive"}),
        (await api.delete(f"{path}/freezes"), {"status": "active"}),
        (
            await api.post(f"{path}/cancellations", json={"reason": "stolen"}),
            {"status": "canceled", "cancellation_reason": "stolen"},
        ),
    ):
        assert answer.status_code == 202
        assert (await asked(services, answer.json()["id"]))["params"] == {"card": "ic_1", **change}


async def test_a_hold_works_at_once_and_is_told_to_the_log(api: httpx.AsyncClient, services: Services) -> None:
    await add_account(services.pool, "acct_1")
    assert (await api.post("/v1/accounts/acct_1/hold", json={})).status_code == 422
    assert (await api.post("/v1/accounts/acct_1/hold", json={"reason": "fraud"})).status_code == 202
    held = (await api.get("/v1/accounts/acct_1")).json()
    assert (held["held"]["by"], held["held"]["reason"], held["version"]) == ("bootstrap", "fraud", 2)
    assert held["waiting_for"]["who"] == "operator"
    assert (await api.delete("/v1/accounts/acct_1/hold")).status_code == 422
    released = await api.request("DELETE", "/v1/accounts/acct_1/hold", json={"reason": "cleared"})
    assert released.status_code == 202
    assert (await api.get("/v1/accounts/acct_1")).json()["held"] is None
    again = await api.delete("/v1/accounts/acct_1/hold?reason=again")
    assert (again.status_code, again.json()["code"]) == (409, "not_held")
    types = [r["type"] for r in await services.pool.fetch("SELECT type FROM events ORDER BY received_at")]
    assert types == ["hold.placed", "hold.released"]


async def test_a_brake_stands_until_it_is_let_go(api: httpx.AsyncClient) -> None:
    assert (await api.put("/v1/brakes/make_coffee", json={"on": True, "reason": "x"})).status_code == 404
    assert (await api.put("/v1/brakes/all", json={"on": True})).status_code == 422
    assert (await api.put("/v1/brakes/all", json={"on": True, "reason": "incident"})).json()["on"]
    assert [b["step"] for b in (await api.get("/v1/brakes")).json()["data"]] == ["all"]
    assert [b["step"] for b in (await api.get("/v1/platform")).json()["brakes"]] == ["all"]
    await api.put("/v1/brakes/all", json={"on": False, "reason": "over"})
    assert (await api.get("/v1/brakes")).json()["data"] == []

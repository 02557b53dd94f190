"""Wallets on every network, bank accounts, transfers with every end, and payout methods that come and go."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.scenarios.asking import Account
from tests.scenarios.conftest import World, opened
from tests.scenarios.waiting import Json, account_is, ask, control, ends, member, objects, shows

EVM = "0x52908400098527886E0F7030069857D2E4169EE7"
WALLETS: list[Json] = [
    *(
        {"network": n, "address": EVM}
        for n in ["arbitrum", "avalanche_c_chain", "base", "ethereum", "optimism", "polygon"]
    ),
    {"network": "solana", "address": "So11111111111111111111111111111111111111112"},
    {"network": "stellar", "address": "GA7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJVSGZ", "memo": "invoice 7"},
]
BANKS: list[Json] = [
    {"country": "MX", "currency": "mxn", "account_number": "032180000118359719"},
    {"country": "US", "currency": "usd", "account_number": "000123456789", "routing_number": "110000000"},
    {"country": "DE", "currency": "eur", "account_number": "DE89370400440532013000"},
]
ARRIVES = {"mxn": 18_250, "usd": 1_000, "eur": 920}


@pytest_asyncio.fixture(params=["2026-10-14.preview", "2026-06-10.preview"])
async def worded(
    request: pytest.FixtureRequest, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    """The world in the words of both API versions."""
    monkeypatch.setenv("STRIPE_API_VERSION", request.param)
    async with opened(dsn, tmp_path) as one:
        yield one


def transfer(method: str, currency: str = "usdc", value: int = 1_000) -> Json:
    return {"payout_method": method, "amount": {"value": value, "currency": "usdc"}, "currency": currency}


async def test_every_network_and_every_bank_takes_a_transfer(worded: World) -> None:
    world, one = worded, member("pays-001")
    await world.enroll(one)
    asked = await asyncio.gather(
        *(ask(world, one.account, "wallets", wallet) for wallet in WALLETS),
        *(ask(world, one.account, "bank-accounts", bank) for bank in BANKS),
    )
    assert {r["state"] for r in asked} == {"settled"}
    methods = await objects(world, one.account, "payout_method")
    wallets = {m["crypto_wallet"]["network"]: m for m in methods if m["type"] == "crypto_wallet"}
    assert set(wallets) == {w["network"] for w in WALLETS}
    assert wallets["stellar"]["crypto_wallet"]["memo"] == "invoice 7"
    banks = {m["bank_account"]["supported_currencies"][0]: m for m in methods if m["type"] == "bank_account"}
    assert not any(b["account_number"] in str(methods) for b in BANKS)
    for currency, value in ARRIVES.items():
        sent = await ask(world, one.account, "transfers", transfer(banks[currency]["id"], currency))
        seen = await shows(world, one.account, sent["object_id"], "posted")
        assert seen["debited"] == {"value": 1_000, "currency": "usdc"}
        assert seen["credited"] == {"value": value, "currency": currency}
    chain = await ask(world, one.account, "transfers", transfer(wallets["solana"]["id"]))
    await shows(world, one.account, chain["object_id"], "posted")
    wrong = await world.api.post(f"/v1/accounts/{one.account}/transfers", json=transfer(wallets["base"]["id"], "mxn"))
    assert (wrong.status_code, wrong.json()["code"]) == (409, "payout_method_unsupported_currency")


async def test_a_transfer_is_canceled_fails_returns_or_is_above_a_cap(world: World) -> None:
    one = member("ends-001", "+transfers_wait+setup_slow")
    await world.enroll(one)
    # The setup intent needs action first; no event ever tells that it is over: it is polled.
    wallet = await ask(world, one.account, "wallets", WALLETS[5])
    (method,) = await objects(world, one.account, "payout_method")
    early = await world.api.post(f"/v1/accounts/{one.account}/transfers", json=transfer(method["id"]))
    assert early.status_code in (202, 409)
    await shows(world, one.account, wallet["object_id"], "succeeded")
    await shows(world, one.account, method["id"], "eligible")
    flows = {}
    for end in ("canceled", "failed", "returned"):
        asked = await ask(world, one.account, "transfers", transfer(method["id"]))
        flows[end] = asked["object_id"]
        await shows(world, one.account, flows[end], "processing")
    await account_is(
        world, one.account, lambda a: a["balances"]["usdc"].get("outbound_pending") == 3_000, "three on their way"
    )
    canceled = await ask(world, one.account, f"transfers/{flows['canceled']}/cancellations", None)
    assert canceled["state"] == "settled"
    await shows(world, one.account, flows["canceled"], "canceled")
    late = await world.api.post(f"/v1/accounts/{one.account}/transfers/{flows['canceled']}/cancellations")
    assert (late.status_code, late.json()["code"]) == (409, "not_cancelable")
    await control(world, f"outbound/{flows['failed']}", {"status": "under_review"})
    await control(world, f"outbound/{flows['failed']}", {"status": "failed", "reason": "review_rejected"})
    failed = await shows(world, one.account, flows["failed"], "failed")
    assert failed["reason"] == "review_rejected"
    await control(world, f"outbound/{flows['returned']}", {"status": "posted"})
    await shows(world, one.account, flows["returned"], "posted")
    await control(world, f"outbound/{flows['returned']}", {"status": "returned"})
    await shows(world, one.account, flows["returned"], "returned")
    # Above a cap: parked, and the request says so; given up, it is rejected.
    capped = await world.api.post(f"/v1/accounts/{one.account}/transfers", json=transfer(method["id"], value=2_000_000))
    parked = await ends(world, capped.json()["href"], "parked")
    assert parked["error"]["code"] == "cap_exceeded"
    await account_is(world, one.account, lambda a: (a["waiting_for"] or {}).get("who") == "operator", "a person")
    discards = await world.api.post(f"/v1/commands/{parked['command']['id']}/discards", json={"reason": "too much"})
    assert discards.status_code == 202
    assert (await ends(world, capped.json()["href"]))["error"]["code"] == "discarded"
    # A payout method is put away and brought back, and at last disabled.
    path = f"payout-methods/{method['id']}"
    await ask(world, one.account, f"{path}/archives", None)
    away = await world.api.post(f"/v1/accounts/{one.account}/transfers", json=transfer(method["id"]))
    assert (away.status_code, away.json()["code"]) == (409, "payout_method_archived")
    await ask(world, one.account, f"{path}/archives", None, "DELETE")
    await ask(world, one.account, f"{path}/disables", {"reason": "stolen phone"})
    await shows(world, one.account, method["id"], "disabled")
    await ask(world, one.account, f"{path}/disables", None, "DELETE")
    await shows(world, one.account, method["id"], "eligible")
    # What Stripe makes of it is refused here at once, with the reason.
    account = Account(world, str(one.account))
    for change, state, code in (
        ({"transfers": "invalid"}, "invalid", "payout_method_invalid"),
        ({"transfers": "ineligible"}, "ineligible", "payout_method_ineligible"),
        ({"transfers": "eligible", "restricted": True}, "eligible", "payout_method_restricted"),
    ):
        await control(world, f"payout_methods/{method['id']}", change)
        await stands(account, method["id"], (state, "restricted" in change))
        assert await account.refused("transfers", transfer(method["id"])) == (409, code)


async def stands(account: Account, method: str, wanted: tuple[str, bool]) -> None:
    """The payout method once it has this usage status, and is restricted or not."""
    await account.shows(method, lambda m: (m["state"], m["restricted"]) == wanted)

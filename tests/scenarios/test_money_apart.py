"""Money beside the main line: setup intents that wait, what the ledger calls a purchase, conversions,
corrections, debits, what the doctor says of balances, and a financial account that is closed alone.
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from tests.scenarios.asking import Account, Row, until
from tests.scenarios.conftest import World
from tests.scenarios.waiting import PLATFORM, account_is, control, ends, member, objects, shows

EVM = "0x52908400098527886E0F7030069857D2E4169EE7"
WALLET = {"network": "polygon", "address": EVM}
BANK = {"country": "MX", "currency": "mxn", "account_number": "032180000118359719"}
MM = "/v2/money_management"
VERSION = "2026-10-14.preview"


@pytest_asyncio.fixture(scope="module")
async def one(fleet_world: World) -> AsyncIterator[Account]:
    """A live account whose setup intents wait for somebody."""
    own = member("apart-001", "+setup_waits")
    await fleet_world.enroll(own)
    yield Account(fleet_world, str(own.account))


async def stripe(world: World, method: str, path: str, body: Row | None = None) -> Row:
    """A call of Stripe's API for the platform, as somebody makes it in Stripe's dashboard."""
    headers = {"Authorization": "Bearer sk_test_sandbox", "Stripe-Version": VERSION}
    answer = await world.sandbox.request(method, path, json=body, headers=headers)
    assert answer.is_success, answer.text
    return dict(answer.json())


async def waiting_intent(one: Account, body: Row) -> str:
    asked = await one.ask("wallets", body)
    intent = await one.shows(asked["object_id"], "requires_action")
    return str(intent["id"])


async def test_a_setup_intent_is_given_up_or_corrected_and_its_payout_traced(one: Account) -> None:
    gone = await waiting_intent(one, WALLET)
    await one.ask(f"setup-intents/{gone}/cancellations", {"reason": "a typing error"})
    await one.shows(gone, "canceled")
    path = f"setup-intents/{gone}/cancellations"
    assert await one.refused(path, {"reason": "again"}) == (409, "setup_intent_canceled")
    intent = await waiting_intent(one, WALLET)
    path = f"setup-intents/{intent}/payout-method"
    for wrong in ({}, {"wallet": WALLET, "bank_account": BANK}, {"wallet": {**WALLET, "address": "0x1"}}):
        assert (await one.refused(path, wrong, "PUT"))[0] == 422
    corrected = await one.ask(path, {"bank_account": BANK}, "PUT")
    assert corrected["state"] == "settled", corrected
    done = await one.shows(intent, "succeeded")
    bank = await one.shows(done["payout_method"], "eligible")
    assert (bank["type"], bank["bank_account"]["last4"]) == ("bank_account", "9719")
    assert await one.refused(path, {"wallet": WALLET}, "PUT") == (409, "setup_intent_succeeded")
    # What is paid there leaves as USDC, arrives as pesos, and gets the bank's trace number later.
    amount = {"value": 1_000, "currency": "usdc"}
    sent = await one.ask("transfers", {"payout_method": bank["id"], "amount": amount, "currency": "mxn"})
    traced = await one.shows(sent["object_id"], lambda t: t["trace_id"]["status"] == "supported")
    assert (traced["state"], bool(traced["trace_id"]["value"])) == ("posted", True)
    assert (traced["debited"], traced["credited"]) == (amount, {"value": 18_250, "currency": "mxn"})


async def flows(one: Account, purchase: str) -> set[str]:
    """What the ledger calls a purchase, in transactions and entries alike."""

    async def read() -> list[Row]:
        page = await one.world.get(f"{one.path}/objects?kind=transaction&linked_to={purchase}")
        rows = list[Row](page["data"])
        names = {row["id"] for row in rows}
        return rows + [e for e in await one.objects("transaction_entry") if e["transaction"] in names]

    both = {"transaction", "transaction_entry"}
    rows = await until(read, lambda rows: {r["kind"] for r in rows} == both, purchase)
    return {str(row["flow"]["type"]) for row in rows}


async def test_a_purchase_is_found_whole_from_what_the_ledger_names(one: Account) -> None:
    bought = await one.control("purchases", account=one.id, amount=300, capture=False)
    authorization = str(bought["authorization"]["id"])
    await one.shows(authorization, "pending")
    assert await flows(one, authorization) == {"issuing_authorization"}
    (card, *_) = await one.objects("card")
    forced = await one.helper("transactions/create_force_capture", card=card["id"], amount=40)
    whole = await one.shows(
        forced["id"], lambda t: {"transaction", "received_debit"} <= {link["kind"] for link in t.get("links", ())}
    )
    assert await flows(one, forced["id"]) == {"issuing_transaction"}
    (ledger,) = [link["id"] for link in whole["links"] if link["kind"] == "transaction"]
    row = await one.look(ledger)
    assert {"received_debit", "issuing_transaction"} <= {link["kind"] for link in row["links"]}


async def test_a_conversion_and_a_quoted_payment_are_recorded_with_both_sides(one: Account) -> None:
    world = one.world
    body = {
        "financial_account": "fa_test_platform",
        "from": {"amount": {"value": 5_000, "currency": "usd"}},
        "to": {"currency": "usdc"},
    }
    made = await stripe(world, "POST", f"{MM}/currency_conversions", body)
    # No event tells of it, and its transactions do not say which it is: the entries lead to the list.
    seen = await shows(world, PLATFORM, made["id"], "posted")
    assert (seen["debited"], seen["credited"]) == (
        {"value": 5_000, "currency": "usd"},
        {"value": 5_000, "currency": "usdc"},
    )
    assert seen["exchange_rate"] == "1"
    assert [c["id"] for c in await objects(world, PLATFORM, "currency_conversion")] == [made["id"]]
    account = await world.get(one.path)
    quoted = {
        "from": {"financial_account": "fa_test_platform", "currency": "usd"},
        "to": {"recipient": one.id, "payout_method": account["financial_account"]["id"], "currency": "usdc"},
        "amount": {"value": 700, "currency": "usd"},
        "outbound_payment_quote": "obpq_test_1",
    }
    paid = await stripe(world, "POST", f"{MM}/outbound_payments", quoted)
    seen = await one.shows(paid["id"], "posted")
    assert (seen["outbound_payment_quote"], seen["debited"]["currency"]) == ("obpq_test_1", "usd")
    assert seen["credited"] == {"value": 700, "currency": "usdc"}


async def test_a_correction_of_stripe_is_followed_even_when_its_event_is_lost(one: Account) -> None:
    (fa,) = await one.objects("financial_account")
    (debit, *_) = await one.objects("received_debit")
    for told, value in ((True, -3), (False, -4)):
        made = await one.control(
            "adjustments",
            financial_account=fa["id"],
            amount={"value": value, "currency": "usdc"},
            adjusted_flow={"type": "received_debit", "received_debit": debit["id"]},
            told=told,
        )
        seen = await one.shows(made["id"], lambda a: {link["kind"] for link in a["links"]} >= {"transaction"})
        assert seen["amount"] == {"value": value, "currency": "usdc"}
        assert debit["id"] in [link["id"] for link in seen["links"]]


async def test_banks_pull_money_and_prove_the_number_with_microdeposits(one: Account) -> None:
    world = one.world
    asked = await world.api.post("/v1/platform/addresses", json={"currency": "usd"})
    address = str((await ends(world, asked.json()["href"]))["object_id"])
    await shows(world, PLATFORM, address, "active")
    helper = f"{MM}/test_helpers/financial_addresses/{address}"

    async def debited(state: str) -> Row:
        read = lambda: objects(world, PLATFORM, "received_debit")  # noqa: E731 - a thunk
        rows = await until(read, lambda rows: [r for r in rows if r["state"] == state], f"debit {state}")
        return dict(next(r for r in rows if r["state"] == state))

    for value, state, reason in ((1_500, "succeeded", None), (900_000_000_000, "failed", "insufficient_funds")):
        amount = {"value": value, "currency": "usd"}
        await stripe(world, "POST", f"{helper}/debit", {"amount": amount, "network": "ach"})
        debit = await debited(state)
        assert (debit["type"], debit["amount"], debit.get("reason")) == ("bank_transfer", amount, reason)
    pulled = await debited("succeeded")
    await control(world, f"debits/{pulled['id']}/returns")
    assert (await shows(world, PLATFORM, pulled["id"], "returned"))["reason"] == "originator_initiated"
    await stripe(world, "POST", f"{helper}/generate_microdeposits")
    credits_seen = await until(
        lambda: objects(world, PLATFORM, "received_credit"),
        lambda rows: len([r for r in rows if r.get("available")]) == 2,
        "two microdeposits",
    )
    assert sorted(c["amount"]["value"] for c in credits_seen) == [32, 45]
    assert {(c["type"], c["network"], c["financial_address"]) for c in credits_seen} == {
        ("bank_transfer", "ach", address)
    }


async def findings(world: World) -> dict[str, Any]:
    return {check["check"]: check for check in (await world.get("/v1/doctor"))["checks"]}


async def test_the_doctor_sees_a_negative_balance_and_books_that_differ(fleet_world: World) -> None:
    world, own = fleet_world, member("apart-002")
    await world.enroll(own)
    (fa,) = await objects(world, own.account, "financial_account")
    taken = {"financial_account": fa["id"], "amount": {"value": -20_000, "currency": "usdc"}}
    await control(world, "adjustments", taken)
    await account_is(world, own.account, lambda a: a["negative"] == ["usdc"], "negative")
    seen = await findings(world)
    negative, name = seen[f"balance of {own.account}"], f"books of {own.account}"
    assert (negative["state"], negative["says"].endswith("-144.50 USDC")) == ("warning", True)
    assert name not in seen
    await control(world, "drifts", {"financial_account": fa["id"], "amount": {"value": -9, "currency": "usdc"}})
    await control(world, "adjustments", {**taken, "amount": {"value": 30_000, "currency": "usdc"}})
    found = await until(lambda: findings(world), lambda f: name in f, "the difference")
    assert (found[name]["state"], "-0.09 USDC available" in found[name]["says"]) == ("wrong", True)
    assert f"balance of {own.account}" not in found


async def test_a_financial_account_is_closed_alone_once_it_is_empty(fleet_world: World) -> None:
    world, own = fleet_world, member("apart-003")
    await world.enroll(own)
    account = Account(world, str(own.account))
    (fa,) = await account.objects("financial_account")
    path, why = f"financial-accounts/{fa['id']}/closures", {"reason": "moved elsewhere"}
    assert await account.refused(path, why) == (409, "account_holds_money")
    await account.ask("wallets", WALLET)
    (method,) = await account.objects("payout_method")
    left = (await world.get(account.path))["balance"]["available"]
    sent = await account.ask("transfers", {"payout_method": method["id"], "amount": left, "currency": "usdc"})
    await account.shows(sent["object_id"], "posted")
    await account_is(
        world,
        account.id,
        lambda a: not any(a["balances"].get("usdc", {}).values()),
        "empty",
    )
    closed = await account.ask(path, why)
    assert closed["state"] == "settled", closed
    assert (await account.shows(fa["id"], "closed"))["closed_reason"] == "closed_by_platform"
    assert await account.refused(path, why) == (409, "financial_account_closed")
    stands = await account_is(world, account.id, lambda a: a["state"] == "activated", "without a financial account")
    assert (stands["waiting_for"]["who"], "is closed" in stands["waiting_for"]["what"]) == ("operator", True)
    assert len(await account.objects("financial_account")) == 1
    bought = await account.control("purchases", account=account.id, amount=10, capture=False)
    assert bought["approved"] is False
    # The account itself can still be closed.
    await account.ask("closures", {"reason": "left"})
    await account_is(world, account.id, lambda a: a["state"] == "closed", "closed")


async def test_the_books_balance_and_the_log_explains_it(one: Account) -> None:
    assert await one.world.drive.everything("/v1/events?status=parked") == []
    rebuilt = await one.world.api.post(f"{one.path}/rebuilds", json={"reason": "test", "dry_run": True})
    assert rebuilt.json()["equal"] is True, rebuilt.text
    ledger = (await one.world.sandbox.get("/_sandbox/ledger")).json()
    assert ledger["balanced"] is True

"""What is asked of a live account beside the stages: payout methods, transfers, fundings, cards, refunds and closing."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from app.demo.fleet import PURCHASES, Member
from tests.scenarios.asking import until
from tests.scenarios.conftest import World, opened
from tests.scenarios.waiting import ask, shows

ADDRESS = "0x52908400098527886E0F7030069857D2E4169EE7"
CLABE = {"country": "MX", "currency": "mxn", "account_number": "032180000118359719"}
SPENT = sum(PURCHASES)
PREPAID = "card_creator.commercial.lead.prepaid_card"


@pytest_asyncio.fixture
async def old_words(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """The same world, where both sides speak the last preview version."""
    monkeypatch.setenv("STRIPE_API_VERSION", "2026-06-10.preview")
    async with opened(dsn, tmp_path) as one:
        yield one


def member(number: int = 1, end: str = "live") -> Member:
    return Member(f"beside-{number:03}", "MX", "", end)


async def available(world: World, one: Member, value: int) -> None:
    path = f"/v1/accounts/{one.account}"
    await until(lambda: world.get(path), lambda a: a["balance"]["available"]["value"] == value, f"balance {value}")


async def lifecycle(world: World, one: Member, state: str) -> None:
    await until(lambda: world.get(f"/v1/accounts/{one.account}"), lambda a: a["state"] == state, f"account {state}")


async def money_out_and_in(world: World, one: Member) -> None:
    """A wallet, a transfer to it, and a second funding; then the account holds what the three leave."""
    wallet = await ask(world, one.account, "wallets", {"network": "polygon", "address": ADDRESS})
    assert wallet["state"] == "settled"
    assert wallet["object_id"]
    (method,) = await world.drive.objects(one, "payout_method")  # known with the answer, before its own event
    assert method["state"] == "eligible"
    usdc = {"value": 1_000, "currency": "usdc"}
    sent = await ask(
        world, one.account, "transfers", {"payout_method": method["id"], "amount": usdc, "currency": "usdc"}
    )
    assert sent["state"] == "settled"
    await shows(world, one.account, sent["object_id"], "posted")
    await available(world, one, 10_000 - SPENT - 1_000)
    funded = await ask(world, one.account, "fundings", {"amount": {"value": 5_000, "currency": "usd"}})
    assert funded["state"] == "settled"
    await shows(world, one.account, funded["object_id"], "posted")
    await available(world, one, 10_000 - SPENT - 1_000 + 5_000)


async def test_payout_methods_transfers_and_fundings(town: World) -> None:
    world = town
    one = member(1)
    await world.enroll(one)
    await money_out_and_in(world, one)
    bank = await ask(world, one.account, "bank-accounts", CLABE)
    assert bank["state"] == "settled"
    methods = await world.drive.objects(one, "payout_method")
    assert len(methods) == 2
    assert {m["state"] for m in methods} == {"eligible"}
    wallet = next(m for m in methods if m["type"] == "crypto_wallet")
    body = {
        "payout_method": wallet["id"],
        "amount": {"value": 20_000, "currency": "usdc"},
        "currency": "usdc",
    }
    refused = await ask(world, one.account, "transfers", body)
    assert refused["state"] == "rejected"
    assert refused["error"]["code"] == "insufficient_funds"
    link = await ask(world, one.account, "onboarding-links", {})
    assert link["state"] == "settled"
    assert link["url"].startswith("https://")


async def test_cards_and_a_refund(town: World) -> None:
    world = town
    one = member(2)
    await world.enroll(one)
    second = await ask(world, one.account, "cards", {"type": "virtual"})
    assert second["state"] == "settled"
    card = second["object_id"]
    await shows(world, one.account, card, "active")
    assert len(await world.drive.objects(one, "card")) == 2
    await ask(world, one.account, f"cards/{card}/freezes", {"reason": "seen abroad"})
    await shows(world, one.account, card, "inactive")
    await ask(world, one.account, f"cards/{card}/freezes", None, "DELETE")
    await shows(world, one.account, card, "active")
    await ask(world, one.account, f"cards/{card}/cancellations", {"reason": "lost"})
    gone = await shows(world, one.account, card, "canceled")
    assert gone["cancellation_reason"] == "lost"
    captures = await world.drive.objects(one, "issuing_transaction")
    spent = next(c for c in captures if c["state"] == "capture")
    headers = {"Stripe-Account": str(one.account), "Authorization": "Bearer sk_test_sandbox"}
    path = f"/v1/test_helpers/issuing/transactions/{spent['id']}/refund"
    answer = await world.sandbox.post(path, headers=headers)
    assert answer.is_success, answer.text
    credits_seen = await until(
        lambda: world.drive.objects(one, "received_credit"), lambda rows: any(r.get("refund") for r in rows), "refund"
    )
    refund = next(r for r in credits_seen if r.get("refund"))
    assert refund["state"] == "succeeded"
    await shows(world, one.account, refund["refund"], "refund")
    await available(world, one, 10_000 - SPENT + abs(spent["amount"]))


async def test_an_account_falls_back_returns_is_held_and_closed(town: World) -> None:
    world = town
    one = member(3)
    await world.enroll(one)
    made = len(await world.drive.everything(f"/v1/commands?account={one.account}"))
    path = f"/_sandbox/accounts/{one.account}/capabilities"
    for status, state in (("restricted", "restricted"), ("active", "live")):
        (await world.sandbox.post(path, json={"path": PREPAID, "status": status})).raise_for_status()
        await lifecycle(world, one, state)
    assert len(await world.drive.everything(f"/v1/commands?account={one.account}")) == made
    held = await world.api.post(f"/v1/accounts/{one.account}/hold", json={"reason": "look at it"})
    assert held.status_code == 202
    assert (await world.get(f"/v1/accounts/{one.account}"))["held"]["reason"] == "look at it"
    (await world.sandbox.post(f"/_sandbox/accounts/{one.account}/close")).raise_for_status()
    await lifecycle(world, one, "closed")
    late = await world.api.post(f"/v1/accounts/{one.account}/cards", json={"type": "virtual"})
    assert late.status_code == 409
    assert late.json()["code"] == "account_closed"


async def flows(world: World, one: Member, kind: str) -> set[str]:
    """What the ledger says moved money, once it told of purchases, fundings and transfers."""
    known = {"treasury_issuing_authorization", "received_credit", "outbound_transfer"}

    async def read() -> set[str]:
        return {row["flow"]["type"] for row in await world.drive.objects(one, kind)}

    return set(await until(read, lambda seen: seen >= known, f"flows of {kind}"))


async def test_the_old_words_do_the_same(old_words: World) -> None:
    one = member()
    await old_words.enroll(one)
    await money_out_and_in(old_words, one)
    types = {e["type"] for e in await old_words.drive.everything(f"/v1/events?account={one.account}")}
    assert any("[configuration.storer]" in t for t in types)
    assert not any("money_manager" in t for t in types)
    # What later versions call issuing_authorization: transactions and entries alike, and linked as ever.
    for kind in ("transaction", "transaction_entry"):
        named = await flows(old_words, one, kind)
        assert not any(flow.startswith("issuing_") for flow in named)
    (spent, *_) = await old_words.drive.objects(one, "authorization")
    together = (await old_words.get(f"/v1/accounts/{one.account}/objects/{spent['id']}"))["links"]
    kinds = {link["kind"] for link in together}
    assert {"card", "cardholder", "issuing_transaction", "received_debit", "transaction"} <= kinds

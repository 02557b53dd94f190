"""The platform's own money: found by itself, addresses in both shapes, money that comes in, funding that waits for it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from app.store import db, keys
from tests.scenarios.asking import Account, until
from tests.scenarios.conftest import World, opened
from tests.scenarios.waiting import PLATFORM, account_is, control, ends, enrolled, member, objects, shows

FA = "fa_test_platform"


@pytest_asyncio.fixture(params=["2026-10-14.preview", "2026-06-10.preview"])
async def worded(
    request: pytest.FixtureRequest, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    """The world in the words of both API versions, where nobody has said which the platform's financial account is."""
    monkeypatch.setenv("STRIPE_API_VERSION", request.param)
    async with opened(dsn, tmp_path, {"PLATFORM_FINANCIAL_ACCOUNT_ID": ""}) as one:
        yield one


async def platform(world: World) -> dict[str, Any]:
    return await world.get("/v1/platform")


async def as_reader(world: World) -> dict[str, Any]:
    """What the platform shows to a key that may only read."""
    conn = await db.connect(world.dsn)
    try:
        _, key = await keys.create(conn, name="reader", scope="read")
    finally:
        await conn.close()
    answer = await world.api.get("/v1/platform", headers={"Authorization": f"Bearer {key}"})
    answer.raise_for_status()
    return dict(answer.json())


async def usd(world: World, value: int) -> None:
    wanted = {"value": value, "currency": "usd"}
    await until(
        lambda: platform(world), lambda p: (p["balance"] or {}).get("available", {}).get("usd") == wanted, "usd"
    )


async def test_money_finds_its_way_to_the_platform(worded: World) -> None:
    world = worded
    await until(lambda: platform(world), lambda p: p["balance"] is not None, "the balance is read without an event")
    seen = await platform(world)
    assert seen["financial_account"] == {"id": FA, "status": "open"}
    assert seen["low_balance"]["low"] is False
    # An address, once, whatever is asked twice; its number for administrators.
    first = await world.api.post("/v1/platform/addresses", json={"currency": "usd"})
    again = await world.api.post("/v1/platform/addresses", json={"currency": "usd"})
    assert (first.status_code, first.json()["id"]) == (202, again.json()["id"])
    made = await ends(world, first.json()["href"])
    assert made["state"] == "settled"
    await shows(world, PLATFORM, made["object_id"], "active")
    (address,) = (await platform(world))["addresses"]
    number = address["credentials"]["account_number"]
    assert number.isdigit()
    assert address["credentials"]["routing_number"] == "110000000"
    (masked,) = (await as_reader(world))["addresses"]
    assert masked["credentials"]["account_number"] == "*" * 8 + number[-4:]
    assert (number in str(masked), "110000000" in str(masked)) == (False, False)
    held = await world.get(f"/v1/accounts/{PLATFORM}/objects/{address['id']}")
    assert number not in str(held)
    assert held["credentials"]["last4"] == number[-4:]
    assert (await objects(world, PLATFORM, "financial_address"))[0]["id"] == address["id"]
    # An ACH credit to it succeeds, and is available later.
    credit = {"amount": {"value": 70_000, "currency": "usd"}, "network": "ach"}
    headers = {"Authorization": "Bearer sk_test_sandbox", "Stripe-Version": "2026-10-14.preview"}
    path = f"/v2/money_management/test_helpers/financial_addresses/{address['id']}/credit"
    (await world.sandbox.post(path, json=credit, headers=headers)).raise_for_status()
    await usd(world, 100_070_000)
    (came,) = await until(
        lambda: objects(world, PLATFORM, "received_credit"),
        lambda rows: any(r.get("available") for r in rows),
        "credit",
    )
    assert (came["state"], came["network"], came["financial_address"]) == ("succeeded", "ach", address["id"])


async def test_credits_fail_and_return_and_pulls_end_each_in_their_way(fleet_world: World) -> None:
    world = fleet_world
    await until(lambda: platform(world), lambda p: p["balance"] is not None, "balance")
    failed = await control(world, "platform/credits", {"amount": 5_000, "outcome": "failed"})
    seen = await shows(world, PLATFORM, failed["id"], "failed")
    assert seen["reason"] == "stripe_rejected"
    clearing = await control(world, "platform/credits", {"amount": 6_000, "network": "ach", "outcome": "pending"})
    there = {"available": 100_000_000, "inbound_pending": 6_000}
    await until(
        lambda: platform(world),
        lambda p: all(p["balance"].get(part, {}).get("usd", {}).get("value") == want for part, want in there.items()),
        "money that clears",
    )
    await control(world, f"credits/{clearing['id']}/clearings")
    await usd(world, 100_006_000)
    wire = await control(world, "platform/credits", {"amount": 4_000, "network": "us_domestic_wire"})
    seen = await Account(world, PLATFORM).shows(wire["id"], lambda c: c.get("available"))
    assert (seen["state"], seen["network"]) == ("succeeded", "us_domestic_wire")
    await control(world, f"credits/{wire['id']}/returns")
    await shows(world, PLATFORM, wire["id"], "returned")
    await control(world, f"credits/{clearing['id']}/returns")
    returned = await control(world, "platform/credits", {"amount": 5_000, "outcome": "returned"})
    await shows(world, PLATFORM, returned["id"], "returned")
    await usd(world, 100_000_000)
    ends_as = {"ok": "bank_debit_succeeded", "fail": "bank_debit_failed", "return": "bank_debit_returned"}
    for how, state in ends_as.items():
        body = {"payment_method": f"usba_test_{how}", "amount": {"value": 9_000, "currency": "usd"}}
        asked = await world.api.post("/v1/platform/inbound-transfers", json=body)
        made = await ends(world, asked.json()["href"])
        pulled = await shows(world, PLATFORM, made["object_id"], state)
        assert bool(pulled.get("reason")) is (how != "ok")
    await usd(world, 100_009_000)


async def test_an_address_that_fails_is_followed_by_another(fleet_world: World) -> None:
    world, asked = fleet_world, {"currency": "cad"}

    async def made() -> str:
        answer = await world.api.post("/v1/platform/addresses", json=asked)
        return str((await ends(world, answer.json()["href"]))["object_id"])

    first = await made()
    await shows(world, PLATFORM, first, "pending")
    await control(world, f"addresses/{first}", {"status": "failed"})
    await shows(world, PLATFORM, first, "failed")
    second = await made()
    assert second != first
    assert await made() == second


async def test_funding_waits_visibly_for_money_and_goes_on_by_itself(fleet_world: World) -> None:
    world = fleet_world
    await until(lambda: platform(world), lambda p: p["balance"] is not None, "balance")
    await control(world, "platform/drains", {"leave": 2_500})
    await usd(world, 2_500)
    one = member("short-001")
    await enrolled(world, one)
    short = await account_is(
        world, one.account, lambda a: (a["waiting_for"] or {}).get("who") == "balance", "waits for the balance"
    )
    assert short["last_error"]["code"] == "insufficient_funds"
    assert short["next_command"] == "create_outbound_payment"
    seen = await platform(world)
    assert seen["low_balance"] == {"threshold": {"value": 100_000, "currency": "usd"}, "low": True}
    assert seen["funding_waiting"]["for_balance"] == {"count": 1, "amount": {"value": 10_000, "currency": "usd"}}

    async def said() -> str:
        return (await world.api.get("/metrics")).text

    shown = ("cardrail_platform_balance_low 1.0", 'cardrail_funding_waiting{why="balance"} 1.0')
    await until(said, lambda text: all(line in text for line in shown), "the metrics of money")
    await control(world, "platform/credits", {"amount": 200_000})
    await account_is(world, one.account, lambda a: a["state"] == "live", "live by itself")
    seen = await platform(world)
    assert seen["funding_waiting"]["count"] == 0
    assert seen["low_balance"]["low"] is False
    (command,) = [c for c in await world.drive.everything("/v1/commands") if c["kind"] == "create_outbound_payment"]
    assert command["status"] == "settled"

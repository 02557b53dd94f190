"""What Stripe does wrong to one call: the command still takes effect exactly once."""

import asyncio
from typing import Any

import pytest

from app.demo.fleet import Member
from tests.patience import PATIENCE_S
from tests.scenarios.conftest import World


def member(number: int = 1, end: str = "live") -> Member:
    return Member(f"fault-{number:03}", "MX", "", end)


async def target(world: World, method: str, path: str, kind: str, times: int = 1) -> None:
    body = {"targeted": [{"method": method, "path_prefix": path, "kind": kind, "times": times}]}
    (await world.sandbox.put("/_sandbox/faults", json=body)).raise_for_status()


async def command(world: World, one: Member, kind: str) -> dict[str, Any]:
    rows = [c for c in await world.drive.everything("/v1/commands") if c["kind"] == kind]
    (row,) = [c for c in rows if one.account in (c["account"], c["object_id"])]
    return row


async def created(world: World, kind: str) -> int:
    """How many objects the sandbox has made for commands of one kind."""
    made = (await world.sandbox.get("/_sandbox/requests")).json()["created"]
    names = {
        "create_account": "v2.core.account",
        "create_financial_account": "v2.money_management.financial_account",
        "create_outbound_payment": "v2.money_management.outbound_payment",
        "create_cardholder": "issuing.cardholder",
        "create_card": "issuing.card",
    }
    return int(made.get(names[kind], 0))


async def settled(world: World, one: Member, kind: str) -> dict[str, Any]:
    """The command once it is settled; the account may be live before that, by webhook."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            sent = await command(world, one, kind)
            if sent["status"] == "settled":
                return sent
            await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    ("number", "path", "kind", "fault"),
    [
        (1, "/v2/core/accounts", "create_account", "reply_lost"),
        (2, "/v2/money_management/financial_accounts", "create_financial_account", "api_500"),
        (3, "/v2/money_management/outbound_payments", "create_outbound_payment", "reply_lost"),
        (4, "/v1/issuing/cardholders", "create_cardholder", "api_500"),
        (5, "/v1/issuing/cards", "create_card", "reply_lost"),
        (6, "/v1/issuing/cards", "create_card", "api_429"),
    ],
)
async def test_a_call_that_goes_wrong_takes_effect_once(
    town: World, number: int, path: str, kind: str, fault: str
) -> None:
    before = await created(town, kind)
    await target(town, "POST", path, fault)
    one = member(number)
    await town.enroll(one)
    sent = await settled(town, one, kind)
    assert sent["attempts"] >= 2
    assert await created(town, kind) == before + 1


async def test_a_hold_stops_commands_and_a_release_lets_them_go(town: World) -> None:
    brake = await town.api.put("/v1/brakes/create_card", json={"on": True, "reason": "test"})
    assert brake.is_success
    one = member(7, end="cardholder_ready")
    await town.enroll(one)
    account = await town.get(f"/v1/accounts/{one.account}")
    assert account["state"] == "cardholder_ready"
    held = await town.api.post(f"/v1/accounts/{one.account}/hold", json={"reason": "test"})
    assert held.status_code in (200, 202)
    assert (await town.api.put("/v1/brakes/create_card", json={"on": False, "reason": "test over"})).is_success
    shown = await town.get(f"/v1/accounts/{one.account}")
    assert shown["held"]["reason"] == "test"
    card = await command(town, one, "create_card")
    assert card["attempts"] == 0
    released = await town.api.request("DELETE", f"/v1/accounts/{one.account}/hold", json={"reason": "done"})
    assert released.is_success
    one.end = "live"
    await town.drive.run(PATIENCE_S, lambda _: None)

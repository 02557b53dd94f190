"""A step that Stripe refuses since something is not ready: it goes on by itself, and makes one thing only."""

import asyncio
from typing import Any

from app.machines.commands import command_id, idempotency_key
from tests.ops.world import World, opened
from tests.patience import PATIENCE_S

CARDS = "/v1/issuing/cards"
PREPAID = "card_creator.commercial.lead.prepaid_card"


async def until_due(world: World, kind: str) -> tuple[str, str]:
    """Turn until a command of this kind waits to be sent; its account and id."""
    enrolled = await world.enroll()
    async with asyncio.timeout(PATIENCE_S):
        while True:
            await world.later()
            await world.hear(await world.account_of(enrolled))
            await world.apply()
            row = await world.pool.fetchrow("SELECT account_id, command_id FROM outbox WHERE kind = $1", kind)
            if row is not None:
                return row["account_id"], row["command_id"]
            await world.deliver()


async def sent(world: World, command: str) -> dict[str, Any]:
    """Send what waits; how the command stands then."""
    await world.later()
    await world.deliver()
    row = await world.pool.fetchrow("SELECT * FROM outbox WHERE command_id = $1", command)
    assert row is not None
    return {"status": row["status"], "code": (row["error"] or {}).get("code"), "key": row["idempotency_key"]}


def becomes(world: World, account: str, status: str) -> None:
    world.box.control("POST", f"accounts/{account}/capabilities", {"path": PREPAID, "status": status})


async def test_a_refused_card_is_made_once_the_capability_is_back(dsn: str) -> None:
    async with opened(dsn) as world:
        account, command = await until_due(world, "create_card")
        assert command == command_id(account, "card/1")
        becomes(world, account, "restricted")
        waits = {"status": "pending", "code": "capability_not_active", "key": idempotency_key(command)}
        assert await sent(world, command) == waits
        assert await sent(world, command) == waits
        assert world.calls(CARDS) == 1, "while it is known to be missing, only that is read"
        becomes(world, account, "active")
        assert await sent(world, command) == {"status": "settled", "code": None, "key": f"{waits['key']}-r1"}
        assert len(world.listed(CARDS, account)) == 1
        assert await world.pool.fetchval("SELECT count(*) FROM outbox WHERE kind = 'create_card'") == 1


async def test_the_event_that_what_it_needs_is_back_wakes_a_refused_card(dsn: str) -> None:
    async with opened(dsn) as world:
        account, command = await until_due(world, "create_card")
        becomes(world, account, "restricted")
        assert (await sent(world, command))["code"] == "capability_not_active"
        due = "SELECT due_at <= now() FROM outbox WHERE command_id = $1"
        await world.pool.execute("UPDATE outbox SET due_at = now() + interval '300 s' WHERE command_id = $1", command)
        becomes(world, account, "active")
        assert not await world.pool.fetchval(due, command)
        await world.hear(account)
        await world.apply()
        assert await world.pool.fetchval(due, command)
        await world.deliver()
        assert await world.pool.fetchval("SELECT status FROM outbox WHERE command_id = $1", command) == "settled"
        assert len(world.listed(CARDS, account)) == 1


async def test_an_answer_lost_under_the_new_key_makes_no_second_card(dsn: str) -> None:
    async with opened(dsn) as world:
        account, command = await until_due(world, "create_card")
        becomes(world, account, "restricted")
        await sent(world, command)
        becomes(world, account, "active")
        await world.pool.execute(
            "UPDATE outbox SET idempotency_key = $2, first_call_at = now(), error = NULL WHERE command_id = $1",
            command,
            f"{idempotency_key(command)}-r1",
        )
        world.fault(CARDS, "reply_lost")
        lost = await sent(world, command)
        assert (lost["status"], lost["key"]) == ("unknown", f"{idempotency_key(command)}-r1")
        assert (await sent(world, command))["status"] == "settled"
        assert len(world.listed(CARDS, account)) == 1

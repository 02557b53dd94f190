"""Books that stay apart from Stripe's balance lead to one reading of what may have been missed, once a day."""

from typing import Any

from app.ops import books
from app.ops.bookkeeper import Bookkeeper
from app.ops.differences import Differences
from tests.ops.world import World, opened


async def acts(world: World, account: str) -> list[str]:
    rows = await world.pool.fetch(
        "SELECT action FROM operator_actions WHERE who = 'cardrail' AND target = $1 ORDER BY id", account
    )
    return [row["action"] for row in rows]


async def told(world: World, account: str) -> dict[str, Any]:
    """Today's books, once entries were read and folded."""
    await world.pool.execute("UPDATE ledger_reads SET due_at = now() WHERE due_at IS NOT NULL")
    await Bookkeeper(world.services).poll()
    await world.apply()
    today = books.today(world.services.clock())
    async with world.pool.acquire() as conn:
        return await books.of_account(conn, account, today, today)


async def quiet(world: World, account: str) -> None:
    """Let money have moved, and the balance have been read, two minutes ago."""
    await world.pool.execute("UPDATE ledger_reads SET changed_at = now() - interval '2 min', due_at = NULL")
    await world.pool.execute(
        "UPDATE balances SET at = at - interval '2 min' WHERE account_id = $1 AND at > now() - interval '1 min'",
        account,
    )


async def test_a_lost_event_that_keeps_the_books_apart_is_made_good_once_a_day(dsn: str) -> None:
    async with opened(dsn) as world:
        account = await world.live(await world.enroll())
        assert (await told(world, account))["balanced"] is True
        # A correction of which no event reaches us; the balance that a later reading brings holds it.
        (wallet,) = [f["id"] for f in world.listed("/v2/money_management/financial_accounts", account)]
        world.box.control(
            "POST", "adjustments", {"financial_account": wallet, "amount": {"value": -250, "currency": "usdc"}}
        )
        await world.pool.execute(
            "UPDATE balances SET balance = jsonb_set(balance, '{available,usdc}', '9750') WHERE account_id = $1",
            account,
        )
        look = Differences(world.services)
        await look.poll()
        assert await acts(world, account) == [], "what just moved may be a matter of timing"
        await quiet(world, account)
        await look.poll()
        assert await acts(world, account) == ["books.differ", "reconcile"]
        await world.apply()
        after = await told(world, account)
        assert (after["balanced"], [d["closing"]["available"] for d in after["days"]]) == (True, [9_750])
        # What stays apart is a person's from then on: no process reads it again that day.
        await world.pool.execute(
            "UPDATE balances SET balance = jsonb_set(balance, '{available,usdc}', '1') WHERE account_id = $1", account
        )
        await quiet(world, account)
        await look.poll()
        await Differences(world.services).poll()
        assert await acts(world, account) == ["books.differ", "reconcile"]

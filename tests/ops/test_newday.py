"""What a day's limit stopped goes on when the next day begins: once, by itself, and only where the rule wants it."""

import msgspec

from app.machines.lifecycle import Balance, Capability, Facts, Thing
from app.machines.programme import Funding, Programme, TopUp
from app.machines.topup import DAY_MS
from app.ops.newday import NewDay
from app.wiring import Services

RULE = TopUp(below=1_000, amount=5_000, per_day=5_000)
ON = Programme(funding=Funding(top_up=RULE))


def used_up(now: int, usdc: int) -> Facts:
    """A live account that had today's last top-up."""
    return Facts(
        enrolled=True,
        seen=True,
        state="live",
        capabilities={path: Capability("active") for path in ON.required_capabilities},
        financial_account=Thing("fa_1", "open"),
        fundings={"obp_0": Thing("obp_0", "posted", now - 20), "obp_1": Thing("obp_1", "posted", now - 10)},
        balance=Balance(available={"usdc": usdc}, at=now),
        cardholder=Thing("ich_1", "active"),
        cards={"ic_1": Thing("ic_1", "active")},
        intents={"topup/1": "settled:obp_1"},
        topups=1,
        topup_day=now // DAY_MS,
        topup_moved=5_000,
    )


async def test_a_limit_of_the_day_ends_with_the_day(services: Services) -> None:
    services.programme = ON
    now = services.clock()
    for account, usdc in (("acct_low", 10), ("acct_rich", 5_000)):
        await services.pool.execute(
            "INSERT INTO accounts (account_id, state, enrolled, facts) VALUES ($1, 'live', true, $2)",
            account,
            msgspec.to_builtins(used_up(now, usdc)),
        )
    assert await NewDay(services).poll() is False
    services.clock = lambda: now + DAY_MS
    duty = NewDay(services)
    assert await duty.poll() is True
    assert [await duty.poll(), await NewDay(services).poll()] == [False, False]
    rows = await services.pool.fetch("SELECT account_id, source, type FROM events")
    assert [tuple(row) for row in rows] == [("acct_low", "timer", "day.began")]


async def test_without_top_ups_nobody_is_looked_at(services: Services) -> None:
    services.clock = lambda: 30_000 * DAY_MS
    assert await NewDay(services).poll() is False

"""Fundings with every end, and top-ups: one at a time, within the day's limit, and none after a return."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from app.demo.fleet import PURCHASES
from app.store import db
from tests.scenarios.asking import until
from tests.scenarios.conftest import World, opened
from tests.scenarios.waiting import Json, account_is, control, enrolled, member, objects, shows

PROGRAMME = "[funding]\ntop_up = {below = 6_000, amount = 2_000, per_day = 4_000}\n"


@pytest_asyncio.fixture
async def topped(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """The world under a programme with top-ups."""
    path = tmp_path / "programme.toml"
    path.write_text(PROGRAMME, encoding="utf-8")
    monkeypatch.setenv("CARDRAIL_PROGRAMME", str(path))
    async with opened(dsn, tmp_path) as one:
        yield one


async def payments(world: World, account: str | None) -> list[Json]:
    rows = await world.drive.everything(f"/v1/commands?account={account}")
    return [c for c in rows if c["kind"] == "create_outbound_payment"]


async def available(world: World, account: str | None, cents: int) -> Json:
    return await account_is(
        world, account, lambda a: a["balances"].get("usdc", {}).get("available") == cents, f"available {cents}"
    )


async def test_an_account_that_runs_low_is_topped_up_within_the_limit_of_the_day(topped: World) -> None:
    world, one = topped, member("low-001")
    await world.enroll(one)
    left = 10_000 - sum(PURCHASES)
    await available(world, one.account, left + 2_000)
    (fa,) = await objects(world, one.account, "financial_account")
    adjust = {"financial_account": fa["id"], "amount": {"value": -3_000, "currency": "usdc"}}
    await control(world, "adjustments", adjust)
    await available(world, one.account, left + 2_000 - 3_000 + 2_000)
    await control(world, "adjustments", {**adjust, "amount": {"value": -1_000, "currency": "usdc"}})
    seen = await account_is(
        world, one.account, lambda a: (a["waiting_for"] or {}).get("who") == "operator", "the day's limit"
    )
    assert "used up" in seen["waiting_for"]["what"]
    assert sorted(c["intent"] for c in await payments(world, one.account)) == ["funding/1", "topup/1", "topup/2"]
    await as_if_yesterday(world, one.account)
    await available(world, one.account, left + 2_000 - 3_000 + 2_000 - 1_000 + 2_000)
    assert "topup/3" in [c["intent"] for c in await payments(world, one.account)]
    told = await world.drive.everything(f"/v1/events?account={one.account}&source=timer")
    assert [(e["type"], e["status"]) for e in told] == [("day.began", "applied")]


async def as_if_yesterday(world: World, account: str | None) -> None:
    """Move the top-ups so far to the day before, and start a worker: it finds that a new day has begun."""
    conn = await db.connect(world.dsn)
    try:
        await conn.execute(
            "UPDATE accounts SET facts = jsonb_set(facts, '{topup_day}', to_jsonb((facts->>'topup_day')::bigint - 1))"
            " WHERE account_id = $1",
            account,
        )
    finally:
        await conn.close()
    world.parts.kill("worker")


async def test_a_funding_that_is_canceled_is_followed_by_a_second_intent(town: World) -> None:
    world = town
    one = member("gone-001", "+payments_wait+fa_slow")
    await enrolled(world, one)

    async def waiting(number: int) -> str:
        rows = await until(
            lambda: objects(world, one.account, "outbound_payment"),
            lambda rows: len(rows) == number,
            f"payment {number}",
        )
        return str(next(r["id"] for r in rows if r["state"] == "processing"))

    first = await waiting(1)
    await control(world, f"outbound/{first}", {"status": "canceled"})
    await shows(world, one.account, first, "canceled")
    await control(world, f"outbound/{await waiting(2)}", {"status": "posted"})
    await account_is(world, one.account, lambda a: a["state"] == "live", "live")
    assert sorted(c["intent"] for c in await payments(world, one.account)) == ["funding/1", "funding/2"]
    (fa,) = await objects(world, one.account, "financial_account")
    journal = await world.drive.everything(f"/v1/accounts/{one.account}/journal")
    assert [line["to"] for line in journal if line["object_id"] == fa["id"]] == ["pending", "open"]


async def test_a_funding_is_reviewed_posted_and_comes_back_and_no_second_one_follows(town: World) -> None:
    world = town
    one = member("back-001", "+payments_wait")
    await enrolled(world, one)
    await account_is(world, one.account, lambda a: a["state"] == "funding", "funding")
    (payment,) = await until(
        lambda: objects(world, one.account, "outbound_payment"), lambda rows: len(rows) == 1, "payment"
    )
    await control(world, f"outbound/{payment['id']}", {"status": "under_review"})
    await account_is(
        world, one.account, lambda a: "review" in ((a["waiting_for"] or {}).get("what") or ""), "under review"
    )
    await control(world, f"outbound/{payment['id']}", {"status": "posted"})
    live = await account_is(world, one.account, lambda a: a["state"] == "live", "live")
    assert live["negative"] == []
    posted = await shows(world, one.account, payment["id"], "posted")
    assert (posted["debited"]["currency"], posted["credited"]["currency"]) == ("usd", "usdc")
    (fa,) = await objects(world, one.account, "financial_account")
    spent = {"financial_account": fa["id"], "amount": {"value": -700, "currency": "usdc"}}
    await control(world, "adjustments", spent)
    await control(world, f"outbound/{payment['id']}", {"status": "returned"})
    back = await account_is(world, one.account, lambda a: a["state"] == "provisioned", "provisioned again")
    assert "came back" in back["waiting_for"]["what"]
    negative = await available(world, one.account, -700)
    assert negative["negative"] == ["usdc"]
    assert len(await payments(world, one.account)) == 1

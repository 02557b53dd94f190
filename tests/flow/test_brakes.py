"""The automatic brake on a real database: set once by a burst or a cap, never twice, and nothing is lost behind it."""

import asyncio
from typing import Any

from app.flow.deliver import Deliverer
from app.machines.commands import command_id, idempotency_key
from app.machines.programme import Brakes, Caps, Programme
from app.store import controls
from app.store.db import Pool
from app.stripe.client import Stripe
from tests.flow.test_deliver import VERSION, intend, outcome, stripe
from tests.patience import PATIENCE_S
from tests.polls import polled

__all__ = ["stripe"]

STEP = "create_cardholder"
PAYMENT = "create_outbound_payment"


def deliverer(pool: Pool, stripe: Stripe, brakes: Brakes, caps: Caps | None = None) -> Deliverer:
    return Deliverer(
        pool,
        stripe,
        Programme(brakes=brakes, caps=caps or Caps()),
        platform_account="acct_platform",
        platform_financial_account="fa_platform",
        version=VERSION,
        clock=lambda: 1_790_000_000_000,
    )


async def bound_to_park(pool: Pool, number: int, account: str | None = None) -> None:
    """A cardholder of an account that was adopted without details: it is parked before any call."""
    owner = account or f"acct_{number}"
    known = command_id(owner, f"cardholder/{number}")
    await pool.execute("INSERT INTO accounts (account_id) VALUES ($1) ON CONFLICT DO NOTHING", owner)
    await pool.execute(
        "INSERT INTO outbox (account_id, command_id, kind, intent, idempotency_key, params, caused_by, status)"
        " VALUES ($1, $2, $3, $4, $5, '{}', 'evt_1', 'pending')",
        owner,
        known,
        STEP,
        f"cardholder/{number}",
        idempotency_key(known),
    )


async def brakes(pool: Pool) -> list[dict[str, Any]]:
    async with pool.acquire() as conn:
        return [dict(row) for row in await controls.brakes(conn)]


async def test_of_several_workers_that_fail_at_once_one_sets_the_brake_once(pool: Pool, stripe: Stripe) -> None:
    for n in range(8):
        await bound_to_park(pool, n)
    workers = [deliverer(pool, stripe, Brakes(errors=8)) for _ in range(4)]
    await asyncio.gather(*(polled(worker) for worker in workers))
    assert await pool.fetchval("SELECT count(*) FROM outbox WHERE status = 'parked'") == 8
    (brake,) = await brakes(pool)
    assert (brake["step"], brake["by"]) == (STEP, "cardrail")
    assert "8 commands failed" in brake["reason"]
    rows = await pool.fetch("SELECT who, action, target FROM operator_actions")
    assert [tuple(row) for row in rows] == [("cardrail", "brakes.set", STEP)]


async def test_what_waits_behind_a_brake_stays_and_leaves_after_the_release(pool: Pool, stripe: Stripe) -> None:
    for n in range(3):
        await bound_to_park(pool, n)
    worker = deliverer(pool, stripe, Brakes(errors=3))
    await polled(worker)
    await bound_to_park(pool, 3)
    assert await polled(worker) is False
    async with pool.acquire() as conn:
        assert await controls.release_brake(conn, step=STEP, reason="fixed", by="ana") is True
    assert await polled(worker) is True
    assert await pool.fetchval("SELECT count(*) FROM outbox WHERE status = 'parked'") == 4
    assert await brakes(pool) == [], "failures from before the release must not count again"
    assert await pool.fetchval("SELECT released_by FROM brakes") == "ana"


async def test_a_person_s_brake_keeps_its_reason(pool: Pool) -> None:
    async with pool.acquire() as conn:
        await controls.set_brake(conn, step=STEP, reason="migration", by="ana")
        assert await controls.trip_brake(conn, step=STEP, reason="burst", by="cardrail") is False
    assert [(b["by"], b["reason"]) for b in await brakes(pool)] == [("ana", "migration")]


async def test_one_bad_account_or_a_step_that_mostly_works_sets_no_brake(pool: Pool, stripe: Stripe) -> None:
    for n in range(5):
        await bound_to_park(pool, n, account="acct_bad")
    await polled(deliverer(pool, stripe, Brakes(errors=5)))
    assert await brakes(pool) == []
    await pool.execute("UPDATE outbox SET status = 'settled', error = NULL")
    for n in range(5, 9):
        await bound_to_park(pool, n)
    await polled(deliverer(pool, stripe, Brakes(errors=4)))
    assert await brakes(pool) == []


async def test_the_programme_s_cap_of_the_day_stops_the_step_and_parks_one_command(pool: Pool, stripe: Stripe) -> None:
    for n in range(6):
        await intend(pool, f"funding/{n}", account=f"acct_{n}")
    await polled(deliverer(pool, stripe, Brakes(), Caps(per_programme_day=30_000)))
    counts = {r["status"]: r["n"] for r in await pool.fetch("SELECT status, count(*) AS n FROM outbox GROUP BY 1")}
    assert (counts["parked"], counts["pending"] + counts.get("unknown", 0)) == (1, 5)
    assert counts.get("unknown", 0) <= 3, "what the cap had room for goes out, unless its turn comes after the brake"
    (brake,) = await brakes(pool)
    assert (brake["step"], "per_programme_day" in brake["reason"]) == (PAYMENT, True)


async def somebody_waits_for_a_lock(pool: Pool) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if await pool.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                return
            await asyncio.sleep(0.01)


async def test_a_brake_set_after_the_claim_still_stops_the_call(pool: Pool, stripe: Stripe) -> None:
    known = await intend(pool, "funding/1")
    worker = deliverer(pool, stripe, Brakes())
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute("SELECT pg_advisory_xact_lock(hashtext('cardrail caps'))")
        sending = asyncio.create_task(polled(worker))
        await somebody_waits_for_a_lock(pool)
        await controls.set_brake(conn, step="all", reason="incident", by="ana")
    await sending
    assert await outcome(pool, known) == ("pending", None)
    row = await pool.fetchrow("SELECT attempts, first_call_at FROM outbox")
    assert row is not None
    assert tuple(row) == (0, None)

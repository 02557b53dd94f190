"""Money moves once: whatever is replayed, killed or lost, and however old a key is, with the sandbox's ledger as judge."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.errors import CardrailError
from app.ops import checkpoint, jobs, rebuild, replay, requests
from app.wiring import now_ms
from tests.ops.world import ME, World, opened
from tests.patience import PATIENCE_S

FUNDED = 10_000
ASKED = 2_500
PATHS = {
    "/v2/core/accounts": "create_account",
    "/v2/money_management/financial_accounts": "create_financial_account",
    "/v2/money_management/outbound_payments": "create_outbound_payment",
    "/v1/issuing/cardholders": "create_cardholder",
    "/v1/issuing/cards": "create_card",
}
ONCE = {"financial_account": 1, "cardholder": 1, "card": 1, "outbound_payment": 2, "usdc": FUNDED + ASKED}


@pytest_asyncio.fixture
async def world(dsn: str) -> AsyncIterator[World]:
    async with opened(dsn) as one:
        yield one


class Chaos:
    """One account on its way, and everything that may be done to it meanwhile."""

    def __init__(self, world: World, enrolled: str) -> None:
        self.world, self.enrolled = world, enrolled
        self.account: str | None = None
        self.asked = False

    async def do(self, step: tuple[str, Any]) -> None:
        name, how = step
        self.account = self.account or await self.world.account_of(self.enrolled)
        await getattr(self, f"_{name}")(how)
        await self._ask()

    async def _ask(self) -> None:
        """A funding asked for by hand, as soon as the account can take one."""
        if self.account is not None and not self.asked and await self.world.state(self.account) in ("funded", "live"):
            self.asked = True
            await self.world.act(
                self.account, "create_outbound_payment", {"amount": {"value": ASKED, "currency": "usd"}}
            )

    async def _work(self, turns: int) -> None:
        for _ in range(turns):
            await self.world.turn(self.account)

    async def _fold(self, _: Any) -> None:
        await self.world.apply()

    async def _fault(self, how: tuple[str, str]) -> None:
        self.world.fault(*how)

    async def _kill(self, after_s: float) -> None:
        """A worker dies somewhere between claiming commands and writing down what came of them."""
        await self.world.later()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(after_s):
                await self.world.deliver()

    async def _die_folding(self, after_s: float) -> None:
        await self.world.later()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(after_s):
                await self.world.apply()

    async def _set_aside(self, nth: int) -> None:
        """An operator closes a waiting event without effect, for now."""
        rows = await self._events("status = 'pending'")
        if rows:
            async with self.world.pool.acquire() as conn, conn.transaction():
                await requests.ignore_event(conn, rows[nth % len(rows)], by="test", reason="for now")

    async def _replay(self, how: tuple[int, str]) -> None:
        rows = await self._events("true")
        if rows:
            with contextlib.suppress(CardrailError):
                await self.again(rows[how[0] % len(rows)], how[1])

    async def again(self, event_id: str, mode: str) -> None:
        async with self.world.pool.acquire() as conn:
            row = await replay.found_event(conn, event_id)
            await jobs.replay_event(conn, self.world.services, row, mode, ME)

    async def _bulk(self, how: tuple[str, str | None]) -> None:
        mode, status = how
        asked = {"status": status} if status else {"account": self.account or "acct_none"}
        async with self.world.pool.acquire() as conn, conn.transaction():
            made = await jobs.start(conn, self.world.services, asked, mode=mode, rate=10_000, dry_run=False, actor=ME)
        await self.finish_job(made["id"])

    async def finish_job(self, job: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                await self.world.replayer.poll()
                state = await self.world.pool.fetchval("SELECT state FROM replays WHERE id = $1", job)
                if state != "running":
                    return

    async def _events(self, where: str) -> list[str]:
        rows = await self.world.pool.fetch(
            f"SELECT event_id FROM events WHERE {where}"
            " AND (account_id = $1 OR event_id LIKE $2 OR event_id LIKE $3) ORDER BY received_at, event_id",
            self.account or "",
            f"{self.enrolled}%",
            f"%:{self.account}",
        )
        return [row["event_id"] for row in rows]

    async def finish(self) -> None:
        """Everything set aside is taken up, everything held back let go, until the account is live and funded twice."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for event_id in await self._events("status IN ('ignored', 'parked')"):
                    await self.again(event_id, "resume")
                for row in await self.world.pool.fetch("SELECT command_id FROM outbox WHERE status = 'parked'"):
                    async with self.world.pool.acquire() as conn, conn.transaction():
                        await requests.retry_command(conn, row["command_id"], at_ms=now_ms())
                self.account = await self.world.live(self.enrolled)
                await self._ask()
                open_ones = await self._events("status IN ('ignored', 'parked', 'pending')")
                parked = await self.world.pool.fetchval("SELECT count(*) FROM outbox WHERE status <> 'settled'")
                if not open_ones and not parked and self.asked:
                    return


FAULTS = st.tuples(st.sampled_from(sorted(PATHS)), st.sampled_from(["reply_lost", "api_500", "api_429", "slow"]))
STEPS = st.one_of(
    st.tuples(st.just("work"), st.integers(1, 4)),
    st.tuples(st.just("fold"), st.none()),
    st.tuples(st.just("fault"), FAULTS),
    st.tuples(st.just("kill"), st.floats(0.001, 0.02)),
    st.tuples(st.just("die_folding"), st.floats(0.001, 0.02)),
    st.tuples(st.just("set_aside"), st.integers(0, 50)),
    st.tuples(st.just("replay"), st.tuples(st.integers(0, 100), st.sampled_from(replay.MODES))),
    st.tuples(
        st.just("bulk"),
        st.tuples(st.sampled_from(replay.MODES), st.sampled_from([None, "applied", "ignored", "pending"])),
    ),
)


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(STEPS, min_size=8, max_size=24))
async def test_whatever_is_replayed_the_ledger_shows_each_movement_once(
    world: World, steps: list[tuple[str, Any]]
) -> None:
    world.since = datetime.now(UTC)
    chaos = Chaos(world, await world.enroll())
    for step in steps:
        await chaos.do(step)
    world.box.control("PUT", "faults", {"targeted": []})
    await chaos.finish()
    assert chaos.account is not None
    assert world.made(chaos.account) == ONCE
    assert (await rebuild.check(world.services, chaos.account)).differences == []
    middle = await world.pool.fetchval("SELECT applied / 2 FROM accounts WHERE account_id = $1", chaos.account)
    assert await checkpoint.advance(world.services, chaos.account, middle) is True
    assert (await rebuild.check(world.services, chaos.account)).differences == []


async def until_called(world: World, enrolled: str, kind: str) -> str:
    """Go on until this command was called for, and give the account; what became of the call is the fault's doing."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            account = await world.account_of(enrolled)
            await world.turn(account)
            called = await world.pool.fetchval(
                "SELECT account_id FROM outbox WHERE kind = $1 AND first_call_at IS NOT NULL", kind
            )
            if called:
                return str(called)


async def outlive_the_key(world: World, kind: str, age: str) -> None:
    """Stripe forgets the key, and the command's first call is that long ago."""
    world.box.control("DELETE", "idempotency_keys")
    await world.pool.execute("UPDATE outbox SET first_call_at = now() - $2::text::interval WHERE kind = $1", kind, age)


OLD = [("create_outbound_payment", "30 days"), ("create_cardholder", "24 hours"), ("create_card", "24 hours")]
WHERE = {kind: path for path, kind in PATHS.items()}


@pytest.mark.parametrize(("kind", "age"), OLD)
async def test_past_the_life_of_its_key_a_lost_answer_is_found_by_reading_back(
    world: World, kind: str, age: str
) -> None:
    world.fault(WHERE[kind], "reply_lost")
    enrolled = await world.enroll()
    await until_called(world, enrolled, kind)
    assert await world.pool.fetchval("SELECT status FROM outbox WHERE kind = $1", kind) == "unknown"
    await outlive_the_key(world, kind, age)
    account = await world.live(enrolled)
    assert await world.pool.fetchval("SELECT status FROM outbox WHERE kind = $1", kind) == "settled"
    assert world.calls(WHERE[kind]) == 1
    assert world.made(account) == {**ONCE, "outbound_payment": 1, "usdc": FUNDED}


@pytest.mark.parametrize(("kind", "age"), OLD)
async def test_past_the_life_of_its_key_what_was_not_made_waits_for_a_person(world: World, kind: str, age: str) -> None:
    world.fault(WHERE[kind], "api_500")
    account = await until_called(world, await world.enroll(), kind)
    await outlive_the_key(world, kind, age)
    for again in range(3):
        async with asyncio.timeout(PATIENCE_S):
            while (
                row := await world.pool.fetchrow("SELECT status, error FROM outbox WHERE kind = $1", kind)
            ) is not None:
                if row["status"] == "parked":
                    break
                await world.turn(account)
        assert row is not None
        assert row["error"]["code"] == "outcome_unknown"
        assert world.calls(WHERE[kind]) == 1, f"called again after {again} retries"
        async with world.pool.acquire() as conn, conn.transaction():
            command = await conn.fetchval("SELECT command_id FROM outbox WHERE kind = $1", kind)
            await requests.retry_command(conn, command, at_ms=now_ms())
    assert (
        world.made(account)[{"create_outbound_payment": "outbound_payment"}.get(kind, kind.removeprefix("create_"))]
        == 0
    )

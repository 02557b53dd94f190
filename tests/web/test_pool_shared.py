"""What needs two connections does not keep both from everybody: all of a pool may not wait for a second one."""

import asyncio

import httpx

from app.ops import jobs
from app.ops.parts import Actor
from app.store import replays
from app.wiring import Services
from tests.patience import PATIENCE_S
from tests.web.conftest import add_account, services_with
from tests.web.test_api_operations import add_event


async def test_more_replays_at_once_than_the_pool_has_connections_all_end(
    api: httpx.AsyncClient, services: Services
) -> None:
    await add_account(services.pool, "acct_1")
    await add_event(services, "evt_1", status="applied")
    body = {"mode": "state", "dry_run": False, "reason": "r"}
    at_once = 3 * services.settings.pool_size
    answers = await asyncio.gather(*(api.post("/v1/events/evt_1/replays", json=body) for _ in range(at_once)))
    assert {answer.status_code for answer in answers} == {202}


async def test_the_smallest_pool_is_enough_for_what_takes_most_connections(dsn: str) -> None:
    """A job that is looked through holds its lock and a snapshot, and notes how far it is on a third."""
    async with services_with(dsn, CARDRAIL_POOL_SIZE="2") as services:
        await add_account(services.pool, "acct_1")
        await services.pool.execute(
            "INSERT INTO events (account_id, event_id, source, type, kind, created, status)"
            " SELECT 'acct_1', 'evt_' || i, 'webhook', 'x', 'snapshot', now(), 'ignored' FROM generate_series(0, $1) i",
            jobs.FORESEEN_AT_ONCE_MAX,
        )
        actor = Actor(who="me", reason="r", key="key_1")
        async with services.pool.acquire() as conn:
            made = await jobs.start(
                conn, services, {"account": "acct_1"}, mode="state", rate=1, dry_run=True, actor=actor
            )
        async with asyncio.timeout(PATIENCE_S / 3):
            assert await jobs.Replayer(services).poll()
        async with services.pool.acquire() as conn:
            found = await replays.find(conn, made["id"])
        assert found is not None
        assert found["forecast"]["complete"]

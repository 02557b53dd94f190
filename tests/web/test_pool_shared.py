"""What needs two connections does not keep both from everybody: all of a pool may not wait for a second one."""

import asyncio

import httpx

from app.wiring import Services
from tests.web.conftest import add_account
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

"""Writes that work outside one transaction honour their key as all others do; tests/contract walks every write route."""

import asyncio
from typing import Any

import httpx
import pytest

from app.ops.parked import fingerprint
from app.wiring import Services
from tests.patience import PATIENCE_S
from tests.web.conftest import add_account
from tests.web.test_api_operations import add_command, add_event

REBUILDS = "/v1/accounts/acct_1/rebuilds"
EVENTS = fingerprint("event", "issuing_card.created", "c")
COMMANDS = fingerprint("command", "create_card", "c")
DO: dict[str, Any] = {"reason": "r", "dry_run": False}
KEY = {"Idempotency-Key": "k"}
ERROR = {"code": "c", "message": "m"}
APART = {
    REBUILDS: {"reason": "r"},
    f"/v1/parked/{EVENTS}/retries": DO,
    f"/v1/parked/{EVENTS}/ignores": DO,
    f"/v1/parked/{COMMANDS}/discards": DO,
    "/v1/retention/runs": DO,
    "/v1/reconciliations": DO,
    "/v1/events/evt_1/replays": {"mode": "resume", "reason": "r"},
}
"""Those that need no Stripe; equal requests are told apart by what the first one changed."""


@pytest.mark.parametrize(("path", "body"), APART.items(), ids=str)
async def test_a_write_of_many_transactions_is_done_once_under_its_key(
    api: httpx.AsyncClient, services: Services, path: str, body: dict[str, Any]
) -> None:
    await add_event(services, "evt_1", status="parked", error=ERROR)
    await add_command(services, "cmd_1", error=ERROR)
    if path != "/v1/reconciliations":  # of nobody: there is no Stripe here
        await add_account(services.pool, "acct_1")
    first = await api.post(path, json=body, headers=KEY)
    assert (first.status_code, "Idempotent-Replayed" in first.headers) == (202, False), first.text
    noted = await services.pool.fetchval("SELECT count(*) FROM operator_actions")
    second = await api.post(path, json=body, headers=KEY)
    assert (second.status_code, second.text) == (202, first.text)
    assert second.headers["Idempotent-Replayed"] == "true"
    assert await services.pool.fetchval("SELECT count(*) FROM operator_actions") == noted
    other = await api.post(path, json={**body, "reason": "another"}, headers=KEY)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")


async def claimed(services: Services, after: Any = None) -> Any:
    """Who claimed the key, once somebody has, or somebody else than ``after``."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            token = await services.pool.fetchval("SELECT lease_token FROM idempotency WHERE key = 'k'")
            if token != after:
                return token
            await asyncio.sleep(0.01)


async def test_an_equal_request_learns_that_the_first_is_under_way_and_takes_over_when_it_died(
    api: httpx.AsyncClient, services: Services
) -> None:
    await add_account(services.pool, "acct_1")
    await services.pool.execute(
        "UPDATE accounts SET lease_token = gen_random_uuid(), lease_until = now() + interval '1 hour'"
    )  # a worker is busy with it, so a repair waits
    async with asyncio.TaskGroup() as group:
        first = group.create_task(api.post(REBUILDS, json=DO, headers=KEY))
        token = await claimed(services)
        equal = await api.post(REBUILDS, json=DO, headers=KEY)
        assert (equal.status_code, equal.json()["code"]) == (409, "idempotency_in_progress")
        other = await api.post(REBUILDS, json={**DO, "reason": "another"}, headers=KEY)
        assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")
        await services.pool.execute("UPDATE idempotency SET lease_until = now()")  # as if its process had died
        heir = group.create_task(api.post(REBUILDS, json=DO, headers=KEY))
        await claimed(services, after=token)
        await services.pool.execute("UPDATE accounts SET lease_token = NULL, lease_until = NULL")
    assert first.result().status_code == 202, first.result().text
    assert heir.result().status_code == 202, heir.result().text
    again = await api.post(REBUILDS, json=DO, headers=KEY)
    assert (again.text, again.headers["Idempotent-Replayed"]) == (heir.result().text, "true")


async def test_equal_requests_at_the_same_moment_do_the_work_once(api: httpx.AsyncClient, services: Services) -> None:
    await add_account(services.pool, "acct_1")
    answers = await asyncio.gather(*(api.post(REBUILDS, json=DO, headers=KEY) for _ in range(4)))
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert {a.json()["code"] for a in answers if a.status_code == 409} <= {"idempotency_in_progress"}
    assert len({answer.text for answer in answers if answer.status_code == 202}) == 1
    assert await services.pool.fetchval("SELECT count(*) FROM operator_actions") == 1


async def test_a_request_that_failed_leaves_its_key_free(api: httpx.AsyncClient, services: Services) -> None:
    assert (await api.post(REBUILDS, json=DO, headers=KEY)).status_code == 404
    await add_account(services.pool, "acct_1")
    assert (await api.post(REBUILDS, json={**DO, "reason": "now it is there"}, headers=KEY)).status_code == 202

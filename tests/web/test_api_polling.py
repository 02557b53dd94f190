"""Asking again and again: 304 while nothing changed, and the wait for a state."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import get_args

import httpx
import pytest
from fastapi import FastAPI

from app.machines.lifecycle import OFF, STAGES
from app.web.schemas import State
from app.wiring import Services
from tests.patience import PATIENCE_S, until_true
from tests.web.conftest import add_account
from tests.web.test_api_enrollments import body as enrollment
from tests.web.test_api_operations import add_command, add_event

ACCOUNT = "/v1/accounts/acct_1"


async def tag(api: httpx.AsyncClient, path: str = ACCOUNT) -> str:
    """The tag of the thing as it is now; asking with it is a 304, so long as nothing changes."""
    answer = await api.get(path)
    found = answer.headers["etag"]
    same = await api.get(path, headers={"If-None-Match": f'"other", W/{found}'})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", found)
    assert (await api.get(path, headers={"If-None-Match": '"other"'})).status_code == 200
    return str(found)


async def changes(services: Services) -> AsyncIterator[str]:
    """What an account's answer depends on, changed one by one."""
    await add_account(services.pool, "acct_1", state="funding", version=7)
    yield "version = version + 1"
    await services.pool.execute("UPDATE accounts SET version = version + 1")
    yield "applied = applied + 1"
    await services.pool.execute("UPDATE accounts SET applied = applied + 1")
    yield "an error"
    await add_command(services, "cmd_1", status="unknown", error={"code": "c", "message": "m"})
    yield "another error"
    await services.pool.execute("UPDATE outbox SET error = $1", {"code": "d", "message": "m"})
    yield "parked"
    await services.pool.execute("UPDATE outbox SET status = 'parked', updated_at = now()")
    yield "the command is over"
    await services.pool.execute("UPDATE outbox SET status = 'settled'")
    yield "a parked event"
    await add_event(services, "evt_1", status="parked", error={"code": "c", "message": "m"})
    yield "the deadline passes"
    await services.pool.execute("UPDATE accounts SET since = now() - interval '300 days'")


async def test_the_tag_of_an_account_changes_with_all_it_shows(api: httpx.AsyncClient, services: Services) -> None:
    seen = [(change, await tag(api)) async for change in changes(services)]
    seen.append(("end", await tag(api)))
    assert [one for one, two in pairwise(seen) if one[1] == two[1]] == []
    held = await api.post(f"{ACCOUNT}/hold", json={"reason": "r"})
    assert held.status_code == 202
    assert await tag(api) != seen[-1][1]


async def test_what_a_202_points_to_can_be_polled_with_its_tag(api: httpx.AsyncClient, services: Services) -> None:
    await add_account(services.pool, "acct_1")
    funding = {"amount": {"value": 500, "currency": "usd"}}
    asked = [
        await api.post("/v1/enrollments", json=enrollment()),
        await api.post(f"{ACCOUNT}/fundings", json=funding),
        await api.post("/v1/replays", json={"filter": {"status": "parked"}, "reason": "r"}),
    ]
    await add_command(services, "cmd_1")
    for path in [answer.headers["location"] for answer in asked] + ["/v1/commands/cmd_1"]:
        before = await tag(api, path)
        for table, change in (
            ("replays", "done = done + 1"),
            ("outbox", "attempts = attempts + 1"),
            ("events", 'error = \'{"code": "later", "message": "m"}\''),
        ):
            await services.pool.execute(f"UPDATE {table} SET {change}")
        assert await tag(api, path) != before
        await services.pool.execute("UPDATE events SET error = NULL")


async def test_the_wait_for_a_state_ends_when_it_is_reached(
    app: FastAPI, api: httpx.AsyncClient, services: Services
) -> None:
    await add_account(services.pool, "acct_1", state="funding")
    waiting = asyncio.create_task(api.get(f"{ACCOUNT}?wait_for=funded&timeout_s=120"))
    await until_true(lambda: app.state.watch.number == 1)
    assert not waiting.done()
    await services.pool.execute("UPDATE accounts SET state = 'cardholder_ready'")
    async with asyncio.timeout(PATIENCE_S):
        assert (await waiting).json()["state"] == "cardholder_ready"
    assert (await api.get(f"{ACCOUNT}?wait_for=enrolled&timeout_s=20")).json()["state"] == "cardholder_ready"


async def test_the_wait_ends_at_its_timeout_with_what_is(api: httpx.AsyncClient, services: Services) -> None:
    await add_account(services.pool, "acct_1", state="funding")
    answer = await api.get(f"{ACCOUNT}?wait_for=live&timeout_s=0.2")
    assert (answer.status_code, answer.json()["state"]) == (200, "funding")


@pytest.mark.parametrize("state", ["closed", "rejected"])
async def test_nobody_waits_for_what_cannot_come(api: httpx.AsyncClient, services: Services, state: str) -> None:
    await add_account(services.pool, "acct_1", state=state)
    async with asyncio.timeout(PATIENCE_S):
        assert (await api.get(f"{ACCOUNT}?wait_for=live&timeout_s=120")).json()["state"] == state
        assert (await api.get("/v1/accounts/acct_nobody?wait_for=live&timeout_s=120")).status_code == 404


@pytest.mark.parametrize("query", ["wait_for=happy", "wait_for=", "wait_for=live&timeout_s=-1", "timeout_s=121"])
async def test_a_wait_that_cannot_be_meant_is_refused(api: httpx.AsyncClient, services: Services, query: str) -> None:
    await add_account(services.pool, "acct_1")
    answer = await api.get(f"{ACCOUNT}?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] in {"wait_for", "timeout_s"}


async def test_many_who_wait_cost_the_database_what_one_costs(
    app: FastAPI, api: httpx.AsyncClient, services: Services
) -> None:
    count = 300
    for i in range(count):
        await add_account(services.pool, f"acct_{i}", state="funding")
    waiting = [
        asyncio.create_task(api.get(f"/v1/accounts/acct_{i}?wait_for=funded&timeout_s=120")) for i in range(count)
    ]
    await until_true(lambda: app.state.watch.number == count)
    assert services.api_pool.get_idle_size() > 0
    assert not any(task.done() for task in waiting)
    await services.pool.execute("UPDATE accounts SET state = 'funded'")
    answers = await asyncio.gather(*waiting)
    assert {(a.status_code, a.json()["state"]) for a in answers} == {(200, "funded")}


def test_the_states_of_the_api_are_those_of_the_machine() -> None:
    assert set(get_args(State)) == {*STAGES, *OFF}


@pytest.mark.parametrize("path", ["/v1/events", "/v1/commands", "/v1/authorizations", "/v1/replays"])
async def test_pages_hold_each_row_once_while_others_write(
    api: httpx.AsyncClient, services: Services, path: str
) -> None:
    now = datetime.now(UTC)

    async def write(name: str, at: datetime) -> None:
        await add_event(services, f"evt_{name}", received_at=at)
        await add_command(services, f"cmd_{name}", created_at=at)
        await services.pool.execute(
            "INSERT INTO decisions (account_id, authorization_id, request_event_id, approved, reason, amount, currency,"
            " requested, took_us, decided_at) VALUES ('acct_1', $1, $1, true, 'r', 1, 'usd', 1, 1, $2)",
            f"iauth_{name}",
            at,
        )
        await services.pool.execute(
            "INSERT INTO replays (id, state, mode, filter, rate, reason, by, created_at)"
            " VALUES ($1, 'planned', 'state', '{}', 1, 'r', 'me', $2)",
            f"rpl_{name}",
            at,
        )

    for i in range(20):
        await write(f"old_{i:02}", now - timedelta(seconds=i // 3))
    seen: list[str] = []
    cursor: str | None = None
    for number in range(20):
        query = {"limit": "3"} | ({"cursor": cursor} if cursor else {})
        page = (await api.get(path, params=query)).json()
        seen += [row.get("id") or row["authorization"] for row in page["data"]]
        await write(f"new_{number:02}", datetime.now(UTC))
        cursor = page["next_cursor"]
        if cursor is None:
            break
    old = [name.partition("_old_")[2] for name in seen if "_old_" in name]
    assert sorted(old) == [f"{i:02}" for i in range(20)]
    assert len(set(seen)) == len(seen)

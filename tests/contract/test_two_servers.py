"""Two server processes on one database behave as one, and a process that ends lets those who wait go."""

import asyncio
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from functools import partial

import httpx
import pytest
import pytest_asyncio

from app.demo.processes import free_port
from app.store import keys
from tests.contract.conftest import Live
from tests.patience import PATIENCE_S, ends_within
from tests.web.conftest import add_account
from tests.web.test_api_enrollments import body


@pytest_asyncio.fixture
async def second(live: Live) -> AsyncIterator[tuple[Process, str]]:
    """Another server beside the first, and its address."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", "serve", "--port", str(port), "--workers", "0"),
        env=live.parts._env,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient(timeout=PATIENCE_S) as http:
            await live.parts.ready(http, f"{url}/readyz")
        yield process, url
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.slow
async def test_two_processes_are_one_service_and_end_without_keeping_anyone(
    live: Live, second: tuple[Process, str]
) -> None:
    process, other = second
    both = (live.parts.url, other)
    async with httpx.AsyncClient(timeout=PATIENCE_S) as http:
        await a_revoked_key_stops_everywhere_within_a_second(http, live, both)
        await equal_requests_have_one_effect(http, live, both)
        await a_wait_ends_with_its_process(http, live, process, other)


async def a_revoked_key_stops_everywhere_within_a_second(
    http: httpx.AsyncClient, live: Live, both: tuple[str, str]
) -> None:
    row, key = await keys.create(live.pool, name="short", scope="read")
    headers = {"Authorization": f"Bearer {key}"}
    for url in both:
        assert (await http.get(f"{url}/v1/brakes", headers=headers)).status_code == 200
    await keys.revoke(live.pool, row["id"])

    async def still(url: str) -> bool:
        return (await http.get(f"{url}/v1/brakes", headers=headers)).status_code != 401

    await asyncio.gather(*(ends_within(1, partial(still, url)) for url in both))


async def equal_requests_have_one_effect(http: httpx.AsyncClient, live: Live, both: tuple[str, str]) -> None:
    headers = {"Authorization": f"Bearer {live.parts.key}", "Idempotency-Key": "two-servers"}
    hold = {"reason": "two-servers"}
    await add_account(live.pool, "acct_two_servers")
    paths = [f"{url}/v1/accounts/acct_two_servers/hold" for url in both] * 4
    answers = await asyncio.gather(*(http.post(path, json=hold, headers=headers) for path in paths))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.text for answer in answers}) == 1
    count = await live.pool.fetchval("SELECT count(*) FROM operator_actions WHERE reason = 'two-servers'")
    assert count == 1
    other = await http.post(f"{both[0]}/v1/enrollments", json=body(), headers=headers)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")


async def a_wait_ends_with_its_process(http: httpx.AsyncClient, live: Live, process: Process, other: str) -> None:
    headers = {"Authorization": f"Bearer {live.parts.key}"}
    path = f"{other}/v1/accounts/acct_two_servers"
    sent = asyncio.Event()

    async def trace(name: str, _: object) -> None:
        if name == "http11.send_request_body.complete":
            sent.set()

    asked = http.get(f"{path}?wait_for=restricted&timeout_s=120", headers=headers, extensions={"trace": trace})
    waiting = asyncio.create_task(asked)
    await sent.wait()
    (await http.get(f"{other}/livez")).raise_for_status()  # whatever came before this has been read
    process.terminate()
    async with asyncio.timeout(PATIENCE_S):
        answer = await waiting
    assert answer.status_code == 200
    assert answer.json()["id"] == "acct_two_servers"
    async with asyncio.timeout(PATIENCE_S):
        assert await process.wait() == 0

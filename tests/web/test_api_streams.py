"""Streams over a real socket: lines as they are written, and no gap over a reconnect."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import orjson
import pytest_asyncio
import uvicorn
from fastapi import FastAPI

from app.store import db
from app.wiring import Services
from tests.web.conftest import ADMIN, add_account


@pytest_asyncio.fixture
async def live(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=1))
    running = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn offers nothing to await
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    headers = {"Authorization": f"Bearer {ADMIN}"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=20) as client:
        yield client
    server.should_exit = True
    await running


async def write(pool: db.Pool, account_id: str, *seqs: int) -> None:
    await pool.executemany(
        "INSERT INTO journal (account_id, seq, machine, object_id, to_state, event_id, at)"
        " VALUES ($1, $2, 'lifecycle', $1, 'live', 'evt_1', clock_timestamp())",
        [(account_id, seq) for seq in seqs],
    )


async def read(live: httpx.AsyncClient, path: str, count: int, last: str | None = None) -> list[tuple[str, int]]:
    """The ids and sequence numbers of the next ``count`` lines."""
    found: list[tuple[str, int]] = []
    name = ""
    headers = {} if last is None else {"Last-Event-ID": last}
    async with asyncio.timeout(10), live.stream("GET", path, headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        async for line in answer.aiter_lines():
            if line.startswith("id: "):
                name = line.removeprefix("id: ")
            if line.startswith("data: "):
                found.append((name, orjson.loads(line.removeprefix("data: "))["seq"]))
            if len(found) == count:
                break
    return found


async def test_an_account_is_streamed_and_resumed_without_a_gap(live: httpx.AsyncClient, services: Services) -> None:
    await add_account(services.pool, "acct_1")
    await write(services.pool, "acct_1", 1, 2)
    first = await read(live, "/v1/accounts/acct_1/stream", 2)
    assert first == [("acct_1:1", 1), ("acct_1:2", 2)]
    await write(services.pool, "acct_1", 3)
    waiting = asyncio.create_task(read(live, "/v1/accounts/acct_1/stream", 2, last="acct_1:2"))
    await asyncio.sleep(0.3)
    await write(services.pool, "acct_1", 4)
    assert await waiting == [("acct_1:3", 3), ("acct_1:4", 4)]


async def test_all_accounts_are_streamed_and_resumed_without_a_gap(live: httpx.AsyncClient, services: Services) -> None:
    waiting = asyncio.create_task(read(live, "/v1/stream", 2))
    await asyncio.sleep(0.5)
    await write(services.pool, "acct_1", 1)
    await write(services.pool, "acct_2", 1)
    first = await waiting
    assert [name.partition(":")[2] for name, _ in first] == ["acct_1:1", "acct_2:1"]
    await write(services.pool, "acct_1", 2, 3)
    rest = await read(live, "/v1/stream", 3, last=first[-1][0])
    assert [name.partition(":")[2] for name, _ in rest][-2:] == ["acct_1:2", "acct_1:3"]


async def test_a_foreign_last_event_id_is_refused(api: httpx.AsyncClient, services: Services) -> None:
    await add_account(services.pool, "acct_1")
    for path in ("/v1/accounts/acct_1/stream", "/v1/stream"):
        answer = await api.get(path, headers={"Last-Event-ID": "acct_9:x"})
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_last_event_id")

"""Streams over a real socket: lines as they are written, and no gap over a reconnect."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable

import httpx
import orjson
import pytest
import pytest_asyncio
import uvicorn
from fastapi import FastAPI

from app.store import db, keys
from app.web.main import create_app
from app.web.tail import SPENT, WAITING_LINES_MAX, Seat, Tail
from app.wiring import Services, open_services
from tests.patience import PATIENCE_S
from tests.web.conftest import ADMIN, add_account


@contextlib.asynccontextmanager
async def listening(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the app behind a real socket."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=1))
    running = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn offers nothing to await
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    headers = {"Authorization": f"Bearer {ADMIN}"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=PATIENCE_S) as client:
        yield client
    server.should_exit = True
    await running


@pytest_asyncio.fixture
async def live(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with listening(app) as client:
        yield client


async def until(holds: Callable[[], bool]) -> None:
    """Return once it holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 - a property of the server has no event
            await asyncio.sleep(0.01)


async def write(pool: db.Pool | db.Connection, account_id: str, *seqs: int) -> None:
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
    async with asyncio.timeout(PATIENCE_S), live.stream("GET", path, headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        async for line in answer.aiter_lines():
            if line.startswith("id: "):
                name = line.removeprefix("id: ")
            if line.startswith("data: "):
                found.append((name, orjson.loads(line.removeprefix("data: "))["seq"]))
            if len(found) == count:
                break
    return found


async def test_an_account_is_streamed_and_resumed_without_a_gap(
    app: FastAPI, live: httpx.AsyncClient, services: Services
) -> None:
    await add_account(services.pool, "acct_1")
    await write(services.pool, "acct_1", 1, 2)
    first = await read(live, "/v1/accounts/acct_1/stream", 2)
    assert first == [("acct_1:1", 1), ("acct_1:2", 2)]
    await write(services.pool, "acct_1", 3)
    waiting = asyncio.create_task(read(live, "/v1/accounts/acct_1/stream", 2, last="acct_1:2"))
    await until(lambda: app.state.tail.open_seats == 1)
    await write(services.pool, "acct_1", 4)
    assert await waiting == [("acct_1:3", 3), ("acct_1:4", 4)]


async def test_all_accounts_are_streamed_and_resumed_without_a_gap(live: httpx.AsyncClient, services: Services) -> None:
    async with asyncio.timeout(PATIENCE_S), live.stream("GET", "/v1/stream") as answer:
        lines = answer.aiter_lines()
        start = (await anext(lines)).removeprefix("id: ")
        await write(services.pool, "acct_1", 1)
        await write(services.pool, "acct_2", 1)
        assert [await anext(lines) for _ in range(2)][1].endswith(":acct_1:1")
    first = await read(live, "/v1/stream", 2, last=start)
    assert [name.partition(":")[2] for name, _ in first] == ["acct_1:1", "acct_2:1"]
    await write(services.pool, "acct_1", 2, 3)
    rest = await read(live, "/v1/stream", 2, last=first[-1][0])
    assert [name.partition(":")[2] for name, _ in rest] == ["acct_1:2", "acct_1:3"]


async def commit_late(pool: db.Pool, account: str, lines: int, rng: random.Random) -> None:
    """Write an account's life in transactions that take their place early and end late, one in five in vain."""
    seq = 0
    while seq < lines:
        count = min(rng.randint(1, 3), lines - seq)
        async with pool.acquire() as conn:
            transaction = conn.transaction()
            await transaction.start()
            await conn.execute("SELECT pg_current_xact_id()")
            await asyncio.sleep(rng.random() * 0.05)
            await write(conn, account, *range(seq + 1, seq + count + 1))
            await asyncio.sleep(rng.random() * rng.choice([0.01, 0.05, 0.3]))
            if rng.random() < 0.2:
                await transaction.rollback()
            else:
                await transaction.commit()
                seq += count


async def follow(doors: list[httpx.AsyncClient], total: int, rng: random.Random) -> list[str]:
    """Read ``total`` lines through connections that break at random, each to any of the processes."""
    names: list[str] = []
    while len(names) < total:
        count = min(rng.randint(1, 25), total - len(names))
        found = await read(rng.choice(doors), "/v1/stream", count, last=names[-1] if names else "0:acct_0:0")
        names += [name for name, _ in found]
    return names


@pytest.mark.parametrize("seed", [1, 2])
async def test_every_line_comes_once_and_in_order_however_late_it_commits(
    services: Services, live: httpx.AsyncClient, seed: int
) -> None:
    rng = random.Random(seed)
    accounts, lines = [f"acct_{n}" for n in range(6)], 20
    pool = await db.open_pool(services.dsn, size=len(accounts), name="writers")
    async with open_services(services.settings) as second, listening(create_app(second)) as other:
        writing = [commit_late(pool, account, lines, rng) for account in accounts]
        reading = [follow([live, other], len(accounts) * lines, rng) for _ in range(3)]
        async with asyncio.timeout(PATIENCE_S):
            found, _ = await asyncio.gather(asyncio.gather(*reading), asyncio.gather(*writing))
        late = asyncio.create_task(read(live, "/v1/stream", 1, last=found[0][-1]))
        await write(pool, "acct_last", 1)
        [(after_all, _)] = await late
    assert after_all.endswith("acct_last:1")
    for names in found:
        told = [name.split(":", 1)[1] for name in names]
        assert sorted(told) == sorted(f"{account}:{seq}" for account in accounts for seq in range(1, lines + 1))
        for account in accounts:
            own = [name for name in told if name.startswith(f"{account}:")]
            assert own == [f"{account}:{seq}" for seq in range(1, lines + 1)]
    await pool.close()


async def test_many_streams_share_one_reader(live: httpx.AsyncClient, app: FastAPI, services: Services) -> None:
    tail: Tail = app.state.tail
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        readers = [group.create_task(read(live, "/v1/stream", 1)) for _ in range(20)]
        await until(lambda: tail.open_seats == 20)
        tails = await services.pool.fetchval("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tail'")
        await write(services.pool, "acct_1", 1)
    assert {task.result()[0][0].partition(":")[2] for task in readers} == {"acct_1:1"}
    assert tails <= 1
    await until(lambda: tail.open_seats == 0)


async def test_a_stream_ends_when_its_key_is_revoked(live: httpx.AsyncClient, services: Services, app: FastAPI) -> None:
    async with services.pool.acquire() as conn:
        row, key = await keys.create(conn, name="watcher", scope="read")
    headers = {"Authorization": f"Bearer {key}"}
    async with asyncio.timeout(PATIENCE_S), live.stream("GET", "/v1/stream", headers=headers) as answer:
        await until(lambda: app.state.tail.open_seats == 1)
        async with services.pool.acquire() as conn:
            await keys.revoke(conn, row["id"])
        said = [line async for line in answer.aiter_lines() if line]
        assert said[1:] == [SPENT.decode().strip()]


async def test_a_reader_that_takes_nothing_is_dropped_and_costs_no_memory() -> None:
    seat = Seat(None, "key")
    seat.open = True
    for n in range(3 * WAITING_LINES_MAX):
        seat.put(n, b"x", 1)
    assert seat.dropped
    assert await seat.take() == []


async def test_a_bare_seq_resumes_the_stream_of_one_account(live: httpx.AsyncClient, services: Services) -> None:
    await add_account(services.pool, "acct_1")
    await write(services.pool, "acct_1", 1, 2)
    [(name, _)] = await read(live, "/v1/accounts/acct_1/stream", 1, last="1")
    assert name == "acct_1:2"


async def test_a_foreign_last_event_id_is_refused(api: httpx.AsyncClient, services: Services) -> None:
    await add_account(services.pool, "acct_1")
    for path in ("/v1/accounts/acct_1/stream", "/v1/stream"):
        answer = await api.get(path, headers={"Last-Event-ID": "acct_9:x"})
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_last_event_id")

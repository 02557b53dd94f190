"""Several hosts in one URL: the first that may be written to is taken, and a silent one keeps nobody waiting."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from app.flow import loops
from app.store import db, embedded, hosts
from tests.patience import PATIENCE_S, until_true
from tests.store.test_borrow import hanging


@pytest.mark.parametrize(
    ("dsn", "each"),
    [
        ("postgresql://u:p@a:1/d?x=1", ["postgresql://u:p@a:1/d?x=1"]),
        ("postgresql://u:p@a:1,b:2/d?x=1", ["postgresql://u:p@a:1/d?x=1", "postgresql://u:p@b:2/d?x=1"]),
        ("postgresql://[::1]:1,b/d", ["postgresql://[::1]:1/d", "postgresql://b/d"]),
        ("postgresql://u@/d?host=/s/a,/s/b", ["postgresql://u@/d?host=/s/a", "postgresql://u@/d?host=/s/b"]),
        ("postgresql://u@/d?host=a,b&port=1,2", ["postgresql://u@/d?host=a&port=1", "postgresql://u@/d?host=b&port=2"]),
        ("postgresql://u@/d?host=a,b&port=1", ["postgresql://u@/d?host=a&port=1", "postgresql://u@/d?host=b&port=1"]),
    ],
)
def test_each_host_has_a_url_of_its_own(dsn: str, each: list[str]) -> None:
    assert hosts.each(dsn) == each


@pytest.fixture
async def silent(tmp_path: Path) -> AsyncIterator[Path]:
    """The folder of a server that takes connections and never says anything."""
    ended = asyncio.Event()

    async def say_nothing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    server = await asyncio.start_unix_server(say_nothing, tmp_path / ".s.PGSQL.5432")
    yield tmp_path
    ended.set()
    server.close()


async def test_a_silent_host_keeps_nobody_waiting(dsn: str, postgres: embedded.Embedded, silent: Path) -> None:
    both = dsn.replace(str(postgres.sockets), f"{silent},{postgres.sockets}")
    async with asyncio.timeout(PATIENCE_S):
        pool = await db.open_pool(both, size=2, name="test")
        alone = await db.connect(both, timeout_s=10 * PATIENCE_S)
    assert await pool.fetchval("SELECT 1") == await alone.fetchval("SELECT 1") == 1
    await alone.close()
    await db.close(pool)


async def test_when_no_host_will_do_each_is_named_with_its_reason(dsn: str, postgres: embedded.Embedded) -> None:
    missing = dsn.replace(str(postgres.sockets), f"/nowhere,{postgres.sockets}")
    with pytest.raises(ConnectionError, match=r"/nowhere: FileNotFoundError.*it does not take writes now"):
        await db.connect(f"{missing}&target_session_attrs=standby")
    with pytest.raises(ConnectionError, match="it does not take writes now"):
        await db.connect(f"{dsn}&target_session_attrs=standby")


async def test_what_runs_on_a_server_that_is_given_up_ends_at_once_except_where_it_has_a_limit_of_its_own(
    dsn: str,
) -> None:
    pool = await db.open_pool(dsn, size=2, name="given up")
    hurried = await db.open_pool(dsn, size=1, name="hurried", hurried=True)
    kept = await hurried.fetchval("SELECT pg_backend_pid()")
    async with hanging(dsn, "given up"):
        begun = time.monotonic()
        waiting = asyncio.create_task(pool.fetchval("SELECT 1"))
        await asyncio.sleep(0)
        db.cut_off(dsn)
        with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.InterfaceError)):
            await waiting
        assert time.monotonic() - begun < db.COMMAND_TIMEOUT_S
        assert await pool.fetchval("SELECT 1") == 1
    assert await hurried.fetchval("SELECT pg_backend_pid()") == kept
    await asyncio.gather(db.close(pool), db.close(hurried))


async def test_closing_waits_for_no_server_that_hangs(dsn: str) -> None:
    pool = await db.open_pool(dsn, size=1, name="closing")
    async with hanging(dsn, "closing"):
        await pool.acquire()
        async with asyncio.timeout(PATIENCE_S):
            await db.close(pool, within_s=0.1)
        with pytest.raises(asyncpg.InterfaceError, match="closed"):
            await pool.acquire()


@pytest.mark.parametrize(
    "end", ["SELECT pg_terminate_backend(pg_backend_pid())", "SET default_transaction_read_only = on"]
)
async def test_a_listener_tells_that_its_server_is_lost_and_hears_again(dsn: str, pool: db.Pool, end: str) -> None:
    made: list[db.Connection] = []
    heard: list[int] = []
    lost: list[int] = []

    async def connect() -> db.Connection:
        made.append(await db.connect(dsn))
        return made[-1]

    async def hears() -> None:
        before = len(heard)
        async with asyncio.timeout(PATIENCE_S):
            while len(heard) == before:
                await pool.execute(f"NOTIFY {loops.CHANNEL}")
                await asyncio.sleep(0.02)

    listening = asyncio.create_task(loops.listen(connect, lambda: heard.append(1), lost=lambda: lost.append(len(made))))
    await hears()
    with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError):
        await made[0].execute(end)
    await until_true(lambda: lost == [1] and len(made) == 2)
    await hears()
    listening.cancel()

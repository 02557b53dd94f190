"""A database that hangs, its connections open and nothing answered, holds nobody longer than was said."""

import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator

import asyncpg
import pytest

from app.store import db
from app.web import health
from tests.web.conftest import services_with


@contextlib.asynccontextmanager
async def hanging(dsn: str, name: str) -> AsyncIterator[None]:
    """While it lasts, the server's side of every connection of this name stands still."""
    watcher = await db.connect(dsn)
    stopped = await watcher.fetchval(
        "SELECT array_agg(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1", name
    )
    await watcher.close()
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


async def test_a_hanging_statement_is_cut_off_in_time_with_its_transaction(dsn: str) -> None:
    pool = await db.open_pool(dsn, size=2, name="borrowed")
    async with hanging(dsn, "borrowed"):
        begun = time.perf_counter()
        with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.InterfaceError)):
            async with db.borrow(pool, within_s=0.3) as conn, conn.transaction():
                await conn.execute("SELECT 1")
        assert time.perf_counter() - begun < 1.5
    async with db.borrow(pool, within_s=5) as conn:
        assert await conn.fetchval("SELECT 1") == 1
    await pool.close()


async def test_readiness_says_soon_that_the_database_hangs(dsn: str) -> None:
    async with services_with(dsn) as services:
        async with hanging(dsn, "api"):
            begun = time.perf_counter()
            checks = await health.look(services)
            assert time.perf_counter() - begun < health.DATABASE_TIMEOUT_S + 1
        assert not checks["database"]["ok"]
        assert (await health.look(services))["database"]["ok"]

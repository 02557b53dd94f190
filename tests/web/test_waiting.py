"""Those who wait for a state share one look; whoever joins during a look that fails gets the next one."""

import asyncio

import asyncpg
import pytest

from app.web.waiting import Watch
from app.wiring import Services
from tests.flow.test_brakes import somebody_waits_for_a_lock
from tests.patience import PATIENCE_S, until_true
from tests.web.conftest import add_account

JOINED_S = 10.0


async def test_who_begins_to_wait_while_a_look_fails_gets_a_look_of_its_own(services: Services) -> None:
    await add_account(services.pool, "acct_1", state="live")
    watch = Watch(services)
    async with services.pool.acquire() as conn, conn.transaction():
        await conn.execute("LOCK TABLE accounts")
        first = asyncio.create_task(watch.reached("acct_1", "live", PATIENCE_S))
        await somebody_waits_for_a_lock(services.pool)
        second = asyncio.create_task(watch.reached("acct_1", "live", JOINED_S))
        await until_true(lambda: watch.number == 2)
        await conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await first
    assert await second

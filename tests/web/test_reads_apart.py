"""Readers and the spine: who reads, however long, holds nobody who writes."""

import asyncio

from app.flow.apply import Applier
from app.wiring import Services
from tests.flow.test_apply import card, deliver
from tests.patience import PATIENCE_S
from tests.polls import polled


async def test_a_reader_that_keeps_its_transaction_open_cannot_hold_up_an_apply(services: Services) -> None:
    applier = Applier(
        services.pool,
        services.stripe,
        services.programme,
        platform_account=services.platform_account,
        vocabulary="money_manager",
        clock=services.clock,
    )
    await deliver(services.pool, "issuing_card.created", card())
    async with services.api_pool.acquire() as reader, reader.transaction(isolation="repeatable_read"):
        for table in ("accounts", "events", "objects", "journal", "outbox"):
            await reader.fetch(f"SELECT * FROM {table}")
        async with asyncio.timeout(PATIENCE_S):
            assert await polled(applier)
        assert await reader.fetchval("SELECT count(*) FROM journal") == 0
    assert await services.pool.fetchval("SELECT count(*) FROM journal WHERE machine = 'card'") == 1
    assert await services.pool.fetchval("SELECT status FROM events") == "applied"


async def test_readers_have_connections_of_their_own_that_are_cut_off(services: Services) -> None:
    async with services.api_pool.acquire() as reader, services.pool.acquire() as worker:
        assert await reader.fetchval("SHOW statement_timeout") == "5s"
        assert await reader.fetchval("SHOW idle_in_transaction_session_timeout") == "10s"
        assert await worker.fetchval("SHOW statement_timeout") == "0"

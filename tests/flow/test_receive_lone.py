"""Receive in quiet times: deliveries that come alone keep a connection, and lose nothing when it is lost."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest

from app.errors import Unavailable
from app.flow.receive import Receiver
from app.sealing import Keys
from app.store import db
from app.wiring import unlock
from tests.conftest import payload_of
from tests.flow.test_receive import PAYLOAD, STRIPE_WAITS_S, event, until
from tests.patience import PATIENCE_S

NAME = "ingest"
SESSIONS = f"FROM pg_stat_activity WHERE application_name = '{NAME}' AND datname = current_database()"
LONG = b'{"id": "evt", "note": "' + b"cardrail " * 400 + b'"}'


@pytest.fixture
async def ingest(dsn: str, keys: Keys) -> AsyncIterator[db.Pool]:
    opened = await db.open_pool(dsn, size=3, name=NAME, keys=keys, hurried=True)
    await unlock(opened, keys)
    yield opened
    opened.terminate()


@pytest.fixture
async def receiver(ingest: db.Pool) -> AsyncIterator[Receiver]:
    """One that has kept a connection, and stored an event over it."""
    made = Receiver(ingest, deadline_s=PATIENCE_S)
    for n in range(2):
        assert (await made.accept(event(f"evt_before_{n}"), PAYLOAD)).new
    yield made
    await made.settle()


async def test_a_delivery_that_comes_alone_waits_for_no_connection_of_the_pool(
    receiver: Receiver, ingest: db.Pool
) -> None:
    others = [await ingest.acquire() for _ in range(2)]
    try:
        assert (await receiver.accept(event("evt_1"), PAYLOAD)).new
    finally:
        for other in others:
            await ingest.release(other)


async def test_a_long_event_that_comes_alone_is_kept_whole(receiver: Receiver, pool: db.Pool) -> None:
    assert (await receiver.accept(event("evt_long"), LONG)).new
    assert await payload_of(pool, "evt_long") == LONG


async def test_a_repeat_that_comes_alone_is_counted(receiver: Receiver, pool: db.Pool) -> None:
    assert not (await receiver.accept(event("evt_before_1"), PAYLOAD)).new
    assert (await receiver.accept(event("evt_1"), PAYLOAD)).new
    await receiver.settle()
    counted = await pool.fetch("SELECT event_id, deliveries FROM events ORDER BY event_id")
    assert [tuple(row) for row in counted] == [("evt_1", 1), ("evt_before_0", 1), ("evt_before_1", 2)]


async def test_sessions_that_the_server_ended_are_not_noticed(receiver: Receiver, pool: db.Pool) -> None:
    ended = await pool.fetch(f"SELECT pg_terminate_backend(pid, 10000) {SESSIONS}")
    assert len(ended) == 3
    assert (await receiver.accept(event("evt_1"), PAYLOAD)).new
    assert (await receiver.accept(event("evt_2"), PAYLOAD)).new


async def test_a_table_that_changed_is_not_noticed(receiver: Receiver, pool: db.Pool) -> None:
    await pool.execute("ALTER TABLE events ADD COLUMN more int DEFAULT 1")
    assert (await receiver.accept(event("evt_1"), PAYLOAD)).new
    assert (await receiver.accept(event("evt_2"), PAYLOAD)).new


async def test_of_two_writers_of_one_event_the_later_one_has_a_repeat(receiver: Receiver, pool: db.Pool) -> None:
    async with pool.acquire() as faster:
        async with faster.transaction():
            await faster.execute(
                "INSERT INTO events (account_id, event_id, source, type, kind, created, status)"
                " VALUES ('acct_1', 'evt_1', 'poll', 'x', 'snapshot', now(), 'ignored')"
            )
            ours = asyncio.create_task(receiver.accept(event("evt_1"), PAYLOAD))
            await until(pool, "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted")
        assert not (await ours).new
    assert (await receiver.accept(event("evt_2"), PAYLOAD)).new


async def test_a_sender_that_gave_up_costs_the_next_one_nothing(receiver: Receiver, pool: db.Pool) -> None:
    async with pool.acquire() as blocker, blocker.transaction():
        await blocker.execute("LOCK TABLE events")
        gone = asyncio.create_task(receiver.accept(event("evt_gone"), PAYLOAD))
        await until(pool, "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted")
        gone.cancel()
        await asyncio.wait([gone])
    assert (await receiver.accept(event("evt_1"), PAYLOAD)).new


async def test_a_server_that_hangs_is_said_in_time(ingest: db.Pool, pool: db.Pool) -> None:
    receiver = Receiver(ingest)
    for n in range(2):
        assert (await receiver.accept(event(f"evt_before_{n}"), PAYLOAD)).new
    hung = await pool.fetchval(f"SELECT array_agg(pid) {SESSIONS}")
    for pid in hung:
        os.kill(pid, signal.SIGSTOP)
    try:
        async with asyncio.timeout(STRIPE_WAITS_S):
            with pytest.raises(Unavailable):
                await receiver.accept(event("evt_1"), PAYLOAD)
            assert (await receiver.accept(event("evt_2"), PAYLOAD)).new
    finally:
        for pid in hung:
            os.kill(pid, signal.SIGCONT)
    await receiver.settle()


async def test_the_kept_connection_goes_back_to_its_pool(receiver: Receiver, ingest: db.Pool) -> None:
    assert ingest.get_idle_size() < 3
    await receiver.settle()
    assert ingest.get_idle_size() == 3
    assert (await receiver.accept(event("evt_1"), PAYLOAD)).new

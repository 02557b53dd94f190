"""Receive: stored once however often it comes, together when many come, and never in the dark when the database dies."""

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.errors import BadInput, Unavailable
from app.flow.receive import BATCH_WORTH, Receiver
from app.sealing import Keys
from app.store import db, embedded, schema, sealed
from app.stripe.envelope import Envelope
from app.wiring import unlock
from tests.patience import PATIENCE_S, until_true

PAYLOAD = b'{"id": "evt"}'


def event(event_id: str, account: str = "acct_1") -> Envelope:
    return Envelope(
        account_id=account,
        event_id=event_id,
        type="issuing_card.created",
        kind="snapshot",
        created=datetime(2026, 11, 24, tzinfo=UTC),
        livemode=False,
    )


@pytest.fixture
async def receiver(pool: db.Pool) -> AsyncIterator[Receiver]:
    made = Receiver(pool, deadline_s=PATIENCE_S)
    yield made
    await made.settle()


async def test_a_new_event_is_committed_before_the_answer(receiver: Receiver, dsn: str, keys: Keys) -> None:
    assert (await receiver.accept(event("evt_1"), PAYLOAD)).new
    other = await db.connect(dsn, keys=keys)
    row = await sealed.opened_one(other, sealed.EVENTS, await other.fetchrow("SELECT * FROM events"))
    await other.close()
    assert row is not None
    assert (row["account_id"], row["event_id"], row["status"], row["payload"]) == (
        "acct_1",
        "evt_1",
        "pending",
        PAYLOAD,
    )


async def test_fifty_at_once_are_one_event(receiver: Receiver, pool: db.Pool) -> None:
    answers = await asyncio.gather(*(receiver.accept(event("evt_1"), PAYLOAD) for _ in range(50)))
    assert [answer.new for answer in answers].count(True) == 1
    await receiver.settle()
    assert await pool.fetchval("SELECT array_agg(deliveries) FROM events") == [50]


@pytest.mark.parametrize("count", [1, 3])
async def test_another_process_that_stores_the_same_event_first_leaves_a_repeat(
    receiver: Receiver, pool: db.Pool, keys: Keys, dsn: str, count: int
) -> None:
    other = await db.connect(dsn, keys=keys)
    first = other.transaction()
    await first.start()
    await other.execute(
        "INSERT INTO events (account_id, event_id, source, type, kind, created, status)"
        " VALUES ('acct_1', 'evt_0', 'webhook', 'issuing_card.created', 'snapshot', now(), 'applied')"
    )
    ours = [asyncio.create_task(receiver.accept(event(f"evt_{n}"), PAYLOAD)) for n in range(count)]
    await until(pool, "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted")
    await first.commit()
    answers = [await one for one in ours]
    assert [answer.new for answer in answers] == [False, True, True][:count]
    await receiver.settle()
    assert await pool.fetchval("SELECT array_agg(deliveries ORDER BY event_id) FROM events") == [2, 1, 1][:count]
    await other.close()


async def until(pool: db.Pool, question: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if await pool.fetchval(question):
                return
            await asyncio.sleep(0.01)


async def test_concurrent_deliveries_share_transactions(receiver: Receiver, pool: db.Pool) -> None:
    await asyncio.gather(*(receiver.accept(event(f"evt_{n}"), PAYLOAD) for n in range(200)))
    assert await pool.fetchval("SELECT count(*) FROM events") == 200
    assert await pool.fetchval("SELECT count(DISTINCT received_at) FROM events") < 20


async def test_a_sender_that_is_given_up_takes_nobody_along(receiver: Receiver, pool: db.Pool) -> None:
    async with pool.acquire() as blocker, blocker.transaction():
        await blocker.execute("LOCK TABLE events")
        lone = asyncio.create_task(receiver.accept(event("evt_lone"), PAYLOAD))
        others = [asyncio.create_task(receiver.accept(event(f"evt_{n}"), PAYLOAD)) for n in range(3)]
        await until(pool, "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted")
        lone.cancel()
        await asyncio.wait([lone])
    assert [(await other).new for other in others] == [True, True, True]
    await receiver.settle()


async def test_a_bad_row_fails_alone(receiver: Receiver, pool: db.Pool) -> None:
    wanted = [event("evt_1"), event("evt_\0"), event("evt_2"), event("evt_\ud800"), event("evt_3")]
    answers = await asyncio.gather(*(receiver.accept(one, PAYLOAD) for one in wanted), return_exceptions=True)
    assert [isinstance(answer, BadInput) for answer in answers] == [False, True, False, True, False]
    assert await pool.fetchval("SELECT count(*) FROM events") == 3


async def test_a_row_that_a_worker_holds_delays_nobody_and_is_counted_later(
    receiver: Receiver, pool: db.Pool, dsn: str
) -> None:
    await receiver.accept(event("evt_1"), PAYLOAD)
    worker = await db.connect(dsn)
    held = worker.transaction()
    await held.start()
    await worker.execute("UPDATE events SET status = 'applied'")
    assert not (await receiver.accept(event("evt_1"), PAYLOAD)).new  # while the row is still held
    await held.commit()
    await worker.close()
    await receiver.settle()
    assert await pool.fetchval("SELECT deliveries FROM events") == 2


async def test_new_events_ring_the_bell_and_notify_other_processes(pool: db.Pool, dsn: str) -> None:
    rung: list[bool] = []
    notified = asyncio.Event()
    listener = await db.connect(dsn)
    await listener.add_listener("cardrail_events", lambda *_: notified.set())
    receiver = Receiver(pool, on_new=lambda: rung.append(True))
    await receiver.accept(event("evt_1"), PAYLOAD)
    await asyncio.wait_for(notified.wait(), PATIENCE_S)
    await receiver.accept(event("evt_1"), PAYLOAD)
    await receiver.accept(event("evt_2"), PAYLOAD)
    await until_true(lambda: len(rung) == 2)  # of the new ones; a ring for the repeat would have come before
    await receiver.settle()
    await listener.close()


async def test_rejections_are_a_ring(pool: db.Pool) -> None:
    receiver = Receiver(pool, rejections_kept_max=5)
    for n in range(40):
        receiver.reject("signature_mismatch", {"n": n})
    await receiver.settle()
    rows = await pool.fetch("SELECT code, detail FROM rejections ORDER BY id")
    assert [row["detail"]["n"] for row in rows] == [35, 36, 37, 38, 39]


@pytest.fixture
async def own_server() -> AsyncIterator[embedded.Embedded]:
    """Not below pytest's own folder: another run of pytest shuts that to the user that PostgreSQL runs as."""
    with tempfile.TemporaryDirectory(prefix="cardrail-test-") as folder:
        server = embedded.start(Path(folder), durable=False)
        await schema.ensure(server.dsn())
        yield server
        embedded.stop(server, mode="immediate")


STRIPE_WAITS_S = 15
"""We say no long before (``DEADLINE_S``); a busy machine takes its time to tell."""


async def _taken(receiver: Receiver, event_id: str) -> bool:
    """Whether the event was new, once the database has it: as Stripe does, we deliver again until it has."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(Unavailable):
                return (await receiver.accept(event(event_id), PAYLOAD)).new


async def _refused(receiver: Receiver, event_id: str) -> None:
    with pytest.raises(Unavailable):
        await receiver.accept(event(event_id), PAYLOAD)


async def test_a_stopped_database_is_said_in_time_and_recovered_from(own_server: embedded.Embedded) -> None:
    keys = Keys()
    pool = await db.open_pool(own_server.dsn(), size=3, name="ingest", keys=keys)
    await unlock(pool, keys)
    receiver = Receiver(pool)
    assert (await receiver.accept(event("evt_1"), PAYLOAD)).new
    embedded.stop(own_server, mode="immediate")
    async with asyncio.timeout(STRIPE_WAITS_S):
        await asyncio.gather(*(_refused(receiver, f"evt_down_{n}") for n in range(20)))
    again = embedded.start(own_server.data.parent, durable=False)
    assert await _taken(receiver, "evt_2")
    assert not await _taken(receiver, "evt_1")
    await receiver.settle()
    pool.terminate()
    embedded.stop(again, mode="immediate")


async def test_a_restart_between_two_deliveries_is_not_noticed(own_server: embedded.Embedded) -> None:
    keys = Keys()
    pool = await db.open_pool(own_server.dsn(), size=3, name="ingest", keys=keys)
    await unlock(pool, keys)
    receiver = Receiver(pool, deadline_s=PATIENCE_S)
    await asyncio.gather(*(receiver.accept(event(f"evt_a{n}"), PAYLOAD) for n in range(20)))
    embedded.stop(own_server, mode="immediate")
    again = embedded.start(own_server.data.parent, durable=False)
    answers = await asyncio.gather(*(receiver.accept(event(f"evt_b{n}"), PAYLOAD) for n in range(20)))
    assert all(answer.new for answer in answers)
    await receiver.settle()
    pool.terminate()
    embedded.stop(again, mode="immediate")


async def test_a_hanging_database_is_said_in_time_and_recovered_from(pool: db.Pool, dsn: str, keys: Keys) -> None:
    ingest = await db.open_pool(dsn, size=2, name="ingest", keys=keys)
    receiver = Receiver(ingest)
    await receiver.accept(event("evt_1"), PAYLOAD)
    await receiver.settle()
    hung = await pool.fetchval("SELECT array_agg(pid) FROM pg_stat_activity WHERE application_name = 'ingest'")
    for pid in hung:
        os.kill(pid, signal.SIGSTOP)
    try:
        async with asyncio.timeout(STRIPE_WAITS_S):
            await asyncio.gather(*(_refused(receiver, f"evt_{n}") for n in range(20)))
        assert await _taken(receiver, "evt_after")
    finally:
        for pid in hung:
            os.kill(pid, signal.SIGCONT)
    await receiver.settle()
    ingest.terminate()


async def test_a_connection_that_is_kept_and_hangs_stops_nobody_after_another_failed(
    pool: db.Pool, dsn: str, keys: Keys
) -> None:
    """It is given up with all the others, without a farewell that a server which hangs would never answer."""
    ingest = await db.open_pool(dsn, size=3, name="ingest", keys=keys)
    receiver = Receiver(ingest)
    async with pool.acquire() as conn:
        faster = conn.transaction()
        await faster.start()
        await conn.execute(
            "INSERT INTO events (account_id, event_id, source, type, kind, created, status)"
            " VALUES ('acct_1', 'evt_1', 'webhook', 'x', 'snapshot', now(), 'ignored')"
        )
        alone = asyncio.create_task(receiver.accept(event("evt_0"), PAYLOAD, status="ignored"))
        await asyncio.sleep(0)  # its flush is under way, so what comes now is flushed beside it
        together = [asyncio.create_task(_refused(receiver, f"evt_{n}")) for n in range(1, BATCH_WORTH + 1)]
        assert (await alone).new
        hung = await pool.fetchval("SELECT array_agg(pid) FROM pg_stat_activity WHERE application_name = 'ingest'")
        for pid in hung:
            os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.gather(*together)
            async with asyncio.timeout(STRIPE_WAITS_S):
                assert await _taken(receiver, "evt_after")
        finally:
            for pid in hung:
                os.kill(pid, signal.SIGCONT)
            await faster.rollback()
    await receiver.settle()
    ingest.terminate()

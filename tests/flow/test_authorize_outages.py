"""Real-time authorizations when the database is slow, held up or gone: an answer in time, kept afterwards."""

import asyncio
import time

import msgspec
import pytest

from app.store import db
from tests.flow.purchases import ACCOUNT, Builder, ask, event, request, seed, take_turn
from tests.flow.test_brakes import somebody_waits_for_a_lock
from tests.patience import PATIENCE_S


async def test_a_stuck_account_delays_no_other(pool: db.Pool, build: Builder, dsn: str) -> None:
    await seed(pool)
    await seed(pool, account="acct_other")
    authorizer = await build(deadline_ms=int(PATIENCE_S * 1_000))
    other = await db.connect(dsn)
    await take_turn(other, ACCOUNT)
    stuck = [asyncio.create_task(ask(authorizer, request(1))) for _ in range(10)]
    await somebody_waits_for_a_lock(pool)
    response = await authorizer.answer(*event(request(1), account="acct_other"))
    assert not any(task.done() for task in stuck)
    assert msgspec.json.decode(response.body)["approved"]
    await other.close()
    assert all(answer["approved"] for answer in await asyncio.gather(*stuck))


@pytest.mark.parametrize("default", [False, True])
async def test_past_the_deadline_the_default_answers_and_is_kept(
    pool: db.Pool, build: Builder, dsn: str, default: bool
) -> None:
    await seed(pool)
    authorizer = await build(deadline_ms=150, default_approve=default)
    other = await db.connect(dsn)
    await take_turn(other, ACCOUNT)
    answer = await ask(authorizer, request(100, authorization="iauth_d"), "evt_d")  # while the turn is still held
    assert (answer["approved"], answer["metadata"]["rule"]) == (default, "no_decision_in_time")
    await other.close()
    await authorizer.settle()
    row = await pool.fetchrow("SELECT approved, reason, inputs FROM decisions")
    assert (row["approved"], row["reason"], row["inputs"]["why"]) == (default, "no_decision_in_time", "deadline")
    assert await ask(authorizer, request(100, authorization="iauth_d"), "evt_d") == answer


async def test_a_default_never_exceeds_the_hard_cap(pool: db.Pool, build: Builder, dsn: str) -> None:
    authorizer = await build(deadline_ms=50, default_approve=True)
    other = await db.connect(dsn)
    await take_turn(other, ACCOUNT)
    assert not (await ask(authorizer, request(1_000_001)))["approved"]
    await other.close()


async def test_without_a_database_the_default_answers_at_once_and_is_kept_later(
    pool: db.Pool, build: Builder, dsn: str
) -> None:
    await seed(pool)
    authorizer = await build(deadline_ms=int(PATIENCE_S * 1_000))
    name = await pool.fetchval("SELECT current_database()")
    admin = await db.connect(dsn.replace(f"/{name}", "/postgres"))
    await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    await admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND application_name = 'authorize'",
        name,
    )
    begun = time.perf_counter()
    answers = [await ask(authorizer, request(100), f"evt_down{i}") for i in range(20)]
    assert time.perf_counter() - begun < PATIENCE_S  # nobody waits for the deadline
    assert {a["metadata"]["rule"] for a in answers} == {"no_decision_in_time"}
    await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    await admin.close()
    await authorizer.settle()
    assert await pool.fetchval("SELECT count(*) FROM decisions WHERE reason = 'no_decision_in_time'") == 20
    assert await pool.fetchval("SELECT count(*) FROM events WHERE status = 'applied'") == 20
    assert (await ask(authorizer, request(100)))["approved"]


async def test_a_request_that_cannot_be_read_is_declined_and_parked(pool: db.Pool, build: Builder) -> None:
    await seed(pool)
    authorizer = await build()
    answer = await ask(authorizer, {"id": "iauth_x", "object": "issuing.authorization"}, "evt_x")
    assert (answer["approved"], answer["metadata"]["rule"]) == (False, "request_unreadable")
    await authorizer.settle()
    row = await pool.fetchrow("SELECT status, error FROM events")
    assert (row["status"], row["error"]["code"]) == ("parked", "request_unreadable")


async def test_with_one_connection_what_cannot_be_read_is_kept_all_the_same(pool: db.Pool, build: Builder) -> None:
    await seed(pool)
    authorizer = await build(size=1)
    assert (await ask(authorizer, request(1)))["approved"]
    envelope, _ = event(request(1), "evt_unreadable")
    await authorizer.answer(envelope, b"{}")
    async with asyncio.timeout(PATIENCE_S / 3):
        await authorizer.settle()
    assert await pool.fetchval("SELECT status FROM events WHERE event_id = 'evt_unreadable'") == "parked"
    assert (await ask(authorizer, request(1, authorization="iauth_2"), "evt_2"))["approved"]

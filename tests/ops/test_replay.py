"""Replay: nothing leaves in mode state, nothing is made twice in any mode, and the log explains the state."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from app.errors import BadInput, Conflict, NotFound
from app.machines.events import AccountEnrolled
from app.ops import jobs, rebuild, replay
from app.ops.parts import Actor
from app.store import log
from app.wiring import Services
from tests.flow.test_apply import card, deliver
from tests.machines import lives
from tests.patience import PATIENCE_S

Drain = Callable[[], Awaitable[None]]
ME = Actor(who="test", reason="because")


async def enroll(services: Services, account: str = lives.ACCOUNT) -> str:
    event_id = f"evt_enrolled_{account}"
    async with services.pool.acquire() as conn:
        await log.append(
            conn,
            account_id=account,
            event_id=event_id,
            source="request",
            type="account.enrolled",
            happenings=[AccountEnrolled(enrollment_id="enr_1", request={"reference": "r"}, at=1), lives.account(2)],
            at_ms=1,
        )
    return event_id


async def park(services: Services, event_id: str) -> None:
    await services.pool.execute("UPDATE events SET status = 'parked' WHERE event_id = $1", event_id)


async def again(services: Services, event_id: str, mode: str) -> dict[str, Any]:
    async with services.pool.acquire() as conn:
        row = await replay.found_event(conn, event_id)
        return await jobs.replay_event(conn, services, row, mode, ME)


async def commands(services: Services) -> list[tuple[str, str]]:
    return [(r["kind"], r["status"]) for r in await services.pool.fetch("SELECT kind, status FROM outbox")]


async def test_the_state_of_a_folded_account_equals_its_log(services: Services, drain: Drain) -> None:
    await enroll(services)
    await deliver(services.pool, "issuing_card.created", card(), account=lives.ACCOUNT)
    await drain()
    found = await rebuild.check(services, lives.ACCOUNT)
    assert (found.equal, found.events, found.differences) == (True, 2, [])
    everyone = await rebuild.check_all(services)
    assert (everyone["accounts"], everyone["equal"], everyone["differing"]) == (1, 1, [])


async def test_a_repair_writes_what_the_log_says_as_one_journalled_event(services: Services, drain: Drain) -> None:
    await enroll(services)
    await deliver(services.pool, "issuing_card.created", card(), account=lives.ACCOUNT)
    await drain()
    await services.pool.execute("UPDATE objects SET state = 'canceled' WHERE object_id = 'ic_1'")
    await services.pool.execute("UPDATE accounts SET state = 'live'")
    found = await rebuild.check(services, lives.ACCOUNT)
    assert {d.what for d in found.differences} == {"state", "objects.ic_1"}
    assert (await rebuild.repair(services, lives.ACCOUNT, ME))["repaired"] is True
    assert (await rebuild.check(services, lives.ACCOUNT)).equal is True
    assert await services.pool.fetchval("SELECT state FROM objects WHERE object_id = 'ic_1'") == "active"
    event = await services.pool.fetchrow("SELECT event_id, source, status FROM events WHERE type = 'account.repaired'")
    assert event is not None
    assert (event["source"], event["status"]) == ("request", "applied")
    assert await services.pool.fetchval("SELECT count(*) FROM journal WHERE event_id = $1", event["event_id"]) == 1
    assert await services.pool.fetchval("SELECT count(*) FROM operator_actions") == 1
    assert (await rebuild.repair(services, lives.ACCOUNT, ME))["repaired"] is False


async def test_a_dry_run_says_what_would_leave_and_writes_nothing(services: Services, drain: Drain) -> None:
    event_id = await enroll(services)
    await park(services, event_id)
    async with services.pool.acquire() as conn:
        row = await replay.found_event(conn, event_id)
        planned = await replay.plan(conn, services, row, "resume")
    assert [c["kind"] for c in planned.leaving] == ["create_financial_account"]
    assert [(t["from"], t["to"]) for t in planned.transitions if t["machine"] == "lifecycle"] == [
        ("enrolled", "activated")
    ]
    assert await commands(services) == []
    await drain()
    assert await commands(services) == []


async def test_resume_lets_the_next_step_follow(services: Services, drain: Drain) -> None:
    event_id = await enroll(services)
    await park(services, event_id)
    await again(services, event_id, "resume")
    await drain()
    assert await commands(services) == [("create_financial_account", "pending")]
    with pytest.raises(Conflict):
        await again(services, event_id, "resume")


async def test_state_writes_the_effect_and_holds_the_command_back(services: Services, drain: Drain) -> None:
    event_id = await enroll(services)
    await services.pool.execute("INSERT INTO accounts (account_id) VALUES ($1)", lives.ACCOUNT)
    await park(services, event_id)
    done = await again(services, event_id, "state")
    assert [c["kind"] for c in done["plan"]["held_back"]] == ["create_financial_account"]
    assert await commands(services) == [("create_financial_account", "parked")]
    assert await services.pool.fetchval("SELECT state FROM accounts") == "activated"
    await drain()
    assert (await rebuild.check(services, lives.ACCOUNT)).equal is True


async def test_forcing_an_applied_event_names_the_same_command_and_no_other(services: Services, drain: Drain) -> None:
    event_id = await enroll(services)
    await drain()
    before = await commands(services)
    await again(services, event_id, "force")
    await drain()
    assert await commands(services) == before
    assert await services.pool.fetchval("SELECT count(*) FROM events WHERE status = 'applied'") == 2
    assert (await rebuild.check(services, lives.ACCOUNT)).equal is True


async def test_an_event_of_the_other_mode_is_never_replayed(services: Services) -> None:
    event_id = await deliver(services.pool, "issuing_card.created", card())
    payload = b'{"id":"%s","object":"event","type":"issuing_card.created","created":1790000000,"livemode":true}'
    await services.pool.execute("UPDATE events SET status = 'ignored', payload = $1", payload % event_id.encode())
    with pytest.raises(Conflict) as refused:
        await again(services, event_id, "force")
    assert refused.value.code == "other_mode"


async def test_an_unknown_event_is_not_found(services: Services) -> None:
    with pytest.raises(NotFound):
        await again(services, "evt_none", "state")


async def start(services: Services, asked: dict[str, Any], mode: str) -> str:
    async with services.pool.acquire() as conn, conn.transaction():
        made = await jobs.start(conn, services, asked, mode=mode, rate=10_000, dry_run=False, actor=ME)
    return str(made["id"])


async def run(services: Services, job: str) -> dict[str, Any]:
    worker = jobs.Replayer(services)
    async with asyncio.timeout(PATIENCE_S):
        while True:
            await worker.poll()
            row = await services.pool.fetchrow("SELECT * FROM replays WHERE id = $1", job)
            assert row is not None
            if row["state"] != "running":
                return dict(row)


async def test_a_bulk_replay_goes_through_all_events_and_ends(services: Services, drain: Drain) -> None:
    parked = [await deliver(services.pool, "issuing_card.created", card(card_id=f"ic_{n}")) for n in range(7)]
    for event_id in parked:
        await park(services, event_id)
    done = await run(services, await start(services, {"status": "parked"}, "resume"))
    assert (done["state"], done["total"], done["done"], done["failed"]) == ("finished", 7, 7, 0)
    await drain()
    assert await services.pool.fetchval("SELECT count(*) FROM objects") == 7
    checked = await run(services, await start(services, {"account": "acct_1"}, "state"))
    assert (checked["state"], checked["done"], checked["failed"]) == ("finished", 7, 0)


async def test_a_bulk_replay_stops_itself_after_failures_in_a_row(services: Services, drain: Drain) -> None:
    for n in range(30):
        await deliver(services.pool, "issuing_card.created", card(card_id=f"ic_{n}"))
    await drain()
    await services.pool.execute("UPDATE objects SET state = 'canceled' WHERE object_id = 'ic_1'")
    done = await run(services, await start(services, {"account": "acct_1"}, "state"))
    assert (done["state"], done["failed"]) == ("failed", jobs.FAILURES_MAX)


async def test_an_empty_filter_is_refused_and_a_stopped_job_stays_stopped(services: Services) -> None:
    with pytest.raises(BadInput):
        await start(services, {}, "state")
    job = await start(services, {"status": "parked"}, "state")
    async with services.pool.acquire() as conn:
        await jobs.stop(conn, job)
        with pytest.raises(Conflict):
            await jobs.stop(conn, job)
    assert await jobs.Replayer(services).poll() is False


async def test_a_bulk_replay_passes_over_what_was_ignored_on_purpose(services: Services, drain: Drain) -> None:
    event_id = await deliver(services.pool, "issuing_card.created", card())
    await services.pool.execute("UPDATE events SET status = 'ignored'")
    done = await run(services, await start(services, {"account": "acct_1"}, "resume"))
    assert (done["state"], done["done"], done["failed"]) == ("finished", 1, 0)
    assert await services.pool.fetchval("SELECT status FROM events WHERE event_id = $1", event_id) == "ignored"
    await run(services, await start(services, {"status": "ignored"}, "resume"))
    await drain()
    assert await services.pool.fetchval("SELECT status FROM events WHERE event_id = $1", event_id) == "applied"

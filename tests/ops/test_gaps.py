"""Webhooks that are lost for good: every one is found, each event is in the log once, and the mark says so truly."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import uvicorn

from app.ops import backfill
from app.ops.gaps import GapHunter
from app.store import audit, gauges
from app.web.main import create_app
from tests.ops.world import ME, World, opened
from tests.patience import PATIENCE_S


@contextlib.asynccontextmanager
async def listening(world: World) -> AsyncIterator[None]:
    """Our door, and both styles of events sent to it."""
    server = uvicorn.Server(uvicorn.Config(create_app(world.services), port=0, log_level="warning", lifespan="off"))
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn tells it by this flag alone
        await asyncio.sleep(0.01)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/webhooks/stripe"
    secret = world.services.settings.webhook_secrets[0]
    for style in ("thin", "snapshot"):
        await asyncio.to_thread(
            world.box.control, "POST", "destinations", {"url": url, "secret": secret, "event_payload": style}
        )
    try:
        yield
    finally:
        server.should_exit = True
        await task


async def told(world: World) -> dict[str, str]:
    """Every event that Stripe knows, with the account it is of."""
    rows = (await asyncio.to_thread(world.box.control, "GET", "events"))["data"]
    return {row["id"]: row["account"] for row in rows}


async def mark(world: World) -> datetime | None:
    async with world.pool.acquire() as conn:
        found = await gauges.complete_until(conn)
    return found[0] if found else None


async def test_a_hunt_is_due_soon_after_the_start_and_not_again_at_once(dsn: str) -> None:
    async with opened(dsn) as world:
        await GapHunter(world.services).poll()
        assert await mark(world) is None
        hunter = GapHunter(world.services, first_ms=0)
        await hunter.poll()
        begun = await mark(world)
        await hunter.poll()
        assert begun is not None
        assert await mark(world) == begun


async def test_every_dropped_webhook_is_found_once_and_then_nothing_is_missing(dsn: str) -> None:
    async with opened(dsn, webhook_attempts_max=1, faults={"drop": 0.5}, seed=7) as world, listening(world):
        hunter = GapHunter(world.services)
        enrolled = [await world.enroll() for _ in range(2)]
        async with asyncio.timeout(PATIENCE_S):
            while await world.pool.fetchval("SELECT count(*) FROM accounts WHERE state = 'live'") < len(enrolled):
                await world.later()
                await world.apply()
                await world.deliver()
                await hunter.hunt()
        async with asyncio.timeout(PATIENCE_S):
            while not (await asyncio.to_thread(world.box.control, "GET", "idle?wait_s=2"))["idle"] or (
                await world.waiting()
            ):
                await world.turn()
        await hunter.hunt()
        await world.apply()
        known = await told(world)
        rows = await world.pool.fetch("SELECT event_id, source FROM events WHERE kind <> 'internal'")
        assert sorted(row["event_id"] for row in rows) == sorted(known)
        assert {row["source"] for row in rows} == {"webhook", "poll"}
        again = await hunter.hunt()
        assert (again.new, again.failed) == (0, [])
        until = await mark(world)
        assert until is not None
        assert datetime.now(UTC) - until < backfill.OVERLAP + timedelta(seconds=60)


async def test_what_nobody_acknowledged_is_found_by_asking_for_just_that(dsn: str) -> None:
    async with opened(dsn, webhook_attempts_max=1, faults={"drop": 1.0}) as world, listening(world):
        account = await world.live(await world.enroll())
        await world.pool.execute("DELETE FROM events WHERE kind = 'snapshot'")
        since = datetime.now(UTC) - timedelta(minutes=5)

        async def ask() -> backfill.Report:
            return await backfill.backfill(world.services, since, ME, yes=True, accounts=[account], undelivered=True)

        found = await ask()
        assert (found.new > 0, found.new, found.report()["complete"]) == (True, found.found, False)
        assert (await ask()).new == 0


async def test_a_hunt_begins_where_the_last_complete_one_ended_and_a_failed_one_moves_no_mark(dsn: str) -> None:
    async with opened(dsn) as world:
        await world.live(await world.enroll())
        hunter = GapHunter(world.services)
        old = datetime.now(UTC) - timedelta(hours=9)
        async with world.pool.acquire() as conn:
            await gauges.mark_complete(conn, old)
        first = await hunter.hunt()
        assert abs(first.since - old) < timedelta(seconds=1)
        after = await mark(world)
        assert after is not None
        assert after > old
        world.box.control(
            "PUT", "faults", {"targeted": [{"method": "GET", "path_prefix": "/v2/core/events", "kind": "api_500"}]}
        )
        failed = await hunter.hunt()
        assert len(failed.failed) == 1
        assert await mark(world) == after


async def test_more_than_stripe_keeps_is_never_called_complete(dsn: str) -> None:
    async with opened(dsn) as world:
        old = datetime.now(UTC) - timedelta(days=31)
        asked = await backfill.backfill(world.services, old, ME, yes=False)
        assert (asked.report()["too_old"], asked.report()["complete"], asked.failed) == (True, False, [])
        async with world.pool.acquire() as conn:
            await gauges.mark_complete(conn, old)
        assert (await GapHunter(world.services).hunt()).too_old is True
        async with world.pool.acquire() as conn:
            (row,) = await audit.newest(conn, who="gap-hunter")
        assert row["result"]["too_old"] is True
        assert (await GapHunter(world.services).hunt()).too_old is False


async def test_the_audit_hears_of_a_hunt_only_when_there_is_something_to_say(dsn: str) -> None:
    async with opened(dsn) as world:
        account = await world.live(await world.enroll())
        hunter = GapHunter(world.services)

        async def said() -> list[tuple[int, int]]:
            async with world.pool.acquire() as conn:
                rows = await audit.newest(conn, who="gap-hunter")
            return [(row["result"]["new"], len(row["result"]["failed"])) for row in reversed(rows)]

        await world.pool.execute("DELETE FROM operator_actions")
        await hunter.hunt()
        missed = len(await said())
        assert (await hunter.hunt()).new == 0
        assert len(await said()) == missed
        lost = "DELETE FROM events WHERE account_id = $1 AND event_id = (SELECT max(event_id) FROM events"
        await world.pool.execute(f"{lost} WHERE account_id = $1 AND kind = 'thin')", account)
        await hunter.hunt()
        down: dict[str, Any] = {
            "targeted": [{"method": "GET", "path_prefix": "/v2/core/events", "kind": "api_500", "times": 100}]
        }
        well: dict[str, Any] = {"targeted": []}
        for faults in (down, down, well, well):
            world.box.control("PUT", "faults", faults)
            await hunter.hunt()
        assert (await said())[missed:] == [(1, 0), (0, 2), (0, 0)]

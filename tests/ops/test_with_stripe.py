"""Operations against the real processes and a Stripe that remembers: nothing is missing, nothing drifts, no money moves
twice.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest_asyncio

from app.config import Settings
from app.demo.fleet import Drive, Member
from app.demo.processes import Processes, running
from app.ops import backfill, doctor, jobs, rebuild, reconcile, replay
from app.ops.parts import Actor
from app.wiring import Services, open_services
from tests.patience import PATIENCE_S

ME = Actor(who="test", reason="because")


class Deaf:
    """The running parts without any destination at Stripe: no webhook arrives unless ``listen`` is called."""

    def __init__(
        self, parts: Processes, services: Services, api: httpx.AsyncClient, sandbox: httpx.AsyncClient
    ) -> None:
        self.parts, self.services, self.sandbox = parts, services, sandbox
        self.drive = Drive(api, sandbox, [])

    async def listen(self) -> None:
        for style in ("thin", "snapshot"):
            body = {"url": f"{self.parts.url}/webhooks/stripe", "secret": self.parts.secret, "event_payload": style}
            (await self.sandbox.post("/_sandbox/destinations", json=body)).raise_for_status()

    async def enroll(self, count: int) -> list[str]:
        self.drive.members = [Member(f"ops-{n:03}", "MX", "", "live") for n in range(count)]
        await self.drive.enroll()
        await self.drive.run(PATIENCE_S, lambda _: None)
        return [m.account for m in self.drive.members if m.account]

    async def made(self) -> dict[str, Any]:
        """What stands at Stripe: payments and cards, and whether the books balance."""
        ledger = (await self.sandbox.get("/_sandbox/ledger")).json()
        counts = {}
        for kind in ("outbound_payment", "card", "cardholder", "financial_account"):
            counts[kind] = [len(await self.drive.objects(m, kind)) for m in self.drive.members]
        return {"balanced": ledger["balanced"], **counts}


@pytest_asyncio.fixture
async def deaf(dsn: str, tmp_path: Path) -> AsyncIterator[Deaf]:
    async with running(dsn, tmp_path) as parts:
        settings = Settings.model_validate(
            {
                "DATABASE_URL": dsn,
                "STRIPE_API_KEY": "sk_test_sandbox",
                "STRIPE_API_BASE": parts.sandbox_url,
                "PLATFORM_ACCOUNT_ID": "acct_platform_sandbox",
                "PLATFORM_FINANCIAL_ACCOUNT_ID": "fa_test_platform",
                "CARDRAIL_POOL_SIZE": "4",
            }
        )
        headers = {"Authorization": f"Bearer {parts.key}"}
        async with (
            open_services(settings) as services,
            httpx.AsyncClient(base_url=parts.url, headers=headers, timeout=PATIENCE_S) as api,
            httpx.AsyncClient(base_url=parts.sandbox_url, timeout=PATIENCE_S) as sandbox,
        ):
            yield Deaf(parts, services, api, sandbox)


async def quiet(deaf: Deaf) -> None:
    """Wait until nothing is pending."""
    query = (
        "SELECT (SELECT count(*) FROM events WHERE status = 'pending')"
        " + (SELECT count(*) FROM outbox WHERE status IN ('pending', 'in_flight', 'unknown'))"
    )
    async with asyncio.timeout(PATIENCE_S):
        while await deaf.services.pool.fetchval(query):  # noqa: ASYNC110 - another process does the work
            await asyncio.sleep(0.1)


async def test_nothing_is_missing_nothing_drifts_and_replays_move_no_money(deaf: Deaf) -> None:
    services = deaf.services
    await deaf.listen()
    accounts = await deaf.enroll(2)
    await quiet(deaf)
    since = datetime.now(UTC) - timedelta(hours=1)

    found = await backfill.backfill(services, since, ME, yes=False)
    assert (found.new, found.failed, found.found > 0) == (0, [], True), found.by_type
    drift = await reconcile.reconcile(services, ME, yes=True)
    assert (drift["failed"], [d for d in drift["drift"] if d["how"] in ("gone", "unknown")]) == ([], [])
    await quiet(deaf)
    checked = await rebuild.check_all(services)
    assert checked["equal"] == checked["accounts"], checked["differing"]

    before = await deaf.made()
    rows = await services.pool.fetch("SELECT event_id, account_id, status, type FROM events ORDER BY event_id")
    chosen = random.Random(7).choices([r for r in rows if not r["type"].startswith("hold.")], k=40)
    for row in chosen:
        mode = "force" if row["status"] == "applied" else "resume"
        async with services.pool.acquire() as conn:
            whole = await replay.found_event(conn, row["event_id"], row["account_id"])
            await jobs.replay_event(conn, services, whole, mode, ME)
    await quiet(deaf)
    assert await deaf.made() == before
    assert before["outbound_payment"] == [1, 1]
    checked = await rebuild.check_all(services)
    assert checked["equal"] == checked["accounts"], checked["differing"]
    assert {c.check for c in await doctor.examine(services) if c.state == "wrong"} == set()
    assert len(accounts) == 2

    await services.pool.execute("DELETE FROM events WHERE source = 'webhook' AND type LIKE 'v2.core.account%'")
    found = await backfill.backfill(services, since, ME, yes=True)
    assert (found.new > 0, found.failed) == (True, [])
    await quiet(deaf)
    brought_in = "SELECT count(*) FROM events WHERE source = 'poll' AND kind <> 'internal'"
    assert await services.pool.fetchval(brought_in) == found.new


async def test_accounts_come_to_life_though_stripe_never_sends_an_event(deaf: Deaf) -> None:
    nudger = reconcile.Nudger(deaf.services, after_s=0.3)

    async def nudge() -> None:
        while True:
            await nudger.poll()
            await asyncio.sleep(0.2)

    task = asyncio.create_task(nudge())
    try:
        deaf.drive.members = [Member(f"ops-{n:03}", "MX", "", "live") for n in range(2)]
        await deaf.drive.enroll()
        async with asyncio.timeout(PATIENCE_S):
            while await deaf.services.pool.fetchval("SELECT count(*) FROM accounts WHERE state = 'live'") < 2:  # noqa: ASYNC110 - another process works
                await asyncio.sleep(0.1)
    finally:
        task.cancel()
    sent = await deaf.services.pool.fetch(
        "SELECT kind, count(*) AS n FROM outbox WHERE status = 'settled' GROUP BY kind"
    )
    assert {row["kind"]: row["n"] for row in sent}["create_outbound_payment"] == 2

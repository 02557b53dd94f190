"""Bulk replays and forced ones: what they would do is said first, a second key confirms money, a killed worker loses
nothing.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from typer.testing import CliRunner

from app.cli import build
from app.errors import Conflict, Forbidden
from app.machines.events import AccountEnrolled
from app.machines.programme import Caps, Programme
from app.ops import jobs, replay
from app.ops.parts import Actor
from app.store import keys, log
from app.web.main import create_app
from app.wiring import Services
from tests.flow.test_apply import card, deliver
from tests.machines import lives
from tests.ops.conftest import PLATFORM
from tests.ops.test_replay import Drain, run
from tests.patience import PATIENCE_S

ME = Actor(who="me", reason="because", key="key_me")
OTHER = Actor(who="other", reason="seen", key="key_other")


async def fundable(services: Services, account: str = lives.ACCOUNT) -> str:
    """A parked event that puts an account where its funding of 100 USD follows."""
    event_id = f"evt_enrolled_{account}"
    async with services.pool.acquire() as conn:
        await conn.execute("INSERT INTO accounts (account_id) VALUES ($1)", account)
        await log.append(
            conn,
            account_id=account,
            event_id=event_id,
            source="request",
            type="account.enrolled",
            happenings=[
                AccountEnrolled(enrollment_id="enr_1", request={"reference": "r"}, at=1),
                lives.account(2),
                lives.financial_account(3),
            ],
            at_ms=1,
        )
        await conn.execute("UPDATE events SET status = 'parked' WHERE event_id = $1", event_id)
    return event_id


def strict(services: Services) -> None:
    """Let nobody force more than 50 USD alone."""
    services.programme = Programme(caps=Caps(force_unconfirmed=5_000))


async def start(services: Services, asked: dict[str, Any], mode: str, *, dry_run: bool = False) -> dict[str, Any]:
    async with services.pool.acquire() as conn, conn.transaction():
        return await jobs.start(conn, services, asked, mode=mode, rate=10_000, dry_run=dry_run, actor=ME)


async def test_a_dry_run_of_many_says_what_would_move_leave_and_be_suppressed(services: Services, drain: Drain) -> None:
    await fundable(services)
    await fundable(services, "acct_2")
    await services.pool.execute("UPDATE events SET status = 'pending' WHERE account_id = 'acct_2'")
    await drain()
    before = await services.pool.fetch("SELECT * FROM events ORDER BY event_id")
    made = await start(services, {"type": "account.enrolled"}, "force", dry_run=True)
    said = made["forecast"]
    assert (made["state"], said["complete"], said["events"], said["accounts"]) == ("planned", True, 2, 2)
    assert said["leaving"] == {"create_outbound_payment": {"count": 1, "amount": 10_000}}
    assert said["suppressed"] == {"create_outbound_payment": {"count": 1, "amount": 10_000}}
    assert said["transitions"]["lifecycle: enrolled -> provisioned"] == 1
    assert said["amount"] == 10_000
    assert await services.pool.fetch("SELECT * FROM events ORDER BY event_id") == before
    assert await jobs.Replayer(services).poll() is False


async def test_a_copy_is_not_copied_again_beside_its_event(services: Services, drain: Drain) -> None:
    """Else each forced job over the same filter would double the log."""
    await deliver(services.pool, "issuing_card.created", card())
    await drain()
    for copies in (1, 2):
        made = await start(services, {"type": "issuing_card.created"}, "force")
        assert (await run(services, made["id"]))["state"] == "finished"
        await drain()
        assert await services.pool.fetchval("SELECT count(*) FROM events WHERE status = 'applied'") == 1 + copies
    said = (await start(services, {"type": "issuing_card.created"}, "force", dry_run=True))["forecast"]
    assert said["passed_over"] == {"event_copied": 2}


async def test_in_mode_state_nothing_would_leave(services: Services) -> None:
    await fundable(services)
    said = (await start(services, {"status": "parked"}, "state", dry_run=True))["forecast"]
    assert (said["leaving"], said["amount"]) == ({}, 0)
    assert said["held_back"] == {"create_outbound_payment": {"count": 1, "amount": 10_000}}


async def test_events_that_build_on_each_other_are_foreseen_together(services: Services) -> None:
    """The second event alone would change nothing: it is folded after the first, as apply would."""
    await fundable(services)
    async with services.pool.acquire() as conn:
        await log.append(
            conn,
            account_id=lives.ACCOUNT,
            event_id="evt_restricted",
            source="poll",
            type="account.read",
            happenings=[lives.account(9, "restricted")],
            at_ms=9,
        )
    await services.pool.execute("UPDATE events SET status = 'parked'")
    said = (await start(services, {"account": lives.ACCOUNT}, "resume", dry_run=True))["forecast"]
    assert said["transitions"]["lifecycle: provisioned -> restricted"] == 1


async def test_the_total_follows_what_enters_and_leaves_the_filter_meanwhile(services: Services) -> None:
    entering, leaving = [await deliver(services.pool, "issuing_card.created", card(card_id=f"ic_{n}")) for n in (1, 2)]
    await services.pool.execute("UPDATE events SET status = 'parked' WHERE event_id = $1", leaving)
    first = await start(services, {"status": "parked"}, "resume")
    await services.pool.execute("UPDATE events SET status = 'parked'")
    done = await run(services, first["id"])
    assert (first["total"], done["done"], done["total"], done["state"]) == (1, 2, 2, "finished")
    await services.pool.execute("UPDATE events SET status = 'parked'")
    second = await start(services, {"status": "parked"}, "resume")
    await services.pool.execute("UPDATE events SET status = 'ignored' WHERE event_id = $1", entering)
    done = await run(services, second["id"])
    assert (second["total"], done["done"], done["total"], done["state"]) == (2, 1, 1, "finished")


async def test_a_small_force_runs_at_once_and_a_large_one_waits_for_another_key(services: Services) -> None:
    event_id = await fundable(services)
    async with services.pool.acquire() as conn:
        row = await replay.found_event(conn, event_id)
        strict(services)
        made = await jobs.replay_event(conn, services, row, "force", ME)
        assert (made["state"], made["needs_confirmation"]) == ("planned", True)
        assert made["forecast"]["amount"] == 10_000
        assert await jobs.Replayer(services).poll() is False
        with pytest.raises(Forbidden) as refused:
            await jobs.confirm(conn, made["id"], Actor(who="me again", reason="r", key="key_me"))
        assert refused.value.code == "second_key_needed"
        assert (await jobs.confirm(conn, made["id"], OTHER))["state"] == "running"
        with pytest.raises(Conflict) as over:
            await jobs.confirm(conn, made["id"], OTHER)
        assert over.value.code == "replay_running"
    done = await run(services, made["id"])
    assert (done["state"], done["by"], done["confirmed_by"], done["confirmed_key"]) == (
        "finished",
        "me",
        "other",
        "key_other",
    )
    assert await services.pool.fetchval("SELECT status FROM events") == "pending"


async def test_force_below_the_amount_and_dry_runs_need_no_second_key(services: Services) -> None:
    await fundable(services)
    made = await start(services, {"status": "parked"}, "force")
    assert (made["state"], made["needs_confirmation"]) == ("running", False)
    strict(services)
    planned = await start(services, {"status": "parked"}, "force", dry_run=True)
    async with services.pool.acquire() as conn:
        with pytest.raises(Conflict) as refused:
            await jobs.confirm(conn, planned["id"], OTHER)
    assert refused.value.code == "replay_dry_run"


async def many(services: Services, count: int) -> None:
    """Parked events of one account, each with a card of its own."""
    await deliver(services.pool, "issuing_card.created", card(card_id="ic_0"))
    await services.pool.execute(
        "INSERT INTO events (account_id, event_id, source, type, kind, created, payload, status)"
        " SELECT account_id, 'evt_' || n, source, type, kind, created,"
        "        convert_to(replace(convert_from(payload, 'UTF8'), 'ic_0', 'ic_' || n), 'UTF8'), 'parked'"
        "   FROM events, generate_series(1, $1) AS n",
        count - 1,
    )
    await services.pool.execute("UPDATE events SET status = 'parked'")


async def test_a_large_job_is_looked_through_by_a_worker_before_it_runs(services: Services) -> None:
    await many(services, jobs.FORESEEN_AT_ONCE_MAX + 1)
    made = await start(services, {"status": "parked"}, "force")
    assert (made["state"], made["forecast"], made["needs_confirmation"]) == ("planned", None, False)
    async with services.pool.acquire() as conn:
        with pytest.raises(Conflict) as early:
            await jobs.confirm(conn, made["id"], OTHER)
    assert early.value.code == "forecast_pending"
    assert await jobs.Replayer(services).poll() is True
    row = await services.pool.fetchrow("SELECT state, forecast FROM replays")
    assert row is not None
    assert (row["state"], row["forecast"]["events"]) == ("running", jobs.FORESEEN_AT_ONCE_MAX + 1)
    assert row["forecast"]["transitions"] == {"card: - -> active": jobs.FORESEEN_AT_ONCE_MAX + 1}


async def test_an_event_of_an_account_that_is_not_known_is_no_difference(services: Services) -> None:
    """As a decided authorization of an unknown account leaves it: applied, and nothing folded."""
    await deliver(services.pool, "issuing_authorization.request", None, account="acct_unknown")
    await services.pool.execute("UPDATE events SET status = 'applied'")
    made = await start(services, {"type": "issuing_authorization.request"}, "state")
    done = await run(services, made["id"])
    assert (done["state"], done["done"], done["failed"]) == ("finished", 1, 0)


def worker(dsn: str) -> "subprocess.Popen[bytes]":
    ours = {"DATABASE_URL": dsn, "STRIPE_API_KEY": "sk_test_x", "STRIPE_API_BASE": "http://127.0.0.1:9"}
    ours |= {"PLATFORM_ACCOUNT_ID": PLATFORM, "STRIPE_WEBHOOK_SECRETS": "whsec_x", "CARDRAIL_LOG_LEVEL": "warning"}
    return subprocess.Popen([sys.executable, "-m", "app", "worker"], env={**os.environ, **ours})


async def test_a_job_goes_on_after_its_worker_was_killed_and_keeps_to_its_rate(services: Services, dsn: str) -> None:
    await many(services, 1_200)
    async with services.pool.acquire() as conn, conn.transaction():
        made = await jobs.start(conn, services, {"account": "acct_1"}, mode="resume", rate=600, dry_run=False, actor=ME)
    watch = "SELECT state, done, extract(epoch FROM updated_at - created_at) AS took FROM replays WHERE id = $1"

    async def until(state: str, done: int) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                row = await services.pool.fetchrow(watch, made["id"])
                assert row is not None
                if row["state"] == state and row["done"] >= done:
                    return dict(row)
                await asyncio.sleep(0.02)

    first = worker(dsn)
    try:
        half = await until("running", 1)
        first.kill()
        first.wait()
        second = worker(dsn)
        try:
            whole = await until("finished", 1_200)
        finally:
            second.kill()
            second.wait()
    finally:
        first.kill()
    assert (half["done"] < 1_200, whole["done"]) == (True, 1_200)
    assert float(whole["took"]) >= 1_200 / 600 - 0.5
    assert await services.pool.fetchval("SELECT count(*) FROM events WHERE status = 'parked'") == 0


@pytest_asyncio.fixture
async def api(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(services), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://cardrail") as client:
        yield client


async def bearer(services: Services, name: str, scope: str) -> dict[str, str]:
    async with services.pool.acquire() as conn:
        return {"Authorization": f"Bearer {(await keys.create(conn, name=name, scope=scope))[1]}"}


async def test_over_rest_a_forced_replay_above_the_amount_is_confirmed_by_another_admin(
    services: Services, api: httpx.AsyncClient
) -> None:
    strict(services)
    event_id = await fundable(services)
    asker, operator, admin = [
        await bearer(services, name, scope) for name, scope in (("a", "admin"), ("o", "operate"), ("b", "admin"))
    ]
    body = {"mode": "force", "dry_run": False, "reason": "r"}
    made = await api.post(f"/v1/events/{event_id}/replays", json=body, headers=asker)
    assert (made.status_code, made.json()["state"]) == (202, "planned")
    href = made.json()["href"]
    shown = (await api.get(href, headers=asker)).json()
    assert (shown["needs_confirmation"], shown["forecast"]["amount"], shown["by"]) == (True, 10_000, "a")
    codes = []
    for key in (asker, operator, admin, admin):
        answer = await api.post(f"{href}/confirmations", json={"reason": "looked at it"}, headers=key)
        codes.append((answer.status_code, answer.json().get("code")))
    assert codes == [(403, "second_key_needed"), (403, "forbidden"), (202, None), (409, "replay_running")]
    shown = (await api.get(href, headers=asker)).json()
    assert (shown["state"], shown["by"], shown["confirmed_by"]) == ("running", "a", "b")


async def test_the_command_line_says_starts_shows_confirms_and_stops(
    services: Services, dsn: str, tmp_path: Path
) -> None:
    (tmp_path / "strict.toml").write_text("[caps]\nforce_unconfirmed = 5_000\n", encoding="utf-8")
    ours = {"DATABASE_URL": dsn, "STRIPE_API_KEY": "sk_test_x", "STRIPE_API_BASE": "http://127.0.0.1:9"}
    ours |= {
        "PLATFORM_ACCOUNT_ID": PLATFORM,
        "STRIPE_WEBHOOK_SECRETS": "whsec_x",
        "CARDRAIL_PROGRAMME": str(tmp_path / "strict.toml"),
    }

    async def said(*words: str) -> tuple[int, str]:
        done = await asyncio.to_thread(CliRunner(env=ours).invoke, build(), [*words])
        return done.exit_code, done.stdout

    async def cardrail(*words: str) -> tuple[int, dict[str, Any]]:
        code, out = await said(*words, "--json")
        return code, json.loads(out)

    await fundable(services)
    dry = ("replays", "start", "--status", "parked", "--mode", "force")
    code, told = await cardrail(*dry)
    assert (code, told["state"], told["forecast"]["amount"]) == (0, "planned", 10_000)
    assert "another admin's key" in told["with_yes"]
    assert "with_yes" not in (await cardrail("replays", "start", "--status", "parked", "--mode", "resume"))[1]
    event_id = await services.pool.fetchval("SELECT event_id FROM events")
    assert "another admin's key" in (await cardrail("events", "replay", event_id, "--mode", "force"))[1]["with_yes"]
    code, words = await said("replays", "show", told["id"])
    assert (code, "1 x create_outbound_payment, 100.00 in all" in " ".join(words.split())) == (0, True), words
    code, told = await cardrail(*dry, "--yes")
    assert (code, told["error"]["code"]) == (2, "bad_replay")
    code, told = await cardrail("replays", "start", "--status", "parked", "--mode", "state", "--yes")
    assert (code, told["state"], told["done"], told["failed"]) == (0, "finished", 1, 0)
    code, told = await cardrail("replays", "confirm", told["id"], "--reason", "r", "--key", "ck_wrong")
    assert (code, told["error"]["code"]) == (1, "forbidden")

"""The console over ASGI: what replays would do and did, told in words, and the doctor's page."""

from app.wiring import Services
from tests.web.conftest import add_account
from tests.web.console_desk import forms
from tests.web.test_api_operations import add_command, add_event
from tests.web.test_console import Sit, audit_of, sit

__all__ = ["sit"]


async def test_a_replay_says_first_what_it_would_do(sit: Sit, services: Services) -> None:
    await add_account(services.pool, "acct_1")
    await add_event(services, "evt_a", status="parked", error={"code": "no_object", "message": "m"})
    desk = await sit("operate")
    plan = await desk.fill("/console/events/evt_a", "Show what it would do", mode="resume", reason="fixed")
    assert plan.status_code == 200
    assert "Nothing was done yet" in plan.text
    assert await audit_of(services) == []
    form = forms(plan.text)["Replay in mode resume"]
    done = await desk.client.post(form.action, data=form)
    assert (done.status_code, done.headers["location"]) == (303, "/console/events/evt_a?done=event_replayed")
    assert await services.pool.fetchval("SELECT status FROM events WHERE event_id = 'evt_a'") == "pending"
    assert await audit_of(services) == [
        ("desk operate", "POST replay_event", "/v1/events/evt_a/replays", "fixed"),
    ]


async def test_a_bulk_replay_is_dry_then_started_then_stopped(sit: Sit, services: Services) -> None:
    await add_event(services, "evt_a", status="parked", error={"code": "no_object", "message": "m"})
    desk = await sit("operate")
    empty = await desk.fill("/console/replays", "Dry run", mode="state", rate="10", reason="try")
    assert (empty.status_code, "at least one member" in empty.text) == (422, True)
    fields = {"status": "parked", "mode": "resume", "rate": "10", "reason": "try"}
    made = await desk.fill("/console/replays", "Dry run", **fields)
    dry = made.headers["location"]
    assert "dry run" in await desk.see(dry)
    running = await desk.fill(dry, "Start it in mode resume", reason="fixed")
    page = await desk.done(running.headers["location"], "Stop", reason="does harm")
    assert "Stopped. What it did stays done." in page
    states = await services.pool.fetch("SELECT state, dry_run, rate FROM replays ORDER BY created_at")
    assert [tuple(row) for row in states] == [("planned", True, 10), ("stopped", False, 10)]


async def test_a_plan_and_a_forecast_are_told_in_words_with_currencies(sit: Sit, services: Services) -> None:
    await add_account(services.pool, "acct_1")
    await add_event(services, "evt_a", status="applied")
    await add_command(services, "cmd_a", status="settled", amount=10_000, currency="usd", caused_by="evt_a")
    desk = await sit("operate")
    plan = await desk.fill("/console/events/evt_a", "Show what it would do", mode="force", reason="see")
    assert "100.00 USD" in plan.text
    forecast = {
        "complete": True,
        "events": 3,
        "accounts": 1,
        "compared": 0,
        "passed_over": {"event_ignored": 2},
        "unreadable": 0,
        "transitions": {"card: - -> active": 1},
        "leaving": {"create_outbound_payment": {"count": 1, "amount": 10_000}},
        "held_back": {},
        "suppressed": {},
        "amount": 10_000,
    }
    await services.pool.execute(
        "INSERT INTO replays (id, filter, mode, rate, state, dry_run, total, reason, by, forecast)"
        " VALUES ('rpl_1', '{}', 'force', 100, 'planned', true, 3, 'see', 'me', $1)",
        forecast,
    )
    page = await desk.see("/console/replays/rpl_1")
    for words in ("create outbound payment (100.00 USD or USDC)", "event ignored", "3 events of 1 accounts"):
        assert words in page
    assert "data-refresh-s" not in page


async def test_the_doctor_has_a_page_for_who_may_operate(sit: Sit) -> None:
    page = await (await sit("operate")).see("/console/doctor")
    assert "STRIPE_API_KEY" in page
    assert page.index(">wrong<") < page.index(">ok<")
    assert "forbidden" in await (await sit("read")).see("/console/doctor", 403)

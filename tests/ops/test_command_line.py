"""The on-call part of the command line over a real database: dry first, done with --yes, and kept with who and why."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from app.wiring import Services
from tests.flow.test_apply import deliver
from tests.test_cli import cardrail, told


@pytest_asyncio.fixture
async def desk(services: Services, dsn: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Services]:
    """The services' database, which the commands find in their environment."""
    monkeypatch.setenv("DATABASE_URL", dsn)
    monkeypatch.setenv("PLATFORM_ACCOUNT_ID", "acct_platform")
    monkeypatch.setenv("COLUMNS", "250")
    yield services


async def noted(desk: Services) -> list[tuple[str, str, str]]:
    rows = await desk.pool.fetch("SELECT action, target, reason FROM operator_actions ORDER BY id")
    return [(row["action"], row["target"], row["reason"]) for row in rows]


async def test_brakes_are_set_listed_and_released(desk: Services) -> None:
    assert "would" in await told("brakes", "set", "create_card", "--reason", "incident")
    assert (await told("brakes", "list"))["data"] == []
    assert (await told("brakes", "set", "create_card", "--reason", "incident", "--yes"))["on"] is True
    (brake,) = (await told("brakes", "list"))["data"]
    assert (brake["step"], brake["reason"]) == ("create_card", "incident")
    assert "would" in await told("brakes", "release", "create_card", "--reason", "over")
    assert (await told("brakes", "release", "create_card", "--reason", "over", "--yes"))["on"] is False
    assert (await cardrail("brakes", "release", "create_card", "--reason", "again", "--yes")).exit_code == 1
    assert (await cardrail("brakes", "set", "make_coffee", "--reason", "thirst", "--yes")).exit_code == 2
    assert await noted(desk) == [
        ("brakes.set", "create_card", "incident"),
        ("brakes.release", "create_card", "over"),
    ]


async def test_a_replay_without_a_mode_fits_the_event(desk: Services) -> None:
    await deliver(desk.pool, "issuing_card.created", None)
    await desk.pool.execute("INSERT INTO accounts (account_id) SELECT account_id FROM events")
    for status, mode in (("parked", "resume"), ("applied", "state")):
        await desk.pool.execute("UPDATE events SET status = $1", status)
        event_id = await desk.pool.fetchval("SELECT event_id FROM events")
        assert (await told("events", "replay", event_id))["mode"] == mode


async def test_everything_of_a_fingerprint_is_answered_at_once(desk: Services) -> None:
    for _ in range(2):
        await deliver(desk.pool, "issuing_card.created", None)
    await desk.pool.execute("UPDATE events SET status = 'parked', error = $1", {"code": "no_object", "message": "m"})
    (group,) = (await told("parked", "list"))["data"]
    assert group["fingerprint"] in (await cardrail("parked")).output
    assert "2 x event issuing_card.created" in (await told("parked", "retry", group["fingerprint"]))["would"]
    assert (await told("parked", "retry", group["fingerprint"], "--yes"))["done"] == 2
    assert await desk.pool.fetchval("SELECT count(*) FROM events WHERE status = 'pending'") == 2
    assert (await cardrail("parked", "ignore", "pk_none", "--reason", "r", "--yes")).exit_code == 1
    assert [row[0] for row in await noted(desk)] == ["parked.retry"]


async def test_stuck_accounts_are_those_past_a_deadline_or_with_something_parked(desk: Services) -> None:
    await desk.pool.execute(
        "INSERT INTO accounts (account_id, state, enrolled, since, facts) VALUES"
        " ('acct_late', 'restricted', true, now() - interval '30 days', $1), ('acct_parked', 'live', true, now(), $1),"
        " ('acct_well', 'live', true, now(), $1)",
        {"enrolled": True},
    )
    await deliver(desk.pool, "issuing_card.created", None, account="acct_parked")
    await desk.pool.execute("UPDATE events SET status = 'parked'")
    assert [a["id"] for a in (await told("accounts", "list", "--stuck"))["data"]] == ["acct_late", "acct_parked"]
    assert (await told("accounts", "explain", "acct_late"))["waiting_for"]["overdue"] is True

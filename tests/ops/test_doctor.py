"""The doctor names what is wrong and what would help; an old schema is a finding, not a crash."""

import asyncio
import json
from datetime import UTC, date, datetime
from typing import Any

import httpx
import msgspec
import pytest
from typer.testing import CliRunner

from app.cli import build
from app.cli.desk import show_rows
from app.errors import Conflict
from app.machines.programme import Brakes, Caps, Funding, Programme
from app.ops import doctor, subscriptions
from app.ops.doctor import at_stripe, money
from app.store import controls, gauges, keys
from app.stripe import signature
from app.web.main import create_app
from app.wiring import Services
from tests.flow.test_apply import deliver

NOW_S = 1_790_000_000


async def look(services: Services) -> dict[str, doctor.Check]:
    return {check.check: check for check in await doctor.examine(services)}


async def test_what_is_parked_stopped_refused_and_silent_is_wrong_and_comes_with_what_to_do(services: Services) -> None:
    before = await look(services)
    assert {name for name, check in before.items() if check.state == "wrong"} == {"stripe"}
    await deliver(services.pool, "issuing_card.created", None)
    await services.pool.execute(
        "UPDATE events SET status = 'parked', error = $1", {"code": "no_object", "message": "m"}
    )
    async with services.pool.acquire() as conn:
        await controls.trip_brake(conn, step="create_card", reason="10 commands failed", by="cardrail")
        await controls.set_brake(conn, step="create_cardholder", reason="migration", by="ana")
        await conn.execute("INSERT INTO heartbeats (worker, at) VALUES ('worker@a:1', now() - interval '2 minutes')")
        await conn.execute(
            "INSERT INTO watermarks (name, at, updated_at) VALUES ($1, now(), now() - interval '3 h')", gauges.COMPLETE
        )
    seen = await look(services)
    wrong = {name for name, check in seen.items() if check.state == "wrong"}
    assert wrong == {"parked event issuing_card.created", "brake create_card", "workers", "gaps", "stripe"}
    assert seen["brake create_cardholder"].state == "warning"
    assert "worker@a:1" in seen["workers"].says
    assert "cardrail parked retry pk_" in seen["parked event issuing_card.created"].do
    assert "The event carries no object." in seen["parked event issuing_card.created"].says
    assert [name for name in wrong if not seen[name].do] == []


async def test_a_quiet_service_with_a_living_worker_is_well(services: Services) -> None:
    async with services.pool.acquire() as conn:
        await conn.execute("INSERT INTO heartbeats (worker) VALUES ('worker@a:1'), ('worker@b:1')")
        await gauges.mark_complete(conn, await conn.fetchval("SELECT now() - interval '10 minutes'"))
        await keys.create(conn, name="console", scope="operate")
    seen = await look(services)
    assert {seen[name].state for name in ("workers", "gaps", "backlog", "clock", "caps", "cap of the day", "keys")} == {
        "ok"
    }
    assert seen["workers"].says.startswith("2 live")


@pytest.mark.parametrize(
    ("secret", "age_s", "path", "body", "words", "helps"),
    [
        (b"whsec_unknown", 0, "/webhooks/stripe", {}, "cause wrong_secret", "signing secret of every destination"),
        (b"whsec_unknown", 0, "/webhooks/stripe", {"livemode": True}, "says live mode", "of live mode posts here"),
        (b"whsec_deciding", 0, "/webhooks/stripe", {}, "cause other_door", "changed over"),
        (b"whsec_sandbox", 900, "/webhooks/stripe", {}, "signed with secret number 1", "by NTP"),
        (b"whsec_sandbox", -900, "/webhooks/stripe", {}, "clock skew", "by NTP"),
        (
            b"whsec_sandbox",
            0,
            "/webhooks/stripe/authorizations",
            {},
            "at /webhooks/stripe/authorizations",
            "changed over",
        ),
    ],
)
async def test_the_signature_doctor_says_which_secret_which_mode_and_how_far_the_clocks_are_apart(
    services: Services, secret: bytes, age_s: int, path: str, body: dict[str, Any], words: str, helps: str
) -> None:
    services.settings = services.settings.but(authorization_secrets=("whsec_deciding",))
    now_s = services.clock() // 1000
    sent = json.dumps({"id": "evt_1", "object": "event", **body}).encode()
    header = signature.sign(sent, secret, now_s - age_s).decode()
    transport = httpx.ASGITransport(create_app(services), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://cardrail") as http:
        assert (await http.post(path, content=sent, headers={"Stripe-Signature": header})).status_code == 400
    await services.receiver.settle()
    (found,) = [check for name, check in (await look(services)).items() if name.startswith("rejections")]
    assert (found.state, words in found.says, helps in found.do) == ("wrong", True, True), found


async def test_what_was_refused_long_ago_no_longer_makes_the_doctor_cry(services: Services) -> None:
    """Anybody can post nonsense once; a destination with a wrong secret comes again and again."""
    await services.pool.execute(
        "INSERT INTO rejections (code, at) VALUES ('signature_stale', now() - interval '2 h'),"
        " ('signature_scheme', now() - interval '20 min')"
    )
    seen = await look(services)
    assert seen["rejections signature_stale"].state == "warning"
    assert seen["rejections signature_scheme"].state == "wrong"


async def test_a_cap_that_is_nearly_used_up_and_a_key_that_expires_are_seen(services: Services) -> None:
    services.programme = msgspec.structs.replace(services.programme, caps=Caps(per_programme_day=1_000))
    await services.pool.execute(
        "INSERT INTO outbox (account_id, command_id, kind, intent, idempotency_key, params, amount, status, caused_by,"
        " first_call_at) VALUES ('acct_1', 'cmd_1', 'create_outbound_payment', 'i', 'k', '{}', 900, 'settled', 'e', now())"
    )
    async with services.pool.acquire() as conn:
        soon = await conn.fetchval("SELECT now() + interval '3 days'")
        row, _ = await keys.create(conn, name="console", scope="read", expires_at=soon)
    seen = await look(services)
    assert (seen["cap of the day"].state, "9.00 of 10.00" in seen["cap of the day"].says) == ("warning", True)
    assert "console expires" in seen[f"key {row['id']}"].says


@pytest.mark.parametrize(
    ("programme", "state"),
    [
        (Programme(), "ok"),
        (Programme(caps=Caps(per_account_day=100)), "wrong"),
        (Programme(caps=Caps(per_programme_day=500_000)), "warning"),
        (Programme(funding=Funding(amount=1), brakes=Brakes(errors=0)), "warning"),
    ],
)
def test_caps_that_do_not_fit_the_steps_are_seen(programme: Programme, state: str) -> None:
    assert [check.state for check in money.plausible(programme)] == [state]


def test_snapshots_pinned_to_another_version_are_a_warning() -> None:
    row = {"id": "ed_1", "type": "webhook_endpoint", "event_payload": "snapshot", "enabled_events": ["*"]}
    scopes = {"events_from": ["@self", "@accounts"], "snapshot_api_version": "2026-06-10.preview"}
    thin = {**row, **scopes, "event_payload": "thin", "snapshot_api_version": None}
    found = at_stripe.against_catalogue([{**row, **scopes}, thin], "2026-10-14.preview", None)
    assert [(check.state, "2026-06-10.preview" in check.says) for check in found] == [("warning", True)]


async def test_events_of_the_other_mode_are_kept_apart_and_told(services: Services) -> None:
    assert (await look(services))["mode"].state == "ok"
    secret = services.settings.webhook_secrets[0].encode()
    body = {"id": "evt_1", "object": "event", "type": "issuing_robot.created", "created": NOW_S, "livemode": True}
    sent = json.dumps({**body, "data": {"object": {"id": "ir_1", "object": "issuing.robot"}}}).encode()
    header = signature.sign(sent, secret, services.clock() // 1000).decode()
    transport = httpx.ASGITransport(create_app(services), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://cardrail") as http:
        answer = await http.post("/webhooks/stripe", content=sent, headers={"Stripe-Signature": header})
    assert answer.status_code == 200, answer.text
    seen = await look(services)
    assert (seen["mode"].state, seen["event types"].state) == ("warning", "ok")
    assert "1 events of live mode" in seen["mode"].says
    assert "CARDRAIL_LIVEMODE" in seen["mode"].do
    services.settings = services.settings.but(livemode=True)
    assert (await look(services))["mode"].state == "ok"


@pytest.mark.parametrize(
    ("skew_s", "state", "says"),
    [(1.2, "ok", "1 s from"), (30.0, "warning", "30 s ahead of"), (-90.0, "wrong", "90 s behind")],
)
def test_a_clock_that_is_wrong_is_told_with_its_direction(skew_s: float, state: str, says: str) -> None:
    (check,) = at_stripe.clock(skew_s)
    assert (check.state, check.says) == (state, f"{says} Stripe's clock")


async def test_an_old_schema_is_a_finding_with_the_command_to_run(
    empty_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_dsn)
    monkeypatch.setenv("PLATFORM_ACCOUNT_ID", "acct_platform")
    done = await asyncio.to_thread(CliRunner().invoke, build(), ["doctor", "--json"])
    assert done.exit_code == 1
    (check,) = json.loads(done.stdout)["checks"]
    assert (check["check"], check["state"], check["do"]) == ("schema", "wrong", "cardrail migrate")
    checked = await asyncio.to_thread(CliRunner().invoke, build(), ["migrate", "--check"])
    assert (checked.exit_code, len(checked.output.splitlines())) == (1, 1)
    assert "Run: cardrail migrate" in checked.output


async def test_who_does_not_hear_us_is_told(services: Services) -> None:
    """Stripe that follows another answer, a receiver that fails, and nothing of what a person switched off."""
    assert (await look(services))["answers"].state == "ok"
    await services.pool.execute(
        "INSERT INTO decisions (account_id, request_event_id, authorization_id, approved, reason, amount, currency,"
        " requested, inputs, took_us, stripe_approved, stripe_reason) VALUES"
        " ('acct_1', 'evt_1', 'iauth_1', true, 'approved', 1, 'usd', 1, '{}', 5, false, 'webhook_timeout')"
    )
    async with services.pool.acquire() as conn, conn.transaction():
        for url in ("https://off", "https://failing", "https://by-hand", "https://well"):
            await subscriptions.create(conn, url=url, types=["*"], accounts=None, description=None)
        assert (await look(services))["subscriptions"].state == "ok"
    await services.pool.execute(
        "UPDATE subscriptions SET enabled = url IN ('https://failing', 'https://well'),"
        " failing_since = CASE WHEN url = 'https://failing' THEN now() - interval '20 min' END,"
        " disabled_reason = CASE url WHEN 'https://off' THEN 'Gone.' WHEN 'https://by-hand' THEN 'disabled by hand' END"
    )
    seen = await look(services)
    silent = [check for name, check in seen.items() if name.startswith("subscription ")]
    assert sorted(check.says[:30] for check in silent) == [
        "https://off is told nothing an",
        "nothing gets through to https:",
    ]
    assert all("cardrail subscriptions enable sub_" in check.do for check in silent)
    assert (seen["answers"].state, "webhook_timeout (1)" in seen["answers"].says) == ("warning", True)
    async with services.pool.acquire() as conn:
        off = await conn.fetchval("SELECT id FROM subscriptions WHERE url = 'https://off'")
        with pytest.raises(Conflict, match="enable it first"):
            await subscriptions.test(conn, off, platform="acct_platform")


async def test_a_transaction_that_holds_the_journal_up_is_named(services: Services) -> None:
    async with services.pool.acquire() as one, services.pool.acquire() as other, one.transaction():
        await one.fetchval("SELECT pg_current_xact_id()")
        pid = await one.fetchval("SELECT pg_backend_pid()")
        await other.execute(
            "INSERT INTO journal (account_id, seq, machine, object_id, to_state, event_id, at, txid)"
            " VALUES ('acct_1', 1, 'card', 'ic_1', 'active', 'evt_1', now() - interval '1 min', pg_current_xact_id()::text::bigint)"
        )
        assert f"pg_terminate_backend({pid})" in (await look(services))["stream"].do
    assert "stream" not in await look(services)


async def test_a_command_whose_outcome_is_unknown_is_looked_at_before_it_is_given_up(services: Services) -> None:
    await services.pool.execute(
        "INSERT INTO outbox (account_id, command_id, kind, intent, idempotency_key, params, status, caused_by, error)"
        " VALUES ('acct_1', 'cmd_1', 'create_card', 'card/1', 'k', ''::bytea, 'parked', 'evt_1', $1)",
        {"code": "outcome_unknown", "message": "m"},
    )
    do = (await look(services))["parked command create_card"].do
    assert "cardrail parked retry pk_" in do
    assert "cardrail parked discard pk_" in do


async def test_what_a_hold_or_a_brake_keeps_back_is_no_backlog(services: Services) -> None:
    await services.pool.execute(
        "INSERT INTO accounts (account_id, state, hold, facts) VALUES ('acct_1', 'live', NULL, '{}'), ('acct_2', 'live', '{}', '{}')"
    )
    await services.pool.execute(
        "INSERT INTO outbox (account_id, command_id, kind, intent, idempotency_key, params, status, caused_by, due_at)"
        " SELECT account, 'cmd_' || kind || account, kind, 'i', kind || account, '{}', 'pending', 'e', now() - interval '9 min'"
        "  FROM unnest(ARRAY['acct_1', 'acct_2']) AS account, unnest(ARRAY['create_card', 'create_cardholder']) AS kind"
    )
    async with services.pool.acquire() as conn:
        assert (await gauges.read(conn)).commands.number == 2
        await controls.set_brake(conn, step="create_card", reason="migration", by="ana")
        assert (await gauges.read(conn)).commands.number == 1
        assert (await look(services))["backlog"].state == "wrong"
        await controls.set_brake(conn, step="create_cardholder", reason="migration", by="ana")
        assert (await gauges.read(conn)).commands == (0, 0.0)
    seen = (await look(services))["backlog"]
    assert (seen.state, "keep back 4 more" in seen.says) == ("ok", True)


async def test_a_balance_below_zero_is_told_as_money(services: Services) -> None:
    await services.pool.execute(
        "INSERT INTO accounts (account_id, state, facts)"
        " VALUES ('acct_1', 'live', '{\"balance\": {\"available\": {\"usdc\": -5000}}}')"
    )
    assert (await look(services))["balance of acct_1"].says == "negative, as last read: -50.00 USDC"


def test_a_day_stands_in_a_table_beside_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    """`cardrail books`, which the doctor sends people to, prints days."""
    show_rows(
        [{"day": date(2026, 11, 24), "at": datetime(2026, 11, 24, 3, 4, 5, tzinfo=UTC)}], ["day", "at"], as_json=False
    )
    assert capsys.readouterr().out.split() == ["DAY", "AT", "2026-11-24", "2026-11-24", "03:04:05"]

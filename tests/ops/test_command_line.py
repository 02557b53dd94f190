"""The on-call part of the command line over a real database: dry first, done with --yes, and kept with who and why."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from typer.testing import CliRunner

from app.cli import build
from app.ops.jobs import FAILURES_MAX
from app.store.views import parsed
from app.wiring import Services
from tests.flow.test_apply import card, deliver
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


async def outcomes(desk: Services) -> list[dict[str, object]]:
    rows = await desk.pool.fetch("SELECT result FROM operator_actions ORDER BY id")
    return [parsed(row["result"]) for row in rows]


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
        ("brakes.release", "create_card", "again"),
    ]
    assert await outcomes(desk) == [{"on": True}, {"on": False}, {"error": "no_brake"}]


async def test_a_freeze_under_a_brake_says_that_it_waits_and_what_stops_purchases_at_once(desk: Services) -> None:
    await desk.pool.execute("INSERT INTO accounts (account_id, state, enrolled) VALUES ('acct_1', 'live', true)")
    await desk.pool.execute(
        "INSERT INTO objects (account_id, object_id, kind, state, data, observed_at)"
        " VALUES ('acct_1', 'ic_1', 'card', 'active', '{}', now())"
    )
    freeze = ("cards", "freeze", "acct_1", "ic_1", "--reason", "fraud", "--yes")
    assert "waits_for" not in await told(*freeze)
    await told("brakes", "set", "all", "--reason", "incident", "--yes")
    waits_for = (await told(*freeze))["waits_for"]
    assert "the brake on all" in waits_for
    assert "cardrail accounts hold acct_1" in waits_for


async def test_a_step_that_the_programme_runs_only_since_then_is_explained_and_let_go(desk: Services) -> None:
    facts = {"enrolled": True, "seen": True, "state": "activated"}
    await desk.pool.execute(
        "INSERT INTO accounts (account_id, state, enrolled, facts) VALUES ('acct_1', 'activated', true, $1)", facts
    )
    waiting = await told("accounts", "explain", "acct_1")
    assert (waiting["waiting_for"]["who"], waiting["next_command"]) == ("operator", None)
    assert waiting["commands"][0] == "cardrail accounts retry acct_1 --reason WHY --yes"
    assert (await told("accounts", "retry", "acct_1", "--reason", "go on", "--yes"))[
        "step"
    ] == "create_financial_account"


async def test_an_account_whose_step_was_refused_for_good_is_stuck_before_its_deadline(desk: Services) -> None:
    await desk.pool.execute(
        "INSERT INTO accounts (account_id, state, enrolled) VALUES"
        " ('acct_refused', 'funded', true), ('acct_again', 'funded', true)"
    )
    await desk.pool.execute(
        "INSERT INTO outbox (account_id, command_id, kind, intent, idempotency_key, params, caused_by, status, created_at) VALUES"
        " ('acct_refused', 'cmd_1', 'create_cardholder', 'cardholder/1', 'k1', '', 'evt', 'rejected', now()),"
        " ('acct_again', 'cmd_2', 'create_cardholder', 'cardholder/1', 'k2', '', 'evt', 'rejected', now() - interval '1 s'),"
        " ('acct_again', 'cmd_3', 'create_cardholder', 'cardholder/2', 'k3', '', 'evt', 'pending', now())"
    )
    assert [a["id"] for a in (await told("accounts", "list", "--stuck"))["data"]] == ["acct_refused"]
    checks = {one["check"]: one for one in json.loads((await cardrail("doctor", "--json")).stdout)["checks"]}
    assert "1 accounts stand at it" in checks["refused create_cardholder"]["says"]
    assert "accounts retry" in checks["refused create_cardholder"]["do"]


async def test_a_list_of_replays_says_what_a_planned_one_waits_for(desk: Services) -> None:
    await told("replays", "start", "--account", "acct_1")
    assert "planned (dry" in (await cardrail("replays", "list")).output  # a narrow terminal folds the rest


async def test_a_confirmation_without_a_key_is_wrong_usage_and_a_piped_one_is_taken(desk: Services) -> None:
    made = await told("replays", "start", "--account", "acct_1")
    confirm = ("replays", "confirm", made["id"], "--reason", "r", "--json")
    none = await cardrail(*confirm)
    assert (none.exit_code, json.loads(none.stdout)["error"]["code"]) == (2, "key_missing")
    key = (await told("keys", "create", "--scope", "admin", "--name", "bob"))["key"]
    piped = await asyncio.to_thread(CliRunner().invoke, build(), list(confirm), f"{key}\n")
    assert (piped.exit_code, json.loads(piped.stdout)["error"]["code"]) == (1, "replay_dry_run")


async def test_a_job_that_stops_itself_says_so_and_names_its_event_once(desk: Services) -> None:
    for _ in range(FAILURES_MAX + 1):
        await deliver(desk.pool, "issuing_card.created", None)
    await desk.pool.execute("UPDATE events SET status = 'parked'")
    done = await cardrail("replays", "start", "--status", "parked", "--mode", "state", "--yes", "--json")
    made = json.loads(done.stdout)
    assert (done.exit_code, made["state"], made["done"], made["failed"]) == (1, "failed", FAILURES_MAX, FAILURES_MAX)
    assert made["last_error"].count("evt_") == 1
    assert not made["last_error"].endswith("..")
    assert f"stopped itself after {FAILURES_MAX} failures" in (await cardrail("replays", "show", made["id"])).output


async def test_a_held_platform_is_told_by_the_doctor_since_it_stands_in_no_list(desk: Services) -> None:
    await desk.pool.execute("INSERT INTO accounts (account_id) VALUES ('acct_platform')")
    await told("accounts", "hold", "acct_platform", "--reason", "by mistake")
    assert (await told("accounts", "list", "--held"))["data"] == []
    checks = {one["check"]: one for one in json.loads((await cardrail("doctor", "--json")).stdout)["checks"]}
    assert "by mistake" in checks["platform hold"]["says"]
    assert "accounts release acct_platform" in checks["platform hold"]["do"]


async def test_facts_broken_by_hand_are_told_and_repaired_and_hide_no_other_account(desk: Services) -> None:
    await desk.pool.execute(
        "INSERT INTO accounts (account_id, state, enrolled, facts) VALUES"
        " ('acct_broken', 'live', true, '{\"intents\": 7}'), ('acct_well', 'enrolled', false, '{}')"
    )
    assert [a["id"] for a in (await told("accounts", "list"))["data"]] == ["acct_broken", "acct_well"]
    assert (await told("accounts", "show", "acct_broken"))["cards"] == {}
    explained = await told("accounts", "explain", "acct_broken")
    assert explained["commands"][0] == "cardrail accounts rebuild acct_broken --repair --reason WHY"
    for typed, differing in ((["acct_broken"], "differences"), ([], "differing")):
        done = await cardrail("accounts", "rebuild", *typed, "--json")
        assert (done.exit_code, len(json.loads(done.stdout)[differing])) == (1, 1 if not typed else 2)
    assert (await told("accounts", "rebuild", "acct_broken", "--repair", "--reason", "by hand"))["repaired"] is True
    assert (await told("accounts", "rebuild"))["equal"] == 2


async def test_a_replay_without_a_mode_fits_the_event(desk: Services) -> None:
    await deliver(desk.pool, "issuing_card.created", None)
    await desk.pool.execute("INSERT INTO accounts (account_id) SELECT account_id FROM events")
    for status, mode in (("parked", "resume"), ("applied", "state")):
        await desk.pool.execute("UPDATE events SET status = $1", status)
        event_id = await desk.pool.fetchval("SELECT event_id FROM events")
        assert (await told("events", "replay", event_id))["mode"] == mode


async def test_a_forced_replay_of_one_event_needs_no_reason_and_a_bulk_one_does(desk: Services) -> None:
    await deliver(desk.pool, "issuing_card.created", None)
    await desk.pool.execute("INSERT INTO accounts (account_id) SELECT account_id FROM events")
    await desk.pool.execute("UPDATE events SET status = 'applied'")
    event_id = await desk.pool.fetchval("SELECT event_id FROM events")
    assert (await told("events", "replay", event_id, "--mode", "force", "--yes"))["mode"] == "force"
    assert await noted(desk) == [("events.replay", event_id, "asked for on the command line")]
    bulk = ("replays", "start", "--type", "issuing_card.created", "--mode", "force", "--yes")
    assert (await cardrail(*bulk)).exit_code == 2


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
    assert [row[:2] for row in await noted(desk)] == [
        ("parked.retry", f"{group['fingerprint']} event issuing_card.created no_object")
    ]
    assert await outcomes(desk) == [{"done": 2, "refused": 0}]


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


async def test_what_was_mistyped_ends_with_2_and_is_told_in_json_too(
    desk: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    mistyped: tuple[tuple[str, ...], ...] = (
        ("books", "--day", "2026-11-24", "--from", "2026-11-01"),
        ("books", "--from", "2026-11-24", "--to", "2026-11-01"),
        ("backfill", "--since", "2999-01-01T00:00:00Z"),
        ("subscriptions", "create", "--url", "https://8.8.8.8/hook", "--type", "nothing.of.ours"),
    )
    for typed in mistyped:
        assert (await cardrail(*typed)).exit_code == 2, typed
    monkeypatch.setenv("CARDRAIL_PAYLOAD_DAYS", "1")
    unset: tuple[tuple[str, ...], ...] = (("accounts", "list"), ("reconcile",), ("doctor",), ("migrate", "--check"))
    for typed in unset:
        done = await cardrail(*typed, "--json")
        assert (done.exit_code, json.loads(done.stdout)["error"]["code"]) == (2, "bad_config"), typed


async def test_the_audit_says_in_one_cell_what_came_of_it(desk: Services) -> None:
    result = {"read": 6, "events": ["poll_a"], "by_kind": {"card.state": 1}, "failed": [], "key": "key_1"}
    await desk.pool.execute(
        "INSERT INTO operator_actions (who, action, target, result) VALUES ('ana', 'reconcile', 'all', $1)", result
    )
    shown = (await cardrail("actions", "list")).output  # a narrow terminal folds the cell
    assert "read 6, events 1, card.state 1" in " ".join(shown.split())


async def test_what_an_event_did_is_a_line_each(desk: Services) -> None:
    await deliver(desk.pool, "issuing_card.created", card())
    await desk.pool.execute("UPDATE events SET status = 'applied', applied_seq = 1")
    await desk.pool.execute(
        "INSERT INTO journal (account_id, seq, machine, object_id, from_state, to_state, at, event_id)"
        " SELECT account_id, 1, 'card', 'ic_1', 'inactive', 'active', now(), event_id FROM events"
    )
    shown = (await cardrail("events", "show", await desk.pool.fetchval("SELECT event_id FROM events"))).output
    assert "Z  card ic_1: inactive -> active\n" in shown
    assert '"object": "issuing.card"' in shown


@pytest.mark.parametrize("command", [("actions", "list"), ("events", "list"), ("events", "list", "--until")])
async def test_every_command_takes_the_time_that_stands_in_the_runbook(
    desk: Services, command: tuple[str, ...]
) -> None:
    typed = command if command[-1] == "--until" else (*command, "--since")
    for given in ("2026-11-24T10:00:00Z", "2026-11-24T10:00:00.5+01:00"):
        assert (await cardrail(*typed, given)).exit_code == 0, given
    for given in ("2026-11-24T10:00:00", "yesterday"):
        wrong = await cardrail(*typed, given)
        assert (wrong.exit_code, given in wrong.output) == (2, True)

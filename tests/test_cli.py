"""The command line over a real database: what it prints, and how it ends."""

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app.cli import build, desk
from app.cli.commands import COMMANDS, load
from app.store import db, keys


@pytest.fixture
def environment(dsn: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("DATABASE_URL", dsn)
    monkeypatch.setenv("PLATFORM_ACCOUNT_ID", "acct_platform")
    monkeypatch.setenv("COLUMNS", "200")
    return dsn


async def cardrail(*arguments: str) -> Result:
    """Run a command in a thread of its own: it brings its own event loop."""
    return await asyncio.to_thread(CliRunner().invoke, build(), list(arguments))


async def told(*arguments: str) -> Any:
    done = await cardrail(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


async def add_account(pool: db.Pool, account_id: str, *, enrolled: bool = True) -> None:
    await pool.execute(
        "INSERT INTO accounts (account_id, state, enrolled, country) VALUES ($1, 'funding', $2, 'MX')",
        account_id,
        enrolled,
    )


async def test_a_key_is_made_shown_once_listed_and_revoked(environment: str, pool: db.Pool) -> None:
    made = await told("keys", "create", "--scope", "operate", "--name", "console")
    async with pool.acquire() as conn:
        assert (await keys.find(conn, made["key"]) or {})["id"] == made["id"]
    listed = (await told("keys", "list"))["data"]
    assert [(k["id"], k["scope"]) for k in listed] == [(made["id"], "operate")]
    assert made["key"] not in json.dumps(listed)
    assert (await told("keys", "revoke", made["id"], "--yes"))["revoked_at"] is not None
    async with pool.acquire() as conn:
        assert await keys.find(conn, made["key"]) is None
    assert (await cardrail("keys", "revoke", "key_none")).exit_code == 1


async def test_accounts_are_listed_shown_and_explained(environment: str, pool: db.Pool) -> None:
    await add_account(pool, "acct_1")
    assert [a["id"] for a in (await told("accounts", "list"))["data"]] == ["acct_1"]
    assert (await told("accounts", "show", "acct_1"))["state"] == "funding"
    answer = await told("accounts", "explain", "acct_1")
    assert answer["waiting_for"]["what"]
    assert len(answer["commands"]) == 3
    assert (await told("accounts", "journal", "acct_1"))["data"] == []
    table = await cardrail("accounts", "list")
    assert "acct_1" in table.stdout
    for command in ("show", "explain", "journal"):
        missing = await cardrail("accounts", command, "acct_none")
        assert (missing.exit_code, "acct_none" in missing.output) == (1, True)


async def test_hold_and_release_work_at_once_and_keep_who_and_why(environment: str, pool: db.Pool) -> None:
    await add_account(pool, "acct_1")
    assert (await cardrail("accounts", "hold", "acct_1")).exit_code == 2
    assert "would" in (await told("accounts", "hold", "acct_1", "--reason", "fraud", "--dry-run"))
    assert (await told("accounts", "show", "acct_1"))["held"] is None
    await told("accounts", "hold", "acct_1", "--reason", "fraud", "--yes")
    assert (await told("accounts", "show", "acct_1"))["held"]["reason"] == "fraud"
    await told("accounts", "release", "acct_1", "--reason", "cleared")
    assert (await told("accounts", "show", "acct_1"))["held"] is None
    rows = await pool.fetch("SELECT action, target, reason FROM operator_actions ORDER BY id")
    assert [(row["action"], row["target"], row["reason"]) for row in rows] == [
        ("accounts.hold", "acct_1", "fraud"),
        ("accounts.release", "acct_1", "cleared"),
    ]


async def test_adoption_is_shown_first_and_done_with_yes(environment: str, pool: db.Pool) -> None:
    await add_account(pool, "acct_1", enrolled=False)
    assert "would" in await told("accounts", "adopt", "acct_1")
    assert await pool.fetchval("SELECT count(*) FROM events") == 0
    await told("accounts", "adopt", "acct_1", "--yes")
    assert await pool.fetchval("SELECT type FROM events") == "account.adopted"
    assert (await cardrail("accounts", "adopt", "acct_none", "--yes")).exit_code == 1


async def test_parked_events_and_commands_are_listed_and_tried_again(environment: str, pool: db.Pool) -> None:
    await pool.executemany(
        "INSERT INTO events (account_id, event_id, source, type, kind, created, payload, status)"
        " VALUES ('acct_1', $1, 'webhook', 'x', 'snapshot', now(), '{}', 'parked')",
        [("evt_a",), ("evt_b",)],
    )
    await pool.executemany(
        "INSERT INTO outbox (account_id, command_id, kind, intent, idempotency_key, params, status, caused_by)"
        " VALUES ('acct_1', $1, 'create_card', $1, $1, '{}', 'parked', 'evt_a')",
        [("cmd_a",), ("cmd_b",)],
    )
    assert len((await told("events", "list", "--status", "parked"))["data"]) == 2
    assert (await told("events", "show", "evt_a"))["payload"] == {}
    assert "command create_card cmd_a parked" in (await cardrail("events", "show", "evt_a")).output
    assert "would" in await told("events", "replay", "evt_a")
    assert (await told("events", "replay", "evt_a", "--yes"))["state"] == "pending"
    assert (await told("events", "ignore", "evt_b", "--reason", "noise", "--yes"))["state"] == "ignored"
    assert (await cardrail("events", "ignore", "evt_b", "--reason", "noise", "--yes")).exit_code == 1
    assert len((await told("commands", "list", "--status", "parked"))["data"]) == 2
    assert "would" in await told("commands", "retry", "cmd_a")
    assert (await told("commands", "retry", "cmd_a", "--yes"))["state"] == "pending"
    assert (await told("commands", "discard", "cmd_b", "--reason", "no", "--yes"))["state"] == "rejected"
    assert (await told("commands", "show", "cmd_b"))["status"] == "rejected"
    for refused, code in (
        (("commands", "retry", "cmd_b"), "command_rejected"),
        (("commands", "discard", "cmd_b", "--reason", "no"), "command_rejected"),
        (("events", "ignore", "evt_b", "--reason", "no"), "event_ignored"),
        (("accounts", "hold", "acct_none", "--reason", "no", "--dry-run"), "not_found"),
    ):
        done = await cardrail(*refused, "--json")
        assert (done.exit_code, json.loads(done.stdout)["error"]["code"]) == (1, code), "a dry run refuses as well"
    assert (await cardrail("commands", "show", "cmd_none")).exit_code == 1


async def test_an_error_is_also_told_as_json(environment: str) -> None:
    done = await cardrail("events", "show", "evt_none", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["error"]["code"] == "not_found"


async def test_config_masks_secrets_and_a_wrong_setting_ends_with_its_name(
    environment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRIPE_API_KEY", "sk_test_very_secret")
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRETS", "whsec_very_secret")
    shown = await cardrail("config", "--json")
    assert "very_secret" not in shown.output
    assert {row["name"] for row in json.loads(shown.stdout)["data"]} >= {"DATABASE_URL", "STRIPE_API_KEY"}
    monkeypatch.setenv("CARDRAIL_PORT", "none")
    wrong = await cardrail("accounts", "list")
    assert (wrong.exit_code, "CARDRAIL_PORT" in wrong.output) == (2, True)


async def test_migrate_check_sees_that_the_schema_is_true(environment: str) -> None:
    assert (await told("migrate", "--check"))["drift"] == []


async def test_an_old_schema_says_what_to_run(empty_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_dsn)
    old = await cardrail("accounts", "list")
    assert (old.exit_code, "cardrail migrate" in " ".join(old.output.split())) == (1, True)
    assert (await cardrail("migrate")).exit_code == 0
    assert (await cardrail("accounts", "list")).exit_code == 0


async def test_the_machines_are_drawn() -> None:
    drawn = await cardrail("machines", "--mermaid")
    assert drawn.stdout.count("stateDiagram-v2") > 10
    assert "cardholder_ready --> live" in drawn.stdout
    assert "enrolled" in (await told("machines"))["lifecycle"]["moves"]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_of_a_command_what_it_says_of_itself(name: str) -> None:
    itself = load(name)
    assert itself.name == name
    assert COMMANDS[name].says in " ".join((itself.help or "").split())


def loaded_by(*arguments: str) -> set[str]:
    """The packages that a fresh process has loaded once this command has said its help."""
    script = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); from app.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments, "--help"], capture_output=True, text=True, check=True
    )
    return set(done.stderr.split())


def test_a_command_loads_what_it_needs() -> None:
    assert not loaded_by() & {"asyncpg", "pydantic", "httpx", "app.wiring", "app.machines"}
    assert not loaded_by("accounts") & {"sqlalchemy", "fastapi"}
    assert not loaded_by("worker") & {"sqlalchemy", "fastapi", "jinja2"}


async def test_the_committed_description_is_what_the_code_says() -> None:
    done = await cardrail("openapi", "--check")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["accounts", "show"],
        ["accounts", "list", "--state", "odd"],
        ["events", "list", "--limit", "0"],
        ["events", "list", "--status", "odd"],
        ["events", "replay", "evt_1", "--mode", "odd"],
        ["commands", "list", "--status", "odd"],
        ["commands", "list", "--kind", "create_cart"],
        ["accounts", "hold", "acct_1"],
        ["accounts", "hold", "acct_1", "--reason", "  "],
        ["backfill", "--since", "yesterday"],
    ],
)
async def test_wrong_usage_is_exit_2_and_with_json_it_is_said_in_json(arguments: list[str]) -> None:
    assert (await cardrail(*arguments)).exit_code == 2
    asked = await cardrail(*arguments, "--json")
    assert (asked.exit_code, json.loads(asked.stdout)["error"]["code"]) == (2, "wrong_usage")


async def test_a_subscription_is_made_listed_tested_enabled_and_deleted(environment: str, pool: db.Pool) -> None:
    made = await told("subscriptions", "create", "--url", "https://8.8.8.8/hook", "--type", "account.*")
    assert made["secret"].startswith("whsec_")
    listed = (await told("subscriptions", "list"))["data"]
    assert [(row["id"], row["types"]) for row in listed] == [(made["id"], ["account.*"])]
    assert made["secret"] not in json.dumps(listed)
    tested = await cardrail("subscriptions", "test", made["id"], "--wait-s", "0", "--json")
    assert (tested.exit_code, json.loads(tested.stdout)["type"]) == (1, "subscription.test")
    await pool.execute("UPDATE subscriptions SET enabled = false, disabled_reason = 'gone'")
    assert (await told("subscriptions", "enable", made["id"]))["disabled_reason"] is None
    assert made["url"] in (await told("subscriptions", "delete", made["id"]))["would"]
    assert (await cardrail("subscriptions", "delete", "sub_none")).exit_code == 1
    assert (await told("subscriptions", "delete", made["id"], "--yes"))["state"] == "deleted"
    assert (await cardrail("subscriptions", "enable", made["id"])).exit_code == 1
    refused = await cardrail("subscriptions", "create", "--url", "https://10.0.0.1/", "--type", "*")
    assert (refused.exit_code, "not public" in refused.output) == (1, True)


def test_what_stands_in_brackets_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    desk.show_rows([{"type": "v2.core.account[identity].updated"}], ["type"], as_json=False)
    desk.show_thing({"found": "[bold]3[/bold]"}, as_json=False)
    shown = capsys.readouterr().out
    assert "v2.core.account[identity].updated" in shown
    assert "[bold]3[/bold]" in shown


def test_a_row_is_one_line_where_the_output_is_a_pipe(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    columns = [f"column{n}" for n in range(12)]
    desk.show_rows([dict.fromkeys(columns, "a long value")], columns, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[1].count("a long value") == 12
    assert all(line == line.rstrip() for line in lines)

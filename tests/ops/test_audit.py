"""Every command that changes something leaves a row: who, what, why, and what came of it."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
import typer
from typer._click.core import Command
from typer.core import TyperGroup
from typer.testing import CliRunner

from app.cli import build
from app.wiring import Services
from tests.flow.test_apply import card, deliver
from tests.ops.test_destinations import opened
from tests.sandbox.conftest import Box, box, started

__all__ = ["box", "started"]

ELSEWHERE = {"replays confirm", "encryption rotate", "encryption rewrite", "subscriptions test", "subscriptions replay"}
"""Audited too, and tried where their circumstances are: a second admin, keys of our own, a receiver."""
FILTERS = {"authorizations list"}
"""Takes ``--reason`` to choose by."""


def asking_why(command: Command, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Every command that is told ``--yes`` or a reason: it changes something."""
    if isinstance(command, TyperGroup):
        context = typer.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from asking_why(below, (*path, name))
    elif {"--yes", "--reason", "--repair"} & {option for one in command.params for option in one.opts}:
        yield " ".join(path)


def changing(names: dict[str, str]) -> dict[str, list[str]]:
    """Every changing command with its arguments, in an order in which each finds what it needs."""
    since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    why = ["--reason", "because"]
    account = names["account"]
    return {
        "accounts hold": [account, *why, "--yes"],
        "accounts release": [account, *why, "--yes"],
        "accounts adopt": [account, *why, "--yes"],
        "accounts retry": [account, *why, "--yes"],
        "cards freeze": [account, "ic_active", *why, "--yes"],
        "cards thaw": [account, "ic_inactive", *why, "--yes"],
        "cards cancel": [account, "ic_active", *why, "--yes"],
        "accounts rebuild": [account, "--repair", *why],
        "brakes set": ["create_card", *why, "--yes"],
        "brakes release": ["create_card", *why, "--yes"],
        "events replay": ["evt_a", *why, "--yes"],
        "events ignore": ["evt_b", *why, "--yes"],
        "commands retry": ["cmd_a", *why, "--yes"],
        "commands discard": ["cmd_b", *why, "--yes"],
        "parked retry": [names["event"], *why, "--yes"],
        "parked ignore": [names["other event"], *why, "--yes"],
        "parked discard": [names["command"], *why, "--yes"],
        "replays start": ["--account", account, "--mode", "resume", *why, "--yes", "--no-follow"],
        "replays stop": [names.get("replay", ""), *why],
        "backfill": ["--since", since, *why, "--yes"],
        "reconcile": ["--account", account, *why, "--yes"],
        "destinations ensure": [*why, "--yes"],
        "retention run": [*why, "--yes"],
        "subscriptions create": ["--url", "https://8.8.8.8/hook", "--type", "*", *why],
        "subscriptions enable": [names.get("subscription", ""), *why],
        "subscriptions delete": [names.get("subscription", ""), *why, "--yes"],
        "keys create": ["--name", "n", *why],
        "keys revoke": [names.get("key", ""), *why],
    }


def test_every_command_that_changes_something_is_tried_below() -> None:
    unnamed = dict.fromkeys(("account", "event", "other event", "command"), "")
    found = set(asking_why(typer.main.get_command(build())))
    assert found - FILTERS == set(changing(unnamed)) | ELSEWHERE


@pytest_asyncio.fixture
async def services(dsn: str, box: Box, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Services]:
    async with opened(dsn, box, "https://cards.example.com") as one:
        monkeypatch.setenv("DATABASE_URL", dsn)
        monkeypatch.setenv("STRIPE_API_KEY", "sk_test_sandbox")
        monkeypatch.setenv("STRIPE_API_BASE", box.url)
        monkeypatch.setenv("PLATFORM_ACCOUNT_ID", one.platform_account)
        yield one


async def parked(services: Services, account: str) -> dict[str, str]:
    """Parked events and commands for every answer; the fingerprints of those that are answered together."""
    for name, code in (("evt_a", "a"), ("evt_b", "b"), ("evt_c", "c"), ("evt_d", "d")):
        made = await deliver(services.pool, "issuing_card.created", card(), account=account)
        await services.pool.execute(
            "UPDATE events SET event_id = $2, status = 'parked', error = $3 WHERE event_id = $1",
            made,
            name,
            {"code": code},
        )
    for name, code in (("cmd_a", "a"), ("cmd_b", "b"), ("cmd_c", "c")):
        await services.pool.execute(
            "INSERT INTO outbox (account_id, command_id, kind, intent, idempotency_key, params, status, caused_by, error)"
            " VALUES ($1, $2, 'create_card', $2, $2, '{}', 'parked', 'evt_a', $3)",
            account,
            name,
            {"code": code},
        )
    for state in ("active", "inactive"):
        await services.pool.execute(
            "INSERT INTO objects (account_id, object_id, kind, state, data, observed_at)"
            " VALUES ($1, 'ic_' || $2, 'card', $2, '{}', now())",
            account,
            state,
        )
    groups = (await told("parked", "list"))["data"]
    named = {(group["what"], group["code"]): group["fingerprint"] for group in groups}
    return {"event": named["event", "c"], "other event": named["event", "d"], "command": named["command", "c"]}


async def told(*arguments: str) -> Any:
    done = await asyncio.to_thread(CliRunner().invoke, build(), [*arguments, "--json"])
    assert done.exit_code == 0, (arguments, done.output)
    return json.loads(done.stdout)


async def test_every_change_leaves_who_what_why_and_what_came_of_it(services: Services, box: Box) -> None:
    account = box.account()
    await services.pool.execute("INSERT INTO accounts (account_id) VALUES ($1)", account)
    names = {"account": account, **await parked(services, account)}
    for command in changing(names):
        if command == "accounts retry":
            facts = {"enrolled": True, "state": "activated", "intents": {"financial_account/1": "rejected:x"}}
            await services.pool.execute(
                "UPDATE accounts SET enrolled = true, facts = $2 WHERE account_id = $1", account, facts
            )
        before = await services.pool.fetchval("SELECT coalesce(max(id), 0) FROM operator_actions")
        made = await told(*command.split(), *changing(names)[command])
        names |= {"replay": made["id"]} if command == "replays start" else {}
        names |= {"subscription": made["id"]} if command == "subscriptions create" else {}
        names |= {"key": made["id"]} if command == "keys create" else {}
        rows = await services.pool.fetch("SELECT * FROM operator_actions WHERE id > $1", before)
        assert len(rows) == 1, (command, [dict(row) for row in rows])
        (row,) = rows
        assert row["who"].startswith("cli:"), command
        assert row["action"].startswith(command.replace(" ", ".")), (command, row["action"])
        assert (row["reason"], bool(row["target"])) == ("because", True), command
        assert row["result"], command
        assert "whsec_" not in json.dumps(row["result"])
        assert "ck_" not in json.dumps(row["result"])


async def test_a_migration_is_told_as_well(empty_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_dsn)
    await told("migrate")
    rows = (await told("actions", "list"))["data"]
    assert [(row["action"], row["result"]["before"]) for row in rows] == [("migrate", "base")]
    await told("migrate")
    assert len((await told("actions", "list"))["data"]) == 1

"""reconcile against a Stripe that remembers: what no webhook told is seen, told to the log as an event, and then equal."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from typer.testing import CliRunner

from app.cli import build
from app.errors import NotFound
from app.flow.apply import Applier
from app.ops import reconcile
from app.ops.parts import Actor
from app.wiring import Services
from tests.ops.test_destinations import opened
from tests.polls import polled
from tests.sandbox.conftest import Box, box, started

__all__ = ["box", "started"]

ME = Actor(who="test", reason="because")


@pytest_asyncio.fixture
async def services(dsn: str, box: Box) -> AsyncIterator[Services]:
    async with opened(dsn, box, "https://cards.example.com") as one:
        yield one


async def drain(services: Services) -> None:
    applier = Applier(
        services.pool,
        services.stripe,
        services.programme,
        platform_account=services.platform_account,
        vocabulary="money_manager",
        clock=services.clock,
    )
    while await polled(applier):
        pass


async def known(services: Services, account: str) -> None:
    """The account is in our books, and nothing else of it: no webhook ever came."""
    await services.pool.execute("INSERT INTO accounts (account_id) VALUES ($1)", account)


async def drift(services: Services, account: str, *, yes: bool = False) -> list[tuple[str, str]]:
    found = await reconcile.reconcile(services, ME, yes=yes, account=account)
    assert found["failed"] == []
    return sorted((d["kind"], d["how"]) for d in found["drift"])


async def test_what_no_webhook_told_is_seen_and_told_to_the_log(services: Services, box: Box) -> None:
    account, _, card = box.spender()
    await known(services, account)
    whole = [("account", "unknown"), ("card", "unknown"), ("cardholder", "unknown"), ("financial_account", "unknown")]
    assert await drift(services, account) == whole
    assert await services.pool.fetchval("SELECT count(*) FROM events") == 0
    assert await drift(services, account, yes=True) == whole
    assert await services.pool.fetchval("SELECT count(*) FROM objects") == 0, "a repair is an event, never an update"
    await drain(services)
    assert await drift(services, account) == []

    box.stripe.v1.issuing.cards.update(card, {"status": "inactive"}, {"stripe_account": account})
    path = "card_creator.commercial.lead.prepaid_card"
    box.control("POST", f"accounts/{account}/capabilities", {"path": path, "status": "restricted"})
    assert await drift(services, account) == [("account", "fields"), ("card", "state")]
    await drift(services, account, yes=True)
    await drain(services)
    assert await drift(services, account) == []
    assert await services.pool.fetchval("SELECT state FROM objects WHERE object_id = $1", card) == "inactive"
    rows = await services.pool.fetch("SELECT source, type, status FROM events")
    assert [tuple(row) for row in rows] == [("poll", "reconcile.read", "applied")] * 2


async def told(*arguments: str) -> tuple[int, Any]:
    done = await asyncio.to_thread(CliRunner().invoke, build(), [*arguments, "--json"])
    return done.exit_code, json.loads(done.stdout)


async def test_the_command_ends_with_1_where_something_differs(
    services: Services, box: Box, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    account, _, _ = box.spender()
    await known(services, account)
    monkeypatch.setenv("DATABASE_URL", dsn)
    monkeypatch.setenv("STRIPE_API_KEY", "sk_test_sandbox")
    monkeypatch.setenv("STRIPE_API_BASE", box.url)
    monkeypatch.setenv("PLATFORM_ACCOUNT_ID", services.platform_account)
    code, found = await told("reconcile", "--account", account)
    assert (code, found["dry_run"], found["by_kind"]["card.unknown"]) == (1, True, 1)
    code, found = await told("reconcile", "--account", account, "--yes", "--reason", "webhooks were lost")
    assert (code, len(found["events"])) == (0, 1)
    await drain(services)
    assert (await told("reconcile", "--account", account))[0] == 0
    assert (await told("reconcile", "--account", "acct_none"))[0] == 1
    row = await services.pool.fetchrow("SELECT action, target, reason FROM operator_actions")
    assert row is not None
    assert tuple(row) == ("reconcile", account, "webhooks were lost")


async def test_what_is_gone_at_stripe_needs_a_person(
    services: Services, box: Box, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = box.account()
    await known(services, account)
    await drift(services, account, yes=True)
    await drain(services)
    await services.pool.execute(
        "INSERT INTO objects (account_id, object_id, kind, state, data, observed_at)"
        " VALUES ($1, 'iauth_gone', 'authorization', 'pending', '{}', now())",
        account,
    )
    found = await reconcile.reconcile(services, ME, yes=True, account=account)
    assert [(d["object_id"], d["how"]) for d in found["drift"]] == [("iauth_gone", "gone")]
    assert found["events"] == []
    ours = {"DATABASE_URL": dsn, "PLATFORM_ACCOUNT_ID": services.platform_account}
    for name, value in {**ours, "STRIPE_API_KEY": "sk_test_sandbox", "STRIPE_API_BASE": box.url}.items():
        monkeypatch.setenv(name, value)
    for typed in (["--account", account], ["--account", account, "--yes"]):
        done = await asyncio.to_thread(CliRunner().invoke, build(), ["reconcile", *typed])
        assert (done.exit_code, "Stripe's dashboard" in done.output, "add --yes" in done.output) == (1, True, False)
    with pytest.raises(NotFound):
        await reconcile.reconcile(services, ME, yes=False, account="acct_none")


async def test_an_account_that_stripe_does_not_list_is_named_a_line_each(
    services: Services, box: Box, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await services.pool.execute("INSERT INTO accounts (account_id) VALUES ('acct_other')")
    ours = {"DATABASE_URL": dsn, "PLATFORM_ACCOUNT_ID": services.platform_account}
    for name, value in {**ours, "STRIPE_API_KEY": "sk_test_sandbox", "STRIPE_API_BASE": box.url}.items():
        monkeypatch.setenv(name, value)
    since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    for typed in (["reconcile"], ["backfill", "--since", since]):
        done = await asyncio.to_thread(CliRunner().invoke, build(), typed)
        assert done.exit_code == 1
        before = [line.split("acct_other: ")[0].strip() for line in done.output.splitlines() if "acct_other: " in line]
        assert len(before) > 1, done.output
        assert before == ["failed", *[""] * (len(before) - 1)]


async def test_silent_accounts_are_read_by_themselves(services: Services, box: Box) -> None:
    account = box.account()
    await services.pool.execute(
        "INSERT INTO accounts (account_id, enrolled, facts, updated_at) VALUES ($1, true, $2, now() - interval '1 h')",
        account,
        {"enrolled": True},
    )
    assert await reconcile.Nudger(services).poll() is True
    await drain(services)
    assert await services.pool.fetchval("SELECT state FROM accounts WHERE account_id = $1", account) == "activated"

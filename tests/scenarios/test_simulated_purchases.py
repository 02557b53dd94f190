"""`cardrail simulate purchase` against the running fleet: who decided, why, and how long it took."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from typer.testing import CliRunner

from app.cli import build
from app.demo.fleet import Member
from tests.scenarios.conftest import World


async def simulate(*arguments: str) -> Any:
    run = ["simulate", "purchase", *arguments, "--json"]
    done = await asyncio.to_thread(CliRunner().invoke, build(), run)
    return json.loads(done.stdout) if done.exit_code == 0 else done.exit_code


@pytest_asyncio.fixture
async def asking(town: World) -> AsyncIterator[World]:
    """The world while we are asked about purchases."""
    endpoint = {"url": f"{town.parts.url}/webhooks/stripe/authorizations", "secret": town.parts.secret}
    (await town.sandbox.put("/_sandbox/authorization_endpoint", json=endpoint)).raise_for_status()
    yield town
    (await town.sandbox.put("/_sandbox/authorization_endpoint", json={"url": None})).raise_for_status()


async def test_a_purchase_tells_who_decided_it(asking: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world, member = asking, Member("bought-001", "MX", "", "live")
    await world.enroll(member)
    account = str(member.account)
    monkeypatch.setenv("STRIPE_API_BASE", world.parts.sandbox_url)

    while True:
        bought = await simulate("--account", account, "--amount", "1250", "--merchant-category", "taxicabs_limousines")
        if bought["stripe_reason"] != "webhook_timeout":  # a busy machine: the merchant tries again
            break
    assert (bought["outcome"], bought["stripe_reason"], bought["rule"]) == ("approved", "webhook_approved", "approved")
    assert 0 < bought["latency_ms"] < 2_000
    shown = await world.get(f"/v1/authorizations/{bought['authorization']}")
    assert shown["decisions"][0]["event"] == bought["decision"]

    wrong = await simulate("--account", account, "--amount", "100", "--method", "chip", "--pin", "wrong")
    assert (wrong["approved"], wrong["asked"], wrong["stripe_reason"]) == (False, False, "verification_failed")

    nowhere = {"url": f"{world.parts.url}/none"}
    (await world.sandbox.put("/_sandbox/authorization_endpoint", json=nowhere)).raise_for_status()
    unheard = await simulate("--account", account, "--amount", "100", "--no-capture")
    assert (unheard["stripe_reason"], unheard["answered_in_time"]) == ("webhook_error", False)
    assert unheard["decided_by_us"] is None

    assert await simulate("--account", "acct_none", "--amount", "100") == 1
    monkeypatch.setenv("STRIPE_API_KEY", "sk_test_other")
    assert await simulate("--account", account, "--amount", "100") == 2

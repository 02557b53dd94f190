"""`cardrail simulate purchase` against the running fleet: who decided, why, and how long it took."""

import asyncio
import json
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli import build
from app.demo.fleet import Member
from app.store import db
from tests.scenarios.conftest import World


async def simulate(*arguments: str) -> Any:
    run = ["simulate", "purchase", *arguments, "--json"]
    done = await asyncio.to_thread(CliRunner().invoke, build(), run)
    return json.loads(done.stdout) if done.exit_code == 0 else done.exit_code


async def test_a_purchase_tells_who_decided_it(world: World, pool: db.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.enroll(Member("bought-001", "MX", "", "live"))
    account = (await world.get("/v1/accounts?state=live"))["data"][0]["id"]
    monkeypatch.setenv("STRIPE_API_BASE", world.parts.sandbox_url)
    url = f"{world.parts.url}/webhooks/stripe/authorizations"
    endpoint = {"url": url, "secret": world.parts.secret}
    (await world.sandbox.put("/_sandbox/authorization_endpoint", json=endpoint)).raise_for_status()

    bought = await simulate("--account", account, "--amount", "1250", "--merchant-category", "taxicabs_limousines")
    assert (bought["outcome"], bought["stripe_reason"], bought["rule"]) == ("approved", "webhook_approved", "approved")
    assert 0 < bought["latency_ms"] < 2_000
    shown = await world.get(f"/v1/authorizations/{bought['authorization']}")
    assert shown["decisions"][0]["event"] == bought["decision"]

    wrong = await simulate("--account", account, "--amount", "100", "--method", "chip", "--pin", "wrong")
    assert (wrong["approved"], wrong["asked"], wrong["stripe_reason"]) == (False, False, "verification_failed")

    (await world.sandbox.put("/_sandbox/authorization_endpoint", json={"url": f"{url}/none"})).raise_for_status()
    unheard = await simulate("--account", account, "--amount", "100", "--no-capture")
    assert (unheard["stripe_reason"], unheard["answered_in_time"]) == ("webhook_error", False)
    assert unheard["decided_by_us"] is None

    assert await simulate("--account", "acct_none", "--amount", "100") == 1
    monkeypatch.setenv("STRIPE_API_KEY", "sk_test_other")
    assert await simulate("--account", account, "--amount", "100") == 2

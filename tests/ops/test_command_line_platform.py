"""Commands where the settings do not name the platform: the key's account is the platform, as it is for the service."""

import json

import pytest

from app.wiring import Services
from tests.ops.test_reconcile import box, known, services, started
from tests.sandbox.conftest import Box
from tests.test_cli import cardrail, told

__all__ = ["box", "services", "started"]


@pytest.fixture
def unnamed(services: Services, box: Box, dsn: str, monkeypatch: pytest.MonkeyPatch) -> Services:
    monkeypatch.setenv("DATABASE_URL", dsn)
    monkeypatch.setenv("STRIPE_API_KEY", "sk_test_sandbox")
    monkeypatch.setenv("STRIPE_API_BASE", box.url)
    monkeypatch.delenv("PLATFORM_ACCOUNT_ID", raising=False)
    return services


async def test_the_platforms_own_account_is_neither_listed_nor_adopted(unnamed: Services) -> None:
    own = unnamed.platform_account
    await known(unnamed, own)
    await known(unnamed, "acct_1")
    assert [one["id"] for one in (await told("accounts", "list"))["data"]] == ["acct_1"]
    assert "platform's own" in (await told("accounts", "explain", own))["plain"]
    for yes in ([], ["--yes"]):
        done = await cardrail("accounts", "adopt", own, *yes)
        assert (done.exit_code, "is not adopted" in done.output) == (1, True)
    assert "would" in await told("accounts", "adopt", "acct_1")
    assert (await told("accounts", "adopt", "acct_1", "--yes"))["state"] == "adopted"


async def test_while_stripe_does_not_answer_one_can_look_and_adopts_nothing(
    unnamed: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    await known(unnamed, "acct_1")
    monkeypatch.setenv("STRIPE_API_BASE", "http://127.0.0.1:9")
    assert [one["id"] for one in (await told("accounts", "list"))["data"]] == ["acct_1"]
    done = await cardrail("accounts", "adopt", "acct_1", "--yes")
    assert (done.exit_code, "PLATFORM_ACCOUNT_ID is missing" in done.output) == (2, True)
    assert "connection_lost" in done.output
    assert await unnamed.pool.fetchval("SELECT count(*) FROM events") == 0
    seen = await cardrail("doctor", "--json")
    states = {one["check"]: one["state"] for one in json.loads(seen.stdout)["checks"]}
    assert (seen.exit_code, states["settings"], states["stripe"]) == (1, "wrong", "wrong")
    assert (states["database"], states["parked"]) == ("ok", "ok"), "the rest is looked at all the same"

"""What a thin event points to is read at a Stripe that remembers; what cannot be read there parks the event."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from app.flow.apply import Applier
from app.wiring import Services
from tests.ops.test_destinations import opened
from tests.polls import polled
from tests.sandbox.conftest import Box, box, started

__all__ = ["box", "started"]


@pytest_asyncio.fixture
async def services(dsn: str, box: Box) -> AsyncIterator[Services]:
    async with opened(dsn, box, "https://cards.example.com") as one:
        yield one


async def heard(services: Services, event_type: str, context: str, plural: str, object_id: str) -> None:
    """One thin event in the log, folded."""
    related = {"id": object_id, "url": f"/v2/money_management/{plural}/{object_id}"}
    body: dict[str, Any] = {
        "id": f"evt_{object_id}",
        "object": "v2.core.event",
        "type": event_type,
        "created": "2026-10-14T09:21:07.412Z",
        "context": context,
        "related_object": related,
    }
    await services.pool.execute(
        "INSERT INTO events (account_id, event_id, source, type, kind, created, payload, status)"
        " VALUES ($1, $2, 'webhook', $3, 'thin', now(), $4, 'pending')",
        context,
        body["id"],
        event_type,
        json.dumps(body).encode(),
    )
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


async def test_an_event_about_what_stripe_does_not_show_is_parked_whatever_it_is_about(
    services: Services, box: Box
) -> None:
    """A financial account too: its balance is read beside other events, which go on without it."""
    account, _, _ = box.spender()
    noun = "v2.money_management"
    await heard(services, f"{noun}.financial_account.updated", account, "financial_accounts", "fa_test_none")
    await heard(services, f"{noun}.received_credit.succeeded", account, "received_credits", "rc_test_none")
    await heard(services, f"{noun}.financial_account.updated", "acct_none", "financial_accounts", "fa_test_none")
    rows = await services.pool.fetch("SELECT status, error FROM events")
    assert [(r["status"], (r["error"] or {}).get("code")) for r in rows] == [("parked", "object_missing")] * 3

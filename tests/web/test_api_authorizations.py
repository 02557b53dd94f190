"""Decisions over HTTP: listed with their mismatches, shown whole, and tried without deciding anything."""

from datetime import UTC, datetime
from typing import Any

import httpx
import orjson
import pytest

from app.wiring import Services
from tests.flow.purchases import ACCOUNT, CARD, event, put, request, seed


async def decide(services: Services, asked: dict[str, Any], event_id: str) -> None:
    await services.authorizer.answer(*event(asked, event_id))


async def said(services: Services, authorization: str, reason: str, *, approved: bool) -> None:
    await services.pool.execute(
        "UPDATE decisions SET stripe_reason = $2, stripe_approved = $3 WHERE authorization_id = $1",
        authorization,
        reason,
        approved,
    )


async def trial(api: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    answer = await api.post("/v1/authorizations/trials", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_mismatches_are_told_and_listed(api: httpx.AsyncClient, services: Services) -> None:
    await seed(services.pool)
    for name in ("same", "other", "late", "untold"):
        await decide(services, request(100, authorization=f"iauth_{name}"), f"evt_{name}")
    await said(services, "iauth_same", "webhook_approved", approved=True)
    await said(services, "iauth_other", "insufficient_funds", approved=False)
    await said(services, "iauth_late", "webhook_timeout", approved=True)
    wrong = (await api.get("/v1/authorizations?mismatch=true")).json()["data"]
    assert {row["authorization"] for row in wrong} == {"iauth_other", "iauth_late"}
    assert all(row["mismatch"] for row in wrong)
    right = (await api.get("/v1/authorizations?mismatch=false")).json()["data"]
    assert {row["authorization"] for row in right} == {"iauth_same", "iauth_untold"}
    assert not any(row["mismatch"] for row in right)
    assert "cardrail_authorization_mismatches" in (await api.get("/metrics")).text


async def test_an_authorization_shows_every_decision_with_its_inputs(
    api: httpx.AsyncClient, services: Services
) -> None:
    await seed(services.pool, available=1_000)
    await decide(services, request(400, authorization="iauth_1"), "evt_1")
    await decide(services, request(700, authorization="iauth_1", held=400, request_history=[{}]), "evt_2")
    await put(services.pool, "iauth_1", "authorization", "pending", {"approved": True})
    found = (await api.get("/v1/authorizations/iauth_1")).json()
    assert (found["state"], found["card"], found["reason"]) == ("pending", CARD, "insufficient_balance")
    assert [(d["event"], d["approved"], d["requested"]["value"]) for d in found["decisions"]] == [
        ("evt_2", False, 700),
        ("evt_1", True, 400),
    ]
    assert found["decisions"][0]["inputs"]["open"] == 400
    assert len(found["decisions"][0]["rules"]) == 12
    assert found["links"]["card"] == f"/v1/accounts/{ACCOUNT}/objects/{CARD}"
    for link in found["links"].values():
        assert (await api.get(link)).status_code == 200
    assert (await api.get("/v1/authorizations/iauth_none")).json()["code"] == "not_found"


async def test_a_stored_request_is_tried_as_if_it_were_new(api: httpx.AsyncClient, services: Services) -> None:
    await seed(services.pool, available=1_000)
    await decide(services, request(800, authorization="iauth_1"), "evt_1")
    same = await trial(api, {"event": "evt_1"})
    assert (same["approved"], same["reason"], same["amount"]) == (True, "approved", {"value": 800, "currency": "usd"})
    assert (same["inputs"]["available"], same["inputs"]["open"]) == (1_000, 0)
    assert same["rule"] == "approved"
    assert not same["asked_again"]
    stricter = await trial(api, {"event": "evt_1", "rules": {"daily": 799}})
    assert (stricter["approved"], stricter["reason"]) == (False, "spending_limit_daily")
    assert stricter["rules"] != same["rules"]
    assert stricter["ceilings"][0] == {"reason": "spending_limit_daily", "room": {"value": 799, "currency": "usd"}}
    assert await services.pool.fetchval("SELECT count(*) FROM decisions") == 1
    assert await services.pool.fetchval("SELECT deliveries FROM events") == 1


async def test_what_was_answered_long_ago_is_asked_again(api: httpx.AsyncClient, services: Services) -> None:
    await seed(services.pool)
    thing = {**request(0), "amount": 250, "approved": True, "pending_request": None, "request_history": [{}]}
    body = {"id": "evt_c", "object": "event", "type": "issuing_authorization.created", "data": {"object": thing}}
    await services.pool.execute(
        "INSERT INTO events (account_id, event_id, source, type, kind, created, payload, status)"
        " VALUES ($1, 'evt_c', 'webhook', $2, 'snapshot', $3, $4, 'applied')",
        ACCOUNT,
        body["type"],
        datetime.now(UTC),
        orjson.dumps(body),
    )
    found = await trial(api, {"event": "evt_c"})
    assert (found["asked_again"], found["requested"]["value"], found["approved"]) == (True, 250, True)


async def test_an_event_or_an_object_is_tried_as_stripe_would_send_it(
    api: httpx.AsyncClient, services: Services, with_key: Any
) -> None:
    await seed(services.pool)
    asked = request(100)
    whole = {
        "id": "evt_x",
        "object": "event",
        "account": ACCOUNT,
        "type": "issuing_authorization.request",
        "data": {"object": asked},
    }
    for body in (whole, {"event": whole}, {"authorization": asked, "account": ACCOUNT}, {**asked, "account": ACCOUNT}):
        assert (await trial(api, body))["approved"]
    assert await services.pool.fetchval("SELECT count(*) FROM decisions") == 0
    answer = await api.post("/v1/authorizations/trials", json=whole, headers=await with_key("read"))
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("status", "code", "body"),
    [
        (404, "not_found", {"event": "evt_none"}),
        (422, "account_unnamed", {"authorization": request(1)}),
        (422, "request_unreadable", {"account": "acct_1", "authorization": {"id": "iauth_1"}}),
        (422, "request_unreadable", {"account": "acct_1", "authorization": {"object": "issuing.card"}}),
        (422, "request_unreadable", {"account": "acct_1", "authorization": request(10**16)}),
        (422, "request_unreadable", {"account": "acct_1", "authorization": request(1, card="ic\0")}),
        (422, "account_unnamed", {}),
        (422, "bad_rules", {"event": "evt_1", "rules": {"daily": "much"}}),
        (422, "bad_rules", {"event": "evt_1", "rules": {"per_authorization": 10**9}}),
        (422, "invalid", {"event": "evt_1", "authorization": {}}),
    ],
)
async def test_what_cannot_be_tried_is_refused(
    api: httpx.AsyncClient, status: int, code: str, body: dict[str, Any]
) -> None:
    answer = await api.post("/v1/authorizations/trials", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)

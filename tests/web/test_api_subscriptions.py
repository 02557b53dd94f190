"""Subscriptions over HTTP, and a notice that goes its whole way through a running worker."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from app.web.main import create_app
from app.wiring import Services, working
from tests.conftest import every_row
from tests.flow.test_notify import Listen, listen, moved  # noqa: F401 - listen is a fixture
from tests.patience import PATIENCE_S
from tests.web.conftest import client_of, services_with

WANTED = {"url": "https://8.8.8.8/hook", "types": ["account.*", "card.state_changed"]}


async def make(api: httpx.AsyncClient, **members: object) -> dict[str, Any]:
    answer = await api.post("/v1/subscriptions", json={**WANTED, **members})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def test_a_subscription_is_made_shown_listed_changed_and_deleted(api: httpx.AsyncClient) -> None:
    made = await make(api, accounts=["acct_1"], description="ledger")
    assert made.pop("secret").startswith("whsec_")
    path = f"/v1/subscriptions/{made['id']}"
    assert (await api.get(path)).json() == made
    assert (await api.get("/v1/subscriptions")).json() == {"data": [made], "next_cursor": None}
    changed = await api.patch(path, json={"types": ["*"], "accounts": None, "enabled": False})
    assert changed.json() == {
        **made,
        "types": ["*"],
        "accounts": None,
        "enabled": False,
        "disabled_reason": "disabled by hand",
    }
    assert (await api.patch(path, json={"enabled": True})).json()["disabled_reason"] is None
    assert (await api.delete(path)).json()["state"] == "deleted"
    for answer in (await api.get(path), await api.delete(path), await api.patch(path, json={})):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_lists_page_through(api: httpx.AsyncClient) -> None:
    ids = sorted([(await make(api))["id"] for _ in range(5)])
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = (
            await api.get("/v1/subscriptions", params={"limit": 2, **({"cursor": cursor} if cursor else {})})
        ).json()
        seen += [row["id"] for row in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == ids


@pytest.mark.parametrize(
    ("members", "code", "field"),
    [
        ({"url": "http://8.8.8.8/"}, "bad_receiver", "url"),
        ({"url": "https://10.0.0.1/"}, "private_address", "url"),
        ({"url": "https://169.254.169.254/"}, "private_address", "url"),
        ({"types": ["account.exploded"]}, "unknown_type", "types"),
        ({"types": []}, "invalid", "types"),
        ({"accounts": []}, "invalid", "accounts"),
        ({"more": 1}, "invalid", "more"),
    ],
)
async def test_a_wrong_subscription_names_the_field(
    api: httpx.AsyncClient, members: dict[str, object], code: str, field: str
) -> None:
    answer = await api.post("/v1/subscriptions", json={**WANTED, **members})
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert answer.json()["errors"][0]["field"] == field
    made = await make(api)
    if field != "more" and code != "invalid":
        answer = await api.patch(f"/v1/subscriptions/{made['id']}", json=members)
        assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_reading_needs_operate_and_writing_admin(
    api: httpx.AsyncClient, anyone: httpx.AsyncClient, with_key: Callable[[str], Any]
) -> None:
    path = f"/v1/subscriptions/{(await make(api))['id']}"
    reader, operator = await with_key("read"), await with_key("operate")
    assert (await anyone.get(path, headers=reader)).status_code == 403
    assert (await anyone.get(path, headers=operator)).status_code == 200
    assert (await anyone.get(f"{path}/deliveries", headers=operator)).status_code == 200
    refused = [
        await anyone.post("/v1/subscriptions", json=WANTED, headers=operator),
        await anyone.patch(path, json={}, headers=operator),
        await anyone.post(f"{path}/tests", headers=operator),
        await anyone.post(f"{path}/secrets", json={}, headers=operator),
        await anyone.post(f"{path}/replays", json={"since": "2026-11-24T10:00:00Z"}, headers=operator),
        await anyone.delete(path, headers=operator),
    ]
    assert {answer.status_code for answer in refused} == {403}


async def test_the_same_idempotency_key_makes_one_subscription(api: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "once"}
    first, second = [await api.post("/v1/subscriptions", json=WANTED, headers=headers) for _ in range(2)]
    assert first.json() == second.json()
    assert len((await api.get("/v1/subscriptions")).json()["data"]) == 1


async def test_a_secret_is_nowhere_in_clear_not_even_in_the_answer_that_is_kept(
    api: httpx.AsyncClient, dsn: str
) -> None:
    made = await make(api, description="ledger")
    kept = await api.post("/v1/subscriptions", json=WANTED, headers={"Idempotency-Key": "once"})
    path = f"/v1/subscriptions/{made['id']}/secrets"
    fresh = await api.post(path, json={}, headers={"Idempotency-Key": "rotated"})
    assert (await api.post(path, json={}, headers={"Idempotency-Key": "rotated"})).json() == fresh.json()
    tables = await every_row(dsn)
    assert "ledger" in tables["subscriptions"]
    assert "rotated" in tables["idempotency"]
    secrets = [answer["secret"] for answer in (made, kept.json(), fresh.json())]
    assert [name for name, text in tables.items() if any(secret in text for secret in secrets)] == []


async def test_every_write_leaves_an_audit_row_without_the_secret(api: httpx.AsyncClient, services: Services) -> None:
    made = await make(api)
    rows = await services.pool.fetch("SELECT action, target, result::text AS result FROM operator_actions")
    assert [row["action"] for row in rows] == ["POST create_subscription"]
    assert made["secret"] not in str([dict(row) for row in rows])


async def delivered(api: httpx.AsyncClient, path: str) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = dict((await api.get(path)).json())
            if found["status"] == "delivered":
                return found
            await asyncio.sleep(0.05)


async def test_a_worker_delivers_tests_and_notices_of_what_happens(
    dsn: str,
    listen: Listen,  # noqa: F811 - the fixture
) -> None:
    receiver = await listen()
    async with (
        services_with(dsn, CARDRAIL_RECEIVERS="any") as services,
        client_of(create_app(services)) as api,
        working(services, "test"),
    ):
        made = await make(api, url=receiver.url)
        path = f"/v1/subscriptions/{made['id']}"
        tested = (await api.post(f"{path}/tests")).json()
        shown = await delivered(api, tested["href"])
        assert (shown["type"], shown["response_code"], shown["attempts"]) == ("subscription.test", 200, 1)
        await moved(services.pool)
        async with asyncio.timeout(PATIENCE_S):
            await receiver.told(2)
        rows = (await api.get(f"{path}/deliveries")).json()["data"]
        assert [row["type"] for row in rows] == ["account.state_changed", "subscription.test"]
        again = await api.post(f"{path}/deliveries/{rows[0]['id']}/retries")
        assert again.status_code in {202, 409}
        for headers, body in receiver.got[:2]:
            Webhook(made["secret"]).verify(body, headers)
        replay = await api.post(f"{path}/replays", json={"since": "2020-01-01T00:00:00Z"})
        assert (replay.status_code, replay.json()["href"]) == (202, f"{path}/deliveries")
        fresh = (await api.post(f"{path}/secrets", json={"overlap_s": 60})).json()
        assert fresh["secret"] != made["secret"]
        assert (await api.get(path)).json()["old_secret_until"] is not None

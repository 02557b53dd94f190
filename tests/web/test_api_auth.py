from collections.abc import Awaitable, Callable

import httpx
import pytest

from app.store import keys
from app.wiring import Services
from tests.patience import ends_within

WithKey = Callable[[str], Awaitable[dict[str, str]]]


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer nothing"}, {"Authorization": "Basic abc"}])
async def test_without_a_known_key_nothing_is_told(anyone: httpx.AsyncClient, headers: dict[str, str]) -> None:
    answer = await anyone.get("/v1/accounts", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_scope_reaches_as_far_as_it_says(anyone: httpx.AsyncClient, with_key: WithKey) -> None:
    read, operate = await with_key("read"), await with_key("operate")
    assert (await anyone.get("/v1/accounts", headers=read)).status_code == 200
    refused = await anyone.put("/v1/brakes/all", json={"on": True, "reason": "x"}, headers=read)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    done = await anyone.put("/v1/brakes/all", json={"on": True, "reason": "x"}, headers=operate)
    assert done.status_code == 200


async def test_a_key_is_kept_as_a_hash_and_its_use_is_noted(
    anyone: httpx.AsyncClient, with_key: WithKey, services: Services
) -> None:
    headers = await with_key("read")
    await anyone.get("/v1/accounts", headers=headers)
    row = await services.pool.fetchrow("SELECT * FROM api_keys")
    key = headers["Authorization"].removeprefix("Bearer ")
    assert row["hash"] == keys.digest(key)
    assert key.startswith(row["prefix"])
    assert key not in str(dict(row))
    assert row["last_used_at"] is not None


async def test_a_revoked_key_stops_within_a_second(
    anyone: httpx.AsyncClient, with_key: WithKey, services: Services
) -> None:
    headers = await with_key("read")
    assert (await anyone.get("/v1/accounts", headers=headers)).status_code == 200
    await services.pool.execute("UPDATE api_keys SET revoked_at = now()")

    async def still() -> bool:
        return (await anyone.get("/v1/accounts", headers=headers)).is_success

    await ends_within(1, still)
    answer = await anyone.get("/v1/accounts", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "bad_key")


async def test_an_expired_key_is_none(anyone: httpx.AsyncClient, with_key: WithKey, services: Services) -> None:
    headers = await with_key("read")
    await services.pool.execute("UPDATE api_keys SET expires_at = now() - interval '1 second'")
    assert (await anyone.get("/v1/accounts", headers=headers)).status_code == 401


async def test_every_write_leaves_an_audit_row(api: httpx.AsyncClient, services: Services) -> None:
    await api.put("/v1/brakes/create_card", json={"on": True, "reason": "incident"})
    row = await services.pool.fetchrow("SELECT who, target, reason FROM operator_actions")
    assert tuple(row) == ("bootstrap", "/v1/brakes/create_card", "incident")


@pytest.mark.parametrize("path", ["/nothing", "/v1/nothing", "/v1/accounts/a/b/c/d"])
async def test_an_unknown_route_is_a_problem_too(api: httpx.AsyncClient, path: str) -> None:
    answer = await api.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.headers["content-type"] == "application/problem+json"


async def test_health_tells_what_is_missing_and_metrics_are_served(
    anyone: httpx.AsyncClient, services: Services
) -> None:
    assert (await anyone.get("/livez")).status_code == 200
    sick = await anyone.get("/readyz")
    assert sick.status_code == 503
    assert sick.json()["checks"]["database"]["ok"]
    assert not sick.json()["checks"]["worker"]["ok"]
    await services.pool.execute("INSERT INTO heartbeats (worker) VALUES ('w')")
    assert (await anyone.get("/readyz")).status_code == 200
    assert "# HELP" in (await anyone.get("/metrics")).text


async def test_a_body_that_is_no_json_is_a_400(api: httpx.AsyncClient) -> None:
    answer = await api.post("/v1/enrollments", content=b"{", headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_json")


async def test_a_text_that_cannot_be_stored_is_no_500(api: httpx.AsyncClient) -> None:
    for path in ("/v1/accounts?state=%00", "/v1/events?type=%00", "/v1/accounts/%00"):
        assert (await api.get(path)).status_code in (400, 404, 422)

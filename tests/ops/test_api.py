"""The same operations over REST: dry by default, only for operators, and the report is the answer."""

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from app.store import keys
from app.store.views import parsed
from app.web.main import create_app
from app.wiring import Services
from tests.flow.test_apply import card, deliver
from tests.ops.test_replay import Drain


@pytest_asyncio.fixture
async def api(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    async with services.pool.acquire() as conn:
        _, key = await keys.create(conn, name="ops", scope="operate")
    transport = httpx.ASGITransport(create_app(services), raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://cardrail", headers=headers) as client:
        yield client


@pytest.mark.parametrize("route", ["/v1/reconciliations", "/v1/backfills", "/v1/accounts/acct_1/rebuilds"])
async def test_a_read_key_may_not_operate(services: Services, api: httpx.AsyncClient, route: str) -> None:
    async with services.pool.acquire() as conn:
        _, key = await keys.create(conn, name="reader", scope="read")
    body = {"reason": "r", "since": "2026-11-24T00:00:00Z"}
    answer = await api.post(route, json=body, headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 403
    assert (await api.post(route, json=body, headers={"Authorization": f"Bearer {key}"})).status_code == 403
    (kept,) = await services.pool.fetch("SELECT who, target, result FROM operator_actions")
    assert (kept["who"], kept["target"]) == ("reader", route)
    assert parsed(kept["result"])["error"] == "forbidden"


async def test_what_is_refused_as_things_stand_is_kept_in_the_audit_with_its_reason(
    services: Services, api: httpx.AsyncClient
) -> None:
    await services.pool.execute("INSERT INTO accounts (account_id) VALUES ('acct_1')")
    refused = await api.delete("/v1/accounts/acct_1/hold", params={"reason": "over"})
    assert (refused.status_code, refused.json()["code"]) == (409, "not_held")
    assert (await api.delete("/v1/accounts/acct_none/hold", params={"reason": "over"})).status_code == 404
    (kept,) = await services.pool.fetch("SELECT who, action, target, reason, result FROM operator_actions")
    assert (kept["who"], kept["target"], kept["reason"]) == ("ops", "/v1/accounts/acct_1/hold", "over")
    assert parsed(kept["result"])["error"] == "not_held"


@pytest.mark.parametrize("wrong", [{"status": "odd"}, {"source": "odd"}, {}])
async def test_a_bulk_replay_of_nothing_that_can_be_is_refused(api: httpx.AsyncClient, wrong: dict[str, str]) -> None:
    answer = await api.post("/v1/replays", json={"filter": wrong, "reason": "r"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


async def test_a_reason_of_blanks_is_none(api: httpx.AsyncClient) -> None:
    answer = await api.put("/v1/brakes/create_card", json={"on": True, "reason": "  "})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "reason")
    answer = await api.delete("/v1/accounts/acct_1/hold", params={"reason": " "})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "reason")


async def test_who_undoes_something_may_say_why_in_the_body_or_the_query(
    services: Services, api: httpx.AsyncClient
) -> None:
    await services.pool.execute("INSERT INTO accounts (account_id, state, enrolled) VALUES ('acct_1', 'live', true)")
    await services.pool.execute(
        "INSERT INTO objects (account_id, object_id, kind, state, data, observed_at)"
        " VALUES ('acct_1', 'ic_1', 'card', 'inactive', '{}', now())"
    )
    thaw = "/v1/accounts/acct_1/cards/ic_1/freezes"
    assert (await api.request("DELETE", thaw, json={"reason": "found again"})).status_code == 202
    assert (await api.delete(thaw, params={"reason": "asked twice"})).status_code == 202
    assert (await api.delete(thaw)).status_code == 202
    rows = await services.pool.fetch("SELECT reason FROM operator_actions ORDER BY id")
    assert [row["reason"] for row in rows] == ["found again", "asked twice", None]


async def test_the_audit_says_whether_a_brake_was_set_or_let_go(services: Services, api: httpx.AsyncClient) -> None:
    for on in (True, False):
        assert (await api.put("/v1/brakes/create_card", json={"on": on, "reason": "r"})).status_code == 200
    rows = await services.pool.fetch("SELECT result FROM operator_actions ORDER BY id")
    assert [parsed(row["result"])["on"] for row in rows] == [True, False]


async def test_a_backfill_of_an_account_that_is_not_there_is_404(services: Services, api: httpx.AsyncClient) -> None:
    body = {"since": "2026-11-24T10:00:00Z", "account": "acct_none", "dry_run": False, "reason": "r"}
    answer = await api.post("/v1/backfills", json=body)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert await services.pool.fetchval("SELECT count(*) FROM operator_actions") == 0


async def test_a_method_that_a_route_does_not_have_is_told_with_those_it_has(api: httpx.AsyncClient) -> None:
    answer = await api.put("/v1/accounts/acct_1/hold", json={"reason": "r"})
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.json()["detail"] == "This route has no PUT, only: POST, DELETE."


async def test_an_account_is_rebuilt_and_repaired(services: Services, api: httpx.AsyncClient, drain: Drain) -> None:
    await deliver(services.pool, "issuing_card.created", card())
    await drain()
    assert (await api.post("/v1/accounts/acct_1/rebuilds", json={"reason": "r"})).json()["equal"] is True
    await services.pool.execute("UPDATE objects SET state = 'canceled'")
    assert (await api.post("/v1/accounts/acct_1/rebuilds", json={"reason": "r"})).json()["difference_count"] == 1
    answer = await api.post("/v1/accounts/acct_1/rebuilds", json={"reason": "r", "dry_run": False})
    assert answer.json()["repaired"] is True
    assert (await api.post("/v1/accounts/acct_1/rebuilds", json={"reason": "r"})).json()["equal"] is True
    assert (await api.post("/v1/accounts/acct_none/rebuilds", json={"reason": "r"})).status_code == 404


async def test_an_event_is_planned_then_replayed(services: Services, api: httpx.AsyncClient, drain: Drain) -> None:
    event_id = await deliver(services.pool, "issuing_card.created", card())
    await services.pool.execute("INSERT INTO accounts (account_id) VALUES ('acct_1')")
    await services.pool.execute("UPDATE events SET status = 'parked'")
    body = {"mode": "state", "reason": "r"}
    planned = (await api.post(f"/v1/events/{event_id}/replays", json=body)).json()
    assert (planned["state"], planned["plan"]["transitions"][0]["to"]) == ("planned", "active")
    done = (await api.post(f"/v1/events/{event_id}/replays", json={**body, "dry_run": False})).json()
    assert done["state"] == "applied"
    refused = await api.post(f"/v1/events/{event_id}/replays", json={**body, "mode": "resume"})
    assert (refused.status_code, refused.json()["code"]) == (409, "event_applied")
    assert (await api.post("/v1/events/evt_none/replays", json=body)).status_code == 404


async def test_a_bulk_replay_is_started_seen_and_stopped(services: Services, api: httpx.AsyncClient) -> None:
    await deliver(services.pool, "issuing_card.created", card())
    body = {"filter": {"account": "acct_1"}, "mode": "resume", "reason": "r", "dry_run": False}
    made = (await api.post("/v1/replays", json=body)).json()
    assert (made["state"], made["total"]) == ("running", 1)
    stopped = await api.delete(f"/v1/replays/{made['id']}", params={"reason": "does harm"})
    assert stopped.json()["state"] == "stopped"
    why = "SELECT reason FROM operator_actions WHERE action = 'DELETE stop_replay'"
    assert await services.pool.fetchval(why) == "does harm"
    assert (await api.get(f"/v1/replays/{made['id']}")).json()["state"] == "stopped"
    assert (await api.delete(f"/v1/replays/{made['id']}")).status_code == 409


async def test_parked_things_are_answered_by_fingerprint(services: Services, api: httpx.AsyncClient) -> None:
    for _ in range(3):
        await deliver(services.pool, "issuing_card.created", None)
    await services.pool.execute("UPDATE events SET status = 'parked'")
    (group,) = (await api.get("/v1/parked")).json()["data"]
    assert group["count"] == 3
    path = f"/v1/parked/{group['fingerprint']}"
    planned = (await api.post(f"{path}/ignores", json={"reason": "noise"})).json()
    assert (planned["dry_run"], planned["done"], planned["count"]) == (True, 0, 3)
    refused = await api.post(f"{path}/discards", json={"reason": "noise"})
    assert (refused.status_code, refused.json()["code"]) == (409, "bad_answer")
    done = (await api.post(f"{path}/ignores", json={"reason": "noise", "dry_run": False})).json()
    assert (done["dry_run"], done["done"], done["refused"]) == (False, 3, 0)
    assert (await api.get("/v1/parked")).json()["data"] == []
    assert (await api.post(f"{path}/retries", json={"reason": "r"})).status_code == 404
    row = await services.pool.fetchrow("SELECT who, action, reason FROM operator_actions WHERE NOT result ? 'error'")
    assert row is not None
    assert tuple(row) == ("ops", "parked.ignore", "noise")

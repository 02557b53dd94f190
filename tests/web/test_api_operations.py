from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import orjson
import pytest

from app.wiring import Services
from tests.web.conftest import add_account


async def add_event(services: Services, event_id: str, **columns: object) -> None:
    values: dict[str, object] = {
        "account_id": "acct_1",
        "event_id": event_id,
        "source": "webhook",
        "type": "issuing_card.created",
        "kind": "snapshot",
        "created": datetime.now(UTC),
        "payload": orjson.dumps({"id": event_id, "type": "issuing_card.created"}),
        "status": "applied",
        **columns,
    }
    marks = ", ".join(f"${i}" for i in range(1, len(values) + 1))
    await services.pool.execute(f"INSERT INTO events ({', '.join(values)}) VALUES ({marks})", *values.values())


async def add_command(services: Services, command_id: str, **columns: object) -> None:
    values: dict[str, object] = {
        "account_id": "acct_1",
        "command_id": command_id,
        "kind": "create_card",
        "intent": f"{command_id}/1",
        "idempotency_key": f"cardrail-{command_id}",
        "params": b"{}",
        "status": "parked",
        "caused_by": "evt_1",
        **columns,
    }
    marks = ", ".join(f"${i}" for i in range(1, len(values) + 1))
    await services.pool.execute(f"INSERT INTO outbox ({', '.join(values)}) VALUES ({marks})", *values.values())


async def test_events_are_listed_newest_first_in_whole_pages(api: httpx.AsyncClient, services: Services) -> None:
    now = datetime.now(UTC)
    for i in range(5):
        await add_event(services, f"evt_{i}", received_at=now - timedelta(seconds=i // 2))
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        query: dict[str, Any] = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await api.get("/v1/events", params=query)).json()
        seen += [row["id"] for row in page["data"]]
        cursor = page["next_cursor"]
    assert seen == ["evt_1", "evt_0", "evt_3", "evt_2", "evt_4"]


async def test_filters_choose_events(api: httpx.AsyncClient, services: Services) -> None:
    await add_event(services, "evt_a", status="parked", error={"code": "poisoned", "message": "m"})
    await add_event(services, "evt_b", account_id="acct_2", type="x", source="poll")
    old = datetime.now(UTC) - timedelta(days=2)
    await add_event(services, "evt_c", received_at=old)

    async def ids(**query: str) -> list[str]:
        return sorted(row["id"] for row in (await api.get("/v1/events", params=query)).json()["data"])

    assert await ids(status="parked") == ["evt_a"]
    assert await ids(account="acct_2") == ["evt_b"]
    assert await ids(type="x", source="poll") == ["evt_b"]
    assert await ids(until=(old + timedelta(hours=1)).isoformat()) == ["evt_c"]
    assert await ids(since=(old + timedelta(hours=1)).isoformat()) == ["evt_a", "evt_b"]
    assert (await api.get("/v1/events?since=yesterday")).status_code == 422
    assert (await api.get("/v1/events?status=lost")).status_code == 422
    row = (await api.get("/v1/events?status=parked")).json()["data"][0]
    assert row["error"] == {"code": "poisoned", "message": "m"}
    assert set(row) >= {"id", "account", "type", "source", "status", "created", "received_at", "deliveries", "attempts"}


async def test_an_event_tells_its_chain_and_what_it_did(api: httpx.AsyncClient, services: Services) -> None:
    await add_event(services, "evt_1")
    await add_command(services, "cmd_1", status="settled")
    await add_event(services, "res_cmd_1", source="response", kind="internal", caused_by="cmd_1")
    await add_event(services, "res_cmd_1:acct_2", account_id="acct_2", source="response", kind="internal")
    await services.pool.execute(
        "INSERT INTO journal (account_id, seq, machine, object_id, to_state, event_id, at)"
        " VALUES ('acct_1', 1, 'card', 'ic_1', 'active', 'evt_1', now())"
    )
    first = (await api.get("/v1/events/evt_1")).json()
    assert first["payload"]["id"] == "evt_1"
    assert [line["to"] for line in first["journal"]] == ["active"]
    assert sorted(link["id"] for link in first["chain"]["caused"]) == ["cmd_1", "res_cmd_1"]
    handed = (await api.get("/v1/events/res_cmd_1:acct_2")).json()
    assert [link["id"] for link in handed["chain"]["caused_by"]] == ["res_cmd_1", "cmd_1", "evt_1"]
    assert (await api.get("/v1/events/evt_none")).status_code == 404


async def test_a_parked_event_is_retried_or_ignored_with_a_reason(api: httpx.AsyncClient, services: Services) -> None:
    for name in ("evt_a", "evt_b", "evt_c"):
        await add_event(services, name, status="parked", error={"code": "c", "message": "m"})
    await add_event(services, "evt_done")
    body = {"reason": "fixed"}
    assert (await api.post("/v1/events/evt_a/retries", json=body)).status_code == 202
    replay = {"mode": "resume", "dry_run": True, "reason": "fixed"}
    assert (await api.post("/v1/events/evt_b/replays", json=replay)).json()["state"] == "planned"
    assert (await api.get("/v1/events/evt_b")).json()["status"] == "parked"
    assert (await api.post("/v1/events/evt_b/replays", json={**replay, "dry_run": False})).status_code == 202
    assert (await api.post("/v1/events/evt_c/ignores", json=body)).status_code == 202
    statuses = {r["id"]: r["status"] for r in (await api.get("/v1/events")).json()["data"]}
    assert statuses == {"evt_a": "pending", "evt_b": "pending", "evt_c": "ignored", "evt_done": "applied"}
    assert (await api.post("/v1/events/evt_done/ignores", json=body)).status_code == 409


async def test_a_parked_command_is_retried_or_discarded(api: httpx.AsyncClient, services: Services) -> None:
    await add_account(services.pool, "acct_1")
    await add_command(services, "cmd_a", error={"code": "cap_exceeded", "message": "m"}, amount=5, currency="usd")
    await add_command(services, "cmd_b")
    await add_command(services, "cmd_c", status="settled")
    account = (await api.get("/v1/accounts/acct_1")).json()
    assert (account["last_error"]["id"], account["last_error"]["code"]) == ("cmd_a", "cap_exceeded")
    assert (await api.post("/v1/commands/cmd_a/retries")).status_code == 202
    assert (await api.post("/v1/commands/cmd_b/discards", json={"reason": "no"})).status_code == 202
    assert (await api.post("/v1/commands/cmd_c/retries", json={"reason": "no"})).status_code == 409
    assert (await api.post("/v1/commands/cmd_x/retries")).status_code == 404
    rows = {r["id"]: r for r in (await api.get("/v1/commands?account=acct_1")).json()["data"]}
    assert {k: r["status"] for k, r in rows.items()} == {"cmd_a": "pending", "cmd_b": "rejected", "cmd_c": "settled"}
    assert rows["cmd_a"]["amount"] == {"value": 5, "currency": "usd"}
    assert rows["cmd_b"]["error"]["code"] == "discarded"
    told = await services.pool.fetchval("SELECT type FROM events WHERE event_id = 'discard_cmd_b'")
    assert told == "command.discarded"
    assert [r["id"] for r in (await api.get("/v1/commands?status=settled")).json()["data"]] == ["cmd_c"]


async def test_decisions_are_listed_with_what_stripe_recorded(api: httpx.AsyncClient, services: Services) -> None:
    await services.pool.execute(
        "INSERT INTO decisions (account_id, authorization_id, request_event_id, card_id, approved, reason, amount,"
        " currency, requested, took_us, stripe_reason)"
        " VALUES ('acct_1', 'iauth_1', 'evt_1', 'ic_1', true, 'approved', 500, 'usd', 500, 900, 'webhook_approved'),"
        " ('acct_1', 'iauth_2', 'evt_2', 'ic_1', false, 'velocity', 0, 'usd', 700, 900, NULL)"
    )
    rows = (await api.get("/v1/authorizations?approved=false")).json()["data"]
    assert [(r["authorization"], r["reason"], r["amount"]["value"]) for r in rows] == [("iauth_2", "velocity", 700)]
    rows = (await api.get("/v1/authorizations?account=acct_1&reason=approved")).json()["data"]
    assert rows[0]["stripe_reason"] == "webhook_approved"


async def test_the_platform_shows_balance_masked_addresses_and_waiting_funding(
    api: httpx.AsyncClient, anyone: httpx.AsyncClient, services: Services, with_key: Any
) -> None:
    await services.pool.executemany(
        "INSERT INTO objects (account_id, object_id, kind, state, data, observed_at)"
        " VALUES ('acct_platform', $1, $2, 'open', $3, now())",
        [
            ("fa_platform", "financial_account", {"balance": {"available": {"usd": 1000}}}),
            ("finaddr_1", "financial_address", {"bank_account": {"aba": {"account_number": "000123456789"}}}),
            ("finaddr_2", "financial_address", {"credentials": {"type": "aba", "last4": "6789"}}),
        ],
    )
    await add_command(
        services, "cmd_f", kind="create_outbound_payment", status="pending", amount=10_000, currency="usd"
    )
    seen = (await api.get("/v1/platform")).json()
    assert seen["financial_account"] == {"id": "fa_platform", "status": "open"}
    assert seen["balance"]["available"] == {"usd": {"value": 1000, "currency": "usd"}}
    assert seen["addresses"][0]["bank_account"]["aba"]["account_number"] == "000123456789"
    assert (seen["funding_waiting"]["count"], seen["funding_waiting"]["amount"]["value"]) == (1, 10_000)
    masked = (await anyone.get("/v1/platform", headers=await with_key("read"))).json()
    assert masked["addresses"][0]["bank_account"]["aba"]["account_number"] == "********6789"
    assert masked["addresses"][1]["credentials"] == {"type": "aba", "account_number": "********6789", "last4": "6789"}
    for path in ("addresses", "inbound-transfers"):
        refused = await anyone.post(f"/v1/platform/{path}", json={}, headers=await with_key("operate"))
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden"), refused.text


@pytest.mark.parametrize("filter_", [{}, {"surprise": 1}])
async def test_a_bulk_replay_needs_a_filter_and_is_only_planned_at_first(
    api: httpx.AsyncClient, filter_: dict[str, Any]
) -> None:
    body = {"filter": filter_, "reason": "r"}
    assert (await api.post("/v1/replays", json=body)).status_code == 422
    answer = await api.post("/v1/replays", json={**body, "filter": {"status": "parked"}})
    assert (answer.status_code, answer.json()["state"]) == (202, "planned")
    assert [job["state"] for job in (await api.get("/v1/replays")).json()["data"]] == ["planned"]


async def test_a_parked_step_of_the_lifecycle_is_named_before_a_parked_request(
    api: httpx.AsyncClient, services: Services
) -> None:
    facts = {"enrolled": True, "seen": True, "state": "funded"}
    await add_account(services.pool, "acct_1", state="funded", facts=facts)
    error = {"code": "outcome_unknown", "message": "m"}
    earlier = datetime.now(UTC) - timedelta(hours=1)
    step = {"kind": "create_cardholder", "intent": "cardholder/1", "error": error, "updated_at": earlier}
    await add_command(services, "cmd_step", **step)
    await add_command(services, "cmd_asked", kind="create_account_link", intent="req_1", error=error)
    seen = (await api.get("/v1/accounts/acct_1")).json()
    assert seen["last_error"]["id"] == "cmd_step"
    assert "create_cardholder" in seen["waiting_for"]["what"]

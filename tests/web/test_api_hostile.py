"""Whatever is sent, the answer is a problem that blames the right side, and never a 5xx."""

import json
from typing import Any

import httpx
import orjson
import pytest

from app.web.deps import encode_cursor
from app.wiring import Services
from tests.web.conftest import add_account
from tests.web.test_api_enrollments import body as enrollment

HUGE = 10**30


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/v1/accounts/acct_1/journal", [2**63]),
        ("/v1/accounts/acct_1/journal", [-(2**62)]),
        ("/v1/accounts", ["\x00"]),
        ("/v1/events", ["0001-01-01T00:00:00+14:00", "a", "b"]),
        ("/v1/events", ["9999-12-31T23:59:59-14:00", "a", "b"]),
        ("/v1/commands", ["2026-01-01T00:00:00", "a", "b"]),
    ],
)
async def test_a_forged_cursor_is_no_5xx(api: httpx.AsyncClient, services: Services, path: str, key: list[Any]) -> None:
    await add_account(services.pool, "acct_1")
    answer = await api.get(path, params={"cursor": encode_cursor(key)})
    assert answer.status_code in (200, 400), answer.text


@pytest.mark.parametrize("last", [f"acct_1:{HUGE}", "acct_1:-1", "acct_1:", ":", "acct_1:\xb2"])
async def test_a_forged_last_event_id_is_a_400(api: httpx.AsyncClient, services: Services, last: str) -> None:
    await add_account(services.pool, "acct_1")
    for path in ("/v1/accounts/acct_1/stream", "/v1/stream"):
        headers: Any = {"Last-Event-ID": last.encode("latin-1")}
        answer = await api.get(path, headers=headers)
        assert answer.status_code == 400


@pytest.mark.parametrize("text", ["a\x00b", "\ud800", "a" * 100_000])
@pytest.mark.parametrize("field", ["reference", "display_name"])
async def test_a_text_that_cannot_be_kept_is_refused(
    api: httpx.AsyncClient, services: Services, field: str, text: str
) -> None:
    content = json.dumps(enrollment(**{field: text})).encode()
    answer = await api.post("/v1/enrollments", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422), answer.text
    assert await services.pool.fetchval("SELECT count(*) FROM events") == 0


@pytest.mark.parametrize("value", [HUGE, 2**63, 1e400, None, [], {}, "1"])
async def test_an_amount_that_is_none_is_refused(api: httpx.AsyncClient, services: Services, value: Any) -> None:
    await add_account(services.pool, "acct_1")
    content = json.dumps({"amount": {"value": value, "currency": "usd"}}).encode()
    answer = await api.post(
        "/v1/accounts/acct_1/fundings", content=content, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in (400, 422)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff\xfe", b'"x"', b"{" * 5000])
async def test_a_body_that_is_no_object_is_refused(api: httpx.AsyncClient, content: bytes) -> None:
    answer = await api.post("/v1/enrollments", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    assert orjson.loads(answer.content)["code"]


@pytest.mark.parametrize("key", ["", "k" * 256, "k\xff"])
async def test_a_strange_idempotency_key_is_refused_or_taken(api: httpx.AsyncClient, key: str) -> None:
    headers: Any = {"Idempotency-Key": key.encode("latin-1")}
    answer = await api.post("/v1/enrollments", json=enrollment(), headers=headers)
    assert answer.status_code in (202, 422)


async def test_a_nul_in_a_text_names_its_field(api: httpx.AsyncClient) -> None:
    answer = await api.post("/v1/enrollments", json=enrollment(display_name="a\x00b"))
    assert [error["field"] for error in answer.json()["errors"]] == ["display_name"]


async def test_a_rule_over_several_fields_names_the_one_to_change(api: httpx.AsyncClient, services: Services) -> None:
    await add_account(services.pool, "acct_1")
    answer = await api.post("/v1/accounts/acct_1/cards", json={"type": "physical"})
    errors = answer.json()["errors"]
    assert errors == [{"field": "shipping", "message": "a physical card needs an address"}]


@pytest.mark.parametrize("path", ["/v1/accounts?stat=live", "/v1/accounts/acct_1?wait=live", "/v1/brakes?x=1&y=2"])
async def test_a_parameter_that_does_not_exist_is_refused(api: httpx.AsyncClient, path: str) -> None:
    answer = await api.get(path)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert [e["field"] for e in answer.json()["errors"]] == [p.partition("=")[0] for p in path.split("?")[1].split("&")]


async def test_a_wrong_method_is_told_all_that_the_path_takes(api: httpx.AsyncClient) -> None:
    answer = await api.put("/v1/accounts/acct_1/hold", json={})
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "POST, DELETE"


async def test_a_short_list_is_paged_too(api: httpx.AsyncClient) -> None:
    for step in ("create_card", "all", "update_card"):
        await api.put(f"/v1/brakes/{step}", json={"on": True, "reason": "x"})
    first = (await api.get("/v1/brakes?limit=2")).json()
    rest = (await api.get("/v1/brakes", params={"cursor": first["next_cursor"]})).json()
    assert [row["step"] for row in first["data"] + rest["data"]] == ["all", "create_card", "update_card"]
    assert rest["next_cursor"] is None
    await api.put("/v1/brakes/create_card", json={"on": False, "reason": "x"})
    gone = await api.get("/v1/brakes", params={"cursor": first["next_cursor"]})
    assert (gone.status_code, gone.json()["code"]) == (400, "bad_cursor")


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
async def test_a_time_that_has_no_name_in_utc_is_refused(api: httpx.AsyncClient, at: str) -> None:
    for name in ("since", "until"):
        answer = await api.get("/v1/events", params={name: at})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


@pytest.mark.parametrize("given", [{"account": ""}, {"type": ""}, {"status": "nope"}, {"source": ""}])
async def test_a_bulk_replay_of_nothing_that_exists_is_refused(api: httpx.AsyncClient, given: dict[str, str]) -> None:
    body = {"filter": given, "mode": "state", "dry_run": True, "reason": "a typing error", "rate": 10}
    answer = await api.post("/v1/replays", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"].startswith(f"filter.{next(iter(given))}")

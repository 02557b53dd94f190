"""Stripe's door over HTTP: 200 once stored, a stable code for each way to be wrong, a trace of every refusal."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app import metrics
from app.flow.receive import Receiver
from app.store import db
from app.stripe.envelope import Envelope
from app.stripe.signature import sign
from app.web.bodies import DRAIN_MAX_BYTES
from app.web.webhooks import AUTHORIZATIONS_PATH, PATH, FrontDoor, WebhookDoor, webhook_routes
from tests.conftest import payload_of

SECRET = "whsec_one"
AUTH_SECRET = "whsec_auth"


def body(event_id: str = "evt_1", **more: Any) -> bytes:
    base = {"id": event_id, "object": "event", "type": "issuing_card.created", "created": 1_790_000_123}
    return json.dumps({**base, "livemode": False, "account": "acct_1", "data": {"object": {}}, **more}).encode()


def signed(raw: bytes, secret: str = SECRET, *, at: float = 0) -> dict[str, str]:
    return {"Stripe-Signature": sign(raw, secret.encode(), int(time.time() + at)).decode()}


async def approve(event: Envelope, _body: bytes) -> Response:
    return JSONResponse({"approved": True, "event": event.event_id}, headers={"Stripe-Version": "x"})


@pytest.fixture
async def receiver(pool: db.Pool) -> AsyncIterator[Receiver]:
    made = Receiver(pool)
    yield made
    await made.settle()


def door(**more: Any) -> WebhookDoor:
    base: dict[str, Any] = {"secrets": ["whsec_old", SECRET], "authorization_secrets": [AUTH_SECRET]}
    return WebhookDoor(**{**base, "platform_account": "acct_platform", "livemode": False, **more})


def client_of(receiver: Receiver, **more: Any) -> httpx.AsyncClient:
    app = Starlette(routes=list(webhook_routes(receiver, door(**more))))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://door")


@pytest.fixture
async def client(receiver: Receiver) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(receiver) as made:
        yield made


async def post(client: httpx.AsyncClient, raw: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
    return await client.post(PATH, content=raw, headers=signed(raw) if headers is None else headers)


async def test_a_signed_event_is_stored_and_answered(client: httpx.AsyncClient, pool: db.Pool) -> None:
    answer = await post(client, body())
    assert (answer.status_code, answer.json()) == (200, {"received": True})
    assert await payload_of(pool) == body()


async def test_fifty_duplicates_at_once_are_one_event(client: httpx.AsyncClient, pool: db.Pool) -> None:
    answers = await asyncio.gather(*(post(client, body()) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    assert await pool.fetch("SELECT deliveries FROM events") == [(50,)]


async def test_a_thin_event_is_stored_for_its_account(client: httpx.AsyncClient, pool: db.Pool) -> None:
    raw = body(
        object="v2.core.event", type="v2.core.account.updated", created="2026-10-14T09:21:07.412Z", context="acct_t"
    )
    assert (await post(client, raw)).status_code == 200
    assert await pool.fetch("SELECT account_id, kind FROM events") == [("acct_t", "thin")]


async def test_unknown_types_and_a_nul_in_a_string_are_kept(client: httpx.AsyncClient, pool: db.Pool) -> None:
    raw = body(type="what.is.this", data={"object": {"name": "a\0b"}})
    assert (await post(client, raw)).status_code == 200
    assert await payload_of(pool) == raw


async def test_a_type_that_the_catalogue_lacks_is_counted_by_its_name(client: httpx.AsyncClient) -> None:
    for number in range(2):
        assert (await post(client, body(id=f"evt_new_{number}", type="issuing_robot.counted"))).status_code == 200
    assert 'cardrail_unknown_events_total{type="issuing_robot.counted"} 2.0' in metrics.render().decode()


async def test_the_other_mode_is_kept_as_ignored(client: httpx.AsyncClient, pool: db.Pool) -> None:
    assert (await post(client, body(livemode=True))).status_code == 200
    assert await pool.fetchval("SELECT status FROM events") == "ignored"


_OK = body()


@pytest.mark.parametrize(
    ("raw", "headers", "status", "code"),
    [
        (_OK, dict, 400, "signature_missing"),
        (_OK, lambda: {"Stripe-Signature": "t=1,v0=00"}, 400, "signature_scheme"),
        (_OK, lambda: signed(_OK, "whsec_wrong"), 400, "signature_mismatch"),
        (_OK, lambda: signed(_OK + b" "), 400, "signature_mismatch"),
        (_OK, lambda: signed(_OK, at=-400), 400, "signature_stale"),
        (_OK, lambda: signed(_OK, at=400), 400, "signature_future"),
        (b"\xff", lambda: signed(b"\xff"), 400, "body_not_utf8"),
        (b"{", lambda: signed(b"{"), 400, "body_not_json"),
        (b"[]", lambda: signed(b"[]"), 400, "body_no_event"),
        (b"", lambda: signed(b""), 400, "body_not_json"),
        (body("evt\0"), lambda: signed(body("evt\0")), 400, "event_field_unstorable"),
        (b"x" * 1_048_577, dict, 413, "body_too_large"),
    ],
)
async def test_each_refusal_has_its_status_code_and_trace(
    raw: bytes, headers: Callable[[], dict[str, str]], status: int, code: str, receiver: Receiver, pool: db.Pool
) -> None:
    async with client_of(receiver) as client:
        answer = await post(client, raw, headers())
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    problem = answer.json()
    assert (problem["code"], problem["status"]) == (code, status)
    assert {"type", "title", "detail"} <= problem.keys()
    await receiver.settle()
    assert await pool.fetchval("SELECT code FROM rejections") == code
    assert await pool.fetchval("SELECT count(*) FROM events") == 0


async def test_exactly_one_mebibyte_is_accepted(client: httpx.AsyncClient) -> None:
    raw = body(pad="")
    raw = body(pad="x" * (1_048_576 - len(raw)))
    assert len(raw) == 1_048_576
    assert (await post(client, raw)).status_code == 200


async def test_a_stream_is_cut_at_the_limit(client: httpx.AsyncClient) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 65_536
            yield b"x" * 65_536

    answer = await client.post(PATH, content=endless())
    assert answer.status_code == 413
    assert sent <= 1_048_576 + DRAIN_MAX_BYTES + 3 * 65_536


async def test_an_authorization_request_is_answered_on_both_routes(receiver: Receiver, pool: db.Pool) -> None:
    raw = body(type="issuing_authorization.request")
    async with client_of(receiver, authorize=approve) as client:
        general = await client.post(PATH, content=raw, headers=signed(raw))
        special = await client.post(AUTHORIZATIONS_PATH, content=raw, headers=signed(raw, AUTH_SECRET))
        wrong = await client.post(AUTHORIZATIONS_PATH, content=raw, headers=signed(raw))
    assert (general.json()["approved"], special.json()["approved"], wrong.status_code) == (True, True, 400)
    assert await pool.fetchval("SELECT count(*) FROM events") == 0


async def test_without_an_authorizer_the_request_is_stored(client: httpx.AsyncClient, pool: db.Pool) -> None:
    assert (await post(client, body(type="issuing_authorization.request"))).status_code == 200
    assert await pool.fetchval("SELECT count(*) FROM events") == 1


async def test_a_dead_database_is_503_with_retry_after(dsn: str) -> None:
    pool = await db.open_pool(dsn, size=2, name="ingest")
    await pool.close()
    receiver = Receiver(pool)
    async with client_of(receiver) as client:
        answer = await post(client, body())
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert int(answer.headers["retry-after"]) >= 1


async def test_another_method_is_405(client: httpx.AsyncClient) -> None:
    assert (await client.get(PATH)).status_code == 405


async def test_the_front_door_takes_what_is_for_stripe_and_passes_on_the_rest(
    receiver: Receiver, pool: db.Pool
) -> None:
    async def home(_request: Request) -> Response:
        return JSONResponse({"home": True})

    app = Starlette(routes=[Route("/", home), *webhook_routes(receiver, door())])
    transport = httpx.ASGITransport(FrontDoor(app, receiver, door()))
    async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
        assert (await post(client, body())).status_code == 200
        assert (await client.get("/")).json() == {"home": True}
        assert (await client.get(PATH)).status_code == 405
    assert await pool.fetchval("SELECT count(*) FROM events") == 1


@pytest.mark.parametrize("path", [PATH, AUTHORIZATIONS_PATH])
async def test_a_slash_behind_the_address_is_no_redirect_which_stripe_would_not_follow(
    receiver: Receiver, path: str
) -> None:
    transport = httpx.ASGITransport(FrontDoor(Starlette(), receiver, door()))
    async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
        secret = SECRET if path == PATH else AUTH_SECRET
        answer = await client.post(f"{path}/", content=body(), headers=signed(body(), secret))
        assert (answer.status_code, answer.json()) == (200, {"received": True})
        assert (await client.post(f"{path}//", content=body())).status_code == 404

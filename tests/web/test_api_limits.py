"""Too much, too often, or in another form: a 4xx that says so."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from app.web.main import create_app
from app.wiring import Services
from tests.web.conftest import ADMIN
from tests.web.test_api_streams import listening

WithKey = Callable[[str], Awaitable[dict[str, str]]]
PER_S = 20


@pytest_asyncio.fixture
async def strict(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    """An app on the same services that lets a key make few requests."""
    services.settings = services.settings.but(rate_limit_per_s=PER_S)
    transport = httpx.ASGITransport(create_app(services), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://cardrail") as client:
        yield client


async def test_a_key_that_asks_too_often_is_told_when_to_come_back(
    strict: httpx.AsyncClient, with_key: WithKey
) -> None:
    busy, calm = await with_key("read"), await with_key("read")
    answers = [await strict.get("/v1/brakes", headers=busy) for _ in range(PER_S * 3)]
    refused = [a for a in answers if a.status_code == 429]
    assert [a.status_code for a in answers[:PER_S]] == [200] * PER_S
    assert refused
    assert refused[0].json()["code"] == "rate_limited"
    assert refused[0].headers["retry-after"] == "1"
    assert refused[0].headers["ratelimit-policy"] == f'"key";q={PER_S};w=1'
    assert (await strict.get("/v1/brakes", headers=calm)).status_code == 200


async def test_zero_is_no_limit(services: Services) -> None:
    services.settings = services.settings.but(rate_limit_per_s=0)
    transport = httpx.ASGITransport(create_app(services))
    headers = {"Authorization": f"Bearer {ADMIN}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://cardrail", headers=headers) as client:
        assert {(await client.get("/v1/brakes")).status_code for _ in range(30)} == {200}


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None])
async def test_a_body_that_is_not_sent_as_json_is_a_415(api: httpx.AsyncClient, kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    answer = await api.put("/v1/brakes/all", content=b'{"on": true, "reason": "x"}', headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


async def test_json_may_name_its_charset_or_a_profile(api: httpx.AsyncClient) -> None:
    for kind in ("application/json; charset=utf-8", "application/vnd.x+json"):
        body = b'{"on": true, "reason": "x"}'
        answer = await api.put("/v1/brakes/all", content=body, headers={"Content-Type": kind})
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_that_is_too_long_is_a_413(api: httpx.AsyncClient, services: Services, announced: bool) -> None:
    chunk = b'{"reason": "' + b"x" * services.settings.body_max_bytes

    async def chunks() -> AsyncIterator[bytes]:
        yield chunk
        yield b'"}'

    content: Any = chunk if announced else chunks()
    answer = await api.post("/v1/accounts/acct_1/hold", content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


@pytest_asyncio.fixture
async def served(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with listening(app) as client:
        yield client


async def test_whoever_sends_too_much_still_reads_the_answer(served: httpx.AsyncClient) -> None:
    """Over a real socket: a server that closes on unread bytes resets the connection, and the 413 is lost."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(48):
            yield b"x" * 65_536

    for path in ("/v1/enrollments", "/webhooks/stripe"):
        for content in (b"x" * 3_000_000, chunks()):
            answer = await served.post(path, content=content, headers={"Content-Type": "application/json"})
            assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")

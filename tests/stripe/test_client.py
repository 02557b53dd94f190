"""The client against a real server on a socket: what goes out, and what each answer becomes."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest

from app.stripe.client import CONCURRENCY_MAX, Missing, Reading, Stripe
from app.stripe.outcome import Rejected, Settled, TryAgain, Unknown, Waiting
from app.stripe.requests import Request
from tests.patience import PATIENCE_S

VERSION = "2026-10-14.preview"
CARD = Request("post", "/v1/issuing/cards", {"type": "virtual", "metadata": {"a": "b"}}, "acct_1", "v1")
FA = Request("post", "/v2/money_management/financial_accounts", {"type": "storage"}, "acct_1", "v2")
NOW = datetime(2026, 11, 1, tzinfo=UTC)


class Canned:
    """Answers in turn with what it was given, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.asked: list[str] = []

    def will(self, status: int, body: str, *headers: str, length: int | None = None) -> None:
        lines = [
            f"HTTP/1.1 {status} X",
            f"Content-Length: {len(body) if length is None else length}",
            "Connection: close",
        ]
        self.answers.append(("\r\n".join([*lines, *headers]) + "\r\n\r\n" + body).encode())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        sizes = [line.split(":")[1] for line in head.lower().split("\r\n") if line.startswith("content-length:")]
        body = await reader.readexactly(int(sizes[0])) if sizes else b""
        self.asked.append(head + body.decode())
        writer.write(self.answers.pop(0) if self.answers else b"")
        writer.close()


@asynccontextmanager
async def talking() -> AsyncIterator[tuple[Canned, Stripe]]:
    canned = Canned()
    server = await asyncio.start_server(canned.serve, "127.0.0.1", 0, family=socket.AF_INET)
    port = server.sockets[0].getsockname()[1]
    client = Stripe("sk_test_x", f"http://127.0.0.1:{port}", VERSION, rate_per_s=1000)
    try:
        yield canned, client
    finally:
        await client.close()
        server.close()


async def test_a_v1_write_names_the_account_the_key_and_the_version() -> None:
    async with talking() as (canned, client):
        canned.will(200, '{"id": "ic_1"}', "Request-Id: req_1")
        assert await client.call(CARD, "key-1") == Settled({"id": "ic_1"}, "ic_1", "req_1")
        asked = canned.asked[0]
        for part in ("Stripe-Account: acct_1", "Idempotency-Key: key-1", f"Stripe-Version: {VERSION}", "metadata[a]=b"):
            assert part in asked
        assert "Stripe-Context" not in asked
        assert "Telemetry" not in asked


async def test_a_v2_write_is_json_in_a_context() -> None:
    async with talking() as (canned, client):
        canned.will(200, '{"id": "fa_1"}')
        await client.call(FA, "key-2")
        for part in ("Stripe-Context: acct_1", "Idempotency-Key: key-2", '{"type": "storage"}'):
            assert part in canned.asked[0]
        assert "Stripe-Account" not in canned.asked[0]


async def test_a_lost_reply_is_unknown_and_is_not_repeated_by_itself() -> None:
    async with talking() as (canned, client):
        assert isinstance(await client.call(CARD, "k"), Unknown)
        assert len(canned.asked) == 1


@pytest.mark.parametrize("said", ["{}", '{"id": null, "object": "issuing.card"}'])
async def test_a_yes_that_names_no_object_is_unknown_but_of_a_link_it_is_all(said: str) -> None:
    """It came from something between, or was cut; settled, its account would wait for ever."""
    link = Request("post", "/v2/core/account_links", {"account": "acct_1"}, None, "v2")
    async with talking() as (canned, client):
        canned.will(200, said)
        canned.will(200, '{"object": "v2.core.account_link", "url": "https://x"}')
        assert isinstance(await client.call(CARD, "key_1"), Unknown)
        assert isinstance(await client.call(link, "key_2"), Settled)


async def test_a_reply_that_breaks_off_is_unknown() -> None:
    async with talking() as (canned, client):
        canned.will(200, '{"id"', length=100)
        assert isinstance(await client.call(CARD, "k"), Unknown)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, '{"error": {"code": "parameter_invalid"}}', Rejected),
        (429, '{"error": {"code": "rate_limit"}}', TryAgain),
        (409, '{"error": {"code": "idempotency_conflict"}}', TryAgain),
        (502, "<html>bad gateway</html>", Unknown),
        (200, "<html>", Unknown),
    ],
)
async def test_each_answer_becomes_its_value_in_one_request(status: int, body: str, kind: type) -> None:
    async with talking() as (canned, client):
        canned.will(status, body, "Retry-After: 7")
        answer = await client.call(CARD, "k")
        assert isinstance(answer, kind)
        assert len(canned.asked) == 1
        if isinstance(answer, TryAgain):
            assert answer.retry_after_s == 7


@pytest.mark.parametrize(("noun", "kind"), [("financial_accounts", Waiting), ("outbound_transfers", Rejected)])
async def test_a_capability_that_is_not_active_holds_up_our_steps_and_refuses_the_holders(
    noun: str, kind: type
) -> None:
    request = Request("post", f"/v2/money_management/{noun}", {}, "acct_1", "v2")
    async with talking() as (canned, client):
        canned.will(400, '{"error": {"code": "storer_capability_not_active", "type": "feature_not_enabled"}}')
        assert isinstance(await client.call(request, "k"), kind)


async def test_a_reading_says_which_event_caused_it() -> None:
    async with talking() as (canned, client):
        canned.will(200, '{"id": "acct_1"}')
        canned.will(404, '{"error": {"code": "not_found"}}')
        url = "/v2/core/accounts/acct_1"
        answer = await client.read(url, context="acct_1", include=("identity",), event_id="evt_1")
        assert answer == Reading({"id": "acct_1"})
        assert "Stripe-Request-Trigger: event=evt_1" in canned.asked[0]
        assert "include[0]=identity" in unquote(canned.asked[0])
        assert await client.read(url, context=None) == Missing(404, "not_found")


@pytest.mark.parametrize("status", [200, 400])
async def test_half_of_an_emoji_in_an_answer_costs_a_character_and_not_the_answer(status: int) -> None:
    """Such a text can be neither kept nor compared: the command would never be told settled."""
    async with talking() as (canned, client):
        canned.will(status, '{"id": "ic_1", "name": "\\ud83d", "error": {"code": "no", "message": "\\ud83d"}}')
        answer = await client.call(CARD, "key_1")
        assert msgspec.json.decode(msgspec.json.encode(answer))
        assert "\ufffd" in str(answer)


async def test_both_paging_styles_are_followed_to_the_end() -> None:
    async with talking() as (canned, client):
        canned.will(200, '{"data": [{"id": "a"}], "has_more": true}')
        canned.will(200, '{"data": [{"id": "b"}], "has_more": false}')
        rows = await client.list_all("/v1/issuing/cards", {"status": "active"}, "acct_1")
        assert [row["id"] for row in rows] == ["a", "b"]
        assert "starting_after=a" in canned.asked[1]
        assert "status=active" in canned.asked[1]
        canned.will(200, '{"data": [{"id": "c"}], "next_page_url": "/v2/x?page=two"}')
        canned.will(200, '{"data": [{"id": "d"}], "next_page_url": null}')
        assert [row["id"] for row in await client.list_all("/v2/x", {}, "acct_1")] == ["c", "d"]
        assert canned.asked[3].startswith("GET /v2/x?page=two HTTP")


@pytest.mark.parametrize("host", ["https://api.stripe.com", "//api.stripe.com", "http://evil.example:81"])
async def test_a_next_page_with_a_host_is_asked_for_at_our_own_address(host: str) -> None:
    async with talking() as (canned, client):
        canned.will(200, f'{{"data": [{{"id": "a"}}], "next_page_url": "{host}/v2/x?page=two"}}')
        canned.will(200, '{"data": [{"id": "b"}]}')
        assert [row["id"] for row in await client.list_all("/v2/x", {}, "acct_1")] == ["a", "b"]
        assert canned.asked[1].startswith("GET /v2/x?page=two HTTP")
        assert "Stripe-Context: acct_1" in canned.asked[1]


async def test_a_list_that_takes_no_such_limit_is_asked_for_without_one() -> None:
    async with talking() as (canned, client):
        canned.will(400, '{"error": {"code": "invalid_limit", "message": "limit is at most 20"}}')
        canned.will(200, '{"data": [{"id": "a"}], "next_page_url": null}')
        assert await client.list_all("/v2/x", {"status": "open"}, None) == [{"id": "a"}]
        assert "limit" in canned.asked[0]
        assert canned.asked[1].startswith("GET /v2/x?status=open HTTP")
        canned.will(400, '{"error": {"code": "no"}}')
        canned.will(400, '{"error": {"code": "no"}}')
        with pytest.raises(TimeoutError):
            await client.list_all("/v2/x", {}, None)


async def test_a_page_that_is_its_own_next_one_ends_the_list_and_is_not_whole() -> None:
    async with talking() as (canned, client):
        for _ in range(3):
            canned.will(200, '{"data": [{"id": "a"}], "next_page_url": "/v2/x?page=one"}')
        rows, whole = await client.pages("/v2/x", {}, None, 100)
        assert (len(rows), whole, len(canned.asked)) == (2, False, 2)


async def test_a_list_that_has_more_and_does_not_say_what_is_not_whole() -> None:
    async with talking() as (canned, client):
        canned.will(200, '{"data": [{"object": "issuing.card"}], "has_more": true}')
        with pytest.raises(TimeoutError):
            await client.find_made(CARD, "cmd_1", NOW)


async def test_what_a_command_made_is_found_by_its_mark() -> None:
    async with talking() as (canned, client):
        canned.will(
            200, '{"data": [{"id": "a", "metadata": {}}, {"id": "b", "metadata": {"cardrail_command": "cmd_1"}}]}'
        )
        made: dict[str, Any] | None = await client.find_made(CARD, "cmd_1", NOW)
        assert made is not None
        assert made["id"] == "b"
        assert "created[gte]=" in unquote(canned.asked[0])
        canned.will(200, '{"data": []}')
        assert await client.find_made(CARD, "cmd_1", NOW) is None
        canned.will(500, "")
        with pytest.raises(TimeoutError):
            await client.find_made(CARD, "cmd_1", NOW)


async def test_an_update_is_found_on_the_object_itself() -> None:
    update = Request("post", "/v1/issuing/cards/ic_1", {"metadata": {}}, "acct_1", "v1")
    async with talking() as (canned, client):
        canned.will(200, '{"id": "ic_1", "metadata": {"cardrail_command": "cmd_1"}}')
        assert await client.find_made(update, "cmd_1", NOW) is not None
        canned.will(200, '{"id": "ic_1", "metadata": {"cardrail_command": "cmd_0"}}')
        assert await client.find_made(update, "cmd_1", NOW) is None


async def test_a_list_too_long_to_read_never_passes_for_an_empty_one() -> None:
    async with talking() as (canned, client):
        for n in range(100):
            canned.will(200, f'{{"data": [{{"id": "ic_{n}"}}], "has_more": true}}')
        with pytest.raises(TimeoutError):
            await client.find_made(CARD, "cmd_1", NOW)


async def test_workers_spend_one_rate_together() -> None:
    """1,000 a second among fifty are 20 a second: the fifth call leaves 0.2 s after the first."""
    async with talking() as (canned, client):
        client.share(50)
        began = asyncio.get_running_loop().time()
        for n in range(5):
            canned.will(200, '{"id": "fa_1"}')
            await client.call(FA, f"k-{n}")
        assert asyncio.get_running_loop().time() - began >= 0.19


async def test_readings_that_hang_leave_room_for_writes() -> None:
    """A write has seconds to be answered in; it must not spend them behind readings."""
    reading, asked = list[asyncio.StreamWriter](), asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (await reader.readuntil(b"\r\n\r\n")).startswith(b"GET"):
            reading.append(writer)
            asked.set()
            return
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\nConnection: close\r\n\r\n{"id": "ic_1"}')
        writer.close()

    async with await asyncio.start_server(slow, "127.0.0.1", 0, family=socket.AF_INET) as server:
        client = Stripe("sk_test_x", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", VERSION, rate_per_s=1000)
        hanging = [asyncio.create_task(client.read("/v1/x", context=None)) for _ in range(2 * CONCURRENCY_MAX)]
        await asyncio.wait_for(asked.wait(), PATIENCE_S)
        called = asyncio.create_task(client.call(CARD, "key"))
        await asyncio.wait({called, *hanging}, return_when=asyncio.FIRST_COMPLETED)
        assert called.done()
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
        await client.close()
        for writer in reading:
            writer.close()

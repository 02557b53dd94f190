"""Clients that stand still are ended; those that go on, however slowly, are not."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import uvicorn
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from app.web import server as servers
from app.web.bodies import BodyGuard
from app.web.one_write import OneWriteProtocol
from app.web.slow import Patience
from tests.patience import PATIENCE_S, until_true

MAX_S = 0.3
BIG = 50_000_000
Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def said(request: Request) -> Response:
    return PlainTextResponse(await request.body())


async def big(_request: Request) -> Response:
    return PlainTextResponse("x" * BIG)


@pytest.fixture
async def server() -> AsyncIterator[servers._Server]:
    """One that has little patience."""
    app = FastAPI()
    app.add_route("/said", said, methods=["GET", "POST"])
    app.add_route("/v1/said", said, methods=["POST"])
    app.add_route("/big", big)
    app.add_middleware(BodyGuard, body_max_bytes=1_000)
    config = uvicorn.Config(app, port=0, http=OneWriteProtocol, log_config=None, lifespan="off", timeout_keep_alive=90)
    made = servers._Server(config, lambda: None, Patience(MAX_S, MAX_S))
    serving = asyncio.create_task(made.serve())
    await until_true(lambda: made.started)
    yield made
    made.should_exit = True
    await serving


@contextlib.asynccontextmanager
async def client(server: servers._Server, sends: bytes) -> AsyncIterator[Client]:
    port = server.servers[0].sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=65_536)
    writer.write(sends)
    async with asyncio.timeout(PATIENCE_S):
        yield reader, writer
    writer.close()


async def drip(writer: asyncio.StreamWriter) -> None:
    """Bytes that never come to an end, until the other side hangs up."""
    with contextlib.suppress(ConnectionError):
        while not writer.is_closing():
            writer.write(b"a")
            await writer.drain()
            await asyncio.sleep(0.05)


async def answered(server: servers._Server, sends: bytes, *, dripping: bool = True) -> bytes:
    """What comes until the server ends the connection, though more is always on its way."""
    read = b""
    async with client(server, sends) as (reader, writer):
        going_on = asyncio.create_task(drip(writer)) if dripping else None
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(65_536):
                read += chunk
        writer.close()
        if going_on:
            await going_on
    return read


ASK = b"GET /said HTTP/1.1\r\nHost: x\r\n"
REFUSED = b"POST /v1/said HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 900\r\n\r\n"


async def test_who_never_ends_a_head_or_goes_on_after_an_answer_is_not_waited_for(server: servers._Server) -> None:
    silent, first, second, refused = await asyncio.gather(
        answered(server, b"", dripping=False),
        answered(server, ASK + b"X-Long: "),
        answered(server, ASK + b"\r\n" + ASK + b"X-Long: "),
        answered(server, REFUSED),
    )
    assert (silent, first) == (b"", b"")
    assert second.count(b"HTTP/1.1 200") == 1
    assert refused.startswith(b"HTTP/1.1 415")


async def test_an_answer_that_nobody_reads_is_given_up(server: servers._Server) -> None:
    async with client(server, b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n") as (reader, _):
        await until_true(lambda: server.server_state.total_requests or server.server_state.connections)
        await until_true(lambda: not server.server_state.connections)
        read = 0
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(65_536):
                read += len(chunk)
    assert read < BIG


async def test_who_asks_again_and_again_is_served_for_as_long_as_he_likes(server: servers._Server) -> None:
    until = asyncio.get_running_loop().time() + 2.5
    async with client(server, b"") as (reader, writer):
        while asyncio.get_running_loop().time() < until:
            writer.write(b"POST /said HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
            assert (await reader.readuntil(b"hi")).startswith(b"HTTP/1.1 200")
            await asyncio.sleep(0.1)

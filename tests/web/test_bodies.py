"""Bodies over a real socket: what is too long is refused before it comes, and what does not come is not waited for."""

import asyncio
import json

import pytest
import uvicorn
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse

from app.flow.receive import Receiver
from app.store import db
from app.web import problems
from app.web.bodies import BodyGuard
from app.web.one_write import OneWriteProtocol
from app.web.webhooks import PATH, FrontDoor, WebhookDoor
from tests.patience import PATIENCE_S

MAX_S = 0.2


async def echo(request: Request) -> JSONResponse:
    return JSONResponse(await request.json())


async def asked(pool: db.Pool, head: str, *parts: bytes) -> tuple[int, str]:
    """Send a head and some of its body, then nothing; status and code of the answer, once the server has closed."""
    api = FastAPI()
    api.add_route("/v1/echo", echo, methods=["POST"])
    problems.install(api)
    api.add_middleware(BodyGuard, body_max_bytes=1_000, body_max_s=MAX_S)
    door = WebhookDoor(secrets=["whsec_x"], platform_account="acct_p", livemode=False, body_max_s=MAX_S)
    receiver = Receiver(pool)
    config = uvicorn.Config(
        FrontDoor(api, receiver, door), host="127.0.0.1", port=0, http=OneWriteProtocol, log_config=None, lifespan="off"
    )
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head.replace("\n", "\r\n").encode() + b"\r\n\r\n")
            for part in parts:
                writer.write(part)
            said = await reader.readuntil(b"}")
            assert b"connection: close" in said.lower()
            assert await reader.read() == b""
            writer.close()
    finally:
        await server.shutdown()
        await receiver.settle()
    status, _, rest = said.partition(b"\r\n")
    return int(status.split()[1]), json.loads(rest.partition(b"\r\n\r\n")[2])["code"]


JSON = "Content-Type: application/json"


@pytest.mark.parametrize("path", [PATH, "/v1/echo"])
async def test_a_body_announced_too_long_and_never_sent_is_refused_at_once(pool: db.Pool, path: str) -> None:
    head = f"POST {path} HTTP/1.1\nHost: x\n{JSON}\nContent-Length: 5000000"
    assert await asked(pool, head) == (413, "body_too_large")


@pytest.mark.parametrize("path", [PATH, "/v1/echo"])
@pytest.mark.parametrize("parts", [(), (b'{"a":',)])
async def test_a_body_that_does_not_come_in_time_is_a_408(pool: db.Pool, path: str, parts: tuple[bytes, ...]) -> None:
    head = f"POST {path} HTTP/1.1\nHost: x\n{JSON}\nContent-Length: 500"
    assert await asked(pool, head, *parts) == (408, "body_too_slow")

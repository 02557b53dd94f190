"""What is written within one turn leaves as one, in order, and nothing is held back."""

import asyncio
from http import HTTPStatus

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.web.one_write import HELD_MAX_BYTES, OneWriteProtocol, Prepared
from tests.patience import PATIENCE_S

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Recording(asyncio.Transport):
    """A socket that remembers each write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        """Nothing to pause."""

    def resume_reading(self) -> None:
        """Nothing to resume."""


async def _asked(request: bytes, body: bytes, *, of: int) -> Recording:
    """The transport after ``of`` answers of ``body`` went out."""

    async def endpoint(_request: Request) -> Response:
        return PlainTextResponse(body)

    return await _served(Starlette(routes=[Route("/", endpoint)]), request, of=of)


async def _served(
    app: ASGIApp, request: bytes, *, of: int, access_log: bool = True, transport: Recording | None = None
) -> Recording:
    config = uvicorn.Config(app, log_config=None, lifespan="off", access_log=access_log)
    config.load()
    state = uvicorn.Server(config).server_state
    transport = transport or Recording()
    protocol = OneWriteProtocol(config, state, {}, _loop=asyncio.get_running_loop())
    protocol.connection_made(transport)
    protocol.data_received(request)
    async with asyncio.timeout(PATIENCE_S):
        while b"".join(transport.writes).count(b"HTTP/1.1 200") < of or state.tasks:  # noqa: ASYNC110 - no signal of it
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    return transport


async def test_head_and_body_leave_in_one_write() -> None:
    transport = await _asked(GET, b"hello", of=1)

    assert len(transport.writes) == 1
    assert transport.writes[0].startswith(b"HTTP/1.1 200 OK\r\n")
    assert transport.writes[0].endswith(b"\r\n\r\nhello")


async def test_requests_sent_in_one_go_are_answered_in_order() -> None:
    transport = await _asked(GET + GET, b"hello", of=2)

    assert b"".join(transport.writes).count(b"hello") == 2


async def test_an_answer_that_ends_the_connection_is_written_before_it_closes() -> None:
    transport = await _asked(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), b"bye", of=1)

    assert transport.closed
    assert transport.writes[-1].endswith(b"bye")


async def test_a_large_answer_is_whole() -> None:
    body = b"x" * (3 * HELD_MAX_BYTES)

    transport = await _asked(GET, body, of=1)

    assert b"".join(transport.writes).endswith(b"\r\n\r\n" + body)


PREPARED = Prepared(HTTPStatus.OK, b"application/json", b"{}")


async def prepared(_scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await PREPARED.send(send)


async def by_hand(_scope: Scope, receive: Receive, send: Send) -> None:
    """The same answer through each of uvicorn's checks."""

    async def relay(message: Message) -> None:
        await send(message)

    await receive()
    await PREPARED.send(relay)


async def test_an_answer_that_leaves_alone_waits_for_no_end_of_the_turn() -> None:
    transport, written = Recording(), list[int]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await PREPARED.send(send, alone=scope["path"] == "/alone")
        written.append(len(transport.writes))

    def ask(path: bytes) -> bytes:
        return b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}" % path

    await _served(app, ask(b"/alone") + ask(b"/other") + ask(b"/alone"), of=3, access_log=False, transport=transport)

    assert written == [1, 1, 3]  # each alone one at once, the other after its turn
    assert b"".join(transport.writes).count(b"HTTP/1.1 200") == 3


@pytest.mark.parametrize("access_log", [False, True])
@pytest.mark.parametrize("close", [b"", b"Connection: close\r\n"])
async def test_a_prepared_answer_is_to_the_byte_what_uvicorn_would_have_written(close: bytes, access_log: bool) -> None:
    request = b"POST / HTTP/1.1\r\nHost: x\r\n%bContent-Length: 2\r\n\r\n{}" % close

    quick = await _served(prepared, request, of=1, access_log=access_log)
    usual = await _served(by_hand, request, of=1, access_log=access_log)

    assert b"".join(quick.writes) == b"".join(usual.writes)
    assert quick.closed == usual.closed == bool(close)


async def test_prepared_answers_to_requests_sent_in_one_go_are_whole() -> None:
    request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"

    transport = await _served(prepared, request * 3, of=3, access_log=False)

    assert b"".join(transport.writes).count(b"\r\n\r\n{}") == 3

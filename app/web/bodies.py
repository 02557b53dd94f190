"""What a request's body must be before anything reads it: JSON, no longer than allowed, and there in time."""

import asyncio

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from app.web import problems

PREFIX = "/v1/"
DRAIN_MAX_BYTES = 8 * 1_048_576
DRAIN_MAX_S = 2.0
BODY_MAX_S = 10.0
"""How long a body may take to arrive. Nobody is waited for without end: slow senders would pile up."""
BODILESS = frozenset({"GET", "HEAD", "OPTIONS"})
CLOSE = {"Connection": "close"}


def too_slow(limit_s: float) -> str:
    """What a 408 says."""
    return f"The body did not arrive within {limit_s:g} s."


def arrived(receive: Receive) -> bool:
    """Whether the whole body is here already, as it nearly always is: then reading it needs no timer. On any server but
    uvicorn nobody can tell.
    """
    cycle = getattr(receive, "__self__", None)
    return isinstance(cycle, RequestResponseCycle) and not cycle.more_body


async def drain(receive: Receive) -> None:
    """Read on and forget, up to a bound: a connection that is closed on unread bytes is reset, and whoever still sends
    never sees the answer. Whoever announced a body and sends none is not waited for.
    """
    read = 0
    try:
        async with asyncio.timeout(DRAIN_MAX_S):
            while read <= DRAIN_MAX_BYTES:
                message = await receive()
                read += len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body"):
                    return
    except TimeoutError:
        return


async def refuse_unread(answer: Response, receive: Receive, send: Send) -> None:
    """Answer at once, whole, while the body is still on its way; then let it run out, and close."""
    answer.headers["Connection"] = "close"
    await send({"type": "http.response.start", "status": answer.status_code, "headers": answer.raw_headers})
    await send({"type": "http.response.body", "body": bytes(answer.body), "more_body": True})
    await drain(receive)
    await send({"type": "http.response.body", "body": b""})


class BodyGuard:
    """ASGI middleware of the API: 413 for a longer body, also one of unannounced length, 415 for what is no JSON, and 408
    for what does not arrive in time.
    """

    def __init__(self, app: ASGIApp, body_max_bytes: int, body_max_s: float = BODY_MAX_S) -> None:
        self._app = app
        self._max = body_max_bytes
        self._max_s = body_max_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in BODILESS or not scope["path"].startswith(PREFIX):
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > self._max:
            await refuse_unread(problems.answer(413, "body_too_large", self._too_long), receive, send)
        elif (length != b"0" or b"transfer-encoding" in headers) and not _json(headers):
            said = "The body must be JSON, sent with `Content-Type: application/json`."
            await problems.answer(415, "unsupported_media_type", said)(scope, receive, send)
        else:
            await self._app(scope, self._counted(receive), send)

    @property
    def _too_long(self) -> str:
        return f"The body is over {self._max} bytes."

    def _counted(self, receive: Receive) -> Receive:
        size, whole = 0, arrived(receive)
        until = asyncio.get_running_loop().time() + self._max_s

        async def counted() -> Message:
            nonlocal size, whole
            if whole:
                message = await receive()
            else:
                try:
                    async with asyncio.timeout_at(until):
                        message = await receive()
                except TimeoutError:
                    raise HTTPException(408, too_slow(self._max_s), CLOSE) from None
                whole = not message.get("more_body")
            size += len(message.get("body", b""))
            if size > self._max:
                if message.get("more_body"):
                    await drain(receive)
                raise HTTPException(413, self._too_long, CLOSE)
            return message

        return counted


def _json(headers: dict[bytes, bytes]) -> bool:
    kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
    return kind == b"application/json" or (kind.startswith(b"application/") and kind.endswith(b"+json"))

"""What a request's body must be before anything reads it: JSON, and no longer than allowed."""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.web import problems

PREFIX = "/v1/"
DRAIN_MAX_BYTES = 8 * 1_048_576
BODILESS = frozenset({"GET", "HEAD", "OPTIONS"})


async def drain(receive: Receive) -> None:
    """Read on and forget, up to a bound: a connection that is closed on unread bytes is reset, and whoever still sends
    never sees the answer.
    """
    read = 0
    while read <= DRAIN_MAX_BYTES:
        message = await receive()
        read += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body"):
            return


class BodyGuard:
    """ASGI middleware of the API: 413 for a longer body, also one of unannounced length, and 415 for what is no JSON."""

    def __init__(self, app: ASGIApp, body_max_bytes: int) -> None:
        self._app = app
        self._max = body_max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in BODILESS or not scope["path"].startswith(PREFIX):
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > self._max:
            await drain(receive)
            answer = problems.answer(413, "body_too_large", self._too_long, {"Connection": "close"})
            await answer(scope, receive, send)
        elif (length != b"0" or b"transfer-encoding" in headers) and not _json(headers):
            said = "The body must be JSON, sent with `Content-Type: application/json`."
            await problems.answer(415, "unsupported_media_type", said)(scope, receive, send)
        else:
            await self._app(scope, self._counted(receive), send)

    @property
    def _too_long(self) -> str:
        return f"The body is over {self._max} bytes."

    def _counted(self, receive: Receive) -> Receive:
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._max:
                if message.get("more_body"):
                    await drain(receive)
                raise HTTPException(413, self._too_long, {"Connection": "close"})
            return message

        return counted


def _json(headers: dict[bytes, bytes]) -> bool:
    kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
    return kind == b"application/json" or (kind.startswith(b"application/") and kind.endswith(b"+json"))

"""Stripe's door: raw bytes, signature, envelope, stored, 200. It never interprets an event.

The rule it enforces: 2xx only after the commit; every refusal has a stable code and leaves a trace that says why; a
body is never read beyond its limit. Plain ASGI under Starlette routes, since a web framework's own machinery costs
more than all of this.
"""

import asyncio
import gc
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import NamedTuple

from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from app import metrics
from app.errors import BadInput, Unavailable
from app.flow.receive import Receiver
from app.log import get_logger
from app.stripe import catalog, signature
from app.stripe import envelope as envelopes
from app.stripe.envelope import Envelope
from app.web import problems
from app.web.bodies import BODY_MAX_S, CLOSE, arrived, refuse_unread, too_slow
from app.web.one_write import Prepared

LOG = get_logger(__name__)

PATH = "/webhooks/stripe"
AUTHORIZATIONS_PATH = "/webhooks/stripe/authorizations"
AUTHORIZATION_REQUEST = "issuing_authorization.request"
BODY_MAX_BYTES = 1_048_576
DIAGNOSES_PER_S = 10

_LIVEMODE = re.compile(rb'"livemode"\s*:\s*(true|false)')
_RECEIVED = Prepared(HTTPStatus.OK, b"application/json", b'{"received": true}')

Authorize = Callable[[Envelope, bytes], Awaitable[Response]]


@dataclass(frozen=True, kw_only=True)
class WebhookDoor:
    """What the door needs to know. ``clock`` gives unix seconds; secrets are strings as Stripe shows them.

    ``authorize`` answers `issuing_authorization.request`; without it such events are stored like any other.
    """

    secrets: Sequence[str]
    platform_account: str
    livemode: bool
    authorization_secrets: Sequence[str] = ()
    tolerance_s: int = 300
    body_max_bytes: int = BODY_MAX_BYTES
    body_max_s: float = BODY_MAX_S
    clock: Callable[[], float] = field(default=time.time)
    authorize: Authorize | None = None


def webhook_routes(receiver: Receiver, door: WebhookDoor) -> list[Route]:
    """The two routes that Stripe posts to."""
    return [
        Route(path, endpoint, methods=["POST"], include_in_schema=False)
        for path, endpoint in webhook_endpoints(receiver, door).items()
    ]


def webhook_endpoints(receiver: Receiver, door: WebhookDoor) -> dict[str, "Endpoint"]:
    """The same two as bare ASGI applications by path, for a server that dispatches before its framework."""
    deciding = door.authorization_secrets or door.secrets
    return {
        PATH: Endpoint(receiver, door, PATH, door.secrets, deciding),
        AUTHORIZATIONS_PATH: Endpoint(receiver, door, AUTHORIZATIONS_PATH, deciding, door.secrets),
    }


class FrontDoor:
    """The application with Stripe's door before it: what is for Stripe skips the framework's middleware and routing.

    Wrap the finished application in it and serve that. All else (also a GET on the same paths) goes on to ``app``.
    """

    def __init__(self, app: ASGIApp, receiver: Receiver, door: WebhookDoor) -> None:
        self._app = app
        self._endpoints = webhook_endpoints(receiver, door)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and (found := self._found(scope["path"])):
            await found(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _found(self, path: str) -> "Endpoint | None":
        """With a slash behind it too: Stripe follows no redirect, so a destination typed that way would bring nothing."""
        return self._endpoints.get(path) or self._endpoints.get(path.removesuffix("/"))


def calm_collector() -> None:
    """Tune Python's cycle collector for a server: call once everything is built.

    What lives for the whole process is no longer looked at, and the young generation is collected less often: a
    request makes a few dozen short-lived objects and no cycles. Worth a fifth of the throughput here.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


class _TooLarge(Exception):
    """The body is longer than allowed. ``unread``: more of it may come."""

    def __init__(self, *, unread: bool) -> None:
        super().__init__()
        self.unread = unread


class _Gone(Exception):
    """The sender hung up before the body was whole."""


class _Stored(NamedTuple):
    """What is answered with the plain 200, and counted once that has left."""

    type: str
    status: str
    new: bool

    def counted(self) -> None:
        metrics.received(self.type, "duplicate" if not self.new else "new" if self.status == "pending" else self.status)
        if self.new and catalog.lookup(self.type) is None:
            metrics.unknown(self.type)


class Endpoint:
    """One ASGI application per path: the paths differ in their secrets only. ``others`` are those of the other path."""

    def __init__(
        self, receiver: Receiver, door: WebhookDoor, path: str, secrets: Sequence[str], others: Sequence[str]
    ) -> None:
        self._path = path
        self._others = tuple(secret.encode() for secret in others if secret not in secrets)
        self._receiver = receiver
        self._door = door
        self._secrets = tuple(secret.encode() for secret in secrets)
        self._diagnosed = (0, 0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await _read(scope, receive, self._door)
        except _Gone:
            return
        except _TooLarge as error:
            answer = self._refuse("body_too_large", f"The body is over {self._door.body_max_bytes} bytes.", status=413)
            if error.unread:
                await refuse_unread(answer, receive, send)
                return
        except TimeoutError:
            answer = self._refuse("body_too_slow", too_slow(self._door.body_max_s), status=408)
            answer.headers.update(CLOSE)
        else:
            begun = time.perf_counter()
            found = await self._answer(_header(scope, b"stripe-signature"), body)
            if isinstance(found, _Stored):
                took = time.perf_counter() - begun
                await _RECEIVED.send(send, alone=self._receiver.quiet)
                found.counted()
                metrics.ack(took)
                return
            answer = found
        await answer(scope, receive, send)

    async def _answer(self, header: bytes | None, body: bytes) -> "Response | _Stored":
        door = self._door
        now = door.clock()
        diagnose = self._may_diagnose(int(now))
        checked = signature.verify(header, body, self._secrets, now, door.tolerance_s, diagnose=diagnose)
        if isinstance(checked, signature.Refused):
            detail = {**checked.detail, "bytes": len(body), **self._hints(body)}
            if diagnose and detail.get("cause") == "wrong_secret":
                other = signature.verify(header, body, self._others, now, door.tolerance_s, diagnose=False)
                detail["cause"] = "other_door" if isinstance(other, signature.Verified) else "wrong_secret"
            return self._refuse(checked.code, checked.message, detail)
        event = envelopes.read(body, door.platform_account)
        if isinstance(event, envelopes.Refused):
            return self._refuse(event.code, event.message, {"bytes": len(body)})
        ours = event.livemode is None or event.livemode == door.livemode
        if ours and door.authorize is not None and event.type == AUTHORIZATION_REQUEST:
            metrics.received(event.type, "decided")
            return await door.authorize(event, body)
        return await self._store(event, body, "pending" if ours else "ignored")

    async def _store(self, event: Envelope, body: bytes, status: str) -> "Response | _Stored":
        try:
            accepted = await self._receiver.accept(event, body, status=status)
        except Unavailable as error:
            metrics.received(event.type, "unavailable")
            return problems.of_error(error)
        except BadInput as error:
            return self._refuse(error.code, error.message, {"event": event.event_id})
        return _Stored(event.type, status, accepted.new)

    def _hints(self, body: bytes) -> dict[str, object]:
        """For the doctor: where it was posted to, and the mode that the unproven body names."""
        found = _LIVEMODE.search(body)
        says = {"mode": "live" if found[1] == b"true" else "test"} if found else {}
        return {"path": self._path, "our_mode": "live" if self._door.livemode else "test", **says}

    def _may_diagnose(self, second: int) -> bool:
        """Whether the costly look at a mismatch is allowed: a flood of forgeries gets the cheap answer."""
        since, used = self._diagnosed
        return since != second or used < DIAGNOSES_PER_S

    def _refuse(
        self, code: str, message: str, detail: dict[str, object] | None = None, *, status: int = 400
    ) -> Response:
        second = int(self._door.clock())
        since, used = self._diagnosed
        self._diagnosed = (second, used + 1 if since == second else 1)
        metrics.rejected(code)
        self._receiver.reject(code, {"message": message, **(detail or {})})
        return problems.answer(status, code, message)


def _header(scope: Scope, wanted: bytes) -> bytes | None:
    for name, value in scope["headers"]:
        if name == wanted:
            found: bytes = value
            return found
    return None


async def _read(scope: Scope, receive: Receive, door: WebhookDoor) -> bytes:
    """The body. Raises _TooLarge, _Gone, and TimeoutError; a timer is started only for what is not here yet."""
    limit = door.body_max_bytes
    announced = _header(scope, b"content-length")
    if announced is not None and announced.isdigit() and int(announced[:20]) > limit:
        raise _TooLarge(unread=True)
    if not arrived(receive):
        async with asyncio.timeout(door.body_max_s):
            return await _gathered(receive, limit)
    message = await receive()
    if message["type"] != "http.request":
        raise _Gone
    whole: bytes = message.get("body", b"")
    if len(whole) > limit:
        raise _TooLarge(unread=False)
    return whole


async def _gathered(receive: Receive, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise _Gone
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        more = bool(message.get("more_body"))
        if size > limit:
            raise _TooLarge(unread=more)
        if not more:
            return b"".join(chunks)

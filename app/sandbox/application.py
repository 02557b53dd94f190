"""The application: HTTP in, ``door.Door`` for the API, ``control`` for ``/_sandbox``, HTTP out."""

import contextlib
import inspect
from collections.abc import AsyncIterator

import orjson
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from app.sandbox import control, event_api, financial_accounts, forms
from app.sandbox.calls import Json
from app.sandbox.door import Door, Reply, Request
from app.sandbox.errors import ApiError
from app.sandbox.paths import Paths
from app.sandbox.settings import SandboxSettings
from app.sandbox.world import World


class Sandbox(Starlette):
    """HTTP goes straight to ``_serve``: one lookup per request instead of a scan over routes."""

    def __init__(self, settings: SandboxSettings) -> None:
        self.world = World(settings)
        financial_accounts.seed_platform(self.world)
        for one in settings.destinations:
            version = one.api_version or settings.api_version
            event_api.register(self.world, one.url, one.secret, one.event_payload, version)
        self._door = Door(self.world)
        self._control: Paths[control.Control] = Paths()
        for method, template, handler in control.ROUTES:
            self._control.add(method, template, handler)
        super().__init__(lifespan=self._lifespan)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        yield
        await self.world.webhooks.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        request = await _read(scope, receive)
        reply = await (
            self._controlled(request) if request.path.startswith("/_sandbox/") else self._door.serve(request)
        )
        if reply is None:
            await _hang_up(receive, send)
            return
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(reply.body)).encode())]
        headers += [(name.lower().encode(), value.encode()) for name, value in reply.headers.items()]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    async def _controlled(self, request: Request) -> Reply:
        found = self._control.find(request.method, request.path)
        if found is None:
            return Reply(404, b'{"error":{"code":"not_found","message":"no such control route"}}')
        try:
            body: Json = orjson.loads(request.body) if request.body.strip() else forms.decode(request.query)
            self.world.cause = None
            result = found[1](self.world, found[2], body)
            if inspect.isawaitable(result):
                result = await result
            return Reply(200, orjson.dumps(result))
        except ApiError as error:
            return Reply(error.status, orjson.dumps(error.body("v1")))
        except (KeyError, ValueError, TypeError) as error:
            return Reply(400, orjson.dumps({"error": {"code": "parameter_invalid", "message": repr(error)}}))


async def _read(scope: Scope, receive: Receive) -> Request:
    chunks: list[bytes] = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    return Request(scope["method"], scope["path"], scope["query_string"].decode(), headers, b"".join(chunks))


async def _hang_up(receive: Receive, send: Send) -> None:
    """Close the connection without an answer. Under another server than uvicorn: an answer that breaks off."""
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
        return
    transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass


def create_app(settings: SandboxSettings | None = None) -> Starlette:
    """The sandbox as an ASGI application, with a world of its own."""
    return Sandbox(settings or SandboxSettings())

"""What stands before every handler: key, version, account, faults, idempotency and the shape of the request."""

import asyncio
import binascii
import inspect
import itertools
from base64 import b64decode
from dataclasses import dataclass, field

import orjson

from app.sandbox import forms, listing
from app.sandbox.calls import Answer, Call, Json, Route
from app.sandbox.errors import ApiError, invalid
from app.sandbox.faults import SLOW_S
from app.sandbox.idempotency import Entry
from app.sandbox.params import validate
from app.sandbox.paths import Paths
from app.sandbox.render import render
from app.sandbox.routes import ROUTES
from app.sandbox.world import World


@dataclass(slots=True)
class Request:
    """An HTTP request, read whole. Header names are lower-case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Reply:
    """An HTTP answer."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


class Door:
    """Serves ``/v1`` and ``/v2``."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._keys = world.keys
        self._requests = itertools.count(1)
        self._paths: Paths[Route] = Paths()
        for route in ROUTES:
            self._paths.add(route.method, route.template, route)

    async def serve(self, request: Request) -> Reply | None:
        """The answer; None when the connection shall be closed without one."""
        api = "v2" if request.path.startswith("/v2/") else "v1"
        request_id = f"req_sandbox{next(self._requests):08d}"
        try:
            reply = await self._answer(request, api, request_id)
        except ApiError as error:
            reply = Reply(error.status, orjson.dumps(error.body(api)), dict(error.headers))
        if reply is not None:
            reply.headers["Request-Id"] = request_id
        return reply

    async def _answer(self, request: Request, api: str, request_id: str) -> Reply | None:
        self._authenticate(request.headers)
        found = self._paths.find(request.method, request.path)
        if found is None:
            raise ApiError(
                404, "not_found", f"Unrecognized request URL ({request.method}: {request.path}).", stored=False
            )
        template, route, ids = found
        self._world.requests[f"{request.method} {template}"] += 1
        call = self._call(request, api, request_id, ids)
        fault = self._world.faults.for_request(request.method, request.path, call.account)
        if fault == "api_429":
            raise ApiError(
                429,
                "rate_limit",
                "Too many requests.",
                kind="rate_limit" if api == "v2" else None,
                headers={"Retry-After": "1"},
            )
        entry, fresh = self._keys.claim(call, request.body)
        if not fresh and entry is not None:
            return None if fault == "reply_lost" else self._again(entry, call)
        reply = await self._execute(call, route, request, entry, fault)
        return None if fault == "reply_lost" else reply

    async def _execute(
        self, call: Call, route: Route, request: Request, entry: Entry | None, fault: str | None
    ) -> Reply:
        try:
            if fault == "slow":
                await asyncio.sleep(SLOW_S)
            if fault == "api_400":
                raise invalid("Refused by the sandbox, on purpose.")
            if fault == "api_500":
                raise ApiError(500, "api_error", "An error of the sandbox, on purpose.")
            answer = await self._handle(call, route, request)
        except ApiError as error:
            body = orjson.dumps(error.body(call.api))
            keep = call.api == "v1" and error.stored
            self._settle(entry, call, error.status, body, None, keep=keep)
            return Reply(error.status, body, dict(error.headers))
        except BaseException:
            self._settle(entry, call, 0, b"", None, keep=False)
            raise
        finally:
            self._world.cause = None
        body = self._body(call, answer)
        self._settle(entry, call, 200, body, answer, keep=True)
        return Reply(200, body)

    async def _handle(self, call: Call, route: Route, request: Request) -> Answer:
        self._world.cause = call if call.method != "GET" else None
        try:
            self._parse(call, route, request)
            result = route.handler(self._world, call)
            if inspect.isawaitable(result):
                self._world.cause = None
                result = await result
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise invalid(f"The request could not be read: {error!r}") from error
        assert isinstance(result, Answer)
        return result

    def _body(self, call: Call, answer: Answer) -> bytes:
        return orjson.dumps(answer.body if answer.record is None else render(self._world, answer.record, call))

    def _again(self, entry: Entry, call: Call) -> Reply:
        """v1: the stored bytes. v2: the answer rendered anew, showing the state of now."""
        if call.api == "v1" or entry.answer is None:
            return Reply(entry.status, entry.body, {"Idempotent-Replayed": "true"} if call.api == "v1" else {})
        call.params = entry.params
        return Reply(200, self._body(call, entry.answer))

    def _settle(
        self, entry: Entry | None, call: Call, status: int, body: bytes, answer: Answer | None, *, keep: bool
    ) -> None:
        if entry is None:
            return
        if keep:
            entry.running, entry.status, entry.body, entry.answer = False, status, body, answer
            entry.params = call.params
        else:
            self._keys.forget(call)

    def _authenticate(self, headers: dict[str, str]) -> None:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                token = b64decode(token).decode().partition(":")[0]
            except (binascii.Error, UnicodeDecodeError):
                token = ""
        if scheme.lower() not in {"bearer", "basic"} or token != self._world.settings.api_key:
            raise ApiError(401, "invalid_api_key", "Invalid API Key provided.", stored=False)

    def _call(self, request: Request, api: str, request_id: str, ids: list[str]) -> Call:
        headers, world = request.headers, self._world
        version = headers.get("stripe-version")
        if api == "v2" and not version:
            raise ApiError(400, "missing_version", "The Stripe-Version header is required.", stored=False)
        account = headers.get("stripe-context", "").rpartition("/")[2]
        if not account and api == "v1":
            account = headers.get("stripe-account", "")
        account = account or world.platform
        if account != world.platform:
            known = world.records.get(account)
            if known is None or known.kind != "v2.core.account":
                message = f"The provided key does not have access to account '{account}' (or it does not exist)."
                raise ApiError(403, "account_invalid", message, stored=False)
        key = headers.get("idempotency-key")
        version = version or world.settings.api_version
        return Call(request.method, request.path, api, account, version, {}, ids, request_id, key)

    def _parse(self, call: Call, route: Route, request: Request) -> None:
        if call.method == "GET":
            params = forms.decode(request.query)
            call.params = listing.unpaged(params) if "page" in params else params
            return
        params = _body_of(call.api, request)
        include = params.get("include")
        if route.prepare is not None:
            params = route.prepare(params, call.version)
        if route.shape is not None:
            validate(params, route.shape, route.extras, form=call.api == "v1")
        # The answer is rendered in the caller's own words, so its includes stay in them.
        call.params = params if include is None else {**params, "include": include}


def _body_of(api: str, request: Request) -> Json:
    if not request.body:
        return {}
    if api == "v1":
        try:
            return forms.decode(request.body.decode())
        except UnicodeDecodeError as error:
            raise invalid("The body is not UTF-8.") from error
    try:
        found = orjson.loads(request.body)
    except orjson.JSONDecodeError as error:
        raise invalid("The body is not JSON.", code="invalid_json") from error
    if not isinstance(found, dict):
        raise invalid("The body must be a JSON object.", code="invalid_json")
    return found

"""What handlers ask for: services, a read connection, who is calling, pages and idempotent writes.

The rule: authentication happens here and nowhere else, and a write is one transaction that holds the idempotency row,
the change and the audit row, so that all three stand or none does. What cannot be one transaction claims its key first
(app/web/claims.py).
"""

import base64
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import asyncpg
import orjson
from fastapi import Depends, Header, Query, Request
from fastapi.dependencies.models import Dependant
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel
from starlette.responses import Response

from app.errors import BadInput, Conflict, Forbidden, Unauthenticated
from app.ops.parts import Actor
from app.store import audit, db, idempotency
from app.web.claims import Claim, Keep, given_before, whole
from app.web.doorkeeper import Doorkeeper, Principal
from app.wiring import Services

LIMIT_MAX = 200
READ_MAX_S = 8.0
WRITE_MAX_S = 15.0
"""How long one request may keep a connection: then the database is taken for hanging, and the answer is 503."""

TOLD = ("id", "state", "on")
"""What the audit keeps of what was made: how it is called and how it stands."""

Row = Mapping[str, Any]


class Json(Response):
    """JSON with times in RFC 3339 UTC (``Z``)."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        return orjson.dumps(content, default=str, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)


IfNoneMatch = Annotated[
    str | None, Header(max_length=2000, description="The `ETag` of an earlier answer.", examples=['"17.40"'])
]


def same_tag(tag: str, if_none_match: str) -> bool:
    """Whether the caller has what ``tag`` stands for (RFC 9110: weak comparison, ``*`` is any)."""
    had = {one.strip().removeprefix("W/") for one in if_none_match.split(",")}
    return tag in had or "*" in had


def polled(body: object, if_none_match: str | None) -> Response:
    """One thing that is asked for again and again: 304 when the caller has just this answer."""
    answer = Json(body)
    tag = f'"{hashlib.blake2b(answer.body, digest_size=9).hexdigest()}"'
    if if_none_match is not None and same_tag(tag, if_none_match):
        return Response(status_code=304, headers={"ETag": tag})
    answer.headers["ETag"] = tag
    return answer


async def known_parameters(request: Request) -> None:  # a plain function would be run in a thread
    """Refuse a query parameter that the route does not have: a misspelled filter would silently choose everything."""
    if not request.scope["query_string"]:
        return
    known = _names(request.scope["route"].dependant)
    wrong = [name for name in request.query_params if name not in known]
    if wrong:
        errors = [{"field": name, "message": "There is no such parameter."} for name in wrong]
        said = f"No such parameter: {', '.join(wrong)}."
        raise BadInput(said, code="invalid", status=422, details={"errors": errors})


def _names(dependant: Dependant) -> set[str]:
    own = {field.alias for field in dependant.query_params}
    return own.union(*(_names(inner) for inner in dependant.dependencies))


def action_of(request: Request) -> str:
    """What the audit calls this request: its method and route."""
    return f"{request.method} {getattr(request.scope.get('route'), 'name', request.url.path)}"


def services_of(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


async def _given(request: Request) -> Services:  # a plain function would be run in a thread
    return services_of(request)


Svc = Annotated[Services, Depends(_given)]


@asynccontextmanager
async def reading(services: Services) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the API's own pool, for reads."""
    async with db.borrow(services.api_pool, within_s=READ_MAX_S) as conn:
        yield conn


bearer = HTTPBearer(auto_error=False, description="An API key: `cardrail keys create --scope read --name me`.")


async def principal_of(
    request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
) -> Principal:
    if given is None or not given.credentials:
        raise Unauthenticated("An API key is needed: `Authorization: Bearer <key>`.")
    doorkeeper: Doorkeeper = request.app.state.doorkeeper
    found = await doorkeeper.who(services_of(request), given.credentials)
    if found is None:
        raise Unauthenticated("This API key is unknown, expired or revoked.", code="bad_key")
    doorkeeper.throttle.take(found.id)
    return found


def scoped(scope: str) -> Callable[[Request, Principal], Awaitable[Principal]]:
    """A dependency that lets pass only keys whose scope reaches to ``scope``."""

    async def check(  # a plain function would be run in a thread
        request: Request,
        principal: Annotated[Principal, Depends(principal_of)],
    ) -> Principal:
        if not principal.may(scope):
            error = Forbidden(f"This needs a key with scope {scope}; this one has {principal.scope}.")
            if request.method != "GET":
                doorkeeper: Doorkeeper = request.app.state.doorkeeper
                await doorkeeper.refused(services_of(request), principal, action_of(request), request.url.path, error)
            raise error
        return principal

    return check


Reader = Annotated[Principal, Depends(scoped("read"))]
Operator = Annotated[Principal, Depends(scoped("operate"))]
Admin = Annotated[Principal, Depends(scoped("admin"))]


# Pages


@dataclass(frozen=True)
class Page:
    """Which page is asked for; ``after`` is the key of the last row of the page before."""

    limit: int
    after: Sequence[Any] | None

    def of(self, rows: Sequence[Row], key: Sequence[str], shown: Callable[[Row], object]) -> Json:
        """The answer, from one row more than is shown."""
        kept = rows[: self.limit]
        cursor = encode_cursor([kept[-1][k] for k in key]) if len(rows) > self.limit else None
        return Json({"data": [shown(row) for row in kept], "next_cursor": cursor})

    def of_whole(self, rows: Sequence[Row], key: str) -> Json:
        """The answer, from a short list that was read as a whole, in its own order."""
        known = [row[key] for row in rows]
        if self.after is not None and self.after[0] not in known:
            raise BadInput("What the cursor named is gone: begin again.", code="bad_cursor")
        start = 0 if self.after is None else known.index(self.after[0]) + 1
        return self.of(rows[start : start + self.fetched], [key], dict)

    @property
    def fetched(self) -> int:
        return self.limit + 1


def encode_cursor(key: Sequence[object]) -> str:
    plain = [value.isoformat() if isinstance(value, datetime) else value for value in key]
    return base64.urlsafe_b64encode(orjson.dumps(plain)).decode().rstrip("=")


def decode_cursor(cursor: str, shape: Sequence[type]) -> list[Any]:
    """The key in a cursor, checked to have the shape that the list has. ``datetime`` stands for an ISO time."""
    try:
        key = orjson.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        fits = isinstance(key, list) and len(key) == len(shape)
        if fits and all(_fits(value, kind) for value, kind in zip(key, shape, strict=True)):
            return list(key)
    except ValueError:
        pass
    raise BadInput("The cursor is none of this list's.", code="bad_cursor")


def _fits(value: object, kind: type) -> bool:
    if kind is datetime:
        return isinstance(value, str) and _plain_time(datetime.fromisoformat(value))
    if kind is int:
        return type(value) is int and 0 <= value < 2**62
    return isinstance(value, str) and "\x00" not in value


def _plain_time(value: datetime) -> bool:
    return value.tzinfo is not None and 1970 <= value.year <= 2200


def page(*shape: type) -> Callable[..., Awaitable[Page]]:
    """A dependency that reads ``limit`` and ``cursor`` of a list whose key has this shape."""

    async def read(  # a plain function would be run in a thread
        limit: Annotated[int, Query(ge=1, le=LIMIT_MAX, description="Rows per page.", examples=[50])] = 50,
        cursor: Annotated[
            str | None,
            Query(
                max_length=1000, description="`next_cursor` of the page before; opaque.", examples=["WyJhY2N0XzEiXQ"]
            ),
        ] = None,
    ) -> Page:
        return Page(limit, None if cursor is None else decode_cursor(cursor, shape))

    return read


# Writes


Work = Callable[[asyncpg.Connection], Awaitable[dict[str, Any]]]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="Same key and same body: same answer, or 409 while the first is under way. Same key, other body: 409."
        " Kept for 30 days.",
        examples=["3f0c9a52-order-4711"],
    ),
]


class Write:
    """One write of one caller: idempotent when a key is sent, audited, and in one transaction.

    ``method``, ``target`` and ``action`` are what the audit and the idempotency key go by: those of the request, or,
    for a form of the console, of the route of the API that does the same.
    """

    def __init__(
        self,
        request: Request,
        principal: Operator,
        idempotency_key: IdempotencyKey = None,
    ) -> None:
        self.request = request
        self.services = services_of(request)
        self.principal = principal
        self.key = idempotency_key
        self.method = request.method
        self.target = request.url.path
        self.action = action_of(request)

    def actor(self, reason: str) -> Actor:
        """Who does it and why, as the audit names them."""
        return Actor(who=self.principal.name, reason=reason, key=self.principal.id)

    async def do(
        self, work: Work, body: BaseModel | None = None, *, status: int = 202, reason: str | None = None
    ) -> Response:
        """Run ``work`` once and answer with what it returns."""
        asked = self._asked(body)
        async with (
            self._watched(reason),
            db.borrow(self.services.pool, within_s=WRITE_MAX_S) as conn,
            conn.transaction(),
        ):
            if asked is not None and not await idempotency.begin(conn, asked):
                return given_before(await idempotency.kept(conn, asked), asked)
            made = await work(conn)
            await audit.note(
                conn,
                who=self.principal.name,
                action=self.action,
                target=self.target,
                reason=reason,
                result={**{name: made[name] for name in TOLD if name in made}, "key": self.principal.id},
            )
            answer = Json(made, status, {"Location": made["href"]} if "href" in made else None)
            if asked is not None:
                await idempotency.finish(conn, asked, status=status, body=bytes(answer.body))
        self._ring()
        return answer

    async def apart(
        self,
        work: Callable[[], Awaitable[dict[str, Any]]],
        body: BaseModel | None = None,
        *,
        status: int = 202,
        headers: Mapping[str, str] | None = None,
        keep: Keep = whole,
    ) -> Response:
        """Run ``work`` once, which has transactions and audit rows of its own, and answer with what it returns.

        It may be done again for an equal request when its process died, so it must find what is done already.
        """
        asked = self._asked(body)
        reason, dry = getattr(body, "reason", None), getattr(body, "dry_run", False)
        if asked is None:
            async with self._watched(reason, dry=dry):
                answer = Json(await work(), status, headers)
        else:
            claim = Claim(self.services.pool, asked)
            earlier = await claim.take()
            if earlier is not None:
                return earlier
            async with claim.working(), self._watched(reason, dry=dry):
                made = await work()
                answer, kept = Json(made, status, headers), keep(made)
                await claim.keep(status, None if kept is None else bytes(Json(kept).body))
        self._ring()
        return answer

    @asynccontextmanager
    async def _watched(self, reason: str | None, *, dry: bool = False) -> AsyncIterator[None]:
        """What is refused, for the caller or as things stand, is kept in the audit too, unless it was only asked."""
        try:
            yield
        except (Forbidden, Conflict) as error:
            if not dry:
                doorkeeper: Doorkeeper = self.request.app.state.doorkeeper
                await doorkeeper.refused(self.services, self.principal, self.action, self.target, error, reason)
            raise

    def _ring(self) -> None:
        """Something may have been written that the duties of this process wait for."""
        self.services.wake()
        self.services.wake_deliver()
        self.services.notify_bell.ring()

    def _asked(self, body: BaseModel | None) -> idempotency.Key | None:
        """The key that was sent, with what it was sent for: method, path and body."""
        if self.key is None:
            return None
        sent = orjson.dumps(body.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS) if body is not None else b""
        fingerprint = hashlib.sha256(f"{self.method} {self.target}\n".encode() + sent).digest()
        return idempotency.Key(self.principal.id, self.key, fingerprint)


class Question(Write):
    """What is asked by POST and changes nothing: any key may, and the answer is kept under its key like a write's."""

    def __init__(
        self,
        request: Request,
        principal: Reader,
        idempotency_key: IdempotencyKey = None,
    ) -> None:
        super().__init__(request, principal, idempotency_key)


class AdminWrite(Write):
    """A write that only an admin's key may do."""

    def __init__(
        self,
        request: Request,
        principal: Admin,
        idempotency_key: IdempotencyKey = None,
    ) -> None:
        super().__init__(request, principal, idempotency_key)


Writing = Annotated[Write, Depends(Write)]
AdminWriting = Annotated[AdminWrite, Depends(AdminWrite)]
Asking = Annotated[Question, Depends(Question)]

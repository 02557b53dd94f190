"""One request to the console: who asks, what was sent, and the ways to answer: a page, or the way back to one.

The rule: a handler runs only for a key whose scope reaches far enough, and a form only with the token of its session.
What a page shows comes from the handlers of the API, called in this process; what a form does is done by them, under the
audit row and the idempotency key that they would write. So the console can neither show nor do anything else.
"""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import jinja2
import orjson
from starlette.datastructures import State
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from app.errors import BadInput, Forbidden, Unauthenticated
from app.web import schemas
from app.web.bodies import BODY_MAX_S, too_slow
from app.web.console.session import Session, Sessions
from app.web.deps import Page, Write, decode_cursor
from app.web.doorkeeper import Doorkeeper, Principal
from app.wiring import Services

FORM_BYTES_MAX = 65_536
ROWS_MAX = 50
HOME = "/console/"

Json = dict[str, Any]
Handler = Callable[["Visit"], Awaitable[Response]]


def told(answer: Response) -> Json:
    """What a handler of the API answered."""
    said: Json = orjson.loads(bytes(answer.body))
    return said


def path(*parts: str) -> str:
    """A path below /console; each part is one segment, whatever stands in it."""
    return HOME + "/".join(quote(part, safe="") for part in parts)


class Visit:
    """What a handler works with. ``form`` is empty unless one was sent."""

    def __init__(self, request: Request, who: Principal, session: Session) -> None:
        self.request = request
        self.who = who
        self.session = session
        self.form: Mapping[str, str] = {}
        self.services: Services = request.app.state.services

    # what was asked

    def part(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])

    def asked(self, name: str) -> str | None:
        """A filter; None when it was left empty."""
        return self.request.query_params.get(name, "").strip() or None

    def flag(self, name: str) -> bool | None:
        """A filter that is yes, no or left empty."""
        return {"yes": True, "no": False}.get(self.asked(name) or "")

    def page(self, *shape: type) -> Page:
        """The page of a list whose key has this shape."""
        cursor = self.asked("cursor")
        return Page(ROWS_MAX, None if cursor is None else decode_cursor(cursor, shape))

    @property
    def reason(self) -> schemas.Reason:
        """Why: every form that changes something has it."""
        return schemas.Reason(reason=self.form.get("reason", "").strip())

    def write(self, method: str, handler: Callable[..., Any], target: str) -> Write:
        """The write that ``handler`` of the API does, under the path that it has there."""
        made = Write(self.request, self.who, self.form.get("once") or None)
        made.method, made.target, made.action = method, target, f"{method} {handler.__name__}"
        return made

    # how it is answered

    def render(self, template: str, status: int = 200, **values: object) -> Response:
        return HTMLResponse(render(self.request, template, **values), status)

    def back(self, where: str, done: str, **counts: int) -> Response:
        """To a page that says what was done; ``done`` is one of ``notes.DONE``."""
        return RedirectResponse(f"{where}?{urlencode({'done': done, **counts})}", 303)


def render(request: Request, template: str, **values: object) -> str:
    """A page as text."""
    state: State = request.app.state
    pages: jinja2.Environment = state.pages
    services: Services = state.services
    given = {"request": request, "now_ms": services.clock(), "visit": getattr(request.state, "visit", None), **values}
    return pages.get_template(template).render(given)


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a plain form, none twice."""
    body = b""
    try:
        async with asyncio.timeout(BODY_MAX_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > FORM_BYTES_MAX:
                    raise BadInput("The form is too long.", code="body_too_large", status=413)
    except TimeoutError:
        raise BadInput(too_slow(BODY_MAX_S), code="body_too_slow", status=408) from None
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=50))
    except ValueError:
        raise BadInput("The form cannot be read.") from None


def must_match(session: Session, form: Mapping[str, str]) -> None:
    """Raise Forbidden for a form that another page has sent."""
    if not hmac.compare_digest(session.token.encode(), form.get("token", "").encode()):
        raise Forbidden("This form is not of your session. Go back, load the page again and repeat.", code="bad_form")


async def visited(request: Request, scope: str) -> Visit:
    """The visit, let in. Raises Unauthenticated, Forbidden or RateLimited."""
    sessions: Sessions = request.app.state.sessions
    doorkeeper: Doorkeeper = request.app.state.doorkeeper
    session = await sessions.of(request)
    if session is None or not session.key:
        raise Unauthenticated("Log in with an API key.")
    who = await doorkeeper.who(request.app.state.services, session.key)
    if who is None:
        raise Unauthenticated("This API key is unknown, expired or revoked.", code="bad_key")
    doorkeeper.throttle.take(who.id)
    request.state.visit = visit = Visit(request, who, session)
    if request.method == "POST":
        visit.form = await form_of(request)
        must_match(session, visit.form)
    if not who.may(scope):
        raise Forbidden(f"This needs a key with scope {scope}; this one has {who.scope}.")
    return visit


def route(where: str, handler: Handler, *, method: str = "GET", scope: str = "read") -> Route:
    """A page, or with POST what a form does, for keys whose scope reaches to ``scope``."""

    async def answered(request: Request) -> Response:
        return await handler(await visited(request, scope))

    return Route(where, answered, methods=[method], name=handler.__name__)


def action(where: str, handler: Handler, *, scope: str = "operate") -> Route:
    """What a form does."""
    return route(where, handler, method="POST", scope=scope)

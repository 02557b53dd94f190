"""The console as an application of its own, mounted at /console: routes, the look of errors, and what browsers may do."""

import secrets
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import jinja2
import orjson
from fastapi import FastAPI
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import Unauthenticated
from app.machines.commands import KINDS
from app.ops.requests import BRAKES
from app.web import problems
from app.web.console import accounts, desk, events, login, notes, overview, replaying, words
from app.web.console.session import PATH, Sessions
from app.web.console.visit import render

HERE = Path(__file__).parent
POLICY = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

_Answers = Callable[[Request, Any], Response | Awaitable[Response]]
_Pages = Callable[[Request, Exception], Awaitable[Response]]


def install(app: FastAPI) -> None:
    """Mount the console in the service's application, whose state it shares; ``/`` leads there."""
    handlers = {kind: _as_page(answer) for kind, answer in app.exception_handlers.items()}
    site = Starlette(
        routes=[
            *login.ROUTES,
            *overview.ROUTES,
            *accounts.ROUTES,
            *events.ROUTES,
            *desk.ROUTES,
            *replaying.ROUTES,
            Mount("/assets", StaticFiles(directory=HERE / "assets"), name="console assets"),
        ],
        exception_handlers={
            **handlers,
            HTTPException: _as_page(_http),
            ValidationError: _as_page(_invalid),
            Unauthenticated: _log_in,
        },
    )
    site.state = app.state
    app.state.sessions = Sessions(app.state.services)
    app.state.pages = _pages()
    app.mount(PATH, Guarded(site), name="console")
    app.router.routes.append(Route("/", _home, name="home"))


def _pages() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= words.FILTERS
    made.globals |= {
        "notes": notes,
        "KINDS": KINDS,
        "BRAKES": BRAKES,
        "once": lambda: f"console-{secrets.token_hex(12)}",
    }
    return made


async def _home(_request: Request) -> Response:
    return RedirectResponse(f"{PATH}/")


def _as_page(answer: _Answers) -> _Pages:
    """The problem that ``answer`` makes of an error, as a page."""

    async def page(request: Request, error: Exception) -> Response:
        made = answer(request, error)
        said = await made if isinstance(made, Awaitable) else made
        problem = orjson.loads(bytes(said.body))
        headers = {name: said.headers[name] for name in ("Retry-After", "Allow") if name in said.headers}
        return HTMLResponse(render(request, "error.html", problem=problem), said.status_code, headers)

    return page


async def _http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = "method_not_allowed" if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED else "not_found"
    return problems.answer(error.status_code, code, "There is no such page.", dict(error.headers or {}))


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ValidationError)
    wrong = [
        {"field": ".".join(map(str, e["loc"])), "message": e["msg"].removeprefix("Value error, ")}
        for e in error.errors()
    ]
    detail = "; ".join(f"{e['field']}: {e['message']}" for e in wrong[:5])
    return problems.answer(422, "invalid", detail, errors=wrong)


async def _log_in(request: Request, _error: Exception) -> Response:
    """To the login, and from there back to the page that was asked for."""
    return login.first(request)


class Guarded:
    """Headers of every answer: nothing but our own files may run, no frame, no cache of a page."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = POLICY
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "same-origin"
                kind = headers.get("content-type", "")
                headers.setdefault("Cache-Control", "no-store" if kind.startswith("text/html") else "no-cache")
            await send(message)

        await self._app(scope, receive, guarded)

"""Coming in with an API key, and going out."""

from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from app.web.console.session import PATH, Session, Sessions
from app.web.console.visit import HOME, form_of, must_match, render
from app.web.doorkeeper import Doorkeeper

KEY_CHARS_MAX = 200


def first(request: Request) -> Response:
    """Who is not logged in goes to the login, and comes back.

    A link in a chat leads here from another site, and then the browser keeps the strict cookie back: a page of ours that
    goes on by itself makes it come along.
    """
    query = request.url.query
    wanted = request.url.path + (f"?{query}" if query else "") if request.method == "GET" else HOME
    to = f"{PATH}/login?{urlencode({'next': wanted})}"
    if request.headers.get("sec-fetch-site") in {"cross-site", "same-site"}:
        return HTMLResponse(render(request, "arriving.html", to=to))
    return RedirectResponse(to, 303)


def _next(given: str) -> str:
    """Where to go after the login: a page of the console, nowhere else."""
    return given if given.startswith(HOME) and "\\" not in given and "//" not in given else HOME


async def _known(request: Request, session: Session | None) -> bool:
    doorkeeper: Doorkeeper = request.app.state.doorkeeper
    if session is None or not session.key:
        return False
    return await doorkeeper.who(request.app.state.services, session.key) is not None


async def login_page(request: Request) -> Response:
    sessions: Sessions = request.app.state.sessions
    to = _next(request.query_params.get("next", ""))
    if await _known(request, await sessions.of(request)):
        return RedirectResponse(to, 303)
    return await _ask(request, to)


async def _ask(request: Request, to: str, status: int = 200, wrong: str = "") -> Response:
    sessions: Sessions = request.app.state.sessions
    answer = HTMLResponse(status_code=status)
    session = await sessions.of(request)
    if session is None or session.key:
        session = await sessions.begin(request, answer)
    answer.body = render(request, "login.html", token=session.token, to=to, wrong=wrong).encode()
    answer.headers["Content-Length"] = str(len(answer.body))
    return answer


async def log_in(request: Request) -> Response:
    sessions: Sessions = request.app.state.sessions
    doorkeeper: Doorkeeper = request.app.state.doorkeeper
    form = await form_of(request)
    to = _next(form.get("next", ""))
    session = await sessions.of(request)
    if session is None:
        return await _ask(
            request, to, 403, "Your browser sent no session back. Allow cookies of this site, and repeat."
        )
    must_match(session, form)
    key = form.get("key", "").strip()
    known = key.isascii() and 0 < len(key) <= KEY_CHARS_MAX
    if not known or await doorkeeper.who(request.app.state.services, key) is None:
        return await _ask(request, to, 401, "This API key is unknown, expired or revoked.")
    answer = RedirectResponse(to, 303)
    await sessions.begin(request, answer, key)
    return answer


async def log_out(request: Request) -> Response:
    sessions: Sessions = request.app.state.sessions
    session = await sessions.of(request)
    answer = RedirectResponse(f"{PATH}/login", 303)
    if session is None:
        sessions.forget(answer)
    else:
        must_match(session, await form_of(request))
        await sessions.end(session, answer)
    return answer


ROUTES = [
    Route("/login", login_page, methods=["GET"]),
    Route("/login", log_in, methods=["POST"]),
    Route("/logout", log_out, methods=["POST"]),
]

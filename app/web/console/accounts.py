"""Accounts: the list, and all about one of them on one page that keeps itself up to date."""

from sse_starlette import EventSourceResponse
from starlette.responses import Response

from app.ops import chains
from app.store import chains as lines
from app.store import views
from app.web import shown
from app.web.api import accounts as of_accounts
from app.web.api import controls, explanations
from app.web.api.commands import list_commands
from app.web.api.events import list_events
from app.web.api.streams import PING_EVERY_S, SEND_MAX_S
from app.web.console.overview import STATES
from app.web.console.visit import Visit, action, path, route, told
from app.web.deps import Page, reading
from app.web.tail import Tail

LINES_MAX = 60
BESIDE_MAX = 15
OBJECTS_MAX = 40


async def account_list(visit: Visit) -> Response:
    found = told(
        await of_accounts.list_accounts(
            visit.services,
            visit.who,
            visit.page(str),
            state=visit.asked("state"),  # type: ignore[arg-type]  # a word that is no state finds nothing
            country=visit.asked("country"),
            held=visit.flag("held"),
            stuck=visit.flag("stuck"),
        )
    )
    return visit.render("accounts.html", found=found, states=STATES)


async def account(visit: Visit) -> Response:
    services, who, name = visit.services, visit.who, visit.part("account_id")
    why = told(await explanations.explain_account(services, who, name))
    beside = Page(BESIDE_MAX, None)
    things = told(await of_accounts.list_objects(services, who, name, Page(OBJECTS_MAX, None)))
    async with reading(services) as conn:
        row = await views.account(conn, name)
        assert row is not None
        newest = await lines.newest_lines(conn, name, LINES_MAX)
        behind = await chains.behind(conn, name, newest)
    return visit.render(
        "account.html",
        account=shown.account(row, services.programme, services.clock(), services.platform_account),
        why=why,
        things=things,
        lines=[shown.chained_line(line, one) for line, one in zip(newest, behind, strict=True)],
        commands=told(await list_commands(services, who, beside, account=name)),
        events=told(await list_events(services, who, beside, account=name)),
    )


async def objects(visit: Visit) -> Response:
    name, kind = visit.part("account_id"), visit.asked("kind")
    found = told(await of_accounts.list_objects(visit.services, visit.who, name, visit.page(str), kind=kind))
    return visit.render("objects.html", found=found, name=name)


async def one_object(visit: Visit) -> Response:
    name, thing = visit.part("account_id"), visit.part("object_id")
    found = told(await of_accounts.read_object(visit.services, visit.who, name, thing))
    return visit.render("object.html", found=found, name=name)


async def stream(visit: Visit) -> Response:
    """The account's journal lines behind ``after``, or behind the last one that the browser has."""
    name = visit.part("account_id")
    async with reading(visit.services) as conn:
        await of_accounts.must_know(conn, name)
    last = visit.request.headers.get("last-event-id", "").rpartition(":")[2] or visit.asked("after") or "0"
    tail: Tail = visit.request.app.state.tail
    behind = int(last) if last.isdecimal() and len(last) < 18 else 0
    return EventSourceResponse(
        tail.of_account(visit.session.key, name, behind), ping=PING_EVERY_S, send_timeout=SEND_MAX_S
    )


async def place_hold(visit: Visit) -> Response:
    name, handler = visit.part("account_id"), controls.place_hold
    write = visit.write("POST", handler, f"/v1/accounts/{name}/hold")
    await handler(visit.services, write, name, visit.reason)
    return visit.back(path("accounts", name), "held")


async def release_hold(visit: Visit) -> Response:
    name, handler = visit.part("account_id"), controls.release_hold
    write = visit.write("DELETE", handler, f"/v1/accounts/{name}/hold")
    await handler(visit.services, write, name, visit.reason)
    return visit.back(path("accounts", name), "released")


async def allow_attempt(visit: Visit) -> Response:
    name, handler = visit.part("account_id"), controls.allow_attempt
    write = visit.write("POST", handler, f"/v1/accounts/{name}/attempts")
    await handler(visit.services, write, name, visit.reason)
    return visit.back(path("accounts", name), "allowed")


ROUTES = [
    route("/accounts", account_list),
    route("/accounts/{account_id}", account),
    route("/accounts/{account_id}/objects", objects),
    route("/accounts/{account_id}/objects/{object_id}", one_object),
    route("/accounts/{account_id}/stream", stream),
    action("/accounts/{account_id}/holds", place_hold),
    action("/accounts/{account_id}/releases", release_hold),
    action("/accounts/{account_id}/attempts", allow_attempt),
]

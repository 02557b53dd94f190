"""The first page: what needs a person now, and whether the service itself is well. And the jump to any id."""

from starlette.responses import RedirectResponse, Response

from app.ops import doctor, parked
from app.ops.doctor import door, outward, running
from app.store import gauges, health, heartbeats, views
from app.web.api import accounts as of_accounts
from app.web.api import audit as of_audit
from app.web.api import platform as of_platform
from app.web.console.visit import HOME, Visit, path, route, told
from app.web.deps import Page, reading
from app.web.doorkeeper import Principal
from app.web.schemas import State

STUCK_MAX = 10
STATES: tuple[str, ...] = State.__args__  # type: ignore[attr-defined]  # a Literal's values
WHERE = {
    "acct_": "accounts",
    "cmd_": "commands",
    "iauth_": "authorizations",
    "rpl_": "replays",
    "pk_": "parked",
}


async def overview(visit: Visit) -> Response:
    services = visit.services
    # Account numbers, which an admin's read would ask Stripe for, have no place here.
    reader = Principal(visit.who.id, visit.who.name, "read")
    platform = told(await of_platform.read_platform(services, reader))
    stuck = told(await of_accounts.list_accounts(services, reader, Page(STUCK_MAX, None), stuck=True))
    async with reading(services) as conn:
        found = await running.look(conn)
        checks = [check for check in found if not check.check.startswith(("parked", "brake"))]
        beside = [*await door.rejections(conn), *await outward.look(conn)]
        standing = {row["state"]: row for row in await health.standing(conn, services.platform_account)}
        complete = await gauges.complete_until(conn)
        return visit.render(
            "overview.html",
            platform=platform,
            stuck=stuck,
            checks=checks,
            trouble=[check for check in (*checks, *beside) if check.state != "ok"],
            standing=[(name, standing[name]) for name in STATES if name in standing],
            parked=await parked.groups(conn),
            backlog=await health.backlog(conn),
            workers=await heartbeats.every(conn),
            complete=complete,
        )


async def examined(visit: Visit) -> Response:
    """All that the doctor looks at, what is wrong first; it asks Stripe too, so it is no part of a page that refreshes itself."""
    rank = ("wrong", "warning", "ok")
    found = sorted(await doctor.examine(visit.services), key=lambda check: rank.index(check.state))
    return visit.render("doctor.html", checks=found, wrong=doctor.wrong(found))


async def go(visit: Visit) -> Response:
    """To whatever an id names; events of ours and objects of Stripe's have names of many forms."""
    name = visit.asked("id") or ""
    folder = next((folder for start, folder in WHERE.items() if name.startswith(start)), None)
    if name and folder is None:
        async with reading(visit.services) as conn:
            owner = None if await views.event(conn, name) else await views.owner_of(conn, name)
        if owner is not None:
            return RedirectResponse(path("accounts", owner, "objects", name), 303)
    return RedirectResponse(path(folder or "events", name) if name else HOME, 303)


async def audit(visit: Visit) -> Response:
    who, target = visit.asked("who"), visit.asked("target")
    found = told(
        await of_audit.list_operator_actions(visit.services, visit.who, visit.page(int), who=who, target=target)
    )
    return visit.render("audit.html", found=found)


ROUTES = [
    route("/", overview),
    route("/go", go),
    route("/doctor", examined, scope="operate"),
    route("/audit", audit, scope="admin"),
]

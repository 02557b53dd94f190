"""The first page: what needs a person now, and whether the service itself is well. And the jump to any id."""

from starlette.responses import RedirectResponse, Response

from app.ops import parked
from app.ops.doctor import running
from app.store import gauges, health, heartbeats
from app.web.api import accounts as of_accounts
from app.web.api import audit as of_audit
from app.web.api import platform as of_platform
from app.web.console.visit import HOME, Visit, path, route, told
from app.web.deps import Page, Principal, reading
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
        checks = await running.look(conn)
        standing = {row["state"]: row for row in await health.standing(conn, services.platform_account)}
        complete = await gauges.complete_until(conn)
        return visit.render(
            "overview.html",
            platform=platform,
            stuck=stuck,
            checks=[check for check in checks if not check.check.startswith(("parked", "brake"))],
            standing=[(name, standing[name]) for name in STATES if name in standing],
            parked=await parked.groups(conn),
            backlog=await health.backlog(conn),
            workers=await heartbeats.every(conn),
            complete=complete,
        )


async def go(visit: Visit) -> Response:
    """To whatever an id names; events of ours have names of many forms."""
    name = visit.asked("id") or ""
    folder = next((folder for start, folder in WHERE.items() if name.startswith(start)), "events")
    return RedirectResponse(path(folder, name) if name else HOME, 303)


async def audit(visit: Visit) -> Response:
    who, target = visit.asked("who"), visit.asked("target")
    found = told(
        await of_audit.list_operator_actions(visit.services, visit.who, visit.page(int), who=who, target=target)
    )
    return visit.render("audit.html", found=found)


ROUTES = [
    route("/", overview),
    route("/go", go),
    route("/audit", audit, scope="admin"),
]

"""What a person settles: parked things by fingerprint, single commands, brakes; and the decisions on authorizations."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from starlette.responses import Response

from app.ops import parked as parked_ops
from app.store import views
from app.web import shown, whole
from app.web.api import authorizations as of_authorizations
from app.web.api import commands as of_commands
from app.web.api import controls
from app.web.api import parked as of_parked
from app.web.api.ops import Operation
from app.web.console.visit import Visit, action, path, route, told
from app.web.deps import Page, reading

EACH_MAX = 25

# What is parked


async def parked(visit: Visit) -> Response:
    found = told(await of_parked.list_parked(visit.services, visit.who, Page(200, None)))
    return visit.render("parked.html", groups=found["data"])


async def fingerprint(visit: Visit) -> Response:
    """One fingerprint with the oldest and newest things in it, and one answer for all of them."""
    name = visit.part("fingerprint")
    async with reading(visit.services) as conn:
        group = await parked_ops.group(conn, name)
        if group["what"] == "event":
            rows = await views.events(conn, limit=200, status="parked", type=group["kind"])
            told_rows = [shown.event(row) for row in rows]
        else:
            rows = await views.commands(conn, limit=200, status="parked", kind=group["kind"])
            told_rows = [shown.command(row) for row in rows]
    alike = [row for row in told_rows if ((row["error"] or {}).get("code") or "unknown") == group["code"]]
    return visit.render("fingerprint.html", group=group, rows=alike[:EACH_MAX])


def _answering(handler: Callable[..., Any], kind: str, done: str) -> Callable[[Visit], Any]:
    async def answer(visit: Visit) -> Response:
        body, name = Operation(reason=visit.reason.reason, dry_run=False), visit.part("fingerprint")
        write = visit.write("POST", handler, f"/v1/parked/{name}/{kind}")
        made = told(await handler(visit.services, write, name, body))
        return visit.back(path("parked"), done, answered=made["done"], refused=made["refused"])

    answer.__name__ = handler.__name__
    return answer


# Commands


async def command_list(visit: Visit) -> Response:
    answer = await of_commands.list_commands(
        visit.services,
        visit.who,
        visit.page(datetime, str, str),
        account=visit.asked("account"),
        status=visit.asked("status"),  # type: ignore[arg-type]  # a word that is no status finds nothing
        kind=visit.asked("kind"),
    )
    return visit.render("commands.html", found=told(answer))


async def command(visit: Visit) -> Response:
    name = visit.part("command_id")
    found = told(await of_commands.read_command(visit.services, visit.who, name))
    async with reading(visit.services) as conn:
        cause = None if found["caused_by"] is None else await views.event(conn, found["caused_by"], found["account"])
        causes = [] if cause is None else await whole.causes(conn, cause)
    return visit.render("command.html", command=found, cause=cause and shown.event(cause), causes=causes)


async def retry_command(visit: Visit) -> Response:
    name, handler = visit.part("command_id"), of_commands.retry_command
    write = visit.write("POST", handler, f"/v1/commands/{name}/retries")
    await handler(visit.services, write, name, visit.reason)
    return visit.back(path("commands", name), "command_retried")


async def discard_command(visit: Visit) -> Response:
    name, handler = visit.part("command_id"), of_commands.discard_command
    write = visit.write("POST", handler, f"/v1/commands/{name}/discards")
    await handler(visit.services, write, name, visit.reason)
    return visit.back(path("commands", name), "command_discarded")


# Brakes


async def brakes(visit: Visit) -> Response:
    found = told(await controls.list_brakes(visit.services, visit.who, Page(200, None)))
    return visit.render("brakes.html", brakes=found["data"])


async def stop_step(visit: Visit) -> Response:
    return await _set_brake(visit, visit.form.get("step", ""), on=True)


async def release_step(visit: Visit) -> Response:
    return await _set_brake(visit, visit.part("step"), on=False)


async def _set_brake(visit: Visit, step: str, *, on: bool) -> Response:
    handler = controls.set_brake
    write = visit.write("PUT", handler, f"/v1/brakes/{step}")
    await handler(write, step, controls.BrakeSetting(on=on, reason=visit.reason.reason))
    return visit.back(path("brakes"), "brake_on" if on else "brake_off")


# Authorizations


async def authorization_list(visit: Visit) -> Response:
    answer = await of_authorizations.list_authorizations(
        visit.services,
        visit.who,
        visit.page(datetime, str, str),
        account=visit.asked("account"),
        approved=visit.flag("approved"),
        reason=visit.asked("reason"),
        mismatch=visit.flag("mismatch"),
    )
    return visit.render("authorizations.html", found=told(answer))


async def authorization(visit: Visit) -> Response:
    found = told(await of_authorizations.read_authorization(visit.services, visit.who, visit.part("authorization_id")))
    return visit.render("authorization.html", found=found)


ROUTES = [
    route("/parked", parked),
    route("/parked/{fingerprint}", fingerprint),
    action("/parked/{fingerprint}/retries", _answering(of_parked.retry_parked, "retries", "retried")),
    action("/parked/{fingerprint}/ignores", _answering(of_parked.ignore_parked, "ignores", "ignored")),
    action("/parked/{fingerprint}/discards", _answering(of_parked.discard_parked, "discards", "discarded")),
    route("/commands", command_list),
    route("/commands/{command_id}", command),
    action("/commands/{command_id}/retries", retry_command),
    action("/commands/{command_id}/discards", discard_command),
    route("/brakes", brakes),
    action("/brakes", stop_step),
    action("/brakes/{step}/releases", release_step),
    route("/authorizations", authorization_list),
    route("/authorizations/{authorization_id}", authorization),
]

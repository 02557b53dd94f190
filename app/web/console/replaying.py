"""Bulk replays: what each would do, how far it is, and its stop."""

from datetime import datetime

from starlette.responses import Response

from app.web.api import replays as of_replays
from app.web.console.visit import Visit, action, path, route, told

FIELDS = ("account", "type", "status", "source", "since", "until")


async def replay_list(visit: Visit) -> Response:
    found = told(await of_replays.list_replays(visit.services, visit.who, visit.page(datetime, str)))
    return visit.render("replays.html", found=found)


async def replay(visit: Visit) -> Response:
    found = told(await of_replays.read_replay(visit.services, visit.who, visit.part("replay_id")))
    return visit.render("replay.html", job=found)


async def start_replay(visit: Visit) -> Response:
    """The first form is a dry run; the page of that job holds the form that does it."""
    asked = {name: visit.form[name].strip() for name in FIELDS if visit.form.get(name, "").strip()}
    body = of_replays.BulkReplay.model_validate(
        {
            "filter": asked,
            "mode": visit.form.get("mode", "state"),
            "dry_run": visit.form.get("do") != "yes",
            "rate": _count(visit.form.get("rate", "100")),
            "reason": visit.reason.reason,
        }
    )
    handler = of_replays.start_replay
    made = told(await handler(visit.services, visit.write("POST", handler, "/v1/replays"), body))
    return visit.back(path("replays", made["id"]), "replay_started")


def _count(given: str) -> object:
    return int(given) if given.isascii() and given.isdecimal() and len(given) < 10 else given


async def stop_replay(visit: Visit) -> Response:
    name, handler = visit.part("replay_id"), of_replays.stop_replay
    await handler(visit.write("DELETE", handler, f"/v1/replays/{name}"), name, visit.reason)
    return visit.back(path("replays", name), "replay_stopped")


async def confirm_replay(visit: Visit) -> Response:
    name, handler = visit.part("replay_id"), of_replays.confirm_replay
    write = visit.write("POST", handler, f"/v1/replays/{name}/confirmations")
    await handler(write, name, visit.reason)  # type: ignore[arg-type]  # the route lets only admins in
    return visit.back(path("replays", name), "replay_confirmed")


ROUTES = [
    route("/replays", replay_list),
    route("/replays/{replay_id}", replay),
    action("/replays", start_replay),
    action("/replays/{replay_id}/stops", stop_replay),
    action("/replays/{replay_id}/confirmations", confirm_replay, scope="admin"),
]

"""Events: the log, one event with all that it did, and its replay, which says first what it would do."""

from datetime import UTC, datetime
from typing import get_args

from starlette.responses import Response

from app.errors import BadInput, NotFound
from app.store import views
from app.web import whole
from app.web.api import events as of_events
from app.web.api.events import Replay
from app.web.console.visit import Visit, action, path, route, told
from app.web.deps import reading

STATUSES = ("pending", "applied", "ignored", "parked")
SOURCES = ("webhook", "response", "poll", "request", "timer")
MODES: tuple[str, ...] = get_args(Replay.model_fields["mode"].annotation)


def _time(visit: Visit, name: str) -> datetime | None:
    """A time filter; without an offset it means UTC."""
    asked = visit.asked(name)
    try:
        given = datetime.fromisoformat(asked) if asked else None
    except ValueError:
        raise BadInput(f"{name}: a time is needed, such as 2026-11-24T10:00.", code="invalid", status=422) from None
    return given.replace(tzinfo=UTC) if given is not None and given.tzinfo is None else given


async def event_list(visit: Visit) -> Response:
    answer = await of_events.list_events(
        visit.services,
        visit.who,
        visit.page(datetime, str, str),
        account=visit.asked("account"),
        type=visit.asked("type"),
        status=visit.asked("status"),  # type: ignore[arg-type]  # a word that is no status finds nothing
        source=visit.asked("source"),  # type: ignore[arg-type]  # as status
        since=_time(visit, "since"),
        until=_time(visit, "until"),
    )
    return visit.render("events.html", found=told(answer), statuses=STATUSES, sources=SOURCES)


async def event(visit: Visit) -> Response:
    name = visit.part("event_id")
    async with reading(visit.services) as conn:
        row = await views.event(conn, name)
        if row is None:
            raise NotFound(f"There is no event {name}.")
        found = await whole.event(conn, row, private=visit.who.may("admin"))
    return visit.render("event.html", event=found, modes=MODES)


async def retry_event(visit: Visit) -> Response:
    name, handler = visit.part("event_id"), of_events.retry_event
    await handler(visit.write("POST", handler, f"/v1/events/{name}/retries"), name, visit.reason)
    return visit.back(path("events", name), "event_retried")


async def ignore_event(visit: Visit) -> Response:
    name, handler = visit.part("event_id"), of_events.ignore_event
    await handler(visit.write("POST", handler, f"/v1/events/{name}/ignores"), name, visit.reason)
    return visit.back(path("events", name), "event_ignored")


async def replay_event(visit: Visit) -> Response:
    """The dry run is a page that shows the plan, with the form that does it; doing it leads back to the event."""
    name, handler = visit.part("event_id"), of_events.replay_event
    dry = visit.form.get("do") != "yes"
    body = Replay(mode=visit.form.get("mode", "state"), dry_run=dry, reason=visit.reason.reason)
    write = visit.write("POST", handler, f"/v1/events/{name}/replays")
    if dry:
        write.key = None  # who goes back to the form may ask for another mode
    answer = told(await handler(visit.services, write, name, body))
    if dry:
        return visit.render("plan.html", plan=answer["plan"], mode=body.mode, reason=body.reason)
    if str(answer["id"]).startswith("rpl_"):
        return visit.back(path("replays", answer["id"]), "replay_started")
    return visit.back(path("events", name), "event_replayed")


ROUTES = [
    route("/events", event_list),
    route("/events/{event_id}", event),
    action("/events/{event_id}/retries", retry_event),
    action("/events/{event_id}/ignores", ignore_event),
    action("/events/{event_id}/replays", replay_event),
]

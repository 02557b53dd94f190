"""Stripe's health alerts, fired and resolved by hand: our answers are slow or bad, or events were not generated."""

from app.sandbox.calls import Json
from app.sandbox.clock import rfc3339
from app.sandbox.errors import invalid
from app.sandbox.world import World

STATES = ("firing", "resolved")
EVENTS_MISSED = "event_generation_failure"


def alert(world: World, _ids: list[str], body: Json) -> Json:
    """Say ``alarm`` (``issuing_authorization_request_timeout``, ...) is ``firing`` or ``resolved``.

    ``alert_id`` of a firing one resolves it; ``impact`` is told as it is given.
    """
    alarm, state = str(body.get("alarm")), str(body.get("state", "firing"))
    if state not in STATES or (alarm == EVENTS_MISSED and state != "resolved"):
        raise invalid(f"{alarm} is never {state}", param="state")
    data: Json = {
        "alert_id": body.get("alert_id") or world.ids.new("alrt_test_"),
        "grouping_key": body.get("grouping_key") or alarm,
        "impact": body.get("impact") or {},
        "summary": body.get("summary") or alarm.replace("_", " "),
    }
    if alarm != EVENTS_MISSED:
        data["started_at"] = body.get("started_at") or rfc3339()
    if state == "resolved":
        data["resolved_at"] = rfc3339()
    return {"event": world.events.health(alarm, state, data).id, **data}

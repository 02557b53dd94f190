"""Webhook endpoints of v1, which many platforms still have beside event destinations: snapshots of one scope."""

from app.sandbox import listing
from app.sandbox.calls import Answer, Call
from app.sandbox.webhooks import Destination
from app.sandbox.world import World

KIND = "webhook_endpoint"


def create(world: World, call: Call) -> Answer:
    """An endpoint; with ``connect`` it hears of connected accounts, without of the platform itself."""
    body, version = call.params, world.settings.api_version
    connect = str(body.get("connect")).lower() == "true"
    secret = f"whsec_{world.ids.new('')}"
    data = {
        "url": body["url"],
        "enabled_events": body["enabled_events"],
        "api_version": body.get("api_version"),
        "application": "ca_sandbox" if connect else None,
        "status": "enabled",
        "description": body.get("description"),
        "metadata": body.get("metadata") or {},
    }
    record = world.add(KIND, world.platform, data)
    made = Destination(record.id, body["url"], secret, "snapshot", body.get("api_version") or version)
    made.types, made.own, made.connected = frozenset(body["enabled_events"]), not connect, connect
    world.webhooks.destinations[record.id] = made
    return Answer(body={**record.data, "secret": secret})


def update(world: World, call: Call) -> Answer:
    """Disable it, or other types."""
    record = world.find(KIND, call.ids[0], call.account, "v1")
    body, destination = call.params, world.webhooks.destinations[record.id]
    if "disabled" in body:
        off = str(body["disabled"]).lower() == "true"
        record.data["status"], destination.enabled = "disabled" if off else "enabled", not off
    if body.get("enabled_events"):
        record.data["enabled_events"], destination.types = body["enabled_events"], frozenset(body["enabled_events"])
    return Answer(body=record.data)


def everything(world: World, call: Call) -> Answer:
    """All of them, newest first."""
    return listing.v1(call, world.all(KIND, call.account), lambda _: True, lambda record: record.data)

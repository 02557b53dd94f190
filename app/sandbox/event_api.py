"""Reading events back, and event destinations."""

from fnmatch import fnmatchcase

from app.sandbox import listing
from app.sandbox.calls import Answer, Call, Json, Record
from app.sandbox.errors import invalid, not_found
from app.sandbox.events import Event
from app.sandbox.vocabulary import event_type_out, is_new
from app.sandbox.webhooks import Destination
from app.sandbox.world import World

KIND = "v2.core.event_destination"
SOURCES = frozenset({"@self", "@accounts", "@organization_members", "@organization_members/@accounts"})
SYNCHRONOUS = "issuing_authorization.request"


def _event(world: World, call: Call, style: str) -> Event:
    event = world.events.by_id.get(call.ids[0])
    if event is None or event.style != style or event.account != call.account:
        raise not_found("event", call.ids[0], call.api)
    return event


def retrieve_v1(world: World, call: Call) -> Answer:
    """One snapshot event."""
    return Answer(body=_event(world, call, "snapshot").fetched(world.settings.api_version))


def retrieve_v2(world: World, call: Call) -> Answer:
    """One thin event, with its data."""
    return Answer(body=_event(world, call, "thin").fetched(world.settings.api_version))


def list_v1(world: World, call: Call) -> Answer:
    """Snapshot events, newest first."""
    pattern, types = call.params.get("type"), listing.wanted(call.params, "types")
    if pattern and types:
        raise invalid("type and types exclude each other", param="types")
    success = call.params.get("delivery_success")

    def matches(event: Event) -> bool:
        if pattern and not fnmatchcase(event.type, pattern):
            return False
        if types and event.type not in types:
            return False
        if success is not None and event.undelivered == (success == "true"):
            return False
        return listing.within(float(int(event.at)), call.params)

    events = world.events.by_account.get(("snapshot", call.account), [])
    return listing.v1(call, events, matches, lambda e: e.fetched(world.settings.api_version))


def list_v2(world: World, call: Call) -> Answer:
    """Thin events, newest first."""
    types, ident = listing.wanted(call.params, "types"), call.params.get("object_id")
    version = world.settings.api_version

    def matches(event: Event) -> bool:
        if types and event.type not in types and event_type_out(event.type, version) not in types:
            return False
        return (ident is None or event.object_id == ident) and listing.within(round(event.at, 3), call.params)

    events = world.events.by_account.get(("thin", call.account), [])
    return listing.v2(call, events, matches, lambda e: e.fetched(version))


def new_types(names: list[str], version: str) -> frozenset[str]:
    """Event types in the new words; those of the other vocabulary are refused."""
    foreign = "storer]" if is_new(version) else "money_manager]"
    for name in names:
        if foreign in name:
            raise invalid(f"Unknown event type: {name}", param="enabled_events")
    return frozenset(name.replace("[configuration.storer]", "[configuration.money_manager]") for name in names)


def _of_style(names: list[str], style: str) -> None:
    """v2 resources come thin only; a v1 resource comes thin under a name of its own."""
    if not names:
        raise invalid("enabled_events must not be empty", param="enabled_events")
    for name in names:
        thin_only = name.startswith(("v2.", "v1."))
        if name != "*" and thin_only != (style == "thin"):
            raise invalid(f"{name} does not come as {style}", param="enabled_events")
        if name == SYNCHRONOUS:
            raise invalid(f"{name} goes to the real-time endpoint only", param="enabled_events")


def create(world: World, call: Call) -> Answer:
    """A destination with a secret of its own."""
    body = call.params
    style = body["event_payload"]
    if body["type"] != "webhook_endpoint" or not (body.get("webhook_endpoint") or {}).get("url"):
        raise invalid("Only webhook_endpoint with a url is played here", param="type")
    if style == "thin" and body.get("snapshot_api_version"):
        raise invalid("snapshot_api_version is for snapshot destinations", param="snapshot_api_version")
    if style == "snapshot" and not body.get("snapshot_api_version"):
        raise invalid("snapshot_api_version is required for snapshot destinations", param="snapshot_api_version")
    version = world.settings.api_version
    secret = f"whsec_{world.ids.new('')}"
    sources = body.get("events_from") or ["@self"]
    if not set(sources) <= SOURCES:
        raise invalid(f"events_from takes {', '.join(sorted(SOURCES))}", param="events_from")
    _of_style(body["enabled_events"], style)
    types = new_types(body["enabled_events"], version)
    record = register(world, body["webhook_endpoint"]["url"], secret, style, version, name=body["name"])
    destination = world.webhooks.destinations[record.id]
    destination.types = types
    destination.own, destination.connected = "@self" in sources, "@accounts" in sources
    record.data.update(
        {
            "enabled_events": body["enabled_events"],
            "events_from": sources,
            "snapshot_api_version": body.get("snapshot_api_version"),
            "description": body.get("description"),
            "metadata": body.get("metadata") or {},
        }
    )
    return Answer(record)


def everything(world: World, call: Call) -> Answer:
    """All destinations; where they post to only when it is asked for."""
    return listing.v2(call, world.all(KIND, call.account), lambda _: True, lambda r: shown_destination(r, call))


def shown_destination(record: Record, call: Call) -> Json:
    """With the address when it is included, and with the secret in the answer to the creation alone."""
    include = call.params.get("include") or []
    endpoint: Json = {"url": None, "signing_secret": None}
    if "webhook_endpoint.url" in include:
        endpoint["url"] = record.hidden["url"]
    made = call.method == "POST" and call.path.endswith("event_destinations")
    if "webhook_endpoint.signing_secret" in include and made:
        endpoint["signing_secret"] = record.hidden["secret"]
    return {**record.data, "webhook_endpoint": endpoint}


def register(world: World, url: str, secret: str, style: str, version: str, name: str = "sandbox") -> Record:
    """A destination for all events of a style."""
    if style not in {"thin", "snapshot"}:
        raise invalid("event_payload must be thin or snapshot", param="event_payload")
    data: Json = {
        "name": name,
        "type": "webhook_endpoint",
        "status": "enabled",
        "event_payload": style,
        "enabled_events": ["*"],
        "events_from": ["@self", "@accounts"],
        "snapshot_api_version": version if style == "snapshot" else None,
        "status_details": None,
        "description": None,
        "metadata": {},
    }
    record = world.add(KIND, world.platform, data, url=url, secret=secret)
    world.webhooks.destinations[record.id] = Destination(record.id, url, secret, style, version)
    return record


def update(world: World, call: Call) -> Answer:
    """Other types, another name; style, sources and version stay as they were made."""
    record = world.find(KIND, call.ids[0], call.account)
    body = call.params
    if body.get("enabled_events") is not None:
        _of_style(body["enabled_events"], record.data["event_payload"])
        types = new_types(body["enabled_events"], world.settings.api_version)
        world.webhooks.destinations[record.id].types = types
    for name in ("name", "description", "enabled_events", "metadata"):
        if body.get(name) is not None:
            record.data[name] = body[name]
    url = (body.get("webhook_endpoint") or {}).get("url")
    if url:
        record.hidden["url"] = world.webhooks.destinations[record.id].url = url
    return Answer(record)


def switch(world: World, call: Call) -> Answer:
    """Enable or disable."""
    record = world.find(KIND, call.ids[0], call.account)
    on = call.path.endswith("/enable")
    world.webhooks.destinations[record.id].enabled = on
    record.data["status"] = "enabled" if on else "disabled"
    record.data["status_details"] = None if on else {"disabled": {"reason": "user"}}
    return Answer(record)


def ping(world: World, call: Call) -> Answer:
    """Send a ping to one destination."""
    record = world.find(KIND, call.ids[0], call.account)
    event = world.events.ping(world.webhooks.destinations[record.id], record)
    return Answer(body=event.fetched(world.settings.api_version))

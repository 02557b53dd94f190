"""How a table of routes is written down."""

from typing import Any

from app.sandbox import monitor
from app.sandbox.calls import Answer, Call, Handler, Json, Route
from app.sandbox.world import World


def post(template: str, handler: Handler, shape: str | None = None, *extras: str, prepare: Any = None) -> Route:
    return Route("POST", template, handler, shape, frozenset(extras), prepare)


def reads(path: str, kind: str, everything: Handler) -> list[Route]:
    return [Route("GET", path, everything), Route("GET", f"{path}/{{id}}", monitor.retrieves(kind))]


def metadata_only(kind: str) -> Handler:
    """An update of metadata."""

    def update(world: World, call: Call) -> Answer:
        record = world.find(kind, call.ids[0], call.account, call.api)
        given: Json = call.params.get("metadata") or {}
        record.data["metadata"] = {k: v for k, v in {**record.data["metadata"], **given}.items() if v}
        world.snapshot("updated", record)
        return Answer(record)

    return update

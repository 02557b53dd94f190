"""Reading what moved: received credits and debits, transactions, entries, and other plain lists."""

from collections.abc import Callable

from app.sandbox import listing
from app.sandbox.calls import Answer, Call, Json, Record
from app.sandbox.clock import parse
from app.sandbox.vocabulary import flow_out
from app.sandbox.world import World

Reader = Callable[[World, Call], Answer]


def retrieves(kind: str) -> Reader:
    """The retrieve handler of a kind."""

    def retrieve(world: World, call: Call) -> Answer:
        return Answer(world.find(kind, call.ids[0], call.account, call.api))

    return retrieve


def v2_list(kind: str, *filters: str) -> Reader:
    """The list handler of a v2 kind with plain equality filters; ``flow`` means the id of the flow."""

    def matches_flow(data: dict[str, object], name: str, value: object) -> bool:
        if name == "flow":
            flow = data["flow"]
            return isinstance(flow, dict) and flow.get(str(flow.get("type"))) == value
        return data.get(name) == value

    def shown(record: Record, call: Call) -> Json:
        return flow_out(record.data, record.hidden.get("before"), call.version)

    def everything(world: World, call: Call) -> Answer:
        wanted = {name: call.params[name] for name in filters if name in call.params}
        return listing.v2(
            call,
            world.all(kind, call.account),
            lambda r: (
                all(matches_flow(shown(r, call), name, value) for name, value in wanted.items())
                and listing.within(parse(r.data["created"]), call.params)
            ),
            lambda r: shown(r, call),
        )

    return everything


def v1_list(kind: str, *filters: str) -> Reader:
    """The list handler of a v1 kind; a filter matches an id or the id of an embedded object."""

    def everything(world: World, call: Call) -> Answer:
        wanted = {name: call.params[name] for name in filters if name in call.params}

        def same(value: object, asked: object) -> bool:
            return (value.get("id") if isinstance(value, dict) else value) == asked

        return listing.v1(
            call,
            world.all(kind, call.account),
            lambda r: (
                all(same(r.data.get(name), value) for name, value in wanted.items())
                and listing.within(float(r.data["created"]), call.params)
            ),
            lambda r: r.data,
        )

    return everything

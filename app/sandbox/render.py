"""Records as the caller's API version shows them."""

from app.sandbox.accounts import shown_account
from app.sandbox.addresses import shown_address
from app.sandbox.books import ENTRY, TRANSACTION
from app.sandbox.calls import Call, Json, Record
from app.sandbox.event_api import shown_destination
from app.sandbox.financial_accounts import shown_financial_account
from app.sandbox.vocabulary import flow_out
from app.sandbox.world import World


def render(world: World, record: Record, call: Call) -> Json:
    """The JSON body for one record."""
    match record.kind:
        case "v2.core.account":
            return shown_account(record, call)
        case "v2.money_management.financial_account":
            return shown_financial_account(world, record)
        case "v2.money_management.financial_address":
            return shown_address(record, call)
        case "issuing.card":
            return _card(record, call)
        case "v2.core.event_destination":
            return shown_destination(record, call)
        case kind if kind in (TRANSACTION, ENTRY):
            return flow_out(record.data, record.hidden.get("before"), call.version)
        case _:
            return record.data


def _card(record: Record, call: Call) -> Json:
    expand = call.params.get("expand") or []
    extra = {
        name: record.hidden[name] for name in ("number", "cvc") if name in expand and record.data["type"] == "virtual"
    }
    return {**record.data, **extra}

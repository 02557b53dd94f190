"""How an outbound payment or transfer ends: posted, failed, canceled or returned, and where the money goes."""

from app.sandbox import books, conversions, scenarios
from app.sandbox.calls import Record
from app.sandbox.clock import rfc3339
from app.sandbox.errors import invalid
from app.sandbox.financial_accounts import KIND as FA
from app.sandbox.world import World

PAYMENT = "v2.money_management.outbound_payment"
TRANSFER = "v2.money_management.outbound_transfer"
METHOD = "v2.money_management.payout_method"
CONVERSION = conversions.POOL
TRANSIT = "world:transit"


def end(world: World, flow: Record, status: str, reason: str | None = None) -> None:
    """Bring a flow to a status, with its time, its reason and its event."""
    flow.data["status"] = status
    flow.data["status_details"] = None
    flow.data["cancelable"] = False
    flow.data["status_transitions"][f"{status}_at"] = rfc3339()
    if reason:
        flow.data["status_details"] = {status: {"reason": reason}}
    world.thin(f".{status}", flow)


def settle(world: World, flow: Record) -> None:
    """The step after creation: post, or fail as the recipient's scenario says."""
    if flow.data["status"] != "processing":
        return
    if scenarios.waits(world, flow):
        return
    recipient = world.records.get(flow.data["to"].get("recipient", ""))
    if recipient and scenarios.tagged(recipient, "payment_fails_once") and not recipient.hidden.get("failed_once"):
        recipient.hidden["failed_once"] = True
        restore(world, flow)
        end(world, flow, "failed", "unknown_failure")
        return
    _post(world, flow)
    if recipient and scenarios.tagged(recipient, "payment_returned"):
        world.later(_return, world, flow)


def _counter(flow: Record, target: Record) -> str:
    if flow.data["to"]["credited"]["currency"] != flow.data["amount"]["currency"]:
        return CONVERSION
    return (
        TRANSIT if target.kind == FA else "world:" + ("chains" if target.data["type"] == "crypto_wallet" else "banks")
    )


def _post(world: World, flow: Record) -> None:
    value = flow.data["amount"]["value"]
    target = world.records[flow.data["to"]["payout_method"]]
    counter = _counter(flow, target)
    books.move(world, flow.hidden["transaction"], counter, outbound_pending=-value)
    credited = flow.data["to"]["credited"]
    if target.kind == FA:
        noun = flow.kind.rpartition(".")[2]
        detail = {"type": noun, noun: flow.id, "from_account": flow.account}
        description = flow.data["description"]
        flow.hidden["credit"] = books.receive(
            world,
            target,
            "balance_transfer",
            detail,
            credited["value"],
            credited["currency"],
            counter,
            description=description,
        )
    elif counter == CONVERSION:
        world.ledger.post(
            [
                (CONVERSION, credited["currency"], -credited["value"]),
                ("world:banks", credited["currency"], credited["value"]),
            ]
        )
    end(world, flow, "posted")
    if flow.data["trace_id"]["status"] == "pending":
        world.later(_trace, world, flow)


def _trace(world: World, flow: Record) -> None:
    """The bank's trace number comes after the money; a chain has none."""
    target = world.records[flow.data["to"]["payout_method"]]
    bank = target.data.get("type") == "bank_account"
    value = world.ids.new("").upper()[-12:] if bank else None
    flow.data["trace_id"] = {"status": "supported" if bank else "unsupported", "value": value}
    world.thin(".updated", flow)


def restore(world: World, flow: Record) -> None:
    """Put the held money back."""
    value = flow.data["amount"]["value"]
    books.move(world, flow.hidden["transaction"], "", available=value, outbound_pending=-value)


def _return(world: World, flow: Record) -> None:
    if flow.data["status"] != "posted":
        return
    money = flow.data["amount"]
    counter = _counter(flow, world.records[flow.data["to"]["payout_method"]])
    noun = flow.kind.rpartition(".")[2]
    credit: Record | None = flow.hidden.get("credit")
    if credit is not None:
        got = credit.data["amount"]
        taken = books.open_transaction(
            world,
            credit.account,
            credit.data["financial_account"],
            ("received_credit", credit.id),
            books.amount(-got["value"], got["currency"]),
            "received_credit_reversal",
        )
        books.move(world, taken, counter, available=-got["value"])
        credit.data["status"] = "returned"
        credit.data["status_details"] = {"returned": {"reason": "originator_initiated_reversal"}}
        credit.data["status_transitions"]["returned_at"] = rfc3339()
        world.thin(".returned", credit)
    elif counter == CONVERSION:
        got = flow.data["to"]["credited"]
        world.ledger.post(
            [("world:banks", got["currency"], -got["value"]), (CONVERSION, got["currency"], got["value"])]
        )
    source = flow.data["from"]["financial_account"]
    back = books.open_transaction(world, flow.account, source, (noun, flow.id), dict(money), f"{noun}_reversal")
    books.move(world, back, counter, available=money["value"])
    end(world, flow, "returned", "unknown_failure")


def end_by_hand(world: World, ident: str, status: str, reason: str | None = None) -> Record:
    """Control: ``returned`` of something posted; ``posted``, ``failed``, ``canceled`` or ``under_review`` before."""
    flow = world.records.get(ident)
    if flow is None or flow.kind not in {PAYMENT, TRANSFER}:
        raise invalid(f"no such outbound flow: {ident}", param="id")
    if status == "returned" and flow.data["status"] == "posted":
        _return(world, flow)
    elif status == "posted" and flow.data["status"] == "processing":
        _post(world, flow)
    elif status == "under_review" and flow.data["status"] == "processing":
        flow.data["status_details"] = {"processing": {"reason": "under_review"}}
        world.thin(".under_review", flow)
    elif status in ("failed", "canceled") and flow.data["status"] == "processing":
        restore(world, flow)
        end(world, flow, status, (reason or "unknown_failure") if status == "failed" else None)
    else:
        raise invalid(f"{flow.data['status']} cannot become {status}", param="status")
    return flow

"""Outbound setup intents and the payout methods they set up."""

from app.sandbox import listing, scenarios
from app.sandbox.calls import Answer, Call, Json, Record
from app.sandbox.errors import invalid, refused
from app.sandbox.world import World

INTENT = "v2.money_management.outbound_setup_intent"
KIND = "v2.money_management.payout_method"
PREFIXES = {"crypto_wallet": "cwa_test_", "bank_account": "usba_test_", "card": "card_test_", "pix": "pix_test_"}
NETWORKS = frozenset(
    "arbitrum avalanche_c_chain base ethereum optimism polygon solana stellar tempo".split()  # noqa: SIM905 - a list
)
TERMINAL = frozenset({"succeeded", "canceled"})
USES = {"payment": "payments", "transfer": "transfers"}


def create(world: World, call: Call) -> Answer:
    """Set up a payout method for payments or transfers; it succeeds at once."""
    body = call.params
    use = USES.get(body.get("usage_intent", "payment"))
    if use is None:
        raise invalid("Invalid usage_intent", param="usage_intent")
    if call.account == world.platform and body.get("payout_method_data"):
        message = "The platform can have no more payout methods. Was the context header forgotten?"
        raise refused("limit_payout_method", message, kind="quota_exceeded")
    if body.get("payout_method"):
        method = world.find(KIND, body["payout_method"], call.account)
        if method.data["archived"]:
            raise refused("archived_payout_method", "The payout method is archived.")
        method.data["usage_status"][use] = "eligible"
        world.thin(".updated", method)
    elif body.get("payout_method_data"):
        method = _method(world, call, body["payout_method_data"], use)
    else:
        raise invalid(
            "Missing required param: payout_method_data.", code="parameter_missing", param="payout_method_data"
        )
    account = world.records.get(call.account)
    slow = scenarios.tagged(account, "setup_slow")
    waits = slow or scenarios.tagged(account, "setup_waits")
    if waits:
        method.data["usage_status"][use] = "requires_action"
    confirm: Json = {"object": "confirmation_of_payee", "status": "awaiting_acknowledgement"}
    data: Json = {
        "status": "requires_action" if waits else "succeeded",
        "usage_intent": body.get("usage_intent", "payment"),
        "next_action": {"type": "confirmation_of_payee", "confirmation_of_payee": confirm} if waits else None,
        "payout_method": method.data,
    }
    intent = world.add(INTENT, call.account, data)
    method.data["latest_outbound_setup_intent"] = intent.id
    if slow:
        world.later(_succeed, intent, delay_s=world.settings.step_delay_s * scenarios.FA_SLOW_STEPS)
    return Answer(intent)


def _succeed(intent: Record) -> None:
    """No event tells of it: an intent must be polled. What it set up has no event either, so that polling is proven."""
    if intent.data["status"] in TERMINAL:
        return
    intent.data |= {"status": "succeeded", "next_action": None}
    intent.data["payout_method"]["usage_status"][USES[intent.data["usage_intent"]]] = "eligible"


def _open(world: World, call: Call) -> Record:
    intent = world.find(INTENT, call.ids[0], call.account)
    if intent.data["status"] in TERMINAL:
        raise refused("cannot_update_terminal_outbound_setup_intent", f"The intent is {intent.data['status']}.")
    return intent


def update_intent(world: World, call: Call) -> Answer:
    """Change what an intent that is not over sets up; the payee is as told now, so it succeeds."""
    intent = _open(world, call)
    use = USES[intent.data["usage_intent"]]
    if call.params.get("payout_method"):
        intent.data["payout_method"] = world.find(KIND, call.params["payout_method"], call.account).data
    elif call.params.get("payout_method_data"):
        intent.data["payout_method"] = _method(world, call, call.params["payout_method_data"], use).data
    else:
        return Answer(intent)
    intent.data["payout_method"]["latest_outbound_setup_intent"] = intent.id
    _succeed(intent)
    return Answer(intent)


def cancel_intent(world: World, call: Call) -> Answer:
    """Cancel an intent that is not over."""
    intent = _open(world, call)
    intent.data |= {"status": "canceled", "next_action": None}
    return Answer(intent)


def _method(world: World, call: Call, wanted: Json, use: str) -> Record:
    kind = wanted["type"]
    details = wanted.get(kind)
    if kind not in PREFIXES or not isinstance(details, dict):
        raise refused("invalid_payout_method_data", f"{kind} needs its details.")
    shown: Json
    if kind == "crypto_wallet":
        if details["network"] not in NETWORKS:
            raise refused("invalid_payout_method_data", f"Unknown network: {details['network']}")
        if details["network"] == "stellar" and not details.get("memo"):
            raise refused("invalid_payout_method_data", "Stellar needs a memo.")
        shown = {"address": details["address"], "network": details["network"], "memo": details.get("memo")}
    elif kind == "bank_account":
        shown = _bank(details)
    else:
        shown = {"last4": "4242"}
    usage = {"payments": "requires_action", "transfers": "requires_action", use: "eligible"}
    data: Json = {
        "type": kind,
        kind: shown,
        "usage_status": usage,
        "archived": False,
        "restricted": False,
        "available_payout_speeds": ["standard"],
        "latest_outbound_setup_intent": None,
        "alternative_reference": None,
    }
    method = world.add(KIND, call.account, data, ident=world.ids.new(PREFIXES[kind]))
    world.thin(".created", method)
    return method


def _bank(details: Json) -> Json:
    return {
        "bank_account_type": details.get("bank_account_type", "checking"),
        "bank_name": "Elsewhere Bank",
        "country": details["country"],
        "last4": details["account_number"][-4:],
        "routing_number": details.get("routing_number"),
        "swift_code": details.get("swift_code"),
        "branch_number": details.get("branch_number"),
        "enabled_delivery_schemes": [],
        "supported_currencies": [details["currency"]],
    }


def retrieve_intent(world: World, call: Call) -> Answer:
    """One intent."""
    return Answer(world.find(INTENT, call.ids[0], call.account))


def intents(world: World, call: Call) -> Answer:
    """The caller's intents."""
    return listing.v2(call, world.all(INTENT, call.account), lambda _: True, lambda r: r.data)


def retrieve(world: World, call: Call) -> Answer:
    """One payout method."""
    return Answer(world.find(KIND, call.ids[0], call.account))


def everything(world: World, call: Call) -> Answer:
    """The caller's payout methods, by ``usage_status``."""
    usage = call.params.get("usage_status")
    filters: Json = usage if isinstance(usage, dict) else {}

    def matches(record: Record) -> bool:
        return all(record.data["usage_status"].get(use) in values for use, values in filters.items())

    return listing.v2(call, world.all(KIND, call.account), matches, lambda r: r.data)


def archive(world: World, call: Call) -> Answer:
    """Archive or unarchive."""
    method = world.find(KIND, call.ids[0], call.account)
    method.data["archived"] = call.path.endswith("/archive")
    world.thin(".updated", method)
    return Answer(method)


def disable(world: World, call: Call) -> Answer:
    """Take a payout method out of use; only a new setup intent brings it back."""
    method = world.find(KIND, call.ids[0], call.account)
    method.data["usage_status"] = dict.fromkeys(method.data["usage_status"], "disabled")
    world.thin(".updated", method)
    return Answer(method)

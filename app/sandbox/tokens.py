"""Network tokens: a card in a wallet."""

from app.sandbox.calls import Answer, Call, Json, Record
from app.sandbox.clock import unix
from app.sandbox.errors import invalid, refused
from app.sandbox.world import World

TOKEN = "issuing.token"  # noqa: S105 - the name of a kind
STATUSES = ("active", "suspended", "deleted")


def provision(world: World, card: Record, wallet: str, *, held: bool = False) -> Record:
    """Control: the card is added to a wallet, and active there a step later; ``held``: only once the bank is sure."""
    if not card.data["wallets"]["apple_pay"]["eligible"]:
        raise refused("wallet_ineligible", "The cardholder has neither phone nor e-mail.")
    data: Json = {
        "card": card.id,
        "status": "requested",
        "network": "visa",
        "wallet_provider": wallet,
        "token_type": "secure_element",
        "provisioning_decision": "approve_pending_id_and_v" if held else "approve",
        "last4": "9876",
        "device_fingerprint": "sandbox",
        "network_updated_at": unix(),
        "network_data": None,
    }
    token = world.add(TOKEN, card.account, data)
    world.snapshot("created", token)
    if not held:
        world.later(become, world, token, "active")
    return token


def become(world: World, token: Record, status: str) -> None:
    """Another status, told once; a deleted token stays deleted."""
    before = token.data["status"]
    if before not in (status, "deleted"):
        token.data["status"] = status
        token.data["network_updated_at"] = unix()
        world.snapshot("updated", token, {"status": before})


def update_token(world: World, call: Call) -> Answer:
    """Activate, suspend or delete a token."""
    token = world.find(TOKEN, call.ids[0], call.account, "v1")
    if token.data["status"] == "deleted":
        raise refused("token_deleted", "A deleted token cannot be changed.")
    if call.params["status"] not in STATUSES:
        raise invalid(f"status must be one of {', '.join(STATUSES)}", param="status")
    become(world, token, call.params["status"])
    return Answer(token)

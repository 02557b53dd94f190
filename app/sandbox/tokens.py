"""Network tokens: a card in a wallet."""

from app.sandbox.calls import Answer, Call, Json, Record
from app.sandbox.errors import refused
from app.sandbox.world import World

TOKEN = "issuing.token"  # noqa: S105 - the name of a kind


def provision(world: World, card: Record, wallet: str) -> Record:
    """Control: the card is added to a wallet, and active there a step later."""
    data: Json = {
        "card": card.id,
        "status": "requested",
        "network": "visa",
        "wallet_provider": wallet,
        "token_type": "secure_element",
        "last4": "9876",
        "device_fingerprint": "sandbox",
        "network_updated_at": card.data["created"],
        "network_data": None,
    }
    token = world.add(TOKEN, card.account, data)
    world.snapshot("created", token)
    world.later(_become, world, token, "active")
    return token


def _become(world: World, token: Record, status: str) -> None:
    before = token.data["status"]
    if before != status:
        token.data["status"] = status
        world.snapshot("updated", token, {"status": before})


def update_token(world: World, call: Call) -> Answer:
    """Activate, suspend or delete a token."""
    token = world.find(TOKEN, call.ids[0], call.account, "v1")
    if token.data["status"] == "deleted":
        raise refused("token_deleted", "A deleted token cannot be changed.")
    _become(world, token, call.params["status"])
    return Answer(token)

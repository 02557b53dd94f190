"""Ephemeral keys: how Issuing Elements come to show one card to its holder."""

from app.sandbox import cards
from app.sandbox.calls import Answer, Call
from app.sandbox.clock import unix
from app.sandbox.errors import invalid, refused
from app.sandbox.world import World

KEY_LIVES_S = 900


def ephemeral_key(world: World, call: Call) -> Answer:
    """A key for one card; a nonce works once. Neither is remembered beyond the nonce's use."""
    for name in ("issuing_card", "nonce"):
        if not call.params.get(name):
            raise invalid(f"Missing required param: {name}.", code="parameter_missing", param=name)
    card = world.find(cards.KIND, call.params["issuing_card"], call.account, "v1")
    used = card.hidden.setdefault("nonces", set())
    if call.params["nonce"] in used:
        raise refused("nonce_used", "This nonce was used already.")
    used.add(call.params["nonce"])
    now = unix()
    return Answer(
        body={
            "id": world.ids.new("ephkey_"),
            "object": "ephemeral_key",
            "associated_objects": [{"type": "issuing.card", "id": card.id}],
            "created": now,
            "expires": now + KEY_LIVES_S,
            "livemode": False,
            "secret": world.ids.new("ek_test_"),
        }
    )

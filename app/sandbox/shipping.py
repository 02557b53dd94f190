"""Test helpers that move a physical card along."""

from app.sandbox.calls import Answer, Call
from app.sandbox.cards import KIND
from app.sandbox.errors import refused
from app.sandbox.world import World

STEPS = {"submit": "submitted", "ship": "shipped", "deliver": "delivered", "return": "returned", "fail": "failure"}


def move(world: World, call: Call) -> Answer:
    """Test helpers: submit, ship, deliver, return, fail."""
    card = world.find(KIND, call.ids[0], call.account, "v1")
    if card.data["shipping"] is None:
        raise refused("invalid_card_state", "This card is not shipped.")
    before = dict(card.data["shipping"])
    card.data["shipping"] = {**before, "status": STEPS[call.path.rpartition("/")[2]]}
    world.snapshot("updated", card, {"shipping": before})
    return Answer(card)

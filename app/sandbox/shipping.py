"""Test helpers that move a physical card along."""

from app.sandbox.calls import Answer, Call, Json
from app.sandbox.cards import KIND
from app.sandbox.errors import refused
from app.sandbox.world import World

STEPS = {"submit": "submitted", "ship": "shipped", "deliver": "delivered", "return": "returned", "fail": "failure"}
FROM = {
    "submitted": ("pending",),
    "shipped": ("pending", "submitted"),
    "delivered": ("shipped",),
    "returned": ("shipped", "delivered"),
    "failure": ("pending", "submitted", "shipped"),
}
"""Where a card must be to get on."""


def move(world: World, call: Call) -> Answer:
    """Test helpers: submit, ship, deliver, return, fail."""
    card = world.find(KIND, call.ids[0], call.account, "v1")
    if card.data["shipping"] is None:
        raise refused("invalid_card_state", "This card is not shipped.")
    before: Json = dict(card.data["shipping"])
    after = STEPS[call.path.rpartition("/")[2]]
    if before["status"] not in FROM[after]:
        raise refused("invalid_shipping_state", f"The card is {before['status']} and cannot become {after}.")
    tracking = _tracking(card.id, card.data["created"]) if after == "shipped" else {}
    card.data["shipping"] = {**before, **tracking, "status": after}
    world.snapshot("updated", card, {"shipping": before})
    return Answer(card)


def _tracking(ident: str, created: int) -> Json:
    number = f"SB{sum(map(ord, ident)):06d}"
    return {
        "carrier": "fedex",
        "tracking_number": number,
        "tracking_url": f"https://tracking.example.com/{number}",
        "eta": created + 5 * 86_400,
    }

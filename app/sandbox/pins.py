"""PINs at a terminal: Stripe checks them itself, asks nobody about a wrong one, and stops the card after three."""

from app.sandbox.calls import Json, Record
from app.sandbox.errors import invalid
from app.sandbox.world import World

WRONG_MAX = 3


def objection(world: World, card: Record, body: Json) -> str | None:
    """Why the PIN of a purchase (``pin``: `correct`, `wrong`; absent: none was asked for) ends it; None when it does not."""
    entered = body.get("pin")
    if entered not in (None, "correct", "wrong"):
        raise invalid("pin must be correct or wrong", param="pin")
    if entered == "correct":
        card.hidden["wrong_pins"] = 0
    if entered != "wrong":
        return None
    card.hidden["wrong_pins"] = card.hidden.get("wrong_pins", 0) + 1
    if card.hidden["wrong_pins"] >= WRONG_MAX and card.data["status"] == "active":
        card.data["status"] = "inactive"
        world.snapshot("updated", card, {"status": "active"})
        return "pin_blocked"
    return "verification_failed"

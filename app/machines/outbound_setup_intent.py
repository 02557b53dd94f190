"""The machine of kind ``outbound_setup_intent``. Setting up a payout method; Stripe sends no events for it."""

from app.machines.kernel import Machine

OUTBOUND_SETUP_INTENT = Machine(
    "outbound_setup_intent",
    {
        "requires_payout_method": ("requires_action", "succeeded", "canceled"),
        "requires_action": ("succeeded", "canceled"),
        "succeeded": (),
        "canceled": (),
    },
    doc="Setting up a payout method; Stripe sends no events for it.",
)

"""The machine of kind ``payout_method``. A wallet or bank account to pay out to; its state is what it may be used for in transfers."""

from app.machines.kernel import Machine

PAYOUT_METHOD = Machine(
    "payout_method",
    {
        "requires_action": ("eligible", "invalid", "ineligible", "disabled"),
        "eligible": ("requires_action", "invalid", "ineligible", "disabled"),
        "invalid": ("requires_action", "eligible", "ineligible", "disabled"),
        "ineligible": ("requires_action", "eligible", "invalid", "disabled"),
        "disabled": ("requires_action", "eligible", "invalid", "ineligible"),
    },
    doc="A wallet or bank account to pay out to; its state is what it may be used for in transfers.",
)

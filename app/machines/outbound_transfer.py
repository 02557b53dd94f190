"""The machine of kind ``outbound_transfer``. Money to a payout method of the same owner; posted is not final."""

from app.machines.kernel import Machine

OUTBOUND_TRANSFER = Machine(
    "outbound_transfer",
    {
        "processing": ("posted", "failed", "canceled"),
        "posted": ("returned",),
        "failed": (),
        "canceled": (),
        "returned": (),
    },
    doc="Money to a payout method of the same owner; posted is not final.",
)

"""The machine of kind ``outbound_payment``. Money to somebody else; posted is not final."""

from app.machines.kernel import Machine

OUTBOUND_PAYMENT = Machine(
    "outbound_payment",
    {
        "processing": ("posted", "failed", "canceled"),
        "posted": ("returned",),
        "failed": (),
        "canceled": (),
        "returned": (),
    },
    doc="Money to somebody else; posted is not final.",
)

"""The machine of kind ``received_credit``. Money in."""

from app.machines.kernel import Machine

RECEIVED_CREDIT = Machine(
    "received_credit",
    {
        "pending": ("succeeded", "failed"),
        "succeeded": ("returned",),
        "failed": (),
        "returned": (),
    },
    doc="Money in.",
)

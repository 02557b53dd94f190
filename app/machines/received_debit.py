"""The machine of kind ``received_debit``. Money taken: a card spend's hold and debit among others."""

from app.machines.kernel import Machine

RECEIVED_DEBIT = Machine(
    "received_debit",
    {
        "scheduled": ("pending",),
        "pending": ("succeeded", "failed", "canceled"),
        "succeeded": ("returned",),
        "failed": (),
        "canceled": (),
        "returned": (),
    },
    doc="Money taken: a card spend's hold and debit among others.",
)

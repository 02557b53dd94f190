"""The machine of kind ``issuing_transaction``. A captured purchase or a refund."""

from app.machines.kernel import Machine

ISSUING_TRANSACTION = Machine(
    "issuing_transaction",
    {
        "capture": (),
        "refund": (),
    },
    doc="A captured purchase or a refund.",
)

"""The machine of kind ``inbound_transfer``. A pull from a bank account."""

from app.machines.kernel import Machine

INBOUND_TRANSFER = Machine(
    "inbound_transfer",
    {
        "bank_debit_queued": ("bank_debit_processing",),
        "bank_debit_processing": ("bank_debit_succeeded", "bank_debit_failed"),
        "bank_debit_succeeded": ("bank_debit_returned",),
        "bank_debit_failed": (),
        "bank_debit_returned": (),
    },
    doc="A pull from a bank account.",
)

"""The machine of kind ``transaction``. One line of Stripe's ledger."""

from app.machines.kernel import Machine

TRANSACTION = Machine(
    "transaction",
    {
        "pending": ("posted", "void"),
        "posted": (),
        "void": (),
    },
    doc="One line of Stripe's ledger.",
)

"""The machine of kind ``transaction_entry``. An immutable leg of a ledger transaction."""

from app.machines.kernel import Machine

TRANSACTION_ENTRY = Machine(
    "transaction_entry",
    {
        "posted": (),
    },
    doc="An immutable leg of a ledger transaction.",
)

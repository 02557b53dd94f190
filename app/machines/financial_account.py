"""The machine of kind ``financial_account``. Where an account's money is."""

from app.machines.kernel import Machine

FINANCIAL_ACCOUNT = Machine(
    "financial_account",
    {
        "pending": ("open", "closed"),
        "open": ("closed",),
        "closed": (),
    },
    doc="Where an account's money is.",
)
